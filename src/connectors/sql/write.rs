//! Writes: a batch is a transaction; a row that the database refuses is told from its neighbors by halving.

use std::collections::BTreeMap;

use crmsync_core::model::{ModuleName, RecordId, RemoteField, RemoteRecord, Value};

use super::super::{ErrorKind, UpdateRow, Written};
use super::Sql;
use super::client::Transaction;
use super::codec::{self, Cell};
use super::read::{Keep, decode_rows};
use super::refusal::{classify, is_about_rows, is_contention, is_unique_violation};
use super::schema::Table;
use super::statement::{self, Change, Returning, Statement};

/// How often a transaction that lost against another one is tried again.
const CONTENTIONS: u32 = 4;

/// Outcomes of rows, before the connector signs them.
pub(super) type Outcomes = Vec<Result<Written, ErrorKind>>;

/// A row to insert: its cells by column.
struct NewRow {
    at: usize,
    cells: BTreeMap<usize, Cell>,
}

/// A row to update.
struct ChangedRow {
    at: usize,
    id: RecordId,
    changes: Vec<Change>,
    expected: Vec<(usize, Cell)>,
}

/// Why a transaction was taken back.
enum Undone {
    /// The statement failed.
    Failed(sqlx::Error),
    /// A unique value of one of the rows is taken.
    Taken,
    /// The commit's answer did not come.
    Unsure(sqlx::Error),
    Kind(ErrorKind),
}

impl From<sqlx::Error> for Undone {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error)
    }
}

impl Sql {
    pub(super) async fn create_rows(
        &self,
        module: &ModuleName,
        rows: &[BTreeMap<RemoteField, Value>],
    ) -> Result<Outcomes, ErrorKind> {
        let table = self.table(module).await?;
        let mut outcomes = pending(rows.len());
        let mut groups: BTreeMap<Vec<usize>, Vec<NewRow>> = BTreeMap::new();
        for (at, row) in rows.iter().enumerate() {
            match self.encode_row(&table, row, None, Purpose::Create) {
                Ok(cells) => {
                    groups.entry(cells.keys().copied().collect()).or_default().push(NewRow { at, cells });
                }
                Err(kind) => outcomes[at] = Err(kind),
            }
        }
        for (places, rows) in groups {
            let most = self.client.dialect.most_binds() / places.len().max(1);
            // Rows that set nothing go one by one: no statement inserts several of them.
            let most = if places.is_empty() { 1 } else { most };
            let mut waiting: Vec<&[NewRow]> = rows.chunks(most).rev().collect();
            while let Some(batch) = waiting.pop() {
                let undone = match self.create_batch(&table, &places, batch).await {
                    Ok(written) => {
                        for (row, written) in batch.iter().zip(written) {
                            outcomes[row.at] = Ok(written);
                        }
                        continue;
                    }
                    Err(undone) => undone,
                };
                if batch.len() > 1 && undone.is_about_rows() {
                    let (first, second) = batch.split_at(batch.len() / 2);
                    waiting.extend([second, first]);
                    continue;
                }
                for row in batch {
                    outcomes[row.at] = Err(self.refused_create(&table, row, &undone).await);
                }
            }
        }
        Ok(outcomes)
    }

    async fn create_batch(
        &self,
        table: &Table,
        places: &[usize],
        batch: &[NewRow],
    ) -> Result<Vec<Written>, Undone> {
        let rows: Vec<Vec<Cell>> =
            batch.iter().map(|row| row.cells.values().cloned().collect()).collect();
        let rows: Vec<&[Cell]> = rows.iter().map(Vec::as_slice).collect();
        self.in_transaction(async |transaction| {
            let ids = self.insert_all(transaction, table, places, &rows).await?;
            self.written(transaction, table, ids).await
        })
        .await
    }

