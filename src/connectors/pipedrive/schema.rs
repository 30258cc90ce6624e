//! A module as the engine sees it: built-in fields, custom fields by their codes, options by their ids.

use std::collections::BTreeMap;

use crmsync_core::model::schema::{FieldKind, FieldSchema, ModuleSchema, OptionSchema};
use crmsync_core::model::{ModuleName, RemoteField};
use serde_json::Value as Json;

use super::fields::{self, ADDRESS_PARTS, Access, BuiltIn, EMAIL_LABELS, PHONE_LABELS};
use super::module::{Dialect, Module};
use super::wire;

/// Options that come from lists of their own.
#[derive(Clone, Debug, Default)]
pub(super) struct Pickers {
    pub(super) pipelines: Vec<wire::Named>,
    pub(super) stages: Vec<wire::Named>,
    pub(super) activity_types: Vec<wire::ActivityType>,
    pub(super) lead_labels: Vec<wire::Named>,
    pub(super) currencies: Vec<wire::Currency>,
}

/// Puts a module together: built-in fields first, then custom ones in the account's order, then the rest.
pub(super) fn assemble(module: &Module, listed: &[wire::Field], pickers: &Pickers) -> ModuleSchema {
    let mut all = Vec::new();
    for built_in in fields::built_in(module) {
        let row = listed.iter().find(|row| canonical(&row.code) == built_in.base());
        if row.is_some() || !built_in.only_listed {
            describe_built_in(&mut all, built_in, row, module, pickers);
        }
    }
    if module.name == "products" {
        all.extend(pickers.currencies.iter().map(price));
    }
    if module.custom_fields {
        let custom = listed.iter().filter(|row| row.custom);
        let fields = custom.flat_map(|row| in_dialect(module, row, custom_fields(row, pickers)));
        all.extend(fields);
    }
    if module.name != "leads" {
        let known: Vec<String> = all.iter().map(|field| field.name.base().to_owned()).collect();
        let rest = listed.iter().filter(|row| !row.custom);
        let rest = rest.filter(|row| !known.iter().any(|key| key == canonical(&row.code)));
        all.extend(rest.filter_map(|row| other_built_in(module, row)));
    }
    ModuleSchema {
        module: ModuleName::new(module.name),
        label: module.label.to_owned(),
        fields: all,
    }
}

/// The key that records use for a code of the field lists.
fn canonical(code: &str) -> &str {
    let alias = fields::ALIASES.iter().find(|(listed, _)| *listed == code);
    alias.map_or(code, |(_, key)| *key)
}

fn field(name: &str, label: impl Into<String>, kind: FieldKind) -> FieldSchema {
    FieldSchema {
        name: RemoteField::new(name),
        label: label.into(),
        kind,
        max_length: None,
        options: Vec::new(),
        target: None,
        readable: true,
        writable_on_create: true,
        writable_on_update: true,
        required: false,
        unique: false,
        custom: false,
    }
}

fn describe_built_in(
    all: &mut Vec<FieldSchema>,
    built_in: &BuiltIn,
    row: Option<&wire::Field>,
    module: &Module,
    pickers: &Pickers,
) {
    // A part keeps its own label: the list knows only the whole.
    let label = match row {
        Some(row) if built_in.key == built_in.base() => row.name.as_str(),
        Some(_) | None => built_in.label,
    };
    let described = FieldSchema {
        options: built_in_options(module, built_in, row, pickers),
        target: built_in.target.map(ModuleName::new),
        writable_on_create: built_in.access != Access::Read,
        writable_on_update: built_in.access == Access::Write,
        required: built_in.required,
        max_length: (built_in.kind == FieldKind::Text).then_some(SHORT_TEXT),
        ..field(built_in.key, label, built_in.kind)
    };
    let entries = match built_in.key {
        "emails" => list_entries("emails", label, EMAIL_LABELS, FieldKind::Email),
        "phones" => list_entries("phones", label, PHONE_LABELS, FieldKind::Phone),
        key if fields::is_address(key) => address_parts(key, label, false),
        _ => Vec::new(),
    };
    all.push(described);
    all.extend(entries);
}

