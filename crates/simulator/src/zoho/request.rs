//! One call, authorized and taken apart.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::oauth::{Access, Right};
use super::refusal::Refusal;
use super::schema::Module;
use super::table::Table;
use super::times::ZoneClock;
use crate::host::Call;

pub(super) struct Request<'a> {
    pub(super) call: &'a Call,
    pub(super) access: Access,
    /// In the token user's zone.
    pub(super) zone: ZoneClock,
    pub(super) body: Option<Value>,
}

/// Rows of one write.
pub(super) const MAX_ROWS: usize = 100;

impl Request<'_> {
    pub(super) fn may_read(&self, module: &Module) -> Result<(), Refusal> {
        self.may(module, Right::Read)
    }

    pub(super) fn may(&self, module: &Module, right: Right) -> Result<(), Refusal> {
        self.access.require("modules", &module.scope(), right)
    }

    /// The body's object, or why there is none.
    pub(super) fn object(&self) -> Result<&Map<String, Value>, Refusal> {
        self.body.as_ref().and_then(Value::as_object).ok_or_else(Refusal::unparseable)
    }

    /// The rows in `data`: 1 to 100 objects.
    pub(super) fn rows(&self) -> Result<&Vec<Value>, Refusal> {
        let data = self.object()?.get("data");
        let data = data.ok_or_else(|| Refusal::mandatory("data", "$.data"))?;
        let rows = data.as_array().filter(|rows| rows.iter().all(Value::is_object));
        let rows = rows.ok_or_else(|| {
            Refusal::invalid(json!({ "expected_data_type": "jsonarray", "api_name": "data", "json_path": "$.data" }))
        })?;
        if rows.is_empty() {
            return Err(Refusal::mandatory("data", "$.data"));
        }
        if rows.len() > MAX_ROWS {
            let details = json!({ "limit": MAX_ROWS, "api_name": "data", "json_path": "$.data" });
            return Err(Refusal::new(
                400,
                "LIMIT_EXCEEDED",
                "You have exceeded the maximum limit",
                details,
            ));
        }
        Ok(rows)
    }

    /// Automations run unless `trigger` is given without `workflow`.
    pub(super) fn workflows(&self) -> bool {
        let trigger =
            self.body.as_ref().and_then(|body| body.get("trigger")).and_then(Value::as_array);
        trigger.is_none_or(|trigger| trigger.iter().any(|name| name == "workflow"))
    }

    /// External field of `module` that stands in for the id, by the header `X-EXTERNAL`.
    pub(super) fn external(&self, module: &Module) -> Option<String> {
        let header = self.call.header("x-external")?;
        let names = header
            .split(',')
            .map(str::trim)
            .filter_map(|name| name.strip_prefix(module.api_name.as_str())?.strip_prefix('.'));
        names.filter(|name| !name.contains('.')).map(str::to_owned).next()
    }

    /// External fields of lookups: lookup → field of its target.
    pub(super) fn external_lookups(&self, module: &Module) -> BTreeMap<String, String> {
        let header = self.call.header("x-external").unwrap_or_default();
        let names = header
            .split(',')
            .map(str::trim)
            .filter_map(|name| name.strip_prefix(module.api_name.as_str())?.strip_prefix('.'));
        names
            .filter_map(|name| name.split_once('.'))
            .map(|(lookup, field)| (lookup.to_owned(), field.to_owned()))
            .collect()
    }

    /// A record's id from the path: the id itself, or an external value under `X-EXTERNAL`.
    pub(super) fn record(
        &self,
        module: &Module,
        table: &Table,
        text: &str,
        segment: usize,
    ) -> Result<Option<u64>, Refusal> {
        if let Some(field) = self.external(module) {
            return Ok(table.holding(&field, &text.into()).and_then(|ids| ids.first().copied()));
        }
        let id = text
            .parse()
            .map_err(|_| Refusal::invalid(json!({ "resource_path_index": segment })))?;
        Ok(Some(id))
    }
}
