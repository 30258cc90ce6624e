//! The crate as a whole, over real HTTP against simulated sides.

mod conformance;
