//! Webhooks, delivered for real, and the API over HTTP.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use crmsync_simulator::clock::Clock;
use crmsync_simulator::fault::{Fault, Faults};
use crmsync_simulator::host::{Call, Host, Reply, Service};
use crmsync_simulator::pipedrive::{Pipedrive, Settings, WebhookWeather};
use crmsync_simulator::traffic::Traffic;
use serde_json::{Value, json};

/// Answers every event with a status and keeps it.
struct Subscriber {
    status: Mutex<u16>,
    events: Mutex<Vec<(Option<String>, Value)>>,
    faults: Faults,
    traffic: Traffic,
}

impl Service for Subscriber {
    fn answer(&self, call: &Call) -> Reply {
        let event = serde_json::from_slice(&call.body).unwrap();
        self.events.lock().unwrap().push((call.header("authorization").map(Into::into), event));
        Reply::empty(*self.status.lock().unwrap())
    }

    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
    }

    fn faults(&self) -> &Faults {
        &self.faults
    }

    fn traffic(&self) -> &Traffic {
        &self.traffic
    }
}

struct Field {
    pipedrive: Arc<Pipedrive>,
    subscriber: Arc<Subscriber>,
    client: reqwest::Client,
    clock: Clock,
    api: Host,
    hook: Host,
}

