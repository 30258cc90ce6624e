//! What a user would see: both CRMs over HTTP, people at work, faults by script.

mod clocks;
mod deletes;
mod edits;
mod faults;
mod first_sync;
mod kill;
mod merges;
mod undo;
mod weather;
