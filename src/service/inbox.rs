//! What reached a route since its last run becomes state of the sync: decisions, retries, hints.

use std::collections::BTreeMap;

use crmsync_core::model::{EntityName, RecordId, Side};

use super::error::ServiceError;
use super::run::RunContext;
use crate::store::{Message, RouteStore};

/// Messages taken in at once.
const BATCH: u64 = 500;

/// Takes in everything that waits. Safe to stop at any line: what was taken in twice is the same.
pub(super) async fn take_in(run: &RunContext<'_>, store: &RouteStore) -> Result<(), ServiceError> {
    loop {
        let batch = store.inbox(BATCH).await?;
        if batch.is_empty() {
            return Ok(());
        }
        let mut hints: BTreeMap<(EntityName, Side), Vec<(RecordId, String)>> = BTreeMap::new();
        for waiting in &batch {
            match &waiting.message {
                // A row that closed meanwhile has nothing left to decide.
                Message::Decision(decision) if store.row(&decision.row.0).await?.is_some() => {
                    store.resolve(decision).await?;
                }
                Message::Decision(_) => {}
                Message::Retry(subject) => store.retry(subject).await?,
                Message::Hint { side, module, record } => {
                    let entities = run.route.entities.iter();
                    for entity in entities.filter(|entity| entity.modules[*side] == *module) {
                        let hints = hints.entry((entity.name.clone(), *side)).or_default();
                        hints.push((record.clone(), "webhook".to_owned()));
                    }
                }
            }
        }
        for ((entity, side), hints) in hints {
            store.mark_dirty(&entity, side, &hints, run.now()).await?;
        }
        store.taken_in(&batch).await?;
    }
}
