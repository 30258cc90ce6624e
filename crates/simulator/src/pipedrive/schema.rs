//! Built-in fields: what they take, who may write them, what they are called. Validation, defaults and
//! the Fields API read this one table.
//!
//! Source: Pipedrive API v2, request and response schemas of each entity.

use serde_json::{Map, Value, json};

use super::kind::Kind;

/// What a field takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
    Text,
    /// Sanitized on the server.
    Html,
    Int,
    Number,
    Bool,
    /// 0, 1, false or true, as v1 takes them.
    Flag,
    Date,
    /// A time of day or a duration.
    OfDay,
    Stamp,
    Ids,
    Uuids,
    Contacts,
    Address,
    Participants,
    Attendees,
    Prices,
    /// `{amount, currency}`
    Amount,
    Currency,
    Visibility,
    Word(&'static [&'static str]),
    User,
    Link(Kind),
    LeadLink,
    /// Option id of the field itself.
    Option,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Access {
    Write,
    CreateOnly,
    ReadOnly,
}

/// A built-in field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) key: &'static str,
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) access: Access,
    /// Whether a write of null is taken.
    pub(super) nullable: bool,
}

use Access::{CreateOnly, ReadOnly, Write};
use Shape::{
    Address, Amount, Attendees, Bool, Contacts, Currency, Date, Flag, Html, Ids, Int, LeadLink,
    Link, Number, OfDay, Participants, Prices, Stamp, Text, User, Uuids, Visibility, Word,
};

const fn set(key: &'static str, name: &'static str, shape: Shape) -> Column {
    Column { key, name, shape, access: Write, nullable: false }
}

const fn clear(key: &'static str, name: &'static str, shape: Shape) -> Column {
    Column { key, name, shape, access: Write, nullable: true }
}

const fn once(key: &'static str, name: &'static str, shape: Shape) -> Column {
    Column { key, name, shape, access: CreateOnly, nullable: false }
}

const fn read(key: &'static str, name: &'static str, shape: Shape) -> Column {
    Column { key, name, shape, access: ReadOnly, nullable: true }
}

const PERSON: &[Column] = &[
    read("id", "ID", Int),
    set("name", "Name", Text),
    clear("first_name", "First name", Text),
    clear("last_name", "Last name", Text),
    set("owner_id", "Owner", User),
    clear("org_id", "Organization", Link(Kind::Organization)),
    once("add_time", "Person created", Stamp),
    read("update_time", "Update time", Stamp),
    set("emails", "Email", Contacts),
    set("phones", "Phone", Contacts),
    read("is_deleted", "Deleted", Bool),
    set("visible_to", "Visible to", Visibility),
    set("label_ids", "Labels", Ids),
    read("picture_id", "Profile picture", Int),
];

/// Fields of a person that exist with contact sync only.
pub(super) const CONTACT_SYNC: &[Column] = &[
    clear("postal_address", "Postal address", Address),
    clear("notes", "Notes", Text),
    set("im", "Instant messenger", Contacts),
    clear("birthday", "Birthday", Date),
    clear("job_title", "Job title", Text),
];

const ORGANIZATION: &[Column] = &[
    read("id", "ID", Int),
    set("name", "Name", Text),
    set("owner_id", "Owner", User),
    once("add_time", "Organization created", Stamp),
    read("update_time", "Update time", Stamp),
    read("is_deleted", "Deleted", Bool),
    set("visible_to", "Visible to", Visibility),
    set("label_ids", "Labels", Ids),
    read("picture_id", "Profile picture", Int),
    clear("address", "Address", Address),
    clear("website", "Website", Text),
    clear("linkedin", "LinkedIn", Text),
    clear("industry", "Industry", Shape::Option),
    clear("annual_revenue", "Annual revenue", Int),
    clear("employee_count", "Employee count", Int),
];

