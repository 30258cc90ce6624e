//! Zoho CRM against its simulator.

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
use crmsync_core::model::row::Evidence;
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

#[tokio::test]
async fn given_missing_statuses_when_created_then_no_row_is_given_anothers_id() {
    let world = ZohoWorld::start().await;
    let rows = ["Ada", "Bea", "Cid"].map(|name| one("Last_Name", name));
    world.faults().on_next("POST /crm/v8/Contacts", Fault::StatusesMissing { kept: 2 });

    let outcomes = world.connector.create(&"Contacts".into(), &rows).await;

    let doubts = outcomes.iter().map(|row| row.as_ref().map_err(|error| error.recovery()).err());
    assert_eq!(doubts.collect::<Vec<_>>(), [Some(Recovery::Reread); 3]);
    assert_eq!(world.names(), ["Ada", "Bea", "Cid"]);
}

#[tokio::test]
async fn given_missing_statuses_when_updated_then_each_row_told_of_is_settled() {
    let world = ZohoWorld::start().await;
    let ids = ["Ada", "Bea"].map(|name| world.add(name));
    let mut rows = Vec::new();
    for id in &ids {
        let current = world.fetch("Contacts", id, &["Last_Name"]).await;
        let fields = one("Department", "Sales");
        rows.push(UpdateRow { id: id.clone(), fields, current, unmodified_since: None });
    }
    world.faults().on_next("PUT /crm/v8/Contacts", Fault::StatusesMissing { kept: 1 });

    let outcomes = world.connector.update(&"Contacts".into(), &rows).await;

    assert_eq!(outcomes[0].as_ref().unwrap().id, ids[0]);
    assert_eq!(outcomes[1].as_ref().unwrap_err().recovery(), Recovery::Reread);
}

#[tokio::test]
async fn given_more_fields_than_a_call_may_name_when_listed_then_all_are_there() {
    let world = ZohoWorld::start().await;
    let names: Vec<String> = (0..60).map(|n| format!("Extra_{n}")).collect();
    for name in &names {
        world.server.add_field("Contacts", Field::new(name, FieldType::Text));
    }
    for person in ["Ada", "Bea", "Cid"] {
        let id = world.add(person);
        let values = names.iter().map(|name| (name.clone(), json!(format!("{person} {name}"))));
        world.server.edit("Contacts", number(&id), Json::Object(values.collect()));
    }
    let fields: Vec<RemoteField> = names.iter().map(|name| name.as_str().into()).collect();
    let module = ModuleName::from("Contacts");

    let (mut records, mut key) = (Vec::new(), None);
    loop {
        let request = ListRequest {
            module: &module,
            fields: &fields,
            since: None,
            order: Order::Id,
            page: key.as_ref(),
        };
        let page = world.connector.list(&request).await.unwrap();
        assert!(page.undecodable.is_empty());
        records.extend(page.records);
        key = page.next;
        if key.is_none() {
            break;
        }
    }

    assert_eq!(records.len(), 3);
    for (record, person) in records.iter().zip(["Ada", "Bea", "Cid"]) {
        assert_eq!(record.fields.len(), 60);
        assert_eq!(record.fields["Extra_59"], format!("{person} Extra_59").as_str().into());
    }
}

#[tokio::test]
async fn given_an_old_page_key_when_listed_then_the_scan_must_start_again() {
    let world = ZohoWorld::start().await;
    for name in ["Ada", "Bea", "Cid"] {
        world.add(name);
    }
    let first = world.list("Contacts", &["Last_Name"], None).await;
    world.clock.advance(TimeDelta::hours(25));

    let (module, fields) = (ModuleName::from("Contacts"), remote(&["Last_Name"]));
    let page = first.next.as_ref();
    let request =
        ListRequest { module: &module, fields: &fields, since: None, order: Order::Id, page };
    let error = world.connector.list(&request).await.unwrap_err();

    assert_eq!(error.kind, ErrorKind::PageExpired);
}

