//! Windows, refused entries and forgotten streams.

mod apart;
mod lanes;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Batch, Batcher, Bound, Config, Limits, Outcome, StreamId};
use crate::model::{AckRef, Clock, Entry, LabelSet, Labels, Ledger, Mark, Origin, Reason, Weight};

const WINDOW: usize = 64 << 10;
const NOW: i64 = 1_800_000_000_000_000_000;
const MINUTE: i64 = 60_000_000_000;

struct Bench {
    batcher: Batcher,
    ledger: Arc<Ledger>,
    clock: Clock,
    /// The timestamp of the next line of each stream.
    time: i64,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            batchsize: 1 << 20,
            batchwait: Duration::from_secs(1),
            tenant_id: None,
            external_labels: Labels::new(),
            limits: Limits::default(),
            replay_window: WINDOW,
            buffer: 16 << 20,
        };
        change(&mut config);
        let clock = Clock::standing(NOW);
        Self { batcher: Batcher::new(config, clock.clone()), ledger: Ledger::new(), clock, time: NOW }
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn entry<'c>(&self, tenant: Option<&str>, labels: &LabelSet, log: u64, line: &'c str) -> Entry<'c> {
        Entry {
            timestamp: self.time,
            line: line.into(),
            labels: labels.clone(),
            metadata: Vec::new(),
            tenant: tenant.map(Arc::from),
            origin: Origin { log, ..Origin::default() },
            weight: Weight::line(line.len() + 1),
            ack: AckRef::Own(self.ledger.open(line.len() as u64, Mark::default())),
        }
    }

    fn try_add(&mut self, stream: &str, log: u64, bytes: usize) -> Outcome {
        let labels = LabelSet::new([("app", stream)]);
        let line = "x".repeat(bytes);
        let entry = self.entry(None, &labels, log, &line);
        self.add_entry(entry)
    }

    fn add_entry(&mut self, mut entry: Entry<'_>) -> Outcome {
        let outcome = self.batcher.add(&mut entry, self.clock.now());
        match &outcome {
            Outcome::Refused(reason) => entry.discard(reason),
            _ => entry.close(),
        }
        outcome
    }

    /// Adds a line of this many bytes.
    fn add(&mut self, stream: &str, log: u64, bytes: usize) -> StreamId {
        match self.try_add(stream, log, bytes) {
            Outcome::Batched(id) => id,
            other => panic!("not batched: {other:?}"),
        }
    }

    /// Hands out all batches, due or not.
    fn send(&mut self) -> Vec<Batch> {
        let now = self.now();
        std::iter::from_fn(|| self.batcher.next(now, true)).collect()
    }

    /// Adds these bytes over one second. Loki answers each batch. Returns the streams of each batch.
    fn stream_a_second(&mut self, streams: &[(&str, u64, usize)]) -> Vec<Vec<String>> {
        let mut seen = Vec::new();
        for _ in 0..10 {
            self.clock.advance(Duration::from_millis(100));
            self.time += MINUTE / 600;
            for (stream, log, bytes) in streams {
                let id = self.add(stream, *log, bytes / 10);
                let now = self.now();
                self.batcher.room(id, now);
            }
            for batch in self.send() {
                seen.push(batch.stream_labels().map(str::to_string).collect());
                batch.close();
            }
        }
        seen
    }
}

fn halves(batch: Batch) -> (Batch, Batch) {
    let (first, second) = batch.split();
    (first, second.expect("more than one entry"))
}

fn labels(streams: &[&str]) -> Vec<String> {
    streams.iter().map(|s| format!("{{app=\"{s}\"}}")).collect()
}

#[test]
fn room_is_what_is_not_under_way_whoever_fills_it() {
    let mut bench = Bench::new();
    let id = bench.add("a", 1, 10_000);
    bench.add("a", 2, 10_000);
    let now = bench.now();
    assert_eq!(bench.batcher.room(id, now), Some(WINDOW - 20_002));
    let mut sent = bench.send();
    assert_eq!(bench.batcher.room(id, now), Some(WINDOW - 20_002));
    // Halves give back their own bytes, however they end.
    let (first, second) = halves(sent.remove(0));
    first.close();
    assert_eq!(bench.batcher.room(id, now), Some(WINDOW - 10_001));
    drop(second);
    assert_eq!(bench.batcher.room(id, now), Some(WINDOW));
}

