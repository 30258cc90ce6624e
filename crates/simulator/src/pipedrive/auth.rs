//! API tokens, the OAuth server, and who a call comes from.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::refusal::Refusal;
use super::state::{Actor, Source, State};
use super::table::Millis;
use super::time::DAY;
use crate::host::{Call, Reply, decode, pairs};

/// Seconds an access token lives.
const ACCESS_SECONDS: i64 = 3_599;
const CODE_LIFE: Millis = 5 * 60_000;
const REFRESH_LIFE: Millis = 60 * DAY;

#[derive(Clone, Debug)]
struct Code {
    user: i64,
    issued: Millis,
}

#[derive(Clone, Debug)]
struct Refresh {
    user: i64,
    /// Renewed by each use.
    expires: Millis,
}

#[derive(Clone, Debug)]
struct Access {
    user: i64,
    expires: Millis,
    refresh: String,
}

/// All credentials of the company.
#[derive(Clone, Debug, Default)]
pub(super) struct Keyring {
    /// User by API token.
    pub(super) api: BTreeMap<String, i64>,
    codes: BTreeMap<String, Code>,
    refresh: BTreeMap<String, Refresh>,
    access: BTreeMap<String, Access>,
    /// Refreshes to refuse whatever they carry.
    pub(super) refusals: usize,
}

/// A caller the gateway let in.
pub(super) struct Caller {
    pub(super) actor: Actor,
    /// The credential, for the burst window.
    pub(super) token: String,
    /// What an OAuth app may do; `None` for an API token.
    pub(super) scopes: Option<String>,
}

impl Caller {
    /// Whether one of the scopes is granted; `x:full` is asked for where it counts.
    pub(super) fn may(&self, any: &[String]) -> bool {
        let Some(granted) = &self.scopes else { return true };
        any.is_empty()
            || granted.split([',', ' ']).any(|scope| any.iter().any(|wanted| wanted == scope))
    }
}

impl State {
    /// Finds out who calls, before any routing.
    ///
    /// Source: Pipedrive, "Authentication" and "OAuth status codes".
    pub(super) fn caller(&self, call: &Call, now: Millis) -> Result<Caller, Refusal> {
        let from_query = call.query("api_token").filter(|_| self.settings.switches.query_token);
        if let Some(token) = call.header("x-api-token").or(from_query) {
            return self.token_caller(token);
        }
        let Some(header) = call.header("authorization") else {
            return Err(Refusal::gateway(401, "unauthorized access"));
        };
        let token = header
            .strip_prefix("Bearer ")
            .filter(|token| !token.is_empty() && !token.contains(' '));
        let token = token.ok_or_else(|| {
            Refusal::gateway(400, "Invalid request: malformed authorization header")
        })?;
        let access = self.keyring.access.get(token).filter(|access| access.expires > now);
        let access = access.filter(|access| self.user(access.user).is_some_and(|user| user.active));
        let access = access
            .ok_or_else(|| Refusal::gateway(401, "Invalid token: `access_token` is invalid"))?;
        let app = &self.settings.app;
        let actor = Actor { user: access.user, source: Source::App(app.client_id.clone()) };
        Ok(Caller { actor, token: token.to_owned(), scopes: Some(app.scopes.clone()) })
    }

    fn token_caller(&self, token: &str) -> Result<Caller, Refusal> {
        let user = self
            .keyring
            .api
            .get(token)
            .filter(|id| self.user(**id).is_some_and(|user| user.active));
        let user = user.ok_or_else(|| Refusal::gateway(401, "unauthorized access"))?;
        let actor = Actor { user: *user, source: Source::Token };
        Ok(Caller { actor, token: token.to_owned(), scopes: None })
    }

    /// A code as the callback of a user's consent brings it.
    pub(super) fn grant_code(&mut self, user: i64, now: Millis) -> String {
        let code = self.draw_hex("code");
        self.keyring.codes.insert(code.clone(), Code { user, issued: now });
        code
    }

