//! A run from its lease to its report: wiring and order, no decisions.
//!
//! What lives here: who is asked when, and what is stored before the next step. What may not: deciding which value
//! wins, which record matches, which write is safe to repeat — the engine and the error kinds do that. Read
//! `run.rs` (the order of a run on one page), then `observe.rs`, `planning.rs`, `apply/`, `recover.rs`.

pub mod apply;
pub mod audit;
pub mod connect;
pub mod error;
pub mod forecast;
mod history;
pub mod identities;
mod inbox;
pub mod labels;
pub mod links;
pub mod metadata;
pub mod observe;
mod overwritten;
pub mod people;
pub mod planning;
pub mod recover;
pub mod replicate;
pub mod review;
pub mod run;
pub mod schedule;
pub mod session;
pub mod spending;
mod tokens;
pub mod topology;
pub mod transfer;
pub mod webhooks;

pub use error::{Exit, ServiceError};
pub use labels::{Labels, Words};
pub use run::{Mode, Progress, RunOptions, RunReport, Silent};
pub use schedule::{Asked, JobName, JobState, Review, Scheduler};
pub use session::Session;
