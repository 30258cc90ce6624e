//! Insert, update, upsert, delete: what is stored, what is refused.

use serde_json::{Value, json};

use crate::desk::Desk;

#[test]
fn given_rows_of_each_kind_when_inserted_then_the_status_follows_the_rows() {
    let desk = Desk::open();
    let (good, bad) = (json!({ "Last_Name": "Muster" }), json!({ "First_Name": "Max" }));

    let cases = [
        ("all good", vec![good.clone(), good.clone()], 201, ["SUCCESS", "SUCCESS"]),
        ("mixed", vec![good.clone(), bad.clone()], 207, ["SUCCESS", "MANDATORY_NOT_FOUND"]),
        (
            "all bad",
            vec![bad.clone(), bad.clone()],
            400,
            ["MANDATORY_NOT_FOUND", "MANDATORY_NOT_FOUND"],
        ),
    ];

    for (name, rows, status, codes) in cases {
        let answered = desk.post("/Contacts", &json!({ "data": rows }));
        let found = [answered.text("/data/0/code"), answered.text("/data/1/code")];
        assert_eq!((answered.status, found), (status, codes), "{name}");
    }
    assert_eq!(desk.zoho.count("Contacts"), 3);
    assert_eq!(
        desk.post("/Contacts", &json!({ "data": vec![good; 101] })).code(),
        "LIMIT_EXCEEDED"
    );
}

#[test]
fn given_wrong_values_when_written_then_the_row_tells_which_and_why() {
    let desk = Desk::open();
    let long = "x".repeat(81);

    let cases = [
        (
            "number for text",
            json!({ "Last_Name": 5 }),
            "INVALID_DATA",
            "expected_data_type",
            json!("text"),
        ),
        ("too long", json!({ "Last_Name": long }), "INVALID_DATA", "maximum_length", json!(80)),
        (
            "bad address",
            json!({ "Last_Name": "M", "Email": "a@b" }),
            "INVALID_DATA",
            "expected_data_type",
            json!("email"),
        ),
        (
            "bad phone",
            json!({ "Last_Name": "M", "Phone": "a|b" }),
            "INVALID_DATA",
            "expected_data_type",
            json!("phone"),
        ),
        (
            "text for boolean",
            json!({ "Last_Name": "M", "Email_Opt_Out": "true" }),
            "INVALID_DATA",
            "expected_data_type",
            json!("boolean"),
        ),
        (
            "bad date",
            json!({ "Last_Name": "M", "Date_of_Birth": "1.2.2000" }),
            "INVALID_DATA",
            "expected_data_type",
            json!("date"),
        ),
        (
            "unknown lookup",
            json!({ "Last_Name": "M", "Account_Name": { "id": "1" } }),
            "INVALID_DATA",
            "json_path",
            json!("$.data[0].Account_Name.id"),
        ),
        (
            "unknown owner",
            json!({ "Last_Name": "M", "Owner": { "id": "1" } }),
            "INVALID_DATA",
            "api_name",
            json!("Owner"),
        ),
    ];

    for (name, row, code, key, value) in cases {
        let answered = desk.post("/Contacts", &json!({ "data": [row] }));
        assert_eq!((answered.status, answered.code()), (400, code), "{name}");
        assert_eq!(answered.at("/data/0/details")[key], value, "{name}: {}", answered.body);
    }
    let two = desk.post("/Contacts", &json!({ "data": [{ "Email": "nope" }] }));
    assert_eq!(two.code(), "MULTIPLE_OR_MULTI_ERRORS");
    assert_eq!(two.at("/data/0/details/errors").as_array().unwrap().len(), 2);
}

#[test]
fn given_a_record_when_updated_then_only_what_was_sent_changes_and_null_clears() {
    let desk = Desk::open();
    let id = desk.zoho.add(
        "Contacts",
        json!({ "Last_Name": "Muster", "Email": "m@example.eu", "Title": "Boss" }),
    );
    desk.wait(5);

    let body = json!({ "data": [{ "id": id.to_string(), "Email": null, "Created_Time": "2000-01-01T00:00:00Z", "Phone": "+49 1" }] });
    let answered = desk.put("/Contacts", &body);

    assert_eq!((answered.status, answered.text("/data/0/message")), (200, "record updated"));
    assert_eq!(answered.text("/data/0/details/Modified_Time"), "2026-03-10T10:00:05+01:00");
    let stored = desk.zoho.get("Contacts", id).unwrap();
    assert_eq!(
        (&stored["Email"], &stored["Title"], &stored["Phone"]),
        (&Value::Null, &json!("Boss"), &json!("+49 1"))
    );
    assert_eq!(stored["Created_Time"], "2026-03-10T09:00:00Z");
    assert_eq!(
        desk.put("/Contacts", &json!({ "data": [{ "Email": "x@y.de" }] })).code(),
        "MANDATORY_NOT_FOUND"
    );
    assert_eq!(
        desk.put("/Contacts", &json!({ "data": [{ "id": "1", "Email": "x@y.de" }] })).code(),
        "INVALID_DATA"
    );
}

