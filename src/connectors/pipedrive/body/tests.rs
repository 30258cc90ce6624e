use serde_json::json;

use super::super::module::Module;
use super::super::schema::{Pickers, assemble};
use super::super::wire;
use super::*;

const MONEY: &str = "b1c2b1c2b1c2b1c2b1c2b1c2b1c2b1c2b1c2b1c2";
const TAGS: &str = "a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0";
const PLACE: &str = "c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3";

fn shapes(module: &str) -> Shapes {
    let custom = |code: &str, name: &str, kind: &str| {
        serde_json::from_value::<wire::Field>(json!({
            "field_code": code, "field_name": name, "field_type": kind, "is_custom_field": true,
        }))
        .unwrap()
    };
    let listed = [
        custom(MONEY, "Budget", "monetary"),
        custom(TAGS, "Tags", "set"),
        custom(PLACE, "Site", "address"),
    ];
    let module = Module::named(module).unwrap();
    Shapes::new(module, assemble(module, &listed, &Pickers::default()))
}

fn fields(pairs: &[(&str, Value)]) -> BTreeMap<RemoteField, Value> {
    pairs.iter().map(|(name, value)| (RemoteField::from(*name), value.clone())).collect()
}

fn number(text: &str) -> Value {
    Value::number(text.parse().unwrap())
}

