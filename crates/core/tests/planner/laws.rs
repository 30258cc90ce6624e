//! Laws over generated histories of two sides.

use crmsync_core::model::mapping::{DeleteEditPolicy, DeletePolicy};
use crmsync_core::model::row::{Choice, Resolution, RowKind};
use crmsync_core::model::state::PlanContext;
use crmsync_core::model::{Direction, OpKind, OpenRow, Pair, Plan, Policy, Side, Value};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::world::{World, at, contact, context};

/// What a person does on one side.
#[derive(Clone, Debug)]
enum Step {
    /// Sets a field to a value nobody used before, or (every so often) clears it.
    Edit {
        side: Side,
        pair: usize,
        field: &'static str,
        clear: bool,
    },
    /// Adds or removes a tag.
    Tag {
        side: Side,
        pair: usize,
        tag: &'static str,
    },
    /// Adds a record with one of few addresses, so that some match.
    Add {
        side: Side,
        email: usize,
    },
    Delete {
        side: Side,
        pair: usize,
    },
    /// Brings a deleted record back.
    Undelete {
        side: Side,
        pair: usize,
    },
    /// Copies a record of a pair with its external ID.
    Clone {
        side: Side,
        pair: usize,
    },
}

#[derive(Clone, Debug)]
struct History {
    policy: Policy,
    initial: Policy,
    note: Direction,
    deletes: DeletePolicy,
    on_edit: DeleteEditPolicy,
    pairs: usize,
    steps: Vec<Step>,
    more: Vec<Step>,
    order: u64,
}

fn side() -> impl Strategy<Value = Side> {
    select(Side::BOTH.to_vec())
}

fn step(pairs: usize) -> impl Strategy<Value = Step> {
    let fields = vec!["name", "note", "amount", "currency"];
    let edit = (side(), 0..pairs, select(fields), prop::bool::weighted(0.1));
    prop_oneof![
        6 => edit.prop_map(|(side, pair, field, clear)| Step::Edit { side, pair, field, clear }),
        2 => (side(), 0..pairs, select(vec!["a", "b", "c"]))
            .prop_map(|(side, pair, tag)| Step::Tag { side, pair, tag }),
        2 => (side(), 0..4usize).prop_map(|(side, email)| Step::Add { side, email }),
        1 => (side(), 0..pairs).prop_map(|(side, pair)| Step::Delete { side, pair }),
        1 => (side(), 0..pairs).prop_map(|(side, pair)| Step::Undelete { side, pair }),
        1 => (side(), 0..pairs).prop_map(|(side, pair)| Step::Clone { side, pair }),
    ]
}

fn history() -> impl Strategy<Value = History> {
    let policies = vec![
        Policy::Newest,
        Policy::Queue,
        Policy::PreferLeft,
        Policy::PreferRight,
        Policy::OwnerLeft,
    ];
    let initial = vec![Policy::Newest, Policy::Queue, Policy::PreferRight];
    let note = vec![Direction::Both, Direction::ToRight, Direction::ToLeft];
    let deletes = vec![DeletePolicy::Keep, DeletePolicy::Archive, DeletePolicy::Propagate];
    let on_edit =
        vec![DeleteEditPolicy::Queue, DeleteEditPolicy::EditWins, DeleteEditPolicy::DeleteWins];
    let rules = (select(policies), select(initial), select(note), select(deletes), select(on_edit));
    (rules, 1..4usize).prop_flat_map(|(rules, pairs)| {
        let (policy, initial, note, deletes, on_edit) = rules;
        let steps = (vec(step(pairs), 0..12), vec(step(pairs), 0..6), any::<u64>());
        steps.prop_map(move |(steps, more, order)| History {
            policy,
            initial,
            note,
            deletes,
            on_edit,
            pairs,
            steps,
            more,
            order,
        })
    })
}

