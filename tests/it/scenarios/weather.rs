//! People at work on both sides while every fault strikes at random: nothing is lost, nobody is there twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crmsync_core::model::{OpenRow, Side};
use crmsync_simulator::fault::Fault;
use crmsync_simulator::host::Service;
use serde_json::{Value, json};

use crate::world::{Setup, World, each_on_its_own, propagating};

const SEEDS: std::ops::Range<u64> = 1..25;
const ROUNDS: u64 = 5;
/// (Zoho, Pipedrive) of the fields that people edit.
const FIELDS: [(&str, &str); 3] =
    [("First_Name", "first_name"), ("Last_Name", "last_name"), ("Email", "emails")];
/// What the mapping decides as one: the two names together, and the address.
const UNITS: [&[usize]; 2] = [&[0, 1], &[2]];

#[test]
fn given_people_at_work_in_any_weather_when_it_clears_then_both_sides_agree_on_their_last_values() {
    let broken = each_on_its_own(SEEDS.collect(), Storm::run);

    assert!(broken.is_empty(), "seeds {broken:?}");
}

/// One company under one seed.
struct Storm {
    world: World,
    random: u64,
    written: u64,
    /// What people wrote since the sides last agreed, by contact, unit and side.
    edits: BTreeMap<(String, usize), [Option<String>; 2]>,
    /// Contacts that were there before the storm.
    first: BTreeSet<String>,
    /// Contacts that people deleted on either side.
    deleted: BTreeSet<String>,
}

impl Storm {
    async fn run(seed: u64) {
        let mappings = propagating();
        let world = World::with(Setup { mappings, ..Setup::default() }).await;
        let mut storm = Self {
            world,
            random: seed,
            written: 0,
            edits: BTreeMap::new(),
            first: BTreeSet::new(),
            deleted: BTreeSet::new(),
        };
        world_of_people(&storm.world);
        storm.world.sync().await;
        storm.first = storm.world.sandbox.zoho.all("Contacts").iter().map(id_of).collect();
        for round in 0..ROUNDS {
            storm.people_work();
            storm.weather(seed * 100 + round);
            // A run may end early; what it committed stays.
            let _ = storm.world.try_sync().await;
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        storm.clear();
        storm.world.advance(300);
        storm.world.settle().await;
        storm.world.writes();
        storm.world.sync().await;
        assert_eq!(storm.world.writes(), 0, "seed {seed}: the last run wrote");
        storm.check(seed).await;
    }

    fn weather(&self, seed: u64) {
        let kinds = vec![
            Fault::Refused,
            Fault::ReplyLost,
            Fault::Truncated,
            Fault::EffectThenStatus { status: 502 },
            Fault::LateEffect { after: Duration::from_millis(20) },
            Fault::PartialRows { rows: 1 },
            Fault::StatusesMissing { kept: 1 },
            Fault::Stale { by: Duration::from_secs(30) },
            Fault::NoDate,
            Fault::html(503),
        ];
        self.world.sandbox.zoho.faults().weather(seed, 120, kinds.clone());
        self.world.sandbox.pipedrive.faults().weather(seed.rotate_left(17), 120, kinds);
    }

    fn clear(&self) {
        self.world.sandbox.zoho.faults().clear();
        self.world.sandbox.pipedrive.faults().clear();
    }

    fn draw(&mut self, below: usize) -> usize {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.random >> 33).unwrap() % below
    }

    fn unique(&mut self, field: usize) -> String {
        self.written += 1;
        if field == 2 {
            format!("v{}@example.com", self.written)
        } else {
            format!("V{}", self.written)
        }
    }

    /// Edits and creates on both sides; ten seconds between any two, so that the later one is known.
    fn people_work(&mut self) {
        self.note_agreements();
        for _ in 0..6 {
            self.world.advance(10);
            let side = self.draw(2);
            match self.draw(12) {
                0 | 1 => self.create(side),
                2 => self.delete(side),
                _ => self.edit(side),
            }
        }
    }

    fn create(&mut self, side: usize) {
        let (first, last, email) = (self.unique(0), self.unique(1), self.unique(2));
        if side == 0 {
            let contact = json!({ "First_Name": first, "Last_Name": last, "Email": email });
            self.world.sandbox.zoho.add("Contacts", contact);
        } else {
            let emails = json!([{ "value": email, "primary": true }]);
            let person = json!({ "name": format!("{first} {last}"), "first_name": first, "last_name": last, "emails": emails });
            self.world.sandbox.pipedrive.add("persons", person);
        }
    }

    /// Only what both sides show alike, as a deletion of what somebody edits is a question for a person; and only
    /// who was there before the storm: what is deleted before its create is known to have happened is made again.
    fn delete(&mut self, side: usize) {
        let calm =
            |pair: &Linked| (0..UNITS.len()).all(|unit| pair.value(unit, 0) == pair.value(unit, 1));
        let old = |pair: &Linked| self.first.contains(&pair.ids()[0]);
        let calm: Vec<_> = self.pairs().into_iter().filter(old).filter(calm).collect();
        if calm.is_empty() {
            return;
        }
        let pair = calm[self.draw(calm.len())].ids();
        if side == 0 {
            self.world.sandbox.zoho.delete("Contacts", pair[0].parse().unwrap());
        } else {
            self.world.sandbox.pipedrive.delete("persons", pair[1].parse().unwrap());
        }
        self.deleted.insert(pair[0].clone());
    }

