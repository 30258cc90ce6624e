//! Compares both sides of a subject without planning anything: how much is in sync.

use super::merge::{Ends, Unit};
use crate::model::state::{Identities, Subject};
use crate::model::{Entity, FieldName, Presence, Side};

/// How a subject stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Both records agree in every mapped field.
    InSync,
    /// Units that differ, and those whose difference was accepted.
    Differs { open: Vec<FieldName>, accepted: Vec<FieldName> },
    /// A link one of whose records is gone or was not read.
    Incomplete,
    /// A record whose counterpart is missing.
    Alone(Side),
    /// Not kept in sync: out of scope, gone, left alone after its link ended, or never to be created.
    Outside,
}

/// Compares the records of `subject` by the units of its entity.
///
/// A field that a side did not return is not compared.
pub fn compare(
    entity: &Entity,
    units: &[Unit<'_>],
    ids: &dyn Identities,
    subject: &Subject,
) -> Standing {
    let seen = |side: Side| {
        let seen = subject.observations[side].as_ref();
        seen.filter(|seen| seen.presence == Presence::Alive)
    };
    let Some(link) = subject.link.as_ref() else {
        let alone = Side::BOTH.into_iter().find(|side| {
            seen(*side).is_some_and(|seen| seen.in_scope) && is_missed(entity, subject, *side)
        });
        return alone.map_or(Standing::Outside, Standing::Alone);
    };
    if !link.is_live() {
        return Standing::Outside;
    }
    let (Some(left), Some(right)) = (seen(Side::Left), seen(Side::Right)) else {
        return Standing::Incomplete;
    };
    if !(left.in_scope && right.in_scope) {
        return Standing::Outside;
    }
    let ends = Ends { link: Some(link), left, right, times: None };
    let differing = units.iter().filter(|unit| unit.differs(ids, ends));
    let (accepted, open): (Vec<_>, Vec<_>) = differing.partition(|unit| unit.is_pinned(ends.link));
    if open.is_empty() && accepted.is_empty() {
        return Standing::InSync;
    }
    let names = |units: Vec<&Unit<'_>>| units.into_iter().map(|unit| unit.name.clone()).collect();
    Standing::Differs { open: names(open), accepted: names(accepted) }
}

/// Whether a counterpart of an unlinked record is to be expected.
fn is_missed(entity: &Entity, subject: &Subject, side: Side) -> bool {
    let target = side.other();
    let ended = subject.generation > 0 || subject.tombstones[side].is_some();
    entity.create.allows(target) && entity.direction.flows_from(side) && !ended
}
