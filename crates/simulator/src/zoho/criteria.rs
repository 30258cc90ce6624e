//! Conditions on records, as search and COQL write them, and what they come to.

use std::cmp::Ordering;

use serde_json::Value;

use super::schema::{FieldType, Module};
use super::state::State;
use super::table::{Row, id_of, seconds};
use super::times;

/// A condition on one record.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test {
    All(Vec<Test>),
    Any(Vec<Test>),
    Compare(Comparison),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Comparison {
    /// API name, or names joined by dots through lookups.
    pub(super) field: String,
    pub(super) operator: Operator,
    pub(super) values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    Like,
    NotLike,
    In,
    NotIn,
    Between,
    NotBetween,
    Null,
    NotNull,
    /// Search: `starts_with`.
    StartsWith,
    /// Search: `equals` on text.
    Contains,
}

/// A value in the form it compares in.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Null,
    /// Lower case: the databases behind both languages ignore case.
    Text(String),
    Number(f64),
    /// Seconds since 1970.
    Instant(i64),
    Id(u64),
    Many(Vec<String>),
}

impl Cell {
    /// Order for sorting: nulls first.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Null, Self::Null) => Ordering::Equal,
            (Self::Null, _) => Ordering::Less,
            (_, Self::Null) => Ordering::Greater,
            (Self::Text(left), Self::Text(right)) => left.cmp(right),
            (Self::Number(left), Self::Number(right)) => left.total_cmp(right),
            (Self::Instant(left), Self::Instant(right)) => left.cmp(right),
            (Self::Id(left), Self::Id(right)) => left.cmp(right),
            (Self::Many(left), Self::Many(right)) => left.cmp(right),
            (
                Self::Text(_) | Self::Number(_) | Self::Instant(_) | Self::Id(_) | Self::Many(_),
                _,
            ) => Ordering::Equal,
        }
    }

    /// The literal `text` in this cell's form.
    fn literal(&self, text: &str) -> Self {
        match self {
            Self::Null => Self::Null,
            Self::Text(_) | Self::Many(_) => Self::Text(text.to_lowercase()),
            Self::Number(_) => text.parse().map_or(Self::Null, Self::Number),
            Self::Instant(_) => {
                times::parse(text).map_or(Self::Null, |at| Self::Instant(at.timestamp()))
            }
            Self::Id(_) => text.parse().map_or(Self::Null, Self::Id),
        }
    }

    fn equals(&self, text: &str) -> bool {
        let text = text.trim();
        match self {
            Self::Many(values) => {
                values.join(";") == text.to_lowercase() || values.contains(&text.to_lowercase())
            }
            Self::Null | Self::Text(_) | Self::Number(_) | Self::Instant(_) | Self::Id(_) => {
                *self != Self::Null && *self == self.literal(text)
            }
        }
    }

    fn ranks(&self, text: &str, wanted: &[Ordering]) -> bool {
        let literal = self.literal(text);
        *self != Self::Null && literal != Self::Null && wanted.contains(&self.order(&literal))
    }

    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Many(values) => values.join(";"),
            Self::Number(number) => number.to_string(),
            Self::Id(id) => id.to_string(),
            Self::Null | Self::Instant(_) => String::new(),
        }
    }

    fn like(&self, pattern: &str) -> bool {
        let (text, pattern) = (self.text(), pattern.to_lowercase());
        match (pattern.strip_prefix('%'), pattern.strip_suffix('%')) {
            (Some(_), Some(_)) => text.contains(pattern.trim_matches('%')),
            (Some(end), None) => text.ends_with(end),
            (None, Some(start)) => text.starts_with(start),
            (None, None) => text == pattern,
        }
    }

    fn meets(&self, operator: Operator, values: &[String]) -> bool {
        let first = values.first().map_or("", String::as_str);
        let second = values.get(1).map_or("", String::as_str);
        let between = || {
            self.ranks(first, &[Ordering::Greater, Ordering::Equal])
                && self.ranks(second, &[Ordering::Less, Ordering::Equal])
        };
        match operator {
            Operator::Equal => self.equals(first),
            Operator::NotEqual => !self.equals(first),
            Operator::Greater => self.ranks(first, &[Ordering::Greater]),
            Operator::GreaterEqual => self.ranks(first, &[Ordering::Greater, Ordering::Equal]),
            Operator::Less => self.ranks(first, &[Ordering::Less]),
            Operator::LessEqual => self.ranks(first, &[Ordering::Less, Ordering::Equal]),
            Operator::Like => self.like(first),
            Operator::NotLike => !self.like(first),
            Operator::In => values.iter().any(|value| self.equals(value)),
            Operator::NotIn => !values.iter().any(|value| self.equals(value)),
            Operator::Between => between(),
            Operator::NotBetween => !between(),
            Operator::Null => *self == Self::Null,
            Operator::NotNull => *self != Self::Null,
            Operator::StartsWith => self.text().starts_with(&first.to_lowercase()),
            Operator::Contains => match self {
                Self::Text(text) => text.contains(&first.to_lowercase()),
                Self::Null | Self::Number(_) | Self::Instant(_) | Self::Id(_) | Self::Many(_) => {
                    self.equals(first)
                }
            },
        }
    }
}

