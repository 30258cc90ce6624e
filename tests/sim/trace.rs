//! What happened, in order: a hash always, the lines where somebody wants to read them.

use chrono::{DateTime, Utc};

pub(crate) struct Trace {
    lines: Option<Vec<String>>,
    hash: blake3::Hasher,
    start: Option<DateTime<Utc>>,
}

impl Trace {
    pub(crate) fn new(keeps_lines: bool) -> Self {
        let lines = keeps_lines.then(Vec::new);
        Self { lines, hash: blake3::Hasher::new(), start: None }
    }

    pub(crate) fn note(&mut self, at: DateTime<Utc>, what: impl FnOnce() -> String) {
        let start = *self.start.get_or_insert(at);
        let passed = (at - start).num_milliseconds();
        let line = format!("{:>10}.{:03} {}", passed / 1_000, passed % 1_000, what());
        self.hash.update(line.as_bytes());
        if let Some(lines) = &mut self.lines {
            lines.push(line);
        }
    }

    pub(crate) fn hash(&self) -> String {
        self.hash.finalize().to_hex()[..16].to_owned()
    }

    pub(crate) fn take(&mut self) -> Vec<String> {
        self.lines.take().unwrap_or_default()
    }
}
