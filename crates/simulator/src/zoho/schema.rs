//! Modules and fields: what a record may hold, and what the metadata calls say about it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::table::Table;

/// A field's data type. Source: Zoho CRM API v8, "Fields metadata".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FieldType {
    Text,
    /// At most 2,000 characters.
    SmallText,
    /// At most 32,000 characters.
    LargeText,
    /// HTML of at most 50,000 characters, cut to 500 in lists.
    RichText,
    Email,
    Phone,
    Website,
    Picklist,
    MultiPicklist,
    Boolean,
    Integer,
    Bigint,
    Double,
    Currency,
    Percent,
    Date,
    DateTime,
    Autonumber,
    /// Reads the value the back door or an automation put there; never moves `Modified_Time`.
    Formula,
    Lookup,
    Owner,
    User,
    /// A record of any module: `What_Id`, `Parent_Id`.
    MultiModule,
    Subform,
    Tag,
    Layout,
    /// JSON kept as sent: participants and the reminders of a meeting.
    Json,
    /// A task's reminder, `{"ALARM": "…"}`, kept as sent.
    Alarm,
    /// A recurrence, `{"RRULE": "…"}`, kept as sent.
    Recurrence,
    /// A call's reminder, kept as sent.
    CallReminder,
}

impl FieldType {
    /// `data_type` in metadata.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Text | Self::Tag => "text",
            Self::SmallText | Self::LargeText | Self::RichText => "textarea",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Website => "website",
            Self::Picklist => "picklist",
            Self::MultiPicklist => "multiselectpicklist",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Bigint => "bigint",
            Self::Double => "double",
            Self::Currency => "currency",
            Self::Percent => "percent",
            Self::Date => "date",
            Self::DateTime => "datetime",
            Self::Autonumber => "autonumber",
            Self::Formula => "formula",
            Self::Lookup => "lookup",
            Self::Owner => "ownerlookup",
            Self::User => "userlookup",
            Self::MultiModule => "multi_module_lookup",
            Self::Subform => "subform",
            Self::Layout => "layout",
            Self::Json => "multireminder",
            Self::Alarm => "ALARM",
            Self::Recurrence => "RRULE",
            Self::CallReminder => "event_reminder",
        }
    }

    pub(super) fn json_type(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Double | Self::Currency | Self::Percent => "double",
            Self::Lookup
            | Self::Owner
            | Self::User
            | Self::MultiModule
            | Self::Layout
            | Self::Alarm
            | Self::Recurrence => "jsonobject",
            Self::Subform | Self::Tag | Self::MultiPicklist | Self::Json => "jsonarray",
            Self::Text
            | Self::SmallText
            | Self::LargeText
            | Self::RichText
            | Self::Email
            | Self::Phone
            | Self::Website
            | Self::Picklist
            | Self::Bigint
            | Self::Date
            | Self::DateTime
            | Self::Autonumber
            | Self::Formula
            | Self::CallReminder => "string",
        }
    }

    /// The type that `POST /settings/fields` means by a `data_type`.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "text" => Self::Text,
            "textarea" => Self::LargeText,
            "email" => Self::Email,
            "phone" => Self::Phone,
            "website" => Self::Website,
            "picklist" => Self::Picklist,
            "multiselectpicklist" => Self::MultiPicklist,
            "boolean" => Self::Boolean,
            "integer" => Self::Integer,
            "bigint" => Self::Bigint,
            "double" => Self::Double,
            "currency" => Self::Currency,
            "percent" => Self::Percent,
            "date" => Self::Date,
            "datetime" => Self::DateTime,
            "autonumber" => Self::Autonumber,
            "formula" => Self::Formula,
            "lookup" => Self::Lookup,
            "userlookup" => Self::User,
            "subform" => Self::Subform,
            _ => return None,
        })
    }

    pub(super) fn default_length(self) -> usize {
        match self {
            Self::Text | Self::Layout | Self::Subform => 255,
            Self::SmallText | Self::MultiPicklist | Self::Tag => 2_000,
            Self::LargeText | Self::Json => 32_000,
            Self::RichText => 50_000,
            Self::Email => 100,
            Self::Phone => 30,
            Self::Website => 450,
            Self::Picklist
            | Self::Owner
            | Self::User
            | Self::Lookup
            | Self::MultiModule
            | Self::DateTime
            | Self::Autonumber
            | Self::Formula
            | Self::Alarm
            | Self::Recurrence
            | Self::CallReminder => 120,
            Self::Boolean | Self::Percent => 5,
            Self::Integer => 9,
            Self::Bigint => 18,
            Self::Double | Self::Currency => 16,
            Self::Date => 20,
        }
    }

    /// Kept as sent, with no value inside to search or to sort by.
    pub(super) fn is_opaque(self) -> bool {
        matches!(self, Self::Json | Self::Alarm | Self::Recurrence | Self::CallReminder)
    }

    /// Left out of lists and of COQL; only the single-record call returns it.
    pub(super) fn only_in_single(self) -> bool {
        self == Self::Subform
    }
}

