//! Commands that read and write the store: what waits, who decided, what ran.

use chrono::{DateTime, TimeZone as _, Utc};
use crmsync::store::{RunRecord, Store};
use crmsync_core::model::row::{Choice, Evidence, RowId, RowKind};
use crmsync_core::model::state::SubjectKey;
use crmsync_core::model::{
    Code, EntityName, FieldName, OpenRow, Pair, Policy, RecordId, RecordKey, RouteName, Side, Value,
};

use super::program::Desk;

const CONFIG: &str = r#"
[store]
url = "sqlite://crmsync.db"

[connections.left]
type = "sql"
url = { env = "LEFT" }

[connections.right]
type = "sql"
url = { env = "RIGHT" }

[routes.crm]
left = "left"
right = "right"
mappings = "mappings"
"#;

fn at(minute: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 10, 9, minute, 0).unwrap()
}

fn row(id: &str, kind: RowKind, change: impl FnOnce(&mut OpenRow)) -> OpenRow {
    let mut row = OpenRow {
        id: RowId(id.into()),
        kind,
        code: Code::Conflict,
        entity: EntityName::new("contact"),
        link: None,
        records: Pair::new(Some(RecordId::new("4711")), Some(RecordId::new("12"))),
        field: Some(FieldName::new("email")),
        base: Some(Pair::new(Value::text("old"), Value::text("old"))),
        left: Some(Value::text("from left")),
        right: Some(Value::text("from right")),
        modified_at: Pair::new(Some(at(1)), Some(at(2))),
        changed_at: Pair::default(),
        winner: None,
        policy: Some(Policy::Queue),
        evidence: Some(Evidence::RecordTime),
        message: "both sides changed `email`".into(),
        fingerprint: format!("print-{id}"),
        candidates: Vec::new(),
    };
    change(&mut row);
    row
}

/// A store with two conflicts, one matching question, one refusal, and a run.
async fn stored(desk: &Desk) -> Store {
    let store =
        Store::open(&format!("sqlite://{}/crmsync.db", desk.path().display())).await.unwrap();
    let (route, entity) = (RouteName::new("crm"), EntityName::new("contact"));
    let ttl = std::time::Duration::from_mins(1);
    let writer = store.lock(&route, "test", at(0), ttl).await.unwrap();
    let rows = [
        row("aaaa1111", RowKind::Conflict, |_| {}),
        row("abbb2222", RowKind::Conflict, |row| {
            row.field = Some(FieldName::new("amount"));
            row.left = Some(Value::number(5.into()));
            row.right = Some(Value::number(7.into()));
        }),
        row("cccc3333", RowKind::Match, |row| {
            row.code = Code::Ambiguous;
            row.field = None;
            (row.base, row.left, row.right) = (None, None, None);
            row.records.right = None;
            row.candidates = vec![RecordId::new("21"), RecordId::new("22")];
        }),
        row("dddd4444", RowKind::Quarantine, |row| row.code = Code::Quarantined),
    ];
    let key = RecordKey { entity: entity.clone(), side: Side::Left, id: RecordId::new("4711") };
    let subjects = [SubjectKey::Record(key)];
    writer.settle(&entity, &subjects, &rows, &[], "run1", at(3)).await.unwrap();
    let run = RunRecord {
        id: "run1".into(),
        route,
        mode: "sync".into(),
        started_at: at(0),
        finished_at: Some(at(3)),
        plan_hash: Some("0123456789abcdef".into()),
        phase: "done".into(),
        counts: [("left.created", 2), ("right.updated", 3)].map(|(k, v)| (k.into(), v)).into(),
        exit: Some(1),
        error: None,
    };
    writer.save_run(&run).await.unwrap();
    writer.release().await.unwrap();
    store
}

async fn desk() -> (Desk, Store) {
    let desk = Desk::new().with_file("crmsync.toml", CONFIG);
    let store = stored(&desk).await;
    (desk, store)
}

/// Decisions in the store; one about a linked pair stands there once a record.
async fn decisions(store: &Store) -> Vec<(String, Choice)> {
    let found = store.route(&RouteName::new("crm")).resolutions().await.unwrap();
    let mut all: Vec<_> =
        found.into_iter().map(|decision| (decision.row.0, decision.choice)).collect();
    all.dedup();
    all
}

#[tokio::test]
async fn given_rows_in_the_store_when_listed_then_conflicts_and_failures_stand_apart() {
    let (desk, _store) = desk().await;

    let conflicts = desk.run(&["conflicts", "list"]);
    let failures = desk.run(&["failures", "list"]);
    let none = desk.run(&["conflicts", "list", "crm/deal"]);

    assert_eq!((conflicts.code, failures.code, none.code), (1, 1, 0));
    insta::assert_snapshot!(format!("{}\n{}\n{}", conflicts.out, failures.out, none.out));
}

#[tokio::test]
async fn given_the_beginning_of_an_id_when_shown_then_it_must_name_one_row() {
    let (desk, _store) = desk().await;

    let one = desk.run(&["conflicts", "show", "aa"]);
    let two = desk.run(&["conflicts", "show", "a"]);
    let none = desk.run(&["conflicts", "show", "x"]);

    assert_eq!((one.code, two.code, none.code), (1, 2, 2), "{}", one.err);
    insta::assert_snapshot!(format!("{}\n{}\n{}", one.out, two.err, none.err));
}

