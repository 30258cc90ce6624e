//! Webhooks v2: one for each module and address.
//!
//! Source: Pipedrive, "Webhooks v2 guide"; API v1 reference, "Webhooks".

use std::collections::BTreeMap;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use crmsync_core::model::{ModuleName, RecordId};
use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use url::Url;

use super::Pipedrive;
use super::module::{
    MODULES, Module, WEBHOOK_CREATE_UNITS, WEBHOOK_DELETE_UNITS, WEBHOOK_LIST_UNITS,
};
use crate::connectors::hooks::{Hint, Hooks, Post, Wish, is_secret};
use crate::connectors::{ConnectorError, ErrorKind};

/// Webhooks are deleted without a word after three days of failures; a look costs 10 tokens.
const LOOK_AGAIN: TimeDelta = TimeDelta::hours(1);
const PATH: &str = "/api/v1/webhooks";
const USER: &str = "crmsync";

#[async_trait]
impl Hooks for Pipedrive {
    async fn ensure(&self, wish: &Wish<'_>) -> Result<DateTime<Utc>, ConnectorError> {
        let ensured = self.ensure_webhooks(wish).await;
        ensured.map_err(|kind| self.client.error("subscribe to webhooks", kind))?;
        Ok(self.client.now() + LOOK_AGAIN)
    }

    async fn end(&self, url: &Url) -> Result<(), ConnectorError> {
        let ended = self.end_webhooks(url).await;
        ended.map_err(|kind| self.client.error("end webhooks", kind))
    }

    /// By HTTP's Basic scheme: a webhook's only proof.
    fn is_genuine(&self, post: &Post<'_>, secret: &SecretString) -> bool {
        let password = post.authorization.and_then(password);
        password.is_some_and(|password| is_secret(&password, secret))
    }

    fn decode(&self, body: &[u8]) -> Result<Vec<Hint>, ErrorKind> {
        decode(body)
    }
}

impl Pipedrive {
    async fn ensure_webhooks(&self, wish: &Wish<'_>) -> Result<(), ErrorKind> {
        let listed = self.webhooks_to(wish.url).await?;
        let Repair { superfluous, missing } = compare(&listed, wanted(wish));
        // First, as a user may have 40 webhooks; what is superfluous tells us nothing anyway.
        for id in superfluous {
            self.delete_webhook(id).await?;
        }
        for (name, object) in missing {
            self.create_webhook(wish, &name, object).await?;
        }
        Ok(())
    }

    async fn end_webhooks(&self, url: &Url) -> Result<(), ErrorKind> {
        for hook in self.webhooks_to(url).await? {
            self.delete_webhook(hook.id).await?;
        }
        Ok(())
    }

    /// Those that are not removed: whether removed ones stay in the list is unproven.
    async fn webhooks_to(&self, url: &Url) -> Result<Vec<Webhook>, ErrorKind> {
        let mut hooks: Vec<Webhook> = self.client.get_list(PATH, WEBHOOK_LIST_UNITS).await?;
        hooks.retain(|hook| hook.remove_time.is_null() && hook.leads_to(url));
        Ok(hooks)
    }

    /// An answer that was lost is an error: the next look tells whether the webhook was made.
    async fn create_webhook(
        &self,
        wish: &Wish<'_>,
        name: &str,
        object: &str,
    ) -> Result<(), ErrorKind> {
        let body = json!({
            "subscription_url": wish.url.as_str(),
            "event_action": "*",
            "event_object": object,
            "name": name,
            "version": "2.0",
            "http_auth_user": USER,
            "http_auth_password": wish.secret.expose_secret(),
        });
        self.client.write(Method::POST, PATH, Some(&body), WEBHOOK_CREATE_UNITS).await?;
        Ok(())
    }

    async fn delete_webhook(&self, id: i64) -> Result<(), ErrorKind> {
        let path = format!("{PATH}/{id}");
        match self.client.write(Method::DELETE, &path, None, WEBHOOK_DELETE_UNITS).await {
            Ok(_) | Err(ErrorKind::Gone) => Ok(()),
            Err(kind) => Err(kind),
        }
    }
}

/// A row of `GET /v1/webhooks`.
#[derive(Debug, Deserialize)]
struct Webhook {
    id: i64,
    #[serde(default)]
    subscription_url: String,
    #[serde(default)]
    event_action: String,
    #[serde(default)]
    event_object: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    version: Option<String>,
    /// 0 or 1, or a boolean.
    #[serde(default)]
    is_active: Json,
    #[serde(default)]
    remove_time: Json,
}

impl Webhook {
    fn leads_to(&self, url: &Url) -> bool {
        Url::parse(&self.subscription_url).is_ok_and(|theirs| theirs == *url)
    }

    fn is_active(&self) -> bool {
        self.is_active == Json::Bool(true) || self.is_active.as_i64() == Some(1)
    }

