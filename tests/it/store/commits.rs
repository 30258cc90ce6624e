//! Writes: armed before, committed after, and what a crash in between leaves.

use std::collections::BTreeMap;

use crmsync::store::{Commit, Ending, IntentState, RouteStore, Store, StoreError};
use crmsync_core::model::link::TombstoneCause;
use crmsync_core::model::{
    Code, FieldName, LinkId, LinkState, OpKind, Pair, Presence, RecordId, Side, Tombstone, Value,
};

use crmsync_core::model::state::Subject;

use super::absences::delete;
use super::laws;
use super::world::*;

laws! {
    given_two_records_when_linked_then_baseline_and_journal_hold_it,
    given_a_link_whose_sides_differ_when_committed_then_attention_stays,
    given_a_kill_between_arm_and_commit_when_reopened_then_the_intent_is_open,
    given_an_open_intent_when_armed_again_then_nothing_is_armed,
    given_a_create_when_done_then_the_link_is_whole,
    given_a_create_without_effect_when_dropped_then_the_record_is_as_before,
    given_a_refused_create_when_committed_then_the_record_is_in_quarantine_until_retry,
    given_an_update_when_done_then_stamp_values_and_recent_writes_are_known,
    given_a_lost_answer_when_committed_then_the_link_is_in_doubt,
    given_a_deleted_counterpart_when_committed_then_the_link_ends_and_may_revive,
    given_a_linked_record_when_linked_again_then_the_second_link_does_nothing,
    given_a_link_when_redirected_then_its_end_moves,
    given_a_deleted_counterpart_when_made_anew_then_the_same_link_gets_a_new_end,
    given_a_redirected_link_when_its_old_end_comes_back_then_it_is_matched_anew,
    given_tombstoned_records_when_linked_again_then_their_tombstones_end,
    given_a_link_that_moved_on_when_its_first_record_is_planned_then_its_next_link_has_a_new_id,
    given_a_person_when_unlinking_then_both_records_are_tombstoned,
    given_baselines_when_dropped_then_links_stay_and_get_attention,
}

async fn arm_create(store: &RouteStore) -> crmsync::store::Intent {
    list(store, Side::Left, vec![seen(Side::Left, "l1", "Ada", 1)]).await;
    let intent = intent("i1", create_op("k1", "l1", &[("name", "Ada")]));
    store.arm(std::slice::from_ref(&intent)).await.unwrap();
    intent
}

fn ends(left: Option<&str>, right: Option<&str>) -> Pair<Option<RecordId>> {
    Pair::new(left.map(RecordId::new), right.map(RecordId::new))
}

fn ending(intent: &crmsync::store::Intent, ending: Ending) -> Commit {
    Commit { intent: Some(intent.id.clone()), op: intent.op.clone(), ending }
}

fn update_op() -> crmsync_core::model::Op {
    let text = |text: &str| serde_json::json!({ "x": text });
    let change =
        serde_json::json!({ "before": text("Ada"), "after": text("Eve"), "source": text("Eve") });
    let change = serde_json::from_value(change).unwrap();
    let changes = BTreeMap::from([(FieldName::new("name"), change)]);
    op(
        "k1",
        OpKind::Update { side: Side::Right, id: RecordId::new("r1"), changes, planned_on: None },
    )
}

async fn given_two_records_when_linked_then_baseline_and_journal_hold_it(world: World) {
    let store = world.lock().await;
    store.agree_under(&contact(), BTreeMap::from([(FieldName::new("name"), "print-1".to_owned())]));

    linked(&store).await;

    let link = store.link(&link("k1")).await.unwrap().unwrap();
    assert_eq!((link.state, link.ends), (LinkState::Live, ends(Some("l1"), Some("r1"))));
    let agreed = &link.baseline[&FieldName::new("name")];
    assert_eq!((agreed.fingerprint.as_str(), agreed.pinned), ("print-1", false));
    let effects = store.effects("run-0").await.unwrap();
    assert_eq!(effects.len(), 1);
    assert_eq!(effects, store.effects_of(&link.id).await.unwrap());
    assert!(effects[0].baseline_before.is_empty());
    assert_eq!(store.live_links(&contact()).await.unwrap(), 1);
    assert_eq!(store.attention_count(&contact()).await.unwrap(), 0);
    assert_eq!(store.subject_of(&key(Side::Right, "r1")).await.unwrap(), Some(of_link("k1")));
    let by_record = subject(&store, of_record(Side::Left, "l1")).await;
    assert_eq!(by_record.key(), of_link("k1"), "a linked record is never planned alone");
}

