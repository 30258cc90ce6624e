//! Server time: the machine's, shifted, or standing still until a test moves it.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};

/// A server's clock. Clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Mutex<Face>>);

#[derive(Clone, Copy, Debug)]
enum Face {
    Running { offset: TimeDelta },
    Standing { at: DateTime<Utc> },
}

impl Clock {
    /// Follows the machine's clock, `offset` ahead of it (negative: behind).
    pub fn running(offset: TimeDelta) -> Self {
        Self(Arc::new(Mutex::new(Face::Running { offset })))
    }

    /// Stands still at `at` until [`Clock::advance`] or [`Clock::set`].
    pub fn standing(at: DateTime<Utc>) -> Self {
        Self(Arc::new(Mutex::new(Face::Standing { at })))
    }

    pub fn now(&self) -> DateTime<Utc> {
        match *self.face() {
            Face::Running { offset } => machine_now() + offset,
            Face::Standing { at } => at,
        }
    }

    /// Moves the clock by `by`, forwards or (a stepping server) backwards.
    pub fn advance(&self, by: TimeDelta) {
        let mut face = self.face();
        *face = match *face {
            Face::Running { offset } => Face::Running { offset: offset + by },
            Face::Standing { at } => Face::Standing { at: at + by },
        };
    }

    /// Stops the clock at `at`.
    pub fn set(&self, at: DateTime<Utc>) {
        *self.face() = Face::Standing { at };
    }

    fn face(&self) -> std::sync::MutexGuard<'_, Face> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where a simulated server looks at the machine's clock")]
fn machine_now() -> DateTime<Utc> {
    Utc::now()
}
