//! The door to the service: everything here needs a running route, an open store or a signed-in connection.
//!
//! Commands know this file and nothing behind it. Read the functions at the end first: one an operation.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use crmsync_core::mapping::{self, Diagnostic, SideMetadata};
use crmsync_core::model::schema::ModuleSchema;
use crmsync_core::model::{EntityName, ModuleName, Pair, RecordId, RouteName, Side};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::args;
use super::context::Context;
use super::exit::{Exit, Failure};
use super::progress::Progress;
use super::render::note;
use super::runs::AfterUndo;
use crate::config::{self, Config, Route, Secret};
use crate::connectors::http::HttpSettings;
use crate::connectors::{Connector, ListRequest, Order};
use crate::connectors::{pipedrive as pipedrive_api, zoho as zoho_api};
use crate::service::audit::AuditReport;
use crate::service::links::Bound;
use crate::service::{Session, Silent, connect};
use crate::store::Store;

pub use crate::service::run::Ask;
pub use crate::service::session::PlanOutcome;
pub use crate::service::{Mode, RunOptions, RunReport};

/// What a grant code was exchanged for.
pub(super) struct Grant {
    pub(super) refresh_token: SecretString,
    /// Empty where the answer does not list them.
    pub(super) scopes: Vec<String>,
}

/// Plans one route without a writer.
pub(super) async fn plan(
    context: &Context,
    config: &Config,
    route: &RouteName,
    options: &RunOptions,
    progress: &dyn Progress,
) -> Result<PlanOutcome, Failure> {
    let session = Box::pin(Session::open(config, route, &context.ambient)).await?;
    let outcome = Box::pin(session.plan(options, progress)).await;
    session.close().await?;
    Ok(outcome?)
}

/// Plans and applies one route, or applies `options.only`.
pub(super) async fn sync(
    context: &Context,
    config: &Config,
    route: &RouteName,
    options: &RunOptions,
    progress: &dyn Progress,
) -> Result<RunReport, Failure> {
    let session = Box::pin(Session::open(config, route, &context.ambient)).await?;
    let report = Box::pin(session.sync(options, progress)).await;
    session.close().await?;
    Ok(report?)
}

/// Compares both sides of one route.
pub(super) async fn audit(
    context: &Context,
    config: &Config,
    route: &RouteName,
    options: &RunOptions,
    progress: &dyn Progress,
) -> Result<AuditReport, Failure> {
    let session = Box::pin(Session::open(config, route, &context.ambient)).await?;
    let report = Box::pin(session.audit(options, progress)).await;
    session.close().await?;
    Ok(report?)
}

/// Binds two records by a person's word.
pub(super) async fn link(
    context: &Context,
    config: &Config,
    route: &RouteName,
    entity: &EntityName,
    ends: &Pair<RecordId>,
    bound: Bound,
) -> Result<RunReport, Failure> {
    let session = Box::pin(Session::open(config, route, &context.ambient)).await?;
    let report = Box::pin(session.link(entity, ends, bound)).await;
    session.close().await?;
    Ok(report?)
}

/// Parts a record from its counterpart.
pub(super) async fn unlink(
    context: &Context,
    config: &Config,
    route: &RouteName,
    entity: &EntityName,
    id: &RecordId,
) -> Result<RunReport, Failure> {
    let session = Box::pin(Session::open(config, route, &context.ambient)).await?;
    let report = Box::pin(session.unlink(entity, id)).await;
    session.close().await?;
    Ok(report?)
}

/// Writes back what a run changed.
pub(super) async fn undo(
    context: &Context,
    config: &Config,
    route: &RouteName,
    run: &str,
    options: &RunOptions,
    progress: &dyn Progress,
) -> Result<RunReport, Failure> {
    let session = Box::pin(Session::open(config, route, &context.ambient)).await?;
    let report = Box::pin(session.undo(run, options, progress)).await;
    session.close().await?;
    Ok(report?)
}

/// Ends the pause that an undo began.
pub(super) async fn after_undo(
    context: &Context,
    config: &Config,
    route: &RouteName,
    run: &str,
    choice: AfterUndo,
) -> Result<RunReport, Failure> {
    let session = Box::pin(Session::open(config, route, &context.ambient)).await?;
    let report = match choice {
        AfterUndo::Redo => Box::pin(session.redo(run, &Silent)).await,
        AfterUndo::Accept => Box::pin(session.accept(run, &Silent)).await,
    };
    session.close().await?;
    Ok(report?)
}

/// Opens the store, with the key that seals sign-ins where it is set.
pub(super) async fn store(config: &Config) -> Result<Store, Failure> {
    Ok(connect::open_store(config).await?)
}

/// Opens a store that can seal a sign-in.
///
/// # Errors
/// Without a key: to be asked before a grant code is spent, since codes are good once.
pub(super) async fn sealing_store(config: &Config) -> Result<Store, Failure> {
    let key = config.store.key.as_ref().ok_or_else(|| {
        Failure::config("the store has no key to seal the sign-in with").help(
            "crmsync init writes one into .env; then key = { env = \"CRMSYNC_KEY\" } under [store]",
        )
    })?;
    let key = store_key(key)?;
    Ok(store(config).await?.with_key(key))
}

