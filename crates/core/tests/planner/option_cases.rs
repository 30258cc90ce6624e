//! What a mapping may choose besides its policies: drift, line-wise texts, evidence, merged pairs, guards; and how
//! both sides compare when nothing is planned.

use chrono::{DateTime, Utc};
use crmsync_core::engine::audit::{Standing, compare};
use crmsync_core::engine::merge::Unit;
use crmsync_core::model::link::TombstoneCause;
use crmsync_core::model::mapping::{
    Creation, DriftPolicy, EvidenceSource, MergedPolicy, TextMerge,
};
use crmsync_core::model::row::{Choice, Evidence, Resolution, RowKind};
use crmsync_core::model::state::{GuardLimits, PlanContext};
use crmsync_core::model::{
    Code, FieldName, Op, OpKind, OpenRow, Pair, Policy, RecordId, Side, Value,
};

use crate::world::{Nobody, World, at, contact, context};

const L: Side = Side::Left;
const R: Side = Side::Right;

fn pair(value: &str) -> World {
    let mut world = World::new(contact());
    world.add_pair("x", &[("name", Value::text(value))]);
    world
}

fn names(world: &World) -> (Value, Value) {
    (world.get(L, "l-x", "name"), world.get(R, "r-x", "name"))
}

fn texts(left: &str, right: &str) -> (Value, Value) {
    (Value::text(left), Value::text(right))
}

/// The owner is left, and drift may stay.
fn keeping() -> World {
    let mut world = pair("1");
    world.entity.fields[1].conflict = Some(Policy::OwnerLeft);
    world.entity.conflicts.drift = DriftPolicy::Keep;
    world
}

#[test]
fn given_drift_that_may_stay_when_synced_then_it_stays_until_the_owner_edits() {
    let mut world = keeping();
    world.edit(R, "r-x", "name", Value::text("2"));
    let kept = world.settle();
    let drifted = names(&world);

    world.edit(L, "l-x", "name", Value::text("3"));
    let plan = world.settle();

    assert_eq!((drifted, kept.rows), (texts("1", "2"), vec![]));
    assert_eq!(names(&world), texts("3", "3"));
    world.check(&plan).unwrap();
}

#[test]
fn given_drift_that_may_stay_when_the_owner_edits_too_then_the_owner_wins_and_it_is_told() {
    let mut world = keeping();
    world.edit(R, "r-x", "name", Value::text("2"));
    world.edit(L, "l-x", "name", Value::text("3"));

    let plan = world.plan();

    let told: Vec<_> = plan.rows.iter().map(|row| (row.code, row.winner)).collect();
    assert_eq!(told, [(Code::Drift, Some(L))]);
    world.settle();
    assert_eq!(names(&world), texts("3", "3"));
}

#[test]
fn given_a_text_merged_by_line_when_both_sides_edit_then_only_the_same_lines_conflict() {
    let cases = [
        ("different lines", "A\nb\nc", "a\nb\nC", ("A\nb\nC", "A\nb\nC"), 0),
        ("the same line", "A\nb\nc", "1\nb\nc", ("A\nb\nc", "1\nb\nc"), 1),
        (
            "too long for the left side",
            "A\nb\nc",
            "a\nb\nc\nd\ne\nf",
            ("A\nb\nc", "a\nb\nc\nd\ne\nf"),
            1,
        ),
    ];
    for (name, left, right, after, open) in cases {
        let mut world = pair("a\nb\nc");
        let rule = &mut world.entity.fields[1];
        rule.merge = TextMerge::Lines;
        rule.relation =
            crmsync_core::model::Relation::Text { limits: Pair::new(Some(8), Some(11)) };
        world.entity.conflicts.policy = Policy::Queue;
        world.edit(L, "l-x", "name", Value::text(left));
        world.edit(R, "r-x", "name", Value::text(right));

        let plan = world.settle();

        assert_eq!(names(&world), texts(after.0, after.1), "{name}");
        assert_eq!(plan.rows.len(), open, "{name}");
        world.check(&plan).unwrap();
    }
}

type Times = Pair<Option<DateTime<Utc>>>;

