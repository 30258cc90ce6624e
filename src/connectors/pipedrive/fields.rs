//! Built-in fields of each module, where the field lists and the records disagree or say too little.
//!
//! Source: Pipedrive API v2 and v1 references, body schemas of create and update; webhooks v2 migration guide.

use crmsync_core::model::schema::FieldKind;

use super::module::Module;

/// Who may write a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Create,
    Write,
}

/// A field that every record of a module has.
#[derive(Clone, Copy, Debug)]
pub(super) struct BuiltIn {
    /// Key in records; may carry a list entry's label or a composite's part.
    pub(super) key: &'static str,
    pub(super) label: &'static str,
    pub(super) kind: FieldKind,
    pub(super) access: Access,
    pub(super) target: Option<&'static str>,
    pub(super) required: bool,
    /// Only described when the account's field list has it: contact sync and add-ons bring these.
    pub(super) only_listed: bool,
}

impl BuiltIn {
    const fn to(self, module: &'static str) -> Self {
        Self { target: Some(module), ..self }
    }

    const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    const fn only_listed(self) -> Self {
        Self { only_listed: true, ..self }
    }

    pub(super) fn base(&self) -> &'static str {
        self.key.split(['[', '.']).next().unwrap_or(self.key)
    }
}

const fn read(key: &'static str, label: &'static str, kind: FieldKind) -> BuiltIn {
    let (access, target, required, only_listed) = (Access::Read, None, false, false);
    BuiltIn { key, label, kind, access, target, required, only_listed }
}

const fn create(key: &'static str, label: &'static str, kind: FieldKind) -> BuiltIn {
    BuiltIn { access: Access::Create, ..read(key, label, kind) }
}

const fn write(key: &'static str, label: &'static str, kind: FieldKind) -> BuiltIn {
    BuiltIn { access: Access::Write, ..read(key, label, kind) }
}

/// Parts of an address, and what people call them. Writing one sends them all: the API forgets what is left out.
pub(super) const ADDRESS_PARTS: &[(&str, &str)] = &[
    ("route", "street"),
    ("street_number", "house number"),
    ("subpremise", "apartment"),
    ("sublocality", "district"),
    ("locality", "city"),
    ("admin_area_level_2", "region"),
    ("admin_area_level_1", "state"),
    ("country", "country"),
    ("postal_code", "postal code"),
];

/// The part that the server writes itself.
pub(super) const FORMATTED_ADDRESS: &str = "formatted_address";

/// Labels that the web pages offer for e-mails and phones.
pub(super) const EMAIL_LABELS: &[&str] = &["work", "home", "other"];
pub(super) const PHONE_LABELS: &[&str] = &["work", "home", "mobile", "other"];

/// Codes of the field lists for keys that records call otherwise.
pub(super) const ALIASES: &[(&str, &str)] = &[
    ("email", "emails"),
    ("phone", "phones"),
    ("label", "label_ids"),
    ("user_id", "owner_id"),
    ("cc_email", "smart_bcc_email"),
    ("busy_flag", "busy"),
    ("selectable", "is_linkable"),
    ("created_by_user_id", "creator_user_id"),
    ("active_flag", "is_deleted"),
];

const ID: BuiltIn = read("id", "ID", FieldKind::Id);
const OWNER: BuiltIn = write("owner_id", "Owner", FieldKind::User);
const CREATOR: BuiltIn = read("creator_user_id", "Creator", FieldKind::User);
const ADDED: BuiltIn = read("add_time", "Created", FieldKind::Timestamp);
const ADDED_ON_CREATE: BuiltIn = create("add_time", "Created", FieldKind::Timestamp);
const UPDATED: BuiltIn = read("update_time", "Updated", FieldKind::Timestamp);
const VISIBLE: BuiltIn = write("visible_to", "Visible to", FieldKind::Option);
const LABELS: BuiltIn = write("label_ids", "Labels", FieldKind::OptionSet);
const PERSON: BuiltIn = write("person_id", "Person", FieldKind::Lookup).to("persons");
const ORGANIZATION: BuiltIn =
    write("org_id", "Organization", FieldKind::Lookup).to("organizations");
const DEAL: BuiltIn = write("deal_id", "Deal", FieldKind::Lookup).to("deals");
const LEAD: BuiltIn = write("lead_id", "Lead", FieldKind::Lookup).to("leads");

const ORGANIZATIONS: &[BuiltIn] = &[
    ID,
    write("name", "Name", FieldKind::Text).required(),
    OWNER,
    write("address", "Address", FieldKind::Text),
    write("website", "Website", FieldKind::Url),
    write("linkedin", "LinkedIn profile", FieldKind::Url),
    write("industry", "Industry", FieldKind::Option),
    write("annual_revenue", "Annual revenue", FieldKind::Integer),
    write("employee_count", "Number of employees", FieldKind::Integer),
    LABELS,
    VISIBLE,
    ADDED_ON_CREATE,
    UPDATED,
];

const PERSONS: &[BuiltIn] = &[
    ID,
    // One of the name and its parts is enough, so that none is required for itself.
    write("name", "Name", FieldKind::Text),
    write("first_name", "First name", FieldKind::Text),
    write("last_name", "Last name", FieldKind::Text),
    OWNER,
    ORGANIZATION,
    write("emails", "Email", FieldKind::EmailList),
    write("phones", "Phone", FieldKind::PhoneList),
    LABELS,
    VISIBLE,
    write("job_title", "Job title", FieldKind::Text).only_listed(),
    write("birthday", "Birthday", FieldKind::Date).only_listed(),
    write("notes", "Notes", FieldKind::LongText).only_listed(),
    write("postal_address", "Postal address", FieldKind::Text).only_listed(),
    write("marketing_status", "Marketing status", FieldKind::Option).only_listed(),
    ADDED_ON_CREATE,
    UPDATED,
];

