//! Nouns: what a sync is made of, without any decision. Read `side`, `value`, `record`, `mapping`, then `link`
//! and `plan`.

pub mod code;
pub mod journal;
pub mod link;
pub mod mapping;
pub mod names;
pub mod plan;
pub mod record;
pub mod row;
pub mod schema;
pub mod side;
pub mod state;
pub mod value;

pub use code::Code;
pub use link::{Agreement, Baseline, Link, LinkId, LinkState, Tombstone};
pub use mapping::{Direction, Entity, FieldRule, Policy, Relation};
pub use names::{EntityName, FieldName, ModuleName, RecordId, RemoteField, RouteName};
pub use plan::{Op, OpKind, Plan};
pub use record::{Observation, Presence, RecordKey, RemoteRecord};
pub use row::OpenRow;
pub use side::{Pair, Side};
pub use value::Value;
