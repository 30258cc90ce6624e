//! A newcomer's afternoon: the shipped mappings on two simulated companies, from the first plan to the answer to why.

use serde_json::Value;

use super::program::{Desk, Said};
use super::sandbox::Served;

/// An initialized folder whose configuration leads to two simulated companies.
fn folder() -> (Desk, Served) {
    let desk = Desk::new();
    assert_eq!(desk.run(&["init"]).code, 0);
    let served = Served::start(&desk);
    let desk = desk.with_file("crmsync.toml", &served.config);
    (desk, served)
}

/// A folder after its first sync.
fn synced() -> (Desk, Served) {
    let (desk, served) = folder();
    let said = desk.run(&["sync", "--approve", "auto", "--quiet"]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    (desk, served)
}

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {}", said.out))
}

/// The IDs that a simulator gave differ each time.
fn redacted(text: &str) -> String {
    let mut plain = String::new();
    let mut digits = String::new();
    for char in text.chars().chain([' ']) {
        if char.is_ascii_digit() {
            digits.push(char);
            continue;
        }
        plain.push_str(if digits.len() > 15 { "ID" } else { &digits });
        digits.clear();
        plain.push(char);
    }
    plain.trim_end().to_owned()
}

#[test]
fn given_a_first_plan_when_shown_then_a_person_sees_exactly_what_waits() {
    let (desk, _served) = folder();

    let said = desk.run(&["plan", "crm/account", "--quiet", "--all"]);

    assert_eq!(said.code, 3, "{}", said.err);
    let (shown, _) = said.out.split_once("\nplan ").unwrap();
    // Records of one page come in the order of their links, which follow their IDs.
    let mut lines: Vec<_> = redacted(shown).lines().map(str::to_owned).collect();
    lines.sort();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn given_a_saved_plan_when_applied_with_its_hash_then_it_is_written_and_the_next_sync_is_quiet() {
    let (desk, _served) = folder();
    let planned = desk.run(&["plan", "-o", "plan.json", "--quiet"]);
    assert_eq!(planned.code, 3, "{}", planned.err);
    let plan: Value = serde_json::from_str(&desk.read("plan.json")).unwrap();
    let hash = plan["hash"].as_str().unwrap();

    let unattended = desk.run(&["sync", "--quiet"]);
    let wrong = desk.run(&["apply", "plan.json", "--approve", "0000", "--quiet"]);
    let applied = desk.run(&["apply", "plan.json", "--approve", hash, "--quiet", "--json"]);
    let next = desk.run(&["sync", "--quiet", "--json"]);

    assert_eq!(unattended.code, 3, "an unapproved run leaves the plan as it is");
    assert_eq!(wrong.code, 2, "{}", wrong.err);
    assert_eq!(applied.code, 0, "{}{}", applied.out, applied.err);
    let tally = &json(&applied)[0]["tally"];
    assert_eq!(tally["created"], serde_json::json!({ "left": 8, "right": 7 }));
    assert_eq!((&tally["linked"], next.code), (&Value::from(11), 0));
    let tally = &json(&next)[0]["tally"];
    assert_eq!(tally["created"], serde_json::json!({ "left": 0, "right": 0 }));
    assert_eq!(tally["updated"], serde_json::json!({ "left": 0, "right": 0 }));
}

#[test]
fn given_an_edited_plan_when_applied_then_it_is_refused() {
    let (desk, _served) = folder();
    assert_eq!(desk.run(&["plan", "-o", "plan.json", "--quiet"]).code, 3);
    let edited = desk.read("plan.json").replace("Helix Biotech", "Helix Biotec");
    let desk = desk.with_file("plan.json", &edited);

    let said = desk.run(&["apply", "plan.json", "--quiet"]);

    assert_eq!(said.code, 2);
    assert!(said.err.contains("plan.json was changed after it was saved"), "{}", said.err);
}

#[test]
fn given_a_synced_record_when_asked_why_then_both_values_are_told_by_name() {
    let (desk, _served) = synced();

    let said = desk.run(&["why", "crm/contact", "1", "owner", "--quiet"]);
    let unknown = desk.run(&["why", "crm/contact", "1", "emial", "--quiet"]);
    let entity = desk.run(&["why", "crm/contcat", "1", "--quiet"]);

    assert_eq!(said.code, 0, "{}", said.err);
    let table = said.out.split_once("\n\n").unwrap().1;
    insta::assert_snapshot!(table);
    assert_eq!((unknown.code, entity.code), (2, 2));
    assert!(unknown.err.contains("did you mean `email`?"), "{}", unknown.err);
    assert!(entity.err.contains("did you mean `contact`?"), "{}", entity.err);
}

#[test]
fn given_a_first_sync_when_status_is_asked_then_records_lag_and_cost_are_told() {
    let (desk, _served) = synced();

    let said = desk.run(&["status", "--json", "--quiet"]);
    let shown = desk.run(&["status", "--quiet"]);

    let route = &json(&said)[0];
    let contact = route["entities"].as_array().unwrap().iter().find(|it| it["entity"] == "contact");
    let contact = contact.unwrap();
    assert_eq!(contact["records"], serde_json::json!({ "left": 12, "right": 12 }));
    assert_eq!((&contact["linked"], &contact["open_rows"]), (&Value::from(12), &Value::from(0)));
    assert!(contact["lag_seconds"]["left"].as_i64().unwrap() < 600, "{contact}");
    assert!(route["spent"]["right"]["calls"].as_u64().unwrap() > 0, "{route}");
    assert!(shown.out.starts_with("route crm: zoho ⇄ pipedrive, last run"), "{}", shown.out);
    assert!(shown.out.contains("last 24 h, zoho"), "{}", shown.out);
}

#[test]
fn given_the_demo_when_run_once_then_it_ends_quietly_and_fits_the_page() {
    let desk = Desk::new();

    let said = desk.run(&["demo", "--once"]);

    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert!(said.out.contains("pipedrive wins by newest"), "{}", said.out);
    assert!(said.out.contains("? contact Elena Lindner, email"), "{}", said.out);
    assert!(said.out.ends_with("Quiet: nothing was written.\n"), "{}", said.out);
    let widest = said.out.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(widest <= 120, "{widest} columns");
}
