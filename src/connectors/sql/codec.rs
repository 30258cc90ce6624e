//! Cells and values: pure, and without loss where the database itself loses nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::str::FromStr as _;

use chrono::{DateTime, LocalResult, NaiveDate, NaiveDateTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use crmsync_core::model::{RecordId, Value};
use rust_decimal::Decimal;
use serde_json::Value as Json;
use serde_json::value::RawValue;
use unicode_normalization::is_nfc;

use super::dialect::Dialect;
use super::schema::{Column, Kind};

/// One stored value. Servers print everything as text; SQLite tells its storage class.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Cell {
    #[default]
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    /// Bytes where text was expected: binary, or invalid UTF-8.
    Bytes,
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// The value as text; `None` for null and bytes.
    pub(super) fn to_text(&self) -> Option<String> {
        match self {
            Self::Null | Self::Bytes => None,
            Self::Integer(number) => Some(number.to_string()),
            // The shortest text that reads back as the same number.
            Self::Real(number) => Some(number.to_string()),
            Self::Text(text) => Some(text.clone()),
        }
    }

    pub(super) fn to_json(&self) -> Json {
        match self {
            Self::Null | Self::Bytes => Json::Null,
            Self::Integer(number) => Json::from(*number),
            Self::Real(number) => Json::from(*number),
            Self::Text(text) => Json::from(text.as_str()),
        }
    }

    pub(super) fn from_json(json: &Json) -> Self {
        match json {
            Json::Number(number) => match number.as_i64() {
                Some(whole) => Self::Integer(whole),
                None => number.as_f64().map_or(Self::Null, Self::Real),
            },
            Json::String(text) => Self::text(text.as_str()),
            Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => Self::Null,
        }
    }
}

/// Reads a cell.
///
/// A cell that does not fit its column's kind (SQLite stores anything anywhere) keeps its shape as text.
///
/// # Errors
/// Why it cannot be a value: bytes, or a number with more digits than we keep.
pub(super) fn decode(column: &Column, cell: &Cell, zone: Tz) -> Result<Value, String> {
    if *cell == Cell::Bytes {
        return Err(format!("column `{}` holds bytes that are no UTF-8 text", column.name));
    }
    let Some(text) = cell.to_text() else { return Ok(Value::Empty) };
    if column.target.is_some() {
        return Ok(Value::Reference(encode_key(std::slice::from_ref(cell)).ok_or("null")?));
    }
    let odd = || Value::text(&text);
    Ok(match column.kind {
        Kind::Text | Kind::Time | Kind::Enum => Value::text(&text),
        Kind::Integer | Kind::Decimal => match number(&text) {
            Some(number) => Value::number(number),
            None if text.parse::<f64>().is_ok() => {
                return Err(format!(
                    "column `{}` holds a number with more digits than the 28 that are kept",
                    column.name
                ));
            }
            None => odd(),
        },
        Kind::Bool => match text.as_str() {
            "true" | "t" | "1" => Value::Bool(true),
            "false" | "f" | "0" => Value::Bool(false),
            other => number(other).map_or_else(odd, Value::number),
        },
        Kind::Date => {
            match text.get(..10).and_then(|day| NaiveDate::parse_from_str(day, DATE).ok()) {
                Some(date) if text.len() == 10 || is_midnight(&text[10..]) => Value::Date(date),
                Some(_) | None if text.starts_with("0000-00-00") => Value::Empty,
                Some(_) | None => odd(),
            }
        }
        Kind::Instant | Kind::LocalTime => match moment(cell, zone) {
            Some(at) => Value::timestamp(at),
            None if text.starts_with("0000-00-00") => Value::Empty,
            None => odd(),
        },
        Kind::Json => compact_json(&text).map_or_else(odd, |text| Value::text(&text)),
        Kind::Array => Value::set(array_items(&text).ok_or("an array of arrays is not mapped")?),
        Kind::Set => Value::set(text.split(',').map(str::to_owned)),
        Kind::Unsupported => {
            return Err(format!("column `{}` is {}", column.name, column.type_name));
        }
    })
}

const DATE: &str = "%Y-%m-%d";

fn is_midnight(rest: &str) -> bool {
    let rest = rest.trim_start_matches([' ', 'T']).trim_end_matches('Z');
    rest.chars().all(|char| matches!(char, '0' | ':' | '.'))
}

fn number(text: &str) -> Option<Decimal> {
    let text = text.trim();
    // Digits beyond 28 would be rounded: that is not the same number.
    Decimal::from_str_exact(text).ok().or_else(|| {
        let scientific =
            text.contains(['e', 'E']).then(|| Decimal::from_scientific(text).ok())??;
        let float: f64 = text.parse().ok()?;
        (scientific.to_string().parse::<f64>().ok() == Some(float)).then_some(scientific)
    })
}

