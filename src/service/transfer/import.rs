//! A file into a module: rows are read, checked, and written in batches; what fails stands in a file that is again an
//! input.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crmsync_core::model::schema::FieldSchema;
use crmsync_core::model::{ModuleName, RecordId, RemoteField, RemoteRecord, Value};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::export::written;
use super::files::{BadRow, Row, Rows, Sink};
use super::{Columns, ID, record_id};
use crate::connectors::{Connector, ErrorKind, ListRequest, Order, PageKey, RowResult, UpdateRow};
use crate::service::error::ServiceError;
use crate::service::run::Progress;

/// What becomes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Insert,
    /// The record must be there.
    Update,
    /// Updates the record that the key names, or makes one.
    Upsert,
    Delete,
}

/// What a command asks of an import.
#[derive(Clone)]
pub struct Import {
    /// `-` is stdin.
    pub path: PathBuf,
    pub mode: Mode,
    /// Column whose value names a record: `id`, or a field with a value of its own in each record.
    pub key: String,
    /// Other names of fields: a mapping's canonical ones.
    pub aliases: BTreeMap<String, String>,
    /// Writes empty cells too: they clear.
    pub clears: bool,
    pub dry_run: bool,
    /// Rows before this line were imported by an earlier run.
    pub from_line: u64,
    pub success: Option<PathBuf>,
    /// Made when a row fails; absent for stdin unless named.
    pub errors: Option<PathBuf>,
    pub cancel: CancellationToken,
}

/// What an import came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Imported {
    pub read: u64,
    pub created: u64,
    pub updated: u64,
    pub deleted: u64,
    pub failed: u64,
    /// The first of them, with line and column.
    pub errors: Vec<RowError>,
    /// The line that the next run begins with, when this one had to stop.
    pub stopped_at: Option<u64>,
    pub stopped_by: Option<String>,
}

/// A row that was not imported.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RowError {
    pub line: u64,
    pub column: String,
    pub reason: String,
}

/// How many errors a report lists; the file has all of them.
const LISTED: usize = 20;

/// A checked row.
struct Ready {
    row: Row,
    id: Option<RecordId>,
    key: Option<String>,
    fields: BTreeMap<RemoteField, Value>,
}

/// One import under way.
struct Importer<'a> {
    connector: &'a dyn Connector,
    module: &'a ModuleName,
    options: &'a Import,
    columns: Columns,
    /// What each column of the file stands for, as far as seen.
    meanings: BTreeMap<Arc<str>, Result<Arc<FieldSchema>, String>>,
    /// The field that is the key, unless it is the ID.
    key: Option<FieldSchema>,
    /// Records by their key's value.
    known: BTreeMap<String, Option<RecordId>>,
    success: Option<Sink>,
    errors: Option<Sink>,
    error_columns: Vec<String>,
    /// Checked rows that wait to be written together, and their keys.
    batch: Vec<Ready>,
    keys: BTreeSet<String>,
    /// The last row that was read.
    last_line: u64,
    imported: Imported,
}

/// Imports a file.
///
/// # Errors
/// A file that cannot be read, a column that stands for no field, a side out of reach before anything was written.
pub async fn import(
    connector: &dyn Connector,
    module: &ModuleName,
    options: &Import,
    progress: &dyn Progress,
) -> Result<Imported, ServiceError> {
    let unreadable = |error: std::io::Error| {
        ServiceError::Config(format!("cannot read {}: {error}", options.path.display()))
    };
    let mut rows = Rows::open(&options.path).map_err(unreadable)?;
    let columns = Columns::new(
        connector.describe(module).await?,
        &connector.users().await?,
        options.aliases.clone(),
    );
    let mut importer = Importer::new(connector, module, options, columns, rows.header())?;
    importer.read_keys(progress).await?;
    progress.phase(&format!("importing into {module}"), None);
    loop {
        if options.cancel.is_cancelled() {
            importer.stop();
            break;
        }
        let Some(row) = rows.read_next().map_err(unreadable)? else {
            importer.flush().await?;
            break;
        };
        if line_of(&row) < options.from_line {
            continue;
        }
        progress.advance(1);
        if !importer.add(row).await? {
            break;
        }
    }
    importer.finish()
}

