//! Lists, ids, probes, deletions, metadata.

use chrono::{NaiveDate, TimeDelta};
use crmsync::connectors::{Connector, Probe};
use crmsync_core::model::Value;
use crmsync_core::model::schema::FieldKind;
use crmsync_simulator::host::Service;
use serde_json::json;

use super::desk::{Desk, id_of, ids, number, value};

const MODULES: [&str; 7] =
    ["organizations", "persons", "products", "deals", "leads", "activities", "notes"];

#[tokio::test]
async fn given_an_account_when_read_then_it_names_user_company_and_zone() {
    let desk = Desk::open().await;

    let account = desk.side.account().await.unwrap();

    assert_eq!(account.organization, "Acme Sales");
    assert_eq!(account.time_zone, Some(chrono_tz::Europe::Tallinn));
    assert_eq!(account.currency.as_deref(), Some("EUR"));
    assert_eq!(account.warnings, Vec::<String>::new());
}

#[tokio::test]
async fn given_a_user_without_all_rights_when_read_then_the_account_warns() {
    let desk = Desk::open().await;
    desk.server.set_admin(desk.server.owner(), false);

    let account = desk.side.account().await.unwrap();

    assert!(account.warnings.iter().any(|warning| warning.contains("not an admin")));
}

#[tokio::test]
async fn given_users_when_listed_then_deactivated_ones_are_among_them() {
    let desk = Desk::open().await;
    let gone = desk.server.add_user("Gone", "gone@x.example", "Europe/Berlin");
    desk.server.deactivate_user(gone);

    let users = desk.side.users().await.unwrap();

    let user = users.iter().find(|user| user.email == "gone@x.example").unwrap();
    assert!(!user.active && users.len() == 2);
}

