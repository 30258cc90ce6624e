//! Faults, limits, refusals: what each means for the caller.

use std::time::Duration;

use crmsync::connectors::{Connector, ErrorKind, Recovery};
use crmsync_core::model::Value;
use crmsync_simulator::fault::Fault;
use crmsync_simulator::host::Service;
use serde_json::json;

use super::desk::{Desk, id_of};

fn ada() -> [(&'static str, Value); 1] {
    [("name", Value::from("Ada"))]
}

#[tokio::test]
async fn given_a_write_whose_answer_is_lost_when_sent_then_it_is_in_doubt_and_sent_once() {
    let faults = [
        ("connection closed", Fault::ReplyLost),
        ("gateway page", Fault::EffectThenStatus { status: 502 }),
        ("truncated", Fault::Truncated),
    ];

    for (name, fault) in faults {
        let desk = Desk::open().await;
        desk.side.describe(&"persons".into()).await.unwrap();
        desk.faults().on_next("POST /api/v2/persons", fault);

        let error = desk.create("persons", &ada()).await.unwrap_err();

        assert_eq!(error.recovery(), Recovery::Reread, "{name}: {error}");
        assert_eq!(desk.server.count("persons"), 1, "{name}");
        assert_eq!(desk.faults().unused(), 0, "{name}");
    }
}

#[tokio::test]
async fn given_a_read_that_fails_for_a_moment_when_repeated_then_it_succeeds() {
    let faults = [
        ("closed before", Fault::Refused),
        ("closed after", Fault::ReplyLost),
        ("server error", Fault::html(500)),
        ("truncated", Fault::Truncated),
    ];

    for (name, fault) in faults {
        let desk = Desk::open().await;
        desk.server.add("persons", json!({ "name": "Ada" }));
        desk.side.describe(&"persons".into()).await.unwrap();
        desk.faults().on_next("GET /api/v2/persons", fault);

        let page = desk.list("persons").await;

        assert!(page.is_ok_and(|page| page.records.len() == 1), "{name}");
        assert_eq!(desk.faults().unused(), 0, "{name}");
    }
}

#[tokio::test]
async fn given_a_burst_when_throttled_then_the_caller_may_wait() {
    let desk = Desk::with(
        |_| {},
        |settings| {
            settings.retry.throttled_tries = 1;
            settings.burst_window = Duration::from_secs(2);
        },
    )
    .await;
    desk.side.describe(&"persons".into()).await.unwrap();
    desk.faults().on_next("POST /api/v2/persons", Fault::rate_limited());

    let error = desk.create("persons", &ada()).await.unwrap_err();

    let waits =
        matches!(error.recovery(), Recovery::Wait(Some(pause)) if pause >= Duration::from_secs(2));
    assert!(waits, "{error:?}");
    assert_eq!(desk.server.count("persons"), 0);
}

#[tokio::test]
async fn given_a_used_up_day_when_called_then_the_side_pauses() {
    let company = |settings: &mut crmsync_simulator::pipedrive::Settings| {
        settings.limits.on = true;
        settings.limits.daily_tokens = Some(1_000);
    };
    let desk = Desk::with(company, |settings| settings.budget_share = 100).await;
    desk.side.describe(&"persons".into()).await.unwrap();
    desk.server.drain_budget(0);

    let told = desk.list("persons").await.unwrap_err();
    let calls = desk.server.traffic().calls();
    let known = desk.list("persons").await.unwrap_err();

    assert_eq!((told.recovery(), known.recovery()), (Recovery::Pause, Recovery::Pause));
    assert_eq!(desk.server.traffic().calls(), calls, "what is known needs no call");
}

#[tokio::test]
async fn given_a_share_of_the_day_when_others_need_the_rest_then_the_side_pauses_before_the_end() {
    let company = |settings: &mut crmsync_simulator::pipedrive::Settings| {
        settings.limits.on = true;
        settings.limits.daily_tokens = Some(1_000);
    };
    let desk = Desk::with(company, |settings| settings.budget_share = 80).await;
    desk.side.describe(&"persons".into()).await.unwrap();
    desk.server.drain_budget(210);

    desk.list("persons").await.unwrap();
    let error = desk.list("persons").await.unwrap_err();

    assert_eq!(error.recovery(), Recovery::Pause);
    assert_eq!(desk.server.tokens_used(), 800);
}

#[tokio::test]
async fn given_an_account_that_is_refused_when_called_then_a_person_is_told_what_to_do() {
    let gateway = |status, error: &str| Fault::Answer {
        status,
        content_type: "application/json",
        body: json!({ "success": false, "error": error, "errorCode": status }).to_string(),
    };
    let cases = [
        ("firewall", Fault::html(403), Recovery::Stop, "firewall"),
        ("not paid", gateway(402, "Payment required"), Recovery::Stop, "unpaid"),
        ("scope", gateway(403, "Scope and URL mismatch"), Recovery::Reauthorize, "scope"),
        ("no permission", gateway(403, "Forbidden"), Recovery::Quarantine, "permission"),
    ];

    for (name, fault, recovery, word) in cases {
        let desk = Desk::open().await;
        desk.side.describe(&"persons".into()).await.unwrap();
        desk.faults().on_next("GET /api/v2/persons", fault);

        let error = desk.list("persons").await.unwrap_err();

        assert_eq!(error.recovery(), recovery, "{name}: {error}");
        assert!(error.to_string().contains(word), "{name}: {error}");
    }
}

#[tokio::test]
async fn given_a_new_token_when_the_old_one_is_used_then_sign_in_is_asked_for_and_no_token_is_shown()
 {
    let desk = Desk::open().await;
    let token = desk.server.api_token();
    desk.server.regenerate_token();

    let error = desk.side.account().await.unwrap_err();

    assert_eq!(error.recovery(), Recovery::Reauthorize);
    assert!(!format!("{error:?} {error}").contains(&token));
}

#[tokio::test]
async fn given_a_refused_value_when_written_then_the_error_names_the_field() {
    let desk = Desk::open().await;
    let tier = desk.server.add_field("organizations", "Tier", "enum", &["Gold"]);
    let org = desk.server.add("organizations", json!({ "name": "Acme" }));
    let fields = [
        ("an unknown option", tier.as_str(), Value::from("99999")),
        ("an unknown owner", "owner_id", Value::from("99999")),
    ];

    for (name, field, value) in fields {
        let error = desk.update("organizations", org, &[(field, value)]).await.unwrap_err();

        let named =
            matches!(&error.kind, ErrorKind::Invalid { field: refused, .. } if refused == field);
        assert!(named, "{name}: {error:?}");
    }
}

#[tokio::test]
async fn given_a_deleted_field_when_written_then_the_metadata_must_be_read_again() {
    let desk = Desk::open().await;
    let tier = desk.server.add_field("organizations", "Tier", "varchar", &[]);
    let org = desk.server.add("organizations", json!({ "name": "Acme" }));
    desk.side.describe(&"organizations".into()).await.unwrap();
    desk.server.delete_field("organizations", &tier);

    let error = desk
        .update("organizations", org, &[(tier.as_str(), Value::from("Gold"))])
        .await
        .unwrap_err();

    assert_eq!(error.recovery(), Recovery::Redescribe, "{error}");
}

#[tokio::test]
async fn given_a_record_deleted_meanwhile_when_updated_then_it_is_gone() {
    let desk = Desk::open().await;
    let ada = desk.server.add("persons", json!({ "name": "Ada" }));
    let current = desk.fetch("persons", &[ada], &["id"]).await.remove(0);
    desk.server.delete("persons", ada);

    let change = crmsync::connectors::UpdateRow {
        id: id_of(ada),
        fields: super::desk::row(&[("name", Value::from("Eva"))]),
        current,
        unmodified_since: None,
    };
    let error = super::desk::one(desk.side.update(&"persons".into(), &[change]).await).unwrap_err();

    assert_eq!(error.kind, ErrorKind::Gone);
}

#[tokio::test]
async fn given_a_cursor_that_expired_when_continued_then_the_scan_restarts() {
    use chrono::TimeDelta;
    use crmsync::connectors::{ListRequest, Order};
    let desk = Desk::with(
        |company| company.switches.cursor_lifetime = Some(TimeDelta::minutes(1)),
        |_| {},
    )
    .await;
    desk.server.add_many("persons", (0..600).map(|n| json!({ "name": format!("Person {n}") })));
    let first = desk.list("persons").await.unwrap();
    desk.pass(120);

    let (module, page) = ("persons".into(), first.next.as_ref());
    let request = ListRequest { module: &module, fields: &[], since: None, order: Order::Id, page };
    let error = desk.side.list(&request).await.unwrap_err();

    assert_eq!(error.recovery(), Recovery::RestartScan);
}

#[tokio::test]
async fn given_a_success_that_says_no_when_written_then_it_is_a_refusal() {
    let desk = Desk::open().await;
    desk.side.describe(&"persons".into()).await.unwrap();
    let body = json!({ "success": false, "error": "Name must be given." }).to_string();
    desk.faults().on_next(
        "POST /api/v2/persons",
        Fault::Answer { status: 200, content_type: "application/json", body },
    );

    let error = desk.create("persons", &ada()).await.unwrap_err();

    assert_eq!(error.kind, ErrorKind::Refused("Name must be given.".into()));
}

#[tokio::test]
async fn given_a_success_without_a_body_when_written_then_it_is_in_doubt() {
    for body in ["", "null", "{}", r#"{"success":true,"data":null}"#] {
        let desk = Desk::open().await;
        desk.side.describe(&"persons".into()).await.unwrap();
        desk.faults().on_next(
            "POST /api/v2/persons",
            Fault::Answer { status: 200, content_type: "application/json", body: body.into() },
        );

        let error = desk.create("persons", &ada()).await.unwrap_err();

        assert_eq!(error.recovery(), Recovery::Reread, "{body:?}: {error}");
    }
}