async fn given_a_link_whose_sides_differ_when_committed_then_attention_stays(world: World) {
    let store = world.lock().await;
    list(&store, Side::Left, vec![seen(Side::Left, "l1", "Ada", 1)]).await;
    list(&store, Side::Right, vec![seen(Side::Right, "r1", "Eve", 1)]).await;

    store.commit("run-0", &[done(link_op("k1", "l1", "r1", &[]))], at(50)).await.unwrap();

    assert_eq!(marked(&store).await, [of_link("k1")]);
}

async fn given_a_kill_between_arm_and_commit_when_reopened_then_the_intent_is_open(world: World) {
    let store = world.lock().await;
    let armed = arm_create(&store).await;
    drop(store);

    let again = Store::open(&world.url).await.unwrap();
    let store = again.lock(&route(), "second", at(600), TTL).await.unwrap();

    assert_eq!(store.open_intents().await.unwrap(), std::slice::from_ref(&armed));
    let frozen = subject(&store, of_link("k1")).await;
    assert!(frozen.in_doubt);
    assert_eq!(frozen.link.as_ref().unwrap().state, LinkState::Creating);
    assert_eq!(marked(&store).await, [], "its source is no subject of its own");
    store.commit("run-2", &[created(&armed, "r1", "Ada")], at(601)).await.unwrap();
    assert_eq!(store.open_intents().await.unwrap(), []);
    drop(store);
    again.close().await.unwrap();
}

async fn given_an_open_intent_when_armed_again_then_nothing_is_armed(world: World) {
    let store = world.lock().await;
    arm_create(&store).await;
    list(&store, Side::Left, vec![seen(Side::Left, "l2", "Eve", 1)]).await;

    let other = intent("i2", create_op("k2", "l2", &[]));
    let second = intent("i3", create_op("k1", "l1", &[]));
    let twice = store.arm(&[other, second]).await;
    let taken = store.arm(&[intent("i4", create_op("k4", "l1", &[]))]).await;

    assert!(matches!(twice, Err(StoreError::Database(_))), "{twice:?}");
    assert!(matches!(taken, Err(StoreError::Database(_))), "{taken:?}");
    assert_eq!(store.open_intents().await.unwrap().len(), 1);
    assert_eq!(store.live_links(&contact()).await.unwrap(), 1);
}

async fn given_a_create_when_done_then_the_link_is_whole(world: World) {
    let store = world.lock().await;
    let armed = arm_create(&store).await;

    store.commit("run-1", &[created(&armed, "r1", "Ada")], at(110)).await.unwrap();

    let whole = subject(&store, of_link("k1")).await;
    let link = whole.link.unwrap();
    assert_eq!((link.state, link.ends), (LinkState::Live, ends(Some("l1"), Some("r1"))));
    assert_eq!(link.own_stamp.right, Some(at(110)));
    assert_eq!(whole.observations.right.unwrap().fields, fields(&[("name", "Ada")]));
    assert!(!whole.in_doubt);
    assert_eq!(marked(&store).await, [], "both sides hold the baseline");
    let recent = store.recent(&contact(), at(0)).await.unwrap();
    assert_eq!(recent, (Pair::new(0, 0), Pair::new(0, 1)));
    let echo = list(&store, Side::Right, vec![seen(Side::Right, "r1", "Ada", 111)]).await;
    assert_eq!((echo.changed, echo.unchanged), (0, 1), "an own write is no edit");
}

async fn given_a_create_without_effect_when_dropped_then_the_record_is_as_before(world: World) {
    let store = world.lock().await;
    let armed = arm_create(&store).await;

    let dropped = ending(&armed, Ending::Dropped { dirty: false });
    store.commit("run-1", &[dropped], at(110)).await.unwrap();

    assert_eq!(store.open_intents().await.unwrap(), []);
    assert_eq!(store.link(&link("k1")).await.unwrap(), None);
    assert_eq!(marked(&store).await, [of_record(Side::Left, "l1")]);
    assert_eq!(subject(&store, of_record(Side::Left, "l1")).await.generation, 0);
    assert_eq!(store.effects("run-1").await.unwrap(), []);
}

