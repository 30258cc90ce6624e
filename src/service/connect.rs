//! From a checked configuration to open stores and connectors.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use secrecy::{ExposeSecret as _, SecretString};
use tempfile::TempDir;
use url::Url;

use super::error::ServiceError;
use super::spending::{hour, recent_units};
use super::tokens::SealedTokens;
use crate::clock::Ambient;
use crate::config::{self, Config, Connection, Lifetime, PipedriveSignIn, Shared, ZohoEnvironment};
use crate::connectors::http::HttpSettings;
use crate::connectors::memory::Memory;
use crate::connectors::pipedrive::{self, Pipedrive};
use crate::connectors::sql::{self, Sql};
use crate::connectors::zoho::{self, Hosts, OauthClient, Pinning, REGIONS, Zoho, region_hosts};
use crate::connectors::{Account, Connector, Cost};
use crate::store::Store;

/// Under which name the store keeps a connection's metadata answers.
const METADATA: &str = "answers";
/// The same for the edition or plan of its account.
const EDITION: &str = "edition";

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
            let settings = zoho_settings(name, settings, store, ambient).await?;
            Ok(Arc::new(Zoho::connect(settings, ambient.clock.clone())?))
        }
        Connection::Pipedrive(settings) => {
            let settings = pipedrive_settings(name, settings, store, ambient).await?;
            Ok(Arc::new(Pipedrive::connect(settings, ambient.clock.clone())?))
        }
        Connection::Sql(settings) => {
            let settings = sql_settings(name, settings, ambient)?;
            Ok(Arc::new(Sql::connect(settings, ambient.clock.clone())?))
        }
    }
}

/// How a database connection is opened, for those who copy into it.
pub(super) fn warehouse(
    config: &Config,
    name: &str,
    ambient: &Ambient,
) -> Result<sql::Settings, ServiceError> {
    let connection =
        config.connections.get(name).ok_or_else(|| unknown_connection(config, name))?;
    match connection {
        Connection::Sql(settings) => sql_settings(name, settings, ambient),
        Connection::Zoho(_) | Connection::Pipedrive(_) => Err(ServiceError::Config(format!(
            "connection `{name}` is no database; a replication's `to` names one of type sql, or a folder"
        ))),
    }
}

fn sql_settings(
    name: &str,
    settings: &config::Sql,
    ambient: &Ambient,
) -> Result<sql::Settings, ServiceError> {
    let table = |table: &config::SqlTable| sql::TableSettings {
        key: table.key.clone(),
        modified: table.modified.clone(),
        complete: table.complete,
    };
    let tables = settings.tables.iter().map(|(name, given)| (name.clone(), table(given)));
    Ok(sql::Settings {
        schema: settings.schema.clone(),
        modified: settings.modified.clone(),
        time_zone: settings.time_zone,
        commit_lag: settings.commit_lag,
        complete: settings.complete,
        triggers: settings.triggers,
        tables: tables.collect(),
        ..sql::Settings::new(name, reveal(&settings.url)?.clone(), seed(ambient))
    })
}

/// The OAuth client of a Zoho connection: what `connect` exchanges a grant code with.
///
/// Without region and accounts server it is the American one, as in Zoho's own documents.
///
/// # Errors
/// A missing secret, an address that is none.
pub fn oauth_client(name: &str, settings: &config::Zoho) -> Result<OauthClient, ServiceError> {
    let region = settings.region.map_or("us", config::Region::as_str);
    let hosts = region_hosts(region);
    let accounts = settings.accounts_url.as_deref().or(hosts.as_ref().map(|hosts| hosts.accounts));
    let accounts = accounts.ok_or_else(|| {
        ServiceError::Config(format!("connection `{name}`: no data center is called `{region}`"))
    })?;
    let pinned = settings.accounts_url.is_none() && settings.api_url.is_none();
    Ok(OauthClient {
        accounts_url: url(name, "accounts_url", accounts)?,
        client_id: settings.client_id.clone(),
        client_secret: reveal(&settings.client_secret)?.clone(),
        pinning: if pinned { Pinning::Vendor } else { Pinning::Any },
    })
}

/// Where a Zoho connection's calls go; `None`: where the sign-in says, which is how production is found.
fn zoho_api(name: &str, settings: &config::Zoho) -> Result<Option<Url>, ServiceError> {
    if let Some(text) = &settings.api_url {
        return Ok(Some(url(name, "api_url", text)?));
    }
    let region =
        settings.region.map(config::Region::as_str).or_else(|| match &settings.accounts_url {
            Some(accounts) => REGIONS.iter().copied().find(|region| {
                region_hosts(region)
                    .is_some_and(|hosts| accounts.trim_end_matches('/') == hosts.accounts)
            }),
            None => Some("us"),
        });
    let environment = settings.environment;
    let host = |hosts: Hosts| match environment {
        ZohoEnvironment::Production => None,
        ZohoEnvironment::Sandbox => Some(hosts.sandbox),
        ZohoEnvironment::Developer => Some(hosts.developer),
    };
    match region.and_then(region_hosts) {
        Some(hosts) => host(hosts).map(|text| url(name, "environment", text)).transpose(),
        None if environment == ZohoEnvironment::Production => Ok(None),
        None => Err(ServiceError::Config(format!(
            "connection `{name}`: which host is the {} of this accounts server? Name `region` or `api_url`",
            environment.as_str()
        ))),
    }
}

