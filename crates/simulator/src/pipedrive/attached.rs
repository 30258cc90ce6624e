//! The product rows of deals.

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::page;
use super::query;
use super::refusal::Refusal;
use super::render::tidy;
use super::routes::{Ctx, Outcome};
use super::schema::blank;
use super::state::{Actor, State};
use super::table::Millis;
use super::time;
use super::validate::Mode;
use crate::host::Reply;

const MAX_ROWS: usize = 100;

fn rows_of(state: &State, deals: &[i64]) -> Vec<Value> {
    let rows = state.table(Kind::DealProduct).rows().values().filter(|row| !row.version.deleted);
    rows.filter(|row| row.version.int("deal_id").is_some_and(|id| deals.contains(&id)))
        .map(|row| row.version.body.clone().into())
        .collect()
}

fn sorted(ctx: &Ctx, mut rows: Vec<Value>) -> Vec<Value> {
    let key = ctx.call.query("sort_by").unwrap_or("id");
    rows.sort_by_key(|row| {
        (row[key].as_i64().unwrap_or(0), row[key].as_str().unwrap_or_default().to_owned())
    });
    if ctx.call.query("sort_direction") == Some("desc") {
        rows.reverse();
    }
    rows
}

/// `GET /api/v2/deals/{id}/products`
pub(super) fn products(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.allow(&["cursor", "limit", "sort_by", "sort_direction"])?;
    let deal = state.readable_record(ctx, Kind::Deal, ctx.id(0)?)?.id;
    page::of_values(state, ctx, sorted(ctx, rows_of(state, &[deal])))
}

/// A product row as v1 has it.
fn old(mut row: Value) -> Value {
    row["enabled_flag"] = row["is_enabled"].clone();
    row["last_edit"] = row["update_time"].as_str().map(time::to_v1).into();
    row["add_time"] = row["add_time"].as_str().map(time::to_v1).into();
    row["active_flag"] = true.into();
    row
}

/// `GET /v1/deals/{id}/products`, retired
pub(super) fn old_products(state: &mut State, ctx: &Ctx) -> Outcome {
    let deal = state.readable_record(ctx, Kind::Deal, ctx.id(0)?)?.id;
    let rows = rows_of(state, &[deal]).into_iter().map(old).collect();
    page::v1_list(state, ctx, rows)
}

/// `POST /v1/deals/{id}/products`, retired
pub(super) fn add_old_product(state: &mut State, ctx: &Ctx) -> Outcome {
    let deal = state.writable_record(ctx, Kind::Deal, ctx.id(0)?)?.id;
    let mut given = ctx.object()?;
    if let Some(flag) = given.remove("enabled_flag") {
        given.insert("is_enabled".into(), (flag == true || flag == 1).into());
    }
    let id = state.add_row(deal, &given, &ctx.by, ctx.now)?;
    let data = old(state.row_json(id));
    Ok(Reply::json(201, &json!({ "success": true, "data": data })).wrote(1))
}

/// `GET /api/v2/deals/products?deal_ids=`
pub(super) fn products_of_deals(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.allow(&["deal_ids", "cursor", "limit", "sort_by", "sort_direction"])?;
    let deals = query::ids(ctx, "deal_ids")?
        .ok_or_else(|| Refusal::invalid("deal_ids", "Required field is missing"))?;
    page::of_values(state, ctx, sorted(ctx, rows_of(state, &deals)))
}

impl State {
    fn add_row(
        &mut self,
        deal: i64,
        given: &Map<String, Value>,
        by: &Actor,
        now: Millis,
    ) -> Result<i64, Refusal> {
        let input = self.validate(Kind::DealProduct, Mode::Create, given, by)?;
        for key in ["product_id", "item_price", "quantity"] {
            if input.body.get(key).is_none_or(Value::is_null) {
                return Err(Refusal::invalid(key, "Required field is missing"));
            }
        }
        let mut body = blank(Kind::DealProduct, false);
        body.extend(input.body);
        body.insert("deal_id".into(), deal.into());
        let currency = self
            .record(Kind::Deal, deal)
            .map_or(Value::Null, |deal| deal.version.body["currency"].clone());
        body.insert("currency".into(), currency);
        let product = body["product_id"].as_i64().and_then(|id| self.record(Kind::Product, id));
        body.insert(
            "name".into(),
            product.map_or(Value::Null, |product| product.version.body["name"].clone()),
        );
        body.insert("order_nr".into(), (rows_of(self, &[deal]).len() + 1).into());
        Self::price_row(&mut body);
        let id = self.insert(Kind::DealProduct, body, Map::new(), by, now);
        self.recount_deal(id, by, now);
        Ok(id)
    }

    /// The value that a deal's product rows add up to; `None` without rows.
    pub(super) fn rows_value(&self, deal: i64) -> Option<Value> {
        let rows = rows_of(self, &[deal]);
        if !self.settings.switches.rows_set_value || rows.is_empty() {
            return None;
        }
        let enabled = rows.iter().filter(|row| row["is_enabled"] == true);
        let sum: f64 = enabled.filter_map(|row| row["sum"].as_f64()).sum();
        Some(tidy((sum * 100.0).round() / 100.0))
    }

