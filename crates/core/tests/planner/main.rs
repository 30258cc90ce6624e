//! The planner against its laws: no I/O, generated worlds, ops pretended. Semantics §17 and §18.

#![expect(clippy::unwrap_used, reason = "a test fails where its world is not as it was arranged")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test names the ops that it is about")]
#![expect(clippy::too_many_lines, reason = "a table of cases is read row by row")]

mod laws;
mod matching_cases;
mod option_cases;
mod pair_cases;
mod reading;
mod reference_cases;
mod undo_cases;
mod world;
