//! Environment variables as an argument, with the file `.env` beneath them.

use std::collections::BTreeMap;

/// Prefix of the variables that override keys of the configuration file.
pub const PREFIX: &str = "CRMSYNC_";

/// The variables a run sees. Real ones win over those of `.env`; an empty one counts as unset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

/// One variable that replaces one key: `CRMSYNC_CONNECTIONS__ZOHO__API_URL` is `connections.zoho.api_url`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override<'a> {
    pub variable: &'a str,
    /// Lower case.
    pub path: Vec<String>,
    pub value: &'a str,
}

/// A line of `.env` that is neither empty, a comment, nor `NAME=value`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(".env line {line}: {reason}")]
pub struct DotenvError {
    pub line: usize,
    pub reason: &'static str,
}

impl Environment {
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(variables.into_iter().collect())
    }

    /// Puts the variables of a `.env` text beneath those already known.
    ///
    /// Understands `NAME=value`, `export NAME=value`, comments, `'literal'` and `"with \n escapes"`.
    ///
    /// # Errors
    /// [`DotenvError`] for a line that is none of these. It never shows the line: it may hold a secret.
    pub fn with_dotenv(mut self, text: &str) -> Result<Self, DotenvError> {
        for (index, line) in text.lines().enumerate() {
            let parsed =
                parse_line(line).map_err(|reason| DotenvError { line: index + 1, reason })?;
            if let Some((name, value)) = parsed {
                self.0.entry(name).or_insert(value);
            }
        }
        Ok(self)
    }

    pub fn var(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Variables that override configuration keys: those with the prefix and at least one `__`.
    pub fn overrides(&self) -> impl Iterator<Item = Override<'_>> {
        self.0.iter().filter_map(|(variable, value)| {
            let path = variable.strip_prefix(PREFIX)?;
            let set = path.contains("__") && !value.is_empty();
            set.then(|| Override {
                variable,
                path: path.split("__").map(str::to_lowercase).collect(),
                value,
            })
        })
    }
}

fn parse_line(line: &str) -> Result<Option<(String, String)>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=').ok_or("write NAME=value")?;
    let name = name.trim();
    let named = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !named {
        return Err("a name has only letters, digits and underscores");
    }
    Ok(Some((name.to_owned(), parse_value(value.trim())?)))
}

fn parse_value(text: &str) -> Result<String, &'static str> {
    if let Some(rest) = text.strip_prefix('\'') {
        let (inner, after) = rest.split_once('\'').ok_or("the quote ' is not closed")?;
        return nothing_after(after).map(|()| inner.to_owned());
    }
    if let Some(rest) = text.strip_prefix('"') {
        return parse_escaped(rest);
    }
    let end = text.find(" #").unwrap_or(text.len());
    Ok(text[..end].trim_end().to_owned())
}

fn parse_escaped(text: &str) -> Result<String, &'static str> {
    let mut value = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => return nothing_after(chars.as_str()).map(|()| value),
            '\\' => match chars.next() {
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                Some(other) => value.push(other),
                None => break,
            },
            other => value.push(other),
        }
    }
    Err("the quote \" is not closed")
}

fn nothing_after(rest: &str) -> Result<(), &'static str> {
    let rest = rest.trim_start();
    if rest.is_empty() || rest.starts_with('#') {
        Ok(())
    } else {
        Err("there is text after the closing quote")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_line_of_dotenv_when_parsed_then_the_value_is_what_a_shell_would_show() {
        let cases = [
            ("plain", "A=b", Some("b")),
            ("exported", "export A=b", Some("b")),
            ("spaces around", "A = b c ", Some("b c")),
            ("comment after", "A=b # note", Some("b")),
            ("hash inside", "A=b#c", Some("b#c")),
            ("base64 padding", "A=AbC=", Some("AbC=")),
            ("single quotes", r"A='b \n # c'", Some(r"b \n # c")),
            ("double quotes", r#"A="b\n\"c\"" # d"#, Some("b\n\"c\"")),
            ("a comment", "# A=b", None),
            ("nothing", "   ", None),
            ("empty counts as unset", "A=", None),
        ];
        for (case, line, expected) in cases {
            let environment = Environment::default().with_dotenv(line).expect(case);

            assert_eq!(environment.var("A"), expected, "{case}");
        }
    }

    #[test]
    fn given_a_broken_line_when_parsed_then_its_number_is_named_and_its_text_is_not() {
        let cases = [
            ("no equals sign", "A=1\nsecret", 2, "write NAME=value"),
            ("bad name", "A B=1", 1, "a name has only letters, digits and underscores"),
            ("open quote", "A='b", 1, "the quote ' is not closed"),
            ("open double quote", "A=\"b", 1, "the quote \" is not closed"),
            ("text after quote", "A='b' c", 1, "there is text after the closing quote"),
        ];
        for (case, text, line, reason) in cases {
            let result = Environment::default().with_dotenv(text);

            assert_eq!(result, Err(DotenvError { line, reason }), "{case}");
        }
    }

    #[test]
    fn given_a_real_variable_when_dotenv_has_it_too_then_the_real_one_wins() {
        let real = Environment::new([("A".to_owned(), "real".to_owned())]);

        let merged = real.with_dotenv("A=file\nB=file").expect("both lines are well formed");

        assert_eq!((merged.var("A"), merged.var("B")), (Some("real"), Some("file")));
    }

    #[test]
    fn given_prefixed_variables_when_overrides_are_listed_then_only_paths_count() {
        let environment = Environment::new(
            [
                ("CRMSYNC_KEY", "k"),
                ("CRMSYNC_STORE__URL", "sqlite://x.db"),
                ("OTHER__URL", "no"),
                ("CRMSYNC_STORE__KEY", ""),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );

        let paths: Vec<_> = environment.overrides().map(|found| found.path.join(".")).collect();

        assert_eq!(paths, ["store.url"]);
    }
}