impl Field {
    async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let clock = Clock::standing("2026-05-15T10:00:00Z".parse().unwrap());
        let pipedrive = Arc::new(Pipedrive::new(Settings::new(clock.clone(), 7)));
        let subscriber = Arc::new(Subscriber {
            status: Mutex::new(200),
            events: Mutex::default(),
            faults: Faults::default(),
            traffic: Traffic::default(),
        });
        let api = Host::start(pipedrive.clone(), 0).await.unwrap();
        let hook = Host::start(subscriber.clone(), 0).await.unwrap();
        let field =
            Self { pipedrive, subscriber, client: reqwest::Client::new(), clock, api, hook };
        let body = json!({ "subscription_url": format!("{}/hook", field.hook.url()), "event_action": "*", "event_object": "*",
            "name": "sync", "http_auth_user": "u", "http_auth_password": "p" });
        let (status, answer) = field.post("/v1/webhooks", &body).await;
        assert_eq!((status, &answer["status"]), (201, &json!("ok")));
        field
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self
            .client
            .post(format!("{}{path}", self.api.url()))
            .header("x-api-token", self.pipedrive.api_token())
            .json(body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// What arrived since the last look: action, entity, id.
    async fn arrived(&self) -> Vec<String> {
        self.pipedrive.deliver_due(&self.client).await;
        let events = std::mem::take(&mut *self.subscriber.events.lock().unwrap());
        events
            .iter()
            .map(|(_, event)| {
                format!(
                    "{} {} {}",
                    event["meta"]["action"], event["meta"]["entity"], event["meta"]["entity_id"]
                )
                .replace('"', "")
            })
            .collect()
    }
}

#[tokio::test]
async fn given_writes_when_delivered_then_each_is_an_event_in_the_third_dialect() {
    let field = Field::start().await;
    let code = field.pipedrive.add_field("persons", "External id", "varchar", &[]);
    field
        .post("/api/v2/persons", &json!({ "name": "Ada", "custom_fields": { &code: "x-1" } }))
        .await;
    field.pipedrive.edit("persons", 1, json!({ "name": "Eva" }));
    field.pipedrive.delete("persons", 1);

    field.pipedrive.deliver_due(&field.client).await;

    let events = std::mem::take(&mut *field.subscriber.events.lock().unwrap());
    let sources: Vec<_> = events
        .iter()
        .map(|(_, event)| (event["meta"]["action"].clone(), event["meta"]["change_source"].clone()))
        .collect();
    assert_eq!(
        sources,
        [
            (json!("create"), json!("api")),
            (json!("change"), json!("app")),
            (json!("delete"), json!("app"))
        ]
    );
    assert_eq!(events[0].0.as_deref(), Some("Basic dTpw"));
    let created = &events[0].1["data"];
    assert_eq!(
        (&created["visible_to"], &created["custom_fields"][&code]),
        (&json!("3"), &json!({ "type": "varchar", "value": "x-1" }))
    );
    assert_eq!(events[1].1["previous"]["name"], "Ada");
    assert_eq!(
        (&events[2].1["data"], &events[2].1["previous"]["name"]),
        (&Value::Null, &json!("Eva"))
    );
}

#[tokio::test]
async fn given_a_merge_when_delivered_then_both_events_name_the_other_record() {
    let field = Field::start().await;
    field.pipedrive.add("organizations", json!({ "name": "A" }));
    field.pipedrive.add("organizations", json!({ "name": "B" }));
    field.arrived().await;

    field.pipedrive.merge("organizations", 1, 2);
    field.pipedrive.deliver_due(&field.client).await;

    let events = field.subscriber.events.lock().unwrap();
    let (lost, kept) = (&events[0].1["meta"], &events[1].1["meta"]);
    assert_eq!((&lost["action"], &lost["merged_to_id"]), (&json!("delete"), &json!("2")));
    assert_eq!((&kept["action"], &kept["merged_from_id"]), (&json!("change"), &json!("1")));
}

#[tokio::test]
async fn given_a_failing_subscriber_when_time_passes_then_three_retries_and_after_ten_strikes_a_ban()
 {
    let field = Field::start().await;
    *field.subscriber.status.lock().unwrap() = 500;
    field.pipedrive.add("persons", json!({ "name": "Ada" }));
    let mut attempts = Vec::new();
    for wait in [0, 3, 30, 150, 1_000] {
        field.clock.advance(TimeDelta::seconds(wait));
        attempts.push(field.arrived().await.len());
    }
    for _ in 0..9 {
        field.pipedrive.add("persons", json!({ "name": "More" }));
    }
    field.arrived().await;
    field.clock.advance(TimeDelta::seconds(200));
    field.arrived().await;
    field.clock.advance(TimeDelta::seconds(200));
    field.arrived().await;
    *field.subscriber.status.lock().unwrap() = 200;

    field.pipedrive.edit("persons", 1, json!({ "name": "Lost" }));
    let banned = field.pipedrive.webhooks_lost();
    field.clock.advance(TimeDelta::seconds(1_800));
    field.arrived().await;
    field.pipedrive.edit("persons", 1, json!({ "name": "Heard" }));

    assert_eq!(attempts, [1, 1, 1, 1, 0]);
    assert_eq!(banned, 2, "the first event after its last attempt, the one during the ban");
    assert_eq!(field.arrived().await, ["change person 1"]);
}

#[tokio::test]
async fn given_bad_weather_when_delivered_then_events_are_lost_doubled_and_late() {
    let field = Field::start().await;
    let weather = |lost, doubled, delay| WebhookWeather {
        lost_per_mille: lost,
        doubled_per_mille: doubled,
        delay: TimeDelta::seconds(delay),
    };

    field.pipedrive.webhook_weather(weather(1_000, 0, 0));
    field.pipedrive.add("persons", json!({ "name": "A" }));
    let lost = field.arrived().await;
    field.pipedrive.webhook_weather(weather(0, 1_000, 0));
    field.pipedrive.add("persons", json!({ "name": "B" }));
    let doubled = field.arrived().await;
    field.pipedrive.webhook_weather(weather(0, 0, 600));
    for _ in 0..10 {
        field.pipedrive.add("persons", json!({ "name": "C" }));
    }
    let early = field.arrived().await;
    field.clock.advance(TimeDelta::seconds(600));
    let late = field.arrived().await;

    assert_eq!(
        (lost.len(), doubled),
        (0, vec!["create person 2".to_owned(), "create person 2".into()])
    );
    assert!(early.len() < 10 && late.len() == 10 - early.len());
    let mut sorted = late.clone();
    sorted.sort();
    assert_ne!(late, sorted, "later events overtake earlier ones");
}

#[tokio::test]
async fn given_an_unreachable_url_when_subscribed_then_400() {
    let field = Field::start().await;

    for (url, status) in
        [("http://127.0.0.1:1/x", 400), ("not a url", 400), ("http://sync.example.com/x", 403)]
    {
        let body = json!({ "subscription_url": url, "event_action": "*", "event_object": "*", "name": "sync" });
        assert_eq!(field.post("/v1/webhooks", &body).await.0, status, "{url}");
    }
}

#[tokio::test]
async fn given_a_lost_reply_when_posted_over_http_then_the_record_exists() {
    let field = Field::start().await;
    field.pipedrive.faults().on_next("POST /api/v2/persons", Fault::ReplyLost);
    let request = || {
        field
            .client
            .post(format!("{}/api/v2/persons", field.api.url()))
            .header("x-api-token", field.pipedrive.api_token())
    };

    let lost = request().json(&json!({ "name": "Ada" })).send().await;
    let page = field
        .client
        .get(format!("{}/api/v2/persons", field.api.url()))
        .header("x-api-token", field.pipedrive.api_token());
    let page: Value = page.send().await.unwrap().json().await.unwrap();

    assert!(lost.is_err());
    assert_eq!(page["data"].as_array().unwrap().len(), 1);
    assert_eq!((field.pipedrive.faults().unused(), field.pipedrive.traffic().written()), (0, 1));
}
