//! What only v1 has: notes, leads, recents, changelogs, merges; and search.

use std::time::Duration;

use chrono::TimeDelta;
use crmsync_simulator::fault::Fault;
use crmsync_simulator::host::Service;
use crmsync_simulator::pipedrive::Loss;
use serde_json::{Value, json};

use crate::Desk;

#[test]
fn given_a_note_on_a_deal_when_written_then_it_is_cleaned_and_linked_to_the_deals_person_and_organization()
 {
    let desk = Desk::new();
    desk.pipedrive.add("organizations", json!({ "name": "Acme" }));
    desk.pipedrive.add("persons", json!({ "name": "Ada" }));
    desk.pipedrive.add("deals", json!({ "title": "Pilot", "person_id": 1, "org_id": 1 }));

    let (status, loose) = desk.json("POST /v1/notes", &json!({ "content": "x" }));
    let note = desk.ok(
        "POST /v1/notes",
        &json!({ "content": "<p onclick='x()'>Hi</p>", "deal_id": 1, "pinned_to_deal_flag": 1 }),
    );
    desk.ok("PUT /v1/notes/1", &json!({ "content": "<p>Ho</p>" }));
    let deleted = desk.ok("DELETE /v1/notes/1", &Value::Null);

    assert_eq!(status, 400);
    assert_eq!(
        loose["error"],
        "Note must be associated with at least one organization, person, deal, lead or project."
    );
    let note = &note["data"];
    assert_eq!(
        (&note["content"], &note["person_id"], &note["org_id"]),
        (&json!("<p>Hi</p>"), &json!(1), &json!(1))
    );
    assert_eq!(
        (&note["deal"]["title"], &note["add_time"]),
        (&json!("Pilot"), &json!("2026-05-15 10:00:00"))
    );
    assert_eq!(deleted["data"], true);
    assert_eq!(desk.get("/v1/notes/1")["data"]["active_flag"], false);
    assert_eq!(desk.get("/v1/notes")["data"], json!([]));
}

#[test]
fn given_a_lead_when_worked_on_then_its_times_have_milliseconds_and_it_converts_into_a_deal() {
    let desk = Desk::new();
    let code = desk.pipedrive.add_field("deals", "External id", "varchar", &[]);
    desk.pipedrive.add("persons", json!({ "name": "Ada" }));

    let alone = desk.json("POST /v1/leads", &json!({ "title": "Lead" })).1;
    let lead = desk.ok("POST /v1/leads", &json!({ "title": "Lead", "person_id": 1, "value": { "amount": 500, "currency": "EUR" }, &code: "x-1" }));
    let uuid = lead["data"]["id"].as_str().unwrap();
    let page = desk.get("/v1/leads?updated_since=2026-05-15T10:00:00Z&sort=update_time%20ASC");
    let job = desk.ok(&format!("POST /api/v2/leads/{uuid}/convert/deal"), &json!({}));
    let job = desk.get(&format!(
        "/api/v2/leads/{uuid}/convert/status/{}",
        job["data"]["conversion_id"].as_str().unwrap()
    ));

    assert_eq!(alone["error"], "One of the \"person_id\" or \"organization_id\" must be set.");
    assert_eq!(
        (&lead["data"]["add_time"], &lead["data"][&code]),
        (&json!("2026-05-15T10:00:00.250Z"), &json!("x-1"))
    );
    assert_eq!(page["data"].as_array().unwrap().len(), 1);
    assert_eq!((&job["data"]["status"], &job["data"]["deal_id"]), (&json!("completed"), &json!(1)));
    assert_eq!(
        desk.json(&format!("GET /v1/leads/{uuid}"), &Value::Null).1["error"],
        "requested lead not found"
    );
    let deal = desk.get("/api/v2/deals/1")["data"].clone();
    assert_eq!(
        (&deal["value"], &deal["person_id"], &deal["custom_fields"][&code]),
        (&json!(500), &json!(1), &json!("x-1"))
    );
}

