//! Lists that v1 has beside a record, copies of records, sums over deals.

#![expect(clippy::unnecessary_wraps, reason = "handlers share one signature")]

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::page;
use super::query::Look;
use super::refusal::Refusal;
use super::render::tidy;
use super::routes::{Ctx, Outcome};
use super::state::State;
use super::table::{Record, Version};
use crate::host::Reply;

/// Deals that the caller sees and `keep` wants, in v1 form.
fn deals(state: &State, ctx: &Ctx, keep: impl Fn(&Record) -> bool) -> Vec<Value> {
    let shown = state.table(Kind::Deal).rows().values().filter(|deal| !deal.version.deleted);
    let shown =
        shown.filter(|deal| keep(deal) && state.sees(ctx.by.user, Kind::Deal, deal, &deal.version));
    shown.map(|deal| state.v1(Kind::Deal, deal, &deal.version)).collect()
}

fn number(ctx: &Ctx, key: &str) -> Option<i64> {
    ctx.call.query(key).and_then(|text| text.parse().ok())
}

/// Whether a deal fits the parameters that v1 lists of deals share.
fn fits(ctx: &Ctx, version: &Version) -> bool {
    let same = |parameter: &str, key: &str| {
        number(ctx, parameter).is_none_or(|id| version.int(key) == Some(id))
    };
    let status = ctx.call.query("status").filter(|status| !status.starts_with("all"));
    same("user_id", "owner_id")
        && same("person_id", "person_id")
        && same("org_id", "org_id")
        && same("pipeline_id", "pipeline_id")
        && same("stage_id", "stage_id")
        && status.is_none_or(|status| status.split(',').any(|word| word == version.text("status")))
}

/// `GET /v1/deals/archived`
pub(super) fn archived(state: &mut State, ctx: &Ctx) -> Outcome {
    let rows =
        deals(state, ctx, |deal| deal.version.flag("is_archived") && fits(ctx, &deal.version));
    page::v1_list(state, ctx, rows)
}

/// A v1 deal with ids in the places of objects, as some calls have it.
fn with_ids(mut deal: Value) -> Value {
    for key in ["user_id", "creator_user_id", "person_id", "org_id"] {
        deal[key] = deal[key]["value"].take();
    }
    deal
}

/// `GET /v1/pipelines/{id}/deals` and `GET /v1/stages/{id}/deals`
pub(super) fn deals_in_place(state: &mut State, ctx: &Ctx) -> Outcome {
    let id = state.readable_record(ctx, ctx.kind, ctx.id(0)?)?.id;
    let key = if ctx.kind == Kind::Stage { "stage_id" } else { "pipeline_id" };
    let rows = deals(state, ctx, |deal| {
        deal.version.int(key) == Some(id)
            && deal.version.text("status") == "open"
            && !deal.version.flag("is_archived")
            && fits(ctx, &deal.version)
    });
    page::v1_list(state, ctx, rows.into_iter().map(with_ids).collect())
}

/// Products of a deal.
fn products_of(state: &State, deal: i64) -> Vec<i64> {
    let rows = state.table(Kind::DealProduct).rows().values();
    let rows = rows.filter(|row| !row.version.deleted && row.version.int("deal_id") == Some(deal));
    rows.filter_map(|row| row.version.int("product_id")).collect()
}

/// `GET /v1/products/{id}/deals`
pub(super) fn deals_of_product(state: &mut State, ctx: &Ctx) -> Outcome {
    let id = state.readable_record(ctx, Kind::Product, ctx.id(0)?)?.id;
    let rows = deals(state, ctx, |deal| {
        products_of(state, deal.id).contains(&id) && fits(ctx, &deal.version)
    });
    page::v1_list(state, ctx, rows)
}

/// `GET /v1/persons/{id}/products`: the products of the person's deals, each under its deal's id.
pub(super) fn products_of_person(state: &mut State, ctx: &Ctx) -> Outcome {
    let id = state.readable_record(ctx, Kind::Person, ctx.id(0)?)?.id;
    let mut rows = Vec::new();
    for deal in state.table(Kind::Deal).rows().values() {
        if deal.version.deleted || deal.version.int("person_id") != Some(id) {
            continue;
        }
        for product in products_of(state, deal.id) {
            let Some(record) = state.record(Kind::Product, product) else { continue };
            let mut product = state.v1(Kind::Product, record, &record.version);
            product["deal_id"] = deal.id.into();
            let deal_json = with_ids(state.v1(Kind::Deal, deal, &deal.version));
            let row = json!({ "deal": deal_json, "product": product });
            rows.push(Value::from(Map::from_iter([(deal.id.to_string(), row)])));
        }
    }
    page::v1_list(state, ctx, rows)
}

