//! The mapping file as it is written: names with their places, nothing resolved.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::diagnostic::{Diagnostic, Document, Severity, did_you_mean};
use crate::model::mapping::{
    AuditWrites, Creation, DeleteEditPolicy, DeletePolicy, DriftPolicy, EvidenceSource,
    MergedPolicy, Strength, TextMerge, WriteMode,
};
use crate::model::{Direction, EntityName, Policy, RecordId, Side};

/// A table whose keys keep their places; [`in_order`] gives the order of the file.
pub type SpannedMap<T> = BTreeMap<Spanned<String>, T>;

/// One entity of a route: what it is on both sides.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MappingFile {
    /// Our kind of record, such as `contact`.
    #[schemars(with = "String")]
    pub entity: Spanned<String>,
    #[schemars(with = "SideFile")]
    pub left: Spanned<SideFile>,
    #[schemars(with = "SideFile")]
    pub right: Spanned<SideFile>,
    /// Which way values flow; a field may say otherwise.
    #[serde(default)]
    pub direction: Direction,
    /// On which sides missing records are created.
    #[serde(default)]
    pub create: Creation,
    /// How updates reach a side that offers a choice.
    #[serde(default, rename = "write-mode", alias = "write_mode")]
    pub write_mode: WriteMode,
    /// Which writes are compared with the side's own history afterwards, to find edits that they overwrote.
    #[serde(default, rename = "audit-writes", alias = "audit_writes")]
    pub audit_writes: AuditWrites,
    /// What happens to the counterpart of a record that was merged into another linked one.
    #[serde(default)]
    pub merged: MergedPolicy,
    #[serde(default, rename = "match")]
    pub matching: MatchFile,
    #[serde(default)]
    pub conflicts: ConflictsFile,
    #[serde(default)]
    pub deletes: DeletesFile,
    /// Mapped fields by canonical name.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, FieldFile>")]
    pub fields: SpannedMap<FieldFile>,
    /// Fields that are detected, decided and written as one unit.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Vec<String>>")]
    pub groups: SpannedMap<Vec<Spanned<String>>>,
}

/// How one side holds the entity.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SideFile {
    /// API name of the module, or the table.
    #[schemars(with = "String")]
    pub module: Spanned<String>,
    /// Which records take part: `Email is not null and Type = 'Customer'`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub filter: Option<Spanned<String>>,
    /// ID of a record that must be readable before a missing one counts as deleted. Without it, any other known
    /// record serves.
    #[serde(default)]
    pub canary: Option<Id>,
}

/// A record ID as written: Pipedrive's are numbers.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Id {
    Number(u64),
    Text(String),
}

impl Id {
    pub fn id(&self) -> RecordId {
        match self {
            Self::Number(number) => RecordId::new(number.to_string()),
            Self::Text(text) => RecordId::new(text.as_str()),
        }
    }
}

/// How records without a link find each other.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MatchFile {
    /// Fields that hold the other side's record ID.
    #[serde(default, alias = "external-id")]
    pub external_id: Option<ExternalIdFile>,
    /// Duplicate-check keys, strongest first.
    #[serde(default)]
    pub keys: Vec<KeyFile>,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalIdFile {
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub left: Option<Spanned<String>>,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub right: Option<Spanned<String>>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    /// Canonical names.
    #[schemars(with = "Vec<String>")]
    pub fields: Spanned<Vec<Spanned<String>>>,
    /// `strong` may link, `weak` may only suggest.
    #[serde(default = "strong")]
    pub strength: Strength,
}

const fn strong() -> Strength {
    Strength::Strong
}

/// Who wins when both sides changed a field.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConflictsFile {
    /// Absent: the route's, else `newest`.
    pub policy: Option<Policy>,
    /// Modified times closer than this are a tie: `5s`, `2m`, `1h`.
    #[schemars(with = "Option<String>")]
    pub skew: Option<Spanned<String>>,
    /// Policy for a tie.
    #[schemars(with = "Option<Policy>")]
    pub tie: Option<Spanned<Policy>>,
    /// Policy for a new link whose sides differ.
    #[schemars(with = "Option<Policy>")]
    pub initial: Option<Spanned<Policy>>,
    /// Policy for a field whose mapping changed.
    #[serde(rename = "on-mapping-change", alias = "on_mapping_change")]
    pub on_mapping_change: Option<Policy>,
    /// What shows which side changed a field last: the record's modified time, or the field's own history, which is
    /// read for records in conflict.
    pub evidence: EvidenceSource,
    /// What happens to an edit on the side that does not own the field.
    pub drift: DriftPolicy,
}

