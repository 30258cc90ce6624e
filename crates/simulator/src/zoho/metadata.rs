//! What the organisation says about itself: modules, fields, layouts, pipelines, users.

use serde_json::{Map, Value, json};

use super::defaults;
use super::oauth::Right;
use super::refusal::{Answer, Refusal};
use super::request::Request;
use super::schema::{Access, External, Field, FieldType, Module};
use super::state::State;
use super::table::seconds;
use crate::host::Reply;

/// `GET /settings/modules` and `GET /settings/modules/{api_name}`.
pub(super) fn modules(state: &State, request: &Request<'_>, name: Option<&str>) -> Answer {
    request.access.require("settings", "modules", Right::Read)?;
    let present = state.modules.values().filter(|module| module.rules.access != Access::Absent);
    let listed: Vec<Value> = present
        .filter(|module| {
            name.is_none_or(|name| module.api_name == name || module.id.to_string() == name)
        })
        .enumerate()
        .map(|(at, module)| module_object(state, module, at))
        .collect();
    if listed.is_empty() {
        return Err(Refusal::module(2));
    }
    Ok(Reply::json(200, &json!({ "modules": listed })))
}

fn module_object(state: &State, module: &Module, at: usize) -> Value {
    let notes = module.api_name == "Notes";
    json!({
        "id": module.id.to_string(),
        "api_name": module.api_name,
        "module_name": module.tab,
        "singular_label": module.singular,
        "plural_label": module.plural,
        "actual_singular_label": module.singular,
        "actual_plural_label": module.plural,
        "generated_type": if module.custom { "custom" } else { "default" },
        "api_supported": true,
        "creatable": true,
        "editable": true,
        "deletable": true,
        "viewable": true,
        "convertable": module.api_name == "Leads",
        "quick_create": !notes,
        "status": "visible",
        "visibility": 1,
        "sequence_number": at + 1,
        "parent_module": {},
        "modified_time": null,
        "modified_by": null,
        "profiles": profiles(state),
        "has_more_profiles": false,
        "profile_count": 2,
        "private_profile": null,
        "access_type": "org_based",
        "recycle_bin_on_delete": true,
        "description": null,
        "feeds_required": false,
        "show_as_tab": !notes,
        "presence_sub_menu": !notes,
        "sub_menu_available": !notes,
        "isBlueprintSupported": !notes,
        "business_card_field_limit": 5,
        "web_link": null,
        "arguments": [],
    })
}

fn profiles(state: &State) -> Value {
    json!([{ "name": "Administrator", "id": state.profile(true) }, { "name": "Standard", "id": state.profile(false) }])
}

/// `GET /settings/fields?module=` and `GET /settings/fields/{id}?module=`.
pub(super) fn fields(state: &State, request: &Request<'_>, id: Option<&str>) -> Answer {
    request.access.require("settings", "fields", Right::Read)?;
    let module = named_module(state, request)?;
    let wanted =
        module.fields.iter().filter(|field| id.is_none_or(|id| field.id.to_string() == id));
    let listed: Vec<Value> =
        wanted.map(|field| field_object(state, request, module, field)).collect();
    if listed.is_empty() {
        return Ok(Reply::empty(204));
    }
    Ok(Reply::json(200, &json!({ "fields": listed })))
}

fn named_module<'a>(state: &'a State, request: &Request<'_>) -> Result<&'a Module, Refusal> {
    let name = request.call.query("module").ok_or_else(|| Refusal::param_missing("module"))?;
    let invalid = || {
        Refusal::new(
            400,
            "INVALID_MODULE",
            "the module name given seems to be invalid",
            json!({ "param_name": "module" }),
        )
    };
    state
        .module(name, 0)
        .map_err(|refusal| if refusal.code == "INVALID_MODULE" { invalid() } else { refusal })
}

