//! The events of an API server in memory, for one agent or several.

mod server;

use std::any::Any;
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;
use crate::metrics::Registry;
use crate::model::{Checkpoint, Chunk, Mark, Read};
use server::Server;

const LEASE: Duration = Duration::from_secs(3);
const BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(1), most: Duration::from_millis(20), most_asked: Duration::from_millis(20) };

/// An agent with one client. It is killed when it is dropped.
struct Agent {
    task: JoinHandle<()>,
    source: Arc<Mutex<Option<Box<dyn Source>>>>,
    rings: Arc<Rings>,
    read: Vec<(String, Mark)>,
    metrics: Metrics,
}

#[derive(Default)]
struct Rings(Notify);

impl Wake for Rings {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
        self.source.lock().expect("not poisoned").take();
    }
}

impl Agent {
    /// `cursor` is what its positions file has.
    fn start(server: &Server, identity: &str, cursor: Option<&str>, keys: &str) -> Self {
        let yaml = format!("{{api_server: '{}', lease_namespace: fantail{keys}}}", server.url);
        let config: Config = crate::yaml::from_str(&yaml).expect(&yaml);
        config.validate().expect(&yaml);
        let (source, rings) = (Arc::<Mutex<Option<Box<dyn Source>>>>::default(), Arc::<Rings>::default());
        let (given, waker, cursor) = (source.clone(), Waker::from(rings.clone()), cursor.map(Arc::from));
        let give = move |events: RemoteLog| {
            assert_eq!(&*events.position, "cursor-events");
            *given.lock().expect("not poisoned") = Some((events.open)(cursor.clone(), waker.clone()));
            waker.wake_by_ref();
            Box::new(()) as Box<dyn Any + Send + Sync>
        };
        let metrics = Metrics::register(&Registry::new());
        let outside = Outside {
            job: "events".into(),
            identity: identity.into(),
            rules: Rules::compile(&[]).expect("no rules"),
            give: Arc::new(give),
            metrics: metrics.clone(),
        };
        let task = tokio::spawn(run_with(config, outside, (LEASE, BACKOFF)));
        Self { task, source, rings, read: Vec::new(), metrics }
    }

    /// What the metric says about this agent.
    fn leads(&self) -> i64 {
        self.metrics.events_leader("events").get()
    }

    /// Waits until it has given this many lines in all, and returns them.
    async fn lines(&mut self, count: usize) -> Vec<&str> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.read.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            self.read_more();
            if self.read.len() < count {
                tokio::time::timeout(left, self.rings.0.notified()).await.expect("more lines come");
            }
        }
        self.read.iter().map(|(line, _)| line.as_str()).collect()
    }

    fn read_more(&mut self) {
        let mut source = self.source.lock().expect("not poisoned");
        let Some(source) = source.as_mut() else {
            return;
        };
        let mut chunk = Chunk::default();
        while let Read::Records { .. } = source.read(1, Instant::now(), &mut chunk).expect("read") {
            let text = String::from_utf8(chunk.bytes[..chunk.len - 1].to_vec()).expect("text");
            self.read.push((text, chunk.start.after(chunk.len as u64)));
        }
    }

    /// Loki has acknowledged this many lines in all. Returns what is saved.
    fn commit(&mut self, count: usize) -> Option<String> {
        let to = self.read[count - 1].1;
        let checkpoint = self.source.lock().expect("not poisoned").as_mut().expect("opened").committed(to);
        checkpoint.map(|checkpoint| match checkpoint {
            Checkpoint::Cursor(cursor) => cursor.to_string(),
            other => panic!("{other:?}"),
        })
    }
}

fn line(name: &str) -> String {
    format!("type=Normal reason=Tested kind=Pod namespace=shop name={name}")
}

