//! Creates what a service needs besides runs: who may sign in, what waits for a route's next run, who did what.

use sea_orm_migration::prelude::*;

use crate::dialect::{Dialect, big, must};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const INDEXES: [(&str, &str, &[&str]); 4] = [
    ("api_token", "api_token_digest", &["digest"]),
    ("web_session", "web_session_expires", &["expires_at"]),
    ("trail", "trail_at", &["at"]),
    // Lists of what waits are read in pages, and counted, without the rows that closed.
    ("open_row", "open_row_closed", &["closed_at", "id", "scope"]),
];

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
            index.name(name).table(Alias::new(table));
            for column in columns {
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

fn tables(d: &Dialect) -> Vec<TableCreateStatement> {
    let digest = || must(d.key("digest", 64));
    vec![
        d.table(
            "person",
            vec![
                d.name("name"),
                must(d.key("role", 16)),
                d.body("password"),
                must(big("created_at")),
            ],
            &["name"],
        ),
        d.table(
            "web_session",
            vec![digest(), d.name("person"), must(big("expires_at"))],
            &["digest"],
        ),
        d.table(
            "api_token",
            vec![d.name("name"), must(d.key("role", 16)), digest(), must(big("created_at"))],
            &["name"],
        ),
        d.table(
            "inbox",
            vec![
                d.name("route"),
                must(d.key("item", 190)),
                d.body("body"),
                must(big("received_at")),
            ],
            &["route", "item"],
        ),
        d.numbered(
            "trail",
            vec![must(big("at")), d.name("who"), must(d.key("action", 64)), d.body("subject")],
        ),
    ]
}
