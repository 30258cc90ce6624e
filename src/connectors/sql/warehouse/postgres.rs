//! Rows into PostgreSQL by `COPY`: into the table itself while it is new, else into one that is merged.

use crmsync_core::replica::rows::{Batch, Sheet};
use crmsync_core::replica::shape::Shape;
use sqlx::postgres::PgConnection;

use super::super::client::Transaction;
use super::super::statement::Statement;
use super::ddl::{DELETED, SYNCED, key_of};
use super::encode::push_copy;
use super::{Meeting, Warehouse};

/// Bytes sent at a time: the server works on them while the next are made.
const CHUNK: usize = 256 << 10;
const STAGE: &str = "_crmsync_stage";

impl Warehouse {
    pub(super) async fn copy(
        &self,
        transaction: &mut Transaction,
        sheet: &Sheet,
        batch: &Batch,
        meeting: Meeting,
    ) -> Result<u64, sqlx::Error> {
        let dialect = self.client.dialect;
        let table = self.table(&sheet.table);
        let Some(key) = key_of(sheet) else { return Ok(0) };
        let rows = match meeting {
            Meeting::New => copy_in(transaction, sheet, batch, &table).await?,
            Meeting::Replace => {
                let columns = names(sheet);
                let key = dialect.quote(&key.name);
                let run = async |transaction: &mut Transaction, sql: String| {
                    self.client.execute_in(transaction, &Statement::of(dialect, sql, &[])).await
                };
                run(transaction, format!("DROP TABLE IF EXISTS {STAGE}")).await?;
                let stage = format!(
                    "CREATE TEMPORARY TABLE {STAGE} ON COMMIT DROP AS SELECT {columns} FROM {table} WITH NO DATA"
                );
                run(transaction, stage).await?;
                copy_in(transaction, sheet, batch, STAGE).await?;
                for (field, child) in &sheet.children {
                    if key_of(child).is_some() && self.made_or_coming(child, batch, field) {
                        let child = self.table(&child.table);
                        let old = format!(
                            "DELETE FROM {child} WHERE parent_id IN (SELECT {key} FROM {STAGE})"
                        );
                        run(transaction, old).await?;
                    }
                }
                let set: Vec<_> = active(sheet)
                    .map(|(_, column, _)| format!("{0} = excluded.{0}", dialect.quote(column)))
                    .collect();
                let merge = format!(
                    "INSERT INTO {table} ({columns}) SELECT DISTINCT ON ({key}) {columns} FROM {STAGE} \
                     ORDER BY {key}, ctid DESC ON CONFLICT ({key}) DO UPDATE SET {}, \"{SYNCED}\" = now(), \"{DELETED}\" = NULL",
                    set.join(", ")
                );
                run(transaction, merge).await?.rows
            }
        };
        for (field, child) in &sheet.children {
            if let Some(batch) = batch.children.get(field) {
                let table = self.table(&child.table);
                copy_in(transaction, child, batch, &table).await?;
            }
        }
        Ok(rows)
    }

    /// A child without a table has nothing to replace.
    pub(super) fn made_or_coming(&self, child: &Sheet, batch: &Batch, field: &str) -> bool {
        self.made.contains_key(&child.table) || batch.children.contains_key(field)
    }
}

async fn copy_in(
    transaction: &mut Transaction,
    sheet: &Sheet,
    batch: &Batch,
    table: &str,
) -> Result<u64, sqlx::Error> {
    let Transaction::Postgres(inner) = transaction else { return Ok(0) };
    let connection: &mut PgConnection = &mut *inner;
    let mut copy =
        connection.copy_in_raw(&format!("COPY {table} ({}) FROM STDIN", names(sheet))).await?;
    let places: Vec<_> = active(sheet).map(|(place, _, shape)| (place, shape)).collect();
    let mut lines = Vec::with_capacity(CHUNK + 4096);
    for row in batch.living() {
        for (at, (place, shape)) in places.iter().enumerate() {
            if at > 0 {
                lines.push(b'\t');
            }
            match batch.cell(row, *place) {
                Some(text) => push_copy(&mut lines, *shape, text),
                None => lines.extend_from_slice(b"\\N"),
            }
        }
        lines.push(b'\n');
        if lines.len() >= CHUNK {
            copy.send(lines.as_slice()).await?;
            lines.clear();
        }
    }
    if !lines.is_empty() {
        copy.send(lines.as_slice()).await?;
    }
    copy.finish().await
}

fn active(sheet: &Sheet) -> impl Iterator<Item = (usize, &str, Shape)> {
    sheet
        .columns
        .iter()
        .enumerate()
        .filter_map(|(place, column)| Some((place, column.name.as_str(), column.shape?)))
}

fn names(sheet: &Sheet) -> String {
    let quoted: Vec<_> =
        active(sheet).map(|(_, name, _)| format!("\"{}\"", name.replace('"', "\"\""))).collect();
    quoted.join(", ")
}
