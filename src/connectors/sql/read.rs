//! Reads: pages, deletions, records by key.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use crmsync_core::model::{ModuleName, RecordId, RemoteField, RemoteRecord};

use super::super::{
    DeletedPage, DeletedRow, ErrorKind, ListRequest, Order, Page, PageKey, Probe, Undecodable,
};
use super::Sql;
use super::codec::{self, Cell};
use super::schema::Table;
use super::statement::{Records, Statement, deletions};

/// Whether rows are kept as they came, for the conditions of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    Raw,
    Values,
}

impl Sql {
    pub(super) async fn list_page(&self, request: &ListRequest<'_>) -> Result<Page, ErrorKind> {
        let table = self.table(request.module).await?;
        let places = table.places(request.fields)?;
        let records = self.records(&table, &places);
        let after = request.page.map(read_key).transpose()?;
        let limit = self.settings.page.max(1);
        // The time before the rows: what is committed later is read again.
        let (server_time, received_at) = self.server_time().await?;
        let by_change = match request.order {
            Order::Modified => {
                let since = request.since.map(|since| self.lagging(since));
                records.page_by_change(since, after.as_deref(), limit)
            }
            Order::Id => None,
        };
        let walks_changes = by_change.is_some();
        let statement = by_change.unwrap_or_else(|| records.page_by_key(after.as_deref(), limit));
        let rows = self.client.rows(&statement).await?;
        let next = rows.last().filter(|_| rows.len() >= limit).map(|row| {
            let key = row[..table.key.len()].iter();
            let moment = walks_changes.then(|| &row[records.moment_place()]);
            page_key(moment.into_iter().chain(key))
        });
        let page = decode_rows(&records, &rows, request.fields, Keep::Values);
        Ok(Page { next, server_time: Some(server_time), received_at, ..page })
    }

    /// A transaction may commit rows that were stamped a while before.
    fn lagging(&self, since: DateTime<Utc>) -> DateTime<Utc> {
        let lag = chrono::TimeDelta::from_std(self.settings.commit_lag).unwrap_or_default();
        since - lag
    }

    pub(super) async fn deleted_page(
        &self,
        module: &ModuleName,
        since: DateTime<Utc>,
        page: Option<&PageKey>,
    ) -> Result<DeletedPage, ErrorKind> {
        let table = self.table(module).await?;
        let Some(changes) = &table.changes else { return Ok(DeletedPage::default()) };
        let after = page.map(read_key).transpose()?;
        let (server_time, _) = self.server_time().await?;
        let limit = self.settings.page.max(1);
        let since = self.lagging(since);
        let dialect = self.client.dialect;
        let statement = deletions(dialect, &table, changes, since, after.as_deref(), limit);
        let rows = self.client.rows(&statement).await?;
        let keys = table.key.len();
        let next = rows
            .last()
            .filter(|_| rows.len() >= limit)
            .map(|row| page_key(std::iter::once(&row[keys]).chain(&row[..keys])));
        let deleted = rows.iter().filter_map(|row| {
            let id = codec::encode_key(&row[..keys])?;
            Some(DeletedRow { id, at: codec::moment(&row[keys], Tz::UTC) })
        });
        Ok(DeletedPage { rows: deleted.collect(), next, server_time: Some(server_time) })
    }

    pub(super) async fn fetch_page(
        &self,
        module: &ModuleName,
        ids: &[RecordId],
        fields: &[RemoteField],
    ) -> Result<Page, ErrorKind> {
        let table = self.table(module).await?;
        let mut places = table.places(fields)?;
        // Behind the fields, for the conditions of a write.
        places.extend(table.modified.filter(|at| !places.contains(at)));
        let records = self.records(&table, &places);
        let (server_time, received_at) = self.server_time().await?;
        let rows = self.client.rows(&records.by_ids(ids)).await?;
        let mut page = decode_rows(&records, &rows, fields, Keep::Raw);
        // A collation may take another key for this one.
        page.records.retain(|record| ids.contains(&record.id));
        Ok(Page { server_time: Some(server_time), received_at, ..page })
    }

