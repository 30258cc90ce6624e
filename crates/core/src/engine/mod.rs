//! Verbs: pure decisions from observations to a plan. Read `normalize`, `matching`, `merge`, then `plan`.

pub mod alert;
pub mod assemble;
pub mod audit;
mod create;
mod deletes;
pub mod expression;
pub mod fields;
pub mod filter;
pub mod guard;
mod lines;
pub mod match_key;
pub mod matching;
pub mod merge;
pub mod normalize;
pub mod plan;
mod reconcile;
pub mod recovery;
pub mod relation;
pub mod report;
pub mod rewrite;
mod rows;
pub mod schedule;
pub mod undo;

pub use fields::payload_fingerprint;
