use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use crmsync::connectors::{
    ErrorKind, ListRequest, Order, Page, PageKey, Probe, Recovery, RowResult, UpdateRow,
};
use crmsync_core::model::{RecordId, RemoteField, RemoteRecord, Value};
use crmsync_simulator::fault::Fault;

use super::World;

type Fields = BTreeMap<RemoteField, Value>;

fn row(world: &dyn World, name: &str) -> Fields {
    BTreeMap::from([(world.name(), Value::text(name))])
}

async fn page(
    world: &dyn World,
    since: Option<DateTime<Utc>>,
    order: Order,
    key: Option<&PageKey>,
) -> Page {
    let (module, fields) = (world.module(), [world.name(), world.note()]);
    let request = ListRequest { module: &module, fields: &fields, since, order, page: key };
    world.connector().list(&request).await.unwrap()
}

/// Walks all pages.
async fn all(world: &dyn World, since: Option<DateTime<Utc>>, order: Order) -> Vec<RemoteRecord> {
    let (mut records, mut key) = (Vec::new(), None);
    loop {
        let page = page(world, since, order, key.as_ref()).await;
        assert!(page.undecodable.is_empty(), "{:?}", page.undecodable);
        assert!(page.records.len() <= 2);
        records.extend(page.records);
        match page.next {
            Some(next) => key = Some(next),
            None => return records,
        }
    }
}

fn names(world: &dyn World, records: &[RemoteRecord]) -> Vec<String> {
    records.iter().map(|record| record.fields[&world.name()].to_string()).collect()
}

async fn fetch_one(world: &dyn World, id: &RecordId) -> RemoteRecord {
    let fields = [world.name(), world.note()];
    let page = world.connector().fetch(&world.module(), std::slice::from_ref(id), &fields).await;
    page.unwrap().records.remove(0)
}

async fn update(world: &dyn World, current: &RemoteRecord, fields: Fields) -> RowResult {
    let conditional = world.connector().capabilities(&world.module()).conditional_update;
    let unmodified_since = current.modified_at.filter(|_| conditional);
    let row =
        UpdateRow { id: current.id.clone(), fields, current: current.clone(), unmodified_since };
    world.connector().update(&world.module(), &[row]).await.remove(0)
}

fn is_in_doubt(outcome: &RowResult) -> bool {
    outcome.as_ref().is_err_and(|error| error.recovery() == Recovery::Reread)
}

pub(crate) async fn given_more_records_than_a_page_when_listed_then_each_comes_once_in_order(
    world: &dyn World,
) {
    let ids: Vec<_> = ["Ada", "Bea", "Cid", "Dan", "Eve"].map(|name| world.add(name)).into();

    for order in [Order::Id, Order::Modified] {
        let records = all(world, None, order).await;

        let found: Vec<_> = records.iter().map(|record| record.id.clone()).collect();
        assert_eq!(found, ids, "{order:?}");
        assert_eq!(names(world, &records), ["Ada", "Bea", "Cid", "Dan", "Eve"]);
        assert!(records.iter().all(|record| record.modified_at.is_some()));
        assert!(records.iter().all(|record| record.fields[&world.note()] == Value::Empty));
    }
}

pub(crate) async fn given_an_edit_when_listed_since_then_it_comes_and_older_ones_do_not(
    world: &dyn World,
) {
    let ids = ["Ada", "Bea", "Cid"].map(|name| world.add(name));
    world.wait(60);
    world.edit(&ids[1], "Beatrix");
    let edited_at = fetch_one(world, &ids[1]).await.modified_at.unwrap();

    let at_its_second = all(world, Some(edited_at), Order::Modified).await;
    let after = all(world, Some(edited_at + chrono::TimeDelta::seconds(1)), Order::Modified).await;

    assert_eq!(names(world, &at_its_second), ["Beatrix"]);
    assert!(after.is_empty());
}

pub(crate) async fn given_no_records_when_listed_then_the_page_is_empty_and_has_the_servers_time(
    world: &dyn World,
) {
    let page = page(world, None, Order::Id, None).await;

    assert!(page.records.is_empty() && page.next.is_none());
    assert!(page.server_time.is_some());
}

