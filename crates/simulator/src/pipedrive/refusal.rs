//! Answers that say no, in the shapes of the API: general, coded, gateway, leads.

use serde_json::{Value, json};

use crate::host::Reply;

const INFO: &str =
    "Please check developers.pipedrive.com for more information about Pipedrive API.";

/// A refused call.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) body: Value,
}

impl Refusal {
    pub(super) fn new(status: u16, error: &str) -> Self {
        let body = json!({ "success": false, "error": error, "error_info": INFO, "data": null, "additional_data": null });
        Self { status, body }
    }

    pub(super) fn coded(status: u16, error: &str, code: &str) -> Self {
        let mut refusal = Self::new(status, error);
        refusal.body["code"] = code.into();
        refusal
    }

    /// A body or parameter that breaks the schema of v2.
    pub(super) fn invalid(field: &str, reason: &str) -> Self {
        Self::coded(
            400,
            &format!("Validation failed: {field}: {reason}"),
            "ERR_SCHEMA_VALIDATION_FAILED",
        )
    }

    /// `the_type` as the messages name it: string, integer, number, boolean, array, object, datetime.
    pub(super) fn not_a(field: &str, the_type: &str) -> Self {
        Self::invalid(field, &format!("The value is not a valid '{the_type}'"))
    }

    pub(super) fn parameter(name: &str) -> Self {
        Self::coded(
            400,
            &format!("Parameter '{name}' is not allowed"),
            "ERR_SCHEMA_VALIDATION_FAILED",
        )
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::new(404, &format!("{what} not found"))
    }

    pub(super) fn forbidden() -> Self {
        Self::new(403, "You don't have permission to change this resource.")
    }

    /// As the gateway before the services says it.
    pub(super) fn gateway(status: u16, error: &str) -> Self {
        let info = "Please check developers.pipedrive.com";
        let body =
            json!({ "success": false, "error": error, "errorCode": status, "error_info": info });
        Self { status, body }
    }

    /// As leads and conversions say it.
    pub(super) fn lead_not_found() -> Self {
        let body = json!({ "success": false, "error": "requested lead not found",
            "error_info": "Object was not found.", "data": null, "additional_data": null });
        Self { status: 404, body }
    }

    pub(super) fn reply(&self) -> Reply {
        Reply::json(self.status, &self.body)
    }
}
