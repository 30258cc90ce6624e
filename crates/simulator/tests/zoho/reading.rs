//! Lists, single records, the deleted feed, tokens.

use serde_json::{Value, json};

use crate::desk::Desk;

#[test]
fn given_a_list_call_when_its_parameters_are_wrong_then_the_documented_refusal_comes() {
    let desk = Desk::open();
    desk.zoho.add("Contacts", json!({ "Last_Name": "Muster" }));
    let fifty_one = vec!["Email"; 51].join(",");

    let cases = [
        ("no fields", "/Contacts".to_owned(), 400, "REQUIRED_PARAM_MISSING"),
        ("51 fields", format!("/Contacts?fields={fifty_one}"), 400, "LIMIT_EXCEEDED"),
        (
            "beyond row 2000",
            "/Contacts?fields=Email&page=11".into(),
            400,
            "DISCRETE_PAGINATION_LIMIT_EXCEEDED",
        ),
        ("unknown order", "/Contacts?fields=Email&sort_by=Email".into(), 400, "INVALID_DATA"),
        ("made-up token", "/Contacts?fields=Email&page_token=abc".into(), 400, "INVALID_DATA"),
        ("201 a page", "/Contacts?fields=Email&per_page=201".into(), 400, "INVALID_DATA"),
        ("unknown module", "/Persons?fields=Email".into(), 400, "INVALID_MODULE"),
        ("unknown path", "/settings/nonsense".into(), 404, "INVALID_URL_PATTERN"),
        ("bad id", "/Contacts/abc".into(), 400, "INVALID_DATA"),
        ("bad feed type", "/Contacts/deleted?type=gone".into(), 400, "PATTERN_NOT_MATCHED"),
    ];

    for (name, path, status, code) in cases {
        let answered = desk.get(&path);
        assert_eq!((answered.status, answered.code()), (status, code), "{name}: {}", answered.body);
    }
    assert_eq!(desk.call("PATCH", "/Contacts", &[], &Value::Null).code(), "INVALID_REQUEST_METHOD");
}

#[test]
fn given_450_contacts_when_read_by_token_then_each_comes_once_in_order() {
    let desk = Desk::open();
    desk.zoho.add_many(
        "Contacts",
        (0..450).map(|n| json!({ "Last_Name": format!("N{n}"), "Email": null })),
    );

    for order in ["asc", "desc"] {
        for sort in ["id", "Created_Time", "Modified_Time"] {
            let path = format!("/Contacts?fields=Last_Name&sort_by={sort}&sort_order={order}");
            let (mut seen, mut token, mut pages) = (Vec::new(), None, 0);
            loop {
                let tail =
                    token.map(|token: String| format!("&page_token={token}")).unwrap_or_default();
                let answered = desk.get(&format!("{path}{tail}"));
                assert_eq!(answered.status, 200, "{}", answered.body);
                seen.extend(answered.ids());
                pages += 1;
                token = answered.at("/info/next_page_token").as_str().map(str::to_owned);
                assert_eq!(answered.at("/info/more_records"), &Value::Bool(token.is_some()));
                if token.is_none() {
                    break;
                }
            }
            let mut wanted: Vec<u64> = seen.clone();
            wanted.sort_unstable();
            wanted.dedup();
            if order == "desc" {
                wanted.reverse();
            }
            assert_eq!((seen.len(), pages), (450, 3), "{sort} {order}");
            assert_eq!(seen, wanted, "{sort} {order}");
        }
    }
}

#[test]
fn given_a_page_token_when_parameters_change_or_a_day_passes_then_it_is_refused() {
    let mut desk = Desk::open();
    desk.zoho.add_many("Contacts", (0..201).map(|n| json!({ "Last_Name": format!("N{n}") })));
    let first = desk.get("/Contacts?fields=Last_Name");
    let token = first.text("/info/next_page_token").to_owned();

    let changed = desk.get(&format!("/Contacts?fields=Email&page_token={token}"));
    desk.wait(25 * 3_600);
    desk.renew();
    let late = desk.get(&format!("/Contacts?fields=Last_Name&page_token={token}"));

    assert_eq!(changed.code(), "TOKEN_BOUND_DATA_MISMATCH");
    assert_eq!(late.code(), "EXPIRED_VALUE");
}

