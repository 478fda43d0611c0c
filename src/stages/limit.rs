//! `limit`: limits the number of lines per second.
//!
//! ```yaml
//! - limit:
//!     rate: 10                     # required; lines per second
//!     burst: 20                    # required; lines at once
//!     drop: false                  # default; true: drop lines over the limit; false: reading waits
//!     max_distinct_labels: 10000   # default and minimum; label values that have a separate limit, at least
//! ```
//!
//! Or a separate limit for each value of a label. This requires `drop: true`:
//!
//! ```yaml
//! - limit:
//!     rate: 10
//!     burst: 20
//!     drop: true
//!     by_label_name: namespace
//! ```
//!
//! The limit applies to the whole job, for each client. With `by_label_name`, lines without the label pass.
//!
//! Dropped lines are counted in `logentry_dropped_lines_total{reason="ratelimit_drop_stage"}`, and by label in
//! `logentry_dropped_lines_by_label_total{label_name, label_value}`.
//!
//! Unlike Promtail: with two clients, a client that waits does not delay the other.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use super::labelling::label;
use super::options::Options;
use super::{Clock, ConfigError, Due, Flow, Recipe, Stage, Work};
use crate::metrics::Dropped;
use crate::model::Reason;

const REASON: &str = "ratelimit_drop_stage";
const DISTINCT: u64 = 10_000;

/// The longest wait before the limit is checked again.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

type Bucket = RateLimiter<NotKeyed, InMemoryState, Clock, NoOpMiddleware<Instant>>;

pub(super) fn compile(options: &mut Options<'_>) -> Result<Recipe, ConfigError> {
    let rate = options.float("rate")?.unwrap_or(0.0);
    let burst = options.number("burst")?.unwrap_or(0);
    let drop = options.boolean("drop")?.unwrap_or(false);
    let by_label: Option<Arc<str>> = options.weak_text("by_label_name")?.filter(|n| !n.is_empty()).map(Arc::from);
    let distinct = options.number("max_distinct_labels")?.unwrap_or(0).max(DISTINCT) as usize;
    if rate <= 0.0 || burst == 0 {
        return Err(options.fail("`rate` and `burst` are required, and greater than 0".into()));
    }
    let quota = quota(rate, burst).ok_or_else(|| {
        options.fail(format!("{burst} lines at {rate} a second take longer to come than can be counted"))
    })?;
    if by_label.is_some() && !drop {
        return Err(options.fail("`by_label_name` needs `drop: true`".into()));
    }
    options.needs_nothing_extracted();
    let reason = Reason::Stage(REASON.into());
    Ok(Box::new(move |around| {
        let (clock, reason) = (around.clock.clone(), reason.clone());
        let bucket = RateLimiter::direct_with_clock(quota, clock.clone());
        match &by_label {
            Some(name) => Box::new(ByLabel {
                name: name.clone(),
                quota,
                clock,
                reason,
                distinct,
                dropped: around.dropped.clone(),
                young: HashMap::new(),
                old: HashMap::new(),
            }),
            None if drop => Box::new(Dropping { bucket, reason }),
            None => {
                let period = quota.replenish_interval();
                Box::new(Waiting { bucket, period, clock, waiting: VecDeque::new(), due: None })
            }
        }
    }))
}

/// At most `burst` lines at once, and `rate` lines per second. None: neither may be 0, and a whole burst may not take
/// longer than 100 years, because the clock of `governor` would overflow.
pub fn quota(rate: f64, burst: u64) -> Option<Quota> {
    let period = Duration::try_from_secs_f64(1.0 / rate).ok()?.max(Duration::from_nanos(1));
    let burst = NonZeroU32::try_from(u32::try_from(burst).unwrap_or(u32::MAX)).ok()?;
    // A century. It cannot overflow within that time.
    period.checked_mul(burst.get()).filter(|all| all.as_secs() < 100 * 365 * 86_400)?;
    Some(Quota::with_period(period)?.allow_burst(burst))
}

impl governor::clock::Clock for Clock {
    type Instant = Instant;

    fn now(&self) -> Instant {
        Clock::now(self)
    }
}

struct Dropping {
    bucket: Bucket,
    reason: Reason,
}

impl Stage for Dropping {
    fn process(&mut self, _: &mut Work<'_>, _: &mut Vec<Work<'static>>) -> Flow {
        match self.bucket.check() {
            Ok(()) => Flow::Pass,
            Err(_) => Flow::Discard(self.reason.clone()),
        }
    }
}

