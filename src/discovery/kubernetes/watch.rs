//! List, then watch from there; after a failure resume if the server lets us, else list again.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::Api;
use kube::api::{ListParams, VersionMatch, WatchEvent, WatchParams};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{info, warn};

use super::backoff::Backoff;
use super::client;
use super::config::Config;
use super::failure::Failure;
use super::health::Health;
use super::pod;
use super::slim::Pod;
use crate::discovery::{Known, Metrics};
use crate::model::TargetGroup;

/// How long a list may take.
const LIST: Duration = Duration::from_secs(60);

/// How long the list of a node's pods may be, in bytes: a pod has some 10 KB, and a list is held four times over for a moment.
const NODE: usize = 16 << 20;

/// How long that of a cluster's pods may be: whoever watches these has the memory for it.
const CLUSTER: usize = 256 << 20;

/// Of so many pods is remembered what was said of their ports; of more nothing is said.
const CROWDED: usize = 1000;

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
    /// Pods of which was said that not each of their ports is a target.
    crowded: BTreeSet<String>,
}

/// Where a watch is, to go on from there.
struct Place {
    pods: Api<Pod>,
    version: String,
}

impl Watch {
    pub(super) fn new(config: Arc<Config>, scope: Scope, node: &Arc<str>, job: &Arc<str>, metrics: Metrics) -> Self {
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
            health: Health::new(job, name, metrics),
            backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(30)),
            crowded: BTreeSet::new(),
        }
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
        let pods: Api<Pod> = match &self.scope {
            Scope::All => Api::all(client),
            Scope::Named(namespace) => Api::namespaced(client, namespace),
            Scope::Own => Api::default_namespaced(client),
        };
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
        let listed = timeout(LIST, pods.list(&params)).await;
        let listed = listed.map_err(|_| Failure::silence("no answer to a list of pods"))?.map_err(Failure::request)?;
        let version = listed.metadata.resource_version.unwrap_or_default();
        let groups: Vec<TargetGroup> = listed.items.iter().map(pod::group).collect();
        groups.iter().for_each(|group| self.note_ports(group));
        known.replace(groups).await;
        Ok(Place { pods, version })
    }

    /// Follows what happens from `at` on, until the server ends the watch in good order.
    async fn watch(&mut self, at: &mut Place, known: &mut Known) -> Result<(), Failure> {
        let (label_selector, field_selector) = self.selectors();
        let params = WatchParams { label_selector, field_selector, timeout: Some(WATCH), ..WatchParams::default() };
        let silence = Duration::from_secs(u64::from(WATCH) + 5);

        let started = Instant::now();
        let events = timeout(silence, at.pods.watch(&params, &at.version)).await;
        let events = events.map_err(|_| Failure::silence("no answer to a watch of pods"))?;
        let mut events = pin!(events.map_err(Failure::request)?);
        self.health.recovered();
        let mut nothing_came = true;
        loop {
            let event = timeout(silence, events.next()).await;
            let Some(event) = event.map_err(|_| Failure::silence("the watch of pods fell silent"))? else { break };
            nothing_came = false;
            match event.map_err(Failure::broken)? {
                WatchEvent::Added(pod) | WatchEvent::Modified(pod) => {
                    let group = pod::group(&pod);
                    self.note_ports(&group);
                    known.set(group).await;
                    at.reached(pod.metadata.resource_version);
                }
                WatchEvent::Deleted(pod) => {
                    known.remove(&pod::source(&pod)).await;
                    at.reached(pod.metadata.resource_version);
                }
                WatchEvent::Bookmark(bookmark) => at.reached(Some(bookmark.metadata.resource_version)),
                WatchEvent::Error(status) => return Err(Failure::in_stream(&status)),
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

    /// Says once of a pod that not each of its ports is a target.
    fn note_ports(&mut self, group: &TargetGroup) {
        let left_out = group.targets.first().and_then(|labels| labels.get(pod::PORTS_LEFT_OUT));
        let Some(ports) = left_out else {
            self.crowded.remove(&group.source);
            return;
        };
        if self.crowded.len() < CROWDED && self.crowded.insert(group.source.clone()) {
            let (job, source) = (&*self.job, &group.source);
            warn!(
                job,
                source, ports, "a pod with too many ports for its annotations: these are no targets of their own"
            );
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
    fn reached(&mut self, version: Option<String>) {
        if let Some(version) = version.filter(|version| !version.is_empty()) {
            self.version = version;
        }
    }
}

#[cfg(test)]
mod tests;
