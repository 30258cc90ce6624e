//! Zoho CRM, API v8.
//!
//! `wire` has the JSON, `codec` and `encode` the values (pure), `refusal` what error codes mean; `auth`, `hosts` and `client`
//! carry calls, `schema`, `read`, `write` and `hooks` make them, `slices` and `whole` help to read.
//! Limits, quirks and links: `docs.md`.

mod auth;
mod client;
mod codec;
mod encode;
mod hooks;
mod hosts;
mod pages;
mod read;
mod refusal;
mod schema;
mod slices;
mod streams;
mod whole;
mod wire;
mod write;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use crmsync_core::model::schema::{ModuleSchema, User};
use crmsync_core::model::{ModuleName, RecordId, RemoteField, Value};
use secrecy::SecretString;
use url::Url;

pub use auth::{OauthClient, Redirect, exchange_grant_code, scopes_for};
pub use encode::OptionForm;
pub use hooks::NOTIFICATIONS;
pub use hosts::{Hosts, Pinning, REGIONS, region_hosts};

use super::hooks::Hooks;
use super::http::{Http, HttpSettings};
use super::memory::Memory;
use super::oauth::TokenStore;
use super::pacing::{Budget, BudgetGate, Pace, Window};
use super::streams::Streams;
use super::{
    Account, Capabilities, Connector, ConnectorError, Cost, DeletedPage, ErrorKind, History,
    ListRequest, Operation, Page, PageKey, Probe, RowResult, UpdateRow,
};
use crate::clock::Clock;

/// Rows of one write, one delete, one read by ids.
///
/// Source: Zoho CRM API v8, "Insert Records", "Update Records", "Delete Records".
const BATCH: usize = 100;

/// Rows of one list page, and rows that one scan by page token can walk.
///
/// Source: Zoho CRM API v8, "Get Records".
const PAGE_ROWS: usize = 200;
const SCAN_ROWS: usize = 100_000;

/// Credits of a page of the deleted feed: 1 or 2, the documents differ.
const DELETED_CREDITS: u64 = 2;

/// Credits of a write of so many rows: one for each ten begun.
///
/// Source: Zoho CRM API v8, "API limits".
const fn row_credits(rows: usize) -> u64 {
    rows.div_ceil(10) as u64
}

/// One connection to one organization.
#[derive(Clone)]
pub struct Settings {
    pub oauth: OauthClient,
    pub refresh_token: SecretString,
    /// Where the access token is kept for the next process; else each process makes its own.
    pub token_store: Option<Arc<dyn TokenStore>>,
    /// Base URL of the API; else the token's `api_domain`.
    pub api_url: Option<Url>,
    pub api_version: String,
    pub http: HttpSettings,
    /// The organization's credits in 24 hours, and the percentage of them that is ours.
    pub credits: Option<u64>,
    /// Credits that earlier processes spent in the last 24 hours, by time, oldest first.
    pub spent_before: Vec<(DateTime<Utc>, u64)>,
    pub share_percent: u64,
    /// How long metadata is kept; `None`: until [`Connector::forget_metadata`].
    pub metadata_cache: Option<Duration>,
    /// Automations that our writes start: `None` all of them, empty none.
    pub trigger: Option<Vec<String>>,
    pub option_form: OptionForm,
    /// Rows of a page, at most 200.
    pub page_rows: usize,
    /// Link to a record, with `{module}`, `{tab}` and `{id}`; else the data center's own pages.
    pub record_url: Option<String>,
    /// Metadata that earlier processes read.
    pub memory: Arc<Memory>,
}

impl Settings {
    /// Defaults that every paid edition allows; [`pace_for_edition`] knows more.
    pub fn new(
        connection: impl Into<String>,
        oauth: OauthClient,
        refresh_token: SecretString,
        seed: u64,
    ) -> Self {
        Self {
            oauth,
            refresh_token,
            token_store: None,
            api_url: None,
            api_version: "v8".into(),
            http: HttpSettings::new(connection, pace_for_edition("standard"), seed),
            credits: None,
            spent_before: Vec::new(),
            share_percent: 100,
            metadata_cache: Some(Duration::from_hours(1)),
            trigger: None,
            option_form: OptionForm::default(),
            page_rows: PAGE_ROWS,
            record_url: None,
            memory: Arc::new(Memory::new(Some(Duration::from_hours(1)))),
        }
    }
}

