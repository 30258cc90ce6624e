//! What Zoho's error codes mean to a caller.
//!
//! Source: Zoho CRM API v8, `OpenAPI` error enums and "Status codes".

use crmsync_core::model::RecordId;
use serde_json::Value;

use super::wire::{Status, id_text};
use crate::connectors::ErrorKind;

/// Why a request or a row was refused. Codes decide; messages are only shown, as their wording varies.
pub(super) fn kind_of(status: &Status) -> ErrorKind {
    match status.code.as_str() {
        "MULTIPLE_OR_MULTI_ERRORS" => first_of_many(status),
        "DUPLICATE_DATA" => duplicate(status),
        "ALREADY_MODIFIED" => ErrorKind::Stale,
        // A converted lead takes no writes; the next read tells what it became.
        // `NOT_SUBSCRIBED` is of a notification channel.
        "CONVERTED_RECORD" | "ID_ALREADY_CONVERTED" | "NOT_SUBSCRIBED" => ErrorKind::Gone,
        "RECORD_LOCKED" | "RECORD_IN_BLUEPRINT" | "NOT_APPROVED" => ErrorKind::Locked(told(status)),
        "NO_PERMISSION"
        | "NOT_ALLOWED"
        | "AUTHORIZATION_FAILED"
        | "NOT_SUPPORTED"
        | "FEATURE_NOT_SUPPORTED"
        | "FEATURE_NOT_ENABLED"
        | "TERRITORY_NOT_ENABLED" => {
            ErrorKind::Forbidden(format!("{}{}", told(status), permissions(status)))
        }
        "INVALID_MODULE" => {
            ErrorKind::UnknownName("module, or its tab is not shared with us".into())
        }
        "EXPIRED_VALUE" | "TOKEN_BOUND_DATA_MISMATCH" => ErrorKind::PageExpired,
        "PAGINATION_LIMIT_EXCEEDED" | "DISCRETE_PAGINATION_LIMIT_EXCEEDED" => ErrorKind::ScanLimit,
        "INVALID_URL_PATTERN" | "INVALID_REQUEST_METHOD" | "INVALID_HOST" | "API_NOT_SUPPORTED" => {
            ErrorKind::Misconfigured(told(status))
        }
        "TOO_MANY_REQUESTS" => ErrorKind::RateLimited { retry_after: None },
        // The server failed while it worked: nobody knows how far it came.
        "INTERNAL_ERROR" | "INTERNAL_SERVER_ERROR" | "DEPENDENT_SERVICE_ERROR" => {
            ErrorKind::ReplyLost(told(status))
        }
        "INVALID_DATA" => invalid_data(status),
        _ => refused(status),
    }
}

fn invalid_data(status: &Status) -> ErrorKind {
    let field = field(status);
    // A refusal that names no field but a record, or a part of the path, is about the record's id.
    let of_id = field.as_deref() == Some("id")
        || field.is_none() && status.details.contains_key("id")
        || status.details.contains_key("resource_path_index");
    match status.detail("param_name") {
        Some("page_token") => ErrorKind::PageExpired,
        Some(_) | None if of_id => ErrorKind::Gone,
        Some(_) | None => refused(status),
    }
}

fn refused(status: &Status) -> ErrorKind {
    match field(status) {
        Some(field) => ErrorKind::Invalid { field, reason: reason(status) },
        None => ErrorKind::Refused(reason(status)),
    }
}

fn duplicate(status: &Status) -> ErrorKind {
    let record = status.details.get("duplicate_record").and_then(|record| record.get("id"));
    let existing = record.and_then(id_text).or_else(|| status.id());
    match (field(status), existing) {
        (Some(field), Some(id)) => ErrorKind::Duplicate { field, existing: RecordId::new(id) },
        _ => refused(status),
    }
}

/// The first refusal that a caller can act on: a clash names a record, the rest name fields.
fn first_of_many(status: &Status) -> ErrorKind {
    let errors = status.details.get("errors").and_then(Value::as_array).into_iter().flatten();
    let kinds: Vec<ErrorKind> = errors
        .filter_map(|error| serde_json::from_value::<Status>(error.clone()).ok())
        .map(|error| kind_of(&error))
        .collect();
    let clash = kinds.iter().find(|kind| matches!(kind, ErrorKind::Duplicate { .. }));
    clash.or(kinds.first()).cloned().unwrap_or_else(|| ErrorKind::Refused(told(status)))
}

/// Field that a refusal names: by the path, as in `$.data[0].Account_Name.id`, else by `api_name`.
fn field(status: &Status) -> Option<String> {
    let by_path = || {
        let (_, rest) = status.detail("json_path")?.split_once("].")?;
        rest.split(['.', '[']).next()
    };
    by_path().or_else(|| status.detail("api_name")).map(str::to_owned)
}

