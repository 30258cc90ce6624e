//! Each safety rule switched off alone: the laws must notice, or they would notice nothing.

use crmsync::service::run::Safety;

use crate::history::{Ablation, Setting};
use crate::weather::{FAMILIES, Families};

/// A rule, how it is switched off, and the faults under which it matters.
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    ablation: Ablation,
    families: &'static [u8],
}

impl Rule {
    pub(crate) fn setting(&self) -> Setting {
        let families: Families = if self.families.is_empty() {
            FAMILIES.into()
        } else {
            self.families.iter().copied().collect()
        };
        Setting { ablation: self.ablation, ..Setting::of(families) }
    }
}

fn without(change: impl FnOnce(&mut Safety)) -> Ablation {
    let mut safety = Safety::default();
    change(&mut safety);
    Ablation { safety, ..Ablation::default() }
}

pub(crate) fn rules() -> Vec<Rule> {
    let rule = |name, ablation, families| Rule { name, ablation, families };
    vec![
        rule(
            "intents are committed first",
            without(|safety| safety.arms_intents = false),
            &[1, 2, 4, 9],
        ),
        rule(
            "the settle horizon",
            Ablation { settle: Some(0), ..Ablation::default() },
            &[1, 2, 4, 9],
        ),
        rule("the overlap", Ablation { overlap: Some(0), ..Ablation::default() }, &[4, 7, 9]),
        rule(
            "stale rows are refused",
            without(|safety| safety.doubts_listed_rows = false),
            &[4, 9],
        ),
        rule("scans are page-safe", without(|safety| safety.repeats_unsafe_scans = false), &[5, 9]),
        rule(
            "baselines move in recovery",
            without(|safety| safety.agrees_in_recovery = false),
            &[1, 2, 9],
        ),
        rule("guards", without(|safety| safety.keeps_guards = false), &[9]),
        rule("targets are read again", without(|safety| safety.rereads_targets = false), &[9]),
        rule(
            "creates carry external IDs",
            without(|safety| safety.sends_external_ids = false),
            &[1, 2, 9],
        ),
        rule(
            "lost ends are read again",
            without(|safety| safety.rereads_lost_ends = false),
            &[1, 2, 9],
        ),
        rule(
            "links in doubt are frozen",
            without(|safety| safety.freezes_links_in_doubt = false),
            &[1, 2, 9],
        ),
    ]
}
