//! What the planner is given: the part of a route's stored state that may have something to do.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::row::{Choice, Resolution};
use super::{
    EntityName, FieldName, Link, LinkId, Observation, Pair, RecordId, RecordKey, Side, Tombstone,
    Value,
};

/// One value of one key group, hashed: records of both sides with equal keys are candidates for each other.
///
/// Form: `<index of the key group>:<hash of the group's normal forms>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MatchKey(pub String);

/// One record, or one linked pair of records, that may need an op.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// Set when the record is linked; then both observations are loaded where the store has them.
    pub link: Option<Link>,
    pub observations: Pair<Option<Observation>>,
    /// Confirmed deletions of the link's ends (or of the unlinked record).
    pub tombstones: Pair<Option<Tombstone>>,
    /// Ids of an end that a read could not settle: semantics §7 state X, with its code.
    pub unknown: Pair<Option<super::Code>>,
    /// An intent on the link or record is open: frozen on both sides.
    pub in_doubt: bool,
    /// Links that the record had before: closed, or living on with another record. Zero for a record that never
    /// had one; every new link of the record then gets a new ID.
    pub generation: u32,
    /// Fields (or, with `None`, the record) set aside after a refusal, with the refused payload's fingerprint.
    pub quarantined: BTreeMap<Option<FieldName>, String>,
    /// Writes of the last 24 hours, by field and side, newest last: for the oscillation guard.
    pub recent_writes: BTreeMap<(FieldName, Side), Vec<Value>>,
    /// What a person decided about rows of this subject.
    pub resolutions: Vec<Resolution>,
    /// An unlinked record that carries the payload of one of our create intents: semantics §6.4.
    pub ours: bool,
    /// When units in conflict last changed, by each side's own history: known where it was asked for.
    pub field_times: FieldTimes,
}

/// Times of a unit's last change by side, corrected to our clock, in UTC.
pub type FieldTimes = BTreeMap<FieldName, Pair<Option<DateTime<Utc>>>>;

/// A record that shares a match key, or an external ID, with an unlinked one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    pub side: Side,
    pub id: RecordId,
    /// Its live link, if it has one.
    pub link: Option<LinkId>,
    /// The other end of its link, or of its last closed one, is tombstoned and not back: a person may have
    /// re-created that record.
    pub counterpart_gone: bool,
    /// A survivor of a closed link: a candidate, never an x (semantics §6.1).
    pub survivor: bool,
    /// What its external-ID field holds.
    pub external_id: Option<RecordId>,
}

/// Everything one entity's planning may look at.
#[derive(Clone, Debug, Default)]
pub struct EntityState {
    pub subjects: Vec<Subject>,
    /// Alive, in-scope records of both sides by match key, for every key of the unlinked subjects and of their
    /// candidates (a match must be mutual); the subjects themselves are in it.
    pub by_key: BTreeMap<MatchKey, Vec<Candidate>>,
    /// Records whose external ID names an unlinked subject or one of its candidates: (side of the holder, named
    /// ID) → holders.
    pub by_external_id: BTreeMap<(Side, RecordId), Vec<Candidate>>,
    /// Records that unlinked subjects' external IDs name, and successors of merged or converted ends, where they
    /// are known and alive: (side, id).
    pub named: BTreeMap<(Side, RecordId), Candidate>,
    /// Records named by external IDs that are tombstoned: (side, id).
    pub named_gone: BTreeSet<(Side, RecordId)>,
    /// Observations of candidates that are no subjects of this chunk: with them a new link is merged in the plan
    /// that makes it, without them by the next one.
    pub partners: BTreeMap<(Side, RecordId), Observation>,
    /// Alive records of the same side that now carry key values of a deleted, linked record: (side, deleted id).
    pub heirs: BTreeMap<(Side, RecordId), Vec<RecordId>>,
    /// Fields that the mapping gained after links were made: without a baseline they follow `on_mapping_change`.
    pub added_fields: BTreeSet<FieldName>,
    /// Whether the side's snapshot is complete: the precondition of "no match".
    pub complete: Pair<bool>,
    /// A listing fell below half of the live links: nothing is derived from this side's absences.
    pub unhealthy: Pair<bool>,
    /// Config, filter, user or permission changed since the last run: no deletes in this run.
    pub scope_changed: bool,
    /// Live links before the run.
    pub live_links: u64,
    /// Deletes + archives of the last 24 hours by target side.
    pub recent_deletes: Pair<u64>,
    /// Creates of the last 24 hours by target side.
    pub recent_creates: Pair<u64>,
    /// No plan of this entity was applied yet.
    pub first_sync: bool,
}

