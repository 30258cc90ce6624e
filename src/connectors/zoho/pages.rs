//! Links into Zoho's pages, and what a record's timeline tells.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use crmsync_core::model::{ModuleName, RecordId, RemoteField, Value};
use serde_json::Value as Json;

use super::auth::module_scope;
use super::client::Call;
use super::codec::{Forms, decode_value};
use super::{Zoho, hosts};
use crate::connectors::{ErrorKind, History, PastChange};

impl Zoho {
    /// Source: public code bases; Zoho does not document the addresses of its pages.
    pub(super) fn link(&self, module: &ModuleName, id: &RecordId) -> Option<String> {
        let tab = self.tab(module);
        if let Some(template) = &self.settings.record_url {
            let filled = template.replace("{module}", module.as_str()).replace("{tab}", &tab);
            return Some(filled.replace("{id}", id.as_str()));
        }
        let web = hosts::web_of(&self.settings.oauth.accounts_url)?;
        let domain = self.cache.domain().map_or_else(String::new, |domain| format!("{domain}/"));
        Some(format!("{web}/crm/{domain}tab/{tab}/{id}"))
    }

    /// Tabs are called like the metadata's `module_name`, with two exceptions.
    fn tab(&self, module: &ModuleName) -> String {
        match module.as_str() {
            "Deals" => "Potentials".to_owned(),
            "Events" => "Events".to_owned(),
            other => self.cache.tab(module).unwrap_or_else(|| other.replace('_', "")),
        }
    }

    /// The 200 newest entries of the record's history, as far as they name `fields`.
    ///
    /// Source: Zoho CRM API, "Timelines of a Record".
    pub(super) async fn read_timeline(
        &self,
        module: &ModuleName,
        id: &RecordId,
        fields: &[RemoteField],
    ) -> Result<Option<History>, ErrorKind> {
        let metadata = self.metadata(module).await?;
        let path = [module.as_str(), id.as_str(), "__timeline"];
        let call = Call::get(&path, module_scope(module.as_str(), "READ")).query("per_page", "200");
        let reply = match self.client.call(&call).await {
            Ok(reply) => reply,
            // Not every module and edition has a timeline.
            Err(ErrorKind::Misconfigured(_) | ErrorKind::Forbidden(_)) => {
                return Ok(None);
            }
            Err(kind) => return Err(kind),
        };
        let entries = reply.body.get("__timeline").and_then(Json::as_array);
        let told = entries.into_iter().flatten();
        let mut changes: Vec<_> =
            told.flat_map(|entry| changes(&metadata.forms, fields, entry)).collect();
        changes.sort_by_key(|change| Reverse(change.at));
        let (server_time, received_at) = (reply.answer.server_time, reply.answer.received_at);
        Ok(Some(History { changes, server_time, received_at }))
    }
}

/// What one entry tells of `fields`.
fn changes(forms: &Forms, fields: &[RemoteField], entry: &Json) -> Vec<PastChange> {
    let Some(at) = time(entry) else { return Vec::new() };
    let told = entry.get("field_history").and_then(Json::as_array).into_iter().flatten();
    let of_change = |change: &Json| {
        let name = change.get("api_name").and_then(Json::as_str)?.to_owned();
        let values = change.get("_value")?.clone();
        let own = fields.iter().filter(move |field| field.base() == name);
        Some(own.map(move |field| PastChange {
            field: field.clone(),
            at,
            before: value(forms, field, values.get("old")),
            after: value(forms, field, values.get("new")),
        }))
    };
    told.filter_map(of_change).flatten().collect()
}

/// Values stand in the entry as in a record, or in words for people, which are no values.
fn value(forms: &Forms, field: &RemoteField, told: Option<&Json>) -> Option<Value> {
    let form = forms.get(field.base()).filter(|_| field.part().is_none())?;
    decode_value(form, field.base(), told?).ok()
}

fn time(entry: &Json) -> Option<DateTime<Utc>> {
    let text = entry.get("audited_time")?.as_str()?;
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc())
}
