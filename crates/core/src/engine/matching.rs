//! Finds the counterpart of a record without a link: semantics §6.1, §6.2, §6.4.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::rows::{About, fingerprint};
use crate::model::mapping::Strength;
use crate::model::row::{Choice, RowId, RowKind};
use crate::model::state::{Candidate, EntityState, MatchKey, Subject};
use crate::model::{Code, Entity, LinkId, Observation, OpenRow, Pair, RecordId, Side};

/// What becomes of an unlinked record.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Make its counterpart, for this reason.
    Create(Code),
    /// Bind it to a record without a link.
    Link { partner: RecordId, code: Code },
    /// Its candidate's former counterpart is gone: the candidate's link takes this record instead.
    Relink { link: LinkId, partner: RecordId },
    /// A person decides.
    Ask(Box<OpenRow>),
    /// The other side is not known completely.
    Wait,
    /// Nothing is left to do, for this reason.
    Leave(Code),
}

/// A record: its side and ID.
type Node<'a> = (Side, &'a RecordId);

/// Match keys and external IDs of one chunk, turned round for lookup.
pub struct Matcher<'a> {
    entity: &'a Entity,
    state: &'a EntityState,
    keys: BTreeMap<Node<'a>, Vec<&'a MatchKey>>,
    known: BTreeMap<Node<'a>, &'a Candidate>,
    /// The row of each ambiguous cluster, by every member.
    clusters: RefCell<BTreeMap<(Side, RecordId), OpenRow>>,
}

/// The candidates of a record at the first level that has any.
#[derive(Default)]
struct View<'a> {
    candidates: Vec<&'a Candidate>,
    /// `None` on the level of external IDs.
    group: Option<usize>,
    /// Its external ID names a dead or unknown record, or it is a twin.
    problem: Option<Code>,
    /// A person copied the record with its external ID: it is matched without it.
    cloned: bool,
}

impl View<'_> {
    /// Why the record gets its counterpart: as a copy, else for the `plain` reason.
    const fn code(&self, plain: Code) -> Code {
        if self.cloned { Code::ClonedId } else { plain }
    }
}

impl<'a> Matcher<'a> {
    pub fn new(entity: &'a Entity, state: &'a EntityState) -> Self {
        let mut keys: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let mut known = BTreeMap::new();
        for (key, candidates) in &state.by_key {
            for candidate in candidates {
                keys.entry((candidate.side, &candidate.id)).or_default().push(key);
                known.insert((candidate.side, &candidate.id), candidate);
            }
        }
        let holders = state.by_external_id.values().flatten();
        for candidate in holders.chain(state.named.values()) {
            known.insert((candidate.side, &candidate.id), candidate);
        }
        Self { entity, state, keys, known, clusters: RefCell::default() }
    }

    /// Decides on an unlinked record that is alive, in scope and no survivor.
    pub fn decide(&self, subject: &Subject, seen: &'a Observation) -> Decision {
        let side = seen.key.side;
        if subject.in_doubt {
            let row = About::record(seen, None).row(RowKind::Hold, Code::Deferred, None);
            return Decision::Ask(Box::new(row));
        }
        if !self.trusted(side.other()) {
            return Decision::Wait;
        }
        let view = self.view((side, &seen.key.id), seen.external_id.as_ref(), subject.ours);
        if let Some(code) = view.problem {
            return self.ask(subject, seen, code, &[]);
        }
        match view.candidates.as_slice() {
            [] => self.create(side.other(), view.code(Code::Create)),
            [one] if !free(one) => {
                self.ask(subject, seen, Code::DupInSide, std::slice::from_ref(&one.id))
            }
            [_] if !self.trusted(side) => Decision::Wait,
            [one] if self.mutual(seen, one) => self.pair(subject, seen, one, &view),
            [_, ..] => self.ambiguous(subject, seen),
        }
    }

    fn trusted(&self, side: Side) -> bool {
        self.state.complete[side] && !self.state.unhealthy[side]
    }