    pub(super) fn grant_refresh(&mut self, user: i64, now: Millis) -> String {
        let secret = self.draw_hex("refresh");
        let token = format!("{}:{user}:{secret}", self.settings.company.id);
        self.keyring.refresh.insert(token.clone(), Refresh { user, expires: now + REFRESH_LIFE });
        token
    }

    /// The OAuth server.
    pub(super) fn oauth(&mut self, call: &Call, now: Millis) -> Reply {
        match (call.method.as_str(), call.path.as_str()) {
            ("GET", "/oauth/authorize") => self.authorize(call, now),
            ("POST", "/oauth/token") => {
                self.token(call, now).unwrap_or_else(|refusal| refusal.reply())
            }
            ("POST", "/oauth/revoke") => self.revoke(call),
            (_, "/oauth/authorize" | "/oauth/token" | "/oauth/revoke") => {
                Refusal::gateway(405, "Method not allowed").reply()
            }
            _ => Refusal::gateway(404, "Not found").reply(),
        }
    }

    /// Consents for the first user.
    fn authorize(&mut self, call: &Call, now: Millis) -> Reply {
        let app = &self.settings.app;
        let fits = call.query("client_id") == Some(&app.client_id)
            && call.query("redirect_uri").is_none_or(|uri| uri == app.redirect_uri);
        if !fits {
            return bad("Invalid client: client is invalid", "invalid_client").reply();
        }
        let target = app.redirect_uri.clone();
        let user = self.web().user;
        let code = self.grant_code(user, now);
        let state = call
            .query("state")
            .map(|state| format!("&state={}", encoded(state)))
            .unwrap_or_default();
        let glue = if target.contains('?') { '&' } else { '?' };
        Reply::empty(302).header("location", format!("{target}{glue}code={code}{state}"))
    }

    fn token(&mut self, call: &Call, now: Millis) -> Result<Reply, Refusal> {
        let form_type = call.header("content-type").unwrap_or_default();
        if !form_type.starts_with("application/x-www-form-urlencoded") {
            return Err(bad(
                "Invalid request: content must be `application/x-www-form-urlencoded`",
                "invalid_request",
            ));
        }
        let form: BTreeMap<String, String> =
            pairs(&String::from_utf8_lossy(&call.body)).into_iter().collect();
        let field = |name: &str| form.get(name).map(String::as_str);
        let grant = field("grant_type")
            .ok_or_else(|| bad("Missing parameter: `grant_type`", "invalid_request"))?;
        if !["authorization_code", "refresh_token", "exchange_api_token"].contains(&grant) {
            return Err(bad(
                "Unsupported grant type: `grant_type` is invalid",
                "unsupported_grant_type",
            ));
        }
        self.check_client(call, &form)?;
        let (user, refresh) = match grant {
            "authorization_code" => {
                let user = self.redeem(field("code"), field("redirect_uri"), now)?;
                (user, self.grant_refresh(user, now))
            }
            "refresh_token" => self.renew(field("refresh_token").unwrap_or_default(), now)?,
            _ => {
                let user = self.keyring.api.get(field("api_token").unwrap_or_default()).copied();
                let user = user
                    .ok_or_else(|| bad("Invalid grant: `api_token` is invalid", "invalid_grant"))?;
                (user, self.grant_refresh(user, now))
            }
        };
        let access = format!("v1u:{}{}", self.draw_hex("access"), self.draw_hex("access"));
        let expires = now + ACCESS_SECONDS * 1000;
        self.keyring
            .access
            .insert(access.clone(), Access { user, expires, refresh: refresh.clone() });
        Ok(Reply::json(
            200,
            &json!({ "access_token": access, "token_type": "Bearer", "refresh_token": refresh,
            "scope": self.settings.app.scopes, "expires_in": ACCESS_SECONDS, "api_domain": call.origin }),
        ))
    }

