//! `init`: a folder to start from. Never overwrites.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use base64::Engine as _;
use rust_embed::RustEmbed;
use serde::Serialize;

use super::args::Init;
use super::context::Context;
use super::exit::{Exit, Failure};
use crate::config::Environment;

/// The mapping sets shipped with the program.
#[derive(RustEmbed)]
#[folder = "mappings/"]
struct Shipped;

/// The set that most deployments begin with.
pub(super) const SET: &str = "zoho-pipedrive";
pub(super) const KEY: &str = "CRMSYNC_KEY";

#[derive(Serialize)]
pub(super) struct Written {
    path: String,
    /// `false`: it was there before and stays as it was.
    new: bool,
}

pub(super) fn run(context: &Context, args: &Init) -> Result<Exit, Failure> {
    let folder = context.folder.join(&args.folder);
    let mut written = vec![
        write_new(&folder, "crmsync.toml", include_str!("../../templates/init/crmsync.toml"))?,
        write_new(&folder, ".env.example", include_str!("../../templates/init/env.example"))?,
        write_new(&folder, ".gitignore", ".env\ncrmsync.db*\n")?,
    ];
    for set in &args.mappings {
        written.extend(write_mappings(&folder, set)?);
    }
    written.push(write_key(context, &folder)?);
    context.output.result(&written, || show(&written))?;
    Ok(Exit::Clean)
}

/// Writes a shipped set below `mappings/` of a folder.
pub(super) fn write_mappings(folder: &Path, set: &str) -> Result<Vec<Written>, Failure> {
    let mut written = Vec::new();
    let paths: Vec<_> = Shipped::iter()
        .filter(|path| path.strip_prefix(set).is_some_and(|rest| rest.starts_with('/')))
        .collect();
    if paths.is_empty() {
        let sets: BTreeSet<_> =
            Shipped::iter().filter_map(|path| Some(path.split_once('/')?.0.to_owned())).collect();
        let help = format!("sets: {}", sets.into_iter().collect::<Vec<_>>().join(", "));
        return Err(Failure::config(format!("no mapping set is called `{set}`")).help(help));
    }
    for path in paths {
        let file =
            Shipped::get(&path).ok_or_else(|| Failure::config("a shipped mapping is gone"))?;
        let text = String::from_utf8_lossy(&file.data);
        written.push(write_new(folder, &format!("mappings/{path}"), &text)?);
    }
    Ok(written)
}

fn show(written: &[Written]) -> String {
    let line = |file: &Written| {
        let what = if file.new { "wrote" } else { "kept " };
        format!("{what} {}\n", file.path)
    };
    let list: String = written.iter().map(line).collect();
    format!(
        "{list}\nNext: fill in crmsync.toml and .env (see .env.example), then\n  \
         crmsync connect zoho\n  crmsync connect pipedrive --install\n  crmsync check\n  crmsync plan\n"
    )
}

fn write_new(folder: &Path, name: &str, text: &str) -> Result<Written, Failure> {
    let path = folder.join(name);
    let failed = |error| Failure::config(format!("cannot write {}: {error}", path.display()));
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    let new = match fs::OpenOptions::new().write(true).create_new(true).open(&path) {
        Ok(mut file) => file.write_all(text.as_bytes()).map(|()| true).map_err(failed)?,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(failed(error)),
    };
    Ok(Written { path: name.to_owned(), new })
}

/// Puts a fresh store key into `.env`, unless one is there. The file is for its owner alone.
fn write_key(context: &Context, folder: &Path) -> Result<Written, Failure> {
    let path = folder.join(".env");
    let failed = |error| Failure::config(format!("cannot write {}: {error}", path.display()));
    let present = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(error)),
    };
    let known = Environment::default()
        .with_dotenv(&present)
        .map_err(|error| Failure::config(error.to_string()))?;
    if known.var(KEY).is_some() {
        return Ok(Written { path: ".env".into(), new: false });
    }
    let key = base64::engine::general_purpose::STANDARD.encode(context.entropy.bytes());
    let mut options = fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&path).map_err(failed)?;
    let line_end = if present.is_empty() || present.ends_with('\n') { "" } else { "\n" };
    writeln!(file, "{line_end}{KEY}={key}").map_err(failed)?;
    Ok(Written { path: ".env".into(), new: true })
}