#[test]
fn a_window_grows_with_the_round_trip_and_only_for_who_needs_it() {
    let mut bench = Bench::new();
    let (fast, slow) = (bench.add("fast", 1, 100), bench.add("slow", 2, 100));
    for batch in bench.send() {
        batch.answered_within(Duration::from_millis(100));
        batch.close();
    }
    bench.batcher.fit_window(fast, 3e6);
    bench.batcher.fit_window(slow, 50e3);
    assert_eq!((bench.batcher.window(fast), bench.batcher.window(slow)), (Some(900_000), Some(WINDOW)));
    // The stream has caught up and little is written now.
    bench.batcher.fit_window(fast, 10e3);
    assert_eq!(bench.batcher.window(fast), Some(WINDOW));
    bench.batcher.fit_window(fast, 1e9);
    assert_eq!(bench.batcher.window(fast), Some(1 << 20));
}

#[test]
fn an_outage_is_no_round_trip() {
    let mut bench = Bench::new();
    let id = bench.add("a", 1, 100);
    for batch in bench.send() {
        batch.answered_within(Duration::from_secs(600));
        batch.close();
    }
    bench.batcher.fit_window(id, 10_000.0);
    assert_eq!(bench.batcher.window(id), Some(WINDOW));
}

#[test]
fn all_batches_together_hold_what_they_may_and_no_more_windows_grow_then() {
    let mut bench = Bench::with(|config| config.buffer = 1 << 20);
    let id = bench.add("a", 1, 100);
    for batch in bench.send() {
        batch.answered_within(Duration::from_millis(100));
        batch.close();
    }
    for n in 0..20 {
        assert!(!bench.batcher.has_no_room(), "{n}");
        bench.add(&format!("s{n}"), n, 54_000);
    }
    assert!(bench.batcher.has_no_room());
    assert!(bench.batcher.is_full(id));
    bench.batcher.fit_window(id, 3e6);
    assert_eq!(bench.batcher.window(id), Some(WINDOW));
    bench.send().into_iter().for_each(Batch::close);
    assert!(!bench.batcher.has_no_room());
}

#[test]
fn what_loki_can_never_take_does_not_leave() {
    let mut bench = Bench::new();
    for (labels, reason) in
        [(LabelSet::new([("a-b", "c")]), "invalid_labels"), (LabelSet::new([("", "c")]), "invalid_labels")]
    {
        let entry = bench.entry(None, &labels, 1, "line");
        match bench.add_entry(entry) {
            Outcome::Refused(given) => assert_eq!(given, Reason::Loki(reason)),
            other => panic!("{other:?}"),
        }
    }
    // A tenant may be the text of a line. Of one that is too long, nothing is kept.
    let labels = LabelSet::new([("a", "b")]);
    let tenants = bench.batcher.tenants.len();
    for length in [crate::model::MAX_TENANT + 1, 200_000] {
        let entry = bench.entry(Some(&"t".repeat(length)), &labels, 1, "line");
        let outcome = bench.add_entry(entry);
        assert!(matches!(outcome, Outcome::Refused(Reason::Loki("tenant_too_long"))), "{length}: {outcome:?}");
    }
    assert_eq!(bench.batcher.tenants.len(), tenants);
    assert!(bench.send().is_empty());
    let entry = bench.entry(Some(&"t".repeat(crate::model::MAX_TENANT)), &labels, 1, "line");
    assert!(matches!(bench.add_entry(entry), Outcome::Batched(_)));
    // Loki decides about streams without labels.
    let entry = bench.entry(None, &LabelSet::default(), 1, "line");
    assert!(matches!(bench.add_entry(entry), Outcome::Batched(_)));
}

#[test]
fn streams_and_tenants_made_of_what_lines_say_do_not_add_up() {
    let mut bench = Bench::new();
    for n in 0..500 {
        let labels = LabelSet::new([("request", n.to_string())]);
        let tenant = format!("tenant-{}", n % 100);
        let entry = bench.entry(Some(&tenant), &labels, n, "line");
        bench.add_entry(entry);
    }
    bench.send().into_iter().for_each(Batch::close);
    assert_eq!((bench.batcher.streams.len(), bench.batcher.tenants.len()), (500, 100));
    bench.clock.advance(Duration::from_secs(301));
    bench.add("alive", 1, 10);
    bench.send();
    assert_eq!((bench.batcher.streams.len(), bench.batcher.tenants.len(), bench.batcher.lanes.len()), (1, 1, 1));
}