#[test]
fn given_a_newer_record_when_updated_on_condition_then_412_and_nothing_changes() {
    let desk = Desk::open();
    let id = desk.zoho.add("Contacts", json!({ "Last_Name": "Muster" }));
    desk.wait(10);
    desk.zoho.edit("Contacts", id, json!({ "Title": "Boss" }));
    let body = json!({ "data": [{ "Title": "Clerk" }] });
    let path = format!("/Contacts/{id}");

    let refused =
        desk.call("PUT", &path, &[("if-unmodified-since", "2026-03-10T09:00:09Z")], &body);
    let same_second =
        desk.call("PUT", &path, &[("if-unmodified-since", "2026-03-10T09:00:10Z")], &body);

    assert_eq!((refused.status, refused.code()), (412, "ALREADY_MODIFIED"));
    assert_eq!(refused.text("/data/0/details/Modified_Time"), "2026-03-10T10:00:10+01:00");
    assert_eq!(same_second.status, 200);
}

#[test]
fn given_a_unique_field_when_a_value_comes_twice_then_the_holder_is_named() {
    let desk = Desk::open();
    let field = json!({ "fields": [{ "field_label": "Ext Id", "data_type": "text", "length": 100, "unique": { "case_sensitive": false } }] });
    assert_eq!(desk.post("/settings/fields?module=Contacts", &field).status, 201);
    let holder =
        desk.post("/Contacts", &json!({ "data": [{ "Last_Name": "A", "Ext_Id": "x1" }] })).id();

    let clash = desk.post("/Contacts", &json!({ "data": [{ "Last_Name": "B", "Ext_Id": "X1" }] }));
    let upserted =
        desk.post("/Contacts/upsert", &json!({ "data": [{ "Last_Name": "C", "Ext_Id": "x1" }] }));
    let inserted =
        desk.post("/Contacts/upsert", &json!({ "data": [{ "Last_Name": "D", "Ext_Id": "x2" }] }));

    assert_eq!((clash.status, clash.code()), (400, "DUPLICATE_DATA"));
    assert_eq!(clash.text("/data/0/details/duplicate_record/id"), holder);
    assert_eq!(
        (
            upserted.status,
            upserted.text("/data/0/action"),
            upserted.text("/data/0/duplicate_field")
        ),
        (200, "update", "Ext_Id")
    );
    assert_eq!(
        (inserted.text("/data/0/action"), inserted.at("/data/0/duplicate_field")),
        ("insert", &Value::Null)
    );
    let meta = desk.get("/settings/fields?module=Contacts");
    let made = meta.body["fields"]
        .as_array()
        .unwrap()
        .iter()
        .find(|field| field["api_name"] == "Ext_Id")
        .unwrap();
    assert_eq!((&made["custom_field"], &made["length"]), (&json!(true), &json!(100)));
}

#[test]
fn given_ids_when_deleted_then_each_row_is_answered_and_children_go_along() {
    let desk = Desk::open();
    let id = desk.zoho.add("Contacts", json!({ "Last_Name": "Muster" }));
    let note = json!({ "Note_Content": "Hi", "Parent_Id": { "module": { "api_name": "Contacts" }, "id": id.to_string() } });
    desk.zoho.add("Notes", note);

    let answered = desk.delete(&format!("/Contacts?ids={id},12345"));

    assert_eq!(answered.status, 207);
    assert_eq!(
        (answered.text("/data/0/message"), answered.text("/data/1/message")),
        ("record deleted", "record not deleted")
    );
    assert_eq!((desk.zoho.count("Contacts"), desk.zoho.count("Notes")), (0, 0));
    assert!(desk.zoho.undelete("Contacts", id));
    assert_eq!(desk.zoho.count("Notes"), 1);
    assert_eq!(desk.delete("/Contacts").code(), "REQUIRED_PARAM_MISSING");
}
