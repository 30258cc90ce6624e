//! What Zoho alone does when it is written to.

use crmsync::connectors::{ConnectorError, Operation};

use super::*;

#[tokio::test]
async fn given_missing_statuses_when_created_then_no_row_is_given_anothers_id() {
    let world = ZohoWorld::start().await;
    let rows = ["Ada", "Bea", "Cid"].map(|name| one("Last_Name", name));
    world.faults().on_next("POST /crm/v8/Contacts", Fault::StatusesMissing { kept: 2 });

    let outcomes = world.connector.create(&"Contacts".into(), &rows).await;

    let doubts = outcomes.iter().map(|row| row.as_ref().map_err(ConnectorError::recovery).err());
    assert_eq!(doubts.collect::<Vec<_>>(), [Some(Recovery::Reread); 3]);
    assert_eq!(world.names(), ["Ada", "Bea", "Cid"]);
}

#[tokio::test]
async fn given_missing_statuses_when_updated_then_each_row_told_of_is_settled() {
    let world = ZohoWorld::start().await;
    let ids = ["Ada", "Bea"].map(|name| world.add(name));
    let mut rows = Vec::new();
    for id in &ids {
        let current = world.fetch("Contacts", id, &["Last_Name"]).await;
        let fields = one("Department", "Sales");
        rows.push(UpdateRow { id: id.clone(), fields, current, unmodified_since: None });
    }
    world.faults().on_next("PUT /crm/v8/Contacts", Fault::StatusesMissing { kept: 1 });

    let outcomes = world.connector.update(&"Contacts".into(), &rows).await;

    assert_eq!(outcomes[0].as_ref().unwrap().id, ids[0]);
    assert_eq!(outcomes[1].as_ref().unwrap_err().recovery(), Recovery::Reread);
}

#[tokio::test]
async fn given_a_task_when_written_and_read_then_its_record_is_seen_under_its_own_module() {
    let world = ZohoWorld::start().await;
    let deal =
        text(world.server.add("Deals", json!({ "Deal_Name": "Big", "Stage": "Qualification" })));
    let mut row = one("Subject", "Call back");
    row.insert("What_Id.Deals".into(), Value::Reference(deal.clone()));
    row.insert("What_Id.Accounts".into(), Value::Empty);

    let task = world.connector.create(&"Tasks".into(), &[row]).await.remove(0).unwrap().id;

    let fields = ["Subject", "What_Id.Deals", "What_Id.Accounts"];
    let read = world.fetch("Tasks", &task, &fields).await;
    assert_eq!(read.fields["What_Id.Deals"], Value::Reference(deal.clone()));
    assert_eq!(read.fields["What_Id.Accounts"], Value::Empty);
    let listed = world.list("Tasks", &["Subject", "What_Id.Deals"], None).await;
    assert_eq!(listed.records[0].fields, {
        let mut fields = one("Subject", "Call back");
        fields.insert("What_Id.Deals".into(), Value::Reference(deal.clone()));
        fields
    });
    let fields = one("What_Id.Deals", Value::Empty);
    let row = UpdateRow { id: task.clone(), fields, current: read, unmodified_since: None };
    world.connector.update(&"Tasks".into(), &[row]).await.remove(0).unwrap();
    let read = world.fetch("Tasks", &task, &["What_Id.Deals"]).await;
    assert_eq!(read.fields["What_Id.Deals"], Value::Empty);
}

#[tokio::test]
async fn given_a_note_when_written_and_listed_then_it_hangs_on_its_contact() {
    let world = ZohoWorld::start().await;
    let contact = world.add("Ada");
    let mut row = one("Note_Content", "Likes tea");
    row.insert("Parent_Id.Contacts".into(), Value::Reference(contact.clone()));

    world.connector.create(&"Notes".into(), &[row]).await.remove(0).unwrap();

    let fields = ["Note_Content", "Parent_Id.Contacts", "Parent_Id.Deals"];
    let page = world.list("Notes", &fields, None).await;
    assert_eq!(page.records[0].fields["Note_Content"], "Likes tea".into());
    assert_eq!(page.records[0].fields["Parent_Id.Contacts"], Value::Reference(contact));
    assert_eq!(page.records[0].fields["Parent_Id.Deals"], Value::Empty);
}

#[tokio::test]
async fn given_a_locked_record_when_updated_then_it_is_locked_and_others_flow() {
    let world = ZohoWorld::start().await;
    let (locked, free) = (world.add("Ada"), world.add("Bea"));
    let mut rows = Vec::new();
    for id in [&locked, &free] {
        let current = world.fetch("Contacts", id, &["Last_Name"]).await;
        let fields = one("Department", "Sales");
        rows.push(UpdateRow { id: id.clone(), fields, current, unmodified_since: None });
    }
    world.server.lock("Contacts", number(&locked));

    let outcomes = world.connector.update(&"Contacts".into(), &rows).await;

    assert!(matches!(outcomes[0].as_ref().unwrap_err().kind, ErrorKind::Locked(_)));
    assert!(outcomes[1].is_ok());
}

