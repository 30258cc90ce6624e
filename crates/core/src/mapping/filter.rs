//! The filter language: `Amount > 100 and (Stage = 'Won' or Email is not null)`.

use std::ops::Range;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveTime};
use rust_decimal::Decimal;

use super::options::find_option;
use super::resolve::{resolve, shown};
use crate::engine::filter::{Comparison, Filter};
use crate::model::Value;
use crate::model::schema::{FieldKind, FieldSchema, ModuleSchema};

/// What is wrong with a filter; the span counts bytes of the filter's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    pub span: Range<usize>,
    pub message: String,
    pub help: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A bare word: a name, a keyword, a number or a date.
    Word(String),
    /// A name in double quotes or backticks.
    Name(String),
    /// A text in single quotes.
    Text(String),
    Operator(&'static str),
    End,
}

/// Parses a filter over the fields of one module. Names are API names or labels; names with spaces stand in
/// double quotes or backticks, texts in single quotes.
///
/// # Errors
/// What it cannot read, an unknown field, a value that does not fit its field.
pub fn parse(text: &str, schema: &ModuleSchema) -> Result<Filter, FilterError> {
    let tokens = tokenize(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0, schema };
    let filter = parser.any()?;
    if *parser.peek() == Token::End {
        Ok(filter)
    } else {
        Err(parser.expected("`and`, `or` or the end"))
    }
}

const OPERATORS: [&str; 10] = ["!=", "<>", "<=", ">=", "=", "<", ">", "(", ")", ","];

fn tokenize(text: &str) -> Result<Vec<(Token, Range<usize>)>, FilterError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (token, length) =
            if let Some(quote) = ['\'', '"', '`'].into_iter().find(|q| *q == first) {
                quoted(rest, quote).ok_or_else(|| FilterError {
                    span: at..text.len(),
                    message: format!("{quote} is never closed"),
                    help: None,
                })?
            } else if let Some(operator) = OPERATORS.into_iter().find(|o| rest.starts_with(o)) {
                (Token::Operator(operator), operator.len())
            } else {
                let is_end = |char: char| char.is_whitespace() || "!<>=(),'\"`".contains(char);
                let length = rest.find(is_end).unwrap_or(rest.len()).max(first.len_utf8());
                (Token::Word(rest[..length].to_owned()), length)
            };
        tokens.push((token, at..at + length));
        at += length;
    }
    tokens.push((Token::End, text.len()..text.len()));
    Ok(tokens)
}

/// Reads a quoted token; a doubled quote stands for itself.
fn quoted(rest: &str, quote: char) -> Option<(Token, usize)> {
    let mut content = String::new();
    let mut at = 1;
    loop {
        let end = at + rest[at..].find(quote)?;
        content.push_str(&rest[at..end]);
        at = end + 1;
        if !rest[at..].starts_with(quote) {
            break;
        }
        content.push(quote);
        at += 1;
    }
    let token = if quote == '\'' { Token::Text(content) } else { Token::Name(content) };
    Some((token, at))
}

struct Parser<'a> {
    tokens: &'a [(Token, Range<usize>)],
    at: usize,
    schema: &'a ModuleSchema,
}

