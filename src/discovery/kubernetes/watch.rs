//! Lists, then watches from there. After a failure, resumes if the server allows it, otherwise lists again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;
use kube::api::{ListParams, Request, VersionMatch, WatchParams};
use tokio::time::timeout;
use tracing::warn;

use super::answer::{Line, Lines, List};
use super::config::Config;
use super::event::{self, Event};
use super::failure::Failure;
use super::health::Health;
use super::kind::{Kind, Reach};
use super::slim::Object;
use super::tell::Sink;
use super::watch_settings::{Scope, WatchSettings};
use super::{client, slim};
use crate::backoff::Failures;
use crate::discovery::Metrics;
use crate::relabel::Reads;

/// How long a list may take.
const LIST: Duration = Duration::from_secs(60);

/// The maximum size of the list of a node's objects in bytes. Only one object of it is in memory. A pod has about 10
/// KB, but its user can make it 1.5 MiB, and JSON several times that.
const NODE: usize = 1 << 30;

/// The maximum size of a cluster's list in bytes.
const CLUSTER: usize = 16 << 30;

/// How many seconds the server is asked to keep a watch open. A silently dead connection is detected only after this time,
/// and pods that come and go meanwhile are not seen. A shorter time would cause more requests.
const WATCH: u32 = 120;

/// Watches the objects of one kind in one scope.
pub(super) struct Watch<S> {
    kind: &'static Kind,
    config: Arc<Config>,
    scope: Scope,
    node: Arc<str>,
    job: Arc<str>,
    health: Health,
    failures: Failures,
    reads: Arc<Reads>,
    metrics: Metrics,
    sink: S,
}

/// The state of a watch, to resume it.
struct Place {
    client: Client,
    objects: Request,
    label_selector: Option<String>,
    field_selector: Option<String>,
    version: String,
}

impl<S: Sink> Watch<S> {
    pub(super) fn new(about: WatchSettings, sink: S) -> Self {
        let WatchSettings { config, scope, node, job, reads, metrics, backoff } = about;
        let kind = S::Object::KIND;
        let health = Health::new(&job, kind, scope.to_string(), metrics.clone());
        Self { kind, config, scope, node, job, health, failures: Failures::new(backoff), reads, metrics, sink }
    }

    /// Sends the objects until it is dropped.
    pub(super) async fn run(mut self) {
        let mut place = None;
        loop {
            if let Err(failure) = self.follow(&mut place).await {
                if !failure.resumable {
                    place = None;
                }
                self.health.failed(&failure);
                self.sink.failed(&failure).await;
                tokio::time::sleep(self.failures.pause(Instant::now(), Some(failure.retry_after))).await;
            }
        }
    }

    /// Watches from `place`, or from a new list.
    async fn follow(&mut self, place: &mut Option<Place>) -> Result<(), Failure> {
        let at = match place {
            Some(at) => at,
            None => place.insert(self.list().await.map_err(|failure| failure.to("list"))?),
        };
        self.watch(at).await.map_err(|failure| failure.to("watch"))
    }