#[tokio::test]
async fn given_a_refused_value_when_created_then_the_error_names_the_field_and_not_the_value() {
    let world = ZohoWorld::start().await;
    let mut row = one("Last_Name", "Ada");
    row.insert("Email".into(), "secret at nowhere".into());

    let error = world.connector.create(&"Contacts".into(), &[row]).await.remove(0).unwrap_err();

    let ErrorKind::Invalid { field, .. } = &error.kind else { panic!("{error}") };
    assert_eq!(field, "Email");
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn given_a_deleted_record_when_restored_then_it_is_present_under_its_id() {
    let world = ZohoWorld::start().await;
    let id = world.add("Ada");
    world.delete(&id);
    let module = ModuleName::from("Contacts");

    let restored = world.connector.restore(&module, &id).await.unwrap();

    assert_eq!(restored.id, id);
    let probe = world.connector.probe(&module, &id, &remote(&["Last_Name"])).await.unwrap();
    assert!(matches!(probe, Probe::Present(_)), "{probe:?}");
}

#[tokio::test]
async fn given_either_status_for_mixed_and_failed_rows_when_created_then_rows_decide() {
    for (mixed, all_failed) in [(207, 400), (200, 202)] {
        let world = ZohoWorld::start().await;
        world.server.set_switches(|switches| {
            switches.mixed_status = mixed;
            switches.all_failed_status = all_failed;
        });
        let module = ModuleName::from("Contacts");
        let (good, bad) = (one("Last_Name", "Ada"), one("Department", "Sales"));

        let mixed = world.connector.create(&module, &[good, bad.clone()]).await;
        let failed = world.connector.create(&module, &[bad]).await;

        assert!(mixed[0].is_ok() && failed.len() == 1);
        for refused in [&mixed[1], &failed[0]] {
            let kind = &refused.as_ref().unwrap_err().kind;
            assert!(matches!(kind, ErrorKind::Invalid { field, .. } if field == "Last_Name"));
        }
    }
}

#[tokio::test]
async fn given_more_rows_than_a_call_takes_when_created_then_all_are_and_the_price_is_known() {
    let world = ZohoWorld::start().await;
    let module = ModuleName::from("Contacts");
    world.connector.describe(&module).await.unwrap();
    let before = world.connector.spent();
    let rows: Vec<_> = (0..123).map(|n| one("Last_Name", format!("Person {n}").as_str())).collect();

    let outcomes = world.connector.create(&module, &rows).await;

    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(world.names().len(), 123);
    let price = world.connector.price(Operation::Create, 123);
    let spent = world.connector.spent();
    assert_eq!(spent.calls - before.calls, price.calls);
    assert_eq!(spent.units - before.units, price.units);
}

#[tokio::test]
async fn given_versions_of_several_records_when_one_moved_on_then_only_it_is_stale() {
    let world = ZohoWorld::start().await;
    let ids = ["Ada", "Bea", "Cid"].map(|name| world.add(name));
    let mut rows = Vec::new();
    for id in &ids {
        let current = world.fetch("Contacts", id, &["Last_Name"]).await;
        let (fields, unmodified_since) = (one("Department", "Sales"), current.modified_at);
        rows.push(UpdateRow { id: id.clone(), fields, current, unmodified_since });
    }
    world.wait(60);
    world.edit(&ids[1], "Beatrix");

    let outcomes = world.connector.update(&"Contacts".into(), &rows).await;

    assert_eq!(outcomes[0].as_ref().unwrap().id, ids[0]);
    assert_eq!(outcomes[1].as_ref().unwrap_err().kind, ErrorKind::Stale);
    assert_eq!(outcomes[2].as_ref().unwrap().id, ids[2]);
}

#[tokio::test]
async fn given_a_lookup_to_nobody_when_updated_then_the_field_is_refused_and_the_record_not_gone() {
    let world = ZohoWorld::start().await;
    let id = world.add("Ada");
    let current = world.fetch("Contacts", &id, &["Last_Name"]).await;
    let fields = one("Account_Name", Value::Reference("999999".into()));
    let row = UpdateRow { id, fields, current, unmodified_since: None };

    let error = world.connector.update(&"Contacts".into(), &[row]).await.remove(0).unwrap_err();

    let ErrorKind::Invalid { field, .. } = &error.kind else { panic!("{error}") };
    assert_eq!(field, "Account_Name");
}
