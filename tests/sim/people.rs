//! People at work on both sides: F9. Whatever they write is new.

use crmsync_core::model::Side;

use crate::crms::{Kind, Unit, Who};
use crate::world::World;

/// One thing that one person does somewhere.
pub(crate) fn act(world: &mut World) {
    let side = if world.people.chance(500) { Side::Left } else { Side::Right };
    let kind = if world.people.chance(250) { Kind::Account } else { Kind::Contact };
    match world.people.below(100) {
        0..=61 => edit(world, side, kind),
        62..=68 => {
            create(world, side, kind);
        }
        69..=71 => create_on_both(world),
        72..=76 => join(world, side),
        77..=81 => bury(world, side, kind),
        82..=84 => undelete(world),
        85..=86 => merge(world, side),
        87..=88 => copy(world, side, kind),
        89..=90 => tamper(world, side, kind),
        91..=92 => share_key(world, side),
        _ => clear(world, side),
    }
}

/// A value for a unit that nobody used before.
pub(crate) fn fresh(world: &mut World, side: Side, kind: Kind, unit: Unit) -> String {
    let unique = world.word();
    if unit == Unit::Phone && side == Side::Left && world.short_phones {
        return String::new();
    }
    match (kind, unit) {
        (Kind::Contact, Unit::Name) => format!("F{unique} L{unique}"),
        (Kind::Account, Unit::Name) => format!("Company {unique}"),
        (_, Unit::Website) => format!("https://w{unique}.example.com"),
        (_, Unit::Email) => format!("v{unique}@example.com"),
        (_, Unit::Phone) => format!("+49301{unique:06}"),
    }
}

fn somebody(world: &mut World, side: Side, kind: Kind) -> Option<Who> {
    let mut all = world.ledger.of_kind(side, kind);
    // Zoho's locks hold for people too.
    all.retain(|who| side == Side::Right || !world.locked.contains(&(side, who.id.clone())));
    (!all.is_empty()).then(|| world.people.pick(&all).clone())
}

fn edit(world: &mut World, side: Side, kind: Kind) {
    let Some(who) = somebody(world, side, kind) else { return };
    let unit = *world.people.pick(kind.units());
    let value = fresh(world, side, kind, unit);
    write(world, &who, unit, &value);
}

fn write(world: &mut World, who: &Who, unit: Unit, value: &str) {
    world.crms.edit(who, unit, value);
    world.acted(who, &format!("{unit:?} := {value} in"));
}

pub(crate) fn create(world: &mut World, side: Side, kind: Kind) -> Who {
    let units: Vec<_> = kind.units().iter().map(|unit| fresh(world, side, kind, *unit)).collect();
    add(world, side, kind, &units)
}

fn add(world: &mut World, side: Side, kind: Kind, units: &[String]) -> Who {
    let account = if kind == Kind::Contact && world.people.chance(500) {
        somebody(world, side, Kind::Account).map(|who| who.id).unwrap_or_default()
    } else {
        String::new()
    };
    let who = world.crms.add(side, kind, units, &account);
    world.acted(&who, &format!("{} makes", units.join(", ")));
    who
}

/// The same person comes into both systems at once, by the same e-mail.
pub(crate) fn create_on_both(world: &mut World) {
    let email = fresh(world, Side::Left, Kind::Contact, Unit::Email);
    for side in Side::BOTH {
        let mut units: Vec<_> = Kind::Contact
            .units()
            .iter()
            .map(|unit| fresh(world, side, Kind::Contact, *unit))
            .collect();
        units[1].clone_from(&email);
        add(world, side, Kind::Contact, &units);
    }
}

fn join(world: &mut World, side: Side) {
    let Some(contact) = somebody(world, side, Kind::Contact) else { return };
    let Some(account) = somebody(world, side, Kind::Account) else { return };
    world.crms.set_account(&contact, &account.id);
    world.acted(&contact, &format!("account := {} in", account.id));
}

fn bury(world: &mut World, side: Side, kind: Kind) {
    // A company without people shows little.
    if world.ledger.of_kind(side, kind).len() < 4 {
        return;
    }
    let Some(who) = somebody(world, side, kind) else { return };
    world.crms.delete(&who);
    world.acted(&who, "deletes");
    if kind == Kind::Account {
        look_again(world, side, Kind::Contact);
    }
}

fn undelete(world: &mut World) {
    let buried: Vec<_> = world.ledger.buried.keys().cloned().collect();
    if buried.is_empty() {
        return;
    }
    let who = world.people.pick(&buried).clone();
    if world.crms.undelete(&who) {
        world.acted(&who, "brings back");
    }
}

fn merge(world: &mut World, side: Side) {
    let (Some(survivor), Some(loser)) =
        (somebody(world, side, Kind::Contact), somebody(world, side, Kind::Contact))
    else {
        return;
    };
    if survivor == loser || world.ledger.of_kind(side, Kind::Contact).len() < 5 {
        return;
    }
    world.crms.merge(&survivor, &loser);
    world.acted(&loser, &format!("merges into {survivor}:"));
    world.acted(&survivor, "keeps");
    // A list of addresses grows by the other's, whatever its first one is.
    world.ledger.all_edited(&survivor);
}

fn copy(world: &mut World, side: Side, kind: Kind) {
    if world.short_phones {
        return;
    }
    let Some(who) = somebody(world, side, kind) else { return };
    let account = world.ledger.shown[&who].account.clone();
    let account = Who { side, kind: Kind::Account, id: account };
    if !account.id.is_empty() && !world.ledger.shown.contains_key(&account) {
        return;
    }
    let copy = world.crms.copy(&who);
    world.acted(&copy, &format!("copies {who} to"));
}

/// Clears the external ID, or writes something else there.
fn tamper(world: &mut World, side: Side, kind: Kind) {
    let Some(who) = somebody(world, side, kind) else { return };
    world.crms.set_external(&who, None);
    world.acted(&who, "clears the external ID of");
}

/// Two people with one e-mail address.
fn share_key(world: &mut World, side: Side) {
    let (Some(one), Some(other)) =
        (somebody(world, side, Kind::Contact), somebody(world, side, Kind::Contact))
    else {
        return;
    };
    let email = world.ledger.value(&other, Unit::Email).to_owned();
    if one != other && !email.is_empty() {
        write(world, &one, Unit::Email, &email);
    }
}

fn clear(world: &mut World, side: Side) {
    let Some(who) = somebody(world, side, Kind::Contact) else { return };
    let unit = if world.people.chance(500) { Unit::Email } else { Unit::Phone };
    write(world, &who, unit, "");
}

/// Records that a server changed of its own: contacts of an account that is gone, names that a workflow rewrote.
pub(crate) fn look_again(world: &mut World, side: Side, kind: Kind) {
    for (who, now) in world.crms.all(side, kind) {
        let at = world.clocks.truth();
        world.ledger.observe(&who, Some(now), crate::ledger::Author::Person, at);
    }
}
