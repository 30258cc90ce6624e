//! Verbs: pure decisions from observations to a plan. Read `normalize`, `matching`, `merge`, then `plan`.

pub mod filter;
