//! A person's e-mails or phones: written whole, so that what stays must be sent along.

use serde_json::{Value as Json, json};

struct Entry {
    value: String,
    label: String,
    primary: bool,
}

/// E-mails or phones of a person.
pub(super) struct Entries(Vec<Entry>);

impl Entries {
    pub(super) fn read(base: &str, stored: Option<&Json>) -> Self {
        let text = |row: &Json, key: &str| row.get(key).and_then(Json::as_str).map(str::to_owned);
        let entry = |row: &Json| {
            let value = text(row, "value").filter(|value| !key(base, value).is_empty())?;
            let primary = row.get("primary").and_then(Json::as_bool).unwrap_or(false);
            Some(Entry { value, label: text(row, "label").unwrap_or_default(), primary })
        };
        Self(stored.and_then(Json::as_array).into_iter().flatten().filter_map(entry).collect())
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Removes all entries with this label: one left would read as the value that was cleared.
    pub(super) fn remove(&mut self, label: &str) {
        self.0.retain(|entry| entry.label != label);
    }

    fn position(&self, base: &str, value: &str) -> Option<usize> {
        self.0.iter().position(|entry| key(base, &entry.value) == key(base, value))
    }

    /// Keeps spelling and label of what stays; a new primary one takes the label of the one it replaces.
    pub(super) fn replace_all(&mut self, base: &str, values: &[String]) {
        let mut old = Self(std::mem::take(&mut self.0));
        let replaced = old
            .0
            .iter()
            .find(|entry| entry.primary)
            .map(|entry| (entry.value.clone(), entry.label.clone()));
        for (at, value) in values.iter().enumerate() {
            let entry = match old.position(base, value) {
                Some(found) => old.0.remove(found),
                None => Entry { value: value.clone(), label: String::new(), primary: false },
            };
            self.0.push(Entry { primary: at == 0, ..entry });
        }
        let Some((value, label)) = replaced else { return };
        let gone = self.position(base, &value).is_none();
        if let Some(first) = self.0.first_mut().filter(|first| gone && first.label.is_empty()) {
            first.label = label;
        }
    }

    pub(super) fn replace_primary(&mut self, base: &str, value: &str) {
        let primary = self.0.iter().position(|entry| entry.primary).unwrap_or(0);
        let mut values: Vec<String> = vec![value.to_owned()];
        let others = self.0.iter().enumerate().filter(|(at, _)| *at != primary);
        values.extend(
            others
                .map(|(_, entry)| entry.value.clone())
                .filter(|other| key(base, other) != key(base, value)),
        );
        self.replace_all(base, &values);
    }

    /// Replaces the first entry with this label, or adds one.
    pub(super) fn set(&mut self, base: &str, label: &str, value: &str) {
        match self.0.iter_mut().find(|entry| entry.label == label) {
            Some(entry) if key(base, &entry.value) == key(base, value) => {}
            Some(entry) => value.clone_into(&mut entry.value),
            None => self.0.push(Entry {
                value: value.to_owned(),
                label: label.to_owned(),
                primary: false,
            }),
        }
    }

    pub(super) fn json(mut self) -> Json {
        if !self.0.iter().any(|entry| entry.primary)
            && let Some(first) = self.0.first_mut()
        {
            first.primary = true;
        }
        let entry = |entry: &Entry| match entry.label.as_str() {
            // Left out, the API says `work`.
            "" => json!({ "value": entry.value, "primary": entry.primary }),
            label => json!({ "value": entry.value, "primary": entry.primary, "label": label }),
        };
        Json::Array(self.0.iter().map(entry).collect())
    }
}

/// What two spellings of one address or number share: nothing is rewritten for its spelling alone.
fn key(base: &str, value: &str) -> String {
    if base == "phones" {
        let digits: String = value.chars().filter(char::is_ascii_digit).collect();
        // Extensions and vanity numbers are compared as they stand.
        if !digits.is_empty() && !value.chars().any(char::is_alphabetic) {
            return digits;
        }
    }
    value.trim().to_lowercase()
}
