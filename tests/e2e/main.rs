//! End-to-end tests: the fantail binary with a real Loki and a real kube-apiserver. `tests/e2e/run` builds these servers and
//! runs the tests.
//!
//! **Environment.** [`loki`] and [`apiserver`] are separate [`servers`]. [`kube`] creates pods on a [`node`], [`pods`] writes their log
//! files as a kubelet does, also under [`load`], and [`agent`] runs the binary. A [`proxy`] between agent and Loki can misbehave, and a
//! [`link`] to the API server can be cut. No test sleeps to let something happen: it [waits](wait) for a condition, and reports the
//! last state if the condition does not become true.
//!
//! **Tests.** [`delivery`] (files to Loki), [`faults`] and [`plain`] (faults between file and Loki), [`delay`] (long round trips),
//! [`limits`] (rate limits), [`refusals`] (streams that Loki refuses while it accepts others) and [`poison`] (entries that Loki never
//! accepts) share one [`verdict`]. [`kubernetes`] (selection of pods), [`short_lived`] (pods that the API server does not show),
//! [`labels`], [`manifests`] and [`helm`] (installation), [`upgrades`] (stops and restarts of agents), [`outages`] (of the API server),
//! [`scale`] (load of a node), [`dashboards`] (Prometheus and Grafana), [`tutorial`] (all steps of `docs/tutorial.md`), [`compare`]
//! (what two agents sent), and [`smoke`] (the servers without the agent, to tell whether they cause a failure).

mod churn;
mod compare;
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
