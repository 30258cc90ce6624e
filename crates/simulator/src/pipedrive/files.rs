//! Files: uploaded, listed, downloaded, described, deleted. Source: Pipedrive API v1, "Files".

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::page;
use super::refusal::Refusal;
use super::routes::{Ctx, Outcome};
use super::state::State;
use super::table::Millis;
use super::time;
use crate::host::{Reply, pairs};
use crate::multipart;

/// Largest page of files.
const MAX_LIMIT: usize = 100;

/// Links that a file may have, and the kind each points to.
const LINKS: [(&str, Option<Kind>); 7] = [
    ("deal_id", Some(Kind::Deal)),
    ("person_id", Some(Kind::Person)),
    ("org_id", Some(Kind::Organization)),
    ("product_id", Some(Kind::Product)),
    ("activity_id", Some(Kind::Activity)),
    ("lead_id", Some(Kind::Lead)),
    ("project_id", None),
];

/// A file with its content.
#[derive(Clone, Debug)]
pub(super) struct File {
    name: String,
    description: String,
    content: Bytes,
    links: Map<String, Value>,
    user: i64,
    added: Millis,
    updated: Millis,
    active: bool,
}

pub(super) type Files = BTreeMap<i64, File>;

fn one(data: &Value) -> Reply {
    Reply::json(200, &json!({ "success": true, "data": data }))
}

/// `img` for pictures, else the name's ending.
fn file_type(name: &str) -> String {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending).to_lowercase();
    match ending.as_str() {
        "jpg" | "jpeg" | "png" | "gif" => "img".into(),
        "" => "file".into(),
        _ => ending,
    }
}

impl State {
    fn file_json(&self, ctx: &Ctx, id: i64, file: &File) -> Value {
        let mut row = json!({
            "id": id, "user_id": file.user, "log_id": null, "add_time": time::v1(file.added), "update_time": time::v1(file.updated),
            "file_name": format!("{id}_{}", file.name), "file_type": file_type(&file.name), "file_size": file.content.len(),
            "active_flag": file.active, "inline_flag": false, "remote_location": "s3", "remote_id": file.name, "cid": null,
            "s3_bucket": null, "mail_message_id": null, "mail_template_id": null, "name": file.name, "description": file.description,
            "url": format!("{}/api/v1/files/{id}/download", ctx.call.origin),
        });
        for (key, kind) in LINKS {
            let link = file.links.get(key).cloned().unwrap_or_default();
            let name = kind.map_or(Value::Null, |kind| self.linked_name(kind, &link));
            row[key.replace("_id", "_name")] = name;
            row[key] = link;
        }
        // Activities have no name here.
        if let Some(row) = row.as_object_mut() {
            row.remove("activity_name");
        }
        row
    }

    fn linked_name(&self, kind: Kind, link: &Value) -> Value {
        let id = link.as_i64().or_else(|| self.leads.get(link.as_str()?).copied());
        let record = id.and_then(|id| self.record(kind, id));
        let key = if matches!(kind, Kind::Deal | Kind::Lead) { "title" } else { "name" };
        record
            .map_or(Value::Null, |record| record.version.body.get(key).cloned().unwrap_or_default())
    }

    /// Files that hang on a record.
    pub(super) fn files_on(&self, key: &str, id: i64) -> usize {
        let held = self.shelf.files.values().filter(|file| file.active);
        held.filter(|file| file.links.get(key).and_then(Value::as_i64) == Some(id)).count()
    }
}

fn page_of(state: &State, ctx: &Ctx, keep: impl Fn(&File) -> bool) -> Outcome {
    let limit = ctx.call.query("limit").and_then(|text| text.parse::<usize>().ok());
    if limit.is_some_and(|limit| limit > MAX_LIMIT) && !state.settings.switches.clamp_limit {
        return Err(Refusal::new(400, "Limit must be at most 100"));
    }
    let sort = ctx.call.query("sort").unwrap_or("id ASC");
    let mut held: Vec<(&i64, &File)> =
        state.shelf.files.iter().filter(|(_, file)| file.active && keep(file)).collect();
    if sort.starts_with("update_time") {
        held.sort_by_key(|(id, file)| (file.updated, **id));
    }
    if sort.to_lowercase().ends_with(" desc") {
        held.reverse();
    }
    let rows = held.into_iter().map(|(id, file)| state.file_json(ctx, *id, file)).collect();
    page::v1_list(state, ctx, rows)
}