fn line_of(row: &Result<Row, BadRow>) -> u64 {
    match row {
        Ok(row) => row.line,
        Err(bad) => bad.row.line,
    }
}

impl<'a> Importer<'a> {
    fn new(
        connector: &'a dyn Connector,
        module: &'a ModuleName,
        options: &'a Import,
        columns: Columns,
        header: &[Arc<str>],
    ) -> Result<Self, ServiceError> {
        let key = (options.key != ID)
            .then(|| columns.field(&options.key))
            .transpose()
            .map_err(|reason| ServiceError::Config(format!("--key: {reason}")))?;
        let mut importer = Self {
            connector,
            module,
            options,
            columns,
            meanings: BTreeMap::new(),
            key,
            known: BTreeMap::new(),
            success: None,
            errors: None,
            error_columns: header.iter().map(ToString::to_string).collect(),
            batch: Vec::new(),
            keys: BTreeSet::new(),
            last_line: 0,
            imported: Imported::default(),
        };
        for name in header {
            // A mistake in the header is one mistake, not one a row.
            if let Some(Err(reason)) = importer.meaning(name) {
                let reason = reason.clone();
                return Err(ServiceError::Config(format!("column `{name}`: {reason}")));
            }
        }
        importer.check_header(header)?;
        Ok(importer)
    }

    /// What the mode needs must be there.
    fn check_header(&self, header: &[Arc<str>]) -> Result<(), ServiceError> {
        if header.is_empty() {
            return Ok(());
        }
        let is_key = |name: &Arc<str>| match &self.key {
            None => &**name == ID,
            Some(key) => {
                matches!(self.meanings.get(name), Some(Ok(field)) if field.name == key.name)
            }
        };
        if self.options.mode != Mode::Insert && !header.iter().any(is_key) {
            let reason = format!("the file has no column `{}`, which is the key", self.options.key);
            return Err(ServiceError::Config(reason));
        }
        Ok(())
    }

    /// The field that a column stands for; `None` for the ID and for columns that begin with `_`.
    fn meaning(&mut self, name: &Arc<str>) -> Option<&Result<Arc<FieldSchema>, String>> {
        if name.starts_with('_') || &**name == ID {
            return None;
        }
        if !self.meanings.contains_key(name) {
            let meaning =
                self.columns.field(name).and_then(|field| self.writable(field)).map(Arc::new);
            self.meanings.insert(Arc::clone(name), meaning);
        }
        self.meanings.get(name)
    }

    fn writable(&self, field: FieldSchema) -> Result<FieldSchema, String> {
        let is_key = self.key.as_ref().is_some_and(|key| key.name == field.name);
        let writable = match self.options.mode {
            Mode::Insert => field.writable_on_create,
            Mode::Update => field.writable_on_update,
            Mode::Upsert => field.writable_on_create || field.writable_on_update,
            Mode::Delete => true,
        };
        if writable || is_key {
            Ok(field)
        } else {
            Err(format!(
                "`{}` is read-only; name the column with a leading _ to leave it out",
                field.name
            ))
        }
    }

    fn batch_size(&self) -> usize {
        let capabilities = self.connector.capabilities(self.module);
        let sizes = match self.options.mode {
            Mode::Insert => capabilities.create_batch,
            Mode::Update => capabilities.update_batch.max(capabilities.fetch_batch),
            Mode::Upsert => capabilities.create_batch.max(capabilities.fetch_batch),
            Mode::Delete => capabilities.delete_batch,
        };
        sizes.max(1)
    }

    /// Reads which record has which key: for all of them, since no side searches without lag.
    async fn read_keys(&mut self, progress: &dyn Progress) -> Result<(), ServiceError> {
        let Some(key) = self.key.clone().filter(|_| self.options.mode != Mode::Insert) else {
            return Ok(());
        };
        progress.phase(&format!("reading `{}` of {}", key.name, self.module), None);
        let fields = [key.name.clone()];
        let mut page: Option<PageKey> = None;
        loop {
            let request = ListRequest {
                module: self.module,
                fields: &fields,
                since: None,
                order: Order::Id,
                page: page.as_ref(),
            };
            let read = self.connector.list(&request).await?;
            progress.advance(read.records.len() as u64);
            for record in read.records {
                let Some(value) = record.fields.get(&key.name).filter(|value| !value.is_empty())
                else {
                    continue;
                };
                // Two records with one value: the key names neither.
                self.known
                    .entry(fold(value))
                    .and_modify(|known| *known = None)
                    .or_insert(Some(record.id));
            }
            page = read.next;
            if page.is_none() {
                return Ok(());
            }
        }
    }

