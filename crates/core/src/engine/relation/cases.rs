//! Named cases of each row of the table in semantics §5.

use chrono::{DateTime, NaiveDate};
use rust_decimal::Decimal;

use super::Translation::{self, Hold, Write};
use super::testing::{Numbered, options, rule};
use crate::model::{Code, EntityName, LinkId, Pair, RecordId, Relation, Side, Value};

fn number(text: &str) -> Value {
    Value::number(text.parse::<Decimal>().unwrap())
}

fn set(items: &[&str]) -> Value {
    Value::set(items.iter().map(|&item| item.to_owned()))
}

fn list(items: &[&str]) -> Value {
    Value::list(items.iter().map(|&item| item.to_owned()))
}

fn id(text: &str) -> Value {
    Value::Reference(RecordId::new(text))
}

type Case = (&'static str, Side, Value, Value, Translation);

fn check(relation: Relation, cases: Vec<Case>) {
    let rule = rule(relation);
    for (case, target, source, old, expected) in cases {
        let source = rule.normalize(target.other(), &source);
        let old = rule.normalize(target, &old);

        let translation = rule.translate(&Numbered, target, &source, &old);

        assert_eq!(translation, expected, "{case}");
    }
}

const RIGHT: Side = Side::Right;
const LEFT: Side = Side::Left;

#[test]
fn given_a_shorter_right_side_when_text_flows_then_it_is_cut_and_never_lost() {
    let relation = Relation::Text { limits: Pair::new(None, Some(5)) };

    check(
        relation,
        vec![
            ("fits", RIGHT, "Anna".into(), "Ann".into(), Write("Anna".into())),
            ("is cut", RIGHT, "Anna Maria".into(), "x".into(), Write("Anna".into())),
            ("cut already", RIGHT, "Annabella".into(), "Annab".into(), Write("Annab".into())),
            ("back, agreeing", LEFT, "Annab".into(), "Annabella".into(), Write("Annabella".into())),
            ("back, short", LEFT, "Eva".into(), "Anna".into(), Write("Eva".into())),
            ("back, longer", LEFT, "Eva".into(), "Annabella".into(), Hold(Code::LossyBackWrite)),
            ("clears", RIGHT, "".into(), "Anna".into(), Write(Value::Empty)),
            ("clears back", LEFT, "".into(), "Annabella".into(), Write(Value::Empty)),
            ("number as text", RIGHT, number("1.50"), "x".into(), Write("1.5".into())),
            ("set is no text", RIGHT, set(&["a"]), "x".into(), Hold(Code::Untranslatable)),
        ],
    );
}

#[test]
fn given_rich_text_when_it_meets_plain_text_then_formatting_survives() {
    let relation =
        Relation::RichText { html: Pair::new(false, true), limits: Pair::new(None, Some(40)) };
    let bold = Value::text("<p>Hello <b>Ada</b></p>");

    check(
        relation,
        vec![
            (
                "to html",
                RIGHT,
                "a < b\nc".into(),
                Value::Empty,
                Write(Value::Text("a &lt; b<br>c".into())),
            ),
            ("to plain", LEFT, "<p>Hi</p><p>you</p>".into(), "".into(), Write("Hi\n\nyou".into())),
            ("agreeing", RIGHT, "Hello Ada".into(), bold.clone(), Write(bold.clone())),
            ("formatted", RIGHT, "Hello Eva".into(), bold.clone(), Hold(Code::LossyBackWrite)),
            ("plain html", RIGHT, "Eva".into(), "<p>Ada</p>".into(), Write("Eva".into())),
            (
                "script is dropped",
                LEFT,
                "<script>x</script>Hi".into(),
                "".into(),
                Write("Hi".into()),
            ),
            ("no half tags", RIGHT, "<<<<<<<<<<<<<<<".into(), "".into(), Hold(Code::TooLong)),
            ("emptied editor", LEFT, "<p><br></p>".into(), "Hi".into(), Write(Value::Empty)),
            ("clears", RIGHT, "".into(), bold, Write(Value::Empty)),
        ],
    );
}

#[test]
fn given_options_when_unmapped_then_nothing_is_guessed_or_blanked() {
    let cases: Vec<Case> = vec![
        ("mapped", RIGHT, "A".into(), "2".into(), Write("1".into())),
        ("mapped back", LEFT, "2".into(), "A".into(), Write("B".into())),
        ("id as number", LEFT, number("3"), "A".into(), Write("C".into())),
        ("unmapped", RIGHT, "Z".into(), "2".into(), Hold(Code::Untranslatable)),
        ("-None- clears", RIGHT, "-None-".into(), "2".into(), Write(Value::Empty)),
        ("-None- is empty", LEFT, "".into(), "-None-".into(), Write(Value::Empty)),
    ];

    check(Relation::Option { map: options(false) }, cases.clone());
    check(Relation::User { map: options(false) }, cases);
}

#[test]
fn given_option_sets_when_translated_then_unmapped_ones_of_the_target_stay() {
    check(
        Relation::OptionSet { map: options(false) },
        vec![
            ("adds", RIGHT, set(&["A", "B"]), set(&["1"]), Write(set(&["1", "2"]))),
            ("keeps unmapped", RIGHT, set(&["B"]), set(&["1", "9"]), Write(set(&["2", "9"]))),
            ("skips unmapped", RIGHT, set(&["A", "Z"]), set(&["1", "9"]), Write(set(&["1", "9"]))),
            ("clears", RIGHT, Value::Empty, set(&["1", "9"]), Write(set(&["9"]))),
            ("one text is a set", RIGHT, "A".into(), Value::Empty, Write(set(&["1"]))),
        ],
    );
}

#[test]
fn given_money_when_one_side_is_finer_then_it_counts_at_the_coarser_precision() {
    check(
        Relation::Number { scale: Pair::new(Some(4), Some(2)) },
        vec![
            ("rounds", RIGHT, number("10.005"), number("1"), Write(number("10.01"))),
            ("agreeing", LEFT, number("10.01"), number("10.005"), Write(number("10.005"))),
            ("back", LEFT, number("12"), number("10.5"), Write(number("12"))),
            ("back, finer", LEFT, number("12"), number("10.0051"), Hold(Code::LossyBackWrite)),
            ("text as number", RIGHT, "12.50".into(), Value::Empty, Write(number("12.5"))),
            ("no number", RIGHT, "soon".into(), number("1"), Hold(Code::Untranslatable)),
            ("clears", RIGHT, Value::Empty, number("1"), Write(Value::Empty)),
        ],
    );
}

#[test]
fn given_phones_when_only_the_format_differs_then_nothing_is_written() {
    let listed = list(&["030 1234567", "0170 1234567"]);

    check(
        Relation::Phone { region: Some("DE".into()) },
        vec![
            (
                "formats agree",
                RIGHT,
                "+49 (0)30 123-4567".into(),
                "030 / 1234567".into(),
                Write("+49301234567".into()),
            ),
            (
                "extension",
                RIGHT,
                "+1 (212) 555-0123 ext. 45".into(),
                Value::Empty,
                Write("+12125550123x45".into()),
            ),
            ("combining marks", RIGHT, "\u{b21}\u{b3c}".into(), "".into(), Write("\u{b21}".into())),
            ("not a number", RIGHT, "ask (Bob)".into(), Value::Empty, Write("askBob".into())),
            ("short code", RIGHT, "1-1".into(), Value::Empty, Write("11".into())),
            (
                "primary of a list",
                RIGHT,
                "030 7654321".into(),
                listed.clone(),
                Write(list(&["+49307654321", "+491701234567"])),
            ),
            ("no primary", RIGHT, Value::Empty, listed, Hold(Code::LossyBackWrite)),
        ],
    );
}

#[test]
fn given_emails_when_one_meets_a_list_then_only_the_primary_changes() {
    check(
        Relation::Email,
        vec![
            (
                "case of the domain",
                RIGHT,
                "Ada@X.DE".into(),
                "Ada@x.de".into(),
                Write("Ada@x.de".into()),
            ),
            (
                "case of the name",
                RIGHT,
                "ada@x.de".into(),
                "Ada@x.de".into(),
                Write("ada@x.de".into()),
            ),
            (
                "replaced",
                RIGHT,
                "c@x.de".into(),
                list(&["a@x.de", "b@x.de"]),
                Write(list(&["c@x.de", "b@x.de"])),
            ),
            (
                "promoted",
                RIGHT,
                "b@x.de".into(),
                list(&["a@x.de", "b@x.de"]),
                Write(list(&["b@x.de", "a@x.de"])),
            ),
            ("back", LEFT, list(&["b@x.de", "a@x.de"]), "a@x.de".into(), Write("b@x.de".into())),
            (
                "others do not count",
                LEFT,
                list(&["a@x.de", "b@x.de"]),
                "a@x.de".into(),
                Write("a@x.de".into()),
            ),
            ("list of one", LEFT, list(&["a@x.de"]), Value::Empty, Write("a@x.de".into())),
            ("clears one", RIGHT, "".into(), list(&["a@x.de"]), Write(Value::Empty)),
            (
                "keeps many",
                RIGHT,
                "".into(),
                list(&["a@x.de", "b@x.de"]),
                Hold(Code::LossyBackWrite),
            ),
        ],
    );
}

#[test]
fn given_moments_when_translated_then_the_coarser_grain_counts() {
    let date = Value::Date(NaiveDate::from_ymd_opt(2026, 2, 3).unwrap());
    let at = |second: i64| {
        Value::timestamp(DateTime::from_timestamp(1_770_091_506 + second, 0).unwrap())
    };

    check(
        Relation::Date,
        vec![
            ("same", RIGHT, date.clone(), date.clone(), Write(date.clone())),
            ("instant as date", RIGHT, at(0), Value::Empty, Write(date.clone())),
            ("text", RIGHT, "2026-02-03".into(), Value::Empty, Write(date.clone())),
            ("zero date is unset", RIGHT, "0000-00-00".into(), date.clone(), Write(Value::Empty)),
            ("no date", RIGHT, "soon".into(), date.clone(), Hold(Code::Untranslatable)),
        ],
    );
    check(
        Relation::Timestamp,
        vec![
            ("other zone", RIGHT, "2026-02-03T06:05:06+02:00".into(), at(0), Write(at(0))),
            ("later", RIGHT, at(9), at(0), Write(at(9))),
            ("clears", LEFT, Value::Empty, at(0), Write(Value::Empty)),
        ],
    );
}

#[test]
fn given_flags_when_unset_then_they_read_as_unticked() {
    check(
        Relation::Bool,
        vec![
            ("ticked", RIGHT, Value::Bool(true), Value::Empty, Write(Value::Bool(true))),
            (
                "unset and unticked agree",
                RIGHT,
                Value::Bool(false),
                Value::Empty,
                Write(Value::Empty),
            ),
            ("clears", RIGHT, Value::Empty, Value::Bool(true), Write(Value::Bool(false))),
            ("number", RIGHT, number("1"), Value::Empty, Write(Value::Bool(true))),
            ("text", RIGHT, "Yes".into(), Value::Bool(true), Write(Value::Bool(true))),
            ("no flag", RIGHT, "perhaps".into(), Value::Empty, Hold(Code::Untranslatable)),
        ],
    );
}

#[test]
fn given_references_when_the_target_is_not_linked_then_the_field_waits() {
    check(
        Relation::Reference { entity: EntityName::new("account") },
        vec![
            ("linked", RIGHT, id("l1"), Value::Empty, Write(id("r1"))),
            ("linked back", LEFT, id("r2"), id("l1"), Write(id("l2"))),
            ("planned", RIGHT, id("l7"), Value::Empty, Write(Value::Link(LinkId("seven".into())))),
            ("not linked yet", RIGHT, id("l8"), id("r1"), Hold(Code::PendingRef)),
            ("never linked", RIGHT, id("l9"), id("r1"), Hold(Code::UnresolvedRef)),
            ("clears", RIGHT, Value::Empty, id("r1"), Write(Value::Empty)),
        ],
    );
}
