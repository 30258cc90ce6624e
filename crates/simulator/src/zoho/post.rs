//! Posts notifications to the addresses that asked for them.

use std::sync::Arc;
use std::time::Duration;

use super::{Carriage, Delivery, Zoho};

/// How long to wait while something is on its way but not yet due.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Zoho {
    /// Posts what is due, for as long as the task runs. A post that fails is not repeated.
    ///
    /// Time on the way follows the server's clock: while that stands still, nothing delayed goes out.
    pub async fn deliver(self: Arc<Self>, client: reqwest::Client) {
        loop {
            for delivery in self.take_deliveries() {
                let body = delivery.payload.to_string();
                let post = client
                    .post(&delivery.url)
                    .header("content-type", "application/json")
                    .body(body);
                if let Err(error) = post.send().await {
                    tracing::debug!(%error, "notification not delivered");
                }
            }
            if self.deliveries_waiting() == 0 {
                self.mail.notified().await;
            } else {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }

    /// Takes the notifications that are due, for a test that carries them by hand.
    pub fn take_deliveries(&self) -> Vec<Delivery> {
        let mut state = self.state();
        let now = state.now();
        state.watches.due(now)
    }

    /// Notifications not yet taken, due or not.
    pub fn deliveries_waiting(&self) -> usize {
        self.state().watches.waiting()
    }

    pub fn set_carriage(&self, carriage: Carriage) {
        self.state().watches.carriage = carriage;
    }

    /// Drops all notification channels, as an outage or an expiry does.
    pub fn drop_channels(&self) {
        self.state().watches.channels.clear();
    }
}
