//! The decision table for unlinked records, row by row: semantics §6.2 and §6.4.

use crmsync_core::model::link::TombstoneCause;
use crmsync_core::model::mapping::Creation;
use crmsync_core::model::row::{Choice, Resolution};
use crmsync_core::model::{Code, LinkState, OpKind, RecordId, Side, Value};

use crate::world::{World, at, contact};

fn world() -> World {
    World::new(contact())
}

fn person(world: &mut World, side: Side, id: &str, email: &str, name: &str) {
    let values = [("email", Value::text(email)), ("name", Value::text(name))];
    world.add(side, id, &values);
}

fn names(world: &mut World, side: Side, id: &str, named: &str) {
    let seen = world.records.get_mut(&(side, RecordId::new(id))).unwrap();
    seen.external_id = Some(RecordId::new(named));
}

/// Codes of ops that bind or make records, then codes of rows.
fn codes(world: &World) -> (Vec<Code>, Vec<Code>) {
    let plan = world.plan();
    let matters = |kind: &OpKind| !matches!(kind, OpKind::Update { .. } | OpKind::Agree { .. });
    let ops = plan.ops.iter().filter(|op| matters(&op.kind)).map(|op| op.code).collect();
    (ops, plan.rows.iter().filter(|row| row.is_open()).map(|row| row.code).collect())
}

const L: Side = Side::Left;
const R: Side = Side::Right;