const SHORT_TEXT: usize = 255;
const LONG_TEXT: usize = 65_000;

fn list_entries(key: &str, label: &str, labels: &[&str], kind: FieldKind) -> Vec<FieldSchema> {
    labels
        .iter()
        .map(|entry| field(&format!("{key}[{entry}]"), format!("{label} ({entry})"), kind))
        .collect()
}

fn address_parts(key: &str, label: &str, custom: bool) -> Vec<FieldSchema> {
    let part = |(part, words): &(&str, &str)| FieldSchema {
        custom,
        max_length: Some(SHORT_TEXT),
        ..field(&format!("{key}.{part}"), format!("{label} ({words})"), FieldKind::Text)
    };
    let mut parts: Vec<_> = ADDRESS_PARTS.iter().map(part).collect();
    parts.push(FieldSchema {
        custom,
        writable_on_create: false,
        writable_on_update: false,
        ..field(
            &format!("{key}.{}", fields::FORMATTED_ADDRESS),
            format!("{label} (formatted)"),
            FieldKind::Text,
        )
    });
    parts
}

fn built_in_options(
    module: &Module,
    built_in: &BuiltIn,
    row: Option<&wire::Field>,
    pickers: &Pickers,
) -> Vec<OptionSchema> {
    let listed = row.map(listed_options).unwrap_or_default();
    match (module.name, built_in.key) {
        (_, "stage_id") => stages(pickers),
        (_, "pipeline_id") => pickers.pipelines.iter().map(named_option).collect(),
        (_, "currency" | "value.currency") => {
            pickers.currencies.iter().map(currency_option).collect()
        }
        ("leads", "label_ids") => pickers.lead_labels.iter().map(named_option).collect(),
        ("activities", "type") => pickers.activity_types.iter().map(activity_type_option).collect(),
        // `deleted` reads as a status and cannot be written.
        (_, "status") => fixed(&[("open", "Open"), ("won", "Won"), ("lost", "Lost")]),
        (_, "visible_to") if listed.is_empty() => fixed(&[
            ("1", "Owner only"),
            ("3", "Owner's visibility group or entire company"),
            ("5", "Owner's visibility group and sub-groups"),
            ("7", "Entire company"),
        ]),
        (_, "billing_frequency") if listed.is_empty() => fixed(&[
            ("one-time", "One-time"),
            ("annually", "Annually"),
            ("semi-annually", "Semi-annually"),
            ("quarterly", "Quarterly"),
            ("monthly", "Monthly"),
            ("weekly", "Weekly"),
        ]),
        _ => listed,
    }
}

fn fixed(pairs: &[(&str, &str)]) -> Vec<OptionSchema> {
    pairs.iter().map(|(id, label)| option((*id).to_owned(), label)).collect()
}

fn option(id: String, label: &str) -> OptionSchema {
    OptionSchema { id, label: label.to_owned(), parent: None }
}

