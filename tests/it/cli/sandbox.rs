//! Commands that speak to the simulators: the program starts them itself, as `crmsync sandbox`.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::Arc;

use crmsync::sandbox::{Ports, Sandbox};
use crmsync_simulator::clock::Clock;
use crmsync_simulator::host::{Host, Service};

use super::program::Desk;

/// A running `crmsync sandbox`; ends with the test.
pub(super) struct Served {
    process: Child,
    /// A configuration that points at it.
    pub(super) config: String,
}

impl Served {
    pub(super) fn start(desk: &Desk) -> Self {
        let arguments = ["sandbox", "--zoho-port", "0", "--pipedrive-port", "0"];
        let mut process =
            desk.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut config = String::new();
        // The last line names the mapping folder; nothing follows until the program ends.
        while !config.contains("mappings = ") {
            config += &lines.next().expect("the sandbox prints a whole configuration").unwrap();
            config.push('\n');
        }
        Self { process, config }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// 32 bytes in base64.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

const CONTACT: &str = r#"entity = "contact"
left = { module = "Contacts" }
right = { module = "persons" }

[match]
external_id = { left = "Pipedrive_ID", right = "Zoho ID" }
keys = [{ fields = ["email"], strength = "strong" }]

[fields]
last_name = { left = "Last_Name", right = "last_name" }
email     = { left = "Email", right = "emails", type = "email" }
"#;

fn served() -> (Desk, Served) {
    let desk = Desk::new();
    let served = Served::start(&desk);
    let desk = desk
        .with_file("crmsync.toml", &served.config)
        .with_file("mappings/zoho-pipedrive/contact.toml", CONTACT);
    (desk, served)
}

#[test]
fn given_both_simulators_when_described_then_modules_and_fields_are_listed() {
    let (desk, _served) = served();

    let modules = desk.run(&["describe", "zoho", "--quiet"]);
    let fields = desk.run(&["describe", "pipedrive", "persons", "--json"]);
    let unknown = desk.run(&["describe", "zoho", "Contact", "--quiet"]);

    assert_eq!(modules.code, 0, "{}", modules.err);
    assert!(modules.out.contains("Contacts"), "{}", modules.out);
    let schema: serde_json::Value = serde_json::from_str(&fields.out).unwrap();
    assert_eq!(schema["module"], "persons");
    assert_eq!(unknown.code, 2);
    assert!(unknown.err.contains("did you mean `Contacts`?"), "{}", unknown.err);
}

#[test]
fn given_a_token_when_connected_then_the_account_is_named() {
    let (desk, _served) = served();

    let said = desk.run(&["connect", "pipedrive", "--quiet"]);

    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("authorised as"), "{}", said.out);
}

#[test]
fn given_external_ids_in_mappings_when_installed_then_each_field_is_named() {
    let (desk, _served) = served();

    let said = desk.run(&["connect", "zoho", "--install", "--quiet"]);

    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("external ID of Contacts: Pipedrive_ID"), "{}", said.out);
}

#[test]
fn given_mapped_modules_when_scopes_are_asked_then_exactly_theirs_are_listed() {
    let (desk, _served) = served();

    let said = desk.run(&["connect", "zoho", "--scopes", "--quiet"]);

    insta::assert_snapshot!(said.shown());
}

#[test]
fn given_a_mapping_when_checked_against_both_sides_then_it_passes_and_a_wrong_field_does_not() {
    let (desk, _served) = served();

    let right = desk.run(&["mapping", "check", "--quiet"]);
    let desk = desk.with_file(
        "mappings/zoho-pipedrive/contact.toml",
        &CONTACT.replace("\"Last_Name\"", "\"Lats_Name\""),
    );
    let wrong = desk.run(&["mapping", "check", "--quiet"]);

    assert_eq!(right.code, 0, "{}{}", right.out, right.err);
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("Lats_Name"), "{}", wrong.err);
}

