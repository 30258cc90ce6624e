//! Writing records, judged row by row.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use crmsync_core::model::{ModuleName, RecordId, RemoteField, Value};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::auth::module_scope;
use super::client::{Call, Reply};
use super::encode::{EncodeError, encode_row, zoho_time};
use super::refusal::kind_of;
use super::wire::Status;
use super::{BATCH, Zoho, row_credits};
use crate::connectors::pacing::Weight;
use crate::connectors::{ErrorKind, UpdateRow, Written};

type Outcome = Result<Written, ErrorKind>;

/// Rows above which a write belongs to the group that Zoho limits to ten at once.
const HEAVY_ROWS: usize = 10;

impl Zoho {
    /// Plain inserts: an upsert would match other unique fields too and overwrite a foreign record.
    pub(super) async fn insert(
        &self,
        module: &ModuleName,
        rows: &[BTreeMap<RemoteField, Value>],
    ) -> Vec<Outcome> {
        let metadata = match self.metadata(module).await {
            Ok(metadata) => metadata,
            Err(kind) => return refuse_all(rows.len(), &kind),
        };
        let form = self.settings.option_form;
        let encoded = rows.iter().map(|fields| {
            encode_row(&metadata.forms, fields, None, form).map(Json::Object).map_err(misfit)
        });
        let (sendable, mut outcomes) = split(encoded.collect());
        for batch in sendable.chunks(BATCH) {
            let sent: Vec<Json> = batch.iter().map(|(_, row)| row.clone()).collect();
            let call = self.rows_call(Method::POST, module, &sent, "CREATE");
            let reply = self.client.call(&call).await;
            settle_batch(&mut outcomes, batch, None, reply);
        }
        whole(outcomes)
    }

    /// Rows with a version go alone, as a batch fails as a whole; the others go together.
    pub(super) async fn change(&self, module: &ModuleName, rows: &[UpdateRow]) -> Vec<Outcome> {
        let metadata = match self.metadata(module).await {
            Ok(metadata) => metadata,
            Err(kind) => return refuse_all(rows.len(), &kind),
        };
        let form = self.settings.option_form;
        let encoded = rows.iter().enumerate().map(|(at, row)| {
            if rows[..at].iter().any(|other| other.id == row.id) {
                return Err(ErrorKind::Refused("the record stands twice in one call".into()));
            }
            let current = row.current.raw.as_ref().unwrap_or(&Json::Null);
            let mut fields =
                encode_row(&metadata.forms, &row.fields, Some(current), form).map_err(misfit)?;
            fields.insert("id".to_owned(), row.id.as_str().into());
            Ok(Json::Object(fields))
        });
        let (sendable, mut outcomes) = split(encoded.collect());
        let (conditional, plain): (Vec<_>, Vec<_>) =
            sendable.into_iter().partition(|(at, _)| rows[*at].unmodified_since.is_some());
        for batch in plain.chunks(BATCH) {
            let sent: Vec<Json> = batch.iter().map(|(_, row)| row.clone()).collect();
            let ids: Vec<_> = batch.iter().map(|(at, _)| rows[*at].id.clone()).collect();
            let call = self.rows_call(Method::PUT, module, &sent, "UPDATE");
            let reply = self.client.call(&call).await;
            settle_batch(&mut outcomes, batch, Some(&ids), reply);
        }
        let alone = conditional
            .iter()
            .map(|(at, row)| async move { (*at, self.change_one(module, &rows[*at], row).await) });
        for (at, outcome) in join_all(alone).await {
            outcomes[at] = Some(outcome);
        }
        whole(outcomes)
    }

    async fn change_one(&self, module: &ModuleName, row: &UpdateRow, body: &Json) -> Outcome {
        let mut call = self.rows_call(Method::PUT, module, std::slice::from_ref(body), "UPDATE");
        if let Some(since) = row.unmodified_since {
            call = call.header("if-unmodified-since", zoho_time(since));
        }
        let reply = self.client.call(&call).await?;
        outcome(&only_row(&reply)?, Some(&row.id))
    }