#[test]
fn so_many_streams_are_not_remembered_for_minutes() {
    let mut bench = Bench::new();
    for n in 0..20_000 {
        bench.add(&n.to_string(), 1, 10);
        if n % 1_000 == 999 {
            bench.send().into_iter().for_each(Batch::close);
        }
    }
    // Memory is bounded at any time, not only at each sweep.
    assert!(bench.batcher.streams.len() < 10_000, "{}", bench.batcher.streams.len());
    let id = bench.add("under way", 1, 10);
    bench.send();
    assert!(bench.batcher.room(id, bench.now()).is_some());
}

/// Long labels, streams in flight and tenants all count with their cost.
#[test]
fn streams_count_against_the_buffer_as_what_they_cost() {
    for (tenants, long) in [(1, 10), (1, 2000), (5000, 10)] {
        let mut bench = Bench::with(|config| config.buffer = 4 << 20);
        let mut sent = Vec::new();
        let mut under_way = 0;
        while !bench.batcher.has_no_room() {
            let labels = LabelSet::new([("request", format!("{under_way}{}", "x".repeat(long)))]);
            let entry = bench.entry(Some(&(under_way % tenants).to_string()), &labels, 1, "x");
            assert!(matches!(bench.add_entry(entry), Outcome::Batched(_)));
            under_way += 1;
            sent.extend(bench.send());
        }
        let most = (4 << 20) / (640 + 3 * long);
        assert!(under_way < most && under_way > most / 20, "{under_way} of {tenants} tenants, labels of {long}");
        sent.into_iter().for_each(Batch::close);
        while !bench.batcher.is_empty() {
            bench.send().into_iter().for_each(Batch::close);
        }
        assert_eq!(bench.batcher.buffered.bytes(), 0);
        // Streams with nothing in flight are forgotten once they take half of the buffer, or twice what was in flight
        // last.
        for n in 0..20_000 {
            let labels = LabelSet::new([("request", format!("{n}{}", "x".repeat(long)))]);
            let entry = bench.entry(Some(&(n % tenants).to_string()), &labels, 1, "x");
            bench.add_entry(entry);
            bench.send().into_iter().for_each(Batch::close);
            assert!(bench.batcher.streams.len() < (8 << 20) / (640 + 3 * long) + 2);
            assert!(bench.batcher.tenants.len() <= bench.batcher.streams.len() + 1);
        }
    }
}

/// Each of these streams or tenants leads a lane from its first entry on, because that entry is late.
#[test]
fn late_streams_without_end_do_not_add_up() {
    for tenants in [1, 50_000] {
        let mut bench = Bench::new();
        bench.time = NOW - 120 * MINUTE;
        let mut most = 0;
        for n in 0..50_000 {
            let labels = LabelSet::new([("request", n.to_string())]);
            let entry = bench.entry(Some(&(n % tenants).to_string()), &labels, n % 7, "x");
            bench.add_entry(entry);
            bench.clock.advance(Duration::from_micros(200));
            bench.send().into_iter().for_each(Batch::close);
            most = most.max(bench.batcher.lanes.len());
            let Batcher { streams, busy, led, .. } = &bench.batcher;
            assert!(streams.len() <= 11_000 && busy.is_empty() && led.len() <= 7, "{n}: {}", streams.len());
        }
        // Half of the buffer.
        assert!((2_000..11_000).contains(&most), "{most} lanes");
        bench.clock.advance(Duration::from_secs(301));
        bench.time = NOW + 301_000_000_000;
        bench.add("alive", 1, 10);
        bench.send().into_iter().for_each(Batch::close);
        let Batcher { streams, tenants, lanes, cost, led, .. } = &bench.batcher;
        assert_eq!((streams.len(), tenants.len(), lanes.len(), led.len()), (1, 1, 1, 0));
        assert_eq!(*cost, streams.iter().map(|(_, stream)| stream.cost).sum::<usize>());
    }
}

#[test]
fn an_empty_line_is_under_way_like_any_other() {
    let mut bench = Bench::new();
    let id = bench.add("a", 1, 0);
    let now = bench.now();
    assert_eq!(bench.batcher.room(id, now), Some(WINDOW - 1));
    bench.clock.advance(Duration::from_secs(400));
    // Forgetting the stream now would orphan its line.
    bench.batcher.next(bench.now(), false);
    assert!(bench.batcher.room(id, now).is_some());
}

