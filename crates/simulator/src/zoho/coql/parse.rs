//! COQL's grammar: words, quoted text, brackets and signs.

use serde_json::{Value, json};

use crate::zoho::criteria::{Comparison, Operator, Test};
use crate::zoho::refusal::Refusal;

/// A query, parsed.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::zoho) struct Query {
    pub(in crate::zoho) module: String,
    pub(in crate::zoho) fields: Vec<String>,
    pub(in crate::zoho) test: Test,
    /// Field and whether it rises.
    pub(in crate::zoho) order: Vec<(String, bool)>,
    pub(in crate::zoho) limit: usize,
    pub(in crate::zoho) offset: usize,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Quoted(String),
    Sign(&'static str),
}

const SIGNS: [&str; 9] = ["!=", ">=", "<=", "=", ">", "<", "(", ")", ","];

/// Brackets read: far more than 25 criteria need.
const MAX_BRACKETS: usize = 200;

/// Rows a query asks for: 200 without a `limit`.
pub(in crate::zoho) fn limit_of(query: &str) -> usize {
    parse(query).map_or(200, |query| query.limit)
}

/// Parses a query.
///
/// # Errors
/// `SYNTAX_ERROR` with what is missing or where it stops making sense.
pub(in crate::zoho) fn parse(text: &str) -> Result<Query, Refusal> {
    let tokens = tokens(text)?;
    if tokens.iter().filter(|token| **token == Token::Sign("(")).count() > MAX_BRACKETS {
        return Err(syntax("error occured while parsing the query", json!({ "near": "(" })));
    }
    let mut parser = Parser { tokens, at: 0 };
    parser.keyword("select")?;
    let fields = parser.names()?;
    parser.keyword("from")?;
    let module = parser.name()?;
    if !parser.eat("where") {
        return Err(syntax("missing clause", json!({ "clause": "where" })));
    }
    let condition = parser.condition()?;
    let order = parser.order()?;
    let (limit, offset) = parser.window()?;
    match parser.peek() {
        None => Ok(Query { module, fields, test: condition, order, limit, offset }),
        Some(token) => Err(near(token)),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Result<Token, Refusal> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token.ok_or_else(|| syntax("error occured while parsing the query", json!({})))
    }

    fn eat(&mut self, word: &str) -> bool {
        let found = match self.peek() {
            Some(Token::Word(next)) => next.eq_ignore_ascii_case(word),
            Some(Token::Sign(next)) => *next == word,
            Some(Token::Quoted(_)) | None => false,
        };
        self.at += usize::from(found);
        found
    }

    fn keyword(&mut self, word: &str) -> Result<(), Refusal> {
        if self.eat(word) {
            Ok(())
        } else {
            Err(syntax("missing clause", json!({ "clause": word })))
        }
    }

    fn sign(&mut self, sign: &str) -> Result<(), Refusal> {
        if self.eat(sign) {
            Ok(())
        } else {
            Err(self.peek().map_or_else(|| syntax("incomplete query", json!({})), near))
        }
    }

    fn name(&mut self) -> Result<String, Refusal> {
        match self.next()? {
            Token::Word(name) | Token::Quoted(name) => Ok(name),
            token @ Token::Sign(_) => Err(near(&token)),
        }
    }

    fn names(&mut self) -> Result<Vec<String>, Refusal> {
        let mut names = vec![self.name()?];
        while self.eat(",") {
            names.push(self.name()?);
        }
        Ok(names)
    }

    fn condition(&mut self) -> Result<Test, Refusal> {
        let mut any = vec![self.conjunction()?];
        while self.eat("or") {
            any.push(self.conjunction()?);
        }
        Ok(if any.len() == 1 { any.remove(0) } else { Test::Any(any) })
    }

    fn conjunction(&mut self) -> Result<Test, Refusal> {
        let mut all = vec![self.factor()?];
        while self.eat("and") {
            all.push(self.factor()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Test::All(all) })
    }

    fn factor(&mut self) -> Result<Test, Refusal> {
        if self.eat("(") {
            let inner = self.condition()?;
            self.sign(")")?;
            return Ok(inner);
        }
        let field = self.name()?;
        let operator = self.operator()?;
        let values = match operator {
            Operator::Null | Operator::NotNull => Vec::new(),
            Operator::In | Operator::NotIn => {
                self.sign("(")?;
                let values = self.names()?;
                self.sign(")")?;
                values
            }
            Operator::Between | Operator::NotBetween => {
                let least = self.name()?;
                self.keyword("and")?;
                vec![least, self.name()?]
            }
            Operator::Equal
            | Operator::NotEqual
            | Operator::Greater
            | Operator::GreaterEqual
            | Operator::Less
            | Operator::LessEqual
            | Operator::Like
            | Operator::NotLike
            | Operator::StartsWith
            | Operator::Contains => vec![self.name()?],
        };
        Ok(Test::Compare(Comparison { field, operator, values }))
    }

    fn operator(&mut self) -> Result<Operator, Refusal> {
        let token = self.next()?;
        let word = match &token {
            Token::Word(word) => word.to_lowercase(),
            Token::Sign(sign) => (*sign).to_owned(),
            Token::Quoted(text) => text.to_lowercase(),
        };
        Ok(match word.as_str() {
            "=" => Operator::Equal,
            "!=" => Operator::NotEqual,
            ">" => Operator::Greater,
            ">=" => Operator::GreaterEqual,
            "<" => Operator::Less,
            "<=" => Operator::LessEqual,
            "like" => Operator::Like,
            "in" => Operator::In,
            "between" => Operator::Between,
            "not" if self.eat("like") => Operator::NotLike,
            "not" if self.eat("in") => Operator::NotIn,
            "not" if self.eat("between") => Operator::NotBetween,
            "is" if self.eat("null") => Operator::Null,
            "is" if self.eat("not") && self.eat("null") => Operator::NotNull,
            _ => return Err(syntax("invalid operator found", json!({ "operator": word }))),
        })
    }

    fn order(&mut self) -> Result<Vec<(String, bool)>, Refusal> {
        let mut order: Vec<(String, bool)> = Vec::new();
        if !self.eat("order") {
            return Ok(order);
        }
        self.keyword("by")?;
        loop {
            let name = self.name()?;
            if order.iter().any(|(other, _)| *other == name) {
                return Err(Refusal::new(
                    400,
                    "DUPLICATE_DATA",
                    "duplicate column",
                    json!({ "column_name": name }),
                ));
            }
            let falls = self.eat("desc");
            if !falls {
                self.eat("asc");
            }
            order.push((name, !falls));
            if !self.eat(",") {
                return Ok(order);
            }
        }
    }

    /// `limit n`, `limit offset, n` or `limit n offset m`.
    fn window(&mut self) -> Result<(usize, usize), Refusal> {
        let (mut limit, mut offset) = (200, 0);
        if self.eat("limit") {
            limit = self.number()?;
            if self.eat(",") {
                offset = limit;
                limit = self.number()?;
            }
        }
        if self.eat("offset") {
            offset = self.number()?;
        }
        Ok((limit, offset))
    }

    fn number(&mut self) -> Result<usize, Refusal> {
        let name = self.name()?;
        name.parse()
            .map_err(|_| syntax("error occured while parsing the query", json!({ "near": name })))
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, Refusal> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            tokens.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else if first == '\'' {
            let (quoted, after) = quoted(&rest[1..])?;
            tokens.push(Token::Quoted(quoted));
            rest = after;
        } else {
            let end = rest
                .find(|c: char| c.is_whitespace() || "=<>!(),'".contains(c))
                .unwrap_or(rest.len());
            if end == 0 {
                return Err(syntax(
                    "error occured while parsing the query",
                    json!({ "near": rest }),
                ));
            }
            tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    Ok(tokens)
}

/// Text up to the closing quote, doubled quotes undone, and what follows.
fn quoted(text: &str) -> Result<(String, &str), Refusal> {
    let mut value = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\'') {
        value.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if !rest.starts_with('\'') {
            return Ok((value, rest));
        }
        value.push('\'');
        rest = &rest[1..];
    }
    Err(syntax("error occured while parsing the query", json!({ "near": text })))
}

fn near(token: &Token) -> Refusal {
    let text = match token {
        Token::Word(text) | Token::Quoted(text) => text.as_str(),
        Token::Sign(sign) => sign,
    };
    syntax("error occured while parsing the query", json!({ "near": text }))
}

fn syntax(message: &str, details: Value) -> Refusal {
    Refusal::new(400, "SYNTAX_ERROR", message, details)
}
