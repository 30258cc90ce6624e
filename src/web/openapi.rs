//! The `OpenAPI` document, made from the table of addresses and the types that are read.

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::api::{DecisionRequest, Part, RetryRequest, RunRequest, RunsPart};
use super::router::{Access, listing};

/// What each address of the API is for: method, path, one sentence.
const SUMMARIES: [(&str, &str, &str); 12] = [
    ("GET", "/api/v1/openapi.json", "This document"),
    ("GET", "/api/v1/routes", "Every route and replication with its state"),
    ("POST", "/api/v1/routes/{route}/runs", "Asks for a run; with `approve`, consents to a plan"),
    ("GET", "/api/v1/runs", "The latest runs, newest first"),
    ("GET", "/api/v1/runs/{run}", "One run and what it wrote"),
    ("GET", "/api/v1/routes/{route}/conflicts", "What waits for a person, by row ID"),
    (
        "POST",
        "/api/v1/routes/{route}/conflicts/{row}/decision",
        "Decides a row; the next run carries it out",
    ),
    (
        "DELETE",
        "/api/v1/routes/{route}/conflicts/{row}/decision",
        "Takes a decision back that no run has seen",
    ),
    ("GET", "/api/v1/routes/{route}/failures", "What a side refused, by row ID"),
    (
        "POST",
        "/api/v1/routes/{route}/failures/retry",
        "Lets refused records try again in the next run",
    ),
    (
        "GET",
        "/api/v1/routes/{route}/records/{entity}/{id}",
        "One record: values, agreements, what waits, every write",
    ),
    ("GET", "/api/v1/trail", "Who did what, newest first"),
];

/// The document.
pub(super) fn document() -> Value {
    let mut schemas = SchemaGenerator::default();
    let mut paths: Map<String, Value> = Map::new();
    for address in listing().iter().filter(|address| address.path.starts_with("/api/")) {
        let method = address.method.as_str();
        let operation = operation(&mut schemas, method, address.path, address.access);
        let path = paths.entry(address.path).or_insert_with(|| json!({}));
        path[method.to_lowercase()] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "crmsync",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Sign in with a token of `crmsync tokens new`. Everything that changes something can be sent \
                            again without harm.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": {
                "Problem": {
                    "type": "object",
                    "required": ["type", "title", "status", "detail"],
                    "properties": {
                        "type": { "type": "string" }, "title": { "type": "string" },
                        "status": { "type": "integer" }, "detail": { "type": "string" },
                    },
                },
            },
        },
    })
}

fn operation(schemas: &mut SchemaGenerator, method: &str, path: &str, access: Access) -> Value {
    let summary = SUMMARIES.iter().find(|(on, at, _)| *on == method && *at == path);
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = names
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    match (method, path) {
        ("GET", "/api/v1/runs") => parameters.extend(query::<RunsPart>(schemas)),
        ("GET", path) if path.ends_with("/conflicts") || path.ends_with("/failures") => {
            parameters.extend(query::<Part>(schemas));
        }
        _ => {}
    }
    let body = match (method, path.rsplit('/').next()) {
        ("POST", Some("runs")) => Some(inline::<RunRequest>(schemas)),
        ("POST", Some("decision")) => Some(inline::<DecisionRequest>(schemas)),
        ("POST", Some("retry")) => Some(inline::<RetryRequest>(schemas)),
        _ => None,
    };
    let done = if method == "POST" { "202" } else { "200" };
    let problem = json!({
        "description": "What went wrong, and what to do next",
        "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
    });
    let mut operation = json!({
        "summary": summary.map(|(_, _, text)| *text),
        "parameters": parameters,
        "responses": {
            done: { "description": "Done", "content": { "application/json": { "schema": { "type": "object" } } } },
            "default": problem,
        },
    });
    if let Some(schema) = body {
        operation["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    if let Access::Only(role) = access {
        operation["security"] = json!([{ "token": [] }]);
        operation["x-role"] = json!(role.as_str());
    }
    operation
}

fn inline<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Value {
    T::json_schema(schemas).to_value()
}

/// One parameter of the query for each property.
fn query<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Vec<Value> {
    let schema = inline::<T>(schemas);
    let properties = schema["properties"].as_object().cloned().unwrap_or_default();
    properties
        .into_iter()
        .map(|(name, schema)| {
            json!({ "name": name, "in": "query", "description": schema["description"], "schema": schema })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_the_table_when_described_then_each_address_of_the_api_has_a_sentence_and_none_is_left_over()
     {
        let listed: Vec<_> = listing()
            .iter()
            .filter(|address| address.path.starts_with("/api/"))
            .map(|address| (address.method.to_string(), address.path))
            .collect();
        let described: Vec<_> =
            SUMMARIES.iter().map(|(method, path, _)| ((*method).to_owned(), *path)).collect();

        assert_eq!(listed, described);
    }
}