/// What an edition allows at once, less a fifth for other programs of the organization. Zoho publishes no rate
/// besides; the burst keeps us from being the first to find one.
///
/// Source: Zoho CRM API v8, "API limits".
pub fn pace_for_edition(edition: &str) -> Pace {
    let allowed: usize = match edition.to_lowercase().as_str() {
        "free" => 5,
        "professional" => 15,
        "enterprise" | "zohoone" => 20,
        "ultimate" | "crmplus" => 25,
        _ => 10,
    };
    Pace {
        // Zoho publishes no request rate, only how many calls may run at once.
        burst: NonZeroU32::MIN.saturating_add(999),
        per: Duration::from_secs(1),
        concurrency: allowed - allowed / 5,
        // Ten calls at once with sorting or many rows, in all editions.
        heavy: (allowed - allowed / 5).min(8),
    }
}

/// Zoho CRM as a side.
pub struct Zoho {
    settings: Settings,
    client: client::Client,
    cache: schema::Cache,
}

impl Zoho {
    /// Makes a connection with a budget of its own. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`]: hosts that are not Zoho's, a bad proxy, no CA roots.
    pub fn connect(settings: Settings, clock: Clock) -> Result<Self, ConnectorError> {
        let budget =
            Budget::new(settings.credits, settings.share_percent, Window::Rolling, clock.clone())
                .after(settings.spent_before.iter().copied());
        Self::connect_with_budget(settings, clock, Arc::new(budget))
    }

    /// Like [`Zoho::connect`], within a budget that others share.
    ///
    /// # Errors
    /// As there.
    pub fn connect_with_budget(
        settings: Settings,
        clock: Clock,
        budget: Arc<dyn BudgetGate>,
    ) -> Result<Self, ConnectorError> {
        let http = Arc::new(Http::new(settings.http.clone(), clock, budget)?);
        let pinning = settings.oauth.pinning;
        for url in [Some(&settings.oauth.accounts_url), settings.api_url.as_ref()] {
            let checked = url.map_or(Ok(()), |url| hosts::check(url, pinning));
            checked.map_err(|kind| http.error("connect", kind))?;
        }
        let tokens = auth::Tokens::new(
            settings.oauth.clone(),
            settings.refresh_token.clone(),
            settings.api_url.clone(),
            settings.token_store.clone(),
        );
        let client = client::Client {
            http,
            tokens,
            version: settings.api_version.clone(),
            memory: Arc::clone(&settings.memory),
        };
        Ok(Self { settings, client, cache: schema::Cache::default() })
    }

    fn name<T>(&self, operation: &str, outcome: Result<T, ErrorKind>) -> Result<T, ConnectorError> {
        outcome.map_err(|kind| self.client.http.error(operation, kind))
    }

    fn name_rows(
        &self,
        operation: &str,
        outcomes: Vec<Result<super::Written, ErrorKind>>,
    ) -> Vec<RowResult> {
        outcomes.into_iter().map(|outcome| self.name(operation, outcome)).collect()
    }
}

#[async_trait]
impl Connector for Zoho {
    /// Notes have no custom fields, no deleted feed that is documented, and no restore.
    fn capabilities(&self, module: &ModuleName) -> Capabilities {
        let is_record = module.as_str() != "Notes";
        Capabilities {
            conditional_update: is_record,
            unique_external_id: is_record,
            create_batch: BATCH,
            update_batch: BATCH,
            delete_batch: BATCH,
            fetch_batch: BATCH,
            page: self.settings.page_rows,
            scan_limit: Some(SCAN_ROWS),
            delta: true,
            deletion_feed: is_record,
            writes_return_record: false,
            deletion_retention: Duration::from_hours(60 * 24),
            restore: is_record,
            concurrency: self.settings.http.pace.concurrency,
        }
    }

    /// For up to 49 fields; each further 49 double the price of reads.
    fn price(&self, operation: Operation, rows: usize) -> Cost {
        let calls = rows.div_ceil(BATCH) as u64;
        match operation {
            Operation::ListPage => Cost { calls: 1, units: 1 },
            Operation::DeletedPage => Cost { calls: 1, units: DELETED_CREDITS },
            Operation::Fetch | Operation::Delete => Cost { calls, units: calls },
            Operation::Create | Operation::Update => Cost { calls, units: row_credits(rows) },
        }
    }

