//! From a checked connection to a connector: which host, which credentials, how patient.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::exit::Failure;
use crate::clock::Clock;
use crate::config::{
    Config, Connection, Lifetime, Pipedrive, PipedriveSignIn, Region, Shared, Zoho, ZohoEnvironment,
};
use crate::connectors::http::HttpSettings;
use crate::connectors::zoho::{OauthClient, Pinning};
use crate::connectors::{Connector, pipedrive, zoho};

/// Makes the connector of connection `name`. `kept` is the refresh token that `connect` stored.
pub(super) fn open(
    config: &Config,
    name: &str,
    kept: Option<SecretString>,
    clock: &Clock,
    seed: u64,
) -> Result<Arc<dyn Connector>, Failure> {
    let connection = config.connections.get(name).ok_or_else(|| {
        let known: Vec<_> = config.connections.keys().map(String::as_str).collect();
        Failure::config(format!("no connection is called `{name}`"))
            .help(format!("connections: {}", known.join(", ")))
    })?;
    match connection {
        Connection::Zoho(settings) => {
            let settings = zoho_settings(name, settings, kept, seed)?;
            Ok(Arc::new(zoho::Zoho::connect(settings, clock.clone())?))
        }
        Connection::Pipedrive(settings) => {
            let settings = pipedrive_settings(name, settings, seed)?;
            Ok(Arc::new(pipedrive::Pipedrive::connect(settings, clock.clone())?))
        }
        Connection::Sql(_) => {
            Err(Failure::config(format!("connection `{name}`: databases are not a side yet")))
        }
    }
}

fn zoho_settings(
    name: &str,
    zoho: &Zoho,
    kept: Option<SecretString>,
    seed: u64,
) -> Result<zoho::Settings, Failure> {
    let configured =
        zoho.refresh_token.as_ref().map(|token| token.reveal().cloned()).transpose()?;
    let refresh_token = configured.or(kept).ok_or_else(|| {
        Failure::config(format!("connection `{name}` is not signed in"))
            .help(format!("run crmsync connect {name}"))
    })?;
    let defaults = zoho::Settings::new(name, zoho_client(name, zoho)?, refresh_token, seed);
    let api_url = match (&zoho.api_url, zoho.region.map(Region::as_str)) {
        (Some(given), _) => Some(url(name, given)?),
        (None, Some(region)) => {
            api_of(region, zoho.environment).map(|address| url(name, address)).transpose()?
        }
        // The token's own `api_domain` tells.
        (None, None) => None,
    };
    Ok(zoho::Settings {
        api_url,
        api_version: zoho.api_version.clone(),
        http: zoho_http(name, zoho, seed)?,
        credits: zoho.shared.budget.daily,
        share_percent: percent(zoho.shared.budget.share),
        metadata_cache: lifetime(zoho.shared.metadata_cache),
        record_url: zoho.record_url.clone(),
        ..defaults
    })
}

/// The client that exchanges and renews. Other hosts than Zoho's are trusted when the configuration names them.
pub(super) fn zoho_client(name: &str, settings: &Zoho) -> Result<OauthClient, Failure> {
    let region = settings.region.map_or("us", |region| region.as_str());
    let vendor = zoho::region_hosts(region).map(|hosts| hosts.accounts);
    let accounts = settings.accounts_url.as_deref().or(vendor).unwrap_or_default();
    let custom = settings.accounts_url.is_some() || settings.api_url.is_some();
    Ok(OauthClient {
        accounts_url: url(name, accounts)?,
        client_id: settings.client_id.clone(),
        client_secret: settings.client_secret.reveal()?.clone(),
        pinning: if custom { Pinning::Any } else { Pinning::Vendor },
    })
}

pub(super) fn zoho_http(name: &str, settings: &Zoho, seed: u64) -> Result<HttpSettings, Failure> {
    let secret = SecretString::from(String::new());
    let client = zoho_client(name, settings)?;
    let pace = zoho::Settings::new(name, client, secret, seed).http.pace;
    with_shared(HttpSettings::new(name, pace, seed), name, &settings.shared)
}

fn with_shared(http: HttpSettings, name: &str, shared: &Shared) -> Result<HttpSettings, Failure> {
    Ok(HttpSettings {
        connect_timeout: shared.connect_timeout,
        read_timeout: shared.timeout,
        proxy: shared.proxy.as_deref().map(|proxy| url(name, proxy)).transpose()?,
        ..http
    })
}

fn api_of(region: &str, environment: ZohoEnvironment) -> Option<&'static str> {
    let hosts = zoho::region_hosts(region)?;
    Some(match environment {
        ZohoEnvironment::Production => hosts.api,
        ZohoEnvironment::Sandbox => hosts.sandbox,
        ZohoEnvironment::Developer => hosts.developer,
    })
}

fn pipedrive_settings(
    name: &str,
    settings: &Pipedrive,
    seed: u64,
) -> Result<pipedrive::Settings, Failure> {
    let token = match &settings.sign_in {
        PipedriveSignIn::ApiToken(token) => token.reveal()?.clone(),
        PipedriveSignIn::OAuth { .. } => {
            return Err(Failure::config(format!("connection `{name}`: OAuth is not wired yet"))
                .help("use api_token = { env = \"PIPEDRIVE_API_TOKEN\" }"));
        }
    };
    let base = match (&settings.api_url, &settings.company) {
        (Some(given), _) => url(name, given)?,
        (None, Some(company)) => url(name, &format!("https://{company}.pipedrive.com"))?,
        (None, None) => {
            return Err(Failure::config(format!("connection `{name}` lacks `company`"))
                .help("write company = \"acme\" for acme.pipedrive.com"));
        }
    };
    let shared = &settings.shared;
    Ok(pipedrive::Settings {
        company: settings.company.clone(),
        daily_tokens: shared.budget.daily,
        budget_share: percent(shared.budget.share),
        connect_timeout: shared.connect_timeout,
        read_timeout: shared.timeout,
        proxy: shared.proxy.as_deref().map(|proxy| url(name, proxy)).transpose()?,
        metadata_cache: lifetime(shared.metadata_cache),
        ..pipedrive::Settings::at(name, base, token, seed)
    })
}

/// Zero: read it again each time. `None`: for ever.
const fn lifetime(lifetime: Lifetime) -> Option<Duration> {
    match lifetime {
        Lifetime::Off => Some(Duration::ZERO),
        Lifetime::For(period) => Some(period),
        Lifetime::Forever => None,
    }
}

/// A share between 0 and 1 in hundredths, at least one.
fn percent(share: f64) -> u64 {
    let hundredths =
        (1..=100).rev().find(|hundredths| f64::from(*hundredths) <= share * 100.0 + 1e-9);
    u64::from(hundredths.unwrap_or(1_u32))
}

pub(super) fn url(name: &str, text: &str) -> Result<Url, Failure> {
    Url::parse(text).map_err(|error| {
        Failure::config(format!("connection `{name}`: `{text}` is no URL: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_share_when_turned_into_hundredths_then_it_is_never_more_and_never_nothing() {
        for (share, expected) in [(1.0, 100), (0.8, 80), (0.295, 29), (0.29, 29), (0.001, 1)] {
            assert_eq!(percent(share), expected, "{share}");
        }
    }
}
