//! Notification channels and what is due to be posted to them.

/// What happened to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Insert,
    Update,
    Delete,
}

/// One write, before it is matched with channels.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) module: String,
    pub(super) id: u64,
    pub(super) operation: Operation,
    pub(super) changed: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Watches {
    seed: u64,
    events: Vec<Event>,
    channels: Vec<()>,
}

impl Watches {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, events: Vec::new(), channels: Vec::new() }
    }

    /// Remembers a write until the call that made it is over.
    pub(super) fn note(&mut self, event: Event) {
        if !self.channels.is_empty() {
            self.events.push(event);
        }
    }
}