fn field_object(state: &State, request: &Request<'_>, module: &Module, field: &Field) -> Value {
    let writable = !field.read_only && field.api_name != "id";
    let system = matches!(field.api_name.as_str(), "Created_Time" | "Modified_Time" | "id");
    let mut object = json!({
        "id": field.id.to_string(),
        "api_name": field.api_name,
        "field_label": field.label,
        "display_label": field.label,
        "data_type": field.kind.name(),
        "json_type": field.kind.json_type(),
        "length": field.length,
        "decimal_place": decimals(field.kind),
        "ui_type": 1,
        "display_type": -1,
        "custom_field": field.custom,
        "created_source": if field.custom { "user" } else { "default" },
        "type": "used",
        "system_mandatory": field.mandatory,
        "read_only": field.read_only && field.kind != FieldType::Formula,
        "field_read_only": field.read_only,
        "visible": !field.unseen,
        "virtual_field": false,
        "searchable": !matches!(field.kind, FieldType::Subform | FieldType::Json),
        "sortable": !matches!(field.kind, FieldType::Subform | FieldType::Json | FieldType::RichText | FieldType::LargeText),
        "filterable": !matches!(field.kind, FieldType::Subform | FieldType::Json),
        "operation_type": {
            "web_create": writable, "web_update": writable, "api_create": writable, "api_update": writable && !(module.api_name == "Notes" && field.api_name == "Parent_Id"),
        },
        "view_type": { "view": !field.unseen, "edit": writable, "quick_create": field.mandatory, "create": writable },
        "unique": field.unique.map_or_else(|| json!({}), |case| json!({ "case_sensitive": case.to_string() })),
        "external": field.external.map(|external| json!({ "type": if external == External::Org { "org" } else { "user" }, "show": false })),
    });
    extend(&mut object, kind_object(state, field));
    extend(&mut object, trimmings(state, request, module, field));
    object["mass_update"] = (writable && !system).into();
    object
}

fn extend(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}

/// The keys that depend on the type.
fn kind_object(state: &State, field: &Field) -> Value {
    let only = |kind: FieldType, object: Value| if field.kind == kind { object } else { json!({}) };
    json!({
        "pick_list_values": options(field),
        "pick_list_values_sorted_lexically": false,
        "global_picklist": null,
        "enable_colour_code": false,
        "lookup": lookup(state, field),
        "multi_module_lookup": {},
        "multiselectlookup": {},
        "multiuserlookup": {},
        "subform": null,
        "formula": only(FieldType::Formula, json!({ "return_type": "text", "assume_default": false })),
        "rollup_summary": {},
        "currency": only(FieldType::Currency, json!({ "rounding_option": "normal", "precision": 2 })),
        "auto_number": only(FieldType::Autonumber, json!({ "prefix": "", "suffix": "", "start_number": "1" })),
        "textarea": textarea(field.kind),
    })
}

/// The keys that hardly ever say anything.
fn trimmings(state: &State, request: &Request<'_>, module: &Module, field: &Field) -> Value {
    json!({
        "crypt": null,
        "hipaa_compliance_enabled": false,
        "hipaa_compliance": null,
        "history_tracking": null,
        "history_tracking_enabled": false,
        "private": null,
        "tooltip": null,
        "profiles": field_profiles(state),
        "layout_associations": [{ "name": "Standard", "id": module.layout.to_string(), "api_name": "Standard" }],
        "convert_mapping": null,
        "modified_time": field.modified.map(|at| request.zone.millis(at)),
        "associated_module": null,
        "blueprint_supported": true,
        "pick_list_values_sorted": null,
        "default_value": null,
        "column_name": null,
        "sharing_properties": null,
    })
}

fn field_profiles(state: &State) -> Value {
    json!([
        { "permission_type": "read_write", "name": "Administrator", "id": state.profile(true) },
        { "permission_type": "read_write", "name": "Standard", "id": state.profile(false) },
    ])
}

fn decimals(kind: FieldType) -> Value {
    if kind == FieldType::Currency {
        2.into()
    } else if kind == FieldType::Double {
        9.into()
    } else {
        Value::Null
    }
}

