//! Signing in: an API token, or the access token of an OAuth app, renewed by one caller at a time.
//!
//! Source: Pipedrive, "Authentication", "OAuth authorization", "OAuth status codes".

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use oauth2::basic::{BasicClient, BasicErrorResponse, BasicTokenResponse};
use oauth2::{
    AuthType, AuthorizationCode, ClientId, ClientSecret, EndpointNotSet, EndpointSet, RedirectUrl,
    RefreshToken, RequestTokenError, TokenResponse as _, TokenUrl,
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::super::http::{Http, HttpSettings, Idempotence};
use super::super::oauth::{Grant, StoredToken, TokenStore, transport};
use super::super::pacing::{Budget, Pace, Window};
use super::super::{ConnectorError, ErrorKind};
use crate::clock::Clock;

/// How calls show who makes them.
#[derive(Clone)]
pub enum SignIn {
    ApiToken(SecretString),
    OAuth(Installed),
}

/// An OAuth app as registered in Pipedrive's Developer Hub.
#[derive(Clone, Debug)]
pub struct OauthApp {
    /// Such as `https://oauth.pipedrive.com`.
    pub oauth_url: Url,
    pub client_id: String,
    pub client_secret: SecretString,
}

/// An app that a user installed.
#[derive(Clone)]
pub struct Installed {
    pub app: OauthApp,
    pub refresh_token: SecretString,
    pub store: Option<Arc<dyn TokenStore>>,
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ApiToken(_) => "ApiToken",
            Self::OAuth(_) => "OAuth",
        })
    }
}

impl OauthApp {
    /// The page where a person installs the app; the code comes back to `redirect` with `state`.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] when the server's address is none.
    pub fn consent_page(&self, redirect: &Url, state: &str) -> Result<Url, ErrorKind> {
        let mut page = self.place("/oauth/authorize")?;
        page.query_pairs_mut()
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", redirect.as_str())
            .append_pair("state", state);
        Ok(page)
    }

    fn place(&self, path: &str) -> Result<Url, ErrorKind> {
        let place = self.oauth_url.join(path);
        place.map_err(|error| ErrorKind::Misconfigured(format!("`oauth_url`: {error}")))
    }

    fn client(&self) -> Result<Oauth, ErrorKind> {
        let client = BasicClient::new(ClientId::new(self.client_id.clone()))
            .set_client_secret(ClientSecret::new(self.client_secret.expose_secret().to_owned()))
            .set_auth_type(AuthType::BasicAuth)
            .set_token_uri(TokenUrl::from_url(self.place("/oauth/token")?));
        Ok(client)
    }
}

type Oauth =
    BasicClient<EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

/// Exchanges the code that came back to `redirect`: good once and for five minutes.
///
/// # Errors
/// [`ErrorKind::Unauthorized`] for a used or expired code, or a wrong app.
pub async fn exchange_code(
    http: HttpSettings,
    clock: Clock,
    app: &OauthApp,
    code: &SecretString,
    redirect: &Url,
) -> Result<Grant, ConnectorError> {
    let budget = Budget::new(None, 100, Window::Rolling, clock.clone());
    let http = Arc::new(Http::new(http, clock, Arc::new(budget))?);
    let exchanged = exchange(&http, app, code, redirect).await;
    exchanged.map_err(|kind| http.error("exchange the code", kind))
}

async fn exchange(
    http: &Arc<Http>,
    app: &OauthApp,
    code: &SecretString,
    redirect: &Url,
) -> Result<Grant, ErrorKind> {
    let oauth = app.client()?.set_redirect_uri(RedirectUrl::from_url(redirect.clone()));
    let code = AuthorizationCode::new(code.expose_secret().to_owned());
    let transport = transport(http, Idempotence::Write);
    let answer = oauth.exchange_code(code).request_async(&transport).await.map_err(refused)?;
    let refresh = answer.refresh_token().ok_or_else(|| {
        ErrorKind::Undecodable("the answer to the code has no refresh token".into())
    })?;
    let scopes = answer.scopes().into_iter().flatten();
    Ok(Grant {
        refresh_token: refresh.secret().clone().into(),
        scopes: scopes
            .flat_map(|scope| scope.split([',', ' ']).map(str::to_owned).collect::<Vec<_>>())
            .filter(|scope| !scope.is_empty())
            .collect(),
        api_domain: None,
    })
}

/// A pace for the few calls of a sign-in.
pub(super) fn few_calls() -> Pace {
    Pace { burst: NonZeroU32::MIN, per: Duration::from_secs(1), concurrency: 1, heavy: 1 }
}

/// What makes calls ours.
pub(super) enum Credential {
    Token(Pass),
    Renewed(Box<Tokens>),
}

/// What one call carries.
#[derive(Clone)]
pub(super) struct Pass {
    header: HeaderName,
    value: HeaderValue,
    /// Counts renewals, so that callers refused together renew once.
    generation: u64,
}

impl Pass {
    fn new(header: HeaderName, text: &str, generation: u64) -> Result<Self, ErrorKind> {
        let mut value = HeaderValue::from_str(text)
            .map_err(|_| ErrorKind::Misconfigured("the token holds control characters".into()))?;
        value.set_sensitive(true);
        Ok(Self { header, value, generation })
    }