#[test]
fn given_unlinked_records_when_planned_then_the_table_decides() {
    type Case = (&'static str, fn(&mut World), &'static [Code], &'static [Code]);
    let cases: &[Case] = &[
        ("no candidate", |w| person(w, L, "1", "a", "A"), &[Code::Create], &[]),
        (
            "no candidate, listing incomplete",
            |w| {
                person(w, L, "1", "a", "A");
                w.complete[R] = false;
            },
            &[],
            &[Code::Deferred],
        ),
        (
            "one strong candidate",
            |w| {
                person(w, L, "1", "a", "A");
                person(w, R, "2", "a", "B");
            },
            &[Code::Link],
            &[],
        ),
        (
            "one strong candidate, own listing incomplete",
            |w| {
                person(w, L, "1", "a", "A");
                person(w, R, "2", "a", "A");
                w.complete[L] = false;
            },
            &[],
            &[Code::Deferred, Code::Deferred],
        ),
        (
            "one weak candidate",
            |w| {
                person(w, L, "1", "a", "A");
                person(w, R, "2", "b", "A");
            },
            &[],
            &[Code::Suggested],
        ),
        (
            "candidate is linked to another",
            |w| {
                w.add_pair("x", &[("email", Value::text("a"))]);
                person(w, L, "1", "a", "A");
            },
            &[],
            &[Code::DupInSide],
        ),
        (
            "candidate's counterpart was deleted",
            |w| {
                w.add_pair("x", &[("email", Value::text("a"))]);
                w.delete(L, "l-x");
                person(w, L, "1", "a", "A");
            },
            &[Code::Relink],
            &[],
        ),
        (
            "two on one side",
            |w| {
                person(w, L, "1", "a", "A");
                person(w, L, "2", "a", "B");
                person(w, R, "3", "a", "C");
            },
            &[],
            &[Code::Ambiguous],
        ),
        (
            "two on the other side",
            |w| {
                person(w, L, "1", "a", "A");
                person(w, R, "2", "a", "B");
                person(w, R, "3", "a", "C");
            },
            &[],
            &[Code::Ambiguous],
        ),
        (
            "a chain over two levels",
            |w| {
                person(w, L, "1", "a", "N");
                person(w, R, "2", "a", "M");
                person(w, L, "3", "b", "M");
            },
            &[Code::Link],
            &[Code::Ambiguous],
        ),
        (
            "external ID beats keys",
            |w| {
                person(w, L, "1", "a", "A");
                person(w, R, "2", "b", "B");
                person(w, R, "3", "c", "C");
                names(w, R, "2", "1");
            },
            &[Code::Link, Code::Create],
            &[],
        ),
        (
            "external ID and keys disagree",
            |w| {
                person(w, L, "1", "a", "A");
                person(w, R, "2", "b", "B");
                person(w, R, "3", "a", "C");
                names(w, L, "1", "2");
            },
            &[Code::KeyDisagrees],
            &[Code::Ambiguous],
        ),
        (
            "external ID names a dead record",
            |w| {
                person(w, L, "1", "a", "A");
                person(w, R, "2", "b", "B");
                names(w, L, "1", "2");
                w.bury(&(R, RecordId::new("2")), TombstoneCause::Deleted, None);
            },
            &[],
            &[Code::DanglingId],
        ),
        (
            "external ID names an unknown record",
            |w| {
                person(w, L, "1", "a", "A");
                names(w, L, "1", "77");
            },
            &[],
            &[Code::DanglingId],
        ),
        (
            "copied with its external ID: matched anew",
            |w| {
                person(w, L, "1", "a", "A");
                person(w, L, "2", "b", "B");
                person(w, R, "3", "c", "C");
                names(w, L, "1", "3");
                names(w, L, "2", "3");
            },
            &[Code::Link, Code::ClonedId],
            &[],
        ),
        (
            "external ID names a record linked elsewhere: a copy",
            |w| {
                w.add_pair("x", &[("email", Value::text("a"))]);
                person(w, L, "1", "b", "B");
                names(w, L, "1", "r-x");
            },
            &[Code::ClonedId],
            &[],
        ),
        (
            "mapping links only",
            |w| {
                w.entity.create = Creation::None;
                person(w, L, "1", "a", "A");
            },
            &[],
            &[],
        ),
    ];
    for (name, arrange, ops, rows) in cases {
        let mut world = world();
        arrange(&mut world);

        let found = codes(&world);

        let mut sorted = (found.0, found.1);
        let mut expected = (ops.to_vec(), rows.to_vec());
        for list in [&mut sorted.0, &mut sorted.1, &mut expected.0, &mut expected.1] {
            list.sort_unstable();
        }
        assert_eq!(sorted, expected, "{name}");
    }
}

#[test]
fn given_a_copy_of_what_we_made_when_planned_then_it_is_a_twin() {
    let mut world = world();
    person(&mut world, L, "1", "a", "A");
    person(&mut world, L, "2", "b", "B");
    person(&mut world, R, "3", "c", "C");
    names(&mut world, L, "1", "3");
    names(&mut world, L, "2", "3");
    let mut state = world.state();
    let twin = |subject: &&mut crmsync_core::model::state::Subject| {
        subject.observations.left.as_ref().is_some_and(|seen| seen.key.id.as_str() == "2")
    };
    state.subjects.iter_mut().find(twin).unwrap().ours = true;

    let plan = world.plan_state(&state, &crate::world::context());

    let open: Vec<_> = plan.rows.iter().filter(|row| row.is_open()).map(|row| row.code).collect();
    assert_eq!(open, [Code::Twin]);
}

#[test]
fn given_a_deleted_record_when_it_is_back_then_its_link_lives_again() {
    let mut world = world();
    let link = world.add_pair("x", &[("email", Value::text("a"))]);
    world.delete(L, "l-x");
    world.entity.deletes.policy = crmsync_core::model::Pair::default();
    world.settle();
    assert_eq!(world.links[&link].state, LinkState::Closed);

    world.revive(L, "l-x");
    world.edit(L, "l-x", "name", Value::text("new"));
    let plan = world.plan();
    world.settle();

    assert_eq!(plan.ops.iter().map(|op| op.code).collect::<Vec<_>>(), [Code::Revived]);
    assert_eq!(world.links[&link].state, LinkState::Live);
    assert_eq!(world.get(R, "r-x", "name"), Value::text("new"));
}

#[test]
fn given_both_ends_deleted_when_both_are_back_then_both_live_again() {
    let mut world = world();
    world.add_pair("x", &[("email", Value::text("a"))]);
    world.delete(L, "l-x");
    world.delete(R, "r-x");

    world.revive(L, "l-x");
    world.revive(R, "r-x");
    let plan = world.plan();

    let codes: Vec<_> = plan.ops.iter().map(|op| op.code).collect();
    assert_eq!(codes, [Code::Revived, Code::Revived]);
    world.settle();
    assert!(world.tombstones.is_empty());
}

#[test]
fn given_a_survivor_when_planned_then_it_is_never_made_anew() {
    let mut world = world();
    world.entity.deletes.policy = crmsync_core::model::Pair::default();
    world.add_pair("x", &[("email", Value::text("a"))]);
    world.delete(L, "l-x");

    let plan = world.settle();

    assert!(plan.rows.is_empty());
    assert_eq!(world.records.len(), 2);
}

#[test]
fn given_a_cluster_when_a_person_chooses_then_that_pair_is_linked() {
    let mut world = world();
    person(&mut world, L, "1", "a", "A");
    person(&mut world, R, "2", "a", "A");
    person(&mut world, R, "3", "a", "A");
    let row = world.plan().rows.remove(0);
    let choice = Choice::Link { candidate: RecordId::new("3") };
    let fits = Resolution {
        row: row.id.clone(),
        choice,
        fingerprint: row.fingerprint,
        by: "ada".to_owned(),
        at: at(0),
    };
    let stale = Resolution { fingerprint: "old".to_owned(), ..fits.clone() };

    world.resolutions = vec![stale];
    let unmoved = codes(&world);
    world.resolutions = vec![fits];
    let moved = world.plan();

    assert_eq!(unmoved, (vec![], vec![Code::Ambiguous]));
    let linked = moved.ops.iter().find_map(|op| match &op.kind {
        OpKind::Link { ends, .. } => Some((ends.left.as_str(), ends.right.as_str())),
        _ => None,
    });
    assert_eq!(linked, Some(("1", "3")));
}

#[test]
fn given_chunks_that_claim_one_record_twice_when_assembled_then_a_person_decides() {
    use crmsync_core::engine::plan::{assemble, plan_entity};
    let mut world = world();
    person(&mut world, L, "1", "a", "N");
    person(&mut world, L, "3", "b", "M");
    person(&mut world, R, "2", "a", "M");
    names(&mut world, L, "3", "2");
    let whole = world.state();
    let mut first = whole.clone();
    first.subjects.retain(|subject| {
        subject.observations.left.as_ref().is_some_and(|s| s.key.id.as_str() == "1")
    });
    first.by_external_id.clear();
    let mut second = whole;
    second.subjects.retain(|subject| {
        subject.observations.left.as_ref().is_some_and(|s| s.key.id.as_str() == "3")
    });
    let context = crate::world::context();
    let ids = crate::world::Nobody;

    let mut plan = plan_entity(&world.entity, &first, &ids, &context);
    plan.absorb(plan_entity(&world.entity, &second, &ids, &context));
    let plan = assemble(
        "crm".into(),
        vec![plan],
        &std::collections::BTreeMap::new(),
        &[world.entity],
        &context,
    );

    assert_eq!(plan.ops, []);
    assert_eq!(plan.rows.iter().map(|row| row.code).collect::<Vec<_>>(), [Code::Ambiguous]);
}

/// Found by generated histories: each once ended with one record in two links.
#[test]
fn given_copies_and_records_that_come_back_when_synced_then_each_has_one_link() {
    type Case = (&'static str, bool, fn(&mut World), fn(&mut World));
    let cases: &[Case] = &[
        (
            "back before the run, and copied",
            false,
            |w| {
                w.delete(L, "l-x");
                w.copy(L, "l-x", 1);
                w.copy(R, "r-x", 2);
                w.revive(L, "l-x");
            },
            |_| {},
        ),
        (
            "kept, then back and copied",
            true,
            |w| w.delete(L, "l-x"),
            |w| {
                w.revive(L, "l-x");
                w.copy(L, "l-x", 1);
            },
        ),
        (
            "both deleted, one back, both copied",
            false,
            |w| {
                w.copy(L, "l-x", 1);
                w.delete(R, "r-x");
                w.delete(L, "l-x");
                w.copy(R, "r-x", 2);
                w.revive(L, "l-x");
            },
            |_| {},
        ),
    ];
    for (name, keep, first, then) in cases {
        let mut world = world();
        if *keep {
            world.entity.deletes.policy = crmsync_core::model::Pair::default();
        }
        world.add_pair("x", &[("email", Value::text("a")), ("name", Value::text("A"))]);
        first(&mut world);
        world.settle();
        then(&mut world);

        let plan = world.settle();

        assert_eq!(world.check(&plan), Ok(()), "{name}");
    }
}
