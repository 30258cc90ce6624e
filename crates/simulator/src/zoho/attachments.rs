//! Attachments of records, and the file store that fields of files refer to.
//!
//! Source: Zoho CRM API v8, "Attachments" and "Files".

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::oauth::Right;
use super::refusal::{Answer, Refusal};
use super::request::Request;
use super::schema::Module;
use super::state::State;
use crate::host::Reply;
use crate::multipart::{self, Part};

/// Files of one upload to the file store.
const MAX_FILES: usize = 10;

/// What an organisation holds of files.
#[derive(Debug, Default)]
pub(super) struct Files {
    attachments: BTreeMap<u64, Attachment>,
    /// Name and content by the id that fields of files hold.
    stored: BTreeMap<String, (String, Bytes)>,
    /// Name and content by record.
    photos: BTreeMap<u64, (String, Bytes)>,
}

#[derive(Debug)]
struct Attachment {
    module: String,
    parent: u64,
    name: String,
    content: Bytes,
    /// Where the file lies, when it was attached by its address.
    link: Option<String>,
    at: i64,
    by: u64,
}

/// All verbs of `/{module}/{id}/Attachments`.
pub(super) fn all(state: &mut State, request: &Request<'_>, module: &str, id: &str) -> Answer {
    match request.call.method.as_str() {
        "GET" => list(state, request, module, id),
        "POST" => attach(state, request, module, id),
        "DELETE" => {
            let ids = request.call.query("ids").ok_or_else(|| Refusal::param_missing("ids"))?;
            detach(state, request, module, id, ids)
        }
        _ => Err(Refusal::wrong_verb()),
    }
}

/// All verbs of `/{module}/{id}/Attachments/{attachment}`.
pub(super) fn one(
    state: &mut State,
    request: &Request<'_>,
    module: &str,
    id: &str,
    attachment: &str,
) -> Answer {
    match request.call.method.as_str() {
        "GET" => download(state, request, module, id, attachment),
        "DELETE" => detach(state, request, module, id, attachment),
        _ => Err(Refusal::wrong_verb()),
    }
}

/// The parent, when the token may do this to its attachments.
fn parent<'a>(
    state: &'a State,
    request: &Request<'_>,
    module: &str,
    id: &str,
    right: Right,
) -> Result<(&'a Module, u64), Refusal> {
    let module = state.module(module, 0)?;
    request.may_read(module)?;
    request.access.require("modules", "attachments", right)?;
    let found =
        request.record(module, &module.table, id, 1)?.filter(|id| module.table.get(*id).is_some());
    let found = found.ok_or_else(|| Refusal::invalid_id(json!({ "resource_path_index": 1 })))?;
    Ok((module, found))
}

fn list(state: &State, request: &Request<'_>, module: &str, id: &str) -> Answer {
    let (module, parent) = parent(state, request, module, id, Right::Read)?;
    let fields = request.fields()?;
    let per_page = request.per_page(200)?;
    let page = usize::try_from(request.page()?).unwrap_or(usize::MAX);
    let mut rows = state
        .files
        .attachments
        .iter()
        .rev()
        .filter(|(_, held)| held.module == module.api_name && held.parent == parent)
        .skip((page - 1).saturating_mul(per_page))
        .peekable();
    let shown: Vec<Value> = rows
        .by_ref()
        .take(per_page)
        .map(|(id, held)| selected(object(state, request, module, *id, held), &fields))
        .collect();
    if shown.is_empty() {
        return Ok(Reply::empty(204));
    }
    let info = json!({
        "per_page": per_page, "count": shown.len(), "page": page, "more_records": rows.peek().is_some(),
        "next_page_token": null, "previous_page_token": null, "page_token_expiry": null,
    });
    Ok(Reply::json(200, &json!({ "data": shown, "info": info })))
}