/// One option of a picklist; the record API reads and takes `display`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PickOption {
    pub display: String,
    pub actual: String,
    pub(super) id: u64,
}

/// Who can see an external id and over what it is unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum External {
    Org,
    User,
}

/// A field of a module. Build one with [`Field::new`] and the `with_` functions.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "flags of the metadata, each a fact of its own")]
pub struct Field {
    pub api_name: String,
    pub label: String,
    pub kind: FieldType,
    pub length: usize,
    pub mandatory: bool,
    pub read_only: bool,
    /// Case-sensitive or not, for a field without duplicates.
    pub unique: Option<bool>,
    pub external: Option<External>,
    pub options: Vec<PickOption>,
    /// API name of the module a lookup points to.
    pub target: Option<String>,
    pub custom: bool,
    pub(super) id: u64,
    /// Metadata says that it cannot be seen, as with `id`; it is answered all the same.
    pub(super) unseen: bool,
    pub(super) modified: Option<i64>,
}

impl Field {
    /// A writable custom field with the type's usual length.
    pub fn new(api_name: &str, kind: FieldType) -> Self {
        Self {
            api_name: api_name.into(),
            label: api_name.replace("__s", "").replace('_', " "),
            kind,
            length: kind.default_length(),
            mandatory: false,
            read_only: matches!(kind, FieldType::Autonumber | FieldType::Formula),
            unique: None,
            external: None,
            options: Vec::new(),
            target: None,
            custom: true,
            id: 0,
            unseen: false,
            modified: None,
        }
    }

    #[must_use]
    pub fn with_length(self, length: usize) -> Self {
        Self { length, ..self }
    }

    /// Refuses a second record with the same value.
    #[must_use]
    pub fn with_unique(self) -> Self {
        Self { unique: Some(false), ..self }
    }

    #[must_use]
    pub fn with_external(self, external: External) -> Self {
        Self { external: Some(external), ..self }
    }

    #[must_use]
    pub fn with_target(self, module: &str) -> Self {
        Self { target: Some(module.into()), ..self }
    }

    /// Options given as `(display, actual)`.
    #[must_use]
    pub fn with_options(mut self, options: &[(&str, &str)]) -> Self {
        let option = |&(display, actual): &(&str, &str)| PickOption {
            display: display.into(),
            actual: actual.into(),
            id: 0,
        };
        self.options = options.iter().map(option).collect();
        self
    }

    #[must_use]
    pub fn with_mandatory(self) -> Self {
        Self { mandatory: true, ..self }
    }

    /// True where values are kept apart by an index: unique and org-wide external fields.
    pub(super) fn refuses_duplicates(&self) -> bool {
        self.unique.is_some() || self.external == Some(External::Org)
    }
}

