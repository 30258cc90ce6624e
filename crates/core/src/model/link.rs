//! Links, baselines and tombstones: what the engine remembers about two records that are one.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{EntityName, FieldName, Pair, RecordId, RecordKey, Side, Value};

/// Identity of a link, chosen by the planner before anything is written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LinkId(pub String);

impl LinkId {
    /// Derives the ID of the link that starts at `origin`; `generation` counts the links that record had before.
    pub fn derive(origin: &RecordKey, generation: u32) -> Self {
        let text = format!("{}\n{}\n{}\n{generation}", origin.entity, origin.side, origin.id);
        Self(blake3::hash(text.as_bytes()).to_hex()[..24].to_owned())
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Life of a link: semantics §3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// Its create is armed; one end is missing.
    Creating,
    Live,
    /// Kept, not synced: out of scope or waiting for a person.
    Held,
    /// One side deleted, the other edited: waits for a person.
    HalfDeleted,
    Merged,
    Closed,
}

/// Binding of one left record to one right record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    pub id: LinkId,
    pub entity: EntityName,
    pub ends: Pair<Option<RecordId>>,
    pub state: LinkState,
    pub baseline: Baseline,
    /// Modified time that our own last write produced, by side: such a time is no evidence of an edit (P4).
    pub own_stamp: Pair<Option<DateTime<Utc>>>,
}

impl Link {
    pub const fn is_live(&self) -> bool {
        matches!(
            self.state,
            LinkState::Live | LinkState::Held | LinkState::HalfDeleted | LinkState::Creating
        )
    }
}

/// Values at the last agreement, by field.
pub type Baseline = BTreeMap<FieldName, Agreement>;

/// The two values of one field at the last agreement: semantics §1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    pub values: Pair<Value>,
    /// [`super::FieldRule::fingerprint`] of the mapping it was agreed under.
    pub fingerprint: String,
    /// Accepted divergence: nothing flows until a side changes again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
}

/// Durable fact: this record is gone or was unlinked by a person. Never expires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    pub key: RecordKey,
    pub cause: TombstoneCause,
    pub evidence: DeleteEvidence,
    pub at: DateTime<Utc>,
    pub successor: Option<RecordId>,
    /// The link the record belonged to: revived with its baseline when the record comes back.
    pub link: Option<LinkId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TombstoneCause {
    Deleted,
    MergedAway,
    Converted,
    Unlinked,
}

/// How sure a deletion is: semantics §9.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeleteEvidence {
    /// A deleted flag, or a feed row or webhook and a probe that finds nothing.
    Strong,
    /// Two probes that find nothing, `H` apart, with healthy canaries.
    Weak,
    /// A person said so.
    Person,
}

/// What a deletion looks like to the planner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    pub side: Side,
    pub id: RecordId,
    pub evidence: DeleteEvidence,
    pub merged_into: Option<RecordId>,
    pub converted_to: Option<RecordId>,
}