#[tokio::test]
async fn given_an_export_when_corrected_and_read_back_then_good_rows_are_decided_and_bad_ones_named()
 {
    let (desk, store) = desk().await;

    let exported = desk.run(&["conflicts", "export", "-o", "conflicts.csv"]);
    let csv = desk.read("conflicts.csv");
    let corrected = csv
        .replace("aaaa1111,print-aaaa1111,,", "aaaa1111,print-aaaa1111,right,")
        .replace("abbb2222,print-abbb2222,,", "abbb2222,print-abbb2222,value,six")
        .replace("cccc3333,print-cccc3333,,", "cccc3333,print-cccc3333,link:22,");
    let desk = desk.with_file("corrected.csv", &corrected);
    let said = desk.run(&["conflicts", "resolve", "--from", "corrected.csv"]);

    assert_eq!(exported.err, "wrote 3 rows to conflicts.csv\n");
    assert_eq!(said.code, 2, "one row is bad");
    assert_eq!(said.err, "corrected.csv:3:3: `six` is not a number, such as 1250.50\n");
    let candidate = RecordId::new("22");
    let expected =
        [("aaaa1111".to_owned(), Choice::Right), ("cccc3333".into(), Choice::Link { candidate })];
    assert_eq!(decisions(&store).await, expected);
}

#[tokio::test]
async fn given_a_decision_when_it_does_not_suit_the_row_then_nothing_is_stored() {
    let (desk, store) = desk().await;
    let cases = [
        ("aaaa", "link:22", "this row is about a value; write left, right, value or pin"),
        (
            "cccc",
            "left",
            "this row asks which records belong together; write link:ID, create or ignore",
        ),
        ("cccc", "link:99", "`99` is no candidate; candidates: 21, 22"),
        (
            "dddd",
            "left",
            "a side refused this; correct it there or in the mapping, then crmsync failures retry",
        ),
    ];
    for (id, choice, reason) in cases {
        let said = desk.run(&["conflicts", "resolve", id, "--choice", choice]);

        assert_eq!((said.code, said.err), (2, format!("error: {reason}\n")), "{id} {choice}");
    }

    assert_eq!(decisions(&store).await, []);
}

#[tokio::test]
async fn given_a_changed_row_when_an_old_export_decides_it_then_the_decision_is_void() {
    let (desk, store) = desk().await;
    let old = "row_id,fingerprint,choice,value\naaaa1111,older,left,\n";
    let desk = desk.with_file("old.csv", old);

    let said = desk.run(&["conflicts", "resolve", "--from", "old.csv"]);

    assert_eq!(said.code, 2);
    assert!(
        said.err.starts_with("old.csv:2:3: the values changed since they were shown"),
        "{}",
        said.err
    );
    assert_eq!(decisions(&store).await, []);
}

#[tokio::test]
async fn given_a_route_in_use_when_a_decision_comes_then_the_exit_code_says_so() {
    let (desk, store) = desk().await;
    let ttl = std::time::Duration::from_hours(24 * 365 * 100);
    let _held = store.lock(&RouteName::new("crm"), "another", at(0), ttl).await.unwrap();

    let said = desk.run(&["conflicts", "resolve", "aaaa", "--choice", "left"]);

    assert_eq!(said.code, 6, "{}", said.err);
    assert!(said.err.contains("in use by another"), "{}", said.err);
}

#[tokio::test]
async fn given_an_html_name_when_exported_then_the_file_is_a_page() {
    let (desk, _store) = desk().await;

    desk.run(&["conflicts", "export", "-o", "report.html"]);
    let refused = desk.run(&["conflicts", "export", "-o", "report.pdf"]);

    assert!(desk.read("report.html").starts_with("<!doctype html>"));
    assert_eq!(refused.code, 2);
}

#[tokio::test]
async fn given_a_run_when_listed_and_shown_then_its_counts_are_told() {
    let (desk, _store) = desk().await;

    let listed = desk.run(&["runs", "list"]);
    let shown = desk.run(&["runs", "show", "run1"]);
    let missing = desk.run(&["runs", "show", "run9"]);

    assert_eq!((listed.code, shown.code, missing.code), (0, 0, 2), "{}", shown.err);
    insta::assert_snapshot!(format!("{}\n{}\n{}", listed.out, shown.out, missing.err));
}

#[tokio::test]
async fn given_json_when_asked_then_every_listing_is_one_document() {
    let (desk, _store) = desk().await;
    let commands: [&[&str]; 4] =
        [&["conflicts", "list"], &["runs", "list"], &["status"], &["failures", "list"]];
    for command in commands {
        let said = desk.run(&[command, &["--json"]].concat());

        let parsed: Result<serde_json::Value, _> = serde_json::from_str(&said.out);
        assert!(parsed.is_ok(), "{command:?}: {}{}", said.out, said.err);
    }
}

#[tokio::test]
async fn given_open_rows_when_status_is_asked_then_they_are_counted_by_kind() {
    let (desk, _store) = desk().await;

    let said = desk.run(&["status"]);

    assert_eq!(said.code, 1, "{}", said.err);
    assert!(
        said.out.contains("waits for a person: 2 conflicts, 1 match, 1 quarantine;"),
        "{}",
        said.out
    );
}

#[tokio::test]
async fn given_a_record_nobody_saw_when_asked_why_then_the_route_says_so() {
    let (desk, _store) = desk().await;

    let said = desk.run(&["why", "crm/contact", "999"]);

    assert_eq!(said.code, 2);
    assert!(said.err.contains("contact 999 is not known to route crm"), "{}", said.err);
}