    pub(super) async fn remove(&self, module: &ModuleName, ids: &[RecordId]) -> Vec<Outcome> {
        let rows: Vec<(usize, RecordId)> = ids.iter().cloned().enumerate().collect();
        let mut outcomes = vec![None; ids.len()];
        for batch in rows.chunks(BATCH) {
            let ids: Vec<_> = batch.iter().map(|(_, id)| id.clone()).collect();
            let listed = ids.iter().map(RecordId::as_str).collect::<Vec<_>>().join(",");
            let name = module.as_str();
            let call = Call::new(Method::DELETE, &[name], module_scope(name, "DELETE"))
                .query("ids", listed);
            let reply = self.client.call(&call).await;
            settle_batch(&mut outcomes, batch, Some(&ids), reply);
        }
        let gone = |(outcome, id): (Outcome, &RecordId)| match outcome {
            // Deleted before, by whomever: what was wanted.
            Err(ErrorKind::Gone) => Ok(Written { id: id.clone(), modified_at: None, stored: None }),
            Ok(_) | Err(_) => outcome,
        };
        whole(outcomes).into_iter().zip(ids).map(gone).collect()
    }

    /// Source: Zoho CRM API v8, "Restore Recycle Bin Records".
    pub(super) async fn bring_back(&self, id: &RecordId) -> Outcome {
        let path = ["settings", "recycle_bin", id.as_str(), "actions", "restore"];
        let call = Call::new(Method::POST, &path, "ZohoCRM.settings.recycle_bin.CREATE");
        let reply = self.client.call(&call).await?;
        outcome(&only_row(&reply)?, Some(id))
    }

    fn rows_call(
        &self,
        method: Method,
        module: &ModuleName,
        rows: &[Json],
        operation: &str,
    ) -> Call {
        let name = module.as_str();
        let weight = if rows.len() > HEAVY_ROWS { Weight::Heavy } else { Weight::Light };
        let units = row_credits(rows.len());
        let mut body = json!({ "data": rows });
        if let Some(trigger) = &self.settings.trigger {
            body["trigger"] = trigger.clone().into();
        }
        Call::new(method, &[name], module_scope(name, operation))
            .body(body)
            .units(units)
            .weight(weight)
    }
}

fn misfit(error: EncodeError) -> ErrorKind {
    match error {
        EncodeError::Unknown(field) => ErrorKind::UnknownName(format!("field `{field}`")),
        EncodeError::Misfit { field, reason } => ErrorKind::Invalid { field, reason },
    }
}

/// Parts the rows that can be sent from the outcomes of those that cannot.
fn split(rows: Vec<Result<Json, ErrorKind>>) -> (Vec<(usize, Json)>, Vec<Option<Outcome>>) {
    let (mut sendable, mut outcomes) = (Vec::new(), Vec::new());
    for (at, row) in rows.into_iter().enumerate() {
        match row {
            Ok(row) => {
                sendable.push((at, row));
                outcomes.push(None);
            }
            Err(kind) => outcomes.push(Some(Err(kind))),
        }
    }
    (sendable, outcomes)
}

fn settle_batch<T>(
    outcomes: &mut [Option<Outcome>],
    batch: &[(usize, T)],
    ids: Option<&[RecordId]>,
    reply: Result<Reply, ErrorKind>,
) {
    let settled = match reply.and_then(|reply| statuses(&reply)) {
        Ok(statuses) => outcomes_of(batch.len(), ids, &statuses),
        Err(kind) => refuse_all(batch.len(), &kind),
    };
    for ((at, _), outcome) in batch.iter().zip(settled) {
        outcomes[*at] = Some(outcome);
    }
}

fn whole(outcomes: Vec<Option<Outcome>>) -> Vec<Outcome> {
    let unsettled = || Err(ErrorKind::Unavailable("not sent".into()));
    outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(unsettled)).collect()
}

fn refuse_all(count: usize, kind: &ErrorKind) -> Vec<Outcome> {
    vec![Err(kind.clone()); count]
}

/// The row statuses of an answer, under whichever key they stand.
fn statuses(reply: &Reply) -> Result<Vec<Status>, ErrorKind> {
    let lost = |reason: &str| ErrorKind::ReplyLost(reason.to_owned());
    let rows = ["data", "recycle_bin", "fields"].iter().find_map(|key| reply.body.get(key));
    let rows = rows.ok_or_else(|| lost("the answer has no row statuses"))?;
    serde_json::from_value(rows.clone()).map_err(|_| lost("the row statuses do not decode"))
}

/// The status of a call with one row.
pub(super) fn only_row(reply: &Reply) -> Result<Status, ErrorKind> {
    let mut statuses = statuses(reply)?;
    match (statuses.pop(), statuses.is_empty()) {
        (Some(status), true) if status.is_success() => Ok(status),
        (Some(status), true) => Err(kind_of(&status)),
        _ => Err(ErrorKind::ReplyLost("one row was sent, not one status came".into())),
    }
}

