//! Decisions of a person about runs.
