//! Answers to metadata reads, kept between processes: an idle run asks only for what changed.
//!
//! What is kept is the side's own answer, so that a connector decodes it as if it had just come.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Metadata answers of one connection, by path and query.
#[derive(Debug)]
pub struct Memory {
    /// How long an answer is good for; `None`: for ever.
    lifetime: Option<Duration>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    answers: BTreeMap<String, Remembered>,
    changed: bool,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    pub at: DateTime<Utc>,
    pub status: u16,
    pub body: serde_json::Value,
}

impl Memory {
    /// Remembers nothing yet.
    pub fn new(lifetime: Option<Duration>) -> Self {
        Self { lifetime, kept: Mutex::default() }
    }

    /// Takes over what [`Memory::dump`] gave an earlier process; what is unreadable is forgotten.
    pub fn restore(&self, kept: serde_json::Value) {
        if let Ok(answers) = serde_json::from_value(kept) {
            *self.kept() = Kept { answers, changed: false };
        }
    }

    /// What is remembered, if that changed since the last call.
    pub fn dump(&self) -> Option<serde_json::Value> {
        let mut kept = self.kept();
        let all = std::mem::take(&mut kept.changed).then(|| serde_json::to_value(&kept.answers))?;
        all.ok()
    }

    /// The answer to `request`, if it is fresh at `now`.
    pub fn recall(&self, request: &str, now: DateTime<Utc>) -> Option<Remembered> {
        let known = self.kept().answers.get(request).cloned()?;
        let fresh =
            self.lifetime.is_none_or(|most| (now - known.at).to_std().is_ok_and(|age| age < most));
        fresh.then_some(known)
    }

    pub fn keep(&self, request: &str, answer: Remembered) {
        let mut kept = self.kept();
        kept.answers.insert(request.to_owned(), answer);
        kept.changed = true;
    }

    /// Forgets everything: the next read asks the side.
    pub fn forget(&self) {
        *self.kept() = Kept { answers: BTreeMap::new(), changed: true };
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn given_an_answer_when_its_lifetime_ends_then_it_is_asked_for_again() {
        let memory = Memory::new(Some(Duration::from_mins(1)));

        memory.keep(
            "GET fields",
            Remembered { at: at(0), status: 200, body: serde_json::json!([1]) },
        );

        assert!(memory.recall("GET fields", at(59)).is_some());
        assert!(memory.recall("GET fields", at(60)).is_none());
        assert!(memory.recall("GET other", at(0)).is_none());
    }

    #[test]
    fn given_a_dump_when_restored_then_it_answers_alike_and_is_not_dumped_again() {
        let (old, new) = (Memory::new(None), Memory::new(None));
        old.keep(
            "GET fields",
            Remembered { at: at(0), status: 200, body: serde_json::json!({ "a": 1 }) },
        );

        new.restore(old.dump().unwrap());

        assert_eq!(new.recall("GET fields", at(9)), old.recall("GET fields", at(9)));
        assert_eq!((old.dump(), new.dump()), (None, None));
    }
}