    /// A row that is not there is deleted only where no filter can hide it.
    pub(super) async fn probe_one(
        &self,
        module: &ModuleName,
        id: &RecordId,
        fields: &[RemoteField],
    ) -> Result<Probe, ErrorKind> {
        let mut page = match self.fetch_page(module, std::slice::from_ref(id), fields).await {
            Err(ErrorKind::Forbidden(_)) => return Ok(Probe::Forbidden),
            other => other?,
        };
        if let Some(record) = page.records.pop() {
            return Ok(Probe::Present(Box::new(record)));
        }
        if let Some(row) = page.undecodable.pop() {
            return Ok(Probe::Unknown(row.reason));
        }
        let table = self.table(module).await?;
        if table.complete {
            return Ok(Probe::Deleted { at: None, merged_into: None, converted_to: None });
        }
        Ok(Probe::NotFound)
    }

    pub(super) fn records<'a>(&self, table: &'a Table, places: &'a [usize]) -> Records<'a> {
        Records { dialect: self.client.dialect, table, places, zone: self.settings.time_zone }
    }

    /// The database's clock, and ours.
    pub(super) async fn server_time(&self) -> Result<(DateTime<Utc>, DateTime<Utc>), ErrorKind> {
        let dialect = self.client.dialect;
        let rows = self.client.rows(&Statement::of(dialect, dialect.now(), &[])).await?;
        let cell = rows.first().and_then(|row| row.first());
        let now = cell.and_then(|cell| codec::moment(cell, Tz::UTC));
        let now = now.ok_or_else(|| ErrorKind::Undecodable("the database's time".into()))?;
        Ok((now, self.clock.now()))
    }
}

/// Decodes rows as [`Records`] lays them out: `fields` name its first places; what follows is only kept.
pub(super) fn decode_rows(
    records: &Records<'_>,
    rows: &[Vec<Cell>],
    fields: &[RemoteField],
    keep: Keep,
) -> Page {
    let mut page = Page::default();
    for row in rows {
        match decode_row(records, row, fields, keep) {
            Ok(record) => page.records.push(record),
            Err(sick) => page.undecodable.push(sick),
        }
    }
    page
}

fn decode_row(
    records: &Records<'_>,
    row: &[Cell],
    fields: &[RemoteField],
    keep: Keep,
) -> Result<RemoteRecord, Undecodable> {
    let (table, keys) = (records.table, records.table.key.len());
    let id = codec::encode_key(&row[..keys])
        .ok_or_else(|| Undecodable { id: None, reason: "a column of its key is null".into() })?;
    let changed = codec::moment(&row[keys], Tz::UTC);
    let modified = changed.or_else(|| codec::moment(&row[keys + 1], records.zone));
    let cells = &row[keys + 2..];
    let values = records.places.iter().zip(cells).zip(fields).map(|((at, cell), field)| {
        let value = codec::decode(&table.columns[*at], cell, records.zone)?;
        Ok((field.clone(), value))
    });
    let values = values.collect::<Result<_, String>>();
    let fields = values.map_err(|reason| Undecodable { id: Some(id.clone()), reason })?;
    let raw = (keep == Keep::Raw).then(|| {
        let cells = records.places.iter().zip(cells);
        let named = cells.map(|(at, cell)| (table.columns[*at].name.clone(), cell.to_json()));
        serde_json::Value::Object(named.collect())
    });
    let modified_at = modified.map(whole_second);
    Ok(RemoteRecord { id, modified_at, fields, archived: false, raw })
}

fn whole_second(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(at.timestamp(), 0).unwrap_or(at)
}

/// Where a walk goes on: the last row's place in its order.
fn page_key<'a>(cells: impl Iterator<Item = &'a Cell>) -> PageKey {
    let cells: Vec<_> = cells.map(Cell::to_json).collect();
    PageKey(serde_json::Value::from(cells).to_string())
}

fn read_key(key: &PageKey) -> Result<Vec<Cell>, ErrorKind> {
    let cells: Vec<serde_json::Value> =
        serde_json::from_str(&key.0).map_err(|_| ErrorKind::PageExpired)?;
    Ok(cells.iter().map(Cell::from_json).collect())
}
