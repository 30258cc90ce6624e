//! The small v1 resources: users, currencies, activity types; and what else stands on the company's shelf.

#![expect(clippy::unnecessary_wraps, reason = "handlers share one signature")]

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::files::Files;
use super::filters::Filter;
use super::kind::Kind;
use super::participants::{self, Participant};
use super::refusal::Refusal;
use super::relationships::Relationship;
use super::routes::{Ctx, Outcome};
use super::state::{State, User, uuid};
use super::table::Millis;
use super::{followers, page, time};
use crate::host::Reply;

/// Lists that are small and never paged.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf {
    pub(super) currencies: Vec<Value>,
    pub(super) activity_types: Vec<Value>,
    pub(super) lead_labels: Vec<Value>,
    /// Finished conversions by id.
    pub(super) conversions: BTreeMap<String, Value>,
    /// Comments on notes, oldest first.
    pub(super) comments: Vec<Value>,
    pub(super) participants: BTreeMap<i64, Participant>,
    pub(super) participant_steps: Vec<participants::Step>,
    pub(super) last_participant: i64,
    pub(super) follow_steps: BTreeMap<(Kind, i64), Vec<followers::Step>>,
    pub(super) files: Files,
    pub(super) relationships: BTreeMap<i64, Relationship>,
    pub(super) discounts: Vec<Value>,
    pub(super) installments: Vec<Value>,
    pub(super) variations: Vec<Value>,
    /// The latest id of an installment or a variation.
    pub(super) last_price: i64,
    /// Saved filters by id.
    pub(super) filters: BTreeMap<i64, Filter>,
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

/// A text of a body that may stand there, empty or not.
fn given_text(given: &Map<String, Value>, key: &str) -> Option<String> {
    given.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// `POST /v1/activityTypes`
pub(super) fn add_activity_type(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.admin(state)?;
    let given = ctx.object()?;
    let (name, icon) = (given_text(&given, "name"), given_text(&given, "icon_key"));
    let (Some(name), Some(icon)) = (name, icon) else {
        return Err(Refusal::new(400, "Name and icon_key must be given."));
    };
    let types = &mut state.shelf.activity_types;
    let key = name.to_lowercase().replace(|sign: char| !sign.is_ascii_alphanumeric(), "_");
    if types.iter().any(|kind| kind["key_string"] == key && kind["active_flag"] == true) {
        return Err(Refusal::new(400, "An activity type of this name exists already."));
    }
    let at = time::v1(ctx.now);
    let kind = json!({ "id": types.len() + 1, "order_nr": types.len() + 1, "name": name, "key_string": key, "icon_key": icon,
        "active_flag": true, "color": given.get("color"), "is_custom_flag": true, "add_time": at, "update_time": at });
    types.push(kind.clone());
    Ok(plain(&kind).wrote(1))
}

fn activity_type<'a>(state: &'a mut State, ctx: &Ctx) -> Result<&'a mut Value, Refusal> {
    let id = ctx.id(0)?;
    let kind = state.shelf.activity_types.iter_mut().find(|kind| kind["id"] == id);
    kind.ok_or_else(|| Refusal::not_found("Activity type"))
}

/// `PUT /v1/activityTypes/{id}`
pub(super) fn change_activity_type(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.admin(state)?;
    let given = ctx.object()?;
    let kind = activity_type(state, ctx)?;
    for key in ["name", "icon_key", "color", "order_nr"] {
        if let Some(value) = given.get(key) {
            kind[key] = value.clone();
        }
    }
    kind["update_time"] = time::v1(ctx.now).into();
    Ok(plain(kind).wrote(1))
}

/// `DELETE /v1/activityTypes/{id}`: it stays, without being active.
pub(super) fn delete_activity_type(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.admin(state)?;
    let kind = activity_type(state, ctx)?;
    kind["active_flag"] = false.into();
    kind["update_time"] = time::v1(ctx.now).into();
    Ok(plain(kind).wrote(1))
}

fn named_user<'a>(state: &'a State, ctx: &Ctx) -> Result<&'a User, Refusal> {
    let user = ctx.arg(0).parse().ok().and_then(|id| state.user(id));
    user.ok_or_else(|| Refusal::new(404, "User not found or not accessible."))
}

