//! Reading under bad conditions: throttled, cut, outdated, crowded into one second.

use std::time::Duration;

use crmsync::service::Exit;
use crmsync_simulator::fault::Fault;
use crmsync_simulator::host::Service;
use serde_json::json;

use crate::world::{Setup, World, each_on_its_own, shipped};

/// More than a page of Zoho (200 rows) and of Pipedrive (500 rows).
const CROWDS: [usize; 2] = [210, 505];
/// All of them, on each side, once they are synced.
const EVERYONE: usize = CROWDS[0] + CROWDS[1];

fn only_contacts() -> Setup {
    Setup { mappings: shipped(&["account.toml", "contact.toml"]), ..Setup::default() }
}

fn contacts(range: std::ops::Range<usize>) -> impl Iterator<Item = serde_json::Value> {
    range.map(|number| json!({ "Last_Name": format!("Last{number}"), "Email": format!("p{number}@example.com") }))
}

fn persons(range: std::ops::Range<usize>) -> impl Iterator<Item = serde_json::Value> {
    range.map(|number| {
        let emails = json!([{ "value": format!("q{number}@example.com"), "primary": true }]);
        json!({ "name": format!("Last{number}"), "first_name": "", "last_name": format!("Last{number}"), "emails": emails })
    })
}

#[derive(Clone, Debug)]
struct Trouble(&'static str, Vec<Fault>);

#[test]
fn given_a_page_that_comes_badly_when_synced_then_the_next_good_one_is_taken_and_nobody_is_missed()
{
    let answer = |status, body: &str| Fault::Answer {
        status,
        content_type: "application/json",
        body: body.into(),
    };
    let troubles = vec![
        Trouble("throttled", vec![Fault::rate_limited()]),
        Trouble("unavailable, then HTML", vec![Fault::html(503), Fault::html(502)]),
        Trouble("closed", vec![Fault::Refused, Fault::ReplyLost]),
        Trouble("cut", vec![Fault::Truncated]),
        Trouble("not JSON", vec![answer(200, "<html>sign in</html>")]),
        Trouble("JSON of another shape", vec![answer(200, r#"{"surprise":true}"#)]),
        Trouble("huge", vec![Fault::Huge { bytes: 3_000_000 }]),
        Trouble("slow", vec![Fault::Slow { by: Duration::from_millis(300) }]),
        Trouble("without a date", vec![Fault::NoDate]),
        Trouble("outdated", vec![Fault::Stale { by: Duration::from_secs(50) }]),
        Trouble(
            "expired page token",
            vec![answer(
                400,
                r#"{"code":"EXPIRED_VALUE","details":{"api_name":"page_token"},"message":"page_token expired","status":"error"}"#,
            )],
        ),
    ];
    let lists = ["GET /crm/v8/Contacts", "GET /api/v2/persons"];
    // The first page, a page in the middle of the first sync, and a page of a later run.
    let cases: Vec<_> = troubles
        .iter()
        .flat_map(|trouble| lists.map(|list| (trouble.clone(), list)))
        .flat_map(|(trouble, list)| [(trouble.clone(), list, 0), (trouble, list, 1)])
        // Only Zoho's tokens expire with this answer.
        .filter(|(trouble, list, _)| trouble.0 != "expired page token" || list.contains("crm"))
        .collect();

    let broken = each_on_its_own(cases, |(trouble, list, skip)| badly(trouble, list, skip));

    assert!(broken.is_empty(), "{broken:#?}");
}

async fn badly(trouble: Trouble, list: &'static str, skip: usize) {
    let world = World::with(only_contacts()).await;
    let (zoho, pipedrive) = (&world.sandbox.zoho, &world.sandbox.pipedrive);
    // A second page costs time; only Zoho's listing needs one.
    let crowd = if list.contains("crm") && skip == 1 { CROWDS[0] } else { 10 };
    zoho.add_many("Contacts", contacts(0..crowd));
    pipedrive.add_many("persons", persons(0..10));
    let faults = if list.contains("crm") { zoho.faults() } else { pipedrive.faults() };
    world.advance(60);
    for fault in &trouble.1 {
        faults.on(list, skip, 1, fault.clone());
    }

    let _ = world.try_sync().await;
    world.advance(300);
    world.settle().await;
    assert_eq!((zoho.count("Contacts"), pipedrive.count("persons")), (crowd + 10, crowd + 10));

    faults.clear();
    for fault in &trouble.1 {
        faults.on_next(list, fault.clone());
    }
    zoho.add_many("Contacts", contacts(crowd..crowd + 5));
    pipedrive.add_many("persons", persons(10..15));
    let _ = world.try_sync().await;
    world.advance(300);
    world.settle().await;

    assert_eq!((zoho.count("Contacts"), pipedrive.count("persons")), (crowd + 20, crowd + 20));
    assert_eq!(world.sync().await.exit, Exit::Clean);
    faults.clear();
}

#[tokio::test]
async fn given_more_rows_in_one_second_than_a_page_holds_when_synced_then_everyone_comes_once() {
    let world = World::with(only_contacts()).await;
    let (zoho, pipedrive) = (&world.sandbox.zoho, &world.sandbox.pipedrive);
    world.sync().await;
    zoho.add_many("Contacts", contacts(0..CROWDS[0]));
    pipedrive.add_many("persons", persons(0..CROWDS[1]));

    world.settle().await;
    assert_eq!((zoho.count("Contacts"), pipedrive.count("persons")), (EVERYONE, EVERYONE));

    // The same again as edits: read as changes, not as a snapshot.
    let ids: Vec<u64> = zoho
        .all("Contacts")
        .iter()
        .map(|one| one["id"].as_str().unwrap().parse().unwrap())
        .collect();
    for id in ids {
        zoho.edit("Contacts", id, json!({ "First_Name": "All" }));
    }
    world.settle().await;

    let changed = pipedrive.all("persons").iter().filter(|one| one["first_name"] == "All").count();
    assert_eq!(changed, EVERYONE);
    assert_eq!(world.sync().await.exit, Exit::Clean);
}

#[tokio::test]
async fn given_rows_that_change_between_pages_when_synced_then_nobody_is_missed() {
    let world = World::with(only_contacts()).await;
    let (zoho, pipedrive) = (&world.sandbox.zoho, &world.sandbox.pipedrive);
    let ids = zoho.add_many("Contacts", contacts(0..CROWDS[0]));
    let persons = pipedrive.add_many("persons", persons(0..CROWDS[1]));
    let zoho = std::sync::Arc::clone(zoho);
    let busy = Busy {
        zoho,
        pipedrive: std::sync::Arc::clone(pipedrive),
        ids,
        persons,
        clock: world.servers.clone(),
        pages: std::sync::atomic::AtomicUsize::new(0),
    };
    let options = crmsync::service::RunOptions {
        ask: Some(std::sync::Arc::new(|_| true)),
        ..Default::default()
    };
    world.advance(60);

    for _ in 0..2 {
        world.open().await.sync(&options, &busy).await.unwrap();
    }
    world.settle().await;

    let (zoho, pipedrive) = (&world.sandbox.zoho, &world.sandbox.pipedrive);
    let new = busy.pages.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(
        (zoho.count("Contacts"), pipedrive.count("persons")),
        (EVERYONE + new, EVERYONE + new)
    );
    let everybody = |all: Vec<serde_json::Value>, field: &str| {
        let mut names: Vec<_> = all.iter().map(|one| one[field].to_string()).collect();
        names.sort();
        names
    };
    assert_eq!(
        everybody(zoho.all("Contacts"), "Last_Name"),
        everybody(pipedrive.all("persons"), "last_name")
    );
}

/// People who edit and add while pages are read.
struct Busy {
    zoho: std::sync::Arc<crmsync_simulator::zoho::Zoho>,
    pipedrive: std::sync::Arc<crmsync_simulator::pipedrive::Pipedrive>,
    ids: Vec<u64>,
    persons: Vec<i64>,
    clock: [crmsync_simulator::clock::Clock; 2],
    pages: std::sync::atomic::AtomicUsize,
}

impl crmsync::service::Progress for Busy {
    fn phase(&self, _: &str, _: Option<u64>) {}

    fn advance(&self, by: u64) {
        let page = self.pages.load(std::sync::atomic::Ordering::SeqCst);
        // A page of a listing: one row of its beginning moves to its end, and one more is there.
        if by < 100 || page >= 8 {
            return;
        }
        self.pages.store(page + 1, std::sync::atomic::Ordering::SeqCst);
        for clock in &self.clock {
            clock.advance(chrono::TimeDelta::seconds(1));
        }
        self.zoho.edit("Contacts", self.ids[page], json!({ "Last_Name": format!("Moved{page}") }));
        self.pipedrive.edit(
            "persons",
            self.persons[page],
            json!({ "last_name": format!("Shifted{page}") }),
        );
        self.zoho.add(
            "Contacts",
            json!({ "Last_Name": format!("New{page}"), "Email": format!("n{page}@example.com") }),
        );
    }

    fn note(&self, _: &str) {}
}
