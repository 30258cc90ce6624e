//! What applying a plan came to.

use std::collections::{BTreeMap, BTreeSet};

use crmsync_core::model::state::SubjectKey;
use crmsync_core::model::{EntityName, Pair, Side};
use serde::Serialize;

use super::sending::Ready;
use super::stages::Kind;
use crate::connectors::{Recovery, RowResult};
use crate::service::error::Exit;

/// What applying a plan came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tally {
    pub created: Pair<u64>,
    pub updated: Pair<u64>,
    pub deleted: Pair<u64>,
    pub linked: u64,
    /// Local steps: baselines moved, links closed or redirected.
    pub noted: u64,
    /// Ops dropped because the target had moved on: planned again next time.
    pub stale: u64,
    pub failed: u64,
    pub in_doubt: u64,
    /// Ops left alone because their side went out of reach.
    pub skipped: u64,
    /// Writes that no condition guarded against an edit between re-read and effect, and the longest such window.
    pub unguarded: u64,
    pub longest_window_ms: i64,
    /// Edits that a write overwrote unseen, as far as writes were audited.
    pub overwritten: u64,
    /// Links written in this pass, and records whose create was refused.
    #[serde(skip)]
    pub touched: BTreeSet<(EntityName, SubjectKey)>,
    /// Why a side was left, by side.
    pub paused: Pair<Option<String>>,
    #[serde(skip)]
    pub paused_as: Pair<Option<Exit>>,
}

impl Tally {
    pub fn absorb(&mut self, other: Self) {
        for side in Side::BOTH {
            self.created[side] += other.created[side];
            self.updated[side] += other.updated[side];
            self.deleted[side] += other.deleted[side];
            if other.paused[side].is_some() {
                self.paused[side].clone_from(&other.paused[side]);
                self.paused_as[side] = other.paused_as[side];
            }
        }
        self.linked += other.linked;
        self.noted += other.noted;
        self.stale += other.stale;
        self.failed += other.failed;
        self.in_doubt += other.in_doubt;
        self.skipped += other.skipped;
        self.unguarded += other.unguarded;
        self.overwritten += other.overwritten;
        self.longest_window_ms = self.longest_window_ms.max(other.longest_window_ms);
        self.touched.extend(other.touched);
    }

    /// An empty tally that knows which sides are out of reach.
    pub(super) fn so_far(&self) -> Self {
        Self { paused: self.paused.clone(), paused_as: self.paused_as.clone(), ..Self::default() }
    }

    /// Records written on either side.
    pub fn written(&self) -> u64 {
        Side::BOTH
            .iter()
            .map(|side| self.created[*side] + self.updated[*side] + self.deleted[*side])
            .sum()
    }

    pub fn paused_exit(&self) -> Option<Exit> {
        self.paused_as.left.max(self.paused_as.right)
    }

    pub fn count_into(&self, counts: &mut BTreeMap<String, u64>) {
        for side in Side::BOTH {
            counts.insert(format!("{side}.created"), self.created[side]);
            counts.insert(format!("{side}.updated"), self.updated[side]);
            counts.insert(format!("{side}.deleted"), self.deleted[side]);
        }
        let others = [
            ("linked", self.linked),
            ("noted", self.noted),
            ("stale", self.stale),
            ("failed", self.failed),
            ("in_doubt", self.in_doubt),
            ("skipped", self.skipped),
            ("unguarded_writes", self.unguarded),
            ("overwritten", self.overwritten),
            ("longest_window_ms", u64::try_from(self.longest_window_ms).unwrap_or(0)),
        ];
        counts.extend(others.map(|(name, count)| (name.to_owned(), count)));
    }
}

/// Adds what became of a batch.
pub(super) fn count(
    kind: Kind,
    side: Side,
    ready: &[Ready<'_>],
    results: &[RowResult],
    tally: &mut Tally,
) {
    for (ready, result) in ready.iter().zip(results) {
        match result {
            Ok(_) => {
                let counter = match kind {
                    Kind::Create => &mut tally.created,
                    Kind::Update => &mut tally.updated,
                    Kind::Delete | Kind::Archive => &mut tally.deleted,
                };
                counter[side] += 1;
                tally
                    .touched
                    .insert((ready.op.entity.clone(), SubjectKey::Link(ready.op.link.clone())));
            }
            Err(error) => match error.recovery() {
                Recovery::Reread => tally.in_doubt += 1,
                Recovery::Replan => tally.stale += 1,
                Recovery::Quarantine | Recovery::Redescribe => {
                    tally.failed += 1;
                    // Without the refused field the rest of the record flows, in this run still.
                    tally.touched.insert((ready.op.entity.clone(), ready.op.subject()));
                }
                Recovery::Wait(_)
                | Recovery::Pause
                | Recovery::Backoff
                | Recovery::Reauthorize
                | Recovery::RestartScan
                | Recovery::Stop => tally.skipped += 1,
            },
        }
    }
}
