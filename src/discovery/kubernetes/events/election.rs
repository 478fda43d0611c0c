//! Chooses the agent of the cluster that sends the events: the holder of a Lease. The holder renews it; if it is silent
//! for too long, another agent takes it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::Client;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::timeout;

use super::config::Config;
use super::follow::Leading;
use super::leads::Leads;
use super::lease::{Holder, Lease};
use super::progress::Progress;
use crate::discovery::kubernetes::Config as Access;
use crate::discovery::kubernetes::client;
use crate::discovery::kubernetes::failure::{Failure, Reason};

/// The maximum size of an answer in bytes.
const LARGEST: usize = 1 << 20;

pub(super) struct Election<'l> {
    access: Access,
    /// Empty: that of the agent.
    namespace: String,
    name: String,
    job: Arc<str>,
    identity: Arc<str>,
    progress: Arc<Progress>,
    leading: &'l watch::Sender<Leading>,
    leads: &'l Leads,
    /// How long the holder may be silent before another agent takes the Lease.
    duration: Duration,
    client: Option<Client>,
    /// The holder, and since when the Lease has been as it is. Only this agent's clock counts.
    seen: Option<(Holder, Instant)>,
    /// When this agent held the Lease last.
    held: Option<Instant>,
    is_failing: bool,
}

impl<'l> Election<'l> {
    pub fn new(
        config: &Config,
        job: &Arc<str>,
        identity: Arc<str>,
        progress: Arc<Progress>,
        (leading, leads): (&'l watch::Sender<Leading>, &'l Leads),
        duration: Duration,
    ) -> Self {
        Self {
            access: config.access(),
            namespace: config.lease_namespace.clone(),
            name: config.lease(job),
            job: job.clone(),
            identity,
            progress,
            leading,
            leads,
            duration,
            client: None,
            seen: None,
            held: None,
            is_failing: false,
        }
    }

    /// Takes part until it is dropped.
    pub async fn run(mut self) {
        loop {
            let begun = Instant::now();
            let turn = timeout(self.duration / 3, self.turn()).await;
            match turn.unwrap_or_else(|_| Err(Failure::silence("no answer to a request for the Lease"))) {
                Ok(()) => self.recovered(),
                Err(failure) => self.failed(&failure),
            }
            // Another agent may take the Lease soon.
            if self.held.is_some_and(|held| held.elapsed() > self.duration * 2 / 3) {
                self.follow_nothing("the Lease could not be renewed");
            }
            tokio::time::sleep((self.duration / 3).saturating_sub(begun.elapsed())).await;
        }
    }

    async fn turn(&mut self) -> Result<(), Failure> {
        let client = match &self.client {
            Some(client) => client.clone(),
            None => {
                let (client, _) = client::connect(&self.access, LARGEST).await?;
                self.client.insert(client).clone()
            }
        };
        let begun = Instant::now();
        let Some(lease) = self.get(&client).await? else {
            let lease = self.mine(Lease::new(&self.name));
            return match self.send(&client, "POST", "", lease).await? {
                true => self.hold(begun, None),
                false => Ok(()),
            };
        };
        let holder = lease.holder();
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != holder) {
            self.seen = Some((holder.clone(), begun));
        }
        let is_mine = holder.0 == *self.identity;
        let is_silent = self.seen.as_ref().is_some_and(|(_, since)| since.elapsed() > self.duration);
        if !is_mine && !is_silent && !holder.0.is_empty() {
            self.follow_nothing("another agent holds the Lease");
            return Ok(());
        }
        let delivered = lease.delivered();
        let path = format!("/{}", self.name);
        let lease = self.mine(lease);
        match self.send(&client, "PUT", &path, lease).await? {
            true => self.hold(begun, delivered),
            // Another agent was faster.
            false => Ok(()),
        }
    }

    fn mine(&self, lease: Lease) -> Lease {
        let leads = self.leading.borrow().is_some();
        // Before this agent has led, it does not know how far events are delivered.
        let delivered = self.progress.of_all().filter(|_| leads);
        lease.held_by(&self.identity, Timestamp::now(), self.duration, delivered)
    }

    /// This agent holds the Lease since `begun`, when it was renewed.
    fn hold(&mut self, begun: Instant, delivered: Option<u64>) -> Result<(), Failure> {
        self.held = Some(begun);
        let is_news = self.leading.send_if_modified(|leading| match leading {
            Some(_) => false,
            None => {
                *leading = Some(delivered);
                true
            }
        });
        self.leads.set(true);
        if is_news {
            tracing::info!(
                job = &*self.job,
                lease = self.name,
                "this agent sends the Kubernetes events of the cluster"
            );
        }
        Ok(())
    }

    fn follow_nothing(&mut self, reason: &str) {
        self.held = None;
        self.leads.set(false);
        if self.leading.send_if_modified(|leading| leading.take().is_some()) {
            tracing::info!(
                job = &*self.job,
                lease = self.name,
                reason,
                "this agent does not send the Kubernetes events any more"
            );
        }
    }

    /// The Lease. None: there is none.
    async fn get(&self, client: &Client) -> Result<Option<Lease>, Failure> {
        let request = http::Request::get(self.path(client, &format!("/{}", self.name))).body(Vec::new());
        match client.request::<Value>(request.map_err(|e| Failure::answer(e.to_string()))?).await {
            Ok(lease) => Ok(Some(Lease(lease))),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(Failure::request(error).to("get")),
        }
    }

    /// Returns false if another agent has changed the Lease meanwhile.
    async fn send(&self, client: &Client, method: &'static str, path: &str, lease: Lease) -> Result<bool, Failure> {
        let request = http::Request::builder().method(method).uri(self.path(client, path));
        let request =
            request.header(http::header::CONTENT_TYPE, "application/json").body(lease.0.to_string().into_bytes());
        match client.request::<Value>(request.map_err(|e| Failure::answer(e.to_string()))?).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(Failure::request(error).to(if method == "POST" { "create" } else { "update" })),
        }
    }

    fn path(&self, client: &Client, path: &str) -> String {
        let namespace = if self.namespace.is_empty() { client.default_namespace() } else { &self.namespace };
        format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases{path}")
    }

    fn failed(&mut self, failure: &Failure) {
        // The address or the certificate may have changed.
        self.client = None;
        if std::mem::replace(&mut self.is_failing, true) {
            return;
        }
        let (job, lease, error) = (&*self.job, &self.name, &failure.error);
        let advice = match failure.reason {
            Reason::Forbidden => {
                "add this rule to the Role or ClusterRole of the service account: \
                 {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update]}"
            }
            _ => "check the connection to the API server, or set leader_election: false if only one agent has this job",
        };
        tracing::warn!(
            job,
            lease,
            error,
            advice,
            "cannot take part in the election of the agent that sends the Kubernetes events"
        );
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.is_failing) {
            tracing::info!(job = &*self.job, lease = self.name, "takes part in the election again");
        }
    }
}
