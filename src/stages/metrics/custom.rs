//! The users' metrics from `metrics` stages: one collector for all of them. It cannot describe them in advance, because
//! their labels depend on lines. It only describes the counter of skipped values.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{IntCounter, IntCounterVec, Opts};

use super::super::Clock;
use crate::metrics::{ContainerLines, Registry};
use crate::model::{LabelMap, LabelSet, is_valid_label_name};

/// Why a value was not counted.
const NEGATIVE: &str = "negative";
const TOO_MANY: &str = "too_many_series";
const SKIPPED: [&str; 2] = [NEGATIVE, TOO_MANY];

/// Clones share the same metrics.
#[derive(Clone, Debug)]
pub struct CustomMetrics {
    families: Arc<Mutex<Families>>,
    /// Bytes that the series of all families take.
    taken: Arc<AtomicUsize>,
    skipped: IntCounterVec,
    /// Not the users', but counted by the same pipelines.
    pub(in super::super) containers: ContainerLines,
    /// Lines whose time the stage `timestamp` could not parse.
    pub(in super::super) unparsed_times: IntCounter,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Families {
    by_name: BTreeMap<String, Arc<Family>>,
    /// The metrics of the last run, while the pipelines of the next one are built.
    before: BTreeMap<String, Arc<Family>>,
}

/// The definition of a metric.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    /// With its prefix.
    pub name: String,
    pub help: String,
    pub kind: Kind,
    pub idle: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    /// The upper bounds in ascending order, without the infinite one.
    Histogram(Vec<f64>),
}

/// The change that a line makes to a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Set,
    Increment,
    Decrement,
    Add,
    Subtract,
    Observe,
}

/// All series with one name.
#[derive(Debug)]
pub(super) struct Family {
    spec: Spec,
    skipped: IntCounterVec,
    /// Bytes that the series of all families take.
    taken: Arc<AtomicUsize>,
    /// False: another family has its name.
    is_shown: bool,
    series: Mutex<AllSeries>,
}

#[derive(Debug, Default)]
struct AllSeries {
    by_labels: LabelMap<Series>,
    /// Bytes that they take.
    bytes: usize,
    /// When idle series were last searched for because there were too many.
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Series {
    touched: Instant,
    /// The value, or the sum of a histogram.
    number: f64,
    /// Values per bucket, not cumulative. The last is for values above all bounds.
    counts: Box<[u64]>,
}

impl CustomMetrics {
    pub fn register(registry: &Registry) -> Self {
        Self::with_clock(registry, Clock::default())
    }

    pub(in super::super) fn with_clock(registry: &Registry, clock: Clock) -> Self {
        let opts = Opts::new(
            "fantail_stage_metric_skipped_total",
            "Values that a metrics stage could not count, by metric and reason",
        );
        let skipped = IntCounterVec::new(opts, &["metric", "reason"]);
        let containers = ContainerLines::register(registry);
        let unparsed_times = registry.counter(
            "fantail_timestamp_parse_errors_total",
            "Lines for which a timestamp stage found no time that it could parse",
        );
        let (families, taken) = Default::default();
        let made = |skipped| Self { families, taken, skipped, containers, unparsed_times, clock };
        registry.family(skipped.map(made))
    }

    /// Starts to build the pipelines of the next run, after those of the last run have ended. A metric keeps its series
    /// if the next run has one with the same name, type and buckets.
    pub fn begin_run(&self) {
        let mut families = lock(&self.families);
        families.before = std::mem::take(&mut families.by_name);
    }

    /// All pipelines of the run are built: removes metrics that none of them has.
    pub fn forget_unused(&self) {
        let mut families = lock(&self.families);
        for name in std::mem::take(&mut families.before).into_keys() {
            if !families.by_name.contains_key(&name) {
                for reason in SKIPPED {
                    // The counter does not exist if nothing was skipped.
                    let _ = self.skipped.remove_label_values(&[name.as_str(), reason]);
                }
            }
        }
    }

