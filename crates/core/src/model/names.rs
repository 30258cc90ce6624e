//! Identifiers as types, so that a record's ID cannot pass for a field's name.
//!
//! Their texts are short, and a run holds millions of them: up to 24 bytes stand in place, without an allocation.

use std::borrow::Borrow;
use std::fmt;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(CompactString);

        impl $name {
            pub fn new(text: impl Into<CompactString>) -> Self {
                Self(text.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// A route of the configuration: two sides and a mapping folder.
    RouteName
}
name! {
    /// Our kind of record, such as `contact`.
    EntityName
}
name! {
    /// How one side holds an entity: `Contacts`, `persons`, a table.
    ModuleName
}
name! {
    /// A field's canonical name: its key in the mapping file.
    FieldName
}
name! {
    /// A record's ID on its side, as text. Immutable and never reused (assumption A4).
    RecordId
}
name! {
    /// A field as one side addresses it: `Email`, a custom field's 40-character key, `phones[work]` (one entry
    /// of a list), `address.locality` (one part of a composite). Always an API name, never a label.
    RemoteField
}

impl RemoteField {
    /// The field that the side's API knows: `phones` for `phones[work]`, `address` for `address.locality`.
    pub fn base(&self) -> &str {
        self.0.split(['[', '.']).next().unwrap_or(&self.0)
    }

    /// The list entry's label or the composite's part, where one is addressed.
    pub fn part(&self) -> Option<&str> {
        let rest = self.0.get(self.base().len() + 1..)?;
        Some(rest.strip_suffix(']').unwrap_or(rest))
    }
}
