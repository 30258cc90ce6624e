//! `crmsync serve` as a browser and a program meet it: over HTTP, against both simulators.

mod access;
mod alerting;
mod browser;
mod reviewing;
mod running;
mod several;
mod webhooks;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crmsync::service::people::{digest, hash_password, new_token};
use crmsync::service::webhooks::Webhooks;
use crmsync::service::{JobName, JobState, Scheduler, connect};
use crmsync::store::{ApiToken, Person, Role};
use crmsync::web::{self, App};
use crmsync_core::model::RouteName;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::world::World;

pub(super) const PASSWORD: &str = "a long password";

/// A world whose route is served.
pub(super) struct Stand {
    pub(super) world: World,
    pub(super) scheduler: Arc<Scheduler>,
    pub(super) address: SocketAddr,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    client: Client,
}

impl Stand {
    pub(super) async fn serve(world: World) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut config = world.config().clone();
        config.serve.public_url = Some(format!("http://{address}"));
        let store = connect::open_store(&config).await.unwrap();
        let scheduler = Scheduler::new(config, store, &world.ambient());
        let stop = CancellationToken::new();
        let count = std::sync::atomic::AtomicU8::new(1);
        let random = move || [7; 32];
        let webhooks = Webhooks::new(Arc::clone(&scheduler), random);
        let random = move || [count.fetch_add(1, std::sync::atomic::Ordering::Relaxed); 32];
        let app = App::new(Arc::clone(&scheduler), Arc::clone(&webhooks), random, stop.clone());
        let jobs = tokio::spawn(Arc::clone(&scheduler).run(stop.clone()));
        let posts = tokio::spawn(webhooks.keep(stop.clone()));
        let pages = tokio::spawn(async { web::serve(app, listener).await.unwrap() });
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { world, scheduler, address, stop, tasks: vec![jobs, posts, pages], client }
    }

    /// Lets `name` in, with the password of all tests.
    pub(super) async fn add_person(&self, name: &str, role: Role) {
        let person = Person {
            name: name.to_owned(),
            role,
            password: hash_password(PASSWORD, &[9; 32]).unwrap(),
            created_at: self.world.now(),
        };
        self.scheduler.store().save_person(&person).await.unwrap();
    }

    pub(super) async fn token(&self, role: Role) -> String {
        let token = new_token(&[role as u8 + 100; 32]);
        let kept = ApiToken {
            name: role.to_string(),
            role,
            digest: digest(&token),
            created_at: self.world.now(),
        };
        self.scheduler.store().save_api_token(&kept).await.unwrap();
        token
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn request(&self, method: reqwest::Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    pub(super) async fn try_sign_in(&self, name: &str, password: &str) -> Response {
        let form = [("name", name), ("password", password)];
        self.client.post(self.url("/sign-in")).form(&form).send().await.unwrap()
    }

    /// Signs somebody in.
    pub(super) async fn sign_in(&self, name: &str) -> Visit<'_> {
        let answer = self.try_sign_in(name, PASSWORD).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        let cookie = answer.headers()[SET_COOKIE].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Visit { stand: self, cookie }
    }

    /// The state of the route, once it made more than `runs` runs and none is under way.
    pub(super) async fn after_runs(&self, runs: u64) -> JobState {
        let name = JobName::Route(RouteName::new("crm"));
        for _ in 0..2_400 {
            let jobs = self.scheduler.jobs();
            let (_, state) = jobs.into_iter().find(|(known, _)| *known == name).unwrap();
            if state.runs > runs && state.running.is_none() {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no run ended within two minutes");
    }

    /// Stops everything, as a signal would.
    pub(super) async fn stop(self) -> World {
        self.stop.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
        self.world
    }
}

/// Somebody signed in.
pub(super) struct Visit<'a> {
    stand: &'a Stand,
    pub(super) cookie: String,
}

impl Visit<'_> {
    pub(super) async fn get(&self, path: &str) -> (StatusCode, String) {
        let request = self.stand.client.get(self.stand.url(path)).header(COOKIE, &self.cookie);
        let answer = request.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    pub(super) async fn post(&self, path: &str, form: &[(String, String)]) -> Response {
        let request = self.stand.client.post(self.stand.url(path)).header(COOKIE, &self.cookie);
        request.form(form).send().await.unwrap()
    }

    /// Fills in the form of a page: its hidden fields, and what a person chooses.
    pub(super) async fn fill(&self, page: &str, to: &str, chosen: &[(String, String)]) -> String {
        let (_, html) = self.get(page).await;
        let mut form = hidden_fields(&html, to);
        form.extend(chosen.iter().cloned());
        let answer = self.post(to, &form).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{}", answer.text().await.unwrap());
        answer.headers()[LOCATION].to_str().unwrap().to_owned()
    }
}

/// Hidden fields of the form that posts to `to`.
pub(super) fn hidden_fields(html: &str, to: &str) -> Vec<(String, String)> {
    let from = html.find(&format!("method=\"post\" action=\"{to}\"")).expect("the form is there");
    let form = &html[from..from + html[from..].find("</form>").unwrap()];
    let fields = form.split("<input type=\"hidden\" ").skip(1);
    let attribute = |text: &str, name: &str| {
        let value = text.split_once(&format!("{name}=\"")).unwrap().1;
        value.split('"').next().unwrap().replace("&amp;", "&").replace("&#38;", "&")
    };
    fields.map(|field| (attribute(field, "name"), attribute(field, "value"))).collect()
}

/// Contacts that both sides know, each with an e-mail address that was edited differently on both.
pub(super) async fn with_conflicts(count: usize) -> World {
    let mut world = World::start().await;
    world.reconfigure(|text| text + "conflicts = \"queue\"\n");
    for at in 0..count {
        let email = format!("ada{at}@example.com");
        let contact =
            json!({ "First_Name": "Ada", "Last_Name": format!("Byron {at}"), "Email": email });
        world.sandbox.zoho.add("Contacts", contact);
    }
    world.settle().await;
    for contact in world.sandbox.zoho.all("Contacts") {
        let id = contact["id"].as_str().unwrap().parse().unwrap();
        let name = contact["Last_Name"].as_str().unwrap().replace(' ', "");
        world.sandbox.zoho.edit("Contacts", id, json!({ "Email": format!("{name}@left.example") }));
    }
    for person in world.sandbox.pipedrive.all("persons") {
        let id = person["id"].as_i64().unwrap();
        let name = person["last_name"].as_str().unwrap().replace(' ', "");
        let email =
            json!([{ "value": format!("{name}@right.example"), "primary": true, "label": "work" }]);
        world.sandbox.pipedrive.edit("persons", id, json!({ "emails": email }));
    }
    world.sync().await;
    assert_eq!(world.open_rows().await.len(), count);
    world
}

/// E-mail addresses on both sides, sorted.
pub(super) fn emails(world: &World) -> [Vec<String>; 2] {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let zoho = world.sandbox.zoho.all("Contacts");
    let pipedrive = world.sandbox.pipedrive.all("persons");
    let mut left: Vec<_> = zoho.iter().map(|row| text(&row["Email"])).collect();
    let mut right: Vec<_> = pipedrive.iter().map(|row| text(&row["emails"][0]["value"])).collect();
    left.sort();
    right.sort();
    [left, right]
}
