//! Notification channels: who wants to hear of what, and what is due to be posted.
//!
//! Source: Zoho CRM API v8, "Notifications". Nothing is signed, nothing is repeated after a failure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chrono::TimeDelta;
use serde_json::{Map, Value, json};

use super::state::State;

/// What happened to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Insert,
    Update,
    Delete,
}

impl Operation {
    /// As events are named when subscribed to.
    fn subscribed(self) -> &'static str {
        match self {
            Self::Insert => "create",
            Self::Update => "edit",
            Self::Delete => "delete",
        }
    }

    /// As notifications name it.
    fn posted(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// One write, before it is matched with channels.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) module: String,
    pub(super) id: u64,
    pub(super) operation: Operation,
    pub(super) changed: Vec<String>,
}

/// One subscription: a channel for one or more modules.
#[derive(Clone, Debug)]
pub(super) struct Channel {
    /// `Module.create`, `.edit`, `.delete` or `.all`.
    pub(super) events: BTreeSet<String>,
    pub(super) token: Option<String>,
    pub(super) url: String,
    /// Milliseconds since 1970.
    pub(super) expires: i64,
    pub(super) values: bool,
    pub(super) related: bool,
    pub(super) conditions: Value,
    /// Where the API is served.
    pub(super) origin: String,
}

/// How notifications travel. All are drawn from the organisation's seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carriage {
    pub lost_per_mille: u64,
    pub doubled_per_mille: u64,
    /// Posted before an earlier one.
    pub reordered_per_mille: u64,
    /// Least and most time on the way, by the server's clock.
    pub delay: (TimeDelta, TimeDelta),
}

/// One notification on its way.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    pub url: String,
    pub payload: Value,
    /// Milliseconds since 1970, by the server's clock.
    pub due: i64,
}

#[derive(Debug)]
pub(super) struct Watches {
    pub(super) channels: BTreeMap<String, Channel>,
    pub(super) carriage: Carriage,
    events: Vec<Event>,
    outbox: VecDeque<Delivery>,
    dice: u64,
}

impl Watches {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            channels: BTreeMap::new(),
            carriage: Carriage::default(),
            events: Vec::new(),
            outbox: VecDeque::new(),
            dice: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
        }
    }

    /// Remembers a write until the call that made it is over.
    pub(super) fn note(&mut self, event: Event) {
        if !self.channels.is_empty() {
            self.events.push(event);
        }
    }

    /// Takes what is due to be posted.
    pub(super) fn due(&mut self, now: i64) -> Vec<Delivery> {
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.outbox).into_iter().partition(|delivery| delivery.due <= now);
        self.outbox = later.into();
        due
    }

    pub(super) fn waiting(&self) -> usize {
        self.outbox.len()
    }

    fn send(&mut self, delivery: &Delivery) {
        let Carriage {
            lost_per_mille,
            doubled_per_mille,
            reordered_per_mille,
            delay: (least, most),
        } = self.carriage;
        if self.draw(1_000) < lost_per_mille {
            return;
        }
        let copies = if self.draw(1_000) < doubled_per_mille { 2 } else { 1 };
        for _ in 0..copies {
            let spread = u64::try_from((most - least).num_milliseconds()).unwrap_or(0) + 1;
            let late = least.num_milliseconds() + i64::try_from(self.draw(spread)).unwrap_or(0);
            let delivery = Delivery { due: delivery.due + late, ..delivery.clone() };
            let place = if self.draw(1_000) < reordered_per_mille {
                usize::try_from(self.draw(self.outbox.len() as u64 + 1)).unwrap_or(0)
            } else {
                self.outbox.len()
            };
            self.outbox.insert(place, delivery);
        }
    }

    /// xorshift64*, below `sides`.
    fn draw(&mut self, sides: u64) -> u64 {
        self.dice ^= self.dice >> 12;
        self.dice ^= self.dice << 25;
        self.dice ^= self.dice >> 27;
        (self.dice.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) % sides
    }
}

