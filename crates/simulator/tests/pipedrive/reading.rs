//! Lists of v2, credentials, fields, costs.

use serde_json::{Value, json};

use crate::Desk;

fn walk(desk: &Desk, line: &str) -> Vec<i64> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = desk.get(&format!("{line}{cursor}"));
        ids.extend(page["data"].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()));
        match page["additional_data"]["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return ids,
        }
    }
}

#[test]
fn given_rows_that_share_a_second_when_walked_by_cursor_then_each_comes_once_in_order() {
    let desk = Desk::new();
    for index in 0..7 {
        desk.pipedrive.add("persons", json!({ "name": format!("P{index}") }));
    }
    desk.pass(10);
    desk.pipedrive.edit("persons", 2, json!({ "name": "Later" }));

    #[rustfmt::skip]
    let cases = [
        ("/api/v2/persons?limit=3", vec![1, 2, 3, 4, 5, 6, 7]),
        ("/api/v2/persons?limit=2&sort_by=update_time", vec![1, 3, 4, 5, 6, 7, 2]),
        ("/api/v2/persons?limit=2&sort_by=update_time&sort_direction=desc", vec![2, 7, 6, 5, 4, 3, 1]),
        ("/api/v2/persons?limit=2&sort_direction=desc", vec![7, 6, 5, 4, 3, 2, 1]),
        ("/api/v2/persons?limit=2&sort_by=add_time", vec![1, 2, 3, 4, 5, 6, 7]),
        ("/api/v2/persons?limit=2&updated_since=2026-05-15T10:00:10Z", vec![2]),
        ("/api/v2/persons?limit=2&updated_until=2026-05-15T10:00:10Z", vec![1, 3, 4, 5, 6, 7]),
        ("/api/v2/persons?limit=2&ids=5,99,1,3", vec![1, 3, 5]),
    ];

    for (line, expected) in cases {
        assert_eq!(walk(&desk, line), expected, "{line}");
    }
}

#[test]
fn given_a_wrong_parameter_when_listed_then_400() {
    let desk = Desk::new();
    desk.pipedrive.add("persons", json!({ "name": "Ada" }));
    desk.pipedrive.add("persons", json!({ "name": "Bob" }));
    let cursor = desk.get("/api/v2/persons?limit=1")["additional_data"]["next_cursor"]
        .as_str()
        .unwrap()
        .to_owned();
    let many = (1..=101).map(|id| id.to_string()).collect::<Vec<_>>().join(",");

    #[rustfmt::skip]
    let cases = [
        ("unknown", "persons?start=1".to_owned()),
        ("milliseconds", "persons?updated_since=2026-05-15T10:00:00.000Z".into()),
        ("limit", "persons?limit=501".into()),
        ("ids", format!("persons?ids={many}")),
        ("sort", "persons?sort_by=name".into()),
        ("include", "persons?include_fields=custom_fields".into()),
        ("garbage cursor", "persons?cursor=abc".into()),
        ("cursor of another query", format!("persons?owner_id=7001&cursor={cursor}")),
        ("cursor of another list", format!("organizations?cursor={cursor}")),
        ("status", "deals?status=open,all".into()),
        ("archived", "products?updated_until=2026-05-15T10:00:00Z".into()),
    ];

    for (name, line) in cases {
        assert_eq!(desk.json(&format!("GET /api/v2/{line}"), &Value::Null).0, 400, "{name}");
    }
}

