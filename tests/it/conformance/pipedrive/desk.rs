//! A simulated company and a connector that talks to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use crmsync::clock::Clock;
use crmsync::connectors::pipedrive::{Pipedrive, Settings};
use crmsync::connectors::retry::Policy;
use crmsync::connectors::{
    Connector, ConnectorError, ListRequest, Order, Page, Probe, UpdateRow, Written,
};
use crmsync_core::model::{ModuleName, RecordId, RemoteField, RemoteRecord, Value};
use crmsync_simulator::clock::Clock as ServerClock;
use crmsync_simulator::fault::Faults;
use crmsync_simulator::host::{Host, Service};
use crmsync_simulator::pipedrive as simulated;

pub(super) struct Desk {
    pub(super) server: Arc<simulated::Pipedrive>,
    pub(super) clock: ServerClock,
    pub(super) side: Pipedrive,
    _host: Host,
}

impl Desk {
    pub(super) async fn open() -> Self {
        Self::with(|_| {}, |_| {}).await
    }

    pub(super) async fn with(
        company: impl FnOnce(&mut simulated::Settings),
        adjust: impl FnOnce(&mut Settings),
    ) -> Self {
        crate::conformance::tls();
        let clock = ServerClock::standing("2026-05-15T10:00:00Z".parse().unwrap());
        let mut founded = simulated::Settings::new(clock.clone(), 7);
        company(&mut founded);
        let server = Arc::new(simulated::Pipedrive::new(founded));
        let host = Host::start(server.clone(), 0).await.unwrap();
        let mut settings =
            Settings::at("pipedrive", host.url().parse().unwrap(), server.api_token().into(), 7);
        settings.retry = Policy { first: Duration::from_millis(1), ..Policy::default() };
        settings.burst_window = Duration::from_millis(10);
        adjust(&mut settings);
        let time = clock.clone();
        let side = Pipedrive::connect(settings, Clock::new(move || time.now())).unwrap();
        Self { server, clock, side, _host: host }
    }

    pub(super) fn faults(&self) -> &Faults {
        self.server.faults()
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    pub(super) fn pass(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }

    /// All pages of a list.
    pub(super) async fn scan(
        &self,
        module: &str,
        since: Option<DateTime<Utc>>,
        fields: &[&str],
    ) -> Vec<RemoteRecord> {
        let (module, fields) = (ModuleName::from(module), names(fields));
        let order = if since.is_some() { Order::Modified } else { Order::Id };
        let (mut records, mut page) = (Vec::new(), None);
        loop {
            let (fields, page_key) = (fields.as_slice(), page.as_ref());
            let request = ListRequest { module: &module, fields, since, order, page: page_key };
            let mut read = self.side.list(&request).await.unwrap();
            assert_eq!(read.undecodable, Vec::new());
            records.append(&mut read.records);
            match read.next {
                Some(next) => page = Some(next),
                None => return records,
            }
        }
    }

    pub(super) async fn list(&self, module: &str) -> Result<Page, ConnectorError> {
        let (module, fields) = (ModuleName::from(module), [RemoteField::from("id")]);
        let (since, order, page) = (None, Order::Id, None);
        self.side.list(&ListRequest { module: &module, fields: &fields, since, order, page }).await
    }

    pub(super) async fn fetch(
        &self,
        module: &str,
        ids: &[i64],
        fields: &[&str],
    ) -> Vec<RemoteRecord> {
        let ids: Vec<_> = ids.iter().map(|id| id_of(*id)).collect();
        self.side.fetch(&module.into(), &ids, &names(fields)).await.unwrap().records
    }

    pub(super) async fn probe(&self, module: &str, id: i64) -> Probe {
        let fields = [RemoteField::from("id")];
        self.side.probe(&module.into(), &id_of(id), &fields).await.unwrap()
    }

    pub(super) async fn create(
        &self,
        module: &str,
        fields: &[(&str, Value)],
    ) -> Result<Written, ConnectorError> {
        one(self.side.create(&module.into(), &[row(fields)]).await)
    }

    /// Reads a record and changes it, as the service does.
    pub(super) async fn update(
        &self,
        module: &str,
        id: i64,
        fields: &[(&str, Value)],
    ) -> Result<Written, ConnectorError> {
        let current = self.fetch(module, &[id], &["id"]).await.remove(0);
        let change =
            UpdateRow { id: id_of(id), fields: row(fields), current, unmodified_since: None };
        one(self.side.update(&module.into(), &[change]).await)
    }

    pub(super) async fn delete(&self, module: &str, id: i64) -> Result<Written, ConnectorError> {
        one(self.side.delete(&module.into(), &[id_of(id)]).await)
    }
}

pub(super) fn one<T>(mut results: Vec<T>) -> T {
    assert_eq!(results.len(), 1, "one row, one result");
    results.remove(0)
}

pub(super) fn id_of(id: i64) -> RecordId {
    RecordId::new(id.to_string())
}

pub(super) fn names(fields: &[&str]) -> Vec<RemoteField> {
    fields.iter().map(|field| RemoteField::from(*field)).collect()
}

pub(super) fn row(fields: &[(&str, Value)]) -> BTreeMap<RemoteField, Value> {
    fields.iter().map(|(name, value)| (RemoteField::from(*name), value.clone())).collect()
}

pub(super) fn number(text: &str) -> Value {
    Value::number(text.parse().unwrap())
}

pub(super) fn ids(records: &[RemoteRecord]) -> Vec<&str> {
    records.iter().map(|record| record.id.as_str()).collect()
}

pub(super) fn value<'a>(record: &'a RemoteRecord, field: &str) -> Option<&'a Value> {
    record.fields.get(field)
}
