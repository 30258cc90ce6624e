//! crmsync keeps business systems the same: Zoho CRM, Pipedrive and databases, in any pairing, both ways.
//!
//! Rooms, in the order in which they may know each other: `crmsync_core` (nouns and decisions) →
//! `connectors` and `store` → `service` → `report` → `web` → `cli` → `main`. ARCHITECTURE.md has the page on it.

// Layouts of nested futures are queried deeper than the default allows.
#![recursion_limit = "256"]

pub mod cli;
pub mod clock;
pub mod config;
pub mod connectors;
pub mod report;
pub mod sandbox;
pub mod service;
pub mod store;
pub mod web;
