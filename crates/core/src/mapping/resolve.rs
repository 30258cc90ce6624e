//! From a name or label, as written, to a side's field.

use super::diagnostic::did_you_mean;
use crate::model::RemoteField;
use crate::model::schema::{FieldKind, FieldSchema, ModuleSchema};

/// Why a name stands for no field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFound {
    pub message: String,
    pub help: Option<String>,
    /// The name fits several fields, so it does exist.
    pub ambiguous: bool,
}

/// Finds the field that `name` stands for: an API name, else a label, else a label without regard to case; with
/// `[entry]` or `.part` behind it, that entry or part.
///
/// # Errors
/// [`NotFound`], with the nearest name or the fields that share the label.
pub fn resolve(schema: &ModuleSchema, name: &str) -> Result<FieldSchema, NotFound> {
    match find(schema, name)? {
        Some(field) => Ok(field.clone()),
        None => match part_of(schema, name)? {
            Some(field) => Ok(field),
            None => Err(unknown(schema, name)),
        },
    }
}

/// Returns what a person calls a field: the label of a custom field, whose API name may be a hash.
pub fn shown(field: &FieldSchema) -> &str {
    if field.custom { &field.label } else { field.name.as_str() }
}

fn find<'a>(schema: &'a ModuleSchema, name: &str) -> Result<Option<&'a FieldSchema>, NotFound> {
    if let Some(field) = schema.fields.iter().find(|field| field.name.as_str() == name) {
        return Ok(Some(field));
    }
    let labeled = |fits: &dyn Fn(&str) -> bool| -> Vec<&FieldSchema> {
        schema.fields.iter().filter(|field| fits(&field.label)).collect()
    };
    let mut found = labeled(&|label| label == name);
    if found.is_empty() {
        found = labeled(&|label| label.to_lowercase() == name.to_lowercase());
    }
    match found.as_slice() {
        [] => Ok(None),
        [field] => Ok(Some(field)),
        many => Err(ambiguous(schema, name, many)),
    }
}

/// Finds `<field>[entry]` and `<field>.part`, where the field may be named by its label.
fn part_of(schema: &ModuleSchema, name: &str) -> Result<Option<FieldSchema>, NotFound> {
    let Some(at) = name.rfind(['[', '.']) else { return Ok(None) };
    let (base, suffix) = name.split_at(at);
    let Some(base) = find(schema, base)? else { return Ok(None) };
    let full = format!("{}{suffix}", base.name);
    if let Some(field) = schema.fields.iter().find(|field| field.name.as_str() == full) {
        return Ok(Some(field.clone()));
    }
    let kind = if base.kind == FieldKind::PhoneList { FieldKind::Phone } else { FieldKind::Email };
    let is_list = matches!(base.kind, FieldKind::PhoneList | FieldKind::EmailList);
    if !is_list || !suffix.starts_with('[') {
        return Ok(None);
    }
    // One entry of a list may always be missing, whatever the list is.
    let name = RemoteField::new(full);
    Ok(Some(FieldSchema { name, kind, required: false, ..base.clone() }))
}

fn ambiguous(schema: &ModuleSchema, name: &str, fields: &[&FieldSchema]) -> NotFound {
    let names: Vec<_> = fields.iter().map(|field| format!("`{}`", field.name)).collect();
    NotFound {
        message: format!("`{name}` names {} fields of `{}`", fields.len(), schema.module),
        help: Some(format!("write the API name of one of {}", names.join(", "))),
        ambiguous: true,
    }
}

fn unknown(schema: &ModuleSchema, name: &str) -> NotFound {
    let known = schema.fields.iter().flat_map(|field| [field.name.as_str(), field.label.as_str()]);
    NotFound {
        message: format!("`{}` has no field `{name}`", schema.module),
        help: did_you_mean(name, known),
        ambiguous: false,
    }
}
