//! The modules, fields and picklists of a fresh organisation.
//!
//! Fields are written as `Api_Name:type`, with a length after the type where it differs, `!` for mandatory,
//! `-` for read-only and `>Module` for the target of a lookup.
//! Source: Zoho CRM API v8, "Fields metadata", "Insert records"; lengths outside Leads follow the help pages.

use super::schema::{Field, FieldType, PickOption};

/// `api_name`, `module_name`, name field, field upsert checks first, fields.
pub(super) const MODULES: &[(&str, &str, &str, Option<&str>, &str)] = &[
    ("Leads", "Leads", "Full_Name", Some("Email"), LEADS),
    ("Accounts", "Accounts", "Account_Name", Some("Account_Name"), ACCOUNTS),
    ("Contacts", "Contacts", "Full_Name", Some("Email"), CONTACTS),
    ("Deals", "Deals", "Deal_Name", Some("Deal_Name"), DEALS),
    ("Products", "Products", "Product_Name", Some("Product_Name"), PRODUCTS),
    ("Tasks", "Tasks", "Subject", None, TASKS),
    ("Events", "Meetings", "Event_Title", None, EVENTS),
    ("Calls", "Calls", "Subject", None, CALLS),
    ("Notes", "Notes", "Note_Title", None, NOTES),
    ("Campaigns", "Campaigns", "Campaign_Name", Some("Campaign_Name"), CAMPAIGNS),
    ("Vendors", "Vendors", "Vendor_Name", Some("Vendor_Name"), VENDORS),
    ("Cases", "Cases", "Subject", Some("Subject"), CASES),
];

/// Before the own fields of every module but Notes.
const COMMON: &str = "id:bi- Owner:own Created_By:user- Modified_By:user- Created_Time:dt- Modified_Time:dt- \
    Last_Activity_Time:dt- Tag:tag Layout:layout Record_Status__s:pl- Locked__s:bool- Change_Log_Time__s:dt- \
    Description:ta";

const LEADS: &str = "Salutation:pl First_Name:t40 Last_Name:t80! Full_Name:t120- Company:t200 Designation:t100 \
    Email:em Secondary_Email:em Phone:ph Mobile:ph Fax:t30 Website:web255 Lead_Source:pl Lead_Status:pl Industry:pl \
    Rating:pl No_of_Employees:int Annual_Revenue:cur Street:t250 City:t100 State:t100 Country:t100 Zip_Code:t30 \
    Skype_ID:t50 Twitter:t50 Email_Opt_Out:bool Unsubscribed_Mode:pl- Unsubscribed_Time:dt- Converted__s:bool- \
    Converted_Date_Time:dt- Converted_Account:lk->Accounts Converted_Contact:lk->Contacts \
    Converted_Deal:lk->Deals Lead_Conversion_Time:dbl- Visitor_Score:bi-";

const ACCOUNTS: &str = "Account_Name:t200! Account_Number:bi Account_Site:t80 Account_Type:pl Parent_Account:lk>Accounts \
    Industry:pl Ownership:pl Rating:pl SIC_Code:int Ticker_Symbol:t30 Employees:int Annual_Revenue:cur Phone:ph Fax:t30 \
    Website:web255 Billing_Street:t250 Billing_City:t100 Billing_State:t100 Billing_Code:t30 Billing_Country:t100 \
    Shipping_Street:t250 Shipping_City:t100 Shipping_State:t100 Shipping_Code:t30 Shipping_Country:t100";

const CONTACTS: &str = "Salutation:pl First_Name:t40 Last_Name:t80! Full_Name:t120- Account_Name:lk>Accounts \
    Vendor_Name:lk>Vendors Email:em Secondary_Email:em Title:t100 Department:t50 Phone:ph50 Home_Phone:ph Other_Phone:ph \
    Mobile:ph Fax:t30 Assistant:t50 Asst_Phone:ph Date_of_Birth:d Lead_Source:pl Reporting_To:lk>Contacts \
    Mailing_Street:t250 Mailing_City:t100 Mailing_State:t100 Mailing_Zip:t30 Mailing_Country:t100 Other_Street:t250 \
    Other_City:t100 Other_State:t100 Other_Zip:t30 Other_Country:t100 Email_Opt_Out:bool Skype_ID:t50 Twitter:t50 \
    Unsubscribed_Mode:pl- Unsubscribed_Time:dt-";