const DEAL: &[Column] = &[
    read("id", "ID", Int),
    set("title", "Title", Text),
    read("creator_user_id", "Creator", User),
    set("owner_id", "Owner", User),
    clear("value", "Value", Number),
    set("currency", "Currency", Currency),
    clear("person_id", "Person", Link(Kind::Person)),
    clear("org_id", "Organization", Link(Kind::Organization)),
    set("pipeline_id", "Pipeline", Link(Kind::Pipeline)),
    set("stage_id", "Stage", Link(Kind::Stage)),
    set("status", "Status", Word(&["open", "won", "lost"])),
    clear("probability", "Probability", Number),
    clear("lost_reason", "Lost reason", Text),
    set("expected_close_date", "Expected close date", Date),
    read("add_time", "Deal created", Stamp),
    read("update_time", "Update time", Stamp),
    read("stage_change_time", "Last stage change", Stamp),
    clear("close_time", "Deal closed on", Stamp),
    clear("won_time", "Won time", Stamp),
    clear("lost_time", "Lost time", Stamp),
    read("local_won_date", "Local won date", Date),
    read("local_lost_date", "Local lost date", Date),
    read("local_close_date", "Local close date", Date),
    set("visible_to", "Visible to", Visibility),
    set("label_ids", "Labels", Ids),
    read("is_deleted", "Deleted", Bool),
    set("is_archived", "Archive status", Bool),
    set("archive_time", "Archive time", Text),
    read("origin", "Source origin", Text),
    read("origin_id", "Source origin ID", Text),
    read("channel", "Source channel", Int),
    read("channel_id", "Source channel ID", Text),
    read("acv", "Annual contract value", Number),
    read("arr", "Annual recurring revenue", Number),
    read("mrr", "Monthly recurring revenue", Number),
];

const ACTIVITY: &[Column] = &[
    read("id", "ID", Int),
    set("subject", "Subject", Text),
    set("type", "Type", Text),
    set("owner_id", "Assigned to user", User),
    read("creator_user_id", "Creator", User),
    read("is_deleted", "Deleted", Bool),
    read("add_time", "Add time", Stamp),
    read("update_time", "Update time", Stamp),
    clear("deal_id", "Deal", Link(Kind::Deal)),
    clear("lead_id", "Lead", LeadLink),
    read("person_id", "Contact person", Link(Kind::Person)),
    clear("org_id", "Organization", Link(Kind::Organization)),
    clear("project_id", "Project", Int),
    clear("due_date", "Due date", Date),
    clear("due_time", "Due time", OfDay),
    clear("duration", "Duration", OfDay),
    set("busy", "Free/busy", Bool),
    set("done", "Done", Bool),
    read("marked_as_done_time", "Marked as done time", Stamp),
    clear("location", "Location", Address),
    set("participants", "Participants", Participants),
    set("attendees", "Attendees", Attendees),
    read("conference_meeting_client", "Conference client", Text),
    read("conference_meeting_url", "Conference URL", Text),
    read("conference_meeting_id", "Conference ID", Text),
    clear("public_description", "Public description", Text),
    clear("priority", "Priority", Shape::Option),
    clear("note", "Note", Html),
    read("private", "Private", Bool),
];

const PRODUCT: &[Column] = &[
    read("id", "ID", Int),
    set("name", "Name", Text),
    clear("code", "Product code", Text),
    clear("description", "Description", Text),
    clear("unit", "Unit", Text),
    set("tax", "Tax", Number),
    clear("category", "Category", Shape::Option),
    set("is_linkable", "Active", Bool),
    read("is_deleted", "Deleted", Bool),
    set("visible_to", "Visible to", Visibility),
    set("owner_id", "Owner", User),
    read("add_time", "Product created", Stamp),
    read("update_time", "Update time", Stamp),
    set(
        "billing_frequency",
        "Billing frequency",
        Word(&["one-time", "annually", "semi-annually", "quarterly", "monthly", "weekly"]),
    ),
    clear("billing_frequency_cycles", "Billing frequency cycles", Int),
    set("prices", "Unit prices", Prices),
];

const PIPELINE: &[Column] = &[
    read("id", "ID", Int),
    set("name", "Name", Text),
    read("order_nr", "Order", Int),
    read("is_deleted", "Deleted", Bool),
    set("is_deal_probability_enabled", "Deal probability", Bool),
    read("is_selected", "Selected", Bool),
    read("add_time", "Add time", Stamp),
    read("update_time", "Update time", Stamp),
];

const STAGE: &[Column] = &[
    read("id", "ID", Int),
    set("name", "Name", Text),
    read("order_nr", "Order", Int),
    set("pipeline_id", "Pipeline", Link(Kind::Pipeline)),
    set("deal_probability", "Deal probability", Int),
    set("is_deal_rot_enabled", "Deal rotting", Bool),
    clear("days_to_rotten", "Days to rotten", Int),
    read("is_deleted", "Deleted", Bool),
    read("add_time", "Add time", Stamp),
    read("update_time", "Update time", Stamp),
];

