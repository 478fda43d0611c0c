//! Sends the groups of one config: at once if they need no related objects, otherwise also when a related object
//! changes.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};
use tracing::{info, warn};

use super::beside::{Aside, Beside, ROOM, Store};
use super::config::Config;
use super::failure::{Failure, Reason};
use super::folders::Folders;
use super::kind::Kind;
use super::role::{Finds, Role, With};
use super::slim::Object;
use super::watch_settings::WatchSettings;
use crate::discovery::{Known, Metrics};
use crate::model::{LeftOut, TargetGroup};
use crate::relabel::Reads;

/// The most objects with omitted parts that are logged.
const REMEMBERED: usize = 1000;

/// Receives the objects of a watch.
pub(super) trait Sink: Send {
    type Object: Object;

    fn set(&mut self, object: Self::Object) -> impl Future<Output = ()> + Send;
    fn gone(&mut self, group_id: String) -> impl Future<Output = ()> + Send;

    /// The complete list of existing objects.
    fn listed(&mut self, group_ids: &BTreeSet<String>) -> impl Future<Output = ()> + Send;

    /// The namespace of the requests. Empty: all.
    fn asked_in(&mut self, _namespace: &str) -> impl Future<Output = ()> + Send {
        async {}
    }

    fn failed(&mut self, failure: &Failure) -> impl Future<Output = ()> + Send;
    fn recovered(&mut self) -> impl Future<Output = ()> + Send;
}

/// The common data of the watches of one config and one scope.
pub(super) struct Teller<O> {
    config: Arc<Config>,
    scope: String,
    node: Arc<str>,
    reads: Arc<Reads>,
    job: Arc<str>,
    metrics: Metrics,
    known: Known,
    /// None: pods are only found by the API server.
    folders: Option<Arc<Folders>>,
    /// Kept only if there are related objects.
    objects: Store<O>,
    beside: Beside,
    /// The kinds of related objects. Their first lists are waited for.
    asides: Vec<&'static Kind>,
    awaited: Vec<&'static Kind>,
    is_listed: bool,
    /// Dropped when all objects of the start have been sent.
    unlisted: Option<mpsc::Sender<Infallible>>,
    /// Objects whose omitted parts have been logged.
    cut: BTreeSet<String>,
    is_full: bool,
}

pub(super) type Shared<O> = Arc<Mutex<Teller<O>>>;

impl<O: Finds> Teller<O> {
    pub(super) fn new(
        role: Role,
        about: &WatchSettings,
        known: Known,
        folders: Option<Arc<Folders>>,
        unlisted: mpsc::Sender<Infallible>,
    ) -> Self {
        let WatchSettings { config, scope, node, reads, job, metrics, .. } = about.clone();
        let asides = role.beside(&config.attach_metadata);
        Self {
            config,
            scope: scope.to_string(),
            node,
            reads,
            job,
            metrics,
            known,
            folders,
            objects: Store::new(ROOM),
            beside: Beside::default(),
            awaited: asides.clone(),
            asides,
            is_listed: false,
            unlisted: Some(unlisted),
            cut: BTreeSet::new(),
            is_full: false,
        }
    }

    /// Stops waiting for related objects if there is something to send. False: there is nothing yet.
    pub(super) async fn wait_no_longer(&mut self) -> bool {
        if self.is_listed {
            self.awaited.clear();
            self.tell_all().await;
        }
        self.is_listed
    }

    async fn settled(&mut self, kind: &'static Kind) {
        let before = self.awaited.len();
        self.awaited.retain(|awaited| *awaited != kind);
        if self.awaited.len() < before {
            self.tell_all().await;
        }
    }

    /// Called when everything is there for the first time.
    async fn tell_all(&mut self) {
        if self.awaited.is_empty() {
            let groups: Vec<TargetGroup> = self.objects.values().map(|object| self.group(object)).collect();
            for group in groups {
                self.tell(group).await;
            }
            self.let_go();
        }
    }

    fn let_go(&mut self) {
        if self.is_listed && self.awaited.is_empty() && self.unlisted.take().is_some() {
            self.say_what_was_listed();
        }
    }

    fn group(&self, object: &O) -> TargetGroup {
        object.group(&With { reads: &self.reads, attach: &self.config.attach_metadata, beside: &self.beside })
    }

    async fn set(&mut self, mut object: O) {
        let group_id = object.group_id();
        if !object.narrow(&self.node) {
            return self.remove(&group_id).await;
        }
        if self.awaited.is_empty() {
            let group = self.group(&object);
            self.tell(group).await;
        }
        if !self.asides.is_empty() && !self.objects.set(group_id, object) {
            self.note_full(O::KIND);
        }
    }

    async fn remove(&mut self, group_id: &str) {
        self.objects.remove(group_id);
        self.known.remove(group_id).await;
        if let Some(folders) = &self.folders {
            folders.hides(group_id).await;
        }
        self.cut.remove(group_id);
    }

    async fn listed(&mut self, group_ids: &BTreeSet<String>) {
        self.objects.retain(group_ids);
        self.known.retain(group_ids).await;
        if let Some(folders) = &self.folders {
            folders.lists(group_ids).await;
        }
        self.cut.retain(|group_id| group_ids.contains(group_id));
        self.is_listed = true;
        self.let_go();
    }

