//! Notifications: channels that stay, and posts that are read.

use std::collections::BTreeSet;

use crmsync::connectors::hooks::{Hooks, Post, Wish};
use secrecy::SecretString;

use super::*;

const RIGHTS: &str = "ZohoCRM.modules.ALL,ZohoCRM.settings.ALL,ZohoCRM.notifications.ALL";
const SECRET: &str = "a secret of at most fifty characters";
const ADDRESS: &str = "https://sync.example.com/webhooks/zoho?key=7";

struct Subscriber {
    world: ZohoWorld,
    side: Zoho,
    /// How far our clock is ahead of Zoho's.
    ahead: TimeDelta,
}

impl Subscriber {
    async fn start() -> Self {
        Self::with(|_| {}, TimeDelta::zero()).await
    }

    async fn with(change: impl FnOnce(&mut Settings), ahead: TimeDelta) -> Self {
        let world = ZohoWorld::start().await;
        let mut settings = settings(&world.host, &world.server.refresh_token(RIGHTS));
        change(&mut settings);
        let server = world.clock.clone();
        let side = Zoho::connect(settings, Clock::new(move || server.now() + ahead)).unwrap();
        Self { world, side, ahead }
    }

    fn now(&self) -> DateTime<Utc> {
        self.world.clock.now() + self.ahead
    }

    fn hooks(&self) -> &dyn Hooks {
        self.side.hooks().unwrap()
    }

    /// Wishes for the modules; answers for how long that is enough.
    async fn ensure_as(&self, modules: &[&str], secret: &str) -> Result<TimeDelta, ErrorKind> {
        let modules: BTreeSet<_> = modules.iter().map(|name| ModuleName::from(*name)).collect();
        let (url, secret) = (ADDRESS.parse().unwrap(), SecretString::from(secret));
        let now = self.now();
        let wish = Wish { modules: &modules, url: &url, secret: &secret };
        let next = self.hooks().ensure(&wish).await.map_err(|error| error.kind)?;
        Ok(next - now)
    }

    async fn ensure(&self, modules: &[&str]) -> TimeDelta {
        self.ensure_as(modules, SECRET).await.unwrap()
    }

    /// What another program sees: channel, address, events of each module.
    fn channels(&self) -> Vec<(String, String, String)> {
        let mut headers = http::HeaderMap::new();
        let token = format!("Zoho-oauthtoken {}", self.world.server.access_token(RIGHTS));
        headers.insert("authorization", token.parse().unwrap());
        let call = Call {
            method: "GET".into(),
            path: "/crm/v8/actions/watch".into(),
            query: Vec::new(),
            headers,
            body: Vec::new().into(),
            origin: self.world.host.url(),
            fault: None,
        };
        let answer = self.world.server.answer(&call).body;
        let rows: Json = serde_json::from_slice(&answer).unwrap_or_default();
        let rows = rows["watch"].as_array().cloned().unwrap_or_default();
        let text = |row: &Json, key: &str| row[key].as_str().unwrap().to_owned();
        let events = |row: &Json| row["events"].to_string();
        rows.iter()
            .map(|row| (text(row, "channel_id"), text(row, "notify_url"), events(row)))
            .collect()
    }

    /// Bodies of the posts to us since the last call.
    fn posts(&self) -> Vec<Vec<u8>> {
        let deliveries = self.world.server.take_deliveries().into_iter();
        deliveries
            .inspect(|delivery| assert_eq!(delivery.url, ADDRESS))
            .map(|delivery| delivery.payload.to_string().into_bytes())
            .collect()
    }

    /// Module and record of each hint in them.
    fn hints(&self) -> Vec<(String, RecordId)> {
        let posts = self.posts().into_iter();
        let hints = posts.flat_map(|body| self.hooks().decode(&body).unwrap());
        hints.map(|hint| (hint.module.to_string(), hint.id)).collect()
    }

