//! The door to the service: everything here needs a running route, an open store or a signed-in connection.
//!
//! Commands know this file and nothing behind it. Read the functions at the end first: one an operation.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use crmsync_core::mapping::{self, Diagnostic, SideMetadata};
use crmsync_core::model::row::Resolution;
use crmsync_core::model::schema::ModuleSchema;
use crmsync_core::model::{
    EntityName, Link, LinkId, ModuleName, Observation, OpenRow, Pair, Plan, RecordId, RecordKey,
    RouteName, Side,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::args;
use super::connecting;
use super::context::Context;
use super::exit::{Exit, Failure};
use super::progress::Progress;
use super::render::note;
use super::runs::AfterUndo;
use crate::config::{self, Config, Route, Secret};
use crate::connectors::zoho as zoho_api;
use crate::connectors::{Connector, Cost};
use crate::store::{Effect, Quarantine, RouteMeta, RowFilter, RunRecord, StoreError, StoredRow};

/// What kind of run it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Sync,
    /// Reads every listing whole.
    Full,
    /// Forgets the baselines and agrees anew: semantics §14.2.
    Resync,
}

/// Asks a person whether a plan may run.
pub type Ask = Arc<dyn Fn(&Plan) -> bool + Send + Sync>;

/// What a command asks of a run.
#[derive(Clone, Default)]
pub struct RunOptions {
    /// Empty: all entities of the route.
    pub entities: Vec<EntityName>,
    /// Hash of a plan that a person approved.
    pub approve: Option<String>,
    /// Asked when guards trip and no hash was given.
    pub ask: Option<Ask>,
    pub mode: Mode,
    /// Only this record, by its ID on either side.
    pub record: Option<String>,
    /// Only these ops, from a saved plan.
    pub only: Option<Plan>,
    pub cancel: CancellationToken,
}

/// A dry run: what would happen, and what it would cost.
#[derive(Clone, Debug, Serialize)]
pub struct PlanOutcome {
    pub plan: Plan,
    /// Cost of applying it, by side.
    pub forecast: Pair<Cost>,
    /// What planning itself cost.
    pub spent: Pair<Cost>,
}

/// What a run did.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    pub run: RunRecord,
    pub plan: Plan,
    /// Rows that still wait, after the run.
    pub open_rows: u64,
    /// Conflicts and questions of this run, decided ones too.
    pub rows: Vec<OpenRow>,
    pub cost: Pair<Cost>,
    #[serde(skip)]
    pub exit: Exit,
}

/// What the store tells a person, and what a person tells the store.
#[async_trait]
pub(super) trait History: Send + Sync {
    async fn rows(
        &self,
        route: &RouteName,
        filter: &RowFilter,
    ) -> Result<Vec<StoredRow>, StoreError>;
    /// Stores decisions; the next run carries them out while their fingerprints still match.
    async fn decide(&self, route: &RouteName, decisions: &[Resolution]) -> Result<(), StoreError>;
    async fn quarantines(&self, route: &RouteName) -> Result<Vec<Quarantine>, StoreError>;
    /// Lets a quarantined record or field try again in the next run.
    async fn release(&self, route: &RouteName, quarantine: &Quarantine) -> Result<(), StoreError>;
    /// Newest first.
    async fn runs(&self, route: &RouteName, limit: u64) -> Result<Vec<RunRecord>, StoreError>;
    async fn run(&self, id: &str) -> Result<Option<RunRecord>, StoreError>;
    /// In the order they were made.
    async fn effects(&self, route: &RouteName, run: &str) -> Result<Vec<Effect>, StoreError>;
    async fn effects_of(&self, route: &RouteName, link: &LinkId)
    -> Result<Vec<Effect>, StoreError>;
    /// The live link that holds record `id` on either side.
    async fn link(
        &self,
        route: &RouteName,
        entity: &EntityName,
        id: &RecordId,
    ) -> Result<Option<Link>, StoreError>;
    async fn observation(
        &self,
        route: &RouteName,
        key: &RecordKey,
    ) -> Result<Option<Observation>, StoreError>;
    async fn meta(&self, route: &RouteName) -> Result<RouteMeta, StoreError>;
}

