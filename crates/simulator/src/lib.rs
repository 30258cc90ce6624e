//! Zoho CRM and Pipedrive as servers: what they answer, what they charge, how they fail.
//!
//! Each CRM is a [`host::Service`]: a state machine that answers one [`host::Call`] at a time, so it can be
//! asked in process or served over HTTP by [`host::Host`]. Faults, time and the log of calls are shared
//! by both and live beside them. Nothing in here knows crmsync: the simulators judge it.
//! Read `host.rs` first, then `fault.rs`, then one CRM.

pub mod clock;
pub mod fault;
pub mod host;
mod multipart;
pub mod pipedrive;
pub mod traffic;
pub mod zoho;
