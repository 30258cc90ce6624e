//! Linked pairs, case by case: semantics §7, §8.1, §8.3, §9.

use crmsync_core::engine::payload_fingerprint;
use crmsync_core::engine::plan::exit_code;
use crmsync_core::model::link::{DeleteEvidence, TombstoneCause};
use crmsync_core::model::mapping::{DeleteEditPolicy, DeletePolicy};
use crmsync_core::model::row::{Choice, Evidence, Resolution, RowKind};
use crmsync_core::model::state::{PlanContext, Subject};
use crmsync_core::model::{
    Code, Direction, FieldName, LinkState, OpKind, Pair, Plan, Policy, RecordId, Side, Value,
};

use crate::world::{World, at, contact, context};

const L: Side = Side::Left;
const R: Side = Side::Right;

/// A world of one pair, all of whose texts are `1`.
fn pair() -> World {
    let mut world = World::new(contact());
    let texts = ["email", "name", "note", "amount", "currency"];
    let values = texts.map(|name| (name, Value::text("1")));
    world.add_pair("x", &values);
    world
}

fn edit(world: &mut World, side: Side, field: &str, value: &str) {
    let id = if side == L { "l-x" } else { "r-x" };
    world.edit(side, id, field, Value::text(value));
}

#[test]
fn given_a_field_that_our_write_left_empty_when_its_side_filled_it_then_the_plan_says_so() {
    for (by_itself, code) in [(true, Code::ServerDefault), (false, Code::WriteLeft)] {
        let mut world = World::new(contact());
        world.add_pair("x", &[("name", Value::text("1")), ("note", Value::Empty)]);
        edit(&mut world, R, "note", "filled");
        let stamp = world.records[&(R, RecordId::new("r-x"))].modified_at;
        let own = by_itself.then_some(stamp).flatten();
        world.links.values_mut().next().unwrap().own_stamp[R] = own;

        let plan = world.plan();

        assert_eq!(told(&plan), ["left note ∅>filled"]);
        assert_eq!(plan.ops[0].code, code);
    }
}

/// Writes of a plan as `side field before>after`, then codes of other ops.
fn told(plan: &Plan) -> Vec<String> {
    let mut told = Vec::new();
    for op in &plan.ops {
        match &op.kind {
            OpKind::Update { side, changes, .. } => {
                let line = |(name, change): (&FieldName, &crmsync_core::model::plan::Change)| {
                    format!("{side} {name} {}>{}", change.before, change.after)
                };
                told.extend(changes.iter().map(line));
            }
            OpKind::Link { .. }
            | OpKind::Create { .. }
            | OpKind::Delete { .. }
            | OpKind::Archive { .. }
            | OpKind::Agree { .. }
            | OpKind::Relate { .. }
            | OpKind::Revive { .. } => told.push(op.code.to_string()),
        }
    }
    told
}

fn rows(plan: &Plan) -> Vec<(Code, Option<Side>)> {
    plan.rows.iter().map(|row| (row.code, row.winner)).collect()
}

fn choose(world: &mut World, choice: Choice) {
    let row = world.plan().rows.remove(0);
    let (row, fingerprint) = (row.id, row.fingerprint);
    world.resolutions = vec![Resolution { row, choice, fingerprint, by: "ada".into(), at: at(0) }];
}

fn baseline(world: &mut World, change: impl Fn(&mut crmsync_core::model::Baseline)) {
    change(&mut world.links.values_mut().next().unwrap().baseline);
}

