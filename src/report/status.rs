//! Each route at a glance: how far behind it is, what waits, what the last day cost.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use crmsync_core::model::{EntityName, Pair, RouteName, Side};
use serde::Serialize;

use super::history::History;
use super::kind_name;
use crate::config::{Config, Connection};
use crate::connectors::Cost;
use crate::store::{EntityCounts, RowFilter, RunRecord, StoreError};

/// One route with what waits in it.
#[derive(Clone, Debug, Serialize)]
pub struct RouteStatus {
    #[serde(flatten)]
    pub glance: Glance,
    /// Open rows by kind.
    pub open: BTreeMap<&'static str, u64>,
}

/// One route at a glance: cheap, however much waits.
#[derive(Clone, Debug, Serialize)]
pub struct Glance {
    pub route: RouteName,
    /// Names of its connections.
    pub sides: Pair<String>,
    pub last_run: Option<RunRecord>,
    pub entities: Vec<EntityStatus>,
    /// The run that was taken back, while a person has not chosen.
    pub paused: Option<String>,
    pub last_full: Option<DateTime<Utc>>,
    /// What its connections cost in the last 24 hours.
    pub spent: Pair<Cost>,
    /// Units that crmsync may use in a day, where that is configured.
    pub budget: Pair<Option<u64>>,
}

/// What the store holds of one entity.
#[derive(Clone, Debug, Serialize)]
pub struct EntityStatus {
    pub entity: EntityName,
    /// Alive records by side, and how many of them are pairs.
    pub records: Pair<u64>,
    pub linked: u64,
    pub open_rows: u64,
    /// Records that the next run looks at again.
    pub attention: u64,
    /// Seconds since the side was read up to, by side; `None` before the first listing.
    pub lag_seconds: Pair<Option<i64>>,
}

/// Loads what a route has come to.
///
/// # Errors
/// When the store cannot be read.
pub async fn load(
    history: &History,
    config: &Config,
    route: &RouteName,
    now: DateTime<Utc>,
) -> Result<RouteStatus, StoreError> {
    let filter = RowFilter { open_only: true, ..RowFilter::default() };
    let mut open: BTreeMap<&'static str, u64> = BTreeMap::new();
    for stored in history.rows(route, &filter).await? {
        *open.entry(kind_name(stored.row.kind)).or_default() += 1;
    }
    let counts = history.counts(route).await?;
    Ok(RouteStatus { glance: glance(history, config, route, counts, now).await?, open })
}

/// What the store holds of each entity.
pub type Counts = BTreeMap<EntityName, EntityCounts>;

/// The same without a look at each row that waits, from what was counted.
///
/// # Errors
/// When the store cannot be read.
pub async fn glance(
    history: &History,
    config: &Config,
    route: &RouteName,
    counts: Counts,
    now: DateTime<Utc>,
) -> Result<Glance, StoreError> {
    let runs = history.runs(route, 1).await?;
    let mut entities = Vec::new();
    for (entity, counts) in counts {
        let mut lag_seconds = Pair::new(None, None);
        for side in Side::BOTH {
            let read_to = history.watermark(route, &entity, side).await?;
            lag_seconds[side] = read_to.map(|at| (now - at).num_seconds().max(0));
        }
        let records = Pair::new(counts.left, counts.right);
        let (linked, open_rows, attention) = (counts.links, counts.open_rows, counts.attention);
        entities.push(EntityStatus { entity, records, linked, open_rows, attention, lag_seconds });
    }
    let meta = history.meta(route).await?;
    Ok(Glance {
        route: route.clone(),
        sides: sides(config, route),
        entities,
        paused: meta.paused,
        last_full: meta.last_full,
        spent: spent(history, config, route, now).await?,
        budget: budget(config, route),
        last_run: runs.into_iter().next(),
    })
}

/// What both connections cost in the last 24 hours, whoever used them.
async fn spent(
    history: &History,
    config: &Config,
    route: &RouteName,
    now: DateTime<Utc>,
) -> Result<Pair<Cost>, StoreError> {
    let names = sides(config, route);
    let mut spent = Pair::default();
    for side in Side::BOTH {
        spent[side] = history.spent(&names[side], now).await?;
    }
    Ok(spent)
}

fn budget(config: &Config, route: &RouteName) -> Pair<Option<u64>> {
    sides(config, route).map(|name| daily_budget(config, &name))
}

/// Units that crmsync may use of a connection in a day, where that is configured.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a checked share of a day's units, which are far below 2^52"
)]
pub fn daily_budget(config: &Config, connection: &str) -> Option<u64> {
    let shared = match config.connections.get(connection)? {
        Connection::Zoho(zoho) => &zoho.shared,
        Connection::Pipedrive(pipedrive) => &pipedrive.shared,
        Connection::Sql(_) => return None,
    };
    shared.budget.daily.map(|daily| (daily as f64 * shared.budget.share) as u64)
}

/// Names of a route's connections.
pub fn sides(config: &Config, route: &RouteName) -> Pair<String> {
    let unknown = || Pair::new("left".to_owned(), "right".to_owned());
    config.routes.get(route).map_or_else(unknown, |route| route.sides.clone())
}

/// A span in its largest unit that is not zero: `45 s`, `3 min`, `5 h`, `2 d`.
pub fn span(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}
