//! What the records that others refer to are called on the other side: looked up in the store before planning.

use std::collections::{BTreeMap, BTreeSet};

use crmsync_core::model::record::Presence;
use crmsync_core::model::state::{Counterpart, Identities, Subject};
use crmsync_core::model::{Entity, EntityName, LinkId, Observation, Pair, RecordId, Side, Value};

use crate::store::{RouteReader, StoreError};

type Key = (EntityName, Side, RecordId);

/// Counterparts of every record that a chunk of subjects refers to.
#[derive(Clone, Debug, Default)]
pub struct KnownIdentities(BTreeMap<Key, Counterpart>);

impl Identities for KnownIdentities {
    fn counterpart(&self, entity: &EntityName, side: Side, id: &RecordId) -> Counterpart {
        let key = (entity.clone(), side, id.clone());
        self.0.get(&key).cloned().unwrap_or(Counterpart::Pending)
    }
}

/// What this plan will make known once it is applied: counterparts it creates, and records it links.
#[derive(Clone, Debug, Default)]
pub struct PlannedLinks {
    created: BTreeMap<Key, LinkId>,
    linked: BTreeMap<Key, RecordId>,
}

impl PlannedLinks {
    /// The plan creates the counterpart of record `id`.
    pub fn creates(&mut self, entity: &EntityName, side: Side, id: &RecordId, link: &LinkId) {
        self.created.insert((entity.clone(), side, id.clone()), link.clone());
    }

    /// The plan links two records that both exist.
    pub fn links(&mut self, entity: &EntityName, ends: &Pair<RecordId>) {
        for side in Side::BOTH {
            let key = (entity.clone(), side, ends[side].clone());
            self.linked.insert(key, ends[side.other()].clone());
        }
    }

    fn counterpart(&self, key: &Key) -> Option<Counterpart> {
        let linked = self.linked.get(key).map(|other| Counterpart::Known(other.clone()));
        linked.or_else(|| self.created.get(key).map(|link| Counterpart::Planned(link.clone())))
    }
}

impl KnownIdentities {
    /// Loads the counterparts of all references of `subjects`; `planned` are creates of the same plan.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn load(
        store: &RouteReader,
        entity: &Entity,
        subjects: &[Subject],
        planned: &PlannedLinks,
    ) -> Result<Self, StoreError> {
        let observations = subjects.iter().flat_map(|subject| {
            [subject.observations.left.as_ref(), subject.observations.right.as_ref()]
                .into_iter()
                .flatten()
        });
        let mut wanted = referred(entity, observations);
        for subject in subjects {
            for (rule, target) in entity.references() {
                let agreed = subject.link.as_ref().and_then(|link| link.baseline.get(&rule.name));
                for side in Side::BOTH {
                    if let Some(Value::Reference(id)) = agreed.map(|agreed| &agreed.values[side]) {
                        wanted.entry((target.clone(), side)).or_default().insert(id.clone());
                    }
                }
            }
        }
        Self::resolve(store, wanted, planned).await
    }

    /// Loads the counterparts of the references of one page of observations.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn of_page(
        store: &RouteReader,
        entity: &Entity,
        observations: &[Observation],
    ) -> Result<Self, StoreError> {
        Self::resolve(store, referred(entity, observations.iter()), &PlannedLinks::default()).await
    }

    async fn resolve(
        store: &RouteReader,
        wanted: BTreeMap<(EntityName, Side), BTreeSet<RecordId>>,
        planned: &PlannedLinks,
    ) -> Result<Self, StoreError> {
        let mut known = BTreeMap::new();
        for ((entity, side), ids) in wanted {
            let linked = store.counterparts(&entity, side, &ids).await?;
            let unlinked: BTreeSet<_> = ids
                .iter()
                .filter(|id| linked.get(*id).is_none_or(|(_, other)| other.is_none()))
                .cloned()
                .collect();
            let presence = store.presence(&entity, side, &unlinked).await?;
            for id in ids {
                let key = (entity.clone(), side, id);
                let counterpart = match linked.get(&key.2) {
                    Some((_, Some(other))) => Counterpart::Known(other.clone()),
                    Some((_, None)) | None => planned
                        .counterpart(&key)
                        .unwrap_or_else(|| unlinked_counterpart(presence.get(&key.2))),
                };
                known.insert(key, counterpart);
            }
        }
        Ok(Self(known))
    }
}

/// An unlinked record can be linked later only while it is alive and in scope.
const fn unlinked_counterpart(presence: Option<&(Presence, bool)>) -> Counterpart {
    match presence {
        Some((Presence::Alive, true)) => Counterpart::Pending,
        Some((Presence::Alive, false) | (Presence::Deleted | Presence::Invisible, _)) | None => {
            Counterpart::Unresolved
        }
    }
}

fn referred<'a>(
    entity: &Entity,
    observations: impl Iterator<Item = &'a Observation>,
) -> BTreeMap<(EntityName, Side), BTreeSet<RecordId>> {
    let rules: Vec<_> = entity.references().collect();
    let mut wanted: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    if rules.is_empty() {
        return wanted;
    }
    for observation in observations {
        for (rule, target) in &rules {
            if let Some(Value::Reference(id)) = observation.fields.get(&rule.name) {
                wanted
                    .entry(((*target).clone(), observation.key.side))
                    .or_default()
                    .insert(id.clone());
            }
        }
    }
    wanted
}
