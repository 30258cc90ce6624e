//! How a command ends: one number, and for failures what, why and what to do next.

use std::fmt;
use std::process::ExitCode;

use crate::config::{ConfigError, Paint, SecretMissing};
use crate::connectors::{ConnectorError, Recovery};
use crate::service::ServiceError;
use crate::store::StoreError;

pub use crate::service::Exit;

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
    /// What to do next.
    pub help: Option<String>,
    /// A drawing that replaces the message on stderr: carets under a mistake.
    pub drawing: Option<Box<ConfigError>>,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), help: None, drawing: None }
    }

    /// A mistake in the command line, the configuration or a file the user gave.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(Exit::Config, message)
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What a person reads on stderr, with a line end.
    pub fn show(&self, paint: Paint, width: usize) -> String {
        if let Some(error) = &self.drawing {
            return error.draw(paint, width);
        }
        let red = if paint == Paint::Color { ("\u{1b}[31m", "\u{1b}[0m") } else { ("", "") };
        let help = self.help.as_ref().map(|help| format!("  help: {help}\n")).unwrap_or_default();
        format!("{}error:{} {}\n{help}", red.0, red.1, self.message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let message = error.findings.first().map_or_else(String::new, |it| it.message.clone());
        Self { drawing: Some(Box::new(error)), ..Self::config(message) }
    }
}

impl From<SecretMissing> for Failure {
    fn from(error: SecretMissing) -> Self {
        Self::config(error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let failure = |exit| Self::new(exit, error.to_string());
        match &error {
            StoreError::Leased { .. } => {
                failure(Exit::LeaseHeld).help("wait for that run to end, or stop it")
            }
            StoreError::LeaseLost(_) => failure(Exit::LeaseHeld).help("run the command again"),
            StoreError::Open(..) => {
                failure(Exit::Store).help("is [store] url right, and may this user write there?")
            }
            StoreError::Foreign(..) => {
                failure(Exit::Store).help("point [store] url at this deployment's own store")
            }
            StoreError::TooNew(_) => failure(Exit::Store),
            StoreError::Sealed(..) => failure(Exit::Config)
                .help("set the [store] key it was sealed with, or run crmsync connect again"),
            StoreError::Database(_) | StoreError::Corrupt(..) => failure(Exit::Store).help(
                "nothing was lost on either side; restore the store, then `crmsync sync --resync`",
            ),
        }
    }
}

impl From<ConnectorError> for Failure {
    fn from(error: ConnectorError) -> Self {
        let exit = match error.recovery() {
            Recovery::Pause => Exit::Budget,
            Recovery::Stop | Recovery::Reauthorize => Exit::Config,
            Recovery::Wait(_)
            | Recovery::Backoff
            | Recovery::Reread
            | Recovery::Quarantine
            | Recovery::Replan
            | Recovery::RestartScan
            | Recovery::Redescribe => Exit::SideUnavailable,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        let exit = error.exit();
        match error {
            ServiceError::Connector(error) => error.into(),
            ServiceError::Store(error) => error.into(),
            ServiceError::Mapping(found) => {
                let lines: Vec<_> = found.iter().map(ToString::to_string).collect();
                Self::new(exit, lines.join("\n"))
                    .help("crmsync mapping check shows each with a caret under its place")
            }
            ServiceError::Config(_)
            | ServiceError::Paused { .. }
            | ServiceError::Cancelled
            | ServiceError::OutdatedPlan(_) => Self::new(exit, error.to_string()),
        }
    }
}
