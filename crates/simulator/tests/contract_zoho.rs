//! The Zoho simulator against Zoho's OpenAPI documents, where they are at hand.
//!
//! The documents (zoho/crm-oas, v8.0) are looked for in `shared/oas/zoho-v8` beside or above the workspace; without
//! them the test says so and passes. Where the documents and Zoho's prose disagree, the prose wins and
//! the difference stands in [`ACCEPTED`] with its reason.

#[path = "zoho/desk.rs"]
#[expect(dead_code, reason = "shared with the other tests, which need more of it")]
mod desk;
#[path = "contract/schema.rs"]
mod schema;

use std::path::Path;

use serde_json::{Value, json};

use desk::{Answered, Desk};
use schema::Documents;

/// Where an answer may differ: call, place in the answer (`*` stands for any index), why.
const ACCEPTED: &[(&str, &str, &str)] = &[];

/// Name of the call, document, path and verb in it, answer.
type Case = (&'static str, &'static str, &'static str, &'static str, Answered);

#[test]
fn given_zohos_documents_when_answers_are_held_against_them_then_only_known_differences_remain() {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().skip(3);
    let Some(documents) = above
        .map(|folder| folder.join("shared/oas/zoho-v8"))
        .find_map(|folder| Documents::open(&folder))
    else {
        println!("skipped: no folder shared/oas/zoho-v8 beside the workspace");
        return;
    };

    let mut unknown = Vec::new();
    let mut met = vec![false; ACCEPTED.len()];
    for (name, document, path, verb, answered) in cases() {
        let schema = documents.response(document, path, verb, answered.status);
        let schema = schema.unwrap_or_else(|| {
            panic!("{name}: {document} does not tell of {} for {path}", answered.status)
        });
        for (place, difference) in documents.differences(document, schema, &answered.body) {
            let known = ACCEPTED
                .iter()
                .position(|(call, at, _)| (*call == name || *call == "*") && place.starts_with(at));
            match known {
                Some(known) => met[known] = true,
                None => unknown.push(format!("{name} {place}: {difference}")),
            }
        }
    }

    unknown.sort();
    unknown.dedup();
    assert!(unknown.is_empty(), "unlisted differences:\n{}", unknown.join("\n"));
    let stale: Vec<_> =
        ACCEPTED.iter().zip(met).filter(|(_, met)| !met).map(|(accepted, _)| accepted).collect();
    assert!(stale.is_empty(), "differences that are gone: {stale:?}");
}

