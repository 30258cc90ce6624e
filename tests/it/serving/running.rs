//! Schedules, runs on demand, consent, stopping.

use crmsync::service::{Asked, JobName};
use crmsync::store::Role;
use crmsync_core::model::RouteName;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{Stand, with_conflicts};
use crate::world::World;

async fn scheduled(every: &str) -> World {
    let mut world = World::start().await;
    world.reconfigure(|text| format!("{text}every = \"{every}\"\n"));
    world.sandbox.zoho.add("Contacts", json!({ "Last_Name": "Byron", "Email": "ada@example.com" }));
    world
}

#[tokio::test]
async fn given_a_schedule_when_served_then_the_first_plan_waits_for_consent_and_an_operator_gives_it()
 {
    let stand = Stand::serve(scheduled("1h").await).await;
    stand.add_person("otto", Role::Operator).await;
    let first = stand.after_runs(0).await;
    let visit = stand.sign_in("otto").await;
    let (_, html) = visit.get("/").await;

    visit.fill("/", "/routes/crm/runs", &[("approve".into(), hash(&html))]).await;
    let second = stand.after_runs(1).await;

    assert_eq!(first.last.unwrap().exit, 3);
    assert!(html.contains("Approve this plan and run it"));
    assert_eq!(second.last.unwrap().exit, 0);
    assert_eq!(stand.world.sandbox.pipedrive.count("persons"), 1);
    let next = second.next_at.unwrap() - stand.world.now();
    assert!(next.num_minutes() > 50, "the next run is due in an hour, not in {next}");
    stand.stop().await;
}

