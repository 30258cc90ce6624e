//! The modules that can be mapped: where each is read and written, in which dialect, at what price.

use super::super::{Cost, ErrorKind, Operation};

/// How the API writes a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Strict types, custom fields under `custom_fields`, composites as objects, RFC 3339 times.
    V2,
    /// Custom fields flat at the root with suffixes such as `KEY_currency`, offset pages.
    V1,
}

/// A module and its paths. Source: Pipedrive API v2 and v1 references, paths and `x-token-cost`.
#[derive(Debug)]
pub(super) struct Module {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    /// What one record is called, in refusals and in `/recents`.
    pub(super) singular: &'static str,
    pub(super) dialect: Dialect,
    /// List and create; a record is one segment below.
    pub(super) path: &'static str,
    /// A separate list of archived records, which the main list leaves out.
    pub(super) archived_path: Option<&'static str>,
    /// Field metadata that holds this module's custom fields.
    pub(super) fields_path: Option<&'static str>,
    pub(super) custom_fields: bool,
    /// Deleted rows come in `/recents`.
    pub(super) in_recents: bool,
    /// Path of a record in the web pages.
    pub(super) page: Option<&'static str>,
    /// Field changes can be read at `/api/v1/{name}/{id}/changelog`.
    pub(super) changelog: bool,
    /// Reads only when asked for by `include_fields`.
    pub(super) optional: &'static [&'static str],
}

impl Module {
    /// # Errors
    /// [`ErrorKind::UnknownName`] for a name that is none of ours.
    pub(super) fn named(name: &str) -> Result<&'static Self, ErrorKind> {
        let found = MODULES.iter().find(|module| module.name == name);
        found.ok_or_else(|| ErrorKind::UnknownName(format!("module `{name}`")))
    }

    pub(super) fn is_deals(&self) -> bool {
        self.name == "deals"
    }

    /// Tokens for `operation` on `rows` rows. Source: `x-token-cost` of the API documents.
    pub(super) fn price(&self, operation: Operation, rows: usize) -> Cost {
        let rows = rows as u64;
        let v2 = self.dialect == Dialect::V2;
        let each = |units: u64| Cost { calls: rows, units: rows * units };
        match operation {
            Operation::ListPage => Cost { calls: 1, units: self.list_units() },
            Operation::DeletedPage if self.is_deals() => {
                Cost { calls: 1, units: self.list_units() }
            }
            Operation::DeletedPage => Cost { calls: 1, units: RECENTS_UNITS },
            Operation::Fetch if rows > 1 && v2 => {
                let calls = rows.div_ceil(FETCH_BATCH as u64);
                Cost { calls, units: calls * self.list_units() }
            }
            Operation::Fetch => each(self.get_units()),
            Operation::Create | Operation::Update => each(self.write_units()),
            Operation::Delete => each(self.delete_units()),
        }
    }

    pub(super) fn list_units(&self) -> u64 {
        match self.dialect {
            Dialect::V2 => 10,
            Dialect::V1 => 20,
        }
    }

    /// A page of `archived_path`.
    pub(super) fn archived_units(&self) -> u64 {
        2 * self.list_units()
    }

    pub(super) fn get_units(&self) -> u64 {
        match self.dialect {
            Dialect::V2 => 1,
            Dialect::V1 => 2,
        }
    }

    pub(super) fn write_units(&self) -> u64 {
        match self.dialect {
            Dialect::V2 => 5,
            Dialect::V1 => 10,
        }
    }

    pub(super) fn delete_units(&self) -> u64 {
        match self.dialect {
            Dialect::V2 => 3,
            Dialect::V1 => 6,
        }
    }
}

/// Most ids that `ids=` takes.
pub(super) const FETCH_BATCH: usize = 100;
/// Most rows of a list page.
pub(super) const PAGE: usize = 500;
pub(super) const RECENTS_UNITS: u64 = 20;
pub(super) const CHANGELOG_UNITS: u64 = 20;
pub(super) const WEBHOOK_LIST_UNITS: u64 = 10;
pub(super) const WEBHOOK_CREATE_UNITS: u64 = 10;
pub(super) const WEBHOOK_DELETE_UNITS: u64 = 6;

const PERSON: Module = Module {
    name: "persons",
    label: "Persons",
    singular: "person",
    dialect: Dialect::V2,
    path: "/api/v2/persons",
    archived_path: None,
    fields_path: Some("/api/v2/personFields"),
    custom_fields: true,
    in_recents: true,
    page: Some("person"),
    changelog: true,
    optional: &[
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
        "smart_bcc_email",
    ],
};

/// In the order in which records refer to each other.
pub(super) const MODULES: &[Module] = &[
    Module {
        name: "organizations",
        label: "Organizations",
        singular: "organization",
        path: "/api/v2/organizations",
        fields_path: Some("/api/v2/organizationFields"),
        page: Some("organization"),
        optional: &[
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
        ..PERSON
    },
    PERSON,
    Module {
        name: "products",
        label: "Products",
        singular: "product",
        path: "/api/v2/products",
        fields_path: Some("/api/v2/productFields"),
        page: Some("product"),
        changelog: false,
        optional: &[],
        ..PERSON
    },
    Module {
        name: "deals",
        label: "Deals",
        singular: "deal",
        path: "/api/v2/deals",
        archived_path: Some("/api/v2/deals/archived"),
        fields_path: Some("/api/v2/dealFields"),
        page: Some("deal"),
        optional: &[
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
        ..PERSON
    },
    Module {
        name: "leads",
        label: "Leads",
        singular: "lead",
        dialect: Dialect::V1,
        path: "/api/v1/leads",
        archived_path: Some("/api/v1/leads/archived"),
        // Leads inherit the deals' custom fields.
        fields_path: Some("/api/v2/dealFields"),
        in_recents: false,
        page: Some("leads/inbox"),
        changelog: false,
        optional: &[],
        ..PERSON
    },
    Module {
        name: "activities",
        label: "Activities",
        singular: "activity",
        path: "/api/v2/activities",
        fields_path: Some("/api/v2/activityFields"),
        custom_fields: false,
        page: None,
        changelog: false,
        optional: &[],
        ..PERSON
    },
    Module {
        name: "notes",
        label: "Notes",
        singular: "note",
        dialect: Dialect::V1,
        path: "/api/v1/notes",
        fields_path: None,
        custom_fields: false,
        page: None,
        changelog: false,
        optional: &[],
        ..PERSON
    },
];
