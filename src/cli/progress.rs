//! Progress on stderr: bars on a terminal, plain lines elsewhere.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use super::render::{Output, note};
use crate::service::Silent;

pub use crate::service::Progress;

/// Chooses how progress is shown.
pub fn progress(output: &Output) -> Box<dyn Progress> {
    if output.quiet {
        Box::new(Silent)
    } else if io::stderr().is_terminal() {
        Box::new(Bars { bar: Mutex::new(ProgressBar::hidden()) })
    } else {
        Box::new(Lines { state: Mutex::new(None) })
    }
}

struct Bars {
    bar: Mutex<ProgressBar>,
}

impl Progress for Bars {
    fn phase(&self, name: &str, total: Option<u64>) {
        let mut current = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        // The old bar leaves its line before the new one is drawn there.
        current.finish_and_clear();
        let bar = match total {
            Some(total) => ProgressBar::new(total)
                .with_style(style("{msg:20} {bar:30} {pos}/{len}  {rate}  {eta} left")),
            None => {
                ProgressBar::new_spinner().with_style(style("{msg:20} {spinner} {pos}  {rate}"))
            }
        };
        bar.set_message(name.to_owned());
        *current = bar;
    }

    fn advance(&self, by: u64) {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner).inc(by);
    }

    fn note(&self, line: &str) {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner).suspend(|| note(line));
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner).finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    let plain = ProgressStyle::with_template(template);
    let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
        // A line that cannot be written is shown without its rate.
        let _ = write!(out, "{:.0}/s", state.per_sec());
    };
    plain.unwrap_or_else(|_| ProgressStyle::default_bar()).with_key("rate", rate)
}

struct Lines {
    /// The phase under way and how far it came.
    state: Mutex<Option<(String, u64)>>,
}

impl Lines {
    fn finish(&self) {
        let ended = self.state.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((name, steps)) = ended
            && steps > 0
        {
            note(&format!("{name}: {steps}"));
        }
    }
}

impl Progress for Lines {
    fn phase(&self, name: &str, _total: Option<u64>) {
        self.finish();
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = Some((name.to_owned(), 0));
    }

    fn advance(&self, by: u64) {
        if let Some((_, steps)) = &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            *steps += by;
        }
    }

    fn note(&self, line: &str) {
        note(line);
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.finish();
    }
}
