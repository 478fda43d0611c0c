//! `kubernetes_sd_configs`: finds objects by watches, one for each config and namespace.
//!
//! ```yaml
//! kubernetes_sd_configs:
//!   - role: pod
//!     namespaces: {names: [test]}
//!     selectors: [{role: pod, label: app=web}]
//! ```
//!
//! A pod is sent as soon as it arrives. Only a hash of it is kept. If labels of other objects are added to it, the
//! values that rules read are kept too ([`beside`]). If the API server is down, refuses requests, or does not know the
//! watch's version any more, no target is removed, and tailing continues.

mod answer;
mod beside;
mod bounded;
mod client;
mod common;
mod config;
mod event;
pub mod events;
mod failure;
mod folders;
mod health;
mod kind;
mod objects;
mod pieces;
mod pod;
mod reach;
mod remembered;
mod role;
mod slim;
mod tell;
mod validate;
mod watch;
mod watch_settings;

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, join_all};
use tokio::sync::{Mutex, mpsc};
use tracing::warn;

use super::{Known, Metrics};
use crate::backoff::Backoff;
use crate::relabel::Reads;
use beside::Aside;
pub use config::Config;
use folders::Folders;
pub use folders::Places;
use kind::Kind;
use objects::{Namespace, Node, Service};
pub use reach::Reach;
pub use remembered::Remembered;
use role::{EndpointSlice, Endpoints, Finds, Ingress, Role};
use slim::{Object, Pod};
use tell::{Main, Other, Shared, Teller};
use watch::Watch;
use watch_settings::{Scope, WatchSettings};

/// How long an object waits for related objects before it is sent without them.
const BESIDE: Duration = Duration::from_secs(30);

/// The pauses after failures of the API server.
const BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(500), most: Duration::from_secs(30), most_asked: Duration::from_secs(30) };

/// The targets of one config in one scope.
pub(super) struct Discovery {
    role: Role,
    about: WatchSettings,
}

/// The discoveries for `config`: one for each namespace, or one for all.
///
/// `reads` has the labels that the job reads.
pub(super) fn discoveries(
    config: Config,
    node: &Arc<str>,
    job: &Arc<str>,
    reads: &Arc<Reads>,
    metrics: &Metrics,
) -> Vec<Discovery> {
    // Validation refuses unknown roles.
    let Some(role) = Role::of(&config.role) else { return Vec::new() };
    if node.is_empty() && (role.has_pods() || role == Role::Node) {
        warn!(
            job = &**job,
            "the node's name is not known, so the pods of all nodes are watched: \
             set the environment variable HOSTNAME to the pod's spec.nodeName"
        );
    }
    let mut scopes: Vec<Scope> = config.namespaces.names.iter().cloned().map(Scope::Named).collect();
    if config.namespaces.own_namespace {
        scopes.push(Scope::Own);
    }
    if scopes.is_empty() || !role.kind().is_namespaced() {
        scopes = vec![Scope::All];
    }
    let config = Arc::new(config);
    let of = |scope| {
        let about = WatchSettings {
            config: Arc::clone(&config),
            scope,
            node: Arc::clone(node),
            job: Arc::clone(job),
            reads: Arc::clone(reads),
            metrics: metrics.clone(),
            backoff: BACKOFF,
        };
        Discovery { role, about }
    };
    scopes.into_iter().map(of).collect()
}

impl Discovery {
    /// Starts to find pods by their log directories. Returns the task that must run for it. None: the config disables
    /// it, or the node is not known.
    pub(super) fn folders(&self, places: Places, known: Known) -> Option<Arc<Folders>> {
        let WatchSettings { config, scope, node, job, metrics, .. } = &self.about;
        if node.is_empty() || self.role != Role::Pod || config.pods_from_path == Some(false) {
            return None;
        }
        let namespace = match scope {
            Scope::All => folders::Namespace::All,
            Scope::Named(name) => folders::Namespace::Named(name.clone()),
            Scope::Own => folders::Namespace::NotKnown,
        };
        // This selector only has the node's own pods, which are requested anyway.
        let own = format!("spec.nodeName={node}");
        let narrows = |written: &str| !written.is_empty() && written != own;
        let is_selective = config.selectors.iter().any(|selector| narrows(&selector.label) || narrows(&selector.field));
        let by = format!("{} {scope:?} {job}", known.prefix());
        Some(Arc::new(Folders::new(places, (job, node, by), namespace, is_selective, known, metrics.clone())))
    }

    /// Sends the targets until it is dropped. `unlisted` is dropped when the first list has been sent.
    pub(super) fn run(
        self,
        known: Known,
        folders: Option<Arc<Folders>>,
        unlisted: mpsc::Sender<Infallible>,
    ) -> BoxFuture<'static, ()> {
        match self.role {
            Role::Pod => self.find::<Pod>(known, folders, unlisted).boxed(),
            Role::Service => self.find::<Service>(known, folders, unlisted).boxed(),
            Role::Endpoints => self.find::<Endpoints>(known, folders, unlisted).boxed(),
            Role::EndpointSlice => self.find::<EndpointSlice>(known, folders, unlisted).boxed(),
            Role::Node => self.find::<Node>(known, folders, unlisted).boxed(),
            Role::Ingress => self.find::<Ingress>(known, folders, unlisted).boxed(),
        }
    }

    async fn find<O: Finds>(self, known: Known, folders: Option<Arc<Folders>>, unlisted: mpsc::Sender<Infallible>) {
        let Self { role, about } = self;
        let teller: Shared<O> = Arc::new(Mutex::new(Teller::new(role, &about, known, folders, unlisted)));
        let mut watches = vec![Watch::new(about.clone(), Main(Arc::clone(&teller))).run().boxed()];
        let asides = role.beside(&about.config.attach_metadata);
        watches.extend(asides.iter().filter_map(|kind| aside(kind, &about, &teller)));
        if !asides.is_empty() {
            let wait = async move {
                loop {
                    tokio::time::sleep(BESIDE).await;
                    if teller.lock().await.wait_no_longer().await {
                        break;
                    }
                }
            };
            watches.push(wait.boxed());
        }
        join_all(watches).await;
    }
}

/// The watch of related objects.
fn aside<O: Finds>(kind: &'static Kind, about: &WatchSettings, teller: &Shared<O>) -> Option<BoxFuture<'static, ()>> {
    fn of<O: Finds, A: Aside>(about: &WatchSettings, teller: &Shared<O>) -> BoxFuture<'static, ()> {
        Watch::new(about.clone(), Other::<O, A>(Arc::clone(teller), PhantomData)).run().boxed()
    }
    match kind {
        _ if *kind == *Pod::KIND => Some(of::<O, Pod>(about, teller)),
        _ if *kind == *Service::KIND => Some(of::<O, Service>(about, teller)),
        _ if *kind == *Node::KIND => Some(of::<O, Node>(about, teller)),
        _ if *kind == *Namespace::KIND => Some(of::<O, Namespace>(about, teller)),
        _ => None,
    }
}