/// How the IDs of records, users and options of one side are called on the other.
pub trait Identities {
    /// The counterpart of record `id` of `entity` on `side`.
    fn counterpart(&self, entity: &EntityName, side: Side, id: &RecordId) -> Counterpart;
}

/// Answer of [`Identities::counterpart`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Counterpart {
    /// Its ID on the other side.
    Known(RecordId),
    /// This plan creates it under this link.
    Planned(LinkId),
    /// Not linked yet: it may be later.
    Pending,
    /// Out of scope, tombstoned, or waiting for a person.
    Unresolved,
}

/// What holds for the whole run.
#[derive(Clone, Debug)]
pub struct PlanContext {
    /// Our clock.
    pub now: DateTime<Utc>,
    /// Guard thresholds.
    pub guards: GuardLimits,
    /// Hash of a plan that a person approved: its guards and first-sync question are answered.
    pub approved: bool,
}

/// Thresholds of semantics §9.4; the defaults are its numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardLimits {
    /// Deletes and archives that are always allowed, and those that never are, whatever the mapping's percentage.
    pub delete_floor: u64,
    pub delete_ceiling: u64,
    pub create_floor: u64,
    pub create_percent: u64,
    pub mass_change_percent: u64,
    pub mass_change_floor: u64,
    /// A complete listing below this share of the live links is not believed.
    pub empty_side_percent: u64,
    pub oscillation_writes: usize,
}

impl Default for GuardLimits {
    fn default() -> Self {
        Self {
            delete_floor: 3,
            delete_ceiling: 100,
            create_floor: 50,
            create_percent: 25,
            mass_change_percent: 50,
            mass_change_floor: 20,
            empty_side_percent: 50,
            oscillation_writes: 3,
        }
    }
}

impl Subject {
    /// An unlinked record.
    pub fn unlinked(observation: Observation) -> Self {
        let side = observation.key.side;
        Self {
            link: None,
            observations: Pair::from_side(side, Some(observation), None),
            tombstones: Pair::default(),
            unknown: Pair::default(),
            in_doubt: false,
            generation: 0,
            quarantined: BTreeMap::new(),
            recent_writes: BTreeMap::new(),
            resolutions: Vec::new(),
            ours: false,
            field_times: FieldTimes::new(),
        }
    }

    /// A linked pair.
    pub fn linked(link: Link, left: Option<Observation>, right: Option<Observation>) -> Self {
        Self {
            link: Some(link),
            observations: Pair::new(left, right),
            tombstones: Pair::default(),
            unknown: Pair::default(),
            in_doubt: false,
            generation: 0,
            quarantined: BTreeMap::new(),
            recent_writes: BTreeMap::new(),
            resolutions: Vec::new(),
            ours: false,
            field_times: FieldTimes::new(),
        }
    }

    /// The entity it belongs to; `None` without a link and an observation.
    pub fn entity(&self) -> Option<&EntityName> {
        let one = self.observations.left.as_ref().or(self.observations.right.as_ref());
        self.link.as_ref().map(|link| &link.entity).or(one.map(|seen| &seen.key.entity))
    }

    /// Names the subject: its link, or its record.
    pub fn key(&self) -> SubjectKey {
        if let Some(link) = &self.link {
            return SubjectKey::Link(link.id.clone());
        }
        let one = self.observations.left.as_ref().or(self.observations.right.as_ref());
        let nobody =
            || RecordKey { entity: EntityName::new(""), side: Side::Left, id: RecordId::new("") };
        SubjectKey::Record(one.map_or_else(nobody, |observation| observation.key.clone()))
    }

    /// The choice a person made about `row`, if what was shown still holds.
    pub fn choice(&self, row: &super::row::RowId, fingerprint: &str) -> Option<&Choice> {
        let fits = |resolution: &&Resolution| {
            resolution.row == *row && resolution.fingerprint == fingerprint
        };
        self.resolutions.iter().rev().find(fits).map(|resolution| &resolution.choice)
    }
}

/// Names a subject in plans and in the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SubjectKey {
    Link(LinkId),
    Record(RecordKey),
}
