//! Rights that go and come back: what cannot be seen is not deleted, and nothing is written from it.

use crmsync::service::Exit;
use crmsync_simulator::pipedrive::Loss;
use crmsync_simulator::zoho::Access;
use serde_json::json;

use crate::world::{Setup, World, each_on_its_own, propagating, shipped};

#[derive(Clone, Copy, Debug)]
enum Lost {
    Zoho(Access),
    Pipedrive(Loss),
}

impl Lost {
    fn strike(self, world: &World) {
        match self {
            Self::Zoho(access) => world.sandbox.zoho.set_access("Contacts", access),
            Self::Pipedrive(loss) => world.sandbox.pipedrive.lose("persons", loss),
        }
    }

    fn recover(self, world: &World) {
        match self {
            Self::Zoho(_) => world.sandbox.zoho.set_access("Contacts", Access::Full),
            Self::Pipedrive(_) => world.sandbox.pipedrive.regain("persons"),
        }
    }

    /// A record that is the newest of its side for a while.
    async fn add_and_delete(self, world: &World) {
        let (zoho, pipedrive) = (&world.sandbox.zoho, &world.sandbox.pipedrive);
        let passing = json!({ "name": "Passing", "last_name": "Passing" });
        match self {
            Self::Zoho(_) => {
                let id = zoho.add("Contacts", json!({ "Last_Name": "Passing" }));
                world.settle().await;
                zoho.delete("Contacts", id);
            }
            Self::Pipedrive(_) => {
                let id = pipedrive.add("persons", passing);
                world.settle().await;
                pipedrive.delete("persons", id);
            }
        }
        world.advance(3_000);
        world.settle().await;
    }

    fn edit_the_other_side(self, world: &World) {
        let (zoho, pipedrive) = (&world.sandbox.zoho, &world.sandbox.pipedrive);
        if matches!(self, Self::Zoho(_)) {
            let id = pipedrive.all("persons")[0]["id"].as_i64().unwrap();
            pipedrive.edit("persons", id, json!({ "last_name": "Edited" }));
        } else {
            let id = zoho.all("Contacts")[0]["id"].as_str().unwrap().parse().unwrap();
            zoho.edit("Contacts", id, json!({ "Last_Name": "Edited" }));
        }
    }
}

#[test]
fn given_rights_that_are_lost_for_days_when_synced_then_nothing_is_deleted_and_all_flows_once_they_are_back()
 {
    let losses = [
        Lost::Zoho(Access::Forbidden),
        Lost::Zoho(Access::Unseen),
        Lost::Zoho(Access::Absent),
        Lost::Pipedrive(Loss::Rows),
        Lost::Pipedrive(Loss::Forbidden),
    ];

    let broken = each_on_its_own(losses.to_vec(), check);

    assert!(broken.is_empty(), "{broken:#?}");
}

async fn check(lost: Lost) {
    let world = World::with(Setup { mappings: propagating(), ..Setup::default() }).await;
    let (zoho, pipedrive) = (&world.sandbox.zoho, &world.sandbox.pipedrive);
    for number in 0..6 {
        let email = format!("p{number}@example.com");
        zoho.add("Contacts", json!({ "Last_Name": format!("Last{number}"), "Email": email }));
    }
    world.settle().await;
    lost.strike(&world);
    world.writes();

    // An hour later metadata is read again; after a week every listing is read whole.
    for (pause, full) in
        [(0, false), (300, false), (4_000, false), (8 * 86_400, true), (300, true), (300, true)]
    {
        world.advance(pause);
        let exit = world.try_sync().await.map_or_else(|error| error.exit(), |report| report.exit);
        // An empty list of changes looks like an idle day; only a whole listing shows that everything is gone.
        assert!(!full || exit != Exit::Clean, "after {pause} s");
    }
    assert_eq!(world.writes(), 0);
    lost.edit_the_other_side(&world);
    let exit = world.try_sync().await.map_or_else(|error| error.exit(), |report| report.exit);
    assert_ne!(exit, Exit::Clean, "an edit that cannot be written");
    assert_eq!(world.writes(), 0);

    lost.recover(&world);
    world.advance(2 * 86_400);
    world.settle().await;

    assert_eq!((zoho.count("Contacts"), pipedrive.count("persons")), (6, 6));
    let edited = zoho.all("Contacts").iter().filter(|one| one["Last_Name"] == "Edited").count();
    let there = pipedrive.all("persons").iter().filter(|one| one["last_name"] == "Edited").count();
    assert_eq!((edited, there), (1, 1), "{:#?}", world.open_rows().await);
    assert_eq!(world.sync().await.exit, Exit::Clean, "{:#?}", world.open_rows().await);
}