    fn create(&self, target: Side, code: Code) -> Decision {
        let flows = self.entity.direction.flows_from(target.other());
        if self.entity.create.allows(target) && flows {
            Decision::Create(code)
        } else {
            Decision::Leave(Code::CreateNotAllowed)
        }
    }

    /// One candidate, and each is the other's only match.
    fn pair(
        &self,
        subject: &Subject,
        seen: &'a Observation,
        one: &Candidate,
        view: &View<'a>,
    ) -> Decision {
        let strength = view
            .group
            .and_then(|group| self.entity.matching.keys.get(group))
            .map(|group| group.strength);
        if strength == Some(Strength::Weak) {
            return self.suggest(subject, seen, one);
        }
        let node = (seen.key.side, &seen.key.id);
        let by_key = if view.group.is_none() { self.by_key(node).0 } else { Vec::new() };
        let disagrees = !by_key.is_empty() && by_key.iter().all(|other| other.id != one.id);
        bind(one, if disagrees { Code::KeyDisagrees } else { view.code(Code::Link) })
    }

    fn suggest(&self, subject: &Subject, seen: &'a Observation, one: &Candidate) -> Decision {
        let side = seen.key.side;
        let records = Pair::from_side(side, Some(seen.key.id.clone()), Some(one.id.clone()));
        let about = About { records, ..About::record(seen, None) };
        let row = OpenRow {
            modified_at: Pair::default(),
            fingerprint: fingerprint(&about.records),
            ..about.row(RowKind::Match, Code::Suggested, None)
        };
        match subject.choice(&row.id, &row.fingerprint) {
            Some(Choice::Link { .. }) => bind(one, Code::Link),
            Some(Choice::Create) => self.create(side.other(), Code::Create),
            Some(Choice::Ignore) => Decision::Leave(Code::Suggested),
            Some(Choice::Left | Choice::Right | Choice::Value { .. } | Choice::Pin) | None => {
                Decision::Ask(Box::new(row))
            }
        }
    }

    /// A question about one record.
    fn ask(
        &self,
        subject: &Subject,
        seen: &'a Observation,
        code: Code,
        candidates: &[RecordId],
    ) -> Decision {
        let shown = (code, candidates, &seen.external_id);
        let row = OpenRow {
            fingerprint: fingerprint(&shown),
            candidates: candidates.to_vec(),
            ..About::record(seen, None).row(RowKind::Match, code, None)
        };
        match subject.choice(&row.id, &row.fingerprint) {
            Some(Choice::Create) => self.create(seen.key.side.other(), Code::Create),
            Some(Choice::Ignore) => Decision::Leave(code),
            Some(
                Choice::Left
                | Choice::Right
                | Choice::Value { .. }
                | Choice::Pin
                | Choice::Link { .. },
            )
            | None => Decision::Ask(Box::new(row)),
        }
    }

