//! Tokens, scopes, hosts, credits.

use std::sync::Mutex;

use async_trait::async_trait;
use crmsync::connectors::oauth::{StoredToken, TokenStore};

use super::*;

#[tokio::test]
async fn given_an_expired_token_when_many_call_then_it_is_renewed_once_and_nobody_notices() {
    let world = ZohoWorld::start().await;
    world.add("Ada");
    world.list("Contacts", &["Last_Name"], None).await;
    world.server.expire_access_tokens();

    let lists = (0..8).map(|_| world.list("Contacts", &["Last_Name"], None));
    let pages = futures_util::future::join_all(lists).await;

    assert!(pages.iter().all(|page| page.records.len() == 1));
    assert_eq!(world.token_calls(), 2);
}

#[tokio::test]
async fn given_a_revoked_grant_when_called_then_a_person_must_sign_in_again() {
    let world = ZohoWorld::start().await;
    world.server.revoke_all();

    let error = world.connector.account().await.unwrap_err();

    assert_eq!(error.recovery(), Recovery::Reauthorize);
    assert!(error.to_string().contains("invalid_code"), "{error}");
    assert_eq!(world.token_calls(), 1);
}

#[tokio::test]
async fn given_too_many_renewals_when_called_then_it_waits_and_does_not_hammer() {
    let world = ZohoWorld::start().await;
    let token = world.server.refresh_token(ALL);
    for _ in 0..10 {
        world.connect(&token).account().await.unwrap();
    }
    let before = world.token_calls();

    let error = world.connect(&token).account().await.unwrap_err();

    assert!(matches!(error.recovery(), Recovery::Wait(Some(_))), "{error}");
    assert_eq!(world.token_calls(), before + 1);
}

#[tokio::test]
async fn given_a_missing_scope_when_called_then_the_error_names_it() {
    let world = ZohoWorld::start().await;
    let narrow = world.server.refresh_token("ZohoCRM.settings.ALL,ZohoCRM.modules.deals.ALL");
    let connector = world.connect(&narrow);

    let error = connector.fetch(&"Contacts".into(), &["1".into()], &[]).await.unwrap_err();

    assert_eq!(error.kind, ErrorKind::ScopeMissing("ZohoCRM.modules.contacts.READ".into()));
}

#[tokio::test]
async fn given_a_grant_code_when_exchanged_twice_then_only_the_first_time_works() {
    let world = ZohoWorld::start().await;
    let scopes = scopes_for(&["Contacts".into()]).join(",");
    let code = world.server.grant_code(&scopes).into();
    let http: HttpSettings = settings(&world.host, "").http;
    let client = settings(&world.host, "").oauth;

    let clock = our_clock(&world.clock);
    let grant = exchange_grant_code(http.clone(), clock.clone(), &client, &code, None).await;
    let again = exchange_grant_code(http, clock, &client, &code, None).await;

    let grant = grant.unwrap();
    assert!(grant.scopes.contains(&"ZohoCRM.modules.contacts.ALL".to_owned()));
    assert_eq!(grant.api_domain, Some(world.host.url().parse().unwrap()));
    assert_eq!(again.unwrap_err().recovery(), Recovery::Reauthorize);
}

#[tokio::test]
async fn given_hosts_that_are_not_zohos_when_pinned_then_nothing_is_sent() {
    let world = ZohoWorld::start().await;
    let mut settings = settings(&world.host, "secret");
    settings.oauth.pinning = Pinning::Vendor;

    let error = Zoho::connect(settings, our_clock(&world.clock)).err().unwrap();

    assert_eq!(error.recovery(), Recovery::Stop);
    assert_eq!(world.traffic().calls(), 0);
}

#[tokio::test]
async fn given_no_credits_left_when_called_then_the_side_pauses_at_once() {
    let world = ZohoWorld::start().await;
    world.connector.describe(&"Contacts".into()).await.unwrap();
    world.server.set_limits(Limits::Credits(0));
    let before = world.traffic().calls();

    let outcomes = world.connector.create(&"Contacts".into(), &[one("Last_Name", "Ada")]).await;

    assert_eq!(outcomes[0].as_ref().unwrap_err().recovery(), Recovery::Pause);
    assert_eq!(world.traffic().calls(), before + 1);
}

#[tokio::test]
async fn given_our_share_of_the_credits_when_used_up_then_nothing_more_is_sent() {
    let world = ZohoWorld::with(|settings| {
        settings.credits = Some(20);
        settings.share_percent = 10;
    })
    .await;
    world.list("Contacts", &["Last_Name"], None).await;
    let before = world.traffic().calls();

    let error = world.connector.account().await.unwrap_err();

    assert_eq!(error.recovery(), Recovery::Pause);
    assert_eq!(world.traffic().calls(), before);
}

#[derive(Default)]
struct Kept(Mutex<Option<StoredToken>>);

#[async_trait]
impl TokenStore for Kept {
    async fn load(&self) -> Option<StoredToken> {
        self.0.lock().unwrap().clone()
    }

    async fn save(&self, token: StoredToken) {
        *self.0.lock().unwrap() = Some(token);
    }
}

#[tokio::test]
async fn given_a_kept_token_when_other_processes_start_then_they_use_it_until_it_ends() {
    let store = Arc::new(Kept::default());
    let world = ZohoWorld::with(|settings| settings.token_store = Some(store.clone())).await;
    let mut settings = settings(&world.host, &world.server.refresh_token(ALL));
    settings.token_store = Some(store.clone());
    let process = || Zoho::connect(settings.clone(), our_clock(&world.clock)).unwrap();

    for _ in 0..12 {
        process().account().await.unwrap();
    }
    assert_eq!(world.token_calls(), 1);

    // What is remembered of the account ends after an hour, the token a little earlier.
    world.clock.advance(TimeDelta::minutes(61));
    process().account().await.unwrap();
    assert_eq!(world.token_calls(), 2);
}
