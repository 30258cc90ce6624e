//! What guards count (recent creates and deletes, live links) is read from an index alone. By time only, they, and the
//! look-up of a link's recent writes, walked every effect of the last day.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const EFFECT: &str = "effect";
const BY_TIME: &str = "effect_at";
const INDEXES: [(&str, &str, &[&str]); 2] = [
    (EFFECT, "effect_kind_at", &["scope", "kind", "side", "at"]),
    ("link", "link_state", &["scope", "state"]),
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
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
        if manager.has_index(EFFECT, BY_TIME).await? {
            let mut index = Index::drop();
            index.name(BY_TIME).table(Alias::new(EFFECT));
            manager.drop_index(index).await?;
        }
        Ok(())
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