pub(crate) async fn given_ids_when_fetched_then_they_come_with_raw_json_and_missing_ones_are_left_out(
    world: &dyn World,
) {
    let (kept, gone) = (world.add("Ada"), world.add("Bea"));
    world.delete(&gone);

    let ids = [kept.clone(), gone];
    let page = world.connector().fetch(&world.module(), &ids, &[world.name()]).await.unwrap();

    assert_eq!(names(world, &page.records), ["Ada"]);
    assert_eq!(page.records[0].id, kept);
    assert!(page.records[0].raw.is_some());
}

pub(crate) async fn given_a_deleted_record_when_probed_then_it_is_not_present(world: &dyn World) {
    let id = world.add("Ada");
    let probe = async || {
        let fields = [world.name()];
        world.connector().probe(&world.module(), &id, &fields).await.unwrap()
    };

    let before = probe().await;
    world.delete(&id);
    let after = probe().await;

    let Probe::Present(record) = before else { panic!("{before:?}") };
    assert_eq!(names(world, &[*record]), ["Ada"]);
    assert!(matches!(after, Probe::NotFound | Probe::Deleted { .. }), "{after:?}");
}

pub(crate) async fn given_a_deletion_when_the_feed_is_read_then_it_names_the_record(
    world: &dyn World,
) {
    let (connector, module) = (world.connector(), world.module());
    let id = world.add("Ada");
    let since = fetch_one(world, &id).await.modified_at.unwrap();
    world.wait(60);
    world.delete(&id);

    let feed = connector.deleted(&module, since, None).await.unwrap();

    let ids: Vec<_> = feed.rows.iter().map(|row| row.id.clone()).collect();
    let expected = if connector.capabilities(&module).deletion_feed { vec![id] } else { vec![] };
    assert_eq!(ids, expected);
}

pub(crate) async fn given_rows_when_created_then_each_is_there_once_under_the_id_told(
    world: &dyn World,
) {
    let rows = ["Ada", "Bea"].map(|name| row(world, name));

    let outcomes = world.connector().create(&world.module(), &rows).await;

    let ids: Vec<_> = outcomes.into_iter().map(|outcome| outcome.unwrap().id).collect();
    for (id, name) in ids.iter().zip(["Ada", "Bea"]) {
        assert_eq!(names(world, &[fetch_one(world, id).await]), [name]);
    }
    assert_eq!(world.names(), ["Ada", "Bea"]);
}

pub(crate) async fn given_a_bad_row_among_good_ones_when_created_then_only_it_is_refused(
    world: &dyn World,
) {
    let nameless = BTreeMap::from([(world.note(), Value::text("no name"))]);
    let rows = [row(world, "Ada"), nameless, row(world, "Cid")];

    let outcomes = world.connector().create(&world.module(), &rows).await;

    let good: Vec<_> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(good, [true, false, true], "{outcomes:?}");
    assert_eq!(outcomes[1].as_ref().unwrap_err().recovery(), Recovery::Quarantine);
    assert_eq!(world.names(), ["Ada", "Cid"]);
}

pub(crate) async fn given_a_lost_reply_when_created_then_it_is_in_doubt_and_not_repeated(
    world: &dyn World,
) {
    world.faults().on_next(&world.create_call(), Fault::ReplyLost);

    let outcomes = world.connector().create(&world.module(), &[row(world, "Ada")]).await;

    assert!(is_in_doubt(&outcomes[0]), "{outcomes:?}");
    assert_eq!(world.names(), ["Ada"]);
}

pub(crate) async fn given_a_taken_external_id_when_created_then_the_clash_names_the_record(
    world: &dyn World,
) {
    let (connector, module) = (world.connector(), world.module());
    let with_id = |name: &str| {
        let mut fields = row(world, name);
        fields.insert(world.external_id(), Value::text("R-17"));
        fields
    };
    let first = connector.create(&module, &[with_id("Ada")]).await.remove(0).unwrap();

    let second = connector.create(&module, &[with_id("Impostor")]).await.remove(0);

    if connector.capabilities(&module).unique_external_id {
        let field = world.external_id().as_str().to_owned();
        let clash = ErrorKind::Duplicate { field, existing: first.id };
        assert_eq!(second.unwrap_err().kind, clash);
        assert_eq!(world.names(), ["Ada"]);
    } else {
        assert!(second.is_ok());
    }
}

