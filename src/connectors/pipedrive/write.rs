//! Writes, a record a call: the API has no batches, no conditions and no idempotency keys.

use std::collections::BTreeMap;

use crmsync_core::model::{RecordId, RemoteField, Value};
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::super::{ErrorKind, UpdateRow, Written};
use super::Pipedrive;
use super::body;
use super::client::Reply;
use super::module::{Dialect, Module};
use super::read::record_path;
use super::record::{self, Keep};
use super::schema::Shapes;
use super::wire;

/// Price of the one v1 call that clears what v2 cannot. Source: API v1 document, `x-token-cost` of "Update a deal".
const CLEAR_UNITS: u64 = 10;
const FIELD_LIST_UNITS: u64 = 10;
const FIELD_CREATE_UNITS: u64 = 5;

impl Pipedrive {
    pub(super) async fn create_one(
        &self,
        module: &'static Module,
        row: &BTreeMap<RemoteField, Value>,
    ) -> Result<Written, ErrorKind> {
        let shapes = self.shapes(module).await?;
        let body = body::create(&shapes, row)?;
        let reply =
            self.client.write(Method::POST, module.path, Some(&body), module.write_units()).await;
        let reply = reply.map_err(|kind| named(kind, row))?;
        written(&shapes, None, reply)
    }

    /// Sends the changed fields, with lists and composites merged into what `current` holds.
    pub(super) async fn update_one(
        &self,
        module: &'static Module,
        row: &UpdateRow,
    ) -> Result<Written, ErrorKind> {
        if row.current.archived {
            return Err(ErrorKind::Locked(format!(
                "this {} is archived; unarchive it in Pipedrive",
                module.singular
            )));
        }
        let shapes = self.shapes(module).await?;
        let raw = row.current.raw.as_ref().unwrap_or(&Json::Null);
        if row.current.raw.is_none() && needs_current(&shapes, row) {
            return Err(ErrorKind::Refused("the record was not read before its update".into()));
        }
        let body = body::update(&shapes, &row.fields, raw)?;
        let cleared = self.clear_apart(module, row).await?;
        if body.as_object().is_none_or(serde_json::Map::is_empty) {
            return Ok(cleared.unwrap_or(Written {
                id: row.id.clone(),
                modified_at: row.current.modified_at,
                stored: Some(row.current.clone()),
            }));
        }
        let method = if module.name == "notes" { Method::PUT } else { Method::PATCH };
        let path = record_path(module, &row.id);
        let reply = self.client.write(method, &path, Some(&body), module.write_units()).await;
        let reply = reply.map_err(|kind| named(kind, &row.fields))?;
        written(&shapes, Some(&row.id), reply)
    }

    /// v2 refuses null for a deal's expected close date; v1 takes it. First, so that a refusal leaves nothing done.
    async fn clear_apart(
        &self,
        module: &Module,
        row: &UpdateRow,
    ) -> Result<Option<Written>, ErrorKind> {
        let clears =
            module.is_deals() && row.fields.get(body::UNCLEARABLE).is_some_and(Value::is_empty);
        if !clears {
            return Ok(None);
        }
        let path = format!("/api/v1/deals/{}", row.id);
        let body = json!({ body::UNCLEARABLE: null });
        match self.client.write(Method::PUT, &path, Some(&body), CLEAR_UNITS).await {
            // The answer has v1's form: what is stored now is for the caller to read.
            Ok(reply) => {
                let modified_at = record::modified_at(&reply.data);
                Ok(Some(Written { id: row.id.clone(), modified_at, stored: None }))
            }
            Err(
                kind @ (ErrorKind::Gone
                | ErrorKind::Misconfigured(_)
                | ErrorKind::Refused(_)
                | ErrorKind::Invalid { .. }),
            ) => Err(ErrorKind::Invalid {
                field: body::UNCLEARABLE.into(),
                reason: format!(
                    "Pipedrive's API cannot clear it here ({kind}); clear it in Pipedrive"
                ),
            }),
            Err(kind) => Err(kind),
        }
    }

    pub(super) async fn delete_one(
        &self,
        module: &'static Module,
        id: &RecordId,
    ) -> Result<Written, ErrorKind> {
        let path = record_path(module, id);
        match self.client.write(Method::DELETE, &path, None, module.delete_units()).await {
            // Already gone is as good: answers of 404 and of 410 with `success: true` were both seen.
            Ok(_) | Err(ErrorKind::Gone) => {
                Ok(Written { id: id.clone(), modified_at: None, stored: None })
            }
            Err(kind) => Err(kind),
        }
    }

