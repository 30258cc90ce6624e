//! The part of `OpenAPI` 3.0 schemas that the documents use, and what a value has against one.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

/// `OpenAPI` documents by file name.
pub(crate) struct Documents(BTreeMap<String, Value>);

/// Place in a value (`*` for indexes) and what is wrong there.
pub(crate) type Difference = (String, String);

impl Documents {
    /// Reads all documents of a folder; `None` when there are none.
    pub(crate) fn open(folder: &Path) -> Option<Self> {
        let files = std::fs::read_dir(folder).ok()?.filter_map(Result::ok);
        let read = |entry: std::fs::DirEntry| {
            let text = std::fs::read_to_string(entry.path()).ok()?;
            Some((entry.file_name().into_string().ok()?, serde_json::from_str(&text).ok()?))
        };
        let documents: BTreeMap<String, Value> = files.filter_map(read).collect();
        (!documents.is_empty()).then_some(Self(documents))
    }

    /// The schema of an answer's JSON body.
    pub(crate) fn response(
        &self,
        document: &str,
        path: &str,
        verb: &str,
        status: u16,
    ) -> Option<&Value> {
        let responses =
            self.0.get(document)?.get("paths")?.get(path)?.get(verb)?.get("responses")?;
        let answer = responses
            .get(status.to_string())
            .or_else(|| responses.get("200").filter(|_| document == "record.json"))?;
        let answer = match answer.get("$ref").and_then(Value::as_str) {
            Some(reference) => self.resolve(document, reference)?.1,
            None => answer,
        };
        answer.get("content")?.get("application/json")?.get("schema")
    }

    /// All that `value` has against `schema`, a schema of `document`.
    pub(crate) fn differences(
        &self,
        document: &str,
        schema: &Value,
        value: &Value,
    ) -> Vec<Difference> {
        self.check(document, schema, value, "", 0)
    }

    fn resolve(&self, document: &str, reference: &str) -> Option<(String, &Value)> {
        let (file, pointer) = reference.split_once('#')?;
        let name = file.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(document);
        Some((name.to_owned(), self.0.get(name)?.pointer(pointer)?))
    }

    fn check(
        &self,
        document: &str,
        schema: &Value,
        value: &Value,
        place: &str,
        depth: usize,
    ) -> Vec<Difference> {
        if depth > 40 {
            return Vec::new();
        }
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            // A document that is not at hand allows anything.
            let Some((document, target)) = self.resolve(document, reference) else {
                return Vec::new();
            };
            return self.check(&document, target, value, place, depth + 1);
        }
        if value.is_null()
            && (schema.get("nullable") == Some(&Value::Bool(true)) || schema.get("type").is_none())
        {
            return Vec::new();
        }
        if let Some(alternatives) = schema.get("oneOf").and_then(Value::as_array) {
            // The alternatives overlap in these documents: the one that knows most of the keys counts.
            let nearest =
                alternatives.iter().min_by_key(|schema| self.strangeness(document, schema, value));
            return nearest.map_or_else(Vec::new, |schema| {
                self.check(document, schema, value, place, depth + 1)
            });
        }
        let at = |difference: String| vec![(place.to_owned(), difference)];
        if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
            && !allowed.contains(value)
        {
            return at(format!("{value} is none of {}", allowed.len()));
        }
        match schema.get("type").and_then(Value::as_str) {
            Some("object") if value.is_object() => {
                self.members(document, schema, value, place, depth)
            }
            Some("array") if value.is_array() => self.items(document, schema, value, place, depth),
            Some("string") if value.is_string() => {
                date_time(schema, value).map_or_else(Vec::new, at)
            }
            Some("boolean") if value.is_boolean() => Vec::new(),
            Some("integer") if value.is_i64() || value.is_u64() => Vec::new(),
            Some("number") if value.is_number() => Vec::new(),
            Some(kind) => at(format!("{value} is no {kind}")),
            None => Vec::new(),
        }
    }

    /// How little a schema seems to mean this value: strange and missing keys, refused words, wrong members.
    fn strangeness(&self, document: &str, schema: &Value, value: &Value) -> usize {
        let target = schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|reference| self.resolve(document, reference));
        let (document, schema) = target.unwrap_or_else(|| (document.to_owned(), schema));
        let known = schema.get("properties").and_then(Value::as_object);
        let Some((known, members)) = known.zip(value.as_object()) else { return 0 };
        let strange = members.keys().filter(|key| !known.contains_key(*key)).count();
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        let missing =
            required.filter_map(Value::as_str).filter(|key| !members.contains_key(*key)).count();
        let present = known.iter().filter_map(|(key, schema)| Some((schema, members.get(key)?)));
        let wrong = present
            .filter(|(schema, member)| !self.check(&document, schema, member, "", 0).is_empty());
        strange + missing + wrong.count()
    }

    fn members(
        &self,
        document: &str,
        schema: &Value,
        value: &Value,
        place: &str,
        depth: usize,
    ) -> Vec<Difference> {
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        let missing = required.filter_map(Value::as_str).filter(|name| value.get(name).is_none());
        let missing = missing.map(|name| (format!("{place}/{name}"), "is missing".to_owned()));
        let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        let wrong = properties.filter_map(|(name, schema)| {
            Some(self.check(
                document,
                schema,
                value.get(name)?,
                &format!("{place}/{name}"),
                depth + 1,
            ))
        });
        missing.chain(wrong.flatten()).collect()
    }

    fn items(
        &self,
        document: &str,
        schema: &Value,
        value: &Value,
        place: &str,
        depth: usize,
    ) -> Vec<Difference> {
        let Some(schema) = schema.get("items") else { return Vec::new() };
        let items = value.as_array().into_iter().flatten();
        items
            .flat_map(|item| self.check(document, schema, item, &format!("{place}/*"), depth + 1))
            .collect()
    }
}

fn date_time(schema: &Value, value: &Value) -> Option<String> {
    let dated = schema.get("format").and_then(Value::as_str) == Some("date-time");
    let parsed =
        value.as_str().is_some_and(|text| chrono::DateTime::parse_from_rfc3339(text).is_ok());
    (dated && !parsed).then(|| format!("{value} is no date-time"))
}
