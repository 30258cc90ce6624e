//! Attachments, the file store, bulk read.

use std::io::{Cursor, Read as _};

use serde_json::{Value, json};

use crate::desk::{Answered, Desk};

fn ask(desk: &Desk, query: &Value) -> Answered {
    let json = [("content-type", "application/json")];
    desk.call("POST", "/bulk/read", &json, &json!({ "query": query }))
}

/// The rows of a job's file, after its time.
fn lines(desk: &Desk, job: &str) -> Vec<String> {
    desk.wait(2);
    let answered = desk.get(&format!("/bulk/read/{job}/result"));
    assert_eq!(answered.status, 200);
    let mut archive = zip::ZipArchive::new(Cursor::new(answered.reply.body)).expect("a zip");
    let mut text = String::new();
    let name = format!("{job}.csv");
    archive.by_name(&name).expect("one file").read_to_string(&mut text).expect("text");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn given_a_file_when_attached_then_it_is_listed_comes_down_whole_and_goes() {
    let desk = Desk::open();
    let id = desk.zoho.add("Contacts", json!({ "Last_Name": "Muster" }));
    let at = format!("/Contacts/{id}/Attachments");

    let attached = desk.upload(&at, "offer.txt", "four\r\nlines");
    let linked =
        desk.post(&format!("{at}?attachmentUrl=https://example.com/a&title=A"), &Value::Null);
    let listed = desk.get(&format!("{at}?fields=File_Name,Size,Parent_Id"));
    let file = desk.get(&format!("{at}/{}", attached.id()));
    let gone = desk.delete(&format!("{at}/{}", attached.id()));

    assert_eq!((attached.status, attached.code(), linked.code()), (200, "SUCCESS", "SUCCESS"));
    assert_eq!(
        (
            listed.text("/data/0/File_Name"),
            listed.text("/data/1/File_Name"),
            listed.text("/data/1/Size")
        ),
        ("A", "offer.txt", "11")
    );
    let parent = json!({ "name": "Muster", "id": id.to_string() });
    assert_eq!(listed.at("/data/1/Parent_Id"), &parent);
    assert_eq!(listed.at("/data/1/Owner"), &Value::Null);
    assert_eq!((file.status, &file.reply.body[..]), (200, &b"four\r\nlines"[..]));
    assert_eq!(file.reply.headers["content-type"], "application/x-download");
    assert_eq!(file.reply.headers["content-disposition"], "attachment;filename*=UTF-8''offer.txt");
    assert_eq!((gone.status, desk.get(&format!("{at}/{}", attached.id())).status), (200, 204));
    assert_eq!(desk.get(&at).code(), "REQUIRED_PARAM_MISSING");
    assert_eq!(desk.get("/Contacts/1/Attachments?fields=id").code(), "INVALID_DATA");
}

#[test]
fn given_a_photo_when_put_on_a_record_then_it_is_there_until_it_is_deleted() {
    let desk = Desk::open();
    let id = desk.zoho.add("Contacts", json!({ "Last_Name": "Muster" }));
    let at = format!("/Contacts/{id}/photo");

    let none = desk.get(&at).status;
    let put = desk.upload(&at, "me.png", "pixels");
    let photo = desk.get(&at);
    let gone = desk.delete(&at);

    assert_eq!((none, put.text("/message")), (204, "photo uploaded successfully"));
    assert_eq!((photo.status, &photo.reply.body[..]), (200, &b"pixels"[..]));
    assert_eq!((gone.text("/message"), desk.get(&at).status), ("Photo deleted", 204));
    assert_eq!(desk.get("/Tasks/1/photo").code(), "INVALID_URL_PATTERN");
}

#[test]
fn given_a_file_when_stored_then_its_id_gives_it_back() {
    let desk = Desk::open();

    let stored = desk.upload("/files", "a.txt", "content");
    let file = desk.get(&format!("/files?id={}", stored.id()));

    assert_eq!(stored.text("/data/0/details/name"), "a.txt");
    assert_eq!((file.status, &file.reply.body[..]), (200, &b"content"[..]));
    assert_eq!(desk.get("/files?id=x").code(), "INVALID_DATA");
}

#[test]
fn given_a_bulk_job_when_its_time_has_passed_then_a_zipped_csv_holds_the_records() {
    let desk = Desk::open();
    let account = desk.zoho.add("Accounts", json!({ "Account_Name": "Acme, Inc" }));
    let id = desk.zoho.add(
        "Contacts",
        json!({ "Last_Name": "Muster", "Account_Name": { "id": account.to_string() } }),
    );
    desk.zoho.add("Contacts", json!({ "Last_Name": "Other" }));

    let query = json!({
        "module": { "api_name": "Contacts" },
        "fields": ["id", "Last_Name", "Account_Name", "Account_Name.Account_Name", "Email_Opt_Out", "Owner.last_name"],
        "criteria": { "group_operator": "and", "group": [
            { "field": { "api_name": "Last_Name" }, "comparator": "starts_with", "value": "Mus" },
            { "field": { "api_name": "Account_Name" }, "comparator": "not_equal", "value": "${EMPTY}" },
        ] },
    });
    let asked = ask(&desk, &query);
    let job = asked.id();
    let states: Vec<String> = (0..4)
        .map(|_| {
            let state = desk.get(&format!("/bulk/read/{job}")).text("/data/0/state").to_owned();
            desk.clock.advance(chrono::TimeDelta::milliseconds(700));
            state
        })
        .collect();
    let details = desk.get(&format!("/bulk/read/{job}"));

    assert_eq!((asked.status, asked.code(), asked.reply.cost), (201, "ADDED_SUCCESSFULLY", 50));
    assert_eq!(states, ["ADDED", "QUEUED", "IN PROGRESS", "COMPLETED"]);
    assert_eq!(details.at("/data/0/result/count"), &json!(1));
    assert_eq!(
        details.text("/data/0/result/download_url"),
        format!("/crm/bulk/v8/read/{job}/result")
    );
    assert_eq!(
        lines(&desk, &job),
        [
            "Id,Last_Name,Account_Name,Account_Name.Account_Name,Email_Opt_Out,Owner.last_name"
                .to_owned(),
            format!("{id},Muster,{account},\"Acme, Inc\",false,Admin"),
        ]
    );
}

#[test]
fn given_a_wrong_bulk_job_when_asked_for_then_it_is_refused() {
    let desk = Desk::open();
    let contacts = |more: Value| {
        let mut query = json!({ "module": { "api_name": "Contacts" } });
        query
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().cloned().unwrap_or_default());
        query
    };

    let cases = [
        (json!({ "module": { "api_name": "Nope" } }), "MODULE_NOT_AVAILABLE"),
        (json!({ "module": { "api_name": "Notes" } }), "MODULE_NOT_SUPPORTED"),
        (contacts(json!({ "fields": ["Nope"] })), "FIELD_NOT_AVAILABLE"),
        (
            contacts(
                json!({ "criteria": { "field": { "api_name": "Nope" }, "comparator": "equal", "value": "x" } }),
            ),
            "FIELD_IN_CRITERIA_NOT_AVAILABLE",
        ),
        (contacts(json!({ "page": 0 })), "PAGE_RANGE_EXCEEDED"),
        (json!({ "page_token": "x" }), "INVALID_DATA"),
    ];

    for (query, code) in cases {
        let answered = ask(&desk, &query);
        assert_eq!((answered.status, answered.code()), (400, code), "{}", answered.body);
    }
    let untyped = desk.post("/bulk/read", &json!({ "query": contacts(json!({})) }));
    assert_eq!((untyped.status, untyped.code()), (415, "MEDIA_TYPE_NOT_SUPPORTED"));
    let unknown = desk.get("/bulk/read/1");
    assert_eq!((unknown.status, unknown.code()), (404, "RESOURCE_NOT_FOUND"));
}

#[test]
fn given_ten_downloads_within_a_minute_when_another_is_asked_for_then_it_waits() {
    let desk = Desk::open();
    desk.zoho.add("Contacts", json!({ "Last_Name": "Muster" }));
    let job = ask(&desk, &json!({ "module": { "api_name": "Contacts" } })).id();
    for _ in 0..10 {
        lines(&desk, &job);
    }

    let refused = desk.get(&format!("/bulk/read/{job}/result"));
    desk.wait(60);

    assert_eq!((refused.status, refused.code()), (429, "TOO_MANY_REQUESTS"));
    assert_eq!(desk.get(&format!("/bulk/read/{job}/result")).status, 200);
}
