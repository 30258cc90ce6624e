//! Pipedrive over its REST API: v2 where it exists, v1 for notes, leads, users and what else v2 lacks.
//!
//! What lives here: paths, shapes, prices and quirks of one vendor. What may not: matching, merging, waiting
//! beyond a call's retries. Read `docs.md` first, then `module.rs` and `codec.rs`; `read.rs` and `write.rs` are
//! the calls.

mod account;
mod auth;
mod body;
mod client;
mod codec;
mod entries;
mod fields;
mod history;
mod hooks;
mod module;
mod pages;
mod read;
mod record;
mod refusal;
mod schema;
mod streams;
mod wire;
mod write;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, NaiveTime, Utc};
use crmsync_core::model::schema::{ModuleSchema, User};
use crmsync_core::model::{ModuleName, RecordId, RemoteField, Value};
use secrecy::SecretString;
use tokio::sync::{Mutex, OnceCell};
use url::Url;

pub use self::auth::{Installed, OauthApp, SignIn, exchange_code};

use self::client::Client;
use self::module::{FETCH_BATCH, MODULES, Module, PAGE};
use self::schema::Shapes;
use super::hooks::Hooks;
use super::memory::Memory;
use super::pacing::{Budget, BudgetGate, Pace, Window};
use super::retry::Policy;
use super::streams::Streams;
use super::{
    Account, Capabilities, Connector, ConnectorError, Cost, DeletedPage, ErrorKind, History,
    ListRequest, Operation, Page, PageKey, Probe, RowResult, UpdateRow,
};
use crate::clock::{Clock, Wire};

/// How to reach one Pipedrive company.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the connection in the configuration.
    pub connection: String,
    /// Sub-domain of the company: `acme` of `acme.pipedrive.com`. Links into the web pages need it.
    pub company: Option<String>,
    /// Where the API is; other than the company's host for a gateway or a simulator.
    pub api_url: Url,
    pub sign_in: SignIn,
    /// Calls that the plan allows in two seconds: 20 (Lite) to 120 (Ultimate) with an API token.
    pub burst: NonZeroU32,
    /// The time that `burst` is counted over.
    pub burst_window: Duration,
    /// Writes in flight at once.
    pub concurrency: usize,
    /// Rows of a list page, at most 500.
    pub page: usize,
    /// Longest answer, in bytes after unpacking.
    pub max_answer: usize,
    /// The company's daily tokens, where configured; else the answers tell what is left.
    pub daily_tokens: Option<u64>,
    /// Tokens that earlier processes spent in the last 24 hours, by time, oldest first.
    pub spent_before: Vec<(DateTime<Utc>, u64)>,
    /// Of the daily tokens, how many hundredths are ours.
    pub budget_share: u64,
    pub connect_timeout: Duration,
    pub read_timeout: Duration,
    pub retry: Policy,
    pub proxy: Option<Url>,
    /// How long a described module is good for; `None` reads it again each time.
    pub metadata_cache: Option<Duration>,
    /// Ask `/recents` for deletions of what has no feed of its own: 20 tokens a module and poll.
    pub deletes_from_recents: bool,
    /// Seed of the pauses' jitter.
    pub seed: u64,
    /// Metadata that earlier processes read.
    pub memory: Arc<Memory>,
    pub wire: Wire,
}

impl Settings {
    /// The company's own host, with what suits most plans.
    ///
    /// # Errors
    /// [`url::ParseError`] when `company` cannot be part of a host name.
    pub fn new(
        connection: impl Into<String>,
        company: &str,
        api_token: SecretString,
        seed: u64,
    ) -> Result<Self, url::ParseError> {
        let api_url = Url::parse(&format!("https://{company}.pipedrive.com"))?;
        Ok(Self {
            company: Some(company.to_owned()),
            ..Self::at(connection, api_url, api_token, seed)
        })
    }

    /// Any host that speaks the API.
    pub fn at(
        connection: impl Into<String>,
        api_url: Url,
        api_token: SecretString,
        seed: u64,
    ) -> Self {
        Self {
            connection: connection.into(),
            company: None,
            api_url,
            sign_in: SignIn::ApiToken(api_token),
            burst: NonZeroU32::new(80).unwrap_or(NonZeroU32::MIN),
            burst_window: Duration::from_secs(2),
            concurrency: 8,
            page: PAGE,
            max_answer: 64 << 20,
            daily_tokens: None,
            spent_before: Vec::new(),
            budget_share: 80,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_mins(1),
            retry: Policy::default(),
            proxy: None,
            metadata_cache: Some(Duration::from_hours(1)),
            deletes_from_recents: true,
            seed,
            memory: Arc::new(Memory::new(Some(Duration::from_hours(1)))),
            wire: Wire::Sockets,
        }
    }

