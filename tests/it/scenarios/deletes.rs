//! Deletions: believed only with evidence, spread only where asked, never undone by accident.

use crmsync_simulator::fault::Fault;
use crmsync_simulator::host::Service;
use serde_json::json;

use crate::world::{Setup, World, propagating};

async fn linked_contact(world: &World) -> (u64, i64) {
    let id = world.sandbox.zoho.add(
        "Contacts",
        json!({ "First_Name": "Ada", "Last_Name": "Byron", "Email": "ada@example.com" }),
    );
    world.settle().await;
    (id, world.sandbox.pipedrive.all("persons")[0]["id"].as_i64().unwrap())
}

#[tokio::test]
async fn given_a_contact_deleted_in_zoho_when_synced_then_the_person_stays_and_the_contact_is_not_made_again()
 {
    let world = World::start().await;
    let (contact, _) = linked_contact(&world).await;
    world.sandbox.zoho.delete("Contacts", contact);

    world.settle().await;

    assert_eq!(
        (world.sandbox.zoho.count("Contacts"), world.sandbox.pipedrive.count("persons")),
        (0, 1)
    );
}

#[tokio::test]
async fn given_a_person_deleted_in_pipedrive_when_synced_then_the_contact_stays_and_no_person_is_made_again()
 {
    let world = World::start().await;
    let (_, person) = linked_contact(&world).await;
    world.sandbox.pipedrive.delete("persons", person);

    world.settle().await;
    world.advance(300);
    world.settle().await;

    assert_eq!(
        (world.sandbox.zoho.count("Contacts"), world.sandbox.pipedrive.count("persons")),
        (1, 0)
    );
}

#[tokio::test]
async fn given_a_deleted_contact_when_restored_then_its_link_lives_again() {
    let world = World::start().await;
    let (contact, person) = linked_contact(&world).await;
    world.sandbox.zoho.delete("Contacts", contact);
    world.settle().await;
    world.sandbox.zoho.undelete("Contacts", contact);
    world.sandbox.zoho.edit("Contacts", contact, json!({ "Last_Name": "Lovelace" }));

    world.settle().await;

    assert_eq!(world.sandbox.pipedrive.get("persons", person).unwrap()["last_name"], "Lovelace");
    assert_eq!(world.sandbox.pipedrive.count("persons"), 1);
}

#[tokio::test]
async fn given_both_of_a_pair_deleted_when_one_is_brought_back_then_the_other_is_made_anew() {
    let world = World::with(Setup { mappings: propagating(), ..Setup::default() }).await;
    let (contact, _) = linked_contact(&world).await;
    world.sandbox.zoho.delete("Contacts", contact);
    world.settle().await;
    assert_eq!(world.sandbox.pipedrive.count("persons"), 0);
    world.advance(300);
    world.settle().await;
    world.sandbox.zoho.undelete("Contacts", contact);
    world.sandbox.zoho.edit("Contacts", contact, json!({ "Last_Name": "Lovelace" }));

    world.settle().await;

    let persons = world.sandbox.pipedrive.all("persons");
    assert_eq!(persons.len(), 1, "{:#?}", world.open_rows().await);
    assert_eq!(persons[0]["last_name"], "Lovelace");
    assert_eq!(world.sandbox.zoho.count("Contacts"), 1);
}

#[tokio::test]
async fn given_an_archived_deal_when_synced_then_it_is_not_taken_for_deleted() {
    let world = World::start().await;
    let deal = json!({ "Deal_Name": "Pilot", "Stage": "Qualification", "Amount": 100, "Closing_Date": "2026-12-01" });
    world.sandbox.zoho.add("Deals", deal);
    world.settle().await;
    let deal = world.sandbox.pipedrive.all("deals")[0]["id"].as_i64().unwrap();
    world.sandbox.pipedrive.archive("deals", deal);

    world.settle().await;

    assert_eq!((world.sandbox.zoho.count("Deals"), world.sandbox.pipedrive.count("deals")), (1, 1));
}

#[tokio::test]
async fn given_an_archived_deal_when_its_counterpart_changes_then_the_edit_waits_and_is_not_lost() {
    let world = World::start().await;
    let deal = json!({ "Deal_Name": "Pilot", "Stage": "Qualification", "Amount": 100, "Closing_Date": "2026-12-01" });
    let zoho = world.sandbox.zoho.add("Deals", deal);
    world.settle().await;
    let deal = world.sandbox.pipedrive.all("deals")[0]["id"].as_i64().unwrap();
    world.sandbox.pipedrive.archive("deals", deal);
    world.sandbox.zoho.edit("Deals", zoho, json!({ "Deal_Name": "Rollout" }));
    world.settle().await;
    world.writes();
    world.advance(300);

    let again = world.sync().await;

    assert_eq!((again.tally.noted, again.tally.stale, again.tally.failed), (0, 0, 0));
    assert_eq!(world.writes(), 0);
    world.sandbox.pipedrive.unarchive("deals", deal);
    world.settle().await;
    assert_eq!(world.sandbox.pipedrive.get("deals", deal).unwrap()["title"], "Rollout");
}

#[tokio::test]
async fn given_a_deleted_contact_that_comes_back_unstamped_when_its_person_is_about_to_go_then_both_stay()
 {
    let world = World::with(Setup { mappings: propagating(), ..Setup::default() }).await;
    let (contact, person) = linked_contact(&world).await;
    world.sandbox.zoho.delete("Contacts", contact);
    // The deletion is seen, but does not get through to Pipedrive in this run.
    world.sandbox.pipedrive.faults().on_next("DELETE /api/v2/persons", Fault::Refused);
    let _ = world.try_sync().await;
    world.sandbox.zoho.undelete("Contacts", contact);

    world.advance(300);
    world.settle().await;
    world.sandbox.zoho.edit("Contacts", contact, json!({ "Last_Name": "Lovelace" }));
    world.settle().await;

    assert_eq!(world.sandbox.zoho.count("Contacts"), 1);
    assert_eq!(world.sandbox.pipedrive.get("persons", person).unwrap()["last_name"], "Lovelace");
}
