//! Parents before children.

use std::collections::BTreeSet;

use crate::model::{Entity, EntityName, FieldName};

/// Returns the indices of `entities` parents-first by their references, and the fields whose targets come later:
/// self references and cycles, which a second pass writes (semantics §12).
///
/// Entities that do not depend on each other keep the order given.
pub fn order(entities: &[Entity]) -> (Vec<usize>, Vec<(EntityName, FieldName)>) {
    let known: BTreeSet<&EntityName> = entities.iter().map(|entity| &entity.name).collect();
    let mut placed: BTreeSet<&EntityName> = BTreeSet::new();
    let mut remaining: Vec<usize> = (0..entities.len()).collect();
    let mut sequence = Vec::new();
    let mut deferred = Vec::new();
    while !remaining.is_empty() {
        let missing = |index: &usize| -> Vec<FieldName> {
            let entity = &entities[*index];
            let later = |target: &EntityName| {
                *target != entity.name && known.contains(target) && !placed.contains(target)
            };
            let fields = entity.references().filter(|(_, target)| later(target));
            fields.map(|(rule, _)| rule.name.clone()).collect()
        };
        // In a cycle, the entity that waits for the least goes first.
        let Some(next) = remaining.iter().copied().min_by_key(|index| missing(index).len()) else {
            break;
        };
        let entity = &entities[next];
        let own = entity.references().filter(|(_, target)| **target == entity.name);
        let own = own.map(|(rule, _)| rule.name.clone());
        deferred.extend(
            missing(&next).into_iter().chain(own).map(|field| (entity.name.clone(), field)),
        );
        remaining.retain(|index| *index != next);
        placed.insert(&entity.name);
        sequence.push(next);
    }
    (sequence, deferred)
}