    /// Candidates at the first level that has any: external ID, then key groups in order.
    fn view(&self, node: Node<'a>, external_id: Option<&RecordId>, ours: bool) -> View<'a> {
        let mut view = self.named(node, external_id, ours);
        view.candidates.sort_by(|one, other| one.id.cmp(&other.id));
        view.candidates.dedup_by(|one, other| one.id == other.id);
        if view.candidates.is_empty() && view.problem.is_none() {
            (view.candidates, view.group) = self.by_key(node);
        }
        view
    }

    /// Level 2: the record's external ID names a counterpart, or a counterpart's names the record.
    fn named(&self, (side, id): Node<'a>, external_id: Option<&RecordId>, ours: bool) -> View<'a> {
        let other = side.other();
        let problem = |code| View { problem: Some(code), ..View::default() };
        let mut candidates: Vec<_> = self.keeper(other, id).into_iter().collect();
        let Some(name) = external_id else { return View { candidates, ..View::default() } };
        let place = (other, name.clone());
        let named = match self.state.named.get(&place) {
            Some(named) if !self.state.named_gone.contains(&place) => named,
            Some(_) | None => return problem(Code::DanglingId),
        };
        let stays = self.keeper(side, name).is_none_or(|keeper| keeper.id == *id);
        let taken = named.link.is_some() && !named.counterpart_gone;
        let cloned = !stays || taken;
        if !cloned {
            candidates.push(named);
        } else if ours {
            return problem(Code::Twin);
        }
        View { candidates, cloned, ..View::default() }
    }

    /// Of the records on `side` that name `id`, the one that stays: the linked one, else the lowest.
    fn keeper(&self, side: Side, id: &RecordId) -> Option<&'a Candidate> {
        let holders = self.state.by_external_id.get(&(side, id.clone()))?;
        holders.iter().min_by(|one, other| {
            (one.link.is_none(), &one.id).cmp(&(other.link.is_none(), &other.id))
        })
    }

    /// Level 3: records of the other side with an equal key, in the first group that has any.
    fn by_key(&self, node: Node<'a>) -> (Vec<&'a Candidate>, Option<usize>) {
        let mut groups: BTreeMap<usize, BTreeMap<&RecordId, &'a Candidate>> = BTreeMap::new();
        for key in self.keys.get(&node).into_iter().flatten() {
            let group = key.0.split(':').next().and_then(|index| index.parse().ok());
            let equals = self.state.by_key.get(*key).into_iter().flatten();
            for candidate in equals.filter(|candidate| candidate.side != node.0) {
                let group = groups.entry(group.unwrap_or(usize::MAX)).or_default();
                group.insert(&candidate.id, candidate);
            }
        }
        let first = groups.into_iter().next();
        first.map_or_else(Default::default, |(group, found)| {
            (found.into_values().collect(), Some(group))
        })
    }

    fn view_of(&self, node: Node<'a>) -> View<'a> {
        let external_id = self.known.get(&node).and_then(|known| known.external_id.as_ref());
        self.view(node, external_id, false)
    }

    /// The candidate sees this record, and only this one. Its own doubt about its external ID forbids a link.
    fn mutual(&self, seen: &Observation, one: &'a Candidate) -> bool {
        // What the external ID of a linked record or a survivor names is its own lost counterpart.
        let named = one.external_id.as_ref().filter(|_| one.link.is_none() && !one.survivor);
        let back = self.view((one.side, &one.id), named, false);
        let only = matches!(back.candidates.as_slice(), [single] if single.id == seen.key.id);
        only && back.problem.is_none()
    }

    /// Records that cannot be told apart: one row for all of them.
    fn ambiguous(&self, subject: &Subject, seen: &'a Observation) -> Decision {
        let member = (seen.key.side, seen.key.id.clone());
        let known = self.clusters.borrow().get(&member).cloned();
        let row = known.unwrap_or_else(|| {
            let members = self.cluster((seen.key.side, &seen.key.id));
            let row = cluster_row(&self.entity.name, &members);
            let mut clusters = self.clusters.borrow_mut();
            clusters.extend(members.iter().map(|(side, id)| ((*side, (*id).clone()), row.clone())));
            row
        });
        let Some(choice) = subject.choice(&row.id, &row.fingerprint) else {
            return Decision::Ask(Box::new(row));
        };
        let side = seen.key.side;
        let anchor = row.records[side].as_ref() == Some(&seen.key.id);
        match choice {
            Choice::Ignore => Decision::Leave(Code::Ambiguous),
            Choice::Create if anchor => self.create(side.other(), Code::Create),
            Choice::Link { candidate } if anchor => self.chosen((side.other(), candidate), row),
            Choice::Link { candidate } if *candidate == seen.key.id => {
                match row.records[side.other()].clone() {
                    Some(partner) => self.chosen((side.other(), &partner), row),
                    None => Decision::Ask(Box::new(row)),
                }
            }
            Choice::Left
            | Choice::Right
            | Choice::Value { .. }
            | Choice::Pin
            | Choice::Link { .. }
            | Choice::Create => Decision::Ask(Box::new(row)),
        }
    }

    fn chosen(&self, (side, id): (Side, &RecordId), row: OpenRow) -> Decision {
        let known = self.known.iter().find(|((at, known), _)| *at == side && **known == *id);
        match known {
            Some((_, one)) if free(one) => bind(one, Code::Link),
            Some(_) | None => Decision::Ask(Box::new(row)),
        }
    }

    /// All records that see each other, directly or through others, whichever of them is asked.
    fn cluster(&self, start: Node<'a>) -> BTreeSet<Node<'a>> {
        let mut members = BTreeSet::from([start]);
        let mut open = vec![start];
        let mut views = BTreeMap::new();
        while let Some(node) = open.pop() {
            for next in self.neighbors(node, &mut views) {
                if members.insert(next) {
                    open.push(next);
                }
            }
        }
        members
    }

    /// Records that this one sees, and those that see it. Each view is worked out once: clusters can be large.
    fn neighbors(
        &self,
        node: Node<'a>,
        views: &mut BTreeMap<Node<'a>, BTreeSet<Node<'a>>>,
    ) -> BTreeSet<Node<'a>> {
        let mut near = self.view_once(node, views).clone();
        let keys = self.keys.get(&node).into_iter().flatten();
        let sharing = keys.flat_map(|key| self.state.by_key.get(*key).into_iter().flatten());
        for other in sharing.filter(|other| other.side != node.0) {
            let other = (other.side, &other.id);
            if !near.contains(&other) && self.view_once(other, views).contains(&node) {
                near.insert(other);
            }
        }
        near
    }

    fn view_once<'v>(
        &self,
        node: Node<'a>,
        views: &'v mut BTreeMap<Node<'a>, BTreeSet<Node<'a>>>,
    ) -> &'v BTreeSet<Node<'a>> {
        views.entry(node).or_insert_with(|| nodes(&self.view_of(node)).collect())
    }
}

fn nodes<'v, 'a: 'v>(view: &'v View<'a>) -> impl Iterator<Item = Node<'a>> + 'v {
    view.candidates.iter().map(|candidate| (candidate.side, &candidate.id))
}

