//! A first mapping file from live metadata.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::infer::Form;
use super::resolve::resolve;
use crate::model::EntityName;
use crate::model::schema::{FieldSchema, ModuleSchema};

/// Names that mean the same in CRMs, in simplified form.
const SYNONYMS: [(&str, &str); 10] = [
    ("accountname", "organization"),
    ("accountname", "name"),
    ("contactname", "person"),
    ("dealname", "title"),
    ("amount", "value"),
    ("closingdate", "expectedclosedate"),
    ("productname", "name"),
    ("productcode", "code"),
    ("title", "jobtitle"),
    ("duedate", "date"),
];

/// Drafts a mapping file: fields of equal name or label and fitting types, the others as comments.
///
/// The draft parses; options without a like-named partner and users are for `mapping check` to name.
pub fn draft(entity: &EntityName, left: &ModuleSchema, right: &ModuleSchema) -> String {
    let pairs = pair_fields(left, right);
    let mut text = format!(
        "# Drafted from live metadata: read every line, then run `crmsync mapping check`.\n\
         entity = {}\nleft = {{ module = {} }}\nright = {{ module = {} }}\n\n",
        quote(entity.as_str()),
        quote(left.module.as_str()),
        quote(right.module.as_str())
    );
    push_match(&mut text, &pairs);
    text.push_str("[fields]\n");
    for pair in &pairs {
        push_field(&mut text, pair, left, right);
    }
    for (side, schema) in [("left", left), ("right", right)] {
        push_unmapped(&mut text, side, schema, &pairs);
    }
    text
}

struct DraftedField<'a> {
    name: String,
    left: &'a FieldSchema,
    right: &'a FieldSchema,
    form: Form,
}

fn pair_fields<'a>(left: &'a ModuleSchema, right: &'a ModuleSchema) -> Vec<DraftedField<'a>> {
    let mut pairs: Vec<DraftedField<'a>> = Vec::new();
    let mut names = BTreeSet::new();
    for near in left.fields.iter().filter(|field| field.readable) {
        let fits = |far: &&FieldSchema| {
            let is_free = !pairs.iter().any(|pair| pair.right.name == far.name);
            let writable = near.writable_on_update || far.writable_on_update;
            is_free && writable && far.readable && is_alike(near, far)
        };
        let partner = right.fields.iter().find(fits);
        let Some((far, form)) =
            partner.and_then(|far| Some((far, Form::infer(near.kind, far.kind)?)))
        else {
            continue;
        };
        // A lookup's entity cannot be known from one module.
        if form == Form::Reference {
            continue;
        }
        let mut name = snake_case(near.name.as_str());
        while !names.insert(name.clone()) {
            name.push('_');
        }
        pairs.push(DraftedField { name, left: near, right: far, form });
    }
    pairs
}

fn is_alike(left: &FieldSchema, right: &FieldSchema) -> bool {
    let forms = |field: &FieldSchema| [simplify(field.name.as_str()), simplify(&field.label)];
    forms(left).iter().any(|near| {
        forms(right).iter().any(|far| {
            near == far
                || SYNONYMS.iter().any(|(a, b)| (near == a && far == b) || (near == b && far == a))
        })
    })
}

/// `Owner`, `owner_id` and `Owners` are one name.
fn simplify(name: &str) -> String {
    let lower = name.to_lowercase();
    let stem = lower.strip_suffix("_id").unwrap_or(&lower);
    let letters: String = stem.chars().filter(|char| char.is_alphanumeric()).collect();
    letters.strip_suffix('s').unwrap_or(&letters).to_owned()
}

fn snake_case(name: &str) -> String {
    let words = name.split(|char: char| !char.is_alphanumeric()).filter(|word| !word.is_empty());
    let name = words.map(str::to_lowercase).collect::<Vec<_>>().join("_");
    if name.is_empty() { "field".to_owned() } else { name }
}

fn push_match(text: &mut String, pairs: &[DraftedField<'_>]) {
    let Some(email) = pairs.iter().find(|pair| pair.form == Form::Email) else {
        text.push_str("# [match]\n# keys = [{ fields = [\"name\"], strength = \"weak\" }]\n\n");
        return;
    };
    let name = quote(&email.name);
    let _ = writeln!(text, "[match]\nkeys = [{{ fields = [{name}], strength = \"strong\" }}]\n");
}

fn push_field(
    text: &mut String,
    pair: &DraftedField<'_>,
    left: &ModuleSchema,
    right: &ModuleSchema,
) {
    let direction = match (pair.left.writable_on_update, pair.right.writable_on_update) {
        (false, _) => ", direction = \"to-right\"",
        (_, false) => ", direction = \"to-left\"",
        (true, true) => "",
    };
    let key = if pair.name.is_ascii() { pair.name.clone() } else { quote(&pair.name) };
    let _ = writeln!(
        text,
        "{key} = {{ left = {}, right = {}{direction} }}  # {}",
        quote(&written(left, pair.left)),
        quote(&written(right, pair.right)),
        pair.form.as_str()
    );
}

/// Returns the label of a custom field where it names only that field: keys of custom fields say nothing.
fn written(schema: &ModuleSchema, field: &FieldSchema) -> String {
    let by_label = resolve(schema, &field.label).is_ok_and(|found| found.name == field.name);
    let is_opaque = field.name.base().len() == 40;
    if is_opaque && by_label { field.label.clone() } else { field.name.as_str().to_owned() }
}

fn push_unmapped(text: &mut String, side: &str, schema: &ModuleSchema, pairs: &[DraftedField<'_>]) {
    let is_mapped = |field: &FieldSchema| {
        pairs.iter().any(|pair| {
            let mapped = if side == "left" { pair.left } else { pair.right };
            mapped.name == field.name
        })
    };
    let mut rest = schema.fields.iter().filter(|field| !is_mapped(field)).peekable();
    if rest.peek().is_some() {
        let _ = writeln!(text, "\n# Not mapped on the {side} side:");
    }
    for field in rest {
        let label = field.label.replace(['\n', '\r'], " ");
        let kind = serde_json::to_string(&field.kind).unwrap_or_default().replace('"', "");
        let required = if field.required { ", required" } else { "" };
        let _ = writeln!(text, "#   {} ({label}): {kind}{required}", field.name);
    }
}

/// Writes a TOML basic string.
fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
