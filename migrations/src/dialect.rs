//! What the three databases spell differently, and the columns that steps are made of.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

/// What the three databases spell differently.
pub(crate) struct Dialect {
    backend: DbBackend,
    /// A collation that compares bytes and counts trailing spaces.
    pub(crate) collation: Option<&'static str>,
}

impl Dialect {
    pub(crate) async fn of(manager: &SchemaManager<'_>) -> Result<Self, DbErr> {
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
    pub(crate) fn key(&self, name: &'static str, length: u32) -> ColumnDef {
        let mut column = ColumnDef::new(Alias::new(name));
        column.string_len(length);
        if self.backend == DbBackend::Postgres {
            column.extra("COLLATE \"C\"");
        }
        column
    }

    /// Text of any length, never compared.
    pub(crate) fn text(&self, name: &'static str) -> ColumnDef {
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
    pub(crate) fn table(
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
    pub(crate) fn narrow(
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
    pub(crate) fn numbered(
        &self,
        name: &'static str,
        columns: Vec<ColumnDef>,
    ) -> TableCreateStatement {
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

    pub(crate) fn record(&self) -> ColumnDef {
        must(self.key("record", 255))
    }

    pub(crate) fn link(&self) -> ColumnDef {
        must(self.key("link", 64))
    }

    pub(crate) fn subject(&self) -> ColumnDef {
        must(self.key("subject", 256))
    }

    pub(crate) fn name(&self, name: &'static str) -> ColumnDef {
        must(self.key(name, 190))
    }

    pub(crate) fn body(&self, name: &'static str) -> ColumnDef {
        must(self.text(name))
    }
}

pub(crate) fn must(mut column: ColumnDef) -> ColumnDef {
    column.not_null();
    column
}

/// A time in microseconds since 1970, UTC, or a count.
pub(crate) fn big(name: &'static str) -> ColumnDef {
    let mut column = ColumnDef::new(Alias::new(name));
    column.big_integer();
    column
}

pub(crate) fn int(name: &'static str) -> ColumnDef {
    let mut column = ColumnDef::new(Alias::new(name));
    column.integer().not_null();
    column
}

pub(crate) fn small(name: &'static str) -> ColumnDef {
    let mut column = ColumnDef::new(Alias::new(name));
    column.small_integer().not_null();
    column
}

pub(crate) fn flag(name: &'static str) -> ColumnDef {
    let mut column = ColumnDef::new(Alias::new(name));
    column.boolean().not_null();
    column
}
