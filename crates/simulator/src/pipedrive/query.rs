//! What a list call of v2 asks for, checked.

use serde_json::Value;

use super::filters::Filter;
use super::kind::Kind;
use super::page::{self, Position};
use super::refusal::Refusal;
use super::routes::Ctx;
use super::schema;
use super::state::State;
use super::table::{Millis, Version};
use super::time;

/// What a list call asks for.
pub(super) struct Query {
    pub(super) ids: Option<Vec<i64>>,
    /// Body key and the value it must have.
    equal: Vec<(&'static str, Value)>,
    /// Ids that a link allows, such as the person of a deal.
    only: Option<i64>,
    statuses: Option<Vec<String>>,
    filter: Option<Filter>,
    archived: bool,
    pub(super) since: Option<Millis>,
    pub(super) until: Option<Millis>,
    pub(super) sort: String,
    pub(super) descending: bool,
    pub(super) limit: usize,
    pub(super) after: Option<Position>,
    pub(super) look: Look,
}

/// How rows are to look.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Look {
    pub(super) include: Vec<String>,
    pub(super) custom: Option<Vec<String>>,
    pub(super) option_labels: bool,
    pub(super) labels: bool,
}

const MAX_IDS: usize = 100;
const MAX_CUSTOM: usize = 15;

/// Query parameters of a kind's list. Source: Pipedrive API v2 reference.
fn parameters(kind: Kind, archived: bool) -> Vec<&'static str> {
    let mut names = vec!["sort_by", "sort_direction", "limit", "cursor"];
    let more: &[&str] = match kind {
        Kind::Person => &[
            "filter_id",
            "ids",
            "owner_id",
            "org_id",
            "deal_id",
            "updated_since",
            "updated_until",
            "include_fields",
            "custom_fields",
            "include_option_labels",
            "include_labels",
        ],
        Kind::Organization => &[
            "filter_id",
            "ids",
            "owner_id",
            "updated_since",
            "updated_until",
            "include_fields",
            "custom_fields",
            "include_option_labels",
            "include_labels",
        ],
        Kind::Deal => &[
            "filter_id",
            "ids",
            "owner_id",
            "person_id",
            "org_id",
            "pipeline_id",
            "stage_id",
            "status",
            "updated_since",
            "updated_until",
            "include_fields",
            "custom_fields",
        ],
        Kind::Activity => &[
            "filter_id",
            "ids",
            "owner_id",
            "deal_id",
            "lead_id",
            "person_id",
            "org_id",
            "done",
            "updated_since",
            "updated_until",
            "include_fields",
        ],
        Kind::Product => &["filter_id", "ids", "owner_id", "updated_since", "custom_fields"],
        Kind::Stage => &["pipeline_id"],
        Kind::Pipeline | Kind::Note | Kind::Lead | Kind::DealProduct => &[],
    };
    names.extend(more);
    if kind == Kind::Deal && !archived {
        names.extend(["include_option_labels", "include_labels"]);
    }
    names
}

fn sorts(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Activity => &["id", "add_time", "update_time", "due_date"],
        Kind::Product => &["id", "add_time", "update_time", "name"],
        Kind::Stage | Kind::DealProduct => &["id", "add_time", "update_time", "order_nr"],
        Kind::Person
        | Kind::Organization
        | Kind::Deal
        | Kind::Pipeline
        | Kind::Note
        | Kind::Lead => &["id", "add_time", "update_time"],
    }
}

fn integer(ctx: &Ctx, name: &str) -> Result<Option<i64>, Refusal> {
    let parse = |text: &str| text.parse().map_err(|_| Refusal::not_a(name, "integer"));
    ctx.call.query(name).map(parse).transpose()
}

fn boolean(ctx: &Ctx, name: &str) -> Result<Option<bool>, Refusal> {
    match ctx.call.query(name) {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(Refusal::not_a(name, "boolean")),
    }
}

fn instant(ctx: &Ctx, name: &str) -> Result<Option<Millis>, Refusal> {
    let parse = |text: &str| {
        time::parse_whole(text)
            .ok_or_else(|| Refusal::invalid(name, &format!("{text} is not a valid datetime")))
    };
    ctx.call.query(name).map(parse).transpose()
}

fn names(ctx: &Ctx, name: &str) -> Option<Vec<String>> {
    let text = ctx.call.query(name)?;
    Some(text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(Into::into).collect())
}

/// A comma list of at most 100 ids.
pub(super) fn ids(ctx: &Ctx, name: &str) -> Result<Option<Vec<i64>>, Refusal> {
    let Some(texts) = names(ctx, name) else { return Ok(None) };
    let parse = |text: &String| text.parse().map_err(|_| Refusal::not_a(name, "integer"));
    let ids: Vec<i64> = texts.iter().map(parse).collect::<Result<_, _>>()?;
    if ids.len() > MAX_IDS {
        return Err(Refusal::invalid(name, "At most 100 ids are allowed"));
    }
    Ok(Some(ids))
}

