//! Paths, verbs, costs and scopes: one table.
//!
//! Source: Pipedrive's `OpenAPI` documents v1 and v2, `x-token-cost` and security of each operation.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::kind::Kind;
use super::refusal::Refusal;
use super::state::{Actor, State};
use super::table::Millis;
use super::{attached, entities, feeds, fields, list, merge, search, small, v1, webhooks};
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
        routes.v1();
        routes.v1_entities();
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

impl Routes {
    fn searches(&mut self) {
        let kinds = [Kind::Person, Kind::Organization, Kind::Deal, Kind::Product, Kind::Lead];
        for kind in kinds {
            let (read, _) = scopes(kind);
            let scopes: Vec<&str> = read.iter().copied().chain(["search:read"]).collect();
            let path = format!("{}/search", kind.plural());
            self.add_first(2, "GET", &path, kind, 20, &scopes, search::of_kind).is_search = true;
        }
        self.add(2, "GET itemSearch", Kind::Person, 20, &["search:read"], search::items)
            .is_search = true;
        self.add(2, "GET itemSearch/field", Kind::Person, 20, &["search:read"], search::by_field)
            .is_search = true;
    }

    fn attached(&mut self) {
        let (read, write) = scopes(Kind::DealProduct);
        let kind = Kind::Deal;
        self.add_first(2, "GET", "deals/products", kind, 10, read, attached::products_of_deals);
        self.add(2, "GET deals/{}/products", kind, 10, read, attached::products);
        self.add(2, "POST deals/{}/products", kind, 5, write, attached::add_product);
        self.add(2, "DELETE deals/{}/products", kind, 15, write, attached::delete_products);
        self.add(2, "POST deals/{}/products/bulk", kind, 25, write, attached::add_products);
        self.add(2, "PATCH deals/{}/products/{}", kind, 5, write, attached::change_product);
        self.add(2, "DELETE deals/{}/products/{}", kind, 3, write, attached::delete_product);
        for kind in Kind::V2.into_iter().filter(|kind| kind.is_followed()) {
            let (read, write) = scopes(kind);
            let (all, one) = (
                format!("{}/{{}}/followers", kind.plural()),
                format!("{}/{{}}/followers/{{}}", kind.plural()),
            );
            self.add_at(2, "GET", &all, kind, 10, read, attached::followers);
            self.add_at(2, "POST", &all, kind, 5, write, attached::follow);
            self.add_at(2, "DELETE", &one, kind, 3, write, attached::unfollow);
        }
        self.add(
            2,
            "POST leads/{}/convert/deal",
            Kind::Lead,
            40,
            &["leads:full"],
            merge::lead_to_deal,
        );
        self.add(
            2,
            "GET leads/{}/convert/status/{}",
            Kind::Lead,
            1,
            &["leads:read", "leads:full"],
            merge::conversion,
        );
        self.add(
            2,
            "POST deals/{}/convert/lead",
            Kind::Deal,
            40,
            &["deals:full"],
            merge::deal_to_lead,
        );
        self.add(
            2,
            "GET deals/{}/convert/status/{}",
            Kind::Deal,
            1,
            &["deals:read", "deals:full"],
            merge::conversion,
        );
    }

    fn v1(&mut self) {
        let (read, write) = scopes(Kind::Note);
        self.add(1, "GET notes", Kind::Note, 20, read, v1::notes);
        self.add(1, "POST notes", Kind::Note, 10, write, v1::create_note);
        self.add(1, "GET notes/{}", Kind::Note, 2, read, v1::get_note);
        self.add(1, "PUT notes/{}", Kind::Note, 10, write, v1::change_note);
        self.add(1, "DELETE notes/{}", Kind::Note, 6, write, v1::delete_note);
        let (read, write) = scopes(Kind::Lead);
        self.add(1, "GET leads", Kind::Lead, 20, read, v1::leads);
        self.add(1, "GET leads/archived", Kind::Lead, 40, read, v1::archived_leads);
        self.add(1, "POST leads", Kind::Lead, 10, write, v1::create_lead);
        self.add(1, "GET leads/{}", Kind::Lead, 2, read, v1::get_lead);
        self.add(1, "PATCH leads/{}", Kind::Lead, 10, write, v1::change_lead);
        self.add(1, "DELETE leads/{}", Kind::Lead, 6, write, v1::delete_lead);
        self.add(1, "GET leadLabels", Kind::Lead, 10, read, v1::lead_labels);
        self.add(1, "POST leadLabels", Kind::Lead, 10, write, v1::create_lead_label);
        self.add(1, "GET leadSources", Kind::Lead, 2, read, v1::lead_sources);
        self.add(1, "GET recents", Kind::Person, 20, &["recents:read"], feeds::recents);
        // Version 2 of the paths was seen to answer too, though only v1 has them in its document.
        for version in [1, 2] {
            self.add(version, "GET webhooks", Kind::Person, 10, &["admin"], webhooks::list);
            self.add(version, "POST webhooks", Kind::Person, 10, &["admin"], webhooks::create);
            self.add(version, "DELETE webhooks/{}", Kind::Person, 6, &["admin"], webhooks::delete);
        }
    }

    fn v1_entities(&mut self) {
        for kind in Kind::V2.into_iter().filter(|kind| kind.is_logged()) {
            let (read, write) = scopes(kind);
            self.add_at(
                1,
                "GET",
                &format!("{}/{{}}/flow", kind.plural()),
                kind,
                40,
                read,
                feeds::flow,
            );
            self.add_at(
                1,
                "GET",
                &format!("{}/{{}}/changelog", kind.plural()),
                kind,
                20,
                read,
                feeds::changelog,
            );
            self.add_at(
                1,
                "PUT",
                &format!("{}/{{}}/merge", kind.plural()),
                kind,
                40,
                write,
                merge::merge,
            );
        }
        for kind in [
            Kind::Person,
            Kind::Organization,
            Kind::Deal,
            Kind::Product,
            Kind::Activity,
            Kind::Note,
            Kind::Lead,
        ] {
            let (read, _) = scopes(kind);
            self.add_at(
                1,
                "GET",
                &format!("{}Fields", kind.singular()),
                kind,
                20,
                read,
                v1::fields,
            );
        }
        for kind in Kind::V2 {
            let (read, write) = scopes(kind);
            let (all, one) = (kind.plural(), format!("{}/{{}}", kind.plural()));
            self.add_at(1, "GET", all, kind, 20, read, v1::retired_list).is_retired = true;
            self.add_at(1, "GET", &one, kind, 2, read, v1::retired_get).is_retired = true;
            self.add_at(1, "DELETE", &one, kind, 6, write, entities::delete).is_retired = true;
            if kind == Kind::Deal {
                self.add_at(1, "PUT", &one, kind, 10, write, v1::retired_clear).is_retired = true;
            }
        }
    }

    /// Adds a route that is to be tried before those with `{}`.
    #[expect(clippy::too_many_arguments, reason = "the columns of the table")]
    fn add_first(
        &mut self,
        version: u8,
        method: &'static str,
        path: &str,
        kind: Kind,
        cost: u64,
        scopes: &[&str],
        run: Handler,
    ) -> &mut Route {
        self.add_at(version, method, path, kind, cost, scopes, run);
        let first = path.split('/').next().unwrap_or_default().to_owned();
        let routes = self.0.entry((version, first)).or_default();
        routes.rotate_right(1);
        &mut routes[0]
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
