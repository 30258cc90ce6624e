//! What a side says about its modules and fields, in one vocabulary for all sides.

use serde::{Deserialize, Serialize};

use super::{ModuleName, RemoteField};

/// A module as its side describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleSchema {
    pub module: ModuleName,
    pub label: String,
    pub fields: Vec<FieldSchema>,
}

/// A field as its side describes it.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts that a side states about a field"
)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldSchema {
    /// API name; for list entries and composite parts the form of [`RemoteField`].
    pub name: RemoteField,
    /// What people see; not unique.
    pub label: String,
    pub kind: FieldKind,
    /// Longest text in characters.
    pub max_length: Option<usize>,
    pub options: Vec<OptionSchema>,
    /// Module that a lookup points to; `None` for a lookup of many modules.
    pub target: Option<ModuleName>,
    pub readable: bool,
    pub writable_on_create: bool,
    pub writable_on_update: bool,
    /// A create without it is refused.
    pub required: bool,
    /// The side itself refuses a second record with the same value.
    pub unique: bool,
    pub custom: bool,
}

/// One option of a picklist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptionSchema {
    /// What records carry: the option's ID, or its stored text where the side has no IDs.
    pub id: String,
    pub label: String,
    /// For options that belong to a parent, such as a stage to its pipeline: `Sales / Negotiation` reads both.
    pub parent: Option<String>,
}

/// How a field's values are shaped, whatever the side calls its types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FieldKind {
    Text,
    LongText,
    RichText,
    Email,
    /// Several e-mail addresses, the primary one first.
    EmailList,
    Phone,
    PhoneList,
    Url,
    Bool,
    Integer,
    Decimal,
    Money,
    Currency,
    Date,
    Time,
    Timestamp,
    Duration,
    Option,
    OptionSet,
    Tags,
    User,
    Lookup,
    Id,
    /// Shown, never mapped: the reason is the side's type name.
    Unsupported,
}

/// A person who can own records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub id: String,
    pub name: String,
    pub email: String,
    pub active: bool,
}
