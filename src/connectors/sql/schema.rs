//! Tables and columns as a database describes them, and as the rest of crmsync knows them.

use crmsync_core::model::schema::{FieldKind, FieldSchema, ModuleSchema, OptionSchema};
use crmsync_core::model::{ModuleName, RemoteField};

use super::super::ErrorKind;

/// Tables that crmsync makes begin so, and are never mapped.
pub(super) const OWN: &str = "crmsync_";

/// A table or view that can be a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) schema: Option<String>,
    pub(super) name: String,
    pub(super) is_view: bool,
}

impl Place {
    /// `contacts` in the connection's own schema, `crm.contacts` elsewhere; a part with a dot or a quote is quoted.
    pub(super) fn module(&self, own: Option<&str>) -> ModuleName {
        let part = |text: &str| {
            if text.contains(['.', '"']) {
                format!("\"{}\"", text.replace('"', "\"\""))
            } else {
                text.to_owned()
            }
        };
        match self.schema.as_deref().filter(|schema| Some(*schema) != own) {
            Some(schema) => ModuleName::new(format!("{}.{}", part(schema), part(&self.name))),
            None => ModuleName::new(part(&self.name)),
        }
    }
}

/// A described table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) module: ModuleName,
    pub(super) place: Place,
    pub(super) columns: Vec<Column>,
    /// Places of the key's columns, in the key's order.
    pub(super) key: Vec<usize>,
    /// Place of the column that says when a row was last changed.
    pub(super) modified: Option<usize>,
    /// The table that triggers write changes into, where it is installed.
    pub(super) changes: Option<String>,
    /// No filter hides rows from us: a row that is not there is deleted.
    pub(super) complete: bool,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// As the database names it in a cast, without length.
    pub(super) type_name: String,
    /// A text that is stored as such, rather than a type that only prints as one.
    pub(super) is_character: bool,
    pub(super) nullable: bool,
    /// The database fills it when a row leaves it out.
    pub(super) filled: bool,
    pub(super) max_length: Option<usize>,
    pub(super) options: Vec<String>,
    /// Table whose key it holds.
    pub(super) target: Option<ModuleName>,
    pub(super) unique: bool,
    pub(super) readable: bool,
    pub(super) insertable: bool,
    pub(super) updatable: bool,
}

/// How a column's values are shaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Integer,
    /// Exact or floating.
    Decimal,
    Bool,
    Date,
    Time,
    /// With a zone.
    Instant,
    /// Without one: read in the connection's zone.
    LocalTime,
    Json,
    /// Texts in a PostgreSQL array; a set to us.
    Array,
    Enum,
    /// MySQL's `set`.
    Set,
    /// Bytes, composites: never mapped.
    Unsupported,
}

impl Table {
    pub(super) fn column(&self, name: &str) -> Option<(usize, &Column)> {
        self.columns.iter().enumerate().find(|(_, column)| column.name == name)
    }

    pub(super) fn key_columns(&self) -> impl Iterator<Item = &Column> {
        self.key.iter().map(|at| &self.columns[*at])
    }

    /// Places of the columns that fields stand for.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownName`] for a field that is no column.
    pub(super) fn places(&self, fields: &[RemoteField]) -> Result<Vec<usize>, ErrorKind> {
        let place = |field: &RemoteField| {
            let (at, column) = self.column(field.as_str()).ok_or_else(|| self.unknown(field))?;
            if column.kind == Kind::Unsupported {
                return Err(ErrorKind::Misconfigured(format!(
                    "column `{}` of {} is {}, which is not mapped",
                    column.name, self.module, column.type_name
                )));
            }
            Ok(at)
        };
        fields.iter().map(place).collect()
    }

    pub(super) fn unknown(&self, field: &RemoteField) -> ErrorKind {
        ErrorKind::UnknownName(format!("column `{field}` of {}", self.module))
    }

    /// Places of everything that can be read and mapped.
    pub(super) fn readable(&self) -> Vec<usize> {
        let readable =
            |(_, column): &(usize, &Column)| column.readable && column.kind != Kind::Unsupported;
        self.columns.iter().enumerate().filter(readable).map(|(at, _)| at).collect()
    }

    pub(super) fn describe(&self) -> ModuleSchema {
        let fields = self.columns.iter().enumerate().map(|(at, column)| self.field(at, column));
        ModuleSchema {
            module: self.module.clone(),
            label: self.place.name.clone(),
            fields: fields.collect(),
        }
    }

    fn field(&self, at: usize, column: &Column) -> FieldSchema {
        let in_key = self.key.contains(&at);
        let writable = column.kind != Kind::Unsupported && !self.place.is_view;
        FieldSchema {
            name: RemoteField::new(column.name.clone()),
            label: column.name.clone(),
            kind: self.field_kind(at, column),
            max_length: column.max_length,
            options: column
                .options
                .iter()
                .map(|option| OptionSchema {
                    id: option.clone(),
                    label: option.clone(),
                    parent: None,
                })
                .collect(),
            target: column.target.clone(),
            readable: column.readable && column.kind != Kind::Unsupported,
            writable_on_create: writable && column.insertable,
            // A row with another key is another record.
            writable_on_update: writable && column.updatable && !in_key,
            required: !column.nullable && !column.filled && column.insertable,
            unique: column.unique || (in_key && self.key.len() == 1),
            custom: false,
        }
    }

    fn field_kind(&self, at: usize, column: &Column) -> FieldKind {
        if column.target.is_some() {
            return FieldKind::Lookup;
        }
        if self.key == [at] && matches!(column.kind, Kind::Text | Kind::Integer) {
            return FieldKind::Id;
        }
        match column.kind {
            Kind::Text if column.max_length.is_some() => FieldKind::Text,
            Kind::Text | Kind::Json => FieldKind::LongText,
            Kind::Integer => FieldKind::Integer,
            Kind::Decimal => FieldKind::Decimal,
            Kind::Bool => FieldKind::Bool,
            Kind::Date => FieldKind::Date,
            Kind::Time => FieldKind::Time,
            Kind::Instant | Kind::LocalTime => FieldKind::Timestamp,
            Kind::Array => FieldKind::Tags,
            Kind::Enum => FieldKind::Option,
            Kind::Set => FieldKind::OptionSet,
            Kind::Unsupported => FieldKind::Unsupported,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_tables_when_named_then_only_other_schemas_and_odd_names_show() {
        let place = |schema: &str, name: &str| Place {
            schema: Some(schema.into()),
            name: name.into(),
            is_view: false,
        };
        let cases = [
            (place("crm", "contacts"), "contacts"),
            (place("public", "contacts"), "public.contacts"),
            (place("crm", "a.b"), "\"a.b\""),
            (place("x.y", "say \"hi\""), "\"x.y\".\"say \"\"hi\"\"\""),
        ];

        for (place, expected) in cases {
            assert_eq!(place.module(Some("crm")).as_str(), expected);
        }
    }
}