#[test]
fn given_the_fields_own_history_when_both_sides_edited_then_it_decides_before_the_records_time() {
    // The right record changed last; the histories may tell another story of this field.
    let cases: [(&str, Times, Option<Side>, Evidence); 4] = [
        ("left later", Pair::new(Some(at(500)), Some(at(400))), Some(L), Evidence::FieldHistory),
        ("right later", Pair::new(Some(at(400)), Some(at(500))), Some(R), Evidence::FieldHistory),
        ("too close", Pair::new(Some(at(400)), Some(at(403))), None, Evidence::FieldHistory),
        ("one is silent", Pair::new(Some(at(500)), None), Some(R), Evidence::RecordTime),
    ];
    for (name, times, winner, evidence) in cases {
        let mut world = pair("1");
        world.entity.conflicts.evidence = EvidenceSource::FieldHistory;
        world.edit(L, "l-x", "name", Value::text("2"));
        world.edit(R, "r-x", "name", Value::text("3"));
        let mut state = world.state();
        state.subjects[0].field_times.insert(FieldName::new("name"), times.clone());

        let plan = world.plan_state(&state, &context());

        let row = &plan.rows[0];
        assert_eq!((row.winner, row.evidence), (winner, Some(evidence)), "{name}");
        assert_eq!((row.kind, &row.changed_at), (RowKind::Conflict, &times), "{name}");
    }
}

/// Left x was merged into left y, both linked.
fn merged() -> World {
    let mut world = pair("1");
    world.add_pair("y", &[]);
    world.delete(L, "l-x");
    let tombstone = world.tombstones.values_mut().next().unwrap();
    tombstone.cause = TombstoneCause::MergedAway;
    tombstone.successor = Some(RecordId::new("l-y"));
    world.entity.merged = MergedPolicy::Delete;
    world
}

fn deletes(ops: &[Op]) -> usize {
    ops.iter().filter(|op| matches!(op.kind, OpKind::Delete { .. })).count()
}

#[test]
fn given_a_merged_pair_when_its_counterpart_may_go_then_only_an_unedited_one_is_deleted() {
    type Case = (&'static str, fn(&mut World), usize, &'static [Code]);
    let cases: &[Case] = &[
        ("unedited", |_| {}, 1, &[]),
        ("edited since", |w| w.edit(R, "r-x", "name", Value::text("2")), 0, &[Code::Merged]),
        ("not asked for", |w| w.entity.merged = MergedPolicy::Queue, 0, &[Code::Merged]),
    ];
    for (name, arrange, gone, open) in cases {
        let mut world = merged();
        arrange(&mut world);

        let plan = world.plan();

        assert_eq!(deletes(&plan.ops), *gone, "{name}");
        assert_eq!(plan.rows.iter().map(|row| row.code).collect::<Vec<_>>(), *open, "{name}");
    }
}

#[test]
fn given_limits_of_ones_own_when_deletes_are_counted_then_they_hold() {
    let cases = [("none at all", 0, 0, true), ("a higher floor", 2, 2, false)];
    for (name, delete_floor, delete_ceiling, withheld) in cases {
        let mut world = merged();
        world.guard.live_links = 20;
        world.entity.deletes.max_percent = 0.into();
        let guards = GuardLimits { delete_floor, delete_ceiling, ..GuardLimits::default() };

        let plan = world.plan_state(&world.state(), &PlanContext { guards, ..context() });

        let trips: Vec<_> = plan.guards.iter().map(|trip| trip.code).collect();
        assert_eq!(trips == [Code::DeleteCap], withheld, "{name}");
        assert_eq!(deletes(&plan.ops), usize::from(!withheld), "{name}");
    }
}

