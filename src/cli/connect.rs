//! `connect`: sign in, keep the tokens sealed, make the external-ID fields, name the scopes.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use base64::Engine as _;
use crmsync_core::mapping;
use crmsync_core::model::{ModuleName, Side};
use secrecy::SecretString;
use serde::Serialize;
use url::Url;

use super::args::Connect;
use super::context::Context;
use super::exit::{Exit, Failure};
use super::mapping::toml_files;
use super::operations;
use super::redirect::{Listener, Returned, is_local};
use super::render::{joined, note};
use crate::config::{Config, Connection, Pipedrive, PipedriveSignIn, Zoho};
use crate::connectors::{Account, zoho as zoho_api};

#[derive(Default, Serialize)]
struct Connected {
    connection: String,
    user: String,
    organization: String,
    plan: String,
    warnings: Vec<String>,
    /// Scopes that the mapped modules need and the sign-in did not grant.
    missing_scopes: Vec<String>,
    /// External-ID fields that are in place now: module and API name.
    installed: Vec<(String, String)>,
    /// Where changes are noted from now on: module and table.
    noted: Vec<(String, String)>,
}

pub(super) async fn run(context: &Context, args: &Connect) -> Result<Exit, Failure> {
    let config = context.config()?;
    let name = args.connection.as_str();
    let connection = find(&config, name)?;
    let mapped = mapped(&config, name);
    let modules: Vec<_> = mapped.iter().map(|(module, _)| module.clone()).collect();
    if args.scopes {
        return print_scopes(context, &config, name, &modules);
    }
    let missing_scopes = match connection {
        Connection::Zoho(zoho) => {
            sign_in_zoho(context, &config, name, zoho, args, &modules).await?
        }
        Connection::Pipedrive(pipedrive) => {
            sign_in_pipedrive(context, &config, name, pipedrive, args, &modules).await?
        }
        Connection::Sql(_) => Vec::new(),
    };
    let connector = operations::connector(context, &config, name).await?;
    connector.forget_metadata();
    let account = connector.account().await?;
    let mut connected = Connected { missing_scopes, ..connected(name, account) };
    if args.install {
        for (module, label) in &mapped {
            if let Some(table) = connector.install_change_capture(module).await? {
                connected.noted.push((module.to_string(), table));
            }
            let Some(label) = label else { continue };
            let field = connector.install_external_id(module, label).await?;
            connected.installed.push((module.to_string(), field.to_string()));
        }
    }
    operations::remember(context, &config, name, connector.as_ref()).await?;
    context.output.result(&connected, || show(&connected, args.install))?;
    Ok(if connected.missing_scopes.is_empty() { Exit::Clean } else { Exit::Config })
}

fn connected(name: &str, account: Account) -> Connected {
    Connected {
        connection: name.to_owned(),
        user: account.user,
        organization: account.organization,
        plan: account.plan,
        warnings: account.warnings,
        ..Connected::default()
    }
}

fn show(connected: &Connected, install: bool) -> String {
    let mut text = format!(
        "{}: authorised as {} at {}\n",
        connected.connection, connected.user, connected.organization
    );
    text += &joined(connected.warnings.iter().map(|warning| format!("warning: {warning}\n")));
    let installed = connected.installed.iter();
    text += &joined(installed.map(|(module, field)| format!("external ID of {module}: {field}\n")));
    let noted = connected.noted.iter();
    text +=
        &joined(noted.map(|(module, table)| format!("changes of {module} are noted in {table}\n")));
    if install && connected.installed.is_empty() {
        text += "no mapping names an external ID for this connection\n";
    }
    if !connected.missing_scopes.is_empty() {
        text += "scopes not granted:\n";
        text += &joined(connected.missing_scopes.iter().map(|scope| format!("  {scope}\n")));
        text += "make a new code with all scopes of crmsync connect --scopes\n";
    }
    text
}

fn find<'c>(config: &'c Config, name: &str) -> Result<&'c Connection, Failure> {
    config.connections.get(name).ok_or_else(|| {
        let known: Vec<_> = config.connections.keys().map(String::as_str).collect();
        Failure::config(format!("no connection is called `{name}`"))
            .help(format!("connections: {}", known.join(", ")))
    })
}

/// Modules that mapping files use on a connection, with the external-ID field each names.
fn mapped(config: &Config, connection: &str) -> BTreeSet<(ModuleName, Option<String>)> {
    let mut mapped = BTreeSet::new();
    for route in config.routes.values() {
        for side in Side::BOTH.into_iter().filter(|side| route.sides[*side] == connection) {
            for path in toml_files(&route.mappings).unwrap_or_default() {
                let text = fs::read_to_string(&path).unwrap_or_default();
                // A file with a mistake is named by `mapping check`.
                if let Ok(file) = mapping::parse(&path.display().to_string(), &text) {
                    let label = file.external_id(side).map(|label| label.get_ref().clone());
                    mapped.insert((ModuleName::new(file.module(side)), label));
                }
            }
        }
    }
    mapped
}

