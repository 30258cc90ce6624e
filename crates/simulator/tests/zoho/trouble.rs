//! Faults inside calls, server rules, metadata that drifts.

use std::time::Duration;

use crmsync_simulator::fault::Fault;
use serde_json::{Value, json};

use crate::desk::Desk;

fn three() -> Value {
    json!({ "data": [{ "Last_Name": "A" }, { "Last_Name": "B" }, { "Last_Name": "C" }] })
}

#[test]
fn given_a_fault_within_a_batch_when_written_then_effects_and_statuses_part() {
    let desk = Desk::open();

    let partial = desk.faulty("POST", "/Contacts", &three(), Fault::PartialRows { rows: 2 });
    let stored = desk.zoho.count("Contacts");
    let silent = desk.faulty("POST", "/Contacts", &three(), Fault::StatusesMissing { kept: 1 });

    assert_eq!((partial.at("/data").as_array().unwrap().len(), stored), (2, 2));
    assert_eq!((silent.at("/data").as_array().unwrap().len(), desk.zoho.count("Contacts")), (1, 5));
}

#[test]
fn given_a_stale_replica_when_read_then_the_past_is_shown() {
    let desk = Desk::open();
    let edited = desk.zoho.add("Contacts", json!({ "Last_Name": "Old" }));
    let deleted = desk.zoho.add("Contacts", json!({ "Last_Name": "Gone" }));
    desk.wait(60);
    desk.zoho.edit("Contacts", edited, json!({ "Last_Name": "New" }));
    desk.zoho.delete("Contacts", deleted);
    desk.zoho.add("Contacts", json!({ "Last_Name": "Fresh" }));
    let stale = || Fault::Stale { by: Duration::from_secs(30) };

    let listed = desk.faulty(
        "GET",
        "/Contacts?fields=Last_Name,Modified_Time&sort_order=asc",
        &Value::Null,
        stale(),
    );
    let feed = desk.faulty("GET", "/Contacts/deleted", &Value::Null, stale());

    assert_eq!(listed.ids(), [edited, deleted]);
    assert_eq!(listed.text("/data/0/Last_Name"), "Old");
    assert_eq!(listed.text("/data/0/Modified_Time"), "2026-03-10T10:00:00+01:00");
    assert_eq!(feed.status, 204);
    assert_eq!(desk.get("/Contacts/deleted").ids(), [deleted]);
}

#[test]
fn given_server_rules_when_written_then_values_are_cut_and_records_refused() {
    let desk = Desk::open();
    let id = desk.zoho.add("Contacts", json!({ "Last_Name": "Muster" }));
    desk.zoho.truncate_silently("Contacts", "Title", 3);
    desk.zoho.refuse_option("Contacts", "Lead_Source", "Chat");
    let update = |row: Value| desk.put(&format!("/Contacts/{id}"), &json!({ "data": [row] }));

    assert_eq!(update(json!({ "Title": "Bossman" })).status, 200);
    assert_eq!(desk.zoho.get("Contacts", id).unwrap()["Title"], "Bos");
    assert_eq!(update(json!({ "Lead_Source": "Chat" })).code(), "INVALID_DATA");
    assert_eq!(update(json!({ "Lead_Source": "Never heard" })).status, 200);
    desk.zoho.lock("Contacts", id);
    assert_eq!(update(json!({ "Title": "x" })).code(), "RECORD_LOCKED");
    assert_eq!(desk.delete(&format!("/Contacts/{id}")).code(), "RECORD_LOCKED");
    desk.zoho.unlock("Contacts", id);
    assert_eq!(desk.delete(&format!("/Contacts/{id}")).status, 200);
}

#[test]
fn given_metadata_that_drifts_when_read_and_written_then_calls_follow_it() {
    let desk = Desk::open();
    let id = desk.zoho.add(
        "Deals",
        json!({ "Deal_Name": "D", "Stage": "Id. Decision Makers", "Next_Step": "Call" }),
    );
    let path = format!("/Deals/{id}");

    assert_eq!(desk.get(&path).text("/data/0/Stage"), "Identify Decision Makers");
    desk.zoho.rename_option("Deals", "Stage", "Identify Decision Makers", "Find Deciders");
    assert_eq!(desk.get(&path).text("/data/0/Stage"), "Find Deciders");
    desk.zoho.change_field("Deals", "Next_Step", |field| field.length = 3);
    assert_eq!(
        desk.put(&path, &json!({ "data": [{ "Next_Step": "Call" }] })).code(),
        "INVALID_DATA"
    );
    desk.zoho.remove_field("Deals", "Next_Step");
    assert_eq!(desk.put(&path, &json!({ "data": [{ "Next_Step": "Call" }] })).status, 200);
    assert!(desk.get(&path).at("/data/0").get("Next_Step").is_none());
    desk.zoho.change_field("Deals", "Type", |field| field.mandatory = true);
    let row = json!({ "data": [{ "Deal_Name": "E", "Stage": "Qualification" }] });
    assert_eq!(desk.post("/Deals", &row).code(), "MANDATORY_NOT_FOUND");
}

#[test]
fn given_calls_nobody_would_send_when_answered_then_each_gets_a_refusal_and_none_brings_the_server_down()
 {
    let desk = Desk::open();
    let id = desk.zoho.add("Contacts", json!({ "Last_Name": "Muster" }));
    let deep = format!("select id from Contacts where {}id is null", "(".repeat(100_000));
    let brackets = format!("/Contacts/search?criteria={}", "(".repeat(100_000));

    let reads = [
        "/Contacts?fields=Email&page=18446744073709551615".to_owned(),
        "/Contacts/deleted?page=18446744073709551615".into(),
        "/users?page=18446744073709551615".into(),
        "/settings/recycle_bin?page=18446744073709551615".into(),
        format!("/Contacts/{id}/__timeline?page=18446744073709551615"),
        "/Contacts/search?word=xx&page=18446744073709551615".into(),
        "/Contacts/99999999999999999999999".into(),
        "/Contacts?fields=,,,&ids=,".into(),
        "/%00/%FF".into(),
        brackets,
    ];
    for path in reads {
        let answered = desk.get(&path);
        assert!(matches!(answered.status, 200 | 204 | 400 | 404), "{path}: {}", answered.status);
    }
    let call = json!({ "Subject": "C", "Call_Type": "Outbound", "Call_Start_Time": "2026-03-10T10:00:00Z", "Call_Duration": "18446744073709551615:59" });
    let writes = [
        ("/Contacts", json!([])),
        ("/Contacts", json!({ "data": {} })),
        ("/Contacts", json!({ "data": [] })),
        ("/Contacts", json!({ "data": [5] })),
        (
            "/Contacts",
            json!({ "data": [{ "Last_Name": { "id": [] }, "Owner": [], "Tag": [1], "Account_Name": { "id": {} } }] }),
        ),
        (
            "/Contacts/upsert",
            json!({ "data": [{ "Last_Name": "M" }], "duplicate_check_fields": "Email" }),
        ),
        ("/Calls", json!({ "data": [call] })),
        ("/coql", json!({ "select_query": deep })),
        (
            "/coql",
            json!({ "select_query": "select id from Contacts where id is not null limit 1 offset 18446744073709551615" }),
        ),
        ("/actions/watch", json!({ "watch": [{ "channel_id": {}, "events": [5] }] })),
    ];
    for (path, body) in writes {
        let answered = desk.post(path, &body);
        assert_eq!(answered.status, 400, "{path} {}", answered.body);
    }
    assert_eq!(desk.raw("POST", "/Contacts", &[], &Value::Null, None).status, 401);
}
