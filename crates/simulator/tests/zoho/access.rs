//! Tokens, scopes, credits.

use chrono_tz::Tz;
use crmsync_simulator::zoho::{Access, Limits, User};
use serde_json::{Value, json};

use crate::desk::{Answered, Desk};

const CLIENT: &str = "client_id=1000.SIMULATEDCLIENT&client_secret=simulated-secret";

fn token(desk: &Desk, query: &str) -> Answered {
    desk.raw("POST", &format!("/oauth/v2/token?{query}"), &[], &Value::Null, None)
}

fn contacts_with(desk: &Desk, authorization: &str) -> Answered {
    desk.raw(
        "GET",
        "/Contacts?fields=Email",
        &[("authorization", authorization)],
        &Value::Null,
        None,
    )
}

#[test]
fn given_a_grant_code_when_exchanged_twice_then_only_the_first_gives_tokens() {
    let desk = Desk::open();
    let code = desk.zoho.grant_code("ZohoCRM.modules.ALL");
    let query = format!("grant_type=authorization_code&{CLIENT}&code={code}");

    let first = token(&desk, &query);
    let second = token(&desk, &query);
    let renewed = token(
        &desk,
        &format!(
            "grant_type=refresh_token&{CLIENT}&refresh_token={}",
            first.text("/refresh_token")
        ),
    );

    assert_eq!(
        (first.status, first.at("/expires_in"), first.text("/api_domain")),
        (200, &json!(3600), "http://zoho.test")
    );
    assert_eq!((second.status, second.body), (200, json!({ "error": "invalid_code" })));
    assert!(renewed.at("/access_token").is_string() && renewed.at("/refresh_token").is_null());
    assert_eq!(
        contacts_with(&desk, &format!("Zoho-oauthtoken {}", renewed.text("/access_token"))).status,
        204
    );
}

#[test]
fn given_a_form_of_parts_when_tokens_are_asked_for_then_it_is_read_like_any_other() {
    let desk = Desk::open();
    let refresh = desk.zoho.refresh_token("ZohoCRM.modules.ALL");

    let renewed = desk.token_in_parts(&[
        ("client_id", "1000.SIMULATEDCLIENT"),
        ("client_secret", "simulated-secret"),
        ("grant_type", "refresh_token"),
        ("refresh_token", &refresh),
    ]);

    assert!(renewed.at("/access_token").is_string(), "{}", renewed.body);
}

#[test]
fn given_wrong_credentials_when_a_token_is_asked_for_then_the_error_comes_with_200() {
    let desk = Desk::open();
    let late = desk.zoho.grant_code("ZohoCRM.modules.ALL");
    desk.wait(181);

    let cases = [
        ("unknown client", "grant_type=refresh_token&client_id=x".to_owned(), "invalid_client"),
        (
            "wrong secret",
            "grant_type=refresh_token&client_id=1000.SIMULATEDCLIENT&client_secret=x".into(),
            "invalid_client_secret",
        ),
        (
            "late code",
            format!("grant_type=authorization_code&{CLIENT}&code={late}"),
            "invalid_code",
        ),
        (
            "unknown refresh token",
            format!("grant_type=refresh_token&{CLIENT}&refresh_token=x"),
            "invalid_code",
        ),
    ];

    for (name, query, error) in cases {
        let answered = token(&desk, &query);
        assert_eq!((answered.status, answered.text("/error")), (200, error), "{name}");
    }
}

#[test]
fn given_ten_refreshes_in_ten_minutes_when_refreshed_again_then_access_is_denied_for_a_while() {
    let desk = Desk::open();
    let refresh = desk.zoho.refresh_token("ZohoCRM.modules.ALL");
    let query = format!("grant_type=refresh_token&{CLIENT}&refresh_token={refresh}");
    for _ in 0..10 {
        assert!(token(&desk, &query).at("/access_token").is_string());
    }

    let denied = token(&desk, &query);
    desk.wait(601);
    let later = token(&desk, &query);

    assert_eq!(denied.text("/error"), "Access Denied");
    assert!(later.at("/access_token").is_string());
}

#[test]
fn given_tokens_that_do_not_fit_when_calling_then_401_says_why() {
    let mut desk = Desk::open();
    let narrow = desk.zoho.access_token("ZohoCRM.modules.accounts.READ");

    assert_eq!(contacts_with(&desk, "Bearer abc").code(), "AUTHENTICATION_FAILURE");
    assert_eq!(contacts_with(&desk, "Zoho-oauthtoken abc").code(), "INVALID_TOKEN");
    let mismatch = contacts_with(&desk, &format!("Zoho-oauthtoken {narrow}"));
    assert_eq!((mismatch.status, mismatch.code()), (401, "OAUTH_SCOPE_MISMATCH"));
    desk.wait(3_600);
    assert_eq!(desk.get("/Contacts?fields=Email").code(), "INVALID_TOKEN");
    desk.renew();
    assert_eq!(desk.get("/Contacts?fields=Email").status, 204);
    desk.zoho.withdraw_scopes("ZohoCRM.modules");
    assert_eq!(desk.get("/Contacts?fields=Email").code(), "OAUTH_SCOPE_MISMATCH");
    desk.zoho.revoke_all();
    assert_eq!(desk.get("/Contacts?fields=Email").code(), "INVALID_TOKEN");
}

