//! Conversion, merge, clone, tags, notes, the recycle bin, the timeline.

use crmsync_simulator::zoho::{Automation, External, Field, FieldType};
use serde_json::{Value, json};

use crate::desk::Desk;

#[test]
fn given_a_lead_when_converted_then_it_stays_with_links_and_leaves_the_list() {
    let desk = Desk::open();
    let lead = desk.zoho.add("Leads", json!({ "Last_Name": "Muster", "Company": "Acme", "Email": "m@acme.eu", "Designation": "Boss" }));
    let deal = json!({ "Deal_Name": "Big", "Stage": "Qualification", "Amount": 100 });

    let answered = desk
        .post(&format!("/Leads/{lead}/actions/convert"), &json!({ "data": [{ "Deals": deal }] }));

    assert_eq!((answered.status, answered.reply.cost), (200, 5), "{}", answered.body);
    assert_eq!(answered.text("/data/0/details/Contacts/name"), "Muster");
    let contact = desk.zoho.all("Contacts").remove(0);
    assert_eq!((&contact["Title"], &contact["Email"]), (&json!("Boss"), &json!("m@acme.eu")));
    assert_eq!(
        (desk.zoho.count("Accounts"), desk.zoho.all("Deals")[0]["Probability"].as_u64()),
        (1, Some(10))
    );
    assert_eq!(desk.get("/Leads?fields=Email").status, 204);
    assert_eq!(desk.get("/Leads?fields=Email&converted=both").ids(), [lead]);
    assert_eq!(desk.get("/Leads/deleted").status, 204);
    let row = desk.get(&format!("/Leads/{lead}"));
    assert_eq!(
        (row.at("/data/0/Converted__s"), row.text("/data/0/Converted_Contact/name")),
        (&json!(true), "Muster")
    );
    let update = json!({ "data": [{ "id": lead.to_string(), "Email": "x@acme.eu" }] });
    assert_eq!(desk.put("/Leads", &update).code(), "CONVERTED_RECORD");
    let again = desk.post(&format!("/Leads/{lead}/actions/convert"), &json!({ "data": [{}] }));
    assert_eq!(again.code(), "ID_ALREADY_CONVERTED");
}

#[test]
fn given_a_lead_when_its_options_are_asked_for_then_its_likes_are_named() {
    let desk = Desk::open();
    let account = desk.zoho.add("Accounts", json!({ "Account_Name": "Acme" }));
    let contact = desk.zoho.add("Contacts", json!({ "Last_Name": "Muster", "Email": "m@acme.eu" }));
    let lead = json!({ "Last_Name": "Muster", "Company": "Acme", "Email": "m@acme.eu" });
    let lead = desk.zoho.add("Leads", lead);
    let other = desk.zoho.add("Leads", json!({ "Last_Name": "Other", "Company": "New" }));

    let options = desk.get(&format!("/Leads/{lead}/__conversion_options"));
    let no_options = desk.get(&format!("/Leads/{other}/__conversion_options"));
    let wish =
        json!({ "data": [{ "Accounts": { "id": account }, "Contacts": { "id": contact } }] });
    let converted = desk.post(&format!("/Leads/{lead}/actions/convert"), &wish);

    let likes = options.at("/__conversion_options");
    assert_eq!(likes["Contacts"], json!([{ "id": contact.to_string(), "name": "Muster" }]));
    assert_eq!(likes["Accounts"], json!([{ "id": account.to_string(), "name": "Acme" }]));
    assert_eq!(no_options.at("/__conversion_options/Accounts"), &Value::Null);
    assert_eq!(converted.text("/data/0/details/Contacts/id"), contact.to_string());
}

