//! Signing in: grant codes, and one access token a connection, renewed by one caller at a time.
//!
//! Source: Zoho accounts, "OAuth 2.0"; CRM API v8, "Token validity".

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use crmsync_core::model::ModuleName;
use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
    BasicTokenType,
};
use oauth2::{
    AuthType, AuthorizationCode, ClientId, ClientSecret, ExtraTokenFields, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, StandardRevocableToken,
    StandardTokenResponse, TokenResponse as _, TokenUrl,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::hosts::{self, Pinning};
use crate::clock::Clock;
use crate::connectors::http::{Http, HttpSettings, Idempotence};
use crate::connectors::oauth::{Grant, StoredToken, TokenStore, transport};
use crate::connectors::pacing::{Budget, Window};
use crate::connectors::{ConnectorError, ErrorKind};

/// An OAuth client as registered in Zoho's API console.
#[derive(Clone, Debug)]
pub struct OauthClient {
    /// Such as `https://accounts.zoho.eu`: codes and tokens are good at one accounts server only.
    pub accounts_url: Url,
    pub client_id: String,
    pub client_secret: SecretString,
    pub pinning: Pinning,
}

/// Where a server-based client's code came back to.
#[derive(Clone, Debug)]
pub struct Redirect {
    pub url: Url,
    /// What proves that the code was asked for by us (PKCE).
    pub verifier: Option<SecretString>,
}

impl OauthClient {
    /// The page where a person consents to `scopes`; the code comes back to `redirect` with `state`.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] when the accounts server is not Zoho's.
    pub fn consent_page(
        &self,
        scopes: &[String],
        redirect: &Redirect,
        state: &str,
    ) -> Result<Url, ErrorKind> {
        hosts::check(&self.accounts_url, self.pinning)?;
        let page = self.accounts_url.join("/oauth/v2/auth");
        let mut page =
            page.map_err(|error| ErrorKind::Misconfigured(format!("`accounts_url`: {error}")))?;
        page.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client_id)
            .append_pair("scope", &scopes.join(","))
            .append_pair("redirect_uri", redirect.url.as_str())
            .append_pair("access_type", "offline")
            .append_pair("prompt", "consent")
            .append_pair("state", state);
        if let Some(verifier) = &redirect.verifier {
            let verifier = PkceCodeVerifier::new(verifier.expose_secret().to_owned());
            let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
            page.query_pairs_mut()
                .append_pair("code_challenge", challenge.as_str())
                .append_pair("code_challenge_method", challenge.method().as_str());
        }
        Ok(page)
    }
}

/// Exchanges a grant code: a self client's, or (with its redirect URL) one that came by redirect.
///
/// A code is good once and for minutes; after a lost answer a person must make a new one.
///
/// # Errors
/// [`ErrorKind::Unauthorized`] for a used or expired code or a wrong client; [`ErrorKind::Misconfigured`] when
/// the accounts server is not Zoho's.
pub async fn exchange_grant_code(
    http: HttpSettings,
    clock: Clock,
    client: &OauthClient,
    code: &SecretString,
    redirect: Option<&Redirect>,
) -> Result<Grant, ConnectorError> {
    let budget = Budget::new(None, 100, Window::Rolling, clock.clone());
    let http = Arc::new(Http::new(http, clock, Arc::new(budget))?);
    let exchanged = exchange(&http, client, code, redirect).await;
    exchanged.map_err(|kind| http.error("exchange the grant code", kind))
}

async fn exchange(
    http: &Arc<Http>,
    client: &OauthClient,
    code: &SecretString,
    redirect: Option<&Redirect>,
) -> Result<Grant, ErrorKind> {
    let mut oauth = oauth_client(client)?;
    if let Some(redirect) = redirect {
        oauth = oauth.set_redirect_uri(RedirectUrl::from_url(redirect.url.clone()));
    }
    let code = AuthorizationCode::new(code.expose_secret().to_owned());
    let transport = transport(http, Idempotence::Write);
    let mut asking = oauth.exchange_code(code);
    if let Some(verifier) = redirect.and_then(|redirect| redirect.verifier.as_ref()) {
        let verifier = PkceCodeVerifier::new(verifier.expose_secret().to_owned());
        asking = asking.set_pkce_verifier(verifier);
    }
    let token = asking.request_async(&transport).await.map_err(refused)?;
    let refresh = token.refresh_token().ok_or_else(|| {
        ErrorKind::Misconfigured("the grant has no refresh token: ask for offline access".into())
    })?;
    let scopes = token.scopes().into_iter().flatten();
    Ok(Grant {
        refresh_token: refresh.secret().clone().into(),
        scopes: scopes
            .flat_map(|scope| scope.split([',', ' ']).map(str::to_owned).collect::<Vec<_>>())
            .filter(|scope| !scope.is_empty())
            .collect(),
        api_domain: api_domain(token.extra_fields(), client.pinning)?,
    })
}

