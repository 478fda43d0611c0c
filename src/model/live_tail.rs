//! The live tail of the page: lines as they are read, and entries as they leave the stages, while somebody looks.
//!
//! Reading never waits for it. Each viewer has a short queue; what does not fit is counted and not shown.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::{Entry, Labels};

/// How many may look at the same time.
const VIEWERS: usize = 4;

/// Lines that wait for a viewer. The server takes them every 200 ms, so a viewer gets at most 200 lines a second.
const QUEUE: usize = 40;

/// The longest line and the longest label value that is shown, in bytes, and the most labels.
const LONGEST_LINE: usize = 4 << 10;
const LONGEST_VALUE: usize = 256;
const LABELS: usize = 40;

/// The viewers of all readers.
#[derive(Debug, Default)]
pub struct LiveTail {
    /// The length of `queues`, for readers.
    viewers: AtomicUsize,
    queues: Mutex<Vec<Arc<Queue>>>,
}

/// Which lines a viewer wants to see.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct LiveFilter {
    /// Text in the line, or in the value of a label. Empty: all lines.
    pub q: String,
    pub side: Option<Side>,
}

/// Where a line is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// As it was read.
    Before,
    /// As it leaves the stages.
    After,
}

/// A line for a viewer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LiveLine {
    pub side: Side,
    pub timestamp_unix_ms: i64,
    pub labels: Labels,
    pub line: String,
}

#[derive(Debug)]
struct Queue {
    filter: LiveFilter,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<LiveLine>,
    skipped: u64,
}

/// Somebody who looks, until it is dropped.
#[derive(Debug)]
pub struct Viewer {
    tail: Arc<LiveTail>,
    queue: Arc<Queue>,
}

impl LiveTail {
    /// None: too many look already.
    pub fn view(self: &Arc<Self>, filter: LiveFilter) -> Option<Viewer> {
        let mut queues = lock(&self.queues);
        if queues.len() >= VIEWERS {
            return None;
        }
        let queue = Arc::new(Queue { filter, waiting: Mutex::default() });
        queues.push(queue.clone());
        self.viewers.store(queues.len(), Ordering::Relaxed);
        Some(Viewer { tail: self.clone(), queue })
    }

    /// Whether anybody looks. Cheap enough for each batch of lines.
    pub fn is_viewed(&self) -> bool {
        self.viewers.load(Ordering::Relaxed) > 0
    }

    /// Shows an entry to those who want to see it.
    pub fn show(&self, side: Side, entry: &Entry<'_>) {
        lock(&self.queues).iter().for_each(|queue| queue.show(side, entry));
    }
}

impl Viewer {
    /// The lines since the last call, and how many more there were.
    pub fn take(&self) -> (Vec<LiveLine>, u64) {
        let Waiting { lines, skipped } = std::mem::take(&mut *lock(&self.queue.waiting));
        (lines.into(), skipped)
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let mut queues = lock(&self.tail.queues);
        queues.retain(|queue| !Arc::ptr_eq(queue, &self.queue));
        self.tail.viewers.store(queues.len(), Ordering::Relaxed);
    }
}

impl Queue {
    fn show(&self, side: Side, entry: &Entry<'_>) {
        if !self.filter.wants(side, entry) {
            return;
        }
        let mut waiting = lock(&self.waiting);
        if waiting.lines.len() >= QUEUE {
            waiting.skipped += 1;
            return;
        }
        let labels = entry.labels.iter().take(LABELS);
        waiting.lines.push_back(LiveLine {
            side,
            timestamp_unix_ms: entry.timestamp / 1_000_000,
            labels: labels.map(|(name, value)| (cut(name, LONGEST_VALUE), cut(value, LONGEST_VALUE))).collect(),
            line: cut(&entry.line, LONGEST_LINE),
        });
    }
}

impl LiveFilter {
    fn wants(&self, side: Side, entry: &Entry<'_>) -> bool {
        let has = |text: &str| text.contains(&self.q);
        self.side.is_none_or(|wanted| wanted == side)
            && (self.q.is_empty() || has(&entry.line) || entry.labels.iter().any(|(_, value)| has(value)))
    }
}

fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit { text.to_string() } else { format!("{}…", &text[..text.floor_char_boundary(limit)]) }
}

// No call under these locks can leave the data inconsistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AckRef, LabelSet, Ledger, Mark, Origin, Weight};

    fn entry(line: &str) -> Entry<'_> {
        Entry {
            timestamp: 5_000_000,
            line: line.into(),
            labels: LabelSet::new([("app", "web")]),
            metadata: Vec::new(),
            tenant: None,
            origin: Origin::default(),
            weight: Weight::line(line.len()),
            ack: AckRef::Own(Ledger::new().open(1, Mark(1))),
        }
    }

    fn lines(viewer: &Viewer) -> Vec<String> {
        viewer.take().0.into_iter().map(|line| line.line).collect()
    }

    #[test]
    fn a_viewer_sees_what_it_asked_for_and_only_while_it_looks() {
        let tail = Arc::new(LiveTail::default());
        assert!(!tail.is_viewed());
        let filter = |q: &str, side| LiveFilter { q: q.into(), side };
        let all = tail.view(LiveFilter::default()).expect("a place");
        let after = tail.view(filter("", Some(Side::After))).expect("a place");
        let text = tail.view(filter("two", None)).expect("a place");
        let label = tail.view(filter("web", None)).expect("a place");
        assert!(tail.is_viewed());
        tail.show(Side::Before, &entry("one"));
        tail.show(Side::After, &entry("two"));
        assert_eq!(lines(&all), ["one", "two"]);
        assert_eq!((lines(&after), lines(&text), lines(&label).len()), (vec!["two".into()], vec!["two".into()], 2));
        assert_eq!(lines(&all).len(), 0, "each line comes once");
        drop((all, after, text, label));
        assert!(!tail.is_viewed());
    }

    #[test]
    fn viewers_queues_and_lines_are_bounded() {
        let tail = Arc::new(LiveTail::default());
        let viewers: Vec<Viewer> = (0..VIEWERS).filter_map(|_| tail.view(LiveFilter::default())).collect();
        assert_eq!(viewers.len(), VIEWERS);
        assert!(tail.view(LiveFilter::default()).is_none());
        let long = "ä".repeat(LONGEST_LINE);
        (0..10 * QUEUE).for_each(|_| tail.show(Side::Before, &entry(&long)));
        let (lines, skipped) = viewers[0].take();
        assert_eq!((lines.len(), skipped), (QUEUE, 9 * QUEUE as u64));
        assert!(lines[0].line.len() <= LONGEST_LINE + '…'.len_utf8());
        drop(viewers);
        assert!(tail.view(LiveFilter::default()).is_some(), "there is room again");
    }
}
