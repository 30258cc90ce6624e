//! What goes wrong for a while, and what people, servers and administrators do about it: F4 to F13 of semantics §18.

use std::sync::Arc;

use chrono::TimeDelta;
use crmsync_core::model::Side;
use crmsync_simulator::pipedrive::Loss;
use crmsync_simulator::zoho::{Access, Automation, Limits};

use crate::crms::{Kind, Who};
use crate::dice::Dice;
use crate::ledger::AUTOMATED;
use crate::world::World;

/// Weather and bustle of the next hours.
pub(crate) fn gather(world: &mut World, dice: &mut Dice) {
    world.storm = if dice.chance(750) { *dice.pick(&[20, 60, 150]) } else { 0 };
    world.bustle = if world.has(9) { *dice.pick(&[0, 20, 60, 150]) } else { 0 };
    world.page = if world.has(5) { *dice.pick(&[2, 3, 5, 500]) } else { 500 };
    if world.has(7) && dice.chance(300) {
        let whose = *dice.pick(&[None, Some(Side::Left), Some(Side::Right)]);
        // Together with late rows still within the overlap, as A2 and A4 promise; and back only once.
        let by = dice.between(-200, 200);
        let by = if world.stepped_back.contains(&whose) { by.abs() } else { by };
        if by < 0 {
            world.stepped_back.push(whose);
        }
        world.clocks.step(whose, TimeDelta::seconds(by));
        world.ledger.forget_doubts();
        world.note(|| format!("the clock of {whose:?} steps by {by} s"));
    }
    if world.has(8) {
        rights_change(world, dice);
    }
    if world.has(10) && !world.automated && dice.chance(80) {
        automate(world, dice);
    }
    if world.has(11) && dice.chance(200) {
        servers_refuse(world, dice);
    }
    if world.has(12) && dice.chance(100) {
        world.note(|| "administrators shorten a field".to_owned());
        world.short_phones = true;
        world.ledger.phones_redefined = true;
        world.crms.zoho.change_field("Contacts", "Phone", |field| field.length = 8);
    }
    if world.has(13) && dice.chance(100) {
        budgets_shrink(world, dice);
    }
    if world.has(4) && dice.chance(300) {
        let (seed, by) = (dice.below(1_000), dice.between(1, 55));
        world.crms.pipedrive.commit_late(seed as u64, 200, TimeDelta::seconds(by));
    }
}

/// F8: tokens expire, rights go.
fn rights_change(world: &mut World, dice: &mut Dice) {
    if dice.chance(200) {
        world.note(|| "Zoho's access tokens expire".to_owned());
        world.crms.zoho.expire_access_tokens();
    }
    if dice.chance(120) {
        let access = *dice.pick(&[Access::Forbidden, Access::Unseen]);
        world.note(|| format!("Contacts are {access:?}"));
        world.crms.zoho.set_access("Contacts", access);
        world.ledger.sightless = true;
    }
    if dice.chance(120) {
        let loss = *dice.pick(&[Loss::Rows, Loss::Forbidden]);
        world.note(|| format!("persons lose {loss:?}"));
        world.crms.pipedrive.lose("persons", loss);
        world.ledger.sightless = true;
    }
}

/// F10: a workflow of Zoho's marks names of accounts, at once or later.
fn automate(world: &mut World, dice: &mut Dice) {
    let delay = *dice.pick(&[0, 0, 40]);
    world.note(|| format!("a workflow rewrites account names {delay} s after each write"));
    world.automated = true;
    world.crms.zoho.delay_automations(TimeDelta::seconds(delay));
    let mark = |value: &serde_json::Value| match value.as_str() {
        Some(text) if !text.ends_with(AUTOMATED) => format!("{text}{AUTOMATED}").into(),
        Some(_) | None => value.clone(),
    };
    let rewrite = Automation::Rewrite(Arc::new(mark));
    world.crms.zoho.automation("Accounts", "Account_Name", rewrite);
}

/// F11: locks, and texts that are cut without a word.
fn servers_refuse(world: &mut World, dice: &mut Dice) {
    let side = *dice.pick(&Side::BOTH);
    if dice.chance(200) {
        world.note(|| "Pipedrive cuts websites".to_owned());
        world.ledger.truncates = true;
        world.crms.pipedrive.truncate_field("organizations", "website", 12);
        return;
    }
    let all = world.ledger.of_kind(side, Kind::Contact);
    if all.is_empty() {
        return;
    }
    let Who { id, .. } = dice.pick(&all).clone();
    world.note(|| format!("{side} {id} is locked"));
    match side {
        Side::Left => world.crms.zoho.lock("Contacts", id.parse().unwrap()),
        Side::Right => world.crms.pipedrive.lock("persons", id.parse().unwrap()),
    }
    world.locked.push((side, id));
}

/// F13: little is left of the day's budget.
fn budgets_shrink(world: &mut World, dice: &mut Dice) {
    let left = dice.below(60) as u64;
    world.note(|| format!("{left} units of budget are left"));
    if dice.chance(500) {
        let used = world.crms.zoho.credits_used();
        world.crms.zoho.set_limits(Limits::Credits(used + left));
    } else {
        world.crms.pipedrive.limit(|limits| limits.on = true);
        world.crms.pipedrive.drain_budget(left);
    }
}

/// Rights, budgets, locks and lengths are as they were.
pub(crate) fn regain(world: &mut World) {
    let crms = world.crms.clone();
    crms.zoho.set_access("Contacts", Access::Full);
    crms.zoho.set_limits(Limits::Off);
    world.short_phones = false;
    crms.zoho.change_field("Contacts", "Phone", |field| field.length = 50);
    crms.pipedrive.limit(|limits| limits.on = false);
    crms.pipedrive.clear_rules();
    world.ledger.sightless = false;
    for (side, id) in std::mem::take(&mut world.locked) {
        if side == Side::Left {
            crms.zoho.unlock("Contacts", id.parse().unwrap());
        }
    }
}
