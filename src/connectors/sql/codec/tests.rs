use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn column(kind: Kind) -> Column {
    Column {
        name: "c".into(),
        kind,
        type_name: "t".into(),
        is_character: kind == Kind::Text,
        nullable: true,
        filled: false,
        max_length: None,
        options: Vec::new(),
        target: None,
        unique: false,
        readable: true,
        insertable: true,
        updatable: true,
    }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn decoded(kind: Kind, text: &str) -> Value {
    decode(&column(kind), &Cell::text(text), Tz::UTC).unwrap()
}

#[test]
fn given_cells_of_three_databases_when_decoded_then_the_value_is_the_same_fact() {
    let set = |items: [&str; 2]| Value::Set(items.map(str::to_owned).into());
    let cases = [
        (Kind::Decimal, "1.50", Value::number("1.5".parse().unwrap())),
        (Kind::Decimal, "1e+20", Value::number("100000000000000000000".parse().unwrap())),
        (Kind::Bool, "true", Value::Bool(true)),
        (Kind::Bool, "0", Value::Bool(false)),
        (Kind::Bool, "2", Value::number(2.into())),
        (Kind::Date, "2026-03-02", Value::Date("2026-03-02".parse().unwrap())),
        (Kind::Date, "2026-03-02 00:00:00", Value::Date("2026-03-02".parse().unwrap())),
        (Kind::Date, "soon", Value::text("soon")),
        (
            Kind::Instant,
            "2026-03-02 09:00:00.123456+01",
            Value::Timestamp(at("2026-03-02T08:00:00Z")),
        ),
        (Kind::LocalTime, "2026-03-02T09:00:00Z", Value::Timestamp(at("2026-03-02T09:00:00Z"))),
        (Kind::LocalTime, "2026-03-02 09:00", Value::Timestamp(at("2026-03-02T09:00:00Z"))),
        (Kind::LocalTime, "0000-00-00 00:00:00", Value::Empty),
        (
            Kind::Json,
            "{\"b\": 1.50, \"a\": [1, \"x\"]}",
            Value::text("{\"a\":[1,\"x\"],\"b\":1.50}"),
        ),
        (Kind::Array, "[\"b\", \"a\", null]", set(["a", "b"])),
        (Kind::Set, "b,a", set(["a", "b"])),
    ];

    for (kind, text, expected) in cases {
        assert_eq!(decoded(kind, text), expected, "{kind:?} {text}");
    }
}

#[test]
fn given_a_number_that_we_cannot_keep_when_decoded_then_it_is_refused_not_rounded() {
    for text in ["0.12345678901234567890123456789012345", "1e300", "NaN"] {
        let error = decode(&column(Kind::Decimal), &Cell::text(text), Tz::UTC).unwrap_err();

        assert!(error.contains("28"), "{error}");
    }
    assert!(decode(&column(Kind::Text), &Cell::Bytes, Tz::UTC).unwrap_err().contains("UTF-8"));
}

#[test]
fn given_a_zone_when_local_times_are_read_then_both_switches_have_an_answer() {
    let cases = [
        ("2026-07-01 12:00:00", "2026-07-01T10:00:00Z"),
        // Skipped, and repeated.
        ("2026-03-29 02:30:00", "2026-03-29T01:30:00Z"),
        ("2026-10-25 02:30:00", "2026-10-25T00:30:00Z"),
    ];

    for (local, expected) in cases {
        assert_eq!(moment(&Cell::text(local), Tz::Europe__Berlin), Some(at(expected)), "{local}");
    }
}

#[test]
fn given_values_that_do_not_fit_when_encoded_then_the_reason_is_told() {
    let short = Column { max_length: Some(3), ..column(Kind::Text) };
    let strict = Column { nullable: false, ..column(Kind::Integer) };
    let option = Column { options: vec!["a".into()], ..column(Kind::Enum) };
    let long = Value::number("1.2345678901234567".parse().unwrap());
    let cases: [(Dialect, &Column, Value, &str); 8] = [
        (Dialect::Postgres, &short, Value::text("äöüß"), "4 characters, the column takes 3"),
        (Dialect::Postgres, &column(Kind::Text), Value::text("a\0b"), "NUL"),
        (Dialect::Postgres, &strict, Value::Empty, "must not be empty"),
        (Dialect::MySql, &option, Value::text("b"), "none of a"),
        (Dialect::Sqlite, &column(Kind::Decimal), long, "15"),
        (
            Dialect::Sqlite,
            &column(Kind::Integer),
            Value::number("1.5".parse().unwrap()),
            "decimals",
        ),
        (Dialect::Sqlite, &column(Kind::Json), Value::text("{"), "no JSON"),
        (Dialect::Sqlite, &column(Kind::Date), Value::text("soon"), "no date"),
    ];

    for (dialect, column, value, expected) in cases {
        let error = encode(dialect, column, &value, None, Tz::UTC).unwrap_err();

        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn given_a_list_when_written_then_elements_that_stay_keep_their_places() {
    let new = Value::set(["z", "b", "a \"q\""].map(str::to_owned));
    let old = Cell::text("[\"b\",\"x\"]");

    let cell = encode(Dialect::Postgres, &column(Kind::Array), &new, Some(&old), Tz::UTC).unwrap();

    assert_eq!(cell, Cell::text("{\"b\",\"a \\\"q\\\"\",\"z\"}"));
}

#[test]
fn given_a_sqlite_time_when_written_then_it_keeps_its_spelling() {
    let value = Value::Timestamp(at("2026-03-02T09:00:00Z"));
    let write =
        |old: &Cell| encode(Dialect::Sqlite, &column(Kind::LocalTime), &value, Some(old), Tz::UTC);

    assert_eq!(
        write(&Cell::text("2020-01-01T00:00:00Z")).unwrap(),
        Cell::text("2026-03-02T09:00:00Z")
    );
    assert_eq!(write(&Cell::Integer(7)).unwrap(), Cell::Integer(1_772_442_000));
    assert_eq!(write(&Cell::Null).unwrap(), Cell::text("2026-03-02 09:00:00"));
}

#[test]
fn given_a_mark_that_would_join_what_stands_before_it_when_made_an_id_then_it_stays_apart() {
    for part in ["\n\u{301}", "e\u{301}", "\u{301}"] {
        let id = encode_key(&[Cell::text(part)]).unwrap();

        assert_eq!(decode_key(id.as_str(), 1), Some(vec![part.to_owned()]));
        assert_eq!(Value::text(id.as_str()).as_text(), Some(id.as_str()));
    }
}

fn key_text() -> impl Strategy<Value = String> {
    prop_oneof!["[ a,%\u{e9}e\u{301}\n]{0,6}", any::<String>()]
}

proptest! {
    #[test]
    fn given_any_key_when_made_an_id_then_it_comes_back_and_survives_a_text_field(
        parts in prop::collection::vec(key_text(), 1..4),
    ) {
        let cells: Vec<_> = parts.iter().map(|part| Cell::text(part.as_str())).collect();

        let id = encode_key(&cells).unwrap();

        prop_assert_eq!(decode_key(id.as_str(), parts.len()), Some(parts));
        let stored = Value::text(id.as_str());
        prop_assert_eq!(stored.as_text(), Some(id.as_str()));
    }

    #[test]
    fn given_a_value_when_encoded_and_decoded_then_it_is_the_same(
        text in any::<String>(),
        mantissa in -999_999_999_999_999_i64..=999_999_999_999_999,
        scale in 0_u32..12,
        seconds in 0_i64..4_000_000_000,
        items in prop::collection::btree_set("[a-z\"\\\\ ]{1,5}", 0..4),
    ) {
        let instant = DateTime::from_timestamp(seconds, 0).unwrap();
        let trimmed: BTreeSet<String> = items;
        for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::MySql] {
            let cases = [
                (Kind::Text, Value::text(&text.replace('\0', ""))),
                (Kind::Decimal, Value::number(Decimal::new(mantissa, scale))),
                (Kind::Integer, Value::number(mantissa.into())),
                (Kind::Bool, Value::Bool(seconds % 2 == 0)),
                (Kind::Date, Value::Date(instant.date_naive())),
                (Kind::Instant, Value::timestamp(instant)),
                (Kind::LocalTime, Value::timestamp(instant)),
            ];
            for (kind, value) in cases {
                let column = column(kind);
                let cell = encode(dialect, &column, &value, None, Tz::UTC).unwrap();
                prop_assert_eq!(decode(&column, &cell, Tz::UTC).unwrap(), value);
            }
        }
        // Elements may hold anything; a `set` of MySQL has words without commas.
        let value = Value::set(trimmed);
        let cell = encode(Dialect::MySql, &column(Kind::Set), &value, None, Tz::UTC).unwrap();
        prop_assert_eq!(decode(&column(Kind::Set), &cell, Tz::UTC).unwrap(), value);
    }

    #[test]
    fn given_json_when_made_compact_twice_then_nothing_changes(depth in json_text()) {
        let once = compact_json(&depth).unwrap();

        prop_assert_eq!(compact_json(&once), Some(once.clone()));
        let (before, after): (Json, Json) =
            (serde_json::from_str(&depth).unwrap(), serde_json::from_str(&once).unwrap());
        prop_assert_eq!(before, after);
    }
}

fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just(" 1.50 ".to_owned()),
        any::<String>().prop_map(|text| Json::from(text).to_string()),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3)
                .prop_map(|items| format!("[ {} ]", items.join(" , "))),
            prop::collection::btree_map("[a-c]", inner, 0..3).prop_map(|members| {
                let members: Vec<_> = members
                    .into_iter()
                    .map(|(name, value)| format!("{name:?} : {value}"))
                    .collect();
                format!("{{ {} }}", members.join(" , "))
            }),
        ]
    })
}
