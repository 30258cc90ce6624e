use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::super::metadata::{pipedrive, users, zoho};
use super::super::{draft, order, parse};
use super::{SideMetadata, compile};
use crate::engine::filter::Filter;
use crate::engine::normalize::normalize;
use crate::mapping::Diagnostic;
use crate::model::mapping::{DeletePolicy, Derived};
use crate::model::{
    Direction, Entity, EntityName, FieldName, Pair, RecordId, Relation, RemoteRecord, Side, Value,
};

const SHIPPED: [(&str, &str); 9] = [
    ("account", include_str!("../../../../../mappings/zoho-pipedrive/account.toml")),
    ("contact", include_str!("../../../../../mappings/zoho-pipedrive/contact.toml")),
    ("deal", include_str!("../../../../../mappings/zoho-pipedrive/deal.toml")),
    ("product", include_str!("../../../../../mappings/zoho-pipedrive/product.toml")),
    ("task", include_str!("../../../../../mappings/zoho-pipedrive/task.toml")),
    ("event", include_str!("../../../../../mappings/zoho-pipedrive/event.toml")),
    ("contact_note", include_str!("../../../../../mappings/zoho-pipedrive/contact-note.toml")),
    ("deal_note", include_str!("../../../../../mappings/zoho-pipedrive/deal-note.toml")),
    ("lead", include_str!("../../../../../mappings/zoho-pipedrive/lead.toml")),
];

fn compile_text(text: &str) -> Result<(Entity, Vec<Diagnostic>), Vec<Diagnostic>> {
    let file = parse("test.toml", text)?;
    let schemas = Pair::new(zoho(file.module(Side::Left)), pipedrive(file.module(Side::Right)));
    let people = Pair::new(users("z"), users("p"));
    let sides = Pair::new(
        SideMetadata { schema: &schemas.left, users: &people.left },
        SideMetadata { schema: &schemas.right, users: &people.right },
    );
    let entities: BTreeSet<_> = SHIPPED.iter().map(|(name, _)| EntityName::new(*name)).collect();
    compile("test.toml", text, &file, sides, &entities)
}

/// A contact mapping with `fields` and whatever follows them.
fn contact(rest: &str) -> String {
    format!(
        "entity = \"contact\"\nleft = {{ module = \"Contacts\" }}\nright = {{ module = \"persons\" }}\n\
         create = \"none\"\n{rest}"
    )
}

fn field<'a>(entity: &'a Entity, name: &str) -> &'a crate::model::FieldRule {
    entity.field(&FieldName::new(name)).unwrap()
}

