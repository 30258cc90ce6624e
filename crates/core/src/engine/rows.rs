//! Makes open rows: the same inputs give the same row, with the same ID and fingerprint (I21).

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::merge::{Ends, Unit, Verdict, value};
use super::report;
use crate::model::row::{Evidence, RowId, RowKind};
use crate::model::{
    Code, EntityName, FieldName, LinkId, Observation, OpenRow, Pair, Policy, RecordId, Side, Value,
};

/// What a row is about: a linked pair or an unlinked record.
#[derive(Clone, Debug)]
pub(super) struct About<'a> {
    pub(super) entity: &'a EntityName,
    pub(super) link: Option<&'a LinkId>,
    pub(super) records: Pair<Option<RecordId>>,
    pub(super) modified_at: Pair<Option<DateTime<Utc>>>,
}

/// Short hash of what was shown: a decision holds only while it stays the same.
pub(super) fn fingerprint(shown: &impl Serialize) -> String {
    let text = serde_json::to_vec(shown).unwrap_or_default();
    blake3::hash(&text).to_hex()[..16].to_owned()
}

impl<'a> About<'a> {
    pub(super) fn pair(entity: &'a EntityName, link: Option<&'a LinkId>, ends: Ends<'_>) -> Self {
        let id = |seen: &Observation| Some(seen.key.id.clone());
        Self {
            entity,
            link,
            records: Pair::new(id(ends.left), id(ends.right)),
            modified_at: Pair::new(ends.left.modified_at, ends.right.modified_at),
        }
    }

    pub(super) fn record(seen: &'a Observation, link: Option<&'a LinkId>) -> Self {
        let side = seen.key.side;
        Self {
            entity: &seen.key.entity,
            link,
            records: Pair::from_side(side, Some(seen.key.id.clone()), None),
            modified_at: Pair::from_side(side, seen.modified_at, None),
        }
    }

    /// ID of the row of this kind about `field`, or about the whole record.
    pub(super) fn row_id(&self, kind: RowKind, field: Option<&FieldName>) -> RowId {
        let records = self.link.is_none().then_some(&self.records);
        RowId(fingerprint(&(self.entity, self.link, records, kind, field)))
    }

    /// A row without values.
    pub(super) fn row(&self, kind: RowKind, code: Code, field: Option<&FieldName>) -> OpenRow {
        OpenRow {
            id: self.row_id(kind, field),
            kind,
            code,
            entity: self.entity.clone(),
            link: self.link.cloned(),
            records: self.records.clone(),
            field: field.cloned(),
            base: None,
            left: None,
            right: None,
            modified_at: self.modified_at.clone(),
            changed_at: Pair::default(),
            winner: None,
            policy: None,
            evidence: None,
            message: report::sentence(code).to_owned(),
            fingerprint: fingerprint(&code),
            candidates: Vec::new(),
        }
    }

    /// A row about a unit, with its baseline and both values.
    pub(super) fn unit_row(
        &self,
        kind: RowKind,
        code: Code,
        unit: &Unit<'_>,
        ends: Ends<'_>,
    ) -> OpenRow {
        let shown = |side: Side| {
            show(unit, |name| {
                let rule = unit.members.iter().find(|rule| rule.name == *name)?;
                value(rule, side, ends.seen(side))
            })
        };
        let base =
            |side: Side| show(unit, |name| Some(&ends.link?.baseline.get(name)?.values[side]));
        let (left, right) = (shown(Side::Left), shown(Side::Right));
        let base = base(Side::Left).zip(base(Side::Right)).map(|(l, r)| Pair::new(l, r));
        let fingerprint = fingerprint(&(&base, &left, &right));
        let changed_at = ends.times.and_then(|times| times.get(&unit.name)).cloned();
        OpenRow {
            base,
            left,
            right,
            fingerprint,
            changed_at: changed_at.unwrap_or_default(),
            ..self.row(kind, code, Some(&unit.name))
        }
    }

    /// The row of a difference, decided or not. Both values stay in it, whoever wins.
    pub(super) fn conflict(
        &self,
        unit: &Unit<'_>,
        ends: Ends<'_>,
        verdict: Verdict,
        winner: Option<Side>,
    ) -> OpenRow {
        let row = self.unit_row(RowKind::Conflict, verdict.code, unit, ends);
        OpenRow {
            winner,
            policy: Some(verdict.policy),
            evidence: verdict.evidence,
            message: explain(verdict, winner),
            ..row
        }
    }
}

/// One value of a field; the members of a group as `name: value`, in the order of the mapping.
fn show<'v>(unit: &Unit<'_>, get: impl Fn(&FieldName) -> Option<&'v Value>) -> Option<Value> {
    if let [single] = unit.members.as_slice()
        && single.name == unit.name
    {
        return get(&single.name).cloned();
    }
    let part = |name: &FieldName| get(name).map(|value| format!("{name}: {value}"));
    let parts: Option<Vec<_>> = unit.members.iter().map(|rule| part(&rule.name)).collect();
    parts.map(Value::List)
}

fn explain(verdict: Verdict, winner: Option<Side>) -> String {
    let what = report::sentence(verdict.code);
    let who = match winner {
        Some(side) => format!("{side} wins by {}", verdict.policy.as_str()),
        None => "waits for a person".to_owned(),
    };
    let how = match (verdict.evidence, verdict.policy) {
        (Some(Evidence::RecordTime), Policy::Newest) => {
            "; decided by the record's last change; this field itself may be older"
        }
        (Some(Evidence::RecordTime), _) => "; the records' last changes are too close to tell",
        (Some(Evidence::None), _) => "; nothing shows which side changed last",
        (Some(Evidence::FieldHistory), Policy::Newest) => "; decided by the field's own history",
        (Some(Evidence::FieldHistory), _) => "; the field's last changes are too close to tell",
        (None, _) => "",
    };
    format!("{what}; {who}{how}")
}
