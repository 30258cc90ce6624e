//! What people call things: records by name, options and users by label, where a plan has IDs.

use std::collections::{BTreeMap, BTreeSet};

use crmsync_core::engine::report::label;
use crmsync_core::mapping::options::full_label;
use crmsync_core::model::{
    Entity, EntityName, FieldName, LinkId, Op, OpKind, OpenRow, Pair, Plan, RecordId, RecordKey,
    Relation, RouteName, Side, Value,
};
use serde::{Deserialize, Serialize};

use super::error::ServiceError;
use super::metadata::Metadata;
use crate::clock::Ambient;
use crate::store::{RouteReader, Store, StoreError};

/// Ops and rows of a plan whose records are named: more than anybody reads; the rest show their IDs.
const MOST_NAMED: usize = 2_000;

/// Under which name the store keeps a route's words.
const WORDS: &str = "words";
/// Records read at once.
const CHUNK: usize = 2_000;

/// What a field's values are called.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct FieldWords {
    /// Labels of options and names of users by ID, by side; an ID that reads like its label is left out.
    labels: Pair<BTreeMap<String, String>>,
    /// The entity that a reference leads to.
    refers: Option<EntityName>,
}

/// What the values of a route's fields are called, as both sides' metadata tell it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Words(BTreeMap<EntityName, BTreeMap<FieldName, FieldWords>>);

impl Words {
    /// Reads them out of live metadata.
    pub fn of(entities: &[Entity], metadata: &Pair<Metadata>) -> Self {
        let words = |entity: &Entity| {
            let field = |rule: &crmsync_core::model::FieldRule| {
                let labels = Pair::new(Side::Left, Side::Right)
                    .map(|side| labels_of(entity, rule, side, &metadata[side]));
                let refers = match &rule.relation {
                    Relation::Reference { entity } => Some(entity.clone()),
                    Relation::Text { .. }
                    | Relation::RichText { .. }
                    | Relation::Option { .. }
                    | Relation::OptionSet { .. }
                    | Relation::Number { .. }
                    | Relation::Bool
                    | Relation::Phone { .. }
                    | Relation::Email
                    | Relation::Date
                    | Relation::Timestamp
                    | Relation::User { .. } => None,
                };
                (rule.name.clone(), FieldWords { labels, refers })
            };
            let fields = entity.fields.iter().map(field);
            let telling = fields.filter(|(_, words)| *words != FieldWords::default()).collect();
            (entity.name.clone(), telling)
        };
        Self(entities.iter().map(words).collect())
    }

    /// Those that the last run kept; none before the first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn load(store: &Store, route: &RouteName) -> Result<Self, StoreError> {
        let kept = store.metadata(route.as_str(), WORDS).await?;
        // Labels are for reading: what an older version kept otherwise is done without.
        Ok(kept.and_then(|(kept, _)| serde_json::from_value(kept).ok()).unwrap_or_default())
    }

    /// Keeps them for commands that ask no side, unless they are kept already.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn keep(
        &self,
        store: &Store,
        route: &RouteName,
        ambient: &Ambient,
    ) -> Result<(), ServiceError> {
        if Self::load(store, route).await? != *self {
            let kept = serde_json::to_value(self)
                .map_err(|error| ServiceError::Config(format!("labels do not encode: {error}")))?;
            store.save_metadata(route.as_str(), WORDS, &kept, ambient.clock.now()).await?;
        }
        Ok(())
    }

    fn field(&self, entity: &EntityName, field: &FieldName) -> Option<&FieldWords> {
        self.0.get(entity)?.get(field)
    }
}

fn labels_of(
    entity: &Entity,
    rule: &crmsync_core::model::FieldRule,
    side: Side,
    metadata: &Metadata,
) -> BTreeMap<String, String> {
    if matches!(rule.relation, Relation::User { .. }) {
        let users = metadata.users().iter();
        return users.map(|user| (user.id.clone(), user.name.clone())).collect();
    }
    let schema = metadata.schema(&entity.modules[side]);
    let field = schema
        .zip(rule.remote[side].as_ref())
        .and_then(|(schema, name)| schema.fields.iter().find(|field| field.name == *name));
    let options = field.into_iter().flat_map(|field| &field.options);
    options
        .filter(|option| option.id != option.label)
        .map(|option| (option.id.clone(), full_label(option)))
        .collect()
}

/// What the records and values of a plan, or of rows, are called.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    words: Words,
    records: BTreeMap<RecordKey, String>,
    /// Records that the plan makes, by the link that they get.
    created: BTreeMap<LinkId, String>,
}