/// What happens to the counterpart of a deleted record.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeletesFile {
    #[serde(rename = "to-right", alias = "to_right")]
    #[schemars(with = "Option<DeletePolicy>")]
    pub to_right: Option<Spanned<DeletePolicy>>,
    #[serde(rename = "to-left", alias = "to_left")]
    #[schemars(with = "Option<DeletePolicy>")]
    pub to_left: Option<Spanned<DeletePolicy>>,
    /// What happens when one side deleted what the other edited.
    #[serde(alias = "on-edit")]
    pub on_edit: DeleteEditPolicy,
    /// Share of the live links above which deletes are withheld: `5%`.
    #[schemars(with = "Option<String>")]
    pub max: Option<Spanned<String>>,
    /// Fields that `archive` writes, by side.
    pub marks: MarksFile,
    /// Two probes that find nothing count as a deletion.
    #[serde(rename = "accept-weak-deletes", alias = "accept-weak", alias = "accept_weak")]
    pub accept_weak: bool,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MarksFile {
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub left: SpannedMap<toml::Value>,
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub right: SpannedMap<toml::Value>,
}

/// One mapped field.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FieldFile {
    /// API name or label; `phones[work]` for an entry of a list, `address.locality` for a part.
    #[schemars(with = "Option<String>")]
    pub left: Option<Spanned<String>>,
    /// As `left`.
    #[schemars(with = "Option<String>")]
    pub right: Option<Spanned<String>>,
    /// How both forms relate; found from both fields' types where absent.
    #[serde(rename = "type")]
    #[schemars(with = "Option<super::infer::Form>")]
    pub form: Option<Spanned<super::infer::Form>>,
    #[schemars(with = "Option<Direction>")]
    pub direction: Option<Spanned<Direction>>,
    /// Entity that a lookup points to.
    #[schemars(with = "Option<String>")]
    pub reference: Option<Spanned<String>>,
    /// Left option → right option, by label or ID. Others meet their like-named partner.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub options: Option<Spanned<SpannedMap<Spanned<String>>>>,
    /// Left user → right user, by e-mail, name or ID. Others meet by e-mail.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub users: Option<Spanned<SpannedMap<Spanned<String>>>>,
    pub conflict: Option<Policy>,
    /// How a text that both sides edited is merged.
    #[schemars(with = "Option<TextMerge>")]
    pub merge: Option<Spanned<TextMerge>>,
    /// minijinja over the other side's canonical fields.
    #[schemars(with = "Option<String>")]
    pub expression: Option<Spanned<String>>,
    #[schemars(with = "Option<serde_json::Value>")]
    pub constant: Option<Spanned<toml::Value>>,
    /// Country (ISO 3166) of phone numbers written without one.
    #[schemars(with = "Option<String>")]
    pub region: Option<Spanned<String>>,
    /// Decimals that count when numbers are compared.
    pub decimals: Option<u32>,
}

impl MappingFile {
    pub fn name(&self) -> EntityName {
        EntityName::new(self.entity.get_ref().as_str())
    }

    pub const fn side(&self, side: Side) -> &Spanned<SideFile> {
        match side {
            Side::Left => &self.left,
            Side::Right => &self.right,
        }
    }

    /// Names of a side's fields, as written, by canonical name.
    pub fn remote_names(&self, side: Side) -> BTreeMap<String, String> {
        let named = self.fields.iter().filter_map(|(name, field)| {
            Some((name.get_ref().clone(), field.remote(side)?.get_ref().clone()))
        });
        named.collect()
    }

    /// The module's name as written.
    pub fn module(&self, side: Side) -> &str {
        self.side(side).get_ref().module.get_ref()
    }

    /// The external-ID field's name or label as written.
    pub fn external_id(&self, side: Side) -> Option<&Spanned<String>> {
        let fields = self.matching.external_id.as_ref()?;
        match side {
            Side::Left => fields.left.as_ref(),
            Side::Right => fields.right.as_ref(),
        }
    }
}

impl FieldFile {
    /// The remote field's name or label as written.
    pub const fn remote(&self, side: Side) -> Option<&Spanned<String>> {
        match side {
            Side::Left => self.left.as_ref(),
            Side::Right => self.right.as_ref(),
        }
    }
}

