//! From a checked configuration to open stores and connectors.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use secrecy::{ExposeSecret as _, SecretString};
use tempfile::TempDir;
use url::Url;

use super::error::ServiceError;
use crate::clock::Ambient;
use crate::config::{self, Config, Connection, Lifetime, PipedriveSignIn, Shared};
use crate::connectors::Connector;
use crate::connectors::http::HttpSettings;
use crate::connectors::memory::Memory;
use crate::connectors::pipedrive::{self, Pipedrive};
use crate::connectors::zoho::{self, OauthClient, Pinning, Zoho, region_hosts};
use crate::store::Store;

/// Under which name the store keeps a connection's metadata answers.
const METADATA: &str = "answers";

/// Opens the store of a configuration, with its key if it has one.
///
/// # Errors
/// A missing secret or key, or what the store says.
pub async fn open_store(config: &Config) -> Result<Store, ServiceError> {
    let store = Store::open(&store_url(config)?).await?;
    Ok(match store_key(config)? {
        Some(key) => store.with_key(key),
        None => store,
    })
}

/// The store's URL; it may hold a password.
pub(super) fn store_url(config: &Config) -> Result<String, ServiceError> {
    Ok(reveal(&config.store.url)?.expose_secret().to_owned())
}

fn store_key(config: &Config) -> Result<Option<[u8; 32]>, ServiceError> {
    let Some(secret) = &config.store.key else { return Ok(None) };
    // A key that is not set is missed only by a command that seals or opens a token.
    let Ok(text) = secret.reveal() else { return Ok(None) };
    let wrong = || {
        ServiceError::Config(
            "`store.key` is not 32 bytes in base64; `crmsync init` makes one".into(),
        )
    };
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text.expose_secret().trim())
        .map_err(|_| wrong())?;
    bytes.try_into().map(Some).map_err(|_| wrong())
}

/// The secret's name in the store that holds a connection's refresh token.
pub fn refresh_token_name(connection: &str) -> String {
    format!("{connection}.refresh_token")
}

/// Makes the connector of a connection, with the metadata that earlier processes read.
///
/// # Errors
/// An unknown or incomplete connection, a missing secret.
pub async fn connector(
    config: &Config,
    name: &str,
    store: &Store,
    ambient: &Ambient,
) -> Result<Arc<dyn Connector>, ServiceError> {
    let connection =
        config.connections.get(name).ok_or_else(|| unknown_connection(config, name))?;
    match connection {
        Connection::Zoho(settings) => {
            let memory = memory(&settings.shared, store, name).await?;
            let settings = zoho_settings(name, settings, store, memory, ambient).await?;
            Ok(Arc::new(Zoho::connect(settings, ambient.clock.clone())?))
        }
        Connection::Pipedrive(settings) => {
            let memory = memory(&settings.shared, store, name).await?;
            let settings = pipedrive_settings(name, settings, memory, ambient)?;
            Ok(Arc::new(Pipedrive::connect(settings, ambient.clock.clone())?))
        }
        Connection::Sql(_) => Err(ServiceError::Config(format!(
            "connection `{name}`: databases cannot be a side of a route yet; use Zoho CRM or Pipedrive"
        ))),
    }
}

/// The OAuth client of a Zoho connection: what `connect` exchanges a grant code with.
///
/// # Errors
/// A missing secret, an address that is none.
pub fn oauth_client(name: &str, settings: &config::Zoho) -> Result<OauthClient, ServiceError> {
    let hosts = settings.region.and_then(|region| region_hosts(region.as_str()));
    let accounts = settings.accounts_url.as_deref().or(hosts.as_ref().map(|hosts| hosts.accounts));
    let accounts = accounts.ok_or_else(|| {
        ServiceError::Config(format!(
            "connection `{name}` needs `region` (us eu in au jp cn ca sa uk) or `accounts_url`"
        ))
    })?;
    let pinned = settings.accounts_url.is_none() && settings.api_url.is_none();
    Ok(OauthClient {
        accounts_url: url(name, "accounts_url", accounts)?,
        client_id: settings.client_id.clone(),
        client_secret: reveal(&settings.client_secret)?.clone(),
        pinning: if pinned { Pinning::Vendor } else { Pinning::Any },
    })
}

async fn zoho_settings(
    name: &str,
    settings: &config::Zoho,
    store: &Store,
    memory: Arc<Memory>,
    ambient: &Ambient,
) -> Result<zoho::Settings, ServiceError> {
    let refresh_token = match &settings.refresh_token {
        Some(token) => reveal(token)?.clone(),
        None => stored_refresh_token(name, store).await?,
    };
    let defaults =
        zoho::Settings::new(name, oauth_client(name, settings)?, refresh_token, seed(ambient));
    Ok(zoho::Settings {
        api_url: settings.api_url.as_deref().map(|text| url(name, "api_url", text)).transpose()?,
        api_version: settings.api_version.clone(),
        credits: settings.shared.budget.daily,
        share_percent: percent(settings.shared.budget.share),
        metadata_cache: lifetime(settings.shared.metadata_cache),
        record_url: settings.record_url.clone(),
        http: http(&settings.shared, name, defaults.http.clone())?,
        memory,
        ..defaults
    })
}

