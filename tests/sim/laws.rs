//! The laws of semantics §17 on a world at rest: what both CRMs show, against what people wrote and what the store says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crmsync::clock::{Ambient, Clock, Ids, Order, Wire};
use crmsync::config::Config;
use crmsync::service::Session;
use crmsync::store::{RouteStore, RowFilter};
use crmsync_core::invariants::{self, Moment, Violation};
use crmsync_core::model::mapping::Relation;
use crmsync_core::model::state::{Counterpart, Identities, Subject};
use crmsync_core::model::{
    Entity, EntityName, Link, LinkState, Observation, OpenRow, Pair, RecordId, Side, Tombstone,
    Value,
};

use crate::crms::{Kind, Unit, Who};
use crate::history::History;
use crate::process::{Shared, lock, route};

/// Everything that the store holds at rest.
struct Rest {
    entities: Vec<Entity>,
    subjects: BTreeMap<EntityName, Vec<Subject>>,
    rows: Vec<OpenRow>,
    quarantined: Vec<String>,
    /// Texts of every journaled value, of conflicts and of open intents.
    journaled: BTreeSet<String>,
}

/// How thoroughly the program has looked by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Changes,
    Everything,
}

/// Checks every law that holds once nothing is left to do.
pub(crate) async fn check(history: &History, seen: Seen) {
    let rest = Rest::read(history).await;
    let world = &history.world;
    for row in &rest.rows {
        lock(world).note(|| told(row));
    }
    for one in &rest.quarantined {
        lock(world).note(|| format!("quarantined: {one}"));
    }
    let mut broken = Vec::new();
    for entity in &rest.entities {
        broken.extend(stored_laws(&rest, entity));
    }
    broken.extend(rest.values_agree(world));
    broken.extend(rest.nobody_is_alone(world, seen));
    broken.extend(rest.references_agree(world));
    broken.extend(rest.nothing_is_lost_silently(world));
    lock(world).ledger.violations.extend(broken);
}

/// A row in one line.
pub(crate) fn told(row: &OpenRow) -> String {
    let ids = row.records.as_ref().map(|id| id.as_ref().map_or("-", RecordId::as_str));
    let field = row.field.as_ref().map_or("", |field| field.as_str());
    let winner = row.winner.map_or("", Side::as_str);
    let others: Vec<_> = row.candidates.iter().map(RecordId::as_str).collect();
    let (entity, code, others) = (&row.entity, row.code, others.join(" "));
    format!("row: {code} {entity} {} {} {field} {winner} {others}", ids.left, ids.right)
}

fn broken(law: &'static str, seen: impl Into<String>) -> Violation {
    Violation { law, seen: seen.into() }
}

/// Laws on links, baselines and rows alone.
fn stored_laws(rest: &Rest, entity: &Entity) -> Vec<Violation> {
    let subjects = &rest.subjects[&entity.name];
    let links: Vec<Link> = subjects.iter().filter_map(|subject| subject.link.clone()).collect();
    let mut records: BTreeMap<(Side, RecordId), Observation> = BTreeMap::new();
    let mut tombstones: BTreeMap<(Side, RecordId), Tombstone> = BTreeMap::new();
    for subject in subjects {
        for side in Side::BOTH {
            if let Some(seen) = subject.observations[side].clone() {
                records.insert((side, seen.key.id.clone()), seen);
            }
            if let Some(tombstone) = subject.tombstones[side].clone() {
                tombstones.insert((side, tombstone.key.id.clone()), tombstone);
            }
        }
    }
    let rows: Vec<_> = rest.rows.iter().filter(|row| row.entity == entity.name).cloned().collect();
    let ids = Linked::of(rest);
    // A deletion that waits for a person leaves its link as it was.
    let waits = |link: &&Link| {
        rows.iter().any(|row| row.link.as_ref() == Some(&link.id) && row.field.is_none())
    };
    let settled: Vec<Link> = links.iter().filter(|link| !waits(link)).cloned().collect();
    let moment = Moment {
        entity,
        ids: &ids,
        links: &links,
        records: &records,
        tombstones: &tombstones,
        rows: &rows,
    };
    // What a reference stood for may have been linked anew, or not at all, since it was agreed on: see I25.
    let mut own = entity.clone();
    own.fields.retain(|rule| !matches!(rule.relation, Relation::Reference { .. }));
    let laws = [
        invariants::fields_converged(Moment { entity: &own, ..moment }),
        invariants::partial_bijection(Moment { links: &settled, ..moment }),
        invariants::sound_baselines(Moment { entity: &own, ..moment }),
        invariants::rows_are_unique(&rows),
    ];
    let named = |violation: Violation| {
        broken(violation.law, format!("{}: {}", entity.name, violation.seen))
    };
    laws.into_iter().filter_map(Result::err).map(named).collect()
}

