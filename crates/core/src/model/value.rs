//! Values of fields in canonical form.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, NaiveDate, SubsecRound, Utc};
use compact_str::CompactString;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use super::link::LinkId;
use super::names::RecordId;

/// A field in canonical form: two spellings of the same fact compare equal.
///
/// `Empty` stands for null, `""`, an empty list and "not set". A field the side did not return is no value at
/// all: it is absent from the record. Options and users are `Text` in their own side's ID space; the field's
/// relation translates between sides.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Value {
    #[default]
    #[serde(rename = "e")]
    Empty,
    #[serde(rename = "b")]
    Bool(bool),
    /// Normalized: 1.50 is 1.5.
    #[serde(rename = "n")]
    Number(Decimal),
    /// Trimmed, NFC, line feeds only. Short ones are kept in place: most texts of a CRM are.
    #[serde(rename = "x")]
    Text(CompactString),
    /// A calendar date without a zone.
    #[serde(rename = "d")]
    Date(NaiveDate),
    /// An instant in UTC, whole seconds: the coarsest side's precision.
    #[serde(rename = "t")]
    Timestamp(DateTime<Utc>),
    /// A set of option IDs or tags.
    #[serde(rename = "s")]
    Set(BTreeSet<String>),
    /// Texts in order; the first is the primary one.
    #[serde(rename = "l")]
    List(Vec<String>),
    /// A lookup: the target's ID on the record's own side.
    #[serde(rename = "r")]
    Reference(RecordId),
    /// In a plan only: the counterpart, on the written side, of a link whose record this plan creates.
    #[serde(rename = "k")]
    Link(LinkId),
}

impl Value {
    /// Makes a text: NFC, LF, trimmed; empty text is [`Value::Empty`].
    pub fn text(raw: &str) -> Self {
        let is_plain = raw.is_ascii() && !raw.contains('\r');
        let text = if is_plain {
            Cow::Borrowed(raw)
        } else {
            Cow::Owned(raw.nfc().collect::<String>().replace("\r\n", "\n").replace('\r', "\n"))
        };
        let trimmed = text.trim();
        if trimmed.is_empty() { Self::Empty } else { Self::Text(trimmed.into()) }
    }

    pub fn number(number: Decimal) -> Self {
        Self::Number(number.normalize())
    }

    pub fn timestamp(at: DateTime<Utc>) -> Self {
        Self::Timestamp(at.trunc_subsecs(0))
    }

    pub fn set(items: impl IntoIterator<Item = String>) -> Self {
        let items: BTreeSet<_> = items.into_iter().filter(|item| !item.is_empty()).collect();
        if items.is_empty() { Self::Empty } else { Self::Set(items) }
    }

    pub fn list(items: impl IntoIterator<Item = String>) -> Self {
        let items: Vec<_> = items.into_iter().filter(|item| !item.is_empty()).collect();
        if items.is_empty() { Self::Empty } else { Self::List(items) }
    }

    pub const fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// The text of a `Text`.
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

/// How a person reads the value in plans and reports.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("∅"),
            Self::Bool(flag) => write!(f, "{flag}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
            Self::Date(date) => write!(f, "{date}"),
            Self::Timestamp(at) => write!(f, "{}", at.format("%Y-%m-%dT%H:%M:%SZ")),
            Self::Set(items) => f.write_str(&items.iter().cloned().collect::<Vec<_>>().join(", ")),
            Self::List(items) => f.write_str(&items.join(", ")),
            Self::Reference(id) => write!(f, "#{id}"),
            Self::Link(link) => write!(f, "→{link}"),
        }
    }
}
