//! Administrators at work: fields and options that go, shrink or change their names while we sync.

use crmsync::service::Exit;
use crmsync_simulator::zoho::{Field, FieldType};
use serde_json::{Value, json};

use crate::world::{Setup, World, shipped};

/// Longer than the connectors remember metadata.
const METADATA_AGES: i64 = 4_000;

/// One contact known to both sides, with a text and a choice of the company's own.
struct Company {
    world: World,
    contact: u64,
    person: i64,
    nickname: String,
    tier: String,
    options: Vec<i64>,
}

impl Company {
    async fn start() -> Self {
        let fields = "\nnickname = { left = \"Nickname\", right = \"Nickname\" }\ntier = { left = \"Tier\", right = \"Tier\" }\n\n[groups]";
        let mut mappings = shipped(&["account.toml", "contact.toml"]);
        mappings[1].1 = mappings[1].1.replace("[groups]", fields);
        let world = World::with(Setup { mappings, ..Setup::default() }).await;
        let (zoho, pipedrive) = (&world.sandbox.zoho, &world.sandbox.pipedrive);
        zoho.add_field("Contacts", Field::new("Nickname", FieldType::Text).with_length(50));
        let options = [("Gold", "Gold"), ("Silver", "Silver")];
        zoho.add_field("Contacts", Field::new("Tier", FieldType::Picklist).with_options(&options));
        let nickname = pipedrive.add_field("persons", "Nickname", "varchar", &[]);
        let tier = pipedrive.add_field("persons", "Tier", "enum", &["Gold", "Silver"]);
        let contact = json!({ "First_Name": "Ada", "Last_Name": "Byron", "Email": "ada@example.com", "Nickname": "Countess", "Tier": "Gold" });
        let contact = zoho.add("Contacts", contact);
        world.settle().await;
        let person = pipedrive.all("persons")[0]["id"].as_i64().unwrap();
        let gold = pipedrive.get("persons", person).unwrap()["custom_fields"][&tier].clone();
        let gold = gold.as_i64().or_else(|| gold["id"].as_i64()).unwrap();
        Self { world, contact, person, nickname, tier, options: vec![gold, gold + 1] }
    }

    fn zoho(&self, field: &str) -> Value {
        self.world.sandbox.zoho.get("Contacts", self.contact).unwrap()[field].clone()
    }

    fn person(&self) -> Value {
        self.world.sandbox.pipedrive.get("persons", self.person).unwrap()
    }

    fn custom(&self, code: &str) -> Value {
        self.person()["custom_fields"][code].clone()
    }

    fn edit_both(&self, mark: &str) {
        self.world.sandbox.zoho.edit("Contacts", self.contact, json!({ "Last_Name": mark }));
        let emails = json!([{ "value": format!("{mark}@example.com"), "primary": true }]);
        self.world.sandbox.pipedrive.edit("persons", self.person, json!({ "emails": emails }));
    }

    fn flowed(&self, mark: &str) -> bool {
        self.person()["last_name"] == mark && self.zoho("Email") == format!("{mark}@example.com")
    }
}

#[tokio::test]
async fn given_a_mapped_field_that_is_gone_when_synced_then_it_is_not_read_as_empty_and_the_error_names_the_line()
 {
    for zoho_loses_it in [true, false] {
        let company = Company::start().await;
        let world = &company.world;
        if zoho_loses_it {
            world.sandbox.zoho.remove_field("Contacts", "Nickname");
        } else {
            assert!(world.sandbox.pipedrive.delete_field("persons", &company.nickname));
        }
        company.edit_both("first");

        // While metadata is remembered: the rest may flow, or the run says why not.
        let remembered = world.try_sync().await;
        world.advance(METADATA_AGES);
        let known = world.try_sync().await;

        let kept = if zoho_loses_it {
            company.custom(&company.nickname)
        } else {
            company.zoho("Nickname")
        };
        assert_eq!(kept, "Countess", "Zoho loses it: {zoho_loses_it}");
        match remembered {
            Ok(report) => assert!(
                company.flowed("first"),
                "Zoho loses it: {zoho_loses_it}: {:#?}",
                report.plan
            ),
            Err(error) => assert_eq!(error.exit(), Exit::Config, "{error}"),
        }
        let error = known.expect_err("a mapped field is gone");
        assert_eq!(error.exit(), Exit::Config);
        let text = error.to_string();
        assert!(text.contains("contact.toml:") && text.contains("Nickname"), "{text}");
    }
}

