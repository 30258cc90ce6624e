//! Ways in that are shut: what a user reads, which exit code follows, and that nothing is half written.

use std::sync::Arc;

use chrono::TimeDelta;
use crmsync::service::{Exit, ServiceError};
use crmsync_simulator::fault::Fault;
use crmsync_simulator::host::{Host, Service};
use crmsync_simulator::pipedrive::{self, Pipedrive};
use serde_json::json;

use crate::world::World;

async fn company() -> World {
    let world = World::start().await;
    world.sandbox.zoho.add("Contacts", json!({ "Last_Name": "Byron", "Email": "ada@example.com" }));
    world.settle().await;
    world.sandbox.zoho.add("Contacts", json!({ "Last_Name": "New", "Email": "new@example.com" }));
    world.writes();
    world
}

fn outcome(result: Result<crmsync::service::RunReport, ServiceError>) -> (Exit, String) {
    match result {
        Ok(report) => (report.exit, format!("{:?}", report.tally.paused)),
        Err(error) => (error.exit(), error.to_string()),
    }
}

type Shut = fn(&World);

#[tokio::test]
async fn given_a_way_in_that_is_shut_when_synced_then_the_error_says_which_and_nothing_is_written()
{
    let cases: [(&str, Shut, &[Exit], &[&str]); 6] = [
        (
            "Zoho's refresh token revoked",
            |world| world.sandbox.zoho.revoke_all(),
            &[Exit::SideUnavailable, Exit::Config],
            &["zoho"],
        ),
        (
            "Zoho's module scope withdrawn",
            |world| world.sandbox.zoho.withdraw_scopes("ZohoCRM.modules"),
            &[Exit::Config, Exit::SideUnavailable],
            &["zoho", "scope"],
        ),
        (
            "Pipedrive's token replaced",
            |world| drop(world.sandbox.pipedrive.regenerate_token()),
            &[Exit::SideUnavailable, Exit::Config],
            &["pipedrive", "token"],
        ),
        (
            "Zoho answers with a login page",
            |world| world.sandbox.zoho.faults().on("GET /crm/v8/Contacts", 0, 50, Fault::html(200)),
            &[Exit::SideUnavailable, Exit::Config],
            &["zoho"],
        ),
        (
            "Pipedrive answers with a login page",
            |world| {
                world.sandbox.pipedrive.faults().on("GET /api/v2/persons", 0, 50, Fault::html(200));
            },
            &[Exit::SideUnavailable, Exit::Config],
            &["pipedrive"],
        ),
        (
            "Zoho's sign-in is down",
            |world| {
                world.sandbox.zoho.expire_access_tokens();
                world.sandbox.zoho.faults().on("POST /oauth/v2/token", 0, 50, Fault::html(503));
            },
            &[Exit::SideUnavailable],
            &["zoho"],
        ),
    ];

    for (name, shut, exits, words) in cases {
        let world = company().await;
        shut(&world);

        let (exit, text) = outcome(world.try_sync().await);

        assert!(exits.contains(&exit), "{name}: {exit:?} {text}");
        let lower = text.to_lowercase();
        assert!(words.iter().all(|word| lower.contains(word)), "{name}: {text}");
        assert_eq!(world.writes(), 0, "{name}");
        world.sandbox.zoho.faults().clear();
        world.sandbox.pipedrive.faults().clear();
    }
}

