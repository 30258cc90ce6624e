//! Reads one table key by key; what nobody asked for is an unknown key.

use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::document::{Entry, Located, Node, Origin, Table};
use super::environment::Environment;
use super::finding::Finding;
use super::period::{self, Lifetime};
use super::secret::Secret;

/// What all sections of one file share.
pub(super) struct Reading<'a> {
    pub(super) environment: &'a Environment,
    /// Relative paths in the file count from here.
    pub(super) folder: &'a Path,
    pub(super) findings: RefCell<Vec<Finding>>,
    pub(super) warnings: RefCell<Vec<String>>,
}

impl Reading<'_> {
    pub(super) fn report(&self, finding: Finding) {
        self.findings.borrow_mut().push(finding);
    }
}

/// A text and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) place: Option<Range<usize>>,
}

/// One table of the file, being read.
pub(super) struct Section<'a> {
    reading: &'a Reading<'a>,
    /// Dotted path, empty for the file itself.
    pub(super) path: String,
    pub(super) place: Option<Range<usize>>,
    table: Table,
    known: Vec<&'static str>,
    /// Keys that were there, whatever became of their values.
    present: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(super) fn root(reading: &'a Reading<'a>, table: Table) -> Self {
        Self {
            reading,
            path: String::new(),
            place: None,
            table,
            known: Vec::new(),
            present: Vec::new(),
        }
    }

    fn key_path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn take(&mut self, key: &'static str) -> Option<Located> {
        self.known.push(key);
        let found = self.table.remove(key).map(|entry| entry.value);
        self.present.extend(found.is_some().then_some(key));
        found
    }

    /// Reports a mistake about the value of `key` at `place`.
    pub(super) fn refuse(
        &self,
        key: &str,
        place: Option<Range<usize>>,
        reason: &str,
        help: Option<String>,
    ) {
        let mut finding = Finding::new(format!("{}: {reason}", self.key_path(key))).at(place, "");
        finding.help = help;
        self.reading.report(finding);
    }

    fn wrong_kind(&self, key: &str, found: &Located, wanted: &str) {
        let source = match &found.origin {
            Origin::File(_) => String::new(),
            Origin::Variable(name) => format!(" (from {name})"),
        };
        let reason = format!("expected {wanted}, found {}{source}", found.node.kind());
        self.refuse(key, found.origin.place(), &reason, None);
    }

    pub(super) fn word(&mut self, key: &'static str) -> Option<Word> {
        let found = self.take(key)?;
        match found.node {
            Node::Text(text) | Node::Moment(text) => {
                Some(Word { text, place: found.origin.place() })
            }
            Node::Integer(_) | Node::Float(_) | Node::Flag(_) | Node::List(_) | Node::Table(_) => {
                self.wrong_kind(key, &found, "a text");
                None
            }
        }
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.word(key).map(|word| word.text)
    }

    /// Reports that a key is missing, unless it is there and has been refused.
    pub(super) fn missing(&self, key: &str, help: &str) {
        if self.present.contains(&key) {
            return;
        }
        let name =
            if self.path.is_empty() { "the file".to_owned() } else { format!("[{}]", self.path) };
        let finding = Finding::new(format!("{name} lacks `{key}`"));
        self.reading.report(finding.at(self.place.clone(), "in this table").help(help));
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Option<bool> {
        let found = self.take(key)?;
        let parsed = match (&found.node, &found.origin) {
            (Node::Flag(flag), _) => Some(*flag),
            (Node::Text(text), Origin::Variable(_)) => text.parse().ok(),
            (
                Node::Text(_)
                | Node::Integer(_)
                | Node::Float(_)
                | Node::Moment(_)
                | Node::List(_)
                | Node::Table(_),
                _,
            ) => None,
        };
        if parsed.is_none() {
            self.wrong_kind(key, &found, "true or false");
        }
        parsed
    }

    pub(super) fn whole_number(&mut self, key: &'static str) -> Option<u64> {
        let number = self.number(key, "a whole number of 0 or more")?;
        number.parse().ok()
    }

    /// A share between 0 (excluded) and 1.
    pub(super) fn share(&mut self, key: &'static str) -> Option<f64> {
        const WANTED: &str = "a number above 0 and up to 1";
        let text = self.number(key, WANTED)?;
        let share = text.parse::<f64>().ok().filter(|share| *share > 0.0 && *share <= 1.0);
        if share.is_none() {
            self.refuse(key, self.place.clone(), &format!("{text} is not {WANTED}"), None);
        }
        share
    }

    fn number(&mut self, key: &'static str, wanted: &str) -> Option<String> {
        let found = self.take(key)?;
        let text = match (&found.node, &found.origin) {
            (Node::Integer(number), _) if *number >= 0 => Some(number.to_string()),
            (Node::Float(number), _) if wanted.starts_with("a number") => Some(number.to_string()),
            (Node::Text(text), Origin::Variable(_)) if text.parse::<f64>().is_ok() => {
                Some(text.clone())
            }
            (
                Node::Integer(_)
                | Node::Float(_)
                | Node::Text(_)
                | Node::Flag(_)
                | Node::Moment(_)
                | Node::List(_)
                | Node::Table(_),
                _,
            ) => None,
        };
        if text.is_none() {
            self.wrong_kind(key, &found, wanted);
        }
        text
    }

    pub(super) fn period(&mut self, key: &'static str) -> Option<Duration> {
        self.parsed(key, period::parse_period)
    }

    pub(super) fn lifetime(&mut self, key: &'static str) -> Option<Lifetime> {
        self.parsed(key, period::parse_lifetime)
    }

    /// A text that `parse` understands; its error is the reason shown.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let word = self.word(key)?;
        parse(&word.text).map_err(|reason| self.refuse(key, word.place, &reason, None)).ok()
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let word = self.word(key)?;
        let found = choices.iter().find(|(name, _)| *name == word.text).map(|(_, choice)| *choice);
        if found.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            let reason = format!("`{}` is none of {}", word.text, names.join(", "));
            let help = nearest(&word.text, &names).map(|name| format!("did you mean `{name}`?"));
            self.refuse(key, word.place, &reason, help);
        }
        found
    }

    /// The address of a server: https, or http on this machine. Without a slash at the end.
    pub(super) fn server(&mut self, key: &'static str) -> Option<String> {
        self.parsed(key, |text| {
            let url = Url::parse(text).map_err(|error| format!("`{text}` is no URL: {error}"))?;
            let loopback = match url.host() {
                Some(url::Host::Domain(name)) => name == "localhost",
                Some(url::Host::Ipv4(address)) => address.is_loopback(),
                Some(url::Host::Ipv6(address)) => address.is_loopback(),
                None => false,
            };
            match (url.scheme(), loopback) {
                ("https", _) | ("http", true) => Ok(text.trim_end_matches('/').to_owned()),
                ("http", false) => Err(format!(
                    "`{text}` would send tokens unencrypted; http is for this machine only, use https"
                )),
                (scheme, _) => Err(format!("`{scheme}:` is not http or https")),
            }
        })
    }

    /// Tells the person something that is no mistake.
    pub(super) fn advise(&self, advice: String) {
        self.reading.warnings.borrow_mut().push(advice);
    }

    /// `{ env = … }`, `{ file = … }`, or plain text, which is worth a warning.
    pub(super) fn secret(&mut self, key: &'static str) -> Option<Secret> {
        let path = self.key_path(key);
        let found = self.take(key)?;
        match found.node {
            Node::Text(text) => {
                if matches!(found.origin, Origin::File(_)) {
                    let advice = format!(
                        "{path} stands in the file in plain text; `{{ env = \"…\" }}` keeps it out of Git"
                    );
                    self.advise(advice);
                }
                Some(Secret::plain(path, &text))
            }
            Node::Table(table) => {
                let mut source = Section {
                    reading: self.reading,
                    path: path.clone(),
                    place: found.origin.place(),
                    table,
                    known: Vec::new(),
                    present: Vec::new(),
                };
                let secret = source.secret_source(path);
                source.finish();
                Some(secret)
            }
            Node::Integer(_) | Node::Float(_) | Node::Flag(_) | Node::Moment(_) | Node::List(_) => {
                const WANTED: &str = "a secret: { env = … }, { file = … } or a text";
                self.wrong_kind(key, &found, WANTED);
                Some(Secret::new(path, Err(format!("expected {WANTED}"))))
            }
        }
    }

    fn secret_source(&mut self, path: String) -> Secret {
        match (self.text("env"), self.text("file")) {
            (Some(name), None) => {
                let value = self.reading.environment.var(&name).map(SecretString::from);
                let missing = || {
                    format!(
                        "the environment variable {name} is not set; set it, or write it to .env"
                    )
                };
                Secret::new(path, value.ok_or_else(missing))
            }
            (None, Some(file)) => {
                let file = self.reading.folder.join(file);
                let text = std::fs::read_to_string(&file)
                    .map(|text| SecretString::from(text.trim_end_matches(['\n', '\r'])))
                    .map_err(|error| format!("cannot read {}: {error}", file.display()));
                Secret::new(path, text)
            }
            (Some(_), Some(_)) | (None, None) => {
                let reason = "a secret has either `env` or `file`";
                self.reading
                    .report(Finding::new(format!("{path}: {reason}")).at(self.place.clone(), ""));
                Secret::new(path, Err(reason.to_owned()))
            }
        }
    }

    /// Texts in a list; a variable gives them separated by commas.
    pub(super) fn words(&mut self, key: &'static str) -> Option<Vec<Word>> {
        let found = self.take(key)?;
        match found.node {
            Node::List(items) => {
                let mut words = Vec::new();
                for item in items {
                    let place = item.origin.place();
                    match item.node {
                        Node::Text(text) => words.push(Word { text, place }),
                        Node::Integer(_)
                        | Node::Float(_)
                        | Node::Flag(_)
                        | Node::Moment(_)
                        | Node::List(_)
                        | Node::Table(_) => self.wrong_kind(key, &item, "a text"),
                    }
                }
                Some(words)
            }
            Node::Text(text) => {
                let place = found.origin.place();
                let word = |part: &str| Word { text: part.trim().to_owned(), place: place.clone() };
                Some(text.split(',').map(word).collect())
            }
            Node::Integer(_)
            | Node::Float(_)
            | Node::Flag(_)
            | Node::Moment(_)
            | Node::Table(_) => {
                self.wrong_kind(key, &found, "a list of texts");
                None
            }
        }
    }

    /// A table beneath this one.
    pub(super) fn section(&mut self, key: &'static str) -> Option<Self> {
        let path = self.key_path(key);
        let found = self.take(key)?;
        self.open(key, path, found)
    }

    /// Tables beneath this one that the user names: `[connections.zoho]`.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<(String, Self)> {
        let Some(mut group) = self.section(key) else { return Vec::new() };
        let entries = std::mem::take(&mut group.table);
        let mut sections = Vec::new();
        for (name, Entry { key: written, mut value }) in entries {
            // A table header is longer than its name; the caret belongs under the name.
            if let Origin::File(_) = value.origin {
                value.origin = written;
            }
            let path = group.key_path(&name);
            sections.extend(group.open(&name, path, value).map(|section| (name, section)));
        }
        sections
    }

    fn open(&self, key: &str, path: String, found: Located) -> Option<Self> {
        let place = found.origin.place();
        match found.node {
            Node::Table(table) => Some(Self {
                reading: self.reading,
                path,
                place,
                table,
                known: Vec::new(),
                present: Vec::new(),
            }),
            Node::Text(_)
            | Node::Integer(_)
            | Node::Float(_)
            | Node::Flag(_)
            | Node::Moment(_)
            | Node::List(_) => {
                self.wrong_kind(key, &found, "a table");
                None
            }
        }
    }

    /// Reports every key that nobody asked for, with the nearest known one.
    pub(super) fn finish(self) {
        for (key, entry) in &self.table {
            let source = match &entry.key {
                Origin::File(_) => String::new(),
                Origin::Variable(name) => format!(" (from {name})"),
            };
            let finding = Finding::new(format!("unknown key `{}`{source}", self.key_path(key)))
                .at(entry.key.place(), "nothing reads this");
            let help = nearest(key, &self.known).map_or_else(
                || format!("known here: {}", self.known.join(", ")),
                |known| format!("did you mean `{known}`?"),
            );
            self.reading.report(finding.help(help));
        }
    }
}

/// The known word that `text` was probably meant to be.
pub(super) fn nearest<'k>(text: &str, known: &[&'k str]) -> Option<&'k str> {
    let likeness = |name: &str| strsim::jaro_winkler(&text.to_lowercase(), &name.to_lowercase());
    known
        .iter()
        .map(|name| (likeness(name), *name))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, name)| name)
}