#[test]
fn given_a_mistaken_mapping_when_compiled_then_each_mistake_is_placed_and_explained() {
    let cases = [
        ("unknown field", "[fields]\nemail = { left = \"Emial\", right = \"emails\" }"),
        ("ambiguous label", "[fields]\nt = { left = \"Title\", right = \"Twin\" }"),
        ("read-only, both ways", "[fields]\nn = { left = \"Full_Name\", right = \"name\" }"),
        ("kinds", "[fields]\nn = { left = \"Annual_Revenue\", right = \"name\" }"),
        (
            "kinds of a type",
            "[fields]\nn = { left = \"Title\", right = \"name\", type = \"date\" }",
        ),
        (
            "unknown options",
            "[fields]\ns = { left = \"Lead_Source\", right = \"Lead source\", options = { \"Web Downlod\" = \"Website\", \"Trade Show\" = \"Fair\" } }",
        ),
        (
            "options without a partner",
            "[fields]\ns = { left = \"Lead_Source\", right = \"Lead source\", options = { \"Trade Show\" = \"Trade show\" } }",
        ),
        ("one side only", "[fields]\nn = { left = \"Title\" }"),
        (
            "derived on two sides",
            "[fields]\nn = { left = \"Title\", right = \"name\", constant = \"x\" }",
        ),
        (
            "derived against its way",
            "[fields]\ng = { right = \"Greeting\", constant = \"x\", direction = \"to-left\" }",
        ),
        (
            "expression's fields",
            "[fields]\nfirst_name = { left = \"First_Name\", right = \"first_name\" }\ng = { right = \"Greeting\", expression = \"'Dear ' ~ frst_name\" }",
        ),
        (
            "expression's syntax",
            "[fields]\ng = { right = \"Greeting\", expression = \"'Dear ' ~\" }",
        ),
        ("constant", "[fields]\ns = { right = \"Lead source\", constant = \"Web\" }"),
        ("no reference", "[fields]\na = { left = \"Account_Name\", right = \"org_id\" }"),
        (
            "unknown entity",
            "[fields]\na = { left = \"Account_Name\", right = \"org_id\", reference = \"acount\" }",
        ),
        (
            "region",
            "[fields]\np = { left = \"Phone\", right = \"phones[work]\", region = \"Germany\" }",
        ),
        (
            "key without meaning",
            "[fields]\nt = { left = \"Title\", right = \"job_title\", region = \"DE\" }",
        ),
        (
            "key not mapped",
            "[match]\nkeys = [{ fields = [\"mail\"] }]\n[fields]\nemail = { left = \"Email\", right = \"emails\" }",
        ),
        (
            "key not comparable",
            "[match]\nkeys = [{ fields = [\"g\"] }]\n[fields]\ng = { right = \"Greeting\", constant = \"x\" }",
        ),
        (
            "group",
            "[fields]\nt = { left = \"Title\", right = \"job_title\" }\n[groups]\na = [\"t\"]\nb = [\"t\", \"u\"]",
        ),
        (
            "numbers",
            "[conflicts]\nskew = \"5 parsecs\"\ntie = \"newest\"\n[deletes]\nmax = \"150%\"",
        ),
        ("archive without marks", "[deletes]\nto-left = \"archive\""),
        (
            "two writers",
            "[fields]\na = { left = \"Title\", right = \"job_title\" }\nb = { left = \"First_Name\", right = \"job_title\" }",
        ),
        (
            "user",
            "[fields]\no = { left = \"Owner\", right = \"owner_id\", users = { \"eve@example.com\" = \"ada@example.com\" } }",
        ),
    ];

    let mut report = String::new();
    for (case, text) in cases {
        let found = compile_text(&contact(text)).expect_err(case);
        let _ = writeln!(report, "-- {case}");
        for diagnostic in found {
            let _ = writeln!(report, "{diagnostic}");
        }
    }

    insta::assert_snapshot!(report);
}

#[test]
fn given_a_mistaken_head_when_compiled_then_it_is_refused() {
    let cases = [
        (
            "filter",
            "entity = \"c\"\nleft = { module = \"Contacts\", filter = \"Emial is not null\" }\nright = { module = \"persons\" }\ncreate = \"none\"",
        ),
        (
            "filter's grammar",
            "entity = \"c\"\nleft = { module = \"Contacts\", filter = \"Email is nul\" }\nright = { module = \"persons\" }\ncreate = \"none\"",
        ),
        (
            "filter's value",
            "entity = \"c\"\nleft = { module = \"Contacts\", filter = \"Lead_Source = 'Fax'\" }\nright = { module = \"persons\" }\ncreate = \"none\"",
        ),
        (
            "required",
            "entity = \"c\"\nleft = { module = \"Contacts\" }\nright = { module = \"persons\" }\n[fields]\nemail = { left = \"Email\", right = \"emails\" }",
        ),
    ];

    let mut report = String::new();
    for (case, text) in cases {
        let found = compile_text(text).expect_err(case);
        let _ = writeln!(report, "-- {case}");
        for diagnostic in found {
            let _ = writeln!(report, "{diagnostic}");
        }
    }

    insta::assert_snapshot!(report);
}

#[test]
fn given_a_doubtful_mapping_when_compiled_then_it_warns() {
    let text = contact(
        "[match]\nexternal_id = { left = \"Pipedrive_ID\", right = \"No such\" }\n[fields]\n\
         title = { left = \"Title\", right = \"Short\" }\n\
         source = { left = \"Lead_Source\", right = \"Lead source\" }\n",
    );

    let (entity, warnings) = compile_text(&text).unwrap();

    assert!(matches!(field(&entity, "title").relation, Relation::Text { .. }));
    let report: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(report.join("\n"));
}

