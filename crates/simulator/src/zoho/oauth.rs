//! Tokens: grant codes, refresh tokens that never rotate, access tokens of an hour.
//!
//! Source: Zoho accounts, "OAuth 2.0"; CRM API v8, "Token validity".

use std::collections::{BTreeMap, VecDeque};

use serde_json::json;

use super::attachments::encoded;
use super::refusal::Refusal;
use super::{Client, Switches};
use crate::host::{Call, Reply, pairs};
use crate::multipart;

const CODE_LIFE: i64 = 3 * 60 * 1_000;
const ACCESS_LIFE: i64 = 60 * 60 * 1_000;
const WINDOW: i64 = 10 * 60 * 1_000;
const MINTS_PER_WINDOW: usize = 10;
const ACCESS_TOKENS: usize = 15;
const REFRESH_TOKENS: usize = 20;

#[derive(Debug)]
pub(super) struct Tokens {
    client: Client,
    seed: u64,
    minted: u64,
    codes: BTreeMap<String, Grant>,
    refresh: BTreeMap<String, Refresh>,
    access: BTreeMap<String, Access>,
}

#[derive(Clone, Debug)]
struct Grant {
    scopes: String,
    user: u64,
    expires: i64,
}

#[derive(Debug)]
struct Refresh {
    scopes: String,
    user: u64,
    order: u64,
    mints: VecDeque<i64>,
    /// Live access tokens, oldest first.
    live: VecDeque<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) scopes: String,
    pub(super) user: u64,
    expires: i64,
}

impl Tokens {
    pub(super) fn new(client: Client, seed: u64) -> Self {
        Self {
            client,
            seed,
            minted: 0,
            codes: BTreeMap::new(),
            refresh: BTreeMap::new(),
            access: BTreeMap::new(),
        }
    }

    fn mint(&mut self) -> String {
        self.minted += 1;
        let digest = |part: u8| {
            let text = format!("token {} {} {part}", self.seed, self.minted);
            blake3::hash(text.as_bytes()).to_hex().as_str()[..32].to_owned()
        };
        format!("1000.{}.{}", digest(0), digest(1))
    }

    pub(super) fn grant(&mut self, scopes: &str, user: u64, now: i64) -> String {
        let code = self.mint();
        self.codes
            .insert(code.clone(), Grant { scopes: scopes.into(), user, expires: now + CODE_LIFE });
        code
    }

    /// A new refresh token; the 21st of a user kills the oldest with its access tokens.
    pub(super) fn refresh_token(&mut self, scopes: &str, user: u64) -> String {
        let token = self.mint();
        let own = self.refresh.iter().filter(|(_, refresh)| refresh.user == user);
        let oldest =
            own.clone().min_by_key(|(_, refresh)| refresh.order).map(|(token, _)| token.clone());
        if own.count() >= REFRESH_TOKENS
            && let Some(oldest) = oldest
        {
            self.revoke(&oldest);
        }
        let refresh = Refresh {
            scopes: scopes.into(),
            user,
            order: self.minted,
            mints: VecDeque::new(),
            live: VecDeque::new(),
        };
        self.refresh.insert(token.clone(), refresh);
        token
    }

    /// A new access token for a refresh token; the 16th kills the oldest.
    pub(super) fn access_token(&mut self, refresh: &str, now: i64) -> Option<String> {
        let token = self.mint();
        let entry = self.refresh.get_mut(refresh)?;
        entry.live.push_back(token.clone());
        if entry.live.len() > ACCESS_TOKENS
            && let Some(displaced) = entry.live.pop_front()
        {
            self.access.remove(&displaced);
        }
        let access =
            Access { scopes: entry.scopes.clone(), user: entry.user, expires: now + ACCESS_LIFE };
        self.access.insert(token.clone(), access);
        Some(token)
    }

    pub(super) fn revoke(&mut self, token: &str) -> bool {
        let refresh = self.refresh.remove(token);
        for access in refresh.iter().flat_map(|refresh| &refresh.live) {
            self.access.remove(access);
        }
        refresh.is_some() || self.access.remove(token).is_some()
    }

    pub(super) fn revoke_all(&mut self) {
        self.refresh.clear();
        self.access.clear();
        self.codes.clear();
    }

    /// Ends all access tokens at once; refresh tokens stay good.
    pub(super) fn expire_access(&mut self) {
        self.access.clear();
        for refresh in self.refresh.values_mut() {
            refresh.live.clear();
        }
    }

    /// Takes scopes away from all tokens: those that start with `prefix`.
    pub(super) fn withdraw(&mut self, prefix: &str) {
        let keep = |scopes: &str| {
            scopes
                .split(',')
                .filter(|scope| !scope.trim().starts_with(prefix))
                .collect::<Vec<_>>()
                .join(",")
        };
        for refresh in self.refresh.values_mut() {
            refresh.scopes = keep(&refresh.scopes);
        }
        for access in self.access.values_mut() {
            access.scopes = keep(&access.scopes);
        }
    }

    /// Who calls, by the `Authorization` header.
    pub(super) fn caller(&self, call: &Call, now: i64) -> Result<Access, Refusal> {
        let header =
            call.header("authorization").and_then(|header| header.strip_prefix("Zoho-oauthtoken "));
        let token = header.ok_or_else(|| {
            Refusal::new(401, "AUTHENTICATION_FAILURE", "Authentication failed", json!({}))
        })?;
        let access = self.access.get(token.trim()).filter(|access| now < access.expires);
        access
            .cloned()
            .ok_or_else(|| Refusal::new(401, "INVALID_TOKEN", "invalid oauth token", json!({})))
    }