/// Whether a new counterpart may take the record.
fn free(one: &Candidate) -> bool {
    one.counterpart_gone || (one.link.is_none() && !one.survivor)
}

/// Binds to a candidate: over its own link where that lost its other end.
fn bind(one: &Candidate, code: Code) -> Decision {
    let partner = one.id.clone();
    match &one.link {
        Some(link) => Decision::Relink { link: link.clone(), partner },
        None if one.survivor => Decision::Link { partner, code: Code::Relink },
        None => Decision::Link { partner, code },
    }
}

/// The row of a cluster: the same for every member and every order.
///
/// A side with one member is the anchor; else the lowest left record is. The others are the candidates.
fn cluster_row(entity: &crate::model::EntityName, members: &BTreeSet<Node<'_>>) -> OpenRow {
    let of = |side: Side| {
        let ids = members.iter().filter(move |(at, _)| *at == side);
        ids.map(|(_, id)| (*id).clone()).collect::<Vec<_>>()
    };
    let (left, right) = (of(Side::Left), of(Side::Right));
    let side = if right.len() == 1 && left.len() > 1 { Side::Right } else { Side::Left };
    let (near, far) = if side == Side::Left { (&left, &right) } else { (&right, &left) };
    let records = Pair::from_side(side, near.first().cloned(), None);
    let about = About { entity, link: None, records, modified_at: Pair::default() };
    let print = fingerprint(&(&left, &right));
    let row = about.row(RowKind::Match, Code::Ambiguous, None);
    let message = format!("{}: left {}; right {}", row.message, few(&left), few(&right));
    let candidates = far.iter().chain(near.iter().skip(1)).cloned().collect();
    let id = RowId(fingerprint(&(entity, Code::Ambiguous, &print)));
    OpenRow { id, fingerprint: print, message, candidates, ..row }
}

/// The first IDs of many.
fn few(ids: &[RecordId]) -> String {
    const SHOWN: usize = 20;
    let shown: Vec<_> = ids.iter().take(SHOWN).map(RecordId::as_str).collect();
    let more = ids.len().saturating_sub(SHOWN);
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{rest}", shown.join(", "))
}
