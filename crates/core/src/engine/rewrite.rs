//! Whether a written value that reads back differently is the server's rewrite of ours, or somebody's edit since:
//! W1 of semantics §5.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::model::Value;

/// One written value, as it reads back.
#[derive(Clone, Copy, Debug)]
pub struct ReadBack<'a> {
    /// What the field held before the write; nothing for a new record.
    pub before: Option<&'a Value>,
    pub intended: &'a Value,
    pub kept: &'a Value,
}

/// What a record's modified time, read back, says about who changed it last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastChange {
    /// It was our write: the answer to it carried the record.
    Ours,
    /// Our write, or another change within the same second; the same where the side tells no times.
    Unclear,
    /// Somebody's, after our write.
    Later,
}

impl LastChange {
    /// Compares the modified time in the answer to a write with the one that the record reads back with.
    pub fn between(written: Option<DateTime<Utc>>, now: Option<DateTime<Utc>>) -> Self {
        let later = written.zip(now).is_some_and(|(written, now)| now > written);
        if later { Self::Later } else { Self::Unclear }
    }
}

/// Whether the server made `kept` of what was written. An edit must not be taken for that: a rewrite is accepted and
/// stays where it is, an edit belongs on the other side. In doubt it is a rewrite if the server ignored the value,
/// emptied the field, or kept something that is recognizably ours.
pub fn is_rewrite(value: ReadBack<'_>, last: LastChange) -> bool {
    let ReadBack { before, intended, kept } = value;
    kept != intended
        && match last {
            LastChange::Ours => true,
            LastChange::Later => false,
            // No server keeps the old target of a reference without a word: there somebody put it back.
            LastChange::Unclear => {
                let ignored = Some(kept) == before && !matches!(kept, Value::Reference(_));
                kept.is_empty() || ignored || resembles(kept, intended)
            }
        }
}

fn resembles(kept: &Value, intended: &Value) -> bool {
    match (kept, intended) {
        (Value::Text(kept), Value::Text(intended)) => same_words(kept, intended),
        (Value::Number(kept), Value::Number(intended)) => is_rounded(*kept, *intended),
        (Value::Date(kept), Value::Date(intended)) => (*kept - *intended).num_days().abs() <= 1,
        (Value::Timestamp(kept), Value::Timestamp(intended)) => {
            (*kept - *intended).num_days().abs() < 1
        }
        (Value::Set(kept), Value::Set(intended)) => {
            kept.is_subset(intended) || intended.is_subset(kept)
        }
        (Value::List(kept), Value::List(intended)) => kept.iter().any(|one| intended.contains(one)),
        // A truth value or a reference is kept or it is not; values of two kinds have nothing in common.
        _ => false,
    }
}

/// Cut, extended, or spelled another way.
fn same_words(kept: &str, intended: &str) -> bool {
    let letters = |text: &str| -> String {
        text.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect()
    };
    let (kept, intended) = (letters(kept), letters(intended));
    kept.contains(&intended) || intended.contains(&kept)
}

fn is_rounded(kept: Decimal, intended: Decimal) -> bool {
    (0..=intended.scale()).any(|places| {
        let unit = Decimal::new(1, places);
        kept.scale() <= places && (kept - intended).abs() < unit
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Value {
        Value::text(value)
    }

    fn number(value: &str) -> Value {
        Value::Number(value.parse().unwrap())
    }

    #[test]
    fn what_reads_back_is_told_apart_by_time_and_likeness() {
        use LastChange::{Later, Ours, Unclear};
        let reference = |id: &str| Value::Reference(id.into());
        // Before, intended, kept; then whether it is a rewrite.
        let cases = [
            (text("a"), text("Acme Inc"), text("Acme"), Unclear, true),
            (text("a"), text("Acme Inc"), text("Acme"), Later, false),
            (text("a"), text("Acme Inc"), text("Bolt"), Ours, true),
            (text("a"), text("Acme Inc"), text("Bolt"), Unclear, false),
            (text("a"), text("Acme Inc"), text("a"), Unclear, true),
            (text("a"), text("Acme Inc"), Value::Empty, Unclear, true),
            (text("a"), text("acme  inc"), text("ACME Inc."), Unclear, true),
            (text("a"), text("Acme"), text("Acme"), Ours, false),
            (number("1"), number("12.3456"), number("12.35"), Unclear, true),
            (number("1"), number("12.3456"), number("12"), Unclear, true),
            (number("1"), number("12.3456"), number("14"), Unclear, false),
            (reference("1"), reference("2"), reference("3"), Unclear, false),
            (reference("1"), reference("2"), reference("1"), Unclear, false),
            (Value::Bool(false), Value::Bool(true), Value::Bool(false), Unclear, true),
        ];
        for (before, intended, kept, last, expected) in cases {
            let value = ReadBack { before: Some(&before), intended: &intended, kept: &kept };
            assert_eq!(is_rewrite(value, last), expected, "{value:?}, {last:?}");
        }
    }

    #[test]
    fn a_later_time_is_somebody_elses() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0);
        let cases = [
            (at(5), at(6), LastChange::Later),
            (at(5), at(5), LastChange::Unclear),
            (at(5), at(4), LastChange::Unclear),
            (None, at(5), LastChange::Unclear),
            (at(5), None, LastChange::Unclear),
        ];
        for (written, now, expected) in cases {
            assert_eq!(LastChange::between(written, now), expected, "{written:?} {now:?}");
        }
    }
}
