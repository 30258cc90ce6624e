//! Zoho CRM v8: a record store driven by field metadata, served as Zoho serves it.
//!
//! [`Zoho`] is the server and, by its plain methods, the CRM's own pages where people work.
//! Facts come from Zoho's documents; what they leave open is a switch in [`Switches`].
//! Read `schema.rs` (what a record may hold), `table.rs` (records and their past), `write.rs` (the rules of
//! writing), then the calls: `lists.rs`, `rows.rs`, `metadata.rs`, `oauth.rs`. Nothing here knows a client.

mod accept;
mod actions;
mod attachments;
mod automation;
mod bulk;
mod channels;
mod columns;
mod coql;
mod criteria;
mod defaults;
mod derived;
mod fields;
mod limits;
mod lists;
mod metadata;
mod oauth;
mod organisation;
mod pages;
mod people;
mod post;
mod refusal;
mod related;
mod render;
mod request;
mod router;
mod rows;
mod schema;
mod search;
mod settings;
mod state;
mod table;
mod tags;
mod times;
mod transform;
mod watch;
mod write;

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

pub use automation::Automation;
pub use limits::Limits;
pub use people::RecordId;
pub use schema::{Access, External, Field, FieldType, PickOption};
pub use settings::{Client, Edition, Org, Settings, Switches, User};
pub use transform::Converted;
pub use watch::{Carriage, Delivery};

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
    /// Rung when notifications are waiting.
    mail: tokio::sync::Notify,
}

impl Zoho {
    pub fn new(settings: Settings) -> Self {
        Self {
            clock: settings.clock.clone(),
            faults: Faults::default(),
            traffic: Traffic::default(),
            state: Mutex::new(State::new(settings)),
            mail: tokio::sync::Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on the state; workflows that are due run before and after, notifications go out.
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        state.run_automations();
        let done = work(&mut state);
        state.run_automations();
        state.notify();
        if state.watches.waiting() > 0 {
            self.mail.notify_one();
        }
        done
    }
}

impl Service for Zoho {
    fn answer(&self, call: &Call) -> Reply {
        self.with(|state| router::answer(state, call))
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
