//! `describe`: what a connection has, as it is now.

use crmsync_core::model::ModuleName;
use crmsync_core::model::schema::{FieldSchema, ModuleSchema};
use serde::Serialize;

use super::args::Describe;
use super::context::Context;
use super::exit::{Exit, Failure};
use super::operations;
use super::render::Output;

#[derive(Serialize)]
struct Module {
    module: ModuleName,
    label: String,
}

pub(super) async fn run(context: &Context, args: &Describe) -> Result<Exit, Failure> {
    let config = context.config()?;
    let connector = operations::connector(context, &config, &args.connection).await?;
    if args.refresh {
        connector.forget_metadata();
    }
    if let Some(module) = &args.module {
        let schema = operations::schema(connector.as_ref(), &args.connection, module).await?;
        operations::remember(context, &config, &args.connection, connector.as_ref()).await?;
        context.output.result(&schema, || show(&schema, &context.output))?;
        return Ok(Exit::Clean);
    }
    let modules: Vec<_> = connector
        .modules()
        .await?
        .into_iter()
        .map(|(module, label)| Module { module, label })
        .collect();
    operations::remember(context, &config, &args.connection, connector.as_ref()).await?;
    context.output.result(&modules, || {
        let rows = modules.iter().map(|it| vec![it.module.to_string(), it.label.clone()]);
        context.output.table(&["module", "label"], rows)
    })?;
    Ok(Exit::Clean)
}

fn show(schema: &ModuleSchema, output: &Output) -> String {
    let header = ["field", "label", "kind", "length", "may", "notes"];
    let table = output.table(&header, schema.fields.iter().map(row));
    format!("{} ({})\n{table}", schema.module, schema.label)
}

fn row(field: &FieldSchema) -> Vec<String> {
    vec![
        field.name.to_string(),
        field.label.clone(),
        kind(field),
        field.max_length.map(|length| length.to_string()).unwrap_or_default(),
        access(field),
        notes(field),
    ]
}

fn kind(field: &FieldSchema) -> String {
    let name = serde_json::to_value(field.kind).ok();
    name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

/// `read create update`, as far as each is allowed.
fn access(field: &FieldSchema) -> String {
    let rights = [
        (field.readable, "read"),
        (field.writable_on_create, "create"),
        (field.writable_on_update, "update"),
    ];
    let granted = rights.iter().filter(|(granted, _)| *granted).map(|(_, name)| *name);
    granted.collect::<Vec<_>>().join(" ")
}

fn notes(field: &FieldSchema) -> String {
    const SHOWN: usize = 6;
    let mut notes: Vec<String> = Vec::new();
    let flags = [(field.required, "required"), (field.unique, "unique"), (field.custom, "custom")];
    notes.extend(flags.iter().filter(|(set, _)| *set).map(|(_, name)| (*name).to_owned()));
    notes.extend(field.target.iter().map(|target| format!("→ {target}")));
    if !field.options.is_empty() {
        let label = |option: &crmsync_core::model::schema::OptionSchema| match &option.parent {
            Some(parent) => format!("{parent} / {}", option.label),
            None => option.label.clone(),
        };
        let labels: Vec<_> = field.options.iter().take(SHOWN).map(label).collect();
        let more = field.options.len().saturating_sub(SHOWN);
        let rest = if more == 0 { String::new() } else { format!(" … {more} more") };
        notes.push(format!("options: {}{rest}", labels.join(" | ")));
    }
    notes.join(", ")
}