    /// `GET /oauth/v2/auth`: the person at the browser consents at once.
    pub(super) fn authorization(&mut self, call: &Call, user: u64, now: i64) -> Reply {
        let given = |key: &str| call.query(key).unwrap_or_default();
        if given("client_id") != self.client.id {
            return problem("invalid_client");
        }
        let target = given("redirect_uri");
        if !target.contains("://") {
            return problem("invalid_redirect_uri");
        }
        if given("response_type") != "code" || given("scope").is_empty() {
            return problem("general_error");
        }
        let code = self.grant(given("scope"), user, now);
        let glue = if target.contains('?') { '&' } else { '?' };
        let state = call
            .query("state")
            .map_or_else(String::new, |state| format!("&state={}", encoded(state)));
        let server = encoded(&call.origin);
        let target =
            format!("{target}{glue}code={code}&location=eu&accounts-server={server}{state}");
        Reply::empty(302).header("location", target)
    }

    /// `POST /oauth/v2/token`: parameters in the query or as a form.
    pub(super) fn token(&mut self, call: &Call, now: i64, switches: &Switches) -> Reply {
        let sent = sent(call);
        let get = |key: &str| sent.get(key).map_or("", String::as_str);
        if get("client_id") != self.client.id {
            return problem("invalid_client");
        }
        if get("client_secret") != self.client.secret {
            return problem("invalid_client_secret");
        }
        match get("grant_type") {
            "authorization_code" => self.exchange(get("code"), call, now),
            "refresh_token" => self.renew(get("refresh_token"), call, now, switches),
            _ => problem("general_error"),
        }
    }

    fn exchange(&mut self, code: &str, call: &Call, now: i64) -> Reply {
        let Some(grant) = self.codes.remove(code).filter(|grant| now < grant.expires) else {
            return problem("invalid_code");
        };
        let refresh = self.refresh_token(&grant.scopes, grant.user);
        let Some(access) = self.access_token(&refresh, now) else {
            return problem("general_error");
        };
        let body = json!({
            "access_token": access,
            "refresh_token": refresh,
            "scope": grant.scopes.replace(',', " "),
            "api_domain": call.origin,
            "token_type": "Bearer",
            "expires_in": 3600,
        });
        Reply::json(200, &body)
    }

    fn renew(&mut self, token: &str, call: &Call, now: i64, switches: &Switches) -> Reply {
        let Some(refresh) = self.refresh.get_mut(token) else { return problem("invalid_code") };
        refresh.mints.retain(|at| *at > now - WINDOW);
        if switches.throttle_refreshes && refresh.mints.len() >= MINTS_PER_WINDOW {
            let body = json!({
                "error_description": "You have made too many requests continuously. Please try again after some time.",
                "error": "Access Denied",
                "status": "failure",
            });
            return Reply::json(switches.throttled_refresh_status, &body);
        }
        refresh.mints.push_back(now);
        let scopes = refresh.scopes.clone();
        let Some(access) = self.access_token(token, now) else { return problem("invalid_code") };
        let body = json!({
            "access_token": access,
            "scope": scopes.replace(',', " "),
            "api_domain": call.origin,
            "token_type": "Bearer",
            "expires_in": 3600,
        });
        Reply::json(200, &body)
    }

    /// `POST /oauth/v2/token/revoke?token=`.
    pub(super) fn revocation(&mut self, call: &Call) -> Reply {
        let sent = sent(call);
        if self.revoke(sent.get("token").map_or("", String::as_str)) {
            Reply::json(200, &json!({ "status": "success" }))
        } else {
            problem("invalid_code")
        }
    }
}

/// What a call of the accounts server says, in its query and in its form of either kind.
fn sent(call: &Call) -> BTreeMap<String, String> {
    let form: Vec<(String, String)> = match multipart::parts(call) {
        Some(parts) => parts.iter().map(|part| (part.name.clone(), part.text())).collect(),
        None => pairs(&String::from_utf8_lossy(&call.body)),
    };
    call.query.iter().cloned().chain(form).collect()
}

/// Errors of the token endpoint come with 200.
fn problem(error: &str) -> Reply {
    Reply::json(200, &json!({ "error": error }))
}

/// What a call needs of its token's scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    Read,
    Create,
    Update,
    Delete,
}

impl Access {
    /// Checks for `ZohoCRM.{group}.{op}` or `ZohoCRM.{group}.{part}.{op}`.
    pub(super) fn require(&self, group: &str, part: &str, right: Right) -> Result<(), Refusal> {
        let fits = |operation: &str| match right {
            Right::Read => matches!(operation, "ALL" | "READ"),
            Right::Create => matches!(operation, "ALL" | "CREATE" | "WRITE"),
            Right::Update => matches!(operation, "ALL" | "UPDATE" | "WRITE"),
            Right::Delete => matches!(operation, "ALL" | "DELETE"),
        };
        let covers = |scope: &str| match scope.trim().split('.').collect::<Vec<_>>()[..] {
            ["ZohoCRM", named, operation] => named == group && fits(operation),
            ["ZohoCRM", named, name, operation] => {
                named == group && name == part && fits(operation)
            }
            _ => false,
        };
        held(self.scopes.split(',').any(covers))
    }

    /// Checks for `ZohoSearch.securesearch.READ`.
    pub(super) fn require_search(&self) -> Result<(), Refusal> {
        let covers = |scope: &str| {
            matches!(scope.trim(), "ZohoSearch.securesearch.READ" | "ZohoSearch.securesearch.ALL")
        };
        held(self.scopes.split(',').any(covers))
    }
}

fn held(covered: bool) -> Result<(), Refusal> {
    if covered {
        Ok(())
    } else {
        Err(Refusal::new(401, "OAUTH_SCOPE_MISMATCH", "Unauthorized", json!({})))
    }
}
