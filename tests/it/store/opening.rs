//! Opening, leases, secrets, runs: the store as a whole.

use std::collections::BTreeMap;

use crmsync::store::{RouteMeta, RunRecord, Store, StoreError};
use crmsync_core::model::{Pair, RouteName, Side};
use secrecy::{ExposeSecret, SecretString};

use super::laws;
use super::world::*;

laws! {
    given_a_store_when_opened_again_then_everything_is_there,
    given_a_foreign_database_when_opened_then_it_is_refused,
    given_a_newer_schema_when_opened_then_it_is_refused,
    given_a_held_lease_when_locked_then_it_is_leased_until_it_ends,
    given_a_lost_lease_when_writing_then_nothing_is_written,
    given_two_routes_when_written_then_they_do_not_see_each_other,
    given_a_secret_when_kept_then_only_its_key_opens_it,
    given_secrets_when_the_key_is_rotated_then_only_the_new_one_opens_them,
    given_runs_when_listed_then_the_newest_comes_first,
    given_a_budget_when_spent_then_it_adds_up,
}

async fn given_a_store_when_opened_again_then_everything_is_there(world: World) {
    let store = world.lock().await;
    let meta = RouteMeta {
        identity: Some(Pair::new("zoho 1".into(), "pipedrive 2".into())),
        approved: vec![contact()],
        last_full: Some(at(5)),
        ..RouteMeta::default()
    };
    store.save_meta(&meta).await.unwrap();
    linked(&store).await;

    let again = Store::open(&world.url).await.unwrap();

    let reader = again.route(&route());
    assert_eq!(reader.meta().await.unwrap(), meta);
    assert_eq!(reader.live_links(&contact()).await.unwrap(), 1);
    assert_eq!(reader.counts().await.unwrap()[&contact()].right, 1);
    again.close().await.unwrap();
}

async fn given_a_foreign_database_when_opened_then_it_is_refused(world: World) {
    world.sql("DROP TABLE crmsync_steps").await;

    let refused = Store::open(&world.url).await;

    assert!(matches!(refused, Err(StoreError::Foreign(..))));
}

async fn given_a_newer_schema_when_opened_then_it_is_refused(world: World) {
    let step =
        "INSERT INTO crmsync_steps (version, applied_at) VALUES ('m20990101_000001_later', 0)";
    world.sql(step).await;

    let refused = Store::open(&world.url).await;

    let Err(StoreError::TooNew(step)) = refused else { panic!("it opened") };
    assert_eq!(step, "m20990101_000001_later");
}

async fn given_a_held_lease_when_locked_then_it_is_leased_until_it_ends(world: World) {
    let sales = route();
    let lock = |seconds| world.store.lock(&sales, "second", at(seconds), TTL);
    let first = world.lock().await;

    let early = lock(59).await;
    first.renew(at(50), TTL).await.unwrap();
    let renewed = lock(100).await;
    first.release().await.unwrap();
    let free = lock(101).await;

    let Err(StoreError::Leased { holder, until, .. }) = early else { panic!("locked twice") };
    assert_eq!((holder.as_str(), until), ("test", at(60)));
    assert!(matches!(renewed, Err(StoreError::Leased { .. })));
    assert!(free.is_ok());
}

async fn given_a_lost_lease_when_writing_then_nothing_is_written(world: World) {
    let first = world.lock().await;
    linked(&first).await;
    let second = world.store.lock(&route(), "second", at(61), TTL).await.unwrap();

    let lost = |result: Result<(), StoreError>| matches!(result, Err(StoreError::LeaseLost(_)));

    assert!(lost(first.renew(at(62), TTL).await));
    assert!(lost(
        first.save_meta(&RouteMeta { paused: Some("x".into()), ..RouteMeta::default() }).await
    ));
    assert!(lost(first.touch_all(&contact()).await));
    assert!(lost(first.commit("run", &[done(link_op("k9", "a", "b", &[]))], at(63)).await));
    assert!(lost(first.release().await));
    assert_eq!(second.meta().await.unwrap(), RouteMeta::default());
    assert_eq!(second.attention_count(&contact()).await.unwrap(), 0);
    second.renew(at(64), TTL).await.unwrap();
}

async fn given_two_routes_when_written_then_they_do_not_see_each_other(world: World) {
    let sales = world.lock().await;
    let other = RouteName::new("support");
    let support = world.store.lock(&other, "test", at(0), TTL).await.unwrap();

    linked(&sales).await;
    linked(&support).await;
    list(&support, Side::Left, vec![seen(Side::Left, "l1", "Eve", 9)]).await;

    assert_eq!(marked(&sales).await, []);
    assert_eq!(marked(&support).await, [of_link("k1")]);
    assert_eq!(sales.effects("run-0").await.unwrap().len(), 1);
}