/// Keeps a sign-in, sealed with the store's key.
pub(super) async fn keep_grant(
    store: &Store,
    connection: &str,
    grant: &Grant,
) -> Result<(), Failure> {
    Ok(store.save_secret(&connect::refresh_token_name(connection), &grant.refresh_token).await?)
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

/// Makes a connection's connector. Nothing is sent before its first use.
pub(super) async fn connector(
    context: &Context,
    config: &Config,
    name: &str,
) -> Result<Arc<dyn Connector>, Failure> {
    if !config.connections.contains_key(name) {
        let known: Vec<_> = config.connections.keys().map(String::as_str).collect();
        let nearest = mapping::diagnostic::did_you_mean(name, known.iter().copied());
        return Err(Failure::config(format!("no connection is called `{name}`"))
            .help(nearest.unwrap_or_else(|| format!("connections: {}", known.join(", ")))));
    }
    let store = store(config).await?;
    Ok(connect::connector(config, name, &store, &context.ambient).await?)
}

/// Keeps what a connector read about modules and fields, so that the next command need not ask again.
pub(super) async fn remember(
    context: &Context,
    config: &Config,
    name: &str,
    connector: &dyn Connector,
) -> Result<(), Failure> {
    let store = store(config).await?;
    connect::keep_metadata(&store, name, connector, &context.ambient).await?;
    Ok(store.close().await?)
}

/// Exchanges a Zoho grant code.
pub(super) async fn exchange(
    context: &Context,
    name: &str,
    zoho: &config::Zoho,
    code: &SecretString,
    redirect: Option<&zoho_api::Redirect>,
) -> Result<Grant, Failure> {
    let client = zoho_client(name, zoho)?;
    let nothing = SecretString::from(String::new());
    let seed = context.entropy.seed();
    let http = HttpSettings {
        connect_timeout: zoho.shared.connect_timeout,
        read_timeout: zoho.shared.timeout,
        proxy: zoho.shared.proxy.as_deref().map(address).transpose()?,
        ..zoho_api::Settings::new(name, client.clone(), nothing, seed).http
    };
    let clock = context.ambient.clock.clone();
    let grant = zoho_api::exchange_grant_code(http, clock, &client, code, redirect).await?;
    Ok(Grant { refresh_token: grant.refresh_token, scopes: grant.scopes })
}

/// The OAuth client of a Zoho connection.
pub(super) fn zoho_client(
    name: &str,
    zoho: &config::Zoho,
) -> Result<zoho_api::OauthClient, Failure> {
    Ok(connect::oauth_client(name, zoho)?)
}

/// Where a person installs the app of a Pipedrive connection.
pub(super) fn pipedrive_consent_page(
    name: &str,
    pipedrive: &config::Pipedrive,
    redirect: &Url,
    state: &str,
) -> Result<Url, Failure> {
    let app = connect::pipedrive_app(name, pipedrive)?;
    app.consent_page(redirect, state).map_err(|kind| Failure::config(kind.to_string()))
}

/// Exchanges the code that a Pipedrive app's user brought back.
pub(super) async fn exchange_pipedrive(
    context: &Context,
    name: &str,
    pipedrive: &config::Pipedrive,
    code: &SecretString,
    redirect: &Url,
) -> Result<Grant, Failure> {
    let app = connect::pipedrive_app(name, pipedrive)?;
    let http = HttpSettings {
        connect_timeout: pipedrive.shared.connect_timeout,
        read_timeout: pipedrive.shared.timeout,
        proxy: pipedrive.shared.proxy.as_deref().map(address).transpose()?,
        ..HttpSettings::new(name, pipedrive_api::Settings::sign_in_pace(), context.entropy.seed())
    };
    let clock = context.ambient.clock.clone();
    let grant = pipedrive_api::exchange_code(http, clock, &app, code, redirect).await?;
    Ok(Grant { refresh_token: grant.refresh_token, scopes: grant.scopes })
}

pub(super) fn address(text: &str) -> Result<Url, Failure> {
    Url::parse(text).map_err(|error| Failure::config(format!("`{text}` is no URL: {error}")))
}

/// Scopes that a Zoho connection needs for `modules`, and for webhooks where a route wants them.
pub(super) fn zoho_scopes(config: &Config, name: &str, modules: &[ModuleName]) -> Vec<String> {
    let mut scopes = zoho_api::scopes_for(modules);
    let listens = |route: &&Route| Side::BOTH.iter().any(|side| route.sides[*side] == name);
    if config.routes.values().filter(listens).any(|route| route.webhooks) {
        scopes.push(zoho_api::NOTIFICATIONS.to_owned());
    }
    scopes
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

/// Reads the first page of a module, to see whether it may be read.
pub(super) async fn read_first_page(
    connector: &dyn Connector,
    module: &ModuleName,
) -> Result<(), Failure> {
    let schema = connector.describe(module).await?;
    let readable = schema.fields.into_iter().filter(|field| field.readable);
    let fields: Vec<_> = readable.map(|field| field.name).take(1).collect();
    let request =
        ListRequest { module, fields: &fields, since: None, order: Order::Id, page: None };
    connector.list(&request).await?;
    Ok(())
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
        remember(context, config, &route.sides[side], connector.as_ref()).await?;
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
    let mut sandbox =
        crate::sandbox::Sandbox::start(&clock, context.entropy.seed(), ports)
            .await
            .map_err(|error| Failure::config(format!("cannot start the simulators: {error}")))?;
    if !args.empty {
        crate::sandbox::companies::seed_demo(&sandbox.zoho, &sandbox.pipedrive);
    }
    sandbox.deliver();
    let folder = Path::new("mappings/zoho-pipedrive");
    context.output.raw(&sandbox.config("sqlite://sandbox.db", folder))?;
    note(&format!(
        "zoho at {}, pipedrive at {}: serving until Ctrl-C\n\
         stdout holds a crmsync.toml for them: crmsync sandbox > crmsync.toml, and in another terminal crmsync plan\n\
         records live as long as the simulators: remove sandbox.db when you start them again",
        sandbox.zoho_url(),
        sandbox.pipedrive_url(),
    ));
    context.cancel.cancelled().await;
    Ok(Exit::Clean)
}
