//! The configuration: a TOML file, `.env` and environment variables become one checked [`Config`].
//!
//! What lives here: names, defaults, and refusing what makes no sense. What may not: opening anything. Values come
//! in this order, later ones win: the defaults, `crmsync.toml`, `.env`, the environment. A variable
//! `CRMSYNC_<TABLE>__<NAME>__<KEY>` replaces one key: `CRMSYNC_CONNECTIONS__ZOHO__API_URL` is
//! `connections.zoho.api_url`; case does not count, and a `-` in a name is written `_`. Read this file,
//! then `section.rs`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crmsync_core::model::RouteName;
use crmsync_core::model::state::GuardLimits;

mod alerts;
mod connections;
mod document;
pub mod environment;
pub mod finding;
pub mod period;
mod routes;
pub mod secret;
mod section;
mod serve;
#[cfg(test)]
mod tests;

pub use alerts::{Alerts, Mail};
pub use connections::{
    Budget, Connection, Pipedrive, PipedriveSignIn, ReadWith, Region, Shared, Sql, SqlTable, Zoho,
    ZohoEnvironment,
};
pub use crmsync_core::engine::schedule::Schedule;
pub use environment::Environment;
pub use finding::{ConfigError, Finding, Paint};
pub use period::Lifetime;
pub use routes::{NewFields, ReplicaDeletes, ReplicaTarget, Replication, Route};
pub use secret::{Secret, SecretMissing};
pub use serve::Serve;

use section::{Reading, Section};

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    pub store: StoreSettings,
    pub connections: BTreeMap<String, Connection>,
    pub routes: BTreeMap<RouteName, Route>,
    pub replications: BTreeMap<String, Replication>,
    pub sync: SyncSettings,
    pub guards: GuardLimits,
    pub serve: Serve,
    pub alerts: Alerts,
    /// Things that work and are unwise, such as a secret in plain text.
    pub warnings: Vec<String>,
}

/// Numbers of every run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncSettings {
    /// `H` of semantics §0: how long a lost write may still take effect and show.
    pub settle: Duration,
    /// Read again before the watermark.
    pub overlap: Duration,
    /// Every listing is read whole after this long.
    pub full_every: Duration,
    /// Updates of an entity and side up to which `auto` writes one by one, each refused if the record moved on.
    pub conditional_up_to: u64,
    /// When refused records and fields are tried again.
    pub retry_refused: Duration,
}

impl Default for SyncSettings {
    fn default() -> Self {
        Self {
            settle: Duration::from_mins(2),
            overlap: Duration::from_mins(5),
            full_every: Duration::from_hours(7 * 24),
            conditional_up_to: 50,
            retry_refused: Duration::from_hours(24),
        }
    }
}

/// Where our own state lives.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// `sqlite://…` (made absolute), `postgres://…` or `mysql://…`; may hold a password.
    pub url: Secret,
    /// 32 bytes in base64 that encrypt tokens at rest.
    pub key: Option<Secret>,
}

impl Config {
    /// Reads `file`. Relative paths in it count from its folder.
    ///
    /// # Errors
    /// [`ConfigError`] with every mistake found, each with its place.
    pub fn load(file: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|error| {
            let finding = Finding::new(format!("cannot read {name}: {error}"))
                .help("`crmsync init` writes one; `--config FILE` names another");
            ConfigError::whole(name.clone(), finding)
        })?;
        Self::parse(file, &text, environment)
    }

    /// Reads `text`, the content of `file`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(file: &Path, text: &str, environment: &Environment) -> Result<Self, ConfigError> {
        let failed = |mut findings: Vec<Finding>| {
            findings.sort_by_key(|finding| finding.place.as_ref().map(|place| place.start));
            ConfigError { file: file.display().to_string(), text: text.to_owned(), findings }
        };
        let mut table = document::parse(text).map_err(|finding| failed(vec![finding]))?;
        for replaced in environment.overrides() {
            document::apply_override(&mut table, &replaced);
        }
        let reading = Reading {
            environment,
            folder: file.parent().unwrap_or(Path::new("")),
            findings: RefCell::default(),
            warnings: RefCell::default(),
        };
        let config = read(&reading, file, Section::root(&reading, table));
        match (config, reading.findings.into_inner()) {
            (Some(config), findings) if findings.is_empty() => {
                Ok(Self { warnings: reading.warnings.into_inner(), ..config })
            }
            (_, findings) => Err(failed(findings)),
        }
    }
}

