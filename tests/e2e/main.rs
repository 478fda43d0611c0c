//! fantail as it is used: its binary, against a real Loki and a real kube-apiserver. `tests/e2e/run` builds
//! those servers and runs this.
//!
//! The world: [`loki`] and [`apiserver`] are [`servers`] of their own; [`kube`] creates pods, [`pods`] writes
//! their log files as a kubelet does, [`agent`] runs the binary. Nothing here sleeps to let something happen:
//! it [waits](wait) for what it wants to see, and says what it saw instead when that does not come.
//!
//! The sentences: [`delivery`] (files to Loki), [`kubernetes`] (which pods), [`manifests`] (what is installed),
//! and [`smoke`], the servers without the agent, which says whether a failure is the world's.

mod delivery;
mod kubernetes;
mod manifests;
mod smoke;

mod agent;
mod apiserver;
mod http;
mod kube;
mod loki;
mod pods;
mod scratch;
mod servers;
mod wait;
