//! Relations: what a field's two forms have to do with each other. Semantics §5, a file a row of its table.
//!
//! Three functions a relation: the normal form of a side's value, whether two normal forms agree, and what a
//! side must store to agree with the other. The laws N1 and B1 to B3 are at the end of `relation/laws.rs`.

mod address;
#[cfg(test)]
mod cases;
mod choice;
#[cfg(test)]
mod laws;
mod moment;
mod number;
pub mod phone;
mod reference;
pub mod rich_text;
#[cfg(test)]
pub(crate) mod testing;
mod text;

use crate::model::state::Identities;
use crate::model::{Code, FieldRule, Pair, Relation, Side, Value};

/// What to store on a side so that it agrees with the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Translation {
    Write(Value),
    /// Nothing may be written; the field waits under this code: `UNTRANSLATABLE`, `LOSSY_BACK_WRITE`, `TOO_LONG`,
    /// `PENDING_REF` or `UNRESOLVED_REF`.
    Hold(Code),
}

impl FieldRule {
    /// Returns the normal form of a side's value under this rule. Idempotent (N1).
    ///
    /// A value that does not fit the relation (a date field that holds `soon`) keeps its shape: it agrees with
    /// nothing but itself and is never translated.
    pub fn normalize(&self, side: Side, value: &Value) -> Value {
        match &self.relation {
            Relation::Text { .. } => text::normalize(value),
            Relation::RichText { html, .. } => rich_text::normalize(html[side], value),
            Relation::Option { .. } | Relation::User { .. } => choice::normalize(value),
            Relation::OptionSet { .. } => choice::normalize_set(value),
            Relation::Number { scale } => number::normalize(scale[side], value),
            Relation::Bool => number::normalize_flag(value),
            Relation::Phone { region } => {
                address::normalize(value, |raw| phone::normalize(raw, region.as_deref()))
            }
            Relation::Email => address::normalize(value, address::email),
            Relation::Date => moment::normalize_date(value),
            Relation::Timestamp => moment::normalize_timestamp(value),
            Relation::Reference { .. } => reference::normalize(value),
        }
    }

    /// Whether two normal forms say the same.
    pub fn agree(&self, ids: &dyn Identities, left: &Value, right: &Value) -> bool {
        match &self.relation {
            Relation::Text { limits } => text::agree(limits, left, right),
            Relation::RichText { html, limits } => rich_text::agree(html, limits, left, right),
            Relation::Option { map } | Relation::User { map } => choice::agree(map, left, right),
            Relation::OptionSet { map } => choice::agree_sets(map, left, right),
            Relation::Number { scale } => number::agree(scale, left, right),
            Relation::Bool => number::agree_flags(left, right),
            Relation::Phone { .. } | Relation::Email => address::agree(left, right),
            Relation::Date | Relation::Timestamp => left == right,
            Relation::Reference { entity } => reference::agree(ids, entity, left, right),
        }
    }

    /// Returns what `target` must store to agree with `source`, the other side's normal form. Semantics calls it
    /// toR and toL.
    ///
    /// `old` is the target's normal form. Agreeing values come back as they are (B2), so formatting and
    /// precision that only the target keeps survive; an empty source clears.
    pub fn translate(
        &self,
        ids: &dyn Identities,
        target: Side,
        source: &Value,
        old: &Value,
    ) -> Translation {
        if self.agree_from(ids, target, source, old) {
            return Translation::Write(old.clone());
        }
        let translation = match &self.relation {
            Relation::Text { limits } => text::translate(limits, target, source, old),
            Relation::RichText { html, limits } => {
                rich_text::translate(html, limits, target, source, old)
            }
            Relation::Option { map } | Relation::User { map } => {
                choice::translate(map, target, source)
            }
            Relation::OptionSet { map } => choice::translate_set(map, target, source, old),
            Relation::Number { scale } => number::translate(scale, target, source, old),
            Relation::Bool => number::translate_flag(source),
            Relation::Phone { .. } | Relation::Email => address::translate(source, old),
            Relation::Date => moment::translate_date(source),
            Relation::Timestamp => moment::translate_timestamp(source),
            Relation::Reference { entity } => reference::translate(ids, entity, target, source),
        };
        match translation {
            // B1 holds by construction: what would not agree is not written.
            Translation::Write(value) if !self.agree_from(ids, target, source, &value) => {
                Translation::Hold(Code::Untranslatable)
            }
            Translation::Write(_) | Translation::Hold(_) => translation,
        }
    }

    fn agree_from(
        &self,
        ids: &dyn Identities,
        target: Side,
        source: &Value,
        value: &Value,
    ) -> bool {
        match target {
            Side::Left => self.agree(ids, value, source),
            Side::Right => self.agree(ids, source, value),
        }
    }
}

/// Returns a text as the side with the shorter limit shows it.
pub(super) fn shorten(limits: &Pair<Option<usize>>, value: &Value) -> Value {
    let shorter = [limits.left, limits.right].into_iter().flatten().min();
    value.as_text().map_or_else(|| value.clone(), |text| Value::text(text::cut(text, shorter)))
}

/// Returns a number at the precision that both sides keep.
pub(super) fn coarsen(scale: &Pair<Option<u32>>, value: &Value) -> Value {
    if let Value::Number(number) = value {
        return number::round(*number, number::coarser(scale));
    }
    value.clone()
}

/// Returns the text of a rich or plain value, as the side with the shorter limit shows it.
pub(super) fn plain(html: bool, limits: &Pair<Option<usize>>, value: &Value) -> Value {
    match value.as_text() {
        Some(text) if html => shorten(limits, &Value::text(&rich_text::to_text(text))),
        Some(_) | None => shorten(limits, value),
    }
}