#[tokio::test]
async fn given_every_module_when_described_then_fields_are_unique_and_custom_ones_carry_their_label()
 {
    let desk = Desk::open().await;
    let tier = desk.server.add_field("persons", "Tier", "enum", &["Gold", "Silver"]);
    let budget = desk.server.add_field("deals", "Budget", "monetary", &[]);

    for module in MODULES {
        let schema = desk.side.describe(&module.into()).await.unwrap();
        let mut names: Vec<_> = schema.fields.iter().map(|field| field.name.as_str()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{module}");
    }
    let persons = desk.side.describe(&"persons".into()).await.unwrap();
    let field = persons.fields.iter().find(|field| field.name.as_str() == tier).unwrap();
    assert_eq!((field.label.as_str(), field.kind, field.custom), ("Tier", FieldKind::Option, true));
    assert_eq!(
        field.options.iter().map(|o| o.label.as_str()).collect::<Vec<_>>(),
        ["Gold", "Silver"]
    );
    let deals = desk.side.describe(&"deals".into()).await.unwrap();
    let field =
        deals.fields.iter().find(|field| field.name.as_str() == format!("{budget}.value")).unwrap();
    assert_eq!((field.label.as_str(), field.kind), ("Budget", FieldKind::Money));
    let stage = deals.fields.iter().find(|field| field.name.as_str() == "stage_id").unwrap();
    assert!(stage.options.iter().all(|option| option.parent.is_some()) && stage.options.len() == 5);
}

#[tokio::test]
async fn given_a_description_when_asked_again_then_it_costs_nothing_until_its_lifetime_ends() {
    let desk = Desk::open().await;
    let persons = "persons".into();
    desk.side.describe(&persons).await.unwrap();
    let calls = desk.server.traffic().calls();

    desk.side.describe(&persons).await.unwrap();
    let again = desk.server.traffic().calls();
    desk.pass(3_601);
    desk.side.describe(&persons).await.unwrap();

    assert_eq!(again, calls);
    assert!(desk.server.traffic().calls() > calls);
}

#[tokio::test]
async fn given_a_remembered_description_when_polled_then_one_call_is_made() {
    let teacher = Desk::open().await;
    teacher.side.describe(&"deals".into()).await.unwrap();
    let desk = Desk::open().await;

    desk.side.memory().unwrap().restore(teacher.side.memory().unwrap().dump().unwrap());
    desk.scan("deals", Some(desk.now()), &["title"]).await;

    assert_eq!(desk.server.traffic().calls(), 1);
    assert_eq!(desk.server.traffic().cost(), desk.side.spent().units);
}

#[tokio::test]
async fn given_records_of_each_kind_when_read_then_their_values_are_canonical() {
    let desk = Desk::open().await;
    let budget = desk.server.add_field("deals", "Budget", "monetary", &[]);
    let tags = desk.server.add_field("deals", "Tags", "set", &["A", "B"]);
    let org = desk.server.add(
        "organizations",
        json!({ "name": "Acme",
        "address": { "value": "Main St 1", "locality": "Tallinn" } }),
    );
    let person = desk.server.add(
        "persons",
        json!({ "name": "Ada Byron", "org_id": org,
        "emails": [{ "value": "b@x.example" }, { "value": "a@x.example", "primary": true }],
        "phones": [{ "value": "+372 555 0100", "label": "mobile" }] }),
    );
    let deal = desk.server.add(
        "deals",
        json!({ "title": "Pilot", "value": 299.99, "currency": "EUR",
        "person_id": person, "expected_close_date": "2026-12-31",
        "custom_fields": { "Budget": { "value": 12.5, "currency": "USD" } } }),
    );
    let activity = desk.server.add("activities", json!({ "subject": "Call", "type": "call", "deal_id": deal,
        "due_date": "2026-05-20", "due_time": "10:00", "participants": [{ "person_id": person, "primary": true }] }));
    let note = desk.server.add("notes", json!({ "content": "<p>Hello</p>", "deal_id": deal }));

    let org_read = desk
        .fetch("organizations", &[org], &["name", "address", "address.locality", "address.route"])
        .await
        .remove(0);
    let person_read = desk
        .fetch(
            "persons",
            &[person],
            &["emails", "phones[mobile]", "phones[work]", "org_id", "last_name"],
        )
        .await
        .remove(0);
    let budget_value = format!("{budget}.value");
    let fields =
        ["value", "expected_close_date", "status", "person_id", &budget_value, &tags, "add_time"];
    let deal_read = desk.fetch("deals", &[deal], &fields).await.remove(0);
    let activity_read = desk
        .fetch("activities", &[activity], &["person_id", "due_date", "due_time", "done", "type"])
        .await
        .remove(0);
    let note_read =
        desk.fetch("notes", &[note], &["content", "deal_id", "user_id"]).await.remove(0);

    let cases = [
        (&org_read, "address", Value::from("Main St 1")),
        (&org_read, "address.locality", Value::from("Tallinn")),
        (&org_read, "address.route", Value::Empty),
        (&person_read, "emails", Value::list(["a@x.example".to_owned(), "b@x.example".to_owned()])),
        (&person_read, "phones[mobile]", Value::from("+372 555 0100")),
        (&person_read, "phones[work]", Value::Empty),
        (&person_read, "org_id", Value::Reference(id_of(org))),
        (&person_read, "last_name", Value::from("Byron")),
        (&deal_read, "value", number("299.99")),
        (
            &deal_read,
            "expected_close_date",
            Value::Date(NaiveDate::from_ymd_opt(2026, 12, 31).unwrap()),
        ),
        (&deal_read, "status", Value::from("open")),
        (&deal_read, "person_id", Value::Reference(id_of(person))),
        (&deal_read, budget_value.as_str(), number("12.5")),
        (&deal_read, tags.as_str(), Value::Empty),
        (&deal_read, "add_time", Value::timestamp(desk.now())),
        (&activity_read, "person_id", Value::Reference(id_of(person))),
        (&activity_read, "due_time", Value::from("10:00:00")),
        (&activity_read, "done", Value::Bool(false)),
        (&activity_read, "type", Value::from("call")),
        (&note_read, "content", Value::from("<p>Hello</p>")),
        (&note_read, "deal_id", Value::Reference(id_of(deal))),
        (&note_read, "user_id", Value::from(desk.server.owner().to_string().as_str())),
    ];
    for (record, field, expected) in cases {
        assert_eq!(value(record, field), Some(&expected), "{field}");
        assert!(record.raw.is_some(), "{field}");
    }
}

#[tokio::test]
async fn given_a_custom_field_that_is_gone_when_read_then_it_is_absent_and_not_empty() {
    let desk = Desk::open().await;
    let code = desk.server.add_field("persons", "Tier", "varchar", &[]);
    desk.server.add("persons", json!({ "name": "Ada", "custom_fields": { "Tier": "Gold" } }));
    desk.side.describe(&"persons".into()).await.unwrap();

    desk.server.delete_field("persons", &code);
    let persons = desk.scan("persons", None, &["name", &code]).await;

    assert_eq!(value(&persons[0], "name"), Some(&Value::from("Ada")));
    assert_eq!(value(&persons[0], &code), None);
}

#[tokio::test]
async fn given_more_records_than_a_page_when_scanned_then_each_comes_once_in_every_module() {
    let desk = Desk::open().await;
    let org = desk.server.add("organizations", json!({ "name": "Acme" }));
    let names = (0..1_203).map(|n| json!({ "name": format!("Person {n}") }));
    desk.server.add_many("persons", names);
    let notes = (0..1_203).map(|n| json!({ "content": format!("Note {n}"), "org_id": org }));
    desk.server.add_many("notes", notes);

    for module in ["persons", "notes"] {
        let records = desk.scan(module, None, &["id"]).await;
        let mut seen = ids(&records);
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 1_203, "{module}");
    }
}