#[tokio::test]
async fn given_an_expired_token_when_many_call_then_it_is_renewed_once_and_nobody_notices() {
    let world = ZohoWorld::start().await;
    world.add("Ada");
    world.list("Contacts", &["Last_Name"], None).await;
    world.server.expire_access_tokens();

    let lists = (0..8).map(|_| world.list("Contacts", &["Last_Name"], None));
    let pages = futures_util::future::join_all(lists).await;

    assert!(pages.iter().all(|page| page.records.len() == 1));
    assert_eq!(world.token_calls(), 2);
}

#[tokio::test]
async fn given_a_revoked_grant_when_called_then_a_person_must_sign_in_again() {
    let world = ZohoWorld::start().await;
    world.server.revoke_all();

    let error = world.connector.account().await.unwrap_err();

    assert_eq!(error.recovery(), Recovery::Reauthorize);
    assert!(error.to_string().contains("invalid_code"), "{error}");
    assert_eq!(world.token_calls(), 1);
}

#[tokio::test]
async fn given_too_many_renewals_when_called_then_it_waits_and_does_not_hammer() {
    let world = ZohoWorld::start().await;
    let token = world.server.refresh_token(ALL);
    for _ in 0..10 {
        world.connect(&token).account().await.unwrap();
    }
    let before = world.token_calls();

    let error = world.connect(&token).account().await.unwrap_err();

    assert!(matches!(error.recovery(), Recovery::Wait(Some(_))), "{error}");
    assert_eq!(world.token_calls(), before + 1);
}

#[tokio::test]
async fn given_a_missing_scope_when_called_then_the_error_names_it() {
    let world = ZohoWorld::start().await;
    let narrow = world.server.refresh_token("ZohoCRM.settings.ALL,ZohoCRM.modules.deals.ALL");
    let connector = world.connect(&narrow);

    let error = connector.fetch(&"Contacts".into(), &["1".into()], &[]).await.unwrap_err();

    assert_eq!(error.kind, ErrorKind::ScopeMissing("ZohoCRM.modules.contacts.READ".into()));
}

#[tokio::test]
async fn given_a_grant_code_when_exchanged_twice_then_only_the_first_time_works() {
    let world = ZohoWorld::start().await;
    let scopes = scopes_for(&["Contacts".into()]).join(",");
    let code = world.server.grant_code(&scopes).into();
    let http: HttpSettings = settings(&world.host, "").http;
    let client = settings(&world.host, "").oauth;

    let clock = our_clock(&world.clock);
    let grant = exchange_grant_code(http.clone(), clock.clone(), &client, &code, None).await;
    let again = exchange_grant_code(http, clock, &client, &code, None).await;

    let grant = grant.unwrap();
    assert!(grant.scopes.contains(&"ZohoCRM.modules.contacts.ALL".to_owned()));
    assert_eq!(grant.api_domain, Some(world.host.url().parse().unwrap()));
    assert_eq!(again.unwrap_err().recovery(), Recovery::Reauthorize);
}

#[tokio::test]
async fn given_hosts_that_are_not_zohos_when_pinned_then_nothing_is_sent() {
    let world = ZohoWorld::start().await;
    let mut settings = settings(&world.host, "secret");
    settings.oauth.pinning = Pinning::Vendor;

    let error = Zoho::connect(settings, our_clock(&world.clock)).err().unwrap();

    assert_eq!(error.recovery(), Recovery::Stop);
    assert_eq!(world.traffic().calls(), 0);
}

#[tokio::test]
async fn given_no_credits_left_when_called_then_the_side_pauses_at_once() {
    let world = ZohoWorld::start().await;
    world.connector.describe(&"Contacts".into()).await.unwrap();
    world.server.set_limits(Limits::Credits(0));
    let before = world.traffic().calls();

    let outcomes = world.connector.create(&"Contacts".into(), &[one("Last_Name", "Ada")]).await;

    assert_eq!(outcomes[0].as_ref().unwrap_err().recovery(), Recovery::Pause);
    assert_eq!(world.traffic().calls(), before + 1);
}

