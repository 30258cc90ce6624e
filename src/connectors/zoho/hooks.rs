//! Notification channels: one for each address, for all modules together.
//!
//! Source: Zoho CRM API v8, "Notifications".

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use crmsync_core::model::{ModuleName, RecordId};
use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use url::Url;

use super::Zoho;
use super::client::{Call, Reply};
use super::refusal::kind_of;
use super::wire::{Status, id_text};
use crate::connectors::hooks::{Hint, Hooks, Post, Wish, is_secret};
use crate::connectors::{ConnectorError, ErrorKind};

/// Modules that are never posted.
///
/// Source: Zoho CRM API v8, "Enable notifications", supported modules.
const SILENT: [&str; 2] = ["Notes", "Attachments"];

/// A subscription is not renewed more often.
const SHORTEST: TimeDelta = TimeDelta::minutes(1);

const PATH: [&str; 2] = ["actions", "watch"];
/// The scope that all of this needs.
pub const NOTIFICATIONS: &str = "ZohoCRM.notifications.ALL";

#[async_trait]
impl Hooks for Zoho {
    async fn ensure(&self, wish: &Wish<'_>) -> Result<DateTime<Utc>, ConnectorError> {
        self.name("subscribe to notifications", self.subscribe(wish).await)
    }

    async fn end(&self, url: &Url) -> Result<(), ConnectorError> {
        self.name("end notifications", self.unsubscribe(url).await)
    }

    fn is_genuine(&self, post: &Post<'_>, secret: &SecretString) -> bool {
        let told: Option<Proof> = serde_json::from_slice(post.body).ok();
        told.is_some_and(|told| is_secret(&told.token, secret))
    }

    fn decode(&self, body: &[u8]) -> Result<Vec<Hint>, ErrorKind> {
        decode(body)
    }
}

impl Zoho {
    /// Renews the channel, or makes it. Answers the middle of the time that Zoho granted: one renewal that fails
    /// does not end the channel.
    async fn subscribe(&self, wish: &Wish<'_>) -> Result<DateTime<Utc>, ErrorKind> {
        let now = self.client.http.clock().now();
        let events = events(wish);
        let life = longest_life(&self.client.version);
        if events.is_empty() {
            self.unsubscribe(wish.url).await?;
            return Ok(now + life / 2);
        }
        let body = watch(wish, &events, now + life);
        let reply = self.watch_anew(&body).await?;
        // The end is by Zoho's clock, and ours may be wrong.
        let zohos_now = reply.answer.server_time.unwrap_or(now);
        let left = earliest_end(&reply)? - zohos_now;
        Ok(now + (left / 2).max(SHORTEST))
    }

    /// Replaces the channel, so that modules no longer wished for fall silent, and makes it where there is none.
    async fn watch_anew(&self, body: &Json) -> Result<Reply, ErrorKind> {
        match self.send_watch(Method::PUT, body).await {
            // How an unknown channel is refused is unproven. Where anything else is wrong, making it tells.
            Err(ErrorKind::Gone | ErrorKind::Refused(_) | ErrorKind::Invalid { .. }) => {
                self.send_watch(Method::POST, body).await
            }
            outcome => outcome,
        }
    }

    async fn send_watch(&self, method: Method, body: &Json) -> Result<Reply, ErrorKind> {
        let call = Call::new(method, &PATH, NOTIFICATIONS).body(body.clone());
        let reply = self.client.call(&call).await?;
        accept_rows(&reply)?;
        Ok(reply)
    }

    async fn unsubscribe(&self, url: &Url) -> Result<(), ErrorKind> {
        let channel = channel_id(url).to_string();
        let call = Call::new(Method::DELETE, &PATH, NOTIFICATIONS).query("channel_ids", channel);
        let outcome = self.client.call(&call).await;
        match outcome.and_then(|reply| accept_rows(&reply)) {
            Err(ErrorKind::Gone) => Ok(()),
            outcome => outcome,
        }
    }
}

/// What a channel hears of. One watch object takes several events, so the limit of 50 objects a call is far.
fn events(wish: &Wish<'_>) -> Vec<String> {
    let heard = wish.modules.iter().filter(|module| !SILENT.contains(&module.as_str()));
    heard.map(|module| format!("{module}.all")).collect()
}

/// A longer life becomes one of an hour, without an error; so this stays clear of 1 day until v3 and of 1 week
/// from v4.
///
/// Source: Zoho CRM API v7, "Enable notifications", `channel_expiry`.
fn longest_life(version: &str) -> TimeDelta {
    match version {
        "v2" | "v2.1" | "v3" => TimeDelta::hours(23),
        _ => TimeDelta::days(6),
    }
}

fn watch(wish: &Wish<'_>, events: &[String], end: DateTime<Utc>) -> Json {
    json!({ "watch": [{
        "channel_id": channel_id(wish.url).to_string(),
        "events": events,
        "channel_expiry": end.to_rfc3339_opts(SecondsFormat::Secs, false),
        "token": wish.secret.expose_secret(),
        "notify_url": wish.url.as_str(),
        // Else an edit of a contact is told of its account too, where nothing changed.
        "notify_on_related_action": false,
    }] })
}

/// The number of a channel is its maker's to choose: one for each address, and positive as a signed long.
fn channel_id(url: &Url) -> u64 {
    let hash = blake3::hash(url.as_str().as_bytes());
    let mut head = [0; 8];
    head.copy_from_slice(&hash.as_bytes()[..8]);
    (u64::from_be_bytes(head) >> 1).max(1)
}

