//! Links into Zoho's pages, and what a record's timeline tells.

use chrono::{DateTime, Utc};
use crmsync_core::model::row::Evidence;
use crmsync_core::model::{ModuleName, RecordId, RemoteField};
use serde_json::Value as Json;

use super::auth::module_scope;
use super::client::Call;
use super::{Zoho, hosts};
use crate::connectors::ErrorKind;

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

    /// The newest entry of the record's history that names `field`, among the 200 newest.
    ///
    /// Source: Zoho CRM API, "Timelines of a Record".
    pub(super) async fn read_timeline(
        &self,
        module: &ModuleName,
        id: &RecordId,
        field: &RemoteField,
    ) -> Result<(Option<DateTime<Utc>>, Evidence), ErrorKind> {
        let path = [module.as_str(), id.as_str(), "__timeline"];
        let call = Call::get(&path, module_scope(module.as_str(), "READ")).query("per_page", "200");
        let reply = match self.client.call(&call).await {
            Ok(reply) => reply,
            // Not every module and edition has a timeline.
            Err(ErrorKind::Misconfigured(_) | ErrorKind::Forbidden(_)) => {
                return Ok((None, Evidence::None));
            }
            Err(kind) => return Err(kind),
        };
        let entries = reply.body.get("__timeline").and_then(Json::as_array);
        let at = entries.into_iter().flatten().filter(|entry| names(entry, field)).filter_map(time);
        Ok(at.max().map_or((None, Evidence::None), |at| (Some(at), Evidence::FieldHistory)))
    }
}

fn names(entry: &Json, field: &RemoteField) -> bool {
    let changes = entry.get("field_history").and_then(Json::as_array);
    let mut names = changes.into_iter().flatten().filter_map(|change| change.get("api_name"));
    names.any(|name| name.as_str() == Some(field.base()))
}

fn time(entry: &Json) -> Option<DateTime<Utc>> {
    let text = entry.get("audited_time")?.as_str()?;
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc())
}
