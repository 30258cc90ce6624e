//! Deciding conflicts on pages and by the API.

use crmsync::service::{Asked, JobName};
use crmsync::store::Role;
use crmsync_core::model::RouteName;
use reqwest::header::AUTHORIZATION;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Stand, emails, hidden_fields, with_conflicts};

#[tokio::test]
async fn given_five_conflicts_when_a_reviewer_decides_them_on_the_page_then_the_next_run_writes_them()
 {
    let stand = Stand::serve(with_conflicts(5).await).await;
    stand.add_person("rita", Role::Reviewer).await;
    let visit = stand.sign_in("rita").await;
    let (_, html) = visit.get("/conflicts").await;
    let rows: Vec<_> = hidden_fields(&html, "/conflicts")
        .into_iter()
        .filter_map(|(name, _)| Some(name.strip_prefix("fingerprint.")?.to_owned()))
        .collect();
    assert_eq!(rows.len(), 5);

    let own = [
        (format!("choice.{}", rows[0]), "right".to_owned()),
        (format!("choice.{}", rows[1]), "value".to_owned()),
        (format!("value.{}", rows[1]), "typed@example.com".to_owned()),
        ("for_all".to_owned(), "left".to_owned()),
    ];
    visit.fill("/conflicts", "/conflicts", &own).await;
    let (_, decided) = visit.get("/conflicts").await;
    stand.scheduler.ask(&JobName::Route(RouteName::new("crm")), Asked::default());
    let state = stand.after_runs(0).await;
    let (_, after) = visit.get("/conflicts").await;

    assert_eq!(decided.matches("decided by rita").count(), 5, "{decided}");
    assert_eq!(state.last.unwrap().exit, 0);
    assert!(after.contains("Nothing is waiting here"), "{after}");
    let [left, right] = emails(&stand.world);
    assert_eq!(left, right);
    assert_eq!(left.iter().filter(|email| email.ends_with("@left.example")).count(), 3);
    assert_eq!(left.iter().filter(|email| email.ends_with("@right.example")).count(), 1);
    assert!(left.contains(&"typed@example.com".to_owned()));
    let deeds = stand.scheduler.store().deeds(50).await.unwrap();
    assert_eq!(
        deeds.iter().filter(|deed| deed.who == "rita" && deed.action == "decide").count(),
        5
    );
    stand.stop().await;
}

#[tokio::test]
async fn given_a_run_under_way_elsewhere_when_a_person_decides_then_the_decision_waits_and_can_be_taken_back()
 {
    let stand = Stand::serve(with_conflicts(1).await).await;
    stand.add_person("rita", Role::Reviewer).await;
    let visit = stand.sign_in("rita").await;
    let route = RouteName::new("crm");
    let store = stand.scheduler.store();
    let held = store
        .lock(&route, "another process", stand.world.now(), std::time::Duration::from_mins(5))
        .await
        .unwrap();

    let all = [("for_all".to_owned(), "left".to_owned())];
    visit.fill("/conflicts", "/conflicts", &all).await;
    let waiting = store.route(&route).inbox(10).await.unwrap().len();
    let row = stand.world.open_rows().await[0].id.0.clone();
    visit.fill("/conflicts", "/conflicts", &[("take_back".to_owned(), row)]).await;
    let after = store.route(&route).inbox(10).await.unwrap().len();

    assert_eq!((waiting, after), (1, 0));
    held.release().await.unwrap();
    stand.stop().await;
}