#[test]
fn given_two_contacts_when_merged_then_the_master_lives_and_related_records_move() {
    let desk = Desk::open();
    let master = desk.zoho.add("Contacts", json!({ "Last_Name": "Muster", "Email": "a@x.eu" }));
    let child = desk.zoho.add("Contacts", json!({ "Last_Name": "Muster", "Phone": "+49 1" }));
    let deal = desk.zoho.add("Deals", json!({ "Deal_Name": "D", "Stage": "Qualification", "Contact_Name": { "id": child.to_string() } }));
    desk.zoho.add("Notes", json!({ "Note_Content": "N", "Parent_Id": { "id": child.to_string(), "module": { "api_name": "Contacts" } } }));
    desk.wait(30);

    let body = json!({ "merge": [{ "master_record_fields": [{ "api_name": "Email" }],
        "data": [{ "id": child.to_string(), "_fields": [{ "api_name": "Phone" }] }] }] });
    let answered = desk.post(&format!("/Contacts/{master}/actions/merge"), &body);

    assert_eq!(
        (answered.status, answered.text("/merge/0/code")),
        (201, "SUCCESS"),
        "{}",
        answered.body
    );
    let stored = desk.zoho.get("Contacts", master).unwrap();
    assert_eq!((&stored["Email"], &stored["Phone"]), (&json!("a@x.eu"), &json!("+49 1")));
    assert_eq!(desk.get("/Contacts/deleted").ids(), [child]);
    assert_eq!(desk.zoho.get("Deals", deal).unwrap()["Contact_Name"]["id"], master.to_string());
    assert_eq!(desk.zoho.all("Notes")[0]["Parent_Id"]["id"], master.to_string());
}

#[test]
fn given_a_parent_when_notes_are_written_under_it_then_its_list_shows_them_oldest_first() {
    let desk = Desk::open();
    let contact = desk.zoho.add("Contacts", json!({ "Last_Name": "Muster" }));
    let rows =
        json!({ "data": [{ "Note_Title": "One", "Note_Content": "1" }, { "Note_Content": "2" }] });

    let written = desk.post(&format!("/Contacts/{contact}/Notes"), &rows);
    let old_style = desk.post("/Notes", &json!({ "data": [{ "Note_Content": "3", "Parent_Id": contact.to_string(), "se_module": "Contacts" }] }));
    let listed = desk.get(&format!("/Contacts/{contact}/Notes?fields=Note_Content,Parent_Id"));

    assert_eq!(
        (written.status, old_style.status),
        (201, 201),
        "{} {}",
        written.body,
        old_style.body
    );
    let contents: Vec<&Value> = (0..3).map(|at| &listed.body["data"][at]["Note_Content"]).collect();
    assert_eq!(contents, ["1", "2", "3"]);
    assert_eq!(listed.text("/data/0/Parent_Id/module/api_name"), "Contacts");
    assert_eq!(listed.text("/data/0/Parent_Id/name"), "Muster");
    desk.zoho.change_user(desk.zoho.api_user(), |user| user.admin = false);
    assert_eq!(desk.get("/Notes?fields=Note_Content").code(), "NOT_SUPPORTED");
}

#[test]
fn given_an_activity_when_written_then_it_points_to_the_module_told_beside_it() {
    let desk = Desk::open();
    let account = desk.zoho.add("Accounts", json!({ "Account_Name": "Acme" }));
    let contact = desk.zoho.add("Contacts", json!({ "Last_Name": "Muster" }));
    let task = json!({ "Subject": "Call back", "What_Id": { "id": account.to_string() }, "$se_module": "Accounts", "Who_Id": { "id": contact.to_string() } });
    let call = json!({ "Subject": "Call", "Call_Type": "Outbound", "Call_Start_Time": "2026-03-10T10:00:00+01:00", "Call_Duration": "05:30" });

    let id = desk.post("/Tasks", &json!({ "data": [task] })).id();
    let called = desk.post("/Calls", &json!({ "data": [call] })).id();
    let mut zero = call.clone();
    zero["Call_Duration"] = "00:00".into();

    let row = desk.get(&format!("/Tasks/{id}"));
    assert_eq!(
        (row.text("/data/0/What_Id/name"), row.text("/data/0/$se_module")),
        ("Acme", "Accounts")
    );
    assert_eq!(row.text("/data/0/Who_Id/name"), "Muster");
    assert_eq!(desk.get(&format!("/Calls/{called}")).at("/data/0/Call_Duration_in_seconds"), 330);
    assert_eq!(desk.post("/Calls", &json!({ "data": [zero] })).code(), "INVALID_DATA");
    assert_eq!(
        desk.post("/Tasks/upsert", &json!({ "data": [{ "Subject": "x" }] })).code(),
        "NOT_SUPPORTED"
    );
}

