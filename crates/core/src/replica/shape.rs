//! Types of columns, found from what a side says about a field, else from the values.

use serde::{Deserialize, Serialize};

use crate::model::schema::FieldKind;

/// What a column holds. Wider types take what narrower ones do: a column is widened, never narrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    Bool,
    Integer,
    Number,
    Date,
    Timestamp,
    Json,
    Text,
}

impl Shape {
    /// What a field of this kind holds in the side's JSON; `None` where only the values tell.
    pub const fn of_kind(kind: FieldKind) -> Option<Self> {
        Some(match kind {
            FieldKind::Text
            | FieldKind::LongText
            | FieldKind::RichText
            | FieldKind::Email
            | FieldKind::Phone
            | FieldKind::Url
            | FieldKind::Currency
            | FieldKind::Time
            | FieldKind::Duration => Self::Text,
            FieldKind::Bool => Self::Bool,
            FieldKind::Integer => Self::Integer,
            FieldKind::Decimal | FieldKind::Money => Self::Number,
            FieldKind::Date => Self::Date,
            FieldKind::Timestamp => Self::Timestamp,
            FieldKind::Option
            | FieldKind::User
            | FieldKind::Lookup
            | FieldKind::Id
            | FieldKind::EmailList
            | FieldKind::PhoneList
            | FieldKind::OptionSet
            | FieldKind::Tags
            | FieldKind::Unsupported => return None,
        })
    }

    /// The narrowest type of a JSON scalar.
    pub fn of_scalar(raw: &str) -> Self {
        match raw.as_bytes() {
            [b't' | b'f', ..] => Self::Bool,
            [b'{' | b'[', ..] => Self::Json,
            [b'"', text @ .., b'"'] if is_timestamp(text) => Self::Timestamp,
            [b'"', text @ .., b'"'] if is_date(text) => Self::Date,
            [b'"', ..] => Self::Text,
            number if is_integer(number) => Self::Integer,
            _ => Self::Number,
        }
    }

    /// The narrowest type that holds both.
    #[must_use]
    pub const fn widened(self, other: Self) -> Self {
        match (self, other) {
            (Self::Bool, Self::Bool) => Self::Bool,
            (Self::Integer, Self::Integer) => Self::Integer,
            (Self::Integer | Self::Number, Self::Integer | Self::Number) => Self::Number,
            (Self::Date, Self::Date) => Self::Date,
            (Self::Timestamp, Self::Timestamp) => Self::Timestamp,
            (Self::Json, Self::Json) => Self::Json,
            _ => Self::Text,
        }
    }

    /// Whether a column of this type takes a JSON scalar as it is.
    pub fn takes(self, raw: &str) -> bool {
        match self {
            Self::Text => true,
            Self::Integer => is_integer(raw.as_bytes()),
            Self::Number => matches!(raw.as_bytes(), [b'-' | b'0'..=b'9', ..]),
            Self::Bool => matches!(raw, "true" | "false"),
            Self::Timestamp => {
                matches!(raw.as_bytes(), [b'"', text @ .., b'"'] if is_timestamp(text))
            }
            Self::Date => matches!(raw.as_bytes(), [b'"', text @ .., b'"'] if is_date(text)),
            Self::Json => matches!(raw.as_bytes(), [b'{' | b'[', ..]),
        }
    }
}

/// Up to 18 digits: what fits into 64 bits.
fn is_integer(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    !digits.is_empty() && digits.len() <= 18 && digits.iter().all(u8::is_ascii_digit)
}

/// `2024-01-31`, a day that exists.
fn is_date(text: &[u8]) -> bool {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else { return false };
    let digits = [y1, y2, y3, y4, m1, m2, d1, d2].map(|digit| u32::from(digit.wrapping_sub(b'0')));
    if digits.iter().any(|digit| *digit > 9) {
        return false;
    }
    let [y1, y2, y3, y4, m1, m2, d1, d2] = digits;
    let (year, month, day) = (((y1 * 10 + y2) * 10 + y3) * 10 + y4, m1 * 10 + m2, d1 * 10 + d2);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => 0,
    };
    year > 0 && (1..=days).contains(&day)
}

/// `2024-01-31T10:00:00Z`, with a space, a fraction, an offset or without.
fn is_timestamp(text: &[u8]) -> bool {
    let (Some(date), Some(rest)) = (text.get(..10), text.get(10..)) else { return false };
    let [b'T' | b' ', h1, h2, b':', m1, m2, b':', s1, s2, zone @ ..] = rest else { return false };
    let in_day = matches!((h1, h2), (b'0' | b'1', b'0'..=b'9') | (b'2', b'0'..=b'3'))
        && matches!(m1, b'0'..=b'5')
        && m2.is_ascii_digit()
        && matches!(s1, b'0'..=b'5')
        && s2.is_ascii_digit();
    in_day && is_date(date) && is_zone(zone)
}

fn is_zone(zone: &[u8]) -> bool {
    let zone = match zone {
        [b'.', fraction @ ..] => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 {
                return false;
            }
            &fraction[digits..]
        }
        zone => zone,
    };
    match zone {
        [] | [b'Z'] => true,
        [b'+' | b'-', rest @ ..] => {
            rest.iter().all(|byte| byte.is_ascii_digit() || *byte == b':')
                && matches!(rest.len(), 2 | 4 | 5)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn given_scalars_when_typed_then_the_narrowest_type_that_loses_nothing_is_taken() {
        let cases = [
            ("true", Shape::Bool),
            ("-7", Shape::Integer),
            ("1234567890123456789", Shape::Number),
            ("1.5", Shape::Number),
            ("1e5", Shape::Number),
            ("\"2024-01-31\"", Shape::Date),
            ("\"2024-02-30\"", Shape::Text),
            ("\"0000-00-00\"", Shape::Text),
            ("\"2024-01-31T10:00:00Z\"", Shape::Timestamp),
            ("\"2024-01-31 10:00:00\"", Shape::Timestamp),
            ("\"2024-01-31T10:00:00.123+02:00\"", Shape::Timestamp),
            ("\"2024-01-31T25:00:00Z\"", Shape::Text),
            ("\"2024-01-31T10:00:00 or so\"", Shape::Text),
            ("\"7\"", Shape::Text),
            ("{\"a\":1}", Shape::Json),
        ];

        for (raw, expected) in cases {
            assert_eq!(Shape::of_scalar(raw), expected, "{raw}");
            assert!(expected.takes(raw), "{raw}");
        }
    }

    fn shape() -> impl Strategy<Value = Shape> {
        prop::sample::select(vec![
            Shape::Bool,
            Shape::Integer,
            Shape::Number,
            Shape::Date,
            Shape::Timestamp,
            Shape::Json,
            Shape::Text,
        ])
    }

    proptest! {
        #[test]
        fn given_types_when_widened_then_order_does_not_matter_and_nothing_narrows(a in shape(), b in shape(), c in shape()) {
            prop_assert_eq!(a.widened(b), b.widened(a));
            prop_assert_eq!(a.widened(b).widened(c), a.widened(b.widened(c)));
            prop_assert_eq!(a.widened(a), a);
            prop_assert_eq!(a.widened(b).widened(b), a.widened(b));
        }
    }
}
