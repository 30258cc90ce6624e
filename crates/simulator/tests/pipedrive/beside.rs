//! Files, filters, relationships, fields of v1, copies, prices.

use crmsync_simulator::host::Service;
use serde_json::{Value, json};

use crate::Desk;

fn with_deal() -> Desk {
    let desk = Desk::new();
    desk.pipedrive.add("organizations", json!({ "name": "Acme" }));
    desk.pipedrive.add("persons", json!({ "name": "Ada", "org_id": 1 }));
    desk.pipedrive.add(
        "deals",
        json!({ "title": "Pilot", "value": 100, "currency": "EUR", "person_id": 1, "org_id": 1 }),
    );
    desk
}

#[test]
fn given_a_file_when_uploaded_then_it_hangs_on_its_deal_and_comes_down_whole() {
    let desk = with_deal();

    let file = desk.upload("POST /v1/files", "offer.txt", "two\r\nlines", &[("deal_id", 1)]);
    let listed = desk.get("/v1/deals/1/files");
    let counted = desk.get("/api/v2/deals/1?include_fields=files_count");
    let content = desk.ask("GET /v1/files/1/download", &Value::Null);
    let form = desk.call("PUT /v1/files/1", "name=renamed.txt&description=An+offer");
    let renamed = desk.pipedrive.answer(&form);
    let renamed: Value = serde_json::from_slice(&renamed.body).unwrap();
    desk.ok("DELETE /v1/files/1", &Value::Null);

    let file = &file["data"];
    assert_eq!(
        (&file["name"], &file["file_type"], &file["file_size"], &file["deal_name"]),
        (&json!("offer.txt"), &json!("txt"), &json!(10), &json!("Pilot"))
    );
    assert_eq!(listed["data"][0]["id"], file["id"]);
    assert_eq!(counted["data"]["files_count"], 1);
    assert_eq!((content.status, &content.body[..]), (200, &b"two\r\nlines"[..]));
    assert_eq!(content.headers["content-type"], "application/octet-stream");
    assert_eq!(
        (&renamed["data"]["name"], &renamed["data"]["description"]),
        (&json!("renamed.txt"), &json!("An offer"))
    );
    assert_eq!(desk.get("/v1/files/1")["data"]["active_flag"], false);
    assert_eq!(desk.get("/v1/files")["data"], json!([]));
    assert_eq!(desk.json("GET /v1/files/1/download", &Value::Null).0, 404);
    assert_eq!(desk.json("GET /v1/files?limit=101", &Value::Null).0, 400);
    let astray = desk.upload("POST /v1/files", "a", "b", &[("deal_id", 9)]);
    assert_eq!(astray["success"], false);
}

