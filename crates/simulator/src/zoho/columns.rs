//! A page of a list, written straight to JSON: lists of whole modules are what benchmarks spend their time on.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::Value;

use super::render::Renderer;
use super::schema::{Field, FieldType};
use super::table::{Row, id_of};

/// The columns of a list, looked up once for all its rows.
pub(super) struct Columns<'a> {
    renderer: &'a Renderer<'a>,
    /// `"Api_Name":` and its field.
    listed: BTreeMap<String, Option<&'a Field>>,
    /// Owners as they stand in rows.
    owners: RefCell<BTreeMap<u64, String>>,
}

impl<'a> Columns<'a> {
    /// The fields named, without those that lists do not show.
    pub(super) fn new(renderer: &'a Renderer<'a>, names: &[String]) -> Self {
        let column = |name: &String| {
            let field = renderer.module.field(name).filter(|field| renderer.shows(field));
            let wanted = field.is_some() || name == "$approval_state";
            (wanted && name != "id").then(|| (format!("{}:", Value::from(name.as_str())), field))
        };
        Self {
            renderer,
            listed: names.iter().filter_map(column).collect(),
            owners: RefCell::default(),
        }
    }

    /// `[{…},{…}]`.
    pub(super) fn array(&self, rows: &[&Row]) -> String {
        let mut text = String::from("[");
        for (at, row) in rows.iter().enumerate() {
            text.push_str(if at == 0 { "{" } else { ",{" });
            for (key, field) in &self.listed {
                text.push_str(key);
                self.cell(*field, row, &mut text);
                text.push(',');
            }
            text.push_str("\"id\":\"");
            text.push_str(&row.id.to_string());
            text.push_str("\"}");
        }
        text.push(']');
        text
    }

    fn cell(&self, field: Option<&Field>, row: &Row, text: &mut String) {
        let Some(field) = field else { return text.push_str("\"approved\"") };
        if matches!(field.kind, FieldType::Owner | FieldType::User) {
            return self.owner(field, row, text);
        }
        match plain(field, row) {
            Some(stored) => text.push_str(&stored.to_string()),
            None => text.push_str(&self.renderer.value(field, row).to_string()),
        }
    }

    fn owner(&self, field: &Field, row: &Row, text: &mut String) {
        let id = match field.api_name.as_str() {
            "Created_By" => Some(row.created_by),
            "Modified_By" => Some(row.modified_by),
            name => row.fields.get(name).and_then(id_of),
        };
        let Some(id) = id else { return text.push_str("null") };
        let mut owners = self.owners.borrow_mut();
        text.push_str(
            owners.entry(id).or_insert_with(|| self.renderer.state.owner_ref(id).to_string()),
        );
    }
}

/// A value that is shown as it is stored.
fn plain<'a>(field: &Field, row: &'a Row) -> Option<&'a Value> {
    let as_stored = [
        FieldType::Text,
        FieldType::Email,
        FieldType::Phone,
        FieldType::Website,
        FieldType::Picklist,
        FieldType::Boolean,
        FieldType::Integer,
        FieldType::Double,
        FieldType::Currency,
        FieldType::Date,
    ];
    let server_made = matches!(field.api_name.as_str(), "Record_Status__s" | "Locked__s");
    if server_made || !as_stored.contains(&field.kind) {
        return None;
    }
    row.fields.get(&field.api_name)
}