#[tokio::test]
async fn given_a_token_that_ends_at_any_call_when_synced_then_it_is_refreshed_and_the_run_goes_on()
{
    let expired = || {
        Fault::Answer { status: 401, content_type: "application/json", body: r#"{"code":"INVALID_TOKEN","details":{},"message":"invalid oauth token","status":"error"}"#.into() }
    };
    for call in ["GET /crm/v8/Contacts", "GET /crm/v8/Contacts/deleted", "GET /crm/v8/Accounts"] {
        let world = company().await;
        world.sandbox.zoho.faults().on_next(call, expired());

        let (exit, text) = outcome(world.try_sync().await);

        assert_eq!(exit, Exit::Clean, "{call}: {text}");
        assert_eq!(world.sandbox.pipedrive.count("persons"), 2, "{call}");
    }
    let world = company().await;
    world.sandbox.pipedrive.add(
        "persons",
        json!({ "name": "Eve", "last_name": "Eve", "emails": [{ "value": "eve@example.com" }] }),
    );
    world.sandbox.zoho.faults().on_next("POST /crm/v8/Contacts", expired());
    let (exit, text) = outcome(world.try_sync().await);
    assert_eq!((exit, world.sandbox.zoho.count("Contacts")), (Exit::Clean, 3), "{text}");
}

#[tokio::test]
async fn given_an_unreachable_host_when_synced_then_the_error_names_it() {
    let mut world = company().await;
    let url = world.sandbox.pipedrive_url();
    world.reconfigure(|text| text.replace(&url, "http://127.0.0.1:9"));

    let (exit, text) = outcome(world.try_sync().await);

    assert_eq!(exit, Exit::SideUnavailable, "{text}");
    assert!(text.contains("pipedrive"), "{text}");
}

#[tokio::test]
async fn given_the_store_of_another_organization_when_synced_then_it_is_refused_and_nothing_is_written()
 {
    let world = company().await;
    let session = world.open().await;
    let name = crmsync_core::model::RouteName::new("crm");
    let lease = std::time::Duration::from_mins(1);
    let store = session.store.lock(&name, "test", world.clock.now(), lease).await.unwrap();
    let mut meta = store.meta().await.unwrap();
    let mine = meta.identity.as_mut().expect("a finished run remembers both organizations");
    mine.right = "another company".into();
    store.save_meta(&meta).await.unwrap();
    store.release().await.unwrap();

    let (exit, text) = outcome(world.try_sync().await);

    assert_eq!(exit, Exit::Store, "{text}");
    assert!(text.contains("another company") && text.contains("crm"), "{text}");
    assert_eq!(world.writes(), 0);
}

#[tokio::test]
async fn given_a_route_that_another_process_syncs_when_synced_then_the_lease_is_respected_until_it_ends()
 {
    let world = company().await;
    let session = world.open().await;
    let name = crmsync_core::model::RouteName::new("crm");
    let lease = std::time::Duration::from_mins(1);
    let held = session.store.lock(&name, "another", world.clock.now(), lease).await.unwrap();

    let (exit, text) = outcome(
        world
            .try_open()
            .await
            .unwrap()
            .sync(&crmsync::service::RunOptions::default(), &crmsync::service::Silent)
            .await,
    );
    assert_eq!(exit, Exit::LeaseHeld, "{text}");
    assert!(text.contains("another"), "{text}");
    assert_eq!(world.writes(), 0);
    drop(held);
    world.clock.advance(TimeDelta::seconds(61));

    world.sync().await;
    assert_eq!(world.sandbox.pipedrive.count("persons"), 2);
}

/// Each run is a process of its own here: what the earlier ones spent must count.
#[tokio::test]
async fn given_a_daily_budget_that_earlier_runs_used_up_when_synced_then_it_waits_for_the_next_day()
{
    let mut world = company().await;
    for _ in 0..4 {
        world.sync().await;
    }
    world.sandbox.zoho.add("Contacts", json!({ "Last_Name": "Late", "Email": "late@example.com" }));
    world.writes();
    let budget = "[connections.zoho]\nbudget = { daily = 100, share = 1.0 }";
    world.reconfigure(|text| text.replace("[connections.zoho]", budget));

    let (spent, told) = outcome(world.try_sync().await);
    let written = world.writes();
    world.advance(26 * 3_600);
    let (later, _) = outcome(world.try_sync().await);

    assert_eq!((spent, written), (Exit::Budget, 0), "{told}");
    assert_ne!(later, Exit::Budget, "the next day is another one");
}

/// The store knows records of one company; under another one, all of them would look deleted or new.
#[tokio::test]
async fn given_a_connection_that_leads_to_another_company_when_synced_then_it_is_refused_at_once() {
    let mut world = company().await;
    let mut settings = pipedrive::Settings::new(world.clock.clone(), 7);
    settings.company.id = 777;
    let stranger = Arc::new(Pipedrive::new(settings));
    stranger.add_field("persons", "Zoho ID", "varchar", &[]);
    let host = Host::start(Arc::clone(&stranger) as Arc<dyn Service>, 0).await.unwrap();
    let (own, theirs) = (world.sandbox.pipedrive.api_token(), stranger.api_token());
    let (from, to) = (world.sandbox.pipedrive_url(), host.url());
    world.reconfigure(|text| text.replace(&own, &theirs).replace(&from, &to));

    let (exit, told) = outcome(world.try_sync().await);

    assert_eq!(exit, Exit::Store, "{told}");
    assert!(told.contains("give these a store of their own"), "{told}");
    assert_eq!(stranger.traffic().written() + world.writes(), 0);
}
