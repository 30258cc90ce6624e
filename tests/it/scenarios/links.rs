//! A person's word about which records are one, and how much of both sides is in sync.

use crmsync::service::links::Bound;
use crmsync::service::{RunOptions, Silent};
use crmsync_core::model::{EntityName, Pair, RecordId};
use serde_json::json;

use crate::world::World;

fn contact() -> EntityName {
    EntityName::new("contact")
}

fn add_contact(world: &World, name: &str) -> u64 {
    let email = format!("{}@example.com", name.to_lowercase());
    world.sandbox.zoho.add("Contacts", json!({ "Last_Name": name, "Email": email }))
}

fn persons(world: &World) -> Vec<(i64, String)> {
    let all = world.sandbox.pipedrive.all("persons");
    let person = |it: &serde_json::Value| {
        (it["id"].as_i64().unwrap(), it["last_name"].as_str().unwrap().to_owned())
    };
    let mut persons: Vec<_> = all.iter().map(person).collect();
    persons.sort();
    persons
}

fn ends(left: u64, right: i64) -> Pair<RecordId> {
    Pair::new(RecordId::new(left.to_string()), RecordId::new(right.to_string()))
}

async fn link(world: &World, left: u64, right: i64, bound: Bound) -> Result<(), String> {
    let linked = world.open().await.link(&contact(), &ends(left, right), bound).await;
    linked.map(drop).map_err(|error| error.to_string())
}

#[tokio::test]
async fn given_a_pair_parted_by_a_person_when_synced_then_neither_follows_nor_is_made_anew() {
    let world = World::start().await;
    let ada = add_contact(&world, "Byron");
    world.settle().await;
    let person = persons(&world)[0].0;

    world.open().await.unlink(&contact(), &RecordId::new(ada.to_string())).await.unwrap();
    world.sandbox.pipedrive.edit("persons", person, json!({ "last_name": "Noel" }));
    world.advance(60);
    world.sandbox.zoho.edit("Contacts", ada, json!({ "Last_Name": "Lovelace" }));
    world.settle().await;

    assert_eq!(persons(&world), [(person, "Noel".to_owned())]);
    assert_eq!(world.sandbox.zoho.count("Contacts"), 1);

    link(&world, ada, person, Bound::Stays).await.unwrap();
    world.settle().await;

    assert_eq!(persons(&world), [(person, "Lovelace".to_owned())]);
}

#[tokio::test]
async fn given_linked_records_when_bound_otherwise_then_it_takes_a_move_and_the_rest_stays_alone() {
    let world = World::start().await;
    let (ada, eve) = (add_contact(&world, "Byron"), add_contact(&world, "King"));
    world.settle().await;
    let all = persons(&world);
    let of = |name: &str| all.iter().find(|(_, last)| last == name).unwrap().0;

    let king = of("King");
    world.sandbox.pipedrive.edit("persons", king, json!({ "last_name": "Noel" }));
    world.settle().await;

    let refused = link(&world, ada, king, Bound::Stays).await.unwrap_err();
    link(&world, ada, king, Bound::Moves).await.unwrap();
    world.sandbox.zoho.edit("Contacts", ada, json!({ "Last_Name": "Lovelace" }));
    world.settle().await;
    world.sandbox.zoho.edit("Contacts", eve, json!({ "Last_Name": "King" }));
    world.settle().await;

    assert!(refused.contains("--move"), "{refused}");
    let names: Vec<_> = persons(&world).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["Byron", "Lovelace"]);
    assert_eq!(world.sandbox.zoho.count("Contacts"), 2);
}

#[tokio::test]
async fn given_a_word_about_records_that_are_not_so_when_said_then_it_is_refused_and_nothing_changes()
 {
    let world = World::start().await;
    let ada = add_contact(&world, "Byron");
    world.settle().await;
    let person = persons(&world)[0].0;
    let session = world.open().await;

    let unknown = session.unlink(&contact(), &RecordId::new("999")).await.unwrap_err();
    let linked = link(&world, ada, person, Bound::Moves).await.unwrap_err();
    let missing = link(&world, ada, 999, Bound::Moves).await.unwrap_err();

    assert!(unknown.to_string().contains("999"), "{unknown}");
    assert!(linked.contains("linked already"), "{linked}");
    assert!(missing.contains("pipedrive is not known to have"), "{missing}");
    world.sandbox.zoho.edit("Contacts", ada, json!({ "Last_Name": "Lovelace" }));
    world.settle().await;
    assert_eq!(persons(&world), [(person, "Lovelace".to_owned())]);
}

#[tokio::test]
async fn given_edits_that_wait_when_audited_then_the_share_in_sync_is_told_and_nothing_changes() {
    let world = World::start().await;
    let ids: Vec<_> = ["Ash", "Birch", "Cedar"].map(|name| add_contact(&world, name)).into();
    world.settle().await;
    let before = audit(&world).await;
    world.sandbox.zoho.edit("Contacts", ids[0], json!({ "Phone": "+493012345678" }));
    add_contact(&world, "Date");
    world.writes();

    let after = audit(&world).await;
    let writes = world.writes();
    world.settle().await;

    assert_eq!((before.percent(), before.is_in_sync()), (100.0, true));
    let contacts = &after.entities[&contact()];
    assert_eq!((contacts.in_sync, contacts.differing, contacts.alone.left), (2, 1, 1));
    assert_eq!((after.percent(), writes), (50.0, 0));
    assert_eq!(contacts.examples.len(), 2);
    assert!(audit(&world).await.is_in_sync());
}

async fn audit(world: &World) -> crmsync::service::audit::AuditReport {
    let session = world.open().await;
    let report = session.audit(&RunOptions::default(), &Silent).await.unwrap();
    session.close().await.unwrap();
    report
}
