//! The sync engine: nouns and pure decisions, without any I/O.
//!
//! `model` holds the nouns, `engine` the verbs: normalize, matching, merge, plan, guard, report. Time, IDs and
//! seeds are arguments; maps are ordered; the same input prints the same plan. This crate links no runtime,
//! no client and no ORM, and its `Cargo.toml` is the proof.

pub mod engine;
pub mod files;
pub mod invariants;
pub mod mapping;
pub mod model;
pub mod replica;