fn id_text(id: &Json) -> String {
    match id {
        Json::String(text) => text.clone(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => {
            id.to_string()
        }
    }
}

fn listed_options(row: &wire::Field) -> Vec<OptionSchema> {
    row.choices.iter().flatten().map(|item| option(id_text(&item.id), &item.label)).collect()
}

fn named_option(row: &wire::Named) -> OptionSchema {
    option(id_text(&row.id), &row.name)
}

fn currency_option(row: &wire::Currency) -> OptionSchema {
    option(row.code.clone(), &row.name)
}

fn activity_type_option(row: &wire::ActivityType) -> OptionSchema {
    option(row.key_string.clone(), &row.name)
}

/// Stages of different pipelines often share a name, so each carries its pipeline's.
fn stages(pickers: &Pickers) -> Vec<OptionSchema> {
    let pipelines: BTreeMap<Option<i64>, &str> =
        pickers.pipelines.iter().map(|row| (row.id.as_i64(), row.name.as_str())).collect();
    let stage = |row: &wire::Named| {
        let parent = pipelines.get(&row.pipeline_id).map(|name| (*name).to_owned());
        OptionSchema { parent, ..named_option(row) }
    };
    pickers.stages.iter().map(stage).collect()
}

fn price(currency: &wire::Currency) -> FieldSchema {
    let code = &currency.code;
    field(&format!("prices[{code}]"), format!("Price ({code})"), FieldKind::Money)
}

/// A custom field, or the parts of one that is stored as an object.
fn custom_fields(row: &wire::Field, pickers: &Pickers) -> Vec<FieldSchema> {
    let (code, label) = (row.code.as_str(), row.name.as_str());
    let one = |name: String, label: String, kind| FieldSchema {
        custom: true,
        ..field(&name, label, kind)
    };
    let part = |part: &str, label: String, kind| one(format!("{code}.{part}"), label, kind);
    match row.type_name.as_str() {
        "monetary" => vec![
            part("value", label.to_owned(), FieldKind::Money),
            FieldSchema {
                options: pickers.currencies.iter().map(currency_option).collect(),
                ..part("currency", format!("{label} (currency)"), FieldKind::Currency)
            },
        ],
        "daterange" => vec![
            part("value", label.to_owned(), FieldKind::Date),
            part("until", format!("{label} (until)"), FieldKind::Date),
        ],
        "time" => vec![
            part("value", label.to_owned(), FieldKind::Time),
            part("timezone_name", format!("{label} (time zone)"), FieldKind::Text),
        ],
        "timerange" => vec![
            part("value", label.to_owned(), FieldKind::Time),
            part("until", format!("{label} (until)"), FieldKind::Time),
            part("timezone_name", format!("{label} (time zone)"), FieldKind::Text),
        ],
        "address" => {
            let mut parts = vec![one(code.to_owned(), label.to_owned(), FieldKind::Text)];
            parts.extend(address_parts(code, label, true));
            parts
        }
        other => {
            let kind = plain_kind(other);
            let target = target(other).map(ModuleName::new);
            let mappable = kind != FieldKind::Unsupported;
            vec![FieldSchema {
                options: listed_options(row),
                target,
                max_length: max_length(other),
                readable: mappable,
                writable_on_create: mappable,
                writable_on_update: mappable,
                ..one(code.to_owned(), label.to_owned(), kind)
            }]
        }
    }
}

/// What v1 keeps of a custom field: no names of time zones, and no word on how to write an address's parts or a
/// range of times, so that these are for reading.
fn in_dialect(module: &Module, row: &wire::Field, mut all: Vec<FieldSchema>) -> Vec<FieldSchema> {
    if module.dialect == Dialect::V2 {
        return all;
    }
    all.retain(|field| field.name.part() != Some("timezone_name"));
    let is_part = |field: &FieldSchema| field.name.part().is_some();
    for field in &mut all {
        if row.type_name == "timerange" || (row.type_name == "address" && is_part(field)) {
            (field.writable_on_create, field.writable_on_update) = (false, false);
        }
    }
    all
}

/// Kind of a type that is stored as one value. Source: "Custom fields", field types.
fn plain_kind(field_type: &str) -> FieldKind {
    match field_type {
        "varchar" | "varchar_auto" | "varchar_options" => FieldKind::Text,
        "text" => FieldKind::LongText,
        "double" => FieldKind::Decimal,
        "int" => FieldKind::Integer,
        "boolean" => FieldKind::Bool,
        "date" => FieldKind::Date,
        "time" => FieldKind::Time,
        "datetime" | "timestamp" => FieldKind::Timestamp,
        "set" => FieldKind::OptionSet,
        "enum" | "status" | "stage" | "pipeline" | "visible_to" | "billing_frequency" => {
            FieldKind::Option
        }
        "user" => FieldKind::User,
        "org" | "people" | "deal" | "lead" | "activity" => FieldKind::Lookup,
        "phone" => FieldKind::Phone,
        _ => FieldKind::Unsupported,
    }
}

fn target(field_type: &str) -> Option<&'static str> {
    match field_type {
        "org" => Some("organizations"),
        "people" => Some("persons"),
        "deal" => Some("deals"),
        "lead" => Some("leads"),
        "activity" => Some("activities"),
        _ => None,
    }
}