    /// A pace for the few calls of signing in.
    pub fn sign_in_pace() -> Pace {
        auth::few_calls()
    }

    /// The limit is a rolling window, the pacer a leaking bucket: half a burst at once and half over the
    /// window make at most one burst in any window. Source: "Rate limiting".
    fn pace(&self) -> Pace {
        let half = NonZeroU32::new(self.burst.get() / 2).unwrap_or(NonZeroU32::MIN);
        let concurrency = self.concurrency.max(1) * 2;
        Pace { burst: half, per: self.burst_window, concurrency, heavy: concurrency }
    }
}

/// A Pipedrive company as a side.
pub struct Pipedrive {
    settings: Settings,
    client: Client,
    known: Mutex<BTreeMap<&'static str, Known>>,
    generation: AtomicU64,
    currencies: OnceCell<Vec<wire::Currency>>,
}

/// A described module.
#[derive(Debug)]
struct Known {
    read_at: DateTime<Utc>,
    /// Which [`Connector::forget_metadata`] it was read after.
    generation: u64,
    shapes: Arc<Shapes>,
}

impl Pipedrive {
    /// Makes the connector with a budget of its own; makes no call.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] when the client cannot be built.
    pub fn connect(settings: Settings, clock: Clock) -> Result<Self, ConnectorError> {
        // Support says "every 24 hours"; midnight UTC is what integrators see.
        let window = Window::Daily { starts: NaiveTime::MIN };
        let budget =
            Budget::new(settings.daily_tokens, settings.budget_share, window, clock.clone())
                .after(settings.spent_before.iter().copied());
        Self::with_budget(settings, clock, Arc::new(budget))
    }

    /// Makes the connector with a budget that others may share.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] when the client cannot be built.
    pub fn with_budget(
        settings: Settings,
        clock: Clock,
        gate: Arc<dyn BudgetGate>,
    ) -> Result<Self, ConnectorError> {
        let client = Client::new(&settings, clock, gate)?;
        let (known, generation) = (Mutex::default(), AtomicU64::new(0));
        Ok(Self { settings, client, known, generation, currencies: OnceCell::new() })
    }

    fn named(
        &self,
        operation: &str,
        module: &ModuleName,
    ) -> Result<&'static Module, ConnectorError> {
        Module::named(module.as_str())
            .map_err(|kind| self.client.error(format!("{operation} {module}"), kind))
    }

    fn fail(&self, operation: &str, module: &Module) -> impl Fn(ErrorKind) -> ConnectorError + '_ {
        let operation = format!("{operation} {}", module.name);
        move |kind| self.client.error(operation.clone(), kind)
    }

    fn has_feed(&self, module: &Module) -> bool {
        module.is_deals() || (module.in_recents && self.settings.deletes_from_recents)
    }
}

/// How long a deleted record answers as deleted. Source: changelog "Permanent deletion".
const DELETION_RETENTION: Duration = Duration::from_hours(30 * 24);

#[async_trait]
impl Connector for Pipedrive {
    fn capabilities(&self, module: &ModuleName) -> Capabilities {
        let known = Module::named(module.as_str()).ok();
        let by_ids = known.is_some_and(|module| module.dialect == module::Dialect::V2);
        Capabilities {
            conditional_update: false,
            unique_external_id: false,
            create_batch: 1,
            update_batch: 1,
            delete_batch: 1,
            fetch_batch: if by_ids { FETCH_BATCH } else { 1 },
            page: self.settings.page,
            scan_limit: None,
            delta: true,
            deletion_feed: known.is_some_and(|module| self.has_feed(module)),
            writes_return_record: true,
            deletion_retention: DELETION_RETENTION,
            restore: false,
            concurrency: self.settings.concurrency,
        }
    }

    /// As for the v2 modules; notes and leads cost double and are priced by [`Connector::price_for`].
    fn price(&self, operation: Operation, rows: usize) -> Cost {
        self.price_for(&ModuleName::from("persons"), operation, rows)
    }

    fn price_for(&self, module: &ModuleName, operation: Operation, rows: usize) -> Cost {
        Module::named(module.as_str())
            .map(|module| module.price(operation, rows))
            .unwrap_or_default()
    }

    fn take_spent(&self) -> Cost {
        self.client.take_spent()
    }

    fn spent(&self) -> Cost {
        self.client.spent()
    }

    async fn account(&self) -> Result<Account, ConnectorError> {
        self.read_account().await.map_err(|kind| self.client.error("read the account", kind))
    }

    async fn modules(&self) -> Result<Vec<(ModuleName, String)>, ConnectorError> {
        Ok(MODULES
            .iter()
            .map(|module| (ModuleName::from(module.name), module.label.to_owned()))
            .collect())
    }

