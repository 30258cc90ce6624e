//! A module out into a file: page by page, as people write its values.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crmsync_core::model::schema::FieldSchema;
use crmsync_core::model::{ModuleName, RemoteField, RemoteRecord, Value};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::files::{Format, Sink};
use super::{Columns, ID};
use crate::connectors::{Connector, ErrorKind, ListRequest, Order, PageKey};
use crate::service::error::ServiceError;
use crate::service::run::Progress;

/// How often one walk may start again.
const RESTARTS: u32 = 50;

/// What a command asks of an export.
#[derive(Clone)]
pub struct Export {
    /// `-` is stdout.
    pub path: PathBuf,
    pub format: Option<Format>,
    /// Names or labels; empty: every readable field.
    pub fields: Vec<String>,
    /// Leaves cells as they are, formulas too.
    pub keeps_formulas: bool,
    pub cancel: CancellationToken,
}

/// What an export came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Exported {
    pub rows: u64,
    /// Records that could not be read, by reason.
    pub unreadable: BTreeMap<String, u64>,
}

/// Writes every record of a module. The file appears when it is whole.
///
/// # Errors
/// An unknown module or field, a side out of reach, a file that cannot be written.
pub async fn export(
    connector: &dyn Connector,
    module: &ModuleName,
    options: &Export,
    progress: &dyn Progress,
) -> Result<Exported, ServiceError> {
    let columns =
        Columns::new(connector.describe(module).await?, &connector.users().await?, BTreeMap::new());
    let fields = chosen(&columns, &options.fields)?;
    let names: Vec<RemoteField> = fields.iter().map(|field| field.name.clone()).collect();
    let titles: Vec<String> = std::iter::once(ID.to_owned())
        .chain(
            fields
                .iter()
                .map(|field| columns.title(field))
                .map(|title| if title == ID { format!("{ID} (field)") } else { title }),
        )
        .collect();
    let failed = |error: std::io::Error| written(&options.path, &error);
    let mut sink = Sink::create(&options.path, options.format, titles, !options.keeps_formulas)
        .map_err(failed)?;
    let order = if connector.capabilities(module).scan_limit.is_some() {
        Order::Modified
    } else {
        Order::Id
    };
    let (mut exported, mut restarts) = (Exported::default(), 0);
    let (mut page, mut since, mut newest) = (None::<PageKey>, None, None);
    progress.phase(&format!("reading {module}"), None);
    loop {
        if options.cancel.is_cancelled() {
            return Err(ServiceError::Cancelled);
        }
        let request = ListRequest { module, fields: &names, since, order, page: page.as_ref() };
        let read = match connector.list(&request).await {
            Ok(read) => read,
            // Beyond what one walk may be, it goes on from the last time seen.
            Err(error)
                if restarts < RESTARTS
                    && matches!(error.kind, ErrorKind::PageExpired | ErrorKind::ScanLimit)
                    && order == Order::Modified =>
            {
                restarts += 1;
                (page, since) = (None, newest.or(since));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        newest = newest.max(read.records.iter().filter_map(|record| record.modified_at).max());
        for record in &read.records {
            sink.add(&cells(&columns, &fields, record)).map_err(failed)?;
        }
        for sick in &read.undecodable {
            *exported.unreadable.entry(sick.reason.clone()).or_default() += 1;
        }
        exported.rows += read.records.len() as u64;
        progress.advance(read.records.len() as u64);
        page = read.next;
        if page.is_none() {
            break;
        }
    }
    sink.finish().map_err(failed)?;
    Ok(exported)
}

fn cells(columns: &Columns, fields: &[FieldSchema], record: &RemoteRecord) -> Vec<String> {
    let cell = |field: &FieldSchema| match record.fields.get(&field.name) {
        Some(Value::Empty) | None => String::new(),
        Some(value) => columns.show(field, value),
    };
    std::iter::once(record.id.to_string()).chain(fields.iter().map(cell)).collect()
}

fn chosen(columns: &Columns, names: &[String]) -> Result<Vec<FieldSchema>, ServiceError> {
    if names.is_empty() {
        return Ok(columns
            .readable()
            .into_iter()
            .filter(|field| field.name.as_str() != ID)
            .collect());
    }
    names.iter().map(|name| columns.field(name).map_err(ServiceError::Config)).collect()
}

pub(super) fn written(path: &Path, error: &std::io::Error) -> ServiceError {
    ServiceError::Config(format!("cannot write {}: {error}", path.display()))
}
