//! Runs taken back: what nobody touched since returns, what somebody did stays, and the route waits for a choice.

use crmsync::service::{Exit, RunOptions, RunReport, ServiceError, Silent};
use serde_json::{Value, json};

use crate::world::World;

/// One contact that both sides know: (Zoho's id, Pipedrive's id).
async fn linked_contact(world: &World) -> (u64, i64) {
    let contact = json!({ "First_Name": "Ada", "Last_Name": "Byron", "Email": "ada@example.com", "Phone": "+493012345678" });
    let id = world.sandbox.zoho.add("Contacts", contact);
    world.settle().await;
    (id, world.sandbox.pipedrive.all("persons")[0]["id"].as_i64().unwrap())
}

async fn undo(world: &World, run: &RunReport) -> RunReport {
    world.advance(60);
    world.open().await.undo(&run.run.id, &RunOptions::default(), &Silent).await.unwrap()
}

async fn redo(world: &World, run: &RunReport) {
    world.open().await.redo(&run.run.id, &Silent).await.unwrap();
}

async fn accept(world: &World, run: &RunReport) {
    world.open().await.accept(&run.run.id, &Silent).await.unwrap();
}

fn zoho_field(world: &World, id: u64, field: &str) -> Value {
    world.sandbox.zoho.get("Contacts", id).unwrap()[field].clone()
}

fn person(world: &World, id: i64, field: &str) -> Value {
    world.sandbox.pipedrive.get("persons", id).unwrap()[field].clone()
}

/// A run that wrote a field to each side.
async fn edited_on_both_sides(world: &World, contact: u64, person: i64) -> RunReport {
    world.sandbox.zoho.edit("Contacts", contact, json!({ "Last_Name": "Lovelace" }));
    let emails = json!([{ "value": "ada@new.example", "primary": true }]);
    world.sandbox.pipedrive.edit("persons", person, json!({ "emails": emails }));
    world.sync().await
}

#[tokio::test]
async fn given_updates_on_both_sides_when_undone_then_both_hold_what_they_held_before() {
    let world = World::start().await;
    let (contact, person_id) = linked_contact(&world).await;
    let run = edited_on_both_sides(&world, contact, person_id).await;

    let undone = undo(&world, &run).await;

    assert_eq!(undone.exit, Exit::Clean, "{:#?}", undone.rows);
    assert_eq!(person(&world, person_id, "last_name"), "Byron");
    assert_eq!(zoho_field(&world, contact, "Email"), "ada@example.com");
    assert_eq!(zoho_field(&world, contact, "Last_Name"), "Lovelace", "the edit itself stays");
}

#[tokio::test]
async fn given_an_undone_run_when_synced_then_the_route_refuses_until_a_person_chooses() {
    let world = World::start().await;
    let (contact, person_id) = linked_contact(&world).await;
    let run = edited_on_both_sides(&world, contact, person_id).await;
    undo(&world, &run).await;
    world.writes();

    let refused = world.try_sync().await.unwrap_err();

    assert!(matches!(&refused, ServiceError::Paused { run: id, .. } if *id == run.run.id));
    assert_eq!((refused.exit(), refused.exit().code()), (Exit::Store, 7));
    assert_eq!(world.writes(), 0);
}

#[tokio::test]
async fn given_an_undone_run_when_redone_then_the_next_sync_repeats_it() {
    let world = World::start().await;
    let (contact, person_id) = linked_contact(&world).await;
    let run = edited_on_both_sides(&world, contact, person_id).await;
    undo(&world, &run).await;

    redo(&world, &run).await;
    world.settle().await;

    assert_eq!(person(&world, person_id, "last_name"), "Lovelace");
    assert_eq!(zoho_field(&world, contact, "Email"), "ada@new.example");
}

#[tokio::test]
async fn given_an_undone_run_when_accepted_then_the_present_stays_until_a_side_changes() {
    let world = World::start().await;
    let (contact, person_id) = linked_contact(&world).await;
    let run = edited_on_both_sides(&world, contact, person_id).await;
    undo(&world, &run).await;

    accept(&world, &run).await;
    world.writes();
    let after = world.sync().await;

    assert_eq!((world.writes(), after.exit), (0, Exit::Clean), "{:#?}", after.rows);
    assert_eq!(person(&world, person_id, "last_name"), "Byron");
    world.sandbox.zoho.edit("Contacts", contact, json!({ "Last_Name": "King" }));
    world.settle().await;
    assert_eq!(person(&world, person_id, "last_name"), "King");
}

