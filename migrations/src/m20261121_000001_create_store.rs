//! Creates the tables of semantics §3. `docs/adr/0002-baseline-as-one-row.md` tells why baselines have none.

use sea_orm_migration::prelude::*;

use crate::dialect::{Dialect, big, flag, int, must, small};

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