impl History {
    fn start(&self) -> World {
        let mut entity = contact();
        entity.conflicts.policy = self.policy;
        entity.conflicts.initial = self.initial;
        entity.fields[2].direction = self.note;
        entity.deletes.policy = Pair::new(self.deletes, self.deletes);
        entity.deletes.on_edit = self.on_edit;
        let mut world = World::new(entity);
        world.order = self.order;
        for pair in 0..self.pairs {
            let base = |field: &str| Value::text(&format!("base-{field}-{pair}"));
            let set = Value::set(["a".to_owned()]);
            let texts =
                ["email", "name", "note", "amount", "currency"].map(|name| (name, base(name)));
            let values: Vec<_> = texts.into_iter().chain([("tags", set)]).collect();
            world.add_pair(&pair.to_string(), &values);
        }
        world
    }
}

fn name_of(side: Side, pair: usize) -> String {
    if side == Side::Left { format!("l-{pair}") } else { format!("r-{pair}") }
}

/// Lets people act; every value they write is new.
fn act(world: &mut World, steps: &[Step], unique: &mut u32) {
    for step in steps {
        *unique += 1;
        match step {
            Step::Edit { side, pair, field, clear } => {
                let id = name_of(*side, *pair);
                let value = if *clear { Value::Empty } else { Value::text(&format!("h{unique}")) };
                world.edit(*side, &id, field, value);
            }
            Step::Tag { side, pair, tag } => {
                let id = name_of(*side, *pair);
                let Value::Set(mut items) = world.get(*side, &id, "tags") else {
                    world.edit(*side, &id, "tags", Value::set([(*tag).to_owned()]));
                    continue;
                };
                if !items.remove(*tag) {
                    items.insert((*tag).to_owned());
                }
                world.edit(*side, &id, "tags", Value::set(items));
            }
            Step::Add { side, email } => {
                let id = format!("new-{unique}");
                let values = [
                    ("email", Value::text(&format!("mail-{email}"))),
                    ("name", Value::text(&format!("n{unique}"))),
                ];
                world.add(*side, &id, &values);
            }
            Step::Delete { side, pair } => world.delete(*side, &name_of(*side, *pair)),
            Step::Undelete { side, pair } => world.revive(*side, &name_of(*side, *pair)),
            Step::Clone { side, pair } => world.copy(*side, &name_of(*side, *pair), *unique),
        }
    }
}

fn perturbed(history: &History) -> World {
    let mut world = history.start();
    act(&mut world, &history.steps, &mut 0);
    world
}

