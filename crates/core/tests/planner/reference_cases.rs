//! Records that refer to records: semantics §12, I25; and guards that reach over entities.

use std::collections::BTreeMap;

use crmsync_core::engine::guard::GuardInput;
use crmsync_core::engine::plan::{assemble, plan_entity};
use crmsync_core::model::state::{Counterpart, Identities};
use crmsync_core::model::{
    Code, Entity, EntityName, FieldName, LinkId, OpKind, Plan, RecordId, Relation, Side, Value,
};

use crate::world::{Nobody, World, contact, context, field, text};

/// Answers alike for every record.
struct All(Counterpart);

impl Identities for All {
    fn counterpart(&self, _: &EntityName, _: Side, _: &RecordId) -> Counterpart {
        self.0.clone()
    }
}

fn reference(id: &str) -> Value {
    Value::Reference(RecordId::new(id))
}

fn person() -> Entity {
    let mut entity = contact();
    entity.groups.clear();
    let account = Relation::Reference { entity: EntityName::new("account") };
    entity.fields = vec![text("email"), text("name"), field("account", account)];
    entity
}

fn plan_with(world: &World, ids: &dyn Identities) -> Plan {
    let part = plan_entity(&world.entity, &world.state(), ids, &context());
    let guards = BTreeMap::from([(world.entity.name.clone(), world.guard.clone())]);
    assemble("crm".into(), vec![part], &guards, std::slice::from_ref(&world.entity), &context())
}

#[test]
fn given_a_new_record_with_a_reference_when_planned_then_the_target_decides() {
    type Case =
        (&'static str, bool, Counterpart, Option<Value>, &'static [&'static str], &'static [Code]);
    let link = LinkId("link".to_owned());
    let known = Counterpart::Known(RecordId::new("9"));
    let planned = Counterpart::Planned(link.clone());
    let cases: &[Case] = &[
        ("known", false, known, Some(reference("9")), &[], &[]),
        ("made by this plan", false, planned, Some(Value::Link(link)), &[], &[]),
        ("not yet, optional", false, Counterpart::Pending, None, &["account"], &[]),
        ("never, optional", false, Counterpart::Unresolved, None, &[], &[Code::UnresolvedRef]),
        ("not yet, required", true, Counterpart::Pending, None, &[], &[Code::PendingRef]),
        ("never, required", true, Counterpart::Unresolved, None, &[], &[Code::UnresolvedRef]),
    ];
    for (name, required, counterpart, written, later, rows) in cases {
        let mut world = World::new(person());
        world.entity.fields[2].required.right = *required;
        world.add(Side::Left, "1", &[("email", Value::text("a")), ("account", reference("5"))]);

        let plan = plan_with(&world, &All(counterpart.clone()));

        let waits = *required && written.is_none();
        assert_eq!(plan.ops.is_empty(), waits, "{name}");
        for op in &plan.ops {
            let OpKind::Create { fields, .. } = &op.kind else { panic!("{name}: {op:?}") };
            assert_eq!(fields.get("account"), written.as_ref(), "{name}");
            let names: Vec<_> = op.later.iter().map(FieldName::as_str).collect();
            assert_eq!(names, *later, "{name}");
        }
        assert_eq!(plan.rows.iter().map(|row| row.code).collect::<Vec<_>>(), *rows, "{name}");
    }
}

#[test]
fn given_a_pair_whose_reference_changed_when_planned_then_it_is_never_written_as_empty() {
    let cases = [
        ("known", Counterpart::Known(RecordId::new("9")), Some(reference("9")), None),
        ("not yet", Counterpart::Pending, None, Some(Code::PendingRef)),
        ("never", Counterpart::Unresolved, None, Some(Code::UnresolvedRef)),
    ];
    for (name, counterpart, written, row) in cases {
        let mut world = World::new(person());
        world.add_pair("x", &[("email", Value::text("a"))]);
        world.edit(Side::Left, "l-x", "account", reference("5"));

        let plan = plan_with(&world, &All(counterpart));

        let change = plan.ops.iter().find_map(|op| match &op.kind {
            OpKind::Update { changes, .. } => changes.get("account").map(|c| c.after.clone()),
            _ => None,
        });
        assert_eq!(change, written, "{name}");
        assert_eq!(plan.rows.first().map(|row| row.code), row, "{name}");
    }
}

#[test]
fn given_an_unchanged_reference_whose_target_left_when_planned_then_nothing_happens() {
    let mut world = World::new(person());
    world.add_pair("x", &[("email", Value::text("a")), ("account", reference("5"))]);

    let plan = plan_with(&world, &Nobody);

    assert_eq!((plan.ops, plan.rows), (vec![], vec![]));
}

#[test]
fn given_withheld_parents_when_assembled_then_their_children_wait_with_them() {
    let mut accounts = World::new(contact());
    accounts.entity.name = EntityName::new("account");
    accounts.add(Side::Left, "5", &[("email", Value::text("acme"))]);
    let mut people = World::new(person());
    people.add(Side::Left, "1", &[("email", Value::text("a")), ("account", reference("5"))]);
    people.add(Side::Left, "2", &[("email", Value::text("b"))]);
    let parents = plan_entity(&accounts.entity, &accounts.state(), &Nobody, &context());
    let link = parents.planned_links[&(Side::Left, RecordId::new("5"))].clone();
    let ids = All(Counterpart::Planned(link));
    let children = plan_entity(&people.entity, &people.state(), &ids, &context());
    let first = GuardInput { first_sync: true, ..GuardInput::default() };
    let guards = BTreeMap::from([
        (accounts.entity.name.clone(), first),
        (people.entity.name.clone(), people.guard.clone()),
    ]);
    let entities = [accounts.entity, people.entity];

    let plan = assemble("crm".into(), vec![parents, children], &guards, &entities, &context());

    let sources: Vec<_> = plan
        .ops
        .iter()
        .filter_map(|op| match &op.kind {
            OpKind::Create { source, .. } => Some(source.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(sources, ["2"]);
    let trips: Vec<_> = plan.guards.iter().map(|trip| (trip.code, trip.count)).collect();
    assert_eq!(trips, [(Code::FirstSync, 1), (Code::PendingRef, 1)]);
}

#[test]
fn given_parents_and_children_when_assembled_then_creates_go_down_and_deletes_go_up() {
    let mut accounts = World::new(contact());
    accounts.entity.name = EntityName::new("account");
    let mut people = World::new(person());
    for world in [&mut accounts, &mut people] {
        world.add(Side::Left, "new", &[("email", Value::text("new"))]);
        world.add_pair("x", &[("email", Value::text("x"))]);
        world.delete(Side::Left, "l-x");
    }
    let ids = All(Counterpart::Unresolved);
    let plans = [&accounts, &people]
        .map(|world| plan_entity(&world.entity, &world.state(), &ids, &context()));
    let entities = [accounts.entity, people.entity];

    let plan = assemble("crm".into(), plans.to_vec(), &BTreeMap::new(), &entities, &context());

    let order: Vec<_> = plan.ops.iter().map(|op| (op.entity.as_str(), op.code)).collect();
    let expected = [
        ("account", Code::Create),
        ("contact", Code::Create),
        ("contact", Code::DeleteCounterpart),
        ("account", Code::DeleteCounterpart),
    ];
    assert_eq!(order, expected);
    assert_eq!(plan.guards, []);
}