async fn zoho_settings(
    name: &str,
    settings: &config::Zoho,
    store: &Store,
    ambient: &Ambient,
) -> Result<zoho::Settings, ServiceError> {
    let refresh_token = match &settings.refresh_token {
        Some(token) => reveal(token)?.clone(),
        None => stored_refresh_token(name, store).await?,
    };
    let tokens = SealedTokens::new(store, name, &settings.client_id, &refresh_token);
    let origin =
        format!("{}|{:?}", settings.client_id, (&settings.accounts_url, &settings.api_url));
    let origin = format!("{origin}|{:?}|{}", settings.environment, settings.api_version);
    let memory =
        memory(&settings.shared, store, name, &[&origin, refresh_token.expose_secret()]).await?;
    let defaults =
        zoho::Settings::new(name, oauth_client(name, settings)?, refresh_token, seed(ambient));
    let pace = match store.metadata(name, EDITION).await? {
        Some((edition, _)) => zoho::pace_for_edition(edition.as_str().unwrap_or_default()),
        None => defaults.http.pace,
    };
    Ok(zoho::Settings {
        token_store: Some(Arc::new(tokens)),
        api_url: zoho_api(name, settings)?,
        api_version: settings.api_version.clone(),
        credits: settings.shared.budget.daily,
        spent_before: recent_units(store, name, ambient.clock.now()).await?,
        share_percent: percent(settings.shared.budget.share),
        metadata_cache: lifetime(settings.shared.metadata_cache),
        record_url: settings.record_url.clone(),
        http: HttpSettings {
            pace,
            wire: ambient.wire.clone(),
            ..http(&settings.shared, name, defaults.http.clone())?
        },
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

async fn pipedrive_settings(
    name: &str,
    settings: &config::Pipedrive,
    store: &Store,
    ambient: &Ambient,
) -> Result<pipedrive::Settings, ServiceError> {
    let (sign_in, secret) = pipedrive_sign_in(name, settings, store).await?;
    let address = match (&settings.api_url, &settings.company) {
        (Some(text), _) => url(name, "api_url", text)?,
        (None, Some(company)) => url(name, "company", &format!("https://{company}.pipedrive.com"))?,
        (None, None) => {
            return Err(ServiceError::Config(format!(
                "connection `{name}` needs `company`, the `acme` of acme.pipedrive.com"
            )));
        }
    };
    let origin = [address.as_str(), secret.expose_secret()];
    let memory = memory(&settings.shared, store, name, &origin).await?;
    let defaults = pipedrive::Settings::at(name, address, secret, seed(ambient));
    let burst = if settings.api_url.is_some() { UNPACED } else { defaults.burst };
    Ok(pipedrive::Settings {
        sign_in,
        company: settings.company.clone(),
        burst,
        daily_tokens: settings.shared.budget.daily,
        spent_before: recent_units(store, name, ambient.clock.now()).await?,
        budget_share: percent(settings.shared.budget.share),
        connect_timeout: settings.shared.connect_timeout,
        read_timeout: settings.shared.timeout,
        proxy: proxy(&settings.shared, name)?,
        metadata_cache: lifetime(settings.shared.metadata_cache),
        memory,
        wire: ambient.wire.clone(),
        ..defaults
    })
}

/// How a Pipedrive connection signs in, and the secret that tells its sign-in from others.
async fn pipedrive_sign_in(
    name: &str,
    settings: &config::Pipedrive,
    store: &Store,
) -> Result<(pipedrive::SignIn, SecretString), ServiceError> {
    let refresh_token = match &settings.sign_in {
        PipedriveSignIn::ApiToken(token) => {
            let token = reveal(token)?.clone();
            return Ok((pipedrive::SignIn::ApiToken(token.clone()), token));
        }
        PipedriveSignIn::OAuth { refresh_token: Some(token), .. } => reveal(token)?.clone(),
        PipedriveSignIn::OAuth { refresh_token: None, .. } => {
            stored_refresh_token(name, store).await?
        }
    };
    let app = pipedrive_app(name, settings)?;
    let tokens = SealedTokens::new(store, name, &app.client_id, &refresh_token);
    let installed = pipedrive::Installed {
        app,
        refresh_token: refresh_token.clone(),
        store: Some(Arc::new(tokens)),
    };
    Ok((pipedrive::SignIn::OAuth(installed), refresh_token))
}

/// The OAuth app of a Pipedrive connection.
///
/// # Errors
/// When the connection signs in with an API token; a missing secret, an address that is none.
pub fn pipedrive_app(
    name: &str,
    settings: &config::Pipedrive,
) -> Result<pipedrive::OauthApp, ServiceError> {
    let PipedriveSignIn::OAuth { client_id, client_secret, .. } = &settings.sign_in else {
        let text = format!("connection `{name}` signs in with an API token, not with an app");
        return Err(ServiceError::Config(text));
    };
    let address = settings.oauth_url.as_deref().unwrap_or("https://oauth.pipedrive.com");
    Ok(pipedrive::OauthApp {
        oauth_url: url(name, "oauth_url", address)?,
        client_id: client_id.clone(),
        client_secret: reveal(client_secret)?.clone(),
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

/// What earlier processes learned with the same sign-in, which `origin` tells apart from others.
async fn memory(
    shared: &Shared,
    store: &Store,
    name: &str,
    origin: &[&str],
) -> Result<Arc<Memory>, ServiceError> {
    let lifetime = match shared.metadata_cache {
        Lifetime::Off => Some(Duration::ZERO),
        Lifetime::For(span) => Some(span),
        Lifetime::Forever => None,
    };
    let origin = blake3::hash(origin.join("\n").as_bytes()).to_hex()[..32].to_owned();
    let memory = Memory::new(lifetime).of(origin);
    if let Some((kept, _)) = store.metadata(name, METADATA).await? {
        memory.restore(kept);
    }
    Ok(Arc::new(memory))
}

/// Stores the metadata answers that a connector read since it was made, and what it cost.
///
/// # Errors
/// What the store says.
pub async fn keep_metadata(
    store: &Store,
    name: &str,
    connector: &dyn Connector,
    ambient: &Ambient,
) -> Result<(), ServiceError> {
    let now = ambient.clock.now();
    if let Some(kept) = connector.memory().and_then(Memory::dump) {
        store.save_metadata(name, METADATA, &kept, now).await?;
    }
    let Cost { calls, units } = connector.take_spent();
    if calls > 0 {
        store.spend(name, &hour(now), units, calls).await?;
    }
    Ok(())
}

/// Remembers the edition that a connection signed in to: the next process knows how much may run at once.
///
/// # Errors
/// What the store says.
pub async fn keep_edition(
    store: &Store,
    name: &str,
    account: &Account,
    ambient: &Ambient,
) -> Result<(), ServiceError> {
    let edition = serde_json::Value::from(account.plan.as_str());
    let known = store.metadata(name, EDITION).await?.map(|(known, _)| known);
    if known.as_ref() != Some(&edition) {
        store.save_metadata(name, EDITION, &edition, ambient.clock.now()).await?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    #[test]
    fn given_region_and_environment_when_hosts_are_chosen_then_calls_go_there_or_nowhere() {
        let cases = [
            ("", "https://accounts.zoho.com/", Ok(None)),
            ("region = \"eu\"", "https://accounts.zoho.eu/", Ok(None)),
            (
                "region = \"eu\"\nenvironment = \"sandbox\"",
                "https://accounts.zoho.eu/",
                Ok(Some("https://sandbox.zohoapis.eu/")),
            ),
            (
                "environment = \"developer\"",
                "https://accounts.zoho.com/",
                Ok(Some("https://developer.zohoapis.com/")),
            ),
            (
                "accounts_url = \"https://accounts.zoho.in\"\nenvironment = \"sandbox\"",
                "https://accounts.zoho.in/",
                Ok(Some("https://sandbox.zohoapis.in/")),
            ),
            (
                "accounts_url = \"http://127.0.0.1:1\"\nenvironment = \"sandbox\"",
                "http://127.0.0.1:1/",
                Err("which host is the sandbox"),
            ),
        ];
        for (lines, accounts, expected) in cases {
            let text = format!(
                "[store]\nurl = \"sqlite://x.db\"\n[connections.z]\ntype = \"zoho\"\nclient_id = \"c\"\nclient_secret = \"s\"\n{lines}\n"
            );
            let config =
                Config::parse("crmsync.toml".as_ref(), &text, &Environment::default()).unwrap();
            let Connection::Zoho(zoho) = &config.connections["z"] else { panic!("{lines}") };

            let client = oauth_client("z", zoho).unwrap();
            let api = zoho_api("z", zoho);

            assert_eq!(client.accounts_url.as_str(), accounts, "{lines}");
            match (api, expected) {
                (Ok(api), Ok(expected)) => {
                    assert_eq!(api.as_ref().map(Url::as_str), expected, "{lines}");
                }
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (api, _) => panic!("{lines}: {api:?}"),
            }
        }
    }
}