    /// Finds or makes the text field that holds counterparts' ids; answers its code.
    pub(super) async fn install_field(
        &self,
        module: &'static Module,
        label: &str,
    ) -> Result<RemoteField, ErrorKind> {
        let Some(path) = module.fields_path.filter(|_| module.custom_fields) else {
            return Err(ErrorKind::Misconfigured(format!(
                "Pipedrive has no custom fields on {}, so there is no place for `{label}`; leave `external_id` out \
                 for this side",
                module.name
            )));
        };
        // Fields are about to differ from what this and earlier processes read.
        self.settings.memory.forget();
        if let Some(code) = self.find_field(path, label).await? {
            return Ok(code);
        }
        let body = json!({
            "field_name": label,
            "field_type": "varchar",
            "ui_visibility": { "add_visible_flag": false, "details_visible_flag": true },
        });
        let created = self.client.write(Method::POST, path, Some(&body), FIELD_CREATE_UNITS).await;
        self.settings.memory.forget();
        self.forget(module).await;
        match created {
            Ok(reply) => {
                let field: wire::Field = serde_json::from_value(reply.data)
                    .map_err(|_| ErrorKind::ReplyLost("the new field does not decode".into()))?;
                Ok(RemoteField::new(field.code))
            }
            // Fields can be told by their names, so that a lost answer is no reason to make a second one.
            Err(ErrorKind::ReplyLost(reason)) => {
                self.find_field(path, label).await?.ok_or(ErrorKind::ReplyLost(reason))
            }
            Err(ErrorKind::Forbidden(reason)) => Err(ErrorKind::Misconfigured(format!(
                "the API user may not add custom fields ({reason}); let an admin add a text field named `{label}`"
            ))),
            Err(kind) => Err(kind),
        }
    }

    async fn find_field(&self, path: &str, label: &str) -> Result<Option<RemoteField>, ErrorKind> {
        let fields: Vec<wire::Field> = self.client.get_all(path, FIELD_LIST_UNITS).await?;
        let mut named = fields.iter().filter(|field| field.custom && field.name == label);
        match (named.next(), named.next()) {
            (None, _) => Ok(None),
            (Some(field), None) if matches!(field.type_name.as_str(), "varchar" | "text") => {
                Ok(Some(RemoteField::new(field.code.clone())))
            }
            (Some(field), None) => Err(ErrorKind::Misconfigured(format!(
                "the field `{label}` holds {}, not text; rename it or choose another name",
                field.type_name
            ))),
            (Some(first), Some(second)) => Err(ErrorKind::Misconfigured(format!(
                "several fields are named `{label}`: {} and {}",
                first.code, second.code
            ))),
        }
    }
}

/// Refusals that say in words which field they mean. Source: "User not found or not accessible.", API v1.
fn named(kind: ErrorKind, fields: &BTreeMap<RemoteField, Value>) -> ErrorKind {
    let ErrorKind::Refused(reason) = kind else { return kind };
    let owner = ["owner_id", "user_id"].into_iter().find(|field| fields.contains_key(*field));
    match owner {
        Some(field) if reason.starts_with("User not found") => {
            ErrorKind::Invalid { field: field.to_owned(), reason }
        }
        Some(_) | None => ErrorKind::Refused(reason),
    }
}

/// Whether the update replaces something whole, of which it must know the rest.
fn needs_current(shapes: &Shapes, row: &UpdateRow) -> bool {
    let whole = |field: &RemoteField| {
        let names = ["first_name", "last_name", "person_id", "emails", "phones", "prices"];
        names.contains(&field.base()) || shapes.is_composite(field.base())
    };
    shapes.module.dialect == Dialect::V2 && row.fields.keys().any(whole)
}

/// A write that succeeded but whose answer shows no record has happened all the same.
fn written(shapes: &Shapes, id: Option<&RecordId>, reply: Reply) -> Result<Written, ErrorKind> {
    let answered = record::id(&reply.data);
    let Some(id) = id.cloned().or_else(|| answered.clone()) else {
        return Err(ErrorKind::ReplyLost("the answer names no record".into()));
    };
    let modified_at = record::modified_at(&reply.data);
    let is_it = answered.as_ref() == Some(&id) && !record::is_deleted(&reply.data);
    let stored =
        record::decode(shapes, &shapes.readable(), reply.data, Keep::Raw).ok().filter(|_| is_it);
    Ok(Written { id, modified_at, stored })
}
