//! Lists and watches the events while this agent leads, and puts them into the buffer of one client.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;
use kube::api::{ListParams, Request, WatchParams};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::timeout;

use super::buffer::Buffer;
use super::config::Config;
use super::line::{Line, Lines, version};
use super::progress::Version;
use crate::backoff::{Backoff, Failures};
use crate::discovery::Metrics;
use crate::discovery::kubernetes::Config as Access;
use crate::discovery::kubernetes::answer::{self, List};
use crate::discovery::kubernetes::client;
use crate::discovery::kubernetes::failure::{Failure, Reason};
use crate::discovery::kubernetes::health::Health;
use crate::discovery::kubernetes::kind::EVENTS;

/// The longest time for a list.
const LIST: Duration = Duration::from_secs(60);

/// The maximum size of a list in bytes. Only [`SORTED`] of it is in memory.
const LARGEST: usize = 16 << 30;

/// How many bytes of a list are sorted at once. The list of the API is in no order of time.
const SORTED: usize = 8 << 20;

/// How many seconds the server is asked to keep a watch open.
const WATCH: u32 = 120;

/// Whether this agent sends the events. If so: what another agent has delivered, if that is known.
pub(super) type Leading = Option<Option<Version>>;

pub(super) struct Follow {
    access: Access,
    namespace: String,
    lines: Lines,
    leading: watch::Receiver<Leading>,
    buffer: Arc<Buffer>,
    /// The last version that was put into the buffer, or was delivered before.
    at: Option<Version>,
    /// The events since `at` are not known to the API server any more.
    needs_list: bool,
    health: Health,
    failures: Failures,
}

impl Follow {
    pub fn new(
        config: &Config,
        job: &Arc<str>,
        lines: Lines,
        (leading, buffer): (watch::Receiver<Leading>, Arc<Buffer>),
        metrics: &Metrics,
        backoff: Backoff,
    ) -> Self {
        let scope = match config.namespace.as_str() {
            "" => "all namespaces".to_string(),
            name => format!("namespace {name}"),
        };
        let health = Health::new(job, &EVENTS, scope, metrics.clone());
        let (access, namespace, at) = (config.access(), config.namespace.clone(), buffer.begins);
        Self {
            access,
            namespace,
            lines,
            leading,
            buffer,
            at,
            needs_list: false,
            health,
            failures: Failures::new(backoff),
        }
    }

    /// Follows the events until it is dropped.
    pub async fn run(mut self) {
        let mut leading = self.leading.clone();
        loop {
            let leads = leading.wait_for(Option::is_some).await.map(|leads| *leads);
            // An error means that the run ends.
            let Ok(delivered) = leads else {
                return std::future::pending().await;
            };
            self.at = self.at.max(delivered.flatten());
            tokio::select! {
                _ = leading.wait_for(Option::is_none) => {}
                () = self.follow() => {}
            }
        }
    }

    async fn follow(&mut self) {
        let mut client = None;
        loop {
            if let Err(failure) = self.list_and_watch(&mut client).await {
                if !failure.resumable {
                    client = None;
                }
                // The API server does not know the version any more. It keeps events for an hour.
                self.needs_list |= failure.reason == Reason::Gone;
                self.health.failed(&failure);
                tokio::time::sleep(self.failures.pause(Instant::now(), Some(failure.retry_after))).await;
            }
        }
    }

    async fn list_and_watch(&mut self, client: &mut Option<Client>) -> Result<(), Failure> {
        let client = match client {
            Some(client) => client.clone(),
            None => {
                let (connected, server) = client::connect(&self.access, LARGEST).await?;
                self.health.asks(server);
                self.check_version(&connected).await.map_err(|failure| failure.to("list"))?;
                client.insert(connected).clone()
            }
        };
        let from = match self.at.filter(|_| !self.needs_list) {
            Some(at) => at,
            None => self.list(&client).await.map_err(|failure| failure.to("list"))?,
        };
        self.needs_list = false;
        self.watch(&client, from).await.map_err(|failure| failure.to("watch"))
    }

    /// If the cluster was restored from a backup, its versions are lower than before, and a watch from the last one would
    /// wait for ever.
    async fn check_version(&mut self, client: &Client) -> Result<(), Failure> {
        let Some(at) = self.at else {
            return Ok(());
        };
        let request = self.path().list(&ListParams::default().limit(1)).map_err(|e| Failure::answer(e.to_string()))?;
        let mut list = List::ask(client, request, LIST).await?;
        while list.next().await?.is_some() {}
        let current = number(&list.end()?.version)?;
        if current < at {
            tracing::warn!(
                known = at,
                current,
                "the API server has lower resource versions than before: all events that it has are sent"
            );
            self.at = None;
        }
        Ok(())
    }

