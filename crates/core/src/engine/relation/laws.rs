//! The laws of semantics §5 over generated values, for every relation: N1, B1, B2, B3 (invariant I23).

use chrono::{DateTime, NaiveDate};
use proptest::prelude::*;
use rust_decimal::Decimal;

use super::Translation;
use super::testing::{Numbered, options, rule};
use crate::model::mapping::OptionMap;
use crate::model::{EntityName, FieldRule, LinkId, Pair, RecordId, Relation, Side, Value};

fn agree(rule: &FieldRule, target: Side, source: &Value, value: &Value) -> bool {
    match target {
        Side::Left => rule.agree(&Numbered, value, source),
        Side::Right => rule.agree(&Numbered, source, value),
    }
}

/// States all four laws for one pair of raw values.
fn check(relation: Relation, left: &Value, right: &Value) -> Result<(), TestCaseError> {
    let rule = rule(relation);
    let raw = Pair::new(left, right);
    let now = Pair::new(rule.normalize(Side::Left, left), rule.normalize(Side::Right, right));

    for side in Side::BOTH {
        let (own, source) = (&now[side], &now[side.other()]);
        prop_assert_eq!(&rule.normalize(side, own), own, "N1 on {} of {:?}", side, raw[side]);

        let Translation::Write(written) = rule.translate(&Numbered, side, source, own) else {
            continue;
        };
        prop_assert!(agree(&rule, side, source, &written), "B1 on {}: {:?}", side, written);
        prop_assert_eq!(&rule.normalize(side, &written), &written, "written values are normal");
        if agree(&rule, side, source, own) {
            prop_assert_eq!(&written, own, "B2 on {}", side);
        }
        let back = rule.translate(&Numbered, side.other(), &written, source);
        prop_assert_eq!(back, Translation::Write(source.clone()), "B3 from {}", side);
    }
    Ok(())
}

fn any_text() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => "[ a-cÄé\n]{0,12}".prop_map(|text| Value::text(&text)),
        1 => any::<String>().prop_map(|text| Value::text(&text)),
    ]
}

fn html() -> impl Strategy<Value = Value> {
    let part = prop_oneof![
        "[ a-c&<>\n]{0,6}".prop_map(|text| super::rich_text::to_html(&text)),
        Just("<b>bold</b>".to_owned()),
        Just("<p>line</p>".to_owned()),
        Just("<script>x</script>".to_owned()),
        Just("<ul><li>one</li><li>two</li></ul>".to_owned()),
        Just("<a href=\"https://example.com\">link</a>".to_owned()),
        Just("<table><tr><td>1</td><td>2</td></tr></table>".to_owned()),
        Just("<p></p><br>".to_owned()),
        any::<String>(),
    ];
    prop::collection::vec(part, 0..4).prop_map(|parts| Value::text(&parts.concat()))
}

fn limit() -> impl Strategy<Value = Option<usize>> {
    prop::option::of(0..8_usize)
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::Empty),
        5 => (-20_000..20_000_i64, 0..4_u32)
            .prop_map(|(number, scale)| Value::number(Decimal::new(number, scale))),
        1 => any::<i64>().prop_map(|number| Value::number(Decimal::from(number))),
        1 => Just(Value::text("12.50")),
        1 => Just(Value::text("soon")),
    ]
}

fn address() -> impl Strategy<Value = String> {
    prop_oneof!["[abAB]{1,2}@[xX]\\.de", "[ab ]{0,2}", any::<String>()]
}

fn phone() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\+49 ?30 ?[0-9]{4,9}",
        "0[0-9]{2,4}[ /-][0-9]{3,8}",
        "\\+1 \\([2-9][0-9]{2}\\) 555-0[0-9]{3}( ext\\.? ?[0-9]{1,4})?",
        "[0-9x#;=+ ]{0,14}",
        any::<String>(),
    ]
}

fn one_or_list(item: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = Value> {
    prop::collection::vec(item, 0..4).prop_map(|items| match items.as_slice() {
        [one] => Value::text(one),
        _ => Value::list(items),
    })
}

fn option(of: &'static str) -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => of.prop_map(|id| Value::text(&id)),
        1 => Just(Value::Empty),
        1 => Just(Value::text("-None-")),
    ]
}