impl Test {
    pub(super) fn holds(&self, state: &State, module: &Module, row: &Row) -> bool {
        match self {
            Self::All(tests) => tests.iter().all(|test| test.holds(state, module, row)),
            Self::Any(tests) => tests.iter().any(|test| test.holds(state, module, row)),
            Self::Compare(test) => {
                cell(state, module, row, &test.field).meets(test.operator, &test.values)
            }
        }
    }

    /// Comparisons that every match must meet.
    pub(super) fn musts(&self) -> Vec<&Comparison> {
        match self {
            Self::All(tests) => tests.iter().flat_map(Self::musts).collect(),
            Self::Any(_) => Vec::new(),
            Self::Compare(test) => vec![test],
        }
    }

    /// All comparisons.
    pub(super) fn comparisons(&self) -> Vec<&Comparison> {
        match self {
            Self::All(tests) | Self::Any(tests) => {
                tests.iter().flat_map(Self::comparisons).collect()
            }
            Self::Compare(test) => vec![test],
        }
    }
}

/// The value of a field, through lookups where the name has dots.
pub(super) fn cell(state: &State, module: &Module, row: &Row, name: &str) -> Cell {
    if let Some((lookup, rest)) = name.split_once('.') {
        let target = module.field(lookup).zip(row.fields.get(lookup));
        let target = target.and_then(|(field, stored)| state.target(field, stored, None));
        if rest == "id" {
            return row.fields.get(lookup).and_then(id_of).map_or(Cell::Null, Cell::Id);
        }
        return target.map_or(Cell::Null, |(module, row)| cell(state, module, row, rest));
    }
    match name {
        "id" => return Cell::Id(row.id),
        "Created_Time" => return Cell::Instant(seconds(row.created)),
        "Modified_Time" => return Cell::Instant(seconds(row.modified)),
        "Created_By" => return Cell::Id(row.created_by),
        "Modified_By" => return Cell::Id(row.modified_by),
        _ => {}
    }
    let kind = module.field(name).map(|field| field.kind);
    match (row.fields.get(name), kind) {
        (None, Some(FieldType::Boolean)) => Cell::Text("false".into()),
        (Some(Value::String(text)), Some(FieldType::DateTime)) => {
            times::parse(text).map_or(Cell::Null, |at| Cell::Instant(at.timestamp()))
        }
        (Some(Value::String(text)), Some(FieldType::Bigint)) => {
            text.parse().map_or(Cell::Null, Cell::Number)
        }
        (Some(Value::String(text)), _) => Cell::Text(text.to_lowercase()),
        (Some(Value::Bool(flag)), _) => Cell::Text(flag.to_string()),
        (Some(Value::Number(number)), _) => number.as_f64().map_or(Cell::Null, Cell::Number),
        (Some(Value::Array(values)), _) => {
            let text = |value: &Value| {
                value.as_str().or(value.get("name")?.as_str()).map(str::to_lowercase)
            };
            Cell::Many(values.iter().filter_map(text).collect())
        }
        (Some(object @ Value::Object(_)), _) => id_of(object).map_or(Cell::Null, Cell::Id),
        (Some(Value::Null) | None, _) => Cell::Null,
    }
}

/// True where `name` leads to a field, through lookups where it has dots.
pub(super) fn known(state: &State, module: &Module, name: &str) -> bool {
    match name.split_once('.') {
        None => name == "id" || module.field(name).is_some(),
        Some((lookup, "id")) => module.field(lookup).is_some(),
        Some((lookup, rest)) => {
            let target =
                module.field(lookup).and_then(|field| state.modules.get(field.target.as_deref()?));
            target.is_some_and(|target| known(state, target, rest))
        }
    }
}
