//! Connections: the systems a deployment knows, one variant a kind.

use std::collections::BTreeMap;
use std::time::Duration;

use super::period::Lifetime;
use super::secret::Secret;
use super::section::{Reading, Section};

/// One system to connect to.
#[derive(Clone, Debug)]
pub enum Connection {
    Zoho(Box<Zoho>),
    Pipedrive(Box<Pipedrive>),
    Sql(Box<Sql>),
}

impl Connection {
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Zoho(_) => "zoho",
            Self::Pipedrive(_) => "pipedrive",
            Self::Sql(_) => "sql",
        }
    }

    /// Whether it leads to this machine: a simulator, whose secrets are worth nothing.
    fn is_simulated(&self) -> bool {
        let api = match self {
            Self::Zoho(zoho) => zoho.api_url.as_deref(),
            Self::Pipedrive(pipedrive) => pipedrive.api_url.as_deref(),
            Self::Sql(_) => None,
        };
        let host = api.and_then(|api| url::Url::parse(api).ok()?.host_str().map(str::to_owned));
        host.is_some_and(|host| matches!(host.as_str(), "127.0.0.1" | "localhost" | "[::1]"))
    }
}

/// A Zoho CRM organization. Source: Zoho CRM API v8, "Multi-DC" and "OAuth 2.0".
#[derive(Clone, Debug)]
pub struct Zoho {
    /// Found from the sign-in where it is not given.
    pub region: Option<Region>,
    pub environment: ZohoEnvironment,
    /// `v2` … `v8`.
    pub api_version: String,
    pub client_id: String,
    pub client_secret: Secret,
    /// One that was made elsewhere; `connect` stores its own in the store.
    pub refresh_token: Option<Secret>,
    /// For clients that are not self clients.
    pub redirect_uri: Option<String>,
    pub read_with: ReadWith,
    pub record_url: Option<String>,
    /// Other hosts: a gateway, a simulator.
    pub accounts_url: Option<String>,
    pub api_url: Option<String>,
    pub upload_url: Option<String>,
    pub shared: Shared,
}

/// A Pipedrive company.
#[derive(Clone, Debug)]
pub struct Pipedrive {
    /// `acme` of `acme.pipedrive.com`.
    pub company: Option<String>,
    pub sign_in: PipedriveSignIn,
    pub record_url: Option<String>,
    pub api_url: Option<String>,
    pub oauth_url: Option<String>,
    pub shared: Shared,
}

#[derive(Clone, Debug)]
pub enum PipedriveSignIn {
    ApiToken(Secret),
    OAuth {
        client_id: String,
        client_secret: Secret,
        refresh_token: Option<Secret>,
        redirect_uri: Option<String>,
    },
}

/// A database of the user's.
#[derive(Clone, Debug)]
pub struct Sql {
    pub url: Secret,
    /// Its tables go by their bare names.
    pub schema: Option<String>,
    /// Column that says when a row was last changed, in whichever table has it; `none` to use none.
    pub modified: Option<String>,
    /// Zone of times without one.
    pub time_zone: chrono_tz::Tz,
    /// How long a transaction may stay open after it stamped a row.
    pub commit_lag: Duration,
    /// No filter hides rows from this user: a row that is not there is deleted.
    pub complete: bool,
    /// Whether `connect --install` makes triggers that note changes.
    pub triggers: bool,
    pub tables: BTreeMap<String, SqlTable>,
}

/// What one table differs in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SqlTable {
    /// Key columns of a view, or of a table without a primary key.
    pub key: Option<Vec<String>>,
    pub modified: Option<String>,
    pub complete: Option<bool>,
}

/// What every CRM connection has.
#[derive(Clone, Debug, PartialEq)]
pub struct Shared {
    pub metadata_cache: Lifetime,
    pub budget: Budget,
    /// A proxy that all calls go through.
    pub proxy: Option<String>,
    pub connect_timeout: Duration,
    /// For one call, from the first byte sent to the last byte received.
    pub timeout: Duration,
}

/// How much of the daily credits or tokens a connection may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Above 0, at most 1.
    pub share: f64,
    /// The day's credits or tokens, where the API does not tell them.
    pub daily: Option<u64>,
}