fn object(
    state: &State,
    request: &Request<'_>,
    module: &Module,
    id: u64,
    held: &Attachment,
) -> Map<String, Value> {
    let (at, by) = (request.zone.millis(held.at), state.owner_ref(held.by));
    let name =
        module.table.get(held.parent).map_or(Value::Null, |row| module.display_name(&row.fields));
    let object = json!({
        "id": id.to_string(), "File_Name": held.name, "Size": held.content.len().to_string(),
        "Owner": by, "Created_By": by, "Modified_By": by, "Created_Time": at, "Modified_Time": at,
        "Parent_Id": { "name": name, "id": held.parent.to_string() },
        "$file_id": id.to_string(), "$type": if held.link.is_some() { "Link URL" } else { "Attachment" },
        "$link_url": held.link, "$se_module": module.api_name, "$editable": true, "$state": "save",
    });
    let Value::Object(object) = object else { return Map::new() };
    object
}

/// The fields asked for, the id, and the keys with a dollar.
fn selected(mut object: Map<String, Value>, fields: &[String]) -> Value {
    object.retain(|key, _| key == "id" || key.starts_with('$') || fields.contains(key));
    object.into()
}

/// Attaches the part `file`, or what lies at `attachmentUrl`.
fn attach(state: &mut State, request: &Request<'_>, module: &str, id: &str) -> Answer {
    let (module, parent) = parent(state, request, module, id, Right::Create)?;
    let module = module.api_name.clone();
    let parts = multipart::parts(request.call).unwrap_or_default();
    let given = |key: &str| parts.iter().find(|part| part.name == key);
    let link = request
        .call
        .query("attachmentUrl")
        .map(str::to_owned)
        .or_else(|| given("attachmentUrl").map(Part::text));
    let title =
        request.call.query("title").map(str::to_owned).or_else(|| given("title").map(Part::text));
    let (name, content) = match (given("file"), &link) {
        (Some(file), _) => {
            (file.file_name.clone().unwrap_or_else(|| "file".into()), file.content.clone())
        }
        (None, Some(link)) => (title.unwrap_or_else(|| link.clone()), Bytes::new()),
        (None, None) => return Err(Refusal::mandatory("file", "$.file")),
    };
    let attachment = Attachment {
        module,
        parent,
        name,
        content,
        link,
        at: state.now(),
        by: request.access.user,
    };
    let id = state.fresh_id();
    let (at, by) = (request.zone.millis(attachment.at), state.user_ref(attachment.by));
    state.files.attachments.insert(id, attachment);
    let details = json!({ "Modified_Time": at, "Modified_By": by, "Created_Time": at, "id": id.to_string(), "Created_By": by });
    let status = json!({ "code": "SUCCESS", "details": details, "message": "attachment uploaded successfully", "status": "success" });
    Ok(Reply::json(200, &json!({ "data": [status] })).wrote(1))
}

fn download(
    state: &State,
    request: &Request<'_>,
    module: &str,
    id: &str,
    attachment: &str,
) -> Answer {
    let (module, parent) = parent(state, request, module, id, Right::Read)?;
    let held = attachment.parse().ok().and_then(|id: u64| state.files.attachments.get(&id));
    let held = held.filter(|held| held.module == module.api_name && held.parent == parent);
    Ok(held.map_or_else(|| Reply::empty(204), |held| file(&held.name, &held.content)))
}

/// A file as it comes down.
pub(super) fn file(name: &str, content: &Bytes) -> Reply {
    Reply { body: content.clone(), ..Reply::empty(200) }
        .header("content-type", "application/x-download")
        .header("content-disposition", format!("attachment;filename*=UTF-8''{}", encoded(name)))
}

/// A text as it stands in a header or behind a question mark.
pub(super) fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |text, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text + &char::from(byte).to_string()
        } else {
            text + &format!("%{byte:02X}")
        }
    })
}