    /// Takes a row; `false` when the side went out of reach and the import stops.
    async fn add(&mut self, row: Result<Row, BadRow>) -> Result<bool, ServiceError> {
        self.imported.read += 1;
        self.last_line = line_of(&row);
        let mut ready = match row.and_then(|row| self.check(row)) {
            Ok(ready) => ready,
            Err(bad) => {
                self.fail(&bad)?;
                return Ok(true);
            }
        };
        // Two rows about one record go one after the other.
        let repeats = ready.key.as_ref().is_some_and(|key| self.keys.contains(key));
        if repeats && !self.flush().await? {
            return self.abandon(vec![ready]);
        }
        if let Some((column, reason)) = self.find(&mut ready) {
            self.fail(&BadRow { row: ready.row, column, reason })?;
            return Ok(true);
        }
        self.keys.extend(ready.key.clone());
        self.batch.push(ready);
        if self.batch.len() < self.batch_size() { Ok(true) } else { self.flush().await }
    }

    async fn flush(&mut self) -> Result<bool, ServiceError> {
        self.keys.clear();
        let batch = std::mem::take(&mut self.batch);
        self.write(batch).await
    }

    fn check(&mut self, row: Row) -> Result<Ready, BadRow> {
        let mut ready = Ready {
            row: Row { line: row.line, cells: Vec::new() },
            id: None,
            key: None,
            fields: BTreeMap::new(),
        };
        let mut wrong = None;
        for (name, cell) in &row.cells {
            if &**name == ID {
                ready.id = record_id(cell);
                continue;
            }
            let field = match self.meaning(name) {
                None => continue,
                Some(Ok(field)) => Arc::clone(field),
                Some(Err(reason)) => {
                    wrong = wrong.or(Some((name.to_string(), reason.clone())));
                    continue;
                }
            };
            match self.columns.read(&field, cell) {
                Ok(value) => {
                    if self.key.as_ref().is_some_and(|key| key.name == field.name)
                        && !value.is_empty()
                    {
                        ready.key = Some(fold(&value));
                    }
                    if !value.is_empty() || self.options.clears {
                        ready.fields.insert(field.name.clone(), value);
                    }
                }
                Err(reason) => wrong = wrong.or(Some((name.to_string(), reason))),
            }
        }
        match wrong {
            Some((column, reason)) => Err(BadRow { row, column, reason }),
            None => Ok(Ready { row, ..ready }),
        }
    }

    /// Finds the record that the key names, and what a new one lacks.
    fn find(&self, ready: &mut Ready) -> Option<(String, String)> {
        let column = self.options.key.clone();
        if self.key.is_some() && self.options.mode != Mode::Insert {
            let Some(key) = &ready.key else {
                return Some((column, "is empty, and is the key".into()));
            };
            ready.id = match self.known.get(key) {
                Some(Some(id)) => Some(id.clone()),
                Some(None) => return Some((column, "names several records".into())),
                None => None,
            };
        }
        match (self.options.mode, &ready.id) {
            (Mode::Update | Mode::Delete, None) => Some((column, "names no record".into())),
            (Mode::Insert, _) | (Mode::Upsert, None) => {
                let has = |field: &&FieldSchema| {
                    ready.fields.get(&field.name).is_none_or(Value::is_empty)
                };
                let missing = self.columns.required().find(has)?;
                Some((missing.name.to_string(), "is needed to make a record, and is empty".into()))
            }
            (Mode::Update | Mode::Delete | Mode::Upsert, Some(_)) => None,
        }
    }

