//! `import` and `export`: files into a module and out of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crmsync_core::mapping;
use crmsync_core::model::{ModuleName, Side};

use super::args::{ExportModule, FileFormat, Import as ImportArgs, ImportMode};
use super::context::Context;
use super::exit::{Exit, Failure};
use super::operations;
use super::progress::progress;
use super::render::{counted, note};
use crate::service::transfer::export::{Export, export};
use crate::service::transfer::files::Format;
use crate::service::transfer::import::{Import, Imported, Mode, import};
use crate::service::transfer::place;

pub(super) async fn run_export(context: &Context, args: &ExportModule) -> Result<Exit, Failure> {
    let config = context.config()?;
    let (connection, module) = place(&args.from)?;
    let connector = operations::connector(context, &config, connection).await?;
    operations::schema(connector.as_ref(), connection, module).await?;
    let options = Export {
        path: file(context, &args.output),
        format: args.format.map(format),
        fields: args.fields.clone(),
        keeps_formulas: args.keep_formulas,
        cancel: context.cancel.clone(),
    };
    let progress = progress(&context.output);
    let exported =
        Box::pin(export(connector.as_ref(), &ModuleName::new(module), &options, progress.as_ref()))
            .await?;
    drop(progress);
    operations::remember(context, &config, connection, connector.as_ref()).await?;
    for (reason, count) in &exported.unreadable {
        note(&format!("{} left out: {reason}", counted(*count, "record")));
    }
    if options.path == Path::new("-") {
        note(&format!("{} written", counted(exported.rows, "row")));
    } else {
        let shown = options.path.display().to_string();
        context.output.result(&exported, || {
            format!("{} written to {shown}\n", counted(exported.rows, "row"))
        })?;
    }
    Ok(if exported.unreadable.is_empty() { Exit::Clean } else { Exit::Open })
}

pub(super) async fn run_import(context: &Context, args: &ImportArgs) -> Result<Exit, Failure> {
    let config = context.config()?;
    let (connection, module) = place(&args.to)?;
    let connector = operations::connector(context, &config, connection).await?;
    operations::schema(connector.as_ref(), connection, module).await?;
    let path = file(context, &args.file);
    let beside = if path == Path::new("-") {
        context.folder.join("import.errors.csv")
    } else {
        errors_beside(&path)
    };
    let options = Import {
        mode: mode(args.mode),
        key: args.key.clone(),
        aliases: aliases(context, args.mapping.as_deref(), module)?,
        clears: args.clear_empty,
        dry_run: args.dry_run,
        from_line: args.from_line,
        success: args.success.as_ref().map(|path| file(context, path)),
        errors: args.errors.as_ref().map(|path| file(context, path)).or(Some(beside)),
        path,
        cancel: context.cancel.clone(),
    };
    let progress = progress(&context.output);
    let imported =
        Box::pin(import(connector.as_ref(), &ModuleName::new(module), &options, progress.as_ref()))
            .await?;
    drop(progress);
    operations::remember(context, &config, connection, connector.as_ref()).await?;
    context.output.result(&imported, || show(&imported, &options))?;
    Ok(match (&imported.stopped_at, imported.failed) {
        (Some(_), _) => Exit::SideUnavailable,
        (None, 0) => Exit::Clean,
        (None, _) => Exit::Open,
    })
}

fn show(imported: &Imported, options: &Import) -> String {
    let would = if options.dry_run { "would be " } else { "" };
    let counts = [
        (imported.created, "created"),
        (imported.updated, "updated"),
        (imported.deleted, "deleted"),
        (imported.failed, "refused"),
    ];
    let counts = counts.into_iter().filter(|(count, _)| *count > 0);
    let counts = counts.map(|(count, done)| format!("{count} {would}{done}"));
    let read = format!("{} read", counted(imported.read, "row"));
    let mut lines = vec![[read].into_iter().chain(counts).collect::<Vec<_>>().join(", ")];
    lines.extend(imported.errors.iter().map(|error| {
        let column =
            if error.column.is_empty() { String::new() } else { format!(" `{}`", error.column) };
        format!("  line {}:{column} {}", error.line, error.reason)
    }));
    let listed = imported.errors.len() as u64;
    if imported.failed > listed {
        lines.push(format!("  and {} more", imported.failed - listed));
    }
    if let Some(errors) =
        options.errors.as_ref().filter(|_| imported.failed > 0 && !options.dry_run)
    {
        lines.push(format!(
            "refused rows are in {}; correct them there and import that file",
            errors.display()
        ));
    }
    if let (Some(line), Some(reason)) = (imported.stopped_at, &imported.stopped_by) {
        lines.push(format!("stopped: {reason}; go on with --from-line {line}"));
    }
    lines.join("\n") + "\n"
}

/// `contacts.csv` fails into `contacts.errors.csv`.
fn errors_beside(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = name.split('.').next().unwrap_or(&name);
    path.with_file_name(format!("{stem}.errors.csv"))
}

/// A mapping's canonical names, for the side that the module stands on.
fn aliases(
    context: &Context,
    path: Option<&Path>,
    module: &str,
) -> Result<BTreeMap<String, String>, Failure> {
    let Some(path) = path else { return Ok(BTreeMap::new()) };
    let full = context.folder.join(path);
    let text = std::fs::read_to_string(&full)
        .map_err(|error| Failure::config(format!("cannot read {}: {error}", path.display())))?;
    let file = mapping::parse(&path.display().to_string(), &text).map_err(|found| {
        let lines: Vec<_> = found.iter().map(ToString::to_string).collect();
        Failure::config(lines.join("\n"))
    })?;
    let side =
        Side::BOTH.into_iter().find(|side| file.module(*side) == module).ok_or_else(|| {
            let both = format!("`{}` and `{}`", file.module(Side::Left), file.module(Side::Right));
            Failure::config(format!("{} maps {both}, not `{module}`", path.display()))
        })?;
    Ok(file.remote_names(side))
}

fn file(context: &Context, path: &Path) -> PathBuf {
    if path == Path::new("-") { path.to_owned() } else { context.folder.join(path) }
}

const fn format(format: FileFormat) -> Format {
    match format {
        FileFormat::Csv => Format::Csv,
        FileFormat::Jsonl => Format::JsonLines,
    }
}

const fn mode(mode: ImportMode) -> Mode {
    match mode {
        ImportMode::Insert => Mode::Insert,
        ImportMode::Update => Mode::Update,
        ImportMode::Upsert => Mode::Upsert,
        ImportMode::Delete => Mode::Delete,
    }
}