/// A module with its records.
#[derive(Clone, Debug)]
pub(super) struct Module {
    pub(super) id: u64,
    pub(super) api_name: String,
    /// Internal name, as in web links: `Meetings` for Events.
    pub(super) tab: String,
    pub(super) singular: String,
    pub(super) plural: String,
    pub(super) custom: bool,
    /// In the order of the metadata.
    pub(super) fields: Vec<Field>,
    by_name: BTreeMap<String, usize>,
    /// The field whose value names a record in lookups and in the deleted list.
    pub(super) name_field: String,
    /// Checked by upsert besides the unique fields.
    pub(super) duplicate_field: Option<String>,
    pub(super) layout: u64,
    pub(super) tags: BTreeMap<String, u64>,
    pub(super) table: Table,
    pub(super) rules: Rules,
}

/// What the server does to values and calls of one module besides its fields' types.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    /// Field → characters kept without a word.
    pub(super) truncated: BTreeMap<String, usize>,
    /// Options refused though listed.
    pub(super) refused: BTreeSet<(String, String)>,
    pub(super) access: Access,
}

/// What the token's user may do with a module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    #[default]
    Full,
    /// 403 `NO_PERMISSION` on every call.
    Forbidden,
    /// Records cannot be seen: 204 for every read, `INVALID_DATA` for writes by id.
    Unseen,
    /// The module is gone from the API: 400 `INVALID_MODULE`.
    Absent,
}

impl Module {
    pub(super) fn new(
        id: u64,
        api_name: &str,
        tab: &str,
        name_field: &str,
        fields: Vec<Field>,
    ) -> Self {
        let plural = api_name.replace('_', " ");
        let mut module = Self {
            id,
            api_name: api_name.into(),
            tab: tab.into(),
            singular: plural.strip_suffix('s').unwrap_or(&plural).to_owned(),
            plural,
            custom: false,
            fields,
            by_name: BTreeMap::new(),
            name_field: name_field.into(),
            duplicate_field: None,
            layout: 0,
            tags: BTreeMap::new(),
            table: Table::default(),
            rules: Rules::default(),
        };
        module.reindex();
        module
    }

    pub(super) fn field(&self, api_name: &str) -> Option<&Field> {
        self.by_name.get(api_name).map(|&at| &self.fields[at])
    }

    pub(super) fn field_mut(&mut self, api_name: &str) -> Option<&mut Field> {
        self.by_name.get(api_name).map(|&at| &mut self.fields[at])
    }

    /// Call after any change to `fields`: rebuilds the name index and the value indexes.
    pub(super) fn reindex(&mut self) {
        self.by_name = self
            .fields
            .iter()
            .enumerate()
            .map(|(at, field)| (field.api_name.clone(), at))
            .collect();
        let unique = self.fields.iter().filter(|field| field.refuses_duplicates());
        let names = unique.map(|field| (field.api_name.clone(), field.unique == Some(true)));
        let duplicate = self.duplicate_field.iter().map(|name| (name.clone(), false));
        self.table.index_by(names.chain(duplicate).collect());
    }

    pub(super) fn add_field(&mut self, field: Field) {
        match self.by_name.get(&field.api_name) {
            Some(&at) => self.fields[at] = field,
            None => self.fields.push(field),
        }
        self.reindex();
    }

    pub(super) fn remove_field(&mut self, api_name: &str) {
        self.fields.retain(|field| field.api_name != api_name);
        self.reindex();
    }

    /// Record name as lookups and the deleted list show it.
    pub(super) fn display_name(&self, fields: &serde_json::Map<String, Value>) -> Value {
        fields.get(&self.name_field).cloned().unwrap_or(Value::Null)
    }

    pub(super) fn is_activity(&self) -> bool {
        matches!(self.api_name.as_str(), "Tasks" | "Events" | "Calls")
    }

    /// Name of the module in OAuth scopes.
    pub(super) fn scope(&self) -> String {
        if self.custom { "custom".into() } else { self.api_name.to_lowercase().replace('_', "") }
    }
}
