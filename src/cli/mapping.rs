//! `mapping`: draft, check, format mapping files, and their JSON Schema.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crmsync_core::mapping::{self, Diagnostic, MappingFile, Severity};
use crmsync_core::model::EntityName;
use crmsync_core::model::schema::ModuleSchema;

use super::args;
use super::context::Context;
use super::exit::{Exit, Failure};
use super::format::format;
use super::operations;
use super::plan;
use super::render::{counted, joined, note};
use crate::config::finding::{Weight, draw_finding};
use crate::config::{Config, Finding, Route};

pub(super) async fn run(context: &Context, args: &args::Mapping) -> Result<Exit, Failure> {
    match args {
        args::Mapping::New(args) => new(context, args).await,
        args::Mapping::Check(args) => check(context, args).await,
        args::Mapping::Fmt(args) => fmt(context, args),
        args::Mapping::Schema => {
            context.output.raw(&format!("{}\n", mapping::json_schema()))?;
            Ok(Exit::Clean)
        }
    }
}

async fn new(context: &Context, args: &args::MappingNew) -> Result<Exit, Failure> {
    let config = context.config()?;
    let left = schema(context, &config, &args.left).await?;
    let right = schema(context, &config, &args.right).await?;
    let entity = args.entity.clone().unwrap_or_else(|| singular(&args.left.module));
    let text = mapping::draft(&EntityName::new(entity), &left, &right);
    let Some(path) = &args.output else {
        context.output.raw(&text)?;
        return Ok(Exit::Clean);
    };
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(|error| {
            Failure::config(format!("cannot write {}: {error}", path.display()))
                .help("an existing file is never overwritten")
        })?;
    std::io::Write::write_all(&mut file, text.as_bytes())
        .map_err(|error| Failure::config(format!("cannot write {}: {error}", path.display())))?;
    note(&format!("wrote {}; read it, then crmsync mapping check", path.display()));
    Ok(Exit::Clean)
}

async fn schema(
    context: &Context,
    config: &Config,
    target: &args::ModuleTarget,
) -> Result<ModuleSchema, Failure> {
    let connector = operations::connector(context, config, &target.connection).await?;
    let schema = operations::schema(connector.as_ref(), &target.connection, &target.module).await?;
    operations::remember(context, config, &target.connection, connector.as_ref()).await?;
    Ok(schema)
}

/// `Contacts` is `contact`, `Companies` is `company`.
fn singular(module: &str) -> String {
    let lower = module.to_lowercase();
    match (lower.strip_suffix("ies"), lower.strip_suffix('s')) {
        (Some(stem), _) => format!("{stem}y"),
        (None, Some(stem)) if !stem.ends_with('s') => stem.to_owned(),
        (None, _) => lower,
    }
}