impl Look {
    pub(super) fn read(state: &State, ctx: &Ctx) -> Result<Self, Refusal> {
        let include = names(ctx, "include_fields").unwrap_or_default();
        if include.iter().any(|name| !schema::optional(ctx.kind).contains(&name.as_str())) {
            return Err(Refusal::invalid("include_fields", "Invalid value"));
        }
        let custom = names(ctx, "custom_fields");
        if custom.as_ref().is_some_and(|codes| codes.len() > MAX_CUSTOM) {
            return Err(Refusal::invalid("custom_fields", "At most 15 keys are allowed"));
        }
        let unknown =
            custom.iter().flatten().find(|code| state.custom_field(ctx.kind, code).is_none());
        if let Some(code) = unknown {
            return Err(Refusal::invalid("custom_fields", &format!("Unknown key '{code}'")));
        }
        let option_labels = boolean(ctx, "include_option_labels")?.unwrap_or(false);
        Ok(Self {
            include,
            custom,
            option_labels,
            labels: boolean(ctx, "include_labels")?.unwrap_or(false),
        })
    }
}

impl Query {
    pub(super) fn read(state: &State, ctx: &Ctx, archived: bool) -> Result<Self, Refusal> {
        ctx.allow(&parameters(ctx.kind, archived))?;
        let sort = ctx.call.query("sort_by").unwrap_or("id").to_owned();
        if !sorts(ctx.kind).contains(&sort.as_str()) {
            return Err(Refusal::invalid("sort_by", "Invalid value"));
        }
        let descending = match ctx.call.query("sort_direction") {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(_) => return Err(Refusal::invalid("sort_direction", "Invalid value")),
        };
        let mut query = Self {
            ids: ids(ctx, "ids")?,
            equal: equalities(ctx)?,
            only: person_of_deal(state, ctx)?,
            statuses: statuses(ctx)?,
            filter: None,
            archived,
            since: instant(ctx, "updated_since")?,
            until: instant(ctx, "updated_until")?,
            sort,
            descending,
            limit: page::limit(state, ctx)?,
            after: page::decode(state, ctx)?,
            look: Look::read(state, ctx)?,
        };
        if let Some(filter) = integer(ctx, "filter_id")? {
            query.apply_filter(state, filter)?;
        }
        if ctx.kind == Kind::Activity && state.settings.switches.own_activities_only {
            query.equal.push(("owner_id", ctx.by.user.into()));
        }
        Ok(query)
    }

    /// A filter switches off the other ones, silently.
    fn apply_filter(&mut self, state: &State, id: i64) -> Result<(), Refusal> {
        let filter = state.shelf.filters.get(&id).ok_or_else(|| Refusal::not_found("Filter"))?;
        (self.ids, self.only, self.statuses) = (None, None, None);
        self.equal.retain(|(key, _)| *key == "done");
        self.equal.extend(filter.wanted.iter().cloned());
        self.filter = Some(filter.clone());
        Ok(())
    }

    pub(super) fn keeps(&self, state: &State, kind: Kind, id: i64, version: &Version) -> bool {
        let updated = version.updated.unwrap_or(Millis::MIN);
        self.keeps_deleted(kind, version)
            && self.since.is_none_or(|since| updated >= since)
            && self.until.is_none_or(|until| updated < until)
            && self.only.is_none_or(|only| only == id)
            && (kind != Kind::Deal || version.flag("is_archived") == self.archived)
            && self.equal.iter().all(|(key, value)| version.body.get(*key) == Some(value))
            && self.filter.as_ref().is_none_or(|filter| state.meets(filter, kind, version))
    }

    fn keeps_deleted(&self, kind: Kind, version: &Version) -> bool {
        match &self.statuses {
            Some(words) if kind == Kind::Deal => {
                words.iter().any(|word| *word == version.text("status"))
            }
            _ => !version.deleted,
        }
    }
}

fn equalities(ctx: &Ctx) -> Result<Vec<(&'static str, Value)>, Refusal> {
    let mut equal = Vec::new();
    for key in ["owner_id", "org_id", "person_id", "pipeline_id", "stage_id"] {
        if let Some(id) = integer(ctx, key)? {
            equal.push((key, id.into()));
        }
    }
    if ctx.kind == Kind::Activity {
        if let Some(id) = integer(ctx, "deal_id")? {
            equal.push(("deal_id", id.into()));
        }
        if let Some(id) = ctx.call.query("lead_id") {
            equal.push(("lead_id", id.into()));
        }
        if let Some(done) = boolean(ctx, "done")? {
            equal.push(("done", done.into()));
        }
    }
    Ok(equal)
}

fn person_of_deal(state: &State, ctx: &Ctx) -> Result<Option<i64>, Refusal> {
    let Some(id) = integer(ctx, "deal_id")?.filter(|_| ctx.kind == Kind::Person) else {
        return Ok(None);
    };
    let deal = state.live(Kind::Deal, id);
    // No record has the id 0.
    Ok(Some(deal.and_then(|deal| deal.version.int("person_id")).unwrap_or(0)))
}

fn statuses(ctx: &Ctx) -> Result<Option<Vec<String>>, Refusal> {
    let words = names(ctx, "status");
    let known = |word: &String| ["open", "won", "lost", "deleted"].contains(&word.as_str());
    if words.iter().flatten().all(known) {
        Ok(words)
    } else {
        Err(Refusal::invalid("status", "Invalid value"))
    }
}
