//! `rotate-key`: seals the stored sign-ins with a new key.
//!
//! The new key stands beside the old one before anything is sealed with it, and takes its place afterwards: whenever
//! this stops, running it again finishes.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::context::Context;
use super::exit::{Exit, Failure};
use super::init::KEY;
use super::operations;
use super::render::counted;

/// Holds the new key until it is the key.
const NEXT: &str = "CRMSYNC_KEY_NEXT";

pub(super) async fn run(context: &Context) -> Result<Exit, Failure> {
    let config = context.config()?;
    let path = context.folder.join(".env");
    let text = fs::read_to_string(&path).unwrap_or_default();
    let in_file = text.lines().any(|line| is_of(line, KEY));
    let next = match context.environment.var(NEXT) {
        Some(next) => next.to_owned(),
        None if in_file => {
            let next = STANDARD.encode(context.entropy.bytes());
            write_private(&path, &format!("{}\n{NEXT}={next}\n", text.trim_end()))?;
            next
        }
        None => return Err(elsewhere()),
    };
    let key = key(&next)?;
    let store = operations::sealing_store(&config).await?;
    let count = store.rotate_key(&key).await?;
    store.close().await?;
    if in_file {
        let text = fs::read_to_string(&path).unwrap_or_default();
        write_private(&path, &with_key(&text, &next))?;
    }
    let sealed = counted(count as u64, "secret");
    let result = serde_json::json!({ "secrets": count, "replaced_in_env_file": in_file });
    context.output.result(&result, || {
        if in_file {
            format!("{sealed} sealed with a new key, which stands in .env now; the old one opens nothing any more\n")
        } else {
            format!("{sealed} sealed with the key in {NEXT}; put it where [store] key comes from, and remove {NEXT}\n")
        }
    })?;
    Ok(Exit::Clean)
}

fn elsewhere() -> Failure {
    Failure::config(format!("{KEY} does not stand in .env, so that the new key has no place")).help(
        format!(
            "make one with `openssl rand -base64 32`, hand it over in {NEXT}, and run this again"
        ),
    )
}

fn key(text: &str) -> Result<[u8; 32], Failure> {
    let bytes = STANDARD.decode(text.trim()).ok();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| Failure::config(format!("{NEXT} is not 32 bytes in base64")))
}

fn is_of(line: &str, name: &str) -> bool {
    line.split_once('=').is_some_and(|(key, _)| key.trim() == name)
}

/// The file with the new key in the old one's place.
fn with_key(text: &str, next: &str) -> String {
    let lines = text.lines().filter(|line| !is_of(line, NEXT));
    let swap = |line: &str| {
        if is_of(line, KEY) { format!("{KEY}={next}\n") } else { format!("{line}\n") }
    };
    lines.map(swap).collect()
}

/// Replaces a file at once, for its owner alone.
fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::config(format!("cannot write {}: {error}", path.display()))
    };
    let beside = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_file_with_both_keys_when_the_new_one_takes_over_then_the_rest_stays() {
        let text = "# ours\nCRMSYNC_KEY=old\nTOKEN=a=b\nCRMSYNC_KEY_NEXT=new\n";

        assert_eq!(with_key(text, "new"), "# ours\nCRMSYNC_KEY=new\nTOKEN=a=b\n");
    }
}