fn textarea(kind: FieldType) -> Value {
    let sizes = [
        (FieldType::SmallText, "small"),
        (FieldType::LargeText, "large"),
        (FieldType::RichText, "rich_text"),
    ];
    sizes
        .into_iter()
        .find(|(size, _)| *size == kind)
        .map_or(Value::Null, |(_, name)| json!({ "type": name }))
}

fn lookup(state: &State, field: &Field) -> Value {
    let Some(target) = field.target.as_ref().and_then(|target| state.modules.get(target)) else {
        return json!({});
    };
    json!({
        "module": { "api_name": target.api_name, "id": target.id.to_string() },
        "api_name": target.api_name.to_lowercase(),
        "display_label": target.plural,
        "id": field.id.to_string(),
        "query_details": {},
        "revalidate_filter_during_edit": false,
    })
}

fn options(field: &Field) -> Vec<Value> {
    if field.options.is_empty() {
        return Vec::new();
    }
    let none = json!({
        "display_value": "-None-", "actual_value": "-None-", "reference_value": "-None-", "sequence_number": 1,
        "colour_code": null, "id": (field.id + 500_000_000).to_string(), "type": "used",
    });
    let own = field.options.iter().enumerate().map(|(at, option)| {
        json!({
            "display_value": option.display,
            "actual_value": option.actual,
            "reference_value": option.actual,
            "sequence_number": at + 2,
            "colour_code": null,
            "id": option.id.to_string(),
            "type": "used",
        })
    });
    let none = (!field.mandatory).then_some(none);
    none.into_iter().chain(own).collect()
}

/// `POST /settings/fields?module=`: at most five custom fields a call.
pub(super) fn create_fields(state: &mut State, request: &Request<'_>) -> Answer {
    request.access.require("settings", "fields", Right::Create)?;
    let module = named_module(state, request)?.api_name.clone();
    let rows = request.object()?.get("fields").and_then(Value::as_array);
    let rows = rows.ok_or_else(|| Refusal::mandatory("fields", "$.fields"))?;
    if rows.len() > 5 {
        return Err(Refusal::new(
            400,
            "LIMIT_EXCEEDED",
            "You have exceeded the maximum limit",
            json!({ "limit": 5, "json_path": "$.fields" }),
        ));
    }
    let mut statuses = Vec::new();
    let mut made = 0;
    for (at, row) in rows.iter().enumerate() {
        let path = format!("$.fields[{at}]");
        let outcome = row
            .as_object()
            .ok_or_else(Refusal::unparseable)
            .and_then(|row| create_field(state, &module, row, &path));
        made += usize::from(outcome.is_ok());
        statuses.push(match outcome {
            Ok(id) => json!({ "code": "SUCCESS", "details": { "id": id.to_string() }, "message": "field created", "status": "success" }),
            Err(refusal) => refusal.object(),
        });
    }
    Ok(Reply::json(if made == 0 { 400 } else { 201 }, &json!({ "fields": statuses })))
}

