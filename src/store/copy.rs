//! Copies a store, for a dry run: the copy is a SQLite file of its own, whatever the original is.

use std::path::Path;

use futures_util::TryStreamExt as _;
use sea_orm::{
    ActiveModelTrait, ConnectionTrait as _, DatabaseConnection, DbBackend, EntityTrait,
    IntoActiveModel, TransactionTrait as _,
};

use super::{Store, StoreError, tables};

/// Rows written in one statement; SQLite binds 32,766 values at most.
const ROWS: usize = 500;

impl Store {
    /// Copies everything into a new SQLite file at `path`.
    ///
    /// # Errors
    /// [`StoreError::Open`] when the file cannot be made, [`StoreError::Database`] when reading or writing fails.
    pub async fn copy_to(&self, path: &Path) -> Result<Self, StoreError> {
        let reader = &self.pools.reader;
        let is_sqlite = reader.get_database_backend() == DbBackend::Sqlite;
        if is_sqlite {
            let quoted = path.display().to_string().replace('\'', "''");
            reader.execute_unprepared(&format!("VACUUM INTO '{quoted}'")).await?;
        }
        let copy = Self::open(&format!("sqlite://{}", path.display())).await?;
        if !is_sqlite {
            copy_tables(reader, copy.writer()).await?;
        }
        Ok(Self { key: self.key, ..copy })
    }
}

async fn copy_tables(from: &DatabaseConnection, to: &DatabaseConnection) -> Result<(), StoreError> {
    macro_rules! copy_each {
        ($($table:ident)*) => {
            $(copy_table::<tables::$table::Entity, tables::$table::ActiveModel>(from, to).await?;)*
        };
    }
    copy_each!(
        scope lease route_meta cursor observation match_key attention tombstone dirty link link_end former_end
        intent effect open_row resolution quarantine run secret metadata budget inbox
    );
    Ok(())
}

async fn copy_table<E, A>(
    from: &DatabaseConnection,
    to: &DatabaseConnection,
) -> Result<(), StoreError>
where
    E: EntityTrait,
    E::Model: IntoActiveModel<A> + Send,
    A: ActiveModelTrait<Entity = E> + Send,
{
    let mut rows = E::find().stream(from).await?.try_chunks(ROWS);
    let writing = to.begin().await?;
    while let Some(batch) = rows.try_next().await.map_err(|error| error.1)? {
        let batch = batch.into_iter().map(|row| row.into_active_model().reset_all());
        E::insert_many(batch).exec_without_returning(&writing).await?;
    }
    writing.commit().await?;
    Ok(())
}