#[test]
fn given_deleted_and_archived_deals_when_listed_then_only_their_own_lists_show_them() {
    let desk = Desk::new();
    for title in ["open", "won", "deleted", "archived"] {
        desk.pipedrive.add("deals", json!({ "title": title }));
    }
    desk.pipedrive.edit("deals", 2, json!({ "status": "won" }));
    desk.pipedrive.delete("deals", 3);
    desk.pipedrive.archive("deals", 4);

    #[rustfmt::skip]
    let cases = [
        ("deals", vec![1, 2]),
        ("deals?status=won", vec![2]),
        ("deals?status=deleted", vec![3]),
        ("deals?status=open,won,lost,deleted", vec![1, 2, 3]),
        ("deals?ids=1,2,3,4", vec![1, 2]),
        ("deals/archived", vec![4]),
        ("deals/archived?ids=4", vec![4]),
    ];

    for (line, expected) in cases {
        assert_eq!(desk.ids(&format!("/api/v2/{line}")), expected, "{line}");
    }
    assert_eq!(desk.get("/api/v2/deals?status=deleted")["data"][0]["status"], "deleted");
    assert_eq!(desk.json("PATCH /api/v2/deals/4", &json!({ "title": "x" })).0, 400);
}

#[test]
fn given_a_bad_credential_when_called_then_401_before_404_and_405() {
    let mut desk = Desk::new();
    let (unknown, verb) = (
        desk.json("GET /api/v2/nothing", &Value::Null).0,
        desk.json("PUT /api/v2/persons", &Value::Null).0,
    );
    desk.set("x-api-token", "wrong");

    let reply = desk.ask("GET /api/v2/nothing", &Value::Null);

    assert_eq!((unknown, verb, reply.status), (404, 405, 401));
    let body = json!({ "success": false, "error": "unauthorized access", "errorCode": 401, "error_info": "Please check developers.pipedrive.com" });
    assert_eq!(serde_json::from_slice::<Value>(&reply.body).unwrap(), body);
    assert_eq!(reply.headers["x-401-by-gw"], "true");
}

#[test]
fn given_each_route_when_called_then_it_costs_what_the_table_says() {
    let desk = Desk::new();
    #[rustfmt::skip]
    let cases = [
        ("GET /api/v2/persons", json!(null), 10), ("POST /api/v2/persons", json!({ "name": "A" }), 5),
        ("GET /api/v2/persons/1", json!(null), 1), ("PATCH /api/v2/persons/1", json!({ "name": "B" }), 5),
        ("DELETE /api/v2/persons/1", json!(null), 3), ("GET /api/v2/deals/archived", json!(null), 20),
        ("GET /api/v2/stages", json!(null), 5), ("GET /api/v2/dealFields", json!(null), 10),
        ("GET /v1/users", json!(null), 20), ("GET /api/v1/users/me", json!(null), 2), ("GET /v1/currencies", json!(null), 20),
    ];

    for (line, body, cost) in cases {
        assert_eq!(desk.ask(line, &body).cost, cost, "{line}");
    }
}

#[test]
fn given_a_custom_field_when_it_is_made_changed_and_deleted_then_records_follow() {
    let desk = Desk::new();
    let body =
        json!({ "field_name": "Tier", "field_type": "enum", "options": [{ "label": "Gold" }] });
    let field = desk.ok("POST /api/v2/personFields", &body)["data"].clone();
    let (code, gold) =
        (field["field_code"].as_str().unwrap(), field["options"][0]["id"].as_i64().unwrap());
    desk.ok("POST /api/v2/persons", &json!({ "name": "Ada", "custom_fields": { code: gold } }));

    let options = desk
        .ok(&format!("POST /api/v2/personFields/{code}/options"), &json!([{ "label": "Iron" }]));
    let labelled =
        desk.get("/api/v2/persons/1?include_option_labels=true")["data"]["custom_fields"][code]
            .clone();
    desk.ok(&format!("DELETE /api/v2/personFields/{code}/options"), &json!([{ "id": gold }]));
    let cleared = desk.get("/api/v2/persons")["data"][0]["custom_fields"].clone();
    desk.ok(&format!("DELETE /api/v2/personFields/{code}"), &Value::Null);
    let gone = desk.get("/api/v2/persons")["data"][0]["custom_fields"].clone();

    assert_eq!(code.len(), 40);
    assert_eq!(options["data"][0]["label"], "Iron");
    assert_eq!(labelled, json!({ "id": gold, "label": "Gold" }));
    assert_eq!((cleared, gone), (json!({ code: null }), Value::Null));
}
