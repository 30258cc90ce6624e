//! Every shipped mapping at work: products, tasks, meetings and notes beside accounts, contacts and deals.

use crmsync::service::Exit;
use crmsync_simulator::zoho::User;
use serde_json::{Value, json};

use crate::world::World;

/// A contact, an account and a deal that both sides know: ids in Zoho and in Pipedrive.
struct Company {
    world: World,
    account: (u64, i64),
    contact: (u64, i64),
    deal: (u64, i64),
}

impl Company {
    async fn start() -> Self {
        let world = World::start().await;
        let zoho = &world.sandbox.zoho;
        let account =
            zoho.add("Accounts", json!({ "Account_Name": "Alster", "Billing_City": "Hamburg" }));
        let contact = zoho.add("Contacts", json!({ "First_Name": "Ada", "Last_Name": "Byron", "Email": "ada@example.com", "Account_Name": link(account) }));
        let deal = zoho.add("Deals", json!({ "Deal_Name": "Pilot", "Stage": "Qualification", "Amount": 100, "Closing_Date": "2026-12-01", "Account_Name": link(account), "Contact_Name": link(contact) }));
        world.settle().await;
        let of = |entity: &str| world.sandbox.pipedrive.all(entity)[0]["id"].as_i64().unwrap();
        let (organization, person, theirs) = (of("organizations"), of("persons"), of("deals"));
        Self {
            account: (account, organization),
            contact: (contact, person),
            deal: (deal, theirs),
            world,
        }
    }

    fn in_zoho(&self, module: &str, field: &str, value: &str) -> Value {
        let all = self.world.sandbox.zoho.all(module);
        let one = all.iter().find(|one| one[field] == value);
        one.unwrap_or_else(|| panic!("no {value} in Zoho's {module}: {all:#?}")).clone()
    }

    fn in_pipedrive(&self, entity: &str, field: &str, value: &str) -> Value {
        let all = self.world.sandbox.pipedrive.all(entity);
        let one = all.iter().find(|one| one[field] == value);
        one.unwrap_or_else(|| panic!("no {value} in Pipedrive's {entity}: {all:#?}")).clone()
    }

    /// The last run of a settled route: clean, and without a write.
    async fn rest(&self) {
        self.world.settle().await;
        self.world.writes();
        let report = self.world.sync().await;
        assert_eq!(self.world.writes(), 0, "{:#?}", report.plan.ops);
        assert_eq!(report.exit, Exit::Clean, "{:#?}", self.world.open_rows().await);
    }
}

fn link(id: u64) -> Value {
    json!({ "id": id.to_string() })
}

fn parent(module: &str, id: u64) -> Value {
    json!({ "id": id.to_string(), "module": { "api_name": module } })
}

fn id(record: &Value) -> u64 {
    record["id"].as_str().unwrap().parse().unwrap()
}

fn number(record: &Value) -> i64 {
    record["id"].as_i64().unwrap()
}

#[tokio::test]
async fn given_linked_parents_when_synced_then_references_point_to_counterparts() {
    let company = Company::start().await;

    let person = company.world.sandbox.pipedrive.get("persons", company.contact.1).unwrap();
    let deal = company.world.sandbox.pipedrive.get("deals", company.deal.1).unwrap();

    assert_eq!(person["org_id"], company.account.1);
    assert_eq!(
        (&deal["org_id"], &deal["person_id"]),
        (&json!(company.account.1), &json!(company.contact.1))
    );
    company.rest().await;
}

#[tokio::test]
async fn given_products_on_both_sides_when_synced_then_both_know_them_and_later_edits() {
    let company = Company::start().await;
    let (zoho, pipedrive) = (&company.world.sandbox.zoho, &company.world.sandbox.pipedrive);
    zoho.add(
        "Products",
        json!({ "Product_Name": "Sensor", "Product_Code": "S-1", "Product_Active": true }),
    );
    pipedrive.add("products", json!({ "name": "Gateway", "code": "G-1" }));
    company.rest().await;

    let sensor = company.in_pipedrive("products", "code", "S-1");
    let gateway = company.in_zoho("Products", "Product_Code", "G-1");
    assert_eq!((&sensor["name"], &gateway["Product_Name"]), (&json!("Sensor"), &json!("Gateway")));

    pipedrive.edit("products", number(&sensor), json!({ "name": "Sensor II" }));
    zoho.edit(
        "Products",
        id(&gateway),
        json!({ "Product_Name": "Gateway II", "Product_Active": false }),
    );
    company.rest().await;

    assert_eq!(company.in_zoho("Products", "Product_Code", "S-1")["Product_Name"], "Sensor II");
    let gateway = company.in_pipedrive("products", "code", "G-1");
    assert_eq!(
        (&gateway["name"], &gateway["is_linkable"]),
        (&json!("Gateway II"), &json!(false)),
        "{gateway:#}"
    );
}

