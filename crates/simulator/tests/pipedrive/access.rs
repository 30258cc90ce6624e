//! OAuth, limits, headers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crmsync_simulator::host::Service;
use serde_json::{Value, json};

use crate::Desk;

fn oauth(desk: &mut Desk, form: &str) -> (u16, Value) {
    desk.set("content-type", "application/x-www-form-urlencoded");
    desk.set(
        "authorization",
        &format!("Basic {}", STANDARD.encode("simulated-client:simulated-secret")),
    );
    let reply = desk.pipedrive.answer(&desk.call("POST /oauth/token", form.to_owned()));
    (reply.status, serde_json::from_slice(&reply.body).unwrap())
}

#[test]
fn given_wrong_token_requests_when_asked_then_each_has_its_message() {
    let mut desk = Desk::new();
    let code = desk.pipedrive.grant_code();
    let old = desk.pipedrive.grant_code();
    desk.pass(301);
    let redirect = "redirect_uri=http://127.0.0.1/callback";

    #[rustfmt::skip]
    let cases = [
        (String::new(), "Missing parameter: `grant_type`"),
        ("grant_type=password".into(), "Unsupported grant type: `grant_type` is invalid"),
        (format!("grant_type=authorization_code&code=x&{redirect}"), "Invalid grant: `authorization_code` is invalid"),
        (format!("grant_type=authorization_code&code={old}&{redirect}"), "Invalid grant: `authorization_code` has expired"),
        (format!("grant_type=authorization_code&code={code}"), "Invalid request: `redirect_uri` is not a valid URI"),
        (format!("grant_type=authorization_code&code={code}&redirect_uri=http://evil.example"), "Invalid request: `redirect_uri` is invalid"),
        ("grant_type=refresh_token&refresh_token=x".into(), "Invalid grant: `refresh_token` is invalid"),
        ("grant_type=exchange_api_token&api_token=x".into(), "Invalid grant: `api_token` is invalid"),
    ];

    for (form, message) in cases {
        let (status, json) = oauth(&mut desk, &form);
        assert_eq!((status, json["message"].as_str().unwrap()), (400, message), "{form}");
    }
    desk.unset("authorization");
    let reply = desk.json("POST /oauth/token", &json!("x")).1;
    assert_eq!(reply["message"], "Missing parameter: `grant_type`");
}

#[test]
fn given_an_access_token_when_it_expires_then_a_refresh_with_the_same_refresh_token_renews_it() {
    let mut desk = Desk::new();
    let code = desk.pipedrive.grant_code();
    let (_, first) = oauth(
        &mut desk,
        &format!(
            "grant_type=authorization_code&code={code}&redirect_uri=http://127.0.0.1/callback"
        ),
    );
    desk.unset("x-api-token");
    let bearer = |token: &Value| format!("Bearer {}", token["access_token"].as_str().unwrap());

    desk.set("authorization", &bearer(&first));
    let fresh = desk.json("GET /v1/users/me", &Value::Null).0;
    desk.pass(3_600);
    let (expired, body) = desk.json("GET /v1/users/me", &Value::Null);
    let refresh = first["refresh_token"].as_str().unwrap().to_owned();
    let (_, second) =
        oauth(&mut desk, &format!("grant_type=refresh_token&refresh_token={refresh}"));
    desk.set("authorization", &bearer(&second));
    let deal = desk.ok("POST /api/v2/deals", &json!({ "title": "Pilot" }));
    desk.set("authorization", "Token x");
    let malformed = desk.json("GET /v1/users/me", &Value::Null).0;

    assert_eq!((fresh, expired, malformed), (200, 401, 400));
    assert_eq!(body["error"], "Invalid token: `access_token` is invalid");
    assert_eq!(
        (&second["refresh_token"], &second["expires_in"], &second["api_domain"]),
        (&json!(refresh), &json!(3599), &json!("http://127.0.0.1:1"))
    );
    assert_eq!(
        (&deal["data"]["origin"], &deal["data"]["origin_id"]),
        (&json!("Marketplace"), &json!("simulated-client"))
    );
}

#[test]
fn given_an_app_without_a_scope_when_called_then_403() {
    let mut desk = Desk::with(|settings| settings.app.scopes = "base,deals:read".into());
    let refresh = desk.pipedrive.refresh_token();
    let (_, token) = oauth(&mut desk, &format!("grant_type=refresh_token&refresh_token={refresh}"));
    desk.unset("x-api-token");
    desk.set("authorization", &format!("Bearer {}", token["access_token"].as_str().unwrap()));

    assert_eq!(desk.json("GET /api/v2/deals", &Value::Null).0, 200);
    assert_eq!(
        desk.json("POST /api/v2/deals", &json!({ "title": "x" })).1["error"],
        "Scope and URL mismatch"
    );
    assert_eq!(desk.json("GET /api/v2/persons", &Value::Null).0, 403);
}

