//! One report, all its forms.

use chrono::TimeZone as _;
use crmsync_core::model::OpenRow;
use crmsync_core::model::row::{Choice, RowId};

use super::*;
use crate::service::Labels;

fn at(hour: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 10, hour, 15, 0).single().expect("a valid instant")
}

fn stored(id: &str, change: impl FnOnce(&mut StoredRow)) -> StoredRow {
    let mut stored = StoredRow {
        row: OpenRow {
            id: RowId(id.to_owned()),
            kind: RowKind::Conflict,
            code: Code::Conflict,
            entity: EntityName::new("contact"),
            link: None,
            records: Pair::new(Some(RecordId::new("4711")), Some(RecordId::new("12"))),
            field: Some(FieldName::new("email")),
            base: Some(Pair::new(Value::text("ada@old.example"), Value::text("ada@old.example"))),
            left: Some(Value::text("ada@left.example")),
            right: Some(Value::text("ada@right.example")),
            modified_at: Pair::new(Some(at(9)), Some(at(8))),
            changed_at: Pair::default(),
            winner: None,
            policy: Some(Policy::Queue),
            evidence: Some(Evidence::RecordTime),
            message: "both sides changed `email`".to_owned(),
            fingerprint: "f1".to_owned(),
            candidates: Vec::new(),
        },
        run: "run1".to_owned(),
        first_seen: at(10),
        last_seen: at(10),
        closed_at: None,
        closed_by: None,
    };
    change(&mut stored);
    stored
}

fn sides() -> Pair<SideFacts> {
    let side = |name: &str, zone: Tz, host: &'static str| SideFacts {
        zone: Some(zone),
        module: Box::new(|entity| Some(ModuleName::new(format!("{entity}s")))),
        url: Box::new(move |module, id| Some(format!("https://{host}/{module}/{id}"))),
        ..SideFacts::unknown(name)
    };
    Pair::new(
        side("zoho", chrono_tz::Europe::Berlin, "crm.zoho.example"),
        side("pipedrive", chrono_tz::America::New_York, "acme.pipedrive.example"),
    )
}

pub(crate) fn report() -> ConflictReport {
    let rows = [
        stored("aaaa1111", |_| {}),
        stored("bbbb2222", |stored| {
            stored.row.field = Some(FieldName::new("amount"));
            stored.row.base = None;
            stored.row.left = Some(Value::number(rust_decimal::Decimal::new(-125, 1)));
            stored.row.right = Some(Value::Empty);
            stored.row.winner = Some(Side::Left);
            stored.row.policy = Some(Policy::Newest);
        }),
        stored("cccc3333", |stored| {
            stored.row.kind = RowKind::Match;
            stored.row.code = Code::Ambiguous;
            stored.row.field = None;
            stored.row.records.right = None;
            stored.row.modified_at.right = None;
            stored.row.base = None;
            stored.row.left = None;
            stored.row.right = None;
            stored.row.policy = None;
            stored.row.evidence = None;
            stored.row.message = "=HYPERLINK(\"http://evil\") <script>alert(1)</script>".to_owned();
            stored.row.candidates = vec![RecordId::new("21"), RecordId::new("22")];
        }),
    ];
    let route = RouteName::new("crm");
    let conflicts =
        rows.iter().map(|row| Conflict::new(&route, row, &sides(), &Labels::default())).collect();
    ConflictReport { generated_at: at(12), conflicts }
}

#[test]
fn given_a_report_when_written_as_csv_then_formulas_are_neutralized_and_numbers_are_not() {
    insta::assert_snapshot!(csv::write(&report()));
}

#[test]
fn given_a_report_when_written_as_html_then_values_are_escaped_and_records_linked() {
    let page = html::write(&report()).expect("every kind of row renders");

    assert!(!page.contains("<script>"), "values are escaped");
    assert!(page.contains("https://crm.zoho.example/contacts/4711"));
    let body = page.split("<body>").nth(1).expect("a page has a body");
    insta::assert_snapshot!(body);
}

