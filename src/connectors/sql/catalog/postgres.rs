//! PostgreSQL's `pg_catalog`.

use crmsync_core::model::ModuleName;

use super::super::schema::{Column, Kind, Place};
use super::{Described, Texts};

pub(super) const PLACES: &str = "SELECT CAST(n.nspname AS text), CAST(c.relname AS text), \
     CAST(c.relkind IN ('v', 'm') AS text) \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') \
     AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%' \
     AND has_schema_privilege(n.oid, 'USAGE') \
     AND (has_table_privilege(c.oid, 'SELECT') OR has_any_column_privilege(c.oid, 'SELECT')) \
     ORDER BY 1, 2";

pub(super) const TRIGGERS: &str = "SELECT CAST(EXISTS (SELECT 1 FROM pg_catalog.pg_trigger t \
     JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = CAST($1 AS text) AND c.relname = CAST($2 AS text) \
     AND t.tgname = 'crmsync' AND t.tgenabled <> 'D') AS text)";

pub(super) const COLUMNS: &str = "SELECT CAST(a.attname AS text), CAST(b.typname AS text), \
     CAST(b.typtype AS text), CAST(b.typcategory AS text), format_type(b.oid, NULL), \
     CAST(NOT a.attnotnull AS text), \
     CAST((a.atthasdef AND a.attgenerated = '') OR a.attidentity <> '' AS text), \
     CAST(a.attgenerated <> '' OR a.attidentity = 'a' AS text), \
     CAST(CASE WHEN b.typname IN ('varchar', 'bpchar') THEN NULLIF(GREATEST(a.atttypmod, t.typtypmod), -1) - 4 END AS text), \
     (SELECT CAST(json_agg(e.enumlabel ORDER BY e.enumsortorder) AS text) \
        FROM pg_catalog.pg_enum e WHERE e.enumtypid = b.oid), \
     (SELECT CAST(k.place AS text) FROM pg_catalog.pg_index i, \
        unnest(CAST(i.indkey AS int2[])) WITH ORDINALITY AS k(attnum, place) \
        WHERE i.indrelid = c.oid AND i.indisprimary AND k.attnum = a.attnum AND k.place <= i.indnkeyatts), \
     CAST(EXISTS (SELECT 1 FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisunique \
        AND i.indnkeyatts = 1 AND i.indpred IS NULL AND (CAST(i.indkey AS int2[]))[0] = a.attnum) AS text), \
     (SELECT CAST(json_build_array(fn.nspname, fc.relname) AS text) \
        FROM pg_catalog.pg_constraint f \
        JOIN pg_catalog.pg_class fc ON fc.oid = f.confrelid \
        JOIN pg_catalog.pg_namespace fn ON fn.oid = fc.relnamespace \
        JOIN pg_catalog.pg_index p ON p.indrelid = fc.oid AND p.indisprimary AND p.indnkeyatts = 1 \
        WHERE f.conrelid = c.oid AND f.contype = 'f' AND f.conkey = ARRAY[a.attnum] \
        AND f.confkey[1] = (CAST(p.indkey AS int2[]))[0] LIMIT 1), \
     CAST(has_column_privilege(c.oid, a.attnum, 'SELECT') AS text), \
     CAST(has_column_privilege(c.oid, a.attnum, 'INSERT') AS text), \
     CAST(has_column_privilege(c.oid, a.attnum, 'UPDATE') AS text) \
     FROM pg_catalog.pg_attribute a \
     JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
     JOIN pg_catalog.pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END \
     WHERE n.nspname = CAST($1 AS text) AND c.relname = CAST($2 AS text) \
     AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

pub(super) fn column(row: &Texts<'_>, own: Option<&str>) -> Option<Described> {
    let (base, class, category) = (row.text(1)?, row.text(2)?, row.text(3)?);
    let kind = kind(&base, &class, &category);
    let options = row.text(9).and_then(|json| serde_json::from_str(&json).ok());
    let target: Option<(String, String)> =
        row.text(12).and_then(|json| serde_json::from_str(&json).ok());
    let computed = row.flag(7);
    let column = Column {
        name: row.text(0)?,
        kind,
        type_name: cast_name(&base, row.text(4)?),
        is_character: category == "S",
        nullable: row.flag(5),
        filled: row.flag(6) || computed,
        max_length: row.number(8),
        options: options.unwrap_or_default(),
        target: target.map(|(schema, table)| module(schema, table, own)),
        unique: row.flag(11),
        readable: row.flag(13),
        insertable: row.flag(14) && !computed,
        updatable: row.flag(15) && !computed,
    };
    Some(Described { column, in_key: row.number(10) })
}

fn module(schema: String, name: String, own: Option<&str>) -> ModuleName {
    Place { schema: Some(schema), name, is_view: false }.module(own)
}

/// What a text is cast to. `bit` alone is one bit long, and would cut.
fn cast_name(base: &str, formatted: String) -> String {
    match base {
        "bit" => "varbit".into(),
        _ => formatted,
    }
}

/// Source: PostgreSQL 15, "52.64. `pg_type`", table 52.65 "typcategory Codes".
fn kind(base: &str, class: &str, category: &str) -> Kind {
    match (base, class, category) {
        ("bytea" | "tsvector" | "tsquery", _, _) | (_, "c" | "p", _) => Kind::Unsupported,
        (_, "e", _) => Kind::Enum,
        ("bool", _, _) => Kind::Bool,
        ("int2" | "int4" | "int8" | "oid", _, _) => Kind::Integer,
        ("numeric" | "float4" | "float8" | "money", _, _) => Kind::Decimal,
        ("date", _, _) => Kind::Date,
        ("time" | "timetz", _, _) => Kind::Time,
        ("timestamp", _, _) => Kind::LocalTime,
        ("timestamptz", _, _) => Kind::Instant,
        ("json" | "jsonb", _, _) => Kind::Json,
        ("_bytea", _, _) => Kind::Unsupported,
        (_, _, "A") => Kind::Array,
        // Texts, and types that print and read as one: uuid, inet, interval, ranges, xml.
        _ => Kind::Text,
    }
}
