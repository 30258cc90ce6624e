//! More fields than one call may name: lists cut into calls, and their rows put together again.

use std::collections::{BTreeMap, BTreeSet};

use crmsync_core::model::{ModuleName, RecordId, RemoteField};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::client::Reply;
use super::codec::{Naming, Shape};
use super::schema::Metadata;
use super::wire::{Rows, id_text};
use crate::connectors::{ErrorKind, PageKey, Undecodable};

/// Fields that one list call may name.
///
/// Source: Zoho CRM API v8, "Get Records".
const MAX_FIELDS: usize = 50;

/// Where a scan goes on: one token a slice of fields, `None` for a slice that has ended.
#[derive(Debug, Serialize, Deserialize)]
struct ScanKey {
    tokens: Vec<Option<String>>,
}

/// The fields of one read, cut into calls.
pub(super) struct Slices {
    pub(super) slices: Vec<Vec<String>>,
    pub(super) has_conversion: bool,
}

impl Slices {
    /// `Modified_Time` is in every slice: rows that differ in it were changed between two calls.
    pub(super) fn of(module: &ModuleName, metadata: &Metadata, fields: &[RemoteField]) -> Self {
        let mut names = BTreeSet::new();
        for field in fields {
            match metadata.forms.get(field.base()).map(|form| &form.shape) {
                None | Some(Shape::Unsupported | Shape::Id) => {}
                Some(Shape::Polymorphic(Naming::Beside)) => {
                    names.extend([field.base(), "$se_module"]);
                }
                Some(_) => {
                    names.insert(field.base());
                }
            }
        }
        let has_conversion = module.as_str() == "Leads";
        let mut always = vec!["Modified_Time".to_owned()];
        always.extend(has_conversion.then(|| "Converted__s".to_owned()));
        let own: Vec<&str> =
            names.into_iter().filter(|name| !always.iter().any(|other| other == name)).collect();
        let slice = |own: &[&str]| {
            let own = own.iter().map(|name| (*name).to_owned());
            always.iter().cloned().chain(own).collect::<Vec<_>>()
        };
        let slices: Vec<_> = own.chunks(MAX_FIELDS - always.len()).map(slice).collect();
        let slices = if slices.is_empty() { vec![always] } else { slices };
        Self { slices, has_conversion }
    }
}

/// Rows of all slices, put together by id.
#[derive(Default)]
pub(super) struct Merged {
    /// In the order of the first slice.
    pub(super) rows: Vec<Json>,
    pub(super) undecodable: Vec<Undecodable>,
}

pub(super) fn tokens(
    page: Option<&PageKey>,
    slices: usize,
) -> Result<Vec<Option<String>>, ErrorKind> {
    let Some(key) = page else { return Ok(vec![None; slices]) };
    let key: ScanKey = serde_json::from_str(&key.0).map_err(|_| ErrorKind::PageExpired)?;
    // The mapping grew or shrank: the old tokens are bound to other fields.
    if key.tokens.len() == slices { Ok(key.tokens) } else { Err(ErrorKind::PageExpired) }
}

/// Puts the slices of one page together. Rows that not all slices show alike are to be read by id.
pub(super) fn merge(replies: &[Option<Reply>]) -> Result<(Merged, Option<PageKey>), ErrorKind> {
    let mut pages = Vec::new();
    let mut tokens = Vec::new();
    for reply in replies {
        let rows = reply.as_ref().map(Reply::decode::<Rows>).transpose()?.flatten();
        let (data, info) = rows.map(|rows| (rows.data, rows.info)).unwrap_or_default();
        if info.more_records && info.next_page_token.is_none() && replies_page(reply.as_ref()) {
            let reason = "more records are told of, and no page token";
            return Err(ErrorKind::Undecodable(reason.into()));
        }
        tokens.push(info.next_page_token.filter(|_| info.more_records));
        pages.push(data);
    }
    let next = tokens.iter().any(Option::is_some).then_some(ScanKey { tokens });
    let next = next.map(|key| serde_json::to_string(&key).map(PageKey)).transpose();
    let next = next.map_err(|error| ErrorKind::Undecodable(error.to_string()))?;
    Ok((merge_rows(pages), next))
}

fn replies_page(reply: Option<&Reply>) -> bool {
    reply.is_some_and(|reply| !reply.body.is_null())
}

fn merge_rows(mut pages: Vec<Vec<Json>>) -> Merged {
    if pages.len() == 1 {
        return Merged { rows: pages.remove(0), undecodable: Vec::new() };
    }
    let mut by_id: BTreeMap<String, (usize, Map<String, Json>)> = BTreeMap::new();
    let (mut order, mut merged) = (Vec::new(), Merged::default());
    let mut torn = BTreeSet::new();
    let count = pages.len();
    for row in pages.into_iter().flatten() {
        let id = row.get("id").and_then(id_text);
        let (Some(id), Json::Object(row)) = (id, row) else {
            let reason = "the row has no id".to_owned();
            merged.undecodable.push(Undecodable { id: None, reason });
            continue;
        };
        if !by_id.contains_key(&id) {
            order.push(id.clone());
        }
        let (seen, whole) = by_id.entry(id.clone()).or_default();
        if *seen > 0 && whole.get("Modified_Time") != row.get("Modified_Time") {
            torn.insert(id);
        }
        *seen += 1;
        whole.extend(row);
    }
    for id in order {
        match by_id.remove(&id) {
            Some((seen, row)) if seen == count && !torn.contains(&id) => {
                merged.rows.push(Json::Object(row));
            }
            Some(_) | None => merged.undecodable.push(Undecodable {
                id: Some(RecordId::new(id)),
                reason: "changed between two calls for its fields".into(),
            }),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn given_two_slices_when_a_row_changed_between_them_then_it_is_read_again_and_not_mixed() {
        let row = |id: &str, time: &str, field: &str| json!({ "id": id, "Modified_Time": time, field: "x" });
        let first = vec![row("1", "t1", "A"), row("2", "t1", "A"), row("3", "t1", "A")];
        let second = vec![row("1", "t1", "B"), row("2", "t2", "B"), row("4", "t1", "B")];

        let merged = merge_rows(vec![first, second]);

        assert_eq!(merged.rows.len(), 1);
        assert_eq!(merged.rows[0]["A"], merged.rows[0]["B"]);
        let torn: Vec<_> = merged.undecodable.iter().map(|row| row.id.clone().unwrap()).collect();
        assert_eq!(torn, ["2", "3", "4"].map(RecordId::from));
    }

    #[test]
    fn given_a_page_key_of_other_fields_when_used_then_the_scan_starts_again() {
        let key = PageKey(r#"{"tokens":["a",null]}"#.into());

        assert_eq!(tokens(Some(&key), 2), Ok(vec![Some("a".to_owned()), None]));
        assert_eq!(tokens(Some(&key), 1), Err(ErrorKind::PageExpired));
        assert_eq!(tokens(Some(&PageKey("?".into())), 1), Err(ErrorKind::PageExpired));
    }
}
