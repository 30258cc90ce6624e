//! Whom to tell what about troubles that come and go: each once, again now and then, and once when it is over.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// A trouble is over once it stayed away for so long: one that comes and goes is one trouble.
const CALM: TimeDelta = TimeDelta::minutes(5);

/// What people were told of, by trouble.
pub type Told = BTreeMap<String, Trouble>;

/// A trouble that people know of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    pub message: String,
    pub since: DateTime<Utc>,
    pub told_at: DateTime<Utc>,
    /// When it was last seen gone.
    pub gone_at: Option<DateTime<Utc>>,
}

/// What to tell now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    Began(String),
    /// With the time since it began.
    Lasts(String, TimeDelta),
    Over(String),
}

/// Compares what is wrong now, by trouble, with what people know, and answers what they know afterwards and what to
/// tell them. A trouble that lasts is told again after `repeat`.
pub fn notices(
    told: &Told,
    wrong: &BTreeMap<String, String>,
    repeat: TimeDelta,
    now: DateTime<Utc>,
) -> (Told, Vec<Notice>) {
    let (mut after, mut notices) = (Told::new(), Vec::new());
    for (key, trouble) in told.iter().filter(|(key, _)| !wrong.contains_key(*key)) {
        let gone_at = trouble.gone_at.unwrap_or(now);
        if now - gone_at >= CALM {
            notices.push(Notice::Over(trouble.message.clone()));
        } else {
            after.insert(key.clone(), Trouble { gone_at: Some(gone_at), ..trouble.clone() });
        }
    }
    for (key, message) in wrong {
        let known = told.get(key);
        let due = known.is_none_or(|known| now - known.told_at >= repeat);
        let since = known.map_or(now, |known| known.since);
        match known {
            None => notices.push(Notice::Began(message.clone())),
            Some(_) if due => notices.push(Notice::Lasts(message.clone(), now - since)),
            Some(_) => {}
        }
        let told_at = known.filter(|_| !due).map_or(now, |known| known.told_at);
        let trouble = Trouble { message: message.clone(), since, told_at, gone_at: None };
        after.insert(key.clone(), trouble);
    }
    (after, notices)
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone as _;
    use proptest::prelude::*;

    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 3, 2, 9, 0, 0).single().expect("a valid time")
            + TimeDelta::minutes(minute)
    }

    #[test]
    fn given_troubles_over_time_when_judged_then_each_is_told_once_again_when_it_lasts_and_when_over()
     {
        let down = || BTreeMap::from([("crm".to_owned(), "crm is down".to_owned())]);
        let fine = BTreeMap::new;
        let began = || Notice::Began("crm is down".into());
        let lasts = |minutes| Notice::Lasts("crm is down".into(), TimeDelta::minutes(minutes));
        let over = || Notice::Over("crm is down".into());
        #[rustfmt::skip]
        let steps = [
            ("fine",                      0, fine(), vec![]),
            ("begins",                    1, down(), vec![began()]),
            ("is known",                  2, down(), vec![]),
            ("goes",                      3, fine(), vec![]),
            ("comes back at once",        4, down(), vec![]),
            ("lasts",                    61, down(), vec![lasts(60)]),
            ("is known again",           62, down(), vec![]),
            ("goes once more",           63, fine(), vec![]),
            ("stays away, not for long", 67, fine(), vec![]),
            ("is over",                  68, fine(), vec![over()]),
            ("stays over",               69, fine(), vec![]),
            ("begins anew",              70, down(), vec![began()]),
        ];
        let mut told = Told::new();
        for (case, minute, wrong, expected) in steps {
            let (after, said) = notices(&told, &wrong, TimeDelta::hours(1), at(minute));
            assert_eq!(said, expected, "{case}");
            told = after;
        }
    }

    proptest! {
        #[test]
        fn given_any_history_when_judged_then_every_end_follows_a_beginning_and_none_is_told_twice(
            history in proptest::collection::vec((0_i64..30, any::<bool>()), 0..60)
        ) {
            let (mut told, mut minute, mut open) = (Told::new(), 0, false);
            for (step, is_down) in history {
                minute += step;
                let wrong = if is_down {
                    BTreeMap::from([("crm".to_owned(), "down".to_owned())])
                } else {
                    BTreeMap::new()
                };
                let (after, said) = notices(&told, &wrong, TimeDelta::hours(1), at(minute));
                for notice in said {
                    match notice {
                        Notice::Began(_) => { prop_assert!(!open); open = true; }
                        Notice::Lasts(..) => prop_assert!(open),
                        Notice::Over(_) => { prop_assert!(open); open = false; }
                    }
                }
                told = after;
                prop_assert_eq!(open, !told.is_empty());
            }
        }
    }
}