const DEALS: &str = "Deal_Name:t120! Account_Name:lk>Accounts Contact_Name:lk>Contacts Campaign_Source:lk>Campaigns \
    Amount:cur Closing_Date:d Stage:pl! Pipeline:pl Probability:int Expected_Revenue:cur- Next_Step:t100 Type:pl \
    Lead_Source:pl Reason_For_Loss__s:pl Overall_Sales_Duration:int- Sales_Cycle_Duration:int- Lead_Conversion_Time:int-";

const PRODUCTS: &str = "Product_Name:t200! Product_Code:t40 Product_Active:bool Product_Category:pl Manufacturer:pl \
    Vendor_Name:lk>Vendors Unit_Price:cur Commission_Rate:cur Tax:mpl Taxable:bool Usage_Unit:pl Qty_in_Stock:dbl \
    Qty_in_Demand:dbl Qty_Ordered:dbl Reorder_Level:dbl Sales_Start_Date:d Sales_End_Date:d Support_Start_Date:d \
    Support_Expiry_Date:d Handler:user";

const TASKS: &str = "Subject:t300! Due_Date:d Status:pl Priority:pl Who_Id:lk>Contacts What_Id:any Closed_Time:dt- \
    Remind_At:alarm Recurring_Activity:rrule Send_Notification_Email:bool";

const EVENTS: &str = "Event_Title:t255! Start_DateTime:dt! End_DateTime:dt! All_day:bool Venue:t255 Participants:json \
    Who_Id:lk>Contacts What_Id:any Remind_At:json Recurring_Activity:rrule Remind_Participants:json Check_In_Status:pl-";

const CALLS: &str = "Subject:t255! Call_Type:pl! Call_Start_Time:dt! Call_Duration:t30! Call_Duration_in_seconds:int- \
    Call_Purpose:pl Call_Agenda:t255 Call_Result:pl Outgoing_Call_Status:pl Caller_ID:t255 Dialled_Number:ph \
    CTI_Entry:bool- Reminder:remind Voice_Recording__s:web Who_Id:lk>Contacts What_Id:any";

const NOTES: &str = "id:bi- Owner:own Created_By:user- Modified_By:user- Created_Time:dt- Modified_Time:dt- \
    Note_Title:t120 Note_Content:t65535! Parent_Id:any!";

const CAMPAIGNS: &str = "Campaign_Name:t200! Type:pl Status:pl Start_Date:d End_Date:d Expected_Revenue:cur \
    Budgeted_Cost:cur Actual_Cost:cur Expected_Response:bi Num_sent:bi Parent_Campaign:lk>Campaigns";

const VENDORS: &str = "Vendor_Name:t120! Email:em Phone:ph Website:web Category:t50 GL_Account:pl Street:t250 City:t100 \
    State:t100 Zip_Code:t30 Country:t100";

const CASES: &str = "Case_Number:auto- Subject:t255! Status:pl! Case_Origin:pl! Type:pl Priority:pl Case_Reason:pl \
    Product_Name:lk>Products Account_Name:lk>Accounts Deal_Name:lk>Deals Related_To:lk>Contacts Reported_By:t50 \
    Email:em Phone:ph Solution:ta Internal_Comments:ta";

/// Main field of a custom module.
const CUSTOM: &str = "Name:t120! Email:em Secondary_Email:em";