/// The instant that a cell names: a text with or without offset, or seconds since 1970.
pub(super) fn moment(cell: &Cell, zone: Tz) -> Option<DateTime<Utc>> {
    match cell {
        Cell::Null | Cell::Bytes => None,
        Cell::Integer(seconds) => DateTime::from_timestamp(*seconds, 0),
        #[expect(clippy::cast_possible_truncation, reason = "saturates, and then is no moment")]
        Cell::Real(seconds) => DateTime::from_timestamp_millis((seconds * 1_000.0) as i64),
        Cell::Text(text) => parse_moment(text, zone),
    }
}

fn parse_moment(text: &str, zone: Tz) -> Option<DateTime<Utc>> {
    let spaced = text.trim().replacen('T', " ", 1);
    let zoned =
        spaced.strip_suffix('Z').map_or_else(|| spaced.clone(), |rest| format!("{rest}+00"));
    for format in ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M%#z"] {
        if let Ok(at) = DateTime::parse_from_str(&zoned, format) {
            return Some(at.with_timezone(&Utc));
        }
    }
    let local = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(&spaced, format).ok())
        .or_else(|| NaiveDate::parse_from_str(&spaced, DATE).ok()?.and_hms_opt(0, 0, 0));
    Some(from_local(local?, zone))
}

/// Of an hour that comes twice the first; an hour that the spring skips is an hour later.
fn from_local(local: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => at.with_timezone(&Utc),
        LocalResult::None => zone
            .from_local_datetime(&(local - TimeDelta::hours(1)))
            .earliest()
            .map_or_else(|| local.and_utc(), |at| at.with_timezone(&Utc) + TimeDelta::hours(1)),
    }
}

/// Writes an instant as a column of its kind takes it.
pub(super) fn moment_cell(kind: Kind, dialect: Dialect, at: DateTime<Utc>, zone: Tz) -> Cell {
    const PLAIN: &str = "%Y-%m-%d %H:%M:%S";
    match (kind, dialect) {
        (Kind::Instant, Dialect::Postgres) => {
            Cell::text(at.format("%Y-%m-%d %H:%M:%S+00").to_string())
        }
        // MySQL's `timestamp` speaks the session's zone, which is UTC.
        (Kind::Instant, _) => Cell::text(at.format(PLAIN).to_string()),
        _ => Cell::text(at.with_timezone(&zone).format(PLAIN).to_string()),
    }
}

/// JSON without spaces, keys in order, numbers as written; `None` if it is none.
fn compact_json(text: &str) -> Option<String> {
    let text = text.trim();
    match text.chars().next()? {
        '{' => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
            let members: Option<Vec<_>> = members
                .into_iter()
                .map(|(name, raw)| {
                    Some(format!("{}:{}", Json::from(name), compact_json(raw.get())?))
                })
                .collect();
            Some(format!("{{{}}}", members?.join(",")))
        }
        '[' => {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            let items: Option<Vec<_>> =
                items.into_iter().map(|raw| compact_json(raw.get())).collect();
            Some(format!("[{}]", items?.join(",")))
        }
        '"' => Some(Json::from(serde_json::from_str::<String>(text).ok()?).to_string()),
        _ => serde_json::from_str::<&RawValue>(text).ok().map(|raw| raw.get().to_owned()),
    }
}

/// The elements of an array printed as JSON; `None` for an array of arrays.
fn array_items(text: &str) -> Option<Vec<String>> {
    let items: Vec<Json> = serde_json::from_str(text).ok()?;
    let item = |json: Json| match json {
        Json::String(text) => Some(text),
        Json::Null => Some(String::new()),
        Json::Bool(flag) => Some(flag.to_string()),
        Json::Number(number) => Some(number.to_string()),
        Json::Array(_) | Json::Object(_) => None,
    };
    items.into_iter().map(item).collect()
}

/// Writes a value as a column takes it. `current` is the cell as just read: a list keeps its order, a time its
/// spelling.
///
/// # Errors
/// Why the column does not take it.
pub(super) fn encode(
    dialect: Dialect,
    column: &Column,
    value: &Value,
    current: Option<&Cell>,
    zone: Tz,
) -> Result<Cell, String> {
    let text = match value {
        Value::Empty => return empty(column),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.normalize().to_string(),
        Value::Text(text) => text.to_string(),
        Value::Date(date) => date.format(DATE).to_string(),
        Value::Timestamp(at) => return encode_moment(dialect, column, *at, current, zone),
        Value::Set(_) | Value::List(_) => return encode_items(column, &items(value), current),
        Value::Reference(id) => match decode_key(id.as_str(), 1).as_deref() {
            Some([key]) => key.clone(),
            _ => return Err("names no single key".into()),
        },
        Value::Link(_) => return Err("the record that it refers to is not there yet".into()),
    };
    encode_text(dialect, column, value, text)
}

