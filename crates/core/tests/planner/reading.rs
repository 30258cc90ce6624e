//! What a person reads of a plan.

use crmsync_core::engine::report::render;
use crmsync_core::model::{Code, Pair, Policy, Side, Value};

use crate::world::{World, contact};

fn text(value: &str) -> Value {
    Value::text(value)
}

#[test]
fn given_a_plan_of_every_kind_when_rendered_then_a_person_can_read_it() {
    let mut entity = contact();
    entity.conflicts.policy = Policy::PreferLeft;
    let mut world = World::new(entity);
    for id in ["edit", "both", "gone"] {
        world.add_pair(id, &[("email", text(id)), ("name", text("old"))]);
    }
    world.edit(Side::Left, "l-edit", "name", text("new"));
    world.edit(Side::Left, "l-both", "name", text("left"));
    world.edit(Side::Right, "r-both", "name", text("right"));
    world.delete(Side::Left, "l-gone");
    world.add(Side::Left, "17", &[("email", text("ada@example.com")), ("name", text("Ada"))]);
    world.add(Side::Left, "18", &[("email", text("bob@example.com")), ("name", text("Bob"))]);
    world.add(Side::Right, "19", &[("email", text("bob@example.com")), ("note", text("vip"))]);

    let plan = world.plan();

    let sides = Pair::new("zoho".to_owned(), "pipedrive".to_owned());
    let page = render(&plan, &sides, 50).replace(&plan.hash, "<hash>");
    insta::assert_snapshot!(page);
}

#[test]
fn given_a_tripped_guard_when_rendered_then_it_says_how_to_release_it() {
    let mut world = World::new(contact());
    world.guard.first_sync = true;
    world.add(Side::Left, "17", &[("email", text("ada@example.com"))]);

    let plan = world.plan();

    let sides = Pair::new("zoho".to_owned(), "pipedrive".to_owned());
    let page = render(&plan, &sides, 50);
    assert!(page.contains(&format!("release with --approve {}", plan.hash)), "{page}");
    assert!(page.contains("create 1 in pipedrive"), "{page}");
}

#[test]
fn given_every_code_when_explained_then_each_has_its_own_sentence() {
    let mut known = std::collections::BTreeSet::new();

    for code in Code::ALL {
        let sentence = crmsync_core::engine::report::sentence(*code);
        assert!(known.insert(sentence), "{code} says what another code says");
        assert!(!sentence.ends_with('.'), "{code}");
    }
}