/// Gives each row its own status, or leaves it in doubt.
///
/// Statuses come in the order of the rows. When they do not come as many, or say themselves that they belong
/// elsewhere, position proves nothing: then only a status that names its row (by path, or by the id of an
/// updated record) counts.
fn outcomes_of(count: usize, ids: Option<&[RecordId]>, statuses: &[Status]) -> Vec<Outcome> {
    let claims: Vec<Option<usize>> =
        statuses.iter().map(|status| claim(status, ids).filter(|row| *row < count)).collect();
    let in_order = statuses.len() == count
        && claims.iter().enumerate().all(|(at, claim)| claim.is_none_or(|row| row == at));
    let mut rows: Vec<Option<Outcome>> = vec![None; count];
    for (at, status) in statuses.iter().enumerate() {
        let row = if in_order { Some(at) } else { claims[at] };
        if let Some(place) = row.and_then(|row| rows.get_mut(row)) {
            let id = row.and_then(|row| ids?.get(row));
            place.get_or_insert_with(|| outcome(status, id));
        }
    }
    let doubt = || Err(ErrorKind::ReplyLost("the answer has no status for this row".into()));
    rows.into_iter().map(|row| row.unwrap_or_else(doubt)).collect()
}

fn claim(status: &Status, ids: Option<&[RecordId]>) -> Option<usize> {
    let by_id = || {
        let id = status.id()?;
        ids?.iter().position(|known| known.as_str() == id)
    };
    status.row().or_else(by_id)
}

/// The outcome of one row; `id` is the record's, where it was known before.
fn outcome(status: &Status, id: Option<&RecordId>) -> Outcome {
    if !status.is_success() {
        return Err(kind_of(status));
    }
    let told = status.id().map(RecordId::new);
    if let (Some(told), Some(id)) = (&told, id)
        && told != id
    {
        return Err(ErrorKind::ReplyLost("the answer is about another record".into()));
    }
    let id = told.or_else(|| id.cloned());
    let id = id.ok_or_else(|| ErrorKind::ReplyLost("the new record's id is not told".into()))?;
    Ok(Written { id, modified_at: modified_at(status), stored: None })
}

fn modified_at(status: &Status) -> Option<DateTime<Utc>> {
    let text = status.detail("Modified_Time")?;
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(id: &str) -> Json {
        json!({ "code": "SUCCESS", "status": "success", "details": { "id": id } })
    }

    fn bad(row: usize) -> Json {
        let path = format!("$.data[{row}].Email");
        json!({ "code": "INVALID_DATA", "status": "error", "details": { "json_path": path } })
    }

    /// One letter a row: the id, `!` for a refusal, `?` for doubt.
    fn told(count: usize, ids: Option<&[&str]>, statuses: &[Json]) -> String {
        let ids: Option<Vec<RecordId>> =
            ids.map(|ids| ids.iter().map(|id| RecordId::from(*id)).collect());
        let statuses: Vec<Status> =
            statuses.iter().map(|status| serde_json::from_value(status.clone()).unwrap()).collect();
        let outcomes = outcomes_of(count, ids.as_deref(), &statuses);
        let letter = |outcome: &Outcome| match outcome {
            Ok(written) => written.id.as_str().to_owned(),
            Err(ErrorKind::ReplyLost(_)) => "?".to_owned(),
            Err(_) => "!".to_owned(),
        };
        outcomes.iter().map(letter).collect()
    }

    #[test]
    fn given_row_statuses_when_settled_then_each_row_gets_its_own_or_is_in_doubt() {
        let abc: Option<&[&str]> = Some(&["a", "b", "c"]);
        let cases = [
            ("creates in order", None, vec![ok("x"), bad(1), ok("z")], "x!z"),
            ("creates, one missing", None, vec![ok("x"), ok("z")], "???"),
            ("creates, one missing, a refusal names its row", None, vec![ok("x"), bad(2)], "??!"),
            ("creates out of order", None, vec![ok("x"), bad(0), ok("z")], "!??"),
            ("creates, one too many", None, vec![ok("x"), ok("y"), ok("z"), ok("w")], "???"),
            ("updates in order", abc, vec![ok("a"), bad(1), ok("c")], "a!c"),
            ("updates out of order", abc, vec![ok("c"), ok("a"), ok("b")], "abc"),
            ("updates, one missing", abc, vec![ok("c"), ok("a")], "a?c"),
            ("updates, a stranger among them", abc, vec![ok("a"), ok("q"), ok("c")], "a?c"),
            ("nothing at all", abc, vec![], "???"),
        ];

        for (name, ids, statuses, expected) in cases {
            assert_eq!(told(3, ids, &statuses), expected, "{name}");
        }
    }
}
