//! What is wrong with a mapping file, where, and what to do.

use std::fmt;
use std::ops::Range;

/// One finding about a mapping file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub path: String,
    /// Bytes of the file's text.
    pub span: Range<usize>,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    pub severity: Severity,
    pub message: String,
    pub help: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

/// A position in a file that findings are made about.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a> {
    pub path: &'a str,
    pub text: &'a str,
}

impl Document<'_> {
    /// Makes a finding about `span`.
    pub fn at(
        &self,
        span: Range<usize>,
        severity: Severity,
        message: impl Into<String>,
        help: Option<String>,
    ) -> Diagnostic {
        let mut start = span.start.min(self.text.len());
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        let before = &self.text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Diagnostic {
            path: self.path.to_owned(),
            span,
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            severity,
            message: message.into(),
            help,
        }
    }
}

/// Renders `file:line:column: message`, and the help on a line of its own.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
        };
        write!(f, "{}:{}:{}: {severity}{}", self.path, self.line, self.column, self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

/// Returns the candidate that a mistyped `name` most likely meant.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const ALIKE: f64 = 0.75;
    let name = name.to_lowercase();
    let score = |candidate: &'a str| {
        let likeness = strsim::jaro_winkler(&name, &candidate.to_lowercase());
        (likeness >= ALIKE).then_some((likeness, candidate))
    };
    let better =
        |best: (f64, &'a str), next: (f64, &'a str)| if next.0 > best.0 { next } else { best };
    candidates.into_iter().filter_map(score).reduce(better).map(|(_, candidate)| candidate)
}

/// Returns the help line for a mistyped name.
pub fn did_you_mean<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(name, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}
