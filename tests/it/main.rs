//! The crate as a whole, over real HTTP against simulated sides.

#![expect(clippy::unwrap_used, reason = "a step that fails fails its test")]

mod architecture;
mod cli;
mod conformance;
mod databases;
mod hostile;
mod scenarios;
mod serving;
mod store;
mod world;