#[tokio::test]
async fn given_our_share_of_the_credits_when_used_up_then_nothing_more_is_sent() {
    let world = ZohoWorld::with(|settings| {
        settings.credits = Some(20);
        settings.share_percent = 10;
    })
    .await;
    world.list("Contacts", &["Last_Name"], None).await;
    let before = world.traffic().calls();

    let error = world.connector.account().await.unwrap_err();

    assert_eq!(error.recovery(), Recovery::Pause);
    assert_eq!(world.traffic().calls(), before);
}

#[tokio::test]
async fn given_long_rich_text_when_listed_then_it_is_left_for_a_read_that_gets_it_whole() {
    let world = ZohoWorld::start().await;
    world.server.add_field("Contacts", Field::new("Story", FieldType::RichText));
    for length in [499, 500, 900] {
        let story = "x".repeat(length);
        world.server.add("Contacts", json!({ "Last_Name": "Ada", "Story": story }));
    }

    let page = world.list("Contacts", &["Story"], None).await;

    assert_eq!(page.records[0].fields["Story"], "x".repeat(499).as_str().into());
    assert_eq!(page.undecodable[0].reason, "cut text in `Story`");
    for row in world.server.all("Contacts") {
        let id = RecordId::new(row["id"].as_str().unwrap());
        let record = world.fetch("Contacts", &id, &["Story"]).await;
        assert_eq!(record.fields["Story"], row["Story"].as_str().unwrap().into());
    }
}

#[tokio::test]
async fn given_a_converted_lead_when_read_then_it_is_gone_and_known_by_its_contact() {
    let world = ZohoWorld::start().await;
    let lead = world.server.add("Leads", json!({ "Last_Name": "Ada", "Company": "Acme" }));
    let start = world.clock.now();
    world.wait(60);
    let body = json!({ "data": [{}] });
    let answer = world.post(&format!("/crm/v8/Leads/{lead}/actions/convert"), &body);
    let contact = answer["data"][0]["details"]["Contacts"]["id"].as_str().unwrap().to_owned();

    let whole = world.list("Leads", &["Last_Name"], None).await;
    let delta = world.list("Leads", &["Last_Name"], Some(start)).await;
    let probe = world.connector.probe(&"Leads".into(), &text(lead), &[]).await.unwrap();

    assert!(whole.records.is_empty() && whole.undecodable.is_empty());
    assert_eq!(delta.undecodable[0].reason, "converted");
    let Probe::Deleted { converted_to, .. } = probe else { panic!("{probe:?}") };
    assert_eq!(converted_to, Some(RecordId::new(contact)));
}

#[tokio::test]
async fn given_a_task_when_written_and_read_then_its_record_is_seen_under_its_own_module() {
    let world = ZohoWorld::start().await;
    let deal =
        text(world.server.add("Deals", json!({ "Deal_Name": "Big", "Stage": "Qualification" })));
    let mut row = one("Subject", "Call back");
    row.insert("What_Id.Deals".into(), Value::Reference(deal.clone()));
    row.insert("What_Id.Accounts".into(), Value::Empty);

    let task = world.connector.create(&"Tasks".into(), &[row]).await.remove(0).unwrap().id;

    let fields = ["Subject", "What_Id.Deals", "What_Id.Accounts"];
    let read = world.fetch("Tasks", &task, &fields).await;
    assert_eq!(read.fields["What_Id.Deals"], Value::Reference(deal));
    assert_eq!(read.fields["What_Id.Accounts"], Value::Empty);
    let fields = one("What_Id.Deals", Value::Empty);
    let row = UpdateRow { id: task.clone(), fields, current: read, unmodified_since: None };
    world.connector.update(&"Tasks".into(), &[row]).await.remove(0).unwrap();
    let read = world.fetch("Tasks", &task, &["What_Id.Deals"]).await;
    assert_eq!(read.fields["What_Id.Deals"], Value::Empty);
}

