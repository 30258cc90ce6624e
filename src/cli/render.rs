//! Results on stdout: text, tables or JSON. Nothing else in the program writes there.

use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::exit::{Exit, Failure};
use crate::config::{Environment, Paint};

/// How results are shown.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    pub json: bool,
    pub quiet: bool,
    /// stdout is a terminal.
    pub terminal: bool,
    /// For stderr.
    pub paint: Paint,
    /// Columns.
    pub width: usize,
}

impl Output {
    /// Looks at both streams and at `NO_COLOR`.
    pub fn new(json: bool, quiet: bool, environment: &Environment) -> Self {
        let plain = environment.var("NO_COLOR").is_some() || !io::stderr().is_terminal();
        let columns = comfy_table::Table::new().width().filter(|_| io::stdout().is_terminal());
        Self {
            json,
            quiet,
            terminal: io::stdout().is_terminal(),
            paint: if plain { Paint::Plain } else { Paint::Color },
            width: columns.map_or(100, usize::from),
        }
    }

    /// Prints a result for people and for programs.
    ///
    /// # Errors
    /// When stdout cannot be written; a reader that has gone away (`| head`) is no error.
    pub fn result(
        &self,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if self.json {
            let json = serde_json::to_string_pretty(value)
                .map_err(|error| Failure::config(format!("cannot write JSON: {error}")))?;
            return write_out(&format!("{json}\n"));
        }
        write_out(&text())
    }

    /// Prints a text as it is, also with `--json`: scripts, manuals, reports whose format was chosen.
    ///
    /// # Errors
    /// As [`Output::result`].
    pub fn raw(&self, text: &str) -> Result<(), Failure> {
        write_out(text)
    }

    /// Lays out rows in columns under a header; on a terminal long cells are wrapped to its width.
    pub fn table(&self, header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        if self.terminal {
            table.set_content_arrangement(ContentArrangement::Dynamic);
            table.set_width(u16::try_from(self.width).unwrap_or(u16::MAX));
        }
        table.set_header(header.to_vec());
        for row in rows {
            table.add_row(row.iter().map(|cell| printable(cell)));
        }
        let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        lines.join("\n") + "\n"
    }
}

fn write_out(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Config, format!("cannot write to stdout: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints a line for people on stderr: notes, warnings, questions. A closed stderr is no error.
pub fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Makes a value from a CRM harmless on a terminal: control characters (escape sequences) become `·`.
pub fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() && char != '\n' { '·' } else { char }).collect()
}

/// Puts texts one after the other.
pub fn joined(texts: impl IntoIterator<Item = String>) -> String {
    texts.into_iter().collect()
}

/// A number with the right form of a word: `1 record`, `2 records`.
pub fn counted(number: u64, word: &str) -> String {
    if number == 1 { format!("1 {word}") } else { format!("{number} {word}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_an_escape_sequence_in_a_value_when_printed_then_it_cannot_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\u{7}\nc"), "a·[31mb·\nc");
    }

    #[test]
    fn given_rows_when_laid_out_for_a_pipe_then_there_are_no_rules_and_no_trailing_spaces() {
        let output =
            Output { json: false, quiet: false, terminal: false, paint: Paint::Plain, width: 80 };

        let table = output.table(&["name", "type"], [vec!["zoho".into(), "zoho".into()]]);

        assert_eq!(table, " name  type\n zoho  zoho\n");
    }
}
