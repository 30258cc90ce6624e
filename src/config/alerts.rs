//! `[alerts]`: whom to tell when something is wrong.

use std::time::Duration;

use super::secret::Secret;
use super::section::Section;

/// Where alerts go, and from what on.
#[derive(Clone, Debug)]
pub struct Alerts {
    /// Gets a JSON object with `text`, as chat systems take it.
    pub webhook: Option<Secret>,
    pub mail: Option<Mail>,
    /// Failed runs in a row.
    pub failures: u64,
    /// Rows of a route that wait for a person.
    pub open: Option<u64>,
    /// Since a side was read.
    pub lag: Option<Duration>,
    /// Share of a day's units.
    pub budget: f64,
    /// A trouble that lasts is told again after this long.
    pub repeat: Duration,
}

/// A mailbox to send from, and who gets it.
#[derive(Clone, Debug)]
pub struct Mail {
    /// `smtps://user:password@host`, or `smtp://…` for a server on this machine.
    pub server: Secret,
    pub from: String,
    pub to: Vec<String>,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            webhook: None,
            mail: None,
            failures: 3,
            open: None,
            lag: None,
            budget: 0.9,
            repeat: Duration::from_hours(24),
        }
    }
}

pub(super) fn read(root: &mut Section<'_>) -> Alerts {
    let default = Alerts::default();
    let Some(mut section) = root.section("alerts") else { return default };
    let alerts = Alerts {
        webhook: section.secret("webhook"),
        mail: read_mail(&mut section),
        failures: section.whole_number("failures").unwrap_or(default.failures).max(1),
        open: section.whole_number("open"),
        lag: section.period("lag"),
        budget: section.share("budget").unwrap_or(default.budget),
        repeat: section.period("repeat").unwrap_or(default.repeat),
    };
    section.finish();
    alerts
}

fn read_mail(section: &mut Section<'_>) -> Option<Mail> {
    let server = section.secret("smtp");
    let from = section.text("from");
    let to: Vec<_> = section.words("to").into_iter().flatten().map(|word| word.text).collect();
    let server = server?;
    if from.is_none() {
        section.missing("from", "write from = \"crmsync@example.com\"");
    }
    if to.is_empty() {
        section.missing("to", "write to = [\"you@example.com\"]");
    }
    Some(Mail { server, from: from?, to }).filter(|mail| !mail.to.is_empty())
}
