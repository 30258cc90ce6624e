//! Open rows: everything that waits for a person, for evidence or for time. One row an item (I33).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Code, EntityName, FieldName, LinkId, Pair, Policy, RecordId, Side, Value};

/// Identity of an open row: the same inputs give the same ID, never a second row (I21).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RowId(pub String);

/// What kind of row it is; decides which list shows it and which exit code follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowKind {
    /// Both sides changed a field; decided by policy (`winner` set) or queued (`winner` empty).
    Conflict,
    /// A record or field kept out of writes.
    Hold,
    /// Set aside after a refusal.
    Quarantine,
    /// Matching needs a person.
    Match,
}

/// One conflict, hold, quarantine or matching question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenRow {
    pub id: RowId,
    pub kind: RowKind,
    pub code: Code,
    pub entity: EntityName,
    pub link: Option<LinkId>,
    pub records: Pair<Option<RecordId>>,
    /// A field, a group (`group:name`), or nothing: the whole record.
    pub field: Option<FieldName>,
    pub base: Option<Pair<Value>>,
    pub left: Option<Value>,
    pub right: Option<Value>,
    pub modified_at: Pair<Option<DateTime<Utc>>>,
    /// When this very field last changed, by each side's own history, corrected to our clock; where it was read.
    #[serde(default, skip_serializing_if = "is_unknown")]
    pub changed_at: Pair<Option<DateTime<Utc>>>,
    pub winner: Option<Side>,
    pub policy: Option<Policy>,
    pub evidence: Option<Evidence>,
    /// One sentence for a person.
    pub message: String,
    /// Hash of (base, left, right): a resolution applies only while it matches.
    pub fingerprint: String,
    /// Candidates of a matching question, as record IDs on the other side (or of the same side for clusters).
    pub candidates: Vec<RecordId>,
}

fn is_unknown(times: &Pair<Option<DateTime<Utc>>>) -> bool {
    times.left.is_none() && times.right.is_none()
}

impl OpenRow {
    /// Whether it is undecided: such rows make the exit code 1. A conflict decided by policy is history.
    pub const fn is_open(&self) -> bool {
        !matches!((self.kind, self.winner), (RowKind::Conflict, Some(_)))
    }

    /// What a person may choose about it, as [`Choice::word`] spells it: any other choice would do nothing.
    pub fn choices(&self) -> &'static [&'static str] {
        let is_group = self.field.as_ref().is_some_and(|name| name.as_str().starts_with("group:"));
        let about_values: &[_] =
            if is_group { &["left", "right", "pin"] } else { &["left", "right", "value", "pin"] };
        match self.kind {
            RowKind::Conflict if self.code == Code::DeleteEdit => &["left", "right", "ignore"],
            RowKind::Conflict if self.code == Code::UndoConflict => &[],
            RowKind::Conflict => about_values,
            RowKind::Hold if self.code == Code::LossyBackWrite => about_values,
            RowKind::Hold | RowKind::Quarantine => &[],
            RowKind::Match if self.code == Code::Merged => &["ignore"],
            RowKind::Match if self.asks_which() => &["link", "create", "ignore"],
            RowKind::Match => &["create", "ignore"],
        }
    }

    /// Whether its candidates are records that it may be linked with.
    fn asks_which(&self) -> bool {
        matches!(self.code, Code::Suggested | Code::Ambiguous | Code::SuspectedMerge)
    }
}

/// How well a decision by time is founded: semantics §8.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    None,
    /// Decided by the record's last change; this field itself may be older.
    RecordTime,
    FieldHistory,
}

/// What a person decided about a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "choice")]
pub enum Choice {
    Left,
    Right,
    /// A typed value, in the form of the left side.
    Value {
        value: Value,
    },
    /// Keep both different: the divergence is pinned.
    Pin,
    /// For a match row: link with this candidate.
    Link {
        candidate: RecordId,
    },
    /// For a match row: these are different records; create the counterpart.
    Create,
    /// For a match row or a record: leave it alone.
    Ignore,
}

impl Choice {
    /// How people write it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Right => "right",
            Self::Value { .. } => "value",
            Self::Pin => "pin",
            Self::Link { .. } => "link",
            Self::Create => "create",
            Self::Ignore => "ignore",
        }
    }
}

/// A decision and what was shown when it was taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resolution {
    pub row: RowId,
    pub choice: Choice,
    /// [`OpenRow::fingerprint`] at the time; a stale resolution does nothing.
    pub fingerprint: String,
    pub by: String,
    pub at: DateTime<Utc>,
}
