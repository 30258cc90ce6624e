//! What `connect --install` makes in a user's database: the external-ID column, and triggers that note changes.

use crmsync_core::model::{ModuleName, RemoteField};

use super::super::ErrorKind;
use super::Sql;
use super::dialect::Dialect;
use super::schema::{Column, Kind, Table};
use super::statement::{qualified, target};
use super::tables::change_table;

impl Sql {
    /// Finds or makes the unique column that holds counterparts' IDs.
    pub(super) async fn install_column(
        &self,
        module: &ModuleName,
        label: &str,
    ) -> Result<RemoteField, ErrorKind> {
        let table = self.table(module).await?;
        refuse_view(&table)?;
        let known = table.column(label).map(|(_, column)| column);
        if known.is_some_and(|column| column.kind != Kind::Text) {
            return Err(ErrorKind::Misconfigured(format!(
                "column `{label}` of {module} holds no text; name another column for the external ID"
            )));
        }
        let statements = external_id(self.client.dialect, &table, label, known);
        self.client.define(&statements).await?;
        self.forget().await;
        Ok(RemoteField::new(label))
    }

    /// Makes the table and the triggers that note what is changed and deleted; answers the table's name.
    pub(super) async fn install_triggers(
        &self,
        module: &ModuleName,
    ) -> Result<Option<String>, ErrorKind> {
        if !self.settings.triggers {
            return Ok(None);
        }
        let table = self.table(module).await?;
        if table.place.is_view {
            return Ok(None);
        }
        self.client.define(&change_capture(self.client.dialect, &table)).await?;
        self.forget().await;
        Ok(Some(change_table(&table.place.name)))
    }
}

fn refuse_view(table: &Table) -> Result<(), ErrorKind> {
    if !table.place.is_view {
        return Ok(());
    }
    let reason = format!("{} is a view; add the external ID to its table", table.module);
    Err(ErrorKind::Misconfigured(reason))
}

