//! Entity calls of v1: bodies of old, the same records.

use serde_json::{Value, json};

use crate::Desk;

#[test]
fn given_bodies_of_v1_when_written_then_v2_reads_the_same_records() {
    let desk = Desk::new();
    let tier = desk.pipedrive.add_field("persons", "Tier", "enum", &["Gold"]);
    let gold = desk.get("/v1/personFields?limit=500")["data"]
        .as_array()
        .and_then(|rows| rows.iter().find(|row| row["key"] == *tier).cloned())
        .unwrap()["options"][0]["id"]
        .clone();

    let (status, organization) =
        desk.json("POST /v1/organizations", &json!({ "name": "Acme", "address": "Main St 1" }));
    let person = json!({ "name": "Ada Byron", "email": ["ada@example.com"], "phone": "5", "org_id": 1, "visible_to": "3",
        "label": 5, "strange": 1, (tier.clone()): gold.to_string() });
    let person = desk.ok("POST /v1/persons", &person);
    desk.ok(
        "POST /v1/deals",
        &json!({ "title": "Pilot", "value": "25.5", "person_id": 1, "org_id": 1, "user_id": 7001 }),
    );
    let call = json!({ "subject": "Call", "type": "call", "done": 1, "deal_id": 1, "person_id": 1, "due_date": "2026-05-20" });
    desk.ok("POST /v1/activities", &call);
    desk.ok(
        "POST /v1/products",
        &json!({ "name": "Seat", "code": "S", "prices": [{ "currency": "EUR", "price": 3 }] }),
    );

    assert_eq!((status, &organization["additional_data"]["didMerge"]), (201, &json!(false)));
    assert_eq!(person["data"]["email"][0]["value"], "ada@example.com");
    let person = desk.get("/api/v2/persons/1")["data"].clone();
    assert_eq!(
        (&person["phones"][0]["value"], &person["label_ids"], &person["custom_fields"][&tier]),
        (&json!("5"), &json!([5]), &gold)
    );
    let deal = desk.get("/api/v2/deals/1")["data"].clone();
    assert_eq!((&deal["value"], &deal["owner_id"]), (&json!(25.5), &json!(7001)));
    let call = desk.get("/api/v2/activities/1")["data"].clone();
    assert_eq!((&call["done"], &call["person_id"]), (&json!(true), &json!(1)));
    assert_eq!(desk.get("/api/v2/organizations/1")["data"]["address"]["value"], "Main St 1");
}

#[test]
fn given_a_change_of_v1_when_put_then_only_what_it_names_changes() {
    let desk = Desk::new();
    desk.pipedrive
        .add("persons", json!({ "name": "Ada", "emails": [{ "value": "a@example.com" }] }));
    desk.pipedrive.add(
        "deals",
        json!({ "title": "Pilot", "expected_close_date": "2026-06-01", "person_id": 1 }),
    );

    desk.ok(
        "PUT /v1/persons/1",
        &json!({ "phone": [{ "value": "7", "label": "home", "primary": true }] }),
    );
    let deal = json!({ "expected_close_date": null, "status": "won", "label": "5,6" });
    let deal = desk.ok("PUT /v1/deals/1", &deal)["data"].clone();

    let person = desk.get("/api/v2/persons/1")["data"].clone();
    assert_eq!(
        (&person["emails"][0]["value"], &person["phones"][0]["label"]),
        (&json!("a@example.com"), &json!("home"))
    );
    assert_eq!(
        (&deal["expected_close_date"], &deal["status"], &deal["label"]),
        (&Value::Null, &json!("won"), &json!("5,6"))
    );
    assert_eq!(desk.json("PUT /v1/persons/9", &json!({ "name": "x" })).0, 404);
}

#[test]
fn given_wrong_bodies_of_v1_when_posted_then_its_own_words_refuse_them() {
    let desk = Desk::new();

    let cases = [
        ("persons", json!({}), "Name must be given."),
        ("organizations", json!({}), "Organization name must be given."),
        (
            "persons",
            json!({ "id": 1, "name": "x" }),
            "Inserting ID with POST request is not allowed.",
        ),
    ];

    for (plural, body, error) in cases {
        let (status, refused) = desk.json(&format!("POST /v1/{plural}"), &body);
        assert_eq!((status, &refused["error"]), (400, &json!(error)));
    }
    desk.pipedrive.switch(|switches| switches.retired_v1_gone = true);
    assert_eq!(desk.json("POST /v1/persons", &json!({ "name": "x" })).0, 410);
}

#[test]
fn given_records_when_v1_searches_and_nests_them_then_they_are_found() {
    let desk = Desk::new();
    desk.pipedrive.add("organizations", json!({ "name": "Acme" }));
    desk.pipedrive.add("persons", json!({ "name": "Ada", "org_id": 1 }));
    desk.pipedrive.add("deals", json!({ "title": "Pilot", "person_id": 1, "org_id": 1 }));
    desk.pipedrive.add("activities", json!({ "subject": "Call", "deal_id": 1 }));
    desk.pass(3);

    let cases = [
        "/v1/persons/1/deals",
        "/v1/organizations/1/deals",
        "/v1/organizations/1/persons",
        "/v1/deals/1/activities",
    ];

    for path in cases {
        assert_eq!(desk.ids(path), [1], "{path}");
    }
    let found = desk.get("/v1/persons/search?term=ada");
    assert_eq!(found["data"]["items"][0]["item"]["id"], 1);
    assert_eq!(found["additional_data"]["pagination"]["start"], 0);
    let anywhere = desk.get("/v1/itemSearch?term=pilot&item_types=deal,person&limit=1");
    assert_eq!(anywhere["data"]["items"][0]["item"]["type"], "deal");
}

#[test]
fn given_a_product_of_a_deal_when_added_in_v1_then_both_versions_list_it() {
    let desk = Desk::new();
    desk.pipedrive.add("deals", json!({ "title": "Pilot" }));
    desk.pipedrive.add("products", json!({ "name": "Seat" }));

    let row = json!({ "product_id": 1, "item_price": 3, "quantity": 2, "enabled_flag": 1 });
    let added = desk.ok("POST /v1/deals/1/products", &row);
    let listed = desk.get("/v1/deals/1/products");

    assert_eq!((&added["data"]["sum"], &added["data"]["enabled_flag"]), (&json!(6), &json!(true)));
    assert_eq!(listed["data"][0]["last_edit"], "2026-05-15 10:00:00");
    assert_eq!(desk.get("/api/v2/deals/1")["data"]["value"], 6);
}
