//! What lists and reads by ids leave out of a row, asked for in one call for many rows.

use std::collections::BTreeSet;

use crmsync_core::model::{ModuleName, RemoteField};
use serde_json::Value as Json;

use super::Zoho;
use super::auth::module_scope;
use super::client::Call;
use super::codec::{Depth, Naming, RICH_TEXT_CUT, Shape, module_of, reference_id};
use super::schema::Metadata;
use super::wire::{Rows, id_text};
use crate::connectors::ErrorKind;

/// A row, and whether its rich text may be cut.
pub(super) struct Row {
    pub(super) json: Json,
    pub(super) depth: Depth,
}

impl Row {
    pub(super) fn cut(json: Json) -> Self {
        Self { json, depth: Depth::List }
    }

    /// Takes the named texts over, when all of them are there.
    fn take(&mut self, names: &[&str], full: &Json) {
        if names.iter().all(|name| full.get(name).is_some()) {
            for name in names {
                self.json[*name] = full[*name].clone();
            }
            self.depth = Depth::Whole;
        }
    }
}

impl Zoho {
    /// Replaces rich text that may be cut by what the call made for it answers, one call for all rows.
    ///
    /// Source: Zoho CRM API v8, "Get Rich Text Records".
    pub(super) async fn complete_rich_text(
        &self,
        module: &ModuleName,
        metadata: &Metadata,
        fields: &[RemoteField],
        rows: &mut [Row],
    ) -> Result<(), ErrorKind> {
        let is_rich = |name: &&str| {
            metadata.forms.get(*name).is_some_and(|form| form.shape == Shape::RichText)
        };
        let rich: BTreeSet<&str> = fields.iter().map(RemoteField::base).filter(is_rich).collect();
        let is_cut = |row: &&Row| rich.iter().any(|name| may_be_cut(&row.json, name));
        let ids: Vec<String> = rows
            .iter()
            .filter(is_cut)
            .filter_map(|row| row.json.get("id").and_then(id_text))
            .collect();
        if ids.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = rich.iter().copied().collect();
        let scope = module_scope(module.as_str(), "READ");
        let call = Call::get(&[module.as_str(), "actions", "fetch_full_data"], scope)
            .query("ids", ids.join(","))
            .query("fields", names.join(","));
        let full = self.rows_if_allowed(&call).await?;
        for full in full.into_iter().flat_map(|rows| rows.data) {
            let same = |row: &&mut Row| row.json.get("id") == full.get("id");
            if let Some(row) = rows.iter_mut().find(same) {
                row.take(&names, &full);
            }
        }
        Ok(())
    }

    /// Finds out which module `What_Id` points to, where rows do not say `$se_module`: asks each module that is
    /// mapped which of the records are its own, one call a module.
    pub(super) async fn tell_modules(
        &self,
        metadata: &Metadata,
        fields: &[RemoteField],
        rows: &mut [Row],
    ) -> Result<(), ErrorKind> {
        for field in fields {
            let shape = metadata.forms.get(field.base()).map(|form| &form.shape);
            let (Some(Shape::Polymorphic(Naming::Beside)), Some(module)) = (shape, field.part())
            else {
                continue;
            };
            let ids: BTreeSet<String> =
                rows.iter().filter_map(|row| untold(&row.json, field.base())).collect();
            let ids: Vec<String> = ids.into_iter().collect();
            for ids in ids.chunks(super::BATCH) {
                let own = self.own_ids(module, ids).await?;
                let pointing = |row: &&mut Row| {
                    untold(&row.json, field.base()).is_some_and(|id| own.contains(&id))
                };
                for row in rows.iter_mut().filter(pointing) {
                    row.json["$se_module"] = module.into();
                }
            }
        }
        Ok(())
    }

    /// Those of `ids` that are records of `module`; none when we may not see that.
    async fn own_ids(&self, module: &str, ids: &[String]) -> Result<BTreeSet<String>, ErrorKind> {
        let call = Call::get(&[module], module_scope(module, "READ"))
            .query("ids", ids.join(","))
            .query("fields", "Modified_Time");
        let rows = self.rows_if_allowed(&call).await?;
        let data = rows.into_iter().flat_map(|rows| rows.data);
        Ok(data.filter_map(|row| row.get("id").and_then(id_text)).collect())
    }

    /// Rows of a call that only completes others: a refusal leaves those incomplete, which they say themselves.
    async fn rows_if_allowed(&self, call: &Call) -> Result<Option<Rows>, ErrorKind> {
        match self.client.call(call).await {
            Ok(reply) => reply.decode(),
            Err(
                ErrorKind::Gone
                | ErrorKind::Forbidden(_)
                | ErrorKind::Refused(_)
                | ErrorKind::UnknownName(_)
                | ErrorKind::Misconfigured(_),
            ) => Ok(None),
            Err(kind) => Err(kind),
        }
    }
}

/// The record that a lookup points to, while its module is not known.
fn untold(row: &Json, name: &str) -> Option<String> {
    let lookup = row.get(name).filter(|lookup| !lookup.is_null())?;
    let is_told = module_of(lookup, row.as_object()?).is_some();
    reference_id(lookup).filter(|_| !is_told)
}

fn may_be_cut(row: &Json, name: &str) -> bool {
    let text = row.get(name).and_then(Json::as_str);
    text.is_some_and(|text| text.chars().count() >= RICH_TEXT_CUT)
}
