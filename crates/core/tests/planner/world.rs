//! Two sides in memory: states from records, and an executor that pretends every op succeeds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chrono::{DateTime, Utc};
use crmsync_core::engine::guard::GuardInput;
use crmsync_core::engine::match_key::match_keys;
use crmsync_core::engine::plan::{assemble, plan_entity};
use crmsync_core::invariants::{self, Moment, Violation};
use crmsync_core::model::link::{DeleteEvidence, TombstoneCause};
use crmsync_core::model::mapping::{
    AuditWrites, Conflicts, Creation, DeleteEditPolicy, DeletePolicy, Deletes, DriftPolicy,
    EvidenceSource, KeyGroup, Matching, MergedPolicy, OptionMap, Strength, TextMerge, WriteMode,
};
use crmsync_core::model::row::Resolution;
use crmsync_core::model::state::{
    Candidate, Counterpart, EntityState, GuardLimits, Identities, PlanContext, Subject,
};
use crmsync_core::model::{
    Agreement, Direction, Entity, EntityName, FieldName, FieldRule, Link, LinkId, LinkState,
    ModuleName, Observation, Op, OpKind, OpenRow, Pair, Plan, Policy, Presence, RecordId,
    RecordKey, Relation, RemoteField, RouteName, Side, Tombstone, Value,
};

/// A moment of the tests' calendar.
pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
}

pub(crate) fn context() -> PlanContext {
    PlanContext { now: at(0), guards: GuardLimits::default(), approved: false }
}

/// A two-way field of this relation.
pub(crate) fn field(name: &str, relation: Relation) -> FieldRule {
    FieldRule {
        name: FieldName::new(name),
        remote: Pair::new(Some(RemoteField::new(name)), Some(RemoteField::new(name))),
        direction: Direction::Both,
        relation,
        merge: TextMerge::Whole,
        conflict: None,
        derived: None,
        required: Pair::default(),
        writable: Pair::new(true, true),
        creatable: Pair::new(true, true),
        fingerprint: "1".to_owned(),
    }
}

pub(crate) fn text(name: &str) -> FieldRule {
    field(name, Relation::Text { limits: Pair::default() })
}

pub(crate) fn tags(name: &str) -> FieldRule {
    let map = OptionMap { open: true, ..OptionMap::default() };
    field(name, Relation::OptionSet { map })
}

/// A contact: `email` (strong key), `name`, `note`, `tags`, and the group `money` of `amount` and `currency`.
pub(crate) fn contact() -> Entity {
    let group = ["amount", "currency"].map(FieldName::new).to_vec();
    let fields = ["email", "name", "note", "amount", "currency"].map(text);
    Entity {
        name: EntityName::new("contact"),
        modules: Pair::new(ModuleName::new("Contacts"), ModuleName::new("persons")),
        filters: Pair::default(),
        direction: Direction::Both,
        create: Creation::Both,
        matching: Matching {
            external_id: Some(Pair::new(Some("pd".into()), Some("zoho".into()))),
            keys: vec![
                KeyGroup { fields: vec![FieldName::new("email")], strength: Strength::Strong },
                KeyGroup { fields: vec![FieldName::new("name")], strength: Strength::Weak },
            ],
        },
        conflicts: Conflicts {
            policy: Policy::Newest,
            tie: Policy::Queue,
            skew_seconds: 5,
            initial: Policy::Newest,
            on_mapping_change: Policy::Queue,
            evidence: EvidenceSource::RecordTime,
            drift: DriftPolicy::Restore,
        },
        deletes: Deletes {
            policy: Pair::new(DeletePolicy::Propagate, DeletePolicy::Propagate),
            on_edit: DeleteEditPolicy::Queue,
            max_percent: 5.into(),
            archive_marks: Pair::default(),
            accept_weak: false,
        },
        write_mode: WriteMode::Auto,
        merged: MergedPolicy::Queue,
        audit_writes: AuditWrites::Off,
        canaries: Pair::default(),
        fields: fields.into_iter().chain([tags("tags")]).collect(),
        groups: BTreeMap::from([("money".to_owned(), group)]),
        scope_fingerprint: "1".to_owned(),
    }
}

/// Nobody is known.
pub(crate) struct Nobody;