/// Delays lines over the limit, in order. The reader checks [`Stage::busy_until`], so only a chunk or two are held.
struct Waiting {
    bucket: Bucket,
    period: Duration,
    clock: Clock,
    waiting: VecDeque<Work<'static>>,
    /// When the first line may continue.
    due: Option<Instant>,
}

impl Waiting {
    /// Returns whether a line may continue. If not, sets `due`.
    fn admits(&mut self) -> bool {
        self.due = self.bucket.check().err().map(|not_until| {
            let now = self.clock.now();
            now + not_until.wait_time_from(now)
        });
        self.due.is_none()
    }
}

impl Stage for Waiting {
    fn process(&mut self, work: &mut Work<'_>, _: &mut Vec<Work<'static>>) -> Flow {
        if self.waiting.is_empty() && self.admits() {
            return Flow::Pass;
        }
        let (work, kept) = work.keep();
        self.waiting.push_back(work);
        Flow::Held(kept)
    }

    fn release(&mut self, due: Due, released: &mut Vec<Work<'static>>) {
        match due {
            Due::At(now) if self.due.is_none_or(|due| due > now) => {}
            Due::At(_) => {
                while !self.waiting.is_empty() && self.admits() {
                    released.extend(self.waiting.pop_front());
                }
                if self.waiting.is_empty() {
                    self.due = None;
                }
            }
            // The last lines of a log are released at once rather than lost.
            Due::Unread(..) | Due::Quiet(_) => {}
            Due::Log(log) => {
                let (gone, stay) = self.waiting.drain(..).partition(|work| work.entry.origin.log == log);
                self.waiting = stay;
                released.extend::<VecDeque<_>>(gone);
                if self.waiting.is_empty() {
                    self.due = None;
                }
            }
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.due
    }

    /// The time when all held lines have continued.
    fn busy_until(&self) -> Option<Instant> {
        let others = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX).saturating_sub(1);
        Some(self.due? + self.period.saturating_mul(others).min(LONGEST_WAIT))
    }
}

/// A limit for each value of a label, in two generations. A value that was unused for a whole generation is forgotten.
struct ByLabel {
    name: Arc<str>,
    quota: Quota,
    clock: Clock,
    reason: Reason,
    distinct: usize,
    dropped: Dropped,
    young: HashMap<Box<str>, Bucket>,
    old: HashMap<Box<str>, Bucket>,
}

impl ByLabel {
    fn admits(&mut self, value: &str) -> bool {
        if let Some(bucket) = self.young.get(value) {
            return bucket.check().is_ok();
        }
        let (key, bucket) = self
            .old
            .remove_entry(value)
            .unwrap_or_else(|| (value.into(), RateLimiter::direct_with_clock(self.quota, self.clock.clone())));
        let admits = bucket.check().is_ok();
        if self.young.len() >= self.distinct {
            for value in std::mem::replace(&mut self.old, std::mem::take(&mut self.young)).into_keys() {
                self.dropped.forget_label(&self.name, &value);
            }
        }
        self.young.insert(key, bucket);
        admits
    }
}

