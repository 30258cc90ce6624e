//! Routes and replications: which connections work together, and how often.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::NaiveDate;
use crmsync_core::engine::schedule::Schedule;
use crmsync_core::model::{Pair, Policy, RouteName};

use super::connections::Connection;
use super::section::{Reading, Section, Word, nearest};

/// Two sides, one mapping folder, one lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub name: RouteName,
    /// Names of connections.
    pub sides: Pair<String>,
    /// Absolute, or relative to the working directory.
    pub mappings: PathBuf,
    /// `None`: runs only when asked to.
    pub schedule: Option<Schedule>,
    pub webhooks: bool,
    /// Who wins where the mapping file and its fields do not say.
    pub conflicts: Option<Policy>,
}

/// A CRM copied into a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    pub from: String,
    pub to: ReplicaTarget,
    /// `None`: all of them.
    pub streams: Option<Vec<String>>,
    pub start_date: Option<NaiveDate>,
    pub new_fields: NewFields,
    pub deletes: ReplicaDeletes,
    pub schedule: Option<Schedule>,
}

/// Where a replication's streams go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplicaTarget {
    /// A connection of type `sql`.
    Connection(String),
    /// A folder of compressed JSON Lines.
    Folder(PathBuf),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NewFields {
    #[default]
    Add,
    Ignore,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplicaDeletes {
    #[default]
    Soft,
    Hard,
    Keep,
}

pub(super) fn read_route(
    reading: &Reading<'_>,
    name: &str,
    mut section: Section<'_>,
    connections: &Connections,
) -> Option<Route> {
    let left = read_side(&mut section, "left", connections);
    let right = read_side(&mut section, "right", connections);
    if let (Some(left), Some(right)) = (&left, &right)
        && left == right
    {
        let reason = format!("both sides are `{left}`; a route joins two connections");
        section.refuse("right", section.place.clone(), &reason, None);
    }
    let mappings = section.text("mappings");
    if mappings.is_none() {
        section.missing("mappings", "write mappings = \"mappings/zoho-pipedrive\"");
    }
    let schedule = read_schedule(&mut section);
    let webhooks = section.flag("webhooks").unwrap_or(false);
    let conflicts = section.choice("conflicts", &POLICIES);
    section.finish();
    Some(Route {
        name: RouteName::new(name),
        sides: Pair::new(left?, right?),
        mappings: reading.folder.join(mappings?),
        schedule,
        webhooks,
        conflicts,
    })
}

const POLICIES: [(&str, Policy); 6] = [
    ("newest", Policy::Newest),
    ("prefer-left", Policy::PreferLeft),
    ("prefer-right", Policy::PreferRight),
    ("queue", Policy::Queue),
    ("owner-left", Policy::OwnerLeft),
    ("owner-right", Policy::OwnerRight),
];

pub(super) fn read_replication(
    reading: &Reading<'_>,
    mut section: Section<'_>,
    connections: &Connections,
) -> Option<Replication> {
    let from = read_side(&mut section, "from", connections);
    let to = read_target(reading, &mut section, connections);
    let streams = section.words("streams").and_then(|words| {
        let names: Vec<_> = words.into_iter().map(|word| word.text).collect();
        (names != ["all"]).then_some(names)
    });
    let start_date = section.parsed("start_date", parse_date);
    let new_fields = section
        .choice("new_fields", &[("add", NewFields::Add), ("ignore", NewFields::Ignore)])
        .unwrap_or_default();
    let deletes = section
        .choice(
            "deletes",
            &[
                ("soft", ReplicaDeletes::Soft),
                ("hard", ReplicaDeletes::Hard),
                ("keep", ReplicaDeletes::Keep),
            ],
        )
        .unwrap_or_default();
    let schedule = read_schedule(&mut section);
    section.finish();
    Some(Replication { from: from?, to: to?, streams, start_date, new_fields, deletes, schedule })
}

/// A connection's name, or a folder: a text with a slash.
fn read_target(
    reading: &Reading<'_>,
    section: &mut Section<'_>,
    connections: &Connections,
) -> Option<ReplicaTarget> {
    let Some(word) = section.word("to") else {
        section.missing("to", "write to = \"…\", the name of a [connections.…] table or a folder/");
        return None;
    };
    if word.text.contains('/') {
        return Some(ReplicaTarget::Folder(reading.folder.join(word.text)));
    }
    named(section, "to", word, connections).map(ReplicaTarget::Connection)
}

/// Connections as read; `None` for one that has a mistake of its own.
pub(super) type Connections = BTreeMap<String, Option<Connection>>;

fn read_side(
    section: &mut Section<'_>,
    key: &'static str,
    connections: &Connections,
) -> Option<String> {
    let Some(word) = section.word(key) else {
        section.missing(key, &format!("write {key} = \"…\", the name of a [connections.…] table"));
        return None;
    };
    named(section, key, word, connections)
}

fn named(
    section: &Section<'_>,
    key: &'static str,
    word: Word,
    connections: &Connections,
) -> Option<String> {
    if connections.contains_key(&word.text) {
        return Some(word.text);
    }
    let names: Vec<_> = connections.keys().map(String::as_str).collect();
    let help = nearest(&word.text, &names).map_or_else(
        || format!("connections: {}", names.join(", ")),
        |name| format!("did you mean `{name}`?"),
    );
    section.refuse(
        key,
        word.place,
        &format!("no connection is called `{}`", word.text),
        Some(help),
    );
    None
}

fn read_schedule(section: &mut Section<'_>) -> Option<Schedule> {
    let every = section.period("every").map(Schedule::Every);
    let cron = section.parsed("cron", Schedule::cron);
    if every.is_some() && cron.is_some() {
        section.refuse("cron", section.place.clone(), "`every` stands here too; one of them", None);
    }
    every.or(cron)
}

/// Reads `2024-01-31` or `01/31/2024`.
fn parse_date(text: &str) -> Result<NaiveDate, String> {
    ["%Y-%m-%d", "%m/%d/%Y"]
        .iter()
        .find_map(|format| NaiveDate::parse_from_str(text, format).ok())
        .ok_or_else(|| format!("`{text}` is no date; write 2024-01-31 or 01/31/2024"))
}