#[tokio::test]
async fn given_an_edit_since_when_undone_then_it_is_not_overwritten_and_is_reported() {
    let world = World::start().await;
    let (contact, person_id) = linked_contact(&world).await;
    let run = edited_on_both_sides(&world, contact, person_id).await;
    world.advance(60);
    world.sandbox.pipedrive.edit("persons", person_id, json!({ "last_name": "King" }));

    let undone = undo(&world, &run).await;

    assert_eq!(undone.exit, Exit::Open);
    let codes: Vec<_> = undone.rows.iter().map(|row| row.code.as_str()).collect();
    assert_eq!(codes, ["UNDO_CONFLICT"]);
    assert_eq!(person(&world, person_id, "last_name"), "King");
    assert_eq!(zoho_field(&world, contact, "Email"), "ada@example.com", "the rest is undone");
    redo(&world, &run).await;
    world.settle().await;
    assert_eq!(zoho_field(&world, contact, "Email"), "ada@new.example");
    assert_eq!(zoho_field(&world, contact, "Last_Name"), "King");
}

#[tokio::test]
async fn given_a_created_person_when_undone_then_it_is_deleted_and_made_again_only_when_redone() {
    for (case, again) in [("redo", 1), ("accept", 0)] {
        let world = World::start().await;
        let contact =
            json!({ "First_Name": "Ada", "Last_Name": "Byron", "Email": "ada@example.com" });
        world.sandbox.zoho.add("Contacts", contact);
        let run = world.sync().await;
        assert_eq!(world.sandbox.pipedrive.count("persons"), 1, "{case}");

        let undone = undo(&world, &run).await;
        let left = world.sandbox.pipedrive.count("persons");
        if case == "redo" {
            redo(&world, &run).await;
        } else {
            accept(&world, &run).await;
        }
        world.settle().await;

        assert_eq!((undone.exit, left), (Exit::Clean, 0), "{case}: {:#?}", undone.rows);
        assert_eq!(world.sandbox.pipedrive.count("persons"), again, "{case}");
        assert_eq!(world.sandbox.zoho.count("Contacts"), 1, "{case}");
    }
}

#[tokio::test]
async fn given_more_creates_than_the_delete_cap_when_undone_then_nothing_happens_without_consent() {
    let world = World::start().await;
    for name in ["Ada", "Eve", "Ida", "Mia"] {
        let contact = json!({ "Last_Name": name, "Email": format!("{name}@example.com") });
        world.sandbox.zoho.add("Contacts", contact);
    }
    let run = world.sync().await;

    let refused = undo(&world, &run).await;
    let before = world.sandbox.pipedrive.count("persons");
    let options = RunOptions { approve: Some(refused.plan.hash), ..RunOptions::default() };
    let allowed = world.open().await.undo(&run.run.id, &options, &Silent).await.unwrap();

    assert_eq!((refused.exit, before), (Exit::Guard, 4));
    assert_eq!((allowed.exit, world.sandbox.pipedrive.count("persons")), (Exit::Clean, 0));
}

#[tokio::test]
async fn given_a_contact_deleted_by_a_run_when_undone_then_zoho_restores_it() {
    for (case, contacts) in [("redo", 0), ("accept", 1)] {
        let mappings = World::propagating_deletes("contact");
        let world = World::with_mappings(mappings.path().to_owned()).await;
        let (contact, person_id) = linked_contact(&world).await;
        world.sandbox.pipedrive.delete("persons", person_id);
        let run = world.sync().await;
        assert_eq!(world.sandbox.zoho.count("Contacts"), 0, "{case}: {:#?}", run.rows);

        let undone = undo(&world, &run).await;
        let restored = world.sandbox.zoho.get("Contacts", contact).is_some();
        if case == "redo" {
            redo(&world, &run).await;
        } else {
            accept(&world, &run).await;
        }
        world.settle().await;

        assert_eq!((undone.exit, restored), (Exit::Clean, true), "{case}: {:#?}", undone.rows);
        assert_eq!(world.sandbox.zoho.count("Contacts"), contacts, "{case}");
        assert_eq!(world.sandbox.pipedrive.count("persons"), 0, "{case}");
    }
}