#[tokio::test]
async fn events_are_sent_once_across_restarts() {
    let server = Server::start().await;
    server.add("b", 1);
    server.add("a", 2);
    let mut agent = Agent::start(&server, "n1", None, "");
    assert_eq!(agent.lines(2).await, [line("b"), line("a")], "in the order in which they happened");
    // A list is one unit: only at its end is the next version known.
    assert_eq!(agent.commit(1), None);
    assert_eq!(agent.commit(2), Some("2".into()));
    server.add("c", 3);
    server.add("d", 4);
    assert_eq!(agent.lines(4).await[2..], [line("c"), line("d")]);
    let cursor = agent.commit(3).expect("saved");
    drop(agent);
    let mut agent = Agent::start(&server, "n1", Some(&cursor), "");
    server.add("e", 5);
    assert_eq!(agent.lines(2).await, [line("d"), line("e")]);
}

#[tokio::test]
async fn only_the_holder_of_the_lease_sends_and_another_goes_on_where_it_ended() {
    let server = Server::start().await;
    server.add("a", 1);
    let mut first = Agent::start(&server, "n1", None, "");
    first.lines(1).await;
    let mut second = Agent::start(&server, "n2", Some("0"), "");
    first.commit(1);
    server.until(|seen| seen.delivered() == Some("1")).await;
    server.add("b", 2);
    first.lines(2).await;
    second.read_more();
    assert!(second.read.is_empty(), "{:?}", second.read);
    assert_eq!((first.leads(), second.leads()), (1, 0));
    drop(first);
    // It is not known whether Loki has the second line, so it is sent again.
    server.add("c", 3);
    assert_eq!(second.lines(2).await, [line("b"), line("c")]);
    assert_eq!(server.seen().holder(), "n2");
    assert_eq!(second.leads(), 1);
}

#[tokio::test]
async fn an_agent_that_loses_the_lease_sends_nothing_more() {
    let server = Server::start().await;
    server.add("a", 1);
    let mut agent = Agent::start(&server, "n1", None, "");
    agent.lines(1).await;
    server.until(|seen| seen.watches == 1).await;
    server.give_lease_to("n9");
    server.until(|seen| seen.watches == 0).await;
    assert_eq!(agent.leads(), 0);
    server.add("b", 2);
    // The other one is silent, so this one takes the Lease again.
    assert_eq!(agent.lines(2).await[1..], [line("b")]);
    let lease = server.seen().lease.expect("a Lease");
    assert_eq!((&lease["spec"]["holderIdentity"], &lease["spec"]["leaseTransitions"]), (&json!("n1"), &json!(1)));
}

#[tokio::test]
async fn what_the_server_does_not_know_any_more_is_listed_and_known_events_are_passed_over() {
    let server = Server::start().await;
    for (name, version) in [("a", 1), ("b", 2), ("c", 3)] {
        server.add(name, version);
    }
    server.forget_versions_before(3);
    let mut agent = Agent::start(&server, "n1", Some("2"), ", leader_election: false");
    assert_eq!(agent.lines(1).await, [line("c")]);
    assert_eq!(agent.commit(1), Some("3".into()));
    server.add("d", 4);
    assert_eq!(agent.lines(2).await[1..], [line("d")]);
    assert!(server.seen().lease.is_none(), "without an election there is no Lease");
    let metrics = agent.metrics.clone();
    assert_eq!(agent.leads(), 1);
    agent.task.abort();
    assert!((&mut agent.task).await.is_err_and(|error| error.is_cancelled()));
    assert_eq!(metrics.events_leader("events").get(), 0, "the job is gone");
}

#[tokio::test]
async fn a_cluster_that_was_restored_from_a_backup_has_lower_versions() {
    let server = Server::start().await;
    server.add("a", 1);
    let mut agent = Agent::start(&server, "n1", Some("900"), ", leader_election: false");
    assert_eq!(agent.lines(1).await, [line("a")]);
}

#[tokio::test]
async fn a_watch_that_is_cut_off_goes_on_and_a_deleted_event_is_no_line() {
    let server = Server::start().await;
    let mut agent = Agent::start(&server, "n1", None, "");
    server.until(|seen| seen.watches == 1).await;
    server.add("a", 1);
    agent.lines(1).await;
    server.cut_off_watches();
    server.send("DELETED", json!({"metadata": {"resourceVersion": "2"}}), 2);
    server.add("b", 3);
    assert_eq!(agent.lines(2).await, [line("a"), line("b")]);
}
