//! A person's word about which records are one: semantics §6.3. Local bookkeeping, journaled like a run.

use std::collections::BTreeMap;

use crmsync_core::model::link::{DeleteEvidence, TombstoneCause};
use crmsync_core::model::state::Subject;
use crmsync_core::model::{
    Code, EntityName, Link, LinkId, LinkState, Op, OpKind, Pair, Plan, Presence, RecordId,
    RecordKey, Side, Tombstone,
};

use super::apply::{Applier, Tally};
use super::error::ServiceError;
use super::run::{RunContext, RunReport, empty_plan, recorded};
use crate::store::{RouteStore, RunRecord};

/// Parts the record `id` (of either side) from its counterpart for good: neither is matched again by itself.
pub(super) async fn unlink(
    run: &RunContext<'_>,
    store: &RouteStore,
    entity: &EntityName,
    id: &RecordId,
) -> Result<RunReport, ServiceError> {
    let steps = async |_: &mut RunRecord| {
        let found = find_linked(run, store, entity, id).await?;
        let op = parting(run, entity, &found);
        carry_out(run, store, vec![op]).await
    };
    recorded(run, store, "unlink", steps).await
}

/// Binds two records that a person says are one. With [`Bound::Moves`] they may leave links they were in.
pub(super) async fn link(
    run: &RunContext<'_>,
    store: &RouteStore,
    entity: &EntityName,
    ends: &Pair<RecordId>,
    bound: Bound,
) -> Result<RunReport, ServiceError> {
    let steps = async |_: &mut RunRecord| {
        let left = subject(run, store, entity, Side::Left, &ends.left).await?;
        let right = subject(run, store, entity, Side::Right, &ends.right).await?;
        let ops = binding(run, entity, ends, bound, &Pair::new(&left, &right))?;
        carry_out(run, store, ops).await
    };
    recorded(run, store, "link", steps).await
}

/// What becomes of links that the records are in already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// They stay: the request is refused.
    Stays,
    /// They end; the records left behind are not matched again by themselves.
    Moves,
}

async fn carry_out(
    run: &RunContext<'_>,
    store: &RouteStore,
    ops: Vec<Op>,
) -> Result<(Plan, Tally), ServiceError> {
    let mut plan = Plan { ops, ..empty_plan(run) };
    plan.hash = plan.compute_hash();
    let tally = Applier::new(run, store).apply(&plan).await?;
    Ok((plan, tally))
}

/// The live link of a record whose side was not said.
async fn find_linked(
    run: &RunContext<'_>,
    store: &RouteStore,
    entity: &EntityName,
    id: &RecordId,
) -> Result<Link, ServiceError> {
    let mut found: BTreeMap<LinkId, Link> = BTreeMap::new();
    for side in Side::BOTH {
        let Some(subject) = known(run, store, entity, side, id).await? else { continue };
        let holds = |link: &Link| link.is_live() && link.ends[side].as_ref() == Some(id);
        let link = subject.link.filter(holds);
        found.extend(link.map(|link| (link.id.clone(), link)));
    }
    let several = found.len() > 1;
    match found.into_values().next() {
        Some(link) if !several => Ok(link),
        Some(_) => Err(refused(format!(
            "both sides have a linked {entity} with the ID {id}; name the other one of the pair"
        ))),
        None => Err(refused(format!("no {entity} with the ID {id} is linked"))),
    }
}

async fn known(
    run: &RunContext<'_>,
    store: &RouteStore,
    entity: &EntityName,
    side: Side,
    id: &RecordId,
) -> Result<Option<Subject>, ServiceError> {
    let key = RecordKey { entity: entity.clone(), side, id: id.clone() };
    let Some(subject) = store.subject_of(&key).await? else { return Ok(None) };
    Ok(store.subjects(entity, &[subject], run.now()).await?.into_iter().next())
}

/// A record that is to be bound: alive, and nothing about it in doubt.
async fn subject(
    run: &RunContext<'_>,
    store: &RouteStore,
    entity: &EntityName,
    side: Side,
    id: &RecordId,
) -> Result<Subject, ServiceError> {
    let connection = &run.route.connections[side];
    let found = known(run, store, entity, side, id).await?;
    let found = found.filter(|subject| {
        let seen = subject.observations[side].as_ref().filter(|seen| seen.key.id == *id);
        seen.is_some_and(|seen| seen.presence == Presence::Alive)
    });
    let Some(subject) = found else {
        return Err(refused(format!(
            "{connection} is not known to have a {entity} with the ID {id}; crmsync sync --record {id} looks again"
        )));
    };
    if subject.in_doubt {
        return Err(refused(format!(
            "a write to {connection} {id} is still open; crmsync sync settles it first"
        )));
    }
    Ok(subject)
}

fn binding(
    run: &RunContext<'_>,
    entity: &EntityName,
    ends: &Pair<RecordId>,
    bound: Bound,
    subjects: &Pair<&Subject>,
) -> Result<Vec<Op>, ServiceError> {
    let links = subjects.as_ref().map(|subject| subject.link.clone().filter(Link::is_live));
    if let (Some(left), Some(right)) = (&links.left, &links.right)
        && left.id == right.id
    {
        return Err(refused(format!("{} and {} are linked already", ends.left, ends.right)));
    }
    let mut ops = Vec::new();
    for side in Side::BOTH {
        let Some(link) = &links[side] else { continue };
        if bound == Bound::Stays {
            let (connection, id) = (&run.route.connections[side], &ends[side]);
            let other = link.ends[side.other()].as_ref().map_or("nothing", RecordId::as_str);
            return Err(refused(format!(
                "{connection} {id} is linked with {other}; --move takes it out of that link"
            )));
        }
        ops.push(parting(run, entity, link));
    }
    let key = RecordKey { entity: entity.clone(), side: Side::Left, id: ends.left.clone() };
    let was_linked = u32::from(links.left.is_some());
    let id = LinkId::derive(&key, subjects.left.generation + was_linked);
    let kind = OpKind::Link { ends: ends.clone(), agreed: BTreeMap::new() };
    let code = if ops.is_empty() { Code::Link } else { Code::Relink };
    ops.push(Op { entity: entity.clone(), link: id, code, kind, later: Vec::new() });
    Ok(ops)
}

/// Ends a link by a person's word: tombstones on both records.
fn parting(run: &RunContext<'_>, entity: &EntityName, link: &Link) -> Op {
    let tombstone = |side: Side| {
        Some(Tombstone {
            key: RecordKey { entity: entity.clone(), side, id: link.ends[side].clone()? },
            cause: TombstoneCause::Unlinked,
            evidence: DeleteEvidence::Person,
            at: run.now(),
            successor: None,
            link: Some(link.id.clone()),
        })
    };
    let kind = OpKind::Relate {
        state: LinkState::Closed,
        ends: link.ends.clone(),
        tombstones: Side::BOTH.into_iter().filter_map(tombstone).collect(),
        keep_baseline: true,
    };
    Op {
        entity: entity.clone(),
        link: link.id.clone(),
        code: Code::Unlinked,
        kind,
        later: Vec::new(),
    }
}

fn refused(message: String) -> ServiceError {
    ServiceError::Config(message)
}
