//! Rows into SQLite and MySQL by statements of many rows, prepared once.

use std::sync::Arc;

use crmsync_core::replica::rows::{Batch, Sheet};
use crmsync_core::replica::shape::Shape;

use super::super::client::Transaction;
use super::super::codec::Cell;
use super::super::dialect::Dialect;
use super::super::statement::Statement;
use super::ddl::{DELETED, SYNCED, key_of};
use super::encode::cell;
use super::{Meeting, Warehouse};

/// Rows of one statement, as far as its values fit.
const ROWS: usize = 250;

impl Warehouse {
    pub(super) async fn insert(
        &self,
        transaction: &mut Transaction,
        sheet: &Sheet,
        batch: &Batch,
        meeting: Meeting,
    ) -> Result<u64, sqlx::Error> {
        let Some(key) = key_of(sheet) else { return Ok(0) };
        let living: Vec<usize> = batch.living().collect();
        if meeting == Meeting::Replace {
            let place = sheet.columns.iter().position(|column| column.source == key.source);
            let ids = living.iter().filter_map(|row| batch.cell(*row, place?));
            let ids: Vec<Cell> = ids.map(|id| cell(key.shape.unwrap_or(Shape::Text), id)).collect();
            for (field, child) in &sheet.children {
                if key_of(child).is_some() && self.made_or_coming(child, batch, field) {
                    self.drop_lists(transaction, child, &ids).await?;
                }
            }
        }
        self.insert_rows(transaction, sheet, batch, &living, true).await?;
        for (field, child) in &sheet.children {
            if let Some(batch) = batch.children.get(field) {
                let living: Vec<usize> = batch.living().collect();
                self.insert_rows(transaction, child, batch, &living, false).await?;
            }
        }
        Ok(living.len() as u64)
    }

    async fn drop_lists(
        &self,
        transaction: &mut Transaction,
        child: &Sheet,
        ids: &[Cell],
    ) -> Result<(), sqlx::Error> {
        for ids in ids.chunks(1_000) {
            let mut statement = Statement::new(self.client.dialect);
            let bound: Vec<_> = ids.iter().map(|id| statement.bind(id.clone())).collect();
            let table = self.table(&child.table);
            statement
                .push(&format!("DELETE FROM {table} WHERE parent_id IN ({})", bound.join(", ")));
            self.client.execute_in(transaction, &statement).await?;
        }
        Ok(())
    }

    async fn insert_rows(
        &self,
        transaction: &mut Transaction,
        sheet: &Sheet,
        batch: &Batch,
        living: &[usize],
        is_record: bool,
    ) -> Result<(), sqlx::Error> {
        let dialect = self.client.dialect;
        let active: Vec<(usize, &str, Shape)> = sheet
            .columns
            .iter()
            .enumerate()
            .filter_map(|(place, column)| Some((place, column.name.as_str(), column.shape?)))
            .collect();
        let most = (dialect.most_binds() / active.len().max(1)).clamp(1, ROWS);
        let mut sql: Arc<str> = Arc::from("");
        let mut made_for = 0;
        for rows in living.chunks(most) {
            if rows.len() != made_for {
                sql = self.statement(sheet, &active, rows.len(), is_record).into();
                made_for = rows.len();
            }
            let mut binds = Vec::with_capacity(rows.len() * active.len());
            for row in rows {
                for (place, _, shape) in &active {
                    binds.push(
                        batch.cell(*row, *place).map_or(Cell::Null, |text| cell(*shape, text)),
                    );
                }
            }
            self.client.send_in(transaction, &sql, binds).await?;
        }
        Ok(())
    }

    fn statement(
        &self,
        sheet: &Sheet,
        active: &[(usize, &str, Shape)],
        rows: usize,
        is_record: bool,
    ) -> String {
        let dialect = self.client.dialect;
        let (synced, deleted) = (dialect.quote(SYNCED), dialect.quote(DELETED));
        let names: Vec<_> = active.iter().map(|(_, name, _)| dialect.quote(name)).collect();
        let now = match dialect {
            Dialect::Sqlite | Dialect::Postgres => "strftime('%Y-%m-%d %H:%M:%f', 'now')",
            Dialect::MySql => "UTC_TIMESTAMP(6)",
        };
        let mut row = vec!["?"; active.len()];
        let mut list = names.clone();
        if is_record {
            row.push(now);
            list.push(synced.clone());
        }
        let row = format!("({})", row.join(", "));
        let values = vec![row; rows].join(", ");
        let mut sql = format!(
            "INSERT INTO {} ({}) VALUES {values}",
            self.table(&sheet.table),
            list.join(", ")
        );
        if !is_record {
            return sql;
        }
        let Some(key) = key_of(sheet) else { return sql };
        let (head, new): (String, fn(&str) -> String) = match dialect {
            Dialect::Sqlite | Dialect::Postgres => {
                (format!(" ON CONFLICT ({}) DO UPDATE SET ", dialect.quote(&key.name)), |name| {
                    format!("excluded.{name}")
                })
            }
            Dialect::MySql => {
                (" ON DUPLICATE KEY UPDATE ".to_owned(), |name| format!("VALUES({name})"))
            }
        };
        let mut set: Vec<_> = names.iter().map(|name| format!("{name} = {}", new(name))).collect();
        set.push(format!("{synced} = {}", new(&synced)));
        set.push(format!("{deleted} = NULL"));
        sql.push_str(&head);
        sql.push_str(&set.join(", "));
        sql
    }
}
