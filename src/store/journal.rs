//! The journal: intents before a write, effects after it (semantics §10.1).

use std::collections::{BTreeMap, BTreeSet};

use crmsync_core::model::{
    Baseline, EntityName, Link, LinkId, LinkState, OpKind, Pair, Side, Tombstone,
};
use sea_orm::{
    ColumnTrait, DatabaseTransaction, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
};

use super::route::{KEYS, upsert};
use super::tables::{effect, intent, link_end};
use super::{Effect, Intent, RouteReader, RouteStore, StoreError, attention, codec, links};

impl RouteReader {
    /// Writes whose outcome is not committed, the oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open_intents(&self) -> Result<Vec<Intent>, StoreError> {
        let scopes: Vec<_> = self.scopes().await?.into_keys().collect();
        let rows = intent::Entity::find()
            .filter(intent::Column::Scope.is_in(scopes))
            .order_by_asc(intent::Column::ArmedAt)
            .order_by_asc(intent::Column::Id)
            .all(self.db())
            .await?;
        rows.iter().map(|row| codec::decode("intent", &row.body)).collect()
    }

    /// What a run did, in order.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn effects(&self, run: &str) -> Result<Vec<Effect>, StoreError> {
        self.effects_where(effect::Column::Run.eq(run)).await
    }

    /// What was done to a link, in order.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn effects_of(&self, link: &LinkId) -> Result<Vec<Effect>, StoreError> {
        self.effects_where(effect::Column::Link.eq(link.0.as_str())).await
    }

    async fn effects_where(
        &self,
        condition: sea_orm::sea_query::SimpleExpr,
    ) -> Result<Vec<Effect>, StoreError> {
        let scopes: Vec<_> = self.scopes().await?.into_keys().collect();
        let rows = effect::Entity::find()
            .filter(effect::Column::Scope.is_in(scopes))
            .filter(condition)
            .order_by_asc(effect::Column::Seq)
            .all(self.db())
            .await?;
        rows.iter()
            .map(|row| Ok(Effect { seq: row.seq, ..codec::decode("effect", &row.body)? }))
            .collect()
    }
}

impl RouteStore {
    /// Writes down, in one transaction, what is about to be sent. The link of a create comes into being here, in
    /// state `creating`, with the source's end.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`]; [`StoreError::Database`] when a link has an open intent already (I24) or a
    /// create's source is linked elsewhere (I11). Then nothing is armed.
    pub async fn arm(&self, intents: &[Intent]) -> Result<(), StoreError> {
        let mut scopes = BTreeMap::new();
        for intent in intents {
            scopes.insert(&intent.op.entity, self.own_scope(&intent.op.entity).await?);
        }
        let tx = self.begin().await?;
        for (entity, scope) in scopes {
            let own: Vec<_> = intents.iter().filter(|intent| intent.op.entity == *entity).collect();
            refuse_second(&tx, scope, &own).await?;
            begin_links(&tx, scope, entity, &own).await?;
            let rows = own.iter().map(|intent| row(scope, intent)).collect::<Result<_, _>>()?;
            insert(&tx, rows).await?;
        }
        Ok(tx.commit().await?)
    }
}

pub(super) fn row(scope: i32, intent: &Intent) -> Result<intent::Model, StoreError> {
    Ok(intent::Model {
        scope,
        id: intent.id.clone(),
        link: intent.op.link.0.clone(),
        armed_at: codec::micros(intent.armed_at),
        body: codec::encode(intent)?,
    })
}

pub(super) async fn insert(
    tx: &DatabaseTransaction,
    rows: Vec<intent::Model>,
) -> Result<(), StoreError> {
    use intent::Column as C;
    upsert(tx, rows, &[C::Scope, C::Id], &[C::Body]).await
}

/// I24: at most one write in flight per link.
async fn refuse_second(
    tx: &DatabaseTransaction,
    scope: i32,
    intents: &[&Intent],
) -> Result<(), StoreError> {
    let links: BTreeSet<_> = intents.iter().map(|intent| intent.op.link.0.as_str()).collect();
    let open = |link: &str| StoreError::Database(format!("link {link} has an open intent"));
    if links.len() < intents.len() {
        return Err(open("armed twice at once"));
    }
    let links: Vec<_> = links.into_iter().collect();
    for links in links.chunks(KEYS) {
        let armed = intent::Entity::find()
            .filter(intent::Column::Scope.eq(scope))
            .filter(intent::Column::Link.is_in(links.iter().copied()))
            .one(tx)
            .await?;
        if let Some(armed) = armed {
            return Err(open(&armed.link));
        }
    }
    Ok(())
}