#[test]
fn given_tags_when_added_and_removed_then_the_record_holds_the_rest() {
    let desk = Desk::open();
    let id =
        desk.zoho.add("Contacts", json!({ "Last_Name": "Muster", "Tag": [{ "name": "old" }] }));

    let body = json!({ "tags": [{ "name": "vip" }, { "name": "old" }], "ids": [id.to_string()] });
    let added = desk.post("/Contacts/actions/add_tags", &body);
    let removed = desk.post(
        &format!("/Contacts/{id}/actions/remove_tags"),
        &json!({ "tags": [{ "name": "old" }] }),
    );

    assert_eq!((added.status, removed.status), (200, 200));
    let tags = desk.zoho.get("Contacts", id).unwrap()["Tag"].clone();
    assert_eq!((tags.as_array().unwrap().len(), &tags[0]["name"]), (1, &json!("vip")));
}

#[test]
fn given_the_recycle_bin_when_restored_over_the_api_then_the_record_is_back() {
    let desk = Desk::open();
    let id = desk.zoho.add("Contacts", json!({ "Last_Name": "Muster" }));
    desk.zoho.delete("Contacts", id);

    let bin = desk.get("/settings/recycle_bin");
    let restored = desk.post(&format!("/settings/recycle_bin/{id}/actions/restore"), &Value::Null);

    assert_eq!(bin.text("/recycle_bin/0/module/api_name"), "Contacts");
    assert_eq!(restored.status, 200, "{}", restored.body);
    assert_eq!((desk.zoho.count("Contacts"), desk.get("/Contacts/deleted").status), (1, 204));
}

#[test]
fn given_edits_when_the_timeline_is_read_then_old_and_new_values_stand_in_it() {
    let desk = Desk::open();
    let id = desk.zoho.add("Contacts", json!({ "Last_Name": "Muster" }));
    desk.wait(60);
    desk.put("/Contacts", &json!({ "data": [{ "id": id.to_string(), "Title": "Boss" }] }));

    let answered = desk.get(&format!("/Contacts/{id}/__timeline"));

    assert_eq!(
        (answered.text("/__timeline/0/action"), answered.text("/__timeline/1/action")),
        ("updated", "added")
    );
    assert_eq!(answered.text("/__timeline/0/done_by/name"), "Sync Robot");
    assert_eq!(answered.text("/__timeline/0/audited_time"), "2026-03-10T10:01:00+01:00");
    assert_eq!(
        answered.at("/__timeline/0/field_history/0/_value"),
        &json!({ "old": null, "new": "Boss" })
    );
}

