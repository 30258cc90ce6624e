//! Which relation two fields have, from their kinds.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::schema::FieldKind;

/// The `type` of a mapped field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    Text,
    RichText,
    Email,
    Phone,
    Number,
    Bool,
    Date,
    Timestamp,
    Option,
    OptionSet,
    User,
    Reference,
}

impl Form {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::RichText => "rich-text",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Number => "number",
            Self::Bool => "bool",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Option => "option",
            Self::OptionSet => "option-set",
            Self::User => "user",
            Self::Reference => "reference",
        }
    }

    /// Whether a field of this kind can take part.
    pub const fn admits(self, kind: FieldKind) -> bool {
        use FieldKind as Kind;
        match self {
            Self::Text => matches!(
                kind,
                Kind::Text
                    | Kind::LongText
                    | Kind::Url
                    | Kind::Email
                    | Kind::Phone
                    | Kind::Currency
                    | Kind::Time
                    | Kind::Duration
                    | Kind::Id
                    | Kind::Option
            ),
            Self::RichText => matches!(kind, Kind::RichText | Kind::LongText | Kind::Text),
            Self::Email => {
                matches!(kind, Kind::Email | Kind::EmailList | Kind::Text | Kind::LongText)
            }
            Self::Phone => matches!(kind, Kind::Phone | Kind::PhoneList | Kind::Text),
            Self::Number => matches!(kind, Kind::Integer | Kind::Decimal | Kind::Money),
            Self::Bool => matches!(kind, Kind::Bool),
            Self::Date => matches!(kind, Kind::Date | Kind::Timestamp),
            Self::Timestamp => matches!(kind, Kind::Timestamp),
            Self::Option => {
                matches!(kind, Kind::Option | Kind::Currency | Kind::Text | Kind::Bool)
            }
            Self::OptionSet => matches!(kind, Kind::OptionSet | Kind::Tags),
            Self::User => {
                matches!(kind, Kind::User | Kind::Email | Kind::Text | Kind::Integer | Kind::Id)
            }
            Self::Reference => {
                matches!(kind, Kind::Lookup | Kind::Id | Kind::Integer | Kind::Text)
            }
        }
    }

    /// The relation that a kind suggests by itself; `None` for kinds that are never mapped.
    pub const fn natural(kind: FieldKind) -> Option<Self> {
        use FieldKind as Kind;
        match kind {
            Kind::Text
            | Kind::LongText
            | Kind::Url
            | Kind::Currency
            | Kind::Time
            | Kind::Duration
            | Kind::Id => Some(Self::Text),
            Kind::RichText => Some(Self::RichText),
            Kind::Email | Kind::EmailList => Some(Self::Email),
            Kind::Phone | Kind::PhoneList => Some(Self::Phone),
            Kind::Bool => Some(Self::Bool),
            Kind::Integer | Kind::Decimal | Kind::Money => Some(Self::Number),
            Kind::Date => Some(Self::Date),
            Kind::Timestamp => Some(Self::Timestamp),
            Kind::Option => Some(Self::Option),
            Kind::OptionSet | Kind::Tags => Some(Self::OptionSet),
            Kind::User => Some(Self::User),
            Kind::Lookup => Some(Self::Reference),
            Kind::Unsupported => None,
        }
    }

    /// Finds the relation of two kinds: the one both suggest, else the more particular one that admits both.
    pub fn infer(left: FieldKind, right: FieldKind) -> Option<Self> {
        let (near, far) = (Self::natural(left)?, Self::natural(right)?);
        let admitted = [near, far, Self::Date]
            .into_iter()
            .filter(|form| form.admits(left) && form.admits(right));
        // Text admits nearly everything, so it comes last.
        admitted.min_by_key(|form| *form == Self::Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_two_kinds_when_inferred_then_the_particular_one_wins() {
        use FieldKind as Kind;
        let cases = [
            (Kind::Text, Kind::LongText, Some(Form::Text)),
            (Kind::Text, Kind::Email, Some(Form::Email)),
            (Kind::Email, Kind::EmailList, Some(Form::Email)),
            (Kind::Text, Kind::Phone, Some(Form::Phone)),
            (Kind::LongText, Kind::RichText, Some(Form::RichText)),
            (Kind::Option, Kind::Text, Some(Form::Option)),
            (Kind::Option, Kind::Currency, Some(Form::Option)),
            (Kind::Tags, Kind::OptionSet, Some(Form::OptionSet)),
            (Kind::Money, Kind::Integer, Some(Form::Number)),
            (Kind::Timestamp, Kind::Date, Some(Form::Date)),
            (Kind::Timestamp, Kind::Timestamp, Some(Form::Timestamp)),
            (Kind::Lookup, Kind::Lookup, Some(Form::Reference)),
            (Kind::Money, Kind::Text, None),
            (Kind::Bool, Kind::Option, Some(Form::Option)),
            (Kind::Bool, Kind::Text, None),
            (Kind::Unsupported, Kind::Text, None),
        ];

        for (left, right, expected) in cases {
            assert_eq!(Form::infer(left, right), expected, "{left:?} {right:?}");
            assert_eq!(Form::infer(right, left), expected, "{right:?} {left:?}");
        }
    }
}