fn create_field(
    state: &mut State,
    module: &str,
    row: &Map<String, Value>,
    path: &str,
) -> Result<u64, Refusal> {
    let text = |key: &str| row.get(key).and_then(Value::as_str);
    let label = text("field_label")
        .ok_or_else(|| Refusal::mandatory("field_label", &format!("{path}.field_label")))?;
    let data_type = text("data_type")
        .ok_or_else(|| Refusal::mandatory("data_type", &format!("{path}.data_type")))?;
    let kind = FieldType::from_name(data_type);
    let kind = kind.ok_or_else(|| {
        Refusal::invalid(
            json!({ "api_name": "data_type", "json_path": format!("{path}.data_type") }),
        )
    })?;
    let kind =
        match row.get("textarea").and_then(|textarea| textarea.get("type")).and_then(Value::as_str)
        {
            Some("small") => FieldType::SmallText,
            Some("rich_text") => FieldType::RichText,
            _ => kind,
        };
    let api_name: String =
        label.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let mut field = Field::new(&api_name, kind);
    label.clone_into(&mut field.label);
    field.length = row
        .get("length")
        .and_then(Value::as_u64)
        .and_then(|length| usize::try_from(length).ok())
        .unwrap_or(field.length);
    let unique = row.get("unique").filter(|unique| unique.get("case_sensitive").is_some());
    field.unique = unique.map(|unique| {
        matches!(unique.get("case_sensitive"), Some(Value::Bool(true)))
            || unique["case_sensitive"] == "true"
    });
    field.external = row
        .get("external")
        .and_then(|external| external.get("type"))
        .map(|kind| if kind == "user" { External::User } else { External::Org });
    field.target = row
        .get("lookup")
        .and_then(|lookup| lookup.pointer("/module/api_name"))
        .and_then(Value::as_str)
        .map(str::to_owned);
    let values = row.get("pick_list_values").and_then(Value::as_array).into_iter().flatten();
    let shown =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let options: Vec<(String, String)> = values
        .filter_map(|value| {
            Some((
                shown(value, "display_value")?,
                shown(value, "actual_value").or_else(|| shown(value, "display_value"))?,
            ))
        })
        .collect();
    let options: Vec<(&str, &str)> =
        options.iter().map(|(display, actual)| (display.as_str(), actual.as_str())).collect();
    let schema = state.modules.get(module).ok_or_else(|| Refusal::module(0))?;
    if schema.field(&api_name).is_some() {
        return Err(Refusal::new(
            400,
            "DUPLICATE_DATA",
            "duplicate data",
            json!({ "api_name": "field_label", "json_path": format!("{path}.field_label") }),
        ));
    }
    let limited = field.unique.is_some()
        && schema.fields.iter().filter(|field| field.custom && field.unique.is_some()).count() >= 2;
    if limited {
        return Err(Refusal::new(
            400,
            "LIMIT_EXCEEDED",
            "unique field limit exceeded",
            json!({ "limit": 2, "json_path": format!("{path}.unique") }),
        ));
    }
    Ok(state.add_field(module, field.with_options(&options)))
}

impl State {
    /// Adds or replaces a field; gives its id.
    pub(super) fn add_field(&mut self, module: &str, mut field: Field) -> u64 {
        self.number(&mut field);
        field.modified = Some(self.now());
        let id = field.id;
        if let Some(module) = self.modules.get_mut(module) {
            module.add_field(field);
        }
        id
    }

    /// Id of the administrators' or the standard profile.
    pub(super) fn profile(&self, admin: bool) -> String {
        let prefix = (3_000_000 + self.seed % 5_000_000) * 1_000_000_000_000;
        (prefix + if admin { 101 } else { 102 }).to_string()
    }
}

/// `GET /settings/layouts?module=`.
pub(super) fn layouts(state: &State, request: &Request<'_>) -> Answer {
    request.access.require("settings", "layouts", Right::Read)?;
    let module = named_module(state, request)?;
    let fields: Vec<Value> = module
        .fields
        .iter()
        .filter(|field| !field.unseen)
        .enumerate()
        .map(|(at, field)| {
            let mut object = field_object(state, request, module, field);
            object["required"] = field.mandatory.into();
            object["sequence_number"] = (at + 1).into();
            object
        })
        .collect();
    let section = json!({
        "api_name": format!("{} Information", module.singular), "display_label": format!("{} Information", module.singular),
        "name": format!("{} Information", module.singular), "sequence_number": 1, "isSubformSection": false, "tab_traversal": 2,
        "type": "used", "column_count": 2, "generated_type": "default", "properties": null, "fields": fields,
    });
    let layout = json!({
        "id": module.layout.to_string(), "name": "Standard", "api_name": "Standard", "display_label": "Standard",
        "status": "active", "visible": true, "source": "crm", "generated_type": "default", "has_more_profiles": false,
        "created_time": null, "modified_time": null, "created_by": null, "modified_by": null, "created_for": null,
        "mode": "view", "show_business_card": true, "display_type": -1, "profiles": profiles(state),
        "convert_mapping": {}, "sections": [section], "actions_allowed": null,
    });
    Ok(Reply::json(200, &json!({ "layouts": [layout] })))
}

