//! What comes from outside and must never bring the program down: files, decisions, a server's answers.
//!
//! Each function takes anything and panics only where a promise is broken. cargo-fuzz calls them without end,
//! `tests/it/hostile.rs` a bounded number of times.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use crmsync::clock::{Carrier, Clock, Lost, Wire};
use crmsync::config::{Config, Environment};
use crmsync::connectors::pipedrive::Pipedrive;
use crmsync::connectors::zoho::{OauthClient, Pinning, Zoho};
use crmsync::connectors::{Connector, ListRequest, Order, UpdateRow, pipedrive, zoho};
use crmsync::report::csv;
use crmsync_core::engine::expression;
use crmsync_core::model::{FieldName, ModuleName, RecordId, RemoteField, RemoteRecord, Value};
use crmsync_simulator::clock::Clock as ServerClock;
use crmsync_simulator::host::{Call, Service, pairs};
use futures_util::FutureExt as _;

/// A mapping file: an error points into the text.
pub(crate) fn mapping(text: &str) {
    let lines = text.split('\n').count();
    if let Err(found) = crmsync_core::mapping::parse("contact.toml", text) {
        assert!(!found.is_empty());
        assert!(found.iter().all(|one| (1..=lines).contains(&one.line)));
    }
}

/// A configuration file.
pub(crate) fn config(text: &str) {
    let read = Config::parse(Path::new("crmsync.toml"), text, &Environment::default());
    if let Err(error) = read {
        assert!(!error.findings.is_empty() && !error.to_string().is_empty());
    }
}

/// An expression of a mapping file: bounded in work and size.
pub(crate) fn expression(text: &str) {
    let fields: BTreeMap<FieldName, Value> = [
        ("first_name", Value::text("Ada")),
        ("amount", Value::Number(7.into())),
        ("tags", Value::set(["a".to_owned(), "b".to_owned()])),
        ("phone", Value::Empty),
    ]
    .map(|(name, value)| (FieldName::new(name), value))
    .into();
    let evaluated = expression::evaluate(text, &fields);
    if expression::fields_read(text).is_err() {
        assert!(evaluated.is_err());
    }
}

/// Decisions on conflicts, as a spreadsheet saved them.
pub(crate) fn decisions(text: &str) {
    if let Ok((decisions, _)) = csv::read(text) {
        assert!(decisions.iter().all(|decision| !decision.choice.trim().is_empty()));
    }
}

/// Any answer to every call on records, after honest answers about sign-in and metadata.
///
/// The first byte chooses the status, the rest is the body.
pub(crate) fn answers(bytes: &[u8]) {
    const STATUS: [u16; 12] = [200, 201, 204, 207, 400, 401, 403, 404, 409, 412, 429, 500];
    let (first, body) = bytes.split_first().map_or((0, &[][..]), |(first, rest)| (*first, rest));
    let status = STATUS[usize::from(first) % STATUS.len()];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        for (side, module) in sides(status, &Bytes::copy_from_slice(body)) {
            call_everything(side.as_ref(), &ModuleName::from(module)).await;
        }
    });
}

async fn call_everything(side: &dyn Connector, module: &ModuleName) {
    let Ok(schema) = side.describe(module).await else { return };
    let fields: Vec<RemoteField> = schema.fields.iter().map(|field| field.name.clone()).collect();
    let (ids, now) = ([RecordId::new("1"), RecordId::new("22")], DateTime::UNIX_EPOCH);
    for order in [Order::Id, Order::Modified] {
        let request = ListRequest { module, fields: &fields, since: Some(now), order, page: None };
        let _ = side.list(&request).await;
    }
    let _ = side.deleted(module, now, None).await;
    let _ = side.fetch(module, &ids, &fields).await;
    let _ = side.probe(module, &ids[0], &fields).await;
    let values: BTreeMap<_, _> =
        fields.iter().take(1).map(|field| (field.clone(), Value::text("x"))).collect();
    let created = side.create(module, &[values.clone(), values.clone()]).await;
    let current = |id: &RecordId| RemoteRecord {
        id: id.clone(),
        modified_at: None,
        fields: BTreeMap::new(),
        archived: false,
        raw: None,
    };
    let update = |id: &RecordId| UpdateRow {
        id: id.clone(),
        fields: values.clone(),
        current: current(id),
        unmodified_since: None,
    };
    let updated = side.update(module, &ids.each_ref().map(update)).await;
    let deleted = side.delete(module, &ids).await;
    // I31: one result a row, whatever the answer held.
    assert_eq!([created.len(), updated.len(), deleted.len()], [2, 2, 2]);
}

