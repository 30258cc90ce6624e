//! Pages: which rows are believed, what is written, what gets attention.

use crmsync::store::{Accepted, Cursor, Observed};
use crmsync_core::model::state::MatchKey;
use crmsync_core::model::{FieldName, Presence, RecordId, Side, Value};

use super::laws;
use super::world::*;

laws! {
    given_a_stored_record_when_listed_again_then_semantics_11_2_decides,
    given_a_stored_record_when_read_by_id_then_it_is_believed,
    given_a_tombstoned_record_when_listed_then_it_is_read_by_id,
    given_an_unchanged_page_when_committed_then_nothing_is_written,
    given_a_linked_record_when_it_changes_then_its_link_gets_attention,
    given_a_waiting_record_when_its_double_changes_keys_then_it_gets_attention,
    given_an_older_cursor_when_committed_then_the_watermark_stays,
    given_a_full_listing_when_records_are_absent_then_they_are_unseen,
    given_hostile_text_when_stored_then_it_reads_back_the_same,
    given_new_match_keys_when_rekeyed_then_candidates_follow,
    given_another_mapping_when_fields_are_replaced_then_subjects_get_attention,
}

fn counts(accepted: &Accepted) -> (u64, u64, u64, u64) {
    (accepted.changed, accepted.unchanged, accepted.stale, accepted.unstamped)
}

fn untimed(mut row: Observed) -> Observed {
    row.observation.modified_at = None;
    row
}

async fn given_a_stored_record_when_listed_again_then_semantics_11_2_decides(world: World) {
    let left = |name: &str, modified| seen(Side::Left, "l1", name, modified);
    //   case                       stored first             listed then              changed, unchanged, stale
    let cases = [
        ("the same again", left("Ada", 5), left("Ada", 5), (0, 1, 0)),
        ("newer, other content", left("Ada", 5), left("Eve", 6), (1, 0, 0)),
        ("newer, same content", left("Ada", 5), left("Ada", 6), (0, 1, 0)),
        ("older, other content", left("Ada", 5), left("Eve", 4), (0, 0, 1)),
        ("older, same content", left("Ada", 5), left("Ada", 4), (0, 1, 0)),
        ("same time, other content", left("Ada", 5), left("Eve", 5), (0, 0, 1)),
        ("no times", untimed(left("Ada", 0)), untimed(left("Eve", 0)), (1, 0, 0)),
    ];
    let store = world.lock().await;
    for (case, first, then, (changed, unchanged, stale)) in cases {
        read(&store, Side::Left, vec![first.clone()]).await;

        let accepted = list(&store, Side::Left, vec![then.clone()]).await;

        assert_eq!(counts(&accepted), (changed, unchanged, stale, 0), "{case}");
        let dirty = due(&store, Side::Left).await;
        assert_eq!(dirty.len() as u64, stale, "{case}: {dirty:?}");
        let now = store.observations(&[key(Side::Left, "l1")]).await.unwrap().remove(0);
        let expected = if changed == 1 { &then } else { &first };
        assert_eq!(now.fields, expected.observation.fields, "{case}");
        let clean = vec![RecordId::new("l1")];
        PageOf { clean, ..PageOf::by_id(Side::Left, vec![first]) }.commit(&store).await;
    }
}

async fn given_a_stored_record_when_read_by_id_then_it_is_believed(world: World) {
    let store = world.lock().await;
    list(&store, Side::Left, vec![seen(Side::Left, "l1", "Ada", 5)]).await;

    let older = read(&store, Side::Left, vec![seen(Side::Left, "l1", "Eve", 4)]).await;
    let unstamped = read(&store, Side::Left, vec![seen(Side::Left, "l1", "Mia", 4)]).await;

    assert_eq!(counts(&older), (1, 0, 0, 0));
    assert_eq!(counts(&unstamped), (1, 0, 0, 1));
    let now = store.observations(&[key(Side::Left, "l1")]).await.unwrap().remove(0);
    assert_eq!(now, seen(Side::Left, "l1", "Mia", 4).observation);
}

