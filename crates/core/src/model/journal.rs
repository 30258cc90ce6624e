//! The journal: what a run did to each link, with the images before and after. Append-only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Baseline, EntityName, FieldName, LinkId, LinkState, OpKind, Pair, RecordId, Value};

/// One finished op of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Order of commit within the run, ascending.
    pub seq: u64,
    pub entity: EntityName,
    pub link: LinkId,
    pub op: OpKind,
    /// Normal forms of the written record before: of the written fields, or of the whole record that was deleted.
    pub before: BTreeMap<FieldName, Value>,
    /// Normal forms after, as read back. Empty after a deletion and for local ops.
    pub after: BTreeMap<FieldName, Value>,
    /// ID of the record that a create made.
    pub created: Option<RecordId>,
    pub baseline_before: Baseline,
    /// State and ends of the link before; `None` when the op made the link.
    pub link_before: Option<LinkBefore>,
}

/// A link as it stood before an op.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkBefore {
    pub state: LinkState,
    pub ends: Pair<Option<RecordId>>,
}
