//! What reached a route between two runs: decisions of people, and hints of webhooks. Written without the lease, since
//! nothing here is state of the sync yet; the next run takes it in.

use chrono::{DateTime, Utc};
use crmsync_core::model::row::Resolution;
use crmsync_core::model::state::SubjectKey;
use crmsync_core::model::{ModuleName, RecordId, RouteName, Side};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};

use super::route::upsert;
use super::tables::inbox;
use super::{RouteReader, RouteStore, Store, StoreError, codec};

/// One thing to take in. The same again replaces the one that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    /// What a person decided about a row.
    Decision(Resolution),
    /// A quarantined subject may try again.
    Retry(SubjectKey),
    /// A side says that a record changed: it is to be read.
    Hint { side: Side, module: ModuleName, record: RecordId },
}

impl Message {
    /// Two messages about the same thing have one key.
    fn item(&self) -> String {
        match self {
            Self::Decision(decision) => decision_item(&decision.row.0),
            Self::Retry(subject) => format!("retry:{}", digest(&codec::subject_text(subject))),
            Self::Hint { side, module, record } => {
                format!("hint:{}", digest(&format!("{side}|{module}|{record}")))
            }
        }
    }
}

fn decision_item(row: &str) -> String {
    format!("decision:{row}")
}

fn digest(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..32].to_owned()
}

/// A message as it waits.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    pub message: Message,
    item: String,
    received_at: i64,
}

impl Store {
    /// Keeps messages for the route's next run.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn receive(
        &self,
        route: &RouteName,
        messages: &[Message],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        use inbox::Column as C;
        let mut rows = std::collections::BTreeMap::new();
        for message in messages {
            let row = inbox::Model {
                route: route.to_string(),
                item: message.item(),
                body: codec::encode(message)?,
                received_at: codec::micros(now),
            };
            rows.insert(row.item.clone(), row);
        }
        let tx = self.begin().await?;
        let rows = rows.into_values().collect();
        upsert(&tx, rows, &[C::Route, C::Item], &[C::Body, C::ReceivedAt]).await?;
        Ok(tx.commit().await?)
    }

    /// Takes a decision back that no run has taken in; answers whether one waited.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn take_back(&self, route: &RouteName, row: &str) -> Result<bool, StoreError> {
        let tx = self.begin().await?;
        let key = (route.to_string(), decision_item(row));
        let removed = inbox::Entity::delete_by_id(key).exec(&tx).await?;
        tx.commit().await?;
        Ok(removed.rows_affected > 0)
    }
}

impl RouteReader {
    /// Up to `limit` messages, the oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn inbox(&self, limit: u64) -> Result<Vec<Waiting>, StoreError> {
        let find = inbox::Entity::find()
            .filter(inbox::Column::Route.eq(self.route.as_str()))
            .order_by_asc(inbox::Column::ReceivedAt)
            .order_by_asc(inbox::Column::Item)
            .limit(limit);
        find.all(self.db()).await?.into_iter().map(waiting).collect()
    }

    /// Decisions that wait for the next run, about any of the rows.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn decisions_waiting(&self, rows: &[&str]) -> Result<Vec<Resolution>, StoreError> {
        let mut decisions = Vec::new();
        for rows in rows.chunks(super::route::KEYS) {
            let find = inbox::Entity::find()
                .filter(inbox::Column::Route.eq(self.route.as_str()))
                .filter(inbox::Column::Item.is_in(rows.iter().map(|row| decision_item(row))));
            for row in find.all(self.db()).await? {
                if let Message::Decision(decision) = waiting(row)?.message {
                    decisions.push(decision);
                }
            }
        }
        Ok(decisions)
    }
}

impl RouteStore {
    /// Forgets messages that were taken in; one that came again meanwhile stays.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`], or when the store cannot be written.
    pub async fn taken_in(&self, messages: &[Waiting]) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        for message in messages {
            inbox::Entity::delete_many()
                .filter(inbox::Column::Route.eq(self.route.as_str()))
                .filter(inbox::Column::Item.eq(message.item.as_str()))
                .filter(inbox::Column::ReceivedAt.eq(message.received_at))
                .exec(&tx)
                .await?;
        }
        Ok(tx.commit().await?)
    }
}

fn waiting(row: inbox::Model) -> Result<Waiting, StoreError> {
    let message = codec::decode("inbox", &row.body)?;
    Ok(Waiting { message, item: row.item, received_at: row.received_at })
}