    /// Connects again, lists all objects, and removes all others.
    async fn list(&mut self) -> Result<Place, Failure> {
        let is_of_node = matches!(self.kind.scope, Reach::Node { .. }) && !self.node.is_empty();
        let (client, server) = client::connect(&self.config, if is_of_node { NODE } else { CLUSTER }).await?;
        self.health.asks(server);
        let namespace = match &self.scope {
            Scope::All => None,
            Scope::Named(namespace) => Some(namespace.as_str()),
            Scope::Own => Some(client.default_namespace()),
        };
        self.sink.asked_in(namespace.unwrap_or_default()).await;
        let objects = Request::new(self.kind.path(namespace));
        let (label_selector, field_selector) = self.selectors(namespace);
        let params = ListParams {
            label_selector: label_selector.clone(),
            field_selector: field_selector.clone(),
            // From the server's cache, as for a kubelet, not from etcd. A limit would bypass the cache.
            resource_version: Some("0".to_string()),
            version_match: Some(VersionMatch::NotOlderThan),
            limit: None,
            ..ListParams::default()
        };
        let request = objects.list(&params).map_err(|e| Failure::answer(e.to_string()))?;
        let mut list = List::ask(&client, request, LIST).await?;
        let mut listed = BTreeSet::new();
        while let Some(json) = list.next().await? {
            let object: S::Object = slim::parse(&json, &self.reads)
                .map_err(|e| Failure::answer(format!("an object in the list of {}: {e}", self.kind.plural)))?;
            drop(json);
            listed.insert(object.group_id());
            self.sink.set(object).await;
        }
        let around = list.end()?;
        self.note_passed_over(around.passed_over);
        // Objects that disappeared meanwhile are removed.
        self.sink.listed(&listed).await;
        Ok(Place { client, objects, label_selector, field_selector, version: around.version })
    }

    /// Reads events from `at` on, until the server ends the watch normally.
    async fn watch(&mut self, at: &mut Place) -> Result<(), Failure> {
        let params = WatchParams {
            label_selector: at.label_selector.clone(),
            field_selector: at.field_selector.clone(),
            timeout: Some(WATCH),
            ..WatchParams::default()
        };
        let silence = Duration::from_secs(u64::from(WATCH) + 5);

        let started = Instant::now();
        let request = at.objects.watch(&params, &at.version).map_err(|e| Failure::answer(e.to_string()))?;
        let lines = timeout(silence, Lines::ask(&at.client, request)).await;
        let mut lines = lines.map_err(|_| Failure::silence("no answer to a watch"))??;
        self.health.recovered();
        self.sink.recovered().await;
        let mut nothing_came = true;
        loop {
            let line = timeout(silence, lines.next()).await;
            let Some(line) = line.map_err(|_| Failure::silence("the watch got no more data"))?? else { break };
            nothing_came = false;
            let Line::Whole(line) = line else {
                self.note_passed_over(1);
                continue;
            };
            let event = event::parse::<S::Object>(&line, &self.reads);
            drop(line);
            match event.map_err(|e| Failure::answer(format!("an event of a watch: {e}")))? {
                Event::Set(mut object) => {
                    at.reached(std::mem::take(&mut object.metadata_mut().resource_version));
                    self.sink.set(object).await;
                }
                Event::Deleted(mut object) => {
                    at.reached(std::mem::take(&mut object.metadata_mut().resource_version));
                    self.sink.gone(object.group_id()).await;
                }
                Event::Bookmark(version) => at.reached(version),
                Event::Error(status) => return Err(Failure::in_stream(&status)),
            }
        }
        if nothing_came && started.elapsed() < Duration::from_secs(1) {
            return Err(Failure::silence("the server closed the watch at once"));
        }
        Ok(())
    }

    /// The label and field selectors: those of the config, and the restriction to this node or the namespace.
    fn selectors(&self, namespace: Option<&str>) -> (Option<String>, Option<String>) {
        let selector = self.config.selector(self.kind);
        let own = match self.kind.scope {
            Reach::Node { field, .. } if !self.node.is_empty() => Some(format!("{field}={}", self.node)),
            Reach::Namespaces => namespace.map(|namespace| format!("metadata.name={namespace}")),
            _ => None,
        };
        let mut field = selector.field;
        if let Some(own) = own.filter(|own| !field.split(',').any(|term| term == own)) {
            field = if field.is_empty() { own } else { format!("{field},{own}") };
        }
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        (some(selector.label), some(field))
    }

    fn note_passed_over(&self, count: usize) {
        if count > 0 {
            (0..count).for_each(|_| self.metrics.pod_cut(&self.job));
            let (job, longest, plural) = (&*self.job, super::answer::LONGEST, self.kind.plural);
            warn!(job, count, longest, "some {plural} have more bytes than allowed: they are skipped");
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
