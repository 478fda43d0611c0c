//! Receivers on free ports, and inboxes that a test reads and commits in place of a client's reader.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Config, Metrics, Receiver, Receivers};
use crate::metrics::Registry;
use crate::model::{Chunk, Mark, Read, Source};
use crate::relabel::Rules;
use crate::scrape::{Intake, intake_of_test};

/// A client that commits records when the test says so.
pub(super) struct Client {
    inbox: Box<dyn Source>,
    end: Mark,
}

impl Client {
    /// All records since the last call: `labels time line metadata @tenant`.
    pub fn read(&mut self) -> Vec<String> {
        let (mut chunk, mut all) = (Chunk::default(), Vec::new());
        while let Ok(Read::Records { .. }) = self.inbox.read(1 << 20, Instant::now(), &mut chunk) {
            let mut at = 0;
            for record in chunk.records.iter().flatten() {
                let text = String::from_utf8_lossy(&chunk.bytes[at..record.end - 1]);
                at = record.end;
                let labels = record.labels.as_ref().map(ToString::to_string).unwrap_or_default();
                let time = record.time.filter(|time| *time < 1_000_000_000).map(|time| format!(" {time}"));
                let pairs = record.metadata.iter();
                let metadata: String = pairs.map(|pair| format!(" {}={}", pair.name, pair.value)).collect();
                let tenant = record.tenant.as_ref().map(|tenant| format!(" @{tenant}")).unwrap_or_default();
                all.push(format!("{labels}{} {text}{metadata}{tenant}", time.unwrap_or_default()));
            }
            self.end = chunk.start.after(chunk.len as u64);
        }
        all
    }

    /// Reads until there are this many records.
    pub async fn wait_for(&mut self, count: usize) -> Vec<String> {
        let mut all = Vec::new();
        let wait = async {
            while all.len() < count {
                all.extend(self.read());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let is_there = tokio::time::timeout(Duration::from_secs(20), wait).await.is_ok();
        assert!(is_there, "{} of {count} came", all.len());
        all
    }

    pub fn commit(&mut self) {
        self.inbox.committed(self.end);
    }
}

pub(super) fn clients(count: usize) -> (Arc<Intake>, Vec<Client>) {
    let (intake, inboxes) = intake_of_test(count);
    (Arc::new(intake), inboxes.into_iter().map(|inbox| Client { inbox, end: Mark::default() }).collect())
}

pub(super) struct Rig {
    pub receivers: Receivers,
    pub registry: Registry,
    metrics: Metrics,
    pub address: String,
}

pub(super) fn receiver(config: Config, rules: &str) -> Receiver {
    let rules: Vec<crate::relabel::Config> = serde_yaml::from_str(rules).expect(rules);
    Receiver { job: "job".into(), config, rules: Rules::compile(&rules).expect("rules"), spool: None }
}

impl Rig {
    pub async fn start(receiver: Receiver, intake: Arc<Intake>) -> Self {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry, crate::scrape::Metrics::register(&registry));
        let mut rig = Self { receivers: Receivers::default(), registry, metrics, address: String::new() };
        rig.reload(receiver, intake).await;
        rig
    }

    pub async fn reload(&mut self, receiver: Receiver, intake: Arc<Intake>) {
        let ready = self.receivers.bind(vec![receiver]).await.expect("bound");
        self.receivers.start(ready, |_| Some(intake.clone()), &self.metrics);
        self.address = self.receivers.address("job").expect("it runs");
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).await.expect("it listens")
    }

    /// Sends a request, and returns the status and the whole answer.
    pub async fn post(&self, path: &str, headers: &str, body: &[u8]) -> (u16, String) {
        let mut stream = self.connect().await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        // The server may answer and close the connection before the whole request is sent.
        let _ = stream.write_all(body).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, answer)
    }

    /// The value of a counter, over all its series.
    pub fn count(&self, name: &str) -> u64 {
        let families = self.registry.gather();
        let family = families.iter().filter(|family| family.name() == name).flat_map(|family| family.get_metric());
        family.map(|metric| metric.get_counter().get_value() as u64).sum()
    }
}