fn cases() -> Vec<Case> {
    let desk = Desk::open();
    let account = desk.zoho.add("Accounts", json!({ "Account_Name": "Acme" }));
    let id = desk.zoho.add("Contacts", full_contact(account));
    let gone = desk.zoho.add("Contacts", json!({ "Last_Name": "Gone" }));
    desk.zoho.delete("Contacts", gone);
    let lead = desk.zoho.add("Leads", json!({ "Last_Name": "Lead", "Company": "Acme" }));
    let twin = desk.zoho.add("Contacts", json!({ "Last_Name": "Twin" }));
    let layout = desk.get("/settings/layouts?module=Deals").text("/layouts/0/id").to_owned();
    let row = |row: Value| json!({ "data": [row] });
    let coql = json!({ "select_query": "select Last_Name, Account_Name from Contacts where id is not null" });
    let merge = json!({ "merge": [{ "master_record_fields": [], "data": [{ "id": twin.to_string(), "_fields": [] }] }] });
    let channel = json!({ "watch": [{ "channel_id": "1", "events": ["Contacts.all"], "notify_url": "http://127.0.0.1:9/" }] });
    let list = "/Contacts?fields=Last_Name,Email,Account_Name,Owner,Tag,Created_Time,Modified_Time,Created_By,Modified_By";
    let records = "/crm/v8/{module_api_name}";
    let one = "/crm/v8/{module_api_name}/{id}";
    vec![
        ("list", "record.json", records, "get", desk.get(list)),
        ("single", "record.json", one, "get", desk.get(&format!("/Contacts/{id}"))),
        (
            "deleted",
            "record.json",
            "/crm/v8/{module_api_name}/deleted",
            "get",
            desk.get("/Contacts/deleted"),
        ),
        (
            "search",
            "record.json",
            "/crm/v8/{module_api_name}/search",
            "get",
            desk.get("/Contacts/search?word=muster"),
        ),
        (
            "insert",
            "record.json",
            records,
            "post",
            desk.post("/Contacts", &row(json!({ "Last_Name": "New" }))),
        ),
        (
            "update",
            "record.json",
            one,
            "put",
            desk.put(&format!("/Contacts/{id}"), &row(json!({ "Title": "Boss" }))),
        ),
        (
            "upsert",
            "record.json",
            "/crm/v8/{module_api_name}/upsert",
            "post",
            desk.post(
                "/Contacts/upsert",
                &row(json!({ "Last_Name": "U", "Email": "m@example.eu" })),
            ),
        ),
        ("coql", "coql.json", "/crm/v8/coql", "post", desk.post("/coql", &coql)),
        (
            "coql error",
            "coql.json",
            "/crm/v8/coql",
            "post",
            desk.post("/coql", &json!({ "select_query": "select id from Contacts" })),
        ),
        (
            "modules",
            "modules.json",
            "/crm/v8/settings/modules",
            "get",
            desk.get("/settings/modules"),
        ),
        (
            "module",
            "modules.json",
            "/crm/v8/settings/modules/{api_name}",
            "get",
            desk.get("/settings/modules/Contacts"),
        ),
        (
            "fields",
            "fields.json",
            "/crm/v8/settings/fields",
            "get",
            desk.get("/settings/fields?module=Contacts"),
        ),
        (
            "fields error",
            "fields.json",
            "/crm/v8/settings/fields",
            "get",
            desk.get("/settings/fields?module=Nope"),
        ),
        (
            "layouts",
            "layouts.json",
            "/crm/v8/settings/layouts",
            "get",
            desk.get("/settings/layouts?module=Contacts"),
        ),
        (
            "pipeline",
            "pipeline.json",
            "/crm/v8/settings/pipeline",
            "get",
            desk.get(&format!("/settings/pipeline?layout_id={layout}")),
        ),
        (
            "related lists",
            "related_lists.json",
            "/crm/v8/settings/related_lists",
            "get",
            desk.get("/settings/related_lists?module=Contacts"),
        ),
        ("users", "users.json", "/crm/v8/users", "get", desk.get("/users")),
        ("org", "org.json", "/crm/v8/org", "get", desk.get("/org")),
        (
            "currencies",
            "currencies.json",
            "/crm/v8/org/currencies",
            "get",
            with_currencies().get("/org/currencies"),
        ),
        (
            "recycle bin",
            "recycle_bin.json",
            "/crm/v8/settings/recycle_bin",
            "get",
            desk.get("/settings/recycle_bin"),
        ),
        (
            "convert",
            "convert_lead.json",
            "/crm/v8/Leads/{lead_id}/actions/convert",
            "post",
            desk.post(&format!("/Leads/{lead}/actions/convert"), &row(json!({}))),
        ),
        (
            "merge",
            "find_and_merge.json",
            "/crm/v8/{module}/{masterrecordid}/actions/merge",
            "post",
            desk.post(&format!("/Contacts/{id}/actions/merge"), &merge),
        ),
        (
            "tags",
            "tags.json",
            "/crm/v8/{module_api_name}/{record_id}/actions/add_tags",
            "post",
            desk.post(
                &format!("/Contacts/{id}/actions/add_tags"),
                &json!({ "tags": [{ "name": "vip" }] }),
            ),
        ),
        (
            "watch",
            "notifications.json",
            "/crm/v8/actions/watch",
            "post",
            desk.post("/actions/watch", &channel),
        ),
        (
            "watched",
            "notifications.json",
            "/crm/v8/actions/watch",
            "get",
            desk.get("/actions/watch"),
        ),
        ("delete", "record.json", one, "delete", desk.delete(&format!("/Contacts/{id}"))),
    ]
}

fn full_contact(account: u64) -> Value {
    json!({
        "Last_Name": "Muster", "First_Name": "Max", "Email": "m@example.eu", "Date_of_Birth": "1990-02-01",
        "Account_Name": { "id": account.to_string() }, "Tag": [{ "name": "vip" }], "Email_Opt_Out": true,
    })
}

fn with_currencies() -> Desk {
    Desk::with(|settings| settings.switches.currencies_enabled = true)
}