#[tokio::test]
async fn given_tasks_and_activities_when_synced_then_each_has_its_counterpart_and_its_person() {
    let company = Company::start().await;
    let (zoho, pipedrive) = (&company.world.sandbox.zoho, &company.world.sandbox.pipedrive);
    zoho.add("Tasks", json!({ "Subject": "Call Ada", "Due_Date": "2026-04-01", "Status": "Not Started", "Who_Id": link(company.contact.0) }));
    pipedrive.add("activities", json!({ "subject": "Write to Ada", "type": "task", "due_date": "2026-04-02", "person_id": company.contact.1 }));
    pipedrive.add(
        "activities",
        json!({ "subject": "A call is no task", "type": "call", "due_date": "2026-04-03" }),
    );
    company.rest().await;

    let activity = company.in_pipedrive("activities", "subject", "Call Ada");
    assert_eq!(
        (&activity["type"], &activity["due_date"], &activity["done"]),
        (&json!("task"), &json!("2026-04-01"), &json!(false))
    );
    assert_eq!(activity["person_id"], company.contact.1, "{activity:#}");
    let task = company.in_zoho("Tasks", "Subject", "Write to Ada");
    assert_eq!(task["Who_Id"]["id"], company.contact.0.to_string(), "{task:#}");
    assert_eq!(zoho.count("Tasks"), 2);

    pipedrive.edit("activities", number(&activity), json!({ "done": true }));
    zoho.edit("Tasks", id(&task), json!({ "Status": "Completed", "Due_Date": "2026-04-09" }));
    company.rest().await;

    assert_eq!(company.in_zoho("Tasks", "Subject", "Call Ada")["Status"], "Completed");
    let activity = company.in_pipedrive("activities", "subject", "Write to Ada");
    assert_eq!((&activity["done"], &activity["due_date"]), (&json!(true), &json!("2026-04-09")));
    // Completed and open again: the first listed partner is the way back.
    pipedrive.edit("activities", number(&activity), json!({ "done": false }));
    company.rest().await;
    assert_eq!(company.in_zoho("Tasks", "Subject", "Write to Ada")["Status"], "Not Started");
}

#[tokio::test]
async fn given_a_meeting_in_zoho_when_synced_then_pipedrive_has_it_and_its_own_edits_do_not_flow_back()
 {
    let company = Company::start().await;
    let (zoho, pipedrive) = (&company.world.sandbox.zoho, &company.world.sandbox.pipedrive);
    zoho.add("Events", json!({ "Event_Title": "Kick-off", "Start_DateTime": "2026-04-01T10:00:00+02:00", "End_DateTime": "2026-04-01T11:00:00+02:00", "Who_Id": link(company.contact.0) }));
    pipedrive.add(
        "activities",
        json!({ "subject": "Lunch", "type": "meeting", "due_date": "2026-04-03" }),
    );
    company.rest().await;

    let meeting = company.in_pipedrive("activities", "subject", "Kick-off");
    assert_eq!((&meeting["type"], &meeting["due_date"]), (&json!("meeting"), &json!("2026-04-01")));
    assert_eq!(zoho.count("Events"), 1);
}

#[tokio::test]
async fn given_notes_on_contacts_and_deals_when_synced_then_each_side_has_them_once_and_in_place() {
    let company = Company::start().await;
    let (zoho, pipedrive) = (&company.world.sandbox.zoho, &company.world.sandbox.pipedrive);
    zoho.add("Notes", json!({ "Note_Content": "Contact, from Zoho", "Parent_Id": parent("Contacts", company.contact.0) }));
    zoho.add(
        "Notes",
        json!({ "Note_Content": "Deal, from Zoho", "Parent_Id": parent("Deals", company.deal.0) }),
    );
    zoho.add("Notes", json!({ "Note_Content": "Account: not mapped", "Parent_Id": parent("Accounts", company.account.0) }));
    pipedrive.add(
        "notes",
        json!({ "content": "Person, from Pipedrive", "person_id": company.contact.1 }),
    );
    pipedrive.add("notes", json!({ "content": "Deal, from Pipedrive", "deal_id": company.deal.1 }));
    company.rest().await;

    assert_eq!((zoho.count("Notes"), pipedrive.count("notes")), (5, 4));
    let at = |content: &str| company.in_zoho("Notes", "Note_Content", content);
    assert_eq!(at("Person, from Pipedrive")["Parent_Id"]["id"], company.contact.0.to_string());
    assert_eq!(at("Deal, from Pipedrive")["Parent_Id"]["id"], company.deal.0.to_string());
    assert_eq!(
        company.in_pipedrive("notes", "content", "Contact, from Zoho")["person_id"],
        company.contact.1
    );
    let deals = company.in_pipedrive("notes", "content", "Deal, from Zoho");
    assert_eq!(deals["deal_id"], company.deal.1);

    pipedrive.edit(
        "notes",
        number(&deals),
        json!({ "content": "Deal, from Zoho, edited in Pipedrive" }),
    );
    zoho.edit(
        "Notes",
        id(&at("Person, from Pipedrive")),
        json!({ "Note_Content": "Person, edited in Zoho" }),
    );
    company.rest().await;

    at("Deal, from Zoho, edited in Pipedrive");
    company.in_pipedrive("notes", "content", "Person, edited in Zoho");
    assert_eq!((zoho.count("Notes"), pipedrive.count("notes")), (5, 4));
}