impl Identities for Nobody {
    fn counterpart(&self, _: &EntityName, _: Side, _: &RecordId) -> Counterpart {
        Counterpart::Unresolved
    }
}

/// Both sides and the engine's memory.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) entity: Entity,
    pub(crate) records: BTreeMap<(Side, RecordId), Observation>,
    pub(crate) links: BTreeMap<LinkId, Link>,
    pub(crate) tombstones: BTreeMap<(Side, RecordId), Tombstone>,
    pub(crate) resolutions: Vec<Resolution>,
    pub(crate) complete: Pair<bool>,
    pub(crate) guard: GuardInput,
    /// Decides in which order independent ops of a plan take effect.
    pub(crate) order: u64,
    clock: i64,
    made: u64,
}

impl World {
    pub(crate) fn new(entity: Entity) -> Self {
        Self {
            entity,
            records: BTreeMap::new(),
            links: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            resolutions: Vec::new(),
            complete: Pair::new(true, true),
            guard: GuardInput { live_links: 1_000, ..GuardInput::default() },
            order: 0,
            clock: 0,
            made: 0,
        }
    }

    /// A person adds a record. Fields that are not named are empty.
    pub(crate) fn add(&mut self, side: Side, id: &str, values: &[(&str, Value)]) {
        self.clock += 10;
        let mut fields: BTreeMap<_, _> =
            self.entity.fields.iter().map(|rule| (rule.name.clone(), Value::Empty)).collect();
        fields.extend(values.iter().map(|(name, value)| (FieldName::new(*name), value.clone())));
        let key = RecordKey { entity: self.entity.name.clone(), side, id: RecordId::new(id) };
        let seen = Observation {
            key,
            module: self.entity.modules[side].clone(),
            presence: Presence::Alive,
            fields,
            unreturned: BTreeSet::new(),
            in_scope: true,
            external_id: None,
            modified_at: Some(at(self.clock)),
            corrected_at: Some(at(self.clock)),
        };
        self.records.insert((side, RecordId::new(id)), seen);
    }

    /// A linked pair with equal values and a baseline.
    pub(crate) fn add_pair(&mut self, name: &str, values: &[(&str, Value)]) -> LinkId {
        let (left, right) = (format!("l-{name}"), format!("r-{name}"));
        self.add(Side::Left, &left, values);
        self.add(Side::Right, &right, values);
        let origin = self.records[&(Side::Left, RecordId::new(&left))].key.clone();
        let id = LinkId::derive(&origin, 0);
        let fields = self.records[&(Side::Left, RecordId::new(&left))].fields.clone();
        let agree = |(name, value): (FieldName, Value)| {
            let values = Pair::new(value.clone(), value);
            (name, Agreement { values, fingerprint: "1".to_owned(), pinned: false })
        };
        let link = Link {
            id: id.clone(),
            entity: self.entity.name.clone(),
            ends: Pair::new(Some(RecordId::new(left)), Some(RecordId::new(right))),
            state: LinkState::Live,
            baseline: fields.into_iter().map(agree).collect(),
            own_stamp: Pair::default(),
        };
        self.links.insert(id.clone(), link);
        id
    }

    /// A person edits a field.
    pub(crate) fn edit(&mut self, side: Side, id: &str, name: &str, value: Value) {
        self.clock += 10;
        let now = at(self.clock);
        let seen = self.records.get_mut(&(side, RecordId::new(id))).unwrap();
        seen.fields.insert(FieldName::new(name), value);
        seen.modified_at = Some(now);
        seen.corrected_at = Some(now);
    }

    pub(crate) fn get(&self, side: Side, id: &str, name: &str) -> Value {
        self.records[&(side, RecordId::new(id))].fields[name].clone()
    }

    /// A person deletes a record, and the deletion is confirmed.
    pub(crate) fn delete(&mut self, side: Side, id: &str) {
        let key = (side, RecordId::new(id));
        let link = self.links.values().find(|link| link.ends[side].as_ref() == Some(&key.1));
        let link = link.map(|link| link.id.clone());
        self.bury(&key, TombstoneCause::Deleted, link);
    }

