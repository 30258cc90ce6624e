//! What columns are called.
//!
//! The rule, which users build queries on:
//! 1. A field goes by its API name; a custom field whose API name is a key (40 hexadecimal digits) by its label.
//! 2. Letters become lower-case ASCII, everything else becomes one `_`; a name that starts with a digit gets a `_`.
//! 3. The part of a composite follows its field: `address_locality`.
//! 4. A name that is taken, or is not told apart by 63 bytes, ends in the first six digits of its field's hash.
//! 5. A field keeps the name it was given first, whatever its label becomes.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization as _;

/// Longest identifier that all databases take, in bytes.
const LONGEST: usize = 63;

/// Names the column of a field that none of `taken` is.
///
/// `source` is the field's path in the record (`custom_fields.5e1f….value`), `readable` what people call it.
pub fn column(source: &str, readable: &str, taken: &BTreeSet<String>) -> String {
    let name = plain(readable);
    if name.len() <= LONGEST && !taken.contains(&name) {
        return name;
    }
    let hash = &blake3::hash(source.as_bytes()).to_hex()[..6];
    let kept: String = name.chars().take(LONGEST - hash.len() - 1).collect();
    format!("{}_{hash}", kept.trim_end_matches('_'))
}

/// Lower-case ASCII letters, digits and single underscores.
pub fn plain(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for char in text.nfkd() {
        match char {
            'a'..='z' | '0'..='9' => name.push(char),
            'A'..='Z' => name.push(char.to_ascii_lowercase()),
            'ß' | 'ẞ' => name.push_str("ss"),
            'æ' | 'Æ' => name.push_str("ae"),
            'ø' | 'Ø' => name.push('o'),
            'ł' | 'Ł' => name.push('l'),
            // Accents, cut off their letters.
            '\u{300}'..='\u{36f}' => {}
            _ if !name.is_empty() && !name.ends_with('_') => name.push('_'),
            _ => {}
        }
    }
    let name = name.trim_end_matches('_');
    if name.is_empty() {
        return "field".to_owned();
    }
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        return format!("_{name}");
    }
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn given_labels_when_made_columns_then_they_are_readable() {
        let cases = [
            ("Lead source", "lead_source"),
            ("Größe (m²)", "grosse_m2"),
            ("3rd party", "_3rd_party"),
            ("  % ", "field"),
            ("名前", "field"),
            ("Modified_Time", "modified_time"),
            ("address.locality", "address_locality"),
        ];

        for (label, expected) in cases {
            assert_eq!(plain(label), expected);
        }
    }

    #[test]
    fn given_a_taken_name_when_made_a_column_then_the_fields_own_hash_tells_them_apart() {
        let taken = BTreeSet::from(["budget".to_owned()]);

        let (one, other) = (column("a1", "Budget", &taken), column("b2", "Budget", &taken));

        assert!(one.starts_with("budget_") && one != other);
        assert_eq!(one, column("a1", "Budget", &taken));
    }

    proptest! {
        #[test]
        fn given_any_label_when_made_a_column_then_it_is_an_identifier(label in any::<String>()) {
            let name = column("x", &label, &BTreeSet::new());

            prop_assert!(!name.is_empty() && name.len() <= LONGEST);
            prop_assert!(name.chars().all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_'));
            prop_assert!(!name.starts_with(|char: char| char.is_ascii_digit()));
        }
    }
}
