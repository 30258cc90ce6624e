//! The pages in a real browser, with scripts and without, on a desk and on a phone.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crmsync::store::Role;
use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::json;

use super::{PASSWORD, Stand, emails, with_conflicts};

/// A running `chromedriver`; ends with the test.
struct Driver {
    process: Child,
    port: u16,
}

impl Driver {
    /// `None`, said aloud, where there is no browser and none is required.
    async fn start() -> Option<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let started = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(process) = started else {
            let required = std::env::var_os("CRMSYNC_REQUIRE_BROWSER").is_some();
            assert!(!required, "a browser is required, and chromedriver does not start");
            eprintln!("skipped: no chromedriver");
            return None;
        };
        let driver = Self { process, port };
        for _ in 0..600 {
            if reqwest::get(format!("http://127.0.0.1:{port}/status")).await.is_ok() {
                return Some(driver);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("chromedriver does not answer");
    }

    async fn open(&self, width: u32, scripts: bool) -> Client {
        let mut capabilities = Capabilities::new();
        let mut arguments = vec![
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
        ];
        arguments.push(format!("--window-size={width},900"));
        let mut options = json!({ "args": arguments });
        if !scripts {
            options["prefs"] = json!({ "profile.managed_default_content_settings.javascript": 2 });
        }
        if width < 500 {
            options["mobileEmulation"] =
                json!({ "deviceMetrics": { "width": width, "height": 800, "pixelRatio": 2.0 } });
        }
        capabilities.insert("goog:chromeOptions".into(), options);
        let address = format!("http://127.0.0.1:{}", self.port);
        // On a busy machine a browser may take longer to come up than its driver waits for it.
        for _ in 0..4 {
            let opened = ClientBuilder::new(hyper_connector())
                .capabilities(capabilities.clone())
                .connect(&address)
                .await;
            match opened {
                Ok(client) => return client,
                Err(error) => eprintln!("no browser yet: {error}"),
            }
        }
        panic!("no browser comes up");
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn hyper_connector() -> hyper_util::client::legacy::connect::HttpConnector {
    hyper_util::client::legacy::connect::HttpConnector::new()
}

/// Presses a button that asks for another page, and waits until the page it was on is gone.
async fn press(client: &Client, css: &str) {
    let button = client.find(Locator::Css(css)).await.unwrap();
    button.click().await.unwrap();
    for _ in 0..600 {
        let seen = button.tag_name().await;
        if seen.is_err_and(|error| error.is_stale_element_reference()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{css} leads nowhere");
}

/// What a reviewer does: signs in, filters, decides five conflicts, runs the route, sees them gone.
async fn review(client: &Client, stand: &Stand) {
    client.goto(&stand.url("/conflicts")).await.unwrap();
    client.find(Locator::Id("name")).await.unwrap().send_keys("otto").await.unwrap();
    client.find(Locator::Id("password")).await.unwrap().send_keys(PASSWORD).await.unwrap();
    press(client, "form button").await;
    client.wait().for_element(Locator::Css(".filters")).await.unwrap();
    let entity = client.find(Locator::Css("select[name=entity]")).await.unwrap();
    entity.select_by_label("contact").await.unwrap();
    press(client, ".filters button").await;
    client.wait().for_element(Locator::Css(".decisions .card")).await.unwrap();
    let cards = client.find_all(Locator::Css(".decisions .card")).await.unwrap();
    assert_eq!(cards.len(), 5);
    for (at, card) in cards.iter().enumerate() {
        let word = if at == 0 { "right" } else { "left" };
        let radio = card.find(Locator::Css(&format!("input[value={word}]"))).await.unwrap();
        // By the keyboard, as it must go too.
        radio.send_keys(" ").await.unwrap();
    }
    press(client, ".bar button").await;
    client.wait().for_element(Locator::Css("p.said[role=status]")).await.unwrap();
    let said =
        client.find(Locator::Css("p.said[role=status]")).await.unwrap().text().await.unwrap();
    assert!(said.starts_with("5 decided"), "{said}");
    let runs = stand.scheduler.jobs()[0].1.runs;
    client.goto(&stand.url("/")).await.unwrap();
    press(client, ".card .line button").await;
    stand.after_runs(runs).await;
    client.goto(&stand.url("/conflicts?route=crm&entity=contact")).await.unwrap();
    let main = client.find(Locator::Id("main")).await.unwrap().text().await.unwrap();
    assert!(main.contains("Nothing is waiting here"), "{main}");
    let [left, right] = emails(&stand.world);
    assert_eq!(left, right);
    assert_eq!(left.iter().filter(|email| email.ends_with("@right.example")).count(), 1);
}

#[tokio::test]
async fn given_a_browser_when_a_person_resolves_five_conflicts_then_both_crms_have_the_values() {
    let Some(driver) = Driver::start().await else { return };
    for (width, scripts) in [(1_200, true), (1_200, false), (390, true)] {
        let stand = Stand::serve(with_conflicts(5).await).await;
        stand.add_person("otto", Role::Operator).await;
        let client = driver.open(width, scripts).await;

        review(&client, &stand).await;
        for page in ["/", "/conflicts?status=all", "/runs", "/records", "/connections", "/trail"] {
            client.goto(&stand.url(page)).await.unwrap();
            let fits = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth";
            if scripts {
                let fits = client.execute(fits, Vec::new()).await.unwrap();
                assert_eq!(fits, true, "{page} is wider than {width} px");
            }
        }

        client.close().await.unwrap();
        stand.stop().await;
    }
}