/// A Zoho data center.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    Us,
    Eu,
    In,
    Au,
    Jp,
    Cn,
    Ca,
    Sa,
    Uk,
}

impl Region {
    pub const ALL: [(&'static str, Self); 9] = [
        ("us", Self::Us),
        ("eu", Self::Eu),
        ("in", Self::In),
        ("au", Self::Au),
        ("jp", Self::Jp),
        ("cn", Self::Cn),
        ("ca", Self::Ca),
        ("sa", Self::Sa),
        ("uk", Self::Uk),
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Us => "us",
            Self::Eu => "eu",
            Self::In => "in",
            Self::Au => "au",
            Self::Jp => "jp",
            Self::Cn => "cn",
            Self::Ca => "ca",
            Self::Sa => "sa",
            Self::Uk => "uk",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ZohoEnvironment {
    #[default]
    Production,
    Sandbox,
    Developer,
}

impl ZohoEnvironment {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Sandbox => "sandbox",
            Self::Developer => "developer",
        }
    }
}

/// How Zoho records are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadWith {
    #[default]
    Auto,
    Query,
    Bulk,
    Rest,
}

pub(super) fn read(reading: &Reading<'_>, mut section: Section<'_>) -> Option<Connection> {
    #[derive(Clone, Copy)]
    enum Kind {
        Zoho,
        Pipedrive,
        Sql,
    }
    let kinds = [("zoho", Kind::Zoho), ("pipedrive", Kind::Pipedrive), ("sql", Kind::Sql)];
    let before = reading.findings.borrow().len();
    let advised = reading.warnings.borrow().len();
    let Some(kind) = section.choice("type", &kinds) else {
        if reading.findings.borrow().len() == before {
            section.missing("type", "write type = \"zoho\", \"pipedrive\" or \"sql\"");
        }
        return None;
    };
    let connection = match kind {
        Kind::Zoho => read_zoho(&mut section).map(|zoho| Connection::Zoho(Box::new(zoho))),
        Kind::Pipedrive => {
            read_pipedrive(&mut section).map(|it| Connection::Pipedrive(Box::new(it)))
        }
        Kind::Sql => read_sql(&mut section).map(|sql| Connection::Sql(Box::new(sql))),
    };
    section.finish();
    if connection.as_ref().is_some_and(Connection::is_simulated) {
        reading.warnings.borrow_mut().truncate(advised);
    }
    connection
}

fn read_zoho(section: &mut Section<'_>) -> Option<Zoho> {
    let environments = [
        ("production", ZohoEnvironment::Production),
        ("sandbox", ZohoEnvironment::Sandbox),
        ("developer", ZohoEnvironment::Developer),
    ];
    let readers = [
        ("auto", ReadWith::Auto),
        ("query", ReadWith::Query),
        ("bulk", ReadWith::Bulk),
        ("rest", ReadWith::Rest),
    ];
    let client_id = section.text("client_id");
    let client_secret = section.secret("client_secret");
    if client_id.is_none() {
        section.missing("client_id", "make a self client at https://api-console.zoho.com");
    }
    if client_secret.is_none() {
        section.missing("client_secret", "write client_secret = { env = \"ZOHO_CLIENT_SECRET\" }");
    }
    let zoho = Zoho {
        region: section.choice("region", &Region::ALL),
        environment: section.choice("environment", &environments).unwrap_or_default(),
        api_version: section.parsed("api_version", api_version).unwrap_or_else(|| "v8".into()),
        client_id: client_id.clone().unwrap_or_default(),
        client_secret: client_secret.clone().unwrap_or_else(|| Secret::plain("client_secret", "")),
        refresh_token: section.secret("refresh_token"),
        redirect_uri: section.text("redirect_uri"),
        read_with: section.choice("read_with", &readers).unwrap_or_default(),
        record_url: section.text("record_url"),
        accounts_url: section.server("accounts_url"),
        api_url: section.server("api_url"),
        upload_url: section.server("upload_url"),
        shared: read_shared(section),
    };
    if zoho.region.is_none() && zoho.accounts_url.is_none() {
        let advice =
            format!("{} names no `region`; it signs in at accounts.zoho.com (us)", section.path);
        section.advise(advice);
    }
    client_id.and(client_secret).map(|_| zoho)
}