async fn given_a_secret_when_kept_then_only_its_key_opens_it(world: World) {
    let key = |byte| world.store.clone().with_key([byte; 32]);
    let secret = SecretString::from("tøken 🦀");

    let keyless = world.store.save_secret("zoho", &secret).await;
    key(1).save_secret("zoho", &secret).await.unwrap();
    key(1).save_secret("pipedrive", &secret).await.unwrap();
    let swap = "UPDATE secret SET name = 'swapped' WHERE name = 'pipedrive'";
    world.sql(swap).await;

    assert!(matches!(keyless, Err(StoreError::Sealed(..))));
    let opened = key(1).load_secret("zoho").await.unwrap().unwrap();
    assert_eq!(opened.expose_secret(), "tøken 🦀");
    for (case, result) in [
        ("other key", key(2).load_secret("zoho").await),
        ("no key", world.store.load_secret("zoho").await),
        ("other name", key(1).load_secret("swapped").await),
    ] {
        assert!(matches!(result, Err(StoreError::Sealed(..))), "{case}");
    }
    assert!(key(1).load_secret("unknown").await.unwrap().is_none());
}

async fn given_secrets_when_the_key_is_rotated_then_only_the_new_one_opens_them(world: World) {
    let key = |byte| world.store.clone().with_key([byte; 32]);
    for name in ["zoho", "pipedrive"] {
        key(1).save_secret(name, &SecretString::from(name)).await.unwrap();
    }

    let stranger = key(3).rotate_key(&[2; 32]).await;
    let (first, again) = (key(1).rotate_key(&[2; 32]).await, key(1).rotate_key(&[2; 32]).await);

    assert!(matches!(stranger, Err(StoreError::Sealed(..))));
    assert_eq!((first.unwrap(), again.unwrap()), (2, 2), "what stopped halfway can be finished");
    for name in ["zoho", "pipedrive"] {
        let opened = key(2).load_secret(name).await.unwrap().unwrap();
        assert_eq!(opened.expose_secret(), name);
        assert!(matches!(key(1).load_secret(name).await, Err(StoreError::Sealed(..))));
    }
}

fn run(id: &str, started: i64) -> RunRecord {
    RunRecord {
        id: id.to_owned(),
        route: route(),
        mode: "sync".into(),
        started_at: at(started),
        finished_at: None,
        plan_hash: None,
        phase: "observe".into(),
        counts: BTreeMap::new(),
        exit: None,
        error: None,
    }
}

async fn given_runs_when_listed_then_the_newest_comes_first(world: World) {
    let store = world.lock().await;
    for (id, started) in [("b", 1), ("a", 2), ("c", 0)] {
        store.save_run(&run(id, started)).await.unwrap();
    }
    let finished = RunRecord { exit: Some(1), finished_at: Some(at(9)), ..run("b", 1) };
    store.save_run(&finished).await.unwrap();

    let listed = world.store.runs(Some(&route()), 2).await.unwrap();

    assert_eq!(listed, [run("a", 2), finished.clone()]);
    assert_eq!(store.run("b").await.unwrap(), Some(finished));
    assert_eq!(world.store.runs(None, 9).await.unwrap().len(), 3);
    assert_eq!(world.store.runs(Some(&RouteName::new("other")), 9).await.unwrap(), []);
}

async fn given_a_budget_when_spent_then_it_adds_up(world: World) {
    world.store.spend("zoho", "2026-09-21", 40, 2).await.unwrap();
    world.store.spend("zoho", "2026-09-21", 2, 1).await.unwrap();
    let answer = serde_json::json!({ "fields": ["🦀"] });
    world.store.save_metadata("zoho", "Contacts", &serde_json::json!(1), at(1)).await.unwrap();
    world.store.save_metadata("zoho", "Contacts", &answer, at(2)).await.unwrap();

    assert_eq!(world.store.spent("zoho", "2026-09-21").await.unwrap(), (42, 3));
    assert_eq!(world.store.spent("zoho", "2026-09-22").await.unwrap(), (0, 0));
    let kept = world.store.metadata("zoho", "Contacts").await.unwrap();
    assert_eq!(kept, Some((answer, at(2))));
    assert_eq!(world.store.metadata("zoho", "Deals").await.unwrap(), None);
}

#[tokio::test]
async fn given_no_database_when_opened_then_the_reason_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "not a database at all, but long enough to be read as one ".repeat(20))
        .unwrap();
    let cases = [
        ("no such folder", format!("sqlite://{}/no/such/store.db", folder.path().display())),
        ("not a database", format!("sqlite://{}", text.display())),
        ("unknown kind", "oracle://host/db".to_owned()),
    ];
    for (case, url) in cases {
        let refused = Store::open(&url).await;

        assert!(matches!(refused, Err(StoreError::Open(..))), "{case}");
    }
}
