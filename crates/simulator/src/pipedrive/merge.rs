//! Merging two records, converting leads and deals.

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::refusal::Refusal;
use super::routes::{Ctx, Outcome};
use super::state::{Actor, State};
use super::table::{Millis, Version};
use super::v1;
use super::webhooks::Trail;
use super::write::written;
use crate::host::Reply;

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

/// The survivor's data wins; what it lacks comes from the loser, lists are joined.
fn joined(survivor: &mut Map<String, Value>, loser: &Map<String, Value>) {
    for (key, theirs) in loser {
        let Some(ours) = survivor.get_mut(key) else {
            survivor.insert(key.clone(), theirs.clone());
            continue;
        };
        match (&mut *ours, theirs) {
            (Value::Array(ours), Value::Array(theirs))
                if matches!(key.as_str(), "emails" | "phones") =>
            {
                for item in theirs.iter().filter(|item| !item["value"].is_null()) {
                    if !ours.iter().any(|held| held["value"] == item["value"]) {
                        let primary = ours.is_empty();
                        ours.push(json!({ "value": item["value"], "primary": primary, "label": item["label"] }));
                    }
                }
            }
            (ours, theirs) if is_empty(ours) => *ours = theirs.clone(),
            _ => {}
        }
    }
}

impl State {
    /// Merges `loser` into `survivor`: its children move, its id is gone.
    pub(super) fn merge(
        &mut self,
        kind: Kind,
        loser: i64,
        survivor: i64,
        by: &Actor,
        now: Millis,
    ) -> bool {
        let both = self.live(kind, loser).zip(self.live(kind, survivor));
        let Some((lost, kept)) = both.filter(|_| loser != survivor) else { return false };
        let (lost, kept) = (lost.version.clone(), kept.version.clone());
        let (mut body, mut custom) = (kept.body.clone(), kept.custom.clone());
        joined(&mut body, &lost.body);
        joined(&mut custom, &lost.custom);
        let stamp = now - now.rem_euclid(1000);
        body.insert("update_time".into(), written(kind, stamp));
        self.webhooks.trail = Some(Trail { loser, survivor });
        self.remove(kind, loser, by, now);
        if let Some(record) = self.table_mut(kind).get_mut(loser) {
            record.merged_into = Some(survivor);
        }
        let next = Version { since: now, updated: Some(stamp), deleted: false, body, custom };
        self.table_mut(kind).advance(survivor, next);
        self.announce(kind, survivor, Some(&kept), by, now);
        self.webhooks.trail = None;
        self.adopt(kind, loser, survivor, by, now);
        true
    }

    fn adopt(&mut self, kind: Kind, loser: i64, survivor: i64, by: &Actor, now: Millis) {
        for held in self.shelf.participants.values_mut() {
            if kind == Kind::Person && held.person == loser {
                held.person = survivor;
            } else if kind == Kind::Deal && held.deal == loser {
                held.deal = survivor;
            }
        }
        let Some(key) = kind.link() else { return };
        for child in Kind::ALL {
            let key = if child == Kind::Lead && key == "org_id" { "organization_id" } else { key };
            let rows =
                self.table(child).rows().values().filter(|row| row.version.int(key) == Some(loser));
            let moves: Vec<_> = rows
                .map(|row| (row.id, row.version.body.clone(), row.version.custom.clone()))
                .collect();
            for (id, mut body, custom) in moves {
                body.insert(key.into(), survivor.into());
                for row in
                    body.get_mut("participants").and_then(Value::as_array_mut).into_iter().flatten()
                {
                    if row["person_id"] == loser && kind == Kind::Person {
                        row["person_id"] = survivor.into();
                    }
                }
                self.commit(child, id, body, custom, by, now);
            }
        }
    }