    /// Sends the groups that have labels of the changed object again.
    async fn changed(&mut self, kind: &'static Kind, group_id: &str) {
        if self.awaited.is_empty() {
            let objects = self.objects.values().filter(|object| object.refers(kind, group_id));
            let groups: Vec<TargetGroup> = objects.map(|object| self.group(object)).collect();
            for group in groups {
                self.tell(group).await;
            }
        }
    }

    async fn tell(&mut self, group: TargetGroup) {
        self.note_left_out(&group.id, group.left_out);
        if let Some(folders) = &self.folders {
            folders.shows(&group).await;
        }
        self.known.set(group).await;
    }

    /// Counts and logs, once for each object, that parts are omitted that may change what is read.
    fn note_left_out(&mut self, group_id: &str, left_out: LeftOut) {
        if !left_out.matters() {
            self.cut.remove(group_id);
            return;
        }
        if self.cut.len() < REMEMBERED && self.cut.insert(group_id.to_string()) {
            self.metrics.pod_cut(&self.job);
            let (job, role) = (&*self.job, O::KIND.role);
            warn!(job, group = group_id, %left_out, "a {role} has more containers, ports, labels or annotations than the agent keeps: the rest is omitted");
        }
    }

    fn note_full(&mut self, kind: &Kind) {
        self.metrics.pod_cut(&self.job);
        if !std::mem::replace(&mut self.is_full, true) {
            let (job, room) = (&*self.job, ROOM);
            warn!(
                job,
                room,
                "the {} need more memory than allowed: some are omitted; select fewer with namespaces or selectors",
                kind.plural
            );
        }
    }

    /// A missing permission is shown in place of the targets.
    async fn failed(&mut self, kind: &'static Kind, failure: &Failure) {
        if failure.reason == Reason::Forbidden {
            let text = format!("{}: {}", self.scope, failure.advice(kind));
            self.known.note(&self.note_of(kind), Some(&text)).await;
            self.settled(kind).await;
        }
    }

    async fn recovered(&mut self, kind: &Kind) {
        self.known.note(&self.note_of(kind), None).await;
    }

    fn note_of(&self, kind: &Kind) -> String {
        format!("watch/{}/{}", kind.plural, self.scope)
    }

    fn say_what_was_listed(&self) {
        let (job, node, count, plural) = (&*self.job, &*self.node, self.known.len(), O::KIND.plural);
        let names = &self.config.namespaces;
        let everything = names.names.is_empty() && !names.own_namespace && self.config.selectors.is_empty();
        if count == 0 && everything && !node.is_empty() && plural == "pods" {
            warn!(job, node, "no pods on this node: if its name is another, set HOSTNAME to the pod's spec.nodeName");
        } else {
            info!(job, node, count, "watching {plural}");
        }
    }
}

/// The objects of the role.
pub(super) struct Main<O>(pub(super) Shared<O>);

impl<O: Finds> Sink for Main<O> {
    type Object = O;

    async fn set(&mut self, object: O) {
        self.0.lock().await.set(object).await;
    }

    async fn gone(&mut self, group_id: String) {
        self.0.lock().await.remove(&group_id).await;
    }

    async fn listed(&mut self, group_ids: &BTreeSet<String>) {
        self.0.lock().await.listed(group_ids).await;
    }

    async fn asked_in(&mut self, namespace: &str) {
        let folders = self.0.lock().await.folders.clone();
        if let Some(folders) = folders {
            folders.set_namespace(namespace).await;
        }
    }

    async fn failed(&mut self, failure: &Failure) {
        self.0.lock().await.failed(O::KIND, failure).await;
    }

    async fn recovered(&mut self) {
        self.0.lock().await.recovered(O::KIND).await;
    }
}

/// The related objects.
pub(super) struct Other<O, A>(pub(super) Shared<O>, pub(super) PhantomData<fn() -> A>);

impl<O: Finds, A: Aside> Sink for Other<O, A> {
    type Object = A;

    async fn set(&mut self, object: A) {
        let (mut teller, group_id) = (self.0.lock().await, object.group_id());
        if !A::store(&mut teller.beside).set(group_id.clone(), object) {
            teller.note_full(A::KIND);
        }
        teller.changed(A::KIND, &group_id).await;
    }

    async fn gone(&mut self, group_id: String) {
        let mut teller = self.0.lock().await;
        if A::store(&mut teller.beside).remove(&group_id) {
            teller.changed(A::KIND, &group_id).await;
        }
    }

    async fn listed(&mut self, group_ids: &BTreeSet<String>) {
        let mut teller = self.0.lock().await;
        for group_id in A::store(&mut teller.beside).retain(group_ids) {
            teller.changed(A::KIND, &group_id).await;
        }
        teller.settled(A::KIND).await;
    }

    async fn failed(&mut self, failure: &Failure) {
        self.0.lock().await.failed(A::KIND, failure).await;
    }

    async fn recovered(&mut self) {
        self.0.lock().await.recovered(A::KIND).await;
    }
}
