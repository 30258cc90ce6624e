//! What a simulated company is, and how the undocumented parts of the API behave.

use chrono::TimeDelta;

use crate::clock::Clock;

/// How to set up a company.
#[derive(Clone, Debug)]
pub struct Settings {
    pub clock: Clock,
    /// Decides tokens, field codes, UUIDs and the weather of webhooks.
    pub seed: u64,
    pub company: Company,
    pub limits: Limits,
    pub app: App,
    pub switches: Switches,
}

impl Settings {
    /// A small company without limits.
    pub fn new(clock: Clock, seed: u64) -> Self {
        Self {
            clock,
            seed,
            company: Company::default(),
            limits: Limits::default(),
            app: App::default(),
            switches: Switches::default(),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Company {
    pub id: i64,
    pub name: String,
    /// Sub-domain, as `GET /users/me` gives it.
    pub domain: String,
    pub plan: Plan,
    pub seats: u64,
    /// Default currency of new users.
    pub currency: String,
    /// IANA zone of the company and of its first user.
    pub time_zone: String,
    /// Whether persons have `postal_address`, `notes`, `im`, `birthday`, `job_title`.
    pub contact_sync: bool,
}

impl Default for Company {
    fn default() -> Self {
        Self {
            id: 5001,
            name: "Acme Sales".into(),
            domain: "acme".into(),
            plan: Plan::Premium,
            seats: 5,
            currency: "EUR".into(),
            time_zone: "Europe/Tallinn".into(),
            contact_sync: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    Lite,
    Growth,
    Premium,
    Ultimate,
}

impl Plan {
    /// Daily tokens per seat. Source: Pipedrive, "Rate limiting".
    pub(super) fn daily_tokens(self) -> u64 {
        30_000
            * match self {
                Self::Lite => 1,
                Self::Growth => 2,
                Self::Premium => 5,
                Self::Ultimate => 7,
            }
    }

    /// Calls in 2 s with an API token; OAuth has four times as many.
    pub(super) fn burst(self) -> u64 {
        match self {
            Self::Lite => 20,
            Self::Growth => 40,
            Self::Premium => 100,
            Self::Ultimate => 120,
        }
    }

    pub(super) fn custom_fields(self) -> usize {
        match self {
            Self::Lite => 30,
            Self::Growth => 100,
            Self::Premium => 300,
            Self::Ultimate => 500,
        }
    }

    /// Whether `visible_to` speaks of visibility groups.
    pub(super) fn has_groups(self) -> bool {
        matches!(self, Self::Premium | Self::Ultimate)
    }
}

#[derive(Clone, Debug)]
pub struct Limits {
    /// Costs are accounted either way; only when on does the server refuse.
    pub on: bool,
    /// Instead of plan × seats.
    pub daily_tokens: Option<u64>,
    /// Instead of the plan's calls in 2 s.
    pub burst: Option<u64>,
    /// Whether a 429 carries `Retry-After`.
    pub retry_after: bool,
    /// 429s in a row that an API token gets before the 403 page.
    pub patience: u32,
    /// Open deals the plan allows.
    pub open_deals: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            on: false,
            daily_tokens: None,
            burst: None,
            retry_after: true,
            patience: 30,
            open_deals: None,
        }
    }
}

/// The OAuth app that clients of this company use.
#[derive(Clone, Debug)]
pub struct App {
    pub client_id: String,
    pub client_secret: String,
    pub redirect_uri: String,
    /// Comma separated.
    pub scopes: String,
}

impl Default for App {
    fn default() -> Self {
        let scopes = "base,deals:full,contacts:full,activities:full,products:full,leads:full,users:read,search:read,\
            recents:read,admin";
        Self {
            client_id: "simulated-client".into(),
            client_secret: "simulated-secret".into(),
            redirect_uri: "http://127.0.0.1/callback".into(),
            scopes: scopes.into(),
        }
    }
}

/// How a record that is no more answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// 200 with what there is, `is_deleted` set.
    Shown,
    NotFound,
    Gone,
}

/// What happens to a write that names an unknown or invisible record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownLink {
    Refused,
    NotFound,
    Null,
}

/// What the server does with a cursor it can't use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadCursor {
    Status(u16),
    /// Starts over without a word.
    Restart,
}

/// The body of a 429.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThrottleBody {
    Gateway,
    Empty,
    Html,
}