    /// Writes a batch; `false` when the side went out of reach and the import stops.
    async fn write(&mut self, batch: Vec<Ready>) -> Result<bool, ServiceError> {
        let (known, new): (Vec<Ready>, Vec<Ready>) = batch
            .into_iter()
            .partition(|ready| ready.id.is_some() && self.options.mode != Mode::Insert);
        if self.options.dry_run {
            match self.options.mode {
                Mode::Delete => self.imported.deleted += known.len() as u64,
                Mode::Insert | Mode::Update | Mode::Upsert => {
                    self.imported.updated += known.len() as u64;
                    self.imported.created += new.len() as u64;
                }
            }
            return Ok(true);
        }
        if !new.is_empty() {
            let rows: Vec<_> = new.iter().map(|ready| ready.fields.clone()).collect();
            let mut results = Vec::with_capacity(rows.len());
            let most = self.connector.capabilities(self.module).create_batch.max(1);
            for rows in rows.chunks(most) {
                results.extend(self.connector.create(self.module, rows).await);
            }
            if !self.settle(new, results, "created")? {
                return self.abandon(known);
            }
        }
        if known.is_empty() {
            return Ok(true);
        }
        if self.options.mode == Mode::Delete {
            let ids: Vec<_> = known.iter().filter_map(|ready| ready.id.clone()).collect();
            let results = self.connector.delete(self.module, &ids).await;
            return self.settle(known, results, "deleted");
        }
        self.update(known).await
    }

    /// Reads the records as they are, then writes what the rows say.
    async fn update(&mut self, known: Vec<Ready>) -> Result<bool, ServiceError> {
        let capabilities = self.connector.capabilities(self.module);
        let fields: BTreeSet<RemoteField> =
            known.iter().flat_map(|ready| ready.fields.keys().cloned()).collect();
        let fields: Vec<_> = fields.into_iter().collect();
        let ids: Vec<_> = known.iter().filter_map(|ready| ready.id.clone()).collect();
        let mut current: BTreeMap<RecordId, RemoteRecord> = BTreeMap::new();
        for ids in ids.chunks(capabilities.fetch_batch.max(1)) {
            match self.connector.fetch(self.module, ids, &fields).await {
                Ok(page) => {
                    current
                        .extend(page.records.into_iter().map(|record| (record.id.clone(), record)));
                }
                Err(error) => {
                    self.imported.stopped_by = Some(error.to_string());
                    return self.abandon(known);
                }
            }
        }
        let (mut ready, mut rows) = (Vec::new(), Vec::new());
        for row in known {
            let Some(record) = row.id.as_ref().and_then(|id| current.get(id)) else {
                let reason = "names a record that is not there".to_owned();
                self.fail(&BadRow { row: row.row, column: self.options.key.clone(), reason })?;
                continue;
            };
            let fields = row.fields.clone();
            rows.push(UpdateRow {
                id: record.id.clone(),
                fields,
                current: record.clone(),
                unmodified_since: None,
            });
            ready.push(row);
        }
        let mut results = Vec::with_capacity(rows.len());
        for rows in rows.chunks(capabilities.update_batch.max(1)) {
            results.extend(self.connector.update(self.module, rows).await);
        }
        self.settle(ready, results, "updated")
    }

    /// Tells what became of each row; `false` when the side went out of reach.
    fn settle(
        &mut self,
        rows: Vec<Ready>,
        results: Vec<RowResult>,
        outcome: &'static str,
    ) -> Result<bool, ServiceError> {
        let mut unwritten = Vec::new();
        for (ready, result) in rows.into_iter().zip(results) {
            match result {
                Ok(written) => {
                    match outcome {
                        "created" => self.imported.created += 1,
                        "updated" => self.imported.updated += 1,
                        _ => self.imported.deleted += 1,
                    }
                    if let Some(key) = &ready.key {
                        self.known.insert(key.clone(), Some(written.id.clone()));
                    }
                    self.succeed(&ready.row, &written.id, outcome)?;
                }
                Err(error) if ServiceError::is_side_down(&error.kind) => {
                    self.imported.stopped_by.get_or_insert(error.to_string());
                    unwritten.push(ready);
                }
                Err(error) => {
                    let column = if let ErrorKind::Invalid { field, .. }
                    | ErrorKind::Duplicate { field, .. } = &error.kind
                    {
                        field.clone()
                    } else {
                        String::new()
                    };
                    let reason = error.kind.to_string();
                    self.fail(&BadRow { row: ready.row, column, reason })?;
                }
            }
        }
        if unwritten.is_empty() { Ok(true) } else { self.abandon(unwritten) }
    }

