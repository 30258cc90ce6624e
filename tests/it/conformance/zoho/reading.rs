//! What Zoho alone does when it is read.

use super::*;

#[tokio::test]
async fn given_more_fields_than_a_call_may_name_when_listed_then_all_are_there() {
    let world = ZohoWorld::start().await;
    let names: Vec<String> = (0..60).map(|n| format!("Extra_{n}")).collect();
    for name in &names {
        world.server.add_field("Contacts", Field::new(name, FieldType::Text));
    }
    for person in ["Ada", "Bea", "Cid"] {
        let id = world.add(person);
        let values = names.iter().map(|name| (name.clone(), json!(format!("{person} {name}"))));
        world.server.edit("Contacts", number(&id), Json::Object(values.collect()));
    }
    let fields: Vec<RemoteField> = names.iter().map(|name| name.as_str().into()).collect();
    let module = ModuleName::from("Contacts");

    let (mut records, mut key) = (Vec::new(), None);
    loop {
        let request = ListRequest {
            module: &module,
            fields: &fields,
            since: None,
            order: Order::Id,
            page: key.as_ref(),
        };
        let page = world.connector.list(&request).await.unwrap();
        assert!(page.undecodable.is_empty());
        records.extend(page.records);
        key = page.next;
        if key.is_none() {
            break;
        }
    }

    assert_eq!(records.len(), 3);
    for (record, person) in records.iter().zip(["Ada", "Bea", "Cid"]) {
        assert_eq!(record.fields.len(), 60);
        assert_eq!(record.fields["Extra_59"], format!("{person} Extra_59").as_str().into());
    }
}

#[tokio::test]
async fn given_an_old_page_key_when_listed_then_the_scan_must_start_again() {
    let world = ZohoWorld::start().await;
    for name in ["Ada", "Bea", "Cid"] {
        world.add(name);
    }
    let first = world.list("Contacts", &["Last_Name"], None).await;
    world.clock.advance(TimeDelta::hours(25));

    let (module, fields) = (ModuleName::from("Contacts"), remote(&["Last_Name"]));
    let page = first.next.as_ref();
    let request =
        ListRequest { module: &module, fields: &fields, since: None, order: Order::Id, page };
    let error = world.connector.list(&request).await.unwrap_err();

    assert_eq!(error.kind, ErrorKind::PageExpired);
}

#[tokio::test]
async fn given_long_rich_text_when_listed_then_it_is_left_for_a_read_that_gets_it_whole() {
    let world = ZohoWorld::start().await;
    world.server.add_field("Contacts", Field::new("Story", FieldType::RichText));
    for length in [499, 500, 900] {
        let story = "x".repeat(length);
        world.server.add("Contacts", json!({ "Last_Name": "Ada", "Story": story }));
    }

    let page = world.list("Contacts", &["Story"], None).await;

    assert_eq!(page.records[0].fields["Story"], "x".repeat(499).as_str().into());
    assert_eq!(page.undecodable[0].reason, "cut text in `Story`");
    for row in world.server.all("Contacts") {
        let id = RecordId::new(row["id"].as_str().unwrap());
        let record = world.fetch("Contacts", &id, &["Story"]).await;
        assert_eq!(record.fields["Story"], row["Story"].as_str().unwrap().into());
    }
}

#[tokio::test]
async fn given_a_converted_lead_when_read_then_it_is_gone_and_known_by_its_contact() {
    let world = ZohoWorld::start().await;
    let lead = world.server.add("Leads", json!({ "Last_Name": "Ada", "Company": "Acme" }));
    let start = world.clock.now();
    world.wait(60);
    let body = json!({ "data": [{}] });
    let answer = world.post(&format!("/crm/v8/Leads/{lead}/actions/convert"), &body);
    let contact = answer["data"][0]["details"]["Contacts"]["id"].as_str().unwrap().to_owned();

    let whole = world.list("Leads", &["Last_Name"], None).await;
    let delta = world.list("Leads", &["Last_Name"], Some(start)).await;
    let probe = world.connector.probe(&"Leads".into(), &text(lead), &[]).await.unwrap();

    assert!(whole.records.is_empty() && whole.undecodable.is_empty());
    assert_eq!(delta.undecodable[0].reason, "converted");
    let Probe::Deleted { converted_to, .. } = probe else { panic!("{probe:?}") };
    assert_eq!(converted_to, Some(RecordId::new(contact)));
}

#[tokio::test]
async fn given_no_right_to_a_module_when_read_then_it_is_forbidden_and_not_empty() {
    let world = ZohoWorld::start().await;
    let id = world.add("Ada");
    let module = ModuleName::from("Contacts");
    world.connector.describe(&module).await.unwrap();
    world.server.set_access("Contacts", Access::Forbidden);

    let probe = world.connector.probe(&module, &id, &[]).await.unwrap();
    let fetch = world.connector.fetch(&module, &[id], &[]).await.unwrap_err();

    assert_eq!(probe, Probe::Forbidden);
    assert_eq!(fetch.recovery(), Recovery::Quarantine);
}

#[tokio::test]
async fn given_a_task_of_a_module_that_is_not_mapped_when_read_then_its_parts_are_empty() {
    let world = ZohoWorld::start().await;
    let lead = world.server.add("Leads", json!({ "Last_Name": "Ada" }));
    let about = json!({ "id": lead.to_string() });
    let values = json!({ "Subject": "Call", "What_Id": about, "$se_module": "Leads" });
    let task = text(world.server.add("Tasks", values));

    let read = world.fetch("Tasks", &task, &["What_Id.Deals", "What_Id.Accounts"]).await;

    assert_eq!(read.fields["What_Id.Deals"], Value::Empty);
    assert_eq!(read.fields["What_Id.Accounts"], Value::Empty);
}

#[tokio::test]
async fn given_cut_text_that_cannot_be_completed_when_fetched_then_it_is_reported_and_not_taken() {
    let world = ZohoWorld::start().await;
    world.server.add_field("Contacts", Field::new("Story", FieldType::RichText));
    let story = "x".repeat(900);
    let id = text(world.server.add("Contacts", json!({ "Last_Name": "Ada", "Story": story })));
    let body = r#"{"code":"NOT_SUPPORTED","details":{},"message":"no","status":"error"}"#;
    let refusal =
        Fault::Answer { status: 400, content_type: "application/json", body: body.into() };
    world.faults().on("GET /crm/v8/Contacts/actions/fetch_full_data", 0, 2, refusal);

    let fields = remote(&["Story"]);
    let page = world.connector.fetch(&"Contacts".into(), &[id], &fields).await.unwrap();

    assert!(page.records.is_empty());
    assert_eq!(page.undecodable[0].reason, "cut text in `Story`");
}