impl Stage for ByLabel {
    fn process(&mut self, work: &mut Work<'_>, _: &mut Vec<Work<'static>>) -> Flow {
        let name = self.name.clone();
        let Some(value) = label(&work.entry, &name) else {
            return Flow::Pass;
        };
        if self.admits(value) {
            return Flow::Pass;
        }
        self.dropped.count_by_label(&name, value);
        Flow::Discard(self.reason.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Due;
    use super::super::testing::{Bench, refused};
    use super::DISTINCT;

    fn passed(bench: &mut Bench, lines: usize) -> usize {
        (0..lines).filter(|_| !bench.outcome("l").is_empty()).count()
    }

    #[test]
    fn what_is_more_is_dropped() {
        let mut bench = Bench::of("limit: {rate: '0.5', burst: 3, drop: true}");
        assert_eq!(passed(&mut bench, 5), 3);
        bench.clock.advance(Duration::from_secs(4));
        assert_eq!(passed(&mut bench, 5), 2);
        bench.clock.advance(Duration::from_secs(100));
        assert_eq!(passed(&mut bench, 5), 3);
        assert_eq!(bench.dropped_as("ratelimit_drop_stage"), 7);
    }

    #[test]
    fn or_waits_in_order() {
        let mut bench = Bench::of("limit: {rate: 2, burst: 1}");
        assert_eq!(bench.pipeline().busy_until(), None);
        let outcomes: Vec<String> = ["a", "b", "c"].iter().map(|l| bench.outcome(l)).collect();
        assert_eq!(outcomes, ["{app=\"x\"} a", "", ""]);
        let half = Duration::from_millis(500);
        assert_eq!(bench.pipeline().next_due(), Some(bench.clock.now() + half));
        assert_eq!(bench.pipeline().busy_until(), Some(bench.clock.now() + 2 * half));
        assert_eq!(bench.due(), "");
        bench.clock.advance(half);
        assert_eq!(bench.due(), "{app=\"x\"} b");
        // Later lines do not overtake the line that waits.
        bench.clock.advance(half);
        assert_eq!(bench.outcome("d"), "");
        assert_eq!(bench.due(), "{app=\"x\"} c");
        bench.clock.advance(half);
        assert_eq!(bench.due(), "{app=\"x\"} d");
        assert_eq!(bench.pipeline().busy_until(), None);
        assert_eq!((bench.outcome("e"), bench.outcome("f")), (String::new(), String::new()));
        assert_eq!(bench.release(Due::Log(2)), "");
        assert_eq!(bench.release(Due::Log(1)), "{app=\"x\"} e / {app=\"x\"} f");
        assert_eq!(bench.pipeline().busy_until(), None);
        bench.end(&mut |_| {});
    }

    #[test]
    fn each_label_has_a_rate_of_its_own() {
        let yaml =
            "[logfmt: {mapping: {k: }}, labels: {k: }, limit: {rate: 0.001, burst: 2, drop: true, by_label_name: k}]";
        let mut bench = Bench::of(yaml);
        let lines = ["k=a", "k=b", "k=a", "k=a", "none", "k=b", "none", "none", "k=b", "k=a"];
        let passed: Vec<&str> = lines.into_iter().filter(|line| !bench.outcome(line).is_empty()).collect();
        assert_eq!(passed, ["k=a", "k=b", "k=a", "none", "k=b", "none", "none"]);
        let by_label = "logentry_dropped_lines_by_label_total";
        assert_eq!((bench.count(by_label, &["k", "a"]), bench.count(by_label, &["k", "b"])), (2, 1));
        assert_eq!(bench.dropped_as("ratelimit_drop_stage"), 3);
    }

    #[test]
    fn labels_that_nobody_uses_are_forgotten() {
        let yaml = "[logfmt: {mapping: {k: }}, labels: {k: }, limit: {rate: 0.001, burst: 1, drop: true, by_label_name: k, max_distinct_labels: 5}]";
        let mut bench = Bench::of(yaml);
        let by_label = "logentry_dropped_lines_by_label_total";
        assert_ne!(bench.outcome("k=first"), "");
        assert_eq!(bench.outcome("k=first"), "");
        for i in 0..DISTINCT {
            bench.outcome(&format!("k={i}"));
        }
        // A value that is used again moves to the newer generation.
        assert_eq!(bench.outcome("k=first"), "");
        assert_eq!(bench.count(by_label, &["k", "first"]), 2);
        for i in 0..2 * DISTINCT {
            bench.outcome(&format!("k=x{i}"));
        }
        assert_eq!(bench.count(by_label, &["k", "first"]), 0);
        assert_ne!(bench.outcome("k=first"), "");
    }

    #[test]
    fn limits_that_are_none() {
        let required = "`rate` and `burst` are required";
        refused(&[
            ("limit: {rate: 10}", "[0].limit", required),
            ("limit: {burst: 10}", "[0].limit", required),
            ("limit: {rate: -1, burst: 10}", "[0].limit", required),
            ("limit: {rate: 10, burst: 10, by_label_name: app}", "[0].limit", "`by_label_name` needs `drop: true`"),
            ("limit: {rate: 10, burst: -5}", "[0].limit.burst", "expected a whole number"),
            ("limit: {rate: 1e-300, burst: 5}", "[0].limit", "longer to come than can be counted"),
            ("limit: {rate: 0.001, burst: 4000000000}", "[0].limit", "longer to come than can be counted"),
        ]);
        Bench::of("limit: {rate: 1e300, burst: 99999999999}").end(&mut |_| {});
    }
}