#[test]
fn given_a_saved_filter_when_a_list_names_it_then_only_what_meets_it_comes() {
    let desk = with_deal();
    desk.pipedrive.add("deals", json!({ "title": "Second", "value": 5, "org_id": 1 }));
    desk.pipedrive.add("deals", json!({ "title": "Third" }));
    let fields = desk.get("/v1/dealFields?limit=500");
    let id = |fields: &Value, key: &str| {
        let rows = fields["data"].as_array().unwrap();
        rows.iter().find(|row| row["key"] == key).unwrap()["id"].to_string()
    };
    let (title, value) = (id(&fields, "title"), id(&fields, "value"));
    let name = id(&desk.get("/v1/organizationFields?limit=500"), "name");
    let leaf = |object: &str, field: &str, operator: &str, value: Value| json!({ "object": object, "field_id": field, "operator": operator, "value": value, "extra_value": null });

    let cases = [
        ("equal", vec![leaf("deal", &title, "=", json!("pilot"))], vec![], vec![1]),
        ("more", vec![leaf("deal", &value, ">", json!("4"))], vec![], vec![1, 2]),
        (
            "both",
            vec![
                leaf("deal", &value, ">", json!("4")),
                leaf("deal", &title, "LIKE '$%'", json!("sec")),
            ],
            vec![],
            vec![2],
        ),
        (
            "either",
            vec![],
            vec![
                leaf("deal", &title, "LIKE '%$%'", json!("ilo")),
                leaf("deal", &title, "=", json!("Third")),
            ],
            vec![1, 3],
        ),
        ("linked", vec![leaf("organization", &name, "=", json!("Acme"))], vec![], vec![1, 2]),
        ("nothing", vec![leaf("organization", &name, "IS NULL", Value::Null)], vec![], vec![3]),
    ];

    for (case, all, any, ids) in cases {
        let tree = json!({ "glue": "and", "conditions": [{ "glue": "and", "conditions": all }, { "glue": "or", "conditions": any }] });
        let saved = desk
            .ok("POST /v1/filters", &json!({ "name": case, "type": "deals", "conditions": tree }));
        let saved = &saved["data"]["id"];
        assert_eq!(desk.ids(&format!("/api/v2/deals?filter_id={saved}")), ids, "{case}");
    }
    assert_eq!(desk.get("/v1/filters?type=deals")["data"].as_array().map(Vec::len), Some(6));
    let one = desk.get("/v1/filters/1?include_field_code=1");
    assert_eq!(
        one.pointer("/data/conditions/conditions/0/conditions/0/field_code"),
        Some(&json!("title"))
    );
    assert_eq!(
        desk.ok("DELETE /v1/filters?ids=1,2", &Value::Null)["data"],
        json!({ "id": [1, 2] })
    );
    assert_eq!(desk.json("GET /v1/filters/1", &Value::Null).0, 404);
    let stray = json!({ "glue": "and", "conditions": [leaf("deal", "99999", "=", json!("x"))] });
    let stray = json!({ "name": "x", "type": "deals", "conditions": stray });
    assert_eq!(desk.json("POST /v1/filters", &stray).0, 400);
    assert!(desk.get("/v1/filters/helpers")["data"]["operators"]["int"]["="].is_string());
}

#[test]
fn given_two_organizations_when_related_then_each_sees_the_other_in_its_place() {
    let desk = with_deal();
    desk.pipedrive.add("organizations", json!({ "name": "Daughter" }));

    let wish = json!({ "type": "parent", "rel_owner_org_id": 1, "rel_linked_org_id": 2 });
    let tied = desk.ok("POST /v1/organizationRelationships", &wish);
    let seen = |org: i64| {
        let row =
            desk.get(&format!("/v1/organizationRelationships?org_id={org}"))["data"][0].clone();
        (row["calculated_type"].clone(), row["calculated_related_org_id"].clone())
    };
    let (above, below) = (seen(1), seen(2));
    desk.ok("PUT /v1/organizationRelationships/1", &json!({ "type": "related" }));

    assert_eq!(tied["data"]["rel_owner_org_id"]["value"], 1);
    assert_eq!((above, below), ((json!("daughter"), json!(2)), (json!("parent"), json!(1))));
    assert_eq!(seen(2).0, "related");
    desk.ok("DELETE /v1/organizationRelationships/1", &Value::Null);
    assert_eq!(desk.json("GET /v1/organizationRelationships/1", &Value::Null).0, 404);
    assert_eq!(desk.json("GET /v1/organizationRelationships", &Value::Null).0, 400);
}