    /// Keys of the new rows, in order.
    async fn insert_all(
        &self,
        transaction: &mut Transaction,
        table: &Table,
        places: &[usize],
        rows: &[&[Cell]],
    ) -> Result<Vec<RecordId>, Undone> {
        let dialect = self.client.dialect;
        if self.returns_keys().await.map_err(Undone::Kind)? {
            let insert = statement::insert(dialect, table, places, rows, Returning::Keys);
            let keys = self.client.rows_in(transaction, &insert).await?;
            if keys.len() < rows.len() {
                return Err(Undone::Taken);
            }
            let ids: Option<Vec<_>> = keys.iter().map(|key| codec::encode_key(key)).collect();
            return ids.ok_or_else(|| null_key(table));
        }
        let mut ids = Vec::with_capacity(rows.len());
        for row in rows {
            let insert = statement::insert(dialect, table, places, &[*row], Returning::Nothing);
            let done = self.client.execute_in(transaction, &insert).await?;
            let parts = table.key.iter().map(|at| match places.iter().position(|place| place == at) {
                Some(given) => row[given].clone(),
                None => done
                    .last_id
                    .filter(|id| *id > 0)
                    .and_then(|id| i64::try_from(id).ok())
                    .map_or(Cell::Null, Cell::Integer),
            });
            let parts: Vec<_> = parts.collect();
            ids.push(codec::encode_key(&parts).ok_or_else(|| null_key(table))?);
        }
        Ok(ids)
    }

    /// What a refused row is told: for a taken unique value, whose it is.
    async fn refused_create(&self, table: &Table, row: &NewRow, undone: &Undone) -> ErrorKind {
        if undone.is_clash() {
            for (at, cell) in row.cells.iter().filter(|(_, cell)| **cell != Cell::Null) {
                let column = &table.columns[*at];
                if !column.unique && table.key != [*at] {
                    continue;
                }
                let holder = statement::holder(self.client.dialect, table, *at, cell);
                let Ok(rows) = self.client.rows(&holder).await else { continue };
                if let Some(existing) = rows.first().and_then(|key| codec::encode_key(key)) {
                    return ErrorKind::Duplicate { field: column.name.clone(), existing };
                }
            }
        }
        undone.kind()
    }

    pub(super) async fn update_rows(
        &self,
        module: &ModuleName,
        rows: &[UpdateRow],
    ) -> Result<Outcomes, ErrorKind> {
        let table = self.table(module).await?;
        let mut outcomes = pending(rows.len());
        let mut ready = Vec::with_capacity(rows.len());
        for (at, row) in rows.iter().enumerate() {
            match self.changed_row(&table, at, row) {
                Ok(changed) if changed.changes.is_empty() => {
                    outcomes[at] = Ok(unchanged(row));
                }
                Ok(changed) => ready.push(changed),
                Err(kind) => outcomes[at] = Err(kind),
            }
        }
        let mut waiting: Vec<&[ChangedRow]> = vec![&ready];
        while let Some(batch) = waiting.pop() {
            if batch.is_empty() {
                continue;
            }
            let undone = match self.update_batch(&table, batch).await {
                Ok(results) => {
                    for (row, result) in batch.iter().zip(results) {
                        outcomes[row.at] = result;
                    }
                    continue;
                }
                Err(undone) => undone,
            };
            if batch.len() > 1 && undone.is_about_rows() {
                let (first, second) = batch.split_at(batch.len() / 2);
                waiting.extend([second, first]);
                continue;
            }
            for row in batch {
                outcomes[row.at] = Err(undone.kind());
            }
        }
        Ok(outcomes)
    }

    fn changed_row(&self, table: &Table, at: usize, row: &UpdateRow) -> Result<ChangedRow, ErrorKind> {
        let cells = self.encode_row(table, &row.fields, Some(&row.current), Purpose::Update)?;
        let raw = raw_cells(&row.current);
        let mut expected = Vec::new();
        for place in cells.keys() {
            let name = &table.columns[*place].name;
            let read = raw.and_then(|raw| raw.get(name)).ok_or_else(|| {
                ErrorKind::Refused("the record was not read before its update".into())
            })?;
            expected.push((*place, Cell::from_json(read)));
        }
        if row.unmodified_since.is_some() {
            expected.extend(version(table, raw, &cells));
        }
        let changes = cells.into_iter().map(|(at, new)| Change { at, new }).collect();
        Ok(ChangedRow { at, id: row.id.clone(), changes, expected })
    }

    async fn update_batch(&self, table: &Table, batch: &[ChangedRow]) -> Result<Outcomes, Undone> {
        let dialect = self.client.dialect;
        self.in_transaction(async |transaction| {
            let mut missed = Vec::new();
            for row in batch {
                let update =
                    statement::update(dialect, table, &row.id, &row.changes, &row.expected);
                if self.client.execute_in(transaction, &update).await?.rows == 0 {
                    missed.push(row.id.clone());
                }
            }
            let ids = batch.iter().map(|row| row.id.clone()).collect();
            let now = self.stored(transaction, table, ids).await?;
            let outcome = |row: &ChangedRow| match (missed.contains(&row.id), now.get(&row.id)) {
                (true, Some(_)) => Err(ErrorKind::Stale),
                (true, None) => Err(ErrorKind::Gone),
                (false, record) => Ok(written(&row.id, record)),
            };
            Ok(batch.iter().map(outcome).collect())
        })
        .await
    }

