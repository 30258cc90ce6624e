//! Edits on linked records: field by field, against the last agreement.

use crmsync::service::Exit;
use crmsync_core::model::Side;
use serde_json::{Value, json};

use crate::world::World;

/// One contact that both sides know: (Zoho's id, Pipedrive's id).
async fn linked_contact(world: &World) -> (u64, i64) {
    let contact = json!({ "First_Name": "Ada", "Last_Name": "Byron", "Email": "ada@example.com", "Phone": "+493012345678" });
    let id = world.sandbox.zoho.add("Contacts", contact);
    world.settle().await;
    let persons = world.sandbox.pipedrive.all("persons");
    (id, persons[0]["id"].as_i64().unwrap())
}

fn zoho_field(world: &World, id: u64, field: &str) -> Value {
    world.sandbox.zoho.get("Contacts", id).unwrap()[field].clone()
}

fn person(world: &World, id: i64) -> Value {
    world.sandbox.pipedrive.get("persons", id).unwrap()
}

#[tokio::test]
async fn given_different_fields_edited_on_both_sides_when_synced_then_both_edits_are_on_both_sides()
{
    let world = World::start().await;
    let (contact, person_id) = linked_contact(&world).await;
    world.sandbox.zoho.edit("Contacts", contact, json!({ "Last_Name": "Lovelace" }));
    world.sandbox.pipedrive.edit(
        "persons",
        person_id,
        json!({ "emails": [{ "value": "ada@new.example", "primary": true }] }),
    );

    let report = world.sync().await;

    assert_eq!(report.exit, Exit::Clean, "{:#?}", report.rows);
    assert_eq!(zoho_field(&world, contact, "Email"), "ada@new.example");
    assert_eq!(person(&world, person_id)["last_name"], "Lovelace");
    assert_eq!(world.settle().await, 0);
}

#[tokio::test]
async fn given_one_field_edited_on_both_sides_when_synced_then_the_later_edit_wins_and_both_values_are_reported()
 {
    let world = World::start().await;
    let (contact, person_id) = linked_contact(&world).await;
    world.sandbox.zoho.edit("Contacts", contact, json!({ "Email": "early@example.com" }));
    world.advance(30);
    world.sandbox.pipedrive.edit(
        "persons",
        person_id,
        json!({ "emails": [{ "value": "late@example.com", "primary": true }] }),
    );

    let report = world.sync().await;

    assert_eq!(zoho_field(&world, contact, "Email"), "late@example.com");
    let row = report
        .rows
        .iter()
        .find(|row| row.code.as_str() == "CONFLICT")
        .expect("a conflict is reported");
    assert_eq!(row.winner, Some(Side::Right));
    assert_eq!(row.left.as_ref().unwrap().to_string(), "early@example.com");
}

#[tokio::test]
async fn given_edits_within_the_skew_when_synced_then_neither_side_is_written_and_a_person_is_asked()
 {
    let world = World::start().await;
    let (contact, person_id) = linked_contact(&world).await;
    world.sandbox.zoho.edit("Contacts", contact, json!({ "Email": "one@example.com" }));
    world.sandbox.pipedrive.edit(
        "persons",
        person_id,
        json!({ "emails": [{ "value": "two@example.com", "primary": true }] }),
    );
    world.writes();

    let report = world.sync().await;

    assert_eq!(report.exit, Exit::Open);
    assert_eq!(world.writes(), 0);
    assert_eq!(report.open_rows, 1);
}

#[tokio::test]
async fn given_a_field_cleared_on_one_side_when_synced_then_it_is_cleared_on_the_other() {
    let world = World::start().await;
    let (contact, person_id) = linked_contact(&world).await;
    world.sandbox.zoho.edit("Contacts", contact, json!({ "Phone": null }));

    world.sync().await;

    assert_eq!(person(&world, person_id)["phones"], json!([]));
}

#[tokio::test]
async fn given_a_second_email_on_the_right_when_the_left_changes_the_primary_then_the_second_stays()
{
    let world = World::start().await;
    let (contact, person_id) = linked_contact(&world).await;
    let emails = json!([{ "value": "ada@example.com", "primary": true, "label": "work" }, { "value": "ada@home.example", "primary": false, "label": "home" }]);
    world.sandbox.pipedrive.edit("persons", person_id, json!({ "emails": emails }));
    world.settle().await;
    world.sandbox.zoho.edit("Contacts", contact, json!({ "Email": "countess@example.com" }));

    world.settle().await;

    let emails = person(&world, person_id)["emails"].clone();
    assert_eq!(emails[0]["value"], "countess@example.com");
    assert_eq!(emails[1]["value"], "ada@home.example");
    assert_eq!(emails[1]["label"], "home");
}

#[tokio::test]
async fn given_an_idle_route_when_synced_then_each_module_is_listed_once() {
    let world = World::start().await;
    linked_contact(&world).await;
    world.writes();

    world.sync().await;

    let lists = |calls: &std::collections::BTreeMap<String, u64>, path: &str| {
        calls.get(path).copied().unwrap_or(0)
    };
    let calls = world.calls();
    assert_eq!(lists(&calls, "zoho GET /crm/v8/Contacts"), 1, "{calls:#?}");
    assert_eq!(lists(&calls, "zoho GET /crm/v8/Contacts/deleted"), 1, "{calls:#?}");
    assert_eq!(lists(&calls, "pipedrive GET /api/v2/persons"), 1, "{calls:#?}");
    let metadata = calls
        .keys()
        .filter(|route| route.contains("/settings/") || route.contains("Fields"))
        .count();
    assert_eq!(metadata, 0, "metadata is remembered between processes: {calls:#?}");
}