fn read(reading: &Reading<'_>, file: &Path, mut root: Section<'_>) -> Option<Config> {
    let store = read_store(reading, &mut root);
    let connections: routes::Connections = root
        .sections("connections")
        .into_iter()
        .map(|(name, section)| (name, connections::read(reading, section)))
        .collect();
    let routes: BTreeMap<_, _> = root
        .sections("routes")
        .into_iter()
        .filter_map(|(name, section)| {
            routes::read_route(reading, &name, section, &connections)
                .map(|route| (route.name.clone(), route))
        })
        .collect();
    let replications = root
        .sections("replications")
        .into_iter()
        .filter_map(|(name, section)| {
            routes::read_replication(reading, section, &connections)
                .map(|replication| (name, replication))
        })
        .collect();
    let sync = read_sync(&mut root);
    let guards = read_guards(&mut root);
    let serve = serve::read(&mut root);
    let alerts = alerts::read(&mut root);
    root.finish();
    Some(Config {
        file: file.to_owned(),
        store: store?,
        connections: connections
            .into_iter()
            .filter_map(|(name, connection)| connection.map(|connection| (name, connection)))
            .collect(),
        routes,
        replications,
        sync,
        guards,
        serve,
        alerts,
        warnings: Vec::new(),
    })
}

fn read_store(reading: &Reading<'_>, root: &mut Section<'_>) -> Option<StoreSettings> {
    let Some(mut section) = root.section("store") else {
        root.missing("store", "write [store] with url = \"sqlite://crmsync.db\"");
        return None;
    };
    let before = reading.warnings.borrow().len();
    let url = section.secret("url");
    // A URL without a password is no secret.
    if let Some(url) = &url
        && !has_password(url)
    {
        reading.warnings.borrow_mut().truncate(before);
    }
    let key = section.secret("key");
    let store = match url {
        None => {
            section
                .missing("url", "write url = \"sqlite://crmsync.db\", postgres://… or mysql://…");
            None
        }
        Some(url) => check_store_url(reading, &section, url),
    };
    section.finish();
    store.map(|url| StoreSettings { url, key })
}

fn has_password(url: &Secret) -> bool {
    use secrecy::ExposeSecret as _;
    let parsed = url.reveal().ok().and_then(|url| url::Url::parse(url.expose_secret()).ok());
    parsed.is_some_and(|url| url.password().is_some())
}

/// Refuses unknown databases, and makes the path of a `SQLite` file count from the configuration's folder.
fn check_store_url(reading: &Reading<'_>, section: &Section<'_>, url: Secret) -> Option<Secret> {
    use secrecy::ExposeSecret as _;
    let Ok(text) = url.reveal().map(|text| text.expose_secret().to_owned()) else {
        return Some(url);
    };
    let schemes = ["sqlite:", "postgres:", "postgresql:", "mysql:", "mariadb:"];
    if !schemes.iter().any(|scheme| text.starts_with(scheme)) {
        let help = "write sqlite://crmsync.db, postgres://… or mysql://…";
        section.refuse(
            "url",
            section.place.clone(),
            "not a database URL we know",
            Some(help.into()),
        );
        return None;
    }
    let Some(path) = text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:")) else {
        return Some(url);
    };
    if path.starts_with('/') || path.starts_with(":memory:") || path.is_empty() {
        return Some(url);
    }
    let path = reading.folder.join(path);
    Some(Secret::plain("store.url", &format!("sqlite://{}", path.display())))
}

fn read_sync(root: &mut Section<'_>) -> SyncSettings {
    let default = SyncSettings::default();
    let Some(mut section) = root.section("sync") else { return default };
    let settings = SyncSettings {
        settle: section.period("settle").unwrap_or(default.settle),
        overlap: section.period("overlap").unwrap_or(default.overlap),
        full_every: section.period("full_every").unwrap_or(default.full_every),
        conditional_up_to: section
            .whole_number("conditional_up_to")
            .unwrap_or(default.conditional_up_to),
        retry_refused: section.period("retry_refused").unwrap_or(default.retry_refused),
    };
    section.finish();
    settings
}

fn read_guards(root: &mut Section<'_>) -> GuardLimits {
    let mut limits = GuardLimits::default();
    let Some(mut section) = root.section("guards") else { return limits };
    let mut set = |key, limit: &mut u64| *limit = section.whole_number(key).unwrap_or(*limit);
    set("delete_floor", &mut limits.delete_floor);
    set("delete_ceiling", &mut limits.delete_ceiling);
    set("create_floor", &mut limits.create_floor);
    set("create_percent", &mut limits.create_percent);
    set("mass_change_percent", &mut limits.mass_change_percent);
    set("mass_change_floor", &mut limits.mass_change_floor);
    set("empty_side_percent", &mut limits.empty_side_percent);
    if let Some(writes) = section.whole_number("oscillation_writes") {
        limits.oscillation_writes = usize::try_from(writes).unwrap_or(usize::MAX);
    }
    section.finish();
    limits
}
