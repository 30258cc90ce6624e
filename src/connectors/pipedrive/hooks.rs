//! Webhooks v2. Source: Pipedrive, "Webhooks v2 guide", and API v1 reference, "Webhooks".

use std::collections::BTreeSet;

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
use super::module::MODULES;
use crate::connectors::hooks::{Hint, Hooks, Post, Wish, is_secret};
use crate::connectors::{ConnectorError, ErrorKind};

const PATH: &str = "/api/v1/webhooks";
/// Tokens. Source: Pipedrive, "Rate limiting", webhooks.
const LIST_UNITS: u64 = 10;
const CREATE_UNITS: u64 = 10;
const DELETE_UNITS: u64 = 6;
/// A webhook may be banned or deleted without a word; a look costs 10 tokens.
const LOOK_AGAIN: TimeDelta = TimeDelta::hours(1);
/// Who posts are signed in as.
const LOGIN: &str = "crmsync";

#[async_trait]
impl Hooks for Pipedrive {
    async fn ensure(&self, wish: &Wish<'_>) -> Result<DateTime<Utc>, ConnectorError> {
        let ensured = self.ensure_hooks(wish).await;
        ensured.map_err(|kind| self.client.error("subscribe to webhooks", kind))?;
        Ok(self.client.now() + LOOK_AGAIN)
    }

    async fn end(&self, url: &Url) -> Result<(), ConnectorError> {
        let ended = async {
            for hook in self.hooks_to(url).await? {
                self.delete_hook(hook.id).await?;
            }
            Ok(())
        };
        ended.await.map_err(|kind| self.client.error("end webhooks", kind))
    }

    fn is_genuine(&self, post: &Post<'_>, secret: &SecretString) -> bool {
        let given = post.authorization.and_then(|header| header.strip_prefix("Basic "));
        let plain = given.and_then(|given| STANDARD.decode(given.trim()).ok());
        let plain = plain.and_then(|bytes| String::from_utf8(bytes).ok());
        let password = plain.as_ref().and_then(|plain| plain.strip_prefix("crmsync:"));
        password.is_some_and(|password| is_secret(password, secret))
    }

    fn decode(&self, body: &[u8]) -> Result<Vec<Hint>, ErrorKind> {
        decode(body)
    }
}

/// A webhook as listed. `is_active` is 0, 1 or a flag.
#[derive(Deserialize)]
struct Hook {
    id: i64,
    subscription_url: String,
    #[serde(default)]
    name: Json,
    #[serde(default)]
    is_active: Json,
}

impl Pipedrive {
    async fn ensure_hooks(&self, wish: &Wish<'_>) -> Result<(), ErrorKind> {
        let mut missing: BTreeSet<String> =
            objects(wish.modules).map(|object| name(object, wish.secret)).collect();
        for hook in self.hooks_to(wish.url).await? {
            let active = hook.is_active == json!(1) || hook.is_active == json!(true);
            // Another password has another name; a second one of the same name is superfluous.
            let wanted = active && hook.name.as_str().is_some_and(|name| missing.remove(name));
            if !wanted {
                self.delete_hook(hook.id).await?;
            }
        }
        for object in objects(wish.modules) {
            if missing.contains(&name(object, wish.secret)) {
                self.create_hook(object, wish).await?;
            }
        }
        Ok(())
    }

    async fn hooks_to(&self, url: &Url) -> Result<Vec<Hook>, ErrorKind> {
        let reply = self.client.get(PATH, &[], LIST_UNITS).await?;
        let shape = |_| ErrorKind::Undecodable("a webhook of another shape".into());
        let decoded = reply.rows()?.into_iter().map(|row| Hook::deserialize(row).map_err(shape));
        let mut hooks: Vec<Hook> = decoded.collect::<Result<_, _>>()?;
        hooks.retain(|hook| hook.subscription_url == url.as_str());
        Ok(hooks)
    }