impl Rest {
    /// Reads a copy of the store, so that looking changes nothing.
    async fn read(history: &History) -> Self {
        let copy = history.folder.path().join("rest.db");
        for end in ["", "-wal", "-shm"] {
            let from = history.store_path().with_file_name(format!("store.db{end}"));
            if from.exists() {
                std::fs::copy(from, copy.with_file_name(format!("rest.db{end}"))).unwrap();
            }
        }
        let config = history.config_on("rest.db");
        let session = open(history, &config).await;
        let now = session.ambient.clock.now();
        let ttl = std::time::Duration::from_mins(1);
        let later = now + chrono::TimeDelta::hours(1);
        let store = session.store.lock(&route(), "laws", later, ttl).await.unwrap();
        let filter = RowFilter { open_only: true, ..RowFilter::default() };
        let rows =
            store.rows(&filter).await.unwrap().into_iter().map(|stored| stored.row).collect();
        let mut subjects = BTreeMap::new();
        for entity in &session.route.entities {
            store.touch_all(&entity.name).await.unwrap();
            let all = store.attention(&entity.name, None, 100_000, now).await.unwrap();
            subjects.insert(entity.name.clone(), all);
        }
        let quarantined = store.quarantines().await.unwrap();
        let quarantined = quarantined.iter().map(|one| format!("{one:?}")).collect();
        let journaled = journaled(&session, &store).await;
        let entities = session.route.entities.clone();
        drop(store);
        session.close().await.unwrap();
        Self { entities, subjects, rows, quarantined, journaled }
    }

    /// The live link of a left record.
    fn link_of(&self, left: &Who) -> Option<&Link> {
        let subjects = &self.subjects[&left.kind.entity()];
        let mut links = subjects.iter().filter_map(|subject| subject.link.as_ref());
        links.find(|link| {
            link.ends.left.as_ref().is_some_and(|id| id.as_str() == left.id) && link.is_live()
        })
    }

    fn names(&self, link: &Link, fields: &[&str]) -> bool {
        self.rows.iter().any(|row| {
            let field = |named: &str| {
                fields.iter().any(|field| named == *field || named.ends_with(&format!(":{field}")))
            };
            row.link.as_ref() == Some(&link.id)
                && row.field.as_ref().is_none_or(|named| field(named.as_str()))
        })
    }

    /// I1: what both CRMs show of a live link agrees, is pinned, or is named.
    fn values_agree(&self, world: &Shared) -> Vec<Violation> {
        let differing = lock(world).ledger.differing();
        let mut all = Vec::new();
        for (left, right, unit) in differing {
            let Some(link) = self.link_of(&left) else { continue };
            let fields = unit.fields(left.kind);
            let pinned = link
                .baseline
                .iter()
                .any(|(name, agreed)| fields.contains(&name.as_str()) && agreed.pinned);
            let frozen = link.state != LinkState::Live && self.names(link, fields);
            if !pinned && !frozen && !self.names(link, fields) {
                let world = lock(world);
                let (here, there) =
                    (world.ledger.value(&left, unit), world.ledger.value(&right, unit));
                all.push(broken("I1", format!("{unit:?} of {left} is {here}, of {right} {there}")));
            }
        }
        all
    }

    /// I1: everybody has a counterpart, had one that is gone, or waits for a person.
    fn nobody_is_alone(&self, world: &Shared, seen: Seen) -> Vec<Violation> {
        let world = lock(world);
        let ledger = &world.ledger;
        let mut all = Vec::new();
        for who in ledger.shown.keys() {
            let partners = ledger.partners_of(who);
            let back = partners.iter().chain([who]).any(|one| ledger.revived.contains(one));
            if seen == Seen::Changes && back {
                continue;
            }
            let survives = partners.iter().any(|one| !ledger.shown.contains_key(one));
            let named = self.rows.iter().any(|row| {
                row.entity == who.kind.entity()
                    && (row.records[who.side].as_ref().is_some_and(|id| id.as_str() == who.id)
                        || row.candidates.iter().any(|id| id.as_str() == who.id))
            });
            if !ledger.pairs.contains_key(who) && !survives && !named {
                all.push(broken("I1", format!("{who} is neither linked nor named")));
            }
        }
        all
    }

