use super::*;
use crate::batch::{Batch, Config, Limits};
use crate::model::{AckRef, Clock, LabelSet, Labels, Ledger, Mark, Origin, Weight};

#[test]
fn what_a_file_grows_by_is_measured_however_it_is_read() {
    let start = Instant::now();
    let at = |ms: u64| start + Duration::from_millis(ms);
    let mut written = WriteRate::new(start);
    // The bytes that existed before say nothing about the rate.
    assert_eq!(written.measure(50_000_000, at(200)), 0.0);
    assert_eq!(written.measure(50_200_000, at(400)), 1_000_000.0);
    assert_eq!(written.measure(50_400_000, at(600)), 1_000_000.0);
    assert_eq!(written.measure(50_400_000, at(800)), 500_000.0);
    assert_eq!(written.measure(90_400_000, at(60_000)), 0.0);
}

struct Bench {
    clock: Clock,
    batcher: Batcher,
    ledger: std::sync::Arc<Ledger>,
    flow: Flow,
}

impl Bench {
    fn new() -> Self {
        let clock = Clock::standing(0);
        let config = Config {
            batchsize: 1 << 20,
            batchwait: Duration::from_secs(1),
            tenant_id: None,
            external_labels: Labels::new(),
            limits: Limits::default(),
            replay_window: 64 << 10,
            buffer: 1 << 20,
        };
        let batcher = Batcher::new(config, clock.clone());
        Self { flow: Flow::new(true, clock.now()), clock, batcher, ledger: Ledger::new() }
    }

    /// Adds a line of the stream with this number.
    fn add(&mut self, stream: usize) {
        let mut entry = Entry {
            timestamp: 0,
            line: "line".into(),
            labels: LabelSet::new([("request", stream.to_string())]),
            metadata: Vec::new(),
            tenant: None,
            origin: Origin::default(),
            weight: Weight::line(5),
            ack: AckRef::Own(self.ledger.open(5, Mark::default())),
        };
        match self.batcher.add_of(&mut self.flow, &mut entry, self.clock.now()) {
            Outcome::Batched(_) => {}
            other => panic!("{other:?}"),
        }
        entry.close();
    }

    fn send(&mut self) -> Vec<Batch> {
        std::iter::from_fn(|| self.batcher.next(self.clock.now(), true)).collect()
    }

    fn room(&mut self) -> (usize, usize, usize) {
        self.batcher.room_of(&mut self.flow.streams, self.clock.now())
    }
}

#[test]
fn of_a_log_with_a_stream_for_each_line_those_are_remembered_that_are_in_flight() {
    let mut bench = Bench::new();
    (0..100).for_each(|n| bench.add(n));
    let sent = bench.send();
    (100..150).for_each(|n| bench.add(n));
    bench.room();
    assert_eq!(bench.flow.streams.len(), 150);
    sent.into_iter().for_each(Batch::close);
    bench.room();
    assert_eq!(bench.flow.streams.len(), 50);
    bench.send().into_iter().for_each(Batch::close);
    assert_eq!(bench.room(), (64 << 10, 64 << 10, 64 << 10));
    assert_eq!(bench.flow.streams.len(), REMEMBERED);
}

/// What senders wait for is sent after a short time, and what others send meanwhile goes with it.
#[test]
fn received_entries_for_which_senders_wait_are_sent_together_a_moment_later() {
    let mut bench = Bench::new();
    bench.flow = Flow::new(false, bench.clock.now());
    let start = bench.clock.now();
    for _ in 0..10 {
        bench.add(1);
    }
    assert!(bench.batcher.grant(&mut bench.flow, 50, true, start).is_some());
    assert_eq!(bench.batcher.next_due(), Some(start + Duration::from_secs(1)), "it is little");
    // A sender waits for more than half of a window: reading goes on all the same, and with all of a batch.
    let exposed = 40 << 10;
    let grant = bench.batcher.grant(&mut bench.flow, exposed, true, start).expect("reading does not wait");
    assert_eq!((grant.bytes, grant.stops()), (CHUNK, false));
    assert_eq!(bench.batcher.next_due(), Some(start + LINGER));
    bench.clock.advance(LINGER / 2);
    bench.add(1);
    bench.batcher.grant(&mut bench.flow, exposed, true, bench.clock.now()).expect("reading does not wait");
    assert_eq!(bench.batcher.next_due(), Some(start + LINGER), "the first sender decides");
    assert!(bench.batcher.next(bench.clock.now(), false).is_none());
    bench.clock.advance(LINGER / 2);
    let batch = bench.batcher.next(bench.clock.now(), false).expect("a batch");
    assert_eq!(batch.entries, 11);
    // The next batch is not urgent.
    bench.add(1);
    assert_eq!(bench.batcher.next_due(), Some(start + LINGER + Duration::from_secs(1)));
    batch.close();
}

#[test]
fn a_window_of_received_entries_is_that_of_a_batch_while_the_buffer_has_room() {
    let mut bench = Bench::new();
    bench.flow = Flow::new(false, bench.clock.now());
    bench.add(1);
    bench.batcher.grant(&mut bench.flow, 0, true, bench.clock.now()).expect("room");
    assert_eq!(bench.room().1, 1 << 20);
    let flow = std::mem::replace(&mut bench.flow, Flow::new(false, bench.clock.now()));
    while bench.batcher.buffered.bytes() < 1 << 19 {
        bench.add(2);
    }
    bench.flow = flow;
    bench.batcher.grant(&mut bench.flow, 0, true, bench.clock.now());
    assert_eq!(bench.room().1, 64 << 10);
}

/// A receiver and a file have the same labels: of the file, no more than a window is sent again after a crash.
#[test]
fn a_stream_of_received_entries_and_of_a_file_has_the_window_of_the_file_when_the_file_is_read() {
    let mut bench = Bench::new();
    let now = bench.clock.now();
    bench.add(1);
    let mut received = Flow::new(false, now);
    received.streams.clone_from(&bench.flow.streams);
    bench.batcher.grant(&mut received, 0, true, now).expect("room");
    assert_eq!(bench.room().1, 1 << 20);
    let grant = bench.batcher.grant(&mut bench.flow, 0, true, now).expect("room");
    assert_eq!((bench.room().1, grant.bytes <= 128 << 10), (64 << 10, true));
}

#[test]
fn batchwait_counts_from_the_earliest_time_at_which_a_line_of_the_batch_can_have_been_written() {
    let mut bench = Bench::new();
    let start = bench.clock.now();
    let at = |ms: u64| Some(start + Duration::from_millis(ms));
    let grant = bench.batcher.grant(&mut bench.flow, 0, true, start).expect("room");
    bench.clock.advance(Duration::from_millis(400));
    bench.add(1);
    assert_eq!(bench.batcher.next_due(), at(1_400));
    // A line that waited in its file brings the end of the batch nearer, although it is not the first of the batch.
    bench.batcher.begin(&mut bench.flow, start + Duration::from_millis(150), bench.clock.now());
    bench.add(1);
    assert_eq!(bench.batcher.next_due(), at(1_150));
    // Lines that stages release later did not wait in the file.
    bench.batcher.settle(&mut bench.flow, grant, 10, 10, bench.clock.now());
    bench.send().into_iter().for_each(Batch::close);
    bench.add(1);
    assert_eq!(bench.batcher.next_due(), at(1_400));
    // Half of batchwait is left for more lines.
    bench.batcher.begin(&mut bench.flow, start - Duration::from_secs(9), bench.clock.now());
    bench.add(1);
    assert_eq!(bench.batcher.next_due(), at(900));
}
