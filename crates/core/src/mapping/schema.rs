//! JSON Schema of mapping files, for editors.

use super::file::MappingFile;

/// Returns the JSON Schema of a mapping file, pretty-printed.
///
/// # Panics
/// Never: a schema is a tree of maps with text keys.
pub fn json_schema() -> String {
    let schema = schemars::schema_for!(MappingFile);
    serde_json::to_string_pretty(&schema).expect("a schema is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_the_schema_when_read_then_it_knows_the_keys_of_a_field() {
        let schema: serde_json::Value = serde_json::from_str(&json_schema()).unwrap();

        let field = &schema["$defs"]["FieldFile"];

        assert_eq!(field["additionalProperties"], false);
        for key in ["left", "right", "type", "reference", "options", "expression"] {
            assert!(field["properties"].get(key).is_some(), "{key}");
        }
    }
}
