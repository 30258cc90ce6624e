//! Named laws of semantics §17 as functions: shared by property tests, simulator runs and debug assertions.
//!
//! Each law looks at one moment of one entity and names the first violation it finds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::engine::merge::{Ends, Unit};
use crate::model::plan::GuardTrip;
use crate::model::state::Identities;
use crate::model::{
    Entity, FieldName, Link, LinkState, Observation, Op, OpKind, OpenRow, Presence, RecordId, Side,
    Tombstone,
};

/// A broken law: its number and what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub law: &'static str,
    pub seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.law, self.seen)
    }
}

impl std::error::Error for Violation {}

/// One entity at one moment.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    pub entity: &'a Entity,
    pub ids: &'a dyn Identities,
    pub links: &'a [Link],
    pub records: &'a BTreeMap<(Side, RecordId), Observation>,
    pub tombstones: &'a BTreeMap<(Side, RecordId), Tombstone>,
    /// Rows that are open after the last plan.
    pub rows: &'a [OpenRow],
}

fn broken(law: &'static str, seen: impl Into<String>) -> Violation {
    Violation { law, seen: seen.into() }
}

impl<'a> Moment<'a> {
    fn alive(&self, side: Side, id: Option<&RecordId>) -> Option<&'a Observation> {
        let seen = self.records.get(&(side, id?.clone()))?;
        (seen.presence == Presence::Alive).then_some(seen)
    }

    fn ends(&self, link: &'a Link) -> Option<Ends<'a>> {
        let left = self.alive(Side::Left, link.ends.left.as_ref())?;
        let right = self.alive(Side::Right, link.ends.right.as_ref())?;
        Some(Ends { link: Some(link), left, right, times: None })
    }

    fn open_rows(&self) -> impl Iterator<Item = &'a OpenRow> {
        self.rows.iter().filter(|row| row.is_open())
    }

    fn names_field(&self, link: &Link, field: &FieldName) -> bool {
        self.open_rows().any(|row| {
            row.link.as_ref() == Some(&link.id)
                && row.field.as_ref().is_none_or(|named| named == field)
        })
    }

    fn names_record(&self, side: Side, id: &RecordId) -> bool {
        self.open_rows()
            .any(|row| row.records[side].as_ref() == Some(id) || row.candidates.contains(id))
    }
}

/// I1, fields: every two-way field of a live link agrees, is pinned, or is named by an open row.
///
/// # Errors
/// The first field that does not.
pub fn fields_converged(moment: Moment<'_>) -> Result<(), Violation> {
    let units = Unit::all(moment.entity);
    for link in moment.links.iter().filter(|link| link.state == LinkState::Live) {
        let Some(ends) = moment.ends(link) else { continue };
        for unit in units.iter().filter(|unit| unit.flows.left && unit.flows.right) {
            for rule in &unit.members {
                let agrees = ends
                    .values(rule)
                    .is_some_and(|values| rule.agree(moment.ids, values.left, values.right));
                let pinned = link.baseline.get(&rule.name).is_some_and(|known| known.pinned);
                if !agrees && !pinned && !moment.names_field(link, &unit.name) {
                    let seen = ends.values(rule);
                    let text = format!("{} of link {} differs: {seen:?}", rule.name, link.id);
                    return Err(broken("I1", text));
                }
            }
        }
    }
    Ok(())
}

/// I1, records: every alive record in scope that may have a counterpart is linked or named by an open row.
///
/// # Errors
/// The first record that is neither.
pub fn records_converged(moment: Moment<'_>) -> Result<(), Violation> {
    let mut linked = BTreeSet::new();
    for link in moment.links {
        for side in Side::BOTH {
            linked.extend(link.ends[side].clone().map(|id| (side, id)));
        }
    }
    for ((side, id), seen) in moment.records {
        let target = side.other();
        let may = moment.entity.create.allows(target) && moment.entity.direction.flows_from(*side);
        let matters = seen.presence == Presence::Alive && seen.in_scope && may;
        let gone = moment.tombstones.contains_key(&(*side, id.clone()));
        if matters
            && !gone
            && !linked.contains(&(*side, id.clone()))
            && !moment.names_record(*side, id)
        {
            return Err(broken("I1", format!("{side} record {id} is neither linked nor named")));
        }
    }
    Ok(())
}

/// I2: nothing is left to do.
///
/// # Errors
/// The first op.
pub fn quiescent(ops: &[Op], guards: &[GuardTrip]) -> Result<(), Violation> {
    let first = ops.iter().chain(guards.iter().flat_map(|trip| &trip.withheld)).next();
    first.map_or(Ok(()), |op| Err(broken("I2", format!("{op:?}"))))
}

/// I11: each record is in at most one live link, and no live link holds a tombstoned record.
///
/// # Errors
/// The first record for which it does not hold.
pub fn partial_bijection(moment: Moment<'_>) -> Result<(), Violation> {
    let mut held = BTreeSet::new();
    for link in moment.links.iter().filter(|link| link.state == LinkState::Live) {
        for side in Side::BOTH {
            let Some(id) = &link.ends[side] else {
                return Err(broken("I11", format!("live link {} has no {side} end", link.id)));
            };
            if !held.insert((side, id)) {
                return Err(broken("I11", format!("{side} record {id} is linked twice")));
            }
            if moment.tombstones.contains_key(&(side, id.clone())) {
                return Err(broken("I11", format!("live link {} holds a dead {id}", link.id)));
            }
        }
    }
    Ok(())
}

/// I12: what is not pinned agreed.
///
/// # Errors
/// The first baseline whose halves do not agree.
pub fn sound_baselines(moment: Moment<'_>) -> Result<(), Violation> {
    for link in moment.links {
        for rule in &moment.entity.fields {
            let Some(known) = link.baseline.get(&rule.name) else { continue };
            let current = known.fingerprint == rule.fingerprint && !known.pinned;
            if current && !rule.agree(moment.ids, &known.values.left, &known.values.right) {
                return Err(broken("I12", format!("{} of link {}: {known:?}", rule.name, link.id)));
            }
        }
    }
    Ok(())
}

/// I33: one row an item.
///
/// # Errors
/// The first row that comes twice.
pub fn rows_are_unique(rows: &[OpenRow]) -> Result<(), Violation> {
    let mut known = BTreeSet::new();
    let twice = rows.iter().find(|row| !known.insert(&row.id));
    twice.map_or(Ok(()), |row| Err(broken("I33", format!("{row:?}"))))
}

/// I34: an op writes a group so that afterwards all its members agree with the other record.
///
/// # Errors
/// The first group of which a part would stay behind.
pub fn groups_are_whole(moment: Moment<'_>, op: &Op) -> Result<(), Violation> {
    let OpKind::Update { changes, .. } = &op.kind else { return Ok(()) };
    let link = moment.links.iter().find(|link| link.id == op.link);
    let Some(ends) = link.and_then(|link| moment.ends(link)) else { return Ok(()) };
    for members in moment.entity.groups.values() {
        if !members.iter().any(|member| changes.contains_key(member)) {
            continue;
        }
        for rule in moment.entity.fields.iter().filter(|rule| members.contains(&rule.name)) {
            let agrees = ends
                .values(rule)
                .is_some_and(|values| rule.agree(moment.ids, values.left, values.right));
            if !changes.contains_key(&rule.name) && !agrees {
                return Err(broken("I34", format!("{} stays behind in {op:?}", rule.name)));
            }
        }
    }
    Ok(())
}
