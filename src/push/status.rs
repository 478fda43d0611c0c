//! How a client fares: for the pages, and for a log that says what changed and not what goes on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::backoff::Pace;
use crate::model::ClientReport;
use crate::model::units::GoDuration;

/// What goes on is said again this often.
const REMINDER: Duration = Duration::from_secs(60);

/// Kinds of discards that are remembered, to say each once a minute.
const MAX_KINDS: usize = 256;

type Tenant = Option<Arc<str>>;

/// One client's state, shared between its lanes and whoever shows it.
#[derive(Debug)]
pub struct Status {
    name: String,
    url: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The lanes that do not get through.
    troubles: BTreeMap<Tenant, Trouble>,
    last_error: Option<String>,
    discards: BTreeMap<(String, String), Discards>,
}

#[derive(Debug)]
struct Trouble {
    since: Instant,
    attempts: u64,
    why: String,
    said: Instant,
    /// Whether it has been said that a person is needed.
    asked: bool,
}

#[derive(Debug)]
struct Discards {
    said: Instant,
    unsaid: usize,
}

/// What is to be said about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Say {
    Nothing,
    /// It begins, or it needs a person now.
    First,
    Reminder {
        since: Duration,
        attempts: u64,
    },
}

impl Status {
    pub(super) fn new(name: String, url: String) -> Self {
        Self { name, url, state: Mutex::default() }
    }

    pub fn report(&self) -> ClientReport {
        self.report_at(Instant::now())
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn failed(&self, tenant: &Tenant, pace: Pace, why: &str, now: Instant) -> Say {
        let mut state = self.lock();
        state.last_error = Some(why.to_string());
        let needs_person = pace == Pace::Slow;
        let Some(trouble) = state.troubles.get_mut(tenant) else {
            let trouble = Trouble { since: now, attempts: 1, why: why.to_string(), said: now, asked: needs_person };
            state.troubles.insert(tenant.clone(), trouble);
            return Say::First;
        };
        trouble.attempts += 1;
        trouble.why = why.to_string();
        if needs_person && !trouble.asked {
            trouble.asked = true;
            trouble.said = now;
            return Say::First;
        }
        if now.duration_since(trouble.said) < REMINDER {
            return Say::Nothing;
        }
        trouble.said = now;
        Say::Reminder { since: now.duration_since(trouble.since), attempts: trouble.attempts }
    }

    /// How long it lasted and how many attempts it took, if there was trouble.
    pub(super) fn answered(&self, tenant: &Tenant, now: Instant) -> Option<(Duration, u64)> {
        let trouble = self.lock().troubles.remove(tenant)?;
        Some((now.duration_since(trouble.since), trouble.attempts))
    }

    /// How many discarded entries of this stream to speak of now; 0: it was said less than a minute ago.
    pub(super) fn discarded(&self, stream: &str, why: &str, entries: usize, now: Instant) -> usize {
        let mut state = self.lock();
        state.last_error = Some(format!("entries discarded: {why}"));
        if state.discards.len() >= MAX_KINDS {
            state.discards.retain(|_, discards| now.duration_since(discards.said) < REMINDER);
        }
        let full = state.discards.len() >= MAX_KINDS;
        let key = (stream.to_string(), why.to_string());
        match state.discards.get_mut(&key) {
            Some(discards) => {
                discards.unsaid += entries;
                if now.duration_since(discards.said) < REMINDER {
                    return 0;
                }
                discards.said = now;
                std::mem::take(&mut discards.unsaid)
            }
            // So many kinds within a minute: the counters and the pages have to do.
            None if full => 0,
            None => {
                state.discards.insert(key, Discards { said: now, unsaid: 0 });
                entries
            }
        }
    }

    fn report_at(&self, now: Instant) -> ClientReport {
        let state = self.lock();
        let troubles = state.troubles.iter().map(|(tenant, trouble)| {
            let since = GoDuration(Duration::from_secs(now.duration_since(trouble.since).as_secs()));
            let tenant = tenant.as_ref().map_or(String::new(), |tenant| format!("tenant {tenant} "));
            format!("{tenant}failing for {since}: {}", trouble.why)
        });
        let troubles: Vec<String> = troubles.collect();
        ClientReport {
            name: self.name.clone(),
            url: self.url.clone(),
            state: if troubles.is_empty() { "ok".to_string() } else { troubles.join("; ") },
            last_error: state.last_error.clone(),
        }
    }

    // Nothing is called under the lock that could leave it half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn status() -> Status {
        Status::new("c".into(), "http://loki/p".into())
    }

    #[test]
    fn says_the_beginning_a_reminder_and_the_end() {
        let (status, start) = (status(), Instant::now());
        let failed = |at: u32, pace| status.failed(&None, pace, "refused", start + at * SECOND);
        assert_eq!(failed(0, Pace::Backoff), Say::First);
        assert_eq!(failed(30, Pace::Backoff), Say::Nothing);
        assert_eq!(failed(61, Pace::Backoff), Say::Reminder { since: 61 * SECOND, attempts: 3 });
        assert_eq!(failed(62, Pace::Backoff), Say::Nothing);
        // A wrong password behind a restarted Loki is news.
        assert_eq!(failed(63, Pace::Slow), Say::First);
        assert_eq!(failed(64, Pace::Slow), Say::Nothing);
        assert_eq!(status.answered(&None, start + 70 * SECOND), Some((70 * SECOND, 6)));
        assert_eq!(status.answered(&None, start + 71 * SECOND), None);
    }

    #[test]
    fn reports_each_tenant_in_trouble_and_keeps_the_last_error() {
        let (status, start) = (status(), Instant::now());
        assert_eq!(status.report_at(start).state, "ok");
        let tenant = Some(Arc::from("a"));
        status.failed(&tenant, Pace::Backoff, "status 500", start);
        let report = status.report_at(start + 90 * SECOND);
        assert_eq!(report.state, "tenant a failing for 1m30s: status 500");
        status.answered(&tenant, start);
        let report = status.report_at(start);
        assert_eq!((report.state.as_str(), report.last_error.as_deref()), ("ok", Some("status 500")));
    }

    #[test]
    fn discards_are_said_once_a_minute_with_their_number() {
        let (status, start) = (status(), Instant::now());
        let discarded = |stream: &str, at: u32| status.discarded(stream, "too old", 5, start + at * SECOND);
        assert_eq!(
            [discarded("{a}", 0), discarded("{a}", 1), discarded("{b}", 1), discarded("{a}", 60)],
            [5, 0, 5, 10]
        );
    }

    #[test]
    fn the_memory_of_discards_is_bounded() {
        let (status, start) = (status(), Instant::now());
        for n in 0..2 * MAX_KINDS {
            status.discarded(&n.to_string(), "too old", 1, start);
        }
        assert_eq!(status.lock().discards.len(), MAX_KINDS);
        assert_eq!(status.discarded("new", "too old", 1, start + REMINDER), 1);
    }
}
