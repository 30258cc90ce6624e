//! Creating, changing and deleting records in v2.

use serde_json::{Value, json};

use crate::Desk;

#[test]
fn given_a_body_that_breaks_the_schema_when_written_then_it_is_refused_in_words() {
    let desk = Desk::new();
    let money = desk.pipedrive.add_field("deals", "Fee", "monetary", &[]);
    let tags = desk.pipedrive.add_field("organizations", "Tags", "set", &["A"]);
    let number = desk.pipedrive.add_field("organizations", "Size", "double", &[]);
    let at = desk.pipedrive.add_field("persons", "At", "time", &[]);
    desk.ok("POST /api/v2/persons", &json!({ "name": "Ada" }));
    desk.ok("POST /api/v2/deals", &json!({ "title": "Pilot" }));

    #[rustfmt::skip]
    let cases = [
        ("no name", "POST /api/v2/persons", json!({}), "Validation failed: name: Required field is missing"),
        ("no title", "POST /api/v2/deals", json!({}), "Validation failed: title: Required field is missing"),
        ("unknown key", "POST /api/v2/persons", json!({ "name": "A", "nick": "B" }), "Validation failed: nick: Unknown key 'nick'"),
        ("unknown custom key", "PATCH /api/v2/persons/1", json!({ "custom_fields": { "title": 1 } }), "Validation failed: custom_fields: Unknown key 'title'"),
        ("read-only key", "PATCH /api/v2/persons/1", json!({ "update_time": "2026-05-15T10:00:00Z" }), "Validation failed: update_time: Unknown key 'update_time'"),
        ("number as text", "PATCH /api/v2/deals/1", json!({ "value": "12" }), "Validation failed: value: The value is not a valid 'number'"),
        ("close date null", "PATCH /api/v2/deals/1", json!({ "expected_close_date": null }), "Validation failed: expected_close_date: The value is not a valid 'string'"),
        ("owner null", "PATCH /api/v2/deals/1", json!({ "owner_id": null }), "Validation failed: owner_id: The value is not a valid 'integer'"),
        ("unknown organization", "PATCH /api/v2/persons/1", json!({ "org_id": 99 }), "Validation failed: org_id: Organization not found"),
        ("unknown owner", "PATCH /api/v2/persons/1", json!({ "owner_id": 1 }), "User not found or not accessible."),
        ("two primaries", "PATCH /api/v2/persons/1", json!({ "emails": [{ "value": "a@x", "primary": true }, { "value": "b@x", "primary": true }] }), "Validation failed: emails: Only one primary value is allowed"),
        ("won time while open", "PATCH /api/v2/deals/1", json!({ "won_time": "2026-05-15T10:00:00Z" }), "Validation failed: won_time: Can only be set if deal status is won"),
        ("parameter on a patch", "PATCH /api/v2/persons/1?include_fields=x", json!({}), "Parameter 'include_fields' is not allowed"),
        ("empty set", "POST /api/v2/organizations", json!({ "name": "A", "custom_fields": { &tags: [] } }), &format!("Validation failed: custom_fields: {tags}: Invalid collection")),
        ("text as number", "POST /api/v2/organizations", json!({ "name": "A", "custom_fields": { &number: "1" } }), &format!("Validation failed: custom_fields: Expected 'number' as value for organization custom field '{number}'")),
        ("bare money", "PATCH /api/v2/deals/1", json!({ "custom_fields": { &money: 5 } }), &format!("Validation failed: custom_fields: {money}: Monetary custom field value expected 'object'")),
        ("bare time", "PATCH /api/v2/persons/1", json!({ "custom_fields": { &at: "10:00" } }), &format!("Validation failed: custom_fields: {at}: Time custom field value expected 'object'")),
    ];

    for (name, line, body, error) in cases {
        let (status, json) = desk.json(line, &body);
        assert_eq!((status, json["error"].as_str().unwrap()), (400, error), "{name}");
    }
    assert_eq!(desk.pipedrive.count("organizations"), 0);
}

#[test]
fn given_a_bare_create_when_answered_then_the_defaults_are_the_servers() {
    let desk = Desk::new();
    let owner = desk.pipedrive.owner();

    let person = desk.ok(
        "POST /api/v2/persons",
        &json!({ "name": "Ada King Byron", "emails": [{ "value": " ada@example.com " }] }),
    );
    let deal = desk.ok("POST /api/v2/deals", &json!({ "title": "Pilot" }));

    assert_eq!(
        person["data"],
        json!({ "id": 1, "name": "Ada King Byron", "first_name": "Ada", "last_name": "King Byron", "owner_id": owner, "org_id": null,
            "add_time": "2026-05-15T10:00:00Z", "update_time": "2026-05-15T10:00:00Z",
            "emails": [{ "value": "ada@example.com", "primary": true, "label": "work" }], "phones": [], "is_deleted": false,
            "visible_to": 3, "label_ids": [], "picture_id": null, "custom_fields": null })
    );
    let deal = &deal["data"];
    assert_eq!((&deal["pipeline_id"], &deal["stage_id"]), (&json!(1), &json!(1)));
    assert_eq!(
        (&deal["currency"], &deal["value"], &deal["origin"]),
        (&json!("EUR"), &json!(0), &json!("API"))
    );
}

