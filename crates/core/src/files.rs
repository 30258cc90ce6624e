//! Values as cells of a file, and back: pure.

use std::str::FromStr as _;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use rust_decimal::Decimal;

use crate::mapping::options::{NoOption, find_option, full_label};
use crate::model::schema::{FieldKind, FieldSchema};
use crate::model::{RecordId, Value};

const RISKY: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// Keeps a spreadsheet from reading a cell as a formula. Plain negative numbers stay numbers.
pub fn neutralize(cell: &str) -> String {
    let risky = cell.starts_with(RISKY) && Decimal::from_str(cell).is_err();
    // A cell that already starts with a quote and a risky character would lose its quote when read back.
    let quoted = cell
        .strip_prefix('\'')
        .is_some_and(|rest| rest.starts_with(['\'']) || rest.starts_with(RISKY));
    if risky || quoted { format!("'{cell}") } else { cell.to_owned() }
}

/// Takes off what [`neutralize`] put on.
pub fn restore(cell: &str) -> &str {
    match cell.strip_prefix('\'') {
        Some(rest) if rest.starts_with('\'') || rest.starts_with(RISKY) => rest,
        Some(_) | None => cell,
    }
}

/// A value as people write it: options by label, lists with semicolons, instants in UTC.
pub fn show(field: &FieldSchema, value: &Value) -> String {
    match value {
        Value::Empty => String::new(),
        Value::Text(text) => label(field, text),
        Value::Set(items) => join(items.iter().map(|item| label(field, item))),
        Value::List(items) => join(items.iter().map(|item| label(field, item))),
        Value::Reference(id) => id.to_string(),
        Value::Bool(_)
        | Value::Number(_)
        | Value::Date(_)
        | Value::Timestamp(_)
        | Value::Link(_) => value.to_string(),
    }
}

fn label(field: &FieldSchema, text: &str) -> String {
    let option = field.options.iter().find(|option| option.id == text);
    // A label that stands for several options would not come back.
    let shown = option.map(full_label).filter(|label| find_option(field, label).is_ok());
    shown.unwrap_or_else(|| text.to_owned())
}

fn join(items: impl Iterator<Item = String>) -> String {
    let escaped = items.map(|item| item.replace('\\', "\\\\").replace(';', "\\;"));
    escaped.collect::<Vec<_>>().join(";")
}

fn split(text: &str) -> Vec<String> {
    let (mut items, mut item, mut chars) = (Vec::new(), String::new(), text.chars());
    while let Some(char) = chars.next() {
        match char {
            '\\' => item.extend(chars.next()),
            ';' => items.push(std::mem::take(&mut item)),
            other => item.push(other),
        }
    }
    items.push(item);
    items.into_iter().map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
}

/// Reads a cell as the field takes it.
///
/// # Errors
/// What is wrong with it, without the cell itself.
pub fn read(field: &FieldSchema, cell: &str) -> Result<Value, String> {
    let text = cell.trim();
    if text.is_empty() {
        return Ok(Value::Empty);
    }
    Ok(match field.kind {
        FieldKind::Bool => match text.to_lowercase().as_str() {
            "true" | "yes" | "1" | "x" => Value::Bool(true),
            "false" | "no" | "0" => Value::Bool(false),
            _ => return Err("is neither true nor false".into()),
        },
        FieldKind::Integer => {
            let number = Decimal::from_str_exact(text).map_err(|_| "is no number")?;
            if !number.is_integer() {
                return Err("is no whole number".into());
            }
            Value::number(number)
        }
        FieldKind::Decimal | FieldKind::Money => {
            Value::number(Decimal::from_str_exact(text).map_err(|_| "is no number; write 1234.5")?)
        }
        FieldKind::Date => {
            Value::Date(text.parse::<NaiveDate>().map_err(|_| "is no date; write 2024-01-31")?)
        }
        FieldKind::Timestamp => Value::timestamp(
            instant(text).ok_or("is no point in time; write 2024-01-31T10:00:00Z")?,
        ),
        FieldKind::Option => Value::text(&option(field, text)?),
        FieldKind::OptionSet | FieldKind::Tags => {
            let items: Result<Vec<_>, String> =
                split(text).iter().map(|item| option(field, item)).collect();
            Value::set(items?)
        }
        FieldKind::EmailList | FieldKind::PhoneList => Value::list(split(text)),
        FieldKind::Lookup => Value::Reference(RecordId::new(text)),
        FieldKind::Unsupported => return Err("is of a type that is not written".into()),
        FieldKind::Text
        | FieldKind::LongText
        | FieldKind::RichText
        | FieldKind::Email
        | FieldKind::Phone
        | FieldKind::Url
        | FieldKind::Currency
        | FieldKind::Time
        | FieldKind::Duration
        | FieldKind::User
        | FieldKind::Id => {
            if let Some(room) = field.max_length.filter(|room| text.chars().count() > *room) {
                let length = text.chars().count();
                return Err(format!("has {length} characters, the field takes {room}"));
            }
            Value::text(cell)
        }
    })
}

