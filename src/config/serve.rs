//! `[serve]`: where pages and webhooks are served.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use chrono_tz::Tz;

use super::section::Section;

const PORT: u16 = 4700;

/// How `crmsync serve` serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serve {
    /// Loopback unless told otherwise.
    pub listen: SocketAddr,
    /// How others reach it: where webhooks are posted, and where links in alerts lead. Without a slash at the end.
    pub public_url: Option<String>,
    /// Whose clocks `cron` means.
    pub time_zone: Tz,
    /// How long a person stays signed in.
    pub sign_in_for: Duration,
    /// Runs that one process makes beside each other; what else is due waits its turn.
    pub runs_at_once: usize,
}

impl Default for Serve {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)),
            public_url: None,
            time_zone: Tz::UTC,
            sign_in_for: Duration::from_hours(12),
            runs_at_once: 4,
        }
    }
}

pub(super) fn read(root: &mut Section<'_>) -> Serve {
    let default = Serve::default();
    let Some(mut section) = root.section("serve") else { return default };
    let listen = section.parsed("listen", |text| {
        text.parse::<SocketAddr>().map_err(|_| {
            format!(
                "`{text}` is no address; write an IP address and a port, such as 127.0.0.1:{PORT}"
            )
        })
    });
    let public_url = section.server("public_url");
    let time_zone = section.parsed("time_zone", |text| {
        text.parse::<Tz>()
            .map_err(|_| format!("`{text}` is no time zone; write one such as Europe/Berlin"))
    });
    let sign_in_for = section.period("sign_in_for");
    let runs_at_once =
        section.whole_number("runs_at_once").and_then(|runs| usize::try_from(runs).ok());
    if runs_at_once == Some(0) {
        section
            .advise("serve.runs_at_once = 0 would run nothing; one run at a time is made".into());
    }
    if let Some(listen) = listen.filter(|listen| !listen.ip().is_loopback())
        && public_url.is_none()
    {
        section.advise(format!(
            "serve.listen = \"{listen}\" is open to the network without encryption; put a TLS proxy in front and name \
             it in serve.public_url"
        ));
    }
    section.finish();
    Serve {
        listen: listen.unwrap_or(default.listen),
        public_url,
        time_zone: time_zone.unwrap_or(default.time_zone),
        sign_in_for: sign_in_for.unwrap_or(default.sign_in_for),
        runs_at_once: runs_at_once.unwrap_or(default.runs_at_once).max(1),
    }
}
