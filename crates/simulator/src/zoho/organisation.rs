//! The organisation, its users and currencies.

use serde_json::{Value, json};

use super::fields::extend;
use super::oauth::Right;
use super::refusal::{Answer, Refusal};
use super::request::Request;
use super::state::State;
use super::table::seconds;
use crate::host::Reply;

/// The users that `type` names.
fn admits(kind: &str, caller: u64) -> impl Fn(&super::User) -> bool {
    move |user| match kind {
        "AllUsers" | "ConfirmedUsers" => !user.deleted,
        "ActiveUsers" | "ActiveConfirmedUsers" => user.is_active(),
        "DeactiveUsers" => !user.active && !user.deleted,
        "DeletedUsers" => user.deleted,
        "AdminUsers" | "ActiveConfirmedAdmins" => user.is_active() && user.admin,
        "CurrentUser" => user.id == caller,
        _ => false,
    }
}

/// `GET /users/actions/count`.
pub(super) fn user_count(state: &State, request: &Request<'_>) -> Answer {
    request.access.require("users", "", Right::Read)?;
    let kind = request.call.query("type").unwrap_or("AllUsers");
    let admits = admits(kind, request.access.user);
    let count = state.users.values().filter(|user| admits(user)).count();
    Ok(Reply::json(200, &json!({ "count": count })))
}

/// `GET /users`.
pub(super) fn users(state: &State, request: &Request<'_>, id: Option<&str>) -> Answer {
    request.access.require("users", "", Right::Read)?;
    let kind = request.call.query("type").unwrap_or("AllUsers");
    let ids: Option<Vec<&str>> =
        id.or_else(|| request.call.query("ids")).map(|ids| ids.split(',').collect());
    let admits = admits(kind, request.access.user);
    let known = [
        "AllUsers",
        "ActiveUsers",
        "DeactiveUsers",
        "ConfirmedUsers",
        "NotConfirmedUsers",
        "DeletedUsers",
        "ActiveConfirmedUsers",
        "AdminUsers",
        "ActiveConfirmedAdmins",
        "CurrentUser",
    ];
    if !known.contains(&kind) {
        return Err(Refusal::invalid_param("type"));
    }
    let since = request.since("if-modified-since")?;
    let per_page = request.per_page(200)?;
    let page = usize::try_from(request.page()?).unwrap_or(usize::MAX);
    let matching: Vec<&super::User> = state
        .users
        .values()
        .filter(|user| admits(user) && since.is_none_or(|since| seconds(user.created) >= since))
        .filter(|user| ids.as_ref().is_none_or(|ids| ids.contains(&user.id.to_string().as_str())))
        .collect();
    let shown: Vec<Value> = matching
        .iter()
        .skip((page - 1).saturating_mul(per_page))
        .take(per_page)
        .map(|user| user_object(state, request, user))
        .collect();
    if shown.is_empty() {
        return Ok(Reply::empty(if since.is_some() { 304 } else { 204 }));
    }
    let more = page.saturating_mul(per_page) < matching.len();
    let info =
        json!({ "per_page": per_page, "count": shown.len(), "page": page, "more_records": more });
    Ok(Reply::json(200, &json!({ "users": shown, "info": info })))
}

fn user_object(state: &State, request: &Request<'_>, user: &super::User) -> Value {
    let status = match (user.deleted, user.active) {
        (true, _) => "deleted",
        (false, true) => "active",
        (false, false) => "inactive",
    };
    let profile = if user.admin { "Administrator" } else { "Standard" };
    let mut object = json!({
        "id": user.id.to_string(), "zuid": user.zuid(), "first_name": user.first_name, "last_name": user.last_name,
        "full_name": user.full_name(), "email": user.email, "status": status, "confirm": true,
        "role": { "name": if user.admin { "CEO" } else { "Manager" }, "id": state.profile(user.admin) },
        "profile": { "name": profile, "id": state.profile(user.admin) },
        "Reporting_To": null, "time_zone": user.time_zone.name(), "offset": user.standard_offset(),
    });
    extend(
        &mut object,
        json!({
            "locale": "en_GB", "country_locale": "en_GB", "language": "en_GB", "country": null, "state": null, "city": null,
            "street": null, "zip": null, "date_format": "dd/MM/yyyy", "time_format": "HH:mm", "decimal_separator": "Period",
            "number_separator": "Comma", "name_format__s": "Salutation,First Name,Last Name", "created_time": request.zone.millis(user.created),
            "created_by": state.user_ref(user.id), "Modified_Time": request.zone.millis(user.created),
            "Modified_By": state.user_ref(user.id), "Currency": state.org.currency, "type__s": "Regular User", "Isonline": false,
            "alias": null, "phone": null, "mobile": null, "fax": null, "website": null, "dob": null, "signature": null,
            "microsoft": false, "personal_account": false, "default_tab_group": null, "sandboxDeveloper": false, "territories": [],
            "status_reason__s": null, "sort_order_preference__s": "First Name,Last Name", "category": "regular_user",
        }),
    );
    object
}

