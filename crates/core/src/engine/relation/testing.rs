//! Rules, entities and identities for tests of this crate.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use crate::model::mapping::{Conflicts, Deletes, Matching, OptionMap};
use crate::model::state::{Counterpart, Identities};
use crate::model::{
    Direction, Entity, EntityName, FieldName, FieldRule, LinkId, Pair, Policy, RecordId, Relation,
    Side,
};

/// Knows `l<n>` as the counterpart of `r<n>`; 7 is planned, 8 pending, 9 unresolved.
pub(crate) struct Numbered;

impl Identities for Numbered {
    fn counterpart(&self, _: &EntityName, side: Side, id: &RecordId) -> Counterpart {
        let (own, other) = match side {
            Side::Left => ("l", "r"),
            Side::Right => ("r", "l"),
        };
        match id.as_str().strip_prefix(own) {
            Some("7") => Counterpart::Planned(LinkId("seven".into())),
            Some("8") => Counterpart::Pending,
            Some("9") | None => Counterpart::Unresolved,
            Some(number) => Counterpart::Known(RecordId::new(format!("{other}{number}"))),
        }
    }
}

pub(crate) fn rule(relation: Relation) -> FieldRule {
    FieldRule {
        name: FieldName::new("field"),
        remote: Pair::new(Some("Left".into()), Some("right".into())),
        direction: Direction::Both,
        relation,
        merge: crate::model::mapping::TextMerge::Whole,
        conflict: None,
        derived: None,
        required: Pair::default(),
        writable: Pair::new(true, true),
        creatable: Pair::new(true, true),
        fingerprint: String::new(),
    }
}

pub(crate) fn options(open: bool) -> OptionMap {
    let pairs = [("A", "1"), ("B", "2"), ("C", "3")];
    let table = |flip: bool| -> BTreeMap<String, String> {
        let pair = |(left, right): (&str, &str)| {
            let (from, to) = if flip { (right, left) } else { (left, right) };
            (from.to_owned(), to.to_owned())
        };
        pairs.into_iter().map(pair).collect()
    };
    OptionMap { to_right: table(false), to_left: table(true), open }
}

/// An entity without fields, keys or filters, with the defaults of a mapping file.
pub(crate) fn entity() -> Entity {
    Entity {
        name: EntityName::new("contact"),
        modules: Pair::new("Contacts".into(), "persons".into()),
        filters: Pair::default(),
        direction: Direction::Both,
        create: crate::model::mapping::Creation::Both,
        matching: Matching::default(),
        conflicts: Conflicts {
            policy: Policy::Newest,
            tie: Policy::Queue,
            skew_seconds: 5,
            initial: Policy::Newest,
            on_mapping_change: Policy::Queue,
            evidence: crate::model::mapping::EvidenceSource::RecordTime,
            drift: crate::model::mapping::DriftPolicy::Restore,
        },
        deletes: Deletes {
            policy: Pair::default(),
            on_edit: crate::model::mapping::DeleteEditPolicy::Queue,
            max_percent: Decimal::from(5),
            archive_marks: Pair::default(),
            accept_weak: false,
        },
        write_mode: crate::model::mapping::WriteMode::Auto,
        merged: crate::model::mapping::MergedPolicy::Queue,
        audit_writes: crate::model::mapping::AuditWrites::Off,
        canaries: Pair::default(),
        fields: Vec::new(),
        groups: BTreeMap::new(),
        scope_fingerprint: String::new(),
    }
}
