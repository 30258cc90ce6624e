//! A CRM's records as rows of tables: names, types, and which part of a record becomes which column.
//!
//! Pure, and quick: a record is scanned once, and its values stay the texts they came as until a database takes them.
//! Read `names.rs` for what columns are called and `rows.rs` for how a record is cut up.

pub mod names;
pub mod rows;
pub mod shape;
