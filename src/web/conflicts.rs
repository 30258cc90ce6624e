//! What waits for a person: seen side by side, decided one by one or many at once, taken back.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Query, RawForm, State};
use axum::response::Response;
use axum_extra::extract::CookieJar;
use crmsync_core::model::row::{Choice as Decision, Resolution};
use crmsync_core::model::{EntityName, RouteName};
use serde::Deserialize;

use super::App;
use super::auth::Visitor;
use super::frame::{Frame, escaped, say, show};
use super::problem::Problem;
use crate::report::Conflict;
use crate::report::decision::{Typed, resolution};
use crate::report::html::{Card, card};
use crate::report::listing::{self, Topic, Wanted};
use crate::store::Message;

/// Rows of a page.
const ROWS: usize = 25;

#[derive(Template)]
#[template(path = "web/conflicts.html")]
struct Page<'a> {
    frame: Frame,
    filter: &'a Filter,
    route: &'a str,
    routes: Vec<String>,
    entities: Vec<String>,
    cards: Vec<Decidable<'a>>,
    next: Option<String>,
}

/// A row and what was decided about it since the last run.
struct Decidable<'a> {
    card: Card<'a>,
    options: Vec<Choice>,
    decided: Option<String>,
}

/// One way to decide a row.
struct Choice {
    word: String,
    text: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Filter {
    route: String,
    entity: String,
    /// `all`: also those that are closed.
    status: String,
    after: String,
}

impl Filter {
    /// The address of this list.
    fn address(&self, after: &str) -> String {
        format!(
            "/conflicts?route={}&entity={}&status={}&after={}",
            escaped(&self.route),
            escaped(&self.entity),
            escaped(&self.status),
            escaped(after)
        )
    }
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Query(filter): Query<Filter>,
    jar: CookieJar,
) -> Result<Response, Problem> {
    let (routes, route) = app.choose_route(&filter.route);
    let frame = Frame::new("Conflicts", "/conflicts", &visitor, &jar);
    let name = RouteName::new(&route);
    let history = app.history();
    let entities = app.entities(&name).await?;
    let wanted = Wanted {
        topic: Topic::Conflicts,
        entity: (!filter.entity.is_empty()).then(|| EntityName::new(&filter.entity)),
        all: filter.status == "all",
        decidable: filter.status == "mine",
        after: (!filter.after.is_empty()).then(|| filter.after.clone()),
        limit: ROWS,
    };
    let found = listing::page(&history, &name, &wanted).await?;
    let facts = app.facts(&name).await;
    let conflicts = listing::lay_out(&history, &name, &found.rows, &facts).await?;
    let cards = conflicts.iter().map(|row| decidable(row, found.decided.get(&row.row_id)));
    let cards = cards.collect();
    let next = found.next.map(|after| filter.address(&after));
    show(&Page { frame, filter: &filter, route: &route, routes, entities, cards, next }, jar)
}

fn decidable<'a>(row: &'a Conflict, decision: Option<&Resolution>) -> Decidable<'a> {
    let card = card(row);
    let options = card.choices.iter().map(|line| Choice {
        word: line.word.split(' ').next().unwrap_or_default().to_owned(),
        text: line.outcome.clone(),
    });
    let options: Vec<_> = options.collect();
    let decided = decision.map(|decision| {
        let word = match &decision.choice {
            Decision::Link { candidate } => format!("link:{candidate}"),
            choice @ (Decision::Left
            | Decision::Right
            | Decision::Value { .. }
            | Decision::Pin
            | Decision::Create
            | Decision::Ignore) => choice.word().to_owned(),
        };
        let text = options.iter().find(|option| option.word == word);
        let text = text.map_or(word.clone(), |option| option.text.clone());
        format!("{text}, decided by {}", decision.by)
    });
    Decidable { card, options, decided }
}

/// What a reviewer filled in, by row.
#[derive(Debug, Default)]
struct Filled {
    choices: BTreeMap<String, String>,
    values: BTreeMap<String, String>,
    fingerprints: BTreeMap<String, String>,
    /// For every row shown that was left open.
    for_all: String,
    take_back: Option<String>,
    route: String,
    back: String,
}