#[test]
fn given_external_ids_when_used_in_place_of_ids_then_records_are_found() {
    let desk = Desk::open();
    for module in ["Contacts", "Accounts"] {
        desk.zoho
            .add_field(module, Field::new("Ext_Id", FieldType::Text).with_external(External::Org));
    }
    desk.post("/Accounts", &json!({ "data": [{ "Account_Name": "Acme", "Ext_Id": "A-17" }] }));
    let header = [("x-external", "Contacts.Ext_Id, Contacts.Account_Name.Ext_Id")];
    let row = json!({ "data": [{ "Last_Name": "M", "Ext_Id": "C-1", "Account_Name": { "Ext_Id": "A-17" } }] });

    let inserted = desk.call("POST", "/Contacts", &header, &row);
    let read = desk.call("GET", "/Contacts/C-1", &header, &Value::Null);
    let updated = desk.call(
        "PUT",
        "/Contacts",
        &header,
        &json!({ "data": [{ "Ext_Id": "C-1", "Title": "Boss" }] }),
    );
    let missing = desk.call(
        "PUT",
        "/Contacts",
        &header,
        &json!({ "data": [{ "Ext_Id": "C-2", "Title": "Boss" }] }),
    );
    let clash = desk.post("/Contacts", &json!({ "data": [{ "Last_Name": "N", "Ext_Id": "C-1" }] }));

    assert_eq!(
        (inserted.status, inserted.text("/data/0/details/Ext_Id")),
        (201, "C-1"),
        "{}",
        inserted.body
    );
    assert_eq!(read.text("/data/0/Account_Name/name"), "Acme");
    assert_eq!(
        (updated.status, missing.code(), clash.code()),
        (200, "INVALID_DATA", "DUPLICATE_DATA")
    );
}

#[test]
fn given_a_subform_when_written_then_rows_change_by_id_and_lists_leave_it_out() {
    let desk = Desk::open();
    desk.zoho.add_field("Contacts", Field::new("Lines", FieldType::Subform));
    let id = desk
        .post(
            "/Contacts",
            &json!({ "data": [{ "Last_Name": "M", "Lines": [{ "Name": "a" }, { "Name": "b" }] }] }),
        )
        .id();
    let rows = desk.get(&format!("/Contacts/{id}")).at("/data/0/Lines").clone();

    let change = json!([{ "id": rows[0]["id"], "Name": "a2" }, { "id": rows[1]["id"], "_delete": null }, { "Name": "c" }]);
    desk.put("/Contacts", &json!({ "data": [{ "id": id, "Lines": change }] }));

    let after = desk.get(&format!("/Contacts/{id}")).at("/data/0/Lines").clone();
    let names: Vec<&Value> = after.as_array().unwrap().iter().map(|row| &row["Name"]).collect();
    assert_eq!(names, ["a2", "c"]);
    assert_eq!(after[0]["id"], rows[0]["id"]);
    assert!(desk.get("/Contacts?fields=Lines,Last_Name").at("/data/0/Lines").is_null());
}

#[test]
fn given_workflows_when_a_record_is_written_then_they_follow_unless_told_not_to() {
    let desk = Desk::open();
    desk.zoho.automation("Contacts", "Department", Automation::Fill("Sales".into()));
    let upper =
        |value: &Value| value.as_str().map_or(Value::Null, |text| text.to_uppercase().into());
    desk.zoho.automation("Contacts", "Title", Automation::Rewrite(std::sync::Arc::new(upper)));
    let row = json!({ "Last_Name": "M", "Title": "boss" });

    let followed = desk.post("/Contacts", &json!({ "data": [row] })).id();
    let quiet = desk.post("/Contacts", &json!({ "data": [row], "trigger": [] })).id();

    let stored = desk.zoho.get("Contacts", followed.parse().unwrap()).unwrap();
    assert_eq!((&stored["Title"], &stored["Department"]), (&json!("BOSS"), &json!("Sales")));
    assert_eq!(desk.zoho.get("Contacts", quiet.parse().unwrap()).unwrap()["Title"], "boss");
    desk.zoho.delay_automations(chrono::TimeDelta::seconds(30));
    let later = desk.post("/Contacts", &json!({ "data": [row] })).id();
    assert_eq!(desk.get(&format!("/Contacts/{later}")).text("/data/0/Title"), "boss");
    desk.wait(30);
    let after = desk.get(&format!("/Contacts/{later}"));
    assert_eq!(
        (after.text("/data/0/Title"), after.text("/data/0/Modified_Time")),
        ("BOSS", "2026-03-10T10:00:30+01:00")
    );
}