proptest! {
    // `PROPTEST_CASES` makes it more than 256. A counterexample becomes a named case, not a seed in a file.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn given_any_history_when_synced_to_the_end_then_all_laws_hold(history in history()) {
        let mut world = perturbed(&history);

        let plan = world.settle();

        world.check(&plan).unwrap();
    }

    #[test]
    fn given_edits_after_a_sync_when_synced_again_then_all_laws_hold(history in history()) {
        let mut world = history.start();
        let mut unique = 0;
        act(&mut world, &history.steps, &mut unique);
        world.settle();

        act(&mut world, &history.more, &mut unique);
        let plan = world.settle();

        world.check(&plan).unwrap();
    }

    #[test]
    fn given_a_person_who_decides_when_synced_again_then_all_laws_hold(
        (history, picked) in (history(), 0..5usize)
    ) {
        let mut world = perturbed(&history);
        let asked = world.settle();

        world.resolutions = asked.rows.iter().filter(|row| row.is_open()).map(|row| decide(row, picked)).collect();
        let plan = world.settle();

        world.check(&plan).unwrap();
    }

    #[test]
    fn given_settled_sides_when_planned_again_then_the_same_rows_are_open(history in history()) {
        let mut world = perturbed(&history);
        let first = world.settle();

        let second = world.plan();

        prop_assert_eq!(first, second);
    }

    #[test]
    fn given_shuffled_subjects_when_planned_then_the_plan_is_the_same(
        (history, order) in (history(), any::<prop::sample::Index>())
    ) {
        let world = perturbed(&history);
        let mut state = world.state();
        let plan = world.plan_state(&state, &context());
        let turn = order.index(state.subjects.len().max(1));

        state.subjects.rotate_left(turn);
        state.subjects.reverse();

        prop_assert_eq!(world.plan_state(&state, &context()), plan);
    }

    #[test]
    fn given_approval_when_planned_then_the_hash_is_the_same(history in history()) {
        let mut world = perturbed(&history);
        world.guard.first_sync = true;
        let asked = world.plan();

        let approved = world.plan_state(&world.state(), &PlanContext { approved: true, ..context() });

        prop_assert_eq!(&asked.hash, &approved.hash);
        prop_assert!(asked.ops.iter().all(|op| op.writes().is_none()));
        prop_assert_eq!(approved.guards.iter().map(|trip| trip.withheld.len()).sum::<usize>(), 0);
    }

    #[test]
    fn given_swapped_sides_when_planned_then_the_plan_is_mirrored(history in history()) {
        let history = History { policy: mirrorable(history.policy), initial: Policy::Newest, note: Direction::Both, ..history };
        let world = perturbed(&history);

        let mirrored = perturbed(&History { steps: history.steps.iter().map(mirror).collect(), ..history });

        prop_assert_eq!(shape(&world.plan(), false), shape(&mirrored.plan(), true));
    }

    #[test]
    fn given_one_side_edits_when_synced_then_its_last_value_is_on_both(history in history()) {
        let mut world = history.start();
        let steps: Vec<_> = history.steps.iter().filter(|step| matches!(step, Step::Edit { .. })).cloned().collect();
        act(&mut world, &steps, &mut 0);
        let before = world.clone();

        world.settle();

        for pair in 0..history.pairs {
            lone_edits_survive(&history, &before, &world, pair)?;
        }
    }

    #[test]
    fn given_a_changed_mapping_when_planned_then_only_that_field_is_written(
        (history, field) in (history(), 0..3usize)
    ) {
        let mut world = perturbed(&history);
        world.settle();
        let name = world.entity.fields[field].name.clone();

        world.entity.fields[field].fingerprint = "2".to_owned();
        let plan = world.plan();

        for op in &plan.ops {
            let only = match &op.kind {
                OpKind::Update { changes, .. } => changes.keys().all(|changed| *changed == name),
                OpKind::Agree { fields, .. } => fields.keys().all(|agreed| *agreed == name),
                other => panic!("{other:?}"),
            };
            prop_assert!(only, "{:?}", op);
        }
    }
}

/// A decision that a person could take about the row.
fn decide(row: &OpenRow, picked: usize) -> Resolution {
    let value = Value::text("decided");
    let both = [Choice::Left, Choice::Right, Choice::Pin, Choice::Value { value }, Choice::Left];
    let link = row.candidates.first().or(row.records.right.as_ref());
    let choice = match (row.kind, link) {
        (RowKind::Match, Some(candidate)) if picked.is_multiple_of(2) => {
            Choice::Link { candidate: candidate.clone() }
        }
        (RowKind::Match, _) => Choice::Create,
        (RowKind::Conflict | RowKind::Hold | RowKind::Quarantine, _) => both[picked].clone(),
    };
    let (row, fingerprint) = (row.id.clone(), row.fingerprint.clone());
    Resolution { row, choice, fingerprint, by: "ada".to_owned(), at: at(0) }
}