/// `GET /v1/users/{id}/permissions`
pub(super) fn permissions(state: &mut State, ctx: &Ctx) -> Outcome {
    let admin = named_user(state, ctx)?.admin;
    Ok(plain(&json!({
        "can_add_custom_fields": admin, "can_add_products": true, "can_add_prospects_as_leads": false, "can_bulk_edit_items": admin,
        "can_change_visibility_of_items": true, "can_convert_deals_to_leads": true, "can_create_own_workflow": admin,
        "can_delete_activities": true, "can_delete_custom_fields": admin, "can_delete_deals": true, "can_edit_custom_fields": admin,
        "can_edit_deals_closed_date": admin, "can_edit_products": true, "can_edit_shared_filters": admin, "can_export_data_from_lists": admin,
        "can_follow_other_users": true, "can_merge_deals": true, "can_merge_organizations": true, "can_merge_people": true,
        "can_modify_labels": admin, "can_see_company_wide_statistics": admin, "can_see_deals_list_summary": true,
        "can_see_hidden_items_names": false, "can_see_other_users": true, "can_see_other_users_statistics": admin,
        "can_see_security_dashboard": admin, "can_share_filters": true, "can_share_insights": true, "can_use_api": true,
        "can_use_email_tracking": true, "can_use_import": admin,
    })))
}

const DEFAULT_VISIBILITY: i64 = 3;

fn visibilities() -> Value {
    let kinds = ["deal", "lead", "org", "person", "product"];
    kinds
        .iter()
        .map(|kind| (format!("{kind}_default_visibility"), DEFAULT_VISIBILITY.into()))
        .collect::<Map<_, _>>()
        .into()
}

/// The one role that all users have.
fn only_role(state: &State) -> Value {
    let users = state.users.len().to_string();
    json!({ "id": 1, "parent_role_id": null, "name": "(Unassigned users)", "active_flag": true, "assignment_count": users,
        "sub_role_count": "0", "level": 1 })
}

/// `GET /v1/users/{id}/roleAssignments`
pub(super) fn assignments(state: &mut State, ctx: &Ctx) -> Outcome {
    let user = named_user(state, ctx)?.id;
    let row = json!({ "user_id": user, "role_id": 1, "parent_role_id": null, "name": "(Unassigned users)", "active_flag": true, "type": "1" });
    page::v1_list(state, ctx, vec![row])
}

/// `GET /v1/users/{id}/roleSettings`
pub(super) fn role_settings(state: &mut State, ctx: &Ctx) -> Outcome {
    named_user(state, ctx)?;
    Ok(plain(&visibilities()))
}

/// `GET /v1/roles`
pub(super) fn roles(state: &mut State, ctx: &Ctx) -> Outcome {
    page::v1_list(state, ctx, vec![only_role(state)])
}

/// `GET /v1/roles/{id}`
pub(super) fn role(state: &mut State, ctx: &Ctx) -> Outcome {
    if ctx.id(0)? != 1 {
        return Err(Refusal::not_found("Role"));
    }
    let mut role = only_role(state);
    if let Some(role) = role.as_object_mut() {
        role.remove("level");
    }
    Ok(Reply::json(
        200,
        &json!({ "success": true, "data": role, "additional_data": { "settings": visibilities() } }),
    ))
}

/// `GET /v1/permissionSets?app=`
pub(super) fn permission_sets(state: &mut State, ctx: &Ctx) -> Outcome {
    let count = |admin: bool| state.users.values().filter(|user| user.admin == admin).count();
    let set = |seed: &str, name: &str, kind: &str, count: usize| {
        json!({ "id": uuid(blake3::hash(seed.as_bytes()).as_bytes()), "name": name, "description": name, "app": "sales",
            "type": kind, "assignment_count": count })
    };
    let sets = [
        set("permission set", "Deals admin", "admin", count(true)),
        set("regular permission set", "Deals regular user", "regular", count(false)),
    ];
    let app = ctx.call.query("app");
    Ok(plain(&sets.into_iter().filter(|set| app.is_none_or(|app| set["app"] == app)).collect()))
}

/// `GET /v1/userSettings`
pub(super) fn user_settings(_: &mut State, _: &Ctx) -> Outcome {
    Ok(plain(&json!({
        "marketplace_team": false, "list_limit": 100, "beta_app": false, "prevent_salesphone_callto_override": false,
        "file_upload_destination": "s3", "callto_link_syntax": "callto:[number]", "autofill_deal_expected_close_date": false,
        "person_duplicate_condition": "name && (org_id || email || phone)",
    })))
}

/// `GET /v1/userConnections`: none.
pub(super) fn connections(_: &mut State, _: &Ctx) -> Outcome {
    Ok(plain(&json!({ "google": null })))
}

/// `GET /v1/activityTypes`
pub(super) fn activity_types(state: &mut State, _: &Ctx) -> Outcome {
    Ok(plain(&state.shelf.activity_types.clone().into()))
}
