//! Faults by script: what a user would see after them.

use std::time::Duration;

use crmsync::service::Exit;
use crmsync_simulator::fault::Fault;
use crmsync_simulator::host::Service;
use serde_json::json;

use crate::world::World;

fn add_ada(world: &World) -> u64 {
    let contact = json!({ "First_Name": "Ada", "Last_Name": "Byron", "Email": "ada@example.com" });
    world.sandbox.zoho.add("Contacts", contact)
}

#[tokio::test]
async fn given_a_create_whose_reply_is_lost_when_synced_again_then_one_person_exists() {
    let world = World::start().await;
    add_ada(&world);
    world.sandbox.pipedrive.faults().on_next("POST /api/v2/persons", Fault::ReplyLost);

    world.sync().await;
    world.advance(300);
    world.settle().await;

    assert_eq!(world.sandbox.pipedrive.count("persons"), 1);
    assert_eq!(world.sync().await.exit, Exit::Clean);
}

#[tokio::test]
async fn given_a_create_that_takes_effect_late_when_synced_meanwhile_then_one_person_exists() {
    let world = World::start().await;
    add_ada(&world);
    let late = Fault::LateEffect { after: Duration::from_millis(300) };
    world.sandbox.pipedrive.faults().on_next("POST /api/v2/persons", late);

    world.sync().await;
    world.sync().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.advance(300);
    world.settle().await;

    assert_eq!(world.sandbox.pipedrive.count("persons"), 1);
}

#[tokio::test]
async fn given_a_contact_create_whose_reply_is_lost_in_zoho_when_synced_again_then_one_contact_exists()
 {
    let world = World::start().await;
    world
        .sandbox
        .pipedrive
        .add("persons", json!({ "name": "Ada Byron", "emails": [{ "value": "ada@example.com" }] }));
    world
        .sandbox
        .zoho
        .faults()
        .on_next("POST /crm/v8/Contacts", Fault::EffectThenStatus { status: 502 });

    world.sync().await;
    world.advance(300);
    world.settle().await;

    assert_eq!(world.sandbox.zoho.count("Contacts"), 1);
}

#[tokio::test]
async fn given_an_update_whose_reply_is_lost_and_a_newer_edit_when_synced_then_the_newer_edit_wins()
{
    let world = World::start().await;
    let contact = add_ada(&world);
    world.settle().await;
    let person = world.sandbox.pipedrive.all("persons")[0]["id"].as_i64().unwrap();
    world.sandbox.zoho.edit("Contacts", contact, json!({ "Last_Name": "Ours" }));
    world.sandbox.pipedrive.faults().on_next("PATCH /api/v2/persons", Fault::ReplyLost);
    world.sync().await;
    world.advance(10);
    world.sandbox.pipedrive.edit("persons", person, json!({ "last_name": "Newer" }));
    world.advance(300);

    world.settle().await;

    assert_eq!(world.sandbox.zoho.get("Contacts", contact).unwrap()["Last_Name"], "Newer");
    assert_eq!(world.sandbox.pipedrive.get("persons", person).unwrap()["last_name"], "Newer");
}

#[tokio::test]
async fn given_a_record_that_is_refused_when_synced_then_it_is_set_aside_and_the_rest_flows() {
    let world = World::start().await;
    add_ada(&world);
    world.sandbox.zoho.add("Contacts", json!({ "Last_Name": "Fine", "Email": "fine@example.com" }));
    let refusal = Fault::Answer {
        status: 400,
        content_type: "application/json",
        body: r#"{"success":false,"error":"Validation failed: name: Value is not allowed"}"#.into(),
    };
    world.sandbox.pipedrive.faults().on_next("POST /api/v2/persons", refusal);

    let report = world.sync().await;

    assert_eq!(report.exit, Exit::Open);
    assert_eq!(world.sandbox.pipedrive.count("persons"), 1);
    assert_eq!(report.tally.failed, 1);
}

#[tokio::test]
async fn given_an_unreachable_side_when_synced_then_the_run_ends_with_its_exit_code_and_goes_on_later()
 {
    let world = World::start().await;
    add_ada(&world);
    world.open().await;
    world.sandbox.pipedrive.faults().on("GET /api/v2/persons", 0, 50, Fault::html(503));

    let error = world.try_sync().await.expect_err("the side is down");
    world.sandbox.pipedrive.faults().clear();
    world.settle().await;

    assert_eq!(error.exit(), Exit::SideUnavailable);
    assert_eq!(world.sandbox.pipedrive.count("persons"), 1);
}

#[tokio::test]
async fn given_the_first_write_of_a_two_way_merge_is_lost_when_synced_then_the_second_waits_and_the_run_goes_on()
 {
    let world = World::start().await;
    let contact = add_ada(&world);
    world.settle().await;
    let person = world.sandbox.pipedrive.all("persons")[0]["id"].as_i64().unwrap();
    world.sandbox.zoho.edit("Contacts", contact, json!({ "Last_Name": "Lovelace" }));
    let emails = json!([{ "value": "countess@example.com", "primary": true }]);
    world.sandbox.pipedrive.edit("persons", person, json!({ "emails": emails }));
    world.sandbox.zoho.faults().on_next("PUT /crm/v8/Contacts", Fault::ReplyLost);

    let report = world.sync().await;
    world.advance(300);
    world.settle().await;

    assert_eq!((report.tally.in_doubt, report.tally.skipped), (1, 1));
    let here = world.sandbox.zoho.get("Contacts", contact).unwrap();
    let there = world.sandbox.pipedrive.get("persons", person).unwrap();
    assert_eq!([&here["Last_Name"], &there["last_name"]], ["Lovelace", "Lovelace"]);
    assert_eq!(here["Email"], "countess@example.com");
    assert_eq!(there["emails"][0]["value"], "countess@example.com");
}

#[tokio::test]
async fn given_a_lost_answer_and_an_edit_over_it_when_settled_then_the_journal_keeps_what_was_overwritten()
 {
    let world = World::start().await;
    let contact = add_ada(&world);
    world.settle().await;
    let person = world.sandbox.pipedrive.all("persons")[0]["id"].as_i64().unwrap();
    world.sandbox.zoho.edit("Contacts", contact, json!({ "Last_Name": "Ours" }));
    world.sandbox.pipedrive.faults().on_next("PATCH /api/v2/persons", Fault::ReplyLost);
    world.sync().await;
    world.advance(10);
    world.sandbox.pipedrive.edit("persons", person, json!({ "last_name": "Newer" }));

    world.advance(300);
    world.settle().await;

    let session = world.open().await;
    let mut overwritten = Vec::new();
    for run in session.store.runs(None, 100).await.unwrap() {
        let effects = session.store.route(&session.route.name).effects(&run.id).await.unwrap();
        let before = effects.iter().filter_map(|effect| effect.before.get("last_name"));
        overwritten.extend(before.map(ToString::to_string));
    }
    assert!(overwritten.iter().any(|value| value.contains("Byron")), "{overwritten:?}");
    assert_eq!(world.sandbox.zoho.get("Contacts", contact).unwrap()["Last_Name"], "Newer");
}
