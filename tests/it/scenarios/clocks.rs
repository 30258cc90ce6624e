//! Clocks that are wrong: a server's, by hours, for ever or for a moment.

use chrono::TimeDelta;
use serde_json::json;

use crate::world::{Setup, World};

const HOURS: [i64; 2] = [-7, 9];

async fn linked_contact(world: &World) -> (u64, i64) {
    let contact = json!({ "First_Name": "Ada", "Last_Name": "Byron", "Email": "ada@example.com" });
    let id = world.sandbox.zoho.add("Contacts", contact);
    world.settle().await;
    (id, world.sandbox.pipedrive.all("persons")[0]["id"].as_i64().unwrap())
}

fn email(value: &str) -> serde_json::Value {
    json!({ "emails": [{ "value": value, "primary": true }] })
}

#[tokio::test]
async fn given_server_clocks_hours_off_when_both_sides_edit_then_the_later_edit_wins() {
    for (zoho, pipedrive) in HOURS.into_iter().flat_map(|left| HOURS.map(|right| (left, right))) {
        for zoho_is_later in [true, false] {
            let ahead = [TimeDelta::hours(zoho), TimeDelta::hours(pipedrive)];
            let world = World::with(Setup { ahead, ..Setup::default() }).await;
            let (contact, person) = linked_contact(&world).await;
            let edit_zoho = || {
                world.sandbox.zoho.edit(
                    "Contacts",
                    contact,
                    json!({ "Email": "zoho@example.com" }),
                );
            };
            let edit_pipedrive =
                || world.sandbox.pipedrive.edit("persons", person, email("pipedrive@example.com"));

            if zoho_is_later {
                edit_pipedrive();
                world.advance(30);
                edit_zoho();
            } else {
                edit_zoho();
                world.advance(30);
                edit_pipedrive();
            }
            world.settle().await;

            let expected = if zoho_is_later { "zoho@example.com" } else { "pipedrive@example.com" };
            let case =
                format!("Zoho {zoho} h, Pipedrive {pipedrive} h, Zoho later: {zoho_is_later}");
            assert_eq!(
                world.sandbox.zoho.get("Contacts", contact).unwrap()["Email"],
                expected,
                "{case}"
            );
            assert_eq!(
                world.sandbox.pipedrive.get("persons", person).unwrap()["emails"][0]["value"],
                expected,
                "{case}"
            );
        }
    }
}

#[tokio::test]
async fn given_a_server_that_was_hours_ahead_once_when_a_person_edits_then_the_edit_is_not_passed_over()
 {
    let world = World::start().await;
    let (contact, person) = linked_contact(&world).await;
    for server in &world.servers {
        server.advance(TimeDelta::hours(6));
    }
    world.sync().await;
    for server in &world.servers {
        server.advance(TimeDelta::hours(-6));
    }
    world.sync().await;
    world.sandbox.zoho.edit("Contacts", contact, json!({ "Last_Name": "Lovelace" }));
    world.sandbox.pipedrive.edit("persons", person, email("new@example.com"));

    world.settle().await;

    assert_eq!(world.sandbox.pipedrive.get("persons", person).unwrap()["last_name"], "Lovelace");
    assert_eq!(world.sandbox.zoho.get("Contacts", contact).unwrap()["Email"], "new@example.com");
}

#[tokio::test]
async fn given_answers_without_a_date_when_people_edit_then_the_edits_flow() {
    use crmsync_simulator::fault::Fault;
    use crmsync_simulator::host::Service;

    let world = World::start().await;
    let no_date = || vec![Fault::NoDate];
    world.sandbox.zoho.faults().weather(1, 1_000, no_date());
    world.sandbox.pipedrive.faults().weather(1, 1_000, no_date());
    let (contact, person) = linked_contact(&world).await;

    for round in 0..3 {
        let (last, address) = (format!("Name{round}"), format!("a{round}@example.com"));
        world.advance(3_600);
        world.sandbox.zoho.edit("Contacts", contact, json!({ "Last_Name": last }));
        world.sandbox.pipedrive.edit("persons", person, email(&address));
        world.settle().await;

        assert_eq!(world.sandbox.pipedrive.get("persons", person).unwrap()["last_name"], last);
        assert_eq!(world.sandbox.zoho.get("Contacts", contact).unwrap()["Email"], address);
    }
}
