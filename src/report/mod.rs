//! What a person reads of the store's content and tells it, for the command line and for pages alike.
//!
//! What lives here: loading and laying out what the store holds, and reading a person's decision. What may not:
//! deciding what a sync does. Read this file (the conflict report: one struct, shown as terminal table, page, CSV,
//! JSON and one HTML file), then `csv.rs` (whose output is also input), `decision.rs`, `history.rs`, `status.rs`.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use crmsync_core::model::row::{Evidence, RowKind};
use crmsync_core::model::{
    Code, EntityName, FieldName, ModuleName, Pair, Policy, RecordId, RouteName, Side, Value,
};
use serde::{Serialize, Serializer};

use crate::service::Labels;
use crate::store::StoredRow;

pub mod alerts;
pub mod csv;
pub mod decision;
pub mod explanation;
pub mod history;
pub mod html;
pub mod listing;
pub mod sides;
pub mod status;
#[cfg(test)]
pub(crate) mod tests;

/// Conflicts, holds and questions of one or more routes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConflictReport {
    pub generated_at: DateTime<Utc>,
    pub conflicts: Vec<Conflict>,
}

/// One row, as a person needs it to decide.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Conflict {
    pub row_id: String,
    /// A decision taken on this report applies only while the row still has it.
    pub fingerprint: String,
    pub status: Status,
    pub kind: RowKind,
    pub code: Code,
    pub route: RouteName,
    pub entity: EntityName,
    /// `None`: the record as a whole.
    pub field: Option<FieldName>,
    pub message: String,
    /// Names of the connections.
    pub sides: Pair<String>,
    pub records: Pair<Option<RecordPlace>>,
    /// Both halves of the value at the last agreement.
    #[serde(serialize_with = "plain_base")]
    pub base: Option<Pair<Value>>,
    #[serde(serialize_with = "plain_value")]
    pub left: Option<Value>,
    #[serde(serialize_with = "plain_value")]
    pub right: Option<Value>,
    /// The values as people read them there: options by label, users and records by name.
    pub shown: Pair<Option<String>>,
    pub shown_base: Option<Pair<String>>,
    /// When each record changed last.
    pub modified_at: Pair<Option<Moment>>,
    /// When this very field changed last, where the sides' own histories were read.
    pub changed_at: Pair<Option<Moment>>,
    pub winner: Option<Side>,
    /// The rule that chose the winner, or that asks a person.
    pub rule: Option<Policy>,
    pub evidence: Option<Evidence>,
    pub run: String,
    /// Records that a matching question is about.
    pub candidates: Vec<RecordPlace>,
    /// What a person may choose while it is open: the words of `conflicts resolve --choice`.
    pub choices: &'static [&'static str],
    pub first_seen: DateTime<Utc>,
    pub closed_by: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Waits for a person, for evidence or for time.
    Open,
    /// A policy chose a winner.
    Decided,
    /// Converged, reverted or resolved.
    Closed,
}

impl Status {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Decided => "decided",
            Self::Closed => "closed",
        }
    }
}

/// A record and where a person can open it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecordPlace {
    pub id: RecordId,
    /// What people call it.
    pub name: Option<String>,
    pub url: Option<String>,
}

/// An instant in UTC and on the wall of the account it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moment {
    pub utc: DateTime<Utc>,
    /// `2026-01-10 10:15:00 CET`; `None` where the account's zone is not known.
    pub local: Option<String>,
}

type ModuleOf = Box<dyn Fn(&EntityName) -> Option<ModuleName> + Send + Sync>;
type UrlOf = Box<dyn Fn(&ModuleName, &RecordId) -> Option<String> + Send + Sync>;

/// What the report shows about a side besides the rows.
pub struct SideFacts {
    /// Name of the connection.
    pub connection: String,
    pub zone: Option<Tz>,
    /// Module of an entity on this side.
    pub module: ModuleOf,
    pub url: UrlOf,
}

impl SideFacts {
    /// A side of which only the name is known: no zone, no links.
    pub fn unknown(connection: impl Into<String>) -> Self {
        Self {
            connection: connection.into(),
            zone: None,
            module: Box::new(|_| None),
            url: Box::new(|_, _| None),
        }
    }

    fn place(&self, entity: &EntityName, id: &RecordId) -> RecordPlace {
        let url = (self.module)(entity).and_then(|module| (self.url)(&module, id));
        RecordPlace { id: id.clone(), name: None, url: url.filter(|url| url.starts_with("http")) }
    }