/// What a grant code was exchanged for.
pub(super) struct Grant {
    pub(super) refresh_token: SecretString,
    /// Empty where the answer does not list them.
    pub(super) scopes: Vec<String>,
}

/// Plans one route without a writer.
pub(super) async fn plan(
    _context: &Context,
    _config: &Config,
    _route: &RouteName,
    _options: &RunOptions,
    _progress: &dyn Progress,
) -> Result<PlanOutcome, Failure> {
    Err(not_wired("planning"))
}

/// Plans and applies one route, or applies `options.only`.
pub(super) async fn sync(
    _context: &Context,
    _config: &Config,
    _route: &RouteName,
    _options: &RunOptions,
    _progress: &dyn Progress,
) -> Result<RunReport, Failure> {
    Err(not_wired("syncing"))
}

/// Writes back what a run changed.
pub(super) async fn undo(
    _context: &Context,
    _config: &Config,
    _route: &RouteName,
    _run: &str,
    _progress: &dyn Progress,
) -> Result<RunReport, Failure> {
    Err(not_wired("undoing"))
}

/// Ends the pause that an undo began.
pub(super) async fn after_undo(
    _context: &Context,
    _config: &Config,
    _route: &RouteName,
    _run: &str,
    _choice: AfterUndo,
) -> Result<(), Failure> {
    Err(not_wired("ending an undo"))
}

/// Opens the store for reading and for decisions.
pub(super) async fn history(
    _context: &Context,
    _config: &Config,
) -> Result<Box<dyn History>, Failure> {
    Err(not_wired("the store"))
}

/// Keeps a sign-in, sealed with the store's key.
pub(super) async fn keep_grant(
    _context: &Context,
    _config: &Config,
    _connection: &str,
    _grant: &Grant,
) -> Result<(), Failure> {
    Err(not_wired("the store"))
}

/// The refresh token that `connect` stored.
async fn kept_grant(
    _context: &Context,
    _config: &Config,
    _connection: &str,
) -> Result<Option<SecretString>, Failure> {
    Ok(None)
}

/// Syncs two simulated companies.
pub(super) async fn demo(
    _context: &Context,
    _once: bool,
    _progress: &dyn Progress,
) -> Result<Exit, Failure> {
    Err(not_wired("the demo"))
}

fn not_wired(what: &str) -> Failure {
    Failure::config(format!("{what} is not part of this build"))
}

/// Refuses a store key that is not 32 bytes in base64.
pub(super) fn store_key(key: &Secret) -> Result<[u8; 32], Failure> {
    let text = key.reveal()?.expose_secret();
    let bytes = base64::engine::general_purpose::STANDARD.decode(text.trim()).ok();
    bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).ok_or_else(|| {
        Failure::config("the store key is not 32 bytes in base64")
            .help("crmsync init writes one into .env")
    })
}

/// Signs in to a connection. Nothing is sent before its first use.
pub(super) async fn connector(
    context: &Context,
    config: &Config,
    name: &str,
) -> Result<Arc<dyn Connector>, Failure> {
    let kept = kept_grant(context, config, name).await?;
    connecting::open(config, name, kept, &context.ambient.clock, context.entropy.seed())
}

/// Exchanges a Zoho grant code.
pub(super) async fn exchange(
    context: &Context,
    name: &str,
    zoho: &config::Zoho,
    code: &SecretString,
) -> Result<Grant, Failure> {
    let client = connecting::zoho_client(name, zoho)?;
    let http = connecting::zoho_http(name, zoho, context.entropy.seed())?;
    let redirect =
        zoho.redirect_uri.as_deref().map(|url| connecting::url(name, url)).transpose()?;
    let clock = context.ambient.clock.clone();
    let grant =
        zoho_api::exchange_grant_code(http, clock, &client, code, redirect.as_ref()).await?;
    Ok(Grant { refresh_token: grant.refresh_token, scopes: grant.scopes })
}