    async fn create_hook(&self, object: &str, wish: &Wish<'_>) -> Result<(), ErrorKind> {
        let body = json!({
            "subscription_url": wish.url.as_str(),
            "event_action": "*",
            "event_object": object,
            "name": name(object, wish.secret),
            "version": "2.0",
            "http_auth_user": LOGIN,
            "http_auth_password": wish.secret.expose_secret(),
        });
        match self.client.write(Method::POST, PATH, Some(&body), CREATE_UNITS).await {
            // Made or not, the next look tells.
            Ok(_) | Err(ErrorKind::ReplyLost(_)) => Ok(()),
            Err(kind) => Err(kind),
        }
    }

    async fn delete_hook(&self, id: i64) -> Result<(), ErrorKind> {
        let path = format!("{PATH}/{id}");
        match self.client.write(Method::DELETE, &path, None, DELETE_UNITS).await {
            Ok(_) | Err(ErrorKind::Gone | ErrorKind::ReplyLost(_)) => Ok(()),
            Err(kind) => Err(kind),
        }
    }
}

/// What webhooks call the records of the modules.
fn objects(modules: &BTreeSet<ModuleName>) -> impl Iterator<Item = &'static str> + '_ {
    let known = MODULES.iter().filter(|module| modules.contains(&ModuleName::new(module.name)));
    known.map(|module| module.singular)
}

/// The API never shows a password; the name tells which one a webhook was made with.
fn name(object: &str, secret: &SecretString) -> String {
    let print =
        blake3::derive_key("crmsync 2026 name of a webhook", secret.expose_secret().as_bytes());
    format!("{LOGIN} {object} {}", &blake3::Hash::from(print).to_hex()[..8])
}

#[derive(Deserialize)]
struct Told {
    meta: Meta,
}

/// IDs are texts, and numbers in older forms.
#[derive(Deserialize)]
struct Meta {
    entity: String,
    entity_id: Json,
    #[serde(default)]
    merged_to_id: Json,
    #[serde(default)]
    merged_from_id: Json,
}

fn decode(body: &[u8]) -> Result<Vec<Hint>, ErrorKind> {
    let foreign = || ErrorKind::Undecodable("not a webhook v2 of Pipedrive".into());
    let Told { meta } = serde_json::from_slice(body).map_err(|_| foreign())?;
    let module = MODULES.iter().find(|module| module.singular == meta.entity);
    // Users, stages and what may come later are no records that are mapped.
    let Some(module) = module else { return Ok(Vec::new()) };
    let id = |given: &Json| match given {
        Json::String(id) if !id.is_empty() => Some(id.clone()),
        Json::Number(id) => Some(id.to_string()),
        Json::String(_) | Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
    };
    let own = id(&meta.entity_id).ok_or_else(foreign)?;
    let merged = [&meta.merged_to_id, &meta.merged_from_id].into_iter().filter_map(id);
    let hint = |id: String| Hint { module: ModuleName::new(module.name), id: RecordId::new(id) };
    Ok(std::iter::once(own).chain(merged).map(hint).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_posts_when_decoded_then_records_are_named_and_anything_else_is_refused() {
        let post = |meta: Json| decode(json!({ "meta": meta }).to_string().as_bytes());
        let hint = |id: &str| Hint { module: ModuleName::new("persons"), id: RecordId::new(id) };

        let changed = post(json!({ "action": "change", "entity": "person", "entity_id": "8" }));
        let merged = post(json!({ "entity": "person", "entity_id": 8, "merged_to_id": "9" }));
        let user = post(json!({ "entity": "user", "entity_id": "8" }));
        let foreign = [
            post(json!({ "entity": "person" })),
            post(json!({ "entity": "person", "entity_id": null })),
            decode(br#"{"module":"Leads","ids":["1"]}"#),
            decode(b""),
        ];

        assert_eq!(changed, Ok(vec![hint("8")]));
        assert_eq!(merged, Ok(vec![hint("8"), hint("9")]));
        assert_eq!(user, Ok(Vec::new()));
        assert!(
            foreign.iter().all(|it| matches!(it, Err(ErrorKind::Undecodable(_)))),
            "{foreign:?}"
        );
    }
}