    pub(crate) fn bury(
        &mut self,
        key: &(Side, RecordId),
        cause: TombstoneCause,
        link: Option<LinkId>,
    ) {
        let seen = self.records.get_mut(key).unwrap();
        seen.presence = Presence::Deleted;
        let tombstone = Tombstone {
            key: seen.key.clone(),
            cause,
            evidence: DeleteEvidence::Strong,
            at: at(0),
            successor: None,
            link,
        };
        self.tombstones.insert(key.clone(), tombstone);
    }

    pub(crate) fn revive(&mut self, side: Side, id: &str) {
        self.records.get_mut(&(side, RecordId::new(id))).unwrap().presence = Presence::Alive;
    }

    /// A person copies a record together with its external ID.
    pub(crate) fn copy(&mut self, side: Side, id: &str, unique: u32) {
        let mut seen = self.records[&(side, RecordId::new(id))].clone();
        let named =
            if side == Side::Left { id.replace("l-", "r-") } else { id.replace("r-", "l-") };
        seen.key.id = RecordId::new(format!("copy-{unique}"));
        seen.presence = Presence::Alive;
        seen.external_id = Some(RecordId::new(named));
        self.records.insert((side, seen.key.id.clone()), seen);
    }

    fn candidate(&self, seen: &Observation) -> Candidate {
        let side = seen.key.side;
        let holds = |link: &&Link| link.ends[side].as_ref() == Some(&seen.key.id);
        let live = self.links.values().find(|link| link.is_live() && holds(link));
        let far = |link: &Link| {
            let id = link.ends[side.other()].clone();
            id.is_some_and(|id| self.is_gone(&(side.other(), id)))
        };
        let last = self.links.values().find(|link| holds(link));
        let survivor = live.is_none() && last.is_some();
        Candidate {
            side,
            id: seen.key.id.clone(),
            link: live.map(|link| link.id.clone()),
            counterpart_gone: live.or(last).is_some_and(far),
            survivor,
            external_id: seen.external_id.clone(),
        }
    }

    fn is_gone(&self, key: &(Side, RecordId)) -> bool {
        let alive = self.records.get(key).is_some_and(|seen| seen.presence == Presence::Alive);
        self.tombstones.contains_key(key) && !alive
    }

    /// Links that started at the record, whatever became of them.
    fn generation(&self, key: &RecordKey) -> u32 {
        let free = |count: &u32| !self.links.contains_key(&LinkId::derive(key, *count));
        (0..100).find(free).unwrap()
    }

    fn alive(&self) -> impl Iterator<Item = &Observation> {
        self.records.values().filter(|seen| seen.presence == Presence::Alive && seen.in_scope)
    }

    /// The planner's input: every link and every unlinked record.
    pub(crate) fn state(&self) -> EntityState {
        let mut state = EntityState {
            complete: self.complete.clone(),
            live_links: self.guard.live_links,
            ..EntityState::default()
        };
        for link in self.links.values().filter(|link| link.is_live()) {
            let seen = |side: Side| {
                let id = link.ends[side].clone()?;
                self.records.get(&(side, id)).cloned()
            };
            let buried = |side: Side| {
                let id = link.ends[side].clone()?;
                self.tombstones.get(&(side, id)).cloned()
            };
            let subject = Subject::linked(link.clone(), seen(Side::Left), seen(Side::Right));
            let tombstones = Pair::new(buried(Side::Left), buried(Side::Right));
            let resolutions = self.resolutions.clone();
            state.subjects.push(Subject { tombstones, resolutions, ..subject });
        }
        for seen in self.records.values().filter(|seen| seen.presence == Presence::Alive) {
            let one = self.candidate(seen);
            if one.link.is_some() {
                continue;
            }
            let side = seen.key.side;
            let tombstone = self.tombstones.get(&(side, seen.key.id.clone())).cloned();
            let subject = Subject {
                generation: self.generation(&seen.key).max(u32::from(one.survivor)),
                tombstones: Pair::from_side(side, tombstone, None),
                resolutions: self.resolutions.clone(),
                ..Subject::unlinked(seen.clone())
            };
            state.subjects.push(subject);
        }
        for seen in self.alive() {
            let one = self.candidate(seen);
            for key in match_keys(&self.entity, seen, &Nobody) {
                state.by_key.entry(key).or_default().push(one.clone());
            }
            if let Some(named) = &seen.external_id {
                let place = (seen.key.side, named.clone());
                state.by_external_id.entry(place).or_default().push(one.clone());
            }
            state.named.insert((seen.key.side, seen.key.id.clone()), one);
        }
        state.named_gone = self.tombstones.keys().cloned().collect();
        state
    }