#[test]
fn given_labels_options_and_users_when_compiled_then_they_become_ids() {
    let text = contact(
        "[deletes]\nto-right = \"archive\"\nmax = \"2.5%\"\nmarks = { right = { Greeting = \"gone\" } }\n[fields]\n\
         source = { left = \"lead source\", right = \"Lead source\", options = { \"Web Download\" = \"Website\" } }\n\
         greeting = { right = \"Greeting\", expression = \"'Dear ' ~ source\" }\n\
         owner = { left = \"Owner\", right = \"owner_id\", users = { \"ada@example.com\" = \"p2\", \"Bo\" = \"ada@example.com\" } }\n",
    );

    let (entity, _) = compile_text(&text).unwrap();

    let source = field(&entity, "source");
    assert_eq!(source.remote.left.as_ref().unwrap().as_str(), "Lead_Source");
    let Relation::Option { map } = &source.relation else { panic!("no option") };
    assert_eq!(map.to_right["Web Download"], "11");
    assert_eq!(map.to_left["12"], "Trade Show", "like-named options meet");
    let greeting = field(&entity, "greeting");
    assert_eq!(greeting.direction, Direction::ToRight);
    assert_eq!(greeting.derived, Some(Derived::Expression("'Dear ' ~ source".into())));
    let Relation::User { map } = &field(&entity, "owner").relation else { panic!("no user") };
    assert_eq!((map.to_right["z1"].as_str(), map.to_right["z2"].as_str()), ("p2", "p1"));
    assert_eq!(entity.deletes.policy.right, DeletePolicy::Archive);
    assert_eq!(entity.deletes.max_percent.to_string(), "2.5");
    assert_eq!(entity.deletes.archive_marks.right.len(), 1);
    assert_eq!(entity.conflicts.skew_seconds, 5);
}

#[test]
fn given_an_expression_for_an_option_when_it_names_a_label_or_an_id_then_it_translates() {
    let text = "entity = \"deal\"\nleft = { module = \"Deals\" }\nright = { module = \"deals\" }\ncreate = \"none\"\n\
         [fields]\nname = { left = \"Deal_Name\", right = \"title\" }\n\
         status = { right = \"status\", expression = \"'won'\" }\n\
         stage = { right = \"stage_id\", expression = \"'Demo Scheduled'\" }\n";
    let (entity, _) = compile_text(text).unwrap();
    let cases = [
        ("an ID", "status", "won", Some("won")),
        ("a label", "status", "Won", Some("won")),
        ("a full label", "stage", "Sales / Demo Scheduled", Some("3")),
        ("a label without its parent", "stage", "Demo Scheduled", Some("3")),
        ("neither", "status", "gone", None),
    ];
    for (case, name, computed, expected) in cases {
        let rule = field(&entity, name);
        let Relation::Option { map } = &rule.relation else { panic!("{case}: no option") };

        let stored = map.to_right.get(computed).map(String::as_str);

        assert_eq!((stored, map.open), (expected, false), "{case}");
        let nobody = crate::engine::relation::testing::Numbered;
        if let Some(stored) = expected {
            assert!(rule.agree(&nobody, &computed.into(), &stored.into()), "{case}");
        }
    }
}

#[test]
fn given_a_mapping_when_one_field_changes_then_only_its_fingerprint_does() {
    let one = contact(
        "[fields]\na = { left = \"Title\", right = \"job_title\" }\nb = { left = \"First_Name\", right = \"first_name\" }",
    );
    let other = one.replace("\"job_title\"", "\"Greeting\"");

    let (before, _) = compile_text(&one).unwrap();
    let (after, _) = compile_text(&other).unwrap();

    assert_ne!(field(&before, "a").fingerprint, field(&after, "a").fingerprint);
    assert_eq!(field(&before, "b").fingerprint, field(&after, "b").fingerprint);
    assert_eq!(before.scope_fingerprint, after.scope_fingerprint);
}