#[test]
fn given_changes_when_recents_are_read_then_they_come_in_v1_form_with_the_deleted_ones_and_one_month_back()
 {
    let desk = Desk::new();
    desk.pipedrive.add("persons", json!({ "name": "Old" }));
    desk.pass(31 * 86_400);
    desk.pipedrive
        .add("persons", json!({ "name": "Ada", "emails": [{ "value": "ada@example.com" }] }));
    desk.pipedrive.add("deals", json!({ "title": "Pilot" }));
    desk.pipedrive.delete("deals", 1);

    let recents =
        desk.get("/v1/recents?since_timestamp=2026-01-01%2000:00:00&items=person,deal,stage");

    let rows = recents["data"].as_array().unwrap();
    let seen: Vec<_> = rows
        .iter()
        .map(|row| (row["item"].as_str().unwrap(), row["id"].as_i64().unwrap()))
        .collect();
    assert_eq!(seen, [("person", 2), ("deal", 1)]);
    assert_eq!(rows[1]["data"]["deleted"], true);
    assert_eq!(rows[0]["data"]["phone"], json!([{ "value": "", "primary": true }]));
    assert_eq!(rows[0]["data"]["update_time"], "2026-06-15 10:00:00");
}

#[test]
fn given_edits_by_a_person_and_by_the_api_when_the_changelog_is_read_then_it_tells_them_apart() {
    let desk = Desk::new();
    desk.pipedrive.add("deals", json!({ "title": "A" }));
    desk.pipedrive.edit("deals", 1, json!({ "title": "B" }));
    desk.ok("PATCH /api/v2/deals/1", &json!({ "title": "C" }));

    let log = desk.get("/v1/deals/1/changelog");

    let rows: Vec<_> = log["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (row["old_value"].clone(), row["new_value"].clone(), row["change_source"].clone())
        })
        .collect();
    assert_eq!(
        rows,
        [(json!("B"), json!("C"), json!("api")), (json!("A"), json!("B"), json!("app"))]
    );
}

#[test]
fn given_two_persons_when_merged_then_the_survivor_keeps_its_data_and_gets_the_losers_children() {
    let desk = Desk::new();
    desk.pipedrive.add("persons", json!({ "name": "Ada", "emails": [{ "value": "a@x" }] }));
    desk.pipedrive.add("persons", json!({ "name": "Ada B", "emails": [{ "value": "b@x" }] }));
    desk.pipedrive.add("deals", json!({ "title": "Pilot", "person_id": 2 }));

    let answer = desk.ok("PUT /v1/persons/2/merge", &json!({ "merge_with_id": 1 }));

    assert_eq!((&answer["data"]["id"], &answer["data"]["merge_what_id"]), (&json!(1), &json!(2)));
    assert_eq!(desk.json("GET /api/v2/persons/2", &Value::Null).0, 404);
    let person = desk.get("/api/v2/persons/1")["data"].clone();
    assert_eq!((&person["name"], person["emails"].as_array().unwrap().len()), (&json!("Ada"), 2));
    assert_eq!(desk.get("/api/v2/deals/1")["data"]["person_id"], 1);
}

#[test]
fn given_a_search_when_its_index_lags_then_it_finds_what_was_and_minds_case_where_told() {
    let desk = Desk::new();
    let code = desk.pipedrive.add_field("persons", "External id", "varchar", &[]);
    let record = json!({ "name": "Ada Byron", "emails": [{ "value": "Ada@Example.com" }], "custom_fields": { "External id": "Ext-42" } });
    desk.pipedrive.add("persons", record);
    let found = |line: &str| {
        let data = desk.get(line)["data"].clone();
        data.as_array().or(data["items"].as_array()).unwrap().len()
    };
    let exact =
        format!("/api/v2/itemSearch/field?entity_type=person&field={code}&match=exact&term=");
    assert_eq!(found(&format!("{exact}Ext-42")), 0, "the index lags");
    desk.pass(2);

    #[rustfmt::skip]
    let cases = [
        (format!("{exact}Ext-42"), 1), (format!("{exact}ext-42"), 0), (format!("{exact}Ext-4"), 0),
        (exact.replace("exact", "beginning") + "Ext", 1),
        ("/api/v2/persons/search?term=ada@example.com&fields=email&exact_match=true".to_owned(), 1),
        ("/api/v2/persons/search?term=byron&fields=name".into(), 1),
        ("/api/v2/persons/search?term=byron&fields=name&exact_match=true".into(), 0),
        ("/api/v2/itemSearch?term=ext-42&item_types=person".into(), 1),
        ("/api/v2/itemSearch/field?entity_type=person&field=email&term=Ada@Example.com".into(), 1),
    ];

    for (line, count) in cases {
        assert_eq!(found(&line), count, "{line}");
    }
    desk.pipedrive.edit("persons", 1, json!({ "custom_fields": { "External id": "new" } }));
    assert_eq!(found(&format!("{exact}Ext-42")), 1, "the old value still answers");
    assert_eq!(desk.json("GET /api/v2/persons/search?term=a", &Value::Null).0, 400);
}

