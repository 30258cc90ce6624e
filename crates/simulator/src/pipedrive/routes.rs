//! Paths, verbs, costs and scopes: one table.
//!
//! Source: Pipedrive OpenAPI v1 and v2, `x-token-cost` and security of each operation.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::kind::Kind;
use super::refusal::Refusal;
use super::state::{Actor, State};
use super::table::Millis;
use super::{entities, fields, list, small};
use crate::host::{Call, Reply};

pub(super) type Outcome = Result<Reply, Refusal>;
type Handler = fn(&mut State, &Ctx) -> Outcome;

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
        match self.json()? {
            Value::Object(object) => Ok(object),
            _ => Err(Refusal::not_a("body", "object")),
        }
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
        routes
    }

    pub(super) fn find(&self, version: u8, method: &str, segments: &[String]) -> Found<'_> {
        let Some(first) = segments.first() else { return Found::Nothing };
        let routes = self.0.get(&(version, first.clone())).map_or(&[][..], Vec::as_slice);
        let mut wrong_verb = false;
        for route in routes {
            let Some(args) = captures(&route.path, segments) else { continue };
            if route.method == method {
                return Found::Route(route, args);
            }
            wrong_verb = true;
        }
        if wrong_verb { Found::WrongVerb } else { Found::Nothing }
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
    fn add_at(
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

    fn entities(&mut self) {
        self.add(
            2,
            "GET deals/archived",
            Kind::Deal,
            20,
            &["deals:read", "deals:full"],
            list::archived,
        );
        for kind in Kind::V2 {
            let (read, write) = scopes(kind);
            let list_cost = if matches!(kind, Kind::Pipeline | Kind::Stage) { 5 } else { 10 };
            let (all, one) = (kind.plural(), format!("{}/{{}}", kind.plural()));
            self.add_at(2, "GET", all, kind, list_cost, read, list::list);
            self.add_at(2, "POST", all, kind, 5, write, entities::create);
            self.add_at(2, "GET", &one, kind, 1, read, entities::get);
            self.add_at(2, "PATCH", &one, kind, 5, write, entities::change);
            self.add_at(2, "DELETE", &one, kind, 3, write, entities::delete);
        }
    }

    fn fields(&mut self) {
        let scopes: [(Kind, &[&str], &[&str]); 4] = [
            (
                Kind::Deal,
                &["deals:read", "deals:full", "deal-fields:full", "admin"],
                &["deal-fields:full", "admin"],
            ),
            (
                Kind::Person,
                &["contacts:read", "contacts:full", "contact-fields:full", "admin"],
                &["contact-fields:full", "admin"],
            ),
            (
                Kind::Organization,
                &["contacts:read", "contacts:full", "contact-fields:full", "admin"],
                &["contact-fields:full", "admin"],
            ),
            (
                Kind::Product,
                &["products:read", "products:full", "product-fields:full", "admin"],
                &["product-fields:full", "admin"],
            ),
        ];
        for (kind, read, write) in scopes {
            let all = format!("{}Fields", kind.singular());
            let (one, options) = (format!("{all}/{{}}"), format!("{all}/{{}}/options"));
            self.add_at(2, "GET", &all, kind, 10, read, fields::list);
            self.add_at(2, "POST", &all, kind, 5, write, fields::create);
            self.add_at(2, "GET", &one, kind, 1, read, fields::get);
            self.add_at(2, "PATCH", &one, kind, 5, write, fields::change);
            self.add_at(2, "DELETE", &one, kind, 3, write, fields::delete);
            self.add_at(2, "POST", &options, kind, 5, write, fields::add_options);
            self.add_at(2, "PATCH", &options, kind, 5, write, fields::change_options);
            self.add_at(2, "DELETE", &options, kind, 3, write, fields::delete_options);
        }
        self.add(2, "GET activityFields", Kind::Activity, 10, &["admin"], fields::list);
        self.add(2, "GET activityFields/{}", Kind::Activity, 1, &["admin"], fields::get);
    }

    fn users(&mut self) {
        let read = &["users:read", "admin"];
        self.add(1, "GET users", Kind::Person, 20, read, small::users);
        self.add(1, "GET users/me", Kind::Person, 2, &["base", "users:read", "admin"], small::me);
        self.add(1, "GET users/find", Kind::Person, 40, read, small::find_users);
        self.add(1, "GET users/{}", Kind::Person, 2, read, small::user);
        self.add(1, "GET currencies", Kind::Person, 20, &["base"], small::currencies);
        self.add(
            1,
            "GET activityTypes",
            Kind::Activity,
            20,
            &["activities:read", "activities:full", "admin"],
            small::activity_types,
        );
    }
}

/// Scopes that read a kind, scopes that write it.
pub(super) fn scopes(kind: Kind) -> (&'static [&'static str], &'static [&'static str]) {
    match kind {
        Kind::Person | Kind::Organization | Kind::Note => {
            (&["contacts:read", "contacts:full"], &["contacts:full"])
        }
        Kind::Deal => (&["deals:read", "deals:full"], &["deals:full"]),
        Kind::DealProduct => (
            &["products:read", "products:full", "deals:read", "deals:full"],
            &["products:full", "deals:full"],
        ),
        Kind::Activity => (&["activities:read", "activities:full"], &["activities:full"]),
        Kind::Product => (&["products:read", "products:full"], &["products:full"]),
        Kind::Pipeline | Kind::Stage => (&["deals:read", "deals:full", "admin"], &["admin"]),
        Kind::Lead => (&["leads:read", "leads:full"], &["leads:full"]),
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
