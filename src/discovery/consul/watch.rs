//! Keeps the targets in step with Consul: a request for the list of services, and one for each service, is always on its
//! way, and is answered when something has changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{AbortHandle, BoxFuture, FutureExt, abortable};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::sleep;

use super::requests::{Answer, Consul, group_id};
use crate::backoff::Failures;
use crate::discovery::refresh::retry;
use crate::discovery::trouble::Trouble;
use crate::discovery::{Known, Metrics};
use crate::model::TargetGroup;

/// The most services whose requests wait for a change. Each holds a connection, of which Consul allows 200 to a client.
/// If there are more services, they are asked one after the other in each `refresh_interval`.
const WAITING: usize = 64;

/// How many services are asked at a time if there are more.
pub(super) const AT_ONCE: usize = 8;

/// The most services, and the most bytes of all labels.
const SERVICES: usize = 10_000;
const BYTES: usize = 64 << 20;

/// The most targets of all services.
const TARGETS: usize = 10_000;

/// The name under which the list of services fails.
const LIST: &str = "the list of services";

pub(super) struct Watch {
    consul: Arc<Consul>,
    known: Known,
    metrics: Metrics,
    requests: FuturesUnordered<BoxFuture<'static, Option<Event>>>,
    services: HashMap<String, Service>,
    /// Of all services.
    size: Size,
    /// The services of the first list whose instances are not known yet.
    unanswered: BTreeSet<String>,
    unlisted: Option<mpsc::Sender<Infallible>>,
    /// What fails, and why.
    failures: BTreeMap<String, String>,
    trouble: Trouble,
    list_retry: Failures,
    turns: Arc<Semaphore>,
}

struct Service {
    /// Ends its request. None: it has not been asked yet.
    request: Option<AbortHandle>,
    retry: Failures,
    size: Size,
}

/// The targets of one or more services, and the bytes of their labels.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    targets: usize,
    bytes: usize,
}

/// None for the request of a service that is gone.
enum Event {
    Services(Result<Answer<Vec<String>>, String>),
    Instances(String, Result<Answer<TargetGroup>, String>),
}

