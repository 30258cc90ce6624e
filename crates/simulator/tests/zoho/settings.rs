//! Settings one by one: types of fields, and what a note has besides its fields.

use serde_json::{Value, json};

use crate::desk::Desk;

fn field(desk: &Desk, module: &str, name: &str) -> Value {
    let fields = desk.get(&format!("/settings/fields?module={module}"));
    let fields = fields.body["fields"].as_array().cloned().unwrap_or_default();
    fields.into_iter().find(|field| field["api_name"] == name).unwrap_or_default()
}

#[test]
fn given_reminders_when_their_fields_are_read_then_each_has_the_type_of_its_value() {
    let desk = Desk::open();

    let cases = [
        ("Tasks", "Remind_At", "ALARM"),
        ("Tasks", "Recurring_Activity", "RRULE"),
        ("Events", "Remind_At", "multireminder"),
        ("Events", "Recurring_Activity", "RRULE"),
        ("Calls", "Reminder", "event_reminder"),
    ];

    for (module, name, data_type) in cases {
        assert_eq!(field(&desk, module, name)["data_type"], data_type, "{module}.{name}");
    }
    let task = json!({ "Subject": "Call", "Remind_At": { "ALARM": "ACTION=EMAIL" }, "Recurring_Activity": { "RRULE": "FREQ=DAILY" } });
    let id = desk.post("/Tasks", &json!({ "data": [task] })).id();
    assert_eq!(desk.get(&format!("/Tasks/{id}")).text("/data/0/Remind_At/ALARM"), "ACTION=EMAIL");
    assert_eq!(field(&desk, "Cases", "Case_Number")["auto_number"]["start_number"], 1);
}

#[test]
fn given_a_new_field_when_its_uniqueness_is_spelt_either_way_then_it_is_unique() {
    let desk = Desk::open();

    for (label, unique) in
        [("One", json!({ "casesensitive": "false" })), ("Two", json!({ "case_sensitive": false }))]
    {
        let wish =
            json!({ "fields": [{ "field_label": label, "data_type": "text", "unique": unique }] });
        assert_eq!(desk.post("/settings/fields?module=Contacts", &wish).status, 201);
        assert_eq!(field(&desk, "Contacts", label)["unique"], json!({ "case_sensitive": "false" }));
    }
}

#[test]
fn given_a_note_when_read_alone_then_it_has_the_attributes_of_notes() {
    let desk = Desk::open();
    let contact = desk.zoho.add("Contacts", json!({ "Last_Name": "Muster" }));
    let parent = json!({ "id": contact.to_string(), "module": { "api_name": "Contacts" } });
    let note = desk.zoho.add("Notes", json!({ "Note_Content": "N", "Parent_Id": parent }));

    let row = desk.get(&format!("/Notes/{note}")).at("/data/0").clone();

    let keys = row.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
    let mut dollars: Vec<&str> = keys.filter(|key| key.starts_with('$')).collect();
    dollars.sort_unstable();
    assert_eq!(
        dollars,
        [
            "$attachments",
            "$editable",
            "$is_shared_to_client",
            "$sharing_permission",
            "$size",
            "$state",
            "$voice_note"
        ]
    );
}