#[test]
fn given_arrays_and_addresses_when_patched_then_they_are_replaced_whole() {
    let desk = Desk::new();
    let address = json!({ "value": "Main St 1", "country": "Estonia", "locality": "Tallinn" });
    desk.ok("POST /api/v2/organizations", &json!({ "name": "Acme", "address": address }));
    let emails = json!([{ "value": "a@x" }, { "value": "b@x", "label": "home" }]);
    desk.ok("POST /api/v2/persons", &json!({ "name": "Ada", "emails": emails }));

    let organization =
        desk.ok("PATCH /api/v2/organizations/1", &json!({ "address": { "value": "Side St 2" } }));
    let person = desk.ok("PATCH /api/v2/persons/1", &json!({ "emails": [{ "value": "c@x" }] }));

    assert_eq!(organization["data"]["address"]["value"], "Side St 2");
    assert_eq!(organization["data"]["address"]["country"], Value::Null);
    assert_eq!(
        person["data"]["emails"],
        json!([{ "value": "c@x", "primary": true, "label": "work" }])
    );
}

#[test]
fn given_a_deal_when_its_status_turns_then_its_times_follow() {
    let desk = Desk::new();
    desk.ok("POST /api/v2/deals", &json!({ "title": "Pilot" }));
    desk.pass(60);

    let lost = desk
        .ok("PATCH /api/v2/deals/1", &json!({ "status": "lost", "lost_reason": "Price" }))["data"]
        .clone();
    let open = desk.ok("PATCH /api/v2/deals/1", &json!({ "status": "open" }))["data"].clone();

    assert_eq!(lost["lost_time"], "2026-05-15T10:01:00Z");
    assert_eq!((&lost["close_time"], &lost["lost_reason"]), (&lost["lost_time"], &json!("Price")));
    assert_eq!(lost["local_close_date"], "2026-05-15");
    for key in ["lost_time", "close_time", "lost_reason", "won_time", "local_close_date"] {
        assert_eq!(open[key], Value::Null, "{key}");
    }
}

#[test]
fn given_a_patch_with_the_same_values_when_written_then_the_update_time_stays() {
    let desk = Desk::new();
    desk.ok("POST /api/v2/persons", &json!({ "name": "Ada" }));
    desk.pass(5);

    let same = desk.ok("PATCH /api/v2/persons/1", &json!({ "name": "Ada" }));
    let other = desk.ok("PATCH /api/v2/persons/1", &json!({ "first_name": "Eva" }));

    assert_eq!(same["data"]["update_time"], "2026-05-15T10:00:00Z");
    assert_eq!(
        (&other["data"]["name"], &other["data"]["update_time"]),
        (&json!("Eva"), &json!("2026-05-15T10:00:05Z"))
    );
}

#[test]
fn given_custom_values_when_written_then_they_read_as_v2_has_them() {
    let desk = Desk::new();
    let field = |field_type: &str, options: &[&str]| {
        desk.pipedrive.add_field("deals", field_type, field_type, options)
    };
    #[rustfmt::skip]
    let cases = [
        (field("varchar", &[]), json!("text"), json!("text")),
        (field("double", &[]), json!(12.5), json!(12.5)),
        (field("monetary", &[]), json!({ "value": 200, "currency": "EUR" }), json!({ "value": 200, "currency": "EUR" })),
        (field("date", &[]), json!("2026-01-31"), json!("2026-01-31")),
        (field("daterange", &[]), json!({ "value": "2026-01-01", "until": "2026-02-01" }), json!({ "value": "2026-01-01", "until": "2026-02-01" })),
        (field("enum", &["Gold"]), json!(101), json!(101)),
        (field("set", &["A", "B"]), json!([103, 102]), json!([103, 102])),
        (field("people", &[]), json!(null), json!(null)),
    ];
    let custom: serde_json::Map<String, Value> =
        cases.iter().map(|(code, value, _)| (code.clone(), value.clone())).collect();

    let deal = desk.ok("POST /api/v2/deals", &json!({ "title": "Pilot", "custom_fields": custom }));

    for (code, _, expected) in &cases {
        assert_eq!(&deal["data"]["custom_fields"][code], expected);
    }
}

#[test]
fn given_a_deleted_record_when_30_days_pass_then_it_is_purged_and_its_links_are_null() {
    let desk = Desk::new();
    desk.ok("POST /api/v2/organizations", &json!({ "name": "Acme" }));
    desk.ok("POST /api/v2/persons", &json!({ "name": "Ada", "org_id": 1 }));

    desk.ok("DELETE /api/v2/organizations/1", &Value::Null);
    let again = desk.json("DELETE /api/v2/organizations/1", &Value::Null).0;
    let read = desk.get("/api/v2/organizations/1")["data"]["is_deleted"].clone();
    let patched = desk.json("PATCH /api/v2/organizations/1", &json!({ "name": "B" })).0;
    let listed = desk.ids("/api/v2/organizations?ids=1");
    let linked = desk.get("/api/v2/persons/1")["data"]["org_id"].clone();
    desk.pass(30 * 86_400);
    let purged = desk.json("GET /api/v2/organizations/1", &Value::Null).0;
    let unlinked = desk.get("/api/v2/persons/1")["data"]["org_id"].clone();

    assert_eq!((again, read, patched, listed), (404, json!(true), 404, vec![]));
    assert_eq!((linked, purged, unlinked), (json!(1), 404, Value::Null));
}