fn reason(status: &Status) -> String {
    let detail = |key: &str| status.details.get(key);
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let more = [
        ("expected_data_type", "expected "),
        ("maximum_length", "longest "),
        ("limit", "limit "),
        ("regex", "pattern "),
        ("supported_values", "one of "),
    ];
    let told_more = more
        .iter()
        .filter_map(|(key, word)| detail(key).map(|value| format!(", {word}{}", shown(value))));
    format!("{}{}", told(status), told_more.collect::<String>())
}

/// Code and message in one line.
fn told(status: &Status) -> String {
    let message: String = status.message.chars().take(200).collect();
    match (status.code.as_str(), message.as_str()) {
        ("", "") => "no code and no message".into(),
        (code, "") => code.into(),
        (code, message) => format!("{message} ({code})"),
    }
}

fn permissions(status: &Status) -> String {
    let names = status.details.get("permissions").and_then(Value::as_array);
    let names: Vec<&str> = names.into_iter().flatten().filter_map(Value::as_str).collect();
    if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind(code: &str, details: &Value) -> ErrorKind {
        let status = json!({ "code": code, "message": "m", "details": details, "status": "error" });
        kind_of(&serde_json::from_value(status).unwrap())
    }

    fn invalid(field: &str, reason: &str) -> ErrorKind {
        ErrorKind::Invalid { field: field.into(), reason: reason.into() }
    }

    fn clash(id: &str) -> ErrorKind {
        ErrorKind::Duplicate { field: "Ext_Id".into(), existing: id.into() }
    }

    #[test]
    fn given_details_when_translated_then_they_name_the_field_or_the_record() {
        let two = json!([
            { "code": "INVALID_DATA", "details": { "api_name": "Email" } },
            { "code": "DUPLICATE_DATA", "details": { "api_name": "Ext_Id", "id": "7" } },
        ]);
        let v8 = json!({ "api_name": "Ext_Id", "id": "1", "duplicate_record": { "id": "7" } });
        let old = json!({ "api_name": "Ext_Id", "id": "7" });
        let lookup = json!({ "api_name": "id", "json_path": "$.data[4].Account_Name.id" });
        let own_id = json!({ "api_name": "id", "json_path": "$.data[0].id" });
        let long = json!({ "api_name": "Email", "maximum_length": 100 });
        let nobody = invalid("Ext_Id", "m (DUPLICATE_DATA)");
        let cases = [
            ("DUPLICATE_DATA", v8, clash("7")),
            ("DUPLICATE_DATA", old, clash("7")),
            ("DUPLICATE_DATA", json!({ "api_name": "Ext_Id" }), nobody),
            ("MULTIPLE_OR_MULTI_ERRORS", json!({ "errors": two }), clash("7")),
            ("INVALID_DATA", long, invalid("Email", "m (INVALID_DATA), longest 100")),
            ("INVALID_DATA", lookup, invalid("Account_Name", "m (INVALID_DATA)")),
            ("INVALID_DATA", own_id, ErrorKind::Gone),
            ("INVALID_DATA", json!({ "param_name": "page_token" }), ErrorKind::PageExpired),
            ("INVALID_DATA", json!({ "resource_path_index": 1 }), ErrorKind::Gone),
            ("INVALID_DATA", json!({ "id": "17" }), ErrorKind::Gone),
            ("INVALID_DATA", json!({}), ErrorKind::Refused("m (INVALID_DATA)".into())),
        ];

        for (code, details, expected) in cases {
            assert_eq!(kind(code, &details), expected, "{code} {details}");
        }
    }

    #[test]
    fn given_codes_when_translated_then_they_say_what_may_be_done_next() {
        let told = |code: &str| format!("m ({code})");
        let cases = [
            ("ALREADY_MODIFIED", ErrorKind::Stale),
            ("CONVERTED_RECORD", ErrorKind::Gone),
            ("NOT_SUBSCRIBED", ErrorKind::Gone),
            ("RECORD_LOCKED", ErrorKind::Locked(told("RECORD_LOCKED"))),
            ("RECORD_IN_BLUEPRINT", ErrorKind::Locked(told("RECORD_IN_BLUEPRINT"))),
            ("NOT_APPROVED", ErrorKind::Locked(told("NOT_APPROVED"))),
            ("NO_PERMISSION", ErrorKind::Forbidden(told("NO_PERMISSION"))),
            ("EXPIRED_VALUE", ErrorKind::PageExpired),
            ("TOKEN_BOUND_DATA_MISMATCH", ErrorKind::PageExpired),
            ("PAGINATION_LIMIT_EXCEEDED", ErrorKind::ScanLimit),
            ("STORAGE_SPACE_EXCEEDED", ErrorKind::Refused(told("STORAGE_SPACE_EXCEEDED"))),
            ("INTERNAL_ERROR", ErrorKind::ReplyLost(told("INTERNAL_ERROR"))),
            ("A_CODE_OF_TOMORROW", ErrorKind::Refused(told("A_CODE_OF_TOMORROW"))),
        ];

        for (code, expected) in cases {
            assert_eq!(kind(code, &json!({})), expected, "{code}");
        }
    }
}
