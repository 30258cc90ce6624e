//! What a mapping may ask for beyond the defaults: the fields' own history as evidence, writes audited afterwards,
//! the route's policy.

use std::time::Duration;

use crmsync::service::RunReport;
use crmsync::store::RowFilter;
use crmsync_core::model::row::Evidence;
use crmsync_core::model::{OpenRow, Side};
use crmsync_simulator::fault::{Fault, Faults};
use crmsync_simulator::host::Service as _;
use serde_json::{Value, json};

use crate::world::{Setup, World, shipped};

/// A world whose contact mapping has more keys at its top and more tables at its end.
async fn world_with(keys: &str, tables: &str, settings: &'static str) -> World {
    let mut mappings = shipped(&["account.toml", "contact.toml"]);
    let text =
        mappings[1].1.replace("entity = \"contact\"", &format!("entity = \"contact\"\n{keys}"));
    mappings[1].1 = format!("{text}\n{tables}");
    World::with(Setup { mappings, settings, ..Setup::default() }).await
}

async fn linked_contact(world: &World) -> (u64, i64) {
    let contact = json!({ "First_Name": "Ada", "Last_Name": "Byron", "Email": "ada@example.com" });
    let id = world.sandbox.zoho.add("Contacts", contact);
    world.settle().await;
    (id, world.sandbox.pipedrive.all("persons")[0]["id"].as_i64().unwrap())
}

fn emails(world: &World, contact: u64, person: i64) -> (Value, Value) {
    let contact = world.sandbox.zoho.get("Contacts", contact).unwrap();
    let person = world.sandbox.pipedrive.get("persons", person).unwrap();
    (contact["Email"].clone(), person["emails"][0]["value"].clone())
}

fn primary(email: &str) -> Value {
    json!({ "emails": [{ "value": email, "primary": true }] })
}

fn conflicts(report: &RunReport) -> Vec<&OpenRow> {
    report.rows.iter().filter(|row| row.code.as_str() == "CONFLICT").collect()
}

#[tokio::test]
async fn given_a_field_that_changed_last_on_the_side_whose_record_did_not_when_synced_then_evidence_decides()
 {
    let cases = [
        ("record-time", "early@example.com", Evidence::RecordTime),
        ("field-history", "late@example.com", Evidence::FieldHistory),
    ];
    for (evidence, winner, grade) in cases {
        let tables = format!("[conflicts]\nevidence = \"{evidence}\"\n");
        let world = world_with("", &tables, "").await;
        let (contact, person) = linked_contact(&world).await;
        world.advance(60);
        world.sandbox.zoho.edit("Contacts", contact, json!({ "Email": "early@example.com" }));
        world.advance(30);
        world.sandbox.pipedrive.edit("persons", person, primary("late@example.com"));
        world.advance(30);
        world.sandbox.zoho.edit("Contacts", contact, json!({ "Department": "Sales" }));

        let report = world.sync().await;

        assert_eq!(emails(&world, contact, person), (json!(winner), json!(winner)), "{evidence}");
        let rows = conflicts(&report);
        assert_eq!(rows[0].evidence, Some(grade), "{evidence}: {}", rows[0].message);
        assert_eq!(
            rows[0].changed_at.left.is_some(),
            grade == Evidence::FieldHistory,
            "{evidence}"
        );
    }
}

#[tokio::test]
async fn given_histories_too_close_to_tell_when_synced_again_then_they_are_not_read_again() {
    let world = world_with("", "[conflicts]\nevidence = \"field-history\"\n", "").await;
    let (contact, person) = linked_contact(&world).await;
    world.advance(60);
    world.sandbox.zoho.edit("Contacts", contact, json!({ "Email": "one@example.com" }));
    world.sandbox.pipedrive.edit("persons", person, primary("two@example.com"));
    let read = |world: &World| {
        let calls = world.calls();
        let histories = calls
            .iter()
            .filter(|(route, _)| route.ends_with("__timeline") || route.ends_with("changelog"));
        histories.map(|(_, count)| count).sum::<u64>()
    };

    let first = world.sync().await;
    let (asked, again) = (read(&world), world.sync().await);

    assert_eq!((asked, read(&world)), (2, 2), "{:#?}", world.calls());
    for report in [&first, &again] {
        let rows = conflicts(report);
        assert_eq!((rows[0].winner, rows[0].evidence), (None, Some(Evidence::FieldHistory)));
    }
    assert_eq!(again.open_rows, 1);
}

