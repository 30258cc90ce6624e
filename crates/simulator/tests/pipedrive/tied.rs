//! Followers, participants, comments; labels, types and rights.

use serde_json::{Value, json};

use crate::Desk;

fn team() -> (Desk, i64) {
    let desk = Desk::new();
    let ann = desk.pipedrive.add_user("Ann", "ann@example.com", "Europe/Tallinn");
    desk.pipedrive.add("persons", json!({ "name": "Ada" }));
    desk.pipedrive.add("persons", json!({ "name": "Bob" }));
    desk.pipedrive.add("deals", json!({ "title": "Pilot", "person_id": 1 }));
    (desk, ann)
}

#[test]
fn given_a_follower_when_read_in_either_version_then_both_tell_of_him_and_the_changelog_of_the_way()
{
    let (desk, ann) = team();

    desk.ok("POST /api/v2/deals/1/followers", &json!({ "user_id": ann }));
    let listed = desk.get("/v1/deals/1/followers");
    let ended = desk.ok(&format!("DELETE /v1/deals/1/followers/{ann}"), &Value::Null);
    desk.ok("POST /v1/deals/1/followers", &json!({ "user_id": ann }));
    desk.ok(&format!("DELETE /api/v2/deals/1/followers/{ann}"), &Value::Null);
    let log = desk.get("/api/v2/deals/1/followers/changelog");

    assert_eq!(
        listed["data"][1],
        json!({ "id": ann, "user_id": ann, "deal_id": 1, "add_time": "2026-05-15 10:00:00" })
    );
    assert_eq!(ended["data"], json!({ "id": ann }));
    let actions: Vec<&Value> = (0..4).map(|at| &log["data"][at]["action"]).collect();
    assert_eq!(actions, ["added", "removed", "added", "removed"]);
    assert_eq!(log["data"][0]["follower_user_id"], ann);
    assert_eq!(desk.get(&format!("/api/v2/users/{ann}/followers"))["data"], json!([]));
}