async fn given_a_tombstoned_record_when_listed_then_it_is_read_by_id(world: World) {
    let store = world.lock().await;
    list(&store, Side::Left, vec![seen(Side::Left, "l1", "Ada", 5)]).await;
    super::absences::delete(&store, Side::Left, "l1").await;

    let listed = list(&store, Side::Left, vec![seen(Side::Left, "l1", "Ada", 9)]).await;
    let gone = store.observations(&[key(Side::Left, "l1")]).await.unwrap().remove(0);
    let dirty = due(&store, Side::Left).await;
    let found = read(&store, Side::Left, vec![seen(Side::Left, "l1", "Ada", 9)]).await;

    assert_eq!(counts(&listed), (0, 0, 1, 0));
    assert_eq!(gone.presence, Presence::Deleted);
    assert_eq!(dirty, ["l1 listed-though-deleted"]);
    assert_eq!(counts(&found), (1, 0, 0, 0));
    let subject = subject(&store, of_record(Side::Left, "l1")).await;
    assert!(subject.tombstones.left.is_some(), "only a plan takes a tombstone back");
}

async fn given_an_unchanged_page_when_committed_then_nothing_is_written(world: World) {
    let store = world.lock().await;
    let rows: Vec<_> = (0..250).map(|n| seen(Side::Left, &format!("l{n}"), "Ada", 5)).collect();
    list(&store, Side::Left, rows.clone()).await;
    let marks = marked(&store).await;
    store.settle(&contact(), &marks, &[], &marks, "run-1", at(101)).await.unwrap();
    let before = store.attention_count(&contact()).await.unwrap();

    let again = list(&store, Side::Left, rows).await;

    assert_eq!(counts(&again), (0, 250, 0, 0));
    assert_eq!(store.attention_count(&contact()).await.unwrap(), before);
    assert_eq!(before, 150, "100 of 250 were settled");
}

async fn given_a_linked_record_when_it_changes_then_its_link_gets_attention(world: World) {
    let store = world.lock().await;
    linked(&store).await;
    assert_eq!(marked(&store).await, [], "both ends hold the baseline");

    list(&store, Side::Right, vec![seen(Side::Right, "r1", "Eve", 9)]).await;

    assert_eq!(marked(&store).await, [of_link("k1")]);
    let subject = subject(&store, of_link("k1")).await;
    assert_eq!(subject.observations.left.unwrap().fields, fields(&[("name", "Ada")]));
    assert_eq!(subject.observations.right.unwrap().fields, fields(&[("name", "Eve")]));
}

async fn given_a_waiting_record_when_its_double_changes_keys_then_it_gets_attention(world: World) {
    let store = world.lock().await;
    let doubles = vec![seen(Side::Right, "r1", "Ada", 1), seen(Side::Right, "r2", "Ada", 1)];
    list(&store, Side::Left, vec![seen(Side::Left, "l1", "Ada", 1)]).await;
    list(&store, Side::Right, doubles).await;
    let all = marked(&store).await;
    store.settle(&contact(), &all, &[], &all, "run-1", at(101)).await.unwrap();

    list(&store, Side::Right, vec![seen(Side::Right, "r2", "Eve", 9)]).await;

    let expected =
        [of_record(Side::Left, "l1"), of_record(Side::Right, "r1"), of_record(Side::Right, "r2")];
    assert_eq!(marked(&store).await, expected);
}

async fn given_an_older_cursor_when_committed_then_the_watermark_stays(world: World) {
    let store = world.lock().await;
    let cursor = |seconds, epoch| Cursor {
        watermark: Some(at(seconds)),
        deleted_watermark: Some(at(seconds)),
        epoch,
        ..Cursor::default()
    };
    for (seconds, epoch) in [(10, 1), (5, 2)] {
        let cursor = Some(cursor(seconds, epoch));
        PageOf { cursor, ..PageOf::new(Side::Left, Vec::new()) }.commit(&store).await;
    }

    let kept = store.cursor(&contact(), Side::Left).await.unwrap();
    store.save_cursor(&contact(), Side::Left, &cursor(3, 3)).await.unwrap();
    let reset = store.cursor(&contact(), Side::Left).await.unwrap();

    assert_eq!(kept, cursor(10, 2));
    assert_eq!(reset, cursor(3, 3), "a resync may move it back");
}