async fn stored_refresh_token(name: &str, store: &Store) -> Result<SecretString, ServiceError> {
    store.load_secret(&refresh_token_name(name)).await?.ok_or_else(|| {
        ServiceError::Config(format!(
            "connection `{name}` is not signed in; run `crmsync connect {name}`"
        ))
    })
}

fn pipedrive_settings(
    name: &str,
    settings: &config::Pipedrive,
    memory: Arc<Memory>,
    ambient: &Ambient,
) -> Result<pipedrive::Settings, ServiceError> {
    let token = match &settings.sign_in {
        PipedriveSignIn::ApiToken(token) => reveal(token)?.clone(),
        PipedriveSignIn::OAuth { .. } => {
            let text =
                format!("connection `{name}`: sign-in by OAuth is not built yet; use `api_token`");
            return Err(ServiceError::Config(text));
        }
    };
    let address = match (&settings.api_url, &settings.company) {
        (Some(text), _) => url(name, "api_url", text)?,
        (None, Some(company)) => url(name, "company", &format!("https://{company}.pipedrive.com"))?,
        (None, None) => {
            return Err(ServiceError::Config(format!(
                "connection `{name}` needs `company`, the `acme` of acme.pipedrive.com"
            )));
        }
    };
    let defaults = pipedrive::Settings::at(name, address, token, seed(ambient));
    let burst = if settings.api_url.is_some() { UNPACED } else { defaults.burst };
    Ok(pipedrive::Settings {
        company: settings.company.clone(),
        burst,
        daily_tokens: settings.shared.budget.daily,
        budget_share: percent(settings.shared.budget.share),
        connect_timeout: settings.shared.connect_timeout,
        read_timeout: settings.shared.timeout,
        proxy: proxy(&settings.shared, name)?,
        metadata_cache: lifetime(settings.shared.metadata_cache),
        memory,
        ..defaults
    })
}

/// Another host than the vendor's has its own idea of speed: its 429s pace us.
const UNPACED: NonZeroU32 = NonZeroU32::new(20_000).expect("20,000 is not zero");

fn http(shared: &Shared, name: &str, defaults: HttpSettings) -> Result<HttpSettings, ServiceError> {
    Ok(HttpSettings {
        connect_timeout: shared.connect_timeout,
        read_timeout: shared.timeout,
        proxy: proxy(shared, name)?,
        ..defaults
    })
}

fn proxy(shared: &Shared, name: &str) -> Result<Option<Url>, ServiceError> {
    shared.proxy.as_deref().map(|text| url(name, "proxy", text)).transpose()
}

async fn memory(shared: &Shared, store: &Store, name: &str) -> Result<Arc<Memory>, ServiceError> {
    let lifetime = match shared.metadata_cache {
        Lifetime::Off => Some(Duration::ZERO),
        Lifetime::For(span) => Some(span),
        Lifetime::Forever => None,
    };
    let memory = Memory::new(lifetime);
    if let Some((kept, _)) = store.metadata(name, METADATA).await? {
        memory.restore(kept);
    }
    Ok(Arc::new(memory))
}

/// Stores the metadata answers that a connector read since it was made.
///
/// # Errors
/// What the store says.
pub async fn keep_metadata(
    store: &Store,
    name: &str,
    connector: &dyn Connector,
    ambient: &Ambient,
) -> Result<(), ServiceError> {
    if let Some(kept) = connector.memory().and_then(Memory::dump) {
        store.save_metadata(name, METADATA, &kept, ambient.clock.now()).await?;
    }
    Ok(())
}

/// A copy of the store for a dry run; it goes with the folder.
pub(super) async fn copy_of(store: &Store) -> Result<(Store, TempDir), ServiceError> {
    let folder = TempDir::new().map_err(|error| {
        ServiceError::Config(format!("cannot make a temporary folder for the dry run: {error}"))
    })?;
    let copy = store.copy_to(&folder.path().join("plan.db")).await?;
    Ok((copy, folder))
}

fn reveal(secret: &config::Secret) -> Result<&SecretString, ServiceError> {
    secret.reveal().map_err(|missing| ServiceError::Config(missing.to_string()))
}

fn url(name: &str, key: &str, text: &str) -> Result<Url, ServiceError> {
    Url::parse(text).map_err(|error| {
        ServiceError::Config(format!("connections.{name}.{key}: `{text}` is no address: {error}"))
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a checked share lies between 0 and 1"
)]
fn percent(share: f64) -> u64 {
    (share * 100.0).round() as u64
}

const fn lifetime(lifetime: Lifetime) -> Option<Duration> {
    match lifetime {
        Lifetime::Off => Some(Duration::ZERO),
        Lifetime::For(span) => Some(span),
        Lifetime::Forever => None,
    }
}

/// Scatters retries of processes that fail together.
fn seed(ambient: &Ambient) -> u64 {
    let hash = blake3::hash(ambient.holder.as_bytes());
    let bytes: [u8; 8] = hash.as_bytes()[..8].try_into().expect("a hash has 32 bytes");
    u64::from_le_bytes(bytes)
}

fn unknown_connection(config: &Config, name: &str) -> ServiceError {
    let known: Vec<_> = config.connections.keys().map(String::as_str).collect();
    ServiceError::Config(format!(
        "there is no connection `{name}` in {}; it has: {}",
        config.file.display(),
        known.join(", ")
    ))
}
