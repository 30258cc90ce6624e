//! Commands that speak to the simulators: the program starts them itself, as `crmsync sandbox`.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use crmsync::sandbox::{Ports, Sandbox};
use crmsync_simulator::clock::Clock;

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
    let config = config
        .join("\n")
        .replace("{ env = \"CRMSYNC_KEY\" }", "\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"");
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