/// Answers honestly about itself, and as told about records.
struct Hostile {
    honest: Arc<dyn Service>,
    status: u16,
    body: Bytes,
}

#[async_trait]
impl Carrier for Hostile {
    async fn carry(&self, call: http::Request<Bytes>) -> Result<http::Response<Bytes>, Lost> {
        let (head, body) = call.into_parts();
        let path = head.uri.path().to_owned();
        let of_records = ["/Contacts", "/persons"].iter().any(|module| path.contains(module))
            || path.contains("coql")
            || path.contains("__");
        if of_records {
            let answer = http::Response::builder()
                .status(self.status)
                .header("content-type", "application/json");
            return answer.body(self.body.clone()).map_err(|error| Lost::Unsent(error.to_string()));
        }
        let call = Call {
            method: head.method.as_str().to_owned(),
            path,
            query: pairs(head.uri.query().unwrap_or_default()),
            headers: head.headers,
            body,
            origin: "http://side.example".to_owned(),
            fault: None,
        };
        let reply = self.honest.answer(&call);
        let mut answer = http::Response::builder().status(reply.status);
        for (name, value) in &reply.headers {
            answer = answer.header(name, value);
        }
        answer.body(reply.body).map_err(|error| Lost::Unsent(error.to_string()))
    }
}

fn sides(status: u16, body: &Bytes) -> Vec<(Box<dyn Connector>, &'static str)> {
    let start = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(20_000);
    let face = ServerClock::standing(start);
    let now = face.clone();
    let clock = Clock::new(move || now.now()).sleeping(|_| std::future::ready(()).boxed());
    let wire = |honest: Arc<dyn Service>| {
        Wire::Carried(Arc::new(Hostile { honest, status, body: body.clone() }))
    };
    let crm = Arc::new(crmsync_simulator::zoho::Zoho::new(crmsync_simulator::zoho::Settings::new(
        face.clone(),
        7,
    )));
    let client = crmsync_simulator::zoho::Client::default();
    let address: Result<_, _> = "http://side.example".parse();
    let Ok(address) = address else { return Vec::new() };
    let oauth = OauthClient {
        accounts_url: address,
        client_id: client.id,
        client_secret: client.secret.into(),
        pinning: Pinning::Any,
    };
    let token = crm.refresh_token(
        "ZohoCRM.modules.ALL,ZohoCRM.settings.ALL,ZohoCRM.users.ALL,ZohoCRM.org.ALL",
    );
    let mut settings = zoho::Settings::new("zoho", oauth.clone(), token.into(), 7);
    settings.api_url = Some(oauth.accounts_url.clone());
    settings.http.wire = wire(crm);
    let left = Zoho::connect(settings, clock.clone());

    let crm = Arc::new(crmsync_simulator::pipedrive::Pipedrive::new(
        crmsync_simulator::pipedrive::Settings::new(face, 7),
    ));
    let token = crm.api_token();
    let mut settings = pipedrive::Settings::at("pipedrive", oauth.accounts_url, token.into(), 7);
    settings.wire = wire(crm);
    let right = Pipedrive::connect(settings, clock);
    let left = left.map(|side| (Box::new(side) as Box<dyn Connector>, "Contacts"));
    let right = right.map(|side| (Box::new(side) as Box<dyn Connector>, "persons"));
    left.into_iter().chain(right).collect()
}
