//! MySQL's and MariaDB's `information_schema`.

use crmsync_core::model::ModuleName;

use super::super::schema::{Column, Kind, Place};
use super::{Described, Texts};

pub(super) const PLACES: &str = "SELECT CAST(TABLE_SCHEMA AS CHAR), CAST(TABLE_NAME AS CHAR), \
     CAST(TABLE_TYPE LIKE '%VIEW' AS CHAR) FROM information_schema.TABLES \
     WHERE TABLE_SCHEMA NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys') \
     ORDER BY 1, 2";

pub(super) const COLUMNS: &str = "SELECT CAST(c.COLUMN_NAME AS CHAR), CAST(c.DATA_TYPE AS CHAR), \
     CAST(c.COLUMN_TYPE AS CHAR), CAST(c.IS_NULLABLE AS CHAR), \
     CAST(c.COLUMN_DEFAULT IS NOT NULL AND c.COLUMN_DEFAULT <> 'NULL' AS CHAR), CAST(c.EXTRA AS CHAR), \
     CAST(c.CHARACTER_MAXIMUM_LENGTH AS CHAR), \
     (SELECT CAST(k.ORDINAL_POSITION AS CHAR) FROM information_schema.KEY_COLUMN_USAGE k \
        WHERE k.TABLE_SCHEMA = c.TABLE_SCHEMA AND k.TABLE_NAME = c.TABLE_NAME \
        AND k.COLUMN_NAME = c.COLUMN_NAME AND k.CONSTRAINT_NAME = 'PRIMARY'), \
     CAST(EXISTS (SELECT 1 FROM information_schema.STATISTICS s \
        WHERE s.TABLE_SCHEMA = c.TABLE_SCHEMA AND s.TABLE_NAME = c.TABLE_NAME AND s.NON_UNIQUE = 0 \
        AND s.SUB_PART IS NULL GROUP BY s.INDEX_NAME \
        HAVING COUNT(*) = 1 AND MAX(s.COLUMN_NAME) = c.COLUMN_NAME) AS CHAR), \
     (SELECT CAST(CONCAT(f.REFERENCED_TABLE_SCHEMA, CHAR(0), f.REFERENCED_TABLE_NAME) AS CHAR) \
        FROM information_schema.KEY_COLUMN_USAGE f \
        JOIN information_schema.KEY_COLUMN_USAGE p ON p.TABLE_SCHEMA = f.REFERENCED_TABLE_SCHEMA \
        AND p.TABLE_NAME = f.REFERENCED_TABLE_NAME AND p.CONSTRAINT_NAME = 'PRIMARY' \
        AND p.COLUMN_NAME = f.REFERENCED_COLUMN_NAME \
        WHERE f.TABLE_SCHEMA = c.TABLE_SCHEMA AND f.TABLE_NAME = c.TABLE_NAME \
        AND f.COLUMN_NAME = c.COLUMN_NAME AND f.REFERENCED_TABLE_NAME IS NOT NULL \
        AND (SELECT COUNT(*) FROM information_schema.KEY_COLUMN_USAGE w \
             WHERE w.TABLE_SCHEMA = f.TABLE_SCHEMA AND w.TABLE_NAME = f.TABLE_NAME \
             AND w.CONSTRAINT_NAME = f.CONSTRAINT_NAME) = 1 \
        AND (SELECT COUNT(*) FROM information_schema.KEY_COLUMN_USAGE w \
             WHERE w.TABLE_SCHEMA = p.TABLE_SCHEMA AND w.TABLE_NAME = p.TABLE_NAME \
             AND w.CONSTRAINT_NAME = 'PRIMARY') = 1 LIMIT 1), \
     CAST(c.PRIVILEGES AS CHAR) \
     FROM information_schema.COLUMNS c WHERE c.TABLE_SCHEMA = ? AND c.TABLE_NAME = ? \
     ORDER BY c.ORDINAL_POSITION";

pub(super) fn column(row: &Texts<'_>, own: Option<&str>) -> Option<Described> {
    let (data_type, full) = (row.text(1)?.to_lowercase(), row.text(2)?);
    let extra = row.text(5).unwrap_or_default().to_lowercase();
    let computed = extra.contains("generated") && !extra.contains("default_generated");
    let rights = row.text(10).unwrap_or_default().to_lowercase();
    let kind = kind(&data_type, &full.to_lowercase());
    let is_character = matches!(kind, Kind::Text) && row.text(6).is_some();
    // Lengths of the four `text` types count bytes, those of `char` and `varchar` characters.
    let counted = matches!(data_type.as_str(), "char" | "varchar");
    let target = row.text(9).and_then(|both| {
        let (schema, table) = both.split_once('\0')?;
        let place = Place { schema: Some(schema.into()), name: table.into(), is_view: false };
        Some(place.module(own))
    });
    let column = Column {
        name: row.text(0)?,
        kind,
        type_name: data_type,
        is_character,
        nullable: row.flag(3),
        filled: row.flag(4) || extra.contains("auto_increment") || computed,
        max_length: row.number(6).filter(|_| counted),
        options: if matches!(kind, Kind::Enum | Kind::Set) { listed(&full) } else { Vec::new() },
        target: target.map(|module: ModuleName| module),
        unique: row.flag(8),
        readable: rights.contains("select"),
        insertable: rights.contains("insert") && !computed,
        updatable: rights.contains("update") && !computed,
    };
    Some(Described { column, in_key: row.number(7) })
}

fn kind(data_type: &str, full: &str) -> Kind {
    match data_type {
        "tinyint" if full.starts_with("tinyint(1)") => Kind::Bool,
        "bit" if full == "bit(1)" => Kind::Bool,
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" | "year" => {
            Kind::Integer
        }
        "decimal" | "numeric" | "float" | "double" => Kind::Decimal,
        "date" => Kind::Date,
        "time" => Kind::Time,
        "datetime" => Kind::LocalTime,
        "timestamp" => Kind::Instant,
        "json" => Kind::Json,
        "enum" => Kind::Enum,
        "set" => Kind::Set,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "uuid" | "inet4"
        | "inet6" => Kind::Text,
        // Bytes, bits, shapes.
        _ => Kind::Unsupported,
    }
}

/// The words of `enum('a','b''c')`.
fn listed(full: &str) -> Vec<String> {
    let Some((_, inner)) = full.split_once('(') else { return Vec::new() };
    let inner = inner.strip_suffix(')').unwrap_or(inner);
    let (mut words, mut word, mut chars) = (Vec::new(), None::<String>, inner.chars().peekable());
    while let Some(char) = chars.next() {
        match (char, &mut word) {
            ('\'', None) => word = Some(String::new()),
            ('\'', Some(text)) if chars.peek() == Some(&'\'') => {
                chars.next();
                text.push('\'');
            }
            ('\'', Some(_)) => words.extend(word.take()),
            (other, Some(text)) => text.push(other),
            (_, None) => {}
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_an_enum_when_its_words_are_read_then_quotes_and_commas_are_theirs() {
        assert_eq!(listed("enum('a','b''c','d,e')"), ["a", "b'c", "d,e"]);
    }
}