#[tokio::test]
async fn given_a_field_that_gets_shorter_when_synced_then_the_rest_flows_and_nothing_is_cut_on_the_other_side()
 {
    let company = Company::start().await;
    let world = &company.world;
    world.sandbox.zoho.change_field("Contacts", "Nickname", |field| field.length = 10);
    world.advance(METADATA_AGES);
    let name = "A very long nickname";
    world.sandbox.pipedrive.edit(
        "persons",
        company.person,
        json!({ "custom_fields": { (&company.nickname): name } }),
    );
    company.edit_both("first");

    for _ in 0..3 {
        world.sync().await;
    }

    assert!(company.flowed("first"), "{:#?}", world.open_rows().await);
    assert_eq!(company.custom(&company.nickname), name);
}

#[tokio::test]
async fn given_a_field_with_a_new_name_in_pipedrive_when_synced_then_its_value_is_not_lost() {
    let company = Company::start().await;
    let world = &company.world;
    assert!(world.sandbox.pipedrive.rename_field("persons", &company.nickname, "Alias"));
    company.edit_both("first");

    let _ = world.try_sync().await;
    world.advance(METADATA_AGES);
    let error = world.try_sync().await.expect_err("no field of that name");

    assert_eq!(error.exit(), Exit::Config);
    assert_eq!(
        (company.zoho("Nickname"), company.custom(&company.nickname)),
        (json!("Countess"), json!("Countess"))
    );
    world.sandbox.pipedrive.rename_field("persons", &company.nickname, "Nickname");
    world.advance(METADATA_AGES);
    world.settle().await;
    assert!(company.flowed("first"));
}

#[tokio::test]
async fn given_an_option_with_a_new_name_when_synced_then_no_choice_is_blanked_and_the_rest_flows()
{
    for zoho_renames in [true, false] {
        let company = Company::start().await;
        let world = &company.world;
        if zoho_renames {
            world.sandbox.zoho.rename_option("Contacts", "Tier", "Gold", "Platinum");
        } else {
            assert!(world.sandbox.pipedrive.rename_option(
                "persons",
                &company.tier,
                company.options[0],
                "Platinum"
            ));
        }
        for (mark, pause) in [("first", 0), ("second", METADATA_AGES), ("third", 8 * 86_400)] {
            world.advance(pause);
            company.edit_both(mark);
            world.sync().await;

            assert!(
                company.flowed(mark),
                "Zoho renames: {zoho_renames}, {mark}: {:#?}",
                world.open_rows().await
            );
            assert!(!company.zoho("Tier").is_null(), "Zoho renames: {zoho_renames}, {mark}");
            assert!(
                !company.custom(&company.tier).is_null(),
                "Zoho renames: {zoho_renames}, {mark}"
            );
        }
    }
}

#[tokio::test]
async fn given_an_option_that_is_gone_in_pipedrive_when_synced_then_the_choice_is_not_blanked_in_zoho_and_the_rest_flows()
 {
    let company = Company::start().await;
    let world = &company.world;
    assert!(world.sandbox.pipedrive.remove_option("persons", &company.tier, company.options[1]));

    // Someone chooses in Zoho what Pipedrive does not know any more.
    world.sandbox.zoho.edit("Contacts", company.contact, json!({ "Tier": "Silver" }));
    for (mark, pause) in [("first", 0), ("second", METADATA_AGES)] {
        world.advance(pause);
        company.edit_both(mark);
        let report = world.sync().await;
        world.sync().await;

        assert!(company.flowed(mark), "{mark}: {:#?}", world.open_rows().await);
        assert_eq!(company.zoho("Tier"), "Silver", "{mark}");
        assert_eq!(report.exit, Exit::Open, "{mark}");
    }
}
