//! COQL and search.

use chrono::TimeDelta;
use serde_json::json;

use crate::desk::{Answered, Desk};

fn coql(desk: &Desk, query: &str) -> Answered {
    desk.post("/coql", &json!({ "select_query": query }))
}

fn seeded() -> (Desk, Vec<u64>) {
    let desk = Desk::open();
    let account = desk.zoho.add("Accounts", json!({ "Account_Name": "Acme Inc", "Employees": 12 }));
    let mut ids = Vec::new();
    for (name, title) in [("Adams", Some("Boss")), ("Burns, B", None), ("O'Neil", Some("Clerk"))] {
        desk.wait(10);
        let link = json!({ "id": account.to_string() });
        ids.push(
            desk.zoho.add(
                "Contacts",
                json!({ "Last_Name": name, "Title": title, "Account_Name": link }),
            ),
        );
    }
    (desk, ids)
}

#[test]
fn given_queries_when_run_then_the_rows_that_match_come_in_order() {
    let (desk, ids) = seeded();
    let [adams, burns, oneil] = ids[..] else { panic!("three contacts") };

    let cases = [
        ("all", "select Last_Name from Contacts where id is not null".to_owned(), vec![adams, burns, oneil]),
        ("equal, any case", "select id from Contacts where Last_Name = 'adams'".into(), vec![adams]),
        ("doubled quote", "select id from Contacts where Last_Name = 'O''Neil'".into(), vec![oneil]),
        ("like", "select id from Contacts where Last_Name like 'Bur%'".into(), vec![burns]),
        ("in", "SELECT id FROM Contacts WHERE Last_Name IN ('Adams', 'O''Neil')".into(), vec![adams, oneil]),
        ("null", "select id from Contacts where Title is null".into(), vec![burns]),
        ("brackets", "select id from Contacts where ((Title = 'Boss' or Title = 'Clerk') and Last_Name != 'Adams')".into(), vec![oneil]),
        ("since", "select id from Contacts where Modified_Time >= '2026-03-10T10:00:20+01:00' order by Modified_Time, id".into(), vec![burns, oneil]),
        ("window", "select id from Contacts where Modified_Time > '2026-03-10T09:00:10Z' and Modified_Time < '2026-03-10T09:00:30Z'".into(), vec![burns]),
        ("keyset", format!("select Last_Name from Contacts where id > '{adams}' order by id limit 1"), vec![burns]),
        ("falling", "select id from Contacts where id is not null order by Last_Name desc limit 2".into(), vec![oneil, burns]),
        ("offset", "select id from Contacts where id is not null limit 1, 1".into(), vec![burns]),
        ("through a lookup", "select Account_Name.Employees from Contacts where Account_Name.Employees > 11 and Title = 'Boss'".into(), vec![adams]),
        ("ids", format!("select id from Contacts where id in ('{oneil}', '{adams}', '1')"), vec![adams, oneil]),
    ];

    for (name, query, wanted) in cases {
        let answered = coql(&desk, &query);
        assert_eq!(answered.ids(), wanted, "{name}: {}", answered.body);
    }
    let deep = coql(
        &desk,
        "select Account_Name.Account_Name, Account_Name from Contacts where Last_Name = 'Adams'",
    );
    assert_eq!(deep.at("/data/0/Account_Name.Account_Name"), "Acme Inc");
    assert_eq!(deep.at("/data/0/Account_Name/name"), "Acme Inc");
    assert_eq!(coql(&desk, "select id from Contacts where Last_Name = 'Nobody'").status, 204);
}

#[test]
fn given_wrong_queries_when_run_then_a_flat_error_tells_why() {
    let (desk, _) = seeded();

    let cases = [
        ("no where", "select id from Contacts", "SYNTAX_ERROR"),
        ("no query", "select", "SYNTAX_ERROR"),
        ("unknown column", "select Nope from Contacts where id is not null", "INVALID_QUERY"),
        ("unknown module", "select id from Persons where id is not null", "INVALID_MODULE"),
        (
            "too many rows",
            "select id from Contacts where id is not null limit 2001",
            "LIMIT_EXCEEDED",
        ),
        ("no rows", "select id from Contacts where id is not null limit 0", "INVALID_DATA"),
        ("open quote", "select id from Contacts where Last_Name = 'x", "SYNTAX_ERROR"),
        (
            "twice ordered",
            "select id from Contacts where id is not null order by id, id",
            "DUPLICATE_DATA",
        ),
    ];

    for (name, query, code) in cases {
        let answered = coql(&desk, query);
        assert_eq!((answered.status, answered.code()), (400, code), "{name}: {}", answered.body);
    }
    for (limit, cost) in [(200, 1), (201, 2), (1_001, 3)] {
        let query = format!("select id from Contacts where id is not null limit {limit}");
        assert_eq!(coql(&desk, &query).reply.cost, cost);
    }
}

#[test]
fn given_a_search_when_run_then_equals_contains_and_the_index_lags() {
    let (desk, ids) = seeded();
    let [adams, burns, oneil] = ids[..] else { panic!("three contacts") };

    let cases = [
        ("contains", "criteria=(Last_Name:equals:dam)", vec![adams]),
        ("escaped comma", "criteria=(Last_Name:equals:Burns%5C,%20B)", vec![burns]),
        ("and", "criteria=((Last_Name:starts_with:O)and(Title:equals:Clerk))", vec![oneil]),
        (
            "or",
            "criteria=((Last_Name:starts_with:O)or(Last_Name:starts_with:A))",
            vec![oneil, adams],
        ),
        ("word", "word=boss", vec![adams]),
    ];

    for (name, query, wanted) in cases {
        let answered = desk.get(&format!("/Contacts/search?{query}"));
        assert_eq!(answered.ids(), wanted, "{name}: {}", answered.body);
    }
    assert_eq!(desk.get("/Contacts/search").code(), "EXPECTED_PARAM_MISSING");
    desk.zoho.set_switches(|switches| switches.index_lag = TimeDelta::seconds(5));
    assert_eq!(desk.get("/Contacts/search?word=clerk").status, 204);
    assert_eq!(coql(&desk, "select id from Contacts where Title = 'Clerk'").ids(), [oneil]);
    desk.wait(5);
    assert_eq!(desk.get("/Contacts/search?word=clerk").ids(), [oneil]);
    assert_eq!(desk.get("/Contacts/actions/count").at("/count"), 3);
}