async fn given_a_refused_create_when_committed_then_the_record_is_in_quarantine_until_retry(
    world: World,
) {
    let store = world.lock().await;
    let armed = arm_create(&store).await;
    let refused = |retry| Ending::Refused {
        code: Code::Quarantined,
        field: Some(FieldName::new("name")),
        message: "too long".into(),
        fingerprint: "print".into(),
        retry_at: at(retry),
    };
    let me = of_record(Side::Left, "l1");

    store.commit("run-1", &[ending(&armed, refused(900))], at(110)).await.unwrap();
    let held = subject(&store, me.clone()).await;
    let all = marked(&store).await;
    store.settle(&contact(), &all, &[], &all, "run-1", at(120)).await.unwrap();
    let waiting = marked(&store).await;
    let due = store.attention(&contact(), None, 9, at(900)).await.unwrap();
    store.arm(std::slice::from_ref(&armed)).await.unwrap();
    store.commit("run-1", &[ending(&armed, refused(950))], at(905)).await.unwrap();
    let listed = store.quarantines().await.unwrap();
    store.retry(&me).await.unwrap();

    assert_eq!(
        held.quarantined,
        BTreeMap::from([(Some(FieldName::new("name")), "print".to_owned())])
    );
    assert_eq!((all, waiting), (vec![me.clone()], vec![]));
    assert_eq!(due.iter().map(Subject::key).collect::<Vec<_>>(), std::slice::from_ref(&me));
    assert!(due[0].quarantined.is_empty(), "its time has come");
    assert_eq!((listed[0].attempts, listed[0].key.clone()), (2, key(Side::Left, "l1")));
    assert_eq!(marked(&store).await, [me]);
    assert_eq!(store.quarantines().await.unwrap(), []);
}

async fn given_an_update_when_done_then_stamp_values_and_recent_writes_are_known(world: World) {
    let store = world.lock().await;
    linked(&store).await;
    list(&store, Side::Left, vec![seen(Side::Left, "l1", "Eve", 9)]).await;
    let armed = intent("i1", update_op());
    store.arm(std::slice::from_ref(&armed)).await.unwrap();

    let mut written = created(&armed, "r1", "Eve");
    if let Ending::Done { observed: Some(observed), .. } = &mut written.ending {
        observed.keys.clear();
    }
    store.commit("run-1", &[written], at(110)).await.unwrap();

    assert_eq!(marked(&store).await, []);
    let now = subject(&store, of_link("k1")).await;
    let writes =
        BTreeMap::from([((FieldName::new("name"), Side::Right), vec![Value::text("Eve")])]);
    assert_eq!(now.recent_writes, writes);
    assert_eq!(now.link.unwrap().own_stamp.right, Some(at(110)));
    let day_later = store.subjects(&contact(), &[of_link("k1")], at(110 + 86_401)).await.unwrap();
    assert!(day_later[0].recent_writes.is_empty());
    let effect = store.effects("run-1").await.unwrap().remove(0);
    assert_eq!(effect.baseline_before[&FieldName::new("name")].values.right, Value::text("Ada"));
    let keys = [crmsync_core::model::state::MatchKey("0:Ada".into())].into();
    let found = store.candidates(&contact(), &keys).await.unwrap();
    assert_eq!(found.values().flatten().count(), 1, "no keys given: the old ones stay");
}

async fn given_a_lost_answer_when_committed_then_the_link_is_in_doubt(world: World) {
    let store = world.lock().await;
    linked(&store).await;
    let armed = intent("i1", update_op());
    store.arm(std::slice::from_ref(&armed)).await.unwrap();

    store.commit("run-1", &[ending(&armed, Ending::InDoubt)], at(110)).await.unwrap();

    assert_eq!(store.open_intents().await.unwrap()[0].state, IntentState::InDoubt);
    assert_eq!(marked(&store).await, [of_link("k1")]);
    assert!(subject(&store, of_link("k1")).await.in_doubt);
    let dropped = ending(&armed, Ending::Dropped { dirty: true });
    store.commit("run-1", &[dropped], at(200)).await.unwrap();
    assert_eq!(due(&store, Side::Right).await, ["r1 write-dropped"]);
    assert!(!subject(&store, of_link("k1")).await.in_doubt);
}