    /// A deal's value follows its product rows.
    pub(super) fn recount_deal(&mut self, row: i64, by: &Actor, now: Millis) {
        let Some(deal) =
            self.record(Kind::DealProduct, row).and_then(|row| row.version.int("deal_id"))
        else {
            return;
        };
        let Some(record) = self.live(Kind::Deal, deal) else { return };
        let (mut body, custom) = (record.version.body.clone(), record.version.custom.clone());
        if let Some(value) = self.rows_value(deal) {
            body.insert("value".into(), value);
        }
        if self.settings.switches.rows_touch_deal {
            let noop = std::mem::replace(&mut self.settings.switches.noop_writes_count, true);
            self.commit(Kind::Deal, deal, body, custom, by, now);
            self.settings.switches.noop_writes_count = noop;
        } else if let Some(record) = self.table_mut(Kind::Deal).get_mut(deal) {
            record.version.body = body;
            record.rendered = None;
        }
    }

    fn row_json(&self, id: i64) -> Value {
        self.record(Kind::DealProduct, id)
            .map_or(Value::Null, |row| row.version.body.clone().into())
    }

    fn row_of(&self, ctx: &Ctx) -> Result<i64, Refusal> {
        let (deal, row) = (ctx.id(0)?, ctx.id(1)?);
        let row = self
            .live(Kind::DealProduct, row)
            .filter(|row| row.version.int("deal_id") == Some(deal));
        row.map(|row| row.id).ok_or_else(|| Refusal::not_found(Kind::DealProduct.title()))
    }
}

/// `POST /api/v2/deals/{id}/products`
pub(super) fn add_product(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.allow(&[])?;
    let deal = state.writable_record(ctx, Kind::Deal, ctx.id(0)?)?.id;
    let id = state.add_row(deal, &ctx.object()?, &ctx.by, ctx.now)?;
    Ok(Reply::json(201, &json!({ "success": true, "data": state.row_json(id) })).wrote(1))
}

/// `POST /api/v2/deals/{id}/products/bulk`
pub(super) fn add_products(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.allow(&[])?;
    let deal = state.writable_record(ctx, Kind::Deal, ctx.id(0)?)?.id;
    let given = ctx.object()?;
    let rows: Vec<_> = given
        .get("data")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .collect();
    if rows.is_empty() || rows.len() > MAX_ROWS {
        return Err(Refusal::invalid("data", "Between 1 and 100 products are allowed"));
    }
    let mut added = Vec::new();
    for row in rows {
        let id = state.add_row(deal, row, &ctx.by, ctx.now)?;
        added.push(state.row_json(id));
    }
    let count = added.len();
    Ok(Reply::json(201, &json!({ "success": true, "data": added })).wrote(count))
}

/// `PATCH /api/v2/deals/{id}/products/{row}`
pub(super) fn change_product(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.allow(&[])?;
    state.writable_record(ctx, Kind::Deal, ctx.id(0)?)?;
    let id = state.row_of(ctx)?;
    state.change(Kind::DealProduct, id, &ctx.object()?, &ctx.by, ctx.now)?;
    state.recount_deal(id, &ctx.by, ctx.now);
    Ok(Reply::json(200, &json!({ "success": true, "data": state.row_json(id) })).wrote(1))
}

/// `DELETE /api/v2/deals/{id}/products/{row}`
pub(super) fn delete_product(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.allow(&[])?;
    state.writable_record(ctx, Kind::Deal, ctx.id(0)?)?;
    let id = state.row_of(ctx)?;
    state.remove(Kind::DealProduct, id, &ctx.by, ctx.now);
    Ok(Reply::json(200, &json!({ "success": true, "data": { "id": id } })).wrote(1))
}

/// `DELETE /api/v2/deals/{id}/products?ids=`: without ids up to 100 go.
pub(super) fn delete_products(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.allow(&["ids"])?;
    let deal = state.writable_record(ctx, Kind::Deal, ctx.id(0)?)?.id;
    let wanted = query::ids(ctx, "ids")?;
    let rows = rows_of(state, &[deal]);
    let held = rows
        .iter()
        .filter_map(|row| row["id"].as_i64())
        .filter(|id| wanted.as_ref().is_none_or(|ids| ids.contains(id)));
    let ids: Vec<i64> = held.take(MAX_ROWS).collect();
    for id in &ids {
        state.remove(Kind::DealProduct, *id, &ctx.by, ctx.now);
    }
    let more = wanted.is_none() && rows.len() > ids.len();
    let count = ids.len();
    Ok(Reply::json(200, &json!({ "success": true, "data": { "ids": ids }, "additional_data": { "more_items_in_collection": more } })).wrote(count))
}