    /// Whether it posts all changes of the object in the form that [`decode`] reads.
    fn tells_of(&self, object: &str) -> bool {
        let is_v1 = self.version.as_deref().is_some_and(|version| version.starts_with('1'));
        self.is_active() && !is_v1 && self.event_action == "*" && self.event_object == object
    }
}

/// What is between the webhooks that there are and those that there should be.
#[derive(Debug, Default, PartialEq, Eq)]
struct Repair {
    superfluous: Vec<i64>,
    /// Names and their objects.
    missing: BTreeMap<String, &'static str>,
}

/// Objects by the names of their webhooks.
fn wanted(wish: &Wish<'_>) -> BTreeMap<String, &'static str> {
    let mapped = MODULES.iter().filter(|module| wish.modules.contains(module.name));
    mapped.map(|module| (name(module, wish.secret), module.singular)).collect()
}

/// The API never shows a password, so the name says which one the webhook was made with.
fn name(module: &Module, secret: &SecretString) -> String {
    let print = blake3::hash(secret.expose_secret().as_bytes()).to_hex();
    format!("{USER} {} {}", module.singular, &print[..8])
}

/// Keeps the first good webhook of each name.
fn compare(listed: &[Webhook], mut wanted: BTreeMap<String, &'static str>) -> Repair {
    let mut superfluous = Vec::new();
    for hook in listed {
        let name = hook.name.as_deref().unwrap_or_default();
        if wanted.get(name).is_some_and(|object| hook.tells_of(object)) {
            wanted.remove(name);
        } else {
            superfluous.push(hook.id);
        }
    }
    Repair { superfluous, missing: wanted }
}

/// Password of our user in an `Authorization` header.
fn password(header: &str) -> Option<String> {
    let (scheme, encoded) = header.split_once(' ')?;
    let login = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = login.split_once(':')?;
    (scheme.eq_ignore_ascii_case("basic") && user == USER).then(|| password.to_owned())
}

#[derive(Deserialize)]
struct Told {
    meta: Meta,
}

/// IDs are texts; numbers are taken too.
#[derive(Deserialize)]
struct Meta {
    entity: String,
    entity_id: Json,
    /// Of the deletion of a merge's loser.
    #[serde(default)]
    merged_to_id: Json,
    /// Of the change of its survivor.
    #[serde(default)]
    merged_from_id: Json,
}

/// Decodes a post of webhooks v2: the record it names, and the other one of a merge.
///
/// Users, stages and whatever else is no module of ours give no hint and no error: a refused post is repeated, and
/// ten of them silence the webhook for half an hour.
///
/// # Errors
/// [`ErrorKind::Undecodable`] when a key is missing or of another shape, as in webhooks v1.
///
/// Source: "Webhooks v2 guide", payload and ban.
fn decode(body: &[u8]) -> Result<Vec<Hint>, ErrorKind> {
    let foreign = || ErrorKind::Undecodable("not a webhook of Pipedrive, version 2.0".into());
    let Told { meta } = serde_json::from_slice(body).map_err(|_| foreign())?;
    let own = id_text(&meta.entity_id).ok_or_else(foreign)?;
    let Some(module) = MODULES.iter().find(|module| module.singular == meta.entity) else {
        return Ok(Vec::new());
    };
    let others = [&meta.merged_to_id, &meta.merged_from_id].into_iter().filter_map(id_text);
    let hint = |id: String| Hint { module: ModuleName::from(module.name), id: RecordId::new(id) };
    Ok(std::iter::once(own).chain(others).map(hint).collect())
}

fn id_text(id: &Json) -> Option<String> {
    match id {
        Json::String(id) if !id.is_empty() => Some(id.clone()),
        Json::Number(id) => Some(id.to_string()),
        Json::String(_) | Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(change: impl FnOnce(&mut Json)) -> Vec<u8> {
        let mut meta = json!({
            "action": "change", "entity": "person", "entity_id": "8", "version": "2.0",
            "id": "6f7e8d9c-1a2b-4c3d-9e8f-0a1b2c3d4e5f", "attempt": 1,
        });
        change(&mut meta);
        let post = json!({ "meta": meta, "data": { "id": 8 }, "previous": { "name": "Ada" } });
        post.to_string().into_bytes()
    }

    fn hints(module: &str, ids: &[&str]) -> Vec<Hint> {
        let hint = |id: &&str| Hint { module: module.into(), id: (*id).into() };
        ids.iter().map(hint).collect()
    }

    #[test]
    fn given_posts_when_decoded_then_each_record_named_is_a_hint() {
        let lead = "adf21080-0e10-11eb-879b-05d71fb426ec";
        let cases = [
            ("a change", post(|_| {}), hints("persons", &["8"])),
            (
                "an id as a number",
                post(|meta| meta["entity_id"] = 8.into()),
                hints("persons", &["8"]),
            ),
            (
                "a lead",
                post(|meta| {
                    (meta["entity"], meta["entity_id"]) = ("lead".into(), lead.into());
                }),
                hints("leads", &[lead]),
            ),
            (
                "an activity, whose plural is irregular",
                post(|meta| meta["entity"] = "activity".into()),
                hints("activities", &["8"]),
            ),
            (
                "the loser of a merge",
                post(|meta| meta["merged_to_id"] = "9".into()),
                hints("persons", &["8", "9"]),
            ),
            (
                "the survivor of a merge",
                post(|meta| meta["merged_from_id"] = "7".into()),
                hints("persons", &["8", "7"]),
            ),
            ("a user", post(|meta| meta["entity"] = "user".into()), Vec::new()),
            ("a kind of tomorrow", post(|meta| meta["entity"] = "boat".into()), Vec::new()),
        ];

        for (name, body, expected) in cases {
            assert_eq!(decode(&body), Ok(expected), "{name}");
        }
    }

    #[test]
    fn given_anything_but_a_webhook_when_decoded_then_it_is_an_error() {
        let without = |key: &'static str| {
            post(move |meta| {
                meta.as_object_mut().unwrap().remove(key);
            })
        };
        let zohos = json!({ "module": "Leads", "ids": ["11"], "operation": "update" });
        let version_1 = json!({ "v": 1, "meta": { "object": "deal", "id": 8 }, "current": {} });
        let cases = [
            ("nothing", Vec::new()),
            ("no JSON", b"<html>".to_vec()),
            ("bytes that are no text", vec![0xff, 0xfe]),
            ("a list", b"[1, 2]".to_vec()),
            ("Zoho's", zohos.to_string().into_bytes()),
            ("version 1", version_1.to_string().into_bytes()),
            ("no entity", without("entity")),
            ("no record", without("entity_id")),
            ("an id that is none", post(|meta| meta["entity_id"] = json!({}))),
        ];

        for (name, body) in cases {
            let outcome = decode(&body);
            assert!(matches!(outcome, Err(ErrorKind::Undecodable(_))), "{name}: {outcome:?}");
        }
    }

    fn hook(id: i64, change: impl FnOnce(&mut Json)) -> Webhook {
        let mut row = json!({
            "id": id, "subscription_url": "https://sync.example.com/webhooks/pipedrive",
            "event_action": "*", "event_object": "person", "name": "crmsync person 0a1b2c3d",
            "version": "2.0", "is_active": 1, "remove_time": null,
        });
        change(&mut row);
        serde_json::from_value(row).unwrap()
    }

    #[test]
    fn given_listed_webhooks_when_compared_then_bad_ones_go_and_missing_ones_come() {
        let name = "crmsync person 0a1b2c3d";
        let missing = || BTreeMap::from([(name.to_owned(), "person")]);
        let stays = || Repair::default();
        let replaced = || Repair { superfluous: vec![1], missing: missing() };
        let one = |change: fn(&mut Json)| vec![hook(1, change)];
        let cases = [
            ("none", Vec::new(), Repair { missing: missing(), ..Repair::default() }),
            ("a good one", one(|_| {}), stays()),
            ("active as a flag", one(|row| row["is_active"] = true.into()), stays()),
            ("inactive", one(|row| row["is_active"] = 0.into()), replaced()),
            ("of version 1", one(|row| row["version"] = "1.0".into()), replaced()),
            ("of some changes", one(|row| row["event_action"] = "create".into()), replaced()),
            ("of another object", one(|row| row["event_object"] = "deal".into()), replaced()),
            (
                "of another password",
                one(|row| row["name"] = "crmsync person ffffffff".into()),
                replaced(),
            ),
            ("without a name", one(|row| row["name"] = Json::Null), replaced()),
            (
                "twice",
                vec![hook(1, |_| {}), hook(2, |_| {})],
                Repair { superfluous: vec![2], ..Repair::default() },
            ),
            (
                "a bad one before a good one",
                vec![hook(1, |row| row["is_active"] = 0.into()), hook(2, |_| {})],
                Repair { superfluous: vec![1], ..Repair::default() },
            ),
        ];

        for (name, listed, expected) in cases {
            assert_eq!(compare(&listed, missing()), expected, "{name}");
        }
    }

    #[test]
    fn given_authorization_headers_when_read_then_only_our_basic_login_has_a_password() {
        let basic = |login: &str| format!("Basic {}", STANDARD.encode(login));
        let cases = [
            ("as sent", basic("crmsync:s3cret"), Some("s3cret")),
            ("a colon in the password", basic("crmsync:s3:cret"), Some("s3:cret")),
            ("another spelling", basic("crmsync:s3cret").replace("Basic", "basic"), Some("s3cret")),
            ("another user", basic("ada:s3cret"), None),
            ("no user", basic("s3cret"), None),
            ("another scheme", basic("crmsync:s3cret").replace("Basic", "Bearer"), None),
            ("not encoded", "Basic crmsync:s3cret".to_owned(), None),
            ("no scheme", STANDARD.encode("crmsync:s3cret"), None),
            ("nothing", String::new(), None),
        ];

        for (name, header, expected) in cases {
            assert_eq!(password(&header).as_deref(), expected, "{name}");
        }
    }
}