impl Filled {
    fn read(form: &[u8]) -> Self {
        let mut filled = Self::default();
        for (name, value) in url::form_urlencoded::parse(form) {
            let value = value.into_owned();
            match name.split_once('.') {
                Some(("choice", row)) => drop(filled.choices.insert(row.to_owned(), value)),
                Some(("value", row)) => drop(filled.values.insert(row.to_owned(), value)),
                Some(("fingerprint", row)) => {
                    drop(filled.fingerprints.insert(row.to_owned(), value));
                }
                Some(_) | None => match name.as_ref() {
                    "for_all" => filled.for_all = value,
                    "take_back" => filled.take_back = Some(value),
                    "route" => filled.route = value,
                    "back" => filled.back = value,
                    _ => {}
                },
            }
        }
        filled
    }

    /// The choice for a row: its own, else the one for all.
    fn choice(&self, row: &str) -> Option<&str> {
        let own = self.choices.get(row).filter(|choice| !choice.is_empty());
        own.map(String::as_str).or((!self.for_all.is_empty()).then_some(&self.for_all))
    }
}

pub(super) async fn decide(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    jar: CookieJar,
    RawForm(form): RawForm,
) -> Result<Response, Problem> {
    let filled = Filled::read(&form);
    let route = RouteName::new(&filled.route);
    let back =
        if filled.back.starts_with("/conflicts") { filled.back.as_str() } else { "/conflicts" };
    if let Some(row) = &filled.take_back {
        let said = if take_back(&app, &visitor, &route, row).await? {
            "Taken back: the row is open again."
        } else {
            "Nothing to take back: a run has taken the decision in already."
        };
        return Ok(say(jar, said, back));
    }
    let (mut decided, mut refused) = (0, Vec::new());
    for (row, fingerprint) in &filled.fingerprints {
        let Some(choice) = filled.choice(row) else { continue };
        let is_own = filled.choices.get(row).is_some_and(|choice| !choice.is_empty());
        let value = filled.values.get(row).map(String::as_str).filter(|_| choice == "value");
        let typed = Typed { choice, value, shown: Some(fingerprint) };
        match make(&app, &visitor, &route, row, &typed).await? {
            Ok(()) => decided += 1,
            // What is chosen for all does not suit every kind of row.
            Err(_) if !is_own => {}
            Err(why) => refused.push(format!("{}: {why}", row.get(..10).unwrap_or(row))),
        }
    }
    let said = match (decided, refused.as_slice()) {
        (0, []) => "Nothing was chosen.".to_owned(),
        (decided, []) => format!("{decided} decided; the next run writes it."),
        (decided, refused) => format!("{decided} decided; not decided: {}", refused.join("; ")),
    };
    Ok(say(jar, &said, back))
}

/// Keeps one decision for the next run; the inner error is a sentence for the person who decided.
pub(super) async fn make(
    app: &App,
    visitor: &Visitor,
    route: &RouteName,
    row: &str,
    typed: &Typed<'_>,
) -> Result<Result<(), String>, Problem> {
    let now = app.now();
    let Some(stored) = app.store().route(route).row(row).await? else {
        return Ok(Err(format!("there is no row `{row}`")));
    };
    let decision = match resolution(&stored, typed, &visitor.name, now) {
        Ok(decision) => decision,
        Err(why) => return Ok(Err(why)),
    };
    app.store().receive(route, &[Message::Decision(decision)], now).await?;
    let subject = format!("{route} {row}: {}", typed.choice);
    app.note(&visitor.name, "decide", subject).await?;
    Ok(Ok(()))
}

/// Takes a decision back that no run has seen.
pub(super) async fn take_back(
    app: &App,
    visitor: &Visitor,
    route: &RouteName,
    row: &str,
) -> Result<bool, Problem> {
    let taken = app.store().take_back(route, row).await?;
    if taken {
        let subject = format!("{route} {row}");
        app.note(&visitor.name, "take-back", subject).await?;
    }
    Ok(taken)
}