/// Scopes that Zoho needs for `modules`.
pub(super) fn zoho_scopes(modules: &[ModuleName]) -> Vec<String> {
    zoho_api::scopes_for(modules)
}

/// Live metadata of one module.
pub(super) async fn schema(
    connector: &dyn Connector,
    connection: &str,
    module: &str,
) -> Result<ModuleSchema, Failure> {
    let known = connector.modules().await?;
    let module = ModuleName::new(module);
    if known.iter().any(|(name, _)| *name == module) {
        return Ok(connector.describe(&module).await?);
    }
    let names: Vec<_> = known.iter().map(|(name, _)| name.as_str()).collect();
    let failure = Failure::config(format!("{connection} has no module `{module}`"));
    let nearest = mapping::diagnostic::did_you_mean(module.as_str(), names.iter().copied());
    Err(failure.help(nearest.unwrap_or_else(|| format!("modules: {}", names.join(", ")))))
}

/// Checks a route's mapping files against both sides' live metadata: warnings and errors, in the files' order.
pub(super) async fn compile(
    context: &Context,
    config: &Config,
    route: &Route,
) -> Result<Vec<Diagnostic>, Failure> {
    let files = super::mapping::read(&route.mappings)?;
    let mut metadata = Vec::new();
    for side in Side::BOTH {
        let connector = connector(context, config, &route.sides[side]).await?;
        let known = connector.modules().await?;
        let mut schemas = BTreeMap::new();
        for (_, _, file) in &files {
            let module = ModuleName::new(file.module(side));
            if known.iter().any(|(name, _)| *name == module) && !schemas.contains_key(&module) {
                schemas.insert(module.clone(), connector.describe(&module).await?);
            }
        }
        metadata.push((schemas, connector.users().await?));
    }
    let entities = files.iter().map(|(_, _, file)| file.name()).collect();
    let mut found = Vec::new();
    for (path, text, file) in &files {
        // The compiler names a module that is not there, by an empty description of it.
        let missing = Pair::new(Side::Left, Side::Right).map(|side| ModuleSchema {
            module: ModuleName::new(file.module(side)),
            label: file.module(side).to_owned(),
            fields: Vec::new(),
        });
        let side = |at: usize, missing| SideMetadata {
            schema: metadata[at]
                .0
                .get(&ModuleName::new(file.module(Side::BOTH[at])))
                .unwrap_or(missing),
            users: &metadata[at].1,
        };
        let sides = Pair::new(side(0, &missing.left), side(1, &missing.right));
        found.extend(match mapping::compile(path, text, file, sides, &entities) {
            Ok((_, warnings)) => warnings,
            Err(errors) => errors,
        });
    }
    Ok(found)
}

/// Serves both simulators until Ctrl-C.
pub(super) async fn sandbox(context: &Context, args: &args::Sandbox) -> Result<Exit, Failure> {
    let clock = crmsync_simulator::clock::Clock::running(chrono::TimeDelta::zero());
    let ports = crate::sandbox::Ports { zoho: args.zoho_port, pipedrive: args.pipedrive_port };
    let sandbox = crate::sandbox::Sandbox::start(&clock, context.entropy.seed(), ports)
        .await
        .map_err(|error| Failure::config(format!("cannot start the simulators: {error}")))?;
    if !args.empty {
        crate::sandbox::companies::seed_demo(&sandbox.zoho, &sandbox.pipedrive);
    }
    let folder = Path::new("mappings/zoho-pipedrive");
    context.output.raw(&sandbox.config("sqlite://sandbox.db", folder))?;
    note(
        "both simulators are serving; the text above is a crmsync.toml for them. Ctrl-C ends them.",
    );
    context.cancel.cancelled().await;
    Ok(Exit::Clean)
}
