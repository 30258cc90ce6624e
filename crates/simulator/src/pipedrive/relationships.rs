//! Organizations that are related. Source: Pipedrive API v1, "Organization relationships".

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::page;
use super::refusal::Refusal;
use super::routes::{Ctx, Outcome};
use super::state::State;
use super::table::Millis;
use super::time;
use crate::host::Reply;

/// Two organizations and what ties them; the owner is the parent.
#[derive(Clone, Debug)]
pub(super) struct Relationship {
    kind: String,
    owner: i64,
    linked: i64,
    added: Millis,
    updated: Millis,
}

impl State {
    /// A relationship, as the organization `from` sees it.
    fn relationship_json(&self, id: i64, held: &Relationship, from: Option<i64>) -> Value {
        let organization = |id: i64| self.v1_link(Kind::Organization, Some(id));
        let mut row = json!({
            "id": id, "type": held.kind, "rel_owner_org_id": organization(held.owner), "rel_linked_org_id": organization(held.linked),
            "add_time": time::v1(held.added), "update_time": time::v1(held.updated), "active_flag": "true",
        });
        if let Some(from) = from {
            let (other, word) = match (held.kind.as_str(), held.owner == from) {
                ("parent", true) => (held.linked, "daughter"),
                ("parent", false) => (held.owner, "parent"),
                (_, true) => (held.linked, "related"),
                (_, false) => (held.owner, "related"),
            };
            row["calculated_type"] = word.into();
            row["calculated_related_org_id"] = other.into();
            let other = self.record(Kind::Organization, other);
            row["related_organization_name"] =
                other.map_or(Value::Null, |other| other.version.text("name").into());
        }
        row
    }
}

fn one(data: &Value) -> Reply {
    Reply::json(200, &json!({ "success": true, "data": data, "related_objects": {} }))
}

fn from(ctx: &Ctx) -> Option<i64> {
    ctx.call.query("org_id").and_then(|text| text.parse().ok())
}

/// `GET /v1/organizationRelationships?org_id=`
pub(super) fn list(state: &mut State, ctx: &Ctx) -> Outcome {
    let from = from(ctx).ok_or_else(|| Refusal::new(400, "org_id must be given."))?;
    let held = state.shelf.relationships.iter();
    let held = held.filter(|(_, held)| held.owner == from || held.linked == from);
    let rows = held.map(|(id, held)| state.relationship_json(*id, held, Some(from))).collect();
    page::v1_list(state, ctx, rows)
}

fn found<'a>(state: &'a State, ctx: &Ctx) -> Result<(i64, &'a Relationship), Refusal> {
    let id = ctx.id(0)?;
    let held = state.shelf.relationships.get(&id);
    Ok((id, held.ok_or_else(|| Refusal::not_found("Organization relationship"))?))
}

/// `GET /v1/organizationRelationships/{id}`
pub(super) fn get(state: &mut State, ctx: &Ctx) -> Outcome {
    let (id, held) = found(state, ctx)?;
    Ok(one(&state.relationship_json(id, held, from(ctx))))
}

/// What a body says, on top of what was.
fn read(
    state: &State,
    ctx: &Ctx,
    given: &Map<String, Value>,
    before: Option<&Relationship>,
) -> Result<Relationship, Refusal> {
    let number = |key: &str| given.get(key).and_then(Value::as_i64);
    let kind = given.get("type").and_then(Value::as_str).map(str::to_owned);
    let kind = kind.or_else(|| before.map(|before| before.kind.clone())).unwrap_or_default();
    if !["parent", "related"].contains(&kind.as_str()) {
        return Err(Refusal::new(400, "The type must be parent or related."));
    }
    let owner = number("rel_owner_org_id").or(before.map(|before| before.owner));
    let linked = number("rel_linked_org_id").or(before.map(|before| before.linked));
    let both = owner.zip(linked).filter(|(owner, linked)| owner != linked);
    let (owner, linked) =
        both.ok_or_else(|| Refusal::new(400, "Two organizations must be given."))?;
    for id in [owner, linked] {
        state.readable_record(ctx, Kind::Organization, id)?;
    }
    let added = before.map_or(ctx.now, |before| before.added);
    Ok(Relationship { kind, owner, linked, added, updated: ctx.now })
}

/// `POST /v1/organizationRelationships`
pub(super) fn add(state: &mut State, ctx: &Ctx) -> Outcome {
    let held = read(state, ctx, &ctx.object()?, None)?;
    let id = state.shelf.relationships.last_key_value().map_or(1, |(id, _)| id + 1);
    let row = state.relationship_json(id, &held, None);
    state.shelf.relationships.insert(id, held);
    Ok(one(&row).wrote(1))
}

/// `PUT /v1/organizationRelationships/{id}`
pub(super) fn change(state: &mut State, ctx: &Ctx) -> Outcome {
    let (id, before) = found(state, ctx)?;
    let held = read(state, ctx, &ctx.object()?, Some(before))?;
    let row = state.relationship_json(id, &held, None);
    state.shelf.relationships.insert(id, held);
    Ok(one(&row).wrote(1))
}

/// `DELETE /v1/organizationRelationships/{id}`
pub(super) fn delete(state: &mut State, ctx: &Ctx) -> Outcome {
    let (id, _) = found(state, ctx)?;
    state.shelf.relationships.remove(&id);
    Ok(Reply::json(200, &json!({ "success": true, "data": { "id": id } })).wrote(1))
}
