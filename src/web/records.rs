//! One record: what both sides hold, what was agreed, what waits, and every write that led there.

use std::collections::BTreeSet;
use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Response;
use axum_extra::extract::CookieJar;
use crmsync_core::engine::report::sentence;
use crmsync_core::model::{EntityName, FieldName, RecordId, RouteName, Side};
use serde::Deserialize;

use super::App;
use super::auth::Visitor;
use super::frame::{Frame, Instant, show};
use super::problem::Problem;
use crate::report::explanation::{Explanation, explain};
use crate::report::status::sides;

#[derive(Template)]
#[template(path = "web/records.html")]
struct Page<'a> {
    frame: Frame,
    search: &'a Search,
    routes: Vec<String>,
    entities: Vec<String>,
    found: Outcome,
}

/// What a search came to.
enum Outcome {
    NotAsked,
    Unknown,
    Found(Found),
}

struct Found {
    linked: bool,
    ends: Vec<End>,
    fields: Vec<Field>,
    waiting: Vec<Waiting>,
    timeline: Vec<Event>,
}

struct End {
    side: String,
    id: String,
    url: Option<String>,
    modified_at: Option<Instant>,
}

struct Field {
    name: String,
    left: String,
    agreed: String,
    right: String,
    differs: bool,
}

struct Waiting {
    code: String,
    message: String,
}

struct Event {
    at: Instant,
    run: String,
    side: String,
    what: String,
    changes: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Search {
    route: String,
    entity: String,
    id: String,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Query(search): Query<Search>,
    jar: CookieJar,
) -> Result<Response, Problem> {
    let (routes, route) = app.choose_route(&search.route);
    let route = RouteName::new(route);
    let history = app.history();
    let entities = app.entities(&route).await?;
    let found = if search.id.trim().is_empty() {
        Outcome::NotAsked
    } else {
        let (entity, id) = (EntityName::new(&search.entity), RecordId::new(search.id.trim()));
        match explain(&history, &route, &entity, &id).await? {
            Some(explanation) => Outcome::Found(found(&app, &route, &explanation).await),
            None => Outcome::Unknown,
        }
    };
    let frame = Frame::new("Records", "/records", &visitor, &jar);
    show(&Page { frame, search: &search, routes, entities, found }, jar)
}

async fn found(app: &App, route: &RouteName, explanation: &Explanation) -> Found {
    let names = sides(&app.config(), route);
    let facts = app.facts(route).await;
    let ends = Side::BOTH.into_iter().filter_map(|side| {
        let observation = explanation.observations[side].as_ref()?;
        let id = &observation.key.id;
        let url = (facts[side].module)(&explanation.entity)
            .and_then(|module| (facts[side].url)(&module, id));
        Some(End {
            side: names[side].clone(),
            id: id.to_string(),
            url: url.filter(|url| url.starts_with("http")),
            modified_at: observation.modified_at.map(Instant),
        })
    });
    let mut fields: BTreeSet<&FieldName> = BTreeSet::new();
    for side in Side::BOTH {
        fields.extend(explanation.observations[side].iter().flat_map(|it| it.fields.keys()));
    }
    let field = |name: &FieldName| {
        let shown = |side: Side| {
            let value = explanation.observations[side].as_ref().and_then(|it| it.fields.get(name));
            value.map(|value| explanation.value(name, side, value)).unwrap_or_default()
        };
        let agreed = explanation.link.as_ref().and_then(|link| link.baseline.get(name));
        let agreed = agreed.map_or_else(String::new, |agreed| {
            let shown = |side: Side| explanation.value(name, side, &agreed.values[side]);
            let (left, right) = (shown(Side::Left), shown(Side::Right));
            if left == right { left } else { format!("{left} | {right}") }
        });
        let (left, right) = (shown(Side::Left), shown(Side::Right));
        Field { name: name.to_string(), differs: left != right, left, agreed, right }
    };
    let waiting = explanation.rows.iter().map(|stored| Waiting {
        code: stored.row.code.to_string(),
        message: stored.row.message.clone(),
    });
    let event = |effect: &crate::store::Effect| {
        let side = effect.op.writes();
        let changes = effect.after.iter().map(|(field, after)| {
            let shown = |value| explanation.value(field, side.unwrap_or(Side::Left), value);
            let before = effect.before.get(field).map(shown).unwrap_or_default();
            format!("{field}: {before} → {}", shown(after))
        });
        Event {
            at: Instant(effect.at),
            run: effect.run.clone(),
            side: side.map(|side| names[side].clone()).unwrap_or_default(),
            what: sentence(effect.op.code).to_owned(),
            changes: changes.collect(),
        }
    };
    Found {
        linked: explanation.link.is_some(),
        ends: ends.collect(),
        fields: fields.into_iter().map(field).collect(),
        waiting: waiting.collect(),
        timeline: explanation.effects.iter().rev().take(200).map(event).collect(),
    }
}
