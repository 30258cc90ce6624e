//! The persons of a deal: its own one and those added to it.

use serde_json::{Value, json};

use super::kind::Kind;
use super::page;
use super::refusal::Refusal;
use super::routes::{Ctx, Outcome};
use super::state::State;
use super::table::Millis;
use super::time;
use crate::host::Reply;

/// A person's part in a deal.
#[derive(Clone, Debug)]
pub(super) struct Participant {
    pub(super) deal: i64,
    pub(super) person: i64,
    added_by: i64,
    added: Millis,
}

/// A participant who came or went.
#[derive(Clone, Debug)]
pub(super) struct Step {
    deal: i64,
    person: i64,
    actor: i64,
    came: bool,
    at: Millis,
}

impl State {
    /// Persons who take part in a deal; its own person is one of them.
    pub(super) fn participants_of(&self, deal: i64) -> usize {
        let own = self.record(Kind::Deal, deal).and_then(|deal| deal.version.int("person_id"));
        let held = self.shelf.participants.values().filter(|held| held.deal == deal);
        let others = held.clone().filter(|held| Some(held.person) != own).count();
        others + usize::from(own.is_some())
    }

    /// Files the deal's own person among its participants.
    fn settle_participants(&mut self, ctx: &Ctx, deal: i64) {
        let Some(record) = self.record(Kind::Deal, deal) else { return };
        let (own, added) = (record.version.int("person_id"), record.added);
        let by = record.version.int("creator_user_id").unwrap_or(ctx.by.user);
        if let Some(person) = own {
            self.take_part(deal, person, by, added);
        }
    }

    /// The id of a person's part in a deal, old or new.
    fn take_part(&mut self, deal: i64, person: i64, added_by: i64, added: Millis) -> (i64, bool) {
        let held = self
            .shelf
            .participants
            .iter()
            .find(|(_, held)| held.deal == deal && held.person == person);
        if let Some((id, _)) = held {
            return (*id, false);
        }
        self.shelf.last_participant += 1;
        let id = self.shelf.last_participant;
        self.shelf.participants.insert(id, Participant { deal, person, added_by, added });
        (id, true)
    }

    fn participant_json(&self, id: i64) -> Value {
        let Some(held) = self.shelf.participants.get(&id) else { return Value::Null };
        let deal = self.record(Kind::Deal, held.deal);
        let title = deal.map_or(Value::Null, |deal| deal.version.text("title").into());
        let person = self.record(Kind::Person, held.person);
        let person = person.map(|record| self.v1(Kind::Person, record, &record.version));
        json!({
            "id": id, "person_id": self.v1_link(Kind::Person, Some(held.person)), "add_time": time::v1(held.added), "active_flag": true,
            "related_item_data": { "deal_id": held.deal, "title": title }, "person": person, "added_by_user_id": self.v1_user(Some(held.added_by)),
        })
    }
}

/// `GET /v1/deals/{id}/participants`
pub(super) fn list(state: &mut State, ctx: &Ctx) -> Outcome {
    let deal = state.readable_record(ctx, Kind::Deal, ctx.id(0)?)?.id;
    state.settle_participants(ctx, deal);
    let held = state.shelf.participants.iter().filter(|(_, held)| held.deal == deal);
    let rows = held.map(|(id, _)| state.participant_json(*id)).collect();
    page::v1_list(state, ctx, rows)
}

/// `POST /v1/deals/{id}/participants`
pub(super) fn add(state: &mut State, ctx: &Ctx) -> Outcome {
    let deal = state.writable_record(ctx, Kind::Deal, ctx.id(0)?)?.id;
    let person = ctx.object()?.get("person_id").and_then(Value::as_i64);
    let person = person.ok_or_else(|| Refusal::new(400, "person_id must be given."))?;
    let person = state.writable_record(ctx, Kind::Person, person)?.id;
    state.settle_participants(ctx, deal);
    let (id, is_new) = state.take_part(deal, person, ctx.by.user, ctx.now);
    if is_new {
        let step = Step { deal, person, actor: ctx.by.user, came: true, at: ctx.now };
        state.shelf.participant_steps.push(step);
    }
    Ok(Reply::json(200, &json!({ "success": true, "data": state.participant_json(id) })).wrote(1))
}

/// `DELETE /v1/deals/{id}/participants/{participant}`
pub(super) fn remove(state: &mut State, ctx: &Ctx) -> Outcome {
    let deal = state.writable_record(ctx, Kind::Deal, ctx.id(0)?)?.id;
    let id = ctx.id(1)?;
    let held = state.shelf.participants.get(&id).filter(|held| held.deal == deal);
    let person = held.ok_or_else(|| Refusal::not_found("Participant"))?.person;
    state.shelf.participants.remove(&id);
    let step = Step { deal, person, actor: ctx.by.user, came: false, at: ctx.now };
    state.shelf.participant_steps.push(step);
    Ok(Reply::json(200, &json!({ "success": true, "data": { "id": id } })).wrote(1))
}

/// `GET /v1/deals/{id}/participantsChangelog`
pub(super) fn changelog(state: &mut State, ctx: &Ctx) -> Outcome {
    let deal = state.readable_record(ctx, Kind::Deal, ctx.id(0)?)?.id;
    let steps = state.shelf.participant_steps.iter().filter(|step| step.deal == deal);
    let rows = steps
        .map(|step| {
            json!({ "actor_user_id": step.actor, "person_id": step.person,
                "action": if step.came { "added" } else { "removed" }, "time": time::v1(step.at) })
        })
        .collect();
    page::of_values(state, ctx, rows)
}