/// `display=actual` where they differ, by `Module.Field` or, for all modules, `Field`.
const OPTIONS: &[(&str, &[&str])] = &[
    ("Salutation", &["Mr.", "Mrs.", "Ms.", "Dr.", "Prof."]),
    (
        "Lead_Source",
        &[
            "Advertisement",
            "Cold Call",
            "Employee Referral",
            "External Referral",
            "Partner",
            "Public Relations",
            "Trade Show",
            "Web Research",
            "Chat",
        ],
    ),
    (
        "Lead_Status",
        &[
            "Attempted to Contact",
            "Contact in Future",
            "Contacted",
            "Junk Lead",
            "Lost Lead",
            "Not Contacted",
            "Pre-Qualified",
            "Not Qualified",
        ],
    ),
    (
        "Industry",
        &[
            "Communications",
            "Consulting",
            "Education",
            "Financial Services",
            "Government/Military",
            "Manufacturing",
            "Real Estate",
            "Technology",
        ],
    ),
    ("Rating", &["Acquired", "Active", "Market Failed", "Project Cancelled", "Shut Down"]),
    (
        "Account_Type",
        &[
            "Analyst",
            "Competitor",
            "Customer",
            "Distributor",
            "Investor",
            "Partner",
            "Prospect",
            "Supplier",
            "Vendor",
            "Other",
        ],
    ),
    (
        "Ownership",
        &[
            "Other",
            "Private",
            "Public",
            "Subsidiary",
            "Partnership",
            "Government",
            "Privately Held",
            "Public Company",
        ],
    ),
    ("Stage", STAGES),
    ("Pipeline", &["Standard (Standard)"]),
    ("Deals.Type", &["Existing Business", "New Business"]),
    (
        "Reason_For_Loss__s",
        &[
            "Expectation Mismatch",
            "Price",
            "Unqualified Customer",
            "Lack of response",
            "Missed Follow Ups",
            "Wrong Target",
            "Competition",
            "Future Interest",
            "Other",
        ],
    ),
    ("Product_Category", &["Hardware", "Software", "CRM Applications"]),
    ("Manufacturer", &["AltvetPet Inc.", "LexPon Inc.", "MetBeat Corp."]),
    ("Usage_Unit", &["Box", "Carton", "Dozen", "Each", "Hours", "Piece", "Unit"]),
    ("Tasks.Status", &["Not Started", "Deferred", "In Progress", "Completed", "Waiting for input"]),
    ("Priority", &["High", "Highest", "Low", "Lowest", "Normal"]),
    ("Call_Type", &["Outbound", "Inbound", "Missed"]),
    ("Call_Purpose", &["Prospecting", "Administrative", "Negotiation", "Demo", "Project", "Desk"]),
    (
        "Call_Result",
        &[
            "Interested",
            "Not interested",
            "No response/Busy",
            "Requested more info",
            "Requested call back",
            "Invalid number",
        ],
    ),
    ("Outgoing_Call_Status", &["Scheduled", "Completed", "Overdue", "Cancelled"]),
    (
        "Campaigns.Type",
        &[
            "Conference",
            "Webinar",
            "Trade Show",
            "Public Relations",
            "Partners",
            "Referral Program",
            "Advertisement",
            "Email",
            "Telemarketing",
        ],
    ),
    ("Campaigns.Status", &["Planning", "Active", "Inactive", "Complete"]),
    ("GL_Account", &["Sales-Software", "Sales-Hardware", "Rental Income", "Interest Income"]),
    ("Cases.Status", &["New", "On Hold", "Escalated", "Closed"]),
    ("Case_Origin", &["Email", "Phone", "Web", "Twitter", "Facebook"]),
    ("Cases.Type", &["Problem", "Feature Request", "Question"]),
    (
        "Case_Reason",
        &[
            "User did not attend any training",
            "Complex functionality",
            "Existing problem",
            "New problem",
        ],
    ),
    ("Record_Status__s", &["Available", "Draft", "Trash"]),
];