/// An instant with an offset, or in UTC.
fn instant(text: &str) -> Option<DateTime<Utc>> {
    let at = DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc());
    at.or_else(|| {
        ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"]
            .iter()
            .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
            .map(|at| at.and_utc())
    })
}

fn option(field: &FieldSchema, text: &str) -> Result<String, String> {
    if field.options.is_empty() {
        return Ok(text.to_owned());
    }
    match find_option(field, text) {
        Ok(option) => Ok(option.id.clone()),
        Err(NoOption::Ambiguous(labels)) => {
            Err(format!("names several options: {}", labels.join(", ")))
        }
        Err(NoOption::Unknown) => {
            let labels: Vec<_> = field.options.iter().take(8).map(full_label).collect();
            Err(format!("is no option; there are {}", labels.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::RemoteField;
    use crate::model::schema::OptionSchema;

    fn field(kind: FieldKind) -> FieldSchema {
        FieldSchema {
            name: RemoteField::new("f"),
            label: "F".into(),
            kind,
            max_length: Some(8),
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

    fn with_options(kind: FieldKind) -> FieldSchema {
        let option = |id: &str, label: &str| OptionSchema {
            id: id.into(),
            label: label.into(),
            parent: None,
        };
        FieldSchema { options: vec![option("1", "Hot; now"), option("2", "Cold")], ..field(kind) }
    }

    #[test]
    fn given_cells_that_do_not_fit_when_read_then_the_reason_is_told_without_the_cell() {
        let cases = [
            (FieldKind::Bool, "maybe", "neither true nor false"),
            (FieldKind::Integer, "1.5", "no whole number"),
            (FieldKind::Money, "1,5", "no number"),
            (FieldKind::Date, "31.1.2024", "no date"),
            (FieldKind::Timestamp, "noon", "no point in time"),
            (FieldKind::Text, "far too long", "12 characters, the field takes 8"),
        ];

        for (kind, cell, expected) in cases {
            let error = read(&field(kind), cell).unwrap_err();
            assert!(error.contains(expected) && !error.contains(cell), "{error}");
        }
        let error = read(&with_options(FieldKind::Option), "Warm").unwrap_err();
        assert_eq!(error, "is no option; there are Hot; now, Cold");
    }

    #[test]
    fn given_values_when_shown_and_read_then_they_are_the_same() {
        let set = Value::set(["1", "2"].map(str::to_owned));
        let cases = [
            (with_options(FieldKind::Option), Value::text("1"), "Hot; now"),
            (with_options(FieldKind::OptionSet), set, "Hot\\; now;Cold"),
            (field(FieldKind::Bool), Value::Bool(true), "true"),
            (field(FieldKind::Money), Value::number("-1.5".parse().unwrap()), "-1.5"),
            (field(FieldKind::Date), Value::Date("2024-01-31".parse().unwrap()), "2024-01-31"),
            (
                field(FieldKind::Timestamp),
                Value::timestamp("2024-01-31T10:00:00Z".parse().unwrap()),
                "2024-01-31T10:00:00Z",
            ),
            (field(FieldKind::Lookup), Value::Reference(RecordId::new("7")), "7"),
            (field(FieldKind::Text), Value::Empty, ""),
        ];

        for (field, value, expected) in cases {
            let cell = show(&field, &value);
            assert_eq!(cell, expected);
            assert_eq!(read(&field, &cell), Ok(value));
        }
    }

    proptest! {
        #[test]
        fn given_any_cell_when_neutralized_then_it_is_no_formula_and_comes_back(cell in "[=+\\-@'\t\r]{0,3}.{0,5}") {
            let safe = neutralize(&cell);

            prop_assert!(!safe.starts_with(RISKY) || Decimal::from_str(&safe).is_ok());
            prop_assert_eq!(restore(&safe), cell);
        }
    }
}