/// I3: an edit that the other side did not answer ends on both sides; nothing else is ever invented (I5).
fn lone_edits_survive(
    history: &History,
    before: &World,
    after: &World,
    pair: usize,
) -> Result<(), TestCaseError> {
    let base = |field: &str| Value::text(&format!("base-{field}-{pair}"));
    let of = |world: &World, side: Side, field: &str| world.get(side, &name_of(side, pair), field);
    let units: &[&[&str]] = &[&["name"], &["note"], &["amount", "currency"]];
    for unit in units {
        if history.policy == Policy::OwnerLeft
            || (unit[0] == "note" && history.note != Direction::Both)
        {
            continue;
        }
        let edited = |side: Side| unit.iter().any(|field| of(before, side, field) != base(field));
        let edited = Pair::new(edited(Side::Left), edited(Side::Right));
        for field in *unit {
            let (left, right) = (of(after, Side::Left, field), of(after, Side::Right, field));
            let written = [of(before, Side::Left, field), of(before, Side::Right, field)];
            prop_assert!(written.contains(&left) && written.contains(&right));
            let lone = match (edited.left, edited.right) {
                (true, false) => Side::Left,
                (false, true) => Side::Right,
                (true, true) | (false, false) => continue,
            };
            let last = of(before, lone, field);
            prop_assert_eq!((&left, &right), (&last, &last));
        }
    }
    Ok(())
}

fn mirrorable(policy: Policy) -> Policy {
    match policy {
        Policy::Newest | Policy::Queue => policy,
        Policy::PreferLeft | Policy::PreferRight | Policy::OwnerLeft | Policy::OwnerRight => {
            Policy::Newest
        }
    }
}

fn mirror(step: &Step) -> Step {
    let mut step = step.clone();
    match &mut step {
        Step::Edit { side, .. }
        | Step::Tag { side, .. }
        | Step::Add { side, .. }
        | Step::Delete { side, .. }
        | Step::Undelete { side, .. }
        | Step::Clone { side, .. } => *side = side.other(),
    }
    step
}

/// What a plan does, without IDs of links, seen from one side or the other.
fn shape(plan: &Plan, mirrored: bool) -> (Vec<String>, Vec<String>) {
    let turn = |side: Side| if mirrored { side.other() } else { side };
    let bare = |id: &crmsync_core::model::RecordId| {
        id.as_str().trim_start_matches(['l', 'r', '-']).to_owned()
    };
    let mut ops: Vec<_> = plan
        .ops
        .iter()
        .chain(plan.guards.iter().flat_map(|trip| &trip.withheld))
        .map(|op| match &op.kind {
            OpKind::Update { side, id, changes, .. } => {
                format!("update {:?} {} {:?}", turn(*side), bare(id), changes)
            }
            OpKind::Create { side, source, fields, .. } => {
                format!("create {:?} {} {:?}", turn(*side), bare(source), fields)
            }
            OpKind::Delete { side, id, .. } | OpKind::Archive { side, id, .. } => {
                format!("delete {:?} {}", turn(*side), bare(id))
            }
            OpKind::Link { ends, .. } => {
                let (left, right) = (bare(&ends[turn(Side::Left)]), bare(&ends[turn(Side::Right)]));
                format!("link {left} {right}")
            }
            OpKind::Agree { fields, pinned } => {
                format!("agree {pinned} {:?}", fields.keys().collect::<Vec<_>>())
            }
            OpKind::Relate { state, .. } => format!("relate {state:?} {}", op.code),
            OpKind::Revive { side, id } => format!("revive {:?} {}", turn(*side), bare(id)),
        })
        .collect();
    let mut rows: Vec<_> = plan
        .rows
        .iter()
        .map(|row| {
            let winner = row.winner.map(turn);
            let (left, right) = (&row.records[turn(Side::Left)], &row.records[turn(Side::Right)]);
            let ids = (left.as_ref().map(bare), right.as_ref().map(bare));
            let cluster = row.code == crmsync_core::model::Code::Ambiguous;
            format!(
                "{:?} {} {:?} {winner:?} {:?}",
                row.kind,
                row.code,
                row.field,
                (!cluster).then_some(ids)
            )
        })
        .collect();
    ops.sort();
    rows.sort();
    (ops, rows)
}