const STAGES: &[&str] = &[
    "Qualification",
    "Needs Analysis",
    "Value Proposition",
    "Identify Decision Makers=Id. Decision Makers",
    "Proposal/Price Quote",
    "Negotiation/Review",
    "Closed Won",
    "Closed Lost",
    "Closed-Lost to Competition=Closed Lost to Competition",
];

/// Forecast type and probability of a stage, by its actual value.
pub(super) fn stage(actual: &str) -> (&'static str, u64) {
    match actual {
        "Qualification" => ("Open", 10),
        "Needs Analysis" => ("Open", 20),
        "Value Proposition" => ("Open", 40),
        "Id. Decision Makers" => ("Open", 60),
        "Proposal/Price Quote" => ("Open", 75),
        "Negotiation/Review" => ("Open", 90),
        "Closed Won" => ("Closed Won", 100),
        "Closed Lost" | "Closed Lost to Competition" => ("Closed Lost", 0),
        _ => ("Open", 50),
    }
}

/// The fields of a standard module.
pub(super) fn fields(module: &str, own: &str) -> Vec<Field> {
    let common = if module == "Notes" { "" } else { COMMON };
    parse(module, common).into_iter().chain(parse(module, own)).collect()
}

/// The fields of a new custom module.
pub(super) fn custom_fields(module: &str) -> Vec<Field> {
    fields(module, CUSTOM)
}

fn parse(module: &str, text: &str) -> Vec<Field> {
    text.split_whitespace().filter_map(|spec| field(module, spec)).collect()
}

fn field(module: &str, spec: &str) -> Option<Field> {
    let (name, rest) = spec.split_once(':')?;
    let (rest, target) =
        rest.split_once('>').map_or((rest, None), |(rest, target)| (rest, Some(target)));
    let kind = rest.trim_end_matches(['!', '-']).trim_end_matches(|c: char| c.is_ascii_digit());
    let length = rest.trim_end_matches(['!', '-'])[kind.len()..].parse();
    let mut field = Field::new(name, kind_of(kind)?);
    field.custom = false;
    field.mandatory = rest.contains('!');
    field.read_only |= rest.contains('-');
    field.unseen = matches!(name, "id" | "Layout");
    field.length = length.unwrap_or(field.length);
    field.target = target.map(str::to_owned);
    field.options = options(module, name);
    Some(field)
}

fn kind_of(text: &str) -> Option<FieldType> {
    Some(match text {
        "t" => FieldType::Text,
        "ta" => FieldType::LargeText,
        "em" => FieldType::Email,
        "ph" => FieldType::Phone,
        "web" => FieldType::Website,
        "pl" => FieldType::Picklist,
        "mpl" => FieldType::MultiPicklist,
        "bool" => FieldType::Boolean,
        "int" => FieldType::Integer,
        "bi" => FieldType::Bigint,
        "dbl" => FieldType::Double,
        "cur" => FieldType::Currency,
        "d" => FieldType::Date,
        "dt" => FieldType::DateTime,
        "auto" => FieldType::Autonumber,
        "lk" => FieldType::Lookup,
        "own" => FieldType::Owner,
        "user" => FieldType::User,
        "any" => FieldType::MultiModule,
        "tag" => FieldType::Tag,
        "layout" => FieldType::Layout,
        "json" => FieldType::Json,
        "alarm" => FieldType::Alarm,
        "rrule" => FieldType::Recurrence,
        "remind" => FieldType::CallReminder,
        _ => return None,
    })
}

fn options(module: &str, name: &str) -> Vec<PickOption> {
    let own = format!("{module}.{name}");
    let listed = OPTIONS
        .iter()
        .find(|(key, _)| *key == own)
        .or_else(|| OPTIONS.iter().find(|(key, _)| *key == name));
    let split = |text: &&str| {
        let (display, actual) = text.split_once('=').unwrap_or((text, text));
        PickOption { display: display.into(), actual: actual.into(), id: 0 }
    };
    listed.map_or_else(Vec::new, |(_, options)| options.iter().map(split).collect())
}
