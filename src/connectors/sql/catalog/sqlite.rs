//! SQLite's pragmas.

use crmsync_core::model::ModuleName;

use super::super::schema::{Column, Kind};
use super::{Described, Texts};

pub(super) const PLACES: &str = "SELECT 'main', name, type = 'view' FROM main.sqlite_schema \
     WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";

/// One for each of insert, update and delete.
pub(super) const TRIGGERS: &str = "SELECT COUNT(*) = 3 FROM main.sqlite_schema WHERE type = 'trigger' \
     AND tbl_name = ?1 AND name IN (?2 || '_insert', ?2 || '_update', ?2 || '_delete')";

pub(super) const COLUMNS: &str = "SELECT x.name, x.type, x.\"notnull\", x.dflt_value IS NOT NULL, \
     x.hidden, x.pk, \
     EXISTS (SELECT 1 FROM pragma_index_list(?1, ?2) l WHERE l.\"unique\" = 1 AND l.partial = 0 \
        AND (SELECT COUNT(*) FROM pragma_index_info(l.name, ?2)) = 1 \
        AND (SELECT i.name FROM pragma_index_info(l.name, ?2) i) = x.name), \
     (SELECT f.\"table\" FROM pragma_foreign_key_list(?1, ?2) f WHERE f.\"from\" = x.name \
        AND (SELECT COUNT(*) FROM pragma_foreign_key_list(?1, ?2) g WHERE g.id = f.id) = 1 \
        AND (SELECT COUNT(*) FROM pragma_table_info(f.\"table\", ?2) p WHERE p.pk > 0) = 1 \
        AND (f.\"to\" IS NULL OR f.\"to\" = (SELECT p.name FROM pragma_table_info(f.\"table\", ?2) p WHERE p.pk = 1)) \
        LIMIT 1), \
     (SELECT COUNT(*) FROM pragma_table_info(?1, ?2) p WHERE p.pk > 0) \
     FROM pragma_table_xinfo(?1, ?2) x WHERE x.hidden <> 1 ORDER BY x.cid";

pub(super) fn column(row: &Texts<'_>, _own: Option<&str>) -> Option<Described> {
    let declared = row.text(1).unwrap_or_default().to_uppercase();
    let in_key = row.number(5).filter(|place| *place > 0);
    // Such a column is the row's own number.
    let is_rowid = in_key.is_some() && declared == "INTEGER" && row.number(8) == Some(1);
    let computed = row.number(4).is_some_and(|hidden| hidden >= 2);
    let kind = kind(&declared);
    let column = Column {
        name: row.text(0)?,
        kind,
        type_name: if declared.is_empty() { "untyped".into() } else { declared.clone() },
        is_character: kind == Kind::Text,
        nullable: !row.flag(2) && in_key.is_none(),
        filled: row.flag(3) || is_rowid || computed,
        max_length: if kind == Kind::Text { length(&declared) } else { None },
        options: Vec::new(),
        target: row.text(7).map(ModuleName::new),
        unique: row.flag(6),
        readable: true,
        insertable: !computed,
        updatable: !computed,
    };
    Some(Described { column, in_key })
}

/// By the declared type, which binds only people: sqlite.org/datatype3.html, §3.1, and the names that ORMs use.
fn kind(declared: &str) -> Kind {
    let has = |part: &str| declared.contains(part);
    match declared {
        _ if has("BOOL") => Kind::Bool,
        _ if has("INT") => Kind::Integer,
        _ if has("JSON") => Kind::Json,
        _ if has("CHAR") || has("CLOB") || has("TEXT") || has("UUID") || has("ENUM") => Kind::Text,
        _ if has("BLOB") || has("BINARY") => Kind::Unsupported,
        _ if has("TIMESTAMP") || has("DATETIME") => Kind::LocalTime,
        _ if has("DATE") => Kind::Date,
        _ if has("TIME") => Kind::Time,
        _ if has("REAL")
            || has("FLOA")
            || has("DOUB")
            || has("DEC")
            || has("NUM")
            || has("MONEY") =>
        {
            Kind::Decimal
        }
        _ => Kind::Text,
    }
}

/// The `40` of `VARCHAR(40)`.
fn length(declared: &str) -> Option<usize> {
    let (_, inner) = declared.split_once('(')?;
    inner.split([')', ',']).next()?.trim().parse().ok()
}
