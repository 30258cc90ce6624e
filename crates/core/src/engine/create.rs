//! Makes the counterpart of a record: what a create carries, and what stops it. Semantics §6, §12, §13.

use std::collections::BTreeMap;

use super::fields::{is_reference, payload_fingerprint};
use super::merge::{Unit, value};
use super::plan::{EntityPlan, Planning};
use super::relation::Translation;
use super::rows::{About, fingerprint};
use crate::model::row::RowKind;
use crate::model::state::Subject;
use crate::model::{Code, FieldName, LinkId, Observation, Op, OpKind, OpenRow, Side, Value};

/// A counterpart to make.
pub(super) struct Creation<'a> {
    pub(super) subject: &'a Subject,
    pub(super) source: &'a Observation,
    pub(super) link: &'a LinkId,
    pub(super) code: Code,
}

/// What a create carries.
#[derive(Default)]
struct Payload {
    fields: BTreeMap<FieldName, Value>,
    from: BTreeMap<FieldName, Value>,
    later: Vec<FieldName>,
    rows: Vec<OpenRow>,
}

impl Planning<'_> {
    /// Plans a create, or the row that says why it must wait. Returns whether it is planned.
    pub(super) fn create(&self, creation: &Creation<'_>, plan: &mut EntityPlan) -> bool {
        let (seen, target) = (creation.source, creation.source.key.side.other());
        let about = About::record(seen, Some(creation.link));
        let payload = match self.payload(creation, &about) {
            Ok(payload) => payload,
            Err(row) => {
                plan.rows.push(*row);
                return false;
            }
        };
        let print = payload_fingerprint(target, &payload.fields);
        if creation.subject.quarantined.get(&None).is_some_and(|refused| *refused == print) {
            plan.rows.push(about.row(RowKind::Quarantine, Code::Quarantined, None));
            return false;
        }
        let Payload { fields, from, later, rows } = payload;
        let source = seen.key.id.clone();
        plan.planned_links.insert((seen.key.side, source.clone()), creation.link.clone());
        let kind = OpKind::Create { side: target, source, fields, from };
        plan.ops.push(Op { later, ..self.op(creation.link, creation.code, kind) });
        plan.rows.extend(rows);
        true
    }

    fn payload(&self, creation: &Creation<'_>, about: &About<'_>) -> Result<Payload, Box<OpenRow>> {
        let target = creation.source.key.side.other();
        let mut payload = Payload::default();
        for unit in self.units.iter().filter(|unit| unit.born[target.other()]) {
            match self.unit_values(unit, creation) {
                Ok(values) => payload.take(values),
                Err(code) if needed(unit, target) => {
                    return Err(Box::new(about.row(RowKind::Hold, code, None)));
                }
                Err(Code::PendingRef) => {
                    let pending = unit.members.iter().filter(|rule| is_reference(rule));
                    payload.later.extend(pending.map(|rule| rule.name.clone()));
                }
                Err(code) => payload.rows.push(held(about, unit, code, creation.source)),
            }
        }
        Ok(payload)
    }

    /// Source value and value to write, by field.
    fn unit_values(
        &self,
        unit: &Unit<'_>,
        creation: &Creation<'_>,
    ) -> Result<Vec<(FieldName, Value, Value)>, Code> {
        let seen = creation.source;
        let target = seen.key.side.other();
        let mut values = Vec::new();
        for rule in &unit.members {
            let source = value(rule, seen.key.side, seen).ok_or(Code::NotReturned)?;
            let after = match rule.translate(self.ids, target, source, &Value::Empty) {
                Translation::Write(after) => after,
                Translation::Hold(code) => return Err(code),
            };
            if after.is_empty() && rule.required[target] {
                return Err(Code::MissingRequired);
            }
            let payload = BTreeMap::from([(rule.name.clone(), after.clone())]);
            let refused = creation.subject.quarantined.get(&Some(rule.name.clone()));
            if refused.is_some_and(|print| *print == payload_fingerprint(target, &payload)) {
                return Err(Code::Quarantined);
            }
            values.push((rule.name.clone(), source.clone(), after));
        }
        Ok(values)
    }
}

impl Payload {
    fn take(&mut self, values: Vec<(FieldName, Value, Value)>) {
        for (name, source, after) in values {
            if !after.is_empty() {
                self.fields.insert(name.clone(), after);
            }
            self.from.insert(name, source);
        }
    }
}

/// Whether a create without the unit would be refused.
fn needed(unit: &Unit<'_>, target: Side) -> bool {
    unit.members.iter().any(|rule| rule.required[target])
}

/// The row of a field that a create leaves out.
fn held(about: &About<'_>, unit: &Unit<'_>, code: Code, seen: &Observation) -> OpenRow {
    let kind = if code == Code::Quarantined { RowKind::Quarantine } else { RowKind::Hold };
    let shown: Vec<_> = unit.members.iter().map(|rule| seen.fields.get(&rule.name)).collect();
    let print = fingerprint(&shown);
    OpenRow { fingerprint: print, ..about.row(kind, code, Some(&unit.name)) }
}