    fn take_spent(&self) -> Cost {
        self.client.http.take_spent()
    }

    fn spent(&self) -> Cost {
        self.client.http.spent()
    }

    async fn account(&self) -> Result<Account, ConnectorError> {
        self.name("read the account", self.read_account().await)
    }

    async fn modules(&self) -> Result<Vec<(ModuleName, String)>, ConnectorError> {
        self.name("list modules", self.read_modules().await)
    }

    async fn describe(&self, module: &ModuleName) -> Result<ModuleSchema, ConnectorError> {
        let metadata = self.name(&format!("describe {module}"), self.metadata(module).await)?;
        Ok(metadata.schema.clone())
    }

    fn memory(&self) -> Option<&Memory> {
        Some(&self.settings.memory)
    }

    fn forget_metadata(&self) {
        self.settings.memory.forget();
        self.cache.forget();
    }

    fn streams(&self) -> Option<&dyn Streams> {
        Some(self)
    }

    fn hooks(&self) -> Option<&dyn Hooks> {
        Some(self)
    }

    async fn users(&self) -> Result<Vec<User>, ConnectorError> {
        self.name("list users", self.read_users().await)
    }

    async fn list(&self, request: &ListRequest<'_>) -> Result<Page, ConnectorError> {
        self.name(&format!("list {}", request.module), self.read_list(request).await)
    }

    /// Newest first; a feed longer than Zoho's pages lead to ends with [`ErrorKind::ScanLimit`].
    async fn deleted(
        &self,
        module: &ModuleName,
        since: DateTime<Utc>,
        page: Option<&PageKey>,
    ) -> Result<DeletedPage, ConnectorError> {
        if !self.capabilities(module).deletion_feed {
            return Ok(DeletedPage::default());
        }
        let outcome = self.read_deleted(module, since, page).await;
        self.name(&format!("list deleted {module}"), outcome)
    }

    /// Converted leads are left out: [`Connector::probe`] tells what they became.
    async fn fetch(
        &self,
        module: &ModuleName,
        ids: &[RecordId],
        fields: &[RemoteField],
    ) -> Result<Page, ConnectorError> {
        let outcome = self.read_by_ids(module, ids, fields).await;
        self.name(&format!("read {} {module}", ids.len()), outcome)
    }

    async fn probe(
        &self,
        module: &ModuleName,
        id: &RecordId,
        fields: &[RemoteField],
    ) -> Result<Probe, ConnectorError> {
        let outcome = self.find_out(module, id, fields).await;
        self.name(&format!("read 1 {module}"), outcome)
    }

    async fn create(
        &self,
        module: &ModuleName,
        rows: &[BTreeMap<RemoteField, Value>],
    ) -> Vec<RowResult> {
        let outcomes = self.insert(module, rows).await;
        self.name_rows(&format!("create {} {module}", rows.len()), outcomes)
    }

    async fn update(&self, module: &ModuleName, rows: &[UpdateRow]) -> Vec<RowResult> {
        let outcomes = self.change(module, rows).await;
        self.name_rows(&format!("update {} {module}", rows.len()), outcomes)
    }

    async fn delete(&self, module: &ModuleName, ids: &[RecordId]) -> Vec<RowResult> {
        let outcomes = self.remove(module, ids).await;
        self.name_rows(&format!("delete {} {module}", ids.len()), outcomes)
    }

    async fn restore(&self, module: &ModuleName, id: &RecordId) -> RowResult {
        self.name(&format!("restore 1 {module}"), self.bring_back(id).await)
    }

    fn record_url(&self, module: &ModuleName, id: &RecordId) -> Option<String> {
        self.link(module, id)
    }

    async fn install_external_id(
        &self,
        module: &ModuleName,
        label: &str,
    ) -> Result<RemoteField, ConnectorError> {
        let outcome = self.create_external_id(module, label).await;
        self.name(&format!("create field `{label}` in {module}"), outcome)
    }

    async fn history(
        &self,
        module: &ModuleName,
        id: &RecordId,
        fields: &[RemoteField],
    ) -> Result<Option<History>, ConnectorError> {
        let outcome = self.read_timeline(module, id, fields).await;
        self.name(&format!("read the timeline of 1 {module}"), outcome)
    }
}