const DEALS: &[BuiltIn] = &[
    ID,
    write("title", "Title", FieldKind::Text).required(),
    write("value", "Value", FieldKind::Money),
    write("currency", "Currency", FieldKind::Currency),
    OWNER,
    CREATOR,
    PERSON,
    ORGANIZATION,
    write("pipeline_id", "Pipeline", FieldKind::Option),
    write("stage_id", "Stage", FieldKind::Option),
    write("status", "Status", FieldKind::Option),
    write("probability", "Probability", FieldKind::Decimal),
    write("lost_reason", "Lost reason", FieldKind::Text),
    write("expected_close_date", "Expected close date", FieldKind::Date),
    write("won_time", "Won time", FieldKind::Timestamp),
    write("lost_time", "Lost time", FieldKind::Timestamp),
    write("close_time", "Deal closed on", FieldKind::Timestamp),
    read("stage_change_time", "Last stage change", FieldKind::Timestamp),
    LABELS,
    VISIBLE,
    read("is_archived", "Archived", FieldKind::Bool),
    read("origin", "Source origin", FieldKind::Text),
    read("origin_id", "Source origin ID", FieldKind::Text),
    read("channel", "Source channel", FieldKind::Option),
    read("channel_id", "Source channel ID", FieldKind::Text),
    read("acv", "Annual contract value", FieldKind::Money),
    read("arr", "Annual recurring revenue", FieldKind::Money),
    read("mrr", "Monthly recurring revenue", FieldKind::Money),
    ADDED,
    UPDATED,
];

const PRODUCTS: &[BuiltIn] = &[
    ID,
    write("name", "Name", FieldKind::Text).required(),
    write("code", "Product code", FieldKind::Text),
    write("description", "Description", FieldKind::LongText),
    write("unit", "Unit", FieldKind::Text),
    write("tax", "Tax", FieldKind::Decimal),
    write("category", "Category", FieldKind::Option),
    write("is_linkable", "Active", FieldKind::Bool),
    write("billing_frequency", "Billing frequency", FieldKind::Option),
    write("billing_frequency_cycles", "Billing cycles", FieldKind::Integer),
    OWNER,
    VISIBLE,
    ADDED,
    UPDATED,
];

const ACTIVITIES: &[BuiltIn] = &[
    ID,
    write("subject", "Subject", FieldKind::Text),
    write("type", "Type", FieldKind::Option),
    OWNER,
    CREATOR,
    DEAL,
    LEAD,
    // Written as the primary one of `participants`; the key itself is read-only.
    PERSON,
    ORGANIZATION,
    write("due_date", "Due date", FieldKind::Date),
    write("due_time", "Due time", FieldKind::Time),
    write("duration", "Duration", FieldKind::Duration),
    write("done", "Done", FieldKind::Bool),
    write("busy", "Busy", FieldKind::Bool),
    write("location", "Location", FieldKind::Text),
    write("public_description", "Public description", FieldKind::LongText),
    write("note", "Note", FieldKind::RichText),
    write("priority", "Priority", FieldKind::Option),
    read("marked_as_done_time", "Marked as done time", FieldKind::Timestamp),
    read("conference_meeting_url", "Conference meeting URL", FieldKind::Url),
    ADDED,
    UPDATED,
];

const NOTES: &[BuiltIn] = &[
    ID,
    write("content", "Content", FieldKind::RichText).required(),
    write("user_id", "Author", FieldKind::User),
    DEAL,
    PERSON,
    ORGANIZATION,
    LEAD,
    write("pinned_to_deal_flag", "Pinned to deal", FieldKind::Bool),
    write("pinned_to_person_flag", "Pinned to person", FieldKind::Bool),
    write("pinned_to_organization_flag", "Pinned to organization", FieldKind::Bool),
    write("pinned_to_lead_flag", "Pinned to lead", FieldKind::Bool),
    ADDED_ON_CREATE,
    UPDATED,
];

const LEADS: &[BuiltIn] = &[
    ID,
    write("title", "Title", FieldKind::Text).required(),
    write("value.amount", "Value", FieldKind::Money),
    write("value.currency", "Currency", FieldKind::Currency),
    OWNER,
    read("creator_id", "Creator", FieldKind::User),
    PERSON,
    write("organization_id", "Organization", FieldKind::Lookup).to("organizations"),
    write("expected_close_date", "Expected close date", FieldKind::Date),
    LABELS,
    VISIBLE,
    write("was_seen", "Seen", FieldKind::Bool),
    read("is_archived", "Archived", FieldKind::Bool),
    read("source_name", "Source", FieldKind::Text),
    ADDED,
    UPDATED,
];

/// Built-in fields of `module`, list entries, prices and address parts not included.
pub(super) fn built_in(module: &Module) -> &'static [BuiltIn] {
    match module.name {
        "organizations" => ORGANIZATIONS,
        "persons" => PERSONS,
        "deals" => DEALS,
        "products" => PRODUCTS,
        "activities" => ACTIVITIES,
        "leads" => LEADS,
        _ => NOTES,
    }
}

/// Fields that hold an address object.
pub(super) fn is_address(key: &str) -> bool {
    matches!(key, "address" | "location" | "postal_address")
}