#[test]
fn what_a_batch_ends_as_is_written_into_its_logs_accounts() {
    let mut bench = Bench::new();
    for n in 0..10 {
        bench.add(if n % 2 == 0 { "a" } else { "b" }, 1, 9);
    }
    let mut sent = bench.send();
    let (first, second) = halves(sent.remove(0));
    let (half, quarter) = halves(first);
    assert_eq!((half.entries(), quarter.entries(), second.entries()), (2, 3, 5));
    half.close();
    quarter.discard(3, &Reason::IngesterError);
    second.discard(2, &Reason::Loki("greater_than_max_sample_age"));
    let account = bench.ledger.account();
    let lines = |lines: u64| Weight { lines, bytes: lines * 10 };
    assert_eq!(account.delivered, lines(5));
    let age = Reason::Loki("greater_than_max_sample_age");
    assert_eq!(account.discarded, [(Reason::IngesterError, lines(3)), (age, lines(2))]);
    assert!(bench.ledger.is_settled());
}

#[test]
fn what_loki_has_named_as_its_limit_is_not_sent_for_a_minute() {
    let mut bench = Bench::new();
    bench.add("a", 1, 300_000);
    let sent = bench.send();
    sent[0].learn(Bound::Line(262_144), bench.clock.now());
    sent[0].learn(Bound::Age(Duration::from_secs(7 * 86_400)), bench.clock.now());
    sent[0].learn(Bound::Labels(1), bench.clock.now());
    let refused = |outcome: Outcome| match outcome {
        Outcome::Refused(reason) => reason.as_str().to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(bench.try_add("b", 1, 262_145)), "line_too_long");
    bench.add("b", 1, 262_144);
    bench.time = NOW - 8 * 24 * 60 * MINUTE;
    assert_eq!(refused(bench.try_add("b", 1, 10)), "greater_than_max_sample_age");
    bench.time = NOW - 6 * 24 * 60 * MINUTE;
    bench.add("b", 1, 10);
    let two = LabelSet::new([("app", "a"), ("pod", "b")]);
    let entry = bench.entry(None, &two, 1, "x");
    assert_eq!(refused(bench.add_entry(entry)), "max_label_names_per_series");
    // Loki counts neither the `service_name` that it adds itself nor labels without a value.
    let one = LabelSet::new([("app", "a"), ("service_name", "b"), ("pod", "")]);
    let entry = bench.entry(None, &one, 1, "x");
    assert!(matches!(bench.add_entry(entry), Outcome::Batched(_)));
    // The limit may have been raised: the next entry is sent.
    bench.clock.advance(Duration::from_secs(120));
    bench.add("b", 1, 262_145);
}

#[test]
fn a_tenant_that_is_refused_everything_leaves_room_for_the_others() {
    let mut bench = Bench::with(|config| config.buffer = 1 << 20);
    let mut add = |tenant: &str, stream: u64| {
        let entry = bench.entry(Some(tenant), &LabelSet::new([("n", stream.to_string())]), stream, "x");
        let entry = Entry { line: "x".repeat(53_000).into(), ..entry };
        match bench.add_entry(entry) {
            Outcome::Batched(id) => (id, bench.batcher.is_full(id)),
            other => panic!("{other:?}"),
        }
    };
    let (other, _) = add("other", 0);
    let until_full = (1..100).position(|n| add("refused", n).1).expect("it is full some time");
    assert_eq!(until_full, 9);
    // Another such tenant takes half of what is left.
    let until_full = (100..200).position(|n| add("refused too", n).1).expect("it is full some time");
    assert_eq!(until_full, 4);
    assert!(!bench.batcher.is_full(other) && !bench.batcher.has_no_room());
}

#[test]
fn those_that_follow_are_forgotten_too() {
    let mut bench = Bench::new();
    for n in 0..600 {
        bench.stream_a_second(&[("out", 1, 200_000)]);
        if n < 200 {
            let entry = bench.entry(None, &LabelSet::new([("request", n.to_string())]), 1, "line");
            bench.add_entry(entry);
            bench.send().into_iter().for_each(Batch::close);
        }
    }
    assert_eq!(bench.batcher.streams.len(), 1);
}
