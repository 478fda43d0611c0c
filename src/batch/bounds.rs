//! What Loki has said that it will never take, so that it need not be asked again for each entry.
//!
//! Its limits are not guessed: a default that was raised would cost lines. What it names in a refusal is believed for a
//! minute, so a limit that is raised is noticed by the next entry after that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::{Entry, Reason};

const BELIEVED: Duration = Duration::from_secs(60);

/// A limit that an answer has named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Bytes of a line.
    Line(usize),
    /// How old an entry may be.
    Age(Duration),
    /// Labels of a stream.
    Labels(usize),
}

/// Of a tenant; shared with its batches, which hear of it.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    /// Nearly always nothing was ever refused, and each entry asks.
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

    /// Why Loki will not take it. `unix_nanos` is the time.
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

    // Nothing is called under the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
