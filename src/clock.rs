//! Time and chance, handed in by `main`: nothing else reads the machine's.

use std::sync::Arc;

use chrono::{DateTime, Utc};

/// Tells the time. Clones show the same time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>);

impl Clock {
    pub fn new(now: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Time now, UTC.
    pub fn now(&self) -> DateTime<Utc> {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

/// Makes IDs of runs and intents: unique, ascending.
#[derive(Clone)]
pub struct Ids(Arc<dyn Fn() -> String + Send + Sync>);

impl Ids {
    pub fn new(next: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self(Arc::new(next))
    }

    pub fn next(&self) -> String {
        (self.0)()
    }
}

/// What a process is given from outside: time, IDs, and its own name as a lease holder.
#[derive(Clone)]
pub struct Ambient {
    pub clock: Clock,
    pub ids: Ids,
    /// Host and process, shown to whoever finds the lease taken.
    pub holder: String,
    /// Whether a holder is known to be gone: a process of this machine that no longer runs.
    pub is_gone: fn(&str) -> bool,
}