    /// Turns a lead into a deal, or a deal into a lead; the source is deleted.
    fn convert(
        &mut self,
        from: Kind,
        id: i64,
        place: &Map<String, Value>,
        by: &Actor,
        now: Millis,
    ) -> Result<Value, Refusal> {
        let source = self.live(from, id).ok_or_else(entity_not_found)?.version.clone();
        let get = |key: &str| source.body.get(key).cloned().unwrap_or_default();
        let mut given = Map::new();
        let to = if from == Kind::Lead { Kind::Deal } else { Kind::Lead };
        given.insert("title".into(), get("title"));
        given.insert("owner_id".into(), get("owner_id"));
        let pairs = if to == Kind::Deal {
            [("person_id", "person_id"), ("org_id", "organization_id")]
        } else {
            [("person_id", "person_id"), ("organization_id", "org_id")]
        };
        for (new, old) in pairs {
            given.insert(new.into(), get(old));
        }
        if to == Kind::Deal {
            if let Some(amount) = get("value").as_object() {
                given.insert("value".into(), amount["amount"].clone());
                given.insert("currency".into(), amount["currency"].clone());
            }
            given.extend(place.clone());
        } else {
            given.insert(
                "value".into(),
                json!({ "amount": get("value"), "currency": get("currency") }),
            );
        }
        given.insert("custom_fields".into(), source.custom.clone().into());
        let new = self.create(to, &given, by, now)?;
        self.remove(from, id, by, now);
        let new_id =
            self.record(to, new).map_or(Value::Null, |record| record.version.body["id"].clone());
        Ok(
            json!({ (if to == Kind::Deal { "deal_id" } else { "lead_id" }): new_id, "status": "completed" }),
        )
    }
}

fn entity_not_found() -> Refusal {
    let body = json!({ "success": false, "error": "Entity was not found", "error_info": "Object was not found.", "data": null, "additional_data": null });
    Refusal { status: 404, body }
}

/// `PUT /v1/{kind}/{id}/merge`
pub(super) fn merge(state: &mut State, ctx: &Ctx) -> Outcome {
    let loser = state.writable_record(ctx, ctx.kind, ctx.id(0)?)?.id;
    let given = ctx.object()?;
    let survivor = given
        .get("merge_with_id")
        .and_then(Value::as_i64)
        .ok_or_else(|| Refusal::new(400, "merge_with_id must be given."))?;
    let survivor = state.writable_record(ctx, ctx.kind, survivor)?.id;
    if !state.merge(ctx.kind, loser, survivor, &ctx.by, ctx.now) {
        return Err(Refusal::new(400, "A record can't be merged with itself."));
    }
    let mut data = state
        .record(ctx.kind, survivor)
        .map_or(Value::Null, |record| state.v1(ctx.kind, record, &record.version));
    if ctx.kind == Kind::Organization {
        data = json!({ "id": survivor });
    }
    if ctx.kind == Kind::Person {
        data["merge_what_id"] = loser.into();
    }
    Ok(Reply::json(200, &json!({ "success": true, "data": data })).wrote(2))
}

fn started(state: &mut State, job: Value) -> Reply {
    let id = state.draw_uuid();
    let mut job = job;
    job["conversion_id"] = id.clone().into();
    state.shelf.conversions.insert(id.clone(), job);
    Reply::json(
        200,
        &json!({ "success": true, "data": { "conversion_id": id }, "additional_data": null }),
    )
    .wrote(2)
}

/// `POST /api/v2/leads/{id}/convert/deal`
pub(super) fn lead_to_deal(state: &mut State, ctx: &Ctx) -> Outcome {
    let id = v1::lead_id(state, ctx).map_err(|_| entity_not_found())?;
    let place = if ctx.call.body.is_empty() { Map::new() } else { ctx.object()? };
    let job = state.convert(Kind::Lead, id, &place, &ctx.by, ctx.now)?;
    Ok(started(state, job))
}

/// `POST /api/v2/deals/{id}/convert/lead`
pub(super) fn deal_to_lead(state: &mut State, ctx: &Ctx) -> Outcome {
    let id = state.writable_record(ctx, Kind::Deal, ctx.id(0)?).map_err(|_| entity_not_found())?.id;
    let job = state.convert(Kind::Deal, id, &Map::new(), &ctx.by, ctx.now)?;
    Ok(started(state, job))
}

/// `GET /api/v2/{leads, deals}/{id}/convert/status/{conversion_id}`
pub(super) fn conversion(state: &mut State, ctx: &Ctx) -> Outcome {
    let job = state.shelf.conversions.get(ctx.arg(1)).ok_or_else(entity_not_found)?;
    Ok(Reply::json(200, &json!({ "success": true, "data": job, "additional_data": null })))
}
