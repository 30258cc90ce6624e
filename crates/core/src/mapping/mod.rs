//! Mapping files: one TOML file an entity, read, checked against live metadata, and compiled to an [`Entity`].
//!
//! No I/O: text and metadata are arguments. Read `file` (what may be written), `compile` (how it becomes an
//! entity), then `check` (what is refused). Every refusal is a [`Diagnostic`] with file, line and column.
//!
//! [`Entity`]: crate::model::Entity

pub mod check;
pub mod compile;
pub mod diagnostic;
pub mod draft;
pub mod file;
pub mod filter;
pub mod infer;
#[cfg(test)]
mod metadata;
pub mod options;
pub mod order;
pub mod resolve;
pub mod schema;

pub use compile::{SideMetadata, compile};
pub use diagnostic::{Diagnostic, Severity};
pub use draft::draft;
pub use file::{MappingFile, parse};
pub use order::order;
pub use schema::json_schema;