#[test]
fn given_a_field_of_v1_when_made_changed_and_deleted_then_v2_sees_the_same() {
    let desk = Desk::new();

    let wish = json!({ "name": "Tier", "field_type": "enum", "options": "[{\"label\":\"Gold\"},{\"label\":\"Iron\"}]" });
    let made = desk.ok("POST /v1/personFields", &wish);
    let (id, code) = (made["data"]["id"].clone(), made["data"]["key"].as_str().unwrap().to_owned());
    let gold = &made["data"]["options"][0];
    let wish = json!({ "name": "Level", "options": [{ "id": gold["id"], "label": "Gilt" }, { "label": "New" }] });
    let changed = desk.ok(&format!("PUT /v1/personFields/{id}"), &wish);
    let seen = desk.get(&format!("/api/v2/personFields/{code}"));

    assert_eq!(changed["data"]["name"], "Level");
    let labels = |rows: &Value| {
        let rows = rows.as_array().cloned().unwrap_or_default();
        rows.iter().map(|row| row["label"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(labels(&changed["data"]["options"]), ["Gilt", "New"]);
    assert_eq!(labels(&seen["data"]["options"]), ["Gilt", "New"]);
    assert_eq!(desk.get(&format!("/v1/personFields/{id}"))["data"]["edit_flag"], true);
    desk.ok(&format!("DELETE /v1/personFields/{id}"), &Value::Null);
    assert_eq!(desk.json(&format!("GET /api/v2/personFields/{code}"), &Value::Null).0, 404);
    assert_eq!(desk.json("DELETE /v1/personFields/1", &Value::Null).0, 400);
    assert_eq!(desk.json("GET /v1/personFields/9999", &Value::Null).0, 404);
}

#[test]
fn given_a_deal_with_a_product_when_v1_lists_stand_beside_them_then_they_tell_of_each_other() {
    let desk = with_deal();
    desk.pipedrive.add(
        "products",
        json!({ "name": "Seat", "code": "S", "prices": [{ "currency": "EUR", "price": 3 }] }),
    );
    desk.ok(
        "POST /api/v2/deals/1/products",
        &json!({ "product_id": 1, "item_price": 3, "quantity": 2 }),
    );

    let twin = desk.ok("POST /v1/deals/1/duplicate", &Value::Null);
    let copy = desk.ok("POST /api/v2/products/1/duplicate", &Value::Null);

    assert_eq!((&twin["data"]["id"], &twin["data"]["title"]), (&json!(2), &json!("Pilot")));
    assert_eq!((&twin["data"]["person_id"], &twin["data"]["user_id"]), (&json!(1), &json!(7001)));
    assert_eq!((&copy["data"]["id"], &copy["data"]["prices"][0]["price"]), (&json!(2), &json!(3)));
    assert_eq!(desk.ids("/v1/products/1/deals"), [1]);
    assert_eq!(desk.ids("/v1/pipelines/1/deals"), [1, 2]);
    assert_eq!(desk.ids("/v1/stages/1/deals"), [1, 2]);
    assert_eq!(desk.get("/v1/persons/1/products")["data"][0]["1"]["product"]["name"], "Seat");
    assert_eq!(desk.get("/v1/deals/1/mailMessages")["data"], json!([]));
    assert_eq!(desk.get("/v1/deals/summary")["data"]["total_count"], 2);
}

#[test]
fn given_prices_when_refined_then_discounts_installments_and_variations_are_kept() {
    let desk = with_deal();
    desk.pipedrive.add("products", json!({ "name": "Seat" }));

    let discount = json!({ "description": "Early", "amount": 5, "type": "percentage" });
    let discount = desk.ok("POST /api/v2/deals/1/discounts", &discount);
    let discount =
        format!("/api/v2/deals/1/discounts/{}", discount["data"]["id"].as_str().unwrap());
    let more = desk.ok(&format!("PATCH {discount}"), &json!({ "amount": 6 }));
    let part = json!({ "description": "First", "amount": 50, "billing_date": "2026-06-01" });
    let part = desk.ok("POST /api/v2/deals/1/installments", &part);
    let variation = json!({ "name": "Plus", "prices": [{ "currency": "EUR", "price": 4 }] });
    let variation = desk.ok("POST /api/v2/products/1/variations", &variation);
    let path = format!("/api/v2/products/1/variations/{}", variation["data"]["id"]);
    let renamed = desk.ok(&format!("PATCH {path}"), &json!({ "name": "Max" }));

    assert_eq!(more["data"]["amount"], 6);
    assert_eq!(desk.get("/api/v2/deals/1/discounts")["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(desk.get("/api/v2/deals/installments?deal_ids=1")["data"][0], part["data"]);
    assert_eq!(
        (&renamed["data"]["name"], &renamed["data"]["prices"][0]["price"]),
        (&json!("Max"), &json!(4))
    );
    desk.ok(&format!("DELETE {discount}"), &Value::Null);
    desk.ok(&format!("DELETE {path}"), &Value::Null);
    desk.ok(&format!("DELETE /api/v2/deals/1/installments/{}", part["data"]["id"]), &Value::Null);
    assert_eq!(desk.get("/api/v2/products/1/variations")["data"], json!([]));
    assert_eq!(desk.json("POST /api/v2/deals/1/discounts", &json!({ "amount": 5 })).0, 400);
}
