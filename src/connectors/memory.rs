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
    /// Whose answers they are: those of another sign-in or host say nothing about this one.
    origin: String,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    answers: BTreeMap<String, Remembered>,
    changed: bool,
}

/// What goes from one process to the next.
#[derive(Serialize, Deserialize)]
struct Dump {
    origin: String,
    answers: BTreeMap<String, Remembered>,
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
        Self { lifetime, origin: String::new(), kept: Mutex::default() }
    }

    /// Binds it to one sign-in: `origin` is different for every other one.
    #[must_use]
    pub fn of(self, origin: impl Into<String>) -> Self {
        Self { origin: origin.into(), ..self }
    }

    /// Takes over what [`Memory::dump`] gave an earlier process with the same sign-in; what is unreadable is
    /// forgotten.
    pub fn restore(&self, kept: serde_json::Value) {
        let known = serde_json::from_value::<Dump>(kept).ok();
        if let Some(Dump { answers, .. }) = known.filter(|known| known.origin == self.origin) {
            *self.kept() = Kept { answers, changed: false };
        }
    }

    /// What is remembered, if that changed since the last call.
    pub fn dump(&self) -> Option<serde_json::Value> {
        let mut kept = self.kept();
        let all = std::mem::take(&mut kept.changed).then(|| {
            let (origin, answers) = (self.origin.clone(), kept.answers.clone());
            serde_json::to_value(Dump { origin, answers })
        })?;
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
    fn given_a_dump_when_restored_then_it_answers_alike_for_the_same_sign_in_and_is_not_dumped_again()
     {
        let (old, new) = (Memory::new(None), Memory::new(None));
        old.keep(
            "GET fields",
            Remembered { at: at(0), status: 200, body: serde_json::json!({ "a": 1 }) },
        );

        let dump = old.dump().unwrap();
        let another = Memory::new(None).of("another sign-in");
        another.restore(dump.clone());
        new.restore(dump);

        assert!(another.recall("GET fields", at(9)).is_none());
        assert_eq!(new.recall("GET fields", at(9)), old.recall("GET fields", at(9)));
        assert_eq!((old.dump(), new.dump()), (None, None));
    }
}