    /// I25: contacts that are linked belong to accounts that are linked.
    fn references_agree(&self, world: &Shared) -> Vec<Violation> {
        let world = lock(world);
        let ledger = &world.ledger;
        let mut all = Vec::new();
        let contacts = ledger
            .pairs
            .iter()
            .filter(|(who, _)| who.kind == Kind::Contact && who.side == Side::Left);
        for (left, right) in contacts {
            let (Some(here), Some(there)) = (ledger.shown.get(left), ledger.shown.get(right))
            else {
                continue;
            };
            let account =
                |side: Side, id: &str| Who { side, kind: Kind::Account, id: id.to_owned() };
            let wanted =
                ledger.partner(&account(Side::Left, &here.account)).map(|who| who.id.clone());
            // A reference to a record that is gone is left as it is: semantics §12.
            let ends = [account(Side::Left, &here.account), account(Side::Right, &there.account)];
            let both = ends.iter().all(|end| ledger.shown.contains_key(end));
            let Some(link) = self.link_of(left) else { continue };
            if both
                && wanted.is_some_and(|id| id != there.account)
                && !self.names(link, &["account"])
            {
                let text = format!("{left} is of {}, {right} of {}", here.account, there.account);
                all.push(broken("I25", text));
            }
        }
        all
    }

    /// I4: a value that the engine wrote over is in its journal or in a conflict.
    fn nothing_is_lost_silently(&self, world: &Shared) -> Vec<Violation> {
        let world = lock(world);
        let lost = world.ledger.overwrites.iter().filter(|over| {
            let parts: Vec<&str> = if over.unit == Unit::Name && over.who.kind == Kind::Contact {
                over.lost.split(' ').collect()
            } else {
                vec![over.lost.as_str()]
            };
            !parts.iter().all(|part| self.journaled.contains(*part))
        });
        let told = |over: &crate::ledger::Overwrite| {
            let text =
                format!("{:?} of {}: {} gave way to {}", over.unit, over.who, over.lost, over.by);
            broken("I4", text)
        };
        lost.map(told).collect()
    }
}

async fn open(history: &History, config: &Arc<Config>) -> Session {
    let world = Arc::clone(&history.world);
    let ambient = Ambient {
        clock: Clock::new(move || lock(&world).clocks.ours()),
        ids: Ids::new(|| "laws".into()),
        holder: "laws".into(),
        is_gone: |_| false,
        wire: Wire::Carried(Arc::new(crate::process::Quiet(Arc::clone(&history.world)))),
        order: Order::LeftFirst,
    };
    Session::open(config, &route(), &ambient).await.unwrap()
}

/// Texts of everything that the journal, conflicts and open intents keep.
async fn journaled(session: &Session, store: &RouteStore) -> BTreeSet<String> {
    let mut texts = BTreeSet::new();
    for run in session.store.runs(None, 10_000).await.unwrap() {
        for effect in store.effects(&run.id).await.unwrap() {
            texts.extend(effect.before.values().filter_map(text));
        }
    }
    for stored in store.rows(&RowFilter::default()).await.unwrap() {
        let row = stored.row;
        let base = row.base.map(|pair| [pair.left, pair.right]).into_iter().flatten();
        let values = base.chain(row.left).chain(row.right);
        texts.extend(values.filter_map(|value| text(&value)));
    }
    for intent in store.open_intents().await.unwrap() {
        texts.extend(intent.before.values().filter_map(text));
    }
    texts
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.to_string()),
        Value::List(items) => items.first().map(ToString::to_string),
        Value::Empty
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Date(_)
        | Value::Timestamp(_)
        | Value::Set(_)
        | Value::Reference(_)
        | Value::Link(_) => None,
    }
}

/// Counterparts by the live links at rest.
struct Linked(BTreeMap<(EntityName, Side, RecordId), RecordId>);

impl Linked {
    fn of(rest: &Rest) -> Self {
        let mut all = BTreeMap::new();
        for (entity, subjects) in &rest.subjects {
            for link in subjects.iter().filter_map(|subject| subject.link.as_ref()) {
                let Pair { left: Some(left), right: Some(right) } = &link.ends else { continue };
                all.insert((entity.clone(), Side::Left, left.clone()), right.clone());
                all.insert((entity.clone(), Side::Right, right.clone()), left.clone());
            }
        }
        Self(all)
    }
}

impl Identities for Linked {
    fn counterpart(&self, entity: &EntityName, side: Side, id: &RecordId) -> Counterpart {
        let known = self.0.get(&(entity.clone(), side, id.clone()));
        known.map_or(Counterpart::Unresolved, |id| Counterpart::Known(id.clone()))
    }
}
