//! What refines prices: discounts and installments of deals, variations of products.
//!
//! Source: Pipedrive API v2, "Deals", "Deal installments", "Products".

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::page;
use super::query;
use super::refusal::Refusal;
use super::routes::{Ctx, Outcome};
use super::state::State;
use super::time;
use crate::host::Reply;

fn answer(status: u16, data: &Value) -> Reply {
    Reply::json(status, &json!({ "success": true, "data": data }))
}

/// A body's object with no other keys than these, all of them when `whole`.
fn body(ctx: &Ctx, keys: &[&str], whole: bool) -> Result<Map<String, Value>, Refusal> {
    let given = ctx.object()?;
    if let Some(key) = given.keys().find(|key| !keys.contains(&key.as_str())) {
        return Err(Refusal::invalid(key, &format!("Unknown key '{key}'")));
    }
    match keys.iter().find(|key| whole && given.get(**key).is_none_or(Value::is_null)) {
        Some(key) => Err(Refusal::invalid(key, "Required field is missing")),
        None => Ok(given),
    }
}

fn check(given: &Map<String, Value>) -> Result<(), Refusal> {
    for (key, value) in given {
        let good = match key.as_str() {
            "amount" => value.is_number(),
            "type" => value == "percentage" || value == "amount",
            "billing_date" => value.as_str().is_some_and(time::is_date),
            "prices" => value.is_array(),
            _ => value.is_string(),
        };
        if !good {
            return Err(Refusal::invalid(key, "Invalid value"));
        }
    }
    Ok(())
}

/// The row that the path names under its parent.
fn row<'a>(
    rows: &'a mut [Value],
    key: &str,
    parent: i64,
    id: &str,
    what: &str,
) -> Result<(usize, &'a mut Value), Refusal> {
    let named = |row: &Value| row["id"] == id || id.parse::<i64>().is_ok_and(|id| row["id"] == id);
    let at = rows.iter().position(|row| row[key] == parent && named(row));
    let at = at.ok_or_else(|| Refusal::not_found(what))?;
    Ok((at, &mut rows[at]))
}

const DISCOUNT: [&str; 3] = ["description", "amount", "type"];

/// `GET /api/v2/deals/{id}/discounts`: not paged.
pub(super) fn discounts(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.allow(&[])?;
    let deal = state.readable_record(ctx, Kind::Deal, ctx.id(0)?)?.id;
    let rows = state.shelf.discounts.iter().filter(|row| row["deal_id"] == deal);
    Ok(answer(200, &rows.cloned().collect()))
}

/// `POST /api/v2/deals/{id}/discounts`
pub(super) fn add_discount(state: &mut State, ctx: &Ctx) -> Outcome {
    let deal = state.writable_record(ctx, Kind::Deal, ctx.id(0)?)?.id;
    let given = body(ctx, &DISCOUNT, true)?;
    check(&given)?;
    let (at, by) = (time::v2(ctx.now), ctx.by.user);
    let mut row = json!({ "id": state.draw_uuid(), "deal_id": deal, "created_at": at, "created_by": by, "updated_at": at, "updated_by": by });
    for (key, value) in given {
        row[key] = value;
    }
    state.shelf.discounts.push(row.clone());
    Ok(answer(201, &row).wrote(1))
}

/// `PATCH /api/v2/deals/{id}/discounts/{discount}`
pub(super) fn change_discount(state: &mut State, ctx: &Ctx) -> Outcome {
    let deal = state.writable_record(ctx, Kind::Deal, ctx.id(0)?)?.id;
    let given = body(ctx, &DISCOUNT, false)?;
    check(&given)?;
    let (_, row) = row(&mut state.shelf.discounts, "deal_id", deal, ctx.arg(1), "Discount")?;
    for (key, value) in given {
        row[key] = value;
    }
    (row["updated_at"], row["updated_by"]) = (time::v2(ctx.now).into(), ctx.by.user.into());
    Ok(answer(200, row).wrote(1))
}

/// `DELETE /api/v2/deals/{id}/discounts/{discount}`
pub(super) fn delete_discount(state: &mut State, ctx: &Ctx) -> Outcome {
    let deal = state.writable_record(ctx, Kind::Deal, ctx.id(0)?)?.id;
    let (at, _) = row(&mut state.shelf.discounts, "deal_id", deal, ctx.arg(1), "Discount")?;
    state.shelf.discounts.remove(at);
    Ok(answer(200, &json!({ "id": ctx.arg(1) })).wrote(1))
}

const INSTALLMENT: [&str; 3] = ["description", "amount", "billing_date"];

/// `GET /api/v2/deals/installments?deal_ids=`
pub(super) fn installments(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.allow(&["deal_ids", "cursor", "limit", "sort_by", "sort_direction"])?;
    let deals = query::ids(ctx, "deal_ids")?
        .ok_or_else(|| Refusal::invalid("deal_ids", "Required field is missing"))?;
    let rows = state.shelf.installments.iter();
    let rows = rows.filter(|row| row["deal_id"].as_i64().is_some_and(|id| deals.contains(&id)));
    page::of_values(state, ctx, rows.cloned().collect())
}