async fn given_a_full_listing_when_records_are_absent_then_they_are_unseen(world: World) {
    let store = world.lock().await;
    let row = |id: &str| seen(Side::Left, id, "Ada", 1);
    list(&store, Side::Left, vec![row("l1"), row("l2"), row("l3"), row("l4")]).await;

    let epoch = Some(7);
    PageOf { epoch, ..PageOf::new(Side::Left, vec![row("l2")]) }.commit(&store).await;

    let unseen = store.unseen(&contact(), Side::Left, 7, None, 2).await.unwrap();
    let after = unseen.last();
    let rest = store.unseen(&contact(), Side::Left, 7, after, 2).await.unwrap();
    assert_eq!(unseen, ["l1", "l3"].map(RecordId::new));
    assert_eq!(rest, ["l4"].map(RecordId::new));
    assert_eq!(
        store.unseen(&contact(), Side::Left, u64::MAX >> 1, None, 9).await.unwrap().len(),
        4
    );
    assert_eq!(store.alive(&contact(), Side::Left).await.unwrap(), 4);
}

async fn given_hostile_text_when_stored_then_it_reads_back_the_same(world: World) {
    let long = "ж".repeat(70_000);
    let cases = [
        ("four bytes", "𝒜𝒹𝒶 🦀"),
        ("quotes", r#"'; DROP TABLE observation; -- "\"#),
        ("wildcards", "100%_\\"),
        ("control", "a\u{0}b\u{7f}\u{200f}"),
        ("long", long.as_str()),
    ];
    let store = world.lock().await;
    for (case, text) in cases {
        let mut row = seen(Side::Left, "l-𝒜'%", "Ada", 1);
        row.observation.fields.insert(FieldName::new("note"), Value::Text(text.into()));
        row.observation.external_id = Some(RecordId::new(text));

        read(&store, Side::Left, vec![row.clone()]).await;

        let now =
            store.observations(std::slice::from_ref(&row.observation.key)).await.unwrap().remove(0);
        assert_eq!(now.fields, row.observation.fields, "{case}");
        let again = read(&store, Side::Left, vec![row]).await;
        assert_eq!(counts(&again), (0, 1, 0, 0), "{case}");
    }
    let padded = ["x", "x ", "X"].map(|id| seen(Side::Right, id, "Ada", 1));
    list(&store, Side::Right, padded.to_vec()).await;
    assert_eq!(store.alive(&contact(), Side::Right).await.unwrap(), 3, "IDs compare as bytes");
}

async fn given_new_match_keys_when_rekeyed_then_candidates_follow(world: World) {
    let store = world.lock().await;
    list(&store, Side::Left, vec![seen(Side::Left, "l1", "Ada", 1)]).await;
    let all = marked(&store).await;
    store.settle(&contact(), &all, &[], &all, "run-1", at(101)).await.unwrap();
    let (old, new) = (MatchKey("0:Ada".into()), MatchKey("1:ada".into()));

    let keys = [(RecordId::new("l1"), vec![new.clone()])];
    store.rekey(&contact(), Side::Left, &keys).await.unwrap();

    let found = store.candidates(&contact(), &[old, new.clone()].into()).await.unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), [&new]);
    assert_eq!(marked(&store).await, [of_record(Side::Left, "l1")]);
}

async fn given_another_mapping_when_fields_are_replaced_then_subjects_get_attention(world: World) {
    let store = world.lock().await;
    linked(&store).await;
    let mut row = seen(Side::Left, "l1", "Ada", 1);
    row.observation.fields.insert(FieldName::new("city"), Value::text("Wien"));

    store.replace_fields(std::slice::from_ref(&row)).await.unwrap();

    let now = store.observations(&[key(Side::Left, "l1")]).await.unwrap().remove(0);
    assert_eq!(now, row.observation);
    assert_eq!(marked(&store).await, [of_link("k1")]);
}
