//! Notification channels, and the whole server over HTTP.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use crmsync_simulator::clock::Clock;
use crmsync_simulator::fault::{Fault, Faults};
use crmsync_simulator::host::{Call, Host, Reply, Service};
use crmsync_simulator::traffic::Traffic;
use crmsync_simulator::zoho::{Carriage, Settings, Zoho};
use serde_json::{Value, json};

use crate::desk::{ALL, Desk, at};

fn subscription() -> Value {
    json!({ "watch": [{ "channel_id": "1000000068001", "events": ["Contacts.all"], "token": "secret",
        "notify_url": "http://127.0.0.1:9/hook?c=1", "return_affected_field_values": true, "notify_on_related_action": false }] })
}

#[test]
fn given_a_channel_when_records_change_then_notifications_tell_what() {
    let desk = Desk::open();
    let enabled = desk.post("/actions/watch", &subscription());
    let id = desk.zoho.add("Contacts", json!({ "Last_Name": "Muster" }));
    desk.put("/Contacts", &json!({ "data": [{ "id": id.to_string(), "Title": "Boss" }] }));
    desk.zoho.delete("Contacts", id);
    desk.zoho.add("Accounts", json!({ "Account_Name": "Acme" }));

    let payloads: Vec<Value> =
        desk.zoho.take_deliveries().into_iter().map(|delivery| delivery.payload).collect();

    assert_eq!(
        (enabled.status, enabled.text("/watch/0/details/events/0/channel_expiry")),
        (201, "2026-03-10T11:00:00+01:00")
    );
    let operations: Vec<&Value> = payloads.iter().map(|payload| &payload["operation"]).collect();
    assert_eq!(operations, ["insert", "update", "delete"]);
    assert_eq!(payloads[1]["ids"], json!([id.to_string()]));
    assert_eq!(payloads[1]["affected_fields"], json!([{ id.to_string(): ["Title"] }]));
    assert_eq!(
        payloads[1]["affected_values"],
        json!([{ "record_id": id.to_string(), "values": { "Title": "Boss" } }])
    );
    assert_eq!(
        (&payloads[0]["token"], &payloads[0]["query_params"]["c"]),
        (&json!("secret"), &json!("1"))
    );
    desk.wait(3_600);
    desk.zoho.add("Contacts", json!({ "Last_Name": "Late" }));
    assert_eq!(desk.zoho.deliveries_waiting(), 0);
}

#[test]
fn given_expiries_when_subscribed_then_a_week_is_kept_and_more_falls_back_to_an_hour() {
    let desk = Desk::open();
    let cases = [
        ("a day", "2026-03-11T09:00:00Z", "2026-03-11T10:00:00+01:00"),
        ("a week", "2026-03-17T09:00:00Z", "2026-03-17T10:00:00+01:00"),
        ("a week and a second", "2026-03-17T09:00:01Z", "2026-03-10T11:00:00+01:00"),
    ];

    for (name, asked, wanted) in cases {
        let mut body = subscription();
        body["watch"][0]["channel_expiry"] = asked.into();
        let answered = desk.post("/actions/watch", &body);
        assert_eq!(answered.text("/watch/0/details/events/0/channel_expiry"), wanted, "{name}");
    }
    assert_eq!(desk.get("/actions/watch").text("/watch/0/channel_id"), "1000000068001");
    assert_eq!(desk.delete("/actions/watch?channel_ids=1000000068001,5").status, 207);
    assert_eq!(desk.get("/actions/watch").status, 204);
}

#[test]
fn given_bad_roads_when_notifications_travel_then_some_are_lost_and_some_come_twice() {
    let desk = Desk::open();
    desk.post("/actions/watch", &subscription());
    let count = |carriage: Carriage| {
        desk.zoho.set_carriage(carriage);
        for n in 0..100 {
            desk.zoho.add("Contacts", json!({ "Last_Name": format!("N{n}") }));
        }
        desk.zoho.take_deliveries().len()
    };

    let lost = count(Carriage { lost_per_mille: 500, ..Carriage::default() });
    let doubled = count(Carriage { doubled_per_mille: 500, ..Carriage::default() });

    assert!((20..80).contains(&lost), "{lost}");
    assert!((120..180).contains(&doubled), "{doubled}");
}

/// Keeps the bodies posted to it.
#[derive(Default)]
struct Listener {
    bodies: Mutex<Vec<Bytes>>,
    heard: tokio::sync::Notify,
    faults: Faults,
    traffic: Traffic,
}

