//! Webhooks of both CRMs, from their own posts to the other side: hints that may come twice, late, or never.

use std::time::Duration;

use crmsync_simulator::pipedrive::WebhookWeather;
use crmsync_simulator::zoho::Carriage;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Stand, emails};
use crate::world::World;

/// 32 bytes in base64.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Contacts that both sides know, on a route that listens.
async fn listening(contacts: usize) -> Stand {
    let mut world = World::start().await;
    world.reconfigure(|text| {
        text.replace("{ env = \"CRMSYNC_KEY\" }", &format!("\"{KEY}\"")) + "webhooks = true\n"
    });
    for at in 0..contacts {
        let email = format!("ada{at}@example.com");
        world
            .sandbox
            .zoho
            .add("Contacts", json!({ "Last_Name": format!("Byron {at}"), "Email": email }));
    }
    world.settle().await;
    world.sandbox.deliver();
    let stand = Stand::serve(world).await;
    for _ in 0..200 {
        if stand.world.calls().keys().any(|call| call.contains("actions/watch")) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    stand
}

/// Waits until both sides have the same, and `wanted` is among it.
async fn arrives(stand: &Stand, wanted: &str) {
    for _ in 0..400 {
        let [left, right] = emails(&stand.world);
        if left == right && left.iter().any(|email| email == wanted) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{wanted} did not arrive: {:?}", emails(&stand.world));
}

fn person(email: &str) -> Value {
    json!({ "emails": [{ "value": email, "primary": true, "label": "work" }] })
}

#[tokio::test]
async fn given_edits_on_either_side_when_posted_then_they_arrive_without_any_list_being_read() {
    let stand = listening(1).await;
    let contact =
        stand.world.sandbox.zoho.all("Contacts")[0]["id"].as_str().unwrap().parse().unwrap();
    let id = stand.world.sandbox.pipedrive.all("persons")[0]["id"].as_i64().unwrap();

    stand.world.sandbox.zoho.edit("Contacts", contact, json!({ "Email": "left@example.com" }));
    arrives(&stand, "left@example.com").await;
    stand.world.advance(60);
    stand.world.sandbox.pipedrive.edit("persons", id, person("right@example.com"));
    arrives(&stand, "right@example.com").await;

    let runs = stand.scheduler.store().runs(None, 50).await.unwrap();
    let hinted = runs.iter().filter(|run| run.mode == "hints").count();
    assert!(hinted >= 2, "{runs:#?}");
    stand.stop().await;
}

#[tokio::test]
async fn given_a_new_record_when_posted_then_its_counterpart_is_looked_for_before_one_is_made() {
    let stand = listening(1).await;
    // Nobody posted this one: it was there before anybody listened, as far as the route knows.
    let lost = WebhookWeather { lost_per_mille: 1_000, ..WebhookWeather::default() };
    stand.world.sandbox.pipedrive.webhook_weather(lost);
    let known = json!({ "name": "Grace Hopper", "emails": [{ "value": "grace@example.com", "primary": true, "label": "work" }] });
    stand.world.sandbox.pipedrive.add("persons", known);
    let before = stand.world.sandbox.pipedrive.count("persons");

    let contact =
        json!({ "First_Name": "Grace", "Last_Name": "Hopper", "Email": "grace@example.com" });
    stand.world.sandbox.zoho.add("Contacts", contact);
    let linked = async {
        loop {
            let contacts = stand.world.sandbox.zoho.all("Contacts");
            let grace =
                contacts.iter().find(|row| row["Email"] == "grace@example.com").unwrap().clone();
            let runs = stand.scheduler.store().runs(None, 1).await.unwrap();
            if runs[0].mode == "hints" && runs[0].finished_at.is_some() {
                return grace;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), linked).await.unwrap();

    assert_eq!(stand.world.sandbox.pipedrive.count("persons"), before, "no second Grace");
    stand.stop().await;
}

#[tokio::test]
async fn given_posts_without_the_secret_or_of_another_shape_when_received_then_nothing_comes_of_them()
 {
    let stand = listening(1).await;
    let post = async |path: &str, body: String| {
        stand.request(Method::POST, path).body(body).send().await.unwrap().status()
    };
    let forged = json!({ "module": "Contacts", "ids": ["1"], "token": "guessed" }).to_string();

    let wrong = post("/webhooks/zoho", forged.clone()).await;
    let none = post("/webhooks/pipedrive", json!({ "meta": {} }).to_string()).await;
    let unknown = post("/webhooks/elsewhere", forged).await;
    let large = post("/webhooks/zoho", "x".repeat(2_000_000)).await;
    let probed = stand.request(Method::GET, "/webhooks/zoho").send().await.unwrap().status();

    assert_eq!([wrong, none], [StatusCode::UNAUTHORIZED; 2]);
    assert_eq!(unknown, StatusCode::NOT_FOUND);
    assert_eq!(large, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(probed, StatusCode::OK);
    assert_eq!(stand.scheduler.store().route(&"crm".into()).inbox(10).await.unwrap(), []);
    stand.stop().await;
}

#[tokio::test]
async fn given_posts_that_come_twice_late_or_never_when_polled_afterwards_then_nothing_is_missing()
{
    let stand = listening(12).await;
    let carriage = Carriage {
        lost_per_mille: 400,
        doubled_per_mille: 400,
        reordered_per_mille: 400,
        ..Carriage::default()
    };
    stand.world.sandbox.zoho.set_carriage(carriage);

    for (at, contact) in stand.world.sandbox.zoho.all("Contacts").iter().enumerate() {
        let id = contact["id"].as_str().unwrap().parse().unwrap();
        stand.world.sandbox.zoho.edit(
            "Contacts",
            id,
            json!({ "Email": format!("new{at}@example.com") }),
        );
    }
    let world = stand.stop().await;
    world.settle().await;

    let [left, right] = emails(&world);
    assert_eq!(left, right);
    assert!(left.iter().all(|email| email.starts_with("new")), "{left:?}");
}
