//! The state of a client, for the pages, and for log messages about changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::backoff::Pace;
use crate::batch::StreamKey;
use crate::model::ClientReport;
use crate::model::units::GoDuration;

/// Identifies a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// A lane of the batcher.
    Lane(u64),
    /// The lane of a stream that is set apart.
    Apart(StreamKey),
}

/// The time between reminders. A failure that comes back within this time counts as the same one.
const REMINDER: Duration = Duration::from_secs(60);

/// The maximum number of remembered kinds of discards. Each is logged once a minute.
const MAX_KINDS: usize = 256;

type Tenant = Option<Arc<str>>;

/// The state of one client, shared by its lanes and the pages.
#[derive(Debug)]
pub struct Status {
    name: String,
    url: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The tenants with a failing lane, now or a moment ago.
    troubles: BTreeMap<Tenant, Trouble>,
    /// The streams that are refused while others are accepted, with tenant and reason.
    apart: HashMap<StreamKey, (Tenant, String)>,
    refusals: BTreeMap<Tenant, Refusal>,
    last_error: Option<(String, Instant)>,
    /// When a push was accepted last.
    last_push: Option<Instant>,
    discards: BTreeMap<(String, String), Discards>,
}

#[derive(Debug)]
struct Trouble {
    since: Instant,
    attempts: u64,
    why: String,
    /// When it was last logged.
    said: Instant,
    /// Whether the log has said that a person must act.
    asked: bool,
    /// Whether the start was logged, so that the end must be logged.
    is_told: bool,
    /// The failing lanes. Empty: the failure is over.
    lanes: BTreeSet<Place>,
}

/// Refused streams of a tenant.
#[derive(Debug)]
struct Refusal {
    since: Instant,
    said: Instant,
    streams: usize,
}

#[derive(Debug)]
struct Discards {
    said: Instant,
    unsaid: usize,
}

