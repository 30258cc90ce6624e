//! The sections beside the fields: conflicts, deletes, and the values they write.

use std::collections::BTreeMap;
use std::ops::Range;
use std::str::FromStr;

use rust_decimal::Decimal;
use toml::Spanned;

use super::super::file::{SpannedMap, in_order};
use super::super::options::find_option;
use super::super::resolve::shown;
use super::{Compiler, did_you_mean, filter};
use crate::model::mapping::{Conflicts, DeletePolicy, Deletes};
use crate::model::schema::{FieldKind, FieldSchema};
use crate::model::{Pair, Policy, RemoteField, Side, Value};

impl Compiler<'_> {
    pub(super) fn conflicts(&mut self) -> Conflicts {
        let file = &self.file.conflicts;
        let tie = file.tie.as_ref().map_or(Policy::Queue, |tie| *tie.get_ref());
        if let (Policy::Newest, Some(written)) = (tie, &file.tie) {
            let help = "use `queue`, `prefer-left` or `prefer-right`";
            self.error(
                written.span(),
                "a tie of times cannot go to the newest",
                Some(help.to_owned()),
            );
        }
        Conflicts {
            policy: file.policy.unwrap_or_default(),
            tie,
            skew_seconds: file.skew.as_ref().map_or(5, |skew| self.seconds(skew)),
            initial: file.initial.as_ref().map_or(Policy::Newest, |initial| *initial.get_ref()),
            on_mapping_change: file.on_mapping_change.unwrap_or(Policy::Queue),
            evidence: file.evidence,
            drift: file.drift,
        }
    }

    fn seconds(&mut self, written: &Spanned<String>) -> i64 {
        let text = written.get_ref().trim();
        let digits = text.trim_end_matches(|char: char| !char.is_ascii_digit());
        let unit = match text[digits.len()..].trim() {
            "s" => Some(1),
            "m" | "min" => Some(60),
            "h" => Some(3600),
            _ => None,
        };
        let seconds = unit.zip(digits.parse::<i64>().ok());
        let seconds = seconds.and_then(|(unit, number)| number.checked_mul(unit));
        seconds.unwrap_or_else(|| {
            let help = "write `5s`, `2m` or `1h`";
            self.error(written.span(), format!("`{text}` is no duration"), Some(help.to_owned()));
            0
        })
    }

    pub(super) fn deletes(&mut self) -> Deletes {
        let file = &self.file.deletes;
        let marks = Pair::new(
            self.marks(Side::Left, &file.marks.left),
            self.marks(Side::Right, &file.marks.right),
        );
        let written = Pair::new(file.to_left.as_ref(), file.to_right.as_ref());
        for side in Side::BOTH {
            let Some(policy) = written[side] else { continue };
            if *policy.get_ref() == DeletePolicy::Archive && marks[side].is_empty() {
                let help = format!("add `[deletes.marks.{side}]` with the fields to write");
                self.error(
                    policy.span(),
                    format!("`archive` has no marks for the {side} side"),
                    Some(help),
                );
            }
        }
        Deletes {
            policy: written
                .map(|policy| policy.map_or(DeletePolicy::Keep, |policy| *policy.get_ref())),
            on_edit: file.on_edit,
            max_percent: file.max.as_ref().map_or(Decimal::from(5), |max| self.percent(max)),
            archive_marks: marks,
            accept_weak: file.accept_weak,
        }
    }

    fn percent(&mut self, written: &Spanned<String>) -> Decimal {
        let text = written.get_ref().trim();
        let number = text.strip_suffix('%').and_then(|text| Decimal::from_str(text.trim()).ok());
        let inside =
            number.filter(|number| (Decimal::ZERO..=Decimal::ONE_HUNDRED).contains(number));
        inside.unwrap_or_else(|| {
            let help = "write `5%`: 0 to 100";
            self.error(written.span(), format!("`{text}` is no percentage"), Some(help.to_owned()));
            Decimal::ZERO
        })
    }

    fn marks(
        &mut self,
        side: Side,
        marks: &SpannedMap<toml::Value>,
    ) -> BTreeMap<RemoteField, Value> {
        let mut written = BTreeMap::new();
        for (name, value) in in_order(marks) {
            let Some(field) = self.resolve(side, name) else { continue };
            if !field.writable_on_update {
                self.error(name.span(), format!("mark `{}` is read-only", field.name), None);
            }
            if let Some(value) = self.constant(&field, value, name.span()) {
                written.insert(field.name, value);
            }
        }
        written
    }

    /// Reads a value of the file as a field stores it.
    pub(super) fn constant(
        &mut self,
        field: &FieldSchema,
        value: &toml::Value,
        span: Range<usize>,
    ) -> Option<Value> {
        let decoded = match value {
            toml::Value::Boolean(flag) if field.kind == FieldKind::Bool => Some(Value::Bool(*flag)),
            toml::Value::Array(items) => {
                let texts: Option<Vec<_>> = items.iter().map(|item| item.as_str()).collect();
                texts.and_then(|texts| set_literal(field, &texts))
            }
            toml::Value::String(text) if field.kind == FieldKind::OptionSet => {
                set_literal(field, &[text])
            }
            toml::Value::String(text) if text.is_empty() => Some(Value::Empty),
            toml::Value::String(text) => filter::literal(field, text, false),
            toml::Value::Integer(_)
            | toml::Value::Float(_)
            | toml::Value::Boolean(_)
            | toml::Value::Datetime(_) => filter::literal(field, &value.to_string(), false),
            toml::Value::Table(_) => None,
        };
        if decoded.is_none() {
            let options = field.options.iter().map(|option| option.label.as_str());
            let help = value.as_str().and_then(|text| did_you_mean(text, options));
            self.error(span, format!("`{value}` does not fit `{}`", shown(field)), help);
        }
        decoded
    }
}

fn set_literal(field: &FieldSchema, names: &[&str]) -> Option<Value> {
    if field.options.is_empty() {
        return Some(Value::set(names.iter().map(|&name| name.to_owned())));
    }
    let ids: Result<Vec<_>, _> =
        names.iter().map(|name| find_option(field, name).map(|option| option.id.clone())).collect();
    ids.ok().map(Value::set)
}