/// Looks inside a 2xx, which may hold refusals, and inside a 400, which may hold rows.
fn accept_rows(reply: &Reply) -> Result<(), ErrorKind> {
    let rows: Option<Watch> = reply.decode()?;
    let refused = rows.iter().flat_map(|rows| &rows.watch).find(|row| !row.is_success());
    refused.map_or(Ok(()), |row| Err(kind_of(row)))
}

#[derive(Deserialize)]
struct Watch {
    watch: Vec<Status>,
}

/// When the first of the channel's events ends.
fn earliest_end(reply: &Reply) -> Result<DateTime<Utc>, ErrorKind> {
    let rows: Option<Watch> = reply.decode()?;
    let rows = rows.map(|rows| rows.watch).unwrap_or_default();
    let events = rows.iter().filter_map(|row| row.details.get("events")?.as_array()).flatten();
    let end = |event: &Json| DateTime::parse_from_rfc3339(event["channel_expiry"].as_str()?).ok();
    let ends: Option<Vec<_>> = events.map(end).collect();
    let first = ends.unwrap_or_default().into_iter().min();
    first
        .map(|end| end.to_utc())
        .ok_or_else(|| ErrorKind::Undecodable("a subscription that does not say its end".into()))
}

#[derive(Deserialize)]
struct Proof {
    token: String,
}

/// What of a post is looked at.
#[derive(Deserialize)]
struct Told {
    module: String,
    ids: Vec<Json>,
}

/// Decodes a notification. A module's name is passed on as told: only the metadata knows custom ones.
///
/// # Errors
/// [`ErrorKind::Undecodable`] when a key is missing or of another shape.
fn decode(body: &[u8]) -> Result<Vec<Hint>, ErrorKind> {
    let foreign = || ErrorKind::Undecodable("not a notification of Zoho CRM".into());
    let told: Told = serde_json::from_slice(body).map_err(|_| foreign())?;
    let ids: Option<Vec<String>> = told.ids.iter().map(id_text).collect();
    let ids = ids.ok_or_else(foreign)?;
    let module = ModuleName::new(told.module);
    let hint = |id| Hint { module: module.clone(), id: RecordId::new(id) };
    Ok(ids.into_iter().map(hint).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(change: impl FnOnce(&mut Json)) -> Vec<u8> {
        let mut post = json!({
            "server_time": 1_718_117_126_473_u64, "query_params": { "c": "1" }, "module": "Leads",
            "resource_uri": "https://www.zohoapis.com/crm/v2/Leads", "ids": ["11", "12"],
            "affected_fields": [{ "11": ["Email"] }], "operation": "update",
            "channel_id": "1000000068001", "token": "secret",
        });
        change(&mut post);
        post.to_string().into_bytes()
    }

    fn ids(module: &str, ids: &[&str]) -> Vec<(String, String)> {
        ids.iter().map(|id| (module.to_owned(), (*id).to_owned())).collect()
    }

    #[test]
    fn given_posts_when_decoded_then_each_record_named_is_a_hint() {
        let cases = [
            ("two records", post(|_| {}), ids("Leads", &["11", "12"])),
            ("ids as numbers", post(|post| post["ids"] = json!([11])), ids("Leads", &["11"])),
            (
                "a custom module",
                post(|post| post["module"] = "Boats".into()),
                ids("Boats", &["11", "12"]),
            ),
            ("no records", post(|post| post["ids"] = json!([])), Vec::new()),
        ];

        for (name, body, expected) in cases {
            let hints = decode(&body).unwrap().into_iter();
            let named: Vec<_> =
                hints.map(|hint| (hint.module.to_string(), hint.id.to_string())).collect();
            assert_eq!(named, expected, "{name}");
        }
    }

    #[test]
    fn given_anything_but_a_notification_when_decoded_then_it_is_an_error() {
        let without = |key: &'static str| {
            post(move |post| {
                post.as_object_mut().unwrap().remove(key);
            })
        };
        let pipedrives = json!({ "meta": { "entity": "person", "entity_id": "8", "id": "6f7e" } });
        let cases = [
            ("nothing", Vec::new()),
            ("no JSON", b"<html>".to_vec()),
            ("bytes that are no text", vec![0xff, 0xfe]),
            ("a list", b"[1, 2]".to_vec()),
            ("Pipedrive's", pipedrives.to_string().into_bytes()),
            ("no module", without("module")),
            ("no ids", without("ids")),
            ("an id that is none", post(|post| post["ids"] = json!(["11", {}]))),
            ("ids that are no list", post(|post| post["ids"] = "11".into())),
        ];

        for (name, body) in cases {
            let outcome = decode(&body);
            assert!(matches!(outcome, Err(ErrorKind::Undecodable(_))), "{name}: {outcome:?}");
        }
    }

    #[test]
    fn given_addresses_when_numbered_then_each_has_one_channel_and_it_fits_a_long() {
        let channel = |text: &str| channel_id(&text.parse().unwrap());
        let one = channel("https://sync.example.com/webhooks/zoho");

        assert_eq!(one, channel("https://sync.example.com/webhooks/zoho"));
        assert_ne!(one, channel("https://sync.example.com/webhooks/zoho2"));
        assert!(i64::try_from(one).is_ok_and(|one| one > 0));
    }

    #[test]
    fn given_versions_when_a_life_is_chosen_then_it_is_within_what_each_allows() {
        let day = TimeDelta::days(1);

        for version in ["v2", "v2.1", "v3"] {
            assert!(longest_life(version) < day, "{version}");
        }
        for version in ["v4", "v7", "v8", "v9"] {
            assert!((day..day * 7).contains(&longest_life(version)), "{version}");
        }
    }
}
