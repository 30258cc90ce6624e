//! When a job runs next: a function of its schedule, its past and the time it was first looked at.
//!
//! A time that was missed is made up for once, however many went by: a run reads everything that changed since the
//! last one. A failure is tried again sooner or later than the schedule says, by its kind.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds};

/// Pause after the first failure in a row; it doubles with each further one.
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(30);
const LONGEST_PAUSE: TimeDelta = TimeDelta::minutes(15);
/// Until a route that another process held is looked at again.
const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(10);

/// How often a job runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// So long after the last start.
    Every(Duration),
    Cron(Box<Cron>),
}

impl Schedule {
    /// Reads a cron pattern of five fields, or of six with seconds.
    ///
    /// # Errors
    /// A sentence for a person.
    pub fn cron(text: &str) -> Result<Self, String> {
        let fields = text.split_whitespace().count();
        if !matches!(fields, 5 | 6) {
            return Err(format!(
                "`{text}` has {fields} fields; cron wants five, or six with seconds"
            ));
        }
        let parser = CronParser::builder().seconds(Seconds::Optional).build();
        let cron = parser.parse(text).map_err(|error| format!("`{text}` is no cron: {error}"))?;
        Ok(Self::Cron(Box::new(cron)))
    }

    /// The first time of the schedule after `last`, the last start; times of a cron are those of `zone`'s clocks.
    /// `None` for a cron that never comes again, such as 30 February.
    fn after(&self, last: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        match self {
            Self::Every(length) => {
                last.checked_add_signed(TimeDelta::from_std(*length).unwrap_or(TimeDelta::MAX))
            }
            Self::Cron(cron) => {
                let next = cron.find_next_occurrence(&last.with_timezone(&zone), false).ok()?;
                Some(next.with_timezone(&Utc))
            }
        }
    }
}

/// What a job's last run says about the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub ending: Ending,
    /// Failures in a row, the last one included.
    pub failures: u32,
}

impl Past {
    /// The past after one more run.
    #[must_use]
    pub fn after(
        &self,
        started_at: DateTime<Utc>,
        ended_at: DateTime<Utc>,
        ending: Ending,
    ) -> Self {
        let failures = match ending {
            Ending::Done => 0,
            Ending::Elsewhere => self.failures,
            Ending::Unreachable | Ending::Stopped => self.failures + 1,
        };
        Self { started_at: Some(started_at), ended_at: Some(ended_at), ending, failures }
    }
}

/// How a run ended, as far as the next one depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// It came to its end, whatever it found.
    #[default]
    Done,
    /// A side was out of reach: likely to pass soon.
    Unreachable,
    /// Another process holds the route: it makes the run, or it is looked for again shortly.
    Elsewhere,
    /// The budget is used up, or a person must change something: trying often is of no use.
    Stopped,
}

/// When the job runs next; a time that has passed means now. `since` is when the job was first looked at, and stands
/// for the last start of one that never ran: it runs at once by an interval, and at its next time by a cron.
pub fn next_run(
    schedule: &Schedule,
    zone: Tz,
    past: &Past,
    since: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let regular = match (past.started_at, schedule) {
        (Some(started_at), _) => schedule.after(started_at, zone),
        (None, Schedule::Every(_)) => Some(since),
        (None, Schedule::Cron(_)) => schedule.after(since, zone),
    };
    let again = past.ended_at.map(|ended_at| ended_at + pause(past.failures));
    match (past.ending, again) {
        (Ending::Done, _) | (_, None) => regular,
        (Ending::Unreachable, Some(again)) => Some(again),
        (Ending::Elsewhere, Some(_)) => past.ended_at.map(|ended_at| {
            let soon = ended_at + LOOK_AGAIN;
            schedule.after(ended_at, zone).map_or(soon, |regular| regular.min(soon))
        }),
        (Ending::Stopped, Some(again)) => regular.map(|regular| regular.max(again)),
    }
}