const NOTE: &[Column] = &[
    read("id", "ID", Int),
    set("content", "Content", Html),
    clear("lead_id", "Lead", LeadLink),
    clear("deal_id", "Deal", Link(Kind::Deal)),
    clear("person_id", "Person", Link(Kind::Person)),
    clear("org_id", "Organization", Link(Kind::Organization)),
    clear("project_id", "Project", Int),
    clear("task_id", "Task", Int),
    set("user_id", "Author", User),
    set("add_time", "Add time", Stamp),
    read("update_time", "Update time", Stamp),
    set("pinned_to_lead_flag", "Pinned to lead", Flag),
    set("pinned_to_deal_flag", "Pinned to deal", Flag),
    set("pinned_to_organization_flag", "Pinned to organization", Flag),
    set("pinned_to_person_flag", "Pinned to person", Flag),
    set("pinned_to_project_flag", "Pinned to project", Flag),
    set("pinned_to_task_flag", "Pinned to task", Flag),
    read("last_update_user_id", "Last updated by", User),
];

const LEAD: &[Column] = &[
    read("id", "ID", Text),
    set("title", "Title", Text),
    set("owner_id", "Owner", User),
    read("creator_id", "Creator", User),
    set("label_ids", "Labels", Uuids),
    clear("value", "Value", Amount),
    clear("expected_close_date", "Expected close date", Date),
    clear("person_id", "Person", Link(Kind::Person)),
    clear("organization_id", "Organization", Link(Kind::Organization)),
    set("is_archived", "Archived", Bool),
    read("archive_time", "Archive time", Stamp),
    read("source_name", "Source", Text),
    read("source_deal_id", "Source deal", Int),
    read("origin", "Source origin", Text),
    clear("origin_id", "Source origin ID", Text),
    clear("channel", "Source channel", Int),
    clear("channel_id", "Source channel ID", Text),
    set("was_seen", "Seen", Bool),
    read("next_activity_id", "Next activity", Int),
    read("add_time", "Lead created", Stamp),
    read("update_time", "Update time", Stamp),
    set("visible_to", "Visible to", Visibility),
    read("cc_email", "Smart BCC", Text),
];

const DEAL_PRODUCT: &[Column] = &[
    read("id", "ID", Int),
    read("deal_id", "Deal", Link(Kind::Deal)),
    set("product_id", "Product", Link(Kind::Product)),
    clear("product_variation_id", "Variation", Int),
    read("name", "Name", Text),
    set("item_price", "Price", Number),
    set("quantity", "Quantity", Number),
    read("sum", "Sum", Number),
    set("tax", "Tax", Number),
    set("tax_method", "Tax method", Word(&["exclusive", "inclusive", "none"])),
    set("discount", "Discount", Number),
    set("discount_type", "Discount type", Word(&["percentage", "amount"])),
    read("currency", "Currency", Currency),
    set("comments", "Comments", Text),
    set("is_enabled", "Enabled", Bool),
    read("order_nr", "Order", Int),
    set(
        "billing_frequency",
        "Billing frequency",
        Word(&["one-time", "annually", "semi-annually", "quarterly", "monthly", "weekly"]),
    ),
    clear("billing_frequency_cycles", "Billing frequency cycles", Int),
    clear("billing_start_date", "Billing start date", Date),
    read("add_time", "Add time", Stamp),
    read("update_time", "Update time", Stamp),
];

/// Built-in fields of a kind, without those of contact sync.
pub(super) fn columns(kind: Kind) -> &'static [Column] {
    match kind {
        Kind::Person => PERSON,
        Kind::Organization => ORGANIZATION,
        Kind::Deal => DEAL,
        Kind::Activity => ACTIVITY,
        Kind::Product => PRODUCT,
        Kind::Pipeline => PIPELINE,
        Kind::Stage => STAGE,
        Kind::Note => NOTE,
        Kind::Lead => LEAD,
        Kind::DealProduct => DEAL_PRODUCT,
    }
}

/// A new record's body before anything is known about it.
pub(super) fn blank(kind: Kind, contact_sync: bool) -> Map<String, Value> {
    let extra = if kind == Kind::Person && contact_sync { CONTACT_SYNC } else { &[] };
    let keys = columns(kind).iter().chain(extra).filter(|column| column.key != "attendees");
    keys.map(|column| (column.key.to_owned(), empty(kind, column))).collect()
}