async fn given_a_deleted_counterpart_when_committed_then_the_link_ends_and_may_revive(
    world: World,
) {
    let store = world.lock().await;
    linked(&store).await;
    delete(&store, Side::Left, "l1").await;
    let kind =
        OpKind::Delete { side: Side::Right, id: RecordId::new("r1"), expected: BTreeMap::new() };
    let armed = intent("i1", op("k1", kind));
    store.arm(std::slice::from_ref(&armed)).await.unwrap();

    let deleted = Commit { intent: Some("i1".into()), ..done(armed.op) };
    store.commit("run-1", &[deleted], at(130)).await.unwrap();
    let ended = subject(&store, of_link("k1")).await;
    let marks = marked(&store).await;
    read(&store, Side::Left, vec![seen(Side::Left, "l1", "Ada", 1)]).await;
    let back = marked(&store).await;
    let revive = OpKind::Revive { side: Side::Left, id: RecordId::new("l1") };
    store.commit("run-2", &[done(op("k1", revive))], at(140)).await.unwrap();

    assert_eq!(ended.link.as_ref().unwrap().state, LinkState::Closed);
    assert_eq!(ended.tombstones.right.as_ref().unwrap().cause, TombstoneCause::Deleted);
    assert_eq!(ended.observations.right.unwrap().presence, Presence::Deleted);
    assert_eq!((marks, back), (vec![], vec![of_link("k1")]));
    assert_eq!(store.recent(&contact(), at(0)).await.unwrap().0, Pair::new(0, 1));
    let revived = subject(&store, of_link("k1")).await;
    let link = revived.link.unwrap();
    assert_eq!((link.state, link.baseline.len()), (LinkState::Live, 1));
    assert!(revived.tombstones.left.is_none() && revived.tombstones.right.is_some());
}

async fn given_a_linked_record_when_linked_again_then_the_second_link_does_nothing(world: World) {
    let store = world.lock().await;
    linked(&store).await;
    list(&store, Side::Left, vec![seen(Side::Left, "l2", "Ada", 1)]).await;

    store.commit("run-1", &[done(link_op("k2", "l2", "r1", &[]))], at(110)).await.unwrap();

    assert_eq!(store.link(&link("k2")).await.unwrap(), None);
    let ids = [RecordId::new("r1")].into();
    let linked = store.counterparts(&contact(), Side::Right, &ids).await.unwrap();
    assert_eq!(linked[&RecordId::new("r1")], (link("k1"), Some(RecordId::new("l1"))));
    assert_eq!(marked(&store).await, [of_link("k1"), of_record(Side::Left, "l2")]);
}

async fn given_a_link_when_redirected_then_its_end_moves(world: World) {
    let store = world.lock().await;
    linked(&store).await;
    list(&store, Side::Left, vec![seen(Side::Left, "l2", "Ada", 1)]).await;
    delete(&store, Side::Left, "l1").await;

    let kind = OpKind::Relate {
        state: LinkState::Live,
        ends: ends(Some("l2"), Some("r1")),
        tombstones: Vec::new(),
        keep_baseline: true,
    };
    store.commit("run-1", &[done(op("k1", kind))], at(130)).await.unwrap();

    assert_eq!(store.subject_of(&key(Side::Left, "l2")).await.unwrap(), Some(of_link("k1")));
    assert_eq!(
        store.subject_of(&key(Side::Left, "l1")).await.unwrap(),
        Some(of_record(Side::Left, "l1"))
    );
    assert_eq!(marked(&store).await, [], "the heir holds the baseline");
}

async fn given_a_deleted_counterpart_when_made_anew_then_the_same_link_gets_a_new_end(
    world: World,
) {
    let relate = || {
        let (state, ends) = (LinkState::Creating, ends(Some("l1"), None));
        let kind = OpKind::Relate { state, ends, tombstones: Vec::new(), keep_baseline: false };
        done(op("k1", kind))
    };
    for (case, relate_first) in [("relate, then create", true), ("create, then relate", false)] {
        let name = crmsync_core::model::RouteName::new(case);
        let store = world.store.lock(&name, "test", at(0), TTL).await.unwrap();
        linked(&store).await;
        delete(&store, Side::Right, "r1").await;
        if relate_first {
            store.commit("run-1", &[relate()], at(130)).await.unwrap();
        }
        let armed = intent("i1", create_op("k1", "l1", &[("name", "Ada")]));
        store.arm(std::slice::from_ref(&armed)).await.unwrap();
        store.commit("run-1", &[created(&armed, "r2", "Ada")], at(131)).await.unwrap();
        if !relate_first {
            store.commit("run-1", &[relate()], at(132)).await.unwrap();
        }

        let link = store.link(&link("k1")).await.unwrap().unwrap();

        assert_eq!(
            (link.state, link.ends),
            (LinkState::Live, ends(Some("l1"), Some("r2"))),
            "{case}"
        );
        assert_eq!(link.baseline.len(), 1, "{case}");
        assert_eq!(marked(&store).await, [], "{case}");
    }
}

