//! `people` and `tokens`: who may sign in to the pages and the REST API.

use std::io::{self, BufRead as _, IsTerminal as _};

use super::args;
use super::context::Context;
use super::exit::{Exit, Failure};
use super::operations;
use super::render::note;
use crate::service::people::{digest, hash_password, new_token};
use crate::store::{ApiToken, Person, Store};

pub(super) async fn people(context: &Context, args: &args::People) -> Result<Exit, Failure> {
    let store = operations::store(&context.config()?).await?;
    match args {
        args::People::List => {
            let people = store.people().await?;
            context.output.result(&people, || {
                let rows =
                    people.iter().map(|person| row(&person.name, person.role, person.created_at));
                context.output.table(&["name", "role", "since (UTC)"], rows)
            })?;
        }
        args::People::Add(args) => add(context, &store, args).await?,
        args::People::Remove { name } => {
            if !store.remove_person(name).await? {
                return Err(unknown("person", name, "people"));
            }
            said(context, name, "may sign in no more")?;
        }
    }
    Ok(Exit::Clean)
}

async fn add(context: &Context, store: &Store, args: &args::NewPerson) -> Result<(), Failure> {
    let name = named(&args.name)?;
    let password = read_password()?;
    let hash = hash_password(&password, &context.entropy.bytes())?;
    let created_at = context.ambient.clock.now();
    let person = Person { name: name.to_owned(), role: args.role, password: hash, created_at };
    store.save_person(&person).await?;
    said(context, name, &format!("may sign in as {}", args.role))
}

/// Two words, or one and a number, would be two people in a table.
fn named(name: &str) -> Result<&str, Failure> {
    let fits = !name.is_empty()
        && name.chars().count() <= 100
        && name.chars().all(|c| c.is_alphanumeric() || "._-@+".contains(c));
    if fits {
        return Ok(name);
    }
    Err(Failure::config(format!("`{name}` is no name; write letters, digits and . _ - @ +")))
}

/// One line of stdin: typed, or piped in by a script.
fn read_password() -> Result<String, Failure> {
    if io::stdin().is_terminal() {
        note("password (what you type is shown; a script pipes it in):");
    }
    let mut line = String::new();
    io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| Failure::config(format!("cannot read the password: {error}")))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

pub(super) async fn tokens(context: &Context, args: &args::Tokens) -> Result<Exit, Failure> {
    let store = operations::store(&context.config()?).await?;
    match args {
        args::Tokens::List => {
            let tokens = store.api_tokens().await?;
            context.output.result(&tokens, || {
                let rows =
                    tokens.iter().map(|token| row(&token.name, token.role, token.created_at));
                context.output.table(&["name", "role", "since (UTC)"], rows)
            })?;
        }
        args::Tokens::New(args) => {
            let name = named(&args.name)?;
            let token = new_token(&context.entropy.bytes());
            let created_at = context.ambient.clock.now();
            let kept = ApiToken {
                name: name.to_owned(),
                role: args.role,
                digest: digest(&token),
                created_at,
            };
            store.save_api_token(&kept).await?;
            let value = serde_json::json!({ "name": name, "role": args.role, "token": token });
            context.output.result(&value, || format!("{token}\n"))?;
            note("the token is shown this once; only its hash is kept");
        }
        args::Tokens::Remove { name } => {
            if !store.remove_api_token(name).await? {
                return Err(unknown("token", name, "tokens"));
            }
            said(context, name, "opens nothing any more")?;
        }
    }
    Ok(Exit::Clean)
}

fn row(name: &str, role: crate::store::Role, since: chrono::DateTime<chrono::Utc>) -> Vec<String> {
    vec![name.to_owned(), role.to_string(), since.format("%Y-%m-%d %H:%M").to_string()]
}

fn unknown(what: &str, name: &str, command: &str) -> Failure {
    Failure::config(format!("no {what} is called `{name}`"))
        .help(format!("crmsync {command} list shows them"))
}

fn said(context: &Context, name: &str, what: &str) -> Result<(), Failure> {
    context
        .output
        .result(&serde_json::json!({ "name": name, "done": what }), || format!("{name} {what}\n"))
}