/// Returns a table's entries in the order of the file.
pub fn in_order<T>(map: &SpannedMap<T>) -> Vec<(&Spanned<String>, &T)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// Reads a mapping file.
///
/// # Errors
/// What TOML or the shape of the file refuses, with its place; an unknown key comes with the nearest known one.
pub fn parse(path: &str, text: &str) -> Result<MappingFile, Vec<Diagnostic>> {
    toml::from_str(text).map_err(|error| {
        let document = Document { path, text };
        let span = error.span().unwrap_or(0..0);
        let help = suggestion(error.message());
        // serde calls a key a field, which here is something else.
        let message = error.message().replace("unknown field", "unknown key");
        vec![document.at(span, Severity::Error, message, help)]
    })
}

/// Finds the nearest of the names that a message offers: ``unknown field `a`, expected one of `b`, `c` ``.
fn suggestion(message: &str) -> Option<String> {
    let rest = message.strip_prefix("unknown ")?;
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let name = quoted.next()?;
    did_you_mean(name, quoted)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn given_a_broken_file_when_parsed_then_the_place_and_the_nearest_key_are_named() {
        let head = "entity = \"contact\"\nleft = { module = \"Contacts\" }\nright = { module = \"persons\" }\n";
        let cases = [
            ("unknown key", "[fields]\nemail = { lefft = \"Email\" }\n"),
            ("unknown section", "[conflict]\npolicy = \"newest\"\n"),
            ("unknown policy", "[conflicts]\npolicy = \"newst\"\n"),
            ("duplicate field", "[fields]\na = { left = \"A\" }\na = { left = \"B\" }\n"),
            ("duplicate group", "[groups]\ng = [\"a\"]\ng = [\"b\"]\n"),
            ("not TOML", "[fields\n"),
            ("unknown type", "[fields]\na = { left = \"A\", right = \"B\", type = \"emial\" }\n"),
        ];

        let mut report = String::new();
        for (case, tail) in cases {
            let found = parse("contact.toml", &format!("{head}{tail}")).unwrap_err();
            for diagnostic in found {
                let _ = write!(report, "-- {case}\n{diagnostic}\n");
            }
        }

        insta::assert_snapshot!(report);
    }

    #[test]
    fn given_a_file_with_every_section_when_parsed_then_it_is_read() {
        let text = r#"
entity = "contact"
left  = { module = "Contacts", filter = "Email is not null" }
right = { module = "persons", canary = 12 }
direction = "both"
create = "both"
write-mode = "batch"
audit-writes = "suspect"
merged = "delete"

[match]
external_id = { left = "Pipedrive_ID", right = "Zoho ID" }
keys = [
  { fields = ["email"], strength = "strong" },
  { fields = ["last_name", "phone"], strength = "weak" },
]

[conflicts]
policy = "newest"
skew = "5s"
tie = "queue"
initial = "prefer-left"
on-mapping-change = "queue"
evidence = "field-history"
drift = "keep"

[deletes]
to-right = "keep"
to-left = "archive"
on_edit = "queue"
max = "5%"
accept-weak-deletes = true
marks = { left = { Status = "Gone", Count = 0 } }

[fields]
email      = { left = "Email",      right = "emails", type = "email" }
phone      = { left = "Phone",      right = "phones[work]", type = "phone", region = "DE" }
account    = { left = "Account_Name", right = "org_id", reference = "account" }
owner      = { left = "Owner", right = "owner_id", type = "user", users = { "a@x" = "b@y" } }
source     = { left = "Lead_Source", right = "Lead source", options = { "Web Download" = "Website" } }
stage      = { left = "Stage", right = "stage_id", options = { "Negotiation/Review" = "Sales / Negotiation" }, conflict = "prefer-left" }
greeting   = { right = "Greeting", expression = "'Dear ' ~ first_name" }
country    = { constant = "DE", right = "Country" }
note       = { left = "Description", right = "notes", merge = "lines" }

[groups]
money = ["amount", "currency"]
"#;

        let file = parse("contact.toml", text).unwrap();

        assert_eq!(file.name(), EntityName::new("contact"));
        assert_eq!(file.module(Side::Right), "persons");
        assert_eq!(file.external_id(Side::Right).unwrap().get_ref(), "Zoho ID");
        assert_eq!((file.fields.len(), file.matching.keys.len()), (9, 2));
    }

    #[test]
    fn given_fields_when_parsed_then_they_keep_the_order_of_the_file() {
        let text = "entity = \"x\"\nleft = { module = \"L\" }\nright = { module = \"R\" }\n\
                    [fields]\nzeta = { left = \"A\" }\nalpha = { left = \"B\" }\n[fields.mid]\nleft = \"C\"\n";

        let file = parse("x.toml", text).unwrap();

        let names: Vec<_> =
            in_order(&file.fields).iter().map(|(key, _)| key.as_ref().clone()).collect();
        assert_eq!(names, ["zeta", "alpha", "mid"]);
    }
}
