//! The program as a person runs it: arguments in, stdout, stderr and exit code out.

mod program;
mod sandbox;
mod setup;
