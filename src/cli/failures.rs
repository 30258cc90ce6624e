//! `failures`: what a side refused for good, and letting it try again.

use super::args;
use super::conflicts;
use super::context::Context;
use super::exit::{Exit, Failure};
use super::plan;
use super::render::counted;
use crate::report::history::History;
use crate::report::listing::Topic;

pub(super) async fn run(context: &Context, args: &args::Failures) -> Result<Exit, Failure> {
    match args {
        args::Failures::List(args) => conflicts::list(context, args, Topic::Failures).await,
        args::Failures::Export(args) => conflicts::export(context, args, Topic::Failures).await,
        args::Failures::Retry(args) => retry(context, args).await,
    }
}

async fn retry(context: &Context, args: &args::Retry) -> Result<Exit, Failure> {
    let config = context.config()?;
    let history = History::open(&config, &context.ambient).await?;
    let targets: Vec<_> = args.target.clone().into_iter().collect();
    let mut released: u64 = 0;
    for (route, entities) in plan::choose(&config, &targets)? {
        let quarantines = history.quarantines(&route).await?;
        let chosen = quarantines.iter().filter(|quarantine| {
            let key = &quarantine.key;
            (entities.is_empty() || entities.contains(&key.entity))
                && args.record.as_ref().is_none_or(|id| key.id.as_str() == id)
        });
        let chosen: Vec<_> = chosen.collect();
        if !chosen.is_empty() {
            history.retry(&route, &chosen).await?;
            released += chosen.len() as u64;
        }
    }
    context.output.result(&serde_json::json!({ "released": released }), || {
        format!("{} will try again in the next crmsync sync\n", counted(released, "refusal"))
    })?;
    Ok(Exit::Clean)
}