    fn edit(&mut self, side: usize) {
        let field = self.draw(FIELDS.len());
        let value = self.unique(field);
        let records = if side == 0 {
            self.world.sandbox.zoho.all("Contacts")
        } else {
            self.world.sandbox.pipedrive.all("persons")
        };
        let at = self.draw(records.len());
        let record = &records[at];
        if side == 0 {
            let id = record["id"].as_str().unwrap().parse().unwrap();
            self.world.sandbox.zoho.edit("Contacts", id, json!({ (FIELDS[field].0): value }));
        } else {
            let id = record["id"].as_i64().unwrap();
            let new = if field == 2 {
                json!([{ "value": value, "primary": true }])
            } else {
                json!(value)
            };
            self.world.sandbox.pipedrive.edit("persons", id, json!({ (FIELDS[field].1): new }));
        }
        // Only what both sides know can be told apart later.
        if let Some(pair) = self.pairs().into_iter().find(|pair| pair.ids()[side] == id_of(record))
        {
            let unit = usize::from(field == 2);
            let edits = self.edits.entry((pair.ids()[0].clone(), unit)).or_default();
            edits[side] = Some(pair.value(unit, side));
        }
    }

    /// Where both sides show the same value, what was written before does not matter any more.
    fn note_agreements(&mut self) {
        for pair in self.pairs() {
            for unit in 0..UNITS.len() {
                if pair.value(unit, 0) == pair.value(unit, 1) {
                    self.edits.remove(&(pair.ids()[0].clone(), unit));
                }
            }
        }
    }

    fn pairs(&self) -> Vec<Linked> {
        let persons = self.world.sandbox.pipedrive.all("persons");
        let contacts = self.world.sandbox.zoho.all("Contacts");
        let counterpart = |contact: &Value| {
            persons
                .iter()
                .find(|person| {
                    names(person, &id_of(contact)) || contact["Pipedrive_ID"] == id_of(person)
                })
                .cloned()
        };
        contacts
            .into_iter()
            .filter_map(|contact| Some(Linked { right: counterpart(&contact)?, left: contact }))
            .collect()
    }

    async fn check(&self, seed: u64) {
        let rows = self.world.open_rows().await;
        let zoho = &self.world.sandbox.zoho;
        let emails: Vec<_> = zoho.all("Contacts").iter().map(|one| one["Email"].clone()).collect();
        let distinct: BTreeSet<_> = emails.iter().map(Value::to_string).collect();
        assert_eq!(distinct.len(), emails.len(), "seed {seed}: a contact is there twice");
        self.check_nobody_is_alone(seed, &rows);
        for pair in self.pairs() {
            let named = rows.iter().any(|row| {
                row.records.left.as_ref().is_some_and(|id| id.as_str() == pair.ids()[0])
            });
            for unit in 0..UNITS.len() {
                let (left, right) = (pair.value(unit, 0), pair.value(unit, 1));
                assert!(named || left == right, "seed {seed}: {left} differs from {right}");
                let Some(edits) = self.edits.get(&(pair.ids()[0].clone(), unit)) else { continue };
                let last: Vec<_> = edits.iter().flatten().collect();
                assert!(
                    named || last.contains(&&left),
                    "seed {seed}: {left} is left, people wrote {edits:?}"
                );
            }
        }
    }
}

impl Storm {
    /// Everybody has a counterpart or waits for a decision; who was deleted has none.
    fn check_nobody_is_alone(&self, seed: u64, rows: &[OpenRow]) {
        let pairs: Vec<_> = self.pairs().iter().map(Linked::ids).collect();
        let sides =
            [self.world.sandbox.zoho.all("Contacts"), self.world.sandbox.pipedrive.all("persons")];
        for (side, records) in [Side::Left, Side::Right].into_iter().zip(sides) {
            for record in records {
                let id = id_of(&record);
                let paired = pairs.iter().any(|ids| ids.contains(&id));
                let named = rows.iter().any(|row| {
                    row.records[side].as_ref().is_some_and(|named| named.as_str() == id)
                });
                assert!(paired || named, "seed {seed}: {side} {id} is alone: {record:#} {rows:#?}");
            }
        }
        let back = pairs.iter().find(|ids| self.deleted.contains(&ids[0]));
        assert!(back.is_none(), "seed {seed}: {back:?} was deleted and is back");
    }
}

fn world_of_people(world: &World) {
    for number in 0..8 {
        let email = format!("p{number}@example.com");
        let (first, last) = (format!("First{number}"), format!("Last{number}"));
        if number % 2 == 0 {
            world
                .sandbox
                .zoho
                .add("Contacts", json!({ "First_Name": first, "Last_Name": last, "Email": email }));
        } else {
            let emails = json!([{ "value": email, "primary": true }]);
            world.sandbox.pipedrive.add("persons", json!({ "name": format!("{first} {last}"), "first_name": first, "last_name": last, "emails": emails }));
        }
    }
}

/// A contact and its person.
struct Linked {
    left: Value,
    right: Value,
}

impl Linked {
    fn ids(&self) -> [String; 2] {
        [id_of(&self.left), id_of(&self.right)]
    }

    fn value(&self, unit: usize, side: usize) -> String {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let one = |field: &usize| match (side, field) {
            (0, _) => text(&self.left[FIELDS[*field].0]),
            (_, 2) => text(&self.right["emails"][0]["value"]),
            _ => text(&self.right[FIELDS[*field].1]),
        };
        UNITS[unit].iter().map(one).collect::<Vec<_>>().join(" ")
    }
}

fn id_of(record: &Value) -> String {
    record["id"].as_str().map_or_else(|| record["id"].to_string(), str::to_owned)
}

/// Whether one of the record's fields holds this id: Pipedrive's custom fields have hashes for names.
fn names(person: &Value, id: &str) -> bool {
    person["custom_fields"]
        .as_object()
        .is_some_and(|fields| fields.values().any(|value| value == id))
}