#[tokio::test]
async fn given_a_note_when_written_and_listed_then_it_hangs_on_its_contact() {
    let world = ZohoWorld::start().await;
    let contact = world.add("Ada");
    let mut row = one("Note_Content", "Likes tea");
    row.insert("Parent_Id.Contacts".into(), Value::Reference(contact.clone()));

    world.connector.create(&"Notes".into(), &[row]).await.remove(0).unwrap();

    let fields = ["Note_Content", "Parent_Id.Contacts", "Parent_Id.Deals"];
    let page = world.list("Notes", &fields, None).await;
    assert_eq!(page.records[0].fields["Note_Content"], "Likes tea".into());
    assert_eq!(page.records[0].fields["Parent_Id.Contacts"], Value::Reference(contact));
    assert_eq!(page.records[0].fields["Parent_Id.Deals"], Value::Empty);
}

#[tokio::test]
async fn given_no_right_to_a_module_when_read_then_it_is_forbidden_and_not_empty() {
    let world = ZohoWorld::start().await;
    let id = world.add("Ada");
    let module = ModuleName::from("Contacts");
    world.connector.describe(&module).await.unwrap();
    world.server.set_access("Contacts", Access::Forbidden);

    let probe = world.connector.probe(&module, &id, &[]).await.unwrap();
    let fetch = world.connector.fetch(&module, &[id], &[]).await.unwrap_err();

    assert_eq!(probe, Probe::Forbidden);
    assert_eq!(fetch.recovery(), Recovery::Quarantine);
}

#[tokio::test]
async fn given_a_locked_record_when_updated_then_it_is_locked_and_others_flow() {
    let world = ZohoWorld::start().await;
    let (locked, free) = (world.add("Ada"), world.add("Bea"));
    let mut rows = Vec::new();
    for id in [&locked, &free] {
        let current = world.fetch("Contacts", id, &["Last_Name"]).await;
        let fields = one("Department", "Sales");
        rows.push(UpdateRow { id: id.clone(), fields, current, unmodified_since: None });
    }
    world.server.lock("Contacts", number(&locked));

    let outcomes = world.connector.update(&"Contacts".into(), &rows).await;

    assert!(matches!(outcomes[0].as_ref().unwrap_err().kind, ErrorKind::Locked(_)));
    assert!(outcomes[1].is_ok());
}

