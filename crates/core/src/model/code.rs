//! Reason codes: the words of semantics.md as they stand in state, logs and reports.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// Why the engine did, or did not do, something.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)*
        }

        impl Code {
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

codes! {
    // Linked records: §7.
    Confirmed = "CONFIRMED",
    WriteRight = "WRITE_RIGHT",
    WriteLeft = "WRITE_LEFT",
    Agreed = "AGREED",
    Gone = "GONE",
    DeleteEdit = "DELETE_EDIT",
    DeleteCounterpart = "DELETE_COUNTERPART",
    ArchiveCounterpart = "ARCHIVE_COUNTERPART",
    KeepCounterpart = "KEEP_COUNTERPART",
    Redirected = "REDIRECTED",
    Merged = "MERGED",
    Converted = "CONVERTED",
    SuspectedMerge = "SUSPECTED_MERGE",
    OutOfScope = "OUT_OF_SCOPE",
    Archived = "ARCHIVED",
    // Unlinked records: §6.2.
    Deferred = "DEFERRED",
    Create = "CREATE",
    Link = "LINK",
    Suggested = "SUGGESTED",
    DupInSide = "DUP_IN_SIDE",
    Relink = "RELINK",
    Ambiguous = "AMBIGUOUS",
    DanglingId = "DANGLING_ID",
    KeyDisagrees = "KEY_DISAGREES",
    Revived = "REVIVED",
    Twin = "TWIN",
    ClonedId = "CLONED_ID",
    CreateNotAllowed = "CREATE_NOT_ALLOWED",
    Unlinked = "UNLINKED",
    // Holds: §7.1.
    Forbidden = "FORBIDDEN",
    UnconfirmedAbsence = "UNCONFIRMED_ABSENCE",
    ReadError = "READ_ERROR",
    InDoubt = "IN_DOUBT",
    InDoubtCreate = "IN_DOUBT_CREATE",
    // Fields: §5, §8, §12.
    Conflict = "CONFLICT",
    SilentDivergence = "SILENT_DIVERGENCE",
    NotReturned = "NOT_RETURNED",
    Untranslatable = "UNTRANSLATABLE",
    LossyBackWrite = "LOSSY_BACK_WRITE",
    TooLong = "TOO_LONG",
    PendingRef = "PENDING_REF",
    UnresolvedRef = "UNRESOLVED_REF",
    ServerRewrite = "SERVER_REWRITE",
    ServerDefault = "SERVER_DEFAULT",
    Drift = "DRIFT",
    Initial = "INITIAL",
    MappingChanged = "MAPPING_CHANGED",
    MetadataDrift = "METADATA_DRIFT",
    Oscillation = "OSCILLATION",
    MissingRequired = "MISSING_REQUIRED",
    OverwrittenInWindow = "OVERWRITTEN_IN_WINDOW",
    // Writing: §10, §13.
    StalePlan = "STALE_PLAN",
    Quarantined = "QUARANTINED",
    Locked = "LOCKED",
    UniqueClash = "UNIQUE_CLASH",
    NewId = "NEW_ID",
    // Guards: §9.4.
    DeleteCap = "DELETE_CAP",
    CreateCap = "CREATE_CAP",
    FirstSync = "FIRST_SYNC",
    EmptySide = "EMPTY_SIDE",
    MassChange = "MASS_CHANGE",
    ScopeChange = "SCOPE_CHANGE",
    // Observing.
    UnstampedChange = "UNSTAMPED_CHANGE",
    ClockStep = "CLOCK_STEP",
    Undo = "UNDO",
    UndoConflict = "UNDO_CONFLICT",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