    fn path(&self) -> Request {
        Request::new(EVENTS.path(Some(self.namespace.as_str()).filter(|name| !name.is_empty())))
    }

    /// Puts all events that were not put before. Returns the version of the list.
    async fn list(&mut self, client: &Client) -> Result<Version, Failure> {
        let request = self.path().list(&ListParams::default()).map_err(|e| Failure::answer(e.to_string()))?;
        let mut list = List::ask(client, request, LIST).await?;
        let known = self.at;
        let mut sorted = Sorted::default();
        while let Some(json) = list.next().await? {
            let event: Value = parse(&json)?;
            drop(json);
            if version(&event).is_some_and(|version| known.is_some_and(|known| version <= known)) {
                continue;
            }
            if let Some(line) = self.lines.line(event) {
                sorted.add(line);
            }
            // The last one waits for the end of the list, whose version it gets.
            if sorted.bytes > SORTED {
                for line in sorted.take(1) {
                    self.buffer.lines.put(line).await;
                }
            }
        }
        let around = list.end()?;
        let version = number(&around.version)?;
        if around.passed_over > 0 {
            tracing::warn!(count = around.passed_over, "some events have more bytes than allowed: they are skipped");
        }
        let mut rest = sorted.take(0);
        if let Some(last) = rest.last_mut() {
            last.cursor = Some(version);
        }
        for line in rest {
            self.buffer.lines.put(line).await;
        }
        self.at = Some(version);
        Ok(version)
    }

    /// Puts events as they come, until the server ends the watch normally.
    async fn watch(&mut self, client: &Client, from: Version) -> Result<(), Failure> {
        let params = WatchParams { timeout: Some(WATCH), ..WatchParams::default() };
        let silence = Duration::from_secs(u64::from(WATCH) + 5);
        let started = Instant::now();
        let request = self.path().watch(&params, &from.to_string()).map_err(|e| Failure::answer(e.to_string()))?;
        let lines = timeout(silence, answer::Lines::ask(client, request)).await;
        let mut lines = lines.map_err(|_| Failure::silence("no answer to a watch"))??;
        self.health.recovered();
        let mut nothing_came = true;
        loop {
            let line = timeout(silence, lines.next()).await.map_err(|_| Failure::silence("a watch without end"))?;
            let line = match line? {
                None => break,
                Some(answer::Line::TooLong) => {
                    tracing::warn!("an event has more bytes than allowed: it is skipped");
                    continue;
                }
                Some(answer::Line::Whole(line)) => line,
            };
            nothing_came = false;
            let Change { kind, object } = parse(&line)?;
            match kind.as_str() {
                "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" => {}
                _ => return Err(Failure::in_stream(&serde_json::from_value(object).unwrap_or_default())),
            }
            let version = version(&object);
            let is_known = version.is_some_and(|version| self.at.is_some_and(|at| version <= at));
            if matches!(kind.as_str(), "ADDED" | "MODIFIED")
                && !is_known
                && let Some(line) = self.lines.line(object)
            {
                self.buffer.lines.put(line).await;
            }
            self.at = self.at.max(version);
        }
        if nothing_came && started.elapsed() < Duration::from_secs(1) {
            return Err(Failure::silence("the server closed the watch at once"));
        }
        Ok(())
    }
}

fn number(version: &str) -> Result<Version, Failure> {
    let not_one = |_| Failure::answer(format!("the version {version:?} of the list of events is not a number"));
    version.parse().map_err(not_one)
}

/// A line of a watch.
#[derive(Deserialize)]
struct Change {
    #[serde(rename = "type")]
    kind: String,
    object: Value,
}

fn parse<T: for<'de> Deserialize<'de>>(json: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(json).map_err(|e| Failure::answer(format!("an event cannot be read: {e}")))
}

/// Lines of a list, to be put in the order of their versions.
#[derive(Default)]
struct Sorted {
    lines: Vec<Line>,
    bytes: usize,
}

impl Sorted {
    fn add(&mut self, line: Line) {
        self.bytes += line.text.len();
        self.lines.push(line);
    }

    /// All lines but the last `kept`, in order. None of them has a cursor: the list is not complete before its end.
    fn take(&mut self, kept: usize) -> Vec<Line> {
        self.lines.sort_by_key(|line| line.cursor);
        let rest = self.lines.split_off(self.lines.len().saturating_sub(kept));
        let mut lines = std::mem::replace(&mut self.lines, rest);
        self.bytes = self.lines.iter().map(|line| line.text.len()).sum();
        lines.iter_mut().for_each(|line| line.cursor = None);
        lines
    }
}
