//! Pages of what waits for a person.

use std::collections::BTreeMap;

use crmsync_core::model::row::{Resolution, RowKind};
use crmsync_core::model::{EntityName, Pair, RouteName};

use super::history::History;
use super::{Conflict, SideFacts};
use crate::store::{RowFilter, StoreError, StoredRow};

/// Rows read at once while a page is filled.
const CHUNK: u64 = 200;

/// Which rows a list is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Conflicts, holds and matching questions.
    Conflicts,
    /// What a side refused.
    Failures,
}

impl Topic {
    pub const fn covers(self, kind: RowKind) -> bool {
        match kind {
            RowKind::Conflict | RowKind::Hold | RowKind::Match => matches!(self, Self::Conflicts),
            RowKind::Quarantine => matches!(self, Self::Failures),
        }
    }
}

/// What a page shows.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub topic: Topic,
    pub entity: Option<EntityName>,
    /// Also those already decided or gone.
    pub all: bool,
    /// Only rows that a person can decide.
    pub decidable: bool,
    /// ID of the last row of the page before.
    pub after: Option<String>,
    pub limit: usize,
}

/// One page of rows, by ID.
pub struct Page {
    pub rows: Vec<StoredRow>,
    /// What the next page comes after.
    pub next: Option<String>,
    /// Decisions that wait for the next run, by row.
    pub decided: BTreeMap<String, Resolution>,
}

/// Loads one page of a route's rows.
///
/// # Errors
/// When the store cannot be read.
pub async fn page(
    history: &History,
    route: &RouteName,
    wanted: &Wanted,
) -> Result<Page, StoreError> {
    let mut filter = RowFilter {
        entity: wanted.entity.clone(),
        open_only: !wanted.all,
        after: wanted.after.clone(),
        limit: Some(CHUNK),
        ..RowFilter::default()
    };
    let mut rows: Vec<StoredRow> = Vec::new();
    while rows.len() <= wanted.limit {
        let chunk = history.rows(route, &filter).await?;
        let Some(last) = chunk.last() else { break };
        filter.after = Some(last.row.id.0.clone());
        let fits = |stored: &StoredRow| {
            wanted.topic.covers(stored.row.kind)
                && (!wanted.decidable || !stored.row.choices().is_empty())
        };
        rows.extend(chunk.into_iter().filter(fits));
    }
    let more = rows.len() > wanted.limit;
    rows.truncate(wanted.limit);
    let next = rows.last().filter(|_| more).map(|stored| stored.row.id.0.clone());
    let ids: Vec<_> = rows.iter().map(|stored| stored.row.id.0.as_str()).collect();
    let decided = history.store().route(route).decisions_waiting(&ids).await?;
    let decided = decided.into_iter().map(|decision| (decision.row.0.clone(), decision)).collect();
    Ok(Page { rows, next, decided })
}

/// Lays rows of one route out.
///
/// # Errors
/// When the store cannot be read.
pub async fn lay_out(
    history: &History,
    route: &RouteName,
    rows: &[StoredRow],
    facts: &Pair<SideFacts>,
) -> Result<Vec<Conflict>, StoreError> {
    let labels = history.labels(route, rows.iter().map(|stored| &stored.row)).await?;
    Ok(rows.iter().map(|row| Conflict::new(route, row, facts, &labels)).collect())
}