impl State {
    /// Turns the writes of a call into notifications: one per module, kind of write and channel.
    pub(super) fn notify(&mut self) {
        if self.watches.events.is_empty() {
            return;
        }
        let events = std::mem::take(&mut self.watches.events);
        let now = self.now();
        let mut posts = Vec::new();
        for (id, channel) in
            self.watches.channels.iter().filter(|(_, channel)| now < channel.expires)
        {
            for ((module, operation), events) in
                grouped(events.iter().cloned().chain(self.indirect(channel, &events)))
            {
                if channel.hears(&module, operation) {
                    posts.push(self.delivery(id, channel, &module, operation, &events, now));
                }
            }
        }
        for post in posts {
            self.watches.send(&post);
        }
    }

    /// Edits of records that a changed record points to, for channels that want them.
    fn indirect(&self, channel: &Channel, events: &[Event]) -> Vec<Event> {
        if !channel.related {
            return Vec::new();
        }
        let parents = events.iter().filter_map(|event| {
            let module = self.modules.get(&event.module)?;
            let row = module.table.get(event.id)?;
            Some(module.fields.iter().filter(|field| field.api_name != "Owner").filter_map(
                move |field| {
                    let (parent, row) =
                        self.target(field, row.fields.get(&field.api_name)?, None)?;
                    Some(Event {
                        module: parent.api_name.clone(),
                        id: row.id,
                        operation: Operation::Update,
                        changed: Vec::new(),
                    })
                },
            ))
        });
        parents.flatten().filter(|event| channel.hears(&event.module, event.operation)).collect()
    }

    fn delivery(
        &self,
        id: &str,
        channel: &Channel,
        module: &str,
        operation: Operation,
        events: &[Event],
        now: i64,
    ) -> Delivery {
        let query = channel.url.split_once('?').map_or("", |(_, query)| query);
        let query: Map<String, Value> =
            crate::host::pairs(query).into_iter().map(|(key, value)| (key, value.into())).collect();
        let with_fields = |event: &&Event| !event.changed.is_empty();
        let fields: Vec<Value> = events
            .iter()
            .filter(with_fields)
            .map(|event| json!({ event.id.to_string(): event.changed }))
            .collect();
        let mut payload = json!({
            "server_time": now,
            "query_params": query,
            "module": module,
            "resource_uri": format!("{}/crm/v2/{module}", channel.origin),
            "ids": events.iter().map(|event| event.id.to_string()).collect::<Vec<_>>(),
            "affected_fields": fields,
            "operation": operation.posted(),
            "channel_id": id,
            "token": channel.token,
        });
        if channel.values {
            let values = events.iter().filter(with_fields).map(|event| {
                let row = self.table(module).and_then(|table| table.get(event.id));
                let value = |name: &String| Some((name.clone(), row?.fields.get(name).cloned().unwrap_or(Value::Null)));
                json!({ "record_id": event.id.to_string(), "values": event.changed.iter().filter_map(value).collect::<Map<_, _>>() })
            });
            payload["affected_values"] = values.collect();
        }
        Delivery { url: channel.url.clone(), payload, due: now }
    }
}

impl Channel {
    fn hears(&self, module: &str, operation: Operation) -> bool {
        self.events.contains(&format!("{module}.all"))
            || self.events.contains(&format!("{module}.{}", operation.subscribed()))
    }
}

/// Events by module and kind, each record once.
fn grouped(events: impl Iterator<Item = Event>) -> BTreeMap<(String, Operation), Vec<Event>> {
    let mut groups: BTreeMap<(String, Operation), Vec<Event>> = BTreeMap::new();
    for event in events {
        let group = groups.entry((event.module.clone(), event.operation)).or_default();
        if group.iter().all(|other| other.id != event.id) {
            group.push(event);
        }
    }
    groups
}
