//! What Pipedrive does not document: the connector does the same whichever way it turns out.

use std::num::NonZeroU32;
use std::time::Duration;

use chrono::TimeDelta;
use crmsync::connectors::{Connector, ErrorKind, Probe};
use crmsync_core::model::Value;
use crmsync_simulator::host::Service;
use crmsync_simulator::pipedrive::{Absence, BadCursor, Loss, Switches};
use serde_json::json;

use super::desk::{Desk, id_of, value};

type Turn = fn(&mut Switches);

#[tokio::test]
async fn given_undocumented_answers_when_a_record_lives_and_dies_then_nothing_is_different() {
    let turns: [(&str, Turn); 9] = [
        ("as assumed", |_| {}),
        ("201 for 200", |switches| switches.flip_created = true),
        ("410 with success", |switches| switches.delete_answers_gone = true),
        ("empty lists are null", |switches| switches.empty_v1_null = true),
        ("no budget headers", |switches| switches.daily_headers = false),
        ("writes without a change count", |switches| switches.noop_writes_count = true),
        ("deleted records are gone", |switches| switches.deleted_reads = Absence::Gone),
        ("retired calls are gone", |switches| switches.retired_v1_gone = true),
        ("refused calls are free", |switches| switches.charge_refusals = false),
    ];

    for (name, turn) in turns {
        let desk = Desk::with(|company| turn(&mut company.switches), |_| {}).await;
        let start = desk.now();
        assert_eq!(desk.scan("notes", None, &["content"]).await, Vec::new(), "{name}");

        let ada = desk.create("persons", &[("name", Value::from("Ada"))]).await.unwrap().id;
        let id: i64 = ada.as_str().parse().unwrap();
        let fields = [("content", Value::from("Hello")), ("person_id", Value::Reference(ada))];
        desk.create("notes", &fields).await.unwrap();
        desk.pass(5);
        desk.update("persons", id, &[("name", Value::from("Eva"))]).await.unwrap();
        let seen = desk.scan("persons", Some(start), &["name"]).await;
        desk.delete("persons", id).await.unwrap();

        assert_eq!(value(&seen[0], "name"), Some(&Value::from("Eva")), "{name}");
        assert_eq!(desk.scan("notes", None, &["content"]).await.len(), 1, "{name}");
        let probed = desk.probe("persons", id).await;
        assert!(matches!(probed, Probe::Deleted { .. } | Probe::NotFound), "{name}: {probed:?}");
        assert_eq!(desk.server.count("persons"), 0, "{name}");
    }
}

#[tokio::test]
async fn given_a_bad_cursor_when_continued_then_each_answer_means_that_the_scan_restarts() {
    use crmsync::connectors::{ListRequest, Order, Recovery};

    for status in [400, 404, 410] {
        let lifetime = Some(TimeDelta::minutes(1));
        let company = |settings: &mut crmsync_simulator::pipedrive::Settings| {
            settings.switches.cursor_lifetime = lifetime;
            settings.switches.bad_cursor = BadCursor::Status(status);
        };
        let desk = Desk::with(company, |settings| settings.page = 2).await;
        desk.server.add_many("persons", (0..3).map(|n| json!({ "name": format!("Person {n}") })));
        let first = desk.list("persons").await.unwrap();
        desk.pass(120);

        let (module, page) = ("persons".into(), first.next.as_ref());
        let request =
            ListRequest { module: &module, fields: &[], since: None, order: Order::Id, page };
        let error = desk.side.list(&request).await.unwrap_err();

        assert_eq!(error.recovery(), Recovery::RestartScan, "{status}");
    }
}

#[tokio::test]
async fn given_a_lost_right_when_probed_then_nothing_is_called_deleted() {
    let cases = [(Loss::Rows, Probe::NotFound), (Loss::Forbidden, Probe::Forbidden)];

    for (loss, expected) in cases {
        let desk = Desk::open().await;
        let ada = desk.server.add("persons", json!({ "name": "Ada" }));
        desk.side.describe(&"persons".into()).await.unwrap();
        desk.server.lose("persons", loss);

        let probed = desk.probe("persons", ada).await;

        assert_eq!(probed, expected);
    }
}