#[test]
fn given_changes_when_asked_since_then_the_second_itself_is_included() {
    let desk = Desk::open();
    let old = desk.zoho.add("Contacts", json!({ "Last_Name": "Old" }));
    desk.wait(60);
    let new = desk.zoho.add("Contacts", json!({ "Last_Name": "New" }));

    let cases = [
        ("before both", "2026-03-10T10:00:00+01:00", vec![old, new]),
        ("at the second change", "2026-03-10T09:01:00Z", vec![new]),
        ("after both", "2026-03-10T09:01:01Z", vec![]),
    ];

    for (name, since, wanted) in cases {
        for sort in ["Modified_Time", "id"] {
            let answered = desk.get_since(
                &format!("/Contacts?fields=Last_Name&sort_by={sort}&sort_order=asc"),
                since,
            );
            assert_eq!(answered.status, if wanted.is_empty() { 304 } else { 200 }, "{name}");
            assert_eq!(answered.ids(), wanted, "{name}");
        }
    }
    assert_eq!(desk.get("/Accounts?fields=Account_Name").status, 204);
    assert!(desk.get("/Accounts?fields=Account_Name").reply.body.is_empty());
}

#[test]
fn given_a_user_in_berlin_when_the_clock_turns_to_summer_then_offsets_follow() {
    let desk = Desk::open();
    let id = desk.zoho.add("Contacts", json!({ "Last_Name": "Muster" }));

    let winter = desk.get(&format!("/Contacts/{id}"));
    desk.clock.set(crate::desk::at("2026-03-29T01:00:00Z"));
    let token = desk.zoho.access_token(crate::desk::ALL);
    desk.zoho.edit("Contacts", id, json!({ "Title": "Boss" }));
    let header = format!("Zoho-oauthtoken {token}");
    let summer = desk.raw(
        "GET",
        &format!("/Contacts/{id}"),
        &[("authorization", &header)],
        &Value::Null,
        None,
    );

    assert_eq!(winter.text("/data/0/Modified_Time"), "2026-03-10T10:00:00+01:00");
    assert_eq!(summer.text("/data/0/Modified_Time"), "2026-03-29T03:00:00+02:00");
}

#[test]
fn given_a_record_when_read_alone_then_lookups_attributes_and_empty_fields_are_there() {
    let desk = Desk::open();
    let account = desk.zoho.add("Accounts", json!({ "Account_Name": "Acme" }));
    let contact = desk.zoho.add(
        "Contacts",
        json!({ "Last_Name": "Muster", "First_Name": "Max", "Account_Name": { "id": account.to_string() }, "Tag": [{ "name": "vip" }] }),
    );

    let answered = desk.get(&format!("/Contacts/{contact}"));

    let row = answered.at("/data/0");
    assert_eq!(row["Account_Name"], json!({ "name": "Acme", "id": account.to_string() }));
    assert_eq!(row["Full_Name"], "Max Muster");
    assert_eq!(row["Owner"]["email"], "ann@example.com");
    assert_eq!((&row["Email"], &row["Email_Opt_Out"]), (&Value::Null, &Value::Bool(false)));
    assert_eq!(row["Tag"][0]["name"], "vip");
    assert!(row["$approval"].is_object() && row["$has_more"].is_object());
    assert_eq!(desk.get("/Contacts/999").status, 204);
    assert_eq!(desk.get("/Contacts?fields=Full_Name").at("/data/0").as_object().unwrap().len(), 2);
}