fn list(values: &[&str]) -> Value {
    Value::list(values.iter().map(|value| (*value).to_owned()))
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn given_a_change_when_updated_then_lists_and_composites_travel_merged_and_whole() {
    let emails = json!({ "emails": [
        { "value": "old@x.example", "primary": true, "label": "work" },
        { "value": "Home@x.example", "primary": false, "label": "home" },
    ] });
    let phones = json!({ "phones": [
        { "value": "+372 555 0100", "primary": true, "label": "work" },
        { "value": "+372 555 0200", "primary": false, "label": "mobile" },
    ] });
    let address = json!({ "address": {
        "value": "HQ", "route": "Main St", "street_number": "1", "locality": "Tallinn", "country": "Estonia",
        "formatted_address": "Main St 1, Tallinn, Estonia",
    } });
    let money = json!({ "custom_fields": { MONEY: { "value": 200, "currency": "EUR" } } });
    let participants = json!({ "participants": [
        { "person_id": 10, "primary": true }, { "person_id": 11, "primary": false },
    ] });
    let prices = json!({ "prices": [
        { "product_id": 1, "price": 10, "currency": "USD", "cost": 5, "direct_cost": null, "notes": "" },
        { "product_id": 1, "price": 9, "currency": "EUR", "cost": 0 },
    ] });
    let person = json!({ "name": "Ada Byron", "first_name": "Ada", "last_name": "Byron" });
    let cases = [
        (
            "the primary address is replaced, its label and the others stay",
            "persons",
            &emails,
            vec![("emails", list(&["new@x.example", "home@x.example"]))],
            json!({ "emails": [
                { "value": "new@x.example", "primary": true, "label": "work" },
                { "value": "Home@x.example", "primary": false, "label": "home" },
            ] }),
        ),
        (
            "one text replaces the primary address",
            "persons",
            &emails,
            vec![("emails", Value::from("new@x.example"))],
            json!({ "emails": [
                { "value": "new@x.example", "primary": true, "label": "work" },
                { "value": "Home@x.example", "primary": false, "label": "home" },
            ] }),
        ),
        (
            "another address becomes the primary one",
            "persons",
            &emails,
            vec![("emails", list(&["Home@x.example", "old@x.example"]))],
            json!({ "emails": [
                { "value": "Home@x.example", "primary": true, "label": "home" },
                { "value": "old@x.example", "primary": false, "label": "work" },
            ] }),
        ),
        ("cleared", "persons", &emails, vec![("emails", Value::Empty)], json!({ "emails": [] })),
        (
            "a number by its label",
            "persons",
            &phones,
            vec![("phones[mobile]", Value::from("+3725550999"))],
            json!({ "phones": [
                { "value": "+372 555 0100", "primary": true, "label": "work" },
                { "value": "+3725550999", "primary": false, "label": "mobile" },
            ] }),
        ),
        (
            "a number is not rewritten for its spelling",
            "persons",
            &phones,
            vec![
                ("phones[work]", Value::from("+3725550100")),
                ("phones[home]", Value::from("+3725550300")),
            ],
            json!({ "phones": [
                { "value": "+372 555 0100", "primary": true, "label": "work" },
                { "value": "+372 555 0200", "primary": false, "label": "mobile" },
                { "value": "+3725550300", "primary": false, "label": "home" },
            ] }),
        ),
        (
            "the primary number is cleared and the next takes its place",
            "persons",
            &phones,
            vec![("phones[work]", Value::Empty)],
            json!({ "phones": [{ "value": "+372 555 0200", "primary": true, "label": "mobile" }] }),
        ),
        (
            "a part of an address, whose own text stays",
            "organizations",
            &address,
            vec![("address.locality", Value::from("Tartu"))],
            json!({ "address": {
                "value": "HQ", "route": "Main St", "street_number": "1", "locality": "Tartu", "country": "Estonia",
            } }),
        ),
        (
            "a part of an address without a text",
            "organizations",
            &json!({ "address": null }),
            vec![
                ("address.locality", Value::from("Tartu")),
                ("address.route", Value::from("Lai 2")),
            ],
            json!({ "address": { "value": "Lai 2, Tartu", "locality": "Tartu", "route": "Lai 2" } }),
        ),
        (
            "the last part of an address is cleared",
            "organizations",
            &json!({ "address": { "value": "Tartu", "locality": "Tartu", "country": null } }),
            vec![("address.locality", Value::Empty)],
            json!({ "address": null }),
        ),
        (
            "an amount keeps its currency",
            "deals",
            &money,
            vec![(concat!("b1c2b1c2b1c2b1c2b1c2b1c2b1c2b1c2b1c2b1c2", ".value"), number("250.5"))],
            json!({ "custom_fields": { MONEY: { "value": 250.5, "currency": "EUR" } } }),
        ),
        (
            "an amount is cleared with its currency",
            "deals",
            &money,
            vec![(concat!("b1c2b1c2b1c2b1c2b1c2b1c2b1c2b1c2b1c2b1c2", ".value"), Value::Empty)],
            json!({ "custom_fields": { MONEY: null } }),
        ),
        (
            "a custom set is cleared by null, labels by an empty list",
            "deals",
            &Json::Null,
            vec![(TAGS, Value::Empty), ("label_ids", Value::Empty)],
            json!({ "custom_fields": { TAGS: null }, "label_ids": [] }),
        ),
        (
            "the person of an activity is its primary participant",
            "activities",
            &participants,
            vec![("person_id", Value::Reference("11".into()))],
            json!({ "participants": [{ "person_id": 11, "primary": true }] }),
        ),
        (
            "one price of several",
            "products",
            &prices,
            vec![("prices[USD]", number("12.5"))],
            json!({ "prices": [
                { "currency": "USD", "price": 12.5, "cost": 5 },
                { "currency": "EUR", "price": 9, "cost": 0 },
            ] }),
        ),
        (
            "a part of a name",
            "persons",
            &person,
            vec![("last_name", Value::from("King"))],
            json!({ "name": "Ada King", "first_name": "Ada", "last_name": "King" }),
        ),
        (
            "a part of a name is cleared",
            "persons",
            &person,
            vec![("first_name", Value::Empty)],
            json!({ "name": "Byron", "first_name": null, "last_name": "Byron" }),
        ),
        (
            "what v2 cannot clear goes apart",
            "deals",
            &Json::Null,
            vec![(UNCLEARABLE, Value::Empty)],
            json!({}),
        ),
        (
            "flags of notes are numbers",
            "notes",
            &Json::Null,
            vec![("pinned_to_deal_flag", Value::Bool(true)), ("deal_id", Value::Empty)],
            json!({ "pinned_to_deal_flag": 1, "deal_id": null }),
        ),
        (
            "a lead's custom fields are flat, its value is whole",
            "leads",
            &json!({ "value": { "amount": 500, "currency": "EUR" }, MONEY: 200 }),
            vec![
                (
                    concat!("b1c2b1c2b1c2b1c2b1c2b1c2b1c2b1c2b1c2b1c2", ".currency"),
                    Value::from("USD"),
                ),
                ("value.amount", number("600")),
                ("visible_to", Value::from("3")),
            ],
            json!({
                MONEY: 200,
                format!("{MONEY}_currency"): "USD",
                "value": { "amount": 600, "currency": "EUR" },
                "visible_to": "3",
            }),
        ),
    ];

    for (name, module, current, changes, expected) in cases {
        let body = update(&shapes(module), &fields(&changes), current);
        assert_eq!(body, Ok(expected), "{name}");
    }
}

#[test]
fn given_empty_values_when_created_then_they_are_left_out() {
    let row = fields(&[
        ("first_name", Value::Empty),
        ("last_name", Value::from("Byron")),
        ("emails", list(&["ada@x.example"])),
        ("org_id", Value::Empty),
    ]);

    let body = create(&shapes("persons"), &row).unwrap();

    let expected = json!({
        "name": "Byron", "last_name": "Byron", "emails": [{ "value": "ada@x.example", "primary": true }],
    });
    assert_eq!(body, expected);
}

#[test]
fn given_a_write_that_cannot_be_when_drafted_then_the_field_is_named() {
    let cases = [
        (
            "read-only",
            "deals",
            ("origin", Value::from("API")),
            "field `origin` refused: it is read-only",
        ),
        (
            "only on create",
            "notes",
            ("add_time", Value::Empty),
            "field `add_time` refused: it is read-only",
        ),
        ("unknown", "deals", ("nonsense", Value::from("1")), "unknown field `nonsense`"),
        (
            "wrong kind",
            "deals",
            ("value", Value::from("much")),
            "field `value` refused: expected a number, got a text",
        ),
        (
            "name of a wrong kind",
            "persons",
            ("first_name", number("1")),
            "field `first_name` refused: it takes a text",
        ),
        (
            "no name left",
            "persons",
            ("first_name", Value::Empty),
            "field `name` refused: a person needs a name",
        ),
    ];

    for (name, module, change, expected) in cases {
        let refused = update(&shapes(module), &fields(&[change]), &Json::Null).unwrap_err();
        assert_eq!(refused.to_string(), expected, "{name}");
    }
}
