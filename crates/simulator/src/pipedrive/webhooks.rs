//! Subscriptions to events.

use serde_json::Value;

use super::kind::Kind;
use super::state::{Actor, State};
use super::table::{Millis, Version};

#[derive(Default)]
pub(super) struct Webhooks {
    hooks: Vec<Value>,
}

impl Webhooks {
    pub(super) fn new(_seed: u64) -> Self {
        Self::default()
    }

    pub(super) fn uninstall(&mut self) {
        self.hooks.clear();
    }
}

impl State {
    pub(super) fn announce(
        &mut self,
        _kind: Kind,
        _id: i64,
        _before: Option<&Version>,
        _by: &Actor,
        _now: Millis,
    ) {
    }

    pub(super) fn recount_deal(&mut self, _id: i64, _by: &Actor, _now: Millis) {}
}