async fn check(context: &Context, args: &args::MappingCheck) -> Result<Exit, Failure> {
    let config = context.config()?;
    let routes = chosen(&config, &args.routes)?;
    let (mut errors, mut warnings, mut files) = (0, 0, 0);
    let mut found = Vec::new();
    for route in routes {
        let read = toml_files(&route.mappings)?;
        files += read.len() as u64;
        let parsed: Vec<_> = read
            .iter()
            .filter_map(|path| fs::read_to_string(path).ok().map(|text| (path, text)))
            .filter_map(|(path, text)| mapping::parse(&path.display().to_string(), &text).err())
            .flatten()
            .collect();
        let diagnostics = if parsed.is_empty() && !args.offline {
            operations::compile(context, &config, route).await?
        } else {
            parsed
        };
        found.extend(diagnostics);
    }
    for diagnostic in &found {
        match diagnostic.severity {
            Severity::Error => {
                errors += 1;
                draw(context, diagnostic);
            }
            Severity::Warning => warnings += 1,
        }
    }
    if !context.output.quiet {
        list_warnings(context, &found);
    }
    let json = serde_json::json!({
        "files": files,
        "errors": errors,
        "warnings": warnings,
        "findings": found.iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    context.output.result(&json, || {
        let checked = counted(files, "file");
        format!("{checked}: {}, {}\n", counted(errors, "error"), counted(warnings, "warning"))
    })?;
    Ok(if errors == 0 { Exit::Clean } else { Exit::Config })
}

/// Lists warnings on stderr by what they mean, a line each: most mappings have many of few kinds.
fn list_warnings(context: &Context, found: &[Diagnostic]) {
    let mut kinds: BTreeMap<&str, Vec<&Diagnostic>> = BTreeMap::new();
    for warning in found.iter().filter(|it| it.severity == Severity::Warning) {
        kinds.entry(warning.help.as_deref().unwrap_or_default()).or_default().push(warning);
    }
    for (help, warnings) in kinds {
        let help = if help.is_empty() { "worth knowing" } else { help };
        note(&format!("warning: {help}"));
        for it in warnings {
            let path = Path::new(&it.path);
            let path = path.strip_prefix(&context.folder).unwrap_or(path).display();
            note(&format!("  {path}:{}:{}  {}", it.line, it.column, it.message));
        }
    }
}

/// Draws a finding about a mapping file on stderr, with a caret under the place.
pub(super) fn draw(context: &Context, diagnostic: &Diagnostic) {
    let text = fs::read_to_string(&diagnostic.path).unwrap_or_default();
    let weight = match diagnostic.severity {
        Severity::Error => Weight::Error,
        Severity::Warning => Weight::Warning,
    };
    if context.output.quiet && weight == Weight::Warning {
        return;
    }
    let place = (!text.is_empty()).then(|| diagnostic.span.clone());
    let mut finding = Finding::new(&diagnostic.message).at(place, "");
    finding.weight = weight;
    finding.help.clone_from(&diagnostic.help);
    let (paint, width) = (context.output.paint, context.output.width);
    note(draw_finding(&diagnostic.path, &text, &finding, paint, width).trim_end());
}

fn fmt(context: &Context, args: &args::MappingFmt) -> Result<Exit, Failure> {
    let mut files = Vec::new();
    if args.paths.is_empty() {
        for route in context.config()?.routes.values() {
            files.extend(toml_files(&route.mappings)?);
        }
    }
    for path in &args.paths {
        let path = context.folder.join(path);
        if path.is_dir() {
            files.extend(toml_files(&path)?);
        } else {
            files.push(path);
        }
    }
    files.sort();
    files.dedup();
    let mut changed = Vec::new();
    for path in &files {
        let text = fs::read_to_string(path)
            .map_err(|error| Failure::config(format!("cannot read {}: {error}", path.display())))?;
        let formatted = format(&text).map_err(|error| {
            Failure::config(format!("{}: not valid TOML: {}", path.display(), error.message()))
                .help("crmsync mapping check --offline shows the place")
        })?;
        if formatted == text {
            continue;
        }
        changed.push(path.display().to_string());
        if !args.check {
            fs::write(path, formatted).map_err(|error| {
                Failure::config(format!("cannot write {}: {error}", path.display()))
            })?;
        }
    }
    let verb = if args.check { "would change" } else { "formatted" };
    context
        .output
        .result(&changed, || joined(changed.iter().map(|path| format!("{verb} {path}\n"))))?;
    Ok(if args.check && !changed.is_empty() { Exit::Config } else { Exit::Clean })
}

fn chosen<'c>(config: &'c Config, names: &[String]) -> Result<Vec<&'c Route>, Failure> {
    if names.is_empty() {
        return Ok(config.routes.values().collect());
    }
    let mut routes = Vec::new();
    for name in names {
        plan::known(config, &name.as_str().into())?;
        routes.extend(config.routes.get(name.as_str()));
    }
    Ok(routes)
}

/// Path, text and content of every mapping file of a folder.
///
/// # Errors
/// When one does not parse; its findings are drawn on stderr by the caller that asked for them all.
pub(super) fn read(folder: &Path) -> Result<Vec<(String, String, MappingFile)>, Failure> {
    let mut files = Vec::new();
    for path in toml_files(folder)? {
        let shown = path.display().to_string();
        let text = fs::read_to_string(&path)
            .map_err(|error| Failure::config(format!("cannot read {shown}: {error}")))?;
        let file = mapping::parse(&shown, &text).map_err(|found| {
            let first = found.first().map(ToString::to_string).unwrap_or_default();
            Failure::config(first).help("crmsync mapping check --offline shows all mistakes")
        })?;
        files.push((shown, text, file));
    }
    if files.is_empty() {
        return Err(Failure::config(format!("no mapping files (*.toml) in {}", folder.display()))
            .help("crmsync mapping new drafts one"));
    }
    Ok(files)
}

/// The mapping files of a folder, by name.
pub(super) fn toml_files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::config(format!("cannot read the mapping folder {}: {error}", folder.display()))
            .help("`mappings` of the route names it; crmsync init writes the shipped ones")
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_modules_name_when_made_singular_then_it_names_one_record() {
        let cases = [
            ("Contacts", "contact"),
            ("Companies", "company"),
            ("persons", "person"),
            ("Address", "address"),
            ("Staff", "staff"),
        ];
        for (module, entity) in cases {
            assert_eq!(singular(module), entity);
        }
    }
}
