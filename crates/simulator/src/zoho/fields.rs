//! Fields as metadata shows them, and new custom fields.

use serde_json::{Map, Value, json};

use super::oauth::Right;
use super::refusal::{Answer, Refusal};
use super::request::Request;
use super::schema::{External, Field, FieldType, Module};
use super::state::State;
use crate::host::Reply;

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

pub(super) fn named_module<'a>(
    state: &'a State,
    request: &Request<'_>,
) -> Result<&'a Module, Refusal> {
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

pub(super) fn field_object(
    state: &State,
    request: &Request<'_>,
    module: &Module,
    field: &Field,
) -> Value {
    let writable = !field.read_only && field.api_name != "id";
    let system = matches!(field.api_name.as_str(), "Created_Time" | "Modified_Time" | "id");
    let searchable = field.kind != FieldType::Subform && !field.kind.is_opaque();
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
        "searchable": searchable,
        "sortable": searchable && !matches!(field.kind, FieldType::RichText | FieldType::LargeText),
        "filterable": searchable,
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

pub(super) fn extend(object: &mut Value, more: Value) {
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
        "auto_number": only(FieldType::Autonumber, json!({ "prefix": "", "suffix": "", "start_number": 1 })),
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
    // The documents write the key in two ways.
    let unique = row.get("unique");
    let cased = unique
        .and_then(|unique| unique.get("case_sensitive").or_else(|| unique.get("casesensitive")));
    field.unique = cased.map(|cased| *cased == true || cased == "true");
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
