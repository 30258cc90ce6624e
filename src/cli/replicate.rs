//! `replicate`: copy streams of a CRM into a database or a folder.

use super::args::Replicate;
use super::context::Context;
use super::exit::{Exit, Failure};
use super::progress::progress;
use super::render::Output;
use crate::connectors::streams::{Method, Stream};
use crate::service::replicate::{Outcome, Replica, ReplicaOptions, ReplicaReport, StreamReport};

pub(super) async fn run(context: &Context, args: &Replicate) -> Result<Exit, Failure> {
    let config = context.config()?;
    let options = ReplicaOptions {
        streams: args.streams.clone(),
        full: args.full,
        cancel: context.cancel.clone(),
    };
    let names: Vec<String> = match &args.name {
        Some(name) => vec![name.clone()],
        None => config.replications.keys().cloned().collect(),
    };
    if names.is_empty() {
        return Err(Failure::config("no [replications.…] table is configured").help(
            "write [replications.crm] with from = \"pipedrive\" and to = \"warehouse\", a connection of type sql",
        ));
    }
    let mut exit = Exit::Clean;
    let (mut listed, mut reports) = (Vec::new(), Vec::new());
    for name in &names {
        let replica = Box::pin(Replica::open(&config, name, &options, &context.ambient)).await?;
        if args.list {
            listed.extend(replica.streams().iter().cloned());
            continue;
        }
        let progress = progress(&context.output);
        let report =
            Box::pin(replica.run(&config, &options, &context.ambient, progress.as_ref())).await?;
        exit = exit.max(report.exit);
        reports.push(report);
    }
    if args.list {
        context.output.result(&listed, || show_streams(&listed, &context.output))?;
    } else {
        context.output.result(&reports, || {
            reports.iter().map(|report| show(report, &context.output)).collect()
        })?;
    }
    Ok(exit)
}

fn show_streams(streams: &[Stream], output: &Output) -> String {
    let rows = streams.iter().map(|stream| {
        let cursor = stream.cursor.clone().unwrap_or_default();
        vec![stream.name.clone(), method(stream.method).to_owned(), stream.key.clone(), cursor]
    });
    output.table(&["stream", "method", "key", "cursor"], rows)
}

const fn method(method: Method) -> &'static str {
    match method {
        Method::Changes => "changes",
        Method::FullTable => "full table",
    }
}

fn show(report: &ReplicaReport, output: &Output) -> String {
    let header = ["stream", "method", "read", "stored", "deleted", "rows", "note"];
    format!("{}\n{}", report.replication, output.table(&header, report.streams.iter().map(row)))
}

fn row(stream: &StreamReport) -> Vec<String> {
    let note = match (stream.outcome, &stream.note) {
        (Outcome::Skipped, Some(note)) => format!("skipped: {note}"),
        (Outcome::Failed, Some(note)) => format!("failed: {note}"),
        (_, note) => note.clone().unwrap_or_default(),
    };
    vec![
        stream.stream.clone(),
        method(stream.method).to_owned(),
        stream.read.to_string(),
        stream.stored.to_string(),
        stream.deleted.to_string(),
        stream.rows.map(|rows| rows.to_string()).unwrap_or_default(),
        note,
    ]
}