fn detach(
    state: &mut State,
    request: &Request<'_>,
    module: &str,
    id: &str,
    attachments: &str,
) -> Answer {
    let (_, parent) = parent(state, request, module, id, Right::Delete)?;
    let (mut rows, mut gone) = (Vec::new(), 0);
    for text in attachments.split(',').map(str::trim) {
        let id = text.parse().unwrap_or(0);
        let held = state.files.attachments.get(&id).is_some_and(|held| held.parent == parent);
        rows.push(if held {
            state.files.attachments.remove(&id);
            gone += 1;
            json!({ "code": "SUCCESS", "details": { "id": text }, "message": "record deleted", "status": "success" })
        } else {
            Refusal::new(400, "INVALID_DATA", "record not deleted", json!({ "id": text })).object()
        });
    }
    let status = match gone {
        0 => 400,
        gone if gone < rows.len() => 207,
        _ => 200,
    };
    Ok(Reply::json(status, &json!({ "data": rows })).wrote(gone))
}

/// All verbs of `/{module}/{id}/photo`.
pub(super) fn photo(state: &mut State, request: &Request<'_>, module: &str, id: &str) -> Answer {
    let schema = state.module(module, 0)?;
    let pictured = matches!(module, "Leads" | "Contacts" | "Accounts" | "Products" | "Vendors");
    if !schema.custom && !pictured {
        return Err(Refusal::wrong_url());
    }
    let right = if request.call.method == "GET" { Right::Read } else { Right::Update };
    request.may(schema, right)?;
    let found =
        request.record(schema, &schema.table, id, 1)?.filter(|id| schema.table.get(*id).is_some());
    let id = found.ok_or_else(|| Refusal::invalid_id(json!({ "resource_path_index": 1 })))?;
    let message = match request.call.method.as_str() {
        "GET" => {
            let photo = state.files.photos.get(&id);
            return Ok(photo.map_or_else(|| Reply::empty(204), |(name, photo)| file(name, photo)));
        }
        "POST" => {
            let parts = multipart::parts(request.call).unwrap_or_default();
            let sent = parts.into_iter().find(|part| part.name == "file");
            let sent = sent.ok_or_else(|| Refusal::mandatory("file", "$.file"))?;
            let name = sent.file_name.unwrap_or_else(|| "photo".into());
            state.files.photos.insert(id, (name, sent.content));
            "photo uploaded successfully"
        }
        "DELETE" => {
            state.files.photos.remove(&id);
            "Photo deleted"
        }
        _ => return Err(Refusal::wrong_verb()),
    };
    Ok(Reply::json(
        200,
        &json!({ "code": "SUCCESS", "details": {}, "message": message, "status": "success" }),
    )
    .wrote(1))
}

/// `POST /files`: at most ten parts named `file`.
pub(super) fn store(state: &mut State, request: &Request<'_>) -> Answer {
    request.access.require("files", "", Right::Create)?;
    let parts = multipart::parts(request.call).unwrap_or_default();
    let files: Vec<&Part> = parts.iter().filter(|part| part.file_name.is_some()).collect();
    if files.is_empty() {
        return Err(Refusal::mandatory("file", "$.file"));
    }
    if files.len() > MAX_FILES {
        let details = json!({ "limit": MAX_FILES, "api_name": "file" });
        let message = "You have exceeded the maximum limit";
        return Err(Refusal::new(400, "LIMIT_EXCEEDED", message, details));
    }
    let mut rows = Vec::new();
    for part in files {
        let name = part.file_name.clone().unwrap_or_default();
        let number = state.fresh_id();
        let text = format!("file {} {number}", state.seed);
        let id = blake3::hash(text.as_bytes()).to_hex().as_str().to_owned();
        state.files.stored.insert(id.clone(), (name.clone(), part.content.clone()));
        rows.push(json!({ "code": "SUCCESS", "details": { "name": name, "id": id }, "message": "file uploaded successfully", "status": "success" }));
    }
    Ok(Reply::json(200, &json!({ "data": rows })))
}

/// `GET /files?id=`.
pub(super) fn fetch(state: &State, request: &Request<'_>) -> Answer {
    request.access.require("files", "", Right::Read)?;
    let id = request.call.query("id").ok_or_else(|| Refusal::param_missing("id"))?;
    let (name, content) = state.files.stored.get(id).ok_or_else(|| Refusal::invalid_param("id"))?;
    Ok(file(name, content))
}