fn empty(column: &Column) -> Result<Cell, String> {
    match column.kind {
        _ if column.nullable => Ok(Cell::Null),
        Kind::Text if column.is_character => Ok(Cell::text("")),
        Kind::Bool => Ok(Cell::Integer(0)),
        Kind::Set => Ok(Cell::text("")),
        Kind::Array => Ok(Cell::text("{}")),
        Kind::Text
        | Kind::Integer
        | Kind::Decimal
        | Kind::Date
        | Kind::Time
        | Kind::Instant
        | Kind::LocalTime
        | Kind::Json
        | Kind::Enum
        | Kind::Unsupported => Err("must not be empty".into()),
    }
}

fn items(value: &Value) -> Vec<String> {
    match value {
        Value::Set(items) => items.iter().cloned().collect(),
        Value::List(items) => items.clone(),
        Value::Empty
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Text(_)
        | Value::Date(_)
        | Value::Timestamp(_)
        | Value::Reference(_)
        | Value::Link(_) => Vec::new(),
    }
}

fn encode_text(
    dialect: Dialect,
    column: &Column,
    value: &Value,
    text: String,
) -> Result<Cell, String> {
    if text.contains('\0') && dialect == Dialect::Postgres {
        return Err("PostgreSQL stores no NUL character".into());
    }
    match column.kind {
        Kind::Text | Kind::Time => {
            let length = text.chars().count();
            match column.max_length {
                Some(room) if length > room => {
                    Err(format!("the text has {length} characters, the column takes {room}"))
                }
                Some(_) | None => Ok(Cell::Text(text)),
            }
        }
        Kind::Integer | Kind::Decimal => encode_number(dialect, column, &text),
        Kind::Bool => {
            let Value::Bool(flag) = value else { return Err("is neither true nor false".into()) };
            Ok(match dialect {
                Dialect::Postgres => Cell::text(if *flag { "true" } else { "false" }),
                Dialect::Sqlite | Dialect::MySql => Cell::Integer(i64::from(*flag)),
            })
        }
        Kind::Date if matches!(value, Value::Date(_)) => Ok(Cell::Text(text)),
        Kind::Date => Err("is no date".into()),
        Kind::Instant | Kind::LocalTime => Err("is no point in time".into()),
        Kind::Json => compact_json(&text).map(Cell::Text).ok_or_else(|| "is no JSON".into()),
        Kind::Enum if column.options.is_empty() || column.options.contains(&text) => {
            Ok(Cell::Text(text))
        }
        Kind::Enum => Err(format!("is none of {}", column.options.join(", "))),
        Kind::Array | Kind::Set => Err("is no list".into()),
        Kind::Unsupported => Err(format!("{} is not written", column.type_name)),
    }
}

fn encode_number(dialect: Dialect, column: &Column, text: &str) -> Result<Cell, String> {
    let number = number(text).ok_or("is no number")?;
    if column.kind == Kind::Integer {
        let whole = number.is_integer().then(|| number.normalize().to_string());
        let whole = whole.ok_or("has decimals, the column takes whole numbers")?;
        return Ok(whole.parse().map_or(Cell::Text(whole), Cell::Integer));
    }
    // A column of numeric affinity keeps what a float keeps. Source: sqlite.org/datatype3.html, §3.
    let digits = number.normalize().mantissa().unsigned_abs().to_string().len();
    if dialect == Dialect::Sqlite && digits > 15 {
        return Err("has more digits than the 15 that SQLite keeps in this column".into());
    }
    Ok(Cell::text(number.normalize().to_string()))
}