async fn given_a_redirected_link_when_its_old_end_comes_back_then_it_is_matched_anew(world: World) {
    let store = world.lock().await;
    linked(&store).await;
    list(&store, Side::Left, vec![seen(Side::Left, "l2", "Ada", 1)]).await;
    delete(&store, Side::Left, "l1").await;
    let told = subject(&store, of_link("k1")).await.tombstones.left.unwrap();
    let redirect = |tombstones| {
        let (state, ends) = (LinkState::Live, ends(Some("l2"), Some("r1")));
        done(op("k1", OpKind::Relate { state, ends, tombstones, keep_baseline: true }))
    };

    for (case, tombstones) in [
        ("told to let go", vec![Tombstone { link: None, ..told.clone() }]),
        ("not told", Vec::new()),
    ] {
        store.commit("run-1", &[redirect(tombstones)], at(130)).await.unwrap();
        read(&store, Side::Left, vec![seen(Side::Left, "l1", "Ada", 9)]).await;

        let back = subject(&store, of_record(Side::Left, "l1")).await;

        assert_eq!(told.link, Some(link("k1")));
        assert_eq!(back.tombstones.left.map(|tombstone| tombstone.link), Some(None), "{case}");
    }
}

async fn given_tombstoned_records_when_linked_again_then_their_tombstones_end(world: World) {
    let relate = |state| {
        let ends = ends(Some("l1"), Some("r1"));
        op("k1", OpKind::Relate { state, ends, tombstones: Vec::new(), keep_baseline: true })
    };
    let cases = [
        ("link", link_op("k2", "l1", "r1", &[]), true),
        ("relate to live", relate(LinkState::Live), true),
        ("relate to closed", relate(LinkState::Closed), false),
    ];
    for (case, op, ends_it) in cases {
        let name = crmsync_core::model::RouteName::new(case);
        let store = world.store.lock(&name, "test", at(0), TTL).await.unwrap();
        linked(&store).await;
        unlink(&store, "k1", "l1", "r1").await;

        store.commit("run-1", &[done(op)], at(130)).await.unwrap();

        let ids = [RecordId::new("l1")];
        let (_, gone) = store.named(&contact(), Side::Left, &ids).await.unwrap();
        assert_eq!(gone.is_empty(), ends_it, "{case}");
    }
}

async fn given_a_link_that_moved_on_when_its_first_record_is_planned_then_its_next_link_has_a_new_id(
    world: World,
) {
    let store = world.lock().await;
    let first = LinkId::derive(&key(Side::Left, "l1"), 0);
    list(&store, Side::Left, vec![seen(Side::Left, "l1", "Ada", 1)]).await;
    list(&store, Side::Right, vec![seen(Side::Right, "r1", "Ada", 1)]).await;
    store.commit("run-0", &[done(link_op(&first.0, "l1", "r1", &[]))], at(50)).await.unwrap();
    delete(&store, Side::Left, "l1").await;
    let (state, ends) = (LinkState::Live, ends(Some("l2"), Some("r1")));
    let kind = OpKind::Relate { state, ends, tombstones: Vec::new(), keep_baseline: true };
    store.commit("run-1", &[done(op(&first.0, kind))], at(130)).await.unwrap();

    read(&store, Side::Left, vec![seen(Side::Left, "l1", "Ada", 9)]).await;

    assert_eq!(subject(&store, of_record(Side::Left, "l1")).await.generation, 1);
}

async fn given_a_person_when_unlinking_then_both_records_are_tombstoned(world: World) {
    let store = world.lock().await;
    linked(&store).await;

    unlink(&store, "k1", "l1", "r1").await;

    let (alive, gone) =
        store.named(&contact(), Side::Left, &["l1", "l9"].map(RecordId::new)).await.unwrap();
    assert!(alive[&RecordId::new("l1")].survivor);
    assert_eq!(gone.into_iter().collect::<Vec<_>>(), [RecordId::new("l1")]);
    assert_eq!(store.live_links(&contact()).await.unwrap(), 0);
    let ended = subject(&store, of_link("k1")).await;
    assert_eq!(ended.tombstones.right.unwrap().cause, TombstoneCause::Unlinked);
    assert_eq!(store.effects("person").await.unwrap().len(), 1);
}

async fn given_baselines_when_dropped_then_links_stay_and_get_attention(world: World) {
    let store = world.lock().await;
    linked(&store).await;
    list(&store, Side::Left, vec![seen(Side::Left, "l2", "Eve", 1)]).await;
    store.settle(&contact(), &[of_record(Side::Left, "l2")], &[], &[], "r", at(60)).await.unwrap();

    store.drop_baselines(Some(&contact())).await.unwrap();
    let dropped = marked(&store).await;
    store.touch_all(&contact()).await.unwrap();

    assert_eq!(dropped, [of_link("k1")]);
    assert!(store.link(&link("k1")).await.unwrap().unwrap().baseline.is_empty());
    assert_eq!(marked(&store).await, [of_link("k1"), of_record(Side::Left, "l2")]);
}