pub(crate) async fn given_some_fields_when_updated_then_the_others_stay(world: &dyn World) {
    let id = world.add("Ada");
    let current = fetch_one(world, &id).await;

    let fields = BTreeMap::from([(world.note(), Value::text("met in Turin"))]);
    let written = update(world, &current, fields).await.unwrap();

    assert_eq!(written.id, id);
    let now = fetch_one(world, &id).await;
    assert_eq!(now.fields[&world.note()], Value::text("met in Turin"));
    assert_eq!(now.fields[&world.name()], Value::text("Ada"));
    let cleared = update(world, &now, BTreeMap::from([(world.note(), Value::Empty)])).await;
    assert!(cleared.is_ok(), "{cleared:?}");
    assert_eq!(fetch_one(world, &id).await.fields[&world.note()], Value::Empty);
}

pub(crate) async fn given_a_record_moved_on_when_updated_with_its_old_version_then_it_is_stale(
    world: &dyn World,
) {
    let id = world.add("Ada");
    let current = fetch_one(world, &id).await;
    world.wait(60);
    world.edit(&id, "Adele");

    let outcome = update(world, &current, row(world, "Overwritten")).await;

    if world.connector().capabilities(&world.module()).conditional_update {
        assert_eq!(outcome.unwrap_err().kind, ErrorKind::Stale);
        assert_eq!(world.names(), ["Adele"]);
    } else {
        assert!(outcome.is_ok());
    }
}

pub(crate) async fn given_a_record_that_is_gone_when_updated_then_the_plan_is_outdated(
    world: &dyn World,
) {
    let id = world.add("Ada");
    let current = fetch_one(world, &id).await;
    world.delete(&id);

    let outcome = update(world, &current, row(world, "Ghost")).await;

    assert_eq!(outcome.unwrap_err().recovery(), Recovery::Replan);
}

pub(crate) async fn given_a_burst_limit_when_created_then_it_is_waited_out_and_written_once(
    world: &dyn World,
) {
    world.faults().on(&world.create_call(), 0, 2, Fault::rate_limited());

    let outcomes = world.connector().create(&world.module(), &[row(world, "Ada")]).await;

    assert!(outcomes[0].is_ok(), "{outcomes:?}");
    assert_eq!(world.names(), ["Ada"]);
}

pub(crate) async fn given_trouble_that_passes_when_listed_then_it_is_listed(world: &dyn World) {
    world.add("Ada");
    for fault in [Fault::html(502), Fault::ReplyLost, Fault::rate_limited()] {
        world.faults().on_next(&world.list_call(), fault);
    }

    let records = all(world, None, Order::Id).await;

    assert_eq!(names(world, &records), ["Ada"]);
}

pub(crate) async fn given_a_gateway_page_after_the_effect_when_updated_then_it_is_in_doubt(
    world: &dyn World,
) {
    let id = world.add("Ada");
    let current = fetch_one(world, &id).await;
    world.faults().on_next(&world.update_call(), Fault::EffectThenStatus { status: 502 });

    let outcome = update(world, &current, row(world, "Adele")).await;

    assert!(is_in_doubt(&outcome), "{outcome:?}");
    assert_eq!(world.names(), ["Adele"]);
}

pub(crate) async fn given_a_gateway_page_all_the_time_when_listed_then_the_error_names_the_status(
    world: &dyn World,
) {
    world.faults().on(&world.list_call(), 0, 5, Fault::html(503));

    let (module, fields) = (world.module(), [world.name()]);
    let request =
        ListRequest { module: &module, fields: &fields, since: None, order: Order::Id, page: None };
    let error = world.connector().list(&request).await.unwrap_err();

    assert_eq!(error.recovery(), Recovery::Backoff);
    assert!(error.to_string().contains("503"), "{error}");
}

pub(crate) async fn given_a_truncated_answer_when_created_then_it_is_in_doubt(world: &dyn World) {
    world.faults().on_next(&world.create_call(), Fault::Truncated);

    let outcomes = world.connector().create(&world.module(), &[row(world, "Ada")]).await;

    assert!(is_in_doubt(&outcomes[0]), "{outcomes:?}");
    assert_eq!(world.names(), ["Ada"]);
}

pub(crate) async fn given_a_truncated_answer_when_listed_then_it_is_read_again(world: &dyn World) {
    world.add("Ada");
    world.faults().on_next(&world.list_call(), Fault::Truncated);

    assert_eq!(names(world, &all(world, None, Order::Id).await), ["Ada"]);
}

