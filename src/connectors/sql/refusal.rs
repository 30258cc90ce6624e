//! What a database's refusal means for a row.

use super::super::ErrorKind;

/// What a failed statement means, as far as its error tells. Texts of errors that may repeat values are not passed on.
///
/// Source: PostgreSQL appendix A "Error codes", MariaDB "Error codes", SQLite "Result and error codes".
pub(super) fn classify(error: &sqlx::Error) -> ErrorKind {
    if let sqlx::Error::Database(refused) = error {
        let code = refused.code().unwrap_or_default();
        let column = column_of(refused.as_ref());
        // MySQL's `code` is the SQL state; its numbers say more.
        let number = number_of(refused.as_ref()).unwrap_or_else(|| code.to_string());
        return refusal(&number, refused.message(), column.as_deref());
    }
    if let sqlx::Error::ColumnDecode { index, .. } = error {
        return ErrorKind::Undecodable(format!("column {index}"));
    }
    if let sqlx::Error::Configuration(_) = error {
        return ErrorKind::Misconfigured("the database URL has a mistake".into());
    }
    if let sqlx::Error::PoolTimedOut = error {
        return ErrorKind::Unavailable("no connection became free in time".into());
    }
    ErrorKind::Unavailable(error.to_string())
}

/// Whether trying the whole transaction again may help: it was surely taken back.
pub(super) fn is_contention(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(refused) = error else { return false };
    let code = refused.code().unwrap_or_default();
    let number = number_of(refused.as_ref()).unwrap_or_else(|| code.to_string());
    matches!(number.as_str(), "40001" | "40P01" | "1213" | "1205" | "5" | "6" | "261" | "517")
}

/// Whether the refusal is about the row, so that others of its batch may go through without it.
pub(super) fn is_about_rows(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(_))
        && matches!(
            classify(error),
            ErrorKind::Invalid { .. } | ErrorKind::Refused(_) | ErrorKind::Duplicate { .. }
        )
}

pub(super) fn is_unique_violation(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

#[cfg(feature = "mysql")]
fn number_of(refused: &dyn sqlx::error::DatabaseError) -> Option<String> {
    let refused = refused.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()?;
    Some(refused.number().to_string())
}

#[cfg(not(feature = "mysql"))]
fn number_of(_refused: &dyn sqlx::error::DatabaseError) -> Option<String> {
    None
}

/// The column that the error names by itself.
fn column_of(refused: &dyn sqlx::error::DatabaseError) -> Option<String> {
    if let Some(refused) = refused.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        return refused.column().map(str::to_owned).or_else(|| detail_column(refused.detail()?));
    }
    quoted_after(refused.message(), "column '")
        .or_else(|| quoted_after(refused.message(), "Column '"))
        .or_else(|| quoted_after(refused.message(), "Field '"))
        .or_else(|| {
            // `NOT NULL constraint failed: contacts.name`.
            let (_, named) = refused.message().split_once("constraint failed: ")?;
            named.rsplit_once('.').map(|(_, column)| column.to_owned())
        })
}

/// `Key (account_id)=(7) is not present in table "accounts".`
fn detail_column(detail: &str) -> Option<String> {
    let (column, _) = detail.strip_prefix("Key (")?.split_once(")=(")?;
    (!column.contains(',')).then(|| column.trim_matches('"').to_owned())
}

fn quoted_after(message: &str, before: &str) -> Option<String> {
    let (_, rest) = message.split_once(before)?;
    rest.split_once('\'').map(|(column, _)| column.to_owned())
}

