//! What planning asks about records that are no subjects.

use crmsync::store::EntityCounts;
use crmsync_core::model::state::{Candidate, MatchKey};
use crmsync_core::model::{Presence, RecordId, Side};

use super::absences::delete;
use super::laws;
use super::world::*;

laws! {
    given_records_of_both_sides_when_asked_by_key_then_candidates_tell_their_links,
    given_external_ids_when_asked_then_holders_and_named_records_are_found,
    given_a_linked_record_when_its_end_was_never_read_then_it_is_named,
    given_links_when_counted_then_counts_agree,
}

async fn given_records_of_both_sides_when_asked_by_key_then_candidates_tell_their_links(
    world: World,
) {
    let store = world.lock().await;
    linked(&store).await;
    let mut outside = seen(Side::Right, "r3", "Ada", 1);
    outside.observation.in_scope = false;
    list(&store, Side::Right, vec![outside, seen(Side::Right, "r2", "Ada", 1)]).await;
    list(
        &store,
        Side::Left,
        vec![seen(Side::Left, "l2", "Ada", 1), seen(Side::Left, "l3", "Eve", 1)],
    )
    .await;
    let ada = MatchKey("0:Ada".into());
    let (entity, keys) = (contact(), [ada.clone(), MatchKey("9:no".into())].into());
    let ask = || store.candidates(&entity, &keys);
    let candidate = |side, id: &str, linked: Option<&str>| Candidate {
        side,
        id: RecordId::new(id),
        link: linked.map(link),
        counterpart_gone: false,
        survivor: false,
        external_id: None,
    };

    let before = ask().await.unwrap();
    delete(&store, Side::Left, "l1").await;
    let after = ask().await.unwrap();
    read(&store, Side::Left, vec![seen(Side::Left, "l1", "Ada", 9)]).await;
    let back = ask().await.unwrap();
    delete(&store, Side::Left, "l1").await;
    unlink(&store, "k1", "l1", "r1").await;
    let survivor = ask().await.unwrap();

    let (l1, l2) = (candidate(Side::Left, "l1", Some("k1")), candidate(Side::Left, "l2", None));
    let (r1, r2) = (candidate(Side::Right, "r1", Some("k1")), candidate(Side::Right, "r2", None));
    assert_eq!(before.len(), 1);
    assert_eq!(before[&ada], [l1, l2.clone(), r1.clone(), r2.clone()]);
    let gone = Candidate { counterpart_gone: true, ..r1.clone() };
    assert_eq!(after[&ada], [l2.clone(), gone.clone(), r2.clone()]);
    assert_eq!(
        back[&ada], before[&ada],
        "the counterpart lives again, although its tombstone is there"
    );
    let left_over = Candidate { survivor: true, link: None, ..gone };
    assert_eq!(survivor[&ada], [l2, left_over, r2]);
}

async fn given_external_ids_when_asked_then_holders_and_named_records_are_found(world: World) {
    let store = world.lock().await;
    list(
        &store,
        Side::Left,
        vec![seen(Side::Left, "l1", "Ada", 1), seen(Side::Left, "l2", "Eve", 1)],
    )
    .await;
    let mut holder = seen(Side::Right, "r1", "Ada", 1);
    holder.observation.external_id = Some(RecordId::new("l1"));
    list(&store, Side::Right, vec![holder]).await;
    delete(&store, Side::Left, "l2").await;

    let ids = ["l1", "l2", "l9"].map(RecordId::new);
    let holders = store.by_external_id(&contact(), Side::Right, &ids).await.unwrap();
    let (named, gone) = store.named(&contact(), Side::Left, &ids).await.unwrap();
    let presence = store.presence(&contact(), Side::Left, &ids.clone().into()).await.unwrap();

    assert_eq!(holders.len(), 1);
    assert_eq!(holders[&ids[0]][0].id, RecordId::new("r1"));
    assert_eq!(holders[&ids[0]][0].external_id.as_ref(), Some(&ids[0]));
    assert_eq!(named.keys().collect::<Vec<_>>(), [&ids[0]]);
    assert_eq!(gone, [ids[1].clone()].into());
    assert_eq!(presence[&ids[0]], (Presence::Alive, true));
    assert_eq!(presence[&ids[1]], (Presence::Deleted, true));
    assert_eq!(presence.len(), 2);
}

async fn given_a_linked_record_when_its_end_was_never_read_then_it_is_named(world: World) {
    let store = world.lock().await;
    list(&store, Side::Left, vec![seen(Side::Left, "l1", "Ada", 1)]).await;

    store.commit("run", &[done(link_op("k1", "l1", "r1", &[]))], at(50)).await.unwrap();
    let lost = store.link_ends_without_observation(&contact()).await.unwrap();
    let clean = vec![RecordId::new("r1")];
    let back = vec![seen(Side::Right, "r1", "Ada", 1)];
    PageOf { clean, ..PageOf::by_id(Side::Right, back) }.commit(&store).await;

    assert_eq!(lost, [key(Side::Right, "r1")]);
    assert_eq!(store.link_ends_without_observation(&contact()).await.unwrap(), []);
}

async fn given_links_when_counted_then_counts_agree(world: World) {
    let store = world.lock().await;
    linked(&store).await;
    list(&store, Side::Left, vec![seen(Side::Left, "l2", "Eve", 1)]).await;
    store.arm(&[intent("i1", create_op("k2", "l2", &[]))]).await.unwrap();
    list(&store, Side::Right, vec![seen(Side::Right, "r9", "Mia", 1)]).await;

    let counts = store.counts().await.unwrap();
    let ids = ["l1", "l2", "l3"].map(RecordId::new);
    let linked = store.counterparts(&contact(), Side::Left, &ids.clone().into()).await.unwrap();

    let expected = EntityCounts { left: 2, right: 2, links: 2, open_rows: 0, attention: 1 };
    assert_eq!(counts[&contact()], expected);
    assert_eq!(linked[&ids[0]], (link("k1"), Some(RecordId::new("r1"))));
    assert_eq!(linked[&ids[1]], (link("k2"), None));
    assert_eq!(linked.len(), 2);
}
