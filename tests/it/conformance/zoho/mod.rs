//! Zoho CRM against its simulator.

mod access;
mod describing;
mod posting;
mod reading;
mod writing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use crmsync::clock::Clock;
use crmsync::connectors::http::HttpSettings;
use crmsync::connectors::retry::Policy;
use crmsync::connectors::zoho::{
    OauthClient, Pinning, Settings, Zoho, exchange_grant_code, scopes_for,
};
use crmsync::connectors::{
    Connector, ErrorKind, ListRequest, Order, Page, Probe, Recovery, UpdateRow,
};
use crmsync_core::model::schema::FieldKind;
use crmsync_core::model::{ModuleName, RecordId, RemoteField, RemoteRecord, Value};
use crmsync_simulator::clock::Clock as ServerClock;
use crmsync_simulator::fault::{Fault, Faults};
use crmsync_simulator::host::{Call, Host, Service};
use crmsync_simulator::traffic::Traffic;
use crmsync_simulator::zoho::{self as simulator, Access, Field, FieldType, Limits};
use serde_json::{Value as Json, json};

use super::{World, conformance, tls};

const ALL: &str = "ZohoCRM.modules.ALL,ZohoCRM.settings.ALL,ZohoCRM.users.ALL,ZohoCRM.org.ALL";

struct ZohoWorld {
    server: Arc<simulator::Zoho>,
    clock: ServerClock,
    host: Host,
    connector: Zoho,
}

impl ZohoWorld {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        tls();
        let clock = ServerClock::standing("2026-03-02T09:00:00Z".parse().unwrap());
        let server = Arc::new(simulator::Zoho::new(simulator::Settings::new(clock.clone(), 7)));
        server.add_field("Contacts", Field::new("Remote_ID", FieldType::Text).with_unique());
        let service: Arc<dyn Service> = server.clone();
        let host = Host::start(service, 0).await.unwrap();
        let mut settings = settings(&host, &server.refresh_token(ALL));
        change(&mut settings);
        let connector = Zoho::connect(settings, our_clock(&clock)).unwrap();
        Self { server, clock, host, connector }
    }

    /// A second connection to the same server.
    fn connect(&self, refresh_token: &str) -> Zoho {
        Zoho::connect(settings(&self.host, refresh_token), our_clock(&self.clock)).unwrap()
    }

    async fn list(&self, module: &str, fields: &[&str], since: Option<DateTime<Utc>>) -> Page {
        let (module, fields) = (ModuleName::from(module), remote(fields));
        let request =
            ListRequest { module: &module, fields: &fields, since, order: Order::Id, page: None };
        self.connector.list(&request).await.unwrap()
    }

    async fn fetch(&self, module: &str, id: &RecordId, fields: &[&str]) -> RemoteRecord {
        let fields = remote(fields);
        let page = self.connector.fetch(&module.into(), std::slice::from_ref(id), &fields).await;
        page.unwrap().records.remove(0)
    }

    /// A call as another program makes it.
    fn post(&self, path: &str, body: &Json) -> Json {
        let mut headers = http::HeaderMap::new();
        let token = format!("Zoho-oauthtoken {}", self.server.access_token(ALL));
        headers.insert("authorization", token.parse().unwrap());
        let call = Call {
            method: "POST".into(),
            path: path.into(),
            query: Vec::new(),
            headers,
            body: body.to_string().into(),
            origin: self.host.url(),
            fault: None,
        };
        serde_json::from_slice(&self.server.answer(&call).body).unwrap()
    }

    fn token_calls(&self) -> usize {
        let entries = self.server.traffic().entries();
        entries.iter().filter(|entry| entry.path == "/oauth/v2/token").count()
    }
}

fn settings(host: &Host, refresh_token: &str) -> Settings {
    let registered = simulator::Client::default();
    let oauth = OauthClient {
        accounts_url: host.url().parse().unwrap(),
        client_id: registered.id,
        client_secret: registered.secret.into(),
        pinning: Pinning::Any,
    };
    let mut settings = Settings::new("zoho", oauth, refresh_token.to_owned().into(), 7);
    settings.http.retry = Policy {
        first: Duration::from_millis(1),
        longest: Duration::from_millis(4),
        max_elapsed: Duration::from_secs(5),
        ..Policy::default()
    };
    settings.http.read_timeout = Duration::from_secs(2);
    settings.http.max_answer = 1 << 20;
    settings.page_rows = 2;
    settings
}

fn our_clock(clock: &ServerClock) -> Clock {
    let clock = clock.clone();
    Clock::new(move || clock.now())
}

fn remote(fields: &[&str]) -> Vec<RemoteField> {
    fields.iter().map(|field| (*field).into()).collect()
}

fn text(id: u64) -> RecordId {
    RecordId::new(id.to_string())
}

fn number(id: &RecordId) -> u64 {
    id.as_str().parse().unwrap()
}

fn one(field: &str, value: impl Into<Value>) -> BTreeMap<RemoteField, Value> {
    BTreeMap::from([(field.into(), value.into())])
}

impl World for ZohoWorld {
    fn connector(&self) -> &dyn Connector {
        &self.connector
    }

    fn module(&self) -> ModuleName {
        "Contacts".into()
    }

    fn name(&self) -> RemoteField {
        "Last_Name".into()
    }

    fn note(&self) -> RemoteField {
        "Department".into()
    }

    fn external_id(&self) -> RemoteField {
        "Remote_ID".into()
    }

    fn add(&self, name: &str) -> RecordId {
        let id = text(self.server.add("Contacts", json!({ "Last_Name": name })));
        self.wait(1);
        id
    }

    fn edit(&self, id: &RecordId, name: &str) {
        self.server.edit("Contacts", number(id), json!({ "Last_Name": name }));
    }

    fn delete(&self, id: &RecordId) {
        assert!(self.server.delete("Contacts", number(id)));
    }

    fn names(&self) -> Vec<String> {
        let all = self.server.all("Contacts").into_iter();
        let mut names: Vec<_> =
            all.map(|row| row["Last_Name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    fn wait(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }

    fn faults(&self) -> &Faults {
        self.server.faults()
    }

    fn traffic(&self) -> &Traffic {
        self.server.traffic()
    }

    fn list_call(&self) -> String {
        "GET /crm/v8/Contacts".into()
    }

    fn create_call(&self) -> String {
        "POST /crm/v8/Contacts".into()
    }

    fn update_call(&self) -> String {
        "PUT /crm/v8/Contacts".into()
    }
}

conformance!(ZohoWorld::start);
