//! Recents, flow, changelog.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::kind::Kind;
use super::page;
use super::refusal::Refusal;
use super::routes::{Ctx, Outcome};
use super::state::{Change, State};
use super::table::Millis;
use super::time::{self, DAY};
use crate::host::Reply;

/// How far `/recents` reaches back. Source: Pipedrive changelog, 2024-12-01.
const REACH: Millis = 30 * DAY;

/// `GET /v1/recents`
pub(super) fn recents(state: &mut State, ctx: &Ctx) -> Outcome {
    let since = ctx.call.query("since_timestamp").and_then(time::parse_any);
    let given = since.ok_or_else(|| Refusal::new(400, "since_timestamp must be given."))?;
    let since = given.max(ctx.now - REACH);
    let items: Option<BTreeSet<&str>> =
        ctx.call.query("items").map(|items| items.split(',').map(str::trim).collect());
    let wanted = |item: &str| items.as_ref().is_none_or(|items| items.contains(item));
    let mut rows: Vec<(Millis, Value)> = Vec::new();
    for kind in Kind::V2.into_iter().chain([Kind::Note]).filter(|kind| wanted(kind.singular())) {
        rows.extend(state.recent(ctx, kind, since));
    }
    if wanted("user") {
        let users = state.users.values().filter(|user| user.modified >= since);
        rows.extend(users.map(|user| (user.modified, json!({ "item": "user", "id": user.id, "data": [state.user_json(user, ctx.by.user, ctx.now)] }))));
    }
    rows.sort_by_key(|(time, _)| *time);
    let times: Vec<Millis> = rows.iter().map(|(time, _)| *time).collect();
    let (page, pagination) =
        page::by_offset(state, ctx, rows.into_iter().map(|(_, row)| row).collect())?;
    let start = usize::try_from(pagination["start"].as_u64().unwrap_or(0)).unwrap_or(0);
    let last = (start + page.len())
        .checked_sub(1)
        .and_then(|index| times.get(index))
        .map(|time| time::v1(*time));
    let data = page::v1_rows(state, page);
    Ok(Reply::json(
        200,
        &json!({ "success": true, "data": data, "additional_data": {
        "since_timestamp": time::v1(given), "last_timestamp_on_page": last, "pagination": pagination } }),
    ))
}

impl State {
    fn recent(&self, ctx: &Ctx, kind: Kind, since: Millis) -> Vec<(Millis, Value)> {
        let hide_deleted = self.settings.switches.recents_hide_deleted;
        let ids = self.table(kind).updated_from((since, i64::MIN));
        let row = |id: i64| {
            let record = self.record(kind, id)?;
            let version = record.shown(ctx.now, ctx.as_of)?;
            let updated = version.updated.filter(|updated| *updated >= since)?;
            let keep =
                !(version.deleted && hide_deleted) && self.sees(ctx.by.user, kind, record, version);
            keep.then(|| (updated, json!({ "item": kind.singular(), "id": id, "data": self.v1(kind, record, version) })))
        };
        ids.filter_map(row).collect()
    }

    fn changes_of(&self, ctx: &Ctx) -> Result<Vec<&Change>, Refusal> {
        let id = self.readable_record(ctx, ctx.kind, ctx.id(0)?)?.id;
        let changes = self.changes.get(&(ctx.kind, id)).into_iter().flatten();
        let known = ctx.as_of.unwrap_or(ctx.now);
        let mut newest: Vec<_> = changes.filter(|change| change.time <= known).collect();
        newest.reverse();
        Ok(newest)
    }
}

fn spoken(value: &Value) -> Value {
    match value {
        Value::Null | Value::String(_) => value.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string().into()
        }
    }
}

/// `GET /v1/{kind}/{id}/changelog`: newest first, by cursor.
pub(super) fn changelog(state: &mut State, ctx: &Ctx) -> Outcome {
    let row = |change: &Change| {
        json!({ "field_key": change.field, "old_value": spoken(&change.old), "new_value": spoken(&change.new), "actor_user_id": change.user,
            "time": time::v1(change.time), "change_source": change.source, "change_source_user_agent": null, "is_bulk_update_flag": false })
    };
    let rows = state.changes_of(ctx)?.into_iter().map(row).collect();
    page::of_values(state, ctx, rows)
}

/// `GET /v1/{kind}/{id}/flow`: without `all_changes=1` custom fields and e-mails are missing.
pub(super) fn flow(state: &mut State, ctx: &Ctx) -> Outcome {
    let id = ctx.id(0)?;
    let all = ctx.call.query("all_changes") == Some("1");
    let changes = state.changes_of(ctx)?;
    let shown = changes
        .iter()
        .filter(|change| all || (change.field.len() != 40 && change.field != "emails"));
    let object = format!("{}Change", ctx.kind.singular());
    let mut rows: Vec<(Millis, Value)> = shown.enumerate().map(|(index, change)| {
        let data = json!({ "id": index + 1, "item_id": id, "user_id": change.user, "field_key": change.field, "old_value": spoken(&change.old),
            "new_value": spoken(&change.new), "is_bulk_update_flag": null, "log_time": time::v1(change.time), "change_source": change.source,
            "change_source_user_agent": null, "additional_data": {} });
        (change.time, json!({ "object": object, "timestamp": time::v1(change.time), "data": data }))
    }).collect();
    let link = match ctx.kind {
        Kind::Person => "person_id",
        Kind::Organization => "org_id",
        _ => "deal_id",
    };
    for kind in [Kind::Activity, Kind::Note] {
        let ours = state
            .table(kind)
            .rows()
            .values()
            .filter(|row| !row.version.deleted && row.version.int(link) == Some(id));
        rows.extend(ours.map(|row| (row.added, json!({ "object": kind.singular(), "timestamp": time::v1(row.added), "data": state.v1(kind, row, &row.version) }))));
    }
    rows.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
    let (rows, pagination) =
        page::by_offset(state, ctx, rows.into_iter().map(|(_, row)| row).collect())?;
    let data = page::v1_rows(state, rows);
    Ok(Reply::json(
        200,
        &json!({ "success": true, "data": data, "additional_data": { "pagination": pagination }, "related_objects": {} }),
    ))
}