#[tokio::test]
async fn given_a_refused_value_when_created_then_the_error_names_the_field_and_not_the_value() {
    let world = ZohoWorld::start().await;
    let mut row = one("Last_Name", "Ada");
    row.insert("Email".into(), "secret at nowhere".into());

    let error = world.connector.create(&"Contacts".into(), &[row]).await.remove(0).unwrap_err();

    let ErrorKind::Invalid { field, .. } = &error.kind else { panic!("{error}") };
    assert_eq!(field, "Email");
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn given_a_deleted_record_when_restored_then_it_is_present_under_its_id() {
    let world = ZohoWorld::start().await;
    let id = world.add("Ada");
    world.delete(&id);
    let module = ModuleName::from("Contacts");

    let restored = world.connector.restore(&module, &id).await.unwrap();

    assert_eq!(restored.id, id);
    let probe = world.connector.probe(&module, &id, &remote(&["Last_Name"])).await.unwrap();
    assert!(matches!(probe, Probe::Present(_)), "{probe:?}");
}

#[tokio::test]
async fn given_the_external_id_field_when_installed_twice_then_it_is_there_once_and_unique() {
    let world = ZohoWorld::start().await;
    let module = ModuleName::from("Deals");

    let first = world.connector.install_external_id(&module, "Pipedrive ID").await.unwrap();
    let second = world.connector.install_external_id(&module, "Pipedrive ID").await.unwrap();

    assert_eq!((first.as_str(), &first), ("Pipedrive_ID", &second));
    let schema = world.connector.describe(&module).await.unwrap();
    let fields: Vec<_> = schema.fields.iter().filter(|field| field.name == first).collect();
    assert_eq!(fields.len(), 1);
    assert!(fields[0].unique && fields[0].custom && fields[0].writable_on_create);
}

#[tokio::test]
async fn given_metadata_when_described_then_kinds_options_and_targets_are_told() {
    let world = ZohoWorld::start().await;

    let deals = world.connector.describe(&"Deals".into()).await.unwrap();
    let notes = world.connector.describe(&"Notes".into()).await.unwrap();

    let field = |name: &str| deals.fields.iter().find(|field| field.name.as_str() == name).unwrap();
    assert_eq!(field("Amount").kind, FieldKind::Money);
    assert_eq!(field("Account_Name").target, Some("Accounts".into()));
    assert!(field("Deal_Name").required && !field("Deal_Name").unique);
    assert!(!field("Expected_Revenue").writable_on_update);
    let stages: Vec<_> =
        field("Stage").options.iter().map(|option| option.label.as_str()).collect();
    assert!(stages.contains(&"Closed Won") && !stages.contains(&"-None-"), "{stages:?}");
    let parent = notes.fields.iter().find(|field| field.name.as_str() == "Parent_Id.Contacts");
    let parent = parent.unwrap();
    assert!(parent.writable_on_create && !parent.writable_on_update);
}

#[tokio::test]
async fn given_a_field_added_meanwhile_when_metadata_is_forgotten_then_it_shows() {
    let world = ZohoWorld::start().await;
    let module = ModuleName::from("Deals");
    let knows = async || {
        let schema = world.connector.describe(&module).await.unwrap();
        schema.fields.iter().any(|field| field.name.as_str() == "Fresh")
    };
    assert!(!knows().await);
    world.server.add_field("Deals", Field::new("Fresh", FieldType::Text));

    assert!(!knows().await);

    world.connector.forget_metadata();
    assert!(knows().await);
}

#[tokio::test]
async fn given_the_organization_when_asked_then_people_recognize_it() {
    let world = ZohoWorld::start().await;

    let account = world.connector.account().await.unwrap();
    let modules = world.connector.modules().await.unwrap();
    let users = world.connector.users().await.unwrap();

    assert_eq!(account.organization, "Example GmbH");
    assert_eq!((account.plan.as_str(), account.currency.as_deref()), ("enterprise", Some("EUR")));
    assert_eq!(account.time_zone, Some(chrono_tz::Europe::Berlin));
    assert!(account.warnings.is_empty(), "{:?}", account.warnings);
    assert!(modules.iter().any(|(name, _)| name.as_str() == "Contacts"));
    assert!(users.iter().any(|user| user.active && account.user.contains(&user.email)));
}

#[tokio::test]
async fn given_a_field_edit_when_history_is_asked_then_its_own_time_is_told() {
    let world = ZohoWorld::start().await;
    let id = world.add("Ada");
    world.wait(60);
    world.server.edit("Contacts", number(&id), json!({ "Department": "Sales" }));
    let edited_at = world.clock.now();
    world.wait(60);
    world.edit(&id, "Adele");

    let field = "Department".into();
    let history = world.connector.field_changed_at(&"Contacts".into(), &id, &field).await.unwrap();

    assert_eq!(history, (Some(edited_at), Evidence::FieldHistory));
}

#[tokio::test]
async fn given_a_record_when_linked_to_then_the_address_is_the_configured_one() {
    let world = ZohoWorld::with(|settings| {
        settings.record_url = Some("https://crm.example/{tab}/{id}".into());
    })
    .await;

    let url = world.connector.record_url(&"Deals".into(), &"17".into());

    assert_eq!(url.as_deref(), Some("https://crm.example/Potentials/17"));
}