#[tokio::test]
async fn given_a_time_when_listed_then_only_what_changed_since_comes() {
    let desk = Desk::open().await;
    let org = desk.server.add("organizations", json!({ "name": "Acme" }));
    let ada = desk.server.add("persons", json!({ "name": "Ada", "org_id": org }));
    desk.server.add("persons", json!({ "name": "Bob" }));
    let lead = desk.server.add("leads", json!({ "title": "Old", "person_id": ada }));
    desk.server.add("notes", json!({ "content": "Old", "person_id": ada }));
    desk.pass(600);
    let since = desk.now();
    desk.server.edit("persons", ada, json!({ "name": "Ada Byron" }));
    desk.server.edit("leads", lead, json!({ "title": "New" }));
    let note = desk.server.add("notes", json!({ "content": "New", "person_id": ada }));

    let persons = desk.scan("persons", Some(since), &["name"]).await;
    let leads = desk.scan("leads", Some(since), &["title"]).await;
    let notes = desk.scan("notes", Some(since), &["content"]).await;

    assert_eq!(ids(&persons), [ada.to_string()]);
    assert_eq!(value(&leads[0], "title"), Some(&Value::from("New")));
    assert_eq!((leads.len(), ids(&notes)), (1, vec![note.to_string().as_str()]));
    assert_eq!(persons[0].modified_at, Some(since));
}

#[tokio::test]
async fn given_an_idle_poll_when_made_then_each_module_costs_one_list_call() {
    let desk = Desk::open().await;
    for module in MODULES {
        desk.side.describe(&module.into()).await.unwrap();
        desk.server.traffic().reset();

        desk.scan(module, Some(desk.now() - TimeDelta::minutes(5)), &["id"]).await;

        assert_eq!(desk.server.traffic().calls(), 1, "{module}");
    }
}

#[tokio::test]
async fn given_an_archived_deal_when_read_then_it_is_alive_and_marked() {
    let desk = Desk::open().await;
    let open = desk.server.add("deals", json!({ "title": "Open" }));
    let archived = desk.server.add("deals", json!({ "title": "Archived" }));
    desk.server.archive("deals", archived);

    let scanned = desk.scan("deals", None, &["title"]).await;
    let fetched = desk.fetch("deals", &[open, archived], &["title"]).await;
    let alone = desk.fetch("deals", &[archived], &["title"]).await;
    let probed = desk.probe("deals", archived).await;

    for (name, records) in [("scan", &scanned), ("fetch", &fetched)] {
        let marks: Vec<_> =
            records.iter().map(|record| (record.id.as_str(), record.archived)).collect();
        assert_eq!(
            marks,
            [(open.to_string().as_str(), false), (archived.to_string().as_str(), true)],
            "{name}"
        );
    }
    assert!(alone[0].archived);
    assert!(matches!(probed, Probe::Present(record) if record.archived));
}

#[tokio::test]
async fn given_a_deleted_record_when_probed_then_the_flag_proves_it_and_absence_does_not() {
    let desk = Desk::open().await;
    let org = desk.server.add("organizations", json!({ "name": "Acme" }));
    let cases = [
        ("persons", json!({ "name": "Ada" })),
        ("deals", json!({ "title": "Pilot" })),
        ("products", json!({ "name": "Seat" })),
        ("activities", json!({ "subject": "Call" })),
        ("notes", json!({ "content": "Hello", "org_id": org })),
    ];

    for (module, record) in cases {
        let id = desk.server.add(module, record);
        assert!(matches!(desk.probe(module, id).await, Probe::Present(_)), "{module}");

        desk.server.delete(module, id);

        let probed = desk.probe(module, id).await;
        assert!(matches!(probed, Probe::Deleted { at: Some(_), .. }), "{module}: {probed:?}");
        assert_eq!(desk.probe(module, id + 1_000).await, Probe::NotFound, "{module}");
        assert_eq!(desk.fetch(module, &[id], &["id"]).await, Vec::new(), "{module}");
    }
}

