//! True time, and the three clocks that show it, each with an error of its own.

use chrono::{DateTime, TimeDelta, Utc};
use crmsync_core::model::{Pair, Side};
use crmsync_simulator::clock::Clock as ServerClock;

pub(crate) struct Clockwork {
    truth: DateTime<Utc>,
    /// How far our clock is ahead of the truth.
    ours: TimeDelta,
    theirs: Pair<TimeDelta>,
    faces: Pair<ServerClock>,
}

impl Clockwork {
    pub(crate) fn new(start: DateTime<Utc>, ours: TimeDelta, theirs: Pair<TimeDelta>) -> Self {
        let faces = theirs.as_ref().map(|error| ServerClock::standing(start + *error));
        Self { truth: start, ours, theirs, faces }
    }

    pub(crate) fn face(&self, side: Side) -> &ServerClock {
        &self.faces[side]
    }

    pub(crate) const fn truth(&self) -> DateTime<Utc> {
        self.truth
    }

    pub(crate) fn ours(&self) -> DateTime<Utc> {
        self.truth + self.ours
    }

    pub(crate) fn advance(&mut self, by: TimeDelta) {
        self.truth += by;
        self.show();
    }

    /// Steps one clock: ours, or a server's.
    pub(crate) fn step(&mut self, whose: Option<Side>, by: TimeDelta) {
        match whose {
            Some(side) => self.theirs[side] += by,
            None => self.ours += by,
        }
        self.show();
    }

    fn show(&self) {
        for side in Side::BOTH {
            self.faces[side].set(self.truth + self.theirs[side]);
        }
    }
}
