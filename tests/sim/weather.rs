//! Faults of semantics §18 that strike calls, drawn by family.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use crmsync_core::model::Side;
use crmsync_simulator::fault::Fault;
use crmsync_simulator::host::Call;

use crate::dice::Dice;

/// Families of semantics §18. Webhooks (F6) are left out: nothing receives them yet.
pub(crate) const FAMILIES: [u8; 13] = [1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14];

/// Families that may strike.
pub(crate) type Families = BTreeSet<u8>;

/// What befalls one call.
#[derive(Clone, Debug)]
pub(crate) enum Strike {
    /// The client cannot connect.
    Unsent,
    Server(Fault),
}

/// Draws the fate of a call; `per_mille` of them are struck.
pub(crate) fn strike(
    dice: &mut Dice,
    families: &Families,
    side: Side,
    call: &Call,
    per_mille: u64,
) -> Option<Strike> {
    let kinds = kinds(dice, families, side, call);
    let strikes = dice.chance(per_mille);
    let which = dice.below(kinds.len());
    (strikes && !kinds.is_empty()).then(|| kinds[which].clone())
}

fn kinds(dice: &mut Dice, families: &Families, side: Side, call: &Call) -> Vec<Strike> {
    let (late, stale) = (dice.between(1, 55), dice.between(1, 55));
    let seconds = |seconds: i64| Duration::from_secs(seconds.unsigned_abs());
    let signs_in = call.path.starts_with("/oauth");
    let writes = call.method != "GET" && !signs_in;
    let mut kinds = Vec::new();
    if families.contains(&2) {
        kinds.extend([
            Strike::Unsent,
            Strike::Server(Fault::Refused),
            Strike::Server(Fault::ReplyLost),
            Strike::Server(Fault::Truncated),
            Strike::Server(Fault::html(503)),
            Strike::Server(Fault::EffectThenStatus { status: 502 }),
        ]);
        if !signs_in {
            kinds.push(Strike::Server(Fault::rate_limited()));
        }
        if writes {
            let late = Fault::LateEffect { after: seconds(late) };
            kinds.extend([Strike::Server(late), Strike::Server(Fault::ReplyLost)]);
        }
    }
    if families.contains(&3) && writes && side == Side::Left {
        kinds.extend([
            Strike::Server(Fault::PartialRows { rows: 1 }),
            Strike::Server(Fault::StatusesMissing { kept: 1 }),
        ]);
    }
    if families.contains(&4) && call.method == "GET" && call.query("ids").is_none() {
        let stale = Strike::Server(Fault::Stale { by: seconds(stale) });
        kinds.extend([stale.clone(), stale]);
    }
    if families.contains(&7) && !writes {
        kinds.push(Strike::Server(Fault::NoDate));
    }
    kinds
}

/// How far clocks are off in a history with F7, in seconds: ours, then each server's.
pub(crate) fn clock_errors(dice: &mut Dice, families: &Families) -> [TimeDelta; 3] {
    let mut one = || {
        if families.contains(&7) && dice.chance(600) {
            TimeDelta::seconds(dice.between(-4 * 3_600, 4 * 3_600))
        } else {
            TimeDelta::zero()
        }
    };
    [one(), one(), one()]
}
