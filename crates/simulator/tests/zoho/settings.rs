//! Settings one by one: types of fields, layouts, views, roles, tags; and what is tied to a record by hand.

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
fn given_settings_with_ids_when_one_is_read_then_it_comes_alone() {
    let desk = Desk::open();
    let layout = desk.get("/settings/layouts?module=Deals").text("/layouts/0/id").to_owned();
    let pipeline = format!("/settings/pipeline?layout_id={layout}");
    let pipeline = desk.get(&pipeline).text("/pipeline/0/id").to_owned();
    let role = desk.get("/settings/roles").text("/roles/1/id").to_owned();
    let profile = desk.get("/settings/profiles").text("/profiles/1/id").to_owned();
    let view =
        desk.get("/settings/custom_views?module=Deals").text("/custom_views/0/id").to_owned();

    let cases = [
        (format!("/settings/layouts/{layout}?module=Deals"), "layouts", layout.clone()),
        (format!("/settings/pipeline/{pipeline}?layout_id={layout}"), "pipeline", pipeline),
        (format!("/settings/roles/{role}"), "roles", role),
        (format!("/settings/profiles/{profile}"), "profiles", profile),
        (format!("/settings/custom_views/{view}?module=Deals"), "custom_views", view),
    ];

    for (path, key, id) in cases {
        let answered = desk.get(&path);
        assert_eq!(
            answered.body[key].as_array().map(Vec::len),
            Some(1),
            "{path}: {}",
            answered.body
        );
        assert_eq!(answered.body[key][0]["id"], id);
    }
    assert_eq!(desk.get("/settings/layouts/1?module=Deals").status, 204);
    assert_eq!(desk.get("/settings/roles/1").status, 204);
    assert_eq!(desk.get("/settings/territories").code(), "TERRITORY_NOT_ENABLED");
    assert_eq!(desk.get("/users/actions/count?type=ActiveUsers").body, json!({ "count": 2 }));
}

#[test]
fn given_a_deleted_record_when_the_bin_is_asked_for_it_then_it_comes_alone() {
    let desk = Desk::open();
    let ids: Vec<u64> =
        ["A", "B"].map(|name| desk.zoho.add("Contacts", json!({ "Last_Name": name }))).into();
    for id in &ids {
        desk.zoho.delete("Contacts", *id);
    }

    let one = desk.get(&format!("/settings/recycle_bin/{}", ids[0]));

    assert_eq!(one.body["recycle_bin"].as_array().map(Vec::len), Some(1), "{}", one.body);
    assert_eq!(one.text("/recycle_bin/0/display_name"), "A");
}

#[test]
fn given_a_tag_when_made_renamed_and_deleted_then_records_follow() {
    let desk = Desk::open();
    let made = desk.post("/settings/tags?module=Contacts", &json!({ "tags": [{ "name": "vip" }] }));
    let twin = desk.post("/settings/tags?module=Contacts", &json!({ "tags": [{ "name": "vip" }] }));
    let tag = made.text("/tags/0/details/id").to_owned();
    let id = desk.zoho.add("Contacts", json!({ "Last_Name": "A", "Tag": [{ "name": "vip" }] }));

    let renamed = json!({ "tags": [{ "name": "gold" }] });
    let renamed = desk.put(&format!("/settings/tags/{tag}?module=Contacts"), &renamed);
    let count = desk.get(&format!("/settings/tags/{tag}/actions/records_count?module=Contacts"));
    let held = desk.zoho.get("Contacts", id).expect("lives")["Tag"].clone();
    let gone = desk.delete(&format!("/settings/tags/{tag}"));

    assert_eq!((made.status, twin.status, twin.text("/tags/0/code")), (201, 400, "DUPLICATE_DATA"));
    assert_eq!((renamed.status, gone.status), (200, 200), "{} {}", renamed.body, gone.body);
    assert_eq!(held, json!([{ "name": "gold", "id": tag, "color_code": null }]));
    assert_eq!(count.body, json!({ "count": "1" }));
    assert_eq!(desk.zoho.get("Contacts", id).expect("lives")["Tag"], json!([]));
    assert_eq!(desk.get("/settings/tags?module=Contacts").status, 204);
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

#[test]
fn given_products_of_a_deal_when_tied_then_they_are_listed_until_they_are_not() {
    let desk = Desk::open();
    let deal = desk.zoho.add("Deals", json!({ "Deal_Name": "D", "Stage": "Qualification" }));
    let product = desk.zoho.add("Products", json!({ "Product_Name": "P" }));
    let at = format!("/Deals/{deal}/Products");

    let tied = desk.put(&at, &json!({ "data": [{ "id": product }, { "id": "1" }] }));
    let listed = desk.get(&format!("{at}?fields=Product_Name"));
    let untied = desk.delete(&format!("{at}?ids={product}"));

    assert_eq!(
        (tied.status, tied.text("/data/0/message")),
        (207, "relation added"),
        "{}",
        tied.body
    );
    assert_eq!((listed.ids(), untied.text("/data/0/message")), (vec![product], "relation removed"));
    assert_eq!(desk.get(&format!("{at}?fields=Product_Name")).status, 204);
    let lists = desk.get("/settings/related_lists?module=Deals").body["related_lists"].clone();
    assert!(lists.as_array().into_iter().flatten().any(|list| list["api_name"] == "Products"));
}

#[test]
fn given_a_contact_role_when_given_in_a_deal_then_the_deal_shows_it() {
    let desk = Desk::open();
    let deal = desk.zoho.add("Deals", json!({ "Deal_Name": "D", "Stage": "Qualification" }));
    let contact = desk.zoho.add("Contacts", json!({ "Last_Name": "Muster" }));
    let role = desk.get("/Contacts/roles").at("/contact_roles/0").clone();
    let at = format!("/Deals/{deal}/Contact_Roles");

    let given = json!({ "data": [{ "Contact_Role": { "id": role["id"] } }] });
    let given = desk.put(&format!("{at}/{contact}"), &given);
    let listed = desk.get(&format!("{at}?fields=Email"));
    let gone = desk.delete(&format!("{at}/{contact}"));

    assert_eq!((given.status, given.code(), gone.code()), (200, "SUCCESS", "SUCCESS"));
    assert_eq!(listed.ids(), [contact]);
    assert_eq!(listed.at("/data/0/Contact_Role/name"), &role["name"]);
    assert_eq!(desk.get(&format!("{at}?fields=Email")).status, 204);
}