#[test]
fn given_filters_when_parsed_then_they_choose_the_records_they_say() {
    let record = |email: &str, source: &str, revenue: i64| -> BTreeMap<_, _> {
        [
            ("Email".into(), Value::text(email)),
            ("Lead_Source".into(), Value::text(source)),
            ("Annual_Revenue".into(), Value::number(revenue.into())),
            ("Email_Opt_Out".into(), Value::Bool(revenue == 0)),
            ("Date_of_Birth".into(), Value::Date("1990-05-06".parse().unwrap())),
        ]
        .into()
    };
    let rich = record("a@x.de", "Web Download", 200);
    let poor = record("", "Trade Show", 0);
    let cases = [
        ("Email is not null", true, false),
        ("Email is null", false, true),
        (
            "Annual_Revenue > 100 and (\"Lead Source\" = 'Web Download' or Email is null)",
            true,
            false,
        ),
        ("Lead_Source != 'web download'", false, true),
        ("Lead_Source in ('Web Download', 'Trade Show')", true, true),
        ("not Annual_Revenue >= 200", false, true),
        ("Annual_Revenue <= 200.00", true, true),
        ("Email_Opt_Out = true", false, true),
        ("Date_of_Birth < 1990-05-07 and Date_of_Birth >= '1990-05-06'", true, true),
        ("Email = 'it''s'", false, false),
    ];

    for (text, first, second) in cases {
        let filter: Filter = super::filter::parse(text, &zoho("Contacts")).expect(text);
        assert_eq!((filter.matches(&rich), filter.matches(&poor)), (first, second), "{text}");
    }
}

#[test]
fn given_the_shipped_sets_when_compiled_against_standard_modules_then_they_pass() {
    let mut entities = Vec::new();
    let mut report = String::new();
    for (name, text) in SHIPPED {
        match compile_text(text) {
            Ok((entity, warnings)) => {
                for warning in &warnings {
                    let _ = writeln!(report, "{name}: {warning}");
                }
                entities.push(entity);
            }
            Err(found) => panic!(
                "{name}: {}",
                found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
            ),
        }
    }

    insta::assert_snapshot!(report);
    let (sequence, deferred) = order(&entities);
    let names: Vec<_> = sequence.iter().map(|index| entities[*index].name.as_str()).collect();
    assert_eq!(
        names,
        [
            "account",
            "contact",
            "deal",
            "product",
            "task",
            "event",
            "contact_note",
            "deal_note",
            "lead"
        ]
    );
    assert_eq!(deferred, []);
}

#[test]
fn given_the_shipped_account_when_observed_then_its_address_is_one_line() {
    let (entity, _) = compile_text(SHIPPED[0].1).unwrap();
    let mut fields: BTreeMap<_, _> =
        entity.remote_fields(Side::Left).into_iter().map(|field| (field, Value::Empty)).collect();
    fields.insert("Billing_Street".into(), "Main St 1".into());
    fields.insert("Billing_City".into(), "Tallinn".into());
    let record = RemoteRecord {
        id: RecordId::new("1"),
        modified_at: None,
        fields,
        archived: false,
        raw: None,
    };

    let observation = normalize(&entity, Side::Left, &record, None);

    assert_eq!(observation.fields["address"], Value::text("Main St 1, Tallinn"));
}

#[test]
fn given_references_in_a_circle_when_ordered_then_the_closing_ones_come_second() {
    let text = |entity: &str, target: &str| {
        contact(&format!("[fields]\nlink = {{ left = \"Account_Name\", right = \"org_id\", reference = \"{target}\" }}"))
            .replace("entity = \"contact\"", &format!("entity = \"{entity}\""))
    };
    let entities: Vec<_> =
        [("deal", "contact"), ("contact", "account"), ("account", "deal"), ("lead", "lead")]
            .iter()
            .map(|(entity, target)| compile_text(&text(entity, target)).unwrap().0)
            .collect();

    let (sequence, deferred) = order(&entities);

    assert_eq!(sequence, [3, 0, 2, 1], "the self-reference waits for nobody");
    let deferred: Vec<_> = deferred.iter().map(|(entity, _)| entity.as_str()).collect();
    assert_eq!(deferred, ["lead", "deal"]);
}

#[test]
fn given_live_metadata_when_drafted_then_the_draft_parses_and_names_what_fits() {
    let text = draft(&EntityName::new("contact"), &zoho("Contacts"), &pipedrive("persons"));

    parse("draft.toml", &text).unwrap();
    insta::assert_snapshot!(text);
}
