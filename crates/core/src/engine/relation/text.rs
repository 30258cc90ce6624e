//! Text with a limit on each side: `cut(l, n) = r`.

use super::Translation;
use crate::model::{Code, Pair, Side, Value};

pub(super) fn normalize(value: &Value) -> Value {
    match value {
        Value::Text(text) => Value::text(text),
        Value::Bool(_) | Value::Number(_) | Value::Date(_) | Value::Timestamp(_) => {
            Value::text(&value.to_string())
        }
        Value::Reference(id) => Value::text(id.as_str()),
        Value::Empty | Value::Set(_) | Value::List(_) | Value::Link(_) => value.clone(),
    }
}

/// Returns the first `limit` characters, without the white space that then ends them.
pub(super) fn cut(text: &str, limit: Option<usize>) -> &str {
    let Some(limit) = limit else { return text };
    match text.char_indices().nth(limit) {
        Some((end, _)) => text[..end].trim_end(),
        None => text,
    }
}

pub(super) fn agree(limits: &Pair<Option<usize>>, left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => {
            cut(left, limits.right) == right || cut(right, limits.left) == left
        }
        _ => left == right,
    }
}

pub(super) fn translate(
    limits: &Pair<Option<usize>>,
    target: Side,
    source: &Value,
    old: &Value,
) -> Translation {
    let Value::Text(text) = source else {
        return if source.is_empty() {
            Translation::Write(Value::Empty)
        } else {
            Translation::Hold(Code::Untranslatable)
        };
    };
    if is_longer(old, limits[target.other()]) {
        return Translation::Hold(Code::LossyBackWrite);
    }
    Translation::Write(Value::text(cut(text, limits[target])))
}

/// Whether the other side sees only the beginning of `old`: an edit of the beginning would lose the rest.
fn is_longer(old: &Value, limit: Option<usize>) -> bool {
    old.as_text().is_some_and(|old| cut(old, limit) != old)
}