#[test]
fn given_a_burst_when_over_the_window_then_429_then_the_page_and_after_the_window_200() {
    let desk = Desk::with(|settings| {
        settings.limits.on = true;
        settings.limits.burst = Some(3);
        settings.limits.patience = 2;
    });
    let status = || desk.ask("GET /v1/users/me", &Value::Null).status;

    let statuses: Vec<_> = (0..6).map(|_| status()).collect();
    let page = desk.ask("GET /v1/users/me", &Value::Null);
    desk.pass(61);
    let later = desk.ask("GET /v1/users/me", &Value::Null);

    assert_eq!(statuses, [200, 200, 200, 429, 429, 403]);
    assert_eq!(page.headers["content-type"], "text/html; charset=UTF-8");
    assert_eq!(
        (
            later.status,
            later.headers["x-ratelimit-remaining"].as_str(),
            later.headers["x-ratelimit-limit"].as_str()
        ),
        (200, "2", "3")
    );
}

#[test]
fn given_a_used_up_budget_when_called_then_429_until_midnight() {
    let desk = Desk::with(|settings| {
        settings.limits.on = true;
        settings.limits.daily_tokens = Some(25);
    });
    let list = || desk.ask("GET /api/v2/persons", &Value::Null);

    let (first, second, third, fourth) = (list(), list(), list(), list());
    desk.pass(14 * 3_600);
    let tomorrow = list();

    assert_eq!(
        (first.status, second.status, third.status, fourth.status, tomorrow.status),
        (200, 200, 200, 429, 200)
    );
    assert_eq!(second.headers["x-daily-ratelimit-token-remaining"], "5");
    assert_eq!(fourth.headers["x-daily-ratelimit-token-remaining"], "0");
    assert!(!fourth.headers.contains_key("retry-after"));
    let body: Value = serde_json::from_slice(&fourth.body).unwrap();
    assert_eq!((&body["error"], &body["errorCode"]), (&json!("Request over limit"), &json!(429)));
}

#[test]
fn given_a_search_when_called_eleven_times_then_its_own_window_is_full() {
    let desk = Desk::with(|settings| settings.limits.on = true);
    let search = || desk.ask("GET /api/v2/persons/search?term=ada", &Value::Null).status;

    let statuses: Vec<_> = (0..11).map(|_| search()).collect();

    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 1);
    assert_eq!(desk.ask("GET /v1/users/me", &Value::Null).status, 200);
}

#[test]
fn given_any_answer_when_read_then_it_carries_the_headers() {
    let desk = Desk::new();

    for line in ["GET /api/v2/persons", "GET /api/v2/nothing", "DELETE /api/v2/persons/9"] {
        let reply = desk.ask(line, &Value::Null);
        for name in [
            "x-correlation-id",
            "etag",
            "x-ratelimit-limit",
            "x-ratelimit-remaining",
            "x-ratelimit-reset",
            "x-daily-ratelimit-token-limit",
        ] {
            assert!(reply.headers.contains_key(name), "{line}: {name}");
        }
    }
}

#[test]
fn given_a_revoked_refresh_token_when_used_then_it_and_its_access_tokens_are_dead() {
    let mut desk = Desk::new();
    let refresh = desk.pipedrive.refresh_token();
    let (_, token) = oauth(&mut desk, &format!("grant_type=refresh_token&refresh_token={refresh}"));
    let revoke = |token: &str| {
        desk.pipedrive.answer(&desk.call("POST /oauth/revoke", format!("token={token}"))).status
    };

    let statuses = (revoke("unknown"), revoke(&refresh));
    let again = oauth(&mut desk, &format!("grant_type=refresh_token&refresh_token={refresh}"));
    desk.unset("x-api-token");
    desk.set("authorization", &format!("Bearer {}", token["access_token"].as_str().unwrap()));

    assert_eq!(statuses, (200, 200));
    assert_eq!((again.0, &again.1["error"]), (400, &json!("invalid_grant")));
    assert_eq!(desk.json("GET /v1/users/me", &Value::Null).0, 401);
}

#[test]
fn given_a_regenerated_api_token_when_the_old_one_calls_then_401() {
    let mut desk = Desk::new();

    let token = desk.pipedrive.regenerate_token();
    let old = desk.json("GET /v1/users/me", &Value::Null).0;
    desk.unset("x-api-token");
    let by_query = desk.json(&format!("GET /v1/users/me?api_token={token}"), &Value::Null).0;
    desk.pipedrive.switch(|switches| switches.query_token = false);
    let refused = desk.json(&format!("GET /v1/users/me?api_token={token}"), &Value::Null).0;

    assert_eq!((old, by_query, refused), (401, 200, 401));
}

#[test]
fn given_an_access_token_encoded_twice_when_revoked_then_it_alone_is_dead() {
    let mut desk = Desk::new();
    let refresh = desk.pipedrive.refresh_token();
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    let (_, token) = oauth(&mut desk, &form);
    let access = token["access_token"].as_str().unwrap().to_owned();
    let twice = access.replace(':', "%253A");

    let revoked = desk.pipedrive.answer(&desk.call("POST /oauth/revoke", format!("token={twice}")));
    let (renewed, _) = oauth(&mut desk, &form);
    desk.unset("x-api-token");
    desk.set("authorization", &format!("Bearer {access}"));

    assert_eq!((revoked.status, renewed), (200, 200));
    assert_eq!(desk.json("GET /v1/users/me", &Value::Null).0, 401);
}
