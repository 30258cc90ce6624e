//! What a user would see: both CRMs over HTTP, people at work, faults by script.

mod first_sync;
mod edits;
mod deletes;
mod faults;
mod kill;
