//! Zoho's error object, flat for a call and nested for a row.

use serde_json::{Value, json};

use crate::host::Reply;

/// Why a call or a row is refused.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) details: Value,
}

/// What a handler gives back.
pub(super) type Answer = Result<Reply, Refusal>;

impl Refusal {
    pub(super) fn new(status: u16, code: &'static str, message: &str, details: Value) -> Self {
        Self { status, code, message: message.into(), details }
    }

    /// 400 with `INVALID_DATA`.
    pub(super) fn invalid(details: Value) -> Self {
        Self::new(400, "INVALID_DATA", "invalid data", details)
    }

    pub(super) fn invalid_id(details: Value) -> Self {
        Self::new(400, "INVALID_DATA", "the id given seems to be invalid", details)
    }

    pub(super) fn param_missing(name: &str) -> Self {
        Self::new(
            400,
            "REQUIRED_PARAM_MISSING",
            "One of the expected parameter is missing",
            json!({ "param_name": name }),
        )
    }

    pub(super) fn invalid_param(name: &str) -> Self {
        Self::new(400, "INVALID_DATA", "invalid data", json!({ "param_name": name }))
    }

    pub(super) fn mandatory(name: &str, path: &str) -> Self {
        Self::new(
            400,
            "MANDATORY_NOT_FOUND",
            "required field not found",
            json!({ "api_name": name, "json_path": path }),
        )
    }

    pub(super) fn module(segment: usize) -> Self {
        let details = json!({ "resource_path_index": segment });
        Self::new(400, "INVALID_MODULE", "the module name given seems to be invalid", details)
    }

    pub(super) fn wrong_verb() -> Self {
        let message = "The http request method type is not a valid one";
        Self::new(400, "INVALID_REQUEST_METHOD", message, json!({}))
    }

    pub(super) fn wrong_url() -> Self {
        let message = "Please check if the URL trying to access is a correct one";
        Self::new(404, "INVALID_URL_PATTERN", message, json!({}))
    }

    pub(super) fn unparseable() -> Self {
        let message = "either the request body or parameters is in wrong format";
        Self::new(400, "UNABLE_TO_PARSE_DATA_TYPE", message, json!({}))
    }

    pub(super) fn no_permission(permission: &str) -> Self {
        Self::new(403, "NO_PERMISSION", "permission denied", json!({ "permissions": [permission] }))
    }

    /// The object as it stands in a body or a row.
    pub(super) fn object(&self) -> Value {
        json!({ "code": self.code, "details": self.details, "message": self.message, "status": "error" })
    }

    pub(super) fn reply(&self) -> Reply {
        Reply::json(self.status, &self.object())
    }

    /// Folds the errors of one row into one: several are wrapped.
    pub(super) fn fold(mut errors: Vec<Self>) -> Result<(), Self> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => {
                let all: Vec<Value> = errors.iter().map(Self::object).collect();
                Err(Self::new(
                    400,
                    "MULTIPLE_OR_MULTI_ERRORS",
                    "multiple errors found in the data",
                    json!({ "errors": all }),
                ))
            }
        }
    }
}