/// The world's connector takes answers of at most a mebibyte.
pub(crate) async fn given_a_huge_answer_when_listed_then_it_is_refused(world: &dyn World) {
    world.add("Ada");
    world.faults().on_next(&world.list_call(), Fault::Huge { bytes: 2 << 20 });

    let (module, fields) = (world.module(), [world.name()]);
    let request =
        ListRequest { module: &module, fields: &fields, since: None, order: Order::Id, page: None };
    let error = world.connector().list(&request).await.unwrap_err();

    assert!(error.to_string().contains("larger than"), "{error}");
}

pub(crate) async fn given_an_unknown_field_when_written_then_nothing_is_sent(world: &dyn World) {
    let mut fields = row(world, "Ada");
    fields.insert("No_Such_Field".into(), Value::text("x"));

    let outcomes = world.connector().create(&world.module(), &[fields]).await;

    assert_eq!(outcomes[0].as_ref().unwrap_err().recovery(), Recovery::Redescribe);
    assert_eq!(world.traffic().written(), 0);
}

pub(crate) async fn given_a_record_when_deleted_twice_then_both_succeed(world: &dyn World) {
    let ids = [world.add("Ada")];

    for _ in 0..2 {
        let outcomes = world.connector().delete(&world.module(), &ids).await;
        assert!(outcomes[0].is_ok(), "{outcomes:?}");
    }

    assert!(world.names().is_empty());
}

pub(crate) async fn given_calls_when_counted_then_the_side_counts_as_many(world: &dyn World) {
    let id = world.add("Ada");
    all(world, None, Order::Id).await;
    world.connector().create(&world.module(), &[row(world, "Bea"), row(world, "Cid")]).await;
    let current = fetch_one(world, &id).await;
    update(world, &current, row(world, "Adele")).await.unwrap();
    world.connector().delete(&world.module(), &[id]).await;

    let spent = world.connector().spent();

    assert_eq!(spent.calls, world.traffic().calls());
    assert_eq!(spent.units, world.traffic().cost());
}

/// Everything that can happen to a write between two machines.
fn weather() -> Vec<Fault> {
    vec![
        Fault::Refused,
        Fault::ReplyLost,
        Fault::Truncated,
        Fault::rate_limited(),
        Fault::html(502),
        Fault::EffectThenStatus { status: 504 },
    ]
}

pub(crate) async fn given_bad_weather_when_created_then_every_outcome_told_is_true(
    world: &dyn World,
) {
    let mut told = Vec::new();
    for seed in 0..40 {
        let name = format!("Person {seed:02}");
        world.faults().weather(seed + 1, 400, weather());
        let rows = [row(world, &name)];
        told.push((name, world.connector().create(&world.module(), &rows).await.remove(0)));
    }
    world.faults().clear();

    let stored = world.names();
    for (name, outcome) in &told {
        let count = stored.iter().filter(|stored| *stored == name).count();
        match outcome {
            Ok(written) => {
                assert_eq!(count, 1, "{name}");
                let record = fetch_one(world, &written.id).await;
                assert_eq!(&record.fields[&world.name()].to_string(), name);
            }
            Err(_) if is_in_doubt(outcome) => assert!(count <= 1, "{name}"),
            Err(error) => assert_eq!(count, 0, "{name}: {error}"),
        }
    }
    assert!(told.iter().any(|(_, outcome)| outcome.is_ok()));
    assert!(told.iter().any(|(_, outcome)| is_in_doubt(outcome)));
}

pub(crate) async fn given_bad_weather_when_listed_then_it_is_whole_or_an_error(world: &dyn World) {
    for name in ["Ada", "Bea", "Cid"] {
        world.add(name);
    }
    let mut whole = 0;
    for seed in 0..20 {
        world.faults().weather(seed + 1, 400, weather());
        let (module, fields) = (world.module(), [world.name()]);
        let (mut found, mut key) = (Vec::new(), None);
        let complete = loop {
            let request = ListRequest {
                module: &module,
                fields: &fields,
                since: None,
                order: Order::Id,
                page: key.as_ref(),
            };
            let Ok(page) = world.connector().list(&request).await else { break false };
            found.extend(names(world, &page.records));
            key = page.next;
            if key.is_none() {
                break true;
            }
        };
        if complete {
            assert_eq!(found, ["Ada", "Bea", "Cid"]);
            whole += 1;
        }
    }
    world.faults().clear();
    assert!(whole > 0);
}
