//! From a catalog's rows to described tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use crmsync_core::model::ModuleName;

use super::super::ErrorKind;
use super::Sql;
use super::catalog;
use super::schema::{Kind, OWN, Place, Table};

/// Names under which a modified column is found by itself.
const MODIFIED: [&str; 8] = [
    "updated_at",
    "modified_at",
    "last_modified",
    "modified_time",
    "update_time",
    "updated_on",
    "modified_on",
    "modified",
];
/// Longest identifier that all three databases take, in bytes. Source: PostgreSQL `NAMEDATALEN`.
const LONGEST_NAME: usize = 63;

/// Modules and where they are; `own` schema's go without it.
pub(super) struct Known {
    pub(super) own: Option<String>,
    pub(super) places: BTreeMap<ModuleName, Place>,
}

impl Sql {
    /// Every table and view that we may read.
    pub(super) async fn known(&self) -> Result<Arc<Known>, ErrorKind> {
        let mut slot = self.known.lock().await;
        if let Some(known) = &*slot {
            return Ok(Arc::clone(known));
        }
        let dialect = self.client.dialect;
        let own = match &self.settings.schema {
            Some(schema) => Some(schema.clone()),
            None => catalog::own_schema(&self.client).await?,
        };
        let places = catalog::places(&self.client, dialect).await?;
        let places =
            places.into_iter().map(|place| (place.module(own.as_deref()), place)).collect();
        let known = Arc::new(Known { own, places });
        *slot = Some(Arc::clone(&known));
        Ok(known)
    }

    /// A table's columns, key and stamps; read once.
    pub(super) async fn table(&self, module: &ModuleName) -> Result<Arc<Table>, ErrorKind> {
        if let Some(table) = self.described().get(module).cloned() {
            return Ok(table);
        }
        let table = Arc::new(self.read_table(module).await?);
        self.described().insert(module.clone(), Arc::clone(&table));
        Ok(table)
    }

    async fn read_table(&self, module: &ModuleName) -> Result<Table, ErrorKind> {
        let known = self.known().await?;
        let place = known
            .places
            .get(module)
            .ok_or_else(|| ErrorKind::UnknownName(format!("table `{module}`")))?;
        let columns = catalog::columns(&self.client, place, known.own.as_deref()).await?;
        let given = self.settings.tables.get(module.as_str()).cloned().unwrap_or_default();
        let changes = change_table(&place.name);
        let is_there = known
            .places
            .values()
            .any(|other| other.schema == place.schema && other.name == changes);
        let has_changes = is_there && catalog::has_triggers(&self.client, place, &changes).await?;
        let mut table = Table {
            module: module.clone(),
            place: place.clone(),
            key: columns.key,
            columns: columns.columns,
            modified: None,
            changes: has_changes.then_some(changes),
            complete: given.complete.unwrap_or(self.settings.complete),
        };
        if let Some(names) = &given.key {
            table.key =
                names.iter().map(|name| place_of(&table, name)).collect::<Result<_, _>>()?;
        }
        if table.key.is_empty() {
            return Err(ErrorKind::Misconfigured(format!(
                "{module} has no primary key; name its key columns: \
                 [connections.{}.tables.\"{module}\"] key = [\"…\"]",
                self.settings.connection
            )));
        }
        let name = given.modified.as_ref().or(self.settings.modified.as_ref());
        table.modified = match name {
            Some(name) if name == "none" => None,
            // A name for all tables need not be in each of them.
            Some(name) if given.modified.is_none() => stamp(&table, &[name]),
            Some(name) => Some(checked_stamp(&table, name)?),
            None => stamp(&table, &MODIFIED),
        };
        Ok(table)
    }

    /// Forgets what was described.
    pub(super) async fn forget(&self) {
        *self.known.lock().await = None;
        self.described().clear();
    }
}

/// Where a table's triggers write: beside it, under a name of ours.
pub(super) fn change_table(table: &str) -> String {
    let name = format!("{OWN}{table}");
    if name.len() <= LONGEST_NAME {
        return name;
    }
    let hash = &blake3::hash(table.as_bytes()).to_hex()[..8];
    let mut room = LONGEST_NAME - OWN.len() - hash.len() - 1;
    while !table.is_char_boundary(room) {
        room -= 1;
    }
    format!("{OWN}{}_{hash}", &table[..room])
}

fn place_of(table: &Table, name: &str) -> Result<usize, ErrorKind> {
    table
        .column(name)
        .map(|(at, _)| at)
        .ok_or_else(|| ErrorKind::Misconfigured(format!("{} has no column `{name}`", table.module)))
}

fn stamp(table: &Table, names: &[impl AsRef<str>]) -> Option<usize> {
    names.iter().find_map(|name| {
        let (at, column) = table.column(name.as_ref())?;
        (is_stamp(column.kind) && column.readable).then_some(at)
    })
}

fn checked_stamp(table: &Table, name: &str) -> Result<usize, ErrorKind> {
    let at = place_of(table, name)?;
    if is_stamp(table.columns[at].kind) {
        return Ok(at);
    }
    let reason = format!("column `{name}` of {} is no point in time", table.module);
    Err(ErrorKind::Misconfigured(reason))
}

const fn is_stamp(kind: Kind) -> bool {
    matches!(kind, Kind::Instant | Kind::LocalTime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_long_name_when_a_change_table_is_named_then_it_fits_and_stays_apart() {
        let long = "ä".repeat(40);

        let (one, other) = (change_table(&long), change_table(&format!("{long}x")));

        assert_eq!(change_table("contacts"), "crmsync_contacts");
        assert!(one.len() <= LONGEST_NAME && other.len() <= LONGEST_NAME, "{one} {other}");
        assert_ne!(one, other);
    }
}
