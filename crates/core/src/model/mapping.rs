//! A checked mapping: what one entity means on both sides. Compiled from a mapping file and live metadata.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{EntityName, FieldName, ModuleName, Pair, RecordId, RemoteField, Side};
use crate::engine::filter::Filter;

/// Which way values flow.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    #[default]
    Both,
    ToRight,
    ToLeft,
}

impl Direction {
    /// Whether a value of `side` may flow to the other side.
    pub const fn flows_from(self, side: Side) -> bool {
        matches!(
            (self, side),
            (Self::Both, _) | (Self::ToRight, Side::Left) | (Self::ToLeft, Side::Right)
        )
    }
}

/// Which creates a mapping allows; updates follow [`Direction`].
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Creation {
    #[default]
    Both,
    ToRight,
    ToLeft,
    /// Link only.
    None,
}

impl Creation {
    pub const fn allows(self, target: Side) -> bool {
        matches!(
            (self, target),
            (Self::Both, _) | (Self::ToRight, Side::Right) | (Self::ToLeft, Side::Left)
        )
    }
}

/// Who wins when both sides changed a field: semantics §8.3.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    #[default]
    Newest,
    PreferLeft,
    PreferRight,
    Queue,
    /// Source of truth left: one-way, drift on the right is restored.
    OwnerLeft,
    OwnerRight,
}

impl Policy {
    /// As mapping files spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::PreferLeft => "prefer-left",
            Self::PreferRight => "prefer-right",
            Self::Queue => "queue",
            Self::OwnerLeft => "owner-left",
            Self::OwnerRight => "owner-right",
        }
    }
}

/// What happens to an edit on the side that does not own a field: semantics §8.3.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum DriftPolicy {
    /// The owner's value is written back, and the drift reported.
    #[default]
    Restore,
    /// The difference stays until the owner's side changes again.
    Keep,
}

/// What shows which side changed a field last: semantics §8.4.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceSource {
    /// The record's modified time, which moves with any of its fields.
    #[default]
    RecordTime,
    /// The side's own history of the field, read for records in conflict only.
    FieldHistory,
}

/// How a text that both sides edited is merged: semantics §8.1.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum TextMerge {
    /// As one value.
    #[default]
    Whole,
    /// Line by line: edits of different lines both stay, edits of the same lines are a conflict.
    Lines,
}

/// What happens to the counterpart of a record that was merged into another linked one: semantics §7.3.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum MergedPolicy {
    /// A person is asked; it stays as it is.
    #[default]
    Queue,
    /// It is deleted, if nobody edited it since; counts against the delete cap.
    Delete,
}

/// Which writes are compared with the side's own history afterwards: semantics §10.2.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum AuditWrites {
    #[default]
    Off,
    /// Writes to records that somebody had just changed, and writes that took long.
    Suspect,
    All,
}

/// What happens to the counterpart of a deleted record: semantics §9.2.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum DeletePolicy {
    #[default]
    Keep,
    Archive,
    Propagate,
}

/// What happens when one side deleted what the other edited: semantics §9.3.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum DeleteEditPolicy {
    #[default]
    Queue,
    EditWins,
    DeleteWins,
}

/// How updates reach a side that offers a choice: semantics §10.2.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum WriteMode {
    #[default]
    Auto,
    Conditional,
    Batch,
}

/// A checked mapping of one entity.
#[derive(Clone, Debug, PartialEq)]
pub struct Entity {
    pub name: EntityName,
    pub modules: Pair<ModuleName>,
    pub filters: Pair<Option<Filter>>,
    pub direction: Direction,
    pub create: Creation,
    pub matching: Matching,
    pub conflicts: Conflicts,
    pub deletes: Deletes,
    pub write_mode: WriteMode,
    pub merged: MergedPolicy,
    pub audit_writes: AuditWrites,
    /// Records that must be readable before anything is inferred from absence: semantics §4. Without one, any other
    /// known record serves.
    pub canaries: Pair<Option<RecordId>>,
    /// In the order of the mapping file.
    pub fields: Vec<FieldRule>,
    /// Groups are written as one unit; each name is a group, each field is in one at most.
    pub groups: BTreeMap<String, Vec<FieldName>>,
    /// Hash of matching, filters and scope: a change withholds deletes for a run (semantics §9.4).
    pub scope_fingerprint: String,
}

impl Entity {
    pub fn field(&self, name: &FieldName) -> Option<&FieldRule> {
        self.fields.iter().find(|rule| rule.name == *name)
    }

