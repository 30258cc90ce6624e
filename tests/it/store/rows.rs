//! Open rows: stable, closed by convergence, decided by persons.

use crmsync::store::{RouteStore, RowFilter, StoredRow};
use crmsync_core::model::row::{Choice, Resolution, RowId, RowKind};
use crmsync_core::model::state::SubjectKey;
use crmsync_core::model::{Code, OpenRow, Pair, RecordId, Side};

use super::laws;
use super::world::*;

laws! {
    given_the_same_rows_when_settled_again_then_only_last_seen_moves,
    given_an_open_row_when_its_subject_is_planned_without_it_then_it_converges,
    given_a_row_decided_by_policy_when_stored_then_it_is_closed,
    given_a_resolution_when_stored_then_its_subject_is_planned_with_it,
    given_a_waiting_record_when_linked_then_its_question_closes,
    given_many_rows_when_filtered_then_pages_follow_ids,
}

fn row(id: &str, code: Code, link_name: Option<&str>, left: Option<&str>) -> OpenRow {
    OpenRow {
        id: RowId(id.to_owned()),
        kind: RowKind::Hold,
        code,
        entity: contact(),
        link: link_name.map(link),
        records: Pair::new(left.map(RecordId::new), None),
        field: None,
        base: None,
        left: None,
        right: None,
        modified_at: Pair::default(),
        changed_at: Pair::default(),
        winner: None,
        policy: None,
        evidence: None,
        message: "waits".into(),
        fingerprint: "shown".into(),
        candidates: Vec::new(),
    }
}

async fn settle(store: &RouteStore, rows: &[OpenRow], planned: &[SubjectKey], seconds: i64) {
    let run = format!("run-{seconds}");
    store.settle(&contact(), &[], rows, planned, &run, at(seconds)).await.unwrap();
}

async fn stored(store: &RouteStore, id: &str) -> StoredRow {
    store.row(id).await.unwrap().unwrap()
}

async fn given_the_same_rows_when_settled_again_then_only_last_seen_moves(world: World) {
    let store = world.lock().await;
    linked(&store).await;
    let conflict = row("x", Code::Conflict, Some("k1"), Some("l1"));
    settle(&store, std::slice::from_ref(&conflict), &[of_link("k1")], 10).await;
    let first = stored(&store, "x").await;

    settle(&store, std::slice::from_ref(&conflict), &[of_link("k1")], 20).await;
    let second = stored(&store, "x").await;
    let changed = OpenRow { message: "waits still".into(), ..conflict };
    settle(&store, std::slice::from_ref(&changed), &[], 30).await;

    assert_eq!(second, StoredRow { last_seen: at(20), ..first.clone() });
    let third = stored(&store, "x").await;
    assert_eq!((third.first_seen, third.run.as_str()), (at(10), "run-30"));
    assert_eq!(third.row, changed);
    assert_eq!(store.open_row_count().await.unwrap(), 1);
}

async fn given_an_open_row_when_its_subject_is_planned_without_it_then_it_converges(world: World) {
    let store = world.lock().await;
    linked(&store).await;
    list(&store, Side::Left, vec![seen(Side::Left, "l2", "Eve", 1)]).await;
    // A create that waits names a link that does not exist yet: its subject is the record.
    let rows = [
        row("x", Code::Conflict, Some("k1"), Some("l1")),
        row("y", Code::PendingRef, Some("k-to-be"), Some("l2")),
    ];
    let both = [of_link("k1"), of_record(Side::Left, "l2")];
    settle(&store, &rows, &both, 10).await;

    settle(&store, &[], &[of_link("k9")], 20).await;
    let untouched = store.open_row_count().await.unwrap();
    settle(&store, &rows[1..], &both, 30).await;
    let one = store.open_row_count().await.unwrap();
    settle(&store, &[], &[of_record(Side::Left, "l2")], 40).await;

    assert_eq!((untouched, one), (2, 1));
    let closed = stored(&store, "x").await;
    assert_eq!((closed.closed_at, closed.closed_by.as_deref()), (Some(at(30)), Some("converged")));
    assert_eq!(store.open_row_count().await.unwrap(), 0);
    settle(&store, &rows[..1], &both[..1], 50).await;
    let reopened = stored(&store, "x").await;
    assert_eq!((reopened.first_seen, reopened.closed_at), (at(50), None));
}