fn api_version(text: &str) -> Result<String, String> {
    let known = ["v2", "v2.1", "v3", "v4", "v5", "v6", "v7", "v8"];
    if known.contains(&text) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is none of {}", known.join(", ")))
    }
}

fn read_pipedrive(section: &mut Section<'_>) -> Option<Pipedrive> {
    let sign_in = read_pipedrive_sign_in(section);
    let company = section.parsed("company", |text| {
        let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        (plain && !text.is_empty()).then(|| text.to_owned()).ok_or_else(|| {
            format!("`{text}` is no company name; write `acme` for acme.pipedrive.com")
        })
    });
    let pipedrive = |sign_in| Pipedrive {
        company,
        sign_in,
        record_url: section.text("record_url"),
        api_url: section.server("api_url"),
        oauth_url: section.server("oauth_url"),
        shared: read_shared(section),
    };
    sign_in.map(pipedrive)
}

fn read_pipedrive_sign_in(section: &mut Section<'_>) -> Option<PipedriveSignIn> {
    let help =
        "write api_token = { env = \"PIPEDRIVE_API_TOKEN\" }, or client_id and client_secret";
    let token = section.secret("api_token");
    let client_id = section.text("client_id");
    let client_secret = section.secret("client_secret");
    let refresh_token = section.secret("refresh_token");
    let redirect_uri = section.text("redirect_uri");
    match (token, client_id, client_secret) {
        (Some(token), None, None) => Some(PipedriveSignIn::ApiToken(token)),
        (None, Some(client_id), Some(client_secret)) => {
            Some(PipedriveSignIn::OAuth { client_id, client_secret, refresh_token, redirect_uri })
        }
        (Some(_), _, _) => {
            let reason = "has an API token and an OAuth client; one of the two signs in";
            section.refuse("api_token", section.place.clone(), reason, Some(help.into()));
            None
        }
        (None, _, _) => {
            section.missing("api_token", help);
            None
        }
    }
}

fn read_sql(section: &mut Section<'_>) -> Option<Sql> {
    let url = section.secret("url");
    if url.is_none() {
        section.missing("url", "write url = { env = \"WAREHOUSE_URL\" }");
    }
    let sql = |url| Sql {
        url,
        schema: section.text("schema"),
        modified: section.text("modified"),
        time_zone: section.parsed("time_zone", time_zone).unwrap_or(chrono_tz::Tz::UTC),
        commit_lag: section.period("commit_lag").unwrap_or(Duration::from_mins(1)),
        complete: section.flag("complete").unwrap_or(false),
        triggers: section.flag("triggers").unwrap_or(true),
        tables: section.sections("tables").into_iter().map(read_table).collect(),
    };
    url.map(sql)
}

fn read_table((name, mut section): (String, Section<'_>)) -> (String, SqlTable) {
    let table = SqlTable {
        key: section.words("key").map(|words| words.into_iter().map(|word| word.text).collect()),
        modified: section.text("modified"),
        complete: section.flag("complete"),
    };
    section.finish();
    (name, table)
}

fn time_zone(text: &str) -> Result<chrono_tz::Tz, String> {
    text.parse().map_err(|_| format!("`{text}` is no time zone; write one such as Europe/Berlin"))
}

fn read_shared(section: &mut Section<'_>) -> Shared {
    let mut budget = Budget { share: 0.8, daily: None };
    if let Some(mut given) = section.section("budget") {
        budget.share = given.share("share").unwrap_or(budget.share);
        budget.daily = given.whole_number("daily");
        given.finish();
    }
    Shared {
        metadata_cache: section
            .lifetime("metadata_cache")
            .unwrap_or(Lifetime::For(Duration::from_hours(1))),
        budget,
        proxy: section.parsed("proxy", |text| {
            url::Url::parse(text)
                .map(|_| text.to_owned())
                .map_err(|error| format!("`{text}` is no URL: {error}"))
        }),
        connect_timeout: section.period("connect_timeout").unwrap_or(Duration::from_secs(10)),
        timeout: section.period("timeout").unwrap_or(Duration::from_mins(1)),
    }
}