impl Watch {
    pub fn new(consul: Consul, known: Known, metrics: Metrics, unlisted: mpsc::Sender<Infallible>) -> Self {
        metrics.announce_refresh(known.job(), "consul");
        let (server, every) = (consul.config.server.clone(), consul.config.refresh_interval.0);
        Self {
            consul: Arc::new(consul),
            known,
            metrics,
            requests: FuturesUnordered::new(),
            services: HashMap::new(),
            size: Size::default(),
            unanswered: BTreeSet::new(),
            unlisted: Some(unlisted),
            failures: BTreeMap::new(),
            trouble: Trouble::new("consul", server),
            list_retry: Failures::new(retry(every)),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Runs until it is dropped. While Consul does not answer, the targets stay as they are.
    pub async fn run(mut self) {
        if self.known.resume().await {
            drop(self.unlisted.take());
        }
        if self.consul.config.lists_services() {
            self.ask_for_services(0, Duration::ZERO);
        } else {
            self.set_services(self.consul.config.services.clone()).await;
        }
        while let Some(event) = self.requests.next().await {
            match event {
                Some(Event::Services(answer)) => self.listed(answer).await,
                Some(Event::Instances(name, answer)) => self.answered(name, answer).await,
                None => continue,
            }
            let failure = self.failures.iter().next().map(|(name, why)| format!("{name}: {why}"));
            self.trouble.set(&mut self.known, failure).await;
        }
    }

    fn ask_for_services(&mut self, index: u64, pause: Duration) {
        let consul = self.consul.clone();
        let request = async move {
            sleep(pause).await;
            Some(Event::Services(consul.services(index).await))
        };
        self.requests.push(request.boxed());
    }

    fn ask_for_instances(&mut self, name: String, index: u64, pause: Duration) {
        let waits = self.services.len() <= WAITING;
        let Some(service) = self.services.get_mut(&name) else { return };
        let (consul, turns) = (self.consul.clone(), self.turns.clone());
        let (request, handle) = abortable(async move {
            sleep(pause).await;
            let _turn = if waits { None } else { turns.acquire().await.ok() };
            let answer = consul.instances(&name, if waits { index } else { 0 }).await;
            Event::Instances(name, answer)
        });
        service.request = Some(handle);
        self.requests.push(request.map(Result::ok).boxed());
    }

    async fn listed(&mut self, answer: Result<Answer<Vec<String>>, String>) {
        match answer {
            Ok(Answer { value, index }) => {
                self.failures.remove(LIST);
                self.set_services(value).await;
                self.ask_for_services(index, self.consul.config.refresh_interval.0);
            }
            Err(why) => {
                self.failed(LIST.into(), why);
                let pause = self.list_retry.pause(Instant::now(), None);
                self.ask_for_services(0, pause);
            }
        }
    }

    /// Begins to ask for services that are new, and ends it for those that are gone.
    async fn set_services(&mut self, mut names: Vec<String>) {
        if names.len() > SERVICES {
            let why =
                format!("Consul has {} services, of which {SERVICES} are used: set services or tags", names.len());
            self.failures.insert(LIST.into(), why);
            names.truncate(SERVICES);
        }
        let here: BTreeSet<String> = names.into_iter().collect();
        let gone: Vec<String> = self.services.keys().filter(|name| !here.contains(*name)).cloned().collect();
        for name in gone {
            if let Some(service) = self.services.remove(&name) {
                self.size.targets -= service.size.targets;
                self.size.bytes -= service.size.bytes;
                service.request.iter().for_each(AbortHandle::abort);
            }
            self.failures.remove(&name);
            self.unanswered.remove(&name);
        }
        let new: Vec<String> = here.iter().filter(|name| !self.services.contains_key(*name)).cloned().collect();
        let every = self.consul.config.refresh_interval.0;
        for name in &new {
            let service = Service { request: None, retry: Failures::new(retry(every)), size: Size::default() };
            self.services.insert(name.clone(), service);
        }
        if self.unlisted.is_some() {
            self.unanswered.extend(new.iter().cloned());
        }
        new.into_iter().for_each(|name| self.ask_for_instances(name, 0, Duration::ZERO));
        // Services of the previous run may be gone, too.
        self.known.retain(&here.iter().map(|name| group_id(name)).collect()).await;
        self.list_if_complete();
    }

    async fn answered(&mut self, name: String, answer: Result<Answer<TargetGroup>, String>) {
        let Answer { value, index } = match answer {
            Ok(answer) => answer,
            Err(why) => {
                self.failed(name.clone(), why);
                let retry = self.services.get_mut(&name).map(|service| service.retry.pause(Instant::now(), None));
                return self.ask_for_instances(name, 0, retry.unwrap_or_default());
            }
        };
        self.failures.remove(&name);
        let Some(service) = self.services.get_mut(&name) else { return };
        let size = Size::of(&value);
        let all = Size {
            targets: self.size.targets - service.size.targets + size.targets,
            bytes: self.size.bytes - service.size.bytes + size.bytes,
        };
        if all.targets > TARGETS || all.bytes > BYTES {
            let why = format!(
                "more than {TARGETS} targets, or {BYTES} bytes of labels, of all services: set services, tags or filter"
            );
            self.failed(name.clone(), why);
        } else {
            (service.size, self.size) = (size, all);
            self.known.set(value).await;
        }
        self.unanswered.remove(&name);
        self.list_if_complete();
        self.ask_for_instances(name, index, self.consul.config.refresh_interval.0);
    }

    /// All targets that existed at the start have been sent.
    fn list_if_complete(&mut self) {
        if self.unanswered.is_empty() {
            drop(self.unlisted.take());
        }
    }

    fn failed(&mut self, what: String, why: String) {
        self.metrics.refresh_failed(self.known.job(), "consul");
        self.metrics.consul_failed();
        self.failures.insert(what, why);
    }
}

impl Size {
    fn of(group: &TargetGroup) -> Self {
        Self { targets: group.targets.len(), bytes: group.targets.iter().map(|target| target.parts().1.bytes()).sum() }
    }
}