async fn given_a_row_decided_by_policy_when_stored_then_it_is_closed(world: World) {
    let store = world.lock().await;
    linked(&store).await;
    let kind = RowKind::Conflict;
    let winner = Some(Side::Left);
    let decided = OpenRow { kind, winner, ..row("x", Code::Conflict, Some("k1"), Some("l1")) };

    settle(&store, std::slice::from_ref(&decided), &[of_link("k1")], 10).await;
    settle(&store, &[], &[of_link("k1")], 20).await;

    let history = stored(&store, "x").await;
    assert_eq!((history.closed_at, history.closed_by.as_deref()), (Some(at(10)), Some("policy")));
    assert_eq!(store.open_row_count().await.unwrap(), 0);
}

async fn given_a_resolution_when_stored_then_its_subject_is_planned_with_it(world: World) {
    let store = world.lock().await;
    linked(&store).await;
    list(&store, Side::Left, vec![seen(Side::Left, "l2", "Eve", 1)]).await;
    let rows = [
        row("x", Code::Conflict, Some("k1"), Some("l1")),
        OpenRow {
            records: Pair::new(Some(RecordId::new("l2")), Some(RecordId::new("r2"))),
            ..row("y", Code::Ambiguous, None, Some("l2"))
        },
    ];
    let subjects = [of_link("k1"), of_record(Side::Left, "l2")];
    settle(&store, &rows, &subjects, 10).await;
    store.settle(&contact(), &subjects, &rows, &subjects, "run", at(11)).await.unwrap();
    assert_eq!(marked(&store).await, []);
    let decide = |row: &str, choice: Choice| Resolution {
        row: RowId(row.to_owned()),
        choice,
        fingerprint: "shown".into(),
        by: "Ada".into(),
        at: at(12),
    };

    store.resolve(&decide("x", Choice::Right)).await.unwrap();
    store.resolve(&decide("x", Choice::Left)).await.unwrap();
    store.resolve(&decide("y", Choice::Create)).await.unwrap();

    assert!(store.resolve(&decide("nothing", Choice::Left)).await.is_err());
    assert_eq!(marked(&store).await, subjects);
    for (subject_key, choice) in subjects.into_iter().zip([Choice::Left, Choice::Create]) {
        let decided = subject(&store, subject_key).await.resolutions;
        assert_eq!(decided.len(), 1, "the last decision counts");
        assert_eq!(decided[0].choice, choice);
    }
    assert_eq!(store.resolutions().await.unwrap().len(), 2, "also where a row names two records");
}

async fn given_a_waiting_record_when_linked_then_its_question_closes(world: World) {
    let store = world.lock().await;
    list(&store, Side::Left, vec![seen(Side::Left, "l1", "Ada", 1)]).await;
    let rows = [
        row("match", Code::Ambiguous, None, Some("l1")),
        row("field", Code::PendingRef, Some("k1"), Some("l1")),
    ];
    settle(&store, &rows, &[of_record(Side::Left, "l1")], 10).await;

    linked(&store).await;

    assert_eq!(stored(&store, "match").await.closed_by.as_deref(), Some("converged"));
    assert_eq!(
        stored(&store, "field").await.closed_at,
        None,
        "it is about the link, which asks on"
    );
    assert_eq!(marked(&store).await, [of_link("k1")], "a plan must look at the open row");
}

async fn given_many_rows_when_filtered_then_pages_follow_ids(world: World) {
    let store = world.lock().await;
    let rows = ["a", "b", "c", "d"].map(|id| {
        let code = if id == "b" { Code::Ambiguous } else { Code::Conflict };
        row(id, code, Some("k1"), None)
    });
    settle(&store, &rows, &[of_link("k1")], 10).await;
    settle(&store, &rows[1..], &[of_link("k1")], 20).await;
    let open = || RowFilter { open_only: true, ..RowFilter::default() };
    //   case          filter                                                   ids
    let cases = [
        ("all", RowFilter::default(), "abcd"),
        ("open", open(), "bcd"),
        ("code", RowFilter { code: Some(Code::Conflict), ..open() }, "cd"),
        ("page", RowFilter { after: Some("b".into()), limit: Some(1), ..open() }, "c"),
        ("link", RowFilter { link: Some(link("k2")), ..open() }, ""),
        ("entity", RowFilter { entity: Some("deal".into()), ..open() }, ""),
    ];
    for (case, filter, expected) in cases {
        let found = store.rows(&filter).await.unwrap();

        let ids: String = found.into_iter().map(|stored| stored.row.id.0).collect();
        assert_eq!(ids, expected, "{case}");
    }
}
