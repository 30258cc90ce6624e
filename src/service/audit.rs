//! Compares both sides whole and tells how much is in sync. Plans nothing, writes nothing; the store it fills is a
//! copy.

use std::collections::BTreeMap;

use crmsync_core::engine::audit::{Standing, compare};
use crmsync_core::engine::merge::Unit;
use crmsync_core::model::state::Subject;
use crmsync_core::model::{Entity, EntityName, FieldName, Pair, RecordId, Side};
use serde::Serialize;

use super::error::ServiceError;
use super::identities::{KnownIdentities, PlannedLinks};
use super::run::{RunContext, observe_all, prepare};
use crate::connectors::Cost;
use crate::store::RouteStore;

/// Subjects compared at once.
const CHUNK: u64 = 5_000;
/// Differences that are kept to be shown, by entity.
const EXAMPLES: usize = 50;

/// How much of a route is in sync.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AuditReport {
    pub entities: BTreeMap<EntityName, EntityAudit>,
    /// What reading cost.
    pub spent: Pair<Cost>,
}

/// How much of one entity is in sync.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EntityAudit {
    /// Pairs that agree in every mapped field.
    pub in_sync: u64,
    /// Pairs that differ in at least one field.
    pub differing: u64,
    /// Pairs that differ only where that was accepted: by a person, or because a side stores values its own way.
    pub accepted: u64,
    /// Links one of whose records is gone or could not be read.
    pub incomplete: u64,
    /// Records whose counterpart is missing, by the side they are on.
    pub alone: Pair<u64>,
    /// How many pairs differ in each field.
    pub fields: BTreeMap<FieldName, u64>,
    /// The first of what is not in sync.
    pub examples: Vec<Difference>,
}

/// Records that are not in sync.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub records: Pair<Option<RecordId>>,
    /// Empty when a whole record is missing.
    pub fields: Vec<FieldName>,
}

impl EntityAudit {
    /// Pairs and lone records that are or should be in sync; accepted differences count neither way.
    pub fn compared(&self) -> u64 {
        self.in_sync + self.differing + self.incomplete + self.alone.left + self.alone.right
    }

    fn add(&mut self, subject: &Subject, standing: Standing) {
        let mut fields = Vec::new();
        match standing {
            Standing::InSync => return self.in_sync += 1,
            Standing::Outside => return,
            Standing::Differs { open, .. } if open.is_empty() => return self.accepted += 1,
            Standing::Differs { open, .. } => {
                self.differing += 1;
                for field in &open {
                    *self.fields.entry(field.clone()).or_default() += 1;
                }
                fields = open;
            }
            Standing::Incomplete => self.incomplete += 1,
            Standing::Alone(side) => self.alone[side] += 1,
        }
        if self.examples.len() < EXAMPLES {
            self.examples.push(Difference { records: records(subject), fields });
        }
    }
}

impl AuditReport {
    /// Share of what was compared that is in sync; 100 when there was nothing to compare.
    pub fn percent(&self) -> f64 {
        let sum = |of: fn(&EntityAudit) -> u64| self.entities.values().map(of).sum::<u64>();
        percent(sum(|entity| entity.in_sync), sum(EntityAudit::compared))
    }

    pub fn is_in_sync(&self) -> bool {
        self.entities.values().all(|entity| entity.in_sync == entity.compared())
    }
}

/// `part` of `whole` in percent. Rounded down, so that 100 means all of it.
#[expect(clippy::cast_precision_loss, reason = "counts of records are far below 2^52")]
pub fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 100.0;
    }
    (part.saturating_mul(10_000) / whole) as f64 / 100.0
}

/// Reads both sides into `store`, a copy, and compares what it then holds.
pub(super) async fn audit(
    run: &RunContext<'_>,
    store: &RouteStore,
) -> Result<BTreeMap<EntityName, EntityAudit>, ServiceError> {
    let meta = store.meta().await?;
    let scope = prepare(run, store, &meta).await?;
    observe_all(run, store, &meta, &scope).await?;
    let mut entities = BTreeMap::new();
    for entity in run.entities() {
        entities.insert(entity.name.clone(), compare_entity(run, store, entity).await?);
    }
    Ok(entities)
}

async fn compare_entity(
    run: &RunContext<'_>,
    store: &RouteStore,
    entity: &Entity,
) -> Result<EntityAudit, ServiceError> {
    store.touch_all(&entity.name).await?;
    let total = store.attention_count(&entity.name).await?;
    run.progress.phase(&format!("comparing {}", entity.name), Some(total));
    let (units, nothing_planned) = (Unit::all(entity), PlannedLinks::default());
    let (mut audit, mut after) = (EntityAudit::default(), None);
    loop {
        run.check_cancelled()?;
        let subjects = store.attention(&entity.name, after.as_ref(), CHUNK, run.now()).await?;
        let Some(last) = subjects.last() else { return Ok(audit) };
        after = Some(last.key());
        let ids = KnownIdentities::load(store, entity, &subjects, &nothing_planned).await?;
        for subject in &subjects {
            audit.add(subject, compare(entity, &units, &ids, subject));
        }
        run.progress.advance(subjects.len() as u64);
    }
}

fn records(subject: &Subject) -> Pair<Option<RecordId>> {
    if let Some(link) = &subject.link {
        return link.ends.clone();
    }
    let id = |side: Side| subject.observations[side].as_ref().map(|seen| seen.key.id.clone());
    Pair::new(id(Side::Left), id(Side::Right))
}