fn empty(kind: Kind, column: &Column) -> Value {
    match (column.shape, column.key) {
        (_, "is_linkable" | "is_enabled") => json!(true),
        (_, "private") | (Bool | Flag, _) => json!(false),
        (Ids | Uuids | Contacts | Participants | Attendees | Prices, _) => json!([]),
        (_, "value") if kind == Kind::Deal => json!(0),
        (_, "tax" | "discount") => json!(0),
        (_, "tax_method") => json!("inclusive"),
        (_, "discount_type") => json!("percentage"),
        (_, "comments") => json!(""),
        (_, "billing_frequency") => json!("one-time"),
        (_, "status") => json!("open"),
        (_, "deal_probability") => json!(100),
        (Visibility, _) => json!(3),
        _ => Value::Null,
    }
}

/// The field type that the Fields API names.
pub(super) fn field_type(kind: Kind, column: &Column) -> &'static str {
    match (column.shape, column.key) {
        (Ids | Uuids, _) => "set",
        (_, "status") => "status",
        (_, "stage_id") => "stage",
        (Text | Currency | LeadLink, _) => "varchar",
        (_, "picture_id") => "picture",
        (_, "billing_frequency") => "billing_frequency",
        (_, "value") if kind == Kind::Deal => "monetary",
        (_, "prices") => "price_list",
        (Html, _) => "text",
        (Number, _) => "double",
        (Bool | Flag, _) => "boolean",
        (Date | Stamp, _) => "date",
        (OfDay, _) => "time",
        (Contacts, _) => {
            if column.key == "emails" {
                "varchar"
            } else {
                "phone"
            }
        }
        (Address, _) => "address",
        (Participants | Attendees | Prices | Amount, _) => "json",
        (Visibility, _) => "visible_to",
        (Word(_) | Shape::Option, _) => "enum",
        (User, _) => "user",
        (Link(Kind::Organization), _) => "org",
        (Link(Kind::Person), _) => "people",
        (Link(Kind::Deal), _) => "deal",
        (Link(Kind::Lead), _) => "lead",
        (
            Int
            | Link(
                Kind::Activity
                | Kind::Product
                | Kind::Pipeline
                | Kind::Stage
                | Kind::Note
                | Kind::DealProduct,
            ),
            _,
        ) => "int",
    }
}

/// Optional fields that `include_fields` may name.
pub(super) fn optional(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Person => &[
            "next_activity_id",
            "last_activity_id",
            "open_deals_count",
            "related_open_deals_count",
            "closed_deals_count",
            "related_closed_deals_count",
            "participant_open_deals_count",
            "participant_closed_deals_count",
            "email_messages_count",
            "activities_count",
            "done_activities_count",
            "undone_activities_count",
            "files_count",
            "notes_count",
            "followers_count",
            "won_deals_count",
            "related_won_deals_count",
            "lost_deals_count",
            "related_lost_deals_count",
            "last_incoming_mail_time",
            "last_outgoing_mail_time",
            "marketing_status",
            "doi_status",
            "smart_bcc_email",
        ],
        Kind::Organization => &[
            "next_activity_id",
            "last_activity_id",
            "open_deals_count",
            "related_open_deals_count",
            "closed_deals_count",
            "related_closed_deals_count",
            "email_messages_count",
            "people_count",
            "activities_count",
            "done_activities_count",
            "undone_activities_count",
            "files_count",
            "notes_count",
            "followers_count",
            "won_deals_count",
            "related_won_deals_count",
            "lost_deals_count",
            "related_lost_deals_count",
            "smart_bcc_email",
        ],
        Kind::Deal => &[
            "next_activity_id",
            "last_activity_id",
            "first_won_time",
            "products_count",
            "files_count",
            "notes_count",
            "followers_count",
            "email_messages_count",
            "activities_count",
            "done_activities_count",
            "undone_activities_count",
            "participants_count",
            "last_incoming_mail_time",
            "last_outgoing_mail_time",
            "smart_bcc_email",
            "source_lead_id",
        ],
        Kind::Activity => &["attendees"],
        Kind::Product
        | Kind::Pipeline
        | Kind::Stage
        | Kind::Note
        | Kind::Lead
        | Kind::DealProduct => &[],
    }
}