    /// The family with this name. If two stages define it differently, the first definition is used and the other is
    /// not shown.
    pub(super) fn family(&self, spec: &Spec) -> Arc<Family> {
        let with = |series, is_shown| {
            let (spec, skipped, taken) = (spec.clone(), self.skipped.clone(), self.taken.clone());
            Arc::new(Family { spec, skipped, taken, is_shown, series: Mutex::new(series) })
        };
        let new = || with(AllSeries::default(), true);
        let mut families = lock(&self.families);
        if let Some(before) = families.before.remove(&spec.name) {
            let goes_on = before.spec.kind == spec.kind;
            let family = if goes_on { with(std::mem::take(&mut *lock(&before.series)), true) } else { new() };
            families.by_name.insert(spec.name.clone(), family.clone());
            return family;
        }
        let family = families.by_name.entry(spec.name.clone()).or_insert_with(new).clone();
        if family.spec.kind == spec.kind {
            return family;
        }
        tracing::error!(
            metric = spec.name,
            "two metrics stages have this name for different types or buckets: the second is not shown, rename it"
        );
        with(AllSeries::default(), false)
    }
}

impl Collector for CustomMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.skipped.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let now = self.clock.now();
        let mut families = self.skipped.collect();
        families.extend(lock(&self.families).by_name.values().map(|family| family.collect(now)));
        families
    }
}

impl Family {
    /// The most samples of one name that `/metrics` shows, so that a label with a new value per line does not use up
    /// all memory. A histogram has one sample per bucket plus three.
    const MAX_SAMPLES: usize = 50_000;
    /// The most bytes of memory for the series of all names and an answer of `/metrics` with them, by the estimate of
    /// [`cost`](Self::cost).
    const MAX_BYTES: usize = 48 << 20;
    /// The most bytes for the series of one name, so that one with long labels leaves room for others.
    const MAX_BYTES_OF_ONE: usize = 36 << 20;
    /// Approximate bytes of a series, a label and a sample, besides their texts.
    const SERIES: usize = 300;
    const LABEL: usize = 128;
    const SAMPLE: usize = 64;
    /// The shortest time between searches for idle series, which are slow.
    const SWEEP: Duration = Duration::from_secs(1);

    pub fn record(&self, labels: &LabelSet, action: Action, amount: f64, now: Instant) {
        if !self.is_shown {
            return;
        }
        // A counter must not decrease. It may become infinite or NaN, as in Promtail.
        if self.spec.kind == Kind::Counter && amount < 0.0 {
            return self.skip(NEGATIVE);
        }
        let labels = self.shown(labels);
        let mut all = lock(&self.series);
        if !all.by_labels.contains_key(&*labels) {
            let cost = self.cost(&labels);
            let is_swept = all.swept.is_some_and(|at| now.saturating_duration_since(at) < Self::SWEEP);
            if !self.has_room(&all, cost) && !is_swept {
                all.swept = Some(now);
                self.sweep(&mut all, now);
            }
            if !self.has_room(&all, cost) {
                return self.skip(TOO_MANY);
            }
            self.taken.fetch_add(cost, Ordering::Relaxed);
            all.bytes += cost;
            let counts = match &self.spec.kind {
                Kind::Histogram(bounds) => vec![0; bounds.len() + 1].into(),
                Kind::Counter | Kind::Gauge => Box::default(),
            };
            all.by_labels.insert(labels.clone().into_owned(), Series { touched: now, number: 0.0, counts });
        }
        let series = all.by_labels.get_mut(&*labels).expect("it was just put there");
        series.touched = now;
        match action {
            Action::Set => series.number = amount,
            Action::Increment | Action::Add => series.number += amount,
            Action::Decrement | Action::Subtract => series.number -= amount,
            Action::Observe => {
                series.number += amount;
                if let Kind::Histogram(bounds) = &self.spec.kind {
                    // NaN counts as above all bounds.
                    series.counts[bounds.partition_point(|bound| *bound < amount || amount.is_nan())] += 1;
                }
            }
        }
    }

