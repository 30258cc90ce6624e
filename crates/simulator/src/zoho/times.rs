//! Instants as Zoho writes them: whole seconds in the token user's zone, daylight saving included.

use std::cell::{Cell, RefCell};

use chrono::{DateTime, Datelike, NaiveDate, Offset, SecondsFormat, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

/// Renders instants in one zone; remembers the offset of the last quarter of an hour asked for.
pub(super) struct ZoneClock {
    zone: Tz,
    last: Cell<Option<(i64, i64)>>,
    /// The last second written: rows of one import share it.
    written: RefCell<(i64, String)>,
}

impl ZoneClock {
    pub(super) fn new(zone: Tz) -> Self {
        Self { zone, last: Cell::new(None), written: RefCell::default() }
    }

    /// `2026-01-10T09:15:00+01:00` for an instant in milliseconds.
    pub(super) fn millis(&self, millis: i64) -> String {
        let seconds = millis.div_euclid(1_000);
        let mut written = self.written.borrow_mut();
        if written.0 != seconds || written.1.is_empty() {
            *written = (seconds, self.write(seconds));
        }
        written.1.clone()
    }

    fn write(&self, seconds: i64) -> String {
        let offset = self.offset(seconds);
        let Some(local) = DateTime::from_timestamp(seconds + offset, 0) else {
            return String::new();
        };
        let (day, time) = (local.date_naive(), local.time());
        let (year, month, day) = (day.year(), day.month(), day.day());
        let (hour, minute, second) = (time.hour(), time.minute(), time.second());
        let (sign, east) = if offset < 0 { ('-', -offset / 60) } else { ('+', offset / 60) };
        let zone = format!("{sign}{:02}:{:02}", east / 60, east % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{zone}")
    }

    /// The same for a stored field value; anything else is given back as it is.
    pub(super) fn stored(&self, text: &str) -> String {
        parse(text).map_or_else(|| text.to_owned(), |at| self.millis(at.timestamp_millis()))
    }

    fn offset(&self, seconds: i64) -> i64 {
        let quarter = seconds.div_euclid(900);
        if let Some((seen, offset)) = self.last.get()
            && seen == quarter
        {
            return offset;
        }
        let offset = DateTime::from_timestamp(quarter * 900, 0).map_or(0, |at| {
            i64::from(self.zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc())
        });
        self.last.set(Some((quarter, offset)));
        offset
    }
}

/// An instant with an offset, as the API takes it.
pub(super) fn parse(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc())
}

/// The form in which instants are stored.
pub(super) fn store(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

pub(super) fn is_date(text: &str) -> bool {
    text.len() == 10 && NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok()
}
