//! The forms of time in the API.

use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, Utc};

use super::table::Millis;

pub(super) const DAY: Millis = 86_400_000;

pub(super) fn moment(millis: Millis) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

/// `2026-01-31T09:00:00Z`, as v2 entities have it.
pub(super) fn v2(millis: Millis) -> String {
    moment(millis).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// `2026-01-31 09:00:00`, as v1 entities have it.
pub(super) fn v1(millis: Millis) -> String {
    moment(millis).format("%Y-%m-%d %H:%M:%S").to_string()
}

/// `2026-01-31T09:00:00.702Z`, as leads and webhooks have it.
pub(super) fn exact(millis: Millis) -> String {
    moment(millis).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// RFC 3339 text in v1 form; other text as it is.
pub(super) fn to_v1(text: &str) -> String {
    DateTime::parse_from_rfc3339(text)
        .map_or_else(|_| text.to_owned(), |time| v1(time.timestamp_millis()))
}

/// Reads RFC 3339 with whole seconds; a fraction is refused like any other error.
pub(super) fn parse_whole(text: &str) -> Option<Millis> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    (!text.contains('.')).then(|| time.timestamp_millis())
}

/// Reads RFC 3339, or the v1 form, which means UTC.
pub(super) fn parse_any(text: &str) -> Option<Millis> {
    let naive = || {
        chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S")
            .ok()
            .map(|time| time.and_utc())
    };
    let time = DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc()).or_else(naive)?;
    Some(time.timestamp_millis())
}

pub(super) fn is_date(text: &str) -> bool {
    text.len() == 10 && NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok()
}

/// `HH:MM` or `HH:MM:SS`, answered as `HH:MM:SS`.
pub(super) fn of_day(text: &str) -> Option<String> {
    let time = NaiveTime::parse_from_str(text, "%H:%M:%S")
        .or_else(|_| NaiveTime::parse_from_str(text, "%H:%M"));
    time.ok().map(|time| time.format("%H:%M:%S").to_string())
}

/// The date of a moment in an IANA zone; UTC when the zone is unknown.
pub(super) fn local_date(millis: Millis, zone: &str) -> String {
    let zone: chrono_tz::Tz = zone.parse().unwrap_or(chrono_tz::UTC);
    moment(millis).with_timezone(&zone).format("%Y-%m-%d").to_string()
}