    /// Remote fields to read on `side`: mapped ones, those of the filter and the external ID.
    pub fn remote_fields(&self, side: Side) -> Vec<RemoteField> {
        let mapped = self.fields.iter().filter_map(|rule| rule.remote[side].clone());
        let filtered = self.filters[side].iter().flat_map(Filter::fields);
        let external = self.matching.external_id.as_ref().and_then(|pair| pair[side].clone());
        let all: std::collections::BTreeSet<_> = mapped.chain(filtered).chain(external).collect();
        all.into_iter().collect()
    }

    /// Entities that this one's fields refer to.
    pub fn references(&self) -> impl Iterator<Item = (&FieldRule, &EntityName)> {
        self.fields.iter().filter_map(|rule| match &rule.relation {
            Relation::Reference { entity } => Some((rule, entity)),
            Relation::Text { .. }
            | Relation::RichText { .. }
            | Relation::Option { .. }
            | Relation::OptionSet { .. }
            | Relation::Number { .. }
            | Relation::Bool
            | Relation::Phone { .. }
            | Relation::Email
            | Relation::Date
            | Relation::Timestamp
            | Relation::User { .. } => None,
        })
    }
}

/// How records without a link find each other: semantics §6.1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matching {
    /// The field on each side that names the counterpart's ID, where it exists.
    pub external_id: Option<Pair<Option<RemoteField>>>,
    /// In order; the first level with a candidate decides.
    pub keys: Vec<KeyGroup>,
}

/// Fields that together identify a record.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyGroup {
    pub fields: Vec<FieldName>,
    pub strength: Strength,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Strength {
    /// May link.
    Strong,
    /// May only suggest.
    Weak,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Conflicts {
    pub policy: Policy,
    /// Used when `newest` finds both within `skew_seconds` or without evidence.
    pub tie: Policy,
    pub skew_seconds: i64,
    /// For a link without a baseline: semantics §14.1.
    pub initial: Policy,
    /// For a field whose mapping changed: semantics §14.3.
    pub on_mapping_change: Policy,
    /// For `newest`.
    pub evidence: EvidenceSource,
    /// For `owner-left` and `owner-right`.
    pub drift: DriftPolicy,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Deletes {
    /// By the side where the counterpart would be deleted or archived.
    pub policy: Pair<DeletePolicy>,
    pub on_edit: DeleteEditPolicy,
    /// Deletes + archives above `max(3, min(100, max_percent % of live links))` are withheld: semantics §9.4.
    pub max_percent: Decimal,
    /// What `archive` writes, by side.
    pub archive_marks: Pair<BTreeMap<RemoteField, super::Value>>,
    pub accept_weak: bool,
}

/// One mapped field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldRule {
    pub name: FieldName,
    /// Where the value stands on each side; `None` on the source side of a constant or an expression.
    pub remote: Pair<Option<RemoteField>>,
    pub direction: Direction,
    pub relation: Relation,
    pub merge: TextMerge,
    /// Overrides the entity's policy.
    pub conflict: Option<Policy>,
    /// What a side without a remote field shows: a constant or an expression over its other fields.
    pub derived: Option<Derived>,
    /// A create on that side is refused without a value.
    pub required: Pair<bool>,
    /// Whether that side accepts a value at all (on update).
    pub writable: Pair<bool>,
    /// Whether a create on that side may carry a value; some fields take one then and never again.
    pub creatable: Pair<bool>,
    /// Hash of mapping, transform, option map, remote field, type and length: semantics §14.3.
    pub fingerprint: String,
}

/// A value that no side stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Derived {
    Constant(super::Value),
    /// minijinja over the canonical fields of the source side.
    Expression(String),
}

/// How a field's two forms relate: normal forms, agreement and the writers of semantics §5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Longest text each side stores, in characters.
    Text {
        limits: Pair<Option<usize>>,
    },
    /// Which side holds HTML.
    RichText {
        html: Pair<bool>,
        limits: Pair<Option<usize>>,
    },
    /// Left option ID → right option ID and back. A value outside is untranslatable.
    Option {
        map: OptionMap,
    },
    OptionSet {
        map: OptionMap,
    },
    /// Decimals kept by each side.
    Number {
        scale: Pair<Option<u32>>,
    },
    Bool,
    /// Default region (ISO 3166) for numbers written without a country.
    Phone {
        region: Option<String>,
    },
    /// One address on one side, a list (or one) on the other.
    Email,
    Date,
    Timestamp,
    /// Users by ID, matched by e-mail or by a table of pairs.
    User {
        map: OptionMap,
    },
    Reference {
        entity: EntityName,
    },
}

/// A one-to-one table between the option (or user) IDs of both sides; `open`: IDs pass unchanged when not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptionMap {
    pub to_right: BTreeMap<String, String>,
    pub to_left: BTreeMap<String, String>,
    pub open: bool,
}
