//! Our clock, handed in by `main`: nothing else reads the machine's.

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
