//! Finds the handler of a call.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::kind::Kind;
use super::refusal::Refusal;
use super::state::{Actor, State};
use super::table::Millis;
use crate::host::{Call, Reply};

pub(super) type Outcome = Result<Reply, Refusal>;
pub(super) type Handler = fn(&mut State, &Ctx) -> Outcome;

/// A call on its way to its handler.
pub(super) struct Ctx<'a> {
    pub(super) call: &'a Call,
    /// What stands in the route's `{}`, in order.
    pub(super) args: Vec<String>,
    pub(super) by: Actor,
    pub(super) kind: Kind,
    pub(super) now: Millis,
    /// The moment whose state lists and feeds show, when it is not now.
    pub(super) as_of: Option<Millis>,
}

impl Ctx<'_> {
    pub(super) fn arg(&self, index: usize) -> &str {
        self.args.get(index).map_or("", String::as_str)
    }

    pub(super) fn id(&self, index: usize) -> Result<i64, Refusal> {
        self.arg(index).parse().map_err(|_| Refusal::not_a("id", "integer"))
    }

    /// Refuses query parameters other than these.
    pub(super) fn allow(&self, names: &[&str]) -> Result<(), Refusal> {
        let unknown = self
            .call
            .query
            .iter()
            .find(|(key, _)| key != "api_token" && !names.contains(&key.as_str()));
        unknown.map_or(Ok(()), |(key, _)| Err(Refusal::parameter(key)))
    }

    pub(super) fn json(&self) -> Result<Value, Refusal> {
        serde_json::from_slice(&self.call.body)
            .map_err(|_| Refusal::new(400, "Invalid JSON in the request body"))
    }

    pub(super) fn object(&self) -> Result<Map<String, Value>, Refusal> {
        self.json()?.as_object().cloned().ok_or_else(|| Refusal::not_a("body", "object"))
    }

    pub(super) fn admin(&self, state: &State) -> Result<(), Refusal> {
        let admin = state.user(self.by.user).is_some_and(|user| user.admin);
        if admin { Ok(()) } else { Err(Refusal::forbidden()) }
    }
}

/// One verb on one path.
#[derive(Clone)]
pub(super) struct Route {
    method: &'static str,
    path: Vec<String>,
    pub(super) cost: u64,
    /// Scopes any of which opens the route.
    pub(super) scopes: Vec<String>,
    pub(super) is_search: bool,
    /// Whether a retired v1 call: a switch turns it off.
    pub(super) is_retired: bool,
    pub(super) kind: Kind,
    pub(super) run: Handler,
}

/// What a path and verb lead to.
pub(super) enum Found<'a> {
    Route(&'a Route, Vec<String>),
    WrongVerb,
    Nothing,
}

/// All routes by version and first segment.
pub(super) struct Routes(BTreeMap<(u8, String), Vec<Route>>);

impl Routes {
    pub(super) fn new() -> Self {
        let mut routes = Self(BTreeMap::new());
        routes.entities();
        routes.fields();
        routes.users();
        routes.searches();
        routes.attached();
        routes.tied();
        routes.beside();
        routes.v1();
        routes.v1_entities();
        routes
    }

    pub(super) fn find(&self, version: u8, method: &str, segments: &[String]) -> Found<'_> {
        let Some(first) = segments.first() else { return Found::Nothing };
        let routes = self.0.get(&(version, first.clone())).map_or(&[][..], Vec::as_slice);
        let fitting: Vec<(&Route, Vec<String>)> = routes
            .iter()
            .filter_map(|route| Some((route, captures(&route.path, segments)?)))
            .collect();
        // A path that names a segment goes before one that takes any.
        let Some(fewest) = fitting.iter().map(|(_, args)| args.len()).min() else {
            return Found::Nothing;
        };
        let mut named = fitting.into_iter().filter(|(_, args)| args.len() == fewest);
        named
            .find(|(route, _)| route.method == method)
            .map_or(Found::WrongVerb, |(route, args)| Found::Route(route, args))
    }

    pub(super) fn add(
        &mut self,
        version: u8,
        verb_and_path: &'static str,
        kind: Kind,
        cost: u64,
        scopes: &[&str],
        run: Handler,
    ) -> &mut Route {
        let (method, path) = verb_and_path.split_once(' ').unwrap_or(("GET", verb_and_path));
        self.add_at(version, method, path, kind, cost, scopes, run)
    }

    #[expect(clippy::too_many_arguments, reason = "the columns of the table")]
    pub(super) fn add_at(
        &mut self,
        version: u8,
        method: &'static str,
        path: &str,
        kind: Kind,
        cost: u64,
        scopes: &[&str],
        run: Handler,
    ) -> &mut Route {
        let path: Vec<String> = path.split('/').map(Into::into).collect();
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let routes = self.0.entry((version, path[0].clone())).or_default();
        routes.push(Route {
            method,
            path,
            cost,
            scopes,
            is_search: false,
            is_retired: false,
            kind,
            run,
        });
        let last = routes.len() - 1;
        &mut routes[last]
    }
}

fn captures(path: &[String], segments: &[String]) -> Option<Vec<String>> {
    if path.len() != segments.len() {
        return None;
    }
    let mut args = Vec::new();
    for (want, segment) in path.iter().zip(segments) {
        if want == "{}" {
            args.push(segment.clone());
        } else if want != segment {
            return None;
        }
    }
    Some(args)
}
