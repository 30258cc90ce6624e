//! What connections cost, remembered by the hour: all routes and processes of a store share a connection's budget.

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};

use crate::connectors::Cost;
use crate::store::{Store, StoreError};

/// The hour that an instant lies in, as the store calls it.
pub(super) fn hour(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H").to_string()
}

/// Units of the last 24 hours by time, oldest first. An hour counts as spent at its end, which errs on the safe side.
pub(super) async fn recent_units(
    store: &Store,
    connection: &str,
    now: DateTime<Utc>,
) -> Result<Vec<(DateTime<Utc>, u64)>, StoreError> {
    let hours = store.spent_from(connection, &hour(now - TimeDelta::days(1))).await?;
    let ends_at = |hour: &str| {
        let begins = DateTime::parse_from_rfc3339(&format!("{hour}:00:00Z")).ok()?.to_utc();
        Some((begins + TimeDelta::seconds(3_599)).min(now))
    };
    Ok(hours.iter().filter_map(|(hour, units, _)| Some((ends_at(hour)?, *units))).collect())
}

/// What a connection cost in the last 24 hours, whole hours counted.
///
/// # Errors
/// When the store cannot be read.
pub async fn last_day(
    store: &Store,
    connection: &str,
    now: DateTime<Utc>,
) -> Result<Cost, StoreError> {
    let begins = (now - TimeDelta::hours(23)).duration_trunc(TimeDelta::hours(1)).unwrap_or(now);
    let hours = store.spent_from(connection, &hour(begins)).await?;
    let add = |sum: Cost, (_, units, calls): &(String, u64, u64)| Cost {
        calls: sum.calls + calls,
        units: sum.units + units,
    };
    Ok(hours.iter().fold(Cost::default(), add))
}
