//! The configuration file as a tree in which every value knows where it was written.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::environment::Override;
use super::finding::Finding;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Origin {
    File(Range<usize>),
    Variable(String),
}

impl Origin {
    pub(super) fn place(&self) -> Option<Range<usize>> {
        match self {
            Self::File(range) => Some(range.clone()),
            Self::Variable(_) => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Located {
    pub(super) origin: Origin,
    pub(super) node: Node,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Text(String),
    Integer(i64),
    Float(f64),
    Flag(bool),
    /// A date or time; our keys take dates as text, so it is kept as written.
    Moment(String),
    List(Vec<Located>),
    Table(Table),
}

impl Node {
    /// What a person calls it.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Flag(_) => "true or false",
            Self::Moment(_) => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Keys in order, each with the place where it was written.
pub(super) type Table = BTreeMap<String, Entry>;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: Origin,
    pub(super) value: Located,
}

/// Reads TOML.
pub(super) fn parse(text: &str) -> Result<Table, Finding> {
    match DeTable::parse(text) {
        Ok(table) => Ok(convert_table(table.get_ref())),
        Err(error) => Err(Finding::new(format!("not valid TOML: {}", error.message()))
            .at(error.span(), "here")
            .help("see https://toml.io for the syntax")),
    }
}

fn convert_table(table: &DeTable<'_>) -> Table {
    let entries = table.iter().map(|(key, value)| {
        let entry = Entry {
            key: Origin::File(key.span()),
            value: Located {
                origin: Origin::File(value.span()),
                node: convert_value(value.get_ref()),
            },
        };
        (key.get_ref().to_string(), entry)
    });
    entries.collect()
}

fn convert_value(value: &DeValue<'_>) -> Node {
    match value {
        DeValue::String(text) => Node::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Node::Text(number.as_str().to_owned()), Node::Integer),
        DeValue::Float(number) => number
            .as_str()
            .parse()
            .map_or_else(|_| Node::Text(number.as_str().to_owned()), Node::Float),
        DeValue::Boolean(flag) => Node::Flag(*flag),
        DeValue::Datetime(moment) => Node::Moment(moment.to_string()),
        DeValue::Array(items) => {
            let convert = |item: &toml::Spanned<DeValue<'_>>| Located {
                origin: Origin::File(item.span()),
                node: convert_value(item.get_ref()),
            };
            Node::List(items.iter().map(convert).collect())
        }
        DeValue::Table(table) => Node::Table(convert_table(table)),
    }
}

/// Puts an environment variable in the place of the key it names, making missing tables on the way.
///
/// Names in the file are found whatever their case, and a `-` in them may be written `_`.
pub(super) fn apply_override(table: &mut Table, replaced: &Override<'_>) {
    let origin = Origin::Variable(replaced.variable.to_owned());
    let Some((last, parents)) = replaced.path.split_last() else { return };
    let mut here = table;
    for name in parents {
        let name = existing_name(here, name);
        let entry = here.entry(name).or_insert_with(|| Entry {
            key: origin.clone(),
            value: Located { origin: origin.clone(), node: Node::Table(Table::new()) },
        });
        if !matches!(entry.value.node, Node::Table(_)) {
            entry.value.node = Node::Table(Table::new());
        }
        let Node::Table(next) = &mut entry.value.node else { return };
        here = next;
    }
    let name = existing_name(here, last);
    let value = Located { origin: origin.clone(), node: Node::Text(replaced.value.to_owned()) };
    here.insert(name, Entry { key: origin, value });
}

fn existing_name(table: &Table, name: &str) -> String {
    let same = |known: &&String| known.to_lowercase().replace('-', "_") == name;
    table.keys().find(same).cloned().unwrap_or_else(|| name.to_owned())
}
