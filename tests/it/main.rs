//! Tests of the whole program against the simulators, over real HTTP.

#[cfg(test)]
mod conformance;
