//! Creates the tables of semantics §3. `docs/adr/0002-baseline-as-one-row.md` tells why baselines have none.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let dialect = Dialect::of(manager).await?;
        for table in tables(&dialect) {
            manager.create_table(table).await?;
        }
        for (table, name, columns) in INDEXES {
            // MySQL has no `CREATE INDEX IF NOT EXISTS`, and a killed step may have made it already.
            if manager.has_index(table, name).await? {
                continue;
            }
            let mut index = Index::create();
            index.name(*name).table(Alias::new(*table));
            for column in *columns {
                index.col(Alias::new(*column));
            }
            manager.create_index(index).await?;
        }
        Ok(())
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

const INDEXES: &[(&str, &str, &[&str])] = &[
    ("observation", "observation_external", &["scope", "side", "external"]),
    ("observation", "observation_presence", &["scope", "side", "presence"]),
    ("dirty", "dirty_due", &["scope", "side", "next_at"]),
    ("link_end", "link_end_link", &["scope", "link"]),
    ("former_end", "former_end_link", &["scope", "link"]),
    ("intent", "intent_link", &["scope", "link"]),
    ("effect", "effect_run", &["scope", "run"]),
    ("effect", "effect_link", &["scope", "link"]),
    ("effect", "effect_at", &["scope", "at"]),
    ("open_row", "open_row_subject", &["scope", "subject"]),
    ("resolution", "resolution_subject", &["scope", "subject"]),
    ("quarantine", "quarantine_subject", &["scope", "subject"]),
    ("quarantine", "quarantine_due", &["scope", "next_at"]),
    ("run", "run_started", &["started_at"]),
];

/// What the three databases spell differently.
struct Dialect {
    backend: DbBackend,
    /// A collation that compares bytes and counts trailing spaces.
    collation: Option<&'static str>,
}

impl Dialect {
    async fn of(manager: &SchemaManager<'_>) -> Result<Self, DbErr> {
        let backend = manager.get_database_backend();
        let collation = if backend == DbBackend::MySql {
            Some(Self::mysql_collation(manager).await?)
        } else {
            None
        };
        Ok(Self { backend, collation })
    }

