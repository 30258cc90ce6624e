//! Taking a run back: semantics §16, I26.

use std::collections::BTreeMap;

use crmsync_core::engine::undo::{UndoAction, UndoPlan, plan_undo};
use crmsync_core::model::journal::{JournalEntry, LinkBefore};
use crmsync_core::model::{Code, FieldName, OpKind, Pair, RecordId, RecordKey, Side, Value};

use crate::world::{World, contact};

const L: Side = Side::Left;
const R: Side = Side::Right;

fn text(value: &str) -> Value {
    Value::text(value)
}

/// Plans and executes one run, and writes its journal as apply would.
fn run(world: &mut World) -> Vec<JournalEntry> {
    let plan = world.plan();
    let before = world.clone();
    world.execute(&plan);
    let entry = |(seq, op): (usize, &crmsync_core::model::Op)| {
        let old = before.links.get(&op.link);
        let link = &world.links[&op.link];
        let side = op.writes().unwrap_or(L);
        let id = link.ends[side].clone().unwrap();
        let image = |world: &World| {
            let seen = world.records.get(&(side, id.clone()));
            seen.map(|seen| seen.fields.clone()).unwrap_or_default()
        };
        let only = |all: BTreeMap<FieldName, Value>| match &op.kind {
            OpKind::Update { changes, .. } => {
                all.into_iter().filter(|(name, _)| changes.contains_key(name)).collect()
            }
            _ => all,
        };
        JournalEntry {
            seq: seq as u64,
            entity: op.entity.clone(),
            link: op.link.clone(),
            op: op.kind.clone(),
            before: only(image(&before)),
            after: only(image(world)),
            created: matches!(op.kind, OpKind::Create { .. }).then(|| id.clone()),
            baseline_before: old.map(|link| link.baseline.clone()).unwrap_or_default(),
            link_before: old.map(|link| LinkBefore { state: link.state, ends: link.ends.clone() }),
        }
    };
    plan.ops.iter().enumerate().map(entry).collect()
}

fn undo(world: &World, journal: &[JournalEntry], can_restore: bool) -> UndoPlan {
    let seen: BTreeMap<RecordKey, _> =
        world.records.values().map(|seen| (seen.key.clone(), seen.clone())).collect();
    plan_undo(journal, &seen, &Pair::new(can_restore, can_restore))
}

fn pair() -> World {
    let mut world = World::new(contact());
    world.add_pair("x", &[("email", text("x")), ("name", text("1")), ("note", text("1"))]);
    world
}

fn changes(plan: &UndoPlan) -> Vec<String> {
    let told = |kind: &OpKind| match kind {
        OpKind::Update { side, changes, .. } => changes
            .iter()
            .map(|(name, change)| format!("{side} {name} {}>{}", change.before, change.after))
            .collect::<Vec<_>>()
            .join(", "),
        OpKind::Create { side, source, .. } => format!("create {side} from {source}"),
        OpKind::Delete { side, id, .. } => format!("delete {side} {id}"),
        other => format!("{other:?}"),
    };
    let step = |action: &UndoAction| match action {
        UndoAction::Run(op) => told(&op.kind),
        UndoAction::Restore { side, id } => format!("restore {side} {id}"),
        UndoAction::Baseline => "baseline".to_owned(),
    };
    plan.steps.iter().map(|step_| step(&step_.action)).collect()
}

#[test]
fn given_a_run_when_undone_then_each_op_has_its_inverse() {
    type Case = (&'static str, fn(&mut World), bool, &'static [&'static str]);
    let cases: &[Case] = &[
        ("update", |w| w.edit(L, "l-x", "name", text("2")), true, &["right name 2>1"]),
        (
            "create",
            |w| w.add(L, "17", &[("email", text("ada")), ("name", text("Ada"))]),
            true,
            &["delete right made-1"],
        ),
        ("delete, restorable", |w| w.delete(L, "l-x"), true, &["restore right r-x"]),
        ("delete, not restorable", |w| w.delete(L, "l-x"), false, &["create right from l-x"]),
    ];
    for (name, arrange, can_restore, expected) in cases {
        let mut world = pair();
        arrange(&mut world);
        let journal = run(&mut world);

        let plan = undo(&world, &journal, *can_restore);

        assert_eq!(changes(&plan), *expected, "{name}");
        assert_eq!(plan.rows, [], "{name}");
    }
}

#[test]
fn given_an_edit_after_the_run_when_undone_then_it_is_not_overwritten() {
    let mut world = pair();
    world.edit(L, "l-x", "name", text("2"));
    world.add(L, "17", &[("email", text("ada")), ("name", text("Ada"))]);
    let journal = run(&mut world);

    world.edit(R, "r-x", "name", text("mine"));
    world.edit(R, "made-1", "note", text("mine"));
    let plan = undo(&world, &journal, true);

    assert_eq!(changes(&plan), [""; 0]);
    let codes: Vec<_> = plan.rows.iter().map(|row| row.code).collect();
    assert_eq!(codes, [Code::UndoConflict, Code::UndoConflict]);
}

#[test]
fn given_two_writes_of_one_field_when_undone_then_the_first_value_returns() {
    let mut world = pair();
    world.edit(L, "l-x", "name", text("2"));
    let mut journal = run(&mut world);
    world.edit(L, "l-x", "name", text("3"));
    let next = run(&mut world).into_iter();
    journal.extend(next.map(|entry| JournalEntry { seq: entry.seq + 10, ..entry }));

    let plan = undo(&world, &journal, true);

    assert_eq!(changes(&plan), ["right name 3>2", "right name 2>1"]);
    let returned = &plan.steps[1].baseline["name"].values;
    assert_eq!(*returned, Pair::new(text("1"), text("1")));
    assert!(world.records.contains_key(&(R, RecordId::new("r-x"))));
}
