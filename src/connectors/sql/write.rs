//! Writes: a batch is a transaction; a row that the database refuses is told from its neighbors by halving.

use std::collections::{BTreeMap, BTreeSet};

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

/// What one transaction is to do.
#[derive(Clone, Copy)]
enum Work<'a> {
    Create {
        places: &'a [usize],
        rows: &'a [NewRow],
    },
    Update(&'a [ChangedRow]),
    Delete {
        /// Place of the first of the rows.
        at: usize,
        ids: &'a [RecordId],
    },
}

impl Work<'_> {
    /// Places of its rows among those of the call.
    fn places(&self) -> Vec<usize> {
        match self {
            Self::Create { rows, .. } => rows.iter().map(|row| row.at).collect(),
            Self::Update(rows) => rows.iter().map(|row| row.at).collect(),
            Self::Delete { at, ids } => (*at..at + ids.len()).collect(),
        }
    }

    /// Both halves; `None` for a row alone.
    fn halves(self) -> Option<[Self; 2]> {
        let half = self.places().len() / 2;
        (half > 0).then(|| match self {
            Self::Create { places, rows } => {
                let (first, second) = rows.split_at(half);
                [first, second].map(|rows| Self::Create { places, rows })
            }
            Self::Update(rows) => {
                let (first, second) = rows.split_at(half);
                [Self::Update(first), Self::Update(second)]
            }
            Self::Delete { at, ids } => {
                let (first, second) = ids.split_at(half);
                [Self::Delete { at, ids: first }, Self::Delete { at: at + half, ids: second }]
            }
        })
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
        // A statement inserts rows that set the same columns.
        let mut groups: BTreeMap<Vec<usize>, Vec<NewRow>> = BTreeMap::new();
        for (at, row) in rows.iter().enumerate() {
            match self.encode_row(&table, row, None, Purpose::Create) {
                Ok(cells) => {
                    let places = cells.keys().copied().collect();
                    groups.entry(places).or_default().push(NewRow { at, cells });
                }
                Err(kind) => outcomes[at] = Err(kind),
            }
        }
        let mut work = Vec::new();
        for (places, rows) in &groups {
            // Rows that set nothing go one by one: no statement inserts several of them.
            let most = self.client.dialect.most_binds().checked_div(places.len()).unwrap_or(1);
            work.extend(rows.chunks(most).map(|rows| Work::Create { places, rows }));
        }
        self.carry_out(&table, work, &mut outcomes).await;
        Ok(outcomes)
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
                Ok(changed) if changed.changes.is_empty() => outcomes[at] = Ok(unchanged(row)),
                Ok(changed) => ready.push(changed),
                Err(kind) => outcomes[at] = Err(kind),
            }
        }
        if !ready.is_empty() {
            self.carry_out(&table, vec![Work::Update(&ready)], &mut outcomes).await;
        }
        Ok(outcomes)
    }

    pub(super) async fn delete_rows(
        &self,
        module: &ModuleName,
        ids: &[RecordId],
    ) -> Result<Outcomes, ErrorKind> {
        let table = self.table(module).await?;
        let mut outcomes = pending(ids.len());
        if !ids.is_empty() {
            self.carry_out(&table, vec![Work::Delete { at: 0, ids }], &mut outcomes).await;
        }
        Ok(outcomes)
    }

    /// Does what can be done; what a row spoils is halved until it stands alone.
    async fn carry_out(&self, table: &Table, work: Vec<Work<'_>>, outcomes: &mut Outcomes) {
        let mut waiting = work;
        while let Some(work) = waiting.pop() {
            let undone = match self.in_transaction(table, work).await {
                Ok(results) => {
                    for (at, result) in work.places().into_iter().zip(results) {
                        outcomes[at] = result;
                    }
                    continue;
                }
                Err(undone) => undone,
            };
            if let Some([first, second]) = work.halves().filter(|_| undone.is_about_rows()) {
                waiting.extend([second, first]);
                continue;
            }
            let kind = self.refused(table, work, &undone).await;
            for at in work.places() {
                outcomes[at] = Err(kind.clone());
            }
        }
    }

    /// Works in a transaction, again when it lost against another one.
    async fn in_transaction(&self, table: &Table, work: Work<'_>) -> Result<Outcomes, Undone> {
        for tried in 1..=CONTENTIONS {
            let mut transaction = self.client.begin().await.map_err(Undone::Kind)?;
            let undone = match self.steps(&mut transaction, table, work).await {
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
            if !again || tried == CONTENTIONS {
                return Err(undone);
            }
            tokio::time::sleep(self.settings.retry.first * tried).await;
        }
        Err(Undone::Kind(ErrorKind::Unavailable("no transaction was tried".into())))
    }

    async fn steps(
        &self,
        transaction: &mut Transaction,
        table: &Table,
        work: Work<'_>,
    ) -> Result<Outcomes, Undone> {
        match work {
            Work::Create { places, rows } => {
                let cells: Vec<Vec<Cell>> =
                    rows.iter().map(|row| row.cells.values().cloned().collect()).collect();
                let cells: Vec<&[Cell]> = cells.iter().map(Vec::as_slice).collect();
                let ids = self.insert_all(transaction, table, places, &cells).await?;
                let now = self.stored(transaction, table, &ids).await?;
                Ok(ids.iter().map(|id| Ok(written(id, now.get(id)))).collect())
            }
            Work::Update(rows) => self.update_all(transaction, table, rows).await,
            Work::Delete { ids, .. } => {
                let delete = statement::delete(self.client.dialect, table, ids);
                self.client.execute_in(transaction, &delete).await?;
                // A row that was gone already is as good.
                Ok(ids.iter().map(|id| Ok(written(id, None))).collect())
            }
        }
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
            let made = done.last_id.filter(|id| *id > 0).and_then(|id| i64::try_from(id).ok());
            let part = |at: &usize| match places.iter().position(|place| place == at) {
                Some(given) => row[given].clone(),
                None => made.map_or(Cell::Null, Cell::Integer),
            };
            let parts: Vec<_> = table.key.iter().map(part).collect();
            ids.push(codec::encode_key(&parts).ok_or_else(|| null_key(table))?);
        }
        Ok(ids)
    }

    async fn update_all(
        &self,
        transaction: &mut Transaction,
        table: &Table,
        rows: &[ChangedRow],
    ) -> Result<Outcomes, Undone> {
        let mut missed = BTreeSet::new();
        for row in rows {
            let (changes, expected) = (&row.changes, &row.expected);
            let update = statement::update(self.client.dialect, table, &row.id, changes, expected);
            if self.client.execute_in(transaction, &update).await?.rows == 0 {
                missed.insert(&row.id);
            }
        }
        let ids: Vec<_> = rows.iter().map(|row| row.id.clone()).collect();
        let now = self.stored(transaction, table, &ids).await?;
        let outcome = |id: &RecordId| match (missed.contains(id), now.get(id)) {
            (true, Some(_)) => Err(ErrorKind::Stale),
            (true, None) => Err(ErrorKind::Gone),
            (false, record) => Ok(written(id, record)),
        };
        Ok(ids.iter().map(outcome).collect())
    }

    /// What a row is told that stands alone: for a taken unique value, whose it is.
    async fn refused(&self, table: &Table, work: Work<'_>, undone: &Undone) -> ErrorKind {
        let row = match work {
            Work::Create { rows: [row], .. } if undone.is_clash() => row,
            Work::Delete { .. } => return undone.kind_of_delete(),
            Work::Create { .. } | Work::Update(_) => return undone.kind(),
        };
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
        undone.kind()
    }

    fn changed_row(
        &self,
        table: &Table,
        at: usize,
        row: &UpdateRow,
    ) -> Result<ChangedRow, ErrorKind> {
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

    /// Rows as they stand at the end of the transaction, after all triggers.
    async fn stored(
        &self,
        transaction: &mut Transaction,
        table: &Table,
        ids: &[RecordId],
    ) -> Result<BTreeMap<RecordId, RemoteRecord>, Undone> {
        let places = table.readable();
        let names: Vec<_> =
            places.iter().map(|at| RemoteField::new(table.columns[*at].name.clone())).collect();
        let records = self.records(table, &places);
        let rows = self.client.rows_in(transaction, &records.by_ids(ids)).await?;
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
                return Err(invalid(
                    "is part of the key; a row with another key is another record".into(),
                ));
            }
            // A default is better than nothing where nothing is not allowed.
            if purpose == Purpose::Create && value.is_empty() && column.filled && !column.nullable {
                continue;
            }
            let old = raw.and_then(|raw| raw.get(&column.name)).map(Cell::from_json);
            let (dialect, zone) = (self.client.dialect, self.settings.time_zone);
            let cell =
                codec::encode(dialect, column, value, old.as_ref(), zone).map_err(invalid)?;
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
