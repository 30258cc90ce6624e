//! Servers that store something else than was sent: accepted and reported, never fought over.

use chrono::TimeDelta;
use crmsync_core::model::Side;
use crmsync_simulator::zoho::Automation;
use serde_json::{Value, json};

use crate::world::World;

async fn linked_contact(world: &World) -> (u64, i64) {
    let contact = json!({ "First_Name": "Ada", "Last_Name": "Byron", "Email": "ada@example.com" });
    let id = world.sandbox.zoho.add("Contacts", contact);
    world.settle().await;
    (id, world.sandbox.pipedrive.all("persons")[0]["id"].as_i64().unwrap())
}

fn last_names(world: &World, contact: u64, person: i64) -> (Value, Value) {
    let contact = world.sandbox.zoho.get("Contacts", contact).unwrap();
    let person = world.sandbox.pipedrive.get("persons", person).unwrap();
    (contact["Last_Name"].clone(), person["last_name"].clone())
}

#[tokio::test]
async fn given_a_server_that_cuts_silently_when_written_then_the_difference_is_reported_and_not_sent_back()
 {
    for side in Side::BOTH {
        let world = World::start().await;
        let (contact, person) = linked_contact(&world).await;
        if side == Side::Left {
            world.sandbox.zoho.truncate_silently("Contacts", "Last_Name", 6);
            world.sandbox.pipedrive.edit(
                "persons",
                person,
                json!({ "last_name": "Lovelace-King" }),
            );
        } else {
            world.sandbox.pipedrive.truncate_field("persons", "last_name", 6);
            world.sandbox.zoho.edit("Contacts", contact, json!({ "Last_Name": "Lovelace-King" }));
        }
        world.writes();

        world.sync().await;
        assert_eq!(world.writes(), 1, "{side}");
        for _ in 0..3 {
            world.advance(300);
            world.sync().await;
        }
        assert_eq!(world.writes(), 0, "{side}");
        let (left, right) = last_names(&world, contact, person);
        let (whole, cut) = if side == Side::Left { (&right, &left) } else { (&left, &right) };
        assert_eq!((whole, cut), (&json!("Lovelace-King"), &json!("Lovela")), "{side}");

        // A person's next edit flows again, from either side.
        if side == Side::Left {
            world.sandbox.zoho.edit("Contacts", contact, json!({ "Last_Name": "King" }));
        } else {
            world.sandbox.pipedrive.edit("persons", person, json!({ "last_name": "King" }));
        }
        world.settle().await;
        assert_eq!(last_names(&world, contact, person), (json!("King"), json!("King")), "{side}");
    }
}

#[tokio::test]
async fn given_an_automation_that_fills_a_field_on_create_when_synced_then_its_value_flows_back() {
    let world = World::start().await;
    world.sandbox.zoho.automation("Contacts", "Phone", Automation::Fill(json!("+493099999999")));
    let person = json!({ "name": "Ada Byron", "first_name": "Ada", "last_name": "Byron", "emails": [{ "value": "ada@example.com", "primary": true }] });
    let person = world.sandbox.pipedrive.add("persons", person);

    world.settle().await;

    let person = world.sandbox.pipedrive.get("persons", person).unwrap();
    assert_eq!(person["phones"][0]["value"], "+493099999999", "{person:#}");
    assert_eq!(world.settle().await, 0);
}

#[tokio::test]
async fn given_an_automation_that_rewrites_what_is_written_when_synced_for_days_then_a_few_writes_are_made()
 {
    for delay in [0, 90] {
        let world = World::start().await;
        let (contact, person) = linked_contact(&world).await;
        let upper = |value: &Value| json!(value.as_str().unwrap_or_default().to_uppercase());
        world.sandbox.zoho.automation(
            "Contacts",
            "Last_Name",
            Automation::Rewrite(std::sync::Arc::new(upper)),
        );
        world.sandbox.zoho.delay_automations(TimeDelta::seconds(delay));
        world.writes();

        world.sandbox.pipedrive.edit("persons", person, json!({ "last_name": "Lovelace" }));
        for _ in 0..10 {
            world.sync().await;
            world.advance(300);
        }

        let written = world.writes();
        assert!(written <= 4, "{written} writes with a delay of {delay} s");
        assert_eq!(last_names(&world, contact, person).0, "LOVELACE");
    }
}

#[tokio::test]
async fn given_automations_that_fight_from_both_sides_when_synced_for_hours_then_the_field_is_held()
{
    for delay in [0, 90] {
        let world = World::start().await;
        let (contact, person) = linked_contact(&world).await;
        let upper = |value: &Value| json!(value.as_str().unwrap_or_default().to_uppercase());
        world.sandbox.zoho.automation(
            "Contacts",
            "Last_Name",
            Automation::Rewrite(std::sync::Arc::new(upper)),
        );
        world.sandbox.zoho.delay_automations(TimeDelta::seconds(delay));
        world.sandbox.pipedrive.automate("persons", TimeDelta::seconds(delay), |person| {
            let name = person["last_name"].as_str()?;
            (name != name.to_lowercase()).then(|| json!({ "last_name": name.to_lowercase() }))
        });
        world.writes();

        world.sandbox.zoho.edit("Contacts", contact, json!({ "Last_Name": "Lovelace" }));
        for _ in 0..20 {
            world.sync().await;
            world.advance(300);
        }

        let written = world.writes();
        let rows = world.open_rows().await;
        assert!(written <= 8, "{written} writes with a delay of {delay} s: {rows:#?}");
        let (left, right) = last_names(&world, contact, person);
        let named = rows.iter().any(|row| row.link.is_some());
        assert!(named || delay == 0, "{left} {right} {rows:#?}");
    }
}