/// `GET /v1/files`
pub(super) fn list(state: &mut State, ctx: &Ctx) -> Outcome {
    page_of(state, ctx, |_| true)
}

/// `GET /v1/{kind}/{id}/files`
pub(super) fn of_record(state: &mut State, ctx: &Ctx) -> Outcome {
    let id = state.readable_record(ctx, ctx.kind, ctx.id(0)?)?.id;
    let key = ctx.kind.link().unwrap_or_default();
    page_of(state, ctx, |file| file.links.get(key).and_then(Value::as_i64) == Some(id))
}

/// `POST /v1/files`: the part `file` and what it hangs on.
pub(super) fn add(state: &mut State, ctx: &Ctx) -> Outcome {
    let parts = multipart::parts(ctx.call).unwrap_or_default();
    let file = parts.iter().find(|part| part.name == "file");
    let file = file.ok_or_else(|| Refusal::new(400, "No files were uploaded"))?;
    let mut links = Map::new();
    for (key, kind) in LINKS {
        let given = parts.iter().find(|part| part.name == key).map(multipart::Part::text);
        let Some(text) = given.filter(|text| !text.is_empty()) else { continue };
        let number = text.parse::<i64>().ok();
        let known = match kind {
            Some(Kind::Lead) => state.leads.contains_key(&text),
            Some(kind) => number.is_some_and(|id| state.live(kind, id).is_some()),
            None => true,
        };
        if !known {
            return Err(Refusal::new(400, &format!("{key} is not valid.")));
        }
        links.insert(key.into(), number.map_or(Value::String(text), Value::from));
    }
    let file = File {
        name: file.file_name.clone().unwrap_or_else(|| "file".into()),
        description: String::new(),
        content: file.content.clone(),
        links,
        user: ctx.by.user,
        added: ctx.now,
        updated: ctx.now,
        active: true,
    };
    let id = state.shelf.files.last_key_value().map_or(1, |(id, _)| id + 1);
    let row = state.file_json(ctx, id, &file);
    state.shelf.files.insert(id, file);
    Ok(one(&row).wrote(1))
}

fn found<'a>(state: &'a State, ctx: &Ctx) -> Result<(i64, &'a File), Refusal> {
    let id = ctx.id(0)?;
    let file = state.shelf.files.get(&id).ok_or_else(|| Refusal::not_found("File"))?;
    Ok((id, file))
}

/// `GET /v1/files/{id}`: a deleted file answers too.
pub(super) fn get(state: &mut State, ctx: &Ctx) -> Outcome {
    let (id, file) = found(state, ctx)?;
    Ok(one(&state.file_json(ctx, id, file)))
}

/// `GET /v1/files/{id}/download`
pub(super) fn download(state: &mut State, ctx: &Ctx) -> Outcome {
    let (_, file) = found(state, ctx)?;
    if !file.active {
        return Err(Refusal::not_found("File"));
    }
    let name = file.name.replace(['"', '\r', '\n'], "_");
    let name: String = name.chars().map(|sign| if sign.is_ascii() { sign } else { '_' }).collect();
    Ok(Reply { body: file.content.clone(), ..Reply::empty(200) }
        .header("content-type", "application/octet-stream")
        .header("content-disposition", format!("attachment; filename=\"{name}\"")))
}

/// `PUT /v1/files/{id}`: name and description, as a form.
pub(super) fn change(state: &mut State, ctx: &Ctx) -> Outcome {
    let (id, file) = found(state, ctx)?;
    let mut file = file.clone();
    for (key, value) in pairs(&String::from_utf8_lossy(&ctx.call.body)) {
        match key.as_str() {
            "name" => file.name = value,
            "description" => file.description = value,
            _ => {}
        }
    }
    file.updated = ctx.now;
    let row = state.file_json(ctx, id, &file);
    state.shelf.files.insert(id, file);
    Ok(one(&row).wrote(1))
}

/// `DELETE /v1/files/{id}`
pub(super) fn delete(state: &mut State, ctx: &Ctx) -> Outcome {
    let (id, _) = found(state, ctx)?;
    if let Some(file) = state.shelf.files.get_mut(&id) {
        (file.active, file.updated) = (false, ctx.now);
    }
    Ok(one(&json!({ "id": id })).wrote(1))
}