impl Parser<'_> {
    fn any(&mut self) -> Result<Filter, FilterError> {
        let mut parts = vec![self.all()?];
        while self.take_keyword("or") {
            parts.push(self.all()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Filter::Any(parts) })
    }

    fn all(&mut self) -> Result<Filter, FilterError> {
        let mut parts = vec![self.one()?];
        while self.take_keyword("and") {
            parts.push(self.one()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Filter::All(parts) })
    }

    fn one(&mut self) -> Result<Filter, FilterError> {
        if self.take_keyword("not") {
            return Ok(Filter::Not(Box::new(self.one()?)));
        }
        if self.take_operator("(") {
            let inner = self.any()?;
            self.require_operator(")")?;
            return Ok(inner);
        }
        self.condition()
    }

    fn condition(&mut self) -> Result<Filter, FilterError> {
        let field = self.field()?;
        let name = field.name.clone();
        if self.take_keyword("is") {
            let negated = self.take_keyword("not");
            if !self.take_keyword("null") && !self.take_keyword("empty") {
                return Err(self.expected("`null`"));
            }
            let empty = Filter::IsEmpty(name);
            return Ok(if negated { Filter::Not(Box::new(empty)) } else { empty });
        }
        if self.take_keyword("in") {
            return self.list(&field);
        }
        let Token::Operator(operator) = *self.peek() else {
            return Err(self.expected("`is`, `in`, `=`, `!=`, `<`, `<=`, `>` or `>=`"));
        };
        self.at += 1;
        let value = self.value(&field)?;
        let compare = |comparison, value: Value| Filter::Compare(name.clone(), comparison, value);
        // An empty value is on neither side of a bound.
        let set_and_not = |comparison, value: Value| {
            let bound = Filter::Not(Box::new(compare(comparison, value)));
            Filter::All(vec![Filter::Not(Box::new(Filter::IsEmpty(name.clone()))), bound])
        };
        Ok(match operator {
            "=" => compare(Comparison::Equal, value),
            "!=" | "<>" => Filter::Not(Box::new(compare(Comparison::Equal, value))),
            "<" => compare(Comparison::Less, value),
            ">" => compare(Comparison::Greater, value),
            "<=" => set_and_not(Comparison::Greater, value),
            ">=" => set_and_not(Comparison::Less, value),
            _ => {
                self.at -= 2;
                return Err(self.expected("a comparison"));
            }
        })
    }

    fn list(&mut self, field: &FieldSchema) -> Result<Filter, FilterError> {
        self.require_operator("(")?;
        let mut parts = Vec::new();
        loop {
            let value = self.value(field)?;
            parts.push(Filter::Compare(field.name.clone(), Comparison::Equal, value));
            if !self.take_operator(",") {
                break;
            }
        }
        self.require_operator(")")?;
        Ok(Filter::Any(parts))
    }

    fn field(&mut self) -> Result<FieldSchema, FilterError> {
        let (Token::Word(name) | Token::Name(name)) = self.peek().clone() else {
            return Err(self.expected("a field"));
        };
        let field = resolve(self.schema, &name).map_err(|error| FilterError {
            span: self.span(),
            message: error.message,
            help: error.help,
        })?;
        self.at += 1;
        Ok(field)
    }

    fn value(&mut self, field: &FieldSchema) -> Result<Value, FilterError> {
        let (is_bare, text) = match self.peek().clone() {
            Token::Text(text) => (false, text),
            Token::Word(text) => (true, text),
            Token::Name(_) | Token::Operator(_) | Token::End => {
                return Err(self.expected("a value"));
            }
        };
        let value = literal(field, &text, is_bare).ok_or_else(|| FilterError {
            span: self.span(),
            message: format!("`{text}` does not fit `{}`", shown(field)),
            help: is_bare.then(|| "texts stand in single quotes".to_owned()),
        })?;
        self.at += 1;
        Ok(value)
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)].0
    }

    fn span(&self) -> Range<usize> {
        self.tokens[self.at.min(self.tokens.len() - 1)].1.clone()
    }

    fn take_keyword(&mut self, keyword: &str) -> bool {
        let found = matches!(self.peek(), Token::Word(word) if word.eq_ignore_ascii_case(keyword));
        self.at += usize::from(found);
        found
    }

    fn take_operator(&mut self, operator: &str) -> bool {
        let found = matches!(self.peek(), Token::Operator(found) if *found == operator);
        self.at += usize::from(found);
        found
    }

    fn require_operator(&mut self, operator: &str) -> Result<(), FilterError> {
        if self.take_operator(operator) {
            return Ok(());
        }
        Err(self.expected(&format!("`{operator}`")))
    }

    fn expected(&self, what: &str) -> FilterError {
        let found = match self.peek() {
            Token::Word(text) | Token::Name(text) | Token::Text(text) => format!("`{text}`"),
            Token::Operator(operator) => format!("`{operator}`"),
            Token::End => "the end".to_owned(),
        };
        FilterError {
            span: self.span(),
            message: format!("expected {what}, found {found}"),
            help: None,
        }
    }
}

/// Reads a literal as its field stores it: an option by label or ID, a date, a number.
pub(super) fn literal(field: &FieldSchema, text: &str, is_bare: bool) -> Option<Value> {
    match field.kind {
        FieldKind::Bool => match text.to_ascii_lowercase().as_str() {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        FieldKind::Integer | FieldKind::Decimal | FieldKind::Money => {
            Decimal::from_str(text).ok().map(Value::number)
        }
        FieldKind::Date => text.parse::<NaiveDate>().ok().map(Value::Date),
        FieldKind::Timestamp => {
            let midnight =
                || text.parse::<NaiveDate>().ok().map(|date| date.and_time(NaiveTime::MIN));
            let instant = DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc());
            instant.or_else(|| midnight().map(|at| at.and_utc())).map(Value::timestamp)
        }
        FieldKind::Option if !field.options.is_empty() => {
            find_option(field, text).ok().map(|option| Value::text(&option.id))
        }
        FieldKind::Lookup => Some(Value::Reference(crate::model::RecordId::new(text))),
        FieldKind::Text
        | FieldKind::LongText
        | FieldKind::RichText
        | FieldKind::Email
        | FieldKind::EmailList
        | FieldKind::Phone
        | FieldKind::PhoneList
        | FieldKind::Url
        | FieldKind::Currency
        | FieldKind::Time
        | FieldKind::Duration
        | FieldKind::Option
        | FieldKind::OptionSet
        | FieldKind::Tags
        | FieldKind::User
        | FieldKind::Id
        | FieldKind::Unsupported => {
            // A bare word is a number or a mistyped text.
            (!is_bare || Decimal::from_str(text).is_ok()).then(|| Value::text(text))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mapping::metadata::zoho;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

        #[test]
        fn given_any_text_when_parsed_then_it_is_read_or_refused_inside_the_text(
            text in prop_oneof![
                any::<String>(),
                "(Email|not|and|or|is|null|in|Amount|'x|'|\"|`|\\(|\\)|=|!=|<=|,|5|ä| ){0,12}",
            ]
        ) {
            if let Err(error) = parse(&text, &zoho("Contacts")) {
                prop_assert!(error.span.end <= text.len());
                prop_assert!(text.is_char_boundary(error.span.start));
            }
        }
    }
}
