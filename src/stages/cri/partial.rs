//! Joins the parts of a line.

use std::time::Instant;

use crate::metrics::Dropped;
use crate::model::{MAX_LINE, Reason, Structured};
use crate::stages::{Kept, Work};

/// The parts of a line so far.
#[derive(Debug)]
pub(super) struct Partial {
    pub work: Work<'static>,
    /// When its last part came.
    pub since: Instant,
    /// It exceeds the longest line, and waits for its end only to be discarded.
    too_long: bool,
}

impl Partial {
    /// Holds the first part of a line.
    pub fn begin(work: &mut Work<'_>, since: Instant, cut: Option<usize>) -> (Box<Self>, Kept) {
        let (work, kept) = work.keep();
        let mut held = Box::new(Self { work, since, too_long: false });
        held.shorten(cut);
        (held, kept)
    }

    /// Releases the whole line. `work` is its last part, whose time and labels it gets.
    pub fn end(self, work: &mut Work<'_>, released: &mut Vec<Work<'static>>, dropped: &Dropped) -> Kept {
        let mut joined = self.work;
        joined.entry.timestamp = work.entry.timestamp;
        joined.entry.labels = work.entry.labels.clone();
        joined.entry.metadata = work.entry.metadata.drain(..).map(Structured::into_owned).collect();
        joined.extracted = std::mem::take(&mut work.extracted).into_owned();
        let kept = joined.take_in(work);
        if self.too_long {
            dropped.discard(&joined.entry, &Reason::LineTooLong);
            joined.entry.close();
        } else {
            released.push(joined);
        }
        kept
    }

    pub fn append(&mut self, work: &Work<'_>) {
        let line = self.work.entry.line.to_mut();
        if line.len() + work.entry.line.len() > MAX_LINE {
            self.too_long = true;
        }
        if !self.too_long {
            line.push_str(&work.entry.line);
        }
        self.work.entry.timestamp = work.entry.timestamp;
    }

    pub fn shorten(&mut self, cut: Option<usize>) {
        if let Some(size) = cut.filter(|size| self.work.entry.line.len() > *size) {
            let line = self.work.entry.line.to_mut();
            line.truncate(line.floor_char_boundary(size));
        }
    }
}
