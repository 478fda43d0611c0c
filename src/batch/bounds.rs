//! Limits that Loki has named in refusals, so that entries beyond them need not be sent.
//!
//! Loki's limits are not guessed: assuming a default that was raised would lose lines. A limit from an answer is used
//! for one minute. Then the next entry is sent, and shows whether the limit was raised.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::{Entry, Reason};

const BELIEVED: Duration = Duration::from_secs(60);

/// A limit that Loki named in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The most bytes of a line.
    Line(usize),
    /// The highest age of an entry.
    Age(Duration),
    /// The most labels of a stream.
    Labels(usize),
}

/// The limits of one tenant. Shared with its batches, which report them.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    /// A fast check for each entry: nearly always no limit is known.
    any: AtomicBool,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    line: Option<(usize, Instant)>,
    age: Option<(Duration, Instant)>,
    labels: Option<(usize, Instant)>,
}

impl Bounds {
    pub fn learn(&self, bound: Bound, now: Instant) {
        let until = now + BELIEVED;
        let mut state = self.lock();
        match bound {
            Bound::Line(bytes) => state.line = Some((bytes, until)),
            Bound::Age(age) => state.age = Some((age, until)),
            Bound::Labels(count) => state.labels = Some((count, until)),
        }
        self.any.store(true, Ordering::Relaxed);
    }

    /// Why Loki will not accept the entry. `labels` is the number of its labels, `unix_nanos` the current time. None:
    /// no known limit applies.
    pub fn refuse(
        &self,
        entry: &Entry<'_>,
        labels: usize,
        now: Instant,
        unix_nanos: impl FnOnce() -> i64,
    ) -> Option<Reason> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let state = *self.lock();
        fn holds<T>(bound: Option<(T, Instant)>, now: Instant) -> Option<T> {
            bound.filter(|(_, until)| now < *until).map(|(bound, _)| bound)
        }
        if holds(state.line, now).is_some_and(|most| entry.line.len() > most) {
            return Some(Reason::Loki("line_too_long"));
        }
        if holds(state.labels, now).is_some_and(|most| labels > most) {
            return Some(Reason::Loki("max_label_names_per_series"));
        }
        let age = holds(state.age, now)?;
        let oldest = unix_nanos().saturating_sub(i64::try_from(age.as_nanos()).unwrap_or(i64::MAX));
        (entry.timestamp < oldest).then_some(Reason::Loki("greater_than_max_sample_age"))
    }

    // No foreign code runs under the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