#[tokio::test]
async fn given_leads_when_archived_or_deleted_then_the_one_is_marked_and_the_other_is_no_proof() {
    let desk = Desk::open().await;
    let ada = desk.server.add("persons", json!({ "name": "Ada" }));
    let fields = [("title", Value::from("Lead")), ("person_id", Value::Reference(id_of(ada)))];
    let archived = desk.create("leads", &fields).await.unwrap().id;
    let gone = desk.create("leads", &fields).await.unwrap().id;

    desk.server.archive("leads", 1);
    desk.side.delete(&"leads".into(), std::slice::from_ref(&gone)).await.remove(0).unwrap();

    let scanned = desk.scan("leads", None, &["title"]).await;
    let marks: Vec<_> = scanned.iter().map(|record| (&record.id, record.archived)).collect();
    assert_eq!(marks, [(&archived, true)]);
    assert_eq!(desk.side.probe(&"leads".into(), &gone, &[]).await.unwrap(), Probe::NotFound);
    let found = desk.side.probe(&"leads".into(), &archived, &[]).await.unwrap();
    assert!(matches!(found, Probe::Present(record) if record.archived));
}

#[tokio::test]
async fn given_deletions_when_the_feed_is_read_then_exactly_the_deleted_ones_are_in_it() {
    let desk = Desk::open().await;
    let since = desk.now();
    let org = desk.server.add("organizations", json!({ "name": "Acme" }));
    let cases = [
        ("organizations", json!({ "name": "Other" })),
        ("persons", json!({ "name": "Ada" })),
        ("deals", json!({ "title": "Pilot" })),
        ("products", json!({ "name": "Seat" })),
        ("activities", json!({ "subject": "Call" })),
        ("notes", json!({ "content": "Hello", "org_id": org })),
    ];

    for (module, record) in cases {
        let gone = desk.server.add(module, record.clone());
        desk.server.add(module, record);
        desk.pass(5);
        desk.server.delete(module, gone);
        assert!(desk.side.capabilities(&module.into()).deletion_feed, "{module}");

        let page = desk.side.deleted(&module.into(), since, None).await.unwrap();

        let rows: Vec<_> = page.rows.iter().map(|row| (row.id.clone(), row.at)).collect();
        assert_eq!(rows, [(id_of(gone), Some(desk.now()))], "{module}");
    }
}

#[tokio::test]
async fn given_recents_are_off_when_asked_for_deletions_then_no_call_is_made() {
    let desk = Desk::with(|_| {}, |settings| settings.deletes_from_recents = false).await;

    let page = desk.side.deleted(&"persons".into(), desk.now(), None).await.unwrap();

    assert!(page.rows.is_empty() && desk.server.traffic().calls() == 0);
    assert!(!desk.side.capabilities(&"persons".into()).deletion_feed);
    assert!(desk.side.capabilities(&"deals".into()).deletion_feed);
}

#[tokio::test]
async fn given_operations_when_carried_out_then_they_cost_what_was_foretold() {
    use crmsync::connectors::Operation;
    let desk = Desk::open().await;
    let org = desk.server.add("organizations", json!({ "name": "Acme" }));
    for module in MODULES {
        desk.side.describe(&module.into()).await.unwrap();
    }
    let notes = [("content", Value::from("Hello")), ("org_id", Value::Reference(id_of(org)))];
    let cases = [("persons", vec![("name", Value::from("Ada"))]), ("notes", notes.to_vec())];

    for (module, fields) in cases {
        let foretold = |operation| desk.side.price_for(&module.into(), operation, 1);
        let mut before = desk.side.spent();
        let mut spent = || {
            let now = desk.side.spent();
            let step = (now.calls - before.calls, now.units - before.units);
            before = now;
            step
        };
        let id: i64 = desk.create(module, &fields).await.unwrap().id.as_str().parse().unwrap();
        let create = (spent(), foretold(Operation::Create));
        desk.fetch(module, &[id], &["id"]).await;
        let fetch = (spent(), foretold(Operation::Fetch));
        desk.scan(module, Some(desk.now()), &["id"]).await;
        let list = (spent(), foretold(Operation::ListPage));
        desk.side.deleted(&module.into(), desk.now(), None).await.unwrap();
        let deleted = (spent(), foretold(Operation::DeletedPage));
        desk.delete(module, id).await.unwrap();
        let delete = (spent(), foretold(Operation::Delete));

        for (step, (made, foretold)) in
            [create, fetch, list, deleted, delete].into_iter().enumerate()
        {
            assert_eq!(made, (foretold.calls, foretold.units), "{module}, step {step}");
        }
    }
    assert_eq!(desk.side.spent().units, desk.server.traffic().cost());
}
