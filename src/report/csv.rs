//! The conflict report as CSV, and decisions read back from it.
//!
//! A person opens the file in a spreadsheet, fills in `choice` (and `value`), and hands it to
//! `conflicts resolve --from`. Cells that a spreadsheet would run as formulas carry a leading `'`,
//! which reading takes off again.

use std::str::FromStr as _;

use chrono::{DateTime, NaiveDate, Utc};
use crmsync_core::model::row::Choice;
use crmsync_core::model::{Policy, RecordId, Side, Value};
use rust_decimal::Decimal;

use super::{Conflict, ConflictReport, evidence_name, kind_name, shown};

/// Columns, in order. The first four are what reading looks at.
const COLUMNS: [&str; 29] = [
    "row_id",
    "fingerprint",
    "choice",
    "value",
    "route",
    "entity",
    "record",
    "field",
    "status",
    "kind",
    "code",
    "message",
    "base_left",
    "base_right",
    "left",
    "right",
    "winner",
    "rule",
    "evidence",
    "candidates",
    "left_id",
    "left_url",
    "left_modified_utc",
    "left_modified_local",
    "right_id",
    "right_url",
    "right_modified_utc",
    "right_modified_local",
    "run",
];

/// Writes the report with a header; `choice` and `value` are empty.
///
/// # Panics
/// Never: rows of one length go to memory.
pub fn write(report: &ConflictReport) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let rows = report.conflicts.iter().map(cells);
    for row in std::iter::once(COLUMNS.map(str::to_owned).to_vec()).chain(rows) {
        writer
            .write_record(row.iter().map(|cell| neutralize(cell)))
            .expect("writing to memory does not fail, and all rows have the same length");
    }
    let bytes = writer.into_inner().expect("writing to memory does not fail");
    String::from_utf8(bytes).expect("only texts were written")
}

fn cells(conflict: &Conflict) -> Vec<String> {
    let base = |side| shown(conflict.base.as_ref().map(|base| &base[side]));
    let mut cells = vec![
        conflict.row_id.clone(),
        conflict.fingerprint.clone(),
        String::new(),
        String::new(),
        conflict.route.to_string(),
        conflict.entity.to_string(),
        conflict.name().unwrap_or_default().to_owned(),
        conflict.field.as_ref().map(ToString::to_string).unwrap_or_default(),
        conflict.status.as_str().to_owned(),
        kind_name(conflict.kind).to_owned(),
        conflict.code.to_string(),
        conflict.message.clone(),
        base(Side::Left),
        base(Side::Right),
        shown(conflict.left.as_ref()),
        shown(conflict.right.as_ref()),
        conflict.winner.map(|winner| winner.to_string()).unwrap_or_default(),
        conflict.rule.map(Policy::as_str).unwrap_or_default().to_owned(),
        conflict.evidence.map(evidence_name).unwrap_or_default().to_owned(),
        candidates(conflict),
    ];
    for side in Side::BOTH {
        let record = conflict.records[side].as_ref();
        let moment = conflict.modified_at[side].as_ref();
        cells.push(record.map(|record| record.id.to_string()).unwrap_or_default());
        cells.push(record.and_then(|record| record.url.clone()).unwrap_or_default());
        cells.push(
            moment.map(|it| it.utc.format("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default(),
        );
        cells.push(moment.and_then(|it| it.local.clone()).unwrap_or_default());
    }
    cells.push(conflict.run.clone());
    cells
}

/// IDs, one of which `link:ID` names.
fn candidates(conflict: &Conflict) -> String {
    let ids: Vec<_> = conflict.candidates.iter().map(|candidate| candidate.id.as_str()).collect();
    ids.join(" ")
}

pub use crmsync_core::files::{neutralize, restore};

/// One row in which a person chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub line: u64,
    pub row_id: String,
    pub fingerprint: String,
    pub choice: String,
    pub value: String,
}

/// A row that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct BadRow {
    pub line: u64,
    /// 1 is the first; 0 when the line as a whole is meant.
    pub column: usize,
    pub message: String,
}

/// Reads decisions; rows without a choice are passed over.
///
/// # Errors
/// One [`BadRow`] when the header lacks a column. Rows that are wrong by themselves stand beside the good ones.
pub fn read(text: &str) -> Result<(Vec<Decision>, Vec<BadRow>), BadRow> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter(text))
        .flexible(true)
        .from_reader(text.as_bytes());
    let header = reader
        .headers()
        .map_err(|error| BadRow { line: 1, column: 0, message: error.to_string() })?
        .clone();
    let column = |name: &str| {
        header.iter().position(|found| found.trim() == name).ok_or_else(|| BadRow {
            line: 1,
            column: 0,
            message: format!("the header lacks the column `{name}`"),
        })
    };
    let columns = [column("row_id")?, column("fingerprint")?, column("choice")?, column("value")?];
    let (mut decisions, mut bad) = (Vec::new(), Vec::new());
    for record in reader.records() {
        match record {
            Ok(record) => match decision(&record, columns) {
                Ok(decision) => decisions.extend(decision),
                Err(row) => bad.push(row),
            },
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                bad.push(BadRow { line, column: 0, message: error.to_string() });
            }
        }
    }
    Ok((decisions, bad))
}