    fn check_client(&self, call: &Call, form: &BTreeMap<String, String>) -> Result<(), Refusal> {
        let (id, secret) = client(call, form).ok_or_else(|| {
            bad("Invalid client: cannot retrieve client credentials", "invalid_client")
        })?;
        let app = &self.settings.app;
        if id == app.client_id && secret == app.client_secret {
            return Ok(());
        }
        Err(bad("Invalid client: client is invalid", "invalid_client"))
    }

    fn redeem(
        &mut self,
        code: Option<&str>,
        redirect: Option<&str>,
        now: Millis,
    ) -> Result<i64, Refusal> {
        let redirect = redirect.unwrap_or_default();
        if !redirect.contains("://") {
            return Err(bad(
                "Invalid request: `redirect_uri` is not a valid URI",
                "invalid_request",
            ));
        }
        if redirect != self.settings.app.redirect_uri {
            return Err(bad("Invalid request: `redirect_uri` is invalid", "invalid_request"));
        }
        let held = self.keyring.codes.remove(code.unwrap_or_default());
        let held = held.ok_or_else(|| {
            bad("Invalid grant: `authorization_code` is invalid", "invalid_grant")
        })?;
        if held.issued + CODE_LIFE < now {
            return Err(bad("Invalid grant: `authorization_code` has expired", "invalid_grant"));
        }
        Ok(held.user)
    }

    /// The same refresh token comes back, good for another 60 days.
    fn renew(&mut self, token: &str, now: Millis) -> Result<(i64, String), Refusal> {
        let refused = || bad("Invalid grant: `refresh_token` is invalid", "invalid_grant");
        if self.keyring.refusals > 0 {
            self.keyring.refusals -= 1;
            return Err(refused());
        }
        let held = self
            .keyring
            .refresh
            .get_mut(token)
            .filter(|held| held.expires > now)
            .ok_or_else(refused)?;
        held.expires = now + REFRESH_LIFE;
        Ok((held.user, token.to_owned()))
    }

    /// A refresh token takes its access tokens and the app's webhooks with it.
    fn revoke(&mut self, call: &Call) -> Reply {
        let form: BTreeMap<String, String> =
            pairs(&String::from_utf8_lossy(&call.body)).into_iter().collect();
        if let Err(refusal) = self.check_client(call, &form) {
            return refusal.reply();
        }
        // Pipedrive's own clients encode the token once more than a form needs.
        let token = &decode(form.get("token").map_or("", String::as_str));
        self.keyring.access.remove(token);
        if self.keyring.refresh.remove(token).is_some() {
            self.keyring.access.retain(|_, access| access.refresh != *token);
            self.webhooks.uninstall();
        }
        Reply::json(200, &json!({ "success": true }))
    }

    /// Ends all access tokens; refresh tokens stay.
    pub(super) fn expire_access(&mut self) {
        self.keyring.access.clear();
    }

    /// Kills a user's API token and issues another.
    pub(super) fn regenerate(&mut self, user: i64) -> String {
        self.keyring.api.retain(|_, id| *id != user);
        let token = self.draw_hex("api token");
        self.keyring.api.insert(token.clone(), user);
        token
    }

    pub(super) fn revoke_app(&mut self) {
        self.keyring.access.clear();
        self.keyring.refresh.clear();
        self.webhooks.uninstall();
    }
}

/// Client id and secret from Basic auth or the form.
fn client(call: &Call, form: &BTreeMap<String, String>) -> Option<(String, String)> {
    if let Some(basic) =
        call.header("authorization").and_then(|header| header.strip_prefix("Basic "))
    {
        let text = String::from_utf8(STANDARD.decode(basic).ok()?).ok()?;
        let (id, secret) = text.split_once(':')?;
        return Some((id.to_owned(), secret.to_owned()));
    }
    Some((form.get("client_id")?.clone(), form.get("client_secret")?.clone()))
}

fn bad(message: &str, error: &str) -> Refusal {
    Refusal { status: 400, body: json!({ "success": false, "message": message, "error": error }) }
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |text, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text + &char::from(byte).to_string()
        } else {
            text + &format!("%{byte:02X}")
        }
    })
}
