//! Metadata in our vocabulary: modules, fields, options, users, the organization.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use crmsync_core::model::schema::{FieldKind, FieldSchema, ModuleSchema, OptionSchema, User};
use crmsync_core::model::{ModuleName, RemoteField};
use serde_json::{Map, Value as Json, json};

use super::client::Call;
use super::codec::{FieldForm, Forms, Naming, Shape};
use super::{Zoho, wire};
use crate::connectors::{Account, ErrorKind};

/// A module as described, and as the codec needs it.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) schema: ModuleSchema,
    pub(super) forms: Forms,
}

/// Metadata read so far.
#[derive(Default)]
pub(super) struct Cache {
    kept: Mutex<Kept>,
    /// Held while metadata is read, so that calls that need it together read it once.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Kept {
    modules: BTreeMap<ModuleName, (DateTime<Utc>, Arc<Metadata>)>,
    /// Tab by module, for links.
    tabs: BTreeMap<ModuleName, String>,
    /// The organization's part of links, such as `org808232144`.
    domain: Option<String>,
}

impl Cache {
    pub(super) fn forget(&self) {
        self.kept().modules.clear();
    }

    pub(super) fn domain(&self) -> Option<String> {
        self.kept().domain.clone()
    }

    pub(super) fn tab(&self, module: &ModuleName) -> Option<String> {
        self.kept().tabs.get(module).cloned()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const FIELDS_SCOPE: &str = "ZohoCRM.settings.fields.READ";
const MODULES_SCOPE: &str = "ZohoCRM.settings.modules.READ";
const USERS_SCOPE: &str = "ZohoCRM.users.READ";

impl Zoho {
    /// The module's metadata, from the cache while it is fresh.
    pub(super) async fn metadata(&self, module: &ModuleName) -> Result<Arc<Metadata>, ErrorKind> {
        if let Some(metadata) = self.kept_metadata(module) {
            return Ok(metadata);
        }
        let _reading = self.cache.reading.lock().await;
        if let Some(metadata) = self.kept_metadata(module) {
            return Ok(metadata);
        }
        let now = self.client.http.clock().now();
        let metadata = Arc::new(self.read_metadata(module).await?);
        self.cache.kept().modules.insert(module.clone(), (now, Arc::clone(&metadata)));
        Ok(metadata)
    }

    fn kept_metadata(&self, module: &ModuleName) -> Option<Arc<Metadata>> {
        let (read_at, metadata) = self.cache.kept().modules.get(module).cloned()?;
        let age = self.client.http.clock().now() - read_at;
        let most = self.settings.metadata_cache;
        let is_fresh = most.is_none_or(|most| age.to_std().is_ok_and(|age| age < most));
        is_fresh.then_some(metadata)
    }

    async fn read_metadata(&self, module: &ModuleName) -> Result<Metadata, ErrorKind> {
        let call =
            Call::get(&["settings", "fields"], FIELDS_SCOPE).query("module", module.as_str());
        let fields: Option<wire::Fields> = self.client.call(&call).await?.decode()?;
        let fields = match fields {
            Some(fields) => fields.fields,
            None if module.as_str() == "Notes" => note_fields(),
            None => return Err(ErrorKind::UnknownName(format!("fields of module `{module}`"))),
        };
        Ok(describe(module, &fields))
    }

    pub(super) async fn read_modules(&self) -> Result<Vec<(ModuleName, String)>, ErrorKind> {
        let call = Call::get(&["settings", "modules"], MODULES_SCOPE);
        let modules: wire::Modules = self.client.call(&call).await?.decode()?.unwrap_or_default();
        let mut kept = self.cache.kept();
        let mut listed = Vec::new();
        for module in modules.modules.into_iter().filter(is_mappable) {
            let name = ModuleName::new(&module.api_name);
            if let Some(tab) = module.tab {
                kept.tabs.insert(name.clone(), tab);
            }
            listed.push((name, module.plural_label.unwrap_or(module.api_name)));
        }
        Ok(listed)
    }

    pub(super) async fn read_users(&self) -> Result<Vec<User>, ErrorKind> {
        let mut users = Vec::new();
        for page in 1.. {
            let call = Call::get(&["users"], USERS_SCOPE)
                .query("type", "AllUsers")
                .query("page", page.to_string())
                .query("per_page", "200");
            let answer: wire::Users = self.client.call(&call).await?.decode()?.unwrap_or_default();
            users.extend(answer.users.into_iter().map(user));
            if !answer.info.more_records {
                break;
            }
        }
        Ok(users)
    }

    pub(super) async fn read_account(&self) -> Result<Account, ErrorKind> {
        let call = Call::get(&["org"], "ZohoCRM.org.READ");
        let orgs: wire::Orgs = self.client.call(&call).await?.decode()?.unwrap_or_default();
        let org = orgs.org.into_iter().next();
        let org = org.ok_or_else(|| ErrorKind::Undecodable("no organization".into()))?;
        let call = Call::get(&["users"], USERS_SCOPE).query("type", "CurrentUser");
        let users: wire::Users = self.client.call(&call).await?.decode()?.unwrap_or_default();
        let user = users.users.into_iter().next();
        let user = user.ok_or_else(|| ErrorKind::Undecodable("no current user".into()))?;
        self.cache.kept().domain.clone_from(&org.domain_name);
        Ok(account(&org, &user))
    }

    /// Fields are about to differ from what this and earlier processes read.
    fn forget_fields(&self) {
        self.settings.memory.forget();
        self.cache.forget();
    }

    /// Creates a unique text field, unless one with this label is there already.
    pub(super) async fn create_external_id(
        &self,
        module: &ModuleName,
        label: &str,
    ) -> Result<RemoteField, ErrorKind> {
        self.forget_fields();
        if let Some(field) = self.unique_text(module, label).await? {
            return Ok(field);
        }
        let field = json!({
            "field_label": label,
            "data_type": "text",
            "length": 100,
            "unique": { "case_sensitive": false },
        });
        let call = Call::new(
            reqwest::Method::POST,
            &["settings", "fields"],
            "ZohoCRM.settings.fields.CREATE",
        )
        .query("module", module.as_str())
        .body(json!({ "fields": [field] }));
        let reply = self.client.call(&call).await?;
        super::write::only_row(&reply)?;
        self.forget_fields();
        let created = self.unique_text(module, label).await?;
        created.ok_or_else(|| ErrorKind::ReplyLost("the new field does not show yet".into()))
    }

    /// # Errors
    /// [`ErrorKind::Misconfigured`] when a field of this label exists and is not unique.
    async fn unique_text(
        &self,
        module: &ModuleName,
        label: &str,
    ) -> Result<Option<RemoteField>, ErrorKind> {
        let metadata = self.metadata(module).await?;
        let named = |field: &&FieldSchema| field.label == label || field.name.as_str() == label;
        match metadata.schema.fields.iter().find(named) {
            None => Ok(None),
            Some(field) if field.unique => Ok(Some(field.name.clone())),
            Some(field) => Err(ErrorKind::Misconfigured(format!(
                "field `{}` of `{module}` exists and allows duplicates; forbid them in its settings",
                field.name
            ))),
        }
    }
}

fn is_mappable(module: &wire::Module) -> bool {
    let kind = module.generated_type.as_deref().unwrap_or("default");
    let status = module.status.as_deref().unwrap_or("visible");
    module.api_supported
        && matches!(kind, "default" | "custom")
        && matches!(status, "visible" | "user_hidden")
}

fn user(user: wire::User) -> User {
    User {
        name: user.full_name.unwrap_or_default(),
        email: user.email.unwrap_or_default(),
        active: user.status.as_deref() == Some("active"),
        id: user.id,
    }
}

fn account(org: &wire::Org, user: &wire::User) -> Account {
    let (name, email) = (user.full_name.as_deref(), user.email.as_deref());
    let zone = user.time_zone.as_deref().or(org.time_zone.as_deref());
    let license = org.license_details.as_ref();
    let number = wire::id_text(&org.zgid).or_else(|| wire::id_text(&org.id)).unwrap_or_default();
    Account {
        user: format!("{} <{}>", name.unwrap_or_default(), email.unwrap_or_default()),
        organization: org.company_name.clone().unwrap_or_default(),
        plan: license.and_then(|license| license.paid_type.clone()).unwrap_or_default(),
        time_zone: zone.and_then(|zone| zone.parse().ok()),
        currency: org.iso_code.clone(),
        sees_all: is_administrator(user),
        warnings: warnings(org, user),
        fingerprint: format!("zoho:{number}:{}", user.id),
    }
}

fn is_administrator(user: &wire::User) -> bool {
    user.profile.as_ref().is_some_and(|profile| profile.name == "Administrator")
}

fn warnings(org: &wire::Org, user: &wire::User) -> Vec<String> {
    let mut warnings = Vec::new();
    if user.profile.is_some() && !is_administrator(user) {
        warnings.push(
            "the user is no administrator: records it cannot see look deleted, notes cannot be listed"
                .to_owned(),
        );
    }
    let license = org.license_details.as_ref();
    if license.is_some_and(|license| !license.paid && license.trial_type.is_some()) {
        warnings.push("the organization is on a trial".to_owned());
    }
    if let Some(kind) = org.kind.as_deref().filter(|kind| *kind != "production") {
        warnings.push(format!("the organization is a {kind}"));
    }
    warnings
}

fn describe(module: &ModuleName, fields: &[wire::Field]) -> Metadata {
    let forms = fields.iter().map(|field| (field.api_name.clone(), form(module, field)));
    let schema = ModuleSchema {
        module: module.clone(),
        label: module.as_str().replace('_', " "),
        fields: fields.iter().flat_map(|field| field_schemas(module, field)).collect(),
    };
    Metadata { forms: forms.collect(), schema }
}

fn form(module: &ModuleName, field: &wire::Field) -> FieldForm {
    let options = field.pick_list_values.iter().filter(|option| option.display_value != "-None-");
    let options = options.map(|option| {
        let actual = option.actual_value.as_ref().unwrap_or(&option.display_value);
        (option.display_value.clone(), actual.clone())
    });
    FieldForm { shape: shape(module, field), options: options.collect() }
}

fn shape(module: &ModuleName, field: &wire::Field) -> Shape {
    match (module.as_str(), field.api_name.as_str()) {
        (_, "id") => Shape::Id,
        (_, "Tag") => Shape::Tags,
        ("Notes", "Parent_Id") => Shape::Polymorphic(Naming::Inside),
        (_, "What_Id") => Shape::Polymorphic(Naming::Beside),
        _ => match field.data_type.as_str() {
            "formula" => shape_of_type(returned(&field.formula), field),
            "rollup_summary" => shape_of_type(returned(&field.rollup_summary), field),
            own => shape_of_type(own, field),
        },
    }
}

fn returned(formula: &Map<String, Json>) -> &str {
    formula.get("return_type").and_then(Json::as_str).unwrap_or("text")
}

/// Source: Zoho CRM API v8, "Fields metadata"; types that are missing here are no single value.
fn shape_of_type(data_type: &str, field: &wire::Field) -> Shape {
    match data_type {
        "text" | "autonumber" | "string" => Shape::Text(FieldKind::Text),
        "textarea" => match field.textarea.get("type").and_then(Json::as_str) {
            Some("rich_text") => Shape::RichText,
            Some(_) | None => Shape::Text(FieldKind::LongText),
        },
        "email" => Shape::Text(FieldKind::Email),
        "phone" => Shape::Text(FieldKind::Phone),
        "website" => Shape::Text(FieldKind::Url),
        "picklist" => Shape::Option,
        "multiselectpicklist" => Shape::OptionSet,
        "boolean" => Shape::Bool,
        "integer" => Shape::Number(FieldKind::Integer),
        "bigint" => Shape::BigInt,
        "double" | "decimal" | "percent" => Shape::Number(FieldKind::Decimal),
        "currency" => Shape::Number(FieldKind::Money),
        "date" => Shape::Date,
        "datetime" => Shape::Timestamp,
        "lookup" => Shape::Lookup,
        "multi_module_lookup" => Shape::Polymorphic(Naming::Inside),
        "ownerlookup" | "userlookup" => Shape::User,
        _ => Shape::Unsupported,
    }
}

/// A field as one entry, a lookup of many modules as one entry a module.
fn field_schemas(module: &ModuleName, field: &wire::Field) -> Vec<FieldSchema> {
    let shape = shape(module, field);
    if !matches!(shape, Shape::Polymorphic(_)) {
        let target = field.lookup.get("module").and_then(|module| {
            module.get("api_name").and_then(Json::as_str).or_else(|| module.as_str())
        });
        let target = target.filter(|_| shape == Shape::Lookup).map(ModuleName::from);
        return vec![field_schema(field, &shape, RemoteField::new(&field.api_name), target)];
    }
    let part = |target: String| {
        let name = RemoteField::new(format!("{}.{target}", field.api_name));
        let label = format!("{} ({target})", field.label.as_ref().unwrap_or(&field.api_name));
        // No single part is required: the record may belong to any of them.
        FieldSchema {
            label,
            required: false,
            ..field_schema(field, &shape, name, Some(ModuleName::new(target)))
        }
    };
    targets(module, field).into_iter().map(part).collect()
}

/// Modules that a lookup may point to: as told, else those that notes and activities hang on.
///
/// Source: Zoho CRM API v8, "Notes", "Insert Records" (activities).
fn targets(module: &ModuleName, field: &wire::Field) -> Vec<String> {
    let told = field.multi_module_lookup.get("modules").and_then(Json::as_array);
    let told: Vec<String> = told
        .into_iter()
        .flatten()
        .filter_map(|module| module.get("api_name")?.as_str().map(str::to_owned))
        .collect();
    if !told.is_empty() {
        return told;
    }
    let usual: &[&str] = if module.as_str() == "Notes" {
        &["Contacts", "Accounts", "Deals", "Leads", "Products", "Vendors", "Campaigns", "Cases"]
    } else {
        &["Accounts", "Deals", "Leads", "Products", "Vendors", "Campaigns", "Cases"]
    };
    usual.iter().map(|module| (*module).to_owned()).collect()
}

fn field_schema(
    field: &wire::Field,
    shape: &Shape,
    name: RemoteField,
    target: Option<ModuleName>,
) -> FieldSchema {
    let writable = !field.read_only && !matches!(shape, Shape::Id | Shape::Unsupported);
    let operations = field.operation_type;
    let kind = shape.kind();
    FieldSchema {
        name,
        label: field.label.clone().unwrap_or_else(|| field.api_name.clone()),
        kind,
        max_length: field.length.filter(|_| is_text(kind)),
        options: options(field, shape),
        target,
        readable: field.view_type.is_none_or(|view| view.view) || *shape == Shape::Id,
        writable_on_create: writable && operations.is_none_or(|allowed| allowed.api_create),
        writable_on_update: writable && operations.is_none_or(|allowed| allowed.api_update),
        required: field.system_mandatory,
        unique: !field.unique.is_empty(),
        custom: field.custom,
    }
}

/// Lengths of other kinds count digits or options, not characters of a text.
const fn is_text(kind: FieldKind) -> bool {
    matches!(
        kind,
        FieldKind::Text
            | FieldKind::LongText
            | FieldKind::RichText
            | FieldKind::Email
            | FieldKind::Phone
            | FieldKind::Url
    )
}

fn options(field: &wire::Field, shape: &Shape) -> Vec<OptionSchema> {
    if !matches!(shape, Shape::Option | Shape::OptionSet) {
        return Vec::new();
    }
    let used = field.pick_list_values.iter().filter(|option| {
        option.display_value != "-None-" && option.usage.as_deref() != Some("unused")
    });
    let schema = used.map(|option| OptionSchema {
        id: option.display_value.clone(),
        label: option.display_value.clone(),
        parent: None,
    });
    schema.collect()
}

/// Fields of Notes, for organizations whose metadata call answers nothing for them.
///
/// Source: Zoho CRM API v8, "Notes".
fn note_fields() -> Vec<wire::Field> {
    let field = |name: &str, label: &str, data_type: &str, length: Option<usize>| wire::Field {
        api_name: name.to_owned(),
        label: Some(label.to_owned()),
        data_type: data_type.to_owned(),
        length,
        read_only: matches!(name, "Created_Time" | "Modified_Time" | "id"),
        system_mandatory: name == "Note_Content",
        ..wire::Field::default()
    };
    vec![
        field("id", "Note ID", "bigint", None),
        field("Note_Title", "Title", "text", Some(120)),
        field("Note_Content", "Content", "textarea", Some(65_535)),
        wire::Field {
            operation_type: Some(wire::OperationType { api_create: true, api_update: false }),
            ..field("Parent_Id", "Parent", "multi_module_lookup", None)
        },
        field("Owner", "Owner", "ownerlookup", None),
        field("Created_Time", "Created", "datetime", None),
        field("Modified_Time", "Modified", "datetime", None),
    ]
}
