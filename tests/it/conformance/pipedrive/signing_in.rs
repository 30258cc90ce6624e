//! OAuth apps: access tokens that end, refresh tokens that are refused, codes that are good once.

use std::sync::Arc;

use chrono::TimeDelta;
use crmsync::clock::Clock;
use crmsync::connectors::http::HttpSettings;
use crmsync::connectors::pipedrive::{
    Installed, OauthApp, Pipedrive, Settings, SignIn, exchange_code,
};
use crmsync::connectors::{Connector, ErrorKind};
use crmsync_simulator::clock::Clock as ServerClock;
use crmsync_simulator::host::{Host, Service};
use crmsync_simulator::pipedrive as simulated;
use secrecy::ExposeSecret as _;
use url::Url;

const REDIRECT: &str = "http://127.0.0.1/callback";

struct Company {
    server: Arc<simulated::Pipedrive>,
    clock: ServerClock,
    url: Url,
    _host: Host,
}

impl Company {
    async fn open() -> Self {
        crate::conformance::tls();
        let clock = ServerClock::standing("2026-05-15T10:00:00Z".parse().unwrap());
        let server =
            Arc::new(simulated::Pipedrive::new(simulated::Settings::new(clock.clone(), 7)));
        let host = Host::start(server.clone(), 0).await.unwrap();
        let url = host.url().parse().unwrap();
        Self { server, clock, url, _host: host }
    }

    fn app(&self) -> OauthApp {
        OauthApp {
            oauth_url: self.url.clone(),
            client_id: "simulated-client".into(),
            client_secret: "simulated-secret".to_owned().into(),
        }
    }

    fn clock(&self) -> Clock {
        let clock = self.clock.clone();
        Clock::new(move || clock.now())
    }

    fn side(&self, refresh_token: String) -> Pipedrive {
        let installed =
            Installed { app: self.app(), refresh_token: refresh_token.into(), store: None };
        let nothing = String::new().into();
        let settings = Settings {
            sign_in: SignIn::OAuth(installed),
            ..Settings::at("pipedrive", self.url.clone(), nothing, 7)
        };
        Pipedrive::connect(settings, self.clock()).unwrap()
    }
}

#[tokio::test]
async fn given_an_installed_app_when_its_access_token_ends_then_it_is_renewed_once_and_nobody_notices()
 {
    let company = Company::open().await;
    let side = company.side(company.server.refresh_token());

    let before = side.account().await.unwrap();
    company.server.expire_access_tokens();
    side.forget_metadata();
    let (one, other) = tokio::join!(side.account(), side.modules());

    assert_eq!((one.unwrap(), other.is_ok()), (before, true));
    let calls = company.server.traffic().by_route();
    let renewals: u64 =
        calls.iter().filter(|(route, _)| route.ends_with("/oauth/token")).map(|(_, n)| *n).sum();
    assert_eq!(renewals, 2, "one at the start, one for both: {calls:#?}");
}

#[tokio::test]
async fn given_an_app_that_was_uninstalled_when_called_then_a_person_must_sign_in_again() {
    let company = Company::open().await;
    let side = company.side(company.server.refresh_token());
    side.account().await.unwrap();

    company.server.uninstall_app();
    side.forget_metadata();
    let refused = side.account().await.unwrap_err();

    assert!(matches!(refused.kind, ErrorKind::Unauthorized(_)), "{refused}");
    assert!(refused.to_string().contains("invalid_grant"), "{refused}");
}

#[tokio::test]
async fn given_a_code_when_exchanged_then_it_signs_in_once_and_only_while_it_is_fresh() {
    let company = Company::open().await;
    let redirect: Url = REDIRECT.parse().unwrap();
    let http = || HttpSettings::new("pipedrive", Settings::sign_in_pace(), 7);
    let exchange = async |code: &str| {
        let code = code.to_owned().into();
        exchange_code(http(), company.clock(), &company.app(), &code, &redirect).await
    };
    let (code, late) = (company.server.grant_code(), company.server.grant_code());

    let grant = exchange(&code).await.unwrap();
    let again = exchange(&code).await.unwrap_err();
    company.clock.advance(TimeDelta::minutes(6));
    let expired = exchange(&late).await.unwrap_err();

    assert!(grant.scopes.contains(&"contacts:full".to_owned()), "{:?}", grant.scopes);
    let side = company.side(grant.refresh_token.expose_secret().to_owned());
    assert!(side.account().await.is_ok());
    for refused in [again, expired] {
        assert!(matches!(refused.kind, ErrorKind::Unauthorized(_)), "{refused}");
    }
}

#[tokio::test]
async fn given_an_app_when_consent_is_asked_then_the_page_names_app_redirect_and_state() {
    let company = Company::open().await;

    let page = company.app().consent_page(&REDIRECT.parse().unwrap(), "a b&c").unwrap();

    let parts: Vec<_> = page.query_pairs().into_owned().collect();
    assert_eq!(page.path(), "/oauth/authorize");
    assert!(parts.contains(&("state".into(), "a b&c".into())), "{page}");
    assert!(parts.contains(&("redirect_uri".into(), REDIRECT.into())), "{page}");
}
