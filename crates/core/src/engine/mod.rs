//! Verbs: pure decisions from observations to a plan. Read `normalize`, `matching`, `merge`, then `plan`.

pub mod expression;
pub mod filter;
pub mod match_key;
pub mod normalize;
pub mod relation;