/// Scopes that a sync of `modules` needs.
///
/// Source: Zoho CRM API v8, "Scopes".
pub fn scopes_for(modules: &[ModuleName]) -> Vec<String> {
    const ALWAYS: [&str; 5] = [
        "ZohoCRM.settings.modules.READ",
        "ZohoCRM.settings.fields.ALL",
        "ZohoCRM.settings.recycle_bin.ALL",
        "ZohoCRM.users.READ",
        "ZohoCRM.org.READ",
    ];
    let own = modules.iter().map(|module| module_scope(module.as_str(), "ALL"));
    let all = own.chain(ALWAYS.map(str::to_owned));
    all.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

/// `ZohoCRM.modules.contacts.READ`; modules without a scope of their own share `custom`.
pub(super) fn module_scope(module: &str, operation: &str) -> String {
    const NAMED: &[&str] = &[
        "leads",
        "accounts",
        "contacts",
        "deals",
        "campaigns",
        "tasks",
        "events",
        "calls",
        "cases",
        "solutions",
        "products",
        "vendors",
        "pricebooks",
        "quotes",
        "salesorders",
        "purchaseorders",
        "invoices",
        "notes",
        "attachments",
        "appointments",
        "services",
    ];
    let plain = module.trim_end_matches("__s").replace('_', "").to_lowercase();
    let group = if NAMED.contains(&plain.as_str()) { plain.as_str() } else { "custom" };
    format!("ZohoCRM.modules.{group}.{operation}")
}

/// An access token and where it is good.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) access: SecretString,
    pub(super) api: Url,
    /// Counts renewals, so that callers refused together renew once.
    pub(super) generation: u64,
    renew_at: Instant,
}

/// The access token of one connection.
pub(super) struct Tokens {
    client: OauthClient,
    refresh_token: SecretString,
    api_url: Option<Url>,
    store: Option<Arc<dyn TokenStore>>,
    held: Mutex<Option<Token>>,
}

/// Time before its end at which a token is renewed: an hour's token lives for 55 minutes.
const EARLY: Duration = Duration::from_mins(5);

/// Zoho makes ten access tokens in ten minutes and counts the refused attempts too.
const THROTTLED_FOR: Duration = Duration::from_mins(10);

impl Tokens {
    pub(super) fn new(
        client: OauthClient,
        refresh_token: SecretString,
        api_url: Option<Url>,
        store: Option<Arc<dyn TokenStore>>,
    ) -> Self {
        Self { client, refresh_token, api_url, store, held: Mutex::new(None) }
    }

    pub(super) async fn current(&self, http: &Arc<Http>) -> Result<Token, ErrorKind> {
        let mut held = self.held.lock().await;
        if held.is_none() {
            *held = self.stored(http.clock().now()).await;
        }
        match held.as_ref() {
            Some(token) if Instant::now() < token.renew_at => Ok(token.clone()),
            Some(_) | None => self.renew(http, &mut held).await,
        }
    }

    /// A token newer than the refused one; whoever comes second gets what the first one fetched.
    pub(super) async fn after(&self, http: &Arc<Http>, refused: u64) -> Result<Token, ErrorKind> {
        let mut held = self.held.lock().await;
        match held.as_ref() {
            Some(token) if token.generation > refused => Ok(token.clone()),
            Some(_) | None => self.renew(http, &mut held).await,
        }
    }

    /// The token that another process left, if it is good for a while.
    async fn stored(&self, now: DateTime<Utc>) -> Option<Token> {
        let stored = self.store.as_ref()?.load().await?;
        hosts::check(&stored.api_domain, self.client.pinning).ok()?;
        let left = (stored.expires_at - now).to_std().ok()?.checked_sub(EARLY)?;
        let api = self.api_url.clone().unwrap_or(stored.api_domain);
        let renew_at = Instant::now() + left;
        Some(Token { access: stored.access, api, generation: 1, renew_at })
    }

    async fn renew(&self, http: &Arc<Http>, held: &mut Option<Token>) -> Result<Token, ErrorKind> {
        let oauth = oauth_client(&self.client)?;
        let refresh = RefreshToken::new(self.refresh_token.expose_secret().to_owned());
        let transport = transport(http, Idempotence::Read);
        let asking = oauth.exchange_refresh_token(&refresh).request_async(&transport);
        let answer = asking.await.map_err(refused)?;
        let api = match &self.api_url {
            Some(url) => Some(url.clone()),
            None => api_domain(answer.extra_fields(), self.client.pinning)?,
        };
        let token = Token {
            access: answer.access_token().secret().clone().into(),
            api: api.ok_or_else(|| {
                ErrorKind::Misconfigured("the token names no `api_domain`; set `api_url`".into())
            })?,
            generation: held.as_ref().map_or(1, |token| token.generation + 1),
            renew_at: Instant::now() + lifetime(&answer).saturating_sub(EARLY),
        };
        if let Some(store) = &self.store {
            let expires_at = http.clock().now() + lifetime(&answer);
            let (access, api_domain) = (token.access.clone(), token.api.clone());
            store.save(StoredToken { access, api_domain, expires_at }).await;
        }
        tracing::debug!(generation = token.generation, "access token renewed");
        *held = Some(token.clone());
        Ok(token)
    }
}