fn print_scopes(
    context: &Context,
    config: &Config,
    name: &str,
    modules: &[ModuleName],
) -> Result<Exit, Failure> {
    let connection = find(config, name)?;
    let scopes = match connection {
        Connection::Zoho(_) => operations::zoho_scopes(config, name, modules),
        Connection::Pipedrive(_) => pipedrive_scopes(modules),
        Connection::Sql(_) => Vec::new(),
    };
    context.output.result(&scopes, || match connection {
        Connection::Zoho(_) => format!("{}\n", scopes.join(",")),
        Connection::Pipedrive(pipedrive) => match pipedrive.sign_in {
            PipedriveSignIn::OAuth { .. } => format!("{}\n", scopes.join(" ")),
            PipedriveSignIn::ApiToken(_) => format!(
                "an API token has all rights of its user; an OAuth app would need: {}\n",
                scopes.join(" ")
            ),
        },
        Connection::Sql(_) => "a database has no scopes\n".to_owned(),
    })?;
    Ok(Exit::Clean)
}

/// Scopes of a Pipedrive OAuth app for `modules`; they are chosen in the Developer Hub, not asked for.
///
/// Source: Pipedrive OAuth, "Scopes and permissions explanations".
fn pipedrive_scopes(modules: &[ModuleName]) -> Vec<String> {
    // Fields are made by `connect --install`, which only `admin` may.
    let mut scopes = BTreeSet::from(["base", "users:read", "search:read", "admin"]);
    for module in modules {
        scopes.extend(match module.as_str() {
            "deals" => Some("deals:full"),
            "persons" | "organizations" | "notes" | "files" => Some("contacts:full"),
            "activities" => Some("activities:full"),
            "products" => Some("products:full"),
            "leads" => Some("leads:full"),
            "projects" | "tasks" => Some("projects:full"),
            _ => None,
        });
    }
    scopes.into_iter().map(str::to_owned).collect()
}

/// Installs the OAuth app and keeps its refresh token; an API token signs in by itself.
async fn sign_in_pipedrive(
    context: &Context,
    config: &Config,
    name: &str,
    pipedrive: &Pipedrive,
    args: &Connect,
    modules: &[ModuleName],
) -> Result<Vec<String>, Failure> {
    let (refresh_token, redirect_uri) = match &pipedrive.sign_in {
        PipedriveSignIn::ApiToken(_) if args.code.is_some() => {
            let message = "this connection signs in with an API token; it needs no code";
            return Err(Failure::config(message));
        }
        PipedriveSignIn::ApiToken(_) => return Ok(Vec::new()),
        PipedriveSignIn::OAuth { refresh_token, redirect_uri, .. } => (refresh_token, redirect_uri),
    };
    if args.code.is_none() && refresh_token.is_some() {
        // A refresh token in the configuration is a sign-in already.
        return Ok(Vec::new());
    }
    let redirect = redirect_uri.as_deref().ok_or_else(|| {
        Failure::config(format!("[connections.{name}] lacks `redirect_uri`"))
            .help("write the app's Callback URL, such as http://127.0.0.1:8765/callback")
    })?;
    let redirect = operations::address(redirect)?;
    let store = operations::sealing_store(config).await?;
    let code = if let Some(code) = &args.code {
        SecretString::from(code.trim())
    } else {
        let state = token(context);
        let page = operations::pipedrive_consent_page(name, pipedrive, &redirect, &state)?;
        come_back(context, &page, &redirect, &state).await?.code
    };
    let grant = operations::exchange_pipedrive(context, name, pipedrive, &code, &redirect).await?;
    operations::keep_grant(&store, name, &grant).await?;
    let needed = pipedrive_scopes(modules);
    let granted = |scope: &String| grant.scopes.is_empty() || grant.scopes.contains(scope);
    Ok(needed.into_iter().filter(|scope| !granted(scope)).collect())
}

/// Something nobody can guess, fit for addresses.
fn token(context: &Context) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(context.entropy.bytes())
}

/// Sends a person to the consent page, and waits where the page sends them back to.
async fn come_back(
    context: &Context,
    page: &Url,
    redirect: &Url,
    state: &str,
) -> Result<Returned, Failure> {
    if !is_local(redirect) {
        note(&format!("Open {page} and consent; the address you end at holds `code=`."));
        let code = ask("Paste that code here (it is good for minutes, and once):")?;
        return Ok(Returned { code, accounts_server: None });
    }
    let listener = Listener::start(redirect, state).await?;
    note(&format!("Open this page in a browser on this machine, and consent:\n  {page}"));
    listener.wait(&context.cancel).await
}

