//! The client with a Loki that sometimes fails.

mod authentication;
mod certificates;
mod clocks;
mod delivery;
mod hostile;
mod promises;
mod recovery;
mod refusals;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::fake_loki::{FakeLoki, Push, Reply, Wrap};
use super::{BackoffConfig, Client, Config, Metrics, Status, Stop};
use crate::batch::{Batch, Batcher, Outcome, StreamId};
use crate::http_client::{TlsConfig, Url};
use crate::metrics::Registry;
use crate::model::{AckRef, Clock, Entry, LabelSet, Ledger, Mark, Origin, Weight};

/// A running client, and the reader's side of it.
struct Running {
    batcher: Batcher,
    batches: Option<mpsc::UnboundedSender<Vec<Batch>>>,
    stop: watch::Sender<Stop>,
    task: JoinHandle<()>,
    ledger: Arc<Ledger>,
    end: u64,
    wakes: Arc<Wakes>,
    status: Arc<Status>,
    registry: Registry,
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The config of a client of `loki` with short pauses.
fn config(loki: &FakeLoki, more: &str) -> Config {
    let url = loki.url();
    let yaml = format!("url: {url}\nbackoff_config: {{min_period: 1ms, max_period: 20ms}}\n{more}");
    crate::yaml::from_str(&yaml).expect(&yaml)
}

fn start(config: &Config) -> Running {
    let registry = Registry::new();
    let client = Client::new(config, Metrics::register(&registry)).expect("a client");
    let status = client.status();
    let wakes = Arc::new(Wakes::default());
    let (batches, receiver) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(Stop::Running);
    let task = tokio::spawn(client.run(receiver, Waker::from(wakes.clone()), stopped));
    Running {
        batcher: Batcher::new(config.batching(Default::default()), Clock::standing(0)),
        batches: Some(batches),
        stop,
        task,
        ledger: Ledger::new(),
        end: 0,
        wakes,
        status,
        registry,
    }
}

impl Running {
    /// Adds an entry for each line. `stream` may be `tenant/stream`.
    fn add(&mut self, stream: &str, lines: &[&str]) -> Vec<StreamId> {
        let (tenant, stream) = stream.split_once('/').map_or((None, stream), |(t, s)| (Some(t), s));
        let labels = LabelSet::new([("app", stream)]);
        let mut lanes = Vec::new();
        for line in lines {
            self.end += line.len() as u64;
            let end = Mark(self.end);
            let mut entry = Entry {
                timestamp: self.end as i64,
                line: (*line).into(),
                labels: labels.clone(),
                metadata: Vec::new(),
                tenant: tenant.map(Arc::from),
                origin: Origin::default(),
                weight: Weight::line(line.len()),
                ack: AckRef::Own(self.ledger.open(line.len() as u64, end)),
            };
            match self.batcher.add(&mut entry, Instant::now()) {
                Outcome::Batched(lane) => lanes.push(lane),
                other => panic!("not batched: {other:?}"),
            }
            entry.close();
        }
        lanes
    }

    /// Hands over all batches that the lanes have room for.
    fn flush(&mut self) {
        while let Some(batch) = self.batcher.next(Instant::now(), true) {
            self.batches.as_ref().expect("not finished").send(vec![batch]).expect("a running client");
        }
    }

    fn push(&mut self, stream: &str, lines: &[&str]) {
        self.add(stream, lines);
        self.flush();
    }

    /// Waits until all entries are delivered or discarded.
    async fn settled(&self) {
        until("everything is settled", || self.ledger.is_settled()).await;
        assert_eq!(self.ledger.committed().map(|mark| mark.0), Some(self.end));
        let account = self.ledger.account();
        let mut ended = account.delivered;
        ended += account.discarded_in_all();
        assert_eq!(ended.bytes, self.end, "every byte is accounted for");
        until("the lanes have room", || self.batcher.outstanding() == 0).await;
    }

    /// Sends other streams' pushes until an entry was discarded and all are settled. Returns the number of pushes.
    async fn traffic_until_dropped(&mut self) -> u64 {
        until("something is discarded", || {
            if self.batcher.outstanding() == 0 {
                self.push("traffic", &["tick"]);
            }
            self.dropped("ingester_error") > 0
        })
        .await;
        self.settled().await;
        self.dropped("ingester_error")
    }

    /// Closes the channel and waits for the client's end.
    async fn finish(mut self) -> Self {
        self.batches = None;
        let task = std::mem::replace(&mut self.task, tokio::spawn(async {}));
        let ended = tokio::time::timeout(Duration::from_secs(20), task).await;
        ended.expect("the client ends").expect("the client does not panic");
        self
    }

    /// The sum of a counter (or of a histogram's count) over all series whose labels include `labels`.
    fn metric(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let family = self.registry.gather().into_iter().find(|family| family.name() == name);
        let family = family.unwrap_or_else(|| panic!("no metric {name}"));
        let series = family.get_metric().iter().filter(|series| {
            let has = |n: &str, v: &str| series.get_label().iter().any(|l| l.name() == n && l.value() == v);
            labels.iter().all(|(n, v)| has(n, v))
        });
        series.map(|s| s.get_counter().get_value() as u64 + s.get_histogram().get_sample_count()).sum()
    }

    fn dropped(&self, reason: &str) -> u64 {
        self.metric("promtail_dropped_entries_total", &[("reason", reason)])
    }

    fn sent(&self) -> u64 {
        self.metric("promtail_sent_entries_total", &[])
    }
}

/// Polls until a deadline that only a failing test reaches.
async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !reached() {
        assert!(Instant::now() < deadline, "it does not come to pass that {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