    pub(super) async fn delete_rows(
        &self,
        module: &ModuleName,
        ids: &[RecordId],
    ) -> Result<Outcomes, ErrorKind> {
        let table = self.table(module).await?;
        let mut outcomes = pending(ids.len());
        let mut waiting = vec![0..ids.len()];
        while let Some(range) = waiting.pop() {
            if range.is_empty() {
                continue;
            }
            let delete = statement::delete(self.client.dialect, &table, &ids[range.clone()]);
            let done = self
                .in_transaction(async |transaction| {
                    Ok(self.client.execute_in(transaction, &delete).await?)
                })
                .await;
            match done {
                // A row that was gone already is as good.
                Ok(_) => {
                    for at in range {
                        outcomes[at] = Ok(written(&ids[at], None));
                    }
                }
                Err(undone) if range.len() > 1 && undone.is_about_rows() => {
                    let middle = usize::midpoint(range.start, range.end);
                    waiting.extend([middle..range.end, range.start..middle]);
                }
                Err(undone) => {
                    let kind = undone.kind_of_delete();
                    for at in range {
                        outcomes[at] = Err(kind.clone());
                    }
                }
            }
        }
        Ok(outcomes)
    }

    /// Runs `steps` in a transaction, again when it lost against another one.
    async fn in_transaction<T>(
        &self,
        steps: impl AsyncFn(&mut Transaction) -> Result<T, Undone>,
    ) -> Result<T, Undone> {
        for tried in 1.. {
            let mut transaction = self.client.begin().await.map_err(Undone::Kind)?;
            let undone = match steps(&mut transaction).await {
                Ok(done) => match transaction.commit().await {
                    Ok(()) => return Ok(done),
                    Err(error @ sqlx::Error::Database(_)) => Undone::Failed(error),
                    Err(error) => return Err(Undone::Unsure(error)),
                },
                Err(undone) => {
                    transaction.abandon().await;
                    undone
                }
            };
            let again = matches!(&undone, Undone::Failed(error) if is_contention(error));
            if !again || tried >= CONTENTIONS {
                return Err(undone);
            }
            tokio::time::sleep(self.settings.retry.first * tried).await;
        }
        Err(Undone::Kind(ErrorKind::Unavailable("no transaction was tried".into())))
    }

    async fn written(
        &self,
        transaction: &mut Transaction,
        table: &Table,
        ids: Vec<RecordId>,
    ) -> Result<Vec<Written>, Undone> {
        let now = self.stored(transaction, table, ids.clone()).await?;
        Ok(ids.iter().map(|id| written(id, now.get(id))).collect())
    }

    /// Rows as they stand at the end of the transaction, after all triggers.
    async fn stored(
        &self,
        transaction: &mut Transaction,
        table: &Table,
        ids: Vec<RecordId>,
    ) -> Result<BTreeMap<RecordId, RemoteRecord>, Undone> {
        let places = table.readable();
        let names: Vec<_> =
            places.iter().map(|at| RemoteField::new(table.columns[*at].name.clone())).collect();
        let records = self.records(table, &places);
        let rows = self.client.rows_in(transaction, &records.by_ids(&ids)).await?;
        let page = decode_rows(&records, &rows, &names, Keep::Raw);
        Ok(page.records.into_iter().map(|record| (record.id.clone(), record)).collect())
    }

