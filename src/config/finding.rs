//! What is wrong with a file, and how it is shown: the place, a caret, and what to do.

use std::fmt;
use std::ops::Range;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Severity,
};

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub message: String,
    /// Bytes of the file; `None` for a mistake that stands in no file (an environment variable, a missing file).
    pub place: Option<Range<usize>>,
    /// A few words under the caret.
    pub label: String,
    pub help: Option<String>,
    pub weight: Weight,
}

/// Whether a finding stops anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weight {
    #[default]
    Error,
    Warning,
}

impl Finding {
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            place: None,
            label: String::new(),
            help: None,
            weight: Weight::Error,
        }
    }

    #[must_use]
    pub fn at(mut self, place: Option<Range<usize>>, label: impl Into<String>) -> Self {
        self.place = place;
        self.label = label.into();
        self
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Everything that is wrong with one file. Shown by `Display` without color, as in logs and tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub file: String,
    pub text: String,
    /// In the order of the file; never empty.
    pub findings: Vec<Finding>,
}

/// How a report is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    Plain,
    Color,
}

impl ConfigError {
    /// A mistake that concerns the file as a whole.
    pub fn whole(file: impl Into<String>, finding: Finding) -> Self {
        Self { file: file.into(), text: String::new(), findings: vec![finding] }
    }

    /// Draws every finding with file, line, column and a caret, `width` columns wide.
    pub fn draw(&self, paint: Paint, width: usize) -> String {
        self.findings
            .iter()
            .map(|finding| draw_finding(&self.file, &self.text, finding, paint, width))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// Draws one finding in `text`, which is the content of `file`.
pub fn draw_finding(
    file: &str,
    text: &str,
    finding: &Finding,
    paint: Paint,
    width: usize,
) -> String {
    let severity = match finding.weight {
        Weight::Error => Severity::Error,
        Weight::Warning => Severity::Warning,
    };
    let mut diagnostic = MietteDiagnostic::new(finding.message.clone()).with_severity(severity);
    if let Some(place) = &finding.place {
        let label = (!finding.label.is_empty()).then(|| finding.label.clone());
        diagnostic = diagnostic.with_label(LabeledSpan::new_with_span(label, place.clone()));
    }
    if let Some(help) = &finding.help {
        diagnostic = diagnostic.with_help(help.clone());
    }
    let theme = match paint {
        Paint::Plain => GraphicalTheme::unicode_nocolor(),
        Paint::Color => GraphicalTheme::unicode(),
    };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(width).with_context_lines(1);
    let report =
        miette::Report::new(diagnostic).with_source_code(NamedSource::new(file, text.to_owned()));
    let mut drawn = String::new();
    // A span outside the text cannot be drawn; the message then stands alone.
    if handler.render_report(&mut drawn, report.as_ref()).is_err() {
        drawn = format!("{file}: {}\n", finding.message);
    }
    drawn
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.draw(Paint::Plain, 100).trim_end())
    }
}

impl std::error::Error for ConfigError {}