#[test]
fn given_a_module_taken_away_when_called_then_each_way_of_losing_it_shows() {
    let desk = Desk::open();
    let id = desk.zoho.add("Contacts", json!({ "Last_Name": "Muster" }));
    let path = format!("/Contacts/{id}");

    let cases = [
        (Access::Full, 200, ""),
        (Access::Forbidden, 403, "NO_PERMISSION"),
        (Access::Unseen, 204, ""),
        (Access::Absent, 400, "INVALID_MODULE"),
    ];

    for (access, status, code) in cases {
        desk.zoho.set_access("Contacts", access);
        let answered = desk.get(&path);
        assert_eq!((answered.status, answered.code()), (status, code), "{access:?}");
    }
}

#[test]
fn given_credits_when_they_run_out_then_429_until_the_day_has_rolled_on() {
    let mut desk = Desk::with(|settings| settings.limits = Limits::Credits(6));
    let rows: Vec<Value> = (0..21).map(|n| json!({ "Last_Name": format!("N{n}") })).collect();

    let first = desk.get("/Contacts?fields=Email");
    let second = desk.post("/Contacts", &json!({ "data": rows }));
    let third = desk.get("/Contacts/deleted");
    let refused = desk.get("/org");
    desk.wait(24 * 3_600);
    desk.renew();
    let after = desk.get("/org");

    assert_eq!([first.reply.cost, second.reply.cost, third.reply.cost], [1, 3, 2]);
    assert_eq!(first.reply.headers.get("x-api-credits-remaining"), None);
    assert_eq!(second.reply.headers.get("x-api-credits-remaining").map(String::as_str), Some("2"));
    assert_eq!((refused.status, refused.code()), (429, "TOO_MANY_REQUESTS"));
    assert_eq!(after.status, 200);
}

#[test]
fn given_users_when_listed_then_types_select_them() {
    let desk = Desk::open();
    let gone = desk.zoho.add_user(User::new("Ina", "Gone", "ina@example.com", Tz::Asia__Kolkata));
    desk.zoho.change_user(gone, |user| user.active = false);

    let count = |kind: &str| {
        desk.get(&format!("/users?type={kind}")).at("/users").as_array().map_or(0, Vec::len)
    };

    assert_eq!(
        [count("AllUsers"), count("ActiveUsers"), count("DeactiveUsers"), count("DeletedUsers")],
        [3, 2, 1, 0]
    );
    let row = json!({ "data": [{ "Last_Name": "M", "Owner": { "id": gone.to_string() } }] });
    assert_eq!(desk.post("/Contacts", &row).code(), "INVALID_DATA");
}

#[test]
fn given_the_switches_of_authorization_when_turned_then_answers_take_the_other_form() {
    let desk = Desk::open();
    let narrow = format!("Zoho-oauthtoken {}", desk.zoho.access_token("ZohoCRM.org.READ"));
    desk.zoho.set_switches(|switches| {
        switches.scope_mismatch_status = 403;
        switches.invalid_token_is_failure = true;
        switches.deleted_feed_credits = 1;
    });

    assert_eq!(contacts_with(&desk, &narrow).status, 403);
    assert_eq!(contacts_with(&desk, "Zoho-oauthtoken abc").code(), "AUTHENTICATION_FAILURE");
    assert_eq!(desk.get("/Contacts/deleted").reply.cost, 1);
}

#[test]
fn given_the_consent_page_when_opened_then_its_code_gives_tokens_once() {
    let desk = Desk::open();
    let page = "/oauth/v2/auth?response_type=code&client_id=1000.SIMULATEDCLIENT&scope=ZohoCRM.modules.ALL\
        &redirect_uri=https://app.example/cb?x=1&access_type=offline&state=a%26b";

    let consent = desk.raw("GET", page, &[], &Value::Null, None);
    let target = consent.reply.headers["location"].clone();
    let code = target.split("code=").nth(1).and_then(|rest| rest.split('&').next()).unwrap();
    let tokens = token(&desk, &format!("grant_type=authorization_code&{CLIENT}&code={code}"));
    let stranger = page.replace("1000.SIMULATEDCLIENT", "x");

    assert_eq!(consent.status, 302);
    assert!(target.starts_with("https://app.example/cb?x=1&code=1000."), "{target}");
    assert!(
        target.ends_with("&location=eu&accounts-server=http%3A%2F%2Fzoho.test&state=a%26b"),
        "{target}"
    );
    assert!(tokens.at("/refresh_token").is_string(), "{}", tokens.body);
    assert_eq!(
        desk.raw("GET", &stranger, &[], &Value::Null, None).body,
        json!({ "error": "invalid_client" })
    );
}