/// Spreadsheets in many countries write semicolons.
fn delimiter(text: &str) -> u8 {
    let header = text.lines().next().unwrap_or_default();
    if header.matches(';').count() > header.matches(',').count() { b';' } else { b',' }
}

fn decision(record: &csv::StringRecord, columns: [usize; 4]) -> Result<Option<Decision>, BadRow> {
    let line = record.position().map_or(0, csv::Position::line);
    let [row_id, fingerprint, choice, value] =
        columns.map(|column| restore(record.get(column).unwrap_or_default()).to_owned());
    if choice.trim().is_empty() {
        return Ok(None);
    }
    let missing = |column: usize, name: &str| BadRow {
        line,
        column: column + 1,
        message: format!("`{name}` is empty; keep it as it was exported"),
    };
    if row_id.trim().is_empty() {
        return Err(missing(columns[0], "row_id"));
    }
    if fingerprint.trim().is_empty() {
        return Err(missing(columns[1], "fingerprint"));
    }
    let trimmed = |text: String| text.trim().to_owned();
    Ok(Some(Decision {
        line,
        row_id: trimmed(row_id),
        fingerprint: trimmed(fingerprint),
        choice: trimmed(choice),
        value,
    }))
}

/// Reads a choice as typed: `left`, `right`, `value`, `pin`, `link:ID`, `create`, `ignore`.
///
/// `samples` are the values the row shows; a typed value takes the kind of the first that is not empty.
///
/// # Errors
/// A sentence for a person.
pub fn parse_choice(
    choice: &str,
    value: Option<&str>,
    samples: &[&Value],
) -> Result<Choice, String> {
    let parsed = match choice {
        "left" => Choice::Left,
        "right" => Choice::Right,
        "pin" => Choice::Pin,
        "create" => Choice::Create,
        "ignore" => Choice::Ignore,
        "value" => Choice::Value {
            value: parse_like(value.ok_or("the choice `value` needs a value")?, samples)?,
        },
        other => match other.strip_prefix("link:").map(str::trim) {
            Some(id) if !id.is_empty() => Choice::Link { candidate: RecordId::new(id) },
            Some(_) => return Err("write link:ID, with the ID of a candidate".into()),
            None => {
                return Err(format!(
                    "`{other}` is no choice; write left, right, value, pin, link:ID, create or ignore"
                ));
            }
        },
    };
    if value.is_some_and(|value| !value.is_empty()) && !matches!(parsed, Choice::Value { .. }) {
        return Err(format!("`{choice}` takes no value; write `value` to set one"));
    }
    Ok(parsed)
}

/// Reads a typed value in the kind of the first sample that is not empty; text without one. `∅` and nothing clear.
fn parse_like(text: &str, samples: &[&Value]) -> Result<Value, String> {
    let text = text.trim();
    if text.is_empty() || text == "∅" {
        return Ok(Value::Empty);
    }
    let items = || text.split(',').map(|item| item.trim().to_owned());
    let wrong = |wanted: &str| format!("`{text}` is not {wanted}");
    match samples.iter().find(|sample| !sample.is_empty()).copied().unwrap_or(&Value::Empty) {
        Value::Empty | Value::Text(_) | Value::Link(_) => Ok(Value::text(text)),
        Value::Bool(_) => text.parse().map(Value::Bool).map_err(|_| wrong("true or false")),
        Value::Number(_) => Decimal::from_str(text)
            .map(Value::number)
            .map_err(|_| wrong("a number, such as 1250.50")),
        Value::Date(_) => NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .map(Value::Date)
            .map_err(|_| wrong("a date, such as 2026-01-31")),
        Value::Timestamp(_) => DateTime::parse_from_rfc3339(text)
            .map(|at| Value::timestamp(at.with_timezone(&Utc)))
            .map_err(|_| wrong("a time, such as 2026-01-31T09:30:00Z")),
        Value::Set(_) => Ok(Value::set(items())),
        Value::List(_) => Ok(Value::list(items())),
        Value::Reference(_) => Ok(Value::Reference(RecordId::new(text.trim_start_matches('#')))),
    }
}