#[test]
fn given_product_rows_when_attached_then_they_set_the_deals_value() {
    let desk = Desk::new();
    desk.ok(
        "POST /api/v2/products",
        &json!({ "name": "Seat", "prices": [{ "currency": "EUR", "price": 90 }] }),
    );
    desk.ok("POST /api/v2/deals", &json!({ "title": "Pilot" }));

    let row = desk.ok(
        "POST /api/v2/deals/1/products",
        &json!({ "product_id": 1, "item_price": 90, "quantity": 1.5, "discount": 10 }),
    );

    assert_eq!((&row["data"]["sum"], &row["data"]["comments"]), (&json!(121.5), &json!("")));
    assert_eq!(desk.get("/api/v2/deals/1")["data"]["value"], 121.5);
    let written = desk.ok("PATCH /api/v2/deals/1", &json!({ "value": 7 }));
    assert_eq!(written["data"]["value"], 121.5, "the rows win");
    desk.ok("DELETE /api/v2/deals/1/products?ids=1", &Value::Null);
    assert_eq!(desk.get("/api/v2/deals/1/products")["data"], json!([]));
}

#[test]
fn given_a_stale_list_when_read_then_it_shows_the_past() {
    let desk = Desk::new();
    desk.pipedrive.add("persons", json!({ "name": "Ada" }));
    desk.pass(10);
    desk.pipedrive.edit("persons", 1, json!({ "name": "Eva" }));
    desk.pipedrive.add("persons", json!({ "name": "New" }));
    let mut call = desk.call("GET /api/v2/persons?sort_by=update_time", "");
    call.fault = Some(Fault::Stale { by: Duration::from_secs(5) });

    let reply: Value = serde_json::from_slice(&desk.pipedrive.answer(&call).body).unwrap();

    assert_eq!(
        (&reply["data"][0]["name"], reply["data"].as_array().unwrap().len()),
        (&json!("Ada"), 1)
    );
    assert_eq!(desk.ids("/api/v2/persons"), [1, 2]);
}

#[test]
fn given_rows_committed_late_when_listed_then_they_appear_afterwards_with_their_older_second() {
    let desk = Desk::new();
    desk.pipedrive.commit_late(1, 1_000, TimeDelta::seconds(30));
    desk.pipedrive.add("persons", json!({ "name": "Late" }));

    let before = desk.ids("/api/v2/persons");
    desk.pass(30);
    let after = desk.get("/api/v2/persons")["data"].clone();

    assert_eq!(before, Vec::<i64>::new());
    assert_eq!(after[0]["update_time"], "2026-05-15T10:00:00Z");
}

#[test]
fn given_server_rules_when_written_then_they_bend_refuse_and_rewrite() {
    let desk = Desk::new();
    desk.pipedrive.truncate_field("persons", "name", 3);
    desk.pipedrive.refuse_value("persons", "label_ids", json!(5));
    desk.pipedrive.automate("deals", TimeDelta::seconds(60), |deal| {
        (deal["probability"].is_null()).then(|| json!({ "probability": 50 }))
    });

    let person = desk.ok("POST /api/v2/persons", &json!({ "name": "Adelaide" }));
    let refused = desk.json("PATCH /api/v2/persons/1", &json!({ "label_ids": [5] })).0;
    desk.ok("POST /api/v2/deals", &json!({ "title": "Pilot" }));
    let early = desk.get("/api/v2/deals/1")["data"]["probability"].clone();
    desk.pass(60);
    let late = desk.get("/api/v2/deals/1")["data"].clone();

    assert_eq!((&person["data"]["name"], refused), (&json!("Ade"), 400));
    assert_eq!(
        (early, &late["probability"], &late["update_time"]),
        (Value::Null, &json!(50), &json!("2026-05-15T10:01:00Z"))
    );
}