fn external_id(
    dialect: Dialect,
    table: &Table,
    label: &str,
    known: Option<&Column>,
) -> Vec<String> {
    let (name, of) = (dialect.quote(label), target(dialect, table));
    let mut statements = Vec::new();
    if known.is_none() {
        let kind = match dialect {
            Dialect::Sqlite | Dialect::Postgres => "varchar(255)",
            // IDs that differ in case are different.
            Dialect::MySql => "varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        };
        statements.push(format!("ALTER TABLE {of} ADD COLUMN {name} {kind}"));
    }
    if known.is_none_or(|column| !column.unique) {
        let index = change_table(&format!("{}_{label}_unique", table.place.name));
        statements.push(match dialect {
            Dialect::Sqlite => {
                let index = qualified(dialect, table.place.schema.as_deref(), &index);
                format!(
                    "CREATE UNIQUE INDEX {index} ON {} ({name})",
                    dialect.quote(&table.place.name)
                )
            }
            Dialect::Postgres | Dialect::MySql => {
                format!("CREATE UNIQUE INDEX {} ON {of} ({name})", dialect.quote(&index))
            }
        });
    }
    statements
}

/// One row a key, overwritten by each change: the change table never grows beyond the keys that ever were.
fn change_capture(dialect: Dialect, table: &Table) -> Vec<String> {
    let mut statements = match dialect {
        Dialect::Sqlite => sqlite(table),
        Dialect::Postgres => postgres(table),
        Dialect::MySql => mysql(table),
    };
    statements.extend(seed(dialect, table));
    statements
}

/// Nobody noted what happened before: every row may have changed, and noted rows that are gone were deleted.
fn seed(dialect: Dialect, table: &Table) -> [String; 2] {
    let notes = qualified(dialect, table.place.schema.as_deref(), &change_table(&table.place.name));
    let (of, key) = (target(dialect, table), keys(dialect, table, ""));
    let now = match dialect {
        Dialect::Sqlite => SQLITE_NOW,
        Dialect::Postgres => "clock_timestamp()",
        Dialect::MySql => "UTC_TIMESTAMP(6)",
    };
    let upsert = match dialect {
        Dialect::Sqlite | Dialect::Postgres => format!(
            "WHERE true ON CONFLICT ({key}) DO UPDATE SET changed_at = excluded.changed_at, deleted = 0"
        ),
        Dialect::MySql => {
            "ON DUPLICATE KEY UPDATE changed_at = VALUES(changed_at), deleted = 0".to_owned()
        }
    };
    let same = table.key_columns().map(|column| {
        let name = dialect.quote(&column.name);
        format!("t.{name} = n.{name}")
    });
    let same = same.collect::<Vec<_>>().join(" AND ");
    [
        format!(
            "INSERT INTO {notes} ({key}, changed_at, deleted) SELECT {key}, {now}, 0 FROM {of} {upsert}"
        ),
        format!(
            "UPDATE {notes} AS n SET changed_at = {now}, deleted = 1 WHERE n.deleted = 0 \
             AND NOT EXISTS (SELECT 1 FROM {of} t WHERE {same})"
        ),
    ]
}

const SQLITE_NOW: &str = "strftime('%Y-%m-%d %H:%M:%f', 'now')";

fn keys(dialect: Dialect, table: &Table, from: &str) -> String {
    let names = table.key_columns().map(|column| format!("{from}{}", dialect.quote(&column.name)));
    names.collect::<Vec<_>>().join(", ")
}

fn sqlite(table: &Table) -> Vec<String> {
    let dialect = Dialect::Sqlite;
    let changes = change_table(&table.place.name);
    let (notes, of) = (dialect.quote(&changes), dialect.quote(&table.place.name));
    let columns = table
        .key_columns()
        .map(|column| format!("{} {}", dialect.quote(&column.name), sqlite_type(column)));
    let (columns, key) = (columns.collect::<Vec<_>>().join(", "), keys(dialect, table, ""));
    // An upsert, since a conflict clause would give way to that of the user's own statement.
    let note = |row: &str, deleted: u8, when: &str| {
        format!(
            "INSERT INTO {notes} ({key}, changed_at, deleted) SELECT {}, {SQLITE_NOW}, {deleted} WHERE {when} \
             ON CONFLICT ({key}) DO UPDATE SET changed_at = excluded.changed_at, deleted = excluded.deleted;",
            keys(dialect, table, row)
        )
    };
    let moved = table.key_columns().map(|column| {
        let name = dialect.quote(&column.name);
        format!("OLD.{name} IS NOT NEW.{name}")
    });
    let moved = format!("({})", moved.collect::<Vec<_>>().join(" OR "));
    let trigger = |event: &str, body: String| {
        let name = dialect.quote(&format!("{changes}_{}", event.to_lowercase()));
        [
            format!("DROP TRIGGER IF EXISTS {name}"),
            format!("CREATE TRIGGER {name} AFTER {event} ON {of} BEGIN {body} END"),
        ]
    };
    let mut statements = vec![
        format!(
            "CREATE TABLE IF NOT EXISTS {notes} ({columns}, changed_at TEXT NOT NULL, \
             deleted INTEGER NOT NULL, PRIMARY KEY ({key})) WITHOUT ROWID"
        ),
        format!(
            "CREATE INDEX IF NOT EXISTS {} ON {notes} (changed_at)",
            dialect.quote(&format!("{changes}_at"))
        ),
    ];
    statements.extend(trigger("INSERT", note("NEW.", 0, "true")));
    statements.extend(trigger("UPDATE", note("OLD.", 1, &moved) + &note("NEW.", 0, "true")));
    statements.extend(trigger("DELETE", note("OLD.", 1, "true")));
    statements
}

fn sqlite_type(column: &Column) -> &str {
    if column.type_name == "untyped" { "" } else { &column.type_name }
}

fn postgres(table: &Table) -> Vec<String> {
    let dialect = Dialect::Postgres;
    let changes = change_table(&table.place.name);
    let schema = table.place.schema.as_deref();
    let (notes, of) = (qualified(dialect, schema, &changes), target(dialect, table));
    let columns = table.key_columns().map(|column| {
        // Without a length: a cast to one would cut.
        let kind = if column.is_character { "text" } else { &column.type_name };
        format!("{} {kind}", dialect.quote(&column.name))
    });
    let (columns, key) = (columns.collect::<Vec<_>>().join(", "), keys(dialect, table, ""));
    let note = |source: &str| {
        format!(
            "INSERT INTO {notes} ({key}, changed_at, deleted) {source} ON CONFLICT ({key}) \
             DO UPDATE SET changed_at = excluded.changed_at, deleted = excluded.deleted;"
        )
    };
    let row = |from: &str, deleted: u8| {
        note(&format!("VALUES ({}, clock_timestamp(), {deleted})", keys(dialect, table, from)))
    };
    let (old, new) = (keys(dialect, table, "OLD."), keys(dialect, table, "NEW."));
    let all = note(&format!("SELECT {key}, clock_timestamp(), 1 FROM {of}"));
    let body = format!(
        "BEGIN \
         IF TG_OP = 'TRUNCATE' THEN {all} RETURN NULL; END IF; \
         IF TG_OP = 'DELETE' THEN {gone} RETURN NULL; END IF; \
         IF TG_OP = 'UPDATE' THEN \
         IF ROW({old}) IS DISTINCT FROM ROW({new}) THEN {gone} END IF; END IF; \
         {kept} RETURN NULL; END",
        gone = row("OLD.", 1),
        kept = row("NEW.", 0),
    );
    let hash = blake3::hash(body.as_bytes()).to_hex();
    let quote = format!("$crmsync_{}$", &hash[..12]);
    vec![
        format!(
            "CREATE TABLE IF NOT EXISTS {notes} ({columns}, changed_at timestamptz NOT NULL, \
             deleted smallint NOT NULL, PRIMARY KEY ({key}))"
        ),
        format!(
            "CREATE INDEX IF NOT EXISTS {} ON {notes} (changed_at)",
            dialect.quote(&change_table(&format!("{}_at", table.place.name)))
        ),
        // Whoever may change the table may note it: the function has the rights of its owner.
        format!(
            "CREATE OR REPLACE FUNCTION {notes}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER \
             SET search_path = pg_catalog AS {quote} {body} {quote}"
        ),
        format!("DROP TRIGGER IF EXISTS crmsync ON {of}"),
        format!("DROP TRIGGER IF EXISTS crmsync_truncate ON {of}"),
        format!(
            "CREATE TRIGGER crmsync AFTER INSERT OR UPDATE OR DELETE ON {of} \
             FOR EACH ROW EXECUTE FUNCTION {notes}()"
        ),
        format!(
            "CREATE TRIGGER crmsync_truncate BEFORE TRUNCATE ON {of} \
             FOR EACH STATEMENT EXECUTE FUNCTION {notes}()"
        ),
    ]
}

fn mysql(table: &Table) -> Vec<String> {
    let dialect = Dialect::MySql;
    let changes = change_table(&table.place.name);
    let schema = table.place.schema.as_deref();
    let (notes, of) = (qualified(dialect, schema, &changes), target(dialect, table));
    let key = keys(dialect, table, "");
    let note = |from: &str, deleted: u8| {
        format!(
            "INSERT INTO {notes} ({key}, changed_at, deleted) \
             VALUES ({}, UTC_TIMESTAMP(6), {deleted}) \
             ON DUPLICATE KEY UPDATE changed_at = VALUES(changed_at), deleted = VALUES(deleted);",
            keys(dialect, table, from)
        )
    };
    let kept = table.key_columns().map(|column| {
        let name = dialect.quote(&column.name);
        format!("OLD.{name} <=> NEW.{name}")
    });
    let kept = kept.collect::<Vec<_>>().join(" AND ");
    let trigger = |event: &str, body: String| {
        let name = change_table(&format!("{}_{}", table.place.name, event.to_lowercase()));
        let name = qualified(dialect, schema, &name);
        [
            format!("DROP TRIGGER IF EXISTS {name}"),
            format!("CREATE TRIGGER {name} AFTER {event} ON {of} FOR EACH ROW BEGIN {body} END"),
        ]
    };
    let mut statements = vec![format!(
        "CREATE TABLE IF NOT EXISTS {notes} (PRIMARY KEY ({key}), KEY changed_at (changed_at)) \
         SELECT {key}, UTC_TIMESTAMP(6) AS changed_at, 0 AS deleted FROM {of} WHERE 1 = 0"
    )];
    let moved = format!("IF NOT ({kept}) THEN {} END IF; {}", note("OLD.", 1), note("NEW.", 0));
    statements.extend(trigger("INSERT", note("NEW.", 0)));
    statements.extend(trigger("UPDATE", moved));
    statements.extend(trigger("DELETE", note("OLD.", 1)));
    statements
}
