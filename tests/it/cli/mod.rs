//! The program as a person runs it: arguments in, stdout, stderr and exit code out.

mod journey;
mod program;
mod review;
mod sandbox;
mod serving;
mod setup;