#[test]
fn given_lost_rights_when_read_then_rows_vanish_or_calls_are_forbidden() {
    let desk = Desk::new();
    desk.pipedrive.add("persons", json!({ "name": "Ada" }));

    desk.pipedrive.lose("persons", Loss::Rows);
    let vanished =
        (desk.ids("/api/v2/persons"), desk.json("GET /api/v2/persons/1", &Value::Null).0);
    desk.pipedrive.lose("persons", Loss::Forbidden);
    let forbidden = desk.json("GET /api/v2/persons", &Value::Null).0;
    desk.pipedrive.regain("persons");

    assert_eq!(vanished, (vec![], 404));
    assert_eq!((forbidden, desk.ids("/api/v2/persons")), (403, vec![1]));
}

#[test]
fn given_another_users_private_record_when_listed_then_it_is_not_there() {
    let mut desk = Desk::new();
    desk.pipedrive.add("persons", json!({ "name": "Mine", "visible_to": 1 }));
    desk.pipedrive.add("persons", json!({ "name": "Ours", "visible_to": 7 }));
    let user = desk.pipedrive.add_user("Bob", "bob@example.com", "UTC");
    let permitted = desk.get("/v1/persons/1/permittedUsers")["data"].clone();
    assert_eq!(permitted, json!([desk.pipedrive.owner()]));
    let token = desk.pipedrive.api_token_of(user);
    desk.set("x-api-token", &token);

    assert_eq!(desk.ids("/api/v2/persons"), [2]);
    assert_eq!(desk.json("GET /api/v2/persons/1", &Value::Null).0, 404);
    assert_eq!(
        desk.json(
            "POST /api/v2/personFields",
            &json!({ "field_name": "A", "field_type": "varchar" })
        )
        .0,
        403
    );
}

#[test]
fn given_metadata_that_drifts_when_written_then_the_new_rules_hold() {
    let desk = Desk::new();
    let code = desk.pipedrive.add_field("persons", "Tier", "varchar", &[]);
    let write = |value: Value| {
        desk.json("PATCH /api/v2/persons/1", &json!({ "custom_fields": { &code: value } })).0
    };
    desk.ok("POST /api/v2/persons", &json!({ "name": "Ada", "custom_fields": { &code: "Gold" } }));

    desk.pipedrive.cap_field("persons", &code, 3);
    let too_long = write(json!("Silver"));
    desk.pipedrive.retype_field("persons", &code, "double");
    let (old_type, new_type) = (write(json!("One")), write(json!(1)));
    desk.pipedrive.require_field("persons", &code);
    let bare = desk.json("POST /api/v2/persons", &json!({ "name": "Eva" })).0;
    desk.pipedrive.lock("persons", 1);
    let locked = write(json!(2));
    desk.pipedrive.clear_rules();
    desk.pipedrive.delete_field("persons", &code);

    assert_eq!((too_long, old_type, new_type, bare, locked), (400, 400, 200, 400, 403));
    assert_eq!(write(json!(3)), 400, "the code of a deleted field is unknown");
}

#[test]
fn given_retired_paths_when_a_switch_turns_them_off_then_they_are_gone() {
    let desk = Desk::new();
    desk.pipedrive.add("persons", json!({ "name": "Ada" }));

    let old = desk.get("/v1/persons/1")["data"].clone();
    desk.pipedrive.switch(|switches| switches.retired_v1_gone = true);

    assert_eq!((&old["first_char"], &old["owner_id"]["name"]), (&json!("a"), &json!("Sales")));
    assert_eq!(desk.json("GET /v1/persons/1", &Value::Null).0, 410);
}
