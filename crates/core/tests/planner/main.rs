//! The planner against its laws: no I/O, generated worlds, ops pretended. Semantics §17 and §18.

mod laws;
mod matching_cases;
mod pair_cases;
mod world;
