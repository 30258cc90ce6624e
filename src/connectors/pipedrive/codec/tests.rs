use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn given_the_shapes_of_three_dialects_when_decoded_then_one_value_comes_out() {
    let set = |ids: [&str; 2]| Value::set(ids.map(str::to_owned));
    let cases = [
        ("text is trimmed", FieldKind::Text, json!("  Ada "), Value::from("Ada")),
        ("empty text", FieldKind::Text, json!(""), Value::Empty),
        ("null", FieldKind::Money, json!(null), Value::Empty),
        (
            "float without drift",
            FieldKind::Money,
            json!(299.99),
            Value::number("299.99".parse().unwrap()),
        ),
        (
            "large float",
            FieldKind::Decimal,
            json!(1e21),
            Value::number("1000000000000000000000".parse().unwrap()),
        ),
        (
            "number as v1 text",
            FieldKind::Decimal,
            json!("12.50"),
            Value::number("12.5".parse().unwrap()),
        ),
        (
            "date",
            FieldKind::Date,
            json!("2026-01-31"),
            Value::Date(NaiveDate::from_ymd_opt(2026, 1, 31).unwrap()),
        ),
        ("zero date", FieldKind::Date, json!("0000-00-00"), Value::Empty),
        ("zero time", FieldKind::Timestamp, json!("0000-00-00 00:00:00"), Value::Empty),
        (
            "v2 time",
            FieldKind::Timestamp,
            json!("2026-05-15T10:28:13Z"),
            at("2026-05-15T10:28:13Z"),
        ),
        ("v1 time", FieldKind::Timestamp, json!("2026-05-15 10:28:13"), at("2026-05-15T10:28:13Z")),
        (
            "lead time",
            FieldKind::Timestamp,
            json!("2026-05-15T10:28:13.702Z"),
            at("2026-05-15T10:28:13Z"),
        ),
        ("v1 time of day", FieldKind::Time, json!("10:00"), Value::from("10:00:00")),
        ("all-day", FieldKind::Time, json!(""), Value::Empty),
        ("option id", FieldKind::Option, json!(3), Value::from("3")),
        ("v1 option id", FieldKind::Option, json!("3"), Value::from("3")),
        ("v2 options", FieldKind::OptionSet, json!([12, 3]), set(["12", "3"])),
        ("v1 options", FieldKind::OptionSet, json!("12,3"), set(["12", "3"])),
        ("no options", FieldKind::OptionSet, json!([]), Value::Empty),
        ("v2 link", FieldKind::Lookup, json!(8), Value::Reference("8".into())),
        (
            "v1 link",
            FieldKind::Lookup,
            json!({"name": "Acme", "value": 8}),
            Value::Reference("8".into()),
        ),
        ("v1 owner", FieldKind::User, json!({"id": 7001, "value": 7001}), Value::from("7001")),
        ("flag", FieldKind::Bool, json!(true), Value::Bool(true)),
        ("v1 flag", FieldKind::Bool, json!(0), Value::Bool(false)),
        (
            "v1's empty list",
            FieldKind::EmailList,
            json!([{"value": "", "primary": true}]),
            Value::Empty,
        ),
        (
            "primary first",
            FieldKind::EmailList,
            json!([{"value": "b@x.example"}, {"value": "a@x.example", "primary": true}]),
            Value::list(["a@x.example".to_owned(), "b@x.example".to_owned()]),
        ),
    ];

    for (name, kind, json, expected) in cases {
        assert_eq!(decode(kind, &json), Ok(expected), "{name}");
    }
}

#[test]
fn given_a_wrong_shape_when_decoded_then_it_is_refused_without_quoting_it() {
    let cases = [
        (FieldKind::Text, json!(["secret"])),
        (FieldKind::Date, json!("secret")),
        (FieldKind::Timestamp, json!("secret")),
        (FieldKind::Time, json!("secret")),
        (FieldKind::Money, json!("secret")),
        (FieldKind::Bool, json!("secret")),
        (FieldKind::EmailList, json!("secret")),
        (FieldKind::EmailList, json!(["secret"])),
        (FieldKind::Lookup, json!({ "name": "secret" })),
    ];

    for (kind, json) in cases {
        let mismatch = decode(kind, &json).unwrap_err().to_string();
        assert!(!mismatch.contains("secret"), "{kind:?}: {mismatch}");
    }
}