/// `GET /org`.
pub(super) fn org(state: &State, request: &Request<'_>) -> Answer {
    request.access.require("org", "", Right::Read)?;
    let org = &state.org;
    let body = json!({ "org": [{
        "id": (state.org.zgid * 1_000_000 + 7).to_string(), "zgid": org.zgid.to_string(), "domain_name": format!("org{}", org.zgid),
        "company_name": org.company_name, "primary_email": "ann@example.com", "primary_zuid": (org.zgid + 1).to_string(),
        "time_zone": org.time_zone.name(), "country_code": "DE", "country": "DE", "currency": org.currency_name, "currency_symbol": org.currency_symbol,
        "currency_locale": "de_DE", "iso_code": org.currency, "mc_status": false, "privacy_settings": true,
        "hipaa_compliance_enabled": false, "gapps_enabled": false, "created_time": request.zone.millis(org.created),
        "license_details": {
            "paid": true, "paid_type": org.edition.name(), "trial_type": null, "trial_expiry": null, "paid_expiry": null,
            "trial_action": null, "users_license_purchased": 10, "portal_users_license_purchased": 0,
        },
        "type": "production", "hierarchy_preferences": { "type": "Role_Hierarchy", "strictly_reporting": null },
        "alias": null, "city": null, "description": null, "employee_count": null, "fax": null, "mobile": null, "phone": null,
        "photo_id": null, "state": null, "street": null, "website": null, "zip": null, "zia_portal_id": null,
        "max_per_page": null, "ui_lite": true, "lite_users_enabled": false, "portal_users_license_purchased": null,
    }] });
    Ok(Reply::json(200, &body))
}

/// `GET /org/currencies`.
pub(super) fn currencies(state: &State, request: &Request<'_>) -> Answer {
    request.access.require("settings", "currencies", Right::Read)?;
    if !state.switches.currencies_enabled {
        return Err(Refusal::new(
            403,
            "CURRENCIES_NOT_ENABLED",
            "multi currency is not enabled",
            json!({}),
        ));
    }
    let org = &state.org;
    let currency = json!({
        "id": (org.zgid * 1_000_000 + 8).to_string(), "name": format!("{} - {}", org.currency_name, org.currency),
        "iso_code": org.currency, "symbol": org.currency_symbol, "prefix_symbol": true, "is_active": true, "is_base": true,
        "exchange_rate": "1.000000000",
        "format": { "decimal_separator": "Period", "thousand_separator": "Comma", "decimal_places": "2" },
        "created_time": request.zone.millis(org.created), "modified_time": request.zone.millis(org.created),
        "created_by": null, "modified_by": null,
    });
    Ok(Reply::json(200, &json!({ "currencies": [currency] })))
}

/// The one that the path names, or all.
fn named(all: Vec<Value>, id: Option<&str>) -> Vec<Value> {
    all.into_iter().filter(|one| id.is_none_or(|id| one["id"] == id)).collect()
}

/// `GET /settings/roles` and `GET /settings/roles/{id}`.
pub(super) fn roles(state: &State, request: &Request<'_>, id: Option<&str>) -> Answer {
    request.access.require("settings", "roles", Right::Read)?;
    let role = |name: &str, admin: bool, above: Value| {
        json!({
            "id": state.profile(admin), "name": name, "display_label": name, "reporting_to": above, "share_with_peers": admin,
            "description": null, "forecast_manager": null, "created_by__s": null, "modified_by__s": null,
            "created_time__s": null, "modified_time__s": null, "admin_user": admin, "portal_user__s": false,
        })
    };
    let above = json!({ "name": "CEO", "id": state.profile(true) });
    let roles = named(vec![role("CEO", true, Value::Null), role("Manager", false, above)], id);
    if roles.is_empty() {
        return Ok(Reply::empty(204));
    }
    Ok(Reply::json(200, &json!({ "roles": roles })))
}

/// `GET /settings/profiles` and `GET /settings/profiles/{id}`.
pub(super) fn profiles(state: &State, request: &Request<'_>, id: Option<&str>) -> Answer {
    request.access.require("settings", "profiles", Right::Read)?;
    let profile = |name: &str, admin: bool| {
        json!({
            "id": state.profile(admin), "name": name, "display_label": name, "custom": false, "type": "normal_profile",
            "description": null, "created_by": null, "modified_by": null, "created_time": null, "modified_time": null,
        })
    };
    let profiles = named(vec![profile("Administrator", true), profile("Standard", false)], id);
    if profiles.is_empty() {
        return Ok(Reply::empty(204));
    }
    Ok(Reply::json(200, &json!({ "profiles": profiles })))
}