#[tokio::test]
async fn given_owners_with_equal_addresses_when_changed_on_either_side_then_the_other_follows() {
    let company = Company::start().await;
    let (zoho, pipedrive) = (&company.world.sandbox.zoho, &company.world.sandbox.pipedrive);
    let tz = chrono_tz::Europe::Berlin;
    let eve = zoho.add_user(User::new("Eve", "Example", "eve@example.com", tz));
    let theirs = pipedrive.add_user("Eve Example", "Eve@Example.com", "Europe/Berlin");
    let alone = zoho.add_user(User::new("Only", "Zoho", "only@zoho.example", tz));
    company.world.advance(4_000);

    zoho.edit("Contacts", company.contact.0, json!({ "Owner": { "id": eve.to_string() } }));
    pipedrive.edit("organizations", company.account.1, json!({ "owner_id": theirs }));
    company.rest().await;

    assert_eq!(pipedrive.get("persons", company.contact.1).unwrap()["owner_id"], theirs);
    assert_eq!(zoho.get("Accounts", company.account.0).unwrap()["Owner"]["id"], eve.to_string());

    // An owner whom Pipedrive does not know is held; the rest of the record flows.
    zoho.edit(
        "Contacts",
        company.contact.0,
        json!({ "Owner": { "id": alone.to_string() }, "Last_Name": "Lovelace" }),
    );
    company.world.settle().await;
    let person = pipedrive.get("persons", company.contact.1).unwrap();
    assert_eq!((&person["owner_id"], &person["last_name"]), (&json!(theirs), &json!("Lovelace")));
    let codes: Vec<_> =
        company.world.open_rows().await.iter().map(|row| row.code.as_str()).collect();
    assert_eq!(codes, ["UNTRANSLATABLE"]);
}

#[tokio::test]
async fn given_a_stage_that_the_mapping_does_not_know_when_chosen_then_it_is_held_and_the_rest_flows()
 {
    let company = Company::start().await;
    let (zoho, pipedrive) = (&company.world.sandbox.zoho, &company.world.sandbox.pipedrive);
    zoho.change_field("Deals", "Stage", |_| {});
    let before = pipedrive.get("deals", company.deal.1).unwrap()["stage_id"].clone();
    zoho.edit("Deals", company.deal.0, json!({ "Stage": "Negotiation/Review", "Amount": 250.5 }));
    company.rest().await;
    let deal = pipedrive.get("deals", company.deal.1).unwrap();
    assert_ne!(deal["stage_id"], before);
    assert_eq!(deal["value"].as_f64(), Some(250.5));

    zoho.edit("Deals", company.deal.0, json!({ "Stage": "Closed Won" }));
    company.rest().await;
    assert_eq!(pipedrive.get("deals", company.deal.1).unwrap()["status"], "won");
    zoho.edit("Deals", company.deal.0, json!({ "Stage": "Closed Lost" }));
    company.rest().await;
    assert_eq!(pipedrive.get("deals", company.deal.1).unwrap()["status"], "lost");
    zoho.edit("Deals", company.deal.0, json!({ "Stage": "Qualification" }));
    company.rest().await;
    let deal = pipedrive.get("deals", company.deal.1).unwrap();
    assert_eq!((&deal["status"], &deal["stage_id"]), (&json!("open"), &before));
}

#[tokio::test]
async fn given_a_contact_whose_account_changes_when_synced_then_the_person_moves_too() {
    let company = Company::start().await;
    let (zoho, pipedrive) = (&company.world.sandbox.zoho, &company.world.sandbox.pipedrive);
    let new = zoho.add("Accounts", json!({ "Account_Name": "Brandt" }));
    zoho.edit("Contacts", company.contact.0, json!({ "Account_Name": link(new) }));
    company.rest().await;
    let brandt = company.in_pipedrive("organizations", "name", "Brandt");
    assert_eq!(pipedrive.get("persons", company.contact.1).unwrap()["org_id"], brandt["id"]);

    pipedrive.edit("persons", company.contact.1, json!({ "org_id": company.account.1 }));
    company.rest().await;
    assert_eq!(
        zoho.get("Contacts", company.contact.0).unwrap()["Account_Name"]["id"],
        company.account.0.to_string()
    );

    // Taken away on one side: taken away on the other.
    pipedrive.edit("persons", company.contact.1, json!({ "org_id": null }));
    company.rest().await;
    assert_eq!(zoho.get("Contacts", company.contact.0).unwrap()["Account_Name"], Value::Null);
}
