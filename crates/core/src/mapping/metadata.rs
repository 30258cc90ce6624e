//! Hand-written metadata of both CRMs' standard modules, as their connectors report it. For tests.
//!
//! A field is a line: `name`, kind, then marks: `!` required, `-` read-only, `+` on create only, a number the
//! length, `>module` a lookup's target, `=a|b` options, `*Label` a custom field's label.
//!
//! Source: api/zoho.md §8.3, api/pipedrive.md §4.

use crate::model::schema::{FieldKind, FieldSchema, ModuleSchema, OptionSchema, User};
use crate::model::{ModuleName, RemoteField};

pub(super) fn module(name: &str, lines: &str) -> ModuleSchema {
    let fields = lines.lines().filter(|line| !line.trim().is_empty()).map(field).collect();
    ModuleSchema { module: ModuleName::new(name), label: name.to_owned(), fields }
}

fn field(line: &str) -> FieldSchema {
    let mut words = line.trim().split("  ").map(str::trim).filter(|word| !word.is_empty());
    let name = words.next().unwrap();
    let kind = words.next().unwrap();
    let kind: FieldKind = serde_json::from_value(kind.into()).unwrap();
    let mut field = FieldSchema {
        name: RemoteField::new(name),
        label: name.replace('_', " "),
        kind,
        max_length: None,
        options: Vec::new(),
        target: None,
        readable: true,
        writable_on_create: true,
        writable_on_update: true,
        required: false,
        unique: false,
        custom: false,
    };
    for word in words {
        mark(&mut field, word);
    }
    field
}

fn mark(field: &mut FieldSchema, word: &str) {
    let (sign, rest) = word.split_at(1);
    match sign {
        "!" => field.required = true,
        "-" => (field.writable_on_create, field.writable_on_update) = (false, false),
        "+" => field.writable_on_update = false,
        ">" => field.target = Some(ModuleName::new(rest)),
        "*" => (field.label, field.custom) = (rest.to_owned(), true),
        "=" => field.options = rest.split('|').enumerate().map(option).collect(),
        _ => field.max_length = Some(word.parse().unwrap()),
    }
}

/// `3:Label` has an ID, `Label` is its own, `Parent / Label` names the parent.
fn option((_, text): (usize, &str)) -> OptionSchema {
    let (id, label) = text.split_once(':').unwrap_or((text, text));
    let (parent, label) = match label.split_once(" / ") {
        Some((parent, label)) => (Some(parent.to_owned()), label),
        None => (None, label),
    };
    OptionSchema { id: id.to_owned(), label: label.to_owned(), parent }
}

pub(super) fn users(prefix: &str) -> Vec<User> {
    let user = |(id, name): (&str, &str)| User {
        id: format!("{prefix}{id}"),
        name: name.to_owned(),
        email: format!("{}@example.com", name.to_lowercase()),
        active: true,
    };
    [("1", "Ada"), ("2", "Bo")].into_iter().map(user).collect()
}

pub(super) fn zoho(name: &str) -> ModuleSchema {
    let lines = match name {
        "Accounts" => {
            "Account_Name  text  200  !
             Website  url  450
             Owner  user
             Employees  integer
             Annual_Revenue  money
             Phone  phone  30
             Billing_Street  text  250
             Billing_City  text  100
             Billing_State  text  100
             Billing_Code  text  30
             Billing_Country  text  100
             Description  long-text  32000
             Pipedrive_ID  text  100  *Pipedrive_ID"
        }
        "Contacts" => {
            "First_Name  text  40
             Last_Name  text  80  !
             Full_Name  text  -
             Email  email  100
             Phone  phone  30
             Mobile  phone  30
             Title  text  100
             Lead_Source  option  =-None-|Web Download|Trade Show
             Account_Name  lookup  >Accounts
             Date_of_Birth  date
             Description  long-text  32000
             Email_Opt_Out  bool
             Annual_Revenue  money
             Created_Time  timestamp  -
             Owner  user
             Pipedrive_ID  text  100  *Pipedrive_ID"
        }
        "Deals" => {
            "Deal_Name  text  120  !
             Amount  money
             Closing_Date  date
             Account_Name  lookup  >Accounts
             Contact_Name  lookup  >Contacts
             Stage  option  !  =Qualification|Needs Analysis|Value Proposition|Identify Decision Makers|Proposal/Price Quote|Negotiation/Review|Closed Won|Closed Lost|Closed-Lost to Competition
             Owner  user
             Pipedrive_ID  text  100  *Pipedrive_ID"
        }
        "Products" => {
            "Product_Name  text  200  !
             Product_Code  text  100
             Description  long-text  32000
             Usage_Unit  option  =-None-|Box|Each
             Product_Active  bool
             Owner  user
             Pipedrive_ID  text  100  *Pipedrive_ID"
        }
        "Tasks" => {
            "Subject  text  300  !
             Due_Date  date
             Description  long-text  32000
             Status  option  =Not Started|Deferred|In Progress|Completed|Waiting for input
             Who_Id  lookup  >Contacts
             What_Id  lookup
             Owner  user
             Pipedrive_ID  text  100  *Pipedrive_ID"
        }
        "Events" => {
            "Event_Title  text  255  !
             Start_DateTime  timestamp  !
             End_DateTime  timestamp  !
             Venue  text  255
             Description  long-text  32000
             Who_Id  lookup  >Contacts
             Owner  user
             Pipedrive_ID  text  100  *Pipedrive_ID"
        }
        "Notes" => {
            "Note_Title  text  120
             Note_Content  long-text  65535  !
             Parent_Id.Contacts  lookup  +  >Contacts
             Parent_Id.Deals  lookup  +  >Deals
             Parent_Id.module  text  +
             Owner  user"
        }
        "Leads" => {
            "Last_Name  text  80  !
             Company  text  200
             Owner  user
             Pipedrive_ID  text  100  *Pipedrive_ID"
        }
        other => panic!("no such module: {other}"),
    };
    module(name, lines)
}

