//! Expressions of mapping files: minijinja over a record's canonical fields, bounded in work and size.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::LazyLock;

use minijinja::value::ValueKind;
use minijinja::{Environment, UndefinedBehavior};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::model::{FieldName, Value};

/// Instructions an expression may spend; a sensible one spends a few dozen.
const FUEL: u64 = 10_000;

/// Longest result in bytes, above the longest text field of either CRM (65,535 characters).
const MAX_RESULT: usize = 256 * 1024;

/// Why an expression gives no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    #[error("expression does not parse: {0}")]
    Syntax(String),
    #[error("expression fails: {0}")]
    Failed(String),
    #[error("expression gives {0} bytes, more than {MAX_RESULT}")]
    TooLarge(usize),
    #[error("expression reads `{0}`, which was not returned")]
    NotReturned(FieldName),
}

/// Names that minijinja itself defines.
const BUILT_IN: [&str; 4] = ["range", "dict", "namespace", "debug"];

/// Returns the names that an expression reads.
///
/// # Errors
/// [`ExpressionError::Syntax`] when it does not parse.
pub fn fields_read(source: &str) -> Result<BTreeSet<String>, ExpressionError> {
    let expression = ENVIRONMENT.compile_expression(source).map_err(|error| syntax(&error))?;
    let names: BTreeSet<String> = expression.undeclared_variables(false).into_iter().collect();
    Ok(names.into_iter().filter(|name| !BUILT_IN.contains(&name.as_str())).collect())
}

/// Evaluates an expression over canonical fields; empty ones read as `""`.
///
/// # Errors
/// When it does not parse, fails, spends its fuel, or gives too much.
pub fn evaluate(
    source: &str,
    fields: &BTreeMap<FieldName, Value>,
) -> Result<Value, ExpressionError> {
    evaluate_with(source, fields, |_| false)
}

pub(super) fn evaluate_with(
    source: &str,
    fields: &BTreeMap<FieldName, Value>,
    is_missing: impl Fn(&FieldName) -> bool,
) -> Result<Value, ExpressionError> {
    let expression = ENVIRONMENT.compile_expression(source).map_err(|error| syntax(&error))?;
    let names: BTreeSet<_> = expression.undeclared_variables(false).into_iter().collect();
    if let Some(name) = names.iter().map(|name| FieldName::new(name.as_str())).find(&is_missing) {
        return Err(ExpressionError::NotReturned(name));
    }
    let context: BTreeMap<&str, minijinja::Value> =
        fields.iter().map(|(name, value)| (name.as_str(), encode(value))).collect();
    let result = expression
        .eval(minijinja::Value::from(context))
        .map_err(|error| ExpressionError::Failed(error.to_string()))?;
    decode(&result)
}

fn syntax(error: &minijinja::Error) -> ExpressionError {
    ExpressionError::Syntax(error.to_string())
}

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    // Its width is unbounded: one call could ask for gigabytes.
    environment.remove_filter("format");
    environment.set_fuel(Some(FUEL));
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment
});

fn encode(value: &Value) -> minijinja::Value {
    match value {
        Value::Empty => minijinja::Value::from(""),
        Value::Bool(flag) => minijinja::Value::from(*flag),
        Value::Number(number) => match number.to_i64().filter(|_| number.is_integer()) {
            Some(integer) => minijinja::Value::from(integer),
            None => minijinja::Value::from(number.to_f64().unwrap_or_default()),
        },
        Value::Set(items) => items.iter().map(String::as_str).collect(),
        Value::List(items) => items.iter().map(String::as_str).collect(),
        Value::Reference(id) => minijinja::Value::from(id.as_str()),
        Value::Text(_) | Value::Date(_) | Value::Timestamp(_) | Value::Link(_) => {
            minijinja::Value::from(value.to_string())
        }
    }
}

fn decode(result: &minijinja::Value) -> Result<Value, ExpressionError> {
    let text = || {
        let text = result.to_string();
        if text.len() > MAX_RESULT {
            return Err(ExpressionError::TooLarge(text.len()));
        }
        Ok(text)
    };
    match result.kind() {
        ValueKind::Undefined | ValueKind::None => Ok(Value::Empty),
        ValueKind::Bool => Ok(Value::Bool(result.is_true())),
        ValueKind::Number => {
            let text = text()?;
            Ok(Decimal::from_str(&text).map_or_else(|_| Value::text(&text), Value::number))
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items =
                result.try_iter().map_err(|error| ExpressionError::Failed(error.to_string()))?;
            Ok(Value::list(items.take(1000).map(|item| item.to_string())))
        }
        ValueKind::String
        | ValueKind::Bytes
        | ValueKind::Map
        | ValueKind::Plain
        | ValueKind::Invalid
        | _ => Ok(Value::text(&text()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> BTreeMap<FieldName, Value> {
        [
            ("first", Value::text("Ada")),
            ("last", Value::Empty),
            ("amount", Value::number("12.50".parse().unwrap())),
            ("count", Value::number(Decimal::from(3))),
            ("tags", Value::set(["b".to_owned(), "a".to_owned()])),
            ("done", Value::Bool(true)),
        ]
        .into_iter()
        .map(|(name, value)| (FieldName::new(name), value))
        .collect()
    }

    #[test]
    fn given_expressions_when_evaluated_then_empty_fields_are_empty_text() {
        let cases = [
            ("'Dear ' ~ first ~ ' ' ~ last", Value::text("Dear Ada")),
            ("last", Value::Empty),
            ("none", Value::Empty),
            ("count + 1", Value::number(Decimal::from(4))),
            ("amount * 2", Value::number(Decimal::from(25))),
            ("amount > 10 and done", Value::Bool(true)),
            ("tags|join('-')", Value::text("a-b")),
            ("[first, last]|select|join(', ')", Value::text("Ada")),
            ("'won' if done else 'open'", Value::text("won")),
            ("['x', 'y']", Value::list(["x".to_owned(), "y".to_owned()])),
        ];

        for (source, expected) in cases {
            assert_eq!(evaluate(source, &fields()), Ok(expected), "{source}");
        }
    }

    #[test]
    fn given_a_greedy_or_broken_expression_when_evaluated_then_it_is_refused() {
        let cases = [
            ("syntax", "first ~"),
            ("unknown name", "nobody ~ '!'"),
            ("unknown filter", "'%s'|format(1)"),
            ("endless text", "'abcdefgh' * 100000"),
            ("endless list", "range(100000)|map('string')|join"),
            ("type", "first + 1"),
        ];

        for (case, source) in cases {
            assert!(evaluate(source, &fields()).is_err(), "{case}");
        }
    }

    #[test]
    fn given_an_expression_when_asked_then_it_names_the_fields_it_reads() {
        let names = fields_read("'Dear ' ~ first ~ (last|upper)").unwrap();

        assert_eq!(names, ["first".to_owned(), "last".to_owned()].into());
    }
}
