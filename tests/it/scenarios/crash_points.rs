//! A write whose answer goes missing in every way it can, for every kind of write and both sides.

use std::time::Duration;

use crmsync_simulator::fault::Fault;
use crmsync_simulator::host::Service;
use serde_json::{Value, json};

use crate::world::{Setup, World, each_on_its_own, propagating};

/// What is written when the fault strikes, and with which call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Write {
    CreatePerson,
    CreateContact,
    UpdatePerson,
    UpdateContact,
    DeletePerson,
    DeleteContact,
}

impl Write {
    const ALL: [Self; 6] = [
        Self::CreatePerson,
        Self::CreateContact,
        Self::UpdatePerson,
        Self::UpdateContact,
        Self::DeletePerson,
        Self::DeleteContact,
    ];

    const fn call(self) -> &'static str {
        match self {
            Self::CreatePerson => "POST /api/v2/persons",
            Self::CreateContact => "POST /crm/v8/Contacts",
            Self::UpdatePerson => "PATCH /api/v2/persons",
            Self::UpdateContact => "PUT /crm/v8/Contacts",
            Self::DeletePerson => "DELETE /api/v2/persons",
            Self::DeleteContact => "DELETE /crm/v8/Contacts",
        }
    }

    const fn strikes_zoho(self) -> bool {
        matches!(self, Self::CreateContact | Self::UpdateContact | Self::DeleteContact)
    }

    const fn deletes(self) -> bool {
        matches!(self, Self::DeletePerson | Self::DeleteContact)
    }
}

fn faults() -> Vec<Fault> {
    vec![
        Fault::Refused,
        Fault::ReplyLost,
        Fault::Truncated,
        Fault::EffectThenStatus { status: 502 },
        Fault::html(503),
        Fault::LateEffect { after: Duration::from_millis(20) },
        Fault::PartialRows { rows: 1 },
        Fault::StatusesMissing { kept: 1 },
    ]
}

#[test]
fn given_a_write_whose_answer_goes_missing_when_settled_then_no_edit_is_lost_and_nobody_is_there_twice()
 {
    let cases: Vec<_> = Write::ALL
        .into_iter()
        .flat_map(|write| faults().into_iter().map(move |fault| (write, fault)))
        .flat_map(|(write, fault)| [false, true].map(|edits| (write, fault.clone(), edits)))
        // Deleting what a person edited meanwhile is a question for a person: see `deletes`.
        .filter(|(write, _, edits)| !(write.deletes() && *edits))
        .collect();

    let broken = each_on_its_own(cases, |(write, fault, edits)| check(write, fault, edits));

    assert!(broken.is_empty(), "{broken:#?}");
}

async fn check(write: Write, fault: Fault, edited_meanwhile: bool) {
    let world = World::with(Setup { mappings: propagating(), ..Setup::default() }).await;
    for number in 0..4 {
        add_contact(&world, number);
    }
    world.settle().await;
    prepare(&world, write);
    let (zoho, pipedrive) = (&world.sandbox.zoho, &world.sandbox.pipedrive);
    let faults = if write.strikes_zoho() { zoho.faults() } else { pipedrive.faults() };
    faults.on_next(write.call(), fault);

    let _ = world.try_sync().await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    if edited_meanwhile {
        world.advance(10);
        edit_targets(&world, write);
    }
    world.advance(300);
    world.settle().await;

    let expected = match write {
        Write::CreateContact | Write::CreatePerson => 7,
        Write::UpdateContact | Write::UpdatePerson => 4,
        Write::DeleteContact | Write::DeletePerson => 1,
    };
    assert_eq!((zoho.count("Contacts"), pipedrive.count("persons")), (expected, expected));
    assert_eq!(people(&world, 0), people(&world, 1));
    for number in 1..4 {
        let wanted = match write {
            Write::DeleteContact | Write::DeletePerson => continue,
            _ if edited_meanwhile => format!("Newer{number}"),
            Write::CreateContact | Write::CreatePerson => format!("Last{}", number + 3),
            Write::UpdateContact | Write::UpdatePerson => format!("New{number}"),
        };
        assert!(
            people(&world, 0).iter().any(|person| person.contains(&wanted)),
            "{wanted} is lost: {:?}",
            people(&world, 0)
        );
    }
    assert_eq!(world.open_rows().await, []);
    world.writes();
    world.sync().await;
    assert_eq!(world.writes(), 0);
}