#[test]
fn given_a_deal_with_a_person_when_another_takes_part_then_both_are_listed() {
    let (desk, _) = team();

    let added = desk.ok("POST /v1/deals/1/participants", &json!({ "person_id": 2 }));
    let again = desk.ok("POST /v1/deals/1/participants", &json!({ "person_id": 2 }));
    let listed = desk.get("/v1/deals/1/participants");
    let counted = desk.get("/api/v2/deals/1?include_fields=participants_count");
    let id = &added["data"]["id"];
    desk.ok(&format!("DELETE /v1/deals/1/participants/{id}"), &Value::Null);
    let log = desk.get("/v1/deals/1/participantsChangelog");

    let names: Vec<&Value> = (0..2).map(|at| &listed["data"][at]["person_id"]["name"]).collect();
    assert_eq!(names, ["Ada", "Bob"]);
    assert_eq!(
        (&added["data"]["related_item_data"]["title"], id),
        (&json!("Pilot"), &again["data"]["id"])
    );
    assert_eq!(counted["data"]["participants_count"], 2);
    assert_eq!(log["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(desk.json("DELETE /v1/deals/1/participants/99", &Value::Null).0, 404);
}

#[test]
fn given_a_note_when_commented_then_its_comments_are_read_changed_and_deleted() {
    let (desk, _) = team();
    desk.ok("POST /v1/notes", &json!({ "content": "x", "deal_id": 1 }));

    let comment = desk.ok("POST /v1/notes/1/comments", &json!({ "content": "first" }));
    let one = format!("/v1/notes/1/comments/{}", comment["data"]["uuid"].as_str().unwrap());
    desk.ok(&format!("PUT {one}"), &json!({ "content": "second" }));
    let read = desk.get(&one);
    let deleted = desk.ok(&format!("DELETE {one}"), &Value::Null);

    assert_eq!(
        (&read["data"]["content"], &read["data"]["object_id"]),
        (&json!("second"), &json!("1"))
    );
    assert_eq!(deleted["data"], true);
    assert_eq!(desk.get("/v1/notes/1/comments")["data"], json!([]));
    assert_eq!(desk.json(&format!("GET {one}"), &Value::Null).0, 404);
    assert_eq!(desk.json("POST /v1/notes/1/comments", &json!({})).0, 400);
}

#[test]
fn given_labels_and_types_when_changed_then_the_lists_show_it() {
    let desk = Desk::new();

    let label = desk.ok("POST /v1/leadLabels", &json!({ "name": "New", "color": "green" }));
    let label = format!("/v1/leadLabels/{}", label["data"]["id"].as_str().unwrap());
    let painted = desk.ok(&format!("PATCH {label}"), &json!({ "color": "red" }));
    desk.ok(&format!("DELETE {label}"), &Value::Null);
    let kind =
        desk.ok("POST /v1/activityTypes", &json!({ "name": "Site visit", "icon_key": "car" }));
    let kind_path = format!("/v1/activityTypes/{}", kind["data"]["id"]);
    desk.ok("POST /api/v2/activities", &json!({ "subject": "Go", "type": "site_visit" }));
    desk.ok(&format!("PUT {kind_path}"), &json!({ "name": "Visit" }));
    let gone = desk.ok(&format!("DELETE {kind_path}"), &Value::Null);
    desk.ok("POST /v1/activityTypes", &json!({ "name": "Site visit", "icon_key": "car" }));

    assert_eq!(painted["data"]["color"], "red");
    assert_eq!(desk.get("/v1/leadLabels")["data"].as_array().map(Vec::len), Some(3));
    assert_eq!(desk.json(&format!("DELETE {label}"), &Value::Null).0, 404);
    assert_eq!(kind["data"]["key_string"], "site_visit");
    assert_eq!(
        (&gone["data"]["name"], &gone["data"]["active_flag"]),
        (&json!("Visit"), &json!(false))
    );
}

#[test]
fn given_a_user_when_his_rights_are_asked_for_then_they_follow_from_who_he_is() {
    let (desk, ann) = team();
    let owner = desk.pipedrive.owner();

    let cases = [
        (format!("/v1/users/{owner}/permissions"), "/data/can_add_custom_fields", json!(true)),
        (format!("/v1/users/{ann}/permissions"), "/data/can_add_custom_fields", json!(false)),
        (format!("/v1/users/{ann}/roleAssignments"), "/data/0/role_id", json!(1)),
        (format!("/v1/users/{ann}/roleSettings"), "/data/deal_default_visibility", json!(3)),
        ("/v1/roles".into(), "/data/0/assignment_count", json!("2")),
        ("/v1/roles/1".into(), "/additional_data/settings/person_default_visibility", json!(3)),
        ("/v1/permissionSets?app=sales".into(), "/data/0/type", json!("admin")),
        ("/v1/userSettings".into(), "/data/list_limit", json!(100)),
        ("/v1/userConnections".into(), "/data/google", Value::Null),
    ];

    for (path, pointer, value) in cases {
        assert_eq!(desk.get(&path).pointer(pointer), Some(&value), "{path}");
    }
    assert_eq!(desk.json("GET /v1/users/1/permissions", &Value::Null).0, 404);
}

#[test]
fn given_a_path_that_names_what_others_take_for_an_id_when_called_then_it_is_meant() {
    let (desk, _) = team();
    desk.pipedrive.add("leads", json!({ "title": "Big lead", "person_id": 1 }));
    desk.pipedrive.archive("deals", 1);
    desk.pass(3);

    let found = desk.get("/v1/leads/search?term=big");
    let archived = desk.get("/v1/deals/archived");

    assert_eq!(found["data"]["items"][0]["item"]["title"], "Big lead");
    assert_eq!(found["additional_data"]["pagination"]["more_items_in_collection"], false);
    assert_eq!(archived["data"][0]["title"], "Pilot");
    assert_eq!(desk.get("/api/v2/deals/installments?deal_ids=1")["data"], json!([]));
    assert_eq!(desk.json("PATCH /v1/leads/search", &json!({})).0, 405);
}