#[tokio::test]
async fn given_a_merge_when_the_loser_is_probed_then_it_is_not_present() {
    for reads in [Absence::NotFound, Absence::Gone, Absence::Shown] {
        let desk = Desk::with(|company| company.switches.merged_reads = reads, |_| {}).await;
        let loser = desk.server.add("persons", json!({ "name": "Ada" }));
        let survivor = desk.server.add("persons", json!({ "name": "Ada Byron" }));
        assert!(desk.server.merge("persons", loser, survivor));

        let probed = desk.probe("persons", loser).await;

        assert!(!matches!(probed, Probe::Present(_)), "{reads:?}: {probed:?}");
    }
}

#[tokio::test]
async fn given_a_plans_limit_when_reached_then_the_refusal_says_so() {
    let company = |settings: &mut crmsync_simulator::pipedrive::Settings| {
        settings.limits.on = true;
        settings.limits.open_deals = Some(1);
    };
    let desk = Desk::with(company, |_| {}).await;
    desk.create("deals", &[("title", Value::from("First"))]).await.unwrap();

    let error = desk.create("deals", &[("title", Value::from("Second"))]).await.unwrap_err();

    assert!(
        matches!(&error.kind, ErrorKind::Refused(reason) if reason.contains("plan")),
        "{error}"
    );
}

/// Real time: the server counts calls in its own two seconds.
#[tokio::test]
async fn given_more_calls_than_a_burst_when_made_at_once_then_the_server_never_says_429() {
    let company = |settings: &mut crmsync_simulator::pipedrive::Settings| {
        settings.clock = crmsync_simulator::clock::Clock::running(TimeDelta::zero());
        settings.limits.on = true;
        settings.limits.burst = Some(40);
    };
    let adjust = |settings: &mut crmsync::connectors::pipedrive::Settings| {
        settings.burst = NonZeroU32::new(40).unwrap();
        settings.burst_window = Duration::from_secs(2);
    };
    let desk = Desk::with(company, adjust).await;
    let ada = desk.server.add("persons", json!({ "name": "Ada" }));
    desk.side.describe(&"persons".into()).await.unwrap();

    let ids = [ada];
    let reads = (0..50).map(|_| desk.fetch("persons", &ids, &["name"]));
    futures_util::future::join_all(reads).await;

    let statuses = desk.server.traffic().entries().into_iter().map(|entry| entry.status);
    assert_eq!(statuses.filter(|status| *status == 429).count(), 0);
}

#[tokio::test]
async fn given_contact_sync_when_described_then_its_fields_are_there_and_else_not() {
    let with = Desk::with(|settings| settings.company.contact_sync = true, |_| {}).await;
    let without = Desk::open().await;

    for (desk, expected) in [(&with, true), (&without, false)] {
        let schema = desk.side.describe(&"persons".into()).await.unwrap();
        let has = |name: &str| schema.fields.iter().any(|field| field.name.as_str() == name);
        assert_eq!((has("job_title"), has("postal_address.locality")), (expected, expected));
    }
}

#[tokio::test]
async fn given_counters_when_asked_for_then_they_are_read_and_else_left_out() {
    let desk = Desk::open().await;
    let ada = desk.server.add("persons", json!({ "name": "Ada" }));
    desk.server.add("deals", json!({ "title": "Pilot", "person_id": ada }));

    let listed = desk.scan("persons", None, &["open_deals_count"]).await;
    let fetched = desk.fetch("persons", &[ada], &["open_deals_count"]).await;

    let one = Value::number(1.into());
    for records in [listed, fetched] {
        assert_eq!(value(&records[0], "open_deals_count"), Some(&one));
        assert_eq!(records[0].id, id_of(ada));
    }
}