#[test]
fn given_two_modules_when_a_mapping_is_drafted_then_it_parses() {
    let (desk, _served) = served();

    let said = desk.run(&["mapping", "new", "zoho/Contacts", "pipedrive/persons", "--quiet"]);

    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("entity = \"contact\""), "{}", said.out);
    crmsync_core::mapping::parse("draft.toml", &said.out).unwrap();
}

/// A desk whose Zoho connection is not signed in, and the simulator that it may sign in to.
async fn signed_out() -> (Desk, Sandbox) {
    let sandbox = Sandbox::start(&Clock::running(chrono::TimeDelta::zero()), 7, Ports::default())
        .await
        .unwrap();
    let whole = sandbox.config("sqlite://crmsync.db", std::path::Path::new("mappings"));
    let without_token = |line: &&str| !line.starts_with("refresh_token");
    let config: Vec<_> = whole.lines().filter(without_token).collect();
    let config = config.join("\n").replace("{ env = \"CRMSYNC_KEY\" }", &format!("\"{KEY}\""));
    let desk =
        Desk::new().with_file("crmsync.toml", &config).with_file("mappings/contact.toml", CONTACT);
    (desk, sandbox)
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_grant_code_when_connected_then_later_commands_are_signed_in() {
    let (desk, sandbox) = signed_out().await;
    let scopes = desk.run(&["connect", "zoho", "--scopes", "--quiet"]).out;
    let code = sandbox.zoho.grant_code(scopes.trim());

    let before = desk.run(&["describe", "zoho", "--quiet"]);
    let connected = desk.run(&["connect", "zoho", "--code", &code, "--quiet"]);
    let after = desk.run(&["describe", "zoho", "--quiet"]);

    assert_eq!(before.code, 2);
    assert!(before.err.contains("connection `zoho` is not signed in"), "{}", before.err);
    assert_eq!(connected.code, 0, "{}{}", connected.out, connected.err);
    assert!(connected.out.starts_with("zoho: authorised as "), "{}", connected.out);
    assert_eq!(after.code, 0, "{}", after.err);
    let store = std::fs::read(desk.path().join("crmsync.db")).unwrap();
    assert!(!store.windows(5).any(|bytes| bytes == b"1000."), "the token is sealed");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_code_for_too_little_when_connected_then_the_missing_scopes_are_named() {
    let (desk, sandbox) = signed_out().await;
    let code = sandbox.zoho.grant_code("ZohoCRM.modules.ALL,ZohoCRM.org.READ,ZohoCRM.users.READ");

    let said = desk.run(&["connect", "zoho", "--code", &code, "--quiet"]);

    assert_eq!(said.code, 2, "{}", said.err);
    assert!(
        said.out.contains("scopes not granted:\n  ZohoCRM.settings.fields.ALL"),
        "{}",
        said.out
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_wrong_code_when_connected_then_nothing_is_stored_and_the_exit_code_says_configuration()
 {
    let (desk, _sandbox) = signed_out().await;

    let said = desk.run(&["connect", "zoho", "--code", "1000.used", "--quiet"]);
    let after = desk.run(&["describe", "zoho", "--quiet"]);

    assert_eq!((said.code, said.out.as_str()), (2, ""), "{}", said.err);
    assert!(said.err.contains("sign-in refused"), "{}", said.err);
    assert!(after.err.contains("not signed in"), "{}", after.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_sign_in_when_the_key_is_rotated_then_it_stays_and_the_old_key_opens_nothing() {
    let sandbox = Sandbox::start(&Clock::running(chrono::TimeDelta::zero()), 7, Ports::default())
        .await
        .unwrap();
    let whole = sandbox.config("sqlite://crmsync.db", std::path::Path::new("mappings"));
    let lines: Vec<_> = whole.lines().filter(|line| !line.starts_with("refresh_token")).collect();
    let old = &format!("CRMSYNC_KEY={KEY}\n");
    let desk = Desk::new()
        .with_file("crmsync.toml", &lines.join("\n"))
        .with_file("mappings/contact.toml", CONTACT)
        .with_file(".env", old);
    let scopes = desk.run(&["connect", "zoho", "--scopes", "--quiet"]).out;
    let code = sandbox.zoho.grant_code(scopes.trim());
    let connected = desk.run(&["connect", "zoho", "--code", &code, "--quiet"]);

    let rotated = desk.run(&["rotate-key", "--quiet"]);
    let new = desk.read(".env");
    let with_new = desk.run(&["describe", "zoho", "--refresh", "--quiet"]);
    let desk = desk.with_file(".env", old);
    let with_old = desk.run(&["describe", "zoho", "--refresh", "--quiet"]);

    assert_eq!((connected.code, rotated.code), (0, 0), "{}{}", connected.err, rotated.err);
    assert!(new != *old && new.starts_with("CRMSYNC_KEY=") && new.lines().count() == 1, "{new}");
    assert_eq!(with_new.code, 0, "{}", with_new.err);
    assert_eq!(with_old.code, 2, "{}", with_old.err);
    assert!(with_old.err.contains("this key does not open it"), "{}", with_old.err);
}

#[test]
fn given_both_sides_when_checked_then_mapped_modules_are_read_now_and_not_remembered() {
    let (desk, served) = served();
    let desk = desk.with_variable("CRMSYNC_KEY", KEY);

    let reached = desk.run(&["check", "--quiet"]);
    // What the first check learned is remembered; a host that is gone must show all the same.
    drop(served);
    let gone = desk.run(&["check", "--quiet"]);

    assert_eq!(reached.code, 0, "{}{}", reached.out, reached.err);
    assert!(reached.out.contains("1 mapped and readable"), "{}", reached.out);
    assert_eq!(gone.code, 4, "{}", gone.out);
    assert!(gone.out.contains("fail connection pipedrive: "), "{}", gone.out);
}

#[test]
fn given_two_companies_when_audited_and_linked_by_hand_then_each_step_tells_what_it_did() {
    let (desk, _served) = served();
    let before = desk.run(&["audit", "--quiet"]);
    let synced = desk.run(&["sync", "--approve", "auto", "--quiet"]);
    let after = desk.run(&["audit", "crm/contact", "--json", "--quiet"]);
    let why = desk.run(&["why", "crm/contact", "9", "--json", "--quiet"]);
    let known: serde_json::Value = serde_json::from_str(&why.out).unwrap();

    let parted = desk.run(&["unlink", "crm/contact", "9", "--quiet"]);
    let left = known["link"]["ends"]["left"].as_str().unwrap();
    let again = desk.run(&["link", "crm/contact", left, "9", "--quiet"]);
    let twice = desk.run(&["link", "crm/contact", left, "9", "--quiet"]);
    let nobody = desk.run(&["unlink", "crm/contact", "4711", "--quiet"]);

    assert_eq!((before.code, synced.code, after.code), (1, 0, 0), "{}{}", before.err, after.err);
    assert!(before.out.contains("missing in pipedrive"), "{}", before.out);
    let audited: serde_json::Value = serde_json::from_str(&after.out).unwrap();
    assert_eq!(audited[0]["percent"], 100.0, "{}", after.out);
    assert!(parted.out.contains("unlinked zoho"), "{}{}", parted.out, parted.err);
    assert!(again.out.contains(&format!("linked zoho {left} with pipedrive 9")), "{}", again.err);
    assert_eq!((twice.code, nobody.code), (2, 2));
    assert!(twice.err.contains("are linked already"), "{}", twice.err);
    assert!(nobody.err.contains("no contact with the ID 4711 is linked"), "{}", nobody.err);
}

/// A person in a browser: opens the page, consents, and is sent back.
async fn consent(page: &str) -> String {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::get(page).await.unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn given_an_oauth_app_when_a_person_consents_in_the_browser_then_pipedrive_is_signed_in() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let redirect = format!("http://127.0.0.1:{port}/callback");
    let clock = Clock::running(chrono::TimeDelta::zero());
    let mut settings = crmsync_simulator::pipedrive::Settings::new(clock, 7);
    settings.app.redirect_uri.clone_from(&redirect);
    let server = Arc::new(crmsync_simulator::pipedrive::Pipedrive::new(settings));
    let host = Host::start(Arc::clone(&server) as Arc<dyn Service>, 0).await.unwrap();
    let config = format!(
        "[store]\nurl = \"sqlite://crmsync.db\"\nkey = \"{KEY}\"\n[connections.pipedrive]\ntype = \"pipedrive\"\n\
         company = \"acme\"\nclient_id = \"simulated-client\"\nclient_secret = \"simulated-secret\"\n\
         redirect_uri = \"{redirect}\"\napi_url = \"{0}\"\noauth_url = \"{0}\"\n",
        host.url()
    );
    let desk = Desk::new().with_file("crmsync.toml", &config);
    let before = desk.run(&["describe", "pipedrive", "--quiet"]);

    let mut connecting = desk
        .command(&["connect", "pipedrive"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(connecting.stderr.take().unwrap()).lines().map_while(Result::ok);
    let page =
        lines.map(|line| line.trim().to_owned()).find(|line| line.contains("/oauth/authorize"));
    let forged = consent(&format!("{redirect}?code=stolen&state=theirs")).await;
    let seen = consent(&page.unwrap()).await;
    let connected = connecting.wait_with_output().unwrap();
    let after = desk.run(&["describe", "pipedrive", "--quiet"]);

    assert!(before.err.contains("connection `pipedrive` is not signed in"), "{}", before.err);
    assert_eq!(
        (forged.as_str(), seen.as_str()),
        ("Nothing is here.", "crmsync is signed in. You may close this page.")
    );
    assert_eq!(connected.status.code(), Some(0));
    let told = String::from_utf8(connected.stdout).unwrap();
    assert!(told.starts_with("pipedrive: authorised as "), "{told}");
    assert_eq!(after.code, 0, "{}", after.err);
    assert!(after.out.contains("persons"), "{}", after.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_server_based_client_when_a_person_comes_back_then_zoho_is_signed_in_with_our_proof()
 {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let redirect = format!("http://127.0.0.1:{port}/callback");
    let (desk, sandbox) = signed_out().await;
    let config = desk.read("crmsync.toml");
    let with_redirect = format!("[connections.zoho]\nredirect_uri = \"{redirect}\"");
    let desk =
        desk.with_file("crmsync.toml", &config.replace("[connections.zoho]", &with_redirect));
    let scopes = desk.run(&["connect", "zoho", "--scopes", "--quiet"]).out;

    let mut connecting = desk
        .command(&["connect", "zoho"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(connecting.stderr.take().unwrap()).lines().map_while(Result::ok);
    let page =
        lines.map(|line| line.trim().to_owned()).find(|line| line.contains("/oauth/v2/auth"));
    let page: url::Url = page.unwrap().parse().unwrap();
    let asked: std::collections::BTreeMap<_, _> = page.query_pairs().into_owned().collect();
    let code = sandbox.zoho.grant_code(scopes.trim());
    let server = sandbox.zoho_url();
    let back = format!("{redirect}?code={code}&state={}&accounts-server={server}", asked["state"]);
    let seen = consent(&back).await;
    let connected = connecting.wait_with_output().unwrap();

    assert_eq!(seen, "crmsync is signed in. You may close this page.");
    assert_eq!(
        (asked["access_type"].as_str(), asked["scope"].as_str()),
        ("offline", scopes.trim())
    );
    assert_eq!(
        (asked["code_challenge_method"].as_str(), asked["code_challenge"].len()),
        ("S256", 43)
    );
    assert_eq!(connected.status.code(), Some(0));
    let told = String::from_utf8(connected.stdout).unwrap();
    assert!(told.starts_with("zoho: authorised as "), "{told}");
}
