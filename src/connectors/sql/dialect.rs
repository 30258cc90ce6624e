//! How the three databases spell the same statement.

use super::schema::{Column, Kind};

/// A database we speak to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    Postgres,
    /// MySQL and MariaDB.
    MySql,
}

impl Dialect {
    /// The database that a URL's scheme names.
    pub fn of(url: &str) -> Option<Self> {
        match url.split_once(':')?.0 {
            "sqlite" => Some(Self::Sqlite),
            "postgres" | "postgresql" => Some(Self::Postgres),
            "mysql" | "mariadb" => Some(Self::MySql),
            _ => None,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
            Self::MySql => "MySQL/MariaDB",
        }
    }

    /// An identifier, whatever it is made of. Databases take no NUL in one.
    pub(super) fn quote(self, name: &str) -> String {
        let name = name.replace('\0', "");
        match self {
            Self::Sqlite | Self::Postgres => format!("\"{}\"", name.replace('"', "\"\"")),
            Self::MySql => format!("`{}`", name.replace('`', "``")),
        }
    }

    /// The `n`th placeholder, counted from 1.
    pub(super) fn placeholder(self, n: usize) -> String {
        match self {
            Self::Sqlite | Self::MySql => "?".to_owned(),
            Self::Postgres => format!("${n}"),
        }
    }

    /// Most values that one statement takes. Source: SQLite `SQLITE_MAX_VARIABLE_NUMBER`; the 16-bit counts of
    /// both servers' protocols.
    pub(super) const fn most_binds(self) -> usize {
        match self {
            Self::Sqlite => 32_000,
            Self::Postgres | Self::MySql => 65_000,
        }
    }

    /// What is selected to read a column without loss: text on servers, the stored value on SQLite.
    pub(super) fn read(self, from: &str, column: &Column) -> String {
        let name = format!("{from}{}", self.quote(&column.name));
        match (self, column.kind) {
            (Self::Sqlite, _) => name,
            // `money` prints its currency by the server's language.
            (Self::Postgres, Kind::Decimal) if column.type_name == "money" => {
                format!("CAST(CAST({name} AS numeric) AS text)")
            }
            (Self::Postgres, Kind::Array) => format!("CAST(array_to_json({name}) AS text)"),
            (Self::Postgres, _) => format!("CAST({name} AS text)"),
            (Self::MySql, Kind::Bool) => format!("CAST({name}+0 AS CHAR)"),
            (Self::MySql, _) => format!("CAST({name} AS CHAR CHARACTER SET utf8mb4)"),
        }
    }

    /// What a bound value is written as.
    ///
    /// Texts are not cast to `varchar(n)` or `char(n)`: an explicit cast cuts in silence, an assignment refuses.
    pub(super) fn write(self, placeholder: &str, column: &Column) -> String {
        match (self, column.kind) {
            (Self::MySql, Kind::Bool) if column.type_name == "bit" => {
                format!("CAST({placeholder} AS UNSIGNED)")
            }
            (Self::Sqlite | Self::MySql, _) => placeholder.to_owned(),
            (Self::Postgres, Kind::Text) if column.is_character => {
                format!("CAST({placeholder} AS text)")
            }
            (Self::Postgres, _) => {
                format!("CAST(CAST({placeholder} AS text) AS {})", column.type_name)
            }
        }
    }

    /// Whether a column still holds a value that was read before, null included.
    pub(super) fn holds(self, column: &Column, placeholder: &str) -> String {
        let read = self.read("", column);
        match self {
            Self::Sqlite => format!("{read} IS {placeholder}"),
            Self::Postgres => format!("{read} IS NOT DISTINCT FROM CAST({placeholder} AS text)"),
            // Collations take texts of other case for equal; bytes do not.
            Self::MySql => {
                format!("CAST({read} AS BINARY) <=> CAST({placeholder} AS BINARY)")
            }
        }
    }

    /// Whether a key column has a value; exact, and still served by the key's index.
    pub(super) fn is_key(self, from: &str, column: &Column, placeholder: &str) -> String {
        let name = format!("{from}{}", self.quote(&column.name));
        format!("{name} = {}", self.write(placeholder, column))
    }

    /// What rows are ordered by to walk them by time of change.
    pub(super) fn moment(self, from: &str, column: &Column) -> String {
        let name = format!("{from}{}", self.quote(&column.name));
        match self {
            // Texts with and without a `T`, with offsets, and Unix times: one order.
            Self::Sqlite => format!("datetime({name}, 'auto')"),
            Self::Postgres | Self::MySql => name,
        }
    }

    /// A moment as text.
    pub(super) fn moment_text(self, moment: &str) -> String {
        match self {
            Self::Sqlite => moment.to_owned(),
            Self::Postgres => format!("CAST({moment} AS text)"),
            Self::MySql => format!("CAST({moment} AS CHAR)"),
        }
    }

    /// A bound moment, to be compared with one.
    pub(super) fn bound_moment(self, placeholder: &str, column: &Column) -> String {
        match self {
            Self::Sqlite | Self::MySql => placeholder.to_owned(),
            Self::Postgres => {
                format!("CAST(CAST({placeholder} AS text) AS {})", column.type_name)
            }
        }
    }

    /// The server's clock.
    pub(super) const fn now(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')",
            Self::Postgres => "SELECT CAST(clock_timestamp() AS text)",
            Self::MySql => "SELECT CAST(UTC_TIMESTAMP(6) AS CHAR)",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_hostile_name_when_quoted_then_it_stays_one_identifier() {
        let name = "a\"b`c'; DROP TABLE x; --\0";

        assert_eq!(Dialect::Postgres.quote(name), "\"a\"\"b`c'; DROP TABLE x; --\"");
        assert_eq!(Dialect::Sqlite.quote(name), "\"a\"\"b`c'; DROP TABLE x; --\"");
        assert_eq!(Dialect::MySql.quote(name), "`a\"b``c'; DROP TABLE x; --`");
    }
}