    fn samples(&self) -> usize {
        match &self.spec.kind {
            Kind::Counter | Kind::Gauge => 1,
            Kind::Histogram(bounds) => bounds.len() + 3,
        }
    }

    /// Bytes that a series takes: here, copied for an answer, and as text, in which each of its samples has all labels.
    fn cost(&self, labels: &LabelSet) -> usize {
        let kept = Self::SERIES + 2 * labels.bytes() + Self::LABEL * labels.len();
        kept + self.samples() * (Self::SAMPLE + self.spec.name.len() + labels.bytes())
    }

    /// Whether there may be one more series. Families that grow at the same moment may exceed the limit by one series each.
    fn has_room(&self, all: &AllSeries, cost: usize) -> bool {
        all.by_labels.len() < Self::MAX_SAMPLES / self.samples()
            && all.bytes + cost <= Self::MAX_BYTES_OF_ONE
            && self.taken.load(Ordering::Relaxed) + cost <= Self::MAX_BYTES
    }

    /// Removes idle series.
    fn sweep(&self, all: &mut AllSeries, now: Instant) {
        let mut freed = 0;
        all.by_labels.retain(|labels, series| {
            let stays = !self.is_idle(series, now);
            freed += if stays { 0 } else { self.cost(labels) };
            stays
        });
        all.bytes -= freed;
        self.taken.fetch_sub(freed, Ordering::Relaxed);
    }

    fn skip(&self, reason: &str) {
        self.skipped.with_label_values(&[self.spec.name.as_str(), reason]).inc();
    }

    fn is_idle(&self, series: &Series, now: Instant) -> bool {
        now.saturating_duration_since(series.touched) > self.spec.idle
    }

    /// The labels shown with a series. `le` is reserved for histograms.
    fn shown<'l>(&self, labels: &'l LabelSet) -> Cow<'l, LabelSet> {
        let histogram = matches!(self.spec.kind, Kind::Histogram(_));
        let fits = |name: &str| !name.starts_with("__") && is_valid_label_name(name) && !(histogram && name == "le");
        match labels.iter().all(|(name, _)| fits(name)) {
            true => Cow::Borrowed(labels),
            false => Cow::Owned(LabelSet::new(labels.iter().filter(|(name, _)| fits(name)))),
        }
    }

    fn collect(&self, now: Instant) -> MetricFamily {
        let mut all = lock(&self.series);
        self.sweep(&mut all, now);
        let mut family = MetricFamily::default();
        family.set_name(self.spec.name.clone());
        family.set_help(self.spec.help.clone());
        family.set_field_type(match self.spec.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram(_) => MetricType::HISTOGRAM,
        });
        family.set_metric(all.by_labels.iter().map(|(labels, series)| self.metric(labels, series)).collect());
        family
    }

    fn metric(&self, labels: &LabelSet, series: &Series) -> Metric {
        let pair = |(name, value): (&str, &str)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.into());
            pair.set_value(value.into());
            pair
        };
        let mut metric = Metric::from_label(labels.iter().map(pair).collect());
        match &self.spec.kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(series.number);
                metric.set_counter(counter);
            }
            Kind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(series.number);
                metric.set_gauge(gauge);
            }
            Kind::Histogram(bounds) => metric.set_histogram(histogram(bounds, series)),
        }
        metric
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        self.taken.fetch_sub(lock(&self.series).bytes, Ordering::Relaxed);
    }
}

fn histogram(bounds: &[f64], series: &Series) -> Histogram {
    let mut histogram = Histogram::default();
    let mut count = 0;
    let bucket = |(bound, more): (&f64, &u64)| {
        count += more;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(count);
        bucket
    };
    histogram.set_bucket(bounds.iter().zip(&*series.counts).map(bucket).collect());
    histogram.set_sample_count(series.counts.iter().sum());
    histogram.set_sample_sum(series.number);
    histogram
}

/// A panic elsewhere leaves no value half written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
