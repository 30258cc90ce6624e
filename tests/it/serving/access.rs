//! Who may do what: the whole table of addresses, and the ways in.

use crmsync::store::Role;
use crmsync::web::{Access, listing};
use reqwest::header::{AUTHORIZATION, COOKIE, LOCATION};
use reqwest::{Method, StatusCode};

use super::{PASSWORD, Stand};
use crate::world::World;

#[tokio::test]
async fn given_every_address_when_asked_by_nobody_and_by_each_role_then_only_those_who_may_get_through()
 {
    let stand = Stand::serve(World::start().await).await;
    let mut tokens = vec![(None, None)];
    for role in Role::ALL {
        tokens.push((Some(role), Some(stand.token(role).await)));
    }

    let mut wrong = Vec::new();
    for address in listing() {
        let path = address
            .path
            .replace("{route}", "elsewhere")
            .replace("{file}", "style.css")
            .replace(['{', '}'], "");
        let method = Method::from_bytes(address.method.as_str().as_bytes()).unwrap();
        for (role, token) in &tokens {
            let mut request = stand.request(method.clone(), &path);
            if let Some(token) = token {
                request = request.header(AUTHORIZATION, format!("Bearer {token}"));
            }
            let answer = request.send().await.unwrap();
            let status = answer.status();
            let elsewhere = answer.headers().get(LOCATION).and_then(|it| it.to_str().ok());
            let to_sign_in =
                elsewhere.is_some_and(|to| role.is_none() || to.starts_with("/sign-in?"));
            let sent_away =
                to_sign_in || status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN;
            let may = match (address.access, role) {
                (Access::Everybody, _) => true,
                (Access::Only(_), None) => false,
                (Access::Only(needed), Some(role)) => *role >= needed,
            };
            if may == sent_away {
                wrong.push(format!("{method} {path} by {role:?}: {status}"));
            }
        }
    }

    assert!(wrong.is_empty(), "{wrong:#?}");
    stand.stop().await;
}

#[tokio::test]
async fn given_a_wrong_password_or_name_when_signing_in_then_both_are_refused_alike_and_soon_slowed_down()
 {
    let stand = Stand::serve(World::start().await).await;
    stand.add_person("ann", Role::Operator).await;

    let wrong = stand.try_sign_in("ann", "another password").await;
    let unknown = stand.try_sign_in("eve", PASSWORD).await;
    let (wrong_status, unknown_status) = (wrong.status(), unknown.status());
    let (wrong, unknown) = (wrong.text().await.unwrap(), unknown.text().await.unwrap());
    let mut last = StatusCode::OK;
    for _ in 0..5 {
        last = stand.try_sign_in("ann", "another password").await.status();
    }
    let right = stand.try_sign_in("ann", PASSWORD).await.status();

    assert_eq!(
        (wrong_status, unknown_status),
        (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED)
    );
    assert_eq!(wrong.replace("\"ann\"", ""), unknown.replace("\"eve\"", ""));
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(right, StatusCode::TOO_MANY_REQUESTS, "guessing does not end with the right guess");
    stand.stop().await;
}

#[tokio::test]
async fn given_a_form_from_elsewhere_when_posted_with_the_cookie_then_it_is_refused() {
    let stand = Stand::serve(World::start().await).await;
    stand.add_person("ann", Role::Operator).await;
    let visit = stand.sign_in("ann").await;

    let without = visit.post("/conflicts", &[]).await.status();
    let forged = visit.post("/conflicts", &[("proof".into(), "0".repeat(64))]).await.status();
    let json = stand
        .request(Method::POST, "/api/v1/routes/crm/runs")
        .header(COOKIE, &visit.cookie)
        .json(&serde_json::json!({}))
        .send()
        .await
        .unwrap()
        .status();
    let foreign = stand
        .request(Method::POST, "/sign-in")
        .header("sec-fetch-site", "cross-site")
        .form(&[("name", "ann"), ("password", PASSWORD)])
        .send()
        .await
        .unwrap()
        .status();

    let refused = StatusCode::FORBIDDEN;
    assert_eq!([without, forged, json, foreign], [refused; 4]);
    stand.stop().await;
}

#[tokio::test]
async fn given_a_sign_in_when_it_ends_or_the_person_is_removed_then_its_cookie_opens_nothing() {
    let stand = Stand::serve(World::start().await).await;
    stand.add_person("ann", Role::Viewer).await;
    let (first, second) = (stand.sign_in("ann").await, stand.sign_in("ann").await);
    assert_eq!(first.get("/").await.0, StatusCode::OK);

    first.fill("/", "/sign-out", &[]).await;
    let signed_out = first.get("/").await.0;
    let other = second.get("/").await.0;
    stand.world.advance(12 * 3_600);
    let expired = second.get("/").await.0;
    let third = stand.sign_in("ann").await;
    stand.scheduler.store().remove_person("ann").await.unwrap();
    let removed = third.get("/").await.0;

    assert_eq!(signed_out, StatusCode::SEE_OTHER);
    assert_eq!(other, StatusCode::OK);
    assert_eq!(expired, StatusCode::SEE_OTHER);
    assert_eq!(removed, StatusCode::SEE_OTHER);
    stand.stop().await;
}

#[tokio::test]
async fn given_any_page_when_answered_then_the_browser_is_told_to_run_nothing_from_elsewhere() {
    let stand = Stand::serve(World::start().await).await;

    for path in ["/sign-in", "/nowhere", "/api/v1/openapi.json", "/static/style.css"] {
        let answer = stand.request(Method::GET, path).send().await.unwrap();
        let policy = answer.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'"), "{path}");
        assert!(!policy.contains("unsafe"), "{path}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{path}");
    }
    stand.stop().await;
}