/// `POST /api/v2/deals/{id}/installments`
pub(super) fn add_installment(state: &mut State, ctx: &Ctx) -> Outcome {
    let deal = state.writable_record(ctx, Kind::Deal, ctx.id(0)?)?.id;
    let given = body(ctx, &INSTALLMENT, true)?;
    check(&given)?;
    state.shelf.last_price += 1;
    let mut row = json!({ "id": state.shelf.last_price, "deal_id": deal });
    for (key, value) in given {
        row[key] = value;
    }
    state.shelf.installments.push(row.clone());
    Ok(answer(200, &row).wrote(1))
}

/// `PATCH /api/v2/deals/{id}/installments/{installment}`
pub(super) fn change_installment(state: &mut State, ctx: &Ctx) -> Outcome {
    let deal = state.writable_record(ctx, Kind::Deal, ctx.id(0)?)?.id;
    let given = body(ctx, &INSTALLMENT, false)?;
    check(&given)?;
    let rows = &mut state.shelf.installments;
    let (_, row) = row(rows, "deal_id", deal, ctx.arg(1), "Installment")?;
    for (key, value) in given {
        row[key] = value;
    }
    Ok(answer(200, row).wrote(1))
}

/// `DELETE /api/v2/deals/{id}/installments/{installment}`
pub(super) fn delete_installment(state: &mut State, ctx: &Ctx) -> Outcome {
    let deal = state.writable_record(ctx, Kind::Deal, ctx.id(0)?)?.id;
    let rows = &mut state.shelf.installments;
    let (at, _) = row(rows, "deal_id", deal, ctx.arg(1), "Installment")?;
    let gone = state.shelf.installments.remove(at);
    Ok(answer(200, &json!({ "id": gone["id"] })).wrote(1))
}

/// `GET /api/v2/products/{id}/variations`
pub(super) fn variations(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.allow(&["cursor", "limit"])?;
    let product = state.readable_record(ctx, Kind::Product, ctx.id(0)?)?.id;
    let rows = state.shelf.variations.iter().filter(|row| row["product_id"] == product);
    page::of_values(state, ctx, rows.cloned().collect())
}

/// Prices of a variation, each with all its keys.
fn prices(id: i64, given: Option<&Value>) -> Value {
    let rows = given.and_then(Value::as_array).into_iter().flatten().map(|price| {
        let amount = |key: &str| price.get(key).cloned().unwrap_or_else(|| 0.into());
        json!({ "product_variation_id": id, "price": amount("price"), "currency": price["currency"], "cost": amount("cost"),
            "direct_cost": amount("direct_cost"), "notes": price.get("notes").cloned().unwrap_or_else(|| "".into()) })
    });
    rows.collect()
}

/// `POST /api/v2/products/{id}/variations`
pub(super) fn add_variation(state: &mut State, ctx: &Ctx) -> Outcome {
    let product = state.writable_record(ctx, Kind::Product, ctx.id(0)?)?.id;
    let given = body(ctx, &["name", "prices"], false)?;
    check(&given)?;
    let name =
        given.get("name").ok_or_else(|| Refusal::invalid("name", "Required field is missing"))?;
    state.shelf.last_price += 1;
    let id = state.shelf.last_price;
    let row = json!({ "id": id, "name": name, "product_id": product, "prices": prices(id, given.get("prices")) });
    state.shelf.variations.push(row.clone());
    Ok(answer(201, &row).wrote(1))
}

/// `PATCH /api/v2/products/{id}/variations/{variation}`
pub(super) fn change_variation(state: &mut State, ctx: &Ctx) -> Outcome {
    let product = state.writable_record(ctx, Kind::Product, ctx.id(0)?)?.id;
    let given = body(ctx, &["name", "prices"], false)?;
    check(&given)?;
    let rows = &mut state.shelf.variations;
    let (_, row) = row(rows, "product_id", product, ctx.arg(1), "Product variation")?;
    if let Some(name) = given.get("name") {
        row["name"] = name.clone();
    }
    if given.contains_key("prices") {
        row["prices"] = prices(row["id"].as_i64().unwrap_or(0), given.get("prices"));
    }
    Ok(answer(200, row).wrote(1))
}

/// `DELETE /api/v2/products/{id}/variations/{variation}`
pub(super) fn delete_variation(state: &mut State, ctx: &Ctx) -> Outcome {
    let product = state.writable_record(ctx, Kind::Product, ctx.id(0)?)?.id;
    let rows = &mut state.shelf.variations;
    let (at, _) = row(rows, "product_id", product, ctx.arg(1), "Product variation")?;
    let gone = state.shelf.variations.remove(at);
    Ok(answer(200, &json!({ "id": gone["id"] })).wrote(1))
}