/// What Zoho's token answers hold beyond the standard.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Extra {
    #[serde(default)]
    api_domain: Option<String>,
    /// Old data centers: then `expires_in` is in milliseconds.
    #[serde(default)]
    expires_in_sec: Option<u64>,
}

impl ExtraTokenFields for Extra {}

type TokenAnswer = StandardTokenResponse<Extra, BasicTokenType>;

type Oauth = oauth2::Client<
    BasicErrorResponse,
    TokenAnswer,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointSet,
>;

fn oauth_client(client: &OauthClient) -> Result<Oauth, ErrorKind> {
    hosts::check(&client.accounts_url, client.pinning)?;
    let url = client
        .accounts_url
        .join("/oauth/v2/token")
        .map_err(|error| ErrorKind::Misconfigured(format!("`accounts_url`: {error}")))?;
    Ok(oauth2::Client::new(ClientId::new(client.client_id.clone()))
        .set_client_secret(ClientSecret::new(client.client_secret.expose_secret().to_owned()))
        .set_auth_type(AuthType::RequestBody)
        .set_token_uri(TokenUrl::from_url(url)))
}

fn lifetime(answer: &TokenAnswer) -> Duration {
    const HOUR: Duration = Duration::from_hours(1);
    let told = match answer.extra_fields().expires_in_sec {
        Some(seconds) => Some(Duration::from_secs(seconds)),
        None => answer.expires_in(),
    };
    told.unwrap_or(HOUR).min(HOUR)
}

fn api_domain(extra: &Extra, pinning: Pinning) -> Result<Option<Url>, ErrorKind> {
    let Some(text) = &extra.api_domain else { return Ok(None) };
    let url = text
        .parse::<Url>()
        .map_err(|error| ErrorKind::Undecodable(format!("`api_domain`: {error}")))?;
    hosts::check(&url, pinning)?;
    Ok(Some(url))
}

fn refused(error: RequestTokenError<ErrorKind, BasicErrorResponse>) -> ErrorKind {
    match error {
        RequestTokenError::Request(kind) => kind,
        RequestTokenError::ServerResponse(answer) => refusal(answer.error().as_ref()),
        // The body stays out: it may hold tokens.
        RequestTokenError::Parse(error, _) => ErrorKind::Undecodable(format!(
            "the token answer has another shape at `{}`",
            error.path()
        )),
        RequestTokenError::Other(reason) => ErrorKind::Undecodable(reason),
    }
}

fn refusal(name: &str) -> ErrorKind {
    match name.to_lowercase().replace(['_', ' '], "").as_str() {
        "accessdenied" => ErrorKind::RateLimited { retry_after: Some(THROTTLED_FOR) },
        "generalerror" => ErrorKind::Unavailable("Zoho accounts: general_error".into()),
        "invalidcode" => ErrorKind::Unauthorized("invalid_code: revoked, used or expired".into()),
        "invalidclient" => {
            ErrorKind::Unauthorized("invalid_client: unknown here; is the region right?".into())
        }
        _ => ErrorKind::Unauthorized(name.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_modules_when_asked_for_scopes_then_each_has_its_own_and_settings_are_there_once() {
        let modules = ["Contacts", "Sales_Orders", "Vehicles", "Contacts"].map(ModuleName::from);

        let scopes = scopes_for(&modules);

        let modules: Vec<_> = scopes.iter().filter(|scope| scope.contains("modules.")).collect();
        assert_eq!(
            modules,
            [
                "ZohoCRM.modules.contacts.ALL",
                "ZohoCRM.modules.custom.ALL",
                "ZohoCRM.modules.salesorders.ALL",
                "ZohoCRM.settings.modules.READ",
            ]
        );
        assert!(scopes.contains(&"ZohoCRM.org.READ".to_owned()));
    }

    #[test]
    fn given_token_errors_when_named_then_only_throttling_and_trouble_are_worth_a_second_try() {
        let cases = [
            ("invalid_code", "sign-in refused"),
            ("invalid_client_secret", "sign-in refused"),
            ("Access Denied", "asked to slow down"),
            ("access_denied", "asked to slow down"),
            ("general_error", "not reachable"),
        ];

        for (name, expected) in cases {
            let kind = refusal(name).to_string();
            assert!(kind.starts_with(expected), "{name}: {kind}");
        }
    }
}
