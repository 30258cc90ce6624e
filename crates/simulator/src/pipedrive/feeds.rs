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
    let mut rows: Vec<(Millis, Recent)> = Vec::new();
    for kind in Kind::V2.into_iter().chain([Kind::Note]).filter(|kind| wanted(kind.singular())) {
        rows.extend(state.recent(ctx, kind, since));
    }
    if wanted("user") {
        let users = state.users.values().filter(|user| user.modified >= since);
        rows.extend(users.map(|user| (user.modified, Recent::User(user.id))));
    }
    rows.sort_by_key(|(time, _)| *time);
    let (page, pagination) = page::by_offset(state, ctx, rows)?;
    let last = page.last().map(|(time, _)| time::v1(*time));
    let data = page.iter().map(|(_, row)| state.recent_json(ctx, row)).collect();
    let data = page::v1_rows(state, data);
    Ok(Reply::json(
        200,
        &json!({ "success": true, "data": data, "additional_data": {
        "since_timestamp": time::v1(given), "last_timestamp_on_page": last, "pagination": pagination } }),
    ))
}

/// A row of `/recents` before it is rendered.
enum Recent {
    Record(Kind, i64),
    User(i64),
}

impl State {
    fn recent(&self, ctx: &Ctx, kind: Kind, since: Millis) -> Vec<(Millis, Recent)> {
        let hide_deleted = self.settings.switches.recents_hide_deleted;
        let ids = self.table(kind).updated_from((since, i64::MIN));
        let row = |id: i64| {
            let record = self.record(kind, id)?;
            let version = record.shown(ctx.now, ctx.as_of)?;
            let updated = version.updated.filter(|updated| *updated >= since)?;
            let keep =
                !(version.deleted && hide_deleted) && self.sees(ctx.by.user, kind, record, version);
            keep.then_some((updated, Recent::Record(kind, id)))
        };
        ids.filter_map(row).collect()
    }

    fn recent_json(&self, ctx: &Ctx, row: &Recent) -> Value {
        match row {
            Recent::User(id) => {
                let data = self.user(*id).map(|user| self.user_json(user, ctx.by.user, ctx.now));
                json!({ "item": "user", "id": id, "data": [data] })
            }
            Recent::Record(kind, id) => {
                let record = self.record(*kind, *id);
                let data = record.and_then(|record| {
                    Some(self.v1(*kind, record, record.shown(ctx.now, ctx.as_of)?))
                });
                json!({ "item": kind.singular(), "id": id, "data": data })
            }
        }
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
    let link = ctx.kind.link().unwrap_or("deal_id");
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
