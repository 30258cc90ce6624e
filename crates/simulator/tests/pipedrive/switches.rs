//! Open questions of the documentation, each answered both ways.

use chrono::TimeDelta;
use crmsync_simulator::pipedrive::{Absence, BadCursor, Switches, UnknownLink};
use serde_json::{Value, json};

use crate::Desk;

#[test]
fn given_a_switch_when_turned_then_the_answer_turns_with_it() {
    type Turn = fn(&mut Switches);
    #[rustfmt::skip]
    let cases: [(&str, &str, Value, u16, Turn, u16); 14] = [
        ("deleted read", "GET /api/v2/persons/2", json!(null), 200, |s| s.deleted_reads = Absence::Gone, 410),
        ("deleted write", "PATCH /api/v2/persons/2", json!({ "name": "X" }), 404, |s| s.deleted_writes = Absence::Gone, 410),
        ("second delete", "DELETE /api/v2/persons/2", json!(null), 404, |s| s.second_delete = Absence::Shown, 200),
        ("merged read", "GET /api/v2/persons/3", json!(null), 404, |s| s.merged_reads = Absence::Shown, 200),
        ("bad cursor", "GET /api/v2/persons?cursor=x", json!(null), 400, |s| s.bad_cursor = BadCursor::Restart, 200),
        ("bad cursor breaks", "GET /api/v2/persons?cursor=x", json!(null), 400, |s| s.bad_cursor = BadCursor::Status(500), 500),
        ("large limit", "GET /api/v2/persons?limit=900", json!(null), 400, |s| s.clamp_limit = true, 200),
        ("unknown key", "PATCH /api/v2/persons/1", json!({ "x": 1 }), 400, |s| s.ignore_unknown_keys = true, 200),
        ("unknown link", "PATCH /api/v2/persons/1", json!({ "org_id": 9 }), 400, |s| s.unknown_links = UnknownLink::NotFound, 404),
        ("null link", "PATCH /api/v2/deals/1", json!({ "person_id": null }), 200, |s| s.refuse_null_links = true, 400),
        ("bare activity", "POST /api/v2/activities", json!({}), 200, |s| s.refuse_bare_activities = true, 400),
        ("short path", "GET /v2/persons", json!(null), 200, |s| s.short_v2_paths = false, 404),
        ("created", "POST /api/v2/persons", json!({ "name": "A" }), 200, |s| s.flip_created = true, 201),
        ("used stage", "DELETE /api/v2/stages/1", json!(null), 400, |s| s.delete_used_stages = true, 200),
    ];

    for (name, line, body, by_default, turn, turned) in cases {
        let desk = Desk::new();
        for person in ["Live", "Deleted", "Merged"] {
            desk.pipedrive.add("persons", json!({ "name": person }));
        }
        desk.pipedrive.delete("persons", 2);
        desk.pipedrive.merge("persons", 3, 1);
        desk.pipedrive.add("deals", json!({ "title": "Pilot", "person_id": 1 }));

        let before = desk.json(line, &body).0;
        desk.pipedrive.switch(turn);

        assert_eq!((before, desk.json(line, &body).0), (by_default, turned), "{name}");
    }
}

#[test]
fn given_a_cursor_with_a_lifetime_when_it_has_passed_then_400() {
    let desk =
        Desk::with(|settings| settings.switches.cursor_lifetime = Some(TimeDelta::minutes(5)));
    desk.pipedrive.add("persons", json!({ "name": "A" }));
    desk.pipedrive.add("persons", json!({ "name": "B" }));
    let cursor = desk.get("/api/v2/persons?limit=1")["additional_data"]["next_cursor"]
        .as_str()
        .unwrap()
        .to_owned();
    let next =
        || desk.json(&format!("GET /api/v2/persons?limit=1&cursor={cursor}"), &Value::Null).0;

    let fresh = next();
    desk.pass(300);

    assert_eq!((fresh, next()), (200, 400));
}

#[test]
fn given_a_noop_patch_when_it_counts_then_the_update_time_moves() {
    let desk = Desk::with(|settings| settings.switches.noop_writes_count = true);
    desk.pipedrive.add("persons", json!({ "name": "A" }));
    desk.pass(5);

    let answer = desk.ok("PATCH /api/v2/persons/1", &json!({ "name": "A" }));

    assert_eq!(answer["data"]["update_time"], "2026-05-15T10:00:05Z");
}

#[test]
fn given_geocoding_when_an_address_is_bare_then_its_parts_come_later_as_a_change() {
    let desk = Desk::with(|settings| settings.switches.geocoding = Some(TimeDelta::seconds(30)));
    desk.ok(
        "POST /api/v2/organizations",
        &json!({ "name": "Acme", "address": { "value": "Main St 1, Tallinn" } }),
    );

    desk.pass(30);
    let organization = desk.get("/api/v2/organizations/1")["data"].clone();

    assert_eq!(organization["address"]["locality"], "Tallinn");
    assert_eq!(organization["update_time"], "2026-05-15T10:00:30Z");
}