/// Runs once; a person acts while the struck call waits for its answer.
async fn sync_while(world: &World, faults: &Faults, act: impl FnOnce()) -> RunReport {
    let person = async {
        while faults.struck() == 0 {
            tokio::task::yield_now().await;
        }
        act();
    };
    let (report, ()) = tokio::join!(world.sync(), person);
    report
}

fn slow() -> Fault {
    Fault::Slow { by: Duration::from_millis(200) }
}

async fn overwritten(world: &World) -> Vec<OpenRow> {
    let session = world.open().await;
    let rows = session.store.route(&"crm".into()).rows(&RowFilter::default()).await.unwrap();
    let rows = rows.into_iter().map(|stored| stored.row);
    rows.filter(|row| row.code.as_str() == "OVERWRITTEN_IN_WINDOW").collect()
}

#[tokio::test]
async fn given_an_edit_between_the_last_look_and_the_write_when_audited_then_its_value_is_reported()
{
    for (mode, found) in [("all", 1), ("suspect", 1), ("off", 0)] {
        let keys = format!("audit-writes = \"{mode}\"");
        let world = world_with(&keys, "", "").await;
        let (contact, person) = linked_contact(&world).await;
        world.sandbox.zoho.edit("Contacts", contact, json!({ "Email": "zoho@example.com" }));
        world.sandbox.pipedrive.edit("persons", person, json!({ "visible_to": 1 }));
        let faults = world.sandbox.pipedrive.faults();
        faults.on_next("GET /api/v2/persons/*", slow());

        let report = sync_while(&world, faults, || {
            world.sandbox.pipedrive.edit("persons", person, primary("pd@example.com"));
        })
        .await;

        let rows = overwritten(&world).await;
        assert_eq!((rows.len(), report.tally.overwritten), (found, found as u64), "{mode}");
        if let Some(row) = rows.first() {
            assert_eq!(row.right.as_ref().unwrap().to_string(), "pd@example.com", "{mode}");
            assert_eq!((row.winner, row.is_open()), (Some(Side::Left), false), "{mode}");
        }
    }
}

#[tokio::test]
async fn given_an_unconditional_batch_when_a_contact_is_edited_meanwhile_then_the_audit_finds_it() {
    let world = world_with("audit-writes = \"all\"\nwrite-mode = \"batch\"", "", "").await;
    let (contact, person) = linked_contact(&world).await;
    world.sandbox.pipedrive.edit("persons", person, primary("pd@example.com"));
    let faults = world.sandbox.zoho.faults();
    // The list of what changed and the deleted feed come first.
    faults.on("GET /crm/v8/Contacts", 2, 1, slow());

    sync_while(&world, faults, || {
        world.sandbox.zoho.edit("Contacts", contact, json!({ "Email": "zoho@example.com" }));
    })
    .await;

    let rows = overwritten(&world).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].left.as_ref().unwrap().to_string(), "zoho@example.com");
}

#[tokio::test]
async fn given_a_policy_of_the_route_when_the_mapping_names_none_then_it_decides() {
    for (tables, winner) in
        [("", "two@example.com"), ("[conflicts]\npolicy = \"prefer-left\"\n", "one@example.com")]
    {
        let mut world = world_with("", tables, "").await;
        world.reconfigure(|text| {
            text.replace("[routes.crm]", "[routes.crm]\nconflicts = \"prefer-right\"")
        });
        let (contact, person) = linked_contact(&world).await;
        world.sandbox.zoho.edit("Contacts", contact, json!({ "Email": "one@example.com" }));
        world.sandbox.pipedrive.edit("persons", person, primary("two@example.com"));

        world.sync().await;

        assert_eq!(emails(&world, contact, person), (json!(winner), json!(winner)), "{tables}");
    }
}
