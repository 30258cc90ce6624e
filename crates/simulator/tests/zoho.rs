//! The Zoho simulator against Zoho's documents: calls and answers.

#[path = "zoho/access.rs"]
mod access;
#[path = "zoho/changing.rs"]
mod changing;
#[path = "zoho/desk.rs"]
mod desk;
#[path = "zoho/files.rs"]
mod files;
#[path = "zoho/finding.rs"]
mod finding;
#[path = "zoho/reading.rs"]
mod reading;
#[path = "zoho/settings.rs"]
mod settings;
#[path = "zoho/trouble.rs"]
mod trouble;
#[path = "zoho/watching.rs"]
mod watching;
#[path = "zoho/writing.rs"]
mod writing;