    /// MariaDB and MySQL name their unpadded binary collation differently.
    async fn mysql_collation(manager: &SchemaManager<'_>) -> Result<&'static str, DbErr> {
        let ask = sea_orm_migration::sea_orm::Statement::from_string(
            DbBackend::MySql,
            "SELECT VERSION() AS version",
        );
        let row = manager.get_connection().query_one_raw(ask).await?;
        let version: String =
            row.map(|row| row.try_get("", "version")).transpose()?.unwrap_or_default();
        let maria = version.to_ascii_lowercase().contains("maria");
        Ok(if maria { "utf8mb4_nopad_bin" } else { "utf8mb4_0900_bin" })
    }

    /// A compared text of at most `length` characters.
    fn key(&self, name: &'static str, length: u32) -> ColumnDef {
        let mut column = ColumnDef::new(Alias::new(name));
        column.string_len(length);
        if self.backend == DbBackend::Postgres {
            column.extra("COLLATE \"C\"");
        }
        column
    }

    /// Text of any length, never compared.
    fn text(&self, name: &'static str) -> ColumnDef {
        let mut column = ColumnDef::new(Alias::new(name));
        // `text` would stop at 64 KB there.
        if self.backend == DbBackend::MySql {
            column.custom("longtext");
        } else {
            column.text();
        }
        column
    }

    /// A table whose rows live in their primary key's tree, where SQLite would keep two.
    fn table(
        &self,
        name: &'static str,
        columns: Vec<ColumnDef>,
        primary: &[&'static str],
    ) -> TableCreateStatement {
        let mut table = Table::create();
        table.table(Alias::new(name)).if_not_exists();
        for column in columns {
            table.col(column);
        }
        let mut key = Index::create();
        for column in primary {
            key.col(Alias::new(*column));
        }
        table.primary_key(&mut key);
        if let Some(collation) = self.collation {
            table.character_set("utf8mb4").collate(collation);
        }
        table
    }

    /// The same for narrow rows: SQLite then needs no second tree.
    fn narrow(
        &self,
        name: &'static str,
        columns: Vec<ColumnDef>,
        primary: &[&'static str],
    ) -> TableCreateStatement {
        let mut table = self.table(name, columns, primary);
        if self.backend == DbBackend::Sqlite {
            table.extra("WITHOUT ROWID");
        }
        table
    }

    /// A table numbered by the database in the order of its inserts.
    fn numbered(&self, name: &'static str, columns: Vec<ColumnDef>) -> TableCreateStatement {
        let mut table = Table::create();
        table.table(Alias::new(name)).if_not_exists();
        let mut seq = ColumnDef::new(Alias::new("seq"));
        table.col(seq.big_integer().not_null().auto_increment().primary_key());
        for column in columns {
            table.col(column);
        }
        if let Some(collation) = self.collation {
            table.character_set("utf8mb4").collate(collation);
        }
        table
    }

    fn record(&self) -> ColumnDef {
        must(self.key("record", 255))
    }

    fn link(&self) -> ColumnDef {
        must(self.key("link", 64))
    }

    fn subject(&self) -> ColumnDef {
        must(self.key("subject", 256))
    }

    fn name(&self, name: &'static str) -> ColumnDef {
        must(self.key(name, 190))
    }

    fn body(&self, name: &'static str) -> ColumnDef {
        must(self.text(name))
    }
}

fn must(mut column: ColumnDef) -> ColumnDef {
    column.not_null();
    column
}

/// A time in microseconds since 1970, UTC, or a count.
fn big(name: &'static str) -> ColumnDef {
    let mut column = ColumnDef::new(Alias::new(name));
    column.big_integer();
    column
}

fn int(name: &'static str) -> ColumnDef {
    let mut column = ColumnDef::new(Alias::new(name));
    column.integer().not_null();
    column
}

fn small(name: &'static str) -> ColumnDef {
    let mut column = ColumnDef::new(Alias::new(name));
    column.small_integer().not_null();
    column
}

fn flag(name: &'static str) -> ColumnDef {
    let mut column = ColumnDef::new(Alias::new(name));
    column.boolean().not_null();
    column
}

fn tables(d: &Dialect) -> Vec<TableCreateStatement> {
    [route_tables(d), record_tables(d), link_tables(d), journal_tables(d), shared_tables(d)]
        .concat()
}

fn route_tables(d: &Dialect) -> Vec<TableCreateStatement> {
    let mut scope_names = Index::create();
    scope_names.unique().name("scope_names").col(Alias::new("route")).col(Alias::new("entity"));
    let mut scope = Table::create();
    let mut id = ColumnDef::new(Alias::new("id"));
    scope
        .table(Alias::new("scope"))
        .if_not_exists()
        .col(id.integer().not_null().auto_increment().primary_key())
        .col(d.name("route"))
        .col(d.name("entity"))
        .index(&mut scope_names);
    if let Some(collation) = d.collation {
        scope.character_set("utf8mb4").collate(collation);
    }
    vec![
        scope,
        d.narrow(
            "lease",
            vec![d.name("route"), d.body("holder"), must(big("epoch")), must(big("until"))],
            &["route"],
        ),
        d.table("route_meta", vec![d.name("route"), d.body("body")], &["route"]),
        d.table("cursor", vec![int("scope"), small("side"), d.body("body")], &["scope", "side"]),
    ]
}

fn record_tables(d: &Dialect) -> Vec<TableCreateStatement> {
    let id = ["scope", "side", "record"];
    vec![
        d.table(
            "observation",
            vec![
                int("scope"),
                small("side"),
                d.record(),
                d.name("module"),
                small("presence"),
                flag("in_scope"),
                d.key("external", 255),
                big("modified_at"),
                big("corrected_at"),
                must(d.key("hash", 32)),
                must(big("epoch")),
                d.body("match_keys"),
                d.body("unreturned"),
                d.body("fields"),
            ],
            &id,
        ),
        d.narrow(
            "match_key",
            vec![int("scope"), must(d.key("match_key", 128)), small("side"), d.record()],
            &["scope", "match_key", "side", "record"],
        ),
        d.narrow("attention", vec![int("scope"), d.subject()], &["scope", "subject"]),
        d.table("tombstone", vec![int("scope"), small("side"), d.record(), d.body("body")], &id),
        d.table(
            "dirty",
            vec![
                int("scope"),
                small("side"),
                d.record(),
                d.body("reason"),
                d.key("code", 64),
                int("attempts"),
                big("missing_since"),
                must(big("next_at")),
            ],
            &id,
        ),
    ]
}

fn link_tables(d: &Dialect) -> Vec<TableCreateStatement> {
    vec![
        d.table(
            "link",
            vec![
                int("scope"),
                must(d.key("id", 64)),
                d.key("left_record", 255),
                d.key("right_record", 255),
                small("state"),
                big("left_stamp"),
                big("right_stamp"),
                d.body("baseline"),
            ],
            &["scope", "id"],
        ),
        // Live links only: its key is what keeps a record in at most one of them (I11).
        d.narrow(
            "link_end",
            vec![int("scope"), small("side"), d.record(), d.link()],
            &["scope", "side", "record"],
        ),
        // Closed and merged links: whose survivor a record is, and how many links it had.
        d.narrow(
            "former_end",
            vec![int("scope"), small("side"), d.record(), d.link()],
            &["scope", "side", "record", "link"],
        ),
    ]
}

fn journal_tables(d: &Dialect) -> Vec<TableCreateStatement> {
    vec![
        d.table(
            "intent",
            vec![
                int("scope"),
                must(d.key("id", 128)),
                d.link(),
                must(big("armed_at")),
                d.body("body"),
            ],
            &["scope", "id"],
        ),
        d.numbered(
            "effect",
            vec![
                int("scope"),
                must(d.key("run", 128)),
                d.link(),
                small("kind"),
                small("side"),
                must(big("at")),
                d.body("body"),
            ],
        ),
        d.table(
            "open_row",
            vec![
                int("scope"),
                must(d.key("id", 128)),
                d.subject(),
                must(d.key("code", 64)),
                d.key("link", 64),
                must(d.key("run", 128)),
                must(big("first_seen")),
                must(big("last_seen")),
                big("closed_at"),
                d.key("closed_by", 190),
                d.body("body"),
            ],
            &["scope", "id"],
        ),
        d.table(
            "resolution",
            vec![int("scope"), must(d.key("row_id", 128)), d.subject(), d.body("body")],
            &["scope", "row_id", "subject"],
        ),
        d.table(
            "quarantine",
            vec![
                int("scope"),
                small("side"),
                d.record(),
                must(d.key("field", 190)),
                d.subject(),
                must(big("next_at")),
                d.body("body"),
            ],
            &["scope", "side", "record", "field"],
        ),
        d.table(
            "run",
            vec![d.name("route"), must(d.key("id", 128)), must(big("started_at")), d.body("body")],
            &["route", "id"],
        ),
    ]
}

fn shared_tables(d: &Dialect) -> Vec<TableCreateStatement> {
    vec![
        d.table("secret", vec![d.name("name"), d.body("sealed")], &["name"]),
        d.table(
            "metadata",
            vec![d.name("connection"), d.name("item"), must(big("fetched_at")), d.body("body")],
            &["connection", "item"],
        ),
        d.narrow(
            "budget",
            vec![d.name("connection"), d.name("period"), must(big("units")), must(big("calls"))],
            &["connection", "period"],
        ),
    ]
}