fn refusal(code: &str, message: &str, column: Option<&str>) -> ErrorKind {
    let invalid = |reason: &str| match column {
        Some(field) => ErrorKind::Invalid { field: field.to_owned(), reason: reason.to_owned() },
        None => ErrorKind::Refused(reason.to_owned()),
    };
    match code {
        // Names. 1: SQLite's one code for what does not parse, such as a column that is gone.
        "42P01" | "1146" => ErrorKind::UnknownName("table".into()),
        "42703" | "1054" => ErrorKind::UnknownName("column".into()),
        "1" if message.contains("no such table") => ErrorKind::UnknownName("table".into()),
        "1" if message.contains("no such column") || message.contains("has no column") => {
            ErrorKind::UnknownName("column".into())
        }
        // Rights.
        "42501" | "1142" | "1143" | "1044" => {
            ErrorKind::Forbidden("the database user may not do this".into())
        }
        "8" | "1032" | "25006" | "1290" | "1792" => {
            ErrorKind::Forbidden("the database is read-only".into())
        }
        "28000" | "28P01" | "1045" | "1698" => {
            ErrorKind::Misconfigured("the database refuses user and password of `url`".into())
        }
        "3D000" | "1049" => ErrorKind::Misconfigured("there is no such database".into()),
        "14" => {
            ErrorKind::Misconfigured("cannot open the database file; is the path right?".into())
        }
        "26" => ErrorKind::Misconfigured("the file is no SQLite database".into()),
        // Values.
        "23502" | "1048" | "1364" | "1299" => invalid("must not be empty"),
        "23503" | "1452" | "1216" | "787" => invalid("refers to a record that is not there"),
        "1451" | "1217" => ErrorKind::Refused("other records refer to it".into()),
        "23505" | "1062" | "2067" | "1555" => invalid("is taken by another record"),
        "23514" | "4025" | "3819" | "275" => {
            ErrorKind::Refused("a check of the table refuses the row".into())
        }
        "22001" | "1406" => invalid("the text is longer than the column takes"),
        "22003" | "1264" | "1690" => invalid("the number is outside of the column's range"),
        "22P02" | "22007" | "22008" | "1366" | "1292" | "1265" | "20" => {
            invalid("is no value of the column's type")
        }
        "22021" | "22P05" => invalid("has a character that the database's encoding lacks"),
        "428C9" | "1906" | "3105" => invalid("is computed by the database"),
        // Contention that did not end within the tries.
        "40001" | "40P01" | "1213" => ErrorKind::Locked("a deadlock with another writer".into()),
        "55P03" | "1205" => ErrorKind::Locked("another writer holds the row".into()),
        "5" | "6" | "261" | "517" => {
            ErrorKind::Unavailable("the database file is locked by another program".into())
        }
        // Reach: shutting down, starting, too many connections, killed, disk full.
        "57P01" | "57P02" | "57P03" | "53300" | "53400" | "1040" | "1053" | "1203" | "1927"
        | "4031" => ErrorKind::Unavailable(message.to_owned()),
        "53100" | "13" | "1114" | "1021" => {
            ErrorKind::Unavailable("the database's disk is full".into())
        }
        "57014" | "1317" | "9" => ErrorKind::Unavailable("the statement was cancelled".into()),
        _ => ErrorKind::Refused(format!("{} (code {code})", without_values(message))),
    }
}

/// Messages quote the value after a colon.
fn without_values(message: &str) -> &str {
    message.split([':', '"', '\'']).next().unwrap_or(message).trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_codes_of_three_databases_when_read_then_the_caller_knows_what_to_do() {
        let invalid =
            |reason: &str| ErrorKind::Invalid { field: "name".into(), reason: reason.into() };
        let cases = [
            ("22001", "value too long", invalid("the text is longer than the column takes")),
            ("1406", "Data too long", invalid("the text is longer than the column takes")),
            ("23502", "null value", invalid("must not be empty")),
            ("1299", "NOT NULL", invalid("must not be empty")),
            ("42703", "column \"x\" does not exist", ErrorKind::UnknownName("column".into())),
            ("1", "no such table: x", ErrorKind::UnknownName("table".into())),
            ("1", "near \"(\": secret", ErrorKind::Refused("near (code 1)".into())),
        ];

        for (code, message, expected) in cases {
            assert_eq!(refusal(code, message, Some("name")), expected, "{code}");
        }
    }

    #[test]
    fn given_a_detail_when_read_then_only_the_column_is_taken() {
        assert_eq!(detail_column("Key (account_id)=(7) is not present"), Some("account_id".into()));
        assert_eq!(detail_column("Key (a, b)=(7, 8) already exists."), None);
    }
}
