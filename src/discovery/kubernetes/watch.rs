//! List, then watch from there; after a failure resume if the server lets us, else list again.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;
use kube::api::{ListParams, Request, VersionMatch, WatchParams};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{info, warn};

use super::answer::{Line, Lines, List};
use super::backoff::Backoff;
use super::config::Config;
use super::event::{self, Event};
use super::failure::Failure;
use super::folders::{Folders, Namespace, Places};
use super::health::Health;
use super::{client, pod, slim};
use crate::discovery::{Known, Metrics};
use crate::model::{LeftOut, TargetGroup};
use crate::relabel::Reads;

/// How long a list may take.
const LIST: Duration = Duration::from_secs(60);

/// How long the list of a node's pods may be, in bytes: no more than one pod of it is held. A pod has some 10 KB, but its user
/// may make it 1.5 MiB, and JSON several times that.
const NODE: usize = 1 << 30;

/// How long that of a cluster's pods may be.
const CLUSTER: usize = 16 << 30;

/// Of so many pods is remembered that something of them was left out; of more nothing is said.
const REMEMBERED: usize = 1000;

/// For how many seconds the server is asked to keep a watch open. A connection that died without a word is noticed
/// only after that, and a pod that comes and goes meanwhile is never seen; shorter would cost the server more requests.
const WATCH: u32 = 120;

/// Of which namespace the pods are watched.
#[derive(Clone, Debug)]
pub(super) enum Scope {
    All,
    Named(String),
    /// The one that the agent itself runs in.
    Own,
}

/// The pods of one node in one scope.
pub(in crate::discovery) struct Watch {
    config: Arc<Config>,
    scope: Scope,
    node: Arc<str>,
    job: Arc<str>,
    health: Health,
    backoff: Backoff,
    reads: Arc<Reads>,
    metrics: Metrics,
    /// Pods of which was said what was left out.
    cut: BTreeSet<String>,
    /// None: pods are found by the API server alone.
    folders: Option<Arc<Folders>>,
}

/// Where a watch is, to go on from there.
struct Place {
    client: Client,
    pods: Request,
    version: String,
}