/// Exchanges a grant code and keeps the refresh token; answers the scopes that are missing.
async fn sign_in_zoho(
    context: &Context,
    config: &Config,
    name: &str,
    zoho: &Zoho,
    args: &Connect,
    modules: &[ModuleName],
) -> Result<Vec<String>, Failure> {
    let needed = operations::zoho_scopes(config, name, modules);
    if args.code.is_none() && zoho.refresh_token.is_some() {
        // A refresh token in the configuration is a sign-in already.
        return Ok(Vec::new());
    }
    let store = operations::sealing_store(config).await?;
    let mut redirect = zoho
        .redirect_uri
        .as_deref()
        .map(operations::address)
        .transpose()?
        .map(|url| zoho_api::Redirect { url, verifier: None });
    let code = match (&args.code, &mut redirect) {
        (Some(code), _) => SecretString::from(code.trim()),
        (None, None) => ask_for_code(&needed)?,
        (None, Some(redirect)) => {
            let state = token(context);
            redirect.verifier = Some(SecretString::from(token(context)));
            let client = operations::zoho_client(name, zoho)?;
            let page = client
                .consent_page(&needed, redirect, &state)
                .map_err(|kind| Failure::config(kind.to_string()))?;
            let returned = come_back(context, &page, &redirect.url, &state).await?;
            refuse_other_region(&client.accounts_url, returned.accounts_server.as_deref())?;
            returned.code
        }
    };
    let grant = operations::exchange(context, name, zoho, &code, redirect.as_ref()).await?;
    operations::keep_grant(&store, name, &grant).await?;
    Ok(needed.into_iter().filter(|scope| !covers(&grant.scopes, scope)).collect())
}

/// A code is good at the accounts server of the person's own data center only.
fn refuse_other_region(ours: &Url, theirs: Option<&str>) -> Result<(), Failure> {
    let theirs = theirs.and_then(|text| Url::parse(text).ok());
    match theirs.as_ref().and_then(Url::host_str) {
        Some(host) if Some(host) != ours.host_str() => {
            let message = format!("this organization signs in at {host}, not at {ours}");
            Err(Failure::config(message).help("set `region` to the end of that address"))
        }
        Some(_) | None => Ok(()),
    }
}

fn ask_for_code(scopes: &[String]) -> Result<SecretString, Failure> {
    note(
        "Open https://api-console.zoho.com (your region's), Self Client, Generate Code, with these scopes:",
    );
    note(&format!("  {}", scopes.join(",")));
    ask("Paste the code here (it is good for minutes, and once):")
}

fn ask(question: &str) -> Result<SecretString, Failure> {
    note(question);
    let mut code = String::new();
    io::stdin()
        .read_line(&mut code)
        .map_err(|error| Failure::config(format!("cannot read the code: {error}")))?;
    let code = code.trim();
    if code.is_empty() {
        return Err(Failure::config("no code was given").help("or pass it with --code"));
    }
    Ok(SecretString::from(code))
}

/// Whether `granted` include `needed`, itself or as a wider one: `modules.ALL` covers `modules.contacts.READ`.
fn covers(granted: &[String], needed: &str) -> bool {
    // Some grants do not list their scopes; then the first refused call tells.
    if granted.is_empty() {
        return true;
    }
    let fold = |scope: &str| scope.to_lowercase();
    let needed = fold(needed);
    let parts: Vec<_> = needed.split('.').collect();
    let wider = (1..parts.len()).map(|kept| format!("{}.all", parts[..kept].join(".")));
    let accepted: BTreeSet<_> = wider.chain([needed.clone()]).collect();
    granted.iter().any(|scope| accepted.contains(&fold(scope)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_granted_scopes_when_held_against_a_needed_one_then_wider_ones_cover_it() {
        let cases = [
            ("itself", vec!["ZohoCRM.modules.contacts.READ"], true),
            ("all operations", vec!["ZohoCRM.modules.contacts.ALL"], true),
            ("all modules", vec!["ZohoCRM.modules.ALL"], true),
            ("another module", vec!["ZohoCRM.modules.deals.ALL"], false),
            ("another operation", vec!["ZohoCRM.modules.contacts.CREATE"], false),
            ("not told", vec![], true),
        ];
        for (case, granted, expected) in cases {
            let granted: Vec<_> = granted.into_iter().map(str::to_owned).collect();

            assert_eq!(covers(&granted, "ZohoCRM.modules.contacts.READ"), expected, "{case}");
        }
    }

    #[test]
    fn given_mapped_modules_when_pipedrives_scopes_are_listed_then_each_is_named_once() {
        let modules = ["persons", "organizations", "deals"].map(ModuleName::new);

        let scopes = pipedrive_scopes(&modules);

        let expected =
            ["admin", "base", "contacts:full", "deals:full", "search:read", "users:read"];
        assert_eq!(scopes, expected);
    }
}
