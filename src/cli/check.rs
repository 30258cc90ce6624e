//! `check`: proves the store, every connection and every mapping, and says what is wrong with each.

use std::collections::BTreeSet;

use crmsync_core::mapping::Severity;
use crmsync_core::model::{ModuleName, Side};
use serde::Serialize;

use super::context::Context;
use super::exit::{Exit, Failure};
use super::mapping;
use super::operations;
use super::render::{counted, joined};
use crate::config::Config;
use crate::report::history::History;
use crate::report::sides;
use crate::service::topology::refuse_circles;

#[derive(Serialize)]
struct Proof {
    /// `store`, `connection zoho`, `route crm`.
    subject: String,
    ok: bool,
    message: String,
    warnings: Vec<String>,
    #[serde(skip)]
    exit: Exit,
}

impl Proof {
    fn new(subject: String, proven: Result<(String, Vec<String>), Failure>) -> Self {
        match proven {
            Ok((message, warnings)) => {
                Self { subject, ok: true, message, warnings, exit: Exit::Clean }
            }
            Err(failure) => {
                let help = failure.help.iter().map(|help| format!("help: {help}")).collect();
                let (exit, message) = (failure.exit, failure.message);
                Self { subject, ok: false, message, warnings: help, exit }
            }
        }
    }
}

pub(super) async fn run(context: &Context) -> Result<Exit, Failure> {
    let config = context.config()?;
    let mut proofs = vec![Proof::new("store".into(), store(context, &config).await)];
    for name in config.connections.keys() {
        let proof = connection(context, &config, name).await;
        proofs.push(Proof::new(format!("connection {name}"), proof));
    }
    if let Err(error) = refuse_circles(&config) {
        proofs.push(Proof::new("routes".into(), Err(error.into())));
    }
    for (name, route) in &config.routes {
        let compiled = operations::compile(context, &config, route).await;
        let proof = compiled.and_then(|found| {
            let errors = found.iter().filter(|it| it.severity == Severity::Error);
            let errors: Vec<_> = errors.inspect(|it| mapping::draw(context, it)).collect();
            if !errors.is_empty() {
                return Err(Failure::config(counted(errors.len() as u64, "mapping error")));
            }
            let warnings = match found.len() as u64 {
                0 => Vec::new(),
                some => {
                    vec![format!("{}: crmsync mapping check shows them", counted(some, "warning"))]
                }
            };
            let files = mapping::toml_files(&route.mappings)?.len() as u64;
            Ok((counted(files, "mapping"), warnings))
        });
        proofs.push(Proof::new(format!("route {name}"), proof));
    }
    context.output.result(&proofs, || proofs.iter().map(show).collect())?;
    Ok(proofs.iter().map(|proof| proof.exit).max().unwrap_or(Exit::Clean))
}

fn show(proof: &Proof) -> String {
    let verdict = if proof.ok { "ok  " } else { "fail" };
    let head = format!("{verdict} {}: {}\n", proof.subject, proof.message);
    let notes = joined(proof.warnings.iter().map(|warning| format!("       {warning}\n")));
    head + &notes
}

async fn store(context: &Context, config: &Config) -> Result<(String, Vec<String>), Failure> {
    let history = History::open(config, &context.ambient).await?;
    for route in config.routes.keys() {
        history.meta(route).await?;
    }
    let key = match &config.store.key {
        Some(key) => {
            operations::store_key(key)?;
            Vec::new()
        }
        None => {
            vec!["no [store] key: sign-ins cannot be stored; crmsync init makes one".to_owned()]
        }
    };
    Ok(("opens".to_owned(), key))
}

/// Signs in, and reads a first page of every mapped module: what a scope or a right hides shows here, and not in
/// the first run.
async fn connection(
    context: &Context,
    config: &Config,
    name: &str,
) -> Result<(String, Vec<String>), Failure> {
    let connector = operations::connector(context, config, name).await?;
    // What is remembered proves nothing about now.
    connector.forget_metadata();
    let account = connector.account().await?;
    let known = connector.modules().await?;
    let mut readable = 0;
    for module in mapped(config, name) {
        // A module that is not there is told by its mapping file, with line and caret.
        if known.iter().any(|(known, _)| *known == module) {
            operations::read_first_page(connector.as_ref(), &module).await?;
            readable += 1;
        }
    }
    operations::remember(context, config, name, connector.as_ref()).await?;
    let zone = account.time_zone.map(|zone| format!(", {zone}")).unwrap_or_default();
    let plan = if account.plan.is_empty() { String::new() } else { format!(", {}", account.plan) };
    let (user, organization) = (&account.user, &account.organization);
    let modules = counted(known.len() as u64, "module");
    let message = format!(
        "authorised as {user} at {organization}{plan}{zone}; {modules}, {readable} mapped and readable"
    );
    Ok((message, account.warnings))
}

/// Modules of the connection that mapping files name.
fn mapped(config: &Config, name: &str) -> BTreeSet<ModuleName> {
    let mut modules = BTreeSet::new();
    for route in config.routes.values() {
        for named in sides::modules(&route.mappings).into_values() {
            let own = Side::BOTH.into_iter().filter(|side| route.sides[*side] == name);
            modules.extend(own.map(|side| named[side].clone()));
        }
    }
    modules
}