    fn encode_row(
        &self,
        table: &Table,
        row: &BTreeMap<RemoteField, Value>,
        current: Option<&RemoteRecord>,
        purpose: Purpose,
    ) -> Result<BTreeMap<usize, Cell>, ErrorKind> {
        let raw = current.and_then(raw_cells);
        let mut cells = BTreeMap::new();
        for (field, value) in row {
            let (at, column) = table.column(field.as_str()).ok_or_else(|| table.unknown(field))?;
            let invalid =
                |reason: String| ErrorKind::Invalid { field: column.name.clone(), reason };
            if purpose == Purpose::Update && table.key.contains(&at) {
                return Err(invalid("is part of the key; a row with another key is another record".into()));
            }
            // A default is better than nothing where nothing is not allowed.
            if purpose == Purpose::Create && value.is_empty() && column.filled && !column.nullable {
                continue;
            }
            let old = raw.and_then(|raw| raw.get(&column.name)).map(Cell::from_json);
            let (dialect, zone) = (self.client.dialect, self.settings.time_zone);
            let cell = codec::encode(dialect, column, value, old.as_ref(), zone).map_err(invalid)?;
            cells.insert(at, cell);
        }
        Ok(cells)
    }

    /// PostgreSQL, SQLite and MariaDB answer an insert with the new keys; MySQL does not.
    async fn returns_keys(&self) -> Result<bool, ErrorKind> {
        let version = self.version().await?;
        Ok(self.client.dialect != super::Dialect::MySql || version.contains("MariaDB"))
    }

    pub(super) async fn version(&self) -> Result<&str, ErrorKind> {
        let dialect = self.client.dialect;
        let asked = match dialect {
            super::Dialect::Sqlite => "SELECT sqlite_version()",
            super::Dialect::Postgres => "SELECT current_setting('server_version')",
            super::Dialect::MySql => "SELECT CAST(VERSION() AS CHAR)",
        };
        let version = self.version.get_or_try_init(|| async {
            let rows = self.client.rows(&Statement::of(dialect, asked, &[])).await?;
            let text = rows.first().and_then(|row| row.first()?.to_text());
            text.ok_or_else(|| ErrorKind::Undecodable("the database's version".into()))
        });
        Ok(version.await?.as_str())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Create,
    Update,
}

impl Undone {
    fn is_clash(&self) -> bool {
        match self {
            Self::Taken => true,
            Self::Failed(error) => is_unique_violation(error),
            Self::Unsure(_) | Self::Kind(_) => false,
        }
    }

    fn is_about_rows(&self) -> bool {
        match self {
            Self::Taken => true,
            Self::Failed(error) => is_about_rows(error),
            Self::Unsure(_) | Self::Kind(_) => false,
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Taken => ErrorKind::Refused("a unique value is taken by another record".into()),
            Self::Failed(error) => classify(error),
            Self::Unsure(error) => ErrorKind::ReplyLost(classify(error).to_string()),
            Self::Kind(kind) => kind.clone(),
        }
    }

    /// A reference that breaks by a delete is not the deleted row's mistake.
    fn kind_of_delete(&self) -> ErrorKind {
        match self {
            Self::Failed(sqlx::Error::Database(refused)) if refused.is_foreign_key_violation() => {
                ErrorKind::Refused("other records refer to it".into())
            }
            Self::Taken | Self::Failed(_) | Self::Unsure(_) | Self::Kind(_) => self.kind(),
        }
    }
}

/// What shows any other edit since the re-read: the modified column, else every column that was read.
fn version(
    table: &Table,
    raw: Option<&serde_json::Map<String, serde_json::Value>>,
    changed: &BTreeMap<usize, Cell>,
) -> Vec<(usize, Cell)> {
    let read = raw.into_iter().flatten().filter_map(|(name, cell)| {
        let (at, _) = table.column(name)?;
        let tells = table.modified.is_none_or(|modified| modified == at);
        (tells && !changed.contains_key(&at)).then(|| (at, Cell::from_json(cell)))
    });
    read.collect()
}

fn null_key(table: &Table) -> Undone {
    Undone::Kind(ErrorKind::Refused(format!(
        "{} got a row without a key; map its key columns, or let the database fill them",
        table.module
    )))
}

fn pending(rows: usize) -> Outcomes {
    (0..rows).map(|_| Err(ErrorKind::Refused("the row was not sent".into()))).collect()
}

fn raw_cells(record: &RemoteRecord) -> Option<&serde_json::Map<String, serde_json::Value>> {
    record.raw.as_ref()?.as_object()
}

fn written(id: &RecordId, stored: Option<&RemoteRecord>) -> Written {
    let modified_at = stored.and_then(|record| record.modified_at);
    Written { id: id.clone(), modified_at, stored: stored.cloned() }
}

fn unchanged(row: &UpdateRow) -> Written {
    Written {
        id: row.id.clone(),
        modified_at: row.current.modified_at,
        stored: Some(row.current.clone()),
    }
}