/// `GET /settings/pipeline?layout_id=`.
pub(super) fn pipeline(state: &State, request: &Request<'_>) -> Answer {
    request.access.require("settings", "pipeline", Right::Read)?;
    let deals = state.module("Deals", 0)?;
    let layout =
        request.call.query("layout_id").ok_or_else(|| Refusal::param_missing("layout_id"))?;
    if layout != deals.layout.to_string() {
        return Err(Refusal::invalid_param("layout_id"));
    }
    let stages = deals.field("Stage").map(|field| field.options.clone()).unwrap_or_default();
    let maps: Vec<Value> = stages
        .iter()
        .enumerate()
        .map(|(at, stage)| {
            let (kind, _) = defaults::stage(&stage.actual);
            let category = if kind == "Open" { "Pipeline" } else { "Closed" };
            json!({
                "display_value": stage.display, "actual_value": stage.actual, "sequence_number": at + 1, "colour_code": null,
                "forecast_category": { "name": category, "id": (deals.id + 900 + u64::from(kind == "Open")).to_string() },
                "forecast_type": kind, "id": stage.id.to_string(), "delete": false,
            })
        })
        .collect();
    let pipelines: Vec<Value> = deals
        .field("Pipeline")
        .map(|field| &field.options)
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(at, option)| {
            json!({
                "display_value": option.display, "actual_value": option.actual, "default": at == 0,
                "id": option.id.to_string(), "maps": maps, "child_available": false, "parent": null,
            })
        })
        .collect();
    Ok(Reply::json(200, &json!({ "pipeline": pipelines })))
}

/// `GET /settings/related_lists?module=`.
pub(super) fn related_lists(state: &State, request: &Request<'_>) -> Answer {
    request.access.require("settings", "related_lists", Right::Read)?;
    let module = named_module(state, request)?;
    let lists = super::related::lists_of(state, module);
    let listed: Vec<Value> = lists
        .iter()
        .enumerate()
        .map(|(at, (name, target))| {
            json!({
                "api_name": name, "display_label": name.replace('_', " "), "name": name,
                "href": format!("{}/{{ENTITYID}}/{name}", module.api_name),
                "module": { "api_name": target.api_name, "id": target.id.to_string() },
                "type": "default", "connectedmodule": null, "linkingmodule": null, "action": null, "personality_name": null,
                "sequence_number": (at + 1).to_string(), "status": "visible", "id": (module.layout + 700_000_000 + at as u64).to_string(),
            })
        })
        .collect();
    if listed.is_empty() {
        return Ok(Reply::empty(204));
    }
    Ok(Reply::json(200, &json!({ "related_lists": listed })))
}

/// `GET /users`.
pub(super) fn users(state: &State, request: &Request<'_>, id: Option<&str>) -> Answer {
    request.access.require("users", "", Right::Read)?;
    let kind = request.call.query("type").unwrap_or("AllUsers");
    let caller = request.access.user;
    let ids: Option<Vec<&str>> =
        id.or_else(|| request.call.query("ids")).map(|ids| ids.split(',').collect());
    let admits = |user: &super::User| match kind {
        "AllUsers" | "ConfirmedUsers" => !user.deleted,
        "ActiveUsers" | "ActiveConfirmedUsers" => user.is_active(),
        "DeactiveUsers" => !user.active && !user.deleted,
        "DeletedUsers" => user.deleted,
        "AdminUsers" | "ActiveConfirmedAdmins" => user.is_active() && user.admin,
        "CurrentUser" => user.id == caller,
        _ => false,
    };
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
