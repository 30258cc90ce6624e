//! What can end a run, and the exit code that follows.

use crmsync_core::mapping::{Diagnostic, Severity};

use crate::connectors::{ConnectorError, ErrorKind, Recovery};
use crate::store::StoreError;

/// How a command ends: semantics §16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    Clean = 0,
    /// Open conflicts, holds or quarantine.
    Open = 1,
    Config = 2,
    Guard = 3,
    SideUnavailable = 4,
    Budget = 5,
    LeaseHeld = 6,
    /// The store needs a person.
    Store = 7,
}

impl Exit {
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// Why a run ended early. Everything committed before it stays; the next run goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error("{0}")]
    Config(String),
    /// The mapping files have errors; the command line shows each with file, line and caret.
    #[error("{}", mapping_errors(.0))]
    Mapping(Vec<Diagnostic>),
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "route `{route}` is paused after `runs undo {run}`; choose `runs redo` or `runs accept`"
    )]
    Paused { route: String, run: String },
    #[error("stopped; everything so far is stored, run `crmsync sync` to go on")]
    Cancelled,
    #[error("the plan is outdated: {0}; run `crmsync plan` again")]
    OutdatedPlan(String),
}

/// How many there are and where the first one is; warnings that came along do not count.
fn mapping_errors(found: &[Diagnostic]) -> String {
    let errors: Vec<_> = found.iter().filter(|one| one.severity == Severity::Error).collect();
    let first = errors.first().map_or_else(String::new, |first| {
        format!("{}:{}:{}: {}", first.path, first.line, first.column, first.message)
    });
    format!("{} mapping error(s); first: {first}", errors.len())
}

impl ServiceError {
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Mapping(_) | Self::OutdatedPlan(_) => Exit::Config,
            Self::Connector(error) => match error.recovery() {
                Recovery::Pause => Exit::Budget,
                Recovery::Stop => Exit::Config,
                Recovery::Wait(_)
                | Recovery::Backoff
                | Recovery::Reauthorize
                | Recovery::Reread
                | Recovery::Quarantine
                | Recovery::Replan
                | Recovery::RestartScan
                | Recovery::Redescribe => Exit::SideUnavailable,
            },
            Self::Store(StoreError::Leased { .. } | StoreError::LeaseLost(_)) => Exit::LeaseHeld,
            Self::Store(
                StoreError::Foreign(..)
                | StoreError::TooNew(_)
                | StoreError::Open(..)
                | StoreError::Database(_)
                | StoreError::Corrupt(..)
                | StoreError::Sealed(..),
            )
            | Self::Paused { .. } => Exit::Store,
            Self::Cancelled => Exit::Open,
        }
    }

    /// Whether a whole side is out of reach, rather than one record.
    pub const fn is_side_down(kind: &ErrorKind) -> bool {
        match kind {
            ErrorKind::RateLimited { .. }
            | ErrorKind::BudgetExhausted { .. }
            | ErrorKind::Unavailable(_)
            | ErrorKind::Unauthorized(_)
            | ErrorKind::ScopeMissing(_)
            | ErrorKind::Misconfigured(_) => true,
            ErrorKind::ReplyLost(_)
            | ErrorKind::Forbidden(_)
            | ErrorKind::Gone
            | ErrorKind::Stale
            | ErrorKind::Duplicate { .. }
            | ErrorKind::Invalid { .. }
            | ErrorKind::Refused(_)
            | ErrorKind::Locked(_)
            | ErrorKind::PageExpired
            | ErrorKind::ScanLimit
            | ErrorKind::UnknownName(_)
            | ErrorKind::Undecodable(_) => false,
        }
    }
}
