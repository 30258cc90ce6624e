//! How an organisation is set up, and the switches for what Zoho's documents leave open.

use chrono::{Offset, TimeZone};
use chrono_tz::Tz;

use super::Limits;
use crate::clock::Clock;

/// What a simulated organisation starts with.
#[derive(Clone, Debug)]
pub struct Settings {
    pub clock: Clock,
    /// Decides ids, tokens and the fate of notifications.
    pub seed: u64,
    pub org: Org,
    /// Zone of the API user: all times are shown in it.
    pub time_zone: Tz,
    pub limits: Limits,
    pub client: Client,
    pub switches: Switches,
}

impl Settings {
    /// A German Enterprise organisation without limits.
    pub fn new(clock: Clock, seed: u64) -> Self {
        Self {
            clock,
            seed,
            org: Org::default(),
            time_zone: Tz::Europe__Berlin,
            limits: Limits::Off,
            client: Client::default(),
            switches: Switches::default(),
        }
    }
}

/// The registered OAuth client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub id: String,
    pub secret: String,
}

impl Default for Client {
    fn default() -> Self {
        Self { id: "1000.SIMULATEDCLIENT".into(), secret: "simulated-secret".into() }
    }
}

#[derive(Clone, Debug)]
pub struct Org {
    pub company_name: String,
    pub time_zone: Tz,
    pub edition: Edition,
    pub zgid: u64,
    /// ISO code of the home currency.
    pub currency: String,
    pub currency_name: String,
    pub currency_symbol: String,
    /// Milliseconds since 1970.
    pub created: i64,
}

impl Default for Org {
    fn default() -> Self {
        Self {
            company_name: "Example GmbH".into(),
            time_zone: Tz::Europe__Berlin,
            edition: Edition::Enterprise,
            zgid: 808_232_144,
            currency: "EUR".into(),
            currency_name: "Euro".into(),
            currency_symbol: "€".into(),
            created: 1_577_836_800_000,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edition {
    Free,
    Standard,
    Professional,
    Enterprise,
    Ultimate,
}

impl Edition {
    /// `license_details.paid_type`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Standard => "standard",
            Self::Professional => "professional",
            Self::Enterprise => "enterprise",
            Self::Ultimate => "ultimate",
        }
    }
}

/// A person with an account in the organisation.
#[derive(Clone, Debug)]
pub struct User {
    pub first_name: String,
    pub last_name: String,
    pub email: String,
    pub time_zone: Tz,
    pub active: bool,
    pub deleted: bool,
    pub admin: bool,
    pub(super) id: u64,
    pub(super) created: i64,
}

impl User {
    /// An active administrator.
    pub fn new(first_name: &str, last_name: &str, email: &str, time_zone: Tz) -> Self {
        Self {
            first_name: first_name.into(),
            last_name: last_name.into(),
            email: email.into(),
            time_zone,
            active: true,
            deleted: false,
            admin: true,
            id: 0,
            created: 0,
        }
    }

    pub(super) fn is_active(&self) -> bool {
        self.active && !self.deleted
    }

    pub(super) fn full_name(&self) -> String {
        format!("{} {}", self.first_name, self.last_name).trim().to_owned()
    }

    pub(super) fn zuid(&self) -> String {
        (self.id % 1_000_000_000 + 20_000_000_000).to_string()
    }

    /// Milliseconds east of Greenwich in January: metadata knows no daylight saving.
    pub(super) fn standard_offset(&self) -> i64 {
        let january =
            chrono::NaiveDate::from_ymd_opt(2026, 1, 1).and_then(|day| day.and_hms_opt(0, 0, 0));
        january.map_or(0, |at| {
            i64::from(self.time_zone.offset_from_utc_datetime(&at).fix().local_minus_utc()) * 1_000
        })
    }
}

/// Behaviour that Zoho's documents leave open; the default is the best guess.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, switched alone in tests"
)]
pub struct Switches {
    /// Status of a write in which some rows failed: 207 or 200.
    pub mixed_status: u16,
    /// Status of a write in which all rows failed: 400, older versions 202.
    pub all_failed_status: u16,
    /// Refuse the 11th refresh of a token within ten minutes.
    pub throttle_refreshes: bool,
    /// Status of that refusal: 200 or 400.
    pub throttled_refresh_status: u16,
    /// Refuse options that a picklist does not list.
    pub strict_picklists: bool,
    /// Refuse fields that a module does not have, rather than pass them over.
    pub refuse_unknown_fields: bool,
    /// Refuse times with a fraction of a second, rather than cut it.
    pub refuse_milliseconds: bool,
    /// Round currency values to two decimals.
    pub rounds_currency: bool,
    /// An update that changes nothing moves `Modified_Time`.
    pub idle_update_stamps: bool,
    /// Restoring from the recycle bin moves `Modified_Time`.
    pub restore_stamps: bool,
    /// Adding and removing tags moves `Modified_Time`.
    pub tags_stamp: bool,
    /// A new or changed note moves its parent's `Modified_Time`.
    pub notes_stamp_parent: bool,
    /// Records merged away show up as permanently deleted, rather than in the recycle bin.
    pub merged_are_permanent: bool,
    /// Merging moves the master's `Modified_Time` even if no field changes.
    pub merge_stamps: bool,
    /// A deal's stage sets its probability unless that is written too.
    pub stage_sets_probability: bool,
    /// The deleted feed ends after 2,000 rows.
    pub deleted_feed_ends: bool,
    /// Page tokens count rows, so that rows shift between pages, rather than go on after the last row shown.
    pub tokens_count_rows: bool,
    /// Currencies can be listed.
    pub currencies_enabled: bool,
    /// Status of `OAUTH_SCOPE_MISMATCH`: 401, some report 403.
    pub scope_mismatch_status: u16,
    /// Dead access tokens are answered with `AUTHENTICATION_FAILURE`, rather than `INVALID_TOKEN`.
    pub invalid_token_is_failure: bool,
    /// Credits of a call for deleted records: 2 or 1.
    pub deleted_feed_credits: u64,
    /// COQL leaves converted leads out.
    pub coql_hides_converted: bool,
    /// The search index knows changes after this time.
    pub index_lag: chrono::TimeDelta,
    /// How long a bulk job takes.
    pub bulk_time: chrono::TimeDelta,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            mixed_status: 207,
            all_failed_status: 400,
            throttle_refreshes: true,
            throttled_refresh_status: 200,
            strict_picklists: false,
            refuse_unknown_fields: false,
            refuse_milliseconds: false,
            rounds_currency: true,
            idle_update_stamps: true,
            restore_stamps: false,
            tags_stamp: true,
            notes_stamp_parent: false,
            merged_are_permanent: false,
            merge_stamps: true,
            stage_sets_probability: true,
            deleted_feed_ends: true,
            tokens_count_rows: false,
            currencies_enabled: false,
            scope_mismatch_status: 401,
            invalid_token_is_failure: false,
            deleted_feed_credits: 2,
            coql_hides_converted: false,
            index_lag: chrono::TimeDelta::zero(),
            bulk_time: chrono::TimeDelta::seconds(2),
        }
    }
}