    pub(super) fn put_into(&self, headers: &mut HeaderMap) {
        headers.insert(self.header.clone(), self.value.clone());
    }
}

impl Credential {
    pub(super) fn new(sign_in: &SignIn) -> Result<Self, ErrorKind> {
        match sign_in {
            SignIn::ApiToken(token) => {
                let header = HeaderName::from_static("x-api-token");
                Pass::new(header, token.expose_secret().trim(), 0).map(Self::Token)
            }
            SignIn::OAuth(installed) => {
                let refresh_token = installed.refresh_token.clone();
                let held = Mutex::new(Held { pass: None, refresh_token });
                Ok(Self::Renewed(Box::new(Tokens { installed: installed.clone(), held })))
            }
        }
    }

    pub(super) async fn pass(&self, http: &Arc<Http>) -> Result<Pass, ErrorKind> {
        match self {
            Self::Token(pass) => Ok(pass.clone()),
            Self::Renewed(tokens) => tokens.current(http).await,
        }
    }

    /// Another pass, after the side refused this one; `None` where there is no other.
    pub(super) async fn after(
        &self,
        http: &Arc<Http>,
        refused: &Pass,
    ) -> Result<Option<Pass>, ErrorKind> {
        match self {
            Self::Token(_) => Ok(None),
            Self::Renewed(tokens) => tokens.after(http, refused.generation).await.map(Some),
        }
    }
}

/// The access token of one connection.
pub(super) struct Tokens {
    installed: Installed,
    held: Mutex<Held>,
}

struct Held {
    pass: Option<(Pass, Instant)>,
    refresh_token: SecretString,
}

/// Time before its end at which a token is renewed.
const EARLY: Duration = Duration::from_mins(5);
const HOUR: Duration = Duration::from_hours(1);

impl Tokens {
    async fn current(&self, http: &Arc<Http>) -> Result<Pass, ErrorKind> {
        let mut held = self.held.lock().await;
        if held.pass.is_none() {
            held.pass = self.stored(http).await;
        }
        match &held.pass {
            Some((pass, renew_at)) if Instant::now() < *renew_at => Ok(pass.clone()),
            Some(_) | None => self.renew(http, &mut held).await,
        }
    }

    /// A token newer than the refused one; whoever comes second gets what the first one fetched.
    async fn after(&self, http: &Arc<Http>, refused: u64) -> Result<Pass, ErrorKind> {
        let mut held = self.held.lock().await;
        match &held.pass {
            Some((pass, _)) if pass.generation > refused => Ok(pass.clone()),
            Some(_) | None => self.renew(http, &mut held).await,
        }
    }

    /// The token that another process left, if it is good for a while.
    async fn stored(&self, http: &Arc<Http>) -> Option<(Pass, Instant)> {
        let stored = self.installed.store.as_ref()?.load().await?;
        let left = (stored.expires_at - http.clock().now()).to_std().ok()?.checked_sub(EARLY)?;
        Some((bearer(&stored.access, 1).ok()?, Instant::now() + left))
    }

    async fn renew(&self, http: &Arc<Http>, held: &mut Held) -> Result<Pass, ErrorKind> {
        let app = &self.installed.app;
        let refresh = RefreshToken::new(held.refresh_token.expose_secret().to_owned());
        // The same refresh token comes back each time: asking twice does no harm.
        let transport = transport(http, Idempotence::Read);
        let oauth = app.client()?;
        let asking = oauth.exchange_refresh_token(&refresh).request_async(&transport);
        let answer: BasicTokenResponse = asking.await.map_err(refused)?;
        let lifetime = answer.expires_in().unwrap_or(HOUR).min(HOUR);
        let access = SecretString::from(answer.access_token().secret().clone());
        let generation = held.pass.as_ref().map_or(1, |(pass, _)| pass.generation + 1);
        let next = answer.refresh_token().filter(|next| next.secret() != refresh.secret());
        if let Some(next) = next {
            held.refresh_token = next.secret().clone().into();
        }
        if let Some(store) = &self.installed.store {
            // First what cannot be asked for again.
            if next.is_some() {
                store.save_refresh(&held.refresh_token).await;
            }
            let expires_at = http.clock().now() + lifetime;
            let (access, api_domain) = (access.clone(), app.oauth_url.clone());
            store.save(StoredToken { access, api_domain, expires_at }).await;
        }
        tracing::debug!(generation, "access token renewed");
        let pass = bearer(&access, generation)?;
        held.pass = Some((pass.clone(), Instant::now() + lifetime.saturating_sub(EARLY)));
        Ok(pass)
    }
}

fn bearer(access: &SecretString, generation: u64) -> Result<Pass, ErrorKind> {
    Pass::new(AUTHORIZATION, &format!("Bearer {}", access.expose_secret()), generation)
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
    ErrorKind::Unauthorized(match name {
        "invalid_grant" => {
            "invalid_grant: the code was used or is old, or the app was uninstalled or not used for 60 days"
                .into()
        }
        "invalid_client" => {
            "invalid_client: are client_id and client_secret of the same app?".into()
        }
        "invalid_request" => {
            "invalid_request: is redirect_uri exactly the one in the Developer Hub?".into()
        }
        other => other.to_owned(),
    })
}