    fn is_genuine(&self, body: &[u8], secret: &str) -> bool {
        self.hooks().is_genuine(&Post { authorization: None, body }, &secret.into())
    }
}

#[tokio::test]
async fn given_a_wish_when_ensured_again_then_there_is_one_channel_and_only_what_is_posted() {
    let desk = Subscriber::start().await;

    let first = desk.ensure(&["Contacts", "Deals", "Notes"]).await;
    let before = desk.channels();
    let second = desk.ensure(&["Contacts", "Deals", "Notes"]).await;

    assert_eq!((first, second), (TimeDelta::days(3), TimeDelta::days(3)));
    assert_eq!(desk.channels(), before);
    let events: Vec<_> = before.iter().map(|(_, _, events)| events.as_str()).collect();
    assert_eq!(events, [r#"["Contacts.all"]"#, r#"["Deals.all"]"#]);
    assert!(before.iter().all(|(id, url, _)| *id == before[0].0 && url == ADDRESS));
}

#[tokio::test]
async fn given_channels_that_were_dropped_when_ensured_then_changes_are_posted_again() {
    let desk = Subscriber::start().await;
    desk.ensure(&["Contacts"]).await;
    desk.world.server.drop_channels();
    let id = desk.world.add("Ada");
    assert_eq!(desk.hints(), []);

    desk.ensure(&["Contacts"]).await;
    desk.world.edit(&id, "Adele");

    assert_eq!(desk.hints(), [("Contacts".to_owned(), id)]);
}

#[tokio::test]
async fn given_a_module_that_is_no_longer_wished_for_when_ensured_then_it_falls_silent() {
    let desk = Subscriber::start().await;
    desk.ensure(&["Contacts", "Accounts"]).await;

    desk.ensure(&["Contacts"]).await;
    desk.world.server.add("Accounts", json!({ "Account_Name": "Acme" }));
    let id = desk.world.add("Ada");

    assert_eq!(desk.hints(), [("Contacts".to_owned(), id)]);
}

#[tokio::test]
async fn given_nothing_that_is_posted_when_ensured_then_the_channel_ends() {
    let desk = Subscriber::start().await;
    assert!(desk.ensure(&["Notes"]).await > TimeDelta::zero());
    desk.ensure(&["Contacts", "Notes"]).await;

    desk.ensure(&["Notes"]).await;

    assert_eq!(desk.channels(), []);
}

#[tokio::test]
async fn given_creates_edits_and_deletes_when_posted_then_each_is_a_hint() {
    let desk = Subscriber::start().await;
    desk.ensure(&["Contacts"]).await;
    let id = desk.world.add("Ada");
    desk.world.edit(&id, "Adele");
    desk.world.wait(1);
    desk.world.edit(&id, "Adela");
    desk.world.delete(&id);

    let hints = desk.hints();

    assert_eq!(hints.len(), 4);
    assert!(hints.iter().all(|hint| *hint == ("Contacts".to_owned(), id.clone())));
}

#[tokio::test]
async fn given_posts_when_checked_then_only_the_secret_they_were_asked_with_makes_them_genuine() {
    let desk = Subscriber::start().await;
    desk.ensure(&["Contacts"]).await;
    desk.world.add("Ada");
    let old = desk.posts().remove(0);
    desk.ensure_as(&["Contacts"], "another").await.unwrap();
    desk.world.add("Bea");
    let new = desk.posts().remove(0);

    assert!(desk.is_genuine(&old, SECRET) && !desk.is_genuine(&old, "another"));
    assert!(desk.is_genuine(&new, "another") && !desk.is_genuine(&new, SECRET));
    assert!(!desk.is_genuine(br#"{"module":"Contacts"}"#, SECRET));
    assert!(!desk.is_genuine(b"", ""));
}

#[tokio::test]
async fn given_a_secret_that_is_too_long_when_ensured_then_the_refused_row_is_an_error() {
    let desk = Subscriber::start().await;

    let outcome = desk.ensure_as(&["Contacts"], &"x".repeat(51)).await;

    let Err(ErrorKind::Invalid { field, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(field, "token");
}

#[tokio::test]
async fn given_a_module_that_is_unknown_when_ensured_then_the_refused_row_is_an_error() {
    let desk = Subscriber::start().await;

    let outcome = desk.ensure_as(&["Contacts", "Boats"], SECRET).await;

    assert!(matches!(outcome, Err(ErrorKind::Invalid { .. })), "{outcome:?}");
    assert_eq!(desk.channels(), []);
}

#[tokio::test]
async fn given_an_end_beyond_the_longest_when_cut_to_an_hour_then_it_is_renewed_within_that_hour() {
    // Six days by our clock are eight by Zoho's: it grants an hour and says nothing.
    let desk = Subscriber::with(|_| {}, TimeDelta::days(2)).await;

    for _ in 0..5 {
        let next = desk.ensure(&["Contacts"]).await;
        assert_eq!(next, TimeDelta::minutes(30));
        desk.world.clock.advance(next);
        assert_eq!(desk.channels().len(), 1, "the channel ended before its renewal");
    }
}

#[tokio::test]
async fn given_an_old_version_of_the_api_when_ensured_then_the_end_is_within_its_day() {
    let desk =
        Subscriber::with(|settings| settings.api_version = "v3".into(), TimeDelta::zero()).await;

    let next = desk.ensure(&["Contacts"]).await;

    assert_eq!(next, TimeDelta::minutes(23 * 60 / 2));
    desk.world.clock.advance(TimeDelta::hours(22));
    assert_eq!(desk.channels().len(), 1);
}

#[tokio::test]
async fn given_a_channel_that_has_ended_when_ensured_then_it_lives_again() {
    let desk = Subscriber::start().await;
    desk.ensure(&["Contacts"]).await;
    desk.world.clock.advance(TimeDelta::days(7));
    assert_eq!(desk.channels(), []);

    desk.ensure(&["Contacts"]).await;

    assert_eq!(desk.channels().len(), 1);
}

#[tokio::test]
async fn given_a_subscription_when_ended_twice_then_it_is_gone_and_both_succeed() {
    let desk = Subscriber::start().await;
    desk.ensure(&["Contacts"]).await;
    let url = ADDRESS.parse().unwrap();

    for _ in 0..2 {
        desk.hooks().end(&url).await.unwrap();
    }

    assert_eq!(desk.channels(), []);
}

#[tokio::test]
async fn given_an_answer_that_is_lost_when_ensured_again_then_there_is_one_channel() {
    let desk = Subscriber::start().await;
    desk.world.faults().on_next("POST /crm/v8/actions/watch", Fault::ReplyLost);

    let outcome = desk.ensure_as(&["Contacts"], SECRET).await;
    desk.ensure(&["Contacts"]).await;

    assert!(matches!(outcome, Err(ErrorKind::ReplyLost(_))), "{outcome:?}");
    assert_eq!(desk.channels().len(), 1);
}

#[tokio::test]
async fn given_a_grant_without_notifications_when_ensured_then_the_error_names_the_scope() {
    let mut desk = Subscriber::start().await;
    desk.side = desk.world.connect(&desk.world.server.refresh_token(ALL));

    let outcome = desk.ensure_as(&["Contacts"], SECRET).await;

    assert_eq!(outcome, Err(ErrorKind::ScopeMissing("ZohoCRM.notifications.ALL".into())));
}

#[tokio::test]
async fn given_calls_for_channels_when_counted_then_zoho_counts_as_many() {
    let desk = Subscriber::start().await;

    desk.ensure(&["Contacts"]).await;
    desk.ensure(&["Contacts"]).await;
    desk.hooks().end(&ADDRESS.parse().unwrap()).await.unwrap();

    let spent = desk.side.spent();
    assert_eq!(spent.calls, desk.world.traffic().calls());
    assert_eq!(spent.units, desk.world.traffic().cost());
}