impl Labels {
    /// Looks up every record that `plan` is about.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn of_plan(
        words: &Words,
        store: &RouteReader,
        plan: &Plan,
    ) -> Result<Self, StoreError> {
        let mut labels = Self { words: words.clone(), ..Self::default() };
        let mut keys = BTreeSet::new();
        for op in plan.all_ops().take(MOST_NAMED) {
            labels.collect_op(op, &mut keys);
        }
        plan.rows.iter().take(MOST_NAMED).for_each(|row| labels.collect_row(row, &mut keys));
        labels.read(store, keys).await?;
        Ok(labels)
    }

    /// Looks up every record that `rows` are about.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn of_rows<'r>(
        words: &Words,
        store: &RouteReader,
        rows: impl IntoIterator<Item = &'r OpenRow>,
    ) -> Result<Self, StoreError> {
        let mut labels = Self { words: words.clone(), ..Self::default() };
        let mut keys = BTreeSet::new();
        rows.into_iter().for_each(|row| labels.collect_row(row, &mut keys));
        labels.read(store, keys).await?;
        Ok(labels)
    }

    /// What people call a record, if its name is known.
    pub fn record(&self, entity: &EntityName, side: Side, id: &RecordId) -> Option<&str> {
        let key = RecordKey { entity: entity.clone(), side, id: id.clone() };
        self.records.get(&key).map(String::as_str)
    }

    /// A value of `side` as a person reads it there.
    pub fn value(
        &self,
        entity: &EntityName,
        field: &FieldName,
        side: Side,
        value: &Value,
    ) -> String {
        let Some(words) = self.words.field(entity, field) else { return value.to_string() };
        let word = |id: &str| words.labels[side].get(id).map_or(id, String::as_str).to_owned();
        match value {
            Value::Text(id) => word(id),
            Value::Set(ids) => ids.iter().map(|id| word(id)).collect::<Vec<_>>().join(", "),
            Value::Number(number) => word(&number.to_string()),
            Value::Link(link) => {
                self.created.get(link).cloned().unwrap_or_else(|| "a new record".to_owned())
            }
            Value::Reference(id) => {
                let target = words.refers.as_ref();
                let name = target.and_then(|target| self.record(target, side, id));
                name.map_or_else(|| value.to_string(), str::to_owned)
            }
            Value::Empty
            | Value::Bool(_)
            | Value::Date(_)
            | Value::Timestamp(_)
            | Value::List(_) => value.to_string(),
        }
    }

    fn collect_op(&mut self, op: &Op, keys: &mut BTreeSet<RecordKey>) {
        let key =
            |side, id: &RecordId| RecordKey { entity: op.entity.clone(), side, id: id.clone() };
        match &op.kind {
            OpKind::Create { side, source, fields, .. } => {
                self.created.extend(label(fields).map(|label| (op.link.clone(), label)));
                keys.insert(key(side.other(), source));
                for (field, value) in fields {
                    keys.extend(self.reference(&op.entity, field, *side, value));
                }
            }
            OpKind::Update { side, id, changes, .. } => {
                keys.insert(key(*side, id));
                for (field, change) in changes {
                    keys.extend(self.reference(&op.entity, field, *side, &change.before));
                    keys.extend(self.reference(&op.entity, field, *side, &change.after));
                }
            }
            OpKind::Delete { side, id, .. } | OpKind::Archive { side, id, .. } => {
                keys.insert(key(*side, id));
            }
            OpKind::Link { .. }
            | OpKind::Agree { .. }
            | OpKind::Relate { .. }
            | OpKind::Revive { .. } => {}
        }
    }

    fn collect_row(&self, row: &OpenRow, keys: &mut BTreeSet<RecordKey>) {
        for side in Side::BOTH {
            let entity = || row.entity.clone();
            keys.extend(row.records[side].iter().map(|id| RecordKey {
                entity: entity(),
                side,
                id: id.clone(),
            }));
            // Candidates stand on the other side, or on the same one: whichever knows the ID.
            keys.extend(row.candidates.iter().map(|id| RecordKey {
                entity: entity(),
                side,
                id: id.clone(),
            }));
            let own = match side {
                Side::Left => row.left.as_ref(),
                Side::Right => row.right.as_ref(),
            };
            let base = row.base.as_ref().map(|base| &base[side]);
            if let Some(field) = &row.field {
                let values = own.into_iter().chain(base);
                keys.extend(values.filter_map(|it| self.reference(&row.entity, field, side, it)));
            }
        }
    }

    fn reference(
        &self,
        entity: &EntityName,
        field: &FieldName,
        side: Side,
        value: &Value,
    ) -> Option<RecordKey> {
        let Value::Reference(id) = value else { return None };
        let target = self.words.field(entity, field)?.refers.clone()?;
        Some(RecordKey { entity: target, side, id: id.clone() })
    }

    async fn read(
        &mut self,
        store: &RouteReader,
        keys: BTreeSet<RecordKey>,
    ) -> Result<(), StoreError> {
        let keys: Vec<_> = keys.into_iter().collect();
        for keys in keys.chunks(CHUNK) {
            for seen in store.observations(keys).await? {
                self.records.extend(label(&seen.fields).map(|label| (seen.key, label)));
            }
        }
        Ok(())
    }
}
