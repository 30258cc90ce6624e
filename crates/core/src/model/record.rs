//! Records: as a connector decodes them, and as the engine last accepted them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{EntityName, FieldName, ModuleName, RecordId, RemoteField, Side, Value};

/// Names one record of a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecordKey {
    pub entity: EntityName,
    pub side: Side,
    pub id: RecordId,
}

/// A record as its connector decoded it.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteRecord {
    pub id: RecordId,
    /// The side's own modified time, whole seconds, UTC. `None` where the side has none.
    pub modified_at: Option<DateTime<Utc>>,
    /// Decoded values by remote field. A requested field that the side did not return is absent: absent is not empty.
    pub fields: BTreeMap<RemoteField, Value>,
    /// The side shows the record as archived: alive, but not to be written.
    pub archived: bool,
    /// The side's own JSON, kept by reads that precede a write (lists and composites are sent back whole).
    pub raw: Option<serde_json::Value>,
}

/// What is known of a record's existence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    Alive,
    /// A tombstone stands for it: confirmed deletion, merge or conversion.
    Deleted,
    /// Not readable, or absent without proof: side state X.
    Invisible,
}

/// The last accepted state of a record: what every plan is derived from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    pub key: RecordKey,
    pub module: ModuleName,
    pub presence: Presence,
    /// Normal form per mapped field of this side.
    pub fields: BTreeMap<FieldName, Value>,
    /// Mapped fields that the side did not return: held, never read as empty.
    pub unreturned: BTreeSet<FieldName>,
    /// Whether the mapping's filter for this side matches.
    pub in_scope: bool,
    /// Content of the external-ID field: the counterpart's ID on the other side.
    pub external_id: Option<RecordId>,
    /// The side's modified time as sent.
    pub modified_at: Option<DateTime<Utc>>,
    /// Modified time − (server's `Date` − our clock), for comparing across sides: semantics §8.4.
    pub corrected_at: Option<DateTime<Utc>>,
}

impl Observation {
    /// Hash over content (fields, presence, scope, external ID), not over times: equal hashes make a re-read free.
    ///
    /// # Panics
    /// Never: maps with text keys serialize.
    pub fn content_hash(&self) -> String {
        let content = (
            &self.fields,
            &self.unreturned,
            self.presence,
            self.in_scope,
            &self.external_id,
            &self.key.entity,
        );
        let text = serde_json::to_vec(&content).expect("maps with text keys always serialize");
        blake3::hash(&text).to_hex()[..16].to_owned()
    }
}
