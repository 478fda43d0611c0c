//! fantail as it is used: its binary, against a real Loki and a real kube-apiserver. `tests/e2e/run` builds
//! those servers and runs this.
//!
//! The world: [`loki`] and [`apiserver`] are [`servers`] of their own; [`kube`] creates pods on a [`node`], [`pods`] writes
//! their log files as a kubelet does, under [`load`] if need be, [`agent`] runs the binary; a [`proxy`] stands between
//! agent and Loki and misbehaves, a [`link`] to the API server is cut. Nothing here sleeps to let something happen: it [waits](wait) for what it wants to
//! see, and says what it saw instead when that does not come.
//!
//! The sentences: [`delivery`] (files to Loki), [`faults`] and [`plain`] (what comes between), [`delay`] (how far it may be), [`limits`]
//! (what Loki takes later), [`refusals`] (which streams it refuses while it takes others) and [`poison`] (what it takes never), which end in one [`verdict`]; [`kubernetes`] (which pods), [`short_lived`] (those that nobody shows), [`labels`] (what they are called), [`manifests`] and [`helm`] (what is installed),
//! [`upgrades`] (agents that end and begin again), [`outages`] (what an API server may do), [`scale`] (what a node asks of others),
//! [`dashboards`] (what Prometheus and Grafana are told), [`tutorial`] (all of it, as `docs/tutorial.md` has it),
//! and [`smoke`], the servers without the agent, which says whether a failure is the world's.

mod churn;
mod dashboards;
mod delay;
mod delivery;
mod faults;
mod helm;
mod kubernetes;
mod labels;
mod limits;
mod manifests;
mod outages;
mod plain;
mod poison;
mod refusals;
mod short_lived;
mod smoke;
mod tutorial;
mod upgrades;

mod agent;
mod apiserver;
mod chart;
mod http;
mod kube;
mod kubectl;
mod link;
mod load;
mod loki;
mod micrometer;
mod node;
mod panels;
mod pods;
mod prometheus;
mod proxy;
mod scale;
mod scratch;
mod servers;
mod spring_boot;
mod verdict;
mod wait;
