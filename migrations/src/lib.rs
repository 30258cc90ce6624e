//! Schema steps of the store, oldest first. README.md has the rules: expand, move, contract; a landed step is
//! never edited.

pub use sea_orm_migration::MigratorTrait;
use sea_orm_migration::prelude::*;

mod dialect;
mod m20261121_000001_create_store;
mod m20261125_000001_index_what_guards_count;
mod m20261126_000001_create_people_and_inbox;

/// Name of the table that lists the applied steps. Its presence marks a database as a crmsync store.
pub const STEPS_TABLE: &str = "crmsync_steps";

/// Runs the steps.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261121_000001_create_store::Migration),
            Box::new(m20261125_000001_index_what_guards_count::Migration),
            Box::new(m20261126_000001_create_people_and_inbox::Migration),
        ]
    }

    fn migration_table_name() -> DynIden {
        Alias::new(STEPS_TABLE).into_iden()
    }
}