    async fn describe(&self, module: &ModuleName) -> Result<ModuleSchema, ConnectorError> {
        let module = self.named("describe", module)?;
        let shapes = self.fresh_shapes(module).await.map_err(self.fail("describe", module))?;
        Ok(shapes.schema.clone())
    }

    fn memory(&self) -> Option<&Memory> {
        Some(&self.settings.memory)
    }

    fn forget_metadata(&self) {
        self.settings.memory.forget();
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    fn streams(&self) -> Option<&dyn Streams> {
        Some(self)
    }

    fn hooks(&self) -> Option<&dyn Hooks> {
        Some(self)
    }

    async fn users(&self) -> Result<Vec<User>, ConnectorError> {
        self.read_users().await.map_err(|kind| self.client.error("list users", kind))
    }

    async fn list(&self, request: &ListRequest<'_>) -> Result<Page, ConnectorError> {
        let module = self.named("list", request.module)?;
        self.list_page(module, request).await.map_err(self.fail("list", module))
    }

    async fn deleted(
        &self,
        module: &ModuleName,
        since: DateTime<Utc>,
        page: Option<&PageKey>,
    ) -> Result<DeletedPage, ConnectorError> {
        let module = self.named("list deleted", module)?;
        self.deleted_page(module, since, page).await.map_err(self.fail("list deleted", module))
    }

    async fn fetch(
        &self,
        module: &ModuleName,
        ids: &[RecordId],
        fields: &[RemoteField],
    ) -> Result<Page, ConnectorError> {
        let module = self.named("read", module)?;
        let operation = format!("read {}", ids.len());
        self.fetch_page(module, ids, fields).await.map_err(self.fail(&operation, module))
    }

    async fn probe(
        &self,
        module: &ModuleName,
        id: &RecordId,
        fields: &[RemoteField],
    ) -> Result<Probe, ConnectorError> {
        let module = self.named("read one of", module)?;
        self.probe_one(module, id, fields).await.map_err(self.fail("read one of", module))
    }

    async fn create(
        &self,
        module: &ModuleName,
        rows: &[BTreeMap<RemoteField, Value>],
    ) -> Vec<RowResult> {
        let mut results = Vec::with_capacity(rows.len());
        for row in rows {
            results.push(match self.named("create", module) {
                Ok(module) => {
                    self.create_one(module, row).await.map_err(self.fail("create one of", module))
                }
                Err(error) => Err(error),
            });
        }
        results
    }

    async fn update(&self, module: &ModuleName, rows: &[UpdateRow]) -> Vec<RowResult> {
        let mut results = Vec::with_capacity(rows.len());
        for row in rows {
            results.push(match self.named("update", module) {
                Ok(module) => {
                    self.update_one(module, row).await.map_err(self.fail("update one of", module))
                }
                Err(error) => Err(error),
            });
        }
        results
    }

    async fn delete(&self, module: &ModuleName, ids: &[RecordId]) -> Vec<RowResult> {
        let mut results = Vec::with_capacity(ids.len());
        for id in ids {
            results.push(match self.named("delete", module) {
                Ok(module) => {
                    self.delete_one(module, id).await.map_err(self.fail("delete one of", module))
                }
                Err(error) => Err(error),
            });
        }
        results
    }

    /// People can restore for 30 days, the API cannot.
    async fn restore(&self, module: &ModuleName, _id: &RecordId) -> RowResult {
        let kind =
            ErrorKind::Refused("Pipedrive restores deleted records in its web pages only".into());
        Err(self.client.error(format!("restore one of {module}"), kind))
    }

    /// Source: links of the web pages, as copied from the browser. Activities and notes have no page.
    fn record_url(&self, module: &ModuleName, id: &RecordId) -> Option<String> {
        let page = Module::named(module.as_str()).ok()?.page?;
        let host = match &self.settings.company {
            Some(company) => format!("https://{company}.pipedrive.com"),
            None => self.settings.api_url.as_str().trim_end_matches('/').to_owned(),
        };
        Some(format!("{host}/{page}/{id}"))
    }

    async fn install_external_id(
        &self,
        module: &ModuleName,
        label: &str,
    ) -> Result<RemoteField, ConnectorError> {
        let module = self.named("add a field to", module)?;
        self.install_field(module, label).await.map_err(self.fail("add a field to", module))
    }

    async fn history(
        &self,
        module: &ModuleName,
        id: &RecordId,
        fields: &[RemoteField],
    ) -> Result<Option<History>, ConnectorError> {
        let module = self.named("read the changelog of", module)?;
        self.read_changelog(module, id, fields)
            .await
            .map_err(self.fail("read the changelog of", module))
    }
}
