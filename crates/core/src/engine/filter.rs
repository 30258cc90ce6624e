//! Which records of a module take part: the `filter` of a mapping file.

use std::collections::BTreeMap;

use crate::model::{RemoteField, Value};

/// A condition over a side's remote fields.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    IsEmpty(RemoteField),
    Not(Box<Filter>),
    Compare(RemoteField, Comparison, Value),
    All(Vec<Filter>),
    Any(Vec<Filter>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    Less,
    Greater,
}

impl Filter {
    /// The remote fields it reads.
    pub fn fields(&self) -> Vec<RemoteField> {
        match self {
            Self::IsEmpty(field) | Self::Compare(field, ..) => vec![field.clone()],
            Self::Not(inner) => inner.fields(),
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::fields).collect(),
        }
    }

    /// Whether a record's remote values satisfy it; a value not returned counts as no match.
    pub fn matches(&self, fields: &BTreeMap<RemoteField, Value>) -> bool {
        match self {
            Self::IsEmpty(field) => fields.get(field).is_some_and(Value::is_empty),
            Self::Not(inner) => {
                inner.fields().iter().all(|field| fields.contains_key(field))
                    && !inner.matches(fields)
            }
            Self::Compare(field, comparison, value) => {
                fields.get(field).is_some_and(|now| match comparison {
                    Comparison::Equal => now == value,
                    Comparison::Less => !now.is_empty() && now < value,
                    Comparison::Greater => !now.is_empty() && now > value,
                })
            }
            Self::All(parts) => parts.iter().all(|part| part.matches(fields)),
            Self::Any(parts) => parts.iter().any(|part| part.matches(fields)),
        }
    }
}