#[test]
fn given_a_field_of_a_pair_when_merged_then_the_table_decides() {
    type Row = (Code, Option<Side>);
    type Case = (&'static str, fn(&mut World), &'static [&'static str], &'static [Row]);
    let cases: &[Case] = &[
        ("nothing changed", |_| {}, &[], &[]),
        ("left edits", |w| edit(w, L, "name", "2"), &["right name 1>2"], &[]),
        ("right edits", |w| edit(w, R, "name", "2"), &["left name 1>2"], &[]),
        ("left clears", |w| edit(w, L, "name", ""), &["right name 1>∅"], &[]),
        (
            "both edit alike",
            |w| {
                edit(w, L, "name", "2");
                edit(w, R, "name", "2");
            },
            &["AGREED"],
            &[],
        ),
        (
            "both edit apart, the later one wins",
            |w| {
                edit(w, L, "name", "2");
                edit(w, R, "name", "3");
            },
            &["left name 2>3"],
            &[(Code::Conflict, Some(R))],
        ),
        (
            "both edit apart, prefer-left",
            |w| {
                w.entity.conflicts.policy = Policy::PreferLeft;
                edit(w, L, "name", "2");
                edit(w, R, "name", "3");
            },
            &["right name 3>2"],
            &[(Code::Conflict, Some(L))],
        ),
        (
            "a field's policy comes before the entity's",
            |w| {
                w.entity.conflicts.policy = Policy::PreferLeft;
                w.entity.fields[1].conflict = Some(Policy::Queue);
                edit(w, L, "name", "2");
                edit(w, R, "name", "3");
            },
            &[],
            &[(Code::Conflict, None)],
        ),
        (
            "different fields edited on both sides",
            |w| {
                edit(w, L, "name", "2");
                edit(w, R, "note", "3");
            },
            &["left note 1>3", "right name 1>2"],
            &[],
        ),
        (
            "too close to tell: the tie decides",
            |w| {
                w.entity.conflicts.skew_seconds = 60;
                edit(w, L, "name", "2");
                edit(w, R, "name", "3");
            },
            &[],
            &[(Code::Conflict, None)],
        ),
        (
            "our own stamp is no evidence",
            |w| {
                edit(w, L, "name", "2");
                edit(w, R, "name", "3");
                let stamp = w.records[&(R, RecordId::new("r-x"))].modified_at;
                w.links.values_mut().next().unwrap().own_stamp[R] = stamp;
            },
            &[],
            &[(Code::Conflict, None)],
        ),
        (
            "not returned",
            |w| {
                edit(w, L, "name", "2");
                let seen = w.records.get_mut(&(R, RecordId::new("r-x"))).unwrap();
                seen.fields.remove("name");
                seen.unreturned.insert(FieldName::new("name"));
            },
            &[],
            &[(Code::NotReturned, None)],
        ),
        (
            "silent divergence",
            |w| {
                edit(w, R, "name", "2");
                baseline(w, |b| b.get_mut("name").unwrap().values.right = Value::text("2"));
            },
            &[],
            &[(Code::SilentDivergence, None)],
        ),
        (
            "pinned divergence",
            |w| {
                edit(w, R, "name", "2");
                baseline(w, |b| {
                    let known = b.get_mut("name").unwrap();
                    known.values.right = Value::text("2");
                    known.pinned = true;
                });
            },
            &[],
            &[],
        ),
        (
            "pinned, then left edits",
            |w| {
                edit(w, R, "name", "2");
                baseline(w, |b| {
                    let known = b.get_mut("name").unwrap();
                    known.values.right = Value::text("2");
                    known.pinned = true;
                });
                edit(w, L, "name", "3");
            },
            &["right name 2>3"],
            &[],
        ),
        (
            "one way, source edits",
            |w| {
                w.entity.fields[1].direction = Direction::ToRight;
                edit(w, L, "name", "2");
            },
            &["right name 1>2"],
            &[],
        ),
        (
            "one way, target edits",
            |w| {
                w.entity.fields[1].direction = Direction::ToRight;
                edit(w, R, "name", "2");
            },
            &[],
            &[],
        ),
        (
            "owner, the other side drifts",
            |w| {
                w.entity.fields[1].conflict = Some(Policy::OwnerLeft);
                edit(w, R, "name", "2");
            },
            &["right name 2>1"],
            &[(Code::Drift, Some(L))],
        ),
        (
            "no baseline, one side empty",
            |w| {
                edit(w, L, "name", "");
                baseline(w, |b| drop(b.remove("name")));
            },
            &["left name ∅>1"],
            &[],
        ),
        (
            "no baseline, both set",
            |w| {
                edit(w, L, "name", "2");
                baseline(w, |b| drop(b.remove("name")));
            },
            &["right name 1>2"],
            &[(Code::Initial, Some(L))],
        ),
        ("no baseline, agree", |w| baseline(w, |b| drop(b.remove("name"))), &["AGREED"], &[]),
        (
            "mapping changed, both set",
            |w| {
                edit(w, L, "name", "2");
                w.entity.fields[1].fingerprint = "2".to_owned();
            },
            &[],
            &[(Code::MappingChanged, None)],
        ),
        (
            "a group moves as one",
            |w| {
                edit(w, L, "amount", "2");
                edit(w, R, "currency", "3");
            },
            &["left amount 2>1", "left currency 1>3"],
            &[(Code::Conflict, Some(R))],
        ),
        (
            "not writable on the target",
            |w| {
                w.entity.fields[1].writable.right = false;
                edit(w, L, "name", "2");
            },
            &[],
            &[],
        ),
    ];
    for (name, arrange, ops, open) in cases {
        let mut world = pair();
        arrange(&mut world);

        let plan = world.plan();

        assert_eq!(told(&plan), *ops, "{name}");
        assert_eq!(rows(&plan), *open, "{name}");
    }
}

#[test]
fn given_sets_changed_on_both_sides_when_synced_then_elements_merge() {
    let set = |items: &[&str]| Value::set(items.iter().map(|item| (*item).to_owned()));
    let cases = [
        ("both add", &["a"][..], &["a", "b"][..], &["a", "c"][..], &["a", "b", "c"][..]),
        ("one adds, one removes", &["a", "b"], &["a", "b", "c"], &["b"], &["b", "c"]),
        ("both clear apart", &["a", "b"], &["b"], &["a"], &[]),
        ("one removes all, one adds", &["a"], &[], &["a", "b"], &["b"]),
    ];
    for (name, base, left, right, merged) in cases {
        let mut world = World::new(contact());
        world.add_pair("x", &[("tags", set(base))]);
        world.edit(L, "l-x", "tags", set(left));
        world.edit(R, "r-x", "tags", set(right));

        let plan = world.settle();

        let ends = (world.get(L, "l-x", "tags"), world.get(R, "r-x", "tags"));
        assert_eq!(ends, (set(merged), set(merged)), "{name}");
        assert_eq!(plan.rows, [], "{name}");
    }
}

#[test]
fn given_a_queued_conflict_when_a_person_chooses_then_both_sides_follow() {
    let cases = [
        ("left", Choice::Left, ("2", "2")),
        ("right", Choice::Right, ("3", "3")),
        ("a third value", Choice::Value { value: Value::text("4") }, ("4", "4")),
        ("keep both", Choice::Pin, ("2", "3")),
    ];
    for (name, choice, expected) in cases {
        let mut world = pair();
        world.entity.conflicts.policy = Policy::Queue;
        edit(&mut world, L, "name", "2");
        edit(&mut world, R, "name", "3");
        choose(&mut world, choice);

        let plan = world.settle();

        let ends = (world.get(L, "l-x", "name"), world.get(R, "r-x", "name"));
        assert_eq!(ends, (Value::text(expected.0), Value::text(expected.1)), "{name}");
        assert_eq!(plan.rows, [], "{name}");
    }
}

#[test]
fn given_a_decision_when_a_side_moved_since_then_it_is_asked_again() {
    let mut world = pair();
    world.entity.conflicts.policy = Policy::Queue;
    edit(&mut world, L, "name", "2");
    edit(&mut world, R, "name", "3");
    choose(&mut world, Choice::Left);

    edit(&mut world, R, "name", "4");
    let plan = world.plan();

    assert_eq!(told(&plan), [""; 0]);
    assert_eq!(rows(&plan), [(Code::Conflict, None)]);
}

#[test]
fn given_a_decision_by_time_when_reported_then_it_says_how_well_it_is_founded() {
    let mut world = pair();
    edit(&mut world, L, "name", "2");
    edit(&mut world, R, "name", "3");

    let row = world.plan().rows.remove(0);

    assert_eq!(row.evidence, Some(Evidence::RecordTime));
    assert_eq!(row.base, Some(Pair::new(Value::text("1"), Value::text("1"))));
    assert_eq!((row.left, row.right), (Some(Value::text("2")), Some(Value::text("3"))));
    let stated = "decided by the record's last change; this field itself may be older";
    assert!(row.message.contains(stated), "{}", row.message);
}

#[test]
fn given_a_refused_value_when_planned_again_then_only_it_is_kept_out() {
    let mut world = pair();
    edit(&mut world, L, "name", "2");
    edit(&mut world, L, "note", "3");
    let mut state = world.state();
    let name = FieldName::new("name");
    let refused = [(name.clone(), Value::text("2"))].into();
    let print = payload_fingerprint(R, &refused);
    state.subjects[0].quarantined.insert(Some(name), print);

    let plan = world.plan_state(&state, &context());

    assert_eq!(told(&plan), ["right note 1>3"]);
    let kinds: Vec<_> = plan.rows.iter().map(|row| (row.kind, row.code)).collect();
    assert_eq!(kinds, [(RowKind::Quarantine, Code::Quarantined)]);
}

#[test]
fn given_automations_that_fight_when_the_fourth_write_is_past_then_the_field_is_held() {
    let mut world = pair();
    edit(&mut world, L, "name", "2");
    let mut state = world.state();
    let writes = &mut state.subjects[0].recent_writes;
    writes.insert((FieldName::new("name"), R), vec![Value::text("2"), Value::text("2")]);
    writes.insert((FieldName::new("name"), L), vec![Value::text("1"), Value::text("1")]);

    let plan = world.plan_state(&state, &context());

    assert_eq!(told(&plan), [""; 0]);
    assert_eq!(rows(&plan), [(Code::Oscillation, None)]);
}

fn with_subject(world: &World, change: impl Fn(&mut Subject)) -> Plan {
    let mut state = world.state();
    change(&mut state.subjects[0]);
    world.plan_state(&state, &context())
}

#[test]
fn given_an_end_in_doubt_when_planned_then_nothing_is_written() {
    type Case = (&'static str, fn(&mut Subject), Code);
    let cases: &[Case] = &[
        ("open intent", |s| s.in_doubt = true, Code::InDoubt),
        ("forbidden", |s| s.unknown.right = Some(Code::Forbidden), Code::Forbidden),
        ("read error", |s| s.unknown.left = Some(Code::ReadError), Code::ReadError),
        ("not seen", |s| s.observations.right = None, Code::UnconfirmedAbsence),
    ];
    for (name, change, code) in cases {
        let mut world = pair();
        edit(&mut world, L, "name", "2");

        let plan = with_subject(&world, change);

        assert_eq!(told(&plan), [""; 0], "{name}");
        assert_eq!(rows(&plan), [(*code, None)], "{name}");
    }
}

#[test]
fn given_a_pair_out_of_scope_when_it_returns_then_the_kept_baseline_merges() {
    let mut world = pair();
    let key = (L, RecordId::new("l-x"));
    world.records.get_mut(&key).unwrap().in_scope = false;
    let left = world.plan();
    world.settle();
    edit(&mut world, R, "name", "2");
    let outside = world.plan();

    world.records.get_mut(&key).unwrap().in_scope = true;
    world.settle();

    assert_eq!(told(&left), ["OUT_OF_SCOPE"]);
    assert_eq!(told(&outside), [""; 0]);
    assert_eq!(world.get(L, "l-x", "name"), Value::text("2"));
}

#[test]
fn given_a_deleted_end_when_planned_then_the_policy_decides() {
    type Case = (&'static str, fn(&mut World), &'static [&'static str], &'static [Code]);
    let cases: &[Case] = &[
        ("propagate", |_| {}, &["DELETE_COUNTERPART"], &[]),
        (
            "archive",
            |w| w.entity.deletes.policy.right = DeletePolicy::Archive,
            &["ARCHIVE_COUNTERPART"],
            &[],
        ),
        (
            "keep",
            |w| w.entity.deletes.policy.right = DeletePolicy::Keep,
            &["KEEP_COUNTERPART"],
            &[],
        ),
        (
            "weak evidence keeps",
            |w| w.tombstones.values_mut().next().unwrap().evidence = DeleteEvidence::Weak,
            &["KEEP_COUNTERPART"],
            &[],
        ),
        (
            "weak evidence accepted",
            |w| {
                w.tombstones.values_mut().next().unwrap().evidence = DeleteEvidence::Weak;
                w.entity.deletes.accept_weak = true;
            },
            &["DELETE_COUNTERPART"],
            &[],
        ),
        (
            "edited on the other side",
            |w| edit(w, R, "name", "2"),
            &["DELETE_EDIT"],
            &[Code::DeleteEdit],
        ),
        (
            "edit wins",
            |w| {
                w.entity.deletes.on_edit = DeleteEditPolicy::EditWins;
                edit(w, R, "name", "2");
            },
            &["NEW_ID", "NEW_ID"],
            &[],
        ),
        (
            "delete wins",
            |w| {
                w.entity.deletes.on_edit = DeleteEditPolicy::DeleteWins;
                edit(w, R, "name", "2");
            },
            &["DELETE_COUNTERPART"],
            &[],
        ),
        (
            "no baseline",
            |w| baseline(w, std::collections::BTreeMap::clear),
            &["DELETE_EDIT"],
            &[Code::DeleteEdit],
        ),
        ("both deleted", |w| w.delete(R, "r-x"), &["GONE"], &[]),
        (
            "converted",
            |w| w.tombstones.values_mut().next().unwrap().cause = TombstoneCause::Converted,
            &["CONVERTED"],
            &[],
        ),
        (
            "merged into an unlinked record",
            |w| {
                w.add(L, "heir", &[("email", Value::text("9")), ("name", Value::text("9"))]);
                let tombstone = w.tombstones.values_mut().next().unwrap();
                tombstone.cause = TombstoneCause::MergedAway;
                tombstone.successor = Some(RecordId::new("heir"));
            },
            &["REDIRECTED", "CREATE"],
            &[],
        ),
        (
            "merged into a linked record",
            |w| {
                w.add_pair("y", &[]);
                let tombstone = w.tombstones.values_mut().next().unwrap();
                tombstone.cause = TombstoneCause::MergedAway;
                tombstone.successor = Some(RecordId::new("l-y"));
            },
            &["MERGED"],
            &[Code::Merged],
        ),
    ];
    for (name, arrange, ops, open) in cases {
        let mut world = pair();
        world.delete(L, "l-x");
        arrange(&mut world);

        let plan = world.plan();

        assert_eq!(told(&plan), *ops, "{name}");
        assert_eq!(plan.rows.iter().map(|row| row.code).collect::<Vec<_>>(), *open, "{name}");
    }
}

#[test]
fn given_edit_wins_when_synced_then_the_record_is_made_anew_once() {
    let mut world = pair();
    world.entity.deletes.on_edit = DeleteEditPolicy::EditWins;
    world.delete(L, "l-x");
    edit(&mut world, R, "name", "2");

    let plan = world.settle();

    world.check(&plan).unwrap();
    let alive = world.links.values().filter(|link| link.state == LinkState::Live).count();
    assert_eq!((alive, world.records.len()), (1, 3));
}

#[test]
fn given_many_deletes_when_over_the_cap_then_all_wait_and_the_rest_runs() {
    let mut world = World::new(contact());
    world.guard.live_links = 40;
    for index in 0..5 {
        world.add_pair(&index.to_string(), &[("name", Value::text("1"))]);
    }
    for index in 0..4 {
        world.delete(L, &format!("l-{index}"));
    }
    world.edit(L, "l-4", "name", Value::text("2"));

    let plan = world.plan();
    let approved = world.plan_state(&world.state(), &PlanContext { approved: true, ..context() });

    assert_eq!(told(&plan), ["right name 1>2"]);
    let trips: Vec<_> =
        plan.guards.iter().map(|trip| (trip.code, trip.count, trip.limit)).collect();
    assert_eq!(trips, [(Code::DeleteCap, 4, 3)]);
    assert_eq!(exit_code(&plan.rows, &plan.guards), 3);
    assert_eq!(approved.ops.len(), 5);
    assert_eq!((approved.hash, exit_code(&approved.rows, &approved.guards)), (plan.hash, 0));
}

#[test]
fn given_a_field_that_changed_everywhere_when_planned_then_only_it_waits() {
    let mut world = World::new(contact());
    world.guard.live_links = 30;
    for index in 0..30 {
        let id = index.to_string();
        world.add_pair(&id, &[("note", Value::text("1"))]);
        world.edit(L, &format!("l-{index}"), "note", Value::text("2"));
    }
    world.edit(L, "l-0", "name", Value::text("3"));

    let plan = world.plan();
    let approved = world.plan_state(&world.state(), &PlanContext { approved: true, ..context() });

    assert_eq!(told(&plan), ["right name ∅>3"]);
    assert_eq!(plan.guards.iter().map(|trip| trip.code).collect::<Vec<_>>(), [Code::MassChange]);
    assert_eq!((approved.ops.len(), approved.hash), (30, plan.hash));
}

#[test]
fn given_a_changed_scope_or_a_shrunken_listing_when_planned_then_nothing_is_deleted() {
    type Case = (&'static str, fn(&mut World), Code);
    let cases: &[Case] = &[
        ("scope", |w| w.guard.scope_changed = true, Code::ScopeChange),
        ("listing", |w| w.guard.unhealthy.left = true, Code::EmptySide),
    ];
    for (name, arrange, code) in cases {
        for policy in [DeletePolicy::Keep, DeletePolicy::Archive, DeletePolicy::Propagate] {
            let mut world = pair();
            world.entity.deletes.policy = Pair::new(policy, policy);
            world.delete(L, "l-x");
            arrange(&mut world);

            let plan = world.plan();

            assert_eq!(told(&plan), [""; 0], "{name} {policy:?}");
            assert_eq!(plan.guards.iter().map(|trip| trip.code).collect::<Vec<_>>(), [*code]);
        }
    }
}

#[test]
fn given_a_deletion_whose_keys_moved_to_another_record_when_planned_then_a_person_is_asked() {
    let mut world = pair();
    world.delete(L, "l-x");
    let planned = |world: &World| {
        let mut state = world.state();
        state.heirs.insert((L, RecordId::new("l-x")), vec![RecordId::new("heir")]);
        world.plan_state(&state, &context())
    };
    let asked = planned(&world);
    let row = asked.rows[0].clone();
    let cases = [
        ("a merge", Choice::Link { candidate: RecordId::new("heir") }, "REDIRECTED"),
        ("a deletion", Choice::Ignore, "DELETE_COUNTERPART"),
    ];

    assert_eq!((told(&asked), row.code), (vec![], Code::SuspectedMerge));
    for (name, choice, expected) in cases {
        let (row, fingerprint) = (row.id.clone(), row.fingerprint.clone());
        let by = "ada".to_owned();
        world.resolutions = vec![Resolution { row, choice, fingerprint, by, at: at(0) }];
        assert_eq!(told(&planned(&world)), [expected], "{name}");
    }
}
