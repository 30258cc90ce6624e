//! Records that are gone, or cannot be read.

use crmsync::store::{Absence, RouteStore};
use crmsync_core::model::link::{DeleteEvidence, Deletion, TombstoneCause};
use crmsync_core::model::{Code, Presence, RecordId, Side};

use super::laws;
use super::world::*;

laws! {
    given_a_linked_record_when_deleted_then_a_tombstone_keeps_its_link,
    given_a_deletion_when_found_again_then_nothing_changes,
    given_a_forbidden_record_when_planned_then_it_is_x_until_it_is_read,
    given_an_unlinked_record_when_deleted_then_it_leaves_the_plan,
    given_a_dirty_record_when_marked_again_then_its_history_stays,
}

fn deletion(side: Side, id: &str) -> Deletion {
    Deletion {
        side,
        id: RecordId::new(id),
        evidence: DeleteEvidence::Strong,
        merged_into: None,
        converted_to: None,
    }
}

async fn absent(store: &RouteStore, side: Side, absence: Absence) {
    store.record_absences(&contact(), side, &module(), &[absence], at(120)).await.unwrap();
}

pub(crate) async fn delete(store: &RouteStore, side: Side, id: &str) {
    absent(store, side, Absence::Deleted(deletion(side, id))).await;
}

fn unknown(id: &str, missing: bool, next: i64) -> Absence {
    Absence::Unknown {
        id: RecordId::new(id),
        code: Code::Forbidden,
        next_at: at(next),
        missing_since: missing.then(|| at(90)),
    }
}

async fn given_a_linked_record_when_deleted_then_a_tombstone_keeps_its_link(world: World) {
    let store = world.lock().await;
    linked(&store).await;
    store
        .mark_dirty(&contact(), Side::Left, &[(RecordId::new("l1"), "feed".into())], at(110))
        .await
        .unwrap();

    let merged = Deletion { merged_into: Some(RecordId::new("l9")), ..deletion(Side::Left, "l1") };
    absent(&store, Side::Left, Absence::Deleted(merged)).await;

    assert_eq!(marked(&store).await, [of_link("k1")]);
    let subject = subject(&store, of_link("k1")).await;
    let tombstone = subject.tombstones.left.unwrap();
    assert_eq!(tombstone.cause, TombstoneCause::MergedAway);
    assert_eq!(tombstone.successor, Some(RecordId::new("l9")));
    assert_eq!(tombstone.link, Some(link("k1")));
    assert_eq!(subject.observations.left.unwrap().presence, Presence::Deleted);
    assert_eq!(due(&store, Side::Left).await, [""; 0]);
    assert_eq!(store.alive(&contact(), Side::Left).await.unwrap(), 0);
}

async fn given_a_deletion_when_found_again_then_nothing_changes(world: World) {
    let store = world.lock().await;
    linked(&store).await;
    delete(&store, Side::Left, "l1").await;
    let before = subject(&store, of_link("k1")).await;
    let all = marked(&store).await;
    store.settle(&contact(), &all, &[], &all, "run-1", at(121)).await.unwrap();

    delete(&store, Side::Left, "l1").await;

    assert_eq!(marked(&store).await, []);
    assert_eq!(subject(&store, of_link("k1")).await, before);
}

async fn given_a_forbidden_record_when_planned_then_it_is_x_until_it_is_read(world: World) {
    let store = world.lock().await;
    linked(&store).await;

    absent(&store, Side::Right, unknown("r1", true, 300)).await;
    let held = subject(&store, of_link("k1")).await;
    let marks = marked(&store).await;
    let not_due = due(&store, Side::Right).await;
    absent(&store, Side::Right, unknown("r1", true, 150)).await;
    let waits = store.dirty(&contact(), Side::Right, at(200), 9).await.unwrap();
    let clean = vec![RecordId::new("r1")];
    let back = vec![seen(Side::Right, "r1", "Ada", 1)];
    PageOf { clean, ..PageOf::by_id(Side::Right, back) }.commit(&store).await;

    assert_eq!(held.unknown.right, Some(Code::Forbidden));
    assert_eq!(held.observations.right.unwrap().presence, Presence::Invisible);
    assert_eq!(marks, [of_link("k1")]);
    assert_eq!(not_due, [""; 0]);
    assert_eq!((waits[0].attempts, waits[0].missing_since), (2, Some(at(90))));
    let free = subject(&store, of_link("k1")).await;
    assert_eq!(free.unknown.right, None);
    assert_eq!(free.observations.right.unwrap().presence, Presence::Alive);
    assert_eq!(due(&store, Side::Right).await, [""; 0]);
}

async fn given_an_unlinked_record_when_deleted_then_it_leaves_the_plan(world: World) {
    let store = world.lock().await;
    list(&store, Side::Left, vec![seen(Side::Left, "l1", "Ada", 1)]).await;
    assert_eq!(marked(&store).await, [of_record(Side::Left, "l1")]);

    delete(&store, Side::Left, "l1").await;

    assert_eq!(marked(&store).await, []);
    assert_eq!(store.attention_count(&contact()).await.unwrap(), 0);
    assert_eq!(
        store.subject_of(&key(Side::Left, "l1")).await.unwrap(),
        Some(of_record(Side::Left, "l1"))
    );
    assert_eq!(store.subject_of(&key(Side::Left, "nobody")).await.unwrap(), None);
}

async fn given_a_dirty_record_when_marked_again_then_its_history_stays(world: World) {
    let store = world.lock().await;
    absent(&store, Side::Left, unknown("l1", true, 900)).await;

    store
        .mark_dirty(&contact(), Side::Left, &[(RecordId::new("l1"), "webhook".into())], at(130))
        .await
        .unwrap();

    let due = store.dirty(&contact(), Side::Left, at(130), 9).await.unwrap().remove(0);
    assert_eq!((due.reason.as_str(), due.attempts), ("webhook", 1));
    assert_eq!((due.missing_since, due.next_at), (Some(at(90)), at(130)));
}
