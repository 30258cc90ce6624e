//! Files into a module and out of it: row by row, in constant memory.
//!
//! What lives here: reading and writing files, and who is asked when. What may not: what a cell means (that is
//! `crmsync_core::files`) or what an API takes (that is the connector's). Read `import.rs` and `export.rs`.

pub mod export;
pub mod files;
pub mod import;

use std::collections::BTreeMap;

use crmsync_core::mapping::resolve::{resolve, shown};
use crmsync_core::model::schema::{FieldKind, FieldSchema, ModuleSchema, User};
use crmsync_core::model::{RecordId, Value};

use super::error::ServiceError;

/// The column that holds a record's ID.
pub const ID: &str = "id";

/// A module's fields as a file's columns.
pub struct Columns {
    schema: ModuleSchema,
    /// What a person of that e-mail address has as ID, and back.
    users: BTreeMap<String, String>,
    emails: BTreeMap<String, String>,
    /// Other names of fields: a mapping's canonical ones.
    aliases: BTreeMap<String, String>,
}

impl Columns {
    pub fn new(schema: ModuleSchema, users: &[User], aliases: BTreeMap<String, String>) -> Self {
        let known = users.iter().filter(|user| !user.email.is_empty());
        let users =
            known.clone().map(|user| (user.email.to_lowercase(), user.id.clone())).collect();
        let emails = known.map(|user| (user.id.clone(), user.email.clone())).collect();
        Self { schema, users, emails, aliases }
    }

    /// The field that a column's name stands for.
    ///
    /// # Errors
    /// When it stands for none, with the nearest one.
    pub fn field(&self, name: &str) -> Result<FieldSchema, String> {
        let name = self.aliases.get(name).map_or(name, String::as_str);
        resolve(&self.schema, name).map_err(|missing| match missing.help {
            Some(help) => format!("{}; {help}", missing.message),
            None => missing.message,
        })
    }

    /// Fields that can be read, as columns.
    pub fn readable(&self) -> Vec<FieldSchema> {
        let readable =
            |field: &&FieldSchema| field.readable && field.kind != FieldKind::Unsupported;
        self.schema.fields.iter().filter(readable).cloned().collect()
    }

    /// What a field's column is called: its label where its API name is a key, and the label tells it apart.
    pub fn title(&self, field: &FieldSchema) -> String {
        let label = shown(field);
        let is_told = resolve(&self.schema, label).is_ok_and(|found| found.name == field.name);
        if is_told { label.to_owned() } else { field.name.to_string() }
    }

    /// Fields without which no record is created.
    pub fn required(&self) -> impl Iterator<Item = &FieldSchema> {
        self.schema.fields.iter().filter(|field| field.required && field.writable_on_create)
    }

    /// A cell's value; people go by e-mail address or ID.
    ///
    /// # Errors
    /// What is wrong with the cell.
    pub fn read(&self, field: &FieldSchema, cell: &str) -> Result<Value, String> {
        let value = crmsync_core::files::read(field, cell)?;
        match (&value, field.kind) {
            (Value::Text(text), FieldKind::User) if text.contains('@') => {
                let id = self.users.get(text.to_lowercase().as_str());
                id.map(|id| Value::text(id)).ok_or_else(|| "is no user's e-mail address".to_owned())
            }
            _ => Ok(value),
        }
    }

    pub fn show(&self, field: &FieldSchema, value: &Value) -> String {
        match (value.as_text(), field.kind) {
            (Some(id), FieldKind::User) => {
                self.emails.get(id).map_or(id, String::as_str).to_owned()
            }
            _ => crmsync_core::files::show(field, value),
        }
    }
}

/// `connection/Module`.
///
/// # Errors
/// When it is not of that form.
pub fn place(text: &str) -> Result<(&str, &str), ServiceError> {
    text.split_once('/')
        .filter(|(connection, module)| !connection.is_empty() && !module.is_empty())
        .ok_or_else(|| {
            ServiceError::Config(format!(
                "`{text}` names no module; write connection/Module, such as zoho/Contacts"
            ))
        })
}

fn record_id(cell: &str) -> Option<RecordId> {
    let text = cell.trim();
    (!text.is_empty()).then(|| RecordId::new(text))
}