fn option_set(of: &'static str) -> impl Strategy<Value = Value> {
    prop::collection::vec(of, 0..4).prop_map(Value::set)
}

fn moment() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Empty),
        (0..40_000_i32).prop_map(|day| Value::Date(
            NaiveDate::from_num_days_from_ce_opt(700_000 + day).unwrap()
        )),
        (0..2_000_000_000_i64)
            .prop_map(|second| Value::timestamp(DateTime::from_timestamp(second, 5).unwrap())),
        Just(Value::text("2026-02-03")),
        Just(Value::text("2026-02-03T04:05:06+02:00")),
        Just(Value::text("soon")),
    ]
}

fn reference(side: &'static str) -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::Empty),
        5 => (0..10_u8).prop_map(move |number| {
            Value::Reference(RecordId::new(format!("{side}{number}")))
        }),
    ]
}

fn flag() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Empty),
        any::<bool>().prop_map(Value::Bool),
        Just(Value::text("Yes")),
        Just(Value::number(Decimal::ZERO)),
        Just(Value::text("perhaps")),
    ]
}

/// The relation with its sides swapped (invariant I19).
fn mirror(relation: Relation) -> Relation {
    fn swap<T>(pair: Pair<T>) -> Pair<T> {
        Pair::new(pair.right, pair.left)
    }
    let flip =
        |map: OptionMap| OptionMap { to_right: map.to_left, to_left: map.to_right, open: map.open };
    match relation {
        Relation::Text { limits } => Relation::Text { limits: swap(limits) },
        Relation::RichText { html, limits } => {
            Relation::RichText { html: swap(html), limits: swap(limits) }
        }
        Relation::Option { map } => Relation::Option { map: flip(map) },
        Relation::OptionSet { map } => Relation::OptionSet { map: flip(map) },
        Relation::User { map } => Relation::User { map: flip(map) },
        Relation::Number { scale } => Relation::Number { scale: swap(scale) },
        Relation::Bool
        | Relation::Phone { .. }
        | Relation::Email
        | Relation::Date
        | Relation::Timestamp
        | Relation::Reference { .. } => relation,
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any_text(),
        html(),
        number(),
        flag(),
        moment(),
        reference("l"),
        reference("r"),
        option_set("[A-C1-3]"),
        one_or_list(address()),
        Just(Value::Link(LinkId("seven".into()))),
    ]
}