/// Three records change on the side that is not struck.
fn prepare(world: &World, write: Write) {
    let (zoho, pipedrive) = (&world.sandbox.zoho, &world.sandbox.pipedrive);
    for number in 1..4 {
        match write {
            Write::CreatePerson => add_contact(world, number + 3),
            Write::CreateContact => add_person(world, number + 3),
            Write::UpdatePerson => zoho.edit(
                "Contacts",
                contact(world, number),
                json!({ "Last_Name": format!("New{number}") }),
            ),
            Write::UpdateContact => pipedrive.edit(
                "persons",
                person(world, number),
                json!({ "last_name": format!("New{number}") }),
            ),
            Write::DeletePerson => assert!(zoho.delete("Contacts", contact(world, number))),
            Write::DeleteContact => pipedrive.delete("persons", person(world, number)),
        }
    }
}

/// A person edits the struck records (the ones that exist) before the next run.
fn edit_targets(world: &World, write: Write) {
    let (zoho, pipedrive) = (&world.sandbox.zoho, &world.sandbox.pipedrive);
    for number in 1..4 {
        let newer = format!("Newer{number}");
        match write {
            Write::CreatePerson => {
                zoho.edit("Contacts", contact(world, number + 3), json!({ "Last_Name": newer }));
            }
            Write::CreateContact => {
                pipedrive.edit("persons", person(world, number + 3), json!({ "last_name": newer }));
            }
            Write::UpdatePerson => {
                pipedrive.edit("persons", person(world, number), json!({ "last_name": newer }));
            }
            Write::UpdateContact => {
                zoho.edit("Contacts", contact(world, number), json!({ "Last_Name": newer }));
            }
            Write::DeleteContact | Write::DeletePerson => {}
        }
    }
}

fn add_contact(world: &World, number: usize) {
    let contact = json!({ "First_Name": "A", "Last_Name": format!("Last{number}"), "Email": address(number) });
    world.sandbox.zoho.add("Contacts", contact);
}

fn add_person(world: &World, number: usize) {
    let emails = json!([{ "value": address(number), "primary": true }]);
    let last = format!("Last{number}");
    let person = json!({ "name": format!("A {last}"), "first_name": "A", "last_name": last, "emails": emails });
    world.sandbox.pipedrive.add("persons", person);
}

fn address(number: usize) -> String {
    format!("p{number}@example.com")
}

fn contact(world: &World, number: usize) -> u64 {
    let all = world.sandbox.zoho.all("Contacts");
    let one = all.iter().find(|one| one["Email"] == address(number)).unwrap();
    one["id"].as_str().unwrap().parse().unwrap()
}

fn person(world: &World, number: usize) -> i64 {
    let all = world.sandbox.pipedrive.all("persons");
    let one = all.iter().find(|one| one["emails"][0]["value"] == address(number)).unwrap();
    one["id"].as_i64().unwrap()
}

/// Everybody on one side, sorted.
fn people(world: &World, side: usize) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let contact = |one: &Value| format!("{} {}", text(&one["Email"]), text(&one["Last_Name"]));
    let person =
        |one: &Value| format!("{} {}", text(&one["emails"][0]["value"]), text(&one["last_name"]));
    let mut people: Vec<_> = if side == 0 {
        world.sandbox.zoho.all("Contacts").iter().map(contact).collect()
    } else {
        world.sandbox.pipedrive.all("persons").iter().map(person).collect()
    };
    people.sort();
    people
}