fn encode_moment(
    dialect: Dialect,
    column: &Column,
    at: DateTime<Utc>,
    current: Option<&Cell>,
    zone: Tz,
) -> Result<Cell, String> {
    match (column.kind, current) {
        (Kind::Instant | Kind::LocalTime, Some(Cell::Integer(_))) => {
            Ok(Cell::Integer(at.timestamp()))
        }
        (Kind::Instant | Kind::LocalTime, Some(Cell::Text(old)))
            if dialect == Dialect::Sqlite && old.ends_with('Z') =>
        {
            Ok(Cell::text(at.format("%Y-%m-%dT%H:%M:%SZ").to_string()))
        }
        (kind @ (Kind::Instant | Kind::LocalTime), _) => Ok(moment_cell(kind, dialect, at, zone)),
        (Kind::Text, _) => Ok(Cell::text(at.format("%Y-%m-%dT%H:%M:%SZ").to_string())),
        (
            Kind::Integer
            | Kind::Decimal
            | Kind::Bool
            | Kind::Date
            | Kind::Time
            | Kind::Json
            | Kind::Array
            | Kind::Enum
            | Kind::Set
            | Kind::Unsupported,
            _,
        ) => Err("takes no point in time".into()),
    }
}

/// Elements that stay keep their places; new ones follow.
fn encode_items(column: &Column, new: &[String], current: Option<&Cell>) -> Result<Cell, String> {
    let wanted: BTreeSet<&String> = new.iter().collect();
    let old = current.and_then(Cell::to_text).unwrap_or_default();
    let kept = match column.kind {
        Kind::Array => array_items(&old).unwrap_or_default(),
        Kind::Set => old.split(',').map(str::to_owned).collect(),
        Kind::Text
        | Kind::Integer
        | Kind::Decimal
        | Kind::Bool
        | Kind::Date
        | Kind::Time
        | Kind::Instant
        | Kind::LocalTime
        | Kind::Json
        | Kind::Enum
        | Kind::Unsupported => return Err("takes no list".into()),
    };
    let mut items: Vec<String> = kept.into_iter().filter(|item| wanted.contains(item)).collect();
    items.extend(new.iter().filter(|item| !items.contains(item)).cloned().collect::<Vec<_>>());
    if column.kind == Kind::Set {
        let odd =
            items.iter().find(|item| !column.options.is_empty() && !column.options.contains(item));
        return match odd {
            Some(_) => Err(format!("has an element that is none of {}", column.options.join(", "))),
            None => Ok(Cell::text(items.join(","))),
        };
    }
    let quoted =
        items.iter().map(|item| format!("\"{}\"", item.replace('\\', "\\\\").replace('"', "\\\"")));
    Ok(Cell::text(format!("{{{}}}", quoted.collect::<Vec<_>>().join(","))))
}

/// A record's ID: its key's texts, separated by commas. What would not survive as a plain text is escaped, so that
/// an ID may travel through a CRM's text field. `None` when a part of the key is null.
pub(super) fn encode_key(cells: &[Cell]) -> Option<RecordId> {
    let parts: Option<Vec<String>> = cells.iter().map(Cell::to_text).collect();
    let parts = parts?;
    let join = |keeps: fn(char) -> bool| {
        parts.iter().map(|part| escape(part, keeps)).collect::<Vec<_>>().join(",")
    };
    let id = join(|_| true);
    // A mark that would join the letter before it, or letters that are joined already in another form.
    let id = if is_nfc(&id) { id } else { join(|char| char.is_ascii()) };
    Some(RecordId::new(id))
}

/// The texts of a key of `parts` columns; `None` if the ID is not one.
pub(super) fn decode_key(id: &str, parts: usize) -> Option<Vec<String>> {
    let texts: Option<Vec<String>> = id.split(',').map(unescape).collect();
    texts.filter(|texts| texts.len() == parts)
}

/// An empty part is a `%` alone.
fn escape(text: &str, keeps: fn(char) -> bool) -> String {
    if text.is_empty() {
        return "%".into();
    }
    let last = text.chars().count() - 1;
    let mut escaped = String::with_capacity(text.len());
    for (at, char) in text.chars().enumerate() {
        let at_end = char.is_whitespace() && (at == 0 || at == last);
        if keeps(char) && !matches!(char, '%' | ',') && !char.is_control() && !at_end {
            escaped.push(char);
            continue;
        }
        for byte in char.encode_utf8(&mut [0; 4]).bytes() {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

fn unescape(text: &str) -> Option<String> {
    if text == "%" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        if *byte == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(*byte);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

/// The cell of a key's part.
pub(super) fn key_cell(column: &Column, text: &str) -> Cell {
    match column.kind {
        Kind::Integer => i64::from_str(text).map_or_else(|_| Cell::text(text), Cell::Integer),
        Kind::Text
        | Kind::Decimal
        | Kind::Bool
        | Kind::Date
        | Kind::Time
        | Kind::Instant
        | Kind::LocalTime
        | Kind::Json
        | Kind::Array
        | Kind::Enum
        | Kind::Set
        | Kind::Unsupported => Cell::text(text),
    }
}

#[cfg(test)]
mod tests;