/// Source: "Custom fields", lengths by type.
fn max_length(field_type: &str) -> Option<usize> {
    match field_type {
        "varchar" | "varchar_auto" | "phone" => Some(SHORT_TEXT),
        "text" => Some(LONG_TEXT),
        _ => None,
    }
}

/// A built-in field that the table does not know: to be read, not to be written.
fn other_built_in(module: &Module, row: &wire::Field) -> Option<FieldSchema> {
    let code = row.code.as_str();
    // Never in an answer that did not ask for it, and we know what may be asked for.
    if row.optional && !module.optional.contains(&code) {
        return None;
    }
    let kind = match code {
        _ if code.ends_with("_time") => FieldKind::Timestamp,
        _ => plain_kind(&row.type_name),
    };
    Some(FieldSchema {
        options: listed_options(row),
        readable: kind != FieldKind::Unsupported,
        writable_on_create: false,
        writable_on_update: false,
        ..field(code, row.name.as_str(), kind)
    })
}

/// A described module, indexed for decoding and encoding.
#[derive(Debug)]
pub(super) struct Shapes {
    pub(super) module: &'static Module,
    pub(super) schema: ModuleSchema,
    index: BTreeMap<String, usize>,
}

/// How a remote field is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) kind: FieldKind,
    pub(super) custom: bool,
    pub(super) on_create: bool,
    pub(super) on_update: bool,
}

impl Shapes {
    pub(super) fn new(module: &'static Module, schema: ModuleSchema) -> Self {
        let names = schema.fields.iter().enumerate();
        let index = names.map(|(at, field)| (field.name.as_str().to_owned(), at)).collect();
        Self { module, schema, index }
    }

    /// The shape of `field`; `None` for one that the account does not have (any more).
    pub(super) fn shape(&self, field: &RemoteField) -> Option<Shape> {
        if let Some(known) =
            self.index.get(field.as_str()).and_then(|at| self.schema.fields.get(*at))
        {
            let (on_create, on_update) = (known.writable_on_create, known.writable_on_update);
            return Some(Shape { kind: known.kind, custom: known.custom, on_create, on_update });
        }
        // Labels and currencies beyond those described are as good.
        field.part()?;
        let kind = match (self.module.name, field.base()) {
            ("persons", "emails") => FieldKind::Email,
            ("persons", "phones") => FieldKind::Phone,
            ("products", "prices") => FieldKind::Money,
            _ => return None,
        };
        Some(Shape { kind, custom: false, on_create: true, on_update: true })
    }

    /// Whether `base` is stored as an object whose parts are fields.
    pub(super) fn is_composite(&self, base: &str) -> bool {
        let first = format!("{base}.");
        self.index.range(first.clone()..).next().is_some_and(|(name, _)| name.starts_with(&first))
    }

    /// Whether `base` is an address: its text can be told from its parts.
    pub(super) fn is_address(&self, base: &str) -> bool {
        self.index.contains_key(&format!("{base}.postal_code"))
    }

    /// All fields that can be read.
    pub(super) fn readable(&self) -> Vec<RemoteField> {
        self.schema
            .fields
            .iter()
            .filter(|field| field.readable)
            .map(|field| field.name.clone())
            .collect()
    }
}