fn any_relation() -> impl Strategy<Value = Relation> {
    let limits = || (limit(), limit()).prop_map(|(left, right)| Pair::new(left, right));
    let scale = prop::option::of(0..4_u32);
    prop_oneof![
        limits().prop_map(|limits| Relation::Text { limits }),
        (any::<bool>(), any::<bool>(), limits()).prop_map(|(left, right, limits)| {
            Relation::RichText { html: Pair::new(left, right), limits }
        }),
        any::<bool>().prop_map(|open| Relation::Option { map: options(open) }),
        any::<bool>().prop_map(|open| Relation::OptionSet { map: options(open) }),
        any::<bool>().prop_map(|open| Relation::User { map: options(open) }),
        (scale.clone(), scale)
            .prop_map(|(left, right)| Relation::Number { scale: Pair::new(left, right) }),
        Just(Relation::Bool),
        Just(Relation::Phone { region: Some("DE".into()) }),
        Just(Relation::Email),
        Just(Relation::Date),
        Just(Relation::Timestamp),
        Just(Relation::Reference { entity: EntityName::new("account") }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn given_values_of_any_kind_when_translated_then_the_laws_hold(
        relation in any_relation(), left in any_value(), right in any_value()
    ) {
        check(relation, &left, &right)?;
    }

    #[test]
    fn given_swapped_sides_when_translated_then_the_outcome_is_mirrored(
        relation in any_relation(), left in any_value(), right in any_value()
    ) {
        // The counterparts of these tests are named by side.
        prop_assume!(!matches!(relation, Relation::Reference { .. }));
        let (one, other) = (rule(relation.clone()), rule(mirror(relation)));
        let left = one.normalize(Side::Left, &left);
        let right = one.normalize(Side::Right, &right);

        prop_assert_eq!(&other.normalize(Side::Right, &left), &left);
        prop_assert_eq!(
            one.agree(&Numbered, &left, &right),
            other.agree(&Numbered, &right, &left)
        );
        prop_assert_eq!(
            one.translate(&Numbered, Side::Right, &left, &right),
            other.translate(&Numbered, Side::Left, &left, &right)
        );
    }

    #[test]
    fn given_texts_when_translated_then_the_laws_hold(
        left in any_text(), right in any_text(), limits in (limit(), limit())
    ) {
        let limits = Pair::new(limits.0, limits.1);
        check(Relation::Text { limits }, &left, &right)?;
    }

    #[test]
    fn given_a_common_beginning_when_translated_then_the_laws_hold(
        text in "[a-c ]{0,12}", keep in 0..12_usize, limit in 1..8_usize
    ) {
        let limits = Pair::new(None, Some(limit));
        let right: String = text.chars().take(keep).collect();
        check(Relation::Text { limits }, &Value::text(&text), &Value::text(&right))?;
    }

    #[test]
    fn given_rich_and_plain_text_when_translated_then_the_laws_hold(
        rich in html(), plain in any_text(), limit in prop::option::of(3..40_usize)
    ) {
        let relation = |html| Relation::RichText { html, limits: Pair::new(None, limit) };
        check(relation(Pair::new(true, false)), &rich, &plain)?;
        check(relation(Pair::new(false, true)), &plain, &rich)?;
        check(relation(Pair::new(true, true)), &rich, &rich)?;
    }

    #[test]
    fn given_numbers_when_translated_then_the_laws_hold(
        left in number(), right in number(),
        scale in (prop::option::of(0..4_u32), prop::option::of(0..4_u32))
    ) {
        let scale = Pair::new(scale.0, scale.1);
        check(Relation::Number { scale }, &left, &right)?;
    }

    #[test]
    fn given_flags_when_translated_then_the_laws_hold(left in flag(), right in flag()) {
        check(Relation::Bool, &left, &right)?;
    }

    #[test]
    fn given_options_when_translated_then_the_laws_hold(
        left in option("[A-E]"), right in option("[1-5]"), open in any::<bool>()
    ) {
        check(Relation::Option { map: options(open) }, &left, &right)?;
        check(Relation::User { map: options(open) }, &left, &right)?;
    }

    #[test]
    fn given_a_status_and_a_checkbox_when_translated_then_the_laws_hold(
        status in option("[A-E]"), ticked in flag()
    ) {
        let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        let map = OptionMap {
            to_right: [pair("A", "true"), pair("B", "false"), pair("C", "false")].into(),
            to_left: [pair("true", "A"), pair("false", "B")].into(),
            open: false,
        };
        let mirrored =
            OptionMap { to_right: map.to_left.clone(), to_left: map.to_right.clone(), open: false };
        check(Relation::Option { map }, &status, &ticked)?;
        check(Relation::Option { map: mirrored }, &ticked, &status)?;
    }

    #[test]
    fn given_option_sets_when_translated_then_the_laws_hold(
        left in option_set("[A-E]"), right in option_set("[1-5]")
    ) {
        check(Relation::OptionSet { map: options(false) }, &left, &right)?;
    }

    #[test]
    fn given_tags_when_translated_then_the_laws_hold(
        left in option_set("[a-e]"), right in option_set("[a-e]")
    ) {
        let map = OptionMap { open: true, ..OptionMap::default() };
        check(Relation::OptionSet { map }, &left, &right)?;
    }

    #[test]
    fn given_emails_when_translated_then_the_laws_hold(
        left in one_or_list(address()), right in one_or_list(address())
    ) {
        check(Relation::Email, &left, &right)?;
    }

    #[test]
    fn given_phones_when_translated_then_the_laws_hold(
        left in one_or_list(phone()), right in one_or_list(phone()),
        region in prop::option::of(prop_oneof!["DE", "US"])
    ) {
        check(Relation::Phone { region }, &left, &right)?;
    }

    #[test]
    fn given_moments_when_translated_then_the_laws_hold(left in moment(), right in moment()) {
        check(Relation::Date, &left, &right)?;
        check(Relation::Timestamp, &left, &right)?;
    }

    #[test]
    fn given_references_when_translated_then_the_laws_hold(
        left in reference("l"), right in reference("r")
    ) {
        let entity = EntityName::new("account");
        check(Relation::Reference { entity }, &left, &right)?;
    }
}