#[tokio::test]
async fn given_a_program_when_it_pages_through_conflicts_and_decides_then_each_is_seen_once_and_stale_ones_are_refused()
 {
    let stand = Stand::serve(with_conflicts(3).await).await;
    let token = format!("Bearer {}", stand.token(Role::Reviewer).await);
    let call = async |method: Method, path: &str, body: Value| {
        let request = stand.request(method, path).header(AUTHORIZATION, &token);
        let request = if body.is_null() { request } else { request.json(&body) };
        let answer = request.send().await.unwrap();
        let status = answer.status();
        (status, serde_json::from_str::<Value>(&answer.text().await.unwrap()).unwrap())
    };

    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/routes/crm/conflicts?limit=2{after}");
        let (status, page) = call(Method::GET, &path, Value::Null).await;
        assert_eq!(status, StatusCode::OK);
        seen.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    let row = seen[0]["row"]["row_id"].as_str().unwrap();
    let decision = format!("/api/v1/routes/crm/conflicts/{row}/decision");
    let stale = json!({ "choice": "left", "fingerprint": "of yesterday" });
    let stale = call(Method::POST, &decision, stale).await;
    let wrong = call(Method::POST, &decision, json!({ "choice": "maybe" })).await;
    let unknown_key =
        call(Method::POST, &decision, json!({ "choice": "left", "chioce": "x" })).await;
    let right = json!({ "choice": "left", "fingerprint": seen[0]["row"]["fingerprint"] });
    let (first, again) = (
        call(Method::POST, &decision, right.clone()).await,
        call(Method::POST, &decision, right).await,
    );
    let back = call(Method::DELETE, &decision, Value::Null).await;

    let ids: std::collections::BTreeSet<_> =
        seen.iter().map(|item| item["row"]["row_id"].as_str().unwrap()).collect();
    assert_eq!((seen.len(), ids.len()), (3, 3));
    for (status, problem) in [&stale, &wrong, &unknown_key] {
        assert_eq!(*status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
    }
    assert_eq!((first.0, again.0), (StatusCode::ACCEPTED, StatusCode::ACCEPTED));
    assert_eq!(back.1["taken_back"], true);
    stand.stop().await;
}

#[tokio::test]
async fn given_the_served_description_when_read_then_every_documented_address_answers_as_described()
{
    let stand = Stand::serve(with_conflicts(1).await).await;
    let token = format!("Bearer {}", stand.token(Role::Operator).await);
    let document: Value =
        reqwest::get(stand.url("/api/v1/openapi.json")).await.unwrap().json().await.unwrap();

    assert_eq!(document["openapi"], "3.1.0");
    for (path, operations) in document["paths"].as_object().unwrap() {
        let Some(described) = operations.get("get") else { continue };
        let row = stand.world.open_rows().await[0].clone();
        let id = row.records.left.as_ref().unwrap().to_string();
        let asked = path
            .replace("{route}", "crm")
            .replace("{entity}", "contact")
            .replace("{row}", &row.id.0)
            .replace("{id}", &id);
        let run = stand.scheduler.store().runs(None, 1).await.unwrap()[0].id.clone();
        let asked = asked.replace("{run}", &run);
        let request = stand.request(Method::GET, &asked).header(AUTHORIZATION, &token);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{asked}");
        assert!(described["responses"]["200"].is_object(), "{path}");
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        assert!(kind.starts_with("application/json"), "{asked}: {kind}");
    }
    stand.stop().await;
}

#[tokio::test]
async fn given_values_from_a_side_when_shown_on_pages_then_they_are_text_and_nothing_else() {
    let world = with_conflicts(1).await;
    for contact in world.sandbox.zoho.all("Contacts") {
        let id = contact["id"].as_str().unwrap().parse().unwrap();
        let evil = json!({ "Last_Name": "<script>alert(1)</script>", "Email": "a@x.example" });
        world.sandbox.zoho.edit("Contacts", id, evil);
    }
    world.sync().await;
    let id = world.sandbox.zoho.all("Contacts")[0]["id"].as_str().unwrap().to_owned();
    let stand = Stand::serve(world).await;
    stand.add_person("vera", Role::Operator).await;
    let visit = stand.sign_in("vera").await;

    let run = stand.scheduler.store().runs(None, 1).await.unwrap()[0].id.clone();
    let pages = [
        "/".to_owned(),
        "/conflicts?status=all".to_owned(),
        "/failures".to_owned(),
        "/runs".to_owned(),
        format!("/runs/{run}"),
        format!("/records?route=crm&entity=contact&id={id}"),
        "/records?route=crm&entity=contact&id=%3Cscript%3E".to_owned(),
        "/connections".to_owned(),
        "/trail".to_owned(),
    ];
    for page in pages {
        let (status, html) = visit.get(&page).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        assert!(!html.contains("<script>"), "{page}");
        assert!(!html.contains("style=\""), "{page}: the policy forbids it");
    }
    stand.stop().await;
}
