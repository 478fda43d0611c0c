//! `-dry-run`: prints entries to standard output instead of sending them to Loki.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};

use jiff::Timestamp;

use crate::model::{Entry, Labels, terminal};

#[derive(Debug, Default)]
pub(super) struct Printer {
    external: Labels,
    is_terminal: bool,
}

impl Printer {
    pub fn new(external: Labels) -> Self {
        Self { external, is_terminal: std::io::stdout().is_terminal() }
    }

    /// Prints `timestamp<TAB>labels<TAB>line`. What could change a terminal is escaped there, and nowhere else.
    pub fn print(&self, entry: &Entry<'_>) {
        let mut labels = entry.labels.clone();
        for (name, value) in &self.external {
            if labels.get(name).is_none() {
                labels = labels.with(name, value);
            }
        }
        let time = Timestamp::from_nanosecond(entry.timestamp.into()).unwrap_or_default();
        let mut line = format!("{time}\t{labels}\t{}", entry.line);
        for pair in &entry.metadata {
            line.push_str(&format!("\t{}={:?}", pair.name, pair.value));
        }
        if self.is_terminal
            && let Cow::Owned(escaped) = terminal::lines(&line)
        {
            line = escaped;
        }
        line.push('\n');
        // One write per line, so lines are whole even if the process dies. A closed pipe is ignored.
        let _ = std::io::stdout().lock().write_all(line.as_bytes());
        entry.deliver();
    }
}
