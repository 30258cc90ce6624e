//! The store suite: every law runs on SQLite, and on PostgreSQL and MariaDB where they answer.
#![expect(clippy::unwrap_used, reason = "a law fails by panicking")]

mod absences;
mod commits;
mod lookups;
mod opening;
mod pages;
mod rows;
mod world;

/// Makes one test a database of each law.
macro_rules! laws {
    ($($law:ident,)*) => {
        mod sqlite {
            $(#[tokio::test] async fn $law() {
                crate::store::world::on_sqlite(super::$law).await;
            })*
        }
        mod postgres {
            $(#[tokio::test] async fn $law() {
                crate::store::world::on_postgres(super::$law).await;
            })*
        }
        mod mysql {
            $(#[tokio::test] async fn $law() {
                crate::store::world::on_mysql(super::$law).await;
            })*
        }
    };
}
pub(crate) use laws;