pub(super) fn pipedrive(name: &str) -> ModuleSchema {
    let lines = match name {
        "organizations" => {
            "name  text  255  !
             owner_id  user
             website  url
             employee_count  integer
             annual_revenue  integer
             address  text
             address.route  text
             address.locality  text
             address.admin_area_level_1  text
             address.postal_code  text
             address.country  text
             label_ids  option-set  =1:Customer|2:Partner
             5e1fa0b37c9d4e2286d0a4f19b8a7c3d2e1f0a9b  text  255  *Zoho ID"
        }
        "persons" => {
            "name  text  255
             first_name  text  255
             last_name  text  255
             emails  email-list
             phones  phone-list
             phones[work]  phone
             phones[mobile]  phone
             org_id  lookup  >organizations
             owner_id  user
             job_title  text  255
             update_time  timestamp  -
             label_ids  option-set  =5:Hot|6:Cold
             a11ce0b37c9d4e2286d0a4f19b8a7c3d2e1f0a9b  option  =11:Website|12:Trade show  *Lead source
             b0b0e0b37c9d4e2286d0a4f19b8a7c3d2e1f0a9b  text  255  *Greeting
             c0c0e0b37c9d4e2286d0a4f19b8a7c3d2e1f0a9b  text  20  *Twin
             d0d0e0b37c9d4e2286d0a4f19b8a7c3d2e1f0a9b  text  20  *Twin
             e0e0e0b37c9d4e2286d0a4f19b8a7c3d2e1f0a9b  text  10  *Short
             5e1fa0b37c9d4e2286d0a4f19b8a7c3d2e1f0a9b  text  255  *Zoho ID"
        }
        "deals" => {
            "title  text  255  !
             value  money
             currency  currency
             expected_close_date  date
             person_id  lookup  >persons
             org_id  lookup  >organizations
             owner_id  user
             stage_id  option  =1:Sales / Qualified|2:Sales / Contact Made|3:Sales / Demo Scheduled|4:Sales / Proposal Made|5:Sales / Negotiations Started
             status  option  =open:Open|won:Won|lost:Lost
             5e1fa0b37c9d4e2286d0a4f19b8a7c3d2e1f0a9b  text  255  *Zoho ID"
        }
        "products" => {
            "name  text  255  !
             code  text  255
             description  long-text
             unit  text  255
             is_linkable  bool
             owner_id  user
             5e1fa0b37c9d4e2286d0a4f19b8a7c3d2e1f0a9b  text  255  *Zoho ID"
        }
        "activities" => {
            "subject  text
             type  option  =call:Call|meeting:Meeting|task:Task
             due_date  date
             done  bool
             note  rich-text
             person_id  lookup  >persons
             deal_id  lookup  >deals
             location  text
             owner_id  user"
        }
        "notes" => {
            "content  rich-text  100000  !
             person_id  lookup  >persons
             deal_id  lookup  >deals
             org_id  lookup  >organizations
             user_id  user"
        }
        "leads" => {
            "title  text  255  !
             owner_id  user
             person_id  lookup  >persons
             5e1fa0b37c9d4e2286d0a4f19b8a7c3d2e1f0a9b  text  255  *Zoho ID"
        }
        other => panic!("no such module: {other}"),
    };
    module(name, lines)
}