/// The kind of log message about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Say {
    Nothing,
    /// The failure starts, or a person must act now.
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

    /// Called when a push of a lane failed.
    pub(super) fn failed(&self, tenant: &Tenant, place: Place, pace: Pace, why: &str, now: Instant) -> Say {
        let mut state = self.lock();
        state.last_error = Some((why.to_string(), now));
        let needs_person = pace == Pace::Slow;
        let quiet = |trouble: &Trouble| now.duration_since(trouble.said) >= REMINDER;
        // A past failure is forgotten when it would be logged again.
        state.troubles.retain(|_, trouble| !trouble.lanes.is_empty() || !quiet(trouble));
        let Some(trouble) = state.troubles.get_mut(tenant) else {
            let (why, asked, lanes) = (why.to_string(), needs_person, BTreeSet::from([place]));
            let trouble = Trouble { since: now, attempts: 1, why, said: now, asked, is_told: true, lanes };
            state.troubles.insert(tenant.clone(), trouble);
            return Say::First;
        };
        trouble.attempts += 1;
        trouble.why = why.to_string();
        trouble.lanes.insert(place);
        let say = match (needs_person && !trouble.asked, quiet(trouble)) {
            (true, _) => Say::First,
            (_, true) => Say::Reminder { since: now.duration_since(trouble.since), attempts: trouble.attempts },
            _ => return Say::Nothing,
        };
        trouble.asked |= needs_person;
        (trouble.said, trouble.is_told) = (now, true);
        say
    }

    /// Called when a push succeeded. Returns the duration of the failure and its number of attempts, if this was the
    /// last failing lane of the tenant. A failure that comes back within a minute counts as the same one, and is not
    /// logged before.
    pub(super) fn answered(&self, tenant: &Tenant, place: Place, now: Instant) -> Option<(Duration, u64)> {
        let mut state = self.lock();
        state.last_push = Some(now);
        if state.troubles.is_empty() {
            return None;
        }
        let trouble = state.troubles.get_mut(tenant)?;
        if !trouble.lanes.remove(&place) || !trouble.lanes.is_empty() || !trouble.is_told {
            return None;
        }
        (trouble.said, trouble.is_told, trouble.asked) = (now, false, false);
        Some((now.duration_since(trouble.since), trouble.attempts))
    }

    /// Called when a stream is refused while others are accepted. Returns the number of such streams of the tenant if
    /// it must be logged now, otherwise 0.
    pub(super) fn set_apart(&self, key: StreamKey, tenant: &Tenant, why: &str, now: Instant) -> usize {
        let mut state = self.lock();
        let text = format!("stream refused: {why}");
        state.last_error = Some((text, now));
        let is_new = state.apart.insert(key, (tenant.clone(), why.to_string())).is_none();
        let refusal = state.refusals.entry(tenant.clone());
        let refusal = refusal.or_insert(Refusal { since: now, said: now, streams: 0 });
        refusal.streams += usize::from(is_new);
        let is_first = refusal.streams == 1 && is_new && refusal.said == now;
        if !is_first && now.duration_since(refusal.said) < REMINDER {
            return 0;
        }
        refusal.said = now;
        refusal.streams
    }

    /// Called when a stream that is set apart was refused again. Returns the number of such streams of the tenant if it
    /// must be logged again, otherwise 0.
    pub(super) fn still_refused(&self, key: StreamKey, why: &str, now: Instant) -> usize {
        let mut state = self.lock();
        let State { apart, refusals, .. } = &mut *state;
        let Some((tenant, known)) = apart.get_mut(&key) else {
            return 0;
        };
        if known != why {
            *known = why.to_string();
        }
        match refusals.get_mut(tenant) {
            Some(refusal) if now.duration_since(refusal.said) >= REMINDER => {
                refusal.said = now;
                refusal.streams
            }
            _ => 0,
        }
    }

    /// Called when a stream is no longer set apart. If it was the last one, returns the tenant and the duration.
    pub(super) fn taken(&self, key: StreamKey, now: Instant) -> Option<(Tenant, Duration)> {
        let mut state = self.lock();
        let (tenant, _) = state.apart.remove(&key)?;
        let refusal = state.refusals.get_mut(&tenant)?;
        refusal.streams -= 1;
        if refusal.streams > 0 {
            return None;
        }
        let lasted = now.duration_since(refusal.since);
        state.refusals.remove(&tenant);
        Some((tenant, lasted))
    }

    pub(super) fn refused_streams(&self) -> usize {
        self.lock().apart.len()
    }

    /// The number of discarded entries of this stream to log now. 0: it was logged less than a minute ago.
    pub(super) fn discarded(&self, stream: &str, why: &str, entries: usize, now: Instant) -> usize {
        let mut state = self.lock();
        state.last_error = Some((format!("entries discarded: {why}"), now));
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
            // There are too many kinds within a minute. The counters and the pages still have them.
            None if full => 0,
            None => {
                state.discards.insert(key, Discards { said: now, unsaid: 0 });
                entries
            }
        }
    }

    fn report_at(&self, now: Instant) -> ClientReport {
        let state = self.lock();
        let of = |tenant: &Tenant| tenant.as_ref().map_or(String::new(), |tenant| format!("tenant {tenant} "));
        let since = |at: Instant| GoDuration(Duration::from_secs(now.duration_since(at).as_secs()));
        let ago = |at: Instant| now.saturating_duration_since(at).as_secs();
        let failing = state.troubles.iter().filter(|(_, trouble)| !trouble.lanes.is_empty());
        let failing_seconds = failing.clone().map(|(_, trouble)| ago(trouble.since)).max();
        let failing =
            failing.map(|(t, trouble)| format!("{}failing for {}: {}", of(t), since(trouble.since), trouble.why));
        let refused = state.refusals.iter().map(|(tenant, refusal)| {
            let (streams, why) = (refusal.streams, state.why_refused(tenant));
            let streams = if streams == 1 { "1 stream".to_string() } else { format!("{streams} streams") };
            format!("{}{streams} refused for {}: {why}", of(tenant), since(refusal.since))
        });
        let all: Vec<String> = failing.chain(refused).collect();
        ClientReport {
            name: self.name.clone(),
            url: self.url.clone(),
            state: if all.is_empty() { "ok".to_string() } else { all.join("; ") },
            last_error: state.last_error.as_ref().map(|(error, _)| error.clone()),
            last_error_seconds_ago: state.last_error.as_ref().map(|(_, at)| ago(*at)),
            failing_seconds,
            last_push_seconds_ago: state.last_push.map(ago),
        }
    }

    // No call under this lock can leave the data inconsistent.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The different reasons for which streams of this tenant are refused.
    fn why_refused(&self, tenant: &Tenant) -> String {
        let whys = self.apart.values().filter(|(of, _)| of == tenant).map(|(_, why)| why.as_str());
        whys.collect::<BTreeSet<_>>().into_iter().take(3).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LANE: Place = Place::Lane(1);

    fn status() -> Status {
        Status::new("c".into(), "http://loki/p".into())
    }

    #[test]
    fn says_the_beginning_a_reminder_and_the_end() {
        let (status, start) = (status(), Instant::now());
        let failed = |at: u32, pace| status.failed(&None, LANE, pace, "refused", start + at * SECOND);
        assert_eq!(failed(0, Pace::Backoff), Say::First);
        assert_eq!(failed(30, Pace::Backoff), Say::Nothing);
        assert_eq!(failed(61, Pace::Backoff), Say::Reminder { since: 61 * SECOND, attempts: 3 });
        assert_eq!(failed(62, Pace::Backoff), Say::Nothing);
        // A wrong password after Loki's restart is a new message.
        assert_eq!(failed(63, Pace::Slow), Say::First);
        assert_eq!(failed(64, Pace::Slow), Say::Nothing);
        assert_eq!(status.answered(&None, LANE, start + 70 * SECOND), Some((70 * SECOND, 6)));
        assert_eq!(status.answered(&None, LANE, start + 71 * SECOND), None);
    }

    #[test]
    fn trouble_that_comes_and_goes_is_said_once_a_minute() {
        let (status, start) = (status(), Instant::now());
        let failed = |at: u32| status.failed(&None, LANE, Pace::Backoff, "refused", start + at * SECOND);
        let answered = |at: u32| status.answered(&None, LANE, start + at * SECOND).is_some();
        assert_eq!((failed(0), answered(1)), (Say::First, true));
        for at in (2..60).step_by(2) {
            assert_eq!((failed(at), answered(at + 1)), (Say::Nothing, false), "{at}");
            assert_eq!(status.report_at(start + at * SECOND).state, "ok");
        }
        assert_eq!(failed(61), Say::First);
        assert!(answered(62));
        // After a minute without failures, it is another failure.
        assert_eq!((failed(130), answered(131)), (Say::First, true));
    }

    #[test]
    fn another_lane_that_gets_through_ends_nothing() {
        let (status, start) = (status(), Instant::now());
        let other = Place::Lane(2);
        assert_eq!(status.failed(&None, LANE, Pace::Backoff, "refused", start), Say::First);
        assert_eq!(status.failed(&None, other, Pace::Backoff, "refused", start), Say::Nothing);
        for n in 1..10 {
            assert_eq!(status.answered(&None, other, start + n * SECOND), None);
            assert_eq!(status.report_at(start + n * SECOND).state, format!("failing for {n}s: refused"));
        }
        assert_eq!(status.answered(&None, LANE, start + 10 * SECOND), Some((10 * SECOND, 2)));
    }

    #[test]
    fn reports_each_tenant_in_trouble_and_keeps_the_last_error() {
        let (status, start) = (status(), Instant::now());
        assert_eq!(status.report_at(start).state, "ok");
        let tenant = Some(Arc::from("a"));
        status.failed(&tenant, LANE, Pace::Backoff, "status 500", start);
        let report = status.report_at(start + 90 * SECOND);
        assert_eq!(report.state, "tenant a failing for 1m30s: status 500");
        status.answered(&tenant, LANE, start);
        let report = status.report_at(start);
        assert_eq!((report.state.as_str(), report.last_error.as_deref()), ("ok", Some("status 500")));
    }

    #[test]
    fn reports_when_it_was_accepted_last_and_for_how_long_it_fails() {
        let (status, start) = (status(), Instant::now());
        let times = |at: u32| {
            let report = status.report_at(start + at * SECOND);
            (report.last_push_seconds_ago, report.failing_seconds, report.last_error_seconds_ago)
        };
        assert_eq!(times(9), (None, None, None));
        status.answered(&None, LANE, start);
        status.failed(&None, LANE, Pace::Backoff, "status 500", start + 2 * SECOND);
        status.failed(&None, LANE, Pace::Backoff, "status 503", start + 5 * SECOND);
        assert_eq!(times(9), (Some(9), Some(7), Some(4)));
        status.answered(&None, LANE, start + 10 * SECOND);
        assert_eq!(times(12), (Some(2), None, Some(7)));
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