/// `GET /v1/{kind}/{id}/mailMessages`: no mailbox is connected.
pub(super) fn mail_messages(state: &mut State, ctx: &Ctx) -> Outcome {
    state.readable_record(ctx, ctx.kind, ctx.id(0)?)?;
    page::v1_list(state, ctx, Vec::new())
}

/// `GET /v1/deals/summary`: sums by currency; no rates are known, so nothing is converted.
pub(super) fn summary(state: &mut State, ctx: &Ctx) -> Outcome {
    let mut sums: BTreeMap<String, (f64, usize)> = BTreeMap::new();
    for deal in state.table(Kind::Deal).rows().values() {
        let version = &deal.version;
        if version.deleted || version.flag("is_archived") || !fits(ctx, version) {
            continue;
        }
        let sum = sums.entry(version.text("currency").to_owned()).or_default();
        sum.0 += version.body.get("value").and_then(Value::as_f64).unwrap_or(0.0);
        sum.1 += 1;
    }
    let shown = |currency: &str, value: f64| format!("{} {currency}", tidy(value));
    let (mut values, mut weighted) = (Map::new(), Map::new());
    for (currency, (value, count)) in &sums {
        let text = shown(currency, *value);
        values.insert(
            currency.clone(),
            json!({ "value": tidy(*value), "count": count, "value_converted": tidy(*value), "value_formatted": text,
                "value_converted_formatted": text }),
        );
        weighted.insert(
            currency.clone(),
            json!({ "value": tidy(*value), "count": count, "value_formatted": text }),
        );
    }
    let total: f64 = sums.values().map(|(value, _)| value).sum();
    let text = shown(&state.settings.company.currency, total);
    let count: usize = sums.values().map(|(_, count)| count).sum();
    Ok(Reply::json(
        200,
        &json!({ "success": true, "data": {
            "values_total": values, "weighted_values_total": weighted, "total_count": count,
            "total_currency_converted_value": tidy(total), "total_weighted_currency_converted_value": tidy(total),
            "total_currency_converted_value_formatted": text, "total_weighted_currency_converted_value_formatted": text,
        } }),
    ))
}

const OF_PRODUCT: [&str; 11] = [
    "name",
    "code",
    "description",
    "unit",
    "tax",
    "category",
    "is_linkable",
    "visible_to",
    "owner_id",
    "billing_frequency",
    "billing_frequency_cycles",
];

const OF_DEAL: [&str; 12] = [
    "title",
    "value",
    "currency",
    "owner_id",
    "person_id",
    "org_id",
    "pipeline_id",
    "stage_id",
    "probability",
    "expected_close_date",
    "visible_to",
    "label_ids",
];

/// What a copy takes over.
fn copied(kind: Kind, version: &Version) -> Map<String, Value> {
    let keys: &[&str] = if kind == Kind::Product { &OF_PRODUCT } else { &OF_DEAL };
    let held = keys.iter().filter_map(|key| {
        let value = version.body.get(*key).filter(|value| !value.is_null())?;
        Some(((*key).to_owned(), value.clone()))
    });
    let mut given: Map<String, Value> = held.collect();
    if let Some(option) = given.get("category").and_then(Value::as_str) {
        let option = option.parse::<i64>().map_or(Value::Null, Value::from);
        given.insert("category".into(), option);
    }
    let prices = version.body.get("prices").and_then(Value::as_array).into_iter().flatten();
    let prices: Vec<Value> = prices
        .map(|price| {
            json!({ "currency": price["currency"], "price": price["price"], "cost": price["cost"], "direct_cost": price["direct_cost"] })
        })
        .collect();
    if !prices.is_empty() {
        given.insert("prices".into(), prices.into());
    }
    if !version.custom.is_empty() {
        given.insert("custom_fields".into(), version.custom.clone().into());
    }
    given
}

fn copy(state: &mut State, ctx: &Ctx) -> Result<i64, Refusal> {
    let record = state.readable_record(ctx, ctx.kind, ctx.id(0)?)?;
    let given = copied(ctx.kind, &record.version);
    state.create(ctx.kind, &given, &ctx.by, ctx.now)
}

/// `POST /v1/deals/{id}/duplicate`
pub(super) fn duplicate_deal(state: &mut State, ctx: &Ctx) -> Outcome {
    let id = copy(state, ctx)?;
    let record = state.record(Kind::Deal, id);
    let data = record.map(|record| with_ids(state.v1(Kind::Deal, record, &record.version)));
    Ok(Reply::json(200, &json!({ "success": true, "data": data })).wrote(1))
}

/// `POST /api/v2/products/{id}/duplicate`
pub(super) fn duplicate_product(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.allow(&[])?;
    let id = copy(state, ctx)?;
    let data = state.single(Kind::Product, id, &Look::default());
    Ok(Reply::json(201, &json!({ "success": true, "data": data })).wrote(1))
}
