//! The first sync: link what is the same, create what is missing, ask a person before either.

use crmsync::sandbox::companies::seed_demo;
use crmsync::service::Exit;
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn given_two_differing_companies_when_synced_then_both_know_everyone_once() {
    let world = World::start().await;
    seed_demo(&world.sandbox.zoho, &world.sandbox.pipedrive);

    world.sync().await;

    let (zoho, pipedrive) = (&world.sandbox.zoho, &world.sandbox.pipedrive);
    assert_eq!((zoho.count("Accounts"), pipedrive.count("organizations")), (8, 8));
    assert_eq!((zoho.count("Contacts"), pipedrive.count("persons")), (12, 12));
    assert_eq!((zoho.count("Deals"), pipedrive.count("deals")), (6, 6));
}

#[tokio::test]
async fn given_a_clean_first_sync_when_synced_again_then_nothing_is_written() {
    let world = World::start().await;
    seed_demo(&world.sandbox.zoho, &world.sandbox.pipedrive);
    world.sync().await;
    world.writes();

    let report = world.sync().await;

    assert_eq!(world.writes(), 0, "{:#?}", report.plan.ops);
    assert!(report.plan.ops.is_empty(), "{:#?}", report.plan.ops);
}

#[tokio::test]
async fn given_a_first_plan_that_nobody_approved_when_synced_then_nothing_is_written() {
    let world = World::start().await;
    seed_demo(&world.sandbox.zoho, &world.sandbox.pipedrive);
    world.writes();

    let report = world.sync_unattended().await;

    assert_eq!(report.exit, Exit::Guard);
    assert_eq!(world.writes(), 0);
    assert!(!report.plan.guards.is_empty());
}

#[tokio::test]
async fn given_a_plan_when_made_then_the_store_and_both_sides_stay_as_they_were() {
    let world = World::start().await;
    seed_demo(&world.sandbox.zoho, &world.sandbox.pipedrive);
    // The first plan remembers both connections' metadata, which belongs to no route.
    world.plan().await;
    world.writes();
    let store = world.folder.path().join("store.db");
    let before = std::fs::read(&store).unwrap();

    let outcome = world.plan().await;

    assert!(!outcome.plan.guards.is_empty());
    assert_eq!(world.writes(), 0);
    assert_eq!(std::fs::read(&store).unwrap(), before);
}

#[tokio::test]
async fn given_the_hash_of_a_plan_when_approved_by_it_then_exactly_that_plan_runs() {
    let world = World::start().await;
    seed_demo(&world.sandbox.zoho, &world.sandbox.pipedrive);
    let hash = world.plan().await.plan.hash;

    let options =
        crmsync::service::RunOptions { approve: Some(hash.clone()), ..Default::default() };
    let report = world.open().await.sync(&options, &crmsync::service::Silent).await.unwrap();

    assert_eq!(report.plan.hash, hash);
    assert_eq!(world.sandbox.pipedrive.count("persons"), 12);
}

#[tokio::test]
async fn given_two_contacts_with_one_email_when_synced_then_a_person_is_asked_and_neither_is_created()
 {
    let world = World::start().await;
    let (zoho, pipedrive) = (&world.sandbox.zoho, &world.sandbox.pipedrive);
    zoho.add(
        "Contacts",
        json!({ "Last_Name": "Twin", "First_Name": "A", "Email": "twin@example.com" }),
    );
    zoho.add(
        "Contacts",
        json!({ "Last_Name": "Twin", "First_Name": "B", "Email": "twin@example.com" }),
    );
    pipedrive
        .add("persons", json!({ "name": "A Twin", "emails": [{ "value": "twin@example.com" }] }));

    let report = world.sync().await;

    assert_eq!(report.exit, Exit::Open);
    assert_eq!((zoho.count("Contacts"), pipedrive.count("persons")), (2, 1));
    assert!(report.rows.iter().any(|row| row.code.as_str() == "AMBIGUOUS"), "{:#?}", report.rows);
}
