//! Deletions that a mapping asks to spread: with evidence, within the cap, and never over an edit.

use crmsync::service::Exit;
use serde_json::json;

use crate::world::{Setup, World, propagating, shipped};

/// `count` linked contacts under the policy `propagate`.
async fn linked(count: usize) -> World {
    let world = World::with(Setup { mappings: propagating(), ..Setup::default() }).await;
    for number in 0..count {
        let email = format!("p{number}@example.com");
        world
            .sandbox
            .zoho
            .add("Contacts", json!({ "Last_Name": format!("Last{number}"), "Email": email }));
    }
    world.settle().await;
    world
}

fn contact(world: &World, number: usize) -> u64 {
    let all = world.sandbox.zoho.all("Contacts");
    let one = all.iter().find(|one| one["Email"] == format!("p{number}@example.com")).unwrap();
    one["id"].as_str().unwrap().parse().unwrap()
}

fn person(world: &World, number: usize) -> i64 {
    let all = world.sandbox.pipedrive.all("persons");
    let one = all
        .iter()
        .find(|one| one["emails"][0]["value"] == format!("p{number}@example.com"))
        .unwrap();
    one["id"].as_i64().unwrap()
}

fn counts(world: &World) -> (usize, usize) {
    (world.sandbox.zoho.count("Contacts"), world.sandbox.pipedrive.count("persons"))
}

fn codes(rows: &[crmsync_core::model::OpenRow]) -> Vec<&'static str> {
    rows.iter().map(|row| row.code.as_str()).collect()
}

#[tokio::test]
async fn given_the_policy_propagate_when_a_record_is_deleted_then_its_counterpart_goes_to_the_bin()
{
    let world = linked(4).await;
    world.sandbox.zoho.delete("Contacts", contact(&world, 1));
    world.sandbox.pipedrive.delete("persons", person(&world, 2));

    let report = world.sync().await;

    assert_eq!(counts(&world), (2, 2), "{:#?}", report.rows);
    assert_eq!(world.settle().await, 0);
    assert_eq!(world.sync().await.exit, Exit::Clean);
}

#[tokio::test]
async fn given_more_deletions_than_the_cap_when_nobody_approves_then_none_spreads_and_approval_releases_all()
 {
    let world = linked(10).await;
    for number in 0..5 {
        world.sandbox.zoho.delete("Contacts", contact(&world, number));
    }

    let unattended = world.sync_unattended().await;
    assert_eq!((unattended.exit, counts(&world)), (Exit::Guard, (5, 10)));
    let again = world.sync_unattended().await;
    assert_eq!((again.exit, counts(&world)), (Exit::Guard, (5, 10)));
    world.sync().await;

    assert_eq!(counts(&world), (5, 5));
    assert_eq!(world.settle().await, 0);
}

#[tokio::test]
async fn given_a_person_edited_and_its_contact_deleted_when_synced_then_a_person_is_asked_and_nothing_is_deleted()
 {
    let world = linked(4).await;
    world.sandbox.zoho.delete("Contacts", contact(&world, 1));
    world.sandbox.pipedrive.edit("persons", person(&world, 1), json!({ "last_name": "Kept" }));

    for _ in 0..3 {
        let report = world.sync().await;
        assert_eq!(report.exit, Exit::Open);
        world.advance(300);
    }

    assert_eq!(counts(&world), (3, 4));
    assert_eq!(codes(&world.open_rows().await), ["DELETE_EDIT"]);
}

#[tokio::test]
async fn given_a_deleted_contact_made_again_by_a_person_when_synced_then_its_person_is_kept_and_linked_anew()
 {
    for runs_between in [0, 1] {
        let mappings = if runs_between == 0 {
            propagating()
        } else {
            shipped(&["account.toml", "contact.toml"])
        };
        let world = World::with(Setup { mappings, ..Setup::default() }).await;
        let values = json!({ "Last_Name": "Byron", "Email": "p0@example.com" });
        world.sandbox.zoho.add("Contacts", values.clone());
        world.settle().await;
        world.sandbox.zoho.delete("Contacts", contact(&world, 0));
        for _ in 0..runs_between {
            world.sync().await;
        }
        world.sandbox.zoho.add("Contacts", values);
        world.settle().await;
        world.sandbox.zoho.edit("Contacts", contact(&world, 0), json!({ "Last_Name": "Lovelace" }));
        world.settle().await;

        assert_eq!(counts(&world), (1, 1), "{runs_between} runs between");
        let rows = world.open_rows().await;
        assert_eq!(codes(&rows), [""; 0], "{runs_between} runs between: {rows:#?}");
        assert_eq!(world.sandbox.pipedrive.all("persons")[0]["last_name"], "Lovelace");
    }
}

#[tokio::test]
async fn given_the_policy_archive_when_a_contact_is_deleted_then_its_person_carries_the_mark() {
    let marks = "\n[deletes]\nto-right = \"archive\"\nmarks = { right = { Status = \"gone\" } }\n";
    let mut mappings = shipped(&["account.toml", "contact.toml"]);
    mappings[1].1.push_str(marks);
    let world = World::with(Setup { mappings, ..Setup::default() }).await;
    let code = world.sandbox.pipedrive.add_field("persons", "Status", "varchar", &[]);
    world.sandbox.zoho.add("Contacts", json!({ "Last_Name": "Byron", "Email": "p0@example.com" }));
    world.settle().await;
    let id = person(&world, 0);
    world.sandbox.zoho.delete("Contacts", contact(&world, 0));

    world.settle().await;

    let person = world.sandbox.pipedrive.get("persons", id).unwrap();
    assert_eq!(person["custom_fields"][&code], "gone", "{person:#}");
    assert_eq!(counts(&world), (0, 1));
    assert_eq!(world.settle().await, 0);
}

#[tokio::test]
async fn given_a_counterpart_edited_between_plan_and_delete_when_synced_then_it_is_not_deleted() {
    let world = linked(4).await;
    world.sandbox.zoho.delete("Contacts", contact(&world, 1));
    let id = person(&world, 1);
    let pipedrive = std::sync::Arc::clone(&world.sandbox.pipedrive);
    let edits = std::sync::atomic::AtomicBool::new(false);
    // The edit happens while the run shows that it writes: after planning, before the re-read.
    let progress = EditsWhenWriting { pipedrive, id, done: edits };
    world.advance(60);
    let options = crmsync::service::RunOptions::default();
    world.open().await.sync(&options, &progress).await.unwrap();
    world.settle().await;

    assert_eq!(counts(&world), (3, 4));
    assert_eq!(codes(&world.open_rows().await), ["DELETE_EDIT"]);
}

struct EditsWhenWriting {
    pipedrive: std::sync::Arc<crmsync_simulator::pipedrive::Pipedrive>,
    id: i64,
    done: std::sync::atomic::AtomicBool,
}

impl crmsync::service::Progress for EditsWhenWriting {
    fn phase(&self, name: &str, _: Option<u64>) {
        if name == "writing" && !self.done.swap(true, std::sync::atomic::Ordering::SeqCst) {
            self.pipedrive.edit("persons", self.id, json!({ "last_name": "Kept" }));
        }
    }

    fn advance(&self, _: u64) {}

    fn note(&self, _: &str) {}
}
