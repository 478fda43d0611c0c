//! A scripted HTTP server, and what discovery tells of it. For tests.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::{Around, Config, Known, Lists, Metrics, run};
use crate::metrics::Registry;
use crate::model::{Labels, TargetLabels, Update};
use crate::relabel::Reads;

/// A request: its path with the query, and its head.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub path: String,
    pub head: String,
}

/// The answer of a server.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// The status, headers with `\r\n` behind each, and the body.
    Is(u16, String, String),
    /// None until the script is another one. Then the new one is asked.
    Waits,
    /// None, but the connection stays open.
    Hangs,
    /// The connection ends in the middle of the body.
    Breaks,
}

impl Reply {
    pub fn json(body: impl Into<String>) -> Self {
        Self::Is(200, "Content-Type: application/json\r\n".into(), body.into())
    }
}

type Script = Box<dyn Fn(&Request) -> Reply + Send>;

/// Answers with what its script says until it is dropped.
pub(super) struct Server {
    pub address: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    script: Mutex<Script>,
    /// Counts the scripts.
    changes: watch::Sender<usize>,
    asked: Mutex<Vec<Request>>,
    /// The requests without an answer: now, and at most.
    open: Mutex<(usize, usize)>,
}

impl Server {
    pub async fn new(script: impl Fn(&Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let shared = Arc::new(Shared {
            script: Mutex::new(Box::new(script)),
            changes: watch::Sender::new(0),
            asked: Mutex::default(),
            open: Mutex::default(),
        });
        let of_task = shared.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, of_task.clone()));
            }
        });
        Self { address, shared, task }
    }

    pub fn now(&self, script: impl Fn(&Request) -> Reply + Send + 'static) {
        *lock(&self.shared.script) = Box::new(script);
        self.shared.changes.send_modify(|changes| *changes += 1);
    }

    /// The requests until now.
    pub fn asked(&self) -> Vec<Request> {
        lock(&self.shared.asked).clone()
    }

    /// The most requests that waited for their answers at the same time.
    pub fn most_open(&self) -> usize {
        lock(&self.shared.open).1
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut read = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            let mut piece = [0; 4096];
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(length) => read.extend_from_slice(&piece[..length]),
            }
        };
        let head = String::from_utf8_lossy(&read[..end]).into_owned();
        read.drain(..end);
        let request = Request { path: head.split(' ').nth(1).unwrap_or_default().into(), head };
        lock(&shared.asked).push(request.clone());
        {
            let mut open = lock(&shared.open);
            open.0 += 1;
            open.1 = open.1.max(open.0);
        }
        let mut changes = shared.changes.subscribe();
        let reply = loop {
            let reply = lock(&shared.script)(&request);
            match reply {
                Reply::Waits => changes.changed().await.expect("the server is there"),
                reply => break reply,
            }
        };
        lock(&shared.open).0 -= 1;
        let (status, headers, body, length) = match reply {
            Reply::Is(status, headers, body) => {
                let length = body.len();
                (status, headers, body, length)
            }
            Reply::Hangs | Reply::Waits => return std::future::pending().await,
            Reply::Breaks => (200, "Content-Type: application/json\r\n".into(), "[".into(), 100),
        };
        let text = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
        if stream.write_all(text.as_bytes()).await.is_err() || length != body.len() {
            return;
        }
    }
}

/// The groups and notes that discovery has sent for one job.
pub(super) struct Listener {
    updates: mpsc::Receiver<Update>,
    pub told: BTreeMap<String, Vec<Labels>>,
    pub synced: bool,
    registry: Registry,
}

impl Listener {
    /// Starts the discovery of a job.
    pub fn start(config: Config, lists: &Lists) -> Self {
        let (sender, updates) = mpsc::channel(16);
        let registry = Registry::new();
        let (metrics, around) = (Metrics::register(&registry), Around { lists: lists.clone(), ..Around::default() });
        lists.begin_run();
        tokio::spawn(run("j".into(), config, "n1".into(), Reads::default(), around, metrics, sender));
        Self { updates, told: BTreeMap::new(), synced: false, registry }
    }

    /// Starts one loop of the discovery of a job.
    pub fn of<F: Future<Output = ()> + Send + 'static>(
        key: &str,
        lists: &Lists,
        start: impl FnOnce(Known, Metrics, mpsc::Sender<Infallible>) -> F,
    ) -> Self {
        let (sender, updates) = mpsc::channel(16);
        let (unlisted, mut listed) = mpsc::channel(1);
        let registry = Registry::new();
        let metrics = Metrics::register(&registry);
        let job = "j".into();
        let known = Known::new(&job, key, 0, &metrics, sender.clone()).keeping(lists.of(key.into()));
        tokio::spawn(start(known, metrics, unlisted));
        tokio::spawn(async move {
            listed.recv().await;
            let _ = sender.send(Update::Synced { job }).await;
        });
        Self { updates, told: BTreeMap::new(), synced: false, registry }
    }

    /// Waits until what was told is so.
    pub async fn until(&mut self, mut is: impl FnMut(&Self) -> bool) {
        while !is(self) {
            let update = tokio::time::timeout(Duration::from_secs(600), self.updates.recv()).await;
            match update.expect("it is told in time").expect("discovery does not end") {
                Update::Synced { .. } => self.synced = true,
                Update::Group { group, .. } if group.targets.is_empty() => drop(self.told.remove(&group.id)),
                Update::Group { group, .. } => {
                    let labels = group.targets.iter().map(TargetLabels::to_labels).collect();
                    self.told.insert(group.id, labels);
                }
            }
        }
    }

    /// The failure that is shown.
    pub fn failure(&self) -> Option<&str> {
        let note = self.told.iter().find(|(id, _)| id.ends_with("/failure"));
        note.and_then(|(_, labels)| labels[0].get(crate::model::NO_TARGETS)).map(String::as_str)
    }

    /// The addresses of all targets.
    pub fn addresses(&self) -> Vec<&str> {
        self.told.values().flatten().filter_map(|labels| labels.get("__address__")).map(String::as_str).collect()
    }

    /// The sum of the counters of a family.
    pub fn counted(&self, family: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|f| f.name() == family).expect("a family");
        family.get_metric().iter().map(|metric| metric.get_counter().get_value()).sum()
    }
}