#[test]
fn given_a_subject_when_compared_then_it_stands_as_the_sides_show_it() {
    type Case = (&'static str, fn(&mut World), Standing);
    let differs = |open: &[&str], accepted: &[&str]| {
        let names = |names: &[&str]| names.iter().map(|&name| FieldName::new(name)).collect();
        Standing::Differs { open: names(open), accepted: names(accepted) }
    };
    let cases: [Case; 8] = [
        ("equal", |_| {}, Standing::InSync),
        ("edited", |w| w.edit(R, "r-x", "name", Value::text("2")), differs(&["name"], &[])),
        (
            "a group",
            |w| w.edit(R, "r-x", "amount", Value::text("2")),
            differs(&["group:money"], &[]),
        ),
        (
            "accepted",
            |w| {
                w.edit(R, "r-x", "name", Value::text("2"));
                let link = w.links.values_mut().next().unwrap();
                link.baseline.get_mut("name").unwrap().pinned = true;
            },
            differs(&[], &["name"]),
        ),
        ("one deleted", |w| w.delete(R, "r-x"), Standing::Incomplete),
        (
            "out of scope",
            |w| w.records.get_mut(&(L, RecordId::new("l-x"))).unwrap().in_scope = false,
            Standing::Outside,
        ),
        ("without a link", |w| w.links.clear(), Standing::Alone(L)),
        (
            "never to be created",
            |w| {
                w.links.clear();
                w.entity.create = Creation::None;
            },
            Standing::Outside,
        ),
    ];
    for (name, arrange, expected) in cases {
        let mut world = pair("1");
        arrange(&mut world);
        let state = world.state();

        let standing =
            compare(&world.entity, &Unit::all(&world.entity), &Nobody, &state.subjects[0]);

        assert_eq!(standing, expected, "{name}");
    }
}

fn choice_of(word: &str, row: &OpenRow) -> Choice {
    match word {
        "left" => Choice::Left,
        "right" => Choice::Right,
        "pin" => Choice::Pin,
        "value" => Choice::Value { value: Value::text("9") },
        "link" => Choice::Link {
            candidate: row.candidates.first().or(row.records.right.as_ref()).unwrap().clone(),
        },
        "create" => Choice::Create,
        "ignore" => Choice::Ignore,
        other => panic!("{other}"),
    }
}

#[test]
fn given_a_row_when_a_choice_that_it_offers_is_taken_then_it_goes() {
    type Case = (&'static str, fn(&mut World), Code, usize);
    let cases: [Case; 8] = [
        (
            "conflict",
            |w| {
                w.entity.conflicts.policy = Policy::Queue;
                w.edit(L, "l-x", "name", Value::text("2"));
                w.edit(R, "r-x", "name", Value::text("3"));
            },
            Code::Conflict,
            4,
        ),
        (
            "conflict of a group",
            |w| {
                w.entity.conflicts.policy = Policy::Queue;
                w.edit(L, "l-x", "amount", Value::text("2"));
                w.edit(R, "r-x", "currency", Value::text("3"));
            },
            Code::Conflict,
            3,
        ),
        (
            "silent divergence",
            |w| {
                w.edit(R, "r-x", "name", Value::text("2"));
                let link = w.links.values_mut().next().unwrap();
                link.baseline.get_mut("name").unwrap().values.right = Value::text("2");
            },
            Code::SilentDivergence,
            4,
        ),
        (
            "changed mapping",
            |w| {
                w.edit(L, "l-x", "name", Value::text("2"));
                w.entity.fields[1].fingerprint = "2".to_owned();
            },
            Code::MappingChanged,
            4,
        ),
        (
            "deleted and edited",
            |w| {
                w.delete(L, "l-x");
                w.edit(R, "r-x", "name", Value::text("2"));
            },
            Code::DeleteEdit,
            3,
        ),
        (
            "weak key",
            |w| {
                w.add(L, "l-a", &[("name", Value::text("Ada"))]);
                w.add(R, "r-a", &[("name", Value::text("Ada"))]);
            },
            Code::Suggested,
            3,
        ),
        (
            "duplicate inside its side",
            |w| {
                w.add_pair("y", &[("email", Value::text("a@x"))]);
                w.add(L, "l-a", &[("email", Value::text("a@x"))]);
            },
            Code::DupInSide,
            2,
        ),
        (
            "several match",
            |w| {
                w.add(L, "l-a", &[("email", Value::text("a@x"))]);
                w.add(R, "r-a", &[("email", Value::text("a@x"))]);
                w.add(R, "r-b", &[("email", Value::text("a@x"))]);
            },
            Code::Ambiguous,
            3,
        ),
    ];
    for (name, arrange, code, offered) in cases {
        let mut world = pair("1");
        arrange(&mut world);
        let row = world.plan().rows.into_iter().find(|row| row.code == code).expect(name);
        assert_eq!(row.choices().len(), offered, "{name}");
        for word in row.choices() {
            let choice = choice_of(word, &row);
            assert_eq!(choice.word(), *word);
            let (id, fingerprint) = (row.id.clone(), row.fingerprint.clone());
            let by = "ada".to_owned();
            let resolution = Resolution { row: id, choice, fingerprint, by, at: at(0) };
            world.resolutions = vec![resolution];

            let mut later = world.clone();
            later.settle();

            let rows = later.plan().rows;
            let stays = rows.iter().any(|open| open.id == row.id && open.is_open());
            assert!(!stays, "{name}, {word}: {rows:#?}");
        }
    }
}
