//! Pipedrive: reading, writing, failing.

mod desk;
mod failing;
mod reading;
mod writing;