#[test]
fn given_deletions_when_the_feed_is_read_then_kinds_and_times_are_told() {
    let desk = Desk::open();
    let first = desk.zoho.add("Contacts", json!({ "Last_Name": "First" }));
    let second = desk.zoho.add("Contacts", json!({ "Last_Name": "Second" }));
    desk.zoho.delete("Contacts", first);
    desk.wait(100);
    desk.zoho.delete("Contacts", second);
    desk.zoho.purge("Contacts", second);

    let all = desk.get("/Contacts/deleted?type=all");
    let recycled = desk.get("/Contacts/deleted?type=recycle");
    let permanent = desk.get("/Contacts/deleted?type=permanent");
    let recent = desk.get_since("/Contacts/deleted", "2026-03-10T09:01:00Z");

    assert_eq!(all.ids(), [second, first]);
    assert_eq!(all.text("/data/0/deleted_time"), "2026-03-10T10:01:40+01:00");
    assert_eq!(recycled.ids(), [first]);
    assert_eq!(permanent.ids(), [second]);
    assert_eq!(recent.ids(), [second]);
    assert_eq!(desk.get_since("/Contacts/deleted", "2026-03-10T12:00:00Z").status, 304);
    assert!(desk.zoho.undelete("Contacts", first));
    assert!(!desk.zoho.undelete("Contacts", second));
    assert_eq!(desk.get("/Contacts/deleted").ids(), [second]);
}

#[test]
fn given_metadata_calls_when_asked_then_each_answers_with_its_plural() {
    let desk = Desk::open();
    let layout = desk.get("/settings/layouts?module=Deals");
    let pipeline = format!("/settings/pipeline?layout_id={}", layout.text("/layouts/0/id"));

    let cases = [
        ("/settings/modules", "modules"),
        ("/settings/modules/Contacts", "modules"),
        ("/settings/fields?module=Contacts", "fields"),
        ("/settings/layouts?module=Contacts", "layouts"),
        (pipeline.as_str(), "pipeline"),
        ("/settings/related_lists?module=Contacts", "related_lists"),
        ("/users", "users"),
        ("/users?type=CurrentUser", "users"),
        ("/org", "org"),
    ];

    for (path, plural) in cases {
        let answered = desk.get(path);
        assert_eq!(answered.status, 200, "{path}: {}", answered.body);
        assert!(!answered.body[plural].as_array().unwrap().is_empty(), "{path}");
    }
    assert_eq!(desk.get("/users?type=CurrentUser").at("/users/0/full_name"), "Sync Robot");
    assert_eq!(desk.get("/org/currencies").status, 403);
}

#[test]
fn given_tokens_that_count_rows_when_rows_go_between_pages_then_one_is_missed() {
    let missed = |tokens_count_rows: bool| {
        let desk = Desk::with(|settings| settings.switches.tokens_count_rows = tokens_count_rows);
        let ids =
            desk.zoho.add_many("Contacts", (0..5).map(|n| json!({ "Last_Name": format!("N{n}") })));
        let path = "/Contacts?fields=Last_Name&sort_order=asc&per_page=2";
        let first = desk.get(path);
        desk.zoho.delete("Contacts", ids[0]);
        let second =
            desk.get(&format!("{path}&page_token={}", first.text("/info/next_page_token")));
        second.ids()[0] != ids[2]
    };

    assert!(missed(true));
    assert!(!missed(false));
}

#[test]
fn given_a_deletion_when_months_pass_then_it_turns_permanent_and_is_forgotten() {
    let mut desk = Desk::open();
    let id = desk.zoho.add("Contacts", json!({ "Last_Name": "Muster" }));
    desk.zoho.delete("Contacts", id);
    let mut kind_after = |days: i64| {
        desk.wait(days * 24 * 3_600);
        desk.renew();
        desk.get("/Contacts/deleted").text("/data/0/type").to_owned()
    };

    let kinds = [kind_after(0), kind_after(60), kind_after(1), kind_after(59), kind_after(1)];

    assert_eq!(kinds, ["recycle", "recycle", "permanent", "permanent", ""]);
}

#[test]
fn given_rich_text_when_listed_then_it_is_cut_and_the_full_call_shows_all() {
    use crmsync_simulator::zoho::{Field, FieldType};

    let desk = Desk::open();
    desk.zoho.add_field("Contacts", Field::new("Story", FieldType::RichText));
    let id = desk.zoho.add("Contacts", json!({ "Last_Name": "M", "Story": "x".repeat(800) }));
    let length = |answered: &crate::desk::Answered| answered.text("/data/0/Story").len();

    let listed = desk.get("/Contacts?fields=Story");
    let full = desk.get(&format!("/Contacts/{id}/actions/fetch_full_data?fields=Story"));

    assert_eq!((length(&listed), length(&full)), (500, 800));
}
