//! Tells people when something is wrong, and when it is right again: to a webhook, by mail, or both.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use crmsync_core::engine::alert::{Notice, Told, notices};
use crmsync_core::model::Side;
use lettre::message::Mailbox;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use secrecy::ExposeSecret as _;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::history::History;
use super::status::{self, Glance, daily_budget};
use crate::config::{Alerts, Config, Mail};
use crate::service::{JobName, JobState, Scheduler};
use crate::store::StoreError;

/// How often troubles are looked for.
const EVERY: Duration = Duration::from_secs(30);
/// A receiver that does not answer is tried again at the next look.
const PATIENCE: Duration = Duration::from_secs(15);
/// Under which names the store keeps what was told.
const BOOK: (&str, &str) = ("alerts", "told");

/// Looks for troubles until `stop`.
pub async fn keep(scheduler: Arc<Scheduler>, stop: CancellationToken) {
    loop {
        if let Err(error) = look(&scheduler).await {
            tracing::warn!("nobody could be alerted: {error}");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// Looks once and tells what is new. What could not be told is told next time.
///
/// # Errors
/// A sentence: what failed.
pub async fn look(scheduler: &Scheduler) -> Result<Vec<Notice>, String> {
    let config = scheduler.config();
    if config.alerts.webhook.is_none() && config.alerts.mail.is_none() {
        return Ok(Vec::new());
    }
    let (store, now) = (scheduler.store(), scheduler.ambient().clock.now());
    let wrong = troubles(scheduler, &config).await.map_err(|error| error.to_string())?;
    let kept = store.metadata(BOOK.0, BOOK.1).await.map_err(|error| error.to_string())?;
    let told: Told =
        kept.and_then(|(told, _)| serde_json::from_value(told).ok()).unwrap_or_default();
    let repeat = TimeDelta::from_std(config.alerts.repeat).unwrap_or(TimeDelta::MAX);
    let (after, said) = notices(&told, &wrong, repeat, now);
    if !said.is_empty() {
        send(&config.alerts, &text(&said, &config)).await?;
    }
    if after != told {
        let kept = serde_json::to_value(&after).map_err(|error| error.to_string())?;
        let saved = store.save_metadata(BOOK.0, BOOK.1, &kept, now).await;
        saved.map_err(|error| error.to_string())?;
    }
    Ok(said)
}

/// What is wrong now, by trouble.
async fn troubles(
    scheduler: &Scheduler,
    config: &Config,
) -> Result<BTreeMap<String, String>, StoreError> {
    let history = History::new(scheduler.store().clone(), config, scheduler.ambient());
    let now = scheduler.ambient().clock.now();
    let mut wrong = BTreeMap::new();
    for (name, state) in scheduler.jobs() {
        failing(&config.alerts, &name, &state, &mut wrong);
        // Counting walks the whole store: only where somebody wants to hear of it.
        let counts = config.alerts.open.is_some() || config.alerts.lag.is_some();
        if let JobName::Route(route) = &name
            && counts
        {
            let counts = history.counts(route).await?;
            let glance = status::glance(&history, config, route, counts, now).await?;
            behind(&config.alerts, &glance, &mut wrong);
        }
    }
    for name in config.connections.keys() {
        let Some(limit) = daily_budget(config, name) else { continue };
        let units = history.spent(name, now).await?.units;
        if is_share(units, limit, config.alerts.budget) {
            let text = format!("{name} used {units} of the {limit} units of its day");
            wrong.insert(format!("budget/{name}"), text);
        }
    }
    Ok(wrong)
}

fn failing(
    alerts: &Alerts,
    name: &JobName,
    state: &JobState,
    wrong: &mut BTreeMap<String, String>,
) {
    if u64::from(state.failures) >= alerts.failures {
        let error = state.last.as_ref().and_then(|last| last.error.as_deref());
        let why = error.unwrap_or("no reason given");
        let text = format!("{name}: the last {} runs failed: {why}", state.failures);
        wrong.insert(format!("failing/{name}"), text);
    }
    if state.last.as_ref().is_some_and(|last| last.exit == 3) {
        let text = format!("{name}: a plan waits for consent");
        wrong.insert(format!("consent/{name}"), text);
    }
}

fn behind(alerts: &Alerts, glance: &Glance, wrong: &mut BTreeMap<String, String>) {
    let route = &glance.route;
    let open: u64 = glance.entities.iter().map(|entity| entity.open_rows).sum();
    if alerts.open.is_some_and(|limit| open > limit) {
        wrong.insert(format!("open/{route}"), format!("{route}: {open} rows wait for a person"));
    }
    let lags =
        glance.entities.iter().flat_map(|entity| Side::BOTH.map(|side| entity.lag_seconds[side]));
    let longest = lags.flatten().max().unwrap_or(0);
    if alerts.lag.is_some_and(|limit| u64::try_from(longest).is_ok_and(|lag| lag > limit.as_secs()))
    {
        let text = format!("{route}: a side was last read {} min ago", longest / 60);
        wrong.insert(format!("lag/{route}"), text);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a day's units are far below 2^52")]
fn is_share(units: u64, limit: u64, share: f64) -> bool {
    units as f64 >= limit as f64 * share
}

fn text(said: &[Notice], config: &Config) -> String {
    let line = |notice: &Notice| match notice {
        Notice::Began(message) => format!("✗ {message}"),
        Notice::Lasts(message, since) => {
            format!("✗ {message} (for {} h)", since.num_hours())
        }
        Notice::Over(message) => format!("✓ over: {message}"),
    };
    let lines: Vec<_> = said.iter().map(line).collect();
    let place = config.serve.public_url.as_ref().map(|url| format!("\n{url}/")).unwrap_or_default();
    format!("crmsync\n{}{place}", lines.join("\n"))
}

async fn send(alerts: &Alerts, text: &str) -> Result<(), String> {
    if let Some(webhook) = &alerts.webhook {
        let url = webhook.reveal().map_err(|error| error.to_string())?.expose_secret().to_owned();
        let client = reqwest::Client::builder().timeout(PATIENCE).build();
        // The address is a secret; errors name it.
        let plain = |error: reqwest::Error| format!("the webhook failed: {}", error.without_url());
        let answer = client.map_err(plain)?.post(url).json(&json!({ "text": text })).send().await;
        answer.and_then(reqwest::Response::error_for_status).map_err(plain)?;
    }
    if let Some(mail) = &alerts.mail {
        let sent = tokio::time::timeout(PATIENCE, send_mail(mail, text)).await;
        sent.map_err(|_| "the mail server does not answer".to_owned())??;
    }
    Ok(())
}

async fn send_mail(mail: &Mail, text: &str) -> Result<(), String> {
    let mailbox = |address: &str| {
        address
            .parse::<Mailbox>()
            .map_err(|error| format!("`{address}` is no mail address: {error}"))
    };
    let mut message = Message::builder().from(mailbox(&mail.from)?);
    for to in &mail.to {
        message = message.to(mailbox(to)?);
    }
    let subject = text.lines().nth(1).unwrap_or_default();
    let message = message.subject(format!("crmsync: {subject}")).body(text.to_owned());
    let message = message.map_err(|error| format!("the mail cannot be written: {error}"))?;
    let server = mail.server.reveal().map_err(|error| error.to_string())?;
    // The address holds a password; errors of it are told without it.
    let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(server.expose_secret())
        .map_err(|_| "alerts.smtp is no address such as smtps://user:password@host".to_owned())?
        .build();
    transport.send(message).await.map_err(|error| format!("the mail was not sent: {error}"))?;
    Ok(())
}