/// The links of creates, with the source's end only. A link that lost its other end is begun anew.
async fn begin_links(
    tx: &DatabaseTransaction,
    scope: i32,
    entity: &EntityName,
    intents: &[&Intent],
) -> Result<(), StoreError> {
    let mut begun = BTreeMap::new();
    let (mut sources, mut ends) = (BTreeSet::new(), Vec::new());
    for intent in intents {
        let OpKind::Create { side, source, .. } = &intent.op.kind else { continue };
        let near = side.other();
        let link = Link {
            id: intent.op.link.clone(),
            entity: entity.clone(),
            ends: Pair::from_side(near, Some(source.clone()), None),
            state: LinkState::Creating,
            baseline: Baseline::new(),
            own_stamp: Pair::default(),
        };
        sources.insert(codec::record_text(near, source.as_str()));
        let (side, record) = (codec::side_code(near), source.to_string());
        ends.push(link_end::Model { scope, side, record, link: link.id.0.clone() });
        begun.insert(link.id.0.clone(), link);
    }
    if begun.is_empty() {
        return Ok(());
    }
    refuse_taken(tx, scope, &ends).await?;
    let_go(tx, scope, entity, &begun).await?;
    links::save(tx, scope, begun.values()).await?;
    set_ends(tx, scope, begun.keys(), ends).await?;
    attention::unmark(tx, scope, &sources).await
}

/// Tombstones of ends that are about to be made anew no longer belong to the link.
async fn let_go(
    tx: &DatabaseTransaction,
    scope: i32,
    entity: &EntityName,
    begun: &BTreeMap<String, Link>,
) -> Result<(), StoreError> {
    let ids = begun.keys().cloned().collect();
    let before = links::by_id(tx, scope, entity, &ids).await?;
    for side in Side::BOTH {
        let lost = before.iter().filter(|(id, link)| link.ends[side] != begun[*id].ends[side]);
        let lost: BTreeSet<_> = lost
            .filter_map(|(_, link)| link.ends[side].as_ref())
            .map(ToString::to_string)
            .collect();
        let free = links::tombstones(tx, scope, side, &lost).await?.into_values();
        let free: Vec<_> = free.map(|tombstone| Tombstone { link: None, ..tombstone }).collect();
        links::bury(tx, scope, free.iter()).await?;
    }
    Ok(())
}

/// I11: a record is in at most one live link.
async fn refuse_taken(
    tx: &DatabaseTransaction,
    scope: i32,
    ends: &[link_end::Model],
) -> Result<(), StoreError> {
    for side in Side::BOTH {
        let own: BTreeMap<_, _> = ends
            .iter()
            .filter(|end| end.side == codec::side_code(side))
            .map(|end| (end.record.clone(), &end.link))
            .collect();
        let ids: Vec<_> = own.keys().cloned().collect();
        for ids in ids.chunks(KEYS) {
            let taken = attention::live_links(tx, scope, side, ids).await?;
            if let Some((id, link)) =
                taken.into_iter().find(|(id, link)| own.get(id) != Some(&link))
            {
                let text = format!("{side} record {id} is in the live link {link}");
                return Err(StoreError::Database(text));
            }
        }
    }
    Ok(())
}

/// Replaces the live ends of the named links.
pub(super) async fn set_ends<'l>(
    tx: &DatabaseTransaction,
    scope: i32,
    links: impl Iterator<Item = &'l String>,
    ends: Vec<link_end::Model>,
) -> Result<(), StoreError> {
    use link_end::Column as C;
    let links: Vec<_> = links.map(String::as_str).collect();
    for links in links.chunks(KEYS) {
        link_end::Entity::delete_many()
            .filter(C::Scope.eq(scope))
            .filter(C::Link.is_in(links.iter().copied()))
            .exec(tx)
            .await?;
    }
    upsert(tx, ends, &[C::Scope, C::Side, C::Record], &[C::Link]).await
}

/// Whether the journal knows the link: it lived before.
pub(super) async fn has_effects(
    tx: &DatabaseTransaction,
    scope: i32,
    link: &str,
) -> Result<bool, StoreError> {
    let find = effect::Entity::find()
        .filter(effect::Column::Scope.eq(scope))
        .filter(effect::Column::Link.eq(link));
    Ok(find.count(tx).await? > 0)
}
