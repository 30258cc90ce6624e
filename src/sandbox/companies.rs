//! Records for the simulators: two small companies that know many of the same people, and large ones for benchmarks.

use crmsync_simulator::pipedrive::Pipedrive;
use crmsync_simulator::zoho::Zoho;
use serde_json::{Value, json};

/// Companies that both sides know, or only one of them: (name, phone, city, in Zoho, in Pipedrive).
const ACCOUNTS: [(&str, &str, &str, bool, bool); 8] = [
    ("Alster Logistik GmbH", "+49 40 3005190", "Hamburg", true, true),
    ("Brandt & Söhne KG", "+49 30 2093480", "Berlin", true, true),
    ("Café Linde", "+43 1 5131234", "Wien", true, true),
    ("Dolomit Sport srl", "+39 0471 300400", "Bozen", true, true),
    ("Eiger Analytics AG", "+41 44 2731100", "Zürich", true, true),
    ("Fjord Seafood AS", "+47 55 301200", "Bergen", true, false),
    ("Gdynia Marine", "+48 58 6201000", "Gdynia", false, true),
    ("Helix Biotech", "+31 20 5251400", "Amsterdam", false, true),
];

/// First name, last name, e-mail, phone, account, in Zoho, in Pipedrive.
const PEOPLE: [(&str, &str, &str, &str, usize, bool, bool); 12] = [
    ("Ada", "Petersen", "ada.petersen@alster.example", "+49 40 30051911", 0, true, true),
    ("Bruno", "Keller", "bruno.keller@alster.example", "+49 40 30051912", 0, true, true),
    ("Clara", "Brandt", "clara@brandt.example", "+49 30 20934811", 1, true, true),
    ("David", "Öztürk", "david@brandt.example", "+49 30 20934812", 1, true, false),
    ("Elena", "Lindner", "elena@cafelinde.example", "+43 1 51312341", 2, true, true),
    ("Franco", "Pichler", "franco@dolomit.example", "+39 0471 300411", 3, true, true),
    ("Greta", "Mair", "greta@dolomit.example", "+39 0471 300412", 3, false, true),
    ("Hanna", "Zbinden", "hanna@eiger.example", "+41 44 27311011", 4, true, true),
    ("Ingrid", "Solberg", "ingrid@fjord.example", "+47 55 301211", 5, true, false),
    ("Jan", "Nowak", "jan@gdynia.example", "+48 58 62010011", 6, false, true),
    ("Karin", "de Vries", "karin@helix.example", "+31 20 52514011", 7, false, true),
    ("Lukas", "Visser", "lukas@helix.example", "+31 20 52514012", 7, false, true),
];

/// Title, amount, account: half of them in Zoho, half in Pipedrive.
const DEALS: [(&str, u32, usize); 6] = [
    ("Fleet tracking 2027", 48_000, 0),
    ("Warehouse pilot", 12_500, 1),
    ("Ticketing for the spring season", 7_900, 2),
    ("Ski pass analytics", 31_000, 3),
    ("Cold-chain sensors", 22_400, 6),
    ("Lab data platform", 95_000, 7),
];

/// Fills both simulators with the two companies of the demo.
pub fn seed_demo(zoho: &Zoho, pipedrive: &Pipedrive) {
    let accounts: Vec<_> = ACCOUNTS
        .iter()
        .map(|account| (account.3).then(|| zoho.add("Accounts", zoho_account(account))))
        .collect();
    let organizations: Vec<_> = ACCOUNTS
        .iter()
        .map(|account| {
            (account.4).then(|| pipedrive.add("organizations", json!({ "name": account.0 })))
        })
        .collect();
    for &(first, last, email, phone, account, in_zoho, in_pipedrive) in &PEOPLE {
        if in_zoho {
            let mut contact =
                json!({ "First_Name": first, "Last_Name": last, "Email": email, "Phone": phone });
            contact["Account_Name"] =
                reference(accounts[account].map(|id| json!({ "id": id.to_string() })));
            zoho.add("Contacts", contact);
        }
        if in_pipedrive {
            let mut person = json!({ "first_name": first, "last_name": last, "name": format!("{first} {last}") });
            person["emails"] = json!([{ "value": email, "primary": true, "label": "work" }]);
            person["phones"] = json!([{ "value": phone, "primary": true, "label": "work" }]);
            person["org_id"] = reference(organizations[account].map(Into::into));
            pipedrive.add("persons", person);
        }
    }
    for &(title, amount, account) in &DEALS {
        match (accounts[account], organizations[account]) {
            (Some(id), _) => {
                let deal = json!({
                    "Deal_Name": title, "Amount": amount, "Stage": "Qualification", "Closing_Date": "2027-03-31",
                    "Account_Name": { "id": id.to_string() },
                });
                zoho.add("Deals", deal);
            }
            (None, Some(id)) => {
                let deal = json!({ "title": title, "value": amount, "currency": "EUR", "org_id": id, "expected_close_date": "2027-03-31" });
                pipedrive.add("deals", deal);
            }
            (None, None) => {}
        }
    }
}

fn zoho_account(account: &(&str, &str, &str, bool, bool)) -> Value {
    json!({ "Account_Name": account.0, "Phone": account.1, "Billing_City": account.2 })
}

fn reference(id: Option<Value>) -> Value {
    id.unwrap_or(Value::Null)
}

/// How large the companies of a benchmark are.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub accounts: usize,
    pub contacts: usize,
    /// Of 100 records of a side, how many the other side has too.
    pub overlap_percent: usize,
}

/// Fills both simulators with `size.accounts` and `size.contacts` records each.
pub fn seed_large(zoho: &Zoho, pipedrive: &Pipedrive, size: Size) {
    let shared = |count: usize| count * size.overlap_percent / 100;
    let account = |at: usize| format!("Company {at:07} Ltd");
    let accounts = zoho
        .add_many("Accounts", (0..size.accounts).map(|at| json!({ "Account_Name": account(at) })));
    let shift = size.accounts - shared(size.accounts);
    let names = (0..size.accounts).map(|at| json!({ "name": account(at + shift) }));
    let organizations = pipedrive.add_many("organizations", names);
    let email = |at: usize| format!("person{at:07}@example.com");
    let contacts = (0..size.contacts).map(|at| {
        let account = accounts[at % accounts.len().max(1)];
        json!({
            "First_Name": format!("First{at}"), "Last_Name": format!("Last{at}"), "Full_Name": format!("First{at} Last{at}"),
            "Email": email(at), "Account_Name": { "id": account.to_string() },
        })
    });
    zoho.add_many("Contacts", contacts);
    let shift = size.contacts - shared(size.contacts);
    let persons = (0..size.contacts).map(|at| {
        let number = at + shift;
        // The organization of the same account where both sides have it, else any.
        let slot = (number % size.accounts.max(1)).checked_sub(size.accounts - shared(size.accounts));
        let organization = slot.and_then(|slot| organizations.get(slot)).copied();
        json!({
            "name": format!("First{number} Last{number}"), "first_name": format!("First{number}"), "last_name": format!("Last{number}"),
            "emails": [{ "value": email(number), "primary": true, "label": "work" }], "org_id": organization,
        })
    });
    pipedrive.add_many("persons", persons);
}
