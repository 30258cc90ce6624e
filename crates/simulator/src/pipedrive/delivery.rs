//! Carries queued webhook events to their subscribers.

use std::sync::Arc;
use std::time::Duration;

use crate::host::Service;

use super::Pipedrive;
use super::webhooks::{Delivery, WebhookWeather};

/// Time a subscriber has to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the queue is looked at.
const BEAT: Duration = Duration::from_millis(10);

impl Pipedrive {
    /// Posts webhook events as their time comes, by the company's clock; runs until dropped.
    pub async fn deliver(self: Arc<Self>, client: reqwest::Client) {
        loop {
            self.deliver_due(&client).await;
            tokio::time::sleep(BEAT).await;
        }
    }

    /// Posts the events that are due now, one after another, and answers how many attempts that were.
    pub async fn deliver_due(&self, client: &reqwest::Client) -> usize {
        let now = self.now().timestamp_millis();
        let due = self.state().webhooks.take_due(now);
        let attempts = due.len();
        for delivery in due {
            let status = self.attempt(client, &delivery).await;
            let now = self.now().timestamp_millis();
            self.state().webhooks.settle(delivery, status, now);
        }
        attempts
    }

    /// The subscriber's status, 0 for none. Redirects are not followed in the field either.
    async fn attempt(&self, client: &reqwest::Client, delivery: &Delivery) -> u16 {
        let Some(hook) = self.state().webhooks.hook(delivery.hook).cloned() else { return 0 };
        let mut payload = delivery.payload.clone();
        payload["meta"]["attempt"] = delivery.attempt.into();
        let mut request = client.post(&hook.url).timeout(PATIENCE).json(&payload);
        if let Some((user, password)) = &hook.login {
            request = request.basic_auth(user, Some(password));
        }
        match request.send().await {
            Ok(response) => response.status().as_u16(),
            Err(error) => {
                tracing::debug!(webhook.id = hook.id, %error, "webhook not delivered");
                0
            }
        }
    }

    /// Loses, doubles and delays webhook events from now on.
    pub fn webhook_weather(&self, weather: WebhookWeather) {
        self.state().webhooks.weather = weather;
    }

    /// Deletes all webhooks, as three days without a success do.
    pub fn drop_webhooks(&self) {
        self.state().webhooks.hooks.clear();
    }

    /// Events that wait for their first or next attempt.
    pub fn webhooks_waiting(&self) -> usize {
        self.state().webhooks.queue.len()
    }

    /// Events that were given up.
    pub fn webhooks_lost(&self) -> usize {
        self.state().webhooks.lost
    }
}
