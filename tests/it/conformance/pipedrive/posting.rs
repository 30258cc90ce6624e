//! Webhooks: subscriptions that stay, and posts that are read, to a listener of our own.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::routing::post;
use chrono::TimeDelta;
use crmsync::connectors::hooks::{Hint, Hooks, Post, Wish};
use crmsync::connectors::{Connector, ErrorKind};
use crmsync_core::model::ModuleName;
use crmsync_simulator::fault::Fault;
use crmsync_simulator::host::{Call, Service};
use secrecy::SecretString;
use serde_json::{Value as Json, json};
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::desk::{Desk, id_of};

const SECRET: &str = "a secret of at most fifty characters";

type Inbox = Arc<Mutex<Vec<(Option<String>, Bytes)>>>;

struct Subscriber {
    desk: Desk,
    url: Url,
    inbox: Inbox,
    _listening: AbortOnDropHandle<()>,
}

impl Subscriber {
    async fn start() -> Self {
        let desk = Desk::open().await;
        let inbox = Inbox::default();
        let received = Arc::clone(&inbox);
        let receive = async move |headers: HeaderMap, body: Bytes| {
            let login =
                headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
            received.lock().unwrap().push((login, body));
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/webhooks/pipedrive", listener.local_addr().unwrap());
        let router = Router::new().route("/webhooks/pipedrive", post(receive));
        let listening = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let (url, listening) = (url.parse().unwrap(), AbortOnDropHandle::new(listening));
        Self { desk, url, inbox, _listening: listening }
    }

    fn hooks(&self) -> &dyn Hooks {
        self.desk.side.hooks().unwrap()
    }

    /// Wishes for the modules; answers for how long that is enough.
    async fn ensure_as(&self, modules: &[&str], secret: &str) -> Result<TimeDelta, ErrorKind> {
        self.ensure_at(&self.url, modules, secret).await
    }

    async fn ensure_at(
        &self,
        url: &Url,
        modules: &[&str],
        secret: &str,
    ) -> Result<TimeDelta, ErrorKind> {
        let modules: BTreeSet<_> = modules.iter().map(|name| ModuleName::from(*name)).collect();
        let (secret, now) = (SecretString::from(secret), self.desk.now());
        let wish = Wish { modules: &modules, url, secret: &secret };
        let next = self.hooks().ensure(&wish).await.map_err(|error| error.kind)?;
        Ok(next - now)
    }

    async fn ensure(&self, modules: &[&str]) -> TimeDelta {
        self.ensure_as(modules, SECRET).await.unwrap()
    }

    /// A call as another program makes it.
    fn call(&self, method: &str, path: &str, body: &Json) -> Json {
        let mut headers = HeaderMap::new();
        headers.insert("x-api-token", self.desk.server.api_token().parse().unwrap());
        headers.insert("content-type", "application/json".parse().unwrap());
        let call = Call {
            method: method.into(),
            path: path.into(),
            query: Vec::new(),
            headers,
            body: if body.is_null() { Bytes::new() } else { body.to_string().into() },
            origin: String::new(),
            fault: None,
        };
        serde_json::from_slice(&self.desk.server.answer(&call).body).unwrap()
    }

    /// Id, object and address of each webhook.
    fn webhooks(&self) -> Vec<(i64, String, String)> {
        let rows = self.call("GET", "/v1/webhooks", &Json::Null);
        let text = |row: &Json, key: &str| row[key].as_str().unwrap().to_owned();
        let rows = rows["data"].as_array().unwrap().iter();
        rows.map(|row| {
            (row["id"].as_i64().unwrap(), text(row, "event_object"), text(row, "subscription_url"))
        })
        .collect()
    }

    fn objects(&self) -> Vec<String> {
        self.webhooks().into_iter().map(|(_, object, _)| object).collect()
    }

    /// Posts what is due; answers login and body of each.
    async fn posts(&self) -> Vec<(Option<String>, Bytes)> {
        self.desk.server.deliver_due(&reqwest::Client::new()).await;
        std::mem::take(&mut *self.inbox.lock().unwrap())
    }

    async fn hints(&self) -> Vec<Hint> {
        let posts = self.posts().await.into_iter();
        posts.flat_map(|(_, body)| self.hooks().decode(&body).unwrap()).collect()
    }

    fn is_genuine(&self, (login, body): &(Option<String>, Bytes), secret: &str) -> bool {
        let post = Post { authorization: login.as_deref(), body };
        self.hooks().is_genuine(&post, &secret.into())
    }
}

fn named(hints: &[Hint]) -> Vec<(&str, &str)> {
    hints.iter().map(|hint| (hint.module.as_str(), hint.id.as_str())).collect()
}

#[tokio::test]
async fn given_a_wish_when_ensured_again_then_each_module_has_one_webhook() {
    let subscriber = Subscriber::start().await;
    let modules = ["persons", "organizations", "deals", "products", "activities", "leads", "notes"];

    let first = subscriber.ensure(&modules).await;
    let before = subscriber.webhooks();
    let second = subscriber.ensure(&modules).await;

    assert_eq!((first, second), (TimeDelta::hours(1), TimeDelta::hours(1)));
    assert_eq!(subscriber.webhooks(), before);
    let mut objects = subscriber.objects();
    objects.sort();
    let all = ["activity", "deal", "lead", "note", "organization", "person", "product"];
    assert_eq!(objects, all);
}

#[tokio::test]
async fn given_webhooks_that_were_deleted_when_ensured_then_changes_are_posted_again() {
    let subscriber = Subscriber::start().await;
    subscriber.ensure(&["persons"]).await;
    subscriber.desk.server.drop_webhooks();
    let id = subscriber.desk.server.add("persons", json!({ "name": "Ada" }));
    assert_eq!(subscriber.hints().await, []);

    subscriber.ensure(&["persons"]).await;
    subscriber.desk.server.edit("persons", id, json!({ "name": "Adele" }));

    assert_eq!(named(&subscriber.hints().await), [("persons", id.to_string().as_str())]);
}

#[tokio::test]
async fn given_superfluous_webhooks_when_ensured_then_ours_go_and_those_of_others_stay() {
    let subscriber = Subscriber::start().await;
    subscriber.ensure(&["persons", "deals"]).await;
    let kept = subscriber.webhooks();
    let add = |url: &str, action: &str| {
        let body = json!({ "subscription_url": url, "event_action": action, "event_object": "person", "name": "x" });
        let created = subscriber.call("POST", "/v1/webhooks", &body);
        assert_eq!(created["success"], true, "{created}");
    };
    let other = subscriber.url.join("/other").unwrap();
    add(subscriber.url.as_str(), "create");
    add(other.as_str(), "*");

    subscriber.ensure(&["persons"]).await;

    let person = kept.into_iter().find(|(_, object, _)| object == "person").unwrap();
    let left = subscriber.webhooks();
    assert_eq!(left.len(), 2);
    assert!(left.contains(&person));
    assert!(left.iter().any(|(_, _, url)| *url == other.as_str()));
}

#[tokio::test]
async fn given_creates_edits_and_deletes_when_posted_then_each_is_a_hint() {
    let subscriber = Subscriber::start().await;
    subscriber.ensure(&["persons"]).await;
    let server = &subscriber.desk.server;
    let id = server.add("persons", json!({ "name": "Ada" }));
    server.edit("persons", id, json!({ "name": "Adele" }));
    server.delete("persons", id);
    server.add("organizations", json!({ "name": "Acme" }));

    let hints = subscriber.hints().await;

    assert!(hints.iter().all(|hint| hint.module.as_str() == "persons" && hint.id == id_of(id)));
    assert_eq!(hints.len(), 3);
}

#[tokio::test]
async fn given_a_merge_when_posted_then_both_records_are_hints() {
    let subscriber = Subscriber::start().await;
    let server = &subscriber.desk.server;
    let [loser, survivor] =
        ["Ada", "Adele"].map(|name| server.add("persons", json!({ "name": name })));
    subscriber.ensure(&["persons"]).await;

    let path = format!("/v1/persons/{loser}/merge");
    let merged = subscriber.call("PUT", &path, &json!({ "merge_with_id": survivor }));

    assert_eq!(merged["success"], true, "{merged}");
    let (loser, survivor) = (loser.to_string(), survivor.to_string());
    let (loser, survivor) = (loser.as_str(), survivor.as_str());
    let hints = subscriber.hints().await;
    assert_eq!(
        named(&hints),
        [("persons", loser), ("persons", survivor), ("persons", survivor), ("persons", loser)]
    );
}

#[tokio::test]
async fn given_a_new_secret_when_ensured_then_webhooks_are_made_anew_and_only_it_is_genuine() {
    let subscriber = Subscriber::start().await;
    let server = &subscriber.desk.server;
    subscriber.ensure(&["persons"]).await;
    server.add("persons", json!({ "name": "Ada" }));
    let old = subscriber.posts().await.remove(0);

    subscriber.ensure_as(&["persons"], "another").await.unwrap();
    server.add("persons", json!({ "name": "Bea" }));
    let new = subscriber.posts().await;

    assert_eq!((subscriber.objects(), new.len()), (vec!["person".to_owned()], 1));
    assert!(subscriber.is_genuine(&old, SECRET) && !subscriber.is_genuine(&old, "another"));
    assert!(subscriber.is_genuine(&new[0], "another") && !subscriber.is_genuine(&new[0], SECRET));
    assert!(!subscriber.is_genuine(&(None, new[0].1.clone()), "another"));
    assert!(!subscriber.is_genuine(&(Some("Basic ".into()), Bytes::new()), ""));
}

#[tokio::test]
async fn given_nobody_at_the_address_when_ensured_then_the_refusal_names_it() {
    let subscriber = Subscriber::start().await;
    // Bound and closed: nobody listens there now.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{address}/").parse().unwrap();

    let outcome = subscriber.ensure_at(&url, &["persons"], SECRET).await;

    let Err(ErrorKind::Invalid { field, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(field, "subscription_url");
}

#[tokio::test]
async fn given_an_answer_that_is_lost_when_ensured_again_then_there_is_one_webhook() {
    let subscriber = Subscriber::start().await;
    subscriber.desk.faults().on_next("POST /api/v1/webhooks", Fault::ReplyLost);

    let outcome = subscriber.ensure_as(&["persons"], SECRET).await;
    subscriber.ensure(&["persons"]).await;

    assert!(matches!(outcome, Err(ErrorKind::ReplyLost(_))), "{outcome:?}");
    assert_eq!(subscriber.objects(), ["person"]);
}

#[tokio::test]
async fn given_subscriptions_when_ended_twice_then_they_are_gone_and_both_succeed() {
    let subscriber = Subscriber::start().await;
    subscriber.ensure(&["persons", "deals"]).await;

    for _ in 0..2 {
        subscriber.hooks().end(&subscriber.url).await.unwrap();
    }

    assert_eq!(subscriber.webhooks(), []);
}

#[tokio::test]
async fn given_calls_for_webhooks_when_counted_then_pipedrive_counts_as_many() {
    let subscriber = Subscriber::start().await;

    subscriber.ensure(&["persons", "deals"]).await;
    subscriber.ensure(&["persons"]).await;
    subscriber.hooks().end(&subscriber.url).await.unwrap();

    let spent = subscriber.desk.side.spent();
    assert_eq!(spent.calls, subscriber.desk.server.traffic().calls());
    assert_eq!(spent.units, subscriber.desk.server.traffic().cost());
}