#[test]
fn given_values_when_encoded_then_types_are_strict() {
    let set = Value::set(["12".to_owned(), "3".to_owned()]);
    let cases = [
        ("empty", Dialect::V2, FieldKind::OptionSet, Value::Empty, json!(null)),
        ("option", Dialect::V2, FieldKind::Option, Value::from("3"), json!(3)),
        ("status", Dialect::V2, FieldKind::Option, Value::from("open"), json!("open")),
        ("set", Dialect::V2, FieldKind::OptionSet, set.clone(), json!([12, 3])),
        ("v1 set", Dialect::V1, FieldKind::OptionSet, set, json!("12,3")),
        ("link", Dialect::V2, FieldKind::Lookup, Value::Reference("8".into()), json!(8)),
        (
            "integer",
            Dialect::V2,
            FieldKind::Money,
            Value::number("25000.00".parse().unwrap()),
            json!(25000),
        ),
        (
            "decimal",
            Dialect::V2,
            FieldKind::Money,
            Value::number("299.99".parse().unwrap()),
            json!(299.99),
        ),
        (
            "time",
            Dialect::V2,
            FieldKind::Timestamp,
            at("2026-05-15T10:28:13Z"),
            json!("2026-05-15T10:28:13Z"),
        ),
        (
            "v1 time",
            Dialect::V1,
            FieldKind::Timestamp,
            at("2026-05-15T10:28:13Z"),
            json!("2026-05-15 10:28:13"),
        ),
    ];

    for (name, dialect, kind, value, expected) in cases {
        assert_eq!(encode(dialect, kind, &value), Ok(expected), "{name}");
    }
}

#[test]
fn given_more_digits_than_a_float_keeps_when_encoded_then_it_is_refused() {
    let long = Value::number("0.1234567890123456789".parse().unwrap());

    assert!(encode(Dialect::V2, FieldKind::Decimal, &long).is_err());
}

fn at(text: &str) -> Value {
    Value::timestamp(parse_time(text).unwrap())
}

fn typed() -> impl Strategy<Value = (FieldKind, Value)> {
    let date = (1970_i32..2100, 1_u32..13, 1_u32..29)
        .prop_map(|(y, m, d)| NaiveDate::from_ymd_opt(y, m, d).unwrap());
    prop_oneof![
        "\\PC{0,20}".prop_map(|text| (FieldKind::Text, Value::text(&text))),
        (-99_999_999_999_999_i64..99_999_999_999_999, 0_u32..6)
            .prop_map(|(n, scale)| (FieldKind::Money, Value::number(Decimal::new(n, scale)))),
        date.prop_map(|date| (FieldKind::Date, Value::Date(date))),
        (0_i64..4_000_000_000).prop_map(|seconds| {
            let at = DateTime::from_timestamp(seconds, 0).unwrap();
            (FieldKind::Timestamp, Value::timestamp(at))
        }),
        any::<bool>().prop_map(|flag| (FieldKind::Bool, Value::Bool(flag))),
        any::<u32>().prop_map(|id| (FieldKind::Option, Value::from(id.to_string().as_str()))),
        any::<u32>().prop_map(|id| (FieldKind::Lookup, Value::Reference(id.to_string().into_id()))),
        prop::collection::btree_set(1_u32..500, 0..5).prop_map(|ids| {
            (FieldKind::OptionSet, Value::set(ids.into_iter().map(|id| id.to_string())))
        }),
        (0_u32..24, 0_u32..60, 0_u32..60).prop_map(|(h, m, s)| {
            (FieldKind::Time, Value::from(format!("{h:02}:{m:02}:{s:02}").as_str()))
        }),
    ]
}

trait IntoId {
    fn into_id(self) -> RecordId;
}

impl IntoId for String {
    fn into_id(self) -> RecordId {
        RecordId::new(self)
    }
}

proptest! {
    #[test]
    fn given_any_value_when_encoded_and_decoded_then_it_is_the_same((kind, value) in typed()) {
        for dialect in [Dialect::V1, Dialect::V2] {
            let json = encode(dialect, kind, &value).unwrap();
            let wired: Json = serde_json::from_str(&json.to_string()).unwrap();
            prop_assert_eq!(decode(kind, &wired).unwrap(), value.clone());
        }
    }
}