/// Half a minute, then twice as long each time, up to a quarter of an hour.
fn pause(failures: u32) -> TimeDelta {
    let doublings = failures.saturating_sub(1).min(10);
    (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone as _;

    use super::*;

    fn at(hour: u32, minute: u32) -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 3, 28, hour, minute, 0).single().expect("a valid time")
    }

    fn past(started: (u32, u32), ending: Ending, failures: u32) -> Past {
        let (hour, minute) = started;
        Past {
            started_at: Some(at(hour, minute)),
            ended_at: Some(at(hour, minute + 1)),
            ending,
            failures,
        }
    }

    #[test]
    fn given_a_past_when_the_next_run_is_asked_then_one_is_due_by_the_schedule_or_its_failure() {
        let every = Schedule::Every(Duration::from_mins(5));
        let often = Schedule::Every(Duration::from_secs(5));
        let daily = Schedule::Every(Duration::from_hours(24));
        let cron = Schedule::cron("0 * * * *").expect("a cron");
        let never = Schedule::cron("0 0 30 2 *");
        let done = |started| past(started, Ending::Done, 0);
        #[rustfmt::skip]
        let cases = [
            ("never ran: at once",             &every, Past::default(), Some(at(12, 30))),
            ("never ran: its next time",       &cron,  Past::default(), Some(at(13, 0))),
            ("regular",                        &every, done((12, 28)), Some(at(12, 33))),
            ("missed often: due once, at the first", &every, done((9, 0)), Some(at(9, 5))),
            ("cron",                           &cron,  done((12, 0)), Some(at(13, 0))),
            ("cron missed",                    &cron,  done((9, 0)), Some(at(10, 0))),
            ("out of reach: before the schedule", &daily, past((12, 0), Ending::Unreachable, 2), Some(at(12, 2))),
            ("out of reach: after the schedule", &every, past((12, 0), Ending::Unreachable, 9), Some(at(12, 16))),
            ("held elsewhere: looked at soon", &daily, past((12, 0), Ending::Elsewhere, 0), Some(at(12, 1) + LOOK_AGAIN)),
            ("held elsewhere: no later than the schedule", &often, past((12, 0), Ending::Elsewhere, 0), Some(at(12, 1) + TimeDelta::seconds(5))),
            ("stopped: not before the schedule", &daily, past((12, 0), Ending::Stopped, 1), Some(at(12, 0) + TimeDelta::days(1))),
            ("stopped: rarer than the schedule", &every, past((12, 0), Ending::Stopped, 9), Some(at(12, 16))),
        ];
        for (case, schedule, past, expected) in cases {
            assert_eq!(next_run(schedule, Tz::UTC, &past, at(12, 30)), expected, "{case}");
        }
        if let Ok(never) = never {
            assert_eq!(next_run(&never, Tz::UTC, &Past::default(), at(12, 30)), None);
        }
    }

    #[test]
    fn given_the_night_when_clocks_go_forward_then_a_cron_inside_the_gap_still_runs_that_day() {
        let cron = Schedule::cron("30 2 * * *").expect("a cron");
        let berlin = chrono_tz::Europe::Berlin;
        let evening = Utc.with_ymd_and_hms(2026, 3, 28, 20, 0, 0).single().expect("a valid time");

        let next = next_run(&cron, berlin, &Past::default(), evening).expect("it runs");

        let day = next.with_timezone(&berlin).date_naive();
        assert_eq!(day.to_string(), "2026-03-29", "{next}");
    }

    #[test]
    fn given_a_text_that_is_no_cron_when_read_then_it_says_why() {
        for (text, why) in [
            ("* * *", "has 3 fields"),
            ("61 * * * *", "is no cron"),
            ("a b c d e", "is no cron"),
            ("", "has 0 fields"),
        ] {
            let refused = Schedule::cron(text).expect_err(text);
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }
}
