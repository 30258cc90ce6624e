//! The Zoho simulator against Zoho's documents: calls and answers.

#[path = "zoho/desk.rs"]
mod desk;
#[path = "zoho/reading.rs"]
mod reading;
#[path = "zoho/writing.rs"]
mod writing;