    fn moment(&self, utc: DateTime<Utc>) -> Moment {
        let local = self
            .zone
            .map(|zone| utc.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S %Z").to_string());
        Moment { utc, local }
    }
}

impl Conflict {
    /// Lays out one stored row.
    pub fn new(
        route: &RouteName,
        stored: &StoredRow,
        sides: &Pair<SideFacts>,
        labels: &Labels,
    ) -> Self {
        let row = &stored.row;
        let place = |side: Side, id: &RecordId| {
            let name = labels.record(&row.entity, side, id).map(str::to_owned);
            RecordPlace { name, ..sides[side].place(&row.entity, id) }
        };
        let record = |side: Side| row.records[side].as_ref().map(|id| place(side, id));
        let read = |side: Side, value: &Value| {
            row.field.as_ref().map(|field| labels.value(&row.entity, field, side, value))
        };
        let shown = Pair::new(
            row.left.as_ref().and_then(|value| read(Side::Left, value)),
            row.right.as_ref().and_then(|value| read(Side::Right, value)),
        );
        let shown_base = row.base.as_ref().and_then(|base| {
            Some(Pair::new(read(Side::Left, &base.left)?, read(Side::Right, &base.right)?))
        });
        let moments = |times: &Pair<Option<DateTime<Utc>>>| {
            let moment = |side: Side| times[side].map(|at| sides[side].moment(at));
            Pair::new(moment(Side::Left), moment(Side::Right))
        };
        // Candidates stand opposite the record in question.
        let opposite = if row.records.left.is_some() { Side::Right } else { Side::Left };
        Self {
            row_id: row.id.0.clone(),
            fingerprint: row.fingerprint.clone(),
            status: match (stored.closed_at, row.is_open()) {
                (Some(_), _) => Status::Closed,
                (None, true) => Status::Open,
                (None, false) => Status::Decided,
            },
            kind: row.kind,
            code: row.code,
            route: route.clone(),
            entity: row.entity.clone(),
            field: row.field.clone(),
            message: row.message.clone(),
            sides: sides.as_ref().map(|side| side.connection.clone()),
            records: Pair::new(record(Side::Left), record(Side::Right)),
            base: row.base.clone(),
            left: row.left.clone(),
            right: row.right.clone(),
            shown,
            shown_base,
            modified_at: moments(&row.modified_at),
            changed_at: moments(&row.changed_at),
            winner: row.winner,
            rule: row.policy,
            evidence: row.evidence,
            run: stored.run.clone(),
            candidates: row.candidates.iter().map(|id| place(opposite, id)).collect(),
            choices: if stored.closed_at.is_none() && row.is_open() { row.choices() } else { &[] },
            first_seen: stored.first_seen,
            closed_by: stored.closed_by.clone(),
        }
    }
}

impl Conflict {
    /// What people call the record, on whichever side it has a name.
    pub fn name(&self) -> Option<&str> {
        let mut places = Side::BOTH.into_iter().filter_map(|side| self.records[side].as_ref());
        places.find_map(|place| place.name.as_deref())
    }
}

/// What a decision by time rests on, in words a reviewer understands.
pub const fn evidence_name(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::None => "none",
        Evidence::RecordTime => {
            "record time: when each record last changed; this field itself may be older"
        }
        Evidence::FieldHistory => "field history",
    }
}

/// A field as the mapping file writes it; a group by its name.
pub fn plain_name(field: &FieldName) -> &str {
    field.as_str().strip_prefix("group:").unwrap_or(field.as_str())
}

/// A kind of row, in a word.
pub const fn kind_name(kind: RowKind) -> &'static str {
    match kind {
        RowKind::Conflict => "conflict",
        RowKind::Hold => "hold",
        RowKind::Quarantine => "quarantine",
        RowKind::Match => "match",
    }
}

fn shown(value: Option<&Value>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

/// A value as other programs expect it: null for empty, decimals as text, so that no digit is lost.
fn plain(value: &Value) -> serde_json::Value {
    match value {
        Value::Empty => serde_json::Value::Null,
        Value::Bool(flag) => serde_json::Value::Bool(*flag),
        Value::Set(items) => items.iter().cloned().collect(),
        Value::List(items) => items.iter().cloned().collect(),
        Value::Number(_)
        | Value::Text(_)
        | Value::Date(_)
        | Value::Timestamp(_)
        | Value::Reference(_)
        | Value::Link(_) => serde_json::Value::String(value.to_string()),
    }
}

#[expect(clippy::ref_option, reason = "the shape that serde's attribute asks for")]
fn plain_value<S: Serializer>(value: &Option<Value>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_ref().map(plain).serialize(serializer)
}

#[expect(clippy::ref_option, reason = "the shape that serde's attribute asks for")]
fn plain_base<S: Serializer>(base: &Option<Pair<Value>>, serializer: S) -> Result<S::Ok, S::Error> {
    base.as_ref().map(|base| base.as_ref().map(plain)).serialize(serializer)
}
