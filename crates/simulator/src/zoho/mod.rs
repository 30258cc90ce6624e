//! Zoho CRM v8: a record store driven by field metadata, served as Zoho serves it.
//!
//! [`Zoho`] is the server and, by its plain methods, the CRM's own pages where people work.
//! Facts come from Zoho's documents; what they leave open is a switch in [`Switches`].
//! Read `schema.rs` (what a record may hold), `table.rs` (records and their past), `write.rs` (the rules of
//! writing), then the calls: `lists.rs`, `rows.rs`, `metadata.rs`, `oauth.rs`. Nothing here knows a client.

mod accept;
mod automation;
mod coql;
mod defaults;
mod limits;
mod lists;
mod metadata;
mod oauth;
mod pages;
mod people;
mod refusal;
mod related;
mod render;
mod request;
mod router;
mod rows;
mod schema;
mod settings;
mod state;
mod table;
mod times;
mod watch;
mod write;

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

pub use automation::Automation;
pub use limits::Limits;
pub use people::RecordId;
pub use schema::{Access, External, Field, FieldType, PickOption};
pub use settings::{Client, Edition, Org, Settings, Switches, User};

use crate::clock::Clock;
use crate::fault::Faults;
use crate::host::{Call, Reply, Service};
use crate::traffic::Traffic;
use state::State;

/// One organisation of Zoho CRM with its accounts server.
pub struct Zoho {
    clock: Clock,
    faults: Faults,
    traffic: Traffic,
    state: Mutex<State>,
}

impl Zoho {
    pub fn new(settings: Settings) -> Self {
        Self {
            clock: settings.clock.clone(),
            faults: Faults::default(),
            traffic: Traffic::default(),
            state: Mutex::new(State::new(settings)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service for Zoho {
    fn answer(&self, call: &Call) -> Reply {
        router::answer(&mut self.state(), call)
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    fn faults(&self) -> &Faults {
        &self.faults
    }

    fn traffic(&self) -> &Traffic {
        &self.traffic
    }
}
