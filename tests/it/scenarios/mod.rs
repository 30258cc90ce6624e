//! What a user would see: both CRMs over HTTP, people at work, faults by script.

mod access;
mod clocks;
mod crash_points;
mod deletes;
mod drift;
mod edits;
mod entities;
mod faults;
mod files;
mod first_sync;
mod kill;
mod links;
mod merges;
mod options;
mod propagation;
mod reading;
mod replicating;
mod rewrites;
mod sign_in;
mod tables;
mod undo;
mod weather;
