//! Records merged or converted on one side: nothing is deleted, lost or doubled on the other.

use crmsync::service::{Exit, RunReport};
use serde_json::json;
use tempfile::TempDir;

use crate::world::World;

fn codes(report: &RunReport) -> Vec<&'static str> {
    let mut codes: Vec<_> = report.rows.iter().map(|row| row.code.as_str()).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

fn contact(world: &World, name: &str, email: &str) -> u64 {
    world.sandbox.zoho.add("Contacts", json!({ "Last_Name": name, "Email": email }))
}

/// Last names of all persons.
fn persons(world: &World) -> Vec<String> {
    let all = world.sandbox.pipedrive.all("persons");
    let mut names: Vec<_> =
        all.iter().map(|person| person["last_name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// A world in which deleted contacts take their persons along, and the folder of its mappings.
async fn propagating() -> (World, TempDir) {
    let mappings = World::propagating_deletes("contact");
    (World::with_mappings(mappings.path().to_owned()).await, mappings)
}

#[tokio::test]
async fn given_a_linked_contact_when_merged_into_a_new_one_then_its_person_follows_the_survivor() {
    let (world, _mappings) = propagating().await;
    let linked = contact(&world, "Byron", "ada@example.com");
    world.settle().await;
    let survivor = contact(&world, "Byron", "ada@example.com");
    world.sandbox.zoho.merge("Contacts", survivor, linked, &[]);

    let merged = world.sync().await;
    world.settle().await;
    world.sandbox.zoho.edit("Contacts", survivor, json!({ "Last_Name": "Lovelace" }));
    world.settle().await;

    assert_eq!(persons(&world), ["Lovelace"], "{:#?} {:#?}", merged.plan.ops, merged.rows);
    assert_eq!(world.sandbox.zoho.count("Contacts"), 1);
}

#[tokio::test]
async fn given_two_linked_contacts_when_merged_then_no_person_is_deleted_and_a_person_is_asked() {
    let (world, _mappings) = propagating().await;
    let survivor = contact(&world, "Byron", "ada@example.com");
    let lost = contact(&world, "King", "king@example.com");
    world.settle().await;
    world.sandbox.zoho.merge("Contacts", survivor, lost, &["Email"]);

    let merged = world.sync().await;
    let again = world.sync().await;

    assert_eq!(persons(&world), ["Byron", "King"], "{:#?} {:#?}", merged.plan.ops, merged.rows);
    assert_eq!((codes(&merged), merged.exit), (vec!["SUSPECTED_MERGE"], Exit::Open));
    assert_eq!((again.tally.written(), again.open_rows), (0, merged.open_rows));
}

#[tokio::test]
async fn given_two_linked_persons_when_merged_then_both_contacts_stay() {
    let world = World::start().await;
    contact(&world, "Byron", "ada@example.com");
    contact(&world, "King", "king@example.com");
    world.settle().await;
    let all = world.sandbox.pipedrive.all("persons");
    let id = |at: usize| all[at]["id"].as_i64().unwrap();
    world.sandbox.pipedrive.merge("persons", id(1), id(0));

    world.settle().await;
    world.advance(300);
    world.settle().await;

    let (contacts, left) = (world.sandbox.zoho.count("Contacts"), persons(&world).len());
    assert_eq!((contacts, left), (2, 1), "neither deleted, nor made again");
}