    pub(crate) fn plan_state(&self, state: &EntityState, context: &PlanContext) -> Plan {
        let part = plan_entity(&self.entity, state, &Nobody, context);
        let guards = BTreeMap::from([(self.entity.name.clone(), self.guard.clone())]);
        let entities = std::slice::from_ref(&self.entity);
        assemble(RouteName::new("crm"), vec![part], &guards, entities, context)
    }

    pub(crate) fn plan(&self) -> Plan {
        self.plan_state(&self.state(), &context())
    }

    /// Plans and executes until nothing is left to do; returns the last plan.
    pub(crate) fn settle(&mut self) -> Plan {
        for _ in 0..6 {
            let plan = self.plan();
            if plan.ops.is_empty() {
                return plan;
            }
            self.execute(&plan);
        }
        let plan = self.plan();
        panic!("still busy after six runs: {:#?}", plan.ops);
    }

    pub(crate) fn execute(&mut self, plan: &Plan) {
        for op in self.shuffled(&plan.ops) {
            let links: Vec<_> = self.links.values().cloned().collect();
            invariants::groups_are_whole(self.moment(&links, &plan.rows), op).unwrap();
            self.perform(op);
        }
    }

    /// Ops of one link stay in their order; those of different links do not wait for each other.
    fn shuffled<'p>(&mut self, ops: &'p [Op]) -> Vec<&'p Op> {
        let mut waiting: Vec<VecDeque<&Op>> = Vec::new();
        for op in ops {
            let of_link = |queue: &&mut VecDeque<&Op>| queue[0].link == op.link;
            match waiting.iter_mut().find(of_link) {
                Some(queue) => queue.push_back(op),
                None => waiting.push(VecDeque::from([op])),
            }
        }
        let mut all = Vec::new();
        while !waiting.is_empty() {
            self.order = self.order.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = usize::try_from(self.order >> 33).unwrap() % waiting.len();
            all.extend(waiting[at].pop_front());
            waiting.retain(|queue| !queue.is_empty());
        }
        all
    }

    fn perform(&mut self, op: &Op) {
        match &op.kind {
            OpKind::Link { ends, agreed } => {
                let ends = ends.clone().map(Some);
                self.bind(op, ends);
                self.agree(&op.link, agreed, false);
            }
            OpKind::Create { side, source, fields, from } => {
                self.make(op, *side, source, fields, from);
            }
            OpKind::Update { side, id, changes, .. } => {
                self.clock += 10;
                let now = at(self.clock);
                let seen = self.records.get_mut(&(*side, id.clone())).unwrap();
                assert_eq!(seen.presence, Presence::Alive);
                let link = self.links.get_mut(&op.link).unwrap();
                for (name, change) in changes {
                    let old = seen.fields.insert(name.clone(), change.after.clone());
                    // I4: the plan knows every value that it overwrites.
                    assert_eq!(old.as_ref(), Some(&change.before));
                    let near = if change.halfway { &change.before } else { &change.after };
                    let (near, far) = (near.clone(), change.source.clone());
                    let rule = self.entity.field(name).unwrap();
                    let agreement = Agreement {
                        values: Pair::from_side(*side, near, far),
                        fingerprint: rule.fingerprint.clone(),
                        pinned: change.halfway,
                    };
                    link.baseline.insert(name.clone(), agreement);
                }
                seen.modified_at = Some(now);
                seen.corrected_at = Some(now);
                link.own_stamp[*side] = Some(now);
            }
            OpKind::Delete { side, id, expected } | OpKind::Archive { side, id, expected } => {
                let seen = &self.records[&(*side, id.clone())];
                for (name, value) in expected {
                    assert_eq!(seen.fields.get(name), Some(value), "I9");
                }
                self.bury(&(*side, id.clone()), TombstoneCause::Deleted, Some(op.link.clone()));
                self.links.get_mut(&op.link).unwrap().state = LinkState::Closed;
            }
            OpKind::Agree { fields, pinned } => self.agree(&op.link, fields, *pinned),
            OpKind::Relate { state, ends, tombstones, keep_baseline } => {
                for tombstone in tombstones {
                    let key = (tombstone.key.side, tombstone.key.id.clone());
                    self.tombstones.insert(key, tombstone.clone());
                }
                let link = self.links.get_mut(&op.link).unwrap();
                for side in Side::BOTH {
                    let old = link.ends[side].clone().filter(|_| link.ends[side] != ends[side]);
                    if let Some(tombstone) =
                        old.and_then(|old| self.tombstones.get_mut(&(side, old)))
                    {
                        tombstone.link = None;
                    }
                }
                link.state = *state;
                link.ends = ends.clone();
                if *state == LinkState::Live {
                    for side in Side::BOTH {
                        let id = ends[side].clone();
                        id.and_then(|id| self.tombstones.remove(&(side, id)));
                    }
                }
                if !keep_baseline {
                    link.baseline.clear();
                }
            }
            OpKind::Revive { side, id } => {
                self.tombstones.remove(&(*side, id.clone()));
                self.links.get_mut(&op.link).unwrap().state = LinkState::Live;
            }
        }
    }

    fn bind(&mut self, op: &Op, ends: Pair<Option<RecordId>>) {
        for side in Side::BOTH {
            if let Some(id) = &ends[side] {
                self.tombstones.remove(&(side, id.clone()));
            }
        }
        let link = Link {
            id: op.link.clone(),
            entity: op.entity.clone(),
            ends,
            state: LinkState::Live,
            baseline: BTreeMap::new(),
            own_stamp: Pair::default(),
        };
        let old = self.links.insert(op.link.clone(), link);
        assert!(old.is_none_or(|old| old.state == LinkState::Creating), "{} twice", op.link);
    }

    fn make(
        &mut self,
        op: &Op,
        side: Side,
        source: &RecordId,
        fields: &BTreeMap<FieldName, Value>,
        from: &BTreeMap<FieldName, Value>,
    ) {
        self.made += 1;
        let id = RecordId::new(format!("made-{}", self.made));
        let values: Vec<_> =
            fields.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        self.add(side, id.as_str(), &values);
        self.records.get_mut(&(side, id.clone())).unwrap().external_id = Some(source.clone());
        self.bind(op, Pair::from_side(side, Some(id), Some(source.clone())));
        let half = |(name, far): (&FieldName, &Value)| {
            let near = fields.get(name).cloned().unwrap_or_default();
            (name.clone(), Pair::from_side(side, near, far.clone()))
        };
        let agreed = from.iter().map(half).collect();
        self.agree(&op.link, &agreed, false);
    }

    fn agree(&mut self, link: &LinkId, fields: &BTreeMap<FieldName, Pair<Value>>, pinned: bool) {
        let prints: BTreeMap<_, _> = self
            .entity
            .fields
            .iter()
            .map(|rule| (rule.name.clone(), rule.fingerprint.clone()))
            .collect();
        let link = self.links.get_mut(link).unwrap();
        for (name, values) in fields {
            let fingerprint = prints[name].clone();
            let agreement = Agreement { values: values.clone(), fingerprint, pinned };
            link.baseline.insert(name.clone(), agreement);
        }
    }

    fn moment<'a>(&'a self, links: &'a [Link], rows: &'a [OpenRow]) -> Moment<'a> {
        Moment {
            entity: &self.entity,
            ids: &Nobody,
            links,
            records: &self.records,
            tombstones: &self.tombstones,
            rows,
        }
    }

    /// All laws that hold when nothing is left to do.
    pub(crate) fn check(&self, plan: &Plan) -> Result<(), Violation> {
        let links: Vec<_> = self.links.values().cloned().collect();
        let moment = self.moment(&links, &plan.rows);
        invariants::fields_converged(moment)?;
        invariants::records_converged(moment)?;
        invariants::quiescent(&plan.ops, &plan.guards)?;
        invariants::partial_bijection(moment)?;
        invariants::sound_baselines(moment)?;
        invariants::rows_are_unique(&plan.rows)
    }
}
