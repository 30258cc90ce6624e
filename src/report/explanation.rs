//! Where a record's values come from, and what keeps them from flowing.

use crmsync_core::model::state::SubjectKey;
use crmsync_core::model::{
    EntityName, FieldName, Link, Observation, Pair, RecordId, RouteName, Side, Value,
};
use serde::Serialize;

use super::history::History;
use crate::service::Labels;
use crate::store::{Effect, RowFilter, StoreError, StoredRow};

/// Everything the store knows of one record.
#[derive(Serialize)]
pub struct Explanation {
    pub link: Option<Link>,
    pub observations: Pair<Option<Observation>>,
    pub rows: Vec<StoredRow>,
    pub effects: Vec<Effect>,
    #[serde(skip)]
    pub entity: EntityName,
    #[serde(skip)]
    pub labels: Labels,
}

impl Explanation {
    /// A value as people read it on a side.
    pub fn value(&self, field: &FieldName, side: Side, value: &Value) -> String {
        self.labels.value(&self.entity, field, side, value)
    }
}

/// Explains the record `id` of either side; `None` when the route does not know it.
///
/// # Errors
/// When the store cannot be read.
pub async fn explain(
    history: &History,
    route: &RouteName,
    entity: &EntityName,
    id: &RecordId,
) -> Result<Option<Explanation>, StoreError> {
    let Some(subject) = history.subject(route, entity, id).await? else { return Ok(None) };
    let (link, observations) = (subject.link, subject.observations);
    let ends = Side::BOTH.into_iter().filter_map(|side| observations[side].as_ref());
    let ends = ends.map(|observation| SubjectKey::Record(observation.key.clone()));
    let about = link.iter().map(|link| SubjectKey::Link(link.id.clone())).chain(ends).collect();
    let filter =
        RowFilter { entity: Some(entity.clone()), open_only: true, about, ..RowFilter::default() };
    let rows = history.rows(route, &filter).await?;
    let labels = history.labels(route, rows.iter().map(|stored| &stored.row)).await?;
    let effects = match &link {
        Some(link) => history.effects_of(route, &link.id).await?,
        None => Vec::new(),
    };
    Ok(Some(Explanation { link, observations, rows, effects, entity: entity.clone(), labels }))
}