impl Watch {
    pub(super) fn new(
        config: Arc<Config>,
        scope: Scope,
        node: &Arc<str>,
        job: &Arc<str>,
        reads: Arc<Reads>,
        metrics: Metrics,
    ) -> Self {
        let name = match &scope {
            Scope::All => "all namespaces".to_string(),
            Scope::Named(name) => format!("namespace {name}"),
            Scope::Own => "own namespace".to_string(),
        };
        Self {
            config,
            scope,
            node: Arc::clone(node),
            job: Arc::clone(job),
            health: Health::new(job, name, metrics.clone()),
            backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(30)),
            reads,
            metrics,
            cut: BTreeSet::new(),
            folders: None,
        }
    }

    /// Has pods found by the folders of their logs as well; gives what looks at these, to be run beside the watch. None: the
    /// config does not want that, or no node's pods are meant.
    pub(in crate::discovery) fn with_folders(&mut self, places: Places, known: Known) -> Option<Arc<Folders>> {
        if self.node.is_empty() || self.config.role != "pod" || self.config.pods_from_path == Some(false) {
            return None;
        }
        let namespace = match &self.scope {
            Scope::All => Namespace::All,
            Scope::Named(name) => Namespace::Named(name.clone()),
            Scope::Own => Namespace::NotKnown,
        };
        let by = format!("{} {:?} {}", known.prefix(), self.scope, self.job);
        let whose = (&self.job, &self.node, by);
        let folders = Folders::new(places, whose, namespace, self.is_selective(), known, self.metrics.clone());
        let folders = Arc::new(folders);
        self.folders = Some(Arc::clone(&folders));
        Some(folders)
    }

    /// Whether only some of the node's pods are asked for.
    fn is_selective(&self) -> bool {
        let (label, field) = self.selectors();
        label.is_some() || field.is_some_and(|field| field != format!("spec.nodeName={}", self.node))
    }

    /// Tells of the pods until it is dropped. `unlisted` is let go when the first list has been told.
    pub(in crate::discovery) async fn run(mut self, mut known: Known, unlisted: mpsc::Sender<Infallible>) {
        let mut unlisted = Some(unlisted);
        let mut place = None;
        loop {
            if let Err(failure) = self.follow(&mut place, &mut known, &mut unlisted).await {
                if !failure.resumable {
                    place = None;
                }
                self.health.failed(&failure);
                tokio::time::sleep(self.backoff.delay(Instant::now())).await;
            }
        }
    }

    /// Watches from `place` on, or from a new list.
    async fn follow(
        &mut self,
        place: &mut Option<Place>,
        known: &mut Known,
        unlisted: &mut Option<mpsc::Sender<Infallible>>,
    ) -> Result<(), Failure> {
        let at = match place {
            Some(at) => at,
            None => place.insert(self.list(known).await?),
        };
        if unlisted.take().is_some() {
            self.say_what_was_listed(known.len());
        }
        self.watch(at, known).await
    }

    /// Connects anew and tells what there is; whatever else was known is gone.
    async fn list(&mut self, known: &mut Known) -> Result<Place, Failure> {
        let (client, server) = client::connect(&self.config, if self.node.is_empty() { CLUSTER } else { NODE }).await?;
        self.health.asks(server);
        let namespace = match &self.scope {
            Scope::All => None,
            Scope::Named(namespace) => Some(namespace.as_str()),
            Scope::Own => Some(client.default_namespace()),
        };
        if let Some(folders) = &self.folders {
            folders.set_namespace(namespace.unwrap_or_default()).await;
        }
        let pods = Request::new(match namespace {
            Some(namespace) => format!("/api/v1/namespaces/{namespace}/pods"),
            None => "/api/v1/pods".to_string(),
        });
        let (label_selector, field_selector) = self.selectors();
        let params = ListParams {
            label_selector,
            field_selector,
            // From the server's cache, as a node's own agents do, not from etcd. A limit would undo that.
            resource_version: Some("0".to_string()),
            version_match: Some(VersionMatch::NotOlderThan),
            limit: None,
            ..ListParams::default()
        };
        let request = pods.list(&params).map_err(|e| Failure::answer(e.to_string()))?;
        let mut list = List::ask(&client, request, LIST).await?;
        let mut listed = BTreeSet::new();
        while let Some(json) = list.next().await? {
            let pod =
                slim::parse(&json, &self.reads).map_err(|e| Failure::answer(format!("a pod of the list: {e}")))?;
            drop(json);
            let group = pod::group(&pod, &self.reads);
            listed.insert(group.source.clone());
            self.tell(group, known).await;
        }
        let around = list.end()?;
        self.note_passed_over(around.passed_over);
        // What vanished while nobody looked is gone.
        known.retain(&listed).await;
        if let Some(folders) = &self.folders {
            folders.lists(&listed).await;
        }
        self.cut.retain(|source| listed.contains(source));
        Ok(Place { client, pods, version: around.version })
    }

    /// Follows what happens from `at` on, until the server ends the watch in good order.
    async fn watch(&mut self, at: &mut Place, known: &mut Known) -> Result<(), Failure> {
        let (label_selector, field_selector) = self.selectors();
        let params = WatchParams { label_selector, field_selector, timeout: Some(WATCH), ..WatchParams::default() };
        let silence = Duration::from_secs(u64::from(WATCH) + 5);

        let started = Instant::now();
        let request = at.pods.watch(&params, &at.version).map_err(|e| Failure::answer(e.to_string()))?;
        let lines = timeout(silence, Lines::ask(&at.client, request)).await;
        let lines = lines.map_err(|_| Failure::silence("no answer to a watch of pods"))?;
        let mut lines = lines.map_err(Failure::request)?;
        self.health.recovered();
        let mut nothing_came = true;
        loop {
            let line = timeout(silence, lines.next()).await;
            let Some(line) = line.map_err(|_| Failure::silence("the watch of pods fell silent"))?? else { break };
            nothing_came = false;
            let Line::Whole(line) = line else {
                self.note_passed_over(1);
                continue;
            };
            let event = event::parse(&line, &self.reads);
            drop(line);
            match event.map_err(|e| Failure::answer(format!("an event of a watch: {e}")))? {
                Event::Set(pod) => {
                    self.tell(pod::group(&pod, &self.reads), known).await;
                    at.reached(pod.metadata.resource_version);
                }
                Event::Deleted(pod) => {
                    let source = pod::source(&pod.metadata);
                    known.remove(&source).await;
                    if let Some(folders) = &self.folders {
                        folders.hides(&source).await;
                    }
                    self.cut.remove(&source);
                    at.reached(pod.metadata.resource_version);
                }
                Event::Bookmark(version) => at.reached(version),
                Event::Error(status) => return Err(Failure::in_stream(&status)),
            }
        }
        if nothing_came && started.elapsed() < Duration::from_secs(1) {
            return Err(Failure::silence("the watch of pods was closed at once"));
        }
        Ok(())
    }

    /// The label and the field selector: the user's, and this node's pods only.
    fn selectors(&self) -> (Option<String>, Option<String>) {
        let selector = self.config.selector();
        let mut field = selector.field;
        let node = format!("spec.nodeName={}", self.node);
        if !self.node.is_empty() && !field.split(',').any(|term| term == node) {
            field = if field.is_empty() { node } else { format!("{field},{node}") };
        }
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        (some(selector.label), some(field))
    }

    async fn tell(&mut self, group: TargetGroup, known: &mut Known) {
        self.note_left_out(&group.source, group.left_out);
        if let Some(folders) = &self.folders {
            folders.shows(&group).await;
        }
        known.set(group).await;
    }

    /// Counts and says once of a pod that something of it is left out that may change what is read.
    fn note_left_out(&mut self, source: &str, left_out: LeftOut) {
        if !left_out.matters() {
            self.cut.remove(source);
            return;
        }
        if self.cut.len() < REMEMBERED && self.cut.insert(source.to_string()) {
            self.metrics.pod_cut(&self.job);
            let job = &*self.job;
            warn!(job, source, %left_out, "a pod with more than is kept of one: that much is left out");
        }
    }

    fn note_passed_over(&self, pods: usize) {
        if pods > 0 {
            (0..pods).for_each(|_| self.metrics.pod_cut(&self.job));
            let (job, longest) = (&*self.job, super::answer::LONGEST);
            warn!(job, pods, longest, "pods with more bytes than are looked at: their logs are not read");
        }
    }

    fn say_what_was_listed(&self, pods: usize) {
        let (job, node) = (&*self.job, &*self.node);
        let everything = matches!(self.scope, Scope::All) && self.config.selectors.is_empty();
        if pods == 0 && everything && !node.is_empty() {
            warn!(job, node, "no pods on this node: if its name is another, set HOSTNAME to the pod's spec.nodeName");
        } else {
            info!(job, node, pods, "watching pods");
        }
    }
}

impl Place {
    fn reached(&mut self, version: String) {
        if !version.is_empty() {
            self.version = version;
        }
    }
}

#[cfg(test)]
mod tests;
