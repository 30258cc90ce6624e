//! The plan: ordered, hashed, printable data. What apply executes and nothing else.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    Code, EntityName, FieldName, LinkId, LinkState, OpenRow, Pair, RecordId, RouteName, Side,
    Tombstone, Value,
};

/// What one run may do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub route: RouteName,
    /// In the order of apply: links, creates parents-first, updates, second-pass references, deletes children-first.
    pub ops: Vec<Op>,
    /// Rows that are open, or were decided by policy, after this plan.
    pub rows: Vec<OpenRow>,
    /// Guards that trip, with what they withhold.
    pub guards: Vec<GuardTrip>,
    /// Linked records looked at and found unchanged, per entity.
    pub unchanged: BTreeMap<EntityName, u64>,
    /// blake3 over everything above, hex.
    pub hash: String,
}

/// One remote write or one local bookkeeping step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Op {
    pub entity: EntityName,
    pub link: LinkId,
    pub code: Code,
    pub kind: OpKind,
    /// References that could not be written yet: a second pass in the same run writes them after the creates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later: Vec<FieldName>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum OpKind {
    /// Local: binds two existing records and takes over the fields that agree.
    Link { ends: Pair<RecordId>, agreed: BTreeMap<FieldName, Pair<Value>> },
    /// Remote: makes the counterpart of `source` on `side`; `source`'s ID travels as the external ID.
    Create {
        side: Side,
        source: RecordId,
        /// Values to write, in the written side's form.
        fields: BTreeMap<FieldName, Value>,
        /// The source side's values they were made from: the baseline's other half.
        from: BTreeMap<FieldName, Value>,
    },
    /// Remote: only the fields that change.
    Update {
        side: Side,
        id: RecordId,
        changes: BTreeMap<FieldName, Change>,
        planned_on: Option<DateTime<Utc>>,
    },
    /// Remote: deletes into the side's recycle bin. `expected` are the baseline's values of that side.
    Delete { side: Side, id: RecordId, expected: BTreeMap<FieldName, Value> },
    /// Remote: writes the configured marks.
    Archive { side: Side, id: RecordId, expected: BTreeMap<FieldName, Value> },
    /// Local: moves baselines; `pinned` for an accepted divergence.
    Agree { fields: BTreeMap<FieldName, Pair<Value>>, pinned: bool },
    /// Local: changes the link's state, its ends, or both, and records tombstones.
    Relate {
        state: LinkState,
        ends: Pair<Option<RecordId>>,
        tombstones: Vec<Tombstone>,
        keep_baseline: bool,
    },
    /// Local: a tombstoned record is back; its link lives again with the old baseline.
    Revive { side: Side, id: RecordId },
}

/// One field of an update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The target's value that the plan was made on: a different one at apply is `STALE_PLAN`.
    pub before: Value,
    /// In the target side's form.
    pub after: Value,
    /// The other side's value it was made from.
    pub source: Value,
}

/// A guard of semantics §9.4 that tripped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GuardTrip {
    pub code: Code,
    pub entity: EntityName,
    pub side: Side,
    /// How many ops it withholds, and the limit.
    pub count: u64,
    pub limit: u64,
    /// The withheld ops, ready to run once the plan's hash is approved.
    pub withheld: Vec<Op>,
}

impl Op {
    /// The side it writes to; `None` for local bookkeeping.
    pub const fn writes(&self) -> Option<Side> {
        match &self.kind {
            OpKind::Create { side, .. }
            | OpKind::Update { side, .. }
            | OpKind::Delete { side, .. }
            | OpKind::Archive { side, .. } => Some(*side),
            OpKind::Link { .. }
            | OpKind::Agree { .. }
            | OpKind::Relate { .. }
            | OpKind::Revive { .. } => None,
        }
    }
}

impl Plan {
    /// Hash over ops, rows and guards, as hex.
    ///
    /// # Panics
    /// Never: maps with text keys serialize.
    pub fn compute_hash(&self) -> String {
        let content = (&self.route, &self.ops, &self.rows, &self.guards);
        let text = serde_json::to_vec(&content).expect("plan maps have text keys");
        blake3::hash(&text).to_hex()[..16].to_owned()
    }
}
