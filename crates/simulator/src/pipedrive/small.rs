//! The small v1 resources: users, currencies, activity types; and what else stands on the company's shelf.

#![expect(clippy::unnecessary_wraps, reason = "handlers share one signature")]

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::refusal::Refusal;
use super::routes::{Ctx, Outcome};
use super::state::{State, User, uuid};
use super::table::Millis;
use super::time;
use crate::host::Reply;

/// Lists that are small and never paged.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf {
    pub(super) currencies: Vec<Value>,
    pub(super) activity_types: Vec<Value>,
    pub(super) lead_labels: Vec<Value>,
    /// Finished conversions by id.
    pub(super) conversions: BTreeMap<String, Value>,
    /// Saved filters by id: conditions of equality.
    pub(super) filters: BTreeMap<i64, Vec<(&'static str, Value)>>,
}

impl Shelf {
    /// What a new company has.
    pub(super) fn founded(now: Millis) -> Self {
        let currencies = [
            ("EUR", "Euro", 2, "€"),
            ("USD", "US Dollar", 2, "$"),
            ("GBP", "Pound Sterling", 2, "£"),
            ("CHF", "Swiss Franc", 2, "CHF"),
            ("JPY", "Japanese Yen", 0, "¥"),
            ("SEK", "Swedish Krona", 2, "kr"),
            ("KWD", "Kuwaiti Dinar", 3, "KD"),
        ];
        let currencies = currencies.iter().enumerate().map(|(index, (code, name, decimals, symbol))| {
            json!({ "id": index + 1, "code": code, "name": name, "decimal_points": decimals, "symbol": symbol,
                "active_flag": true, "is_custom_flag": false })
        });
        let types = [
            ("Call", "call"),
            ("Meeting", "meeting"),
            ("Task", "task"),
            ("Deadline", "deadline"),
            ("Email", "email"),
            ("Lunch", "lunch"),
        ];
        let types = types.iter().enumerate().map(|(index, (name, key))| {
            json!({ "id": index + 1, "order_nr": index + 1, "name": name, "key_string": key, "icon_key": key,
                "active_flag": true, "color": null, "is_custom_flag": false, "add_time": time::v1(now), "update_time": null })
        });
        let labels = [("Hot", "red"), ("Warm", "yellow"), ("Cold", "blue")].iter().map(|(name, color)| {
            let id = uuid(blake3::hash(name.as_bytes()).as_bytes());
            json!({ "id": id, "name": name, "color": color, "add_time": time::exact(now), "update_time": time::exact(now) })
        });
        Self {
            currencies: currencies.collect(),
            activity_types: types.collect(),
            lead_labels: labels.collect(),
            ..Self::default()
        }
    }

    pub(super) fn has_currency(&self, code: &str) -> bool {
        self.currencies.iter().any(|currency| currency["code"] == code)
    }
}

/// `+03:00`
fn offset(zone: &str, now: Millis) -> String {
    let zone: chrono_tz::Tz = zone.parse().unwrap_or(chrono_tz::UTC);
    time::moment(now).with_timezone(&zone).format("%:z").to_string()
}

impl State {
    /// The v1 form of a user.
    pub(super) fn user_json(&self, user: &User, caller: i64, now: Millis) -> Value {
        let permission_set = uuid(blake3::hash(b"permission set").as_bytes());
        json!({
            "id": user.id, "name": user.name, "email": user.email, "lang": 1, "locale": "en_US",
            "timezone_name": user.time_zone, "timezone_offset": offset(&user.time_zone, now),
            "default_currency": user.currency, "icon_url": null, "active_flag": user.active, "is_deleted": false,
            "is_admin": i32::from(user.admin), "role_id": 1, "created": time::v1(user.created),
            "modified": time::v1(user.modified), "last_login": time::v1(user.modified),
            "has_created_company": self.web().user == user.id, "is_you": user.id == caller, "activated": true, "phone": null,
            "access": [{ "app": "sales", "admin": user.admin, "permission_set_id": permission_set }],
        })
    }
}

fn reply(state: &State, data: &Value) -> Reply {
    let company = state.settings.company.id;
    Reply::json(
        200,
        &json!({ "success": true, "data": data, "additional_data": { "company_id": company } }),
    )
}

fn plain(data: &Value) -> Reply {
    Reply::json(200, &json!({ "success": true, "data": data }))
}

/// `GET /v1/users`: all, with the deactivated ones.
pub(super) fn users(state: &mut State, ctx: &Ctx) -> Outcome {
    let rows = state.users.values().map(|user| state.user_json(user, ctx.by.user, ctx.now));
    Ok(reply(state, &rows.collect()))
}

/// `GET /v1/users/me`
pub(super) fn me(state: &mut State, ctx: &Ctx) -> Outcome {
    let user =
        state.user(ctx.by.user).ok_or_else(|| Refusal::gateway(401, "unauthorized access"))?;
    let mut data = state.user_json(user, ctx.by.user, ctx.now);
    let company = &state.settings.company;
    data["company_id"] = company.id.into();
    data["company_name"] = company.name.clone().into();
    data["company_domain"] = company.domain.clone().into();
    data["company_country"] = "EE".into();
    data["company_industry"] = "Software".into();
    data["language"] = json!({ "language_code": "en", "country_code": "US" });
    Ok(plain(&data))
}

/// `GET /v1/users/{id}`
pub(super) fn user(state: &mut State, ctx: &Ctx) -> Outcome {
    let user = ctx.arg(0).parse().ok().and_then(|id| state.user(id));
    let user = user.ok_or_else(|| Refusal::new(404, "User not found or not accessible."))?;
    Ok(reply(state, &state.user_json(user, ctx.by.user, ctx.now)))
}

/// `GET /v1/users/find?term=&search_by_email=0|1`
pub(super) fn find_users(state: &mut State, ctx: &Ctx) -> Outcome {
    let term = ctx.call.query("term").unwrap_or_default().to_lowercase();
    if term.is_empty() {
        return Err(Refusal::new(
            400,
            "ServerError [ERR_INVALID_INPUT]: Invalid input: \"term\" is not allowed to be empty",
        ));
    }
    let by_email = ctx.call.query("search_by_email") == Some("1");
    let hit = |user: &&User| {
        if by_email {
            user.email.to_lowercase().contains(&term)
        } else {
            user.name.to_lowercase().contains(&term)
        }
    };
    let rows =
        state.users.values().filter(hit).map(|user| state.user_json(user, ctx.by.user, ctx.now));
    Ok(plain(&rows.collect()))
}

/// `GET /v1/currencies?term=`
pub(super) fn currencies(state: &mut State, ctx: &Ctx) -> Outcome {
    let term = ctx.call.query("term").unwrap_or_default().to_lowercase();
    let hit = |row: &&Value| {
        ["code", "name"]
            .iter()
            .any(|key| row[*key].as_str().unwrap_or_default().to_lowercase().contains(&term))
    };
    Ok(plain(&state.shelf.currencies.iter().filter(hit).cloned().collect()))
}

/// `GET /v1/activityTypes`
pub(super) fn activity_types(state: &mut State, _: &Ctx) -> Outcome {
    Ok(plain(&state.shelf.activity_types.clone().into()))
}