    /// A person stops: the next run begins with the first row that waits.
    fn stop(&mut self) {
        let first = self.batch.first().map(|ready| ready.row.line);
        self.imported.stopped_at = first.or(Some(self.last_line + 1));
        self.imported.stopped_by = Some("stopped".into());
    }

    /// The side is out of reach: what was read and not written goes to the refused rows, so that the next run can
    /// begin behind it.
    fn abandon(&mut self, rows: Vec<Ready>) -> Result<bool, ServiceError> {
        let reason = self.imported.stopped_by.clone().unwrap_or_default();
        for ready in rows {
            self.fail(&BadRow { row: ready.row, column: String::new(), reason: reason.clone() })?;
        }
        self.imported.stopped_at = Some(self.last_line + 1);
        Ok(false)
    }

    fn succeed(&mut self, row: &Row, id: &RecordId, outcome: &str) -> Result<(), ServiceError> {
        let Some(path) = &self.options.success else { return Ok(()) };
        if self.success.is_none() {
            let columns = with_notes(&columns_of(&self.error_columns, row), &["_id", "_outcome"]);
            self.success = Some(create(path, columns)?);
        }
        let mut cells = in_order(&columns_of(&self.error_columns, row), row);
        cells.extend([id.to_string(), outcome.to_owned()]);
        match &mut self.success {
            Some(sink) => sink.add(&cells).map_err(|error| written(path, &error)),
            None => Ok(()),
        }
    }

    fn fail(&mut self, bad: &BadRow) -> Result<(), ServiceError> {
        self.imported.failed += 1;
        if self.imported.errors.len() < LISTED {
            let (column, reason) = (bad.column.clone(), bad.reason.clone());
            self.imported.errors.push(RowError { line: bad.row.line, column, reason });
        }
        let Some(path) = self.options.errors.as_ref().filter(|_| !self.options.dry_run) else {
            return Ok(());
        };
        let columns = columns_of(&self.error_columns, &bad.row);
        if self.errors.is_none() {
            self.error_columns.clone_from(&columns);
            self.errors =
                Some(create(path, with_notes(&columns, &["_line", "_column", "_error"]))?);
        }
        let mut cells = in_order(&self.error_columns, &bad.row);
        cells.extend([bad.row.line.to_string(), bad.column.clone(), bad.reason.clone()]);
        match &mut self.errors {
            Some(sink) => sink.add(&cells).map_err(|error| written(path, &error)),
            None => Ok(()),
        }
    }

    fn finish(self) -> Result<Imported, ServiceError> {
        for (sink, path) in
            [(self.success, &self.options.success), (self.errors, &self.options.errors)]
        {
            if let (Some(sink), Some(path)) = (sink, path) {
                sink.finish().map_err(|error| written(path, &error))?;
            }
        }
        Ok(self.imported)
    }
}

/// The file's own columns; JSON Lines have those of the first row. What an earlier run noted is noted anew.
fn columns_of(header: &[String], row: &Row) -> Vec<String> {
    let known: Vec<String> = if header.is_empty() {
        row.cells.iter().map(|(name, _)| name.to_string()).collect()
    } else {
        header.to_vec()
    };
    known.into_iter().filter(|name| !NOTES.contains(&name.as_str())).collect()
}

const NOTES: [&str; 5] = ["_line", "_column", "_error", "_id", "_outcome"];

fn with_notes(columns: &[String], notes: &[&str]) -> Vec<String> {
    columns.iter().cloned().chain(notes.iter().map(|note| (*note).to_owned())).collect()
}

fn in_order(columns: &[String], row: &Row) -> Vec<String> {
    columns.iter().map(|name| row.cell(name).unwrap_or_default().to_owned()).collect()
}

fn create(path: &Path, columns: Vec<String>) -> Result<Sink, ServiceError> {
    Sink::create(path, None, columns, true).map_err(|error| written(path, &error))
}

/// How keys are compared: as people do, without regard to case.
fn fold(value: &Value) -> String {
    value.to_string().trim().to_lowercase()
}
