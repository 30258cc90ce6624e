//! The plan: ordered, hashed, printable data. What apply executes and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::state::SubjectKey;
use super::{
    Code, EntityName, FieldName, LinkId, LinkState, OpenRow, Pair, RecordId, RecordKey, RouteName,
    Side, Tombstone, Value,
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
    /// Local: binds two existing records; tombstones of its ends are over and takes over the fields that agree.
    Link { ends: Pair<RecordId>, agreed: BTreeMap<FieldName, Pair<Value>> },
    /// Remote: makes the counterpart of `source` on `side`; `source`'s ID travels as the external ID.
    Create {
        side: Side,
        source: RecordId,
        /// Values to write, in the written side's form.
        fields: BTreeMap<FieldName, Value>,
        /// The source side's values they were made from: the baseline's other half. A name that stands here and
        /// not in `fields` was empty: its baseline is (empty, empty).
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
    /// Local: changes the link's state, its ends, or both, and records tombstones; those of the ends of a link
    /// that lives are over. The tombstone of an end that
    /// is replaced no longer belongs to the link: should that record come back, it is matched anew.
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
    /// Set on the first of two writes of a merged value. Such a commit moves the baseline to what both sides held
    /// before, pinned: the written side then counts as changed, and the next plan writes the other one. Every
    /// other commit moves the baseline to (source, after).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub halfway: bool,
}

impl Change {
    /// The baseline once the written `side` keeps `kept`; `true` where it is pinned. See [`Self::halfway`].
    pub fn agreement(&self, side: Side, kept: &Value) -> (Pair<Value>, bool) {
        if self.halfway {
            return (Pair::from_side(side, self.before.clone(), self.source.clone()), true);
        }
        (Pair::from_side(side, kept.clone(), self.source.clone()), *kept != self.after)
    }
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

    /// What it is about: its link, or the record that still has none.
    pub fn subject(&self) -> SubjectKey {
        match &self.kind {
            OpKind::Create { side, source, .. } => SubjectKey::Record(RecordKey {
                entity: self.entity.clone(),
                side: side.other(),
                id: source.clone(),
            }),
            OpKind::Update { .. }
            | OpKind::Link { .. }
            | OpKind::Delete { .. }
            | OpKind::Archive { .. }
            | OpKind::Agree { .. }
            | OpKind::Relate { .. }
            | OpKind::Revive { .. } => SubjectKey::Link(self.link.clone()),
        }
    }

    /// Whether it makes its link, rather than a new end for one that there was.
    pub const fn makes_link(&self) -> bool {
        match &self.kind {
            OpKind::Link { .. } => true,
            OpKind::Create { .. } => matches!(self.code, Code::Create | Code::ClonedId),
            OpKind::Update { .. }
            | OpKind::Delete { .. }
            | OpKind::Archive { .. }
            | OpKind::Agree { .. }
            | OpKind::Relate { .. }
            | OpKind::Revive { .. } => false,
        }
    }

    /// The existing record that it writes.
    pub const fn target(&self) -> Option<&RecordId> {
        match &self.kind {
            OpKind::Update { id, .. } | OpKind::Delete { id, .. } | OpKind::Archive { id, .. } => {
                Some(id)
            }
            OpKind::Link { .. }
            | OpKind::Create { .. }
            | OpKind::Agree { .. }
            | OpKind::Relate { .. }
            | OpKind::Revive { .. } => None,
        }
    }

    /// The fields it changes in an existing record.
    const fn changes(&self) -> Option<&BTreeMap<FieldName, Change>> {
        match &self.kind {
            OpKind::Update { changes, .. } => Some(changes),
            OpKind::Create { .. }
            | OpKind::Link { .. }
            | OpKind::Delete { .. }
            | OpKind::Archive { .. }
            | OpKind::Agree { .. }
            | OpKind::Relate { .. }
            | OpKind::Revive { .. } => None,
        }
    }

    /// The other side's value that a written value was made from.
    pub fn source_value(&self, field: &FieldName) -> Option<&Value> {
        if let OpKind::Create { from, .. } = &self.kind {
            return from.get(field);
        }
        self.changes()?.get(field).map(|change| &change.source)
    }

    /// The first of two writes of a merged value: see [`Change::halfway`].
    pub fn halfway(&self, field: &FieldName) -> Option<&Change> {
        self.changes()?.get(field).filter(|change| change.halfway)
    }

    /// Fields that a create leaves unset because their source is empty: agreed as empty on both sides.
    pub fn left_empty(&self) -> impl Iterator<Item = (&FieldName, &Value)> {
        let made = match &self.kind {
            OpKind::Create { fields, from, .. } => Some((fields, from)),
            OpKind::Update { .. }
            | OpKind::Link { .. }
            | OpKind::Delete { .. }
            | OpKind::Archive { .. }
            | OpKind::Agree { .. }
            | OpKind::Relate { .. }
            | OpKind::Revive { .. } => None,
        };
        made.into_iter().flat_map(|(fields, from)| {
            from.iter().filter(|(field, _)| !fields.contains_key(*field))
        })
    }
}

impl Op {
    /// Hashes of its parts; an update that a guard split into two has the same parts as the whole.
    fn atoms(&self) -> Vec<String> {
        let head = (&self.entity, &self.link, self.code);
        let OpKind::Update { side, id, changes, planned_on } = &self.kind else {
            return vec![atom(&self)];
        };
        let later = self.later.iter().map(|field| atom(&(&head, side, id, field)));
        let change = |part: (&FieldName, &Change)| atom(&(&head, side, id, planned_on, part));
        changes.iter().map(change).chain(later).collect()
    }
}

fn atom(part: &impl Serialize) -> String {
    let text = serde_json::to_vec(part).expect("plan maps have text keys");
    blake3::hash(&text).to_hex()[..32].to_owned()
}

impl Plan {
    /// What guards withhold.
    pub fn withheld(&self) -> impl Iterator<Item = &Op> {
        self.guards.iter().flat_map(|trip| &trip.withheld)
    }

    /// What it does, then what guards withhold: what it would do once approved.
    pub fn all_ops(&self) -> impl Iterator<Item = &Op> {
        self.ops.iter().chain(self.withheld())
    }

    /// Leaves out ops that `saved`, made earlier, does not hold in every detail. What the saved plan withheld was
    /// read by whoever approved it, so it counts.
    pub fn keep_only(&mut self, saved: &Self) {
        let mut kept: BTreeMap<_, Vec<&Op>> = BTreeMap::new();
        for op in saved.all_ops() {
            kept.entry(&op.link).or_default().push(op);
        }
        self.ops.retain(|op| kept.get(&op.link).is_some_and(|ops| ops.contains(&op)));
    }

    /// Hash over what the plan would do once approved, and over its rows, as hex.
    ///
    /// Withheld ops count like the others, so that approving a plan by its hash does not change the hash.
    ///
    /// # Panics
    /// Never: maps with text keys serialize.
    pub fn compute_hash(&self) -> String {
        let atoms: BTreeSet<_> = self.all_ops().flat_map(Op::atoms).collect();
        let content = (&self.route, atoms, &self.rows);
        let text = serde_json::to_vec(&content).expect("plan maps have text keys");
        blake3::hash(&text).to_hex()[..16].to_owned()
    }
}