/// Answers to questions the documentation leaves open, each with a likely default.
#[expect(clippy::struct_excessive_bools, reason = "each is one open question about the API")]
#[derive(Clone, Debug)]
pub struct Switches {
    /// GET of a soft-deleted record within its 30 days.
    pub deleted_reads: Absence,
    /// PATCH of a soft-deleted record; `Shown` writes it.
    pub deleted_writes: Absence,
    /// GET and PATCH of a merged-away id.
    pub merged_reads: Absence,
    /// A second DELETE; `Shown` is 200, `Gone` is 410 with `success:true`.
    pub second_delete: Absence,
    pub throttle_body: ThrottleBody,
    /// Distance of the budget's reset from 00:00 UTC.
    pub budget_reset: TimeDelta,
    pub charge_refusals: bool,
    pub cursor_lifetime: Option<TimeDelta>,
    pub bad_cursor: BadCursor,
    /// A limit above the maximum is clamped instead of refused.
    pub clamp_limit: bool,
    /// Unknown body keys are ignored instead of refused.
    pub ignore_unknown_keys: bool,
    /// `org_id`, `person_id` and `value` refuse null.
    pub refuse_null_links: bool,
    /// A PATCH that changes nothing moves `update_time` and fires a webhook.
    pub noop_writes_count: bool,
    /// Product rows move their deal's `update_time`.
    pub rows_touch_deal: bool,
    pub unknown_links: UnknownLink,
    /// A restored record comes as a create event instead of a change.
    pub restore_is_create: bool,
    /// Links to a deleted parent read null at once instead of after its purge.
    pub deletion_unlinks: bool,
    /// An activity without subject or type is refused.
    pub refuse_bare_activities: bool,
    /// Product rows set their deal's value.
    pub rows_set_value: bool,
    /// A stage or pipeline with open deals can be deleted; its deals go too.
    pub delete_used_stages: bool,
    pub search_lag: TimeDelta,
    /// How long a deleted person stays findable; organizations stay for good, deals leave at once.
    pub search_ghosts: TimeDelta,
    /// Retired v1 paths of persons, organizations, deals and so on answer 410.
    pub retired_v1_gone: bool,
    /// Seconds until a bare address gets its parts.
    pub geocoding: Option<TimeDelta>,
    /// `?api_token=` is accepted.
    pub query_token: bool,
    pub lowercase_emails: bool,
    /// Webhook emails and phones are strings instead of objects.
    pub webhook_plain_contacts: bool,
    /// The activity list shows the caller's activities only.
    pub own_activities_only: bool,
    /// Of two primary addresses the first wins instead of a refusal.
    pub first_primary_wins: bool,
    /// `required_fields` of the Fields API bind API writes too.
    pub enforce_required: bool,
    /// `/recents` leaves deleted rows out.
    pub recents_hide_deleted: bool,
    /// Creates answer 201 where the table says 200, and the other way round.
    pub flip_created: bool,
    /// DELETE answers 410 with `success:true`.
    pub delete_answers_gone: bool,
    /// Empty v1 lists have `data:null`.
    pub empty_v1_null: bool,
    /// v2 answers without the `/api` prefix too.
    pub short_v2_paths: bool,
    /// Answers carry the daily budget.
    pub daily_headers: bool,
    /// A webhook's URL is probed with a connection when it is created.
    pub probe_webhooks: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            deleted_reads: Absence::Shown,
            deleted_writes: Absence::NotFound,
            merged_reads: Absence::NotFound,
            second_delete: Absence::NotFound,
            throttle_body: ThrottleBody::Gateway,
            budget_reset: TimeDelta::zero(),
            charge_refusals: true,
            cursor_lifetime: None,
            bad_cursor: BadCursor::Status(400),
            clamp_limit: false,
            ignore_unknown_keys: false,
            refuse_null_links: false,
            noop_writes_count: false,
            rows_touch_deal: true,
            unknown_links: UnknownLink::Refused,
            restore_is_create: false,
            deletion_unlinks: false,
            refuse_bare_activities: false,
            rows_set_value: true,
            delete_used_stages: false,
            search_lag: TimeDelta::seconds(2),
            search_ghosts: TimeDelta::minutes(1),
            retired_v1_gone: false,
            geocoding: None,
            query_token: true,
            lowercase_emails: false,
            webhook_plain_contacts: false,
            own_activities_only: false,
            first_primary_wins: false,
            enforce_required: false,
            recents_hide_deleted: false,
            flip_created: false,
            delete_answers_gone: false,
            empty_v1_null: false,
            short_v2_paths: true,
            daily_headers: true,
            probe_webhooks: true,
        }
    }
}