/// To an ordinary user, a hidden record and a deleted one look the same: only the link knows that it was there.
#[tokio::test]
async fn given_a_person_hidden_from_an_ordinary_user_when_synced_for_days_then_it_is_never_taken_for_deleted()
 {
    let world = World::start().await;
    let pipedrive = &world.sandbox.pipedrive;
    pipedrive.set_admin(pipedrive.owner(), false);
    let other = pipedrive.add_user("Eve Else", "else@example.com", "Europe/Berlin");
    for name in ["Byron", "King"] {
        let email = format!("{name}@example.com");
        world.sandbox.zoho.add("Contacts", json!({ "Last_Name": name, "Email": email }));
    }
    // Who makes a record follows it, and sees it whatever comes.
    let byron = json!({ "name": "Byron", "last_name": "Byron", "owner_id": other, "emails": [{ "value": "byron@example.com", "primary": true }] });
    let hidden = pipedrive.add_as(other, "persons", byron);
    world.settle().await;
    pipedrive.edit("persons", hidden, json!({ "visible_to": 1 }));

    for pause in [0, 300, 8 * 86_400, 300, 300] {
        world.advance(pause);
        world.sync().await;
    }

    let rows = world.open_rows().await;
    let codes: Vec<_> = rows.iter().map(|row| row.code.as_str()).collect();
    assert!(codes.contains(&"UNCONFIRMED_ABSENCE"), "{rows:#?}");
    assert_eq!((world.sandbox.zoho.count("Contacts"), pipedrive.count("persons")), (2, 2));
}

#[tokio::test]
async fn given_the_newest_person_hidden_for_good_when_synced_often_then_new_contacts_still_get_through()
 {
    let world = World::start().await;
    let pipedrive = &world.sandbox.pipedrive;
    pipedrive.set_admin(pipedrive.owner(), false);
    let other = pipedrive.add_user("Eve Else", "else@example.com", "Europe/Berlin");
    let emails = json!({ "Last_Name": "King", "Email": "king@example.com" });
    world.sandbox.zoho.add("Contacts", emails);
    world.settle().await;
    world.advance(3_000);
    let hers = json!({ "name": "Hers", "last_name": "Hers", "owner_id": other });
    let hidden = pipedrive.add_as(other, "persons", hers);
    world.settle().await;
    pipedrive.edit("persons", hidden, json!({ "visible_to": 1 }));
    let late = json!({ "Last_Name": "Late", "Email": "late@example.com" });
    world.sandbox.zoho.add("Contacts", late);

    for _ in 0..20 {
        world.advance(300);
        world.sync().await;
    }

    assert_eq!(pipedrive.count("persons"), 3, "{:#?}", world.open_rows().await);
}

/// A person that was deleted so long ago that nothing tells of it: two reads that find nothing prove it, where the
/// canary can be read.
#[tokio::test]
async fn given_a_canary_that_cannot_be_read_when_a_person_is_missing_then_nothing_is_inferred() {
    for (canary, waits) in [("", false), (", canary = 999999", true)] {
        let mut mappings = shipped(&["account.toml", "contact.toml"]);
        let right = format!("right  = {{ module = \"persons\"{canary} }}");
        mappings[1].1 = mappings[1].1.replace("right  = { module = \"persons\" }", &right);
        assert!(mappings[1].1.contains(&right));
        let world = World::with(Setup { mappings, ..Setup::default() }).await;
        for name in ["Byron", "King"] {
            let email = format!("{name}@example.com");
            world.sandbox.zoho.add("Contacts", json!({ "Last_Name": name, "Email": email }));
        }
        world.settle().await;
        let lost = world.sandbox.pipedrive.all("persons")[0]["id"].as_i64().unwrap();
        world.sandbox.pipedrive.delete("persons", lost);
        world.advance(40 * 86_400);

        for _ in 0..4 {
            world.sync().await;
            world.advance(300);
        }

        let rows = world.open_rows().await;
        let waiting = rows.iter().any(|row| row.code.as_str() == "UNCONFIRMED_ABSENCE");
        assert_eq!(waiting, waits, "{canary}: {rows:#?}");
        assert_eq!(world.sandbox.zoho.count("Contacts"), 2);
    }
}

#[tokio::test]
async fn given_a_person_written_while_rights_are_lost_when_they_are_back_then_the_edit_is_seen() {
    let losses = [Lost::Zoho(Access::Unseen), Lost::Pipedrive(Loss::Rows)];
    // The last look at the side may have shown nothing but that its newest record is gone.
    for (lost, newest_goes) in losses.into_iter().flat_map(|lost| [(lost, false), (lost, true)]) {
        let world = World::with(Setup { mappings: propagating(), ..Setup::default() }).await;
        let (zoho, pipedrive) = (&world.sandbox.zoho, &world.sandbox.pipedrive);
        zoho.add("Contacts", json!({ "Last_Name": "Byron", "Email": "ada@example.com" }));
        world.settle().await;
        world.advance(3_000);
        if newest_goes {
            lost.add_and_delete(&world).await;
        }
        if matches!(lost, Lost::Zoho(_)) {
            zoho.add("Contacts", json!({ "Last_Name": "Late", "Email": "late@example.com" }));
        } else {
            let emails = json!([{ "value": "late@example.com", "primary": true }]);
            let late = json!({ "name": "Late", "last_name": "Late", "emails": emails });
            pipedrive.add("persons", late);
        }
        lost.strike(&world);
        for _ in 0..3 {
            world.advance(600);
            let _ = world.try_sync().await;
        }

        lost.recover(&world);
        world.advance(600);
        world.settle().await;

        let counts = (zoho.count("Contacts"), pipedrive.count("persons"));
        assert_eq!(counts, (2, 2), "{lost:?}, {newest_goes}");
    }
}
