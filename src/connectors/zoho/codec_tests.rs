use proptest::prelude::*;
use rust_decimal::Decimal;
use serde_json::json;

use super::super::encode::{OptionForm, encode_row, encode_value};
use super::*;

fn form(shape: Shape) -> FieldForm {
    FieldForm { shape, options: Vec::new() }
}

fn stages() -> FieldForm {
    let options = [
        ("Qualification", "Qualification"),
        ("Closed-Lost to Competition", "Closed Lost to Competition"),
    ];
    let options = options.map(|(display, actual)| (display.to_owned(), actual.to_owned()));
    FieldForm { shape: Shape::Option, options: options.into() }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

#[test]
fn given_zoho_json_when_decoded_then_two_spellings_of_a_fact_are_one_value() {
    let number = |text: &str| Value::number(text.parse().unwrap());
    let set = |items: &[&str]| Value::set(items.iter().map(|item| (*item).to_owned()));
    let cases = [
        ("null", form(Shape::Text(FieldKind::Text)), json!(null), Value::Empty),
        ("blank text", form(Shape::Text(FieldKind::Text)), json!("  "), Value::Empty),
        ("text", form(Shape::Text(FieldKind::Text)), json!(" Ada\r\n"), "Ada".into()),
        ("money", form(Shape::Number(FieldKind::Money)), json!(1234.5), number("1234.5")),
        ("whole money", form(Shape::Number(FieldKind::Money)), json!(100), number("100")),
        (
            "a tiny number",
            form(Shape::Number(FieldKind::Decimal)),
            json!(1e-7),
            number("0.0000001"),
        ),
        (
            "big integer as text",
            form(Shape::BigInt),
            json!("123456789012345678"),
            number("123456789012345678"),
        ),
        ("false is a value", form(Shape::Bool), json!(false), Value::Bool(false)),
        (
            "a date",
            form(Shape::Date),
            json!("2026-03-29"),
            Value::Date("2026-03-29".parse().unwrap()),
        ),
        (
            "summer time",
            form(Shape::Timestamp),
            json!("2026-07-01T12:00:00+02:00"),
            Value::Timestamp(at("2026-07-01T10:00:00Z")),
        ),
        (
            "winter, other zone",
            form(Shape::Timestamp),
            json!("2026-01-10T00:15:00-08:00"),
            Value::Timestamp(at("2026-01-10T08:15:00Z")),
        ),
        (
            "display value",
            stages(),
            json!("Closed-Lost to Competition"),
            "Closed-Lost to Competition".into(),
        ),
        (
            "actual value",
            stages(),
            json!("Closed Lost to Competition"),
            "Closed-Lost to Competition".into(),
        ),
        ("an option nobody listed", stages(), json!("Whatever"), "Whatever".into()),
        ("none", stages(), json!("-None-"), Value::Empty),
        ("multi-select", form(Shape::OptionSet), json!(["b", "a", "b"]), set(&["a", "b"])),
        (
            "tags as objects",
            form(Shape::Tags),
            json!([{ "name": "vip", "id": "1" }]),
            set(&["vip"]),
        ),
        ("tags as texts", form(Shape::Tags), json!(["vip"]), set(&["vip"])),
        ("no tags", form(Shape::Tags), json!([]), Value::Empty),
        (
            "a lookup",
            form(Shape::Lookup),
            json!({ "name": "Acme", "id": "77" }),
            Value::Reference("77".into()),
        ),
        (
            "a lookup as number",
            form(Shape::Lookup),
            json!({ "id": 77 }),
            Value::Reference("77".into()),
        ),
        (
            "an owner",
            form(Shape::User),
            json!({ "name": "Ann", "id": "9", "email": "a@b.c" }),
            "9".into(),
        ),
    ];

    for (name, form, json, expected) in cases {
        assert_eq!(decode_value(&form, "F", &json), Ok(expected), "{name}");
    }
}

#[test]
fn given_json_of_another_type_when_decoded_then_it_is_an_error_and_no_default() {
    let cases = [
        ("text for a flag", Shape::Bool, json!("true")),
        ("a time without an offset", Shape::Timestamp, json!("2026-01-10T09:15:00")),
        ("a date of another format", Shape::Date, json!("10/01/2026")),
        ("words for a number", Shape::Number(FieldKind::Money), json!("many")),
        ("an object for text", Shape::Text(FieldKind::Text), json!({})),
        ("a lookup without an id", Shape::Lookup, json!({ "name": "Acme" })),
        ("text for a set", Shape::OptionSet, json!("a;b")),
    ];

    for (name, shape, json) in cases {
        assert!(decode_value(&form(shape), "F", &json).is_err(), "{name}");
    }
}

fn task_forms() -> Forms {
    let shapes = [
        ("Subject", Shape::Text(FieldKind::Text)),
        ("Description", Shape::RichText),
        ("What_Id", Shape::Polymorphic(Naming::Beside)),
        ("Parent_Id", Shape::Polymorphic(Naming::Inside)),
        ("Items", Shape::Unsupported),
    ];
    shapes.map(|(name, shape)| (name.to_owned(), form(shape))).into()
}

fn decode(
    row: &Json,
    fields: &[&str],
    depth: Depth,
) -> (BTreeMap<RemoteField, Value>, Vec<String>) {
    let fields: Vec<RemoteField> = fields.iter().map(|name| (*name).into()).collect();
    let decoded = decode_row(&task_forms(), &fields, row, depth).unwrap();
    let partial = decoded.partial.iter().map(|field| field.as_str().to_owned()).collect();
    (decoded.record.fields, partial)
}

#[test]
fn given_a_lookup_of_many_modules_when_decoded_then_each_part_sees_its_own_module_only() {
    let beside = json!({ "id": "1", "What_Id": { "id": "5" }, "$se_module": "Deals" });
    let inside =
        json!({ "id": "1", "Parent_Id": { "id": "6", "module": { "api_name": "Contacts" } } });
    let untold = json!({ "id": "1", "What_Id": { "id": "5" } });

    let (fields, _) = decode(&beside, &["What_Id.Deals", "What_Id.Accounts"], Depth::List);
    assert_eq!(fields["What_Id.Deals"], Value::Reference("5".into()));
    assert_eq!(fields["What_Id.Accounts"], Value::Empty);
    let (fields, _) = decode(&inside, &["Parent_Id.Contacts", "Parent_Id.Deals"], Depth::List);
    assert_eq!(fields["Parent_Id.Contacts"], Value::Reference("6".into()));
    assert_eq!(fields["Parent_Id.Deals"], Value::Empty);
    assert_eq!(decode(&untold, &["What_Id.Deals"], Depth::List).1, ["What_Id.Deals"]);
}

#[test]
fn given_what_a_list_leaves_out_when_decoded_then_the_field_is_absent_and_never_empty() {
    let long = "x".repeat(RICH_TEXT_CUT);
    let row = json!({ "id": "1", "Description": long, "Items": [{}] });

    let (fields, partial) = decode(&row, &["Subject", "Description", "Items"], Depth::List);
    assert!(fields.is_empty());
    assert_eq!(partial, ["Description"]);

    let (fields, partial) = decode(&row, &["Description"], Depth::Whole);
    assert_eq!((fields.len(), partial.len()), (1, 0));
}

#[test]
fn given_parts_of_a_lookup_when_encoded_then_only_the_part_it_points_to_can_clear_it() {
    let to_deal = json!({ "id": "1", "What_Id": { "id": "5" }, "$se_module": "Deals" });
    let one = |field: &str, value: Value| BTreeMap::from([(RemoteField::new(field), value)]);
    let reference = Value::Reference("5".into());
    let cases = [
        (
            "set beside",
            one("What_Id.Deals", reference.clone()),
            None,
            Ok(json!({ "What_Id": { "id": "5" }, "$se_module": "Deals" })),
        ),
        (
            "set inside",
            one("Parent_Id.Contacts", reference.clone()),
            None,
            Ok(json!({ "Parent_Id": { "module": { "api_name": "Contacts" }, "id": "5" } })),
        ),
        (
            "cleared",
            one("What_Id.Deals", Value::Empty),
            Some(&to_deal),
            Ok(json!({ "What_Id": null })),
        ),
        ("points elsewhere", one("What_Id.Accounts", Value::Empty), Some(&to_deal), Ok(json!({}))),
        ("nothing to clear", one("What_Id.Accounts", Value::Empty), None, Ok(json!({}))),
        (
            "two targets",
            [one("What_Id.Deals", reference.clone()), one("What_Id.Accounts", reference)]
                .into_iter()
                .flatten()
                .collect(),
            None,
            Err(()),
        ),
    ];

    for (name, fields, current, expected) in cases {
        let encoded = encode_row(&task_forms(), &fields, current, OptionForm::Display);
        assert_eq!(encoded.map(Json::Object).map_err(|_| ()), expected, "{name}");
    }
}

#[test]
fn given_a_number_that_a_double_cannot_hold_when_encoded_then_it_is_refused_and_not_rounded() {
    let money = form(Shape::Number(FieldKind::Money));
    let encode = |text: &str| {
        encode_value(&money, &Value::number(text.parse().unwrap()), OptionForm::Display)
    };

    assert_eq!(encode("1234567890.12"), Ok(json!(1_234_567_890.12)));
    assert_eq!(encode("9007199254740993"), Ok(json!(9_007_199_254_740_993_i64)));
    assert!(encode("12345678901234567.89").is_err());
}

#[test]
fn given_a_renamed_option_when_encoded_then_the_chosen_form_is_sent() {
    let value = Value::text("Closed-Lost to Competition");

    let display = encode_value(&stages(), &value, OptionForm::Display);
    let actual = encode_value(&stages(), &value, OptionForm::Actual);

    assert_eq!(display, Ok(json!("Closed-Lost to Competition")));
    assert_eq!(actual, Ok(json!("Closed Lost to Competition")));
}

fn any_value() -> impl Strategy<Value = (Shape, Value)> {
    let text = "\\PC{0,40}".prop_map(|raw| (Shape::Text(FieldKind::Text), Value::text(&raw)));
    let money = (-1_000_000_000_000_i64..1_000_000_000_000, 0_u32..3).prop_map(|(units, scale)| {
        (Shape::Number(FieldKind::Money), Value::number(Decimal::new(units, scale)))
    });
    let decimal =
        (-999_999_999_999_999_i64..999_999_999_999_999, 0_u32..10).prop_map(|(units, scale)| {
            (Shape::Number(FieldKind::Decimal), Value::number(Decimal::new(units, scale)))
        });
    let big = any::<i64>().prop_map(|whole| (Shape::BigInt, Value::number(whole.into())));
    let flag = any::<bool>().prop_map(|flag| (Shape::Bool, Value::Bool(flag)));
    let time = (0_i64..4_000_000_000).prop_map(|seconds| {
        (Shape::Timestamp, Value::timestamp(DateTime::from_timestamp(seconds, 0).unwrap()))
    });
    let date = (0_i64..40_000).prop_map(|days| {
        let date = DateTime::from_timestamp(days * 86_400, 0).unwrap().date_naive();
        (Shape::Date, Value::Date(date))
    });
    let items = proptest::collection::btree_set("[a-z ,;]{1,8}[a-z]", 0..4);
    let tags = items.clone().prop_map(|items| (Shape::Tags, Value::set(trimmed(items))));
    let set = items.prop_map(|items| (Shape::OptionSet, Value::set(trimmed(items))));
    let lookup =
        "[1-9][0-9]{15,18}".prop_map(|id| (Shape::Lookup, Value::Reference(RecordId::new(id))));
    let user = "[1-9][0-9]{15,18}".prop_map(|id| (Shape::User, Value::Text(id.into())));
    prop_oneof![text, money, decimal, big, flag, time, date, tags, set, lookup, user]
}

fn trimmed(items: BTreeSet<String>) -> impl Iterator<Item = String> {
    items.into_iter().map(|item| item.trim().to_owned())
}

proptest! {
    #[test]
    fn given_any_value_when_encoded_and_decoded_then_it_is_the_same((shape, value) in any_value()) {
        let form = form(shape);

        let json = encode_value(&form, &value, OptionForm::Display).unwrap();
        let wire: Json = serde_json::from_str(&json.to_string()).unwrap();

        prop_assert_eq!(decode_value(&form, "F", &wire).unwrap(), value);
    }

    #[test]
    fn given_any_json_when_decoded_then_nothing_panics(text in "\\PC*", number in any::<f64>()) {
        for shape in [Shape::Number(FieldKind::Money), Shape::Timestamp, Shape::Date, Shape::Option, Shape::Tags] {
            for json in [json!(text), json!(number), json!([text]), json!({ "id": text })] {
                let _ = decode_value(&form(shape.clone()), "F", &json);
            }
        }
    }
}
