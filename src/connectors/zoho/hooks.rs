//! Notification channels. Source: Zoho CRM API v8, "Notifications".

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use crmsync_core::model::{ModuleName, RecordId};
use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use url::Url;

use super::Zoho;
use super::client::Call;
use crate::connectors::hooks::{Hint, Hooks, Post, Wish, is_secret};
use crate::connectors::{ConnectorError, ErrorKind};

/// A longer life than allowed becomes one of an hour, without a word: 1 day until v3, 1 week from v4.
const LIFE: TimeDelta = TimeDelta::days(6);
const EARLY_LIFE: TimeDelta = TimeDelta::hours(23);
/// A channel is never renewed more often.
const SHORTEST: TimeDelta = TimeDelta::minutes(1);
/// The scope of notifications.
pub const NOTIFICATIONS: &str = "ZohoCRM.notifications.ALL";
/// Modules that are never posted.
const SILENT: [&str; 2] = ["Notes", "Attachments"];

#[async_trait]
impl Hooks for Zoho {
    async fn ensure(&self, wish: &Wish<'_>) -> Result<DateTime<Utc>, ConnectorError> {
        self.name("subscribe to notifications", self.subscribe(wish).await)
    }

    async fn end(&self, url: &Url) -> Result<(), ConnectorError> {
        let call = Call::new(Method::DELETE, &["actions", "watch"], NOTIFICATIONS)
            .query("channel_ids", channel(url).to_string());
        match self.client.call(&call).await {
            // What is not subscribed is ended.
            Ok(_) | Err(ErrorKind::Refused(_) | ErrorKind::Gone) => Ok(()),
            Err(kind) => self.name("end notifications", Err(kind)),
        }
    }

    fn is_genuine(&self, post: &Post<'_>, secret: &SecretString) -> bool {
        let told: Option<Told> = serde_json::from_slice(post.body).ok();
        told.and_then(|told| told.token).is_some_and(|token| is_secret(&token, secret))
    }

    fn decode(&self, body: &[u8]) -> Result<Vec<Hint>, ErrorKind> {
        decode(body)
    }
}

impl Zoho {
    async fn subscribe(&self, wish: &Wish<'_>) -> Result<DateTime<Utc>, ErrorKind> {
        let now = self.client.http.clock().now();
        let events: Vec<_> = wish
            .modules
            .iter()
            .filter(|module| !SILENT.contains(&module.as_str()))
            .map(|module| format!("{module}.all"))
            .collect();
        if events.is_empty() {
            return Ok(now + LIFE);
        }
        let version = self.client.version.as_str();
        let early = matches!(version, "v2" | "v2.1" | "v3");
        let until = now + if early { EARLY_LIFE } else { LIFE };
        let body = json!({ "watch": [{
            "channel_id": channel(wish.url).to_string(),
            "events": events,
            "channel_expiry": until.to_rfc3339_opts(SecondsFormat::Secs, false),
            "token": wish.secret.expose_secret(),
            "notify_url": wish.url.as_str(),
            "notify_on_related_action": false,
        }] });
        let call = Call::new(Method::POST, &["actions", "watch"], NOTIFICATIONS).body(body);
        let reply = self.client.call(&call).await?;
        let until = expiry(&reply.body)?;
        // Half of what is left: one missed renewal does not end the channel.
        Ok(now + ((until - now) / 2).max(SHORTEST))
    }
}

/// When the channel ends, as it was granted: perhaps earlier than asked for.
fn expiry(body: &Json) -> Result<DateTime<Utc>, ErrorKind> {
    let row = &body["watch"][0];
    if row["status"] != "success" {
        let why = row["message"].as_str().or(row["code"].as_str()).unwrap_or("no reason given");
        return Err(ErrorKind::Refused(why.to_owned()));
    }
    let events = row["details"]["events"].as_array().into_iter().flatten();
    let times = events
        .filter_map(|event| DateTime::parse_from_rfc3339(event["channel_expiry"].as_str()?).ok());
    times
        .min()
        .map(|time| time.to_utc())
        .ok_or_else(|| ErrorKind::Undecodable("a subscription without its end".into()))
}

/// A channel's number is the client's to choose: one for each address.
fn channel(url: &Url) -> u64 {
    let hash = blake3::hash(url.as_str().as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(first) >> 2
}

/// What of a post is looked at.
#[derive(Deserialize)]
struct Told {
    module: Option<String>,
    #[serde(default)]
    ids: Vec<Json>,
    token: Option<String>,
}

fn decode(body: &[u8]) -> Result<Vec<Hint>, ErrorKind> {
    let foreign = || ErrorKind::Undecodable("not a notification of Zoho CRM".into());
    let told: Told = serde_json::from_slice(body).map_err(|_| foreign())?;
    let module = ModuleName::new(told.module.ok_or_else(foreign)?);
    let id = |id: &Json| match id {
        Json::String(id) => Ok(id.clone()),
        Json::Number(id) => Ok(id.to_string()),
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => Err(foreign()),
    };
    let hint = |given: &Json| Ok(Hint { module: module.clone(), id: RecordId::new(id(given)?) });
    told.ids.iter().map(hint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_posts_when_decoded_then_records_are_named_and_anything_else_is_refused() {
        let post = |json: Json| decode(json.to_string().as_bytes());
        let hint = |id: &str| Hint { module: ModuleName::new("Leads"), id: RecordId::new(id) };

        let two = post(json!({ "module": "Leads", "ids": ["11", 12], "operation": "update" }));
        let none = post(json!({ "module": "Leads", "ids": [] }));
        let foreign = [
            post(json!({ "meta": { "entity": "person" } })),
            post(json!([1, 2])),
            post(json!({ "module": "Leads", "ids": [{}] })),
            decode(b"no json"),
        ];

        assert_eq!(two, Ok(vec![hint("11"), hint("12")]));
        assert_eq!(none, Ok(Vec::new()));
        assert!(
            foreign.iter().all(|it| matches!(it, Err(ErrorKind::Undecodable(_)))),
            "{foreign:?}"
        );
    }

    #[test]
    fn given_an_address_when_numbered_then_the_channel_is_the_same_each_time_and_fits_a_long() {
        let url = |text: &str| text.parse::<Url>().expect("an address");
        let one = channel(&url("https://sync.example.com/webhooks/zoho"));

        assert_eq!(one, channel(&url("https://sync.example.com/webhooks/zoho")));
        assert_ne!(one, channel(&url("https://sync.example.com/webhooks/other")));
        assert!(i64::try_from(one).is_ok());
    }
}