#[test]
fn given_a_report_when_written_as_json_then_it_has_every_fact() {
    insta::assert_json_snapshot!(report().conflicts[0]);
}

#[test]
fn given_an_exported_csv_when_choices_are_filled_in_then_they_are_read_back() {
    let text = csv::write(&report())
        .replace("aaaa1111,f1,,", "aaaa1111,f1,right,")
        .replace("bbbb2222,f1,,", "bbbb2222,f1,value,'-99.5");

    let (decisions, bad) = csv::read(&text).expect("the header is as written");

    assert_eq!(bad, []);
    let read: Vec<_> = decisions
        .iter()
        .map(|it| (it.line, it.row_id.as_str(), it.choice.as_str(), it.value.as_str()))
        .collect();
    assert_eq!(read, [(2, "aaaa1111", "right", ""), (3, "bbbb2222", "value", "-99.5")]);
}

#[test]
fn given_bad_rows_when_read_then_line_and_column_are_named_and_good_rows_stay() {
    let text = "row_id;fingerprint;choice;value\n;f;left;\nb;;right;\nc;f;pin;\nd;f;;\n";

    let (decisions, bad) = csv::read(text).expect("semicolons are understood");

    let places: Vec<_> = bad.iter().map(|row| (row.line, row.column)).collect();
    assert_eq!(places, [(2, 1), (3, 2)]);
    assert_eq!(decisions.len(), 1);
    assert_eq!((decisions[0].row_id.as_str(), decisions[0].line), ("c", 4));
}

#[test]
fn given_a_file_without_the_columns_when_read_then_the_missing_one_is_named() {
    let refused = csv::read("id,choice\na,left\n").expect_err("row_id is missing");

    assert_eq!(refused.message, "the header lacks the column `row_id`");
}

#[test]
fn given_a_typed_choice_when_parsed_then_the_value_takes_the_rows_kind() {
    let number = Value::number(1.into());
    let date = Value::Date(chrono::NaiveDate::from_ymd_opt(2026, 1, 1).expect("a date"));
    let set = Value::set(["a".to_owned()]);
    let value = |value| Ok(Choice::Value { value });
    let cases = [
        ("left", "left", None, &number, Ok(Choice::Left)),
        ("pin", "pin", Some(""), &number, Ok(Choice::Pin)),
        ("link", "link:21", None, &number, Ok(Choice::Link { candidate: RecordId::new("21") })),
        (
            "number",
            "value",
            Some("1250.50"),
            &number,
            value(Value::number("1250.5".parse().expect("n"))),
        ),
        ("date", "value", Some("2026-01-01"), &date, value(date.clone())),
        ("set", "value", Some("b, a"), &set, value(Value::set(["a".to_owned(), "b".to_owned()]))),
        ("text without a sample", "value", Some("x"), &Value::Empty, value(Value::text("x"))),
        ("clearing", "value", Some("∅"), &number, value(Value::Empty)),
        (
            "not a number",
            "value",
            Some("much"),
            &number,
            Err("`much` is not a number, such as 1250.50"),
        ),
        ("no value", "value", None, &number, Err("the choice `value` needs a value")),
        (
            "value too much",
            "left",
            Some("x"),
            &number,
            Err("`left` takes no value; write `value` to set one"),
        ),
        ("no candidate", "link:", None, &number, Err("write link:ID, with the ID of a candidate")),
    ];
    for (case, choice, typed, sample, expected) in cases {
        let parsed = csv::parse_choice(choice, typed, &[sample]);

        assert_eq!(parsed, expected.map_err(str::to_owned), "{case}");
    }
}

#[test]
fn given_any_cell_when_neutralized_and_restored_then_it_is_the_same() {
    let cells = ["", "a", "=1+1", "+49 30", "-12.5", "-x", "@a", "'a", "'=a", "''a", "\tx", "'-5"];
    for cell in cells {
        let text =
            format!("row_id,fingerprint,choice,value\na,f,value,\"{}\"\n", csv::neutralize(cell));

        let (decisions, _) = csv::read(&text).expect("four columns");

        assert_eq!(decisions[0].value, cell);
    }
}