/// The hash that the overview offers for consent.
fn hash(html: &str) -> String {
    let (_, rest) = html.split_once("name=\"approve\" value=\"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn given_many_wishes_for_a_run_when_one_is_under_way_then_they_make_one_more() {
    let stand = Stand::serve(with_conflicts(1).await).await;
    let route = JobName::Route(RouteName::new("crm"));

    for _ in 0..20 {
        assert!(stand.scheduler.ask(&route, Asked::default()));
    }
    stand.after_runs(0).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let runs = stand.after_runs(0).await.runs;

    assert!(runs <= 2, "{runs} runs");
    assert!(!stand.scheduler.ask(&JobName::Replication("none".into()), Asked::default()));
    stand.stop().await;
}

#[tokio::test]
async fn given_a_side_out_of_reach_when_a_run_fails_then_it_is_tried_again_soon_and_the_page_says_so()
 {
    let mut world = scheduled("24h").await;
    world.reconfigure(|text| {
        text.lines()
            .map(|line| match line.strip_prefix("api_url = ") {
                Some(_) => "api_url = \"http://127.0.0.1:9\"\n".to_owned(),
                None => format!("{line}\n"),
            })
            .collect()
    });
    let stand = Stand::serve(world).await;
    stand.add_person("vera", Role::Viewer).await;

    let state = stand.after_runs(0).await;
    let visit = stand.sign_in("vera").await;
    let (_, html) = visit.get("/").await;

    assert_eq!((state.last.as_ref().unwrap().exit, state.failures), (4, 1));
    assert!(html.contains("The last run failed"), "{html}");
    assert!(html.contains("not reachable"), "{html}");
    stand.stop().await;
}

#[tokio::test]
async fn given_another_configuration_when_put_in_force_then_its_routes_are_the_jobs() {
    let world = World::start().await;
    let stand = Stand::serve(world).await;
    let mut config = (*stand.scheduler.config()).clone();
    let mut other = config.routes[&RouteName::new("crm")].clone();
    other.name = RouteName::new("second");
    config.routes.insert(other.name.clone(), other);

    stand.scheduler.replace(config);
    let second = JobName::Route(RouteName::new("second"));
    let named: Vec<_> = stand.scheduler.jobs().into_iter().map(|(name, _)| name).collect();

    assert_eq!(named, [JobName::Route(RouteName::new("crm")), second.clone()]);
    assert!(stand.scheduler.ask(&second, Asked::default()));
    stand.stop().await;
}

#[tokio::test]
async fn given_machines_that_watch_when_they_ask_then_they_are_told_alive_ready_and_the_numbers() {
    let stand = Stand::serve(with_conflicts(2).await).await;
    let token = stand.token(Role::Viewer).await;
    let get = async |path: &str| {
        let request =
            stand.request(Method::GET, path).header("authorization", format!("Bearer {token}"));
        let answer = request.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };

    let (alive, ready, metrics) =
        (get("/healthz").await, get("/readyz").await, get("/metrics").await);

    assert_eq!((alive.0, ready.0, metrics.0), (StatusCode::OK, StatusCode::OK, StatusCode::OK));
    assert!(
        metrics.1.contains("crmsync_open_rows{route=\"crm\",entity=\"contact\"} 2"),
        "{}",
        metrics.1
    );
    assert!(metrics.1.contains("crmsync_linked_records{route=\"crm\",entity=\"contact\"} 2"));
    assert!(metrics.1.contains("crmsync_calls_last_day{connection=\"zoho\"}"));
    stand.stop().await;
}

#[tokio::test]
async fn given_a_run_when_an_operator_takes_it_back_and_does_it_again_then_both_sides_follow() {
    let world = with_conflicts(0).await;
    let id =
        world.sandbox.zoho.add("Contacts", json!({ "Last_Name": "Byron", "Phone": "+493012345" }));
    world.settle().await;
    world.sandbox.zoho.edit("Contacts", id, json!({ "Last_Name": "Lovelace" }));
    let run = world.sync().await.run.id;
    let stand = Stand::serve(world).await;
    stand.add_person("otto", Role::Operator).await;
    let visit = stand.sign_in("otto").await;
    let page = format!("/runs/{run}");
    let name = || {
        stand.world.sandbox.pipedrive.all("persons")[0]["last_name"].as_str().unwrap().to_owned()
    };

    visit.fill(&page, &page, &[("choice".into(), "undo".into())]).await;
    let undone = stand.after_runs(0).await;
    let taken_back = name();
    let (_, paused) = visit.get(&page).await;
    visit.fill(&page, &page, &[("choice".into(), "redo".into())]).await;
    stand.after_runs(1).await;
    stand.scheduler.ask(&JobName::Route(RouteName::new("crm")), Asked::default());
    stand.after_runs(2).await;

    assert_eq!(undone.last.unwrap().error, None);
    assert_eq!(taken_back, "Byron");
    assert!(paused.contains("the route is paused"), "{paused}");
    assert_eq!(name(), "Lovelace");
    stand.stop().await;
}

#[tokio::test]
async fn given_three_workers_on_one_store_when_a_route_is_due_then_one_of_them_runs_it_and_survives_its_owner()
 {
    use crmsync::service::{Scheduler, connect};
    let world = scheduled("1h").await;
    world.sync().await;
    world.advance(3_700);
    let before = world.calls();
    let route = RouteName::new("crm");
    let mut workers = Vec::new();
    let stop = tokio_util::sync::CancellationToken::new();
    let mut tasks = Vec::new();
    for name in ["first", "second", "third"] {
        let ambient = crmsync::clock::Ambient { holder: name.into(), ..world.ambient() };
        let store = connect::open_store(world.config()).await.unwrap();
        let worker = Scheduler::new(world.config().clone(), store, &ambient);
        tasks.push(tokio::spawn(std::sync::Arc::clone(&worker).run(stop.clone())));
        workers.push(worker);
    }
    let made = async |least: usize| {
        for _ in 0..600 {
            let runs = workers[0].store().runs(Some(&route), 50).await.unwrap();
            if runs.iter().filter(|run| run.finished_at.is_some()).count() >= least {
                return runs.len();
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("{least} runs were not made");
    };

    made(2).await;
    // The others looked too by then, or find it made when they do.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let once = made(2).await;
    // An owner that was killed a minute ago: its lease has run out, and nobody gave it back.
    let dead = workers[0].store();
    let lease = std::time::Duration::from_mins(1);
    drop(dead.lock(&route, "killed", world.now(), lease).await.unwrap());
    world.advance(3_700);
    for worker in &workers {
        worker.ask(&JobName::Route(route.clone()), Asked::default());
    }
    let survived = made(3).await;

    assert_eq!(once, 2, "the due run was made once, not by each");
    assert!(survived >= 3);
    assert_ne!(before, world.calls(), "it read both sides");
    stop.cancel();
    for task in tasks {
        task.await.unwrap();
    }
}