impl Service for Listener {
    fn answer(&self, call: &Call) -> Reply {
        self.bodies.lock().expect("no listener panics").push(call.body.clone());
        self.heard.notify_one();
        Reply::empty(200)
    }

    fn now(&self) -> chrono::DateTime<chrono::Utc> {
        at("2026-03-10T09:00:00Z")
    }

    fn faults(&self) -> &Faults {
        &self.faults
    }

    fn traffic(&self) -> &Traffic {
        &self.traffic
    }
}

#[tokio::test]
async fn given_the_server_over_http_when_called_then_answers_faults_and_notifications_travel() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let clock = Clock::standing(at("2026-03-10T09:00:00Z"));
    let zoho = Arc::new(Zoho::new(Settings::new(clock, 7)));
    let listener = Arc::new(Listener::default());
    let host = Host::start(zoho.clone(), 0).await.unwrap();
    let ear = Host::start(listener.clone(), 0).await.unwrap();
    let client = reqwest::Client::new();
    tokio::spawn(zoho.clone().deliver(client.clone()));
    let authorization = format!("Zoho-oauthtoken {}", zoho.access_token(ALL));
    let url = format!("{}/crm/v8/Contacts", host.url());
    let mut subscribe = subscription();
    subscribe["watch"][0]["notify_url"] = format!("{}/hook", ear.url()).into();

    let watch = format!("{}/crm/v8/actions/watch", host.url());
    let watched = client
        .post(&watch)
        .header("authorization", &authorization)
        .json(&subscribe)
        .send()
        .await
        .unwrap();
    zoho.faults().on_next("POST /crm/v8/Contacts", Fault::ReplyLost);
    let body = json!({ "data": [{ "Last_Name": "Muster" }] });
    let lost = client.post(&url).header("authorization", &authorization).json(&body).send().await;
    listener.heard.notified().await;
    let listed = client
        .get(&url)
        .query(&[("fields", "Last_Name")])
        .header("authorization", &authorization)
        .send()
        .await
        .unwrap();

    assert_eq!(watched.status(), 201);
    assert!(lost.is_err());
    assert_eq!(listed.headers()["date"], "Tue, 10 Mar 2026 09:00:00 GMT");
    let listed: Value = listed.json().await.unwrap();
    assert_eq!(listed["data"][0]["Last_Name"], "Muster");
    let posted: Value = serde_json::from_slice(&listener.bodies.lock().unwrap()[0]).unwrap();
    assert_eq!(
        (&posted["operation"], &posted["ids"][0]),
        (&json!("insert"), &listed["data"][0]["id"])
    );
    assert_eq!(zoho.traffic().written(), 1);
}

#[test]
fn given_a_channel_when_replaced_patched_or_left_alone_then_what_it_hears_follows() {
    let desk = Desk::open();
    let account = desk.zoho.add("Accounts", json!({ "Account_Name": "Acme" }));
    let channel = |events: Value| json!({ "watch": [{ "channel_id": 5, "events": events, "notify_url": "http://127.0.0.1:9/" }] });
    desk.post("/actions/watch", &channel(json!(["Accounts.edit"])));
    let add = || {
        desk.zoho.add(
            "Contacts",
            json!({ "Last_Name": "M", "Account_Name": { "id": account.to_string() } }),
        );
        let heard = desk
            .zoho
            .take_deliveries()
            .into_iter()
            .map(|delivery| delivery.payload["module"].clone());
        heard.collect::<Vec<_>>()
    };

    let related = add();
    desk.put("/actions/watch", &channel(json!(["Contacts.create", "Contacts.edit"])));
    let replaced = add();
    let mut patch = channel(json!(["Contacts.create"]));
    patch["watch"][0]["_delete_events"] = true.into();
    let patched = desk.call("PATCH", "/actions/watch", &[], &patch);

    assert_eq!(related, ["Accounts"]);
    assert_eq!(replaced, ["Contacts"]);
    assert_eq!((patched.status, add().len()), (200, 0));
    assert_eq!(desk.get("/actions/watch").at("/watch/0/events"), &json!(["Contacts.edit"]));
    let unknown = json!({ "watch": [{ "channel_id": "6", "events": ["Contacts.all"], "notify_url": "http://127.0.0.1:9/" }] });
    assert_eq!(desk.put("/actions/watch", &unknown).text("/watch/0/code"), "NOT_SUBSCRIBED");
}
