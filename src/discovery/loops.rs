//! The loops that discover the targets of one job.

use std::convert::Infallible;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use serde::Serialize;
use tokio::sync::mpsc;

use super::known::Known;
use super::{Around, Config, Metrics, StaticConfig, consul, dns, docker, file, http, kubernetes};
use crate::model::{TargetGroup, Update};
use crate::relabel::Reads;

/// The parts that all loops of a job share.
pub(super) struct Loops<'a> {
    pub job: &'a Arc<str>,
    pub around: &'a Around,
    pub metrics: &'a Metrics,
    pub updates: &'a mpsc::Sender<Update>,
    /// Each loop holds a clone of it until it has sent its first list.
    pub unlisted: mpsc::Sender<Infallible>,
    pub all: Vec<BoxFuture<'static, ()>>,
}

impl Loops<'_> {
    /// Adds the loops of the config. `node` and `reads` are those of [`run`](super::run).
    pub fn add(&mut self, config: Config, node: &Arc<str>, reads: &Arc<Reads>) {
        for (i, config) in config.static_configs.into_iter().enumerate() {
            self.add_static(i, &config, reads);
        }
        for (i, config) in config.file.into_iter().enumerate() {
            let known = self.known("file_sd_configs", i);
            self.push(file::run(config, known, self.metrics.clone(), self.unlisted.clone()));
        }
        for (i, config) in config.kubernetes.into_iter().enumerate() {
            self.add_kubernetes(i, config, node, reads);
        }
        for (i, config) in config.docker.into_iter().enumerate() {
            if let Some(outside) = self.around.containers.clone() {
                let known = self.known("docker_sd_configs", i);
                self.push(docker::run(config, known, outside, self.metrics.clone(), self.unlisted.clone()));
            }
        }
        for (i, config) in config.http.into_iter().enumerate() {
            let known = self.known_over_reloads("http_sd_configs", i, &config);
            self.push(http::run(config, known, self.metrics.clone(), self.unlisted.clone()));
        }
        for (i, config) in config.consul.into_iter().enumerate() {
            let known = self.known_over_reloads("consul_sd_configs", i, &config);
            self.push(consul::run(config, known, self.metrics.clone(), self.unlisted.clone()));
        }
        for (i, config) in config.consul_agent.into_iter().enumerate() {
            let known = self.known_over_reloads("consulagent_sd_configs", i, &config);
            self.push(consul::agent::run(config, known, self.metrics.clone(), self.unlisted.clone()));
        }
        for (i, config) in config.dns.into_iter().enumerate() {
            let known = self.known_over_reloads("dns_sd_configs", i, &config);
            self.push(dns::run(config, known, self.metrics.clone(), self.unlisted.clone()));
        }
        for (i, config) in config.docker_swarm.into_iter().enumerate() {
            let known = self.known_over_reloads("dockerswarm_sd_configs", i, &config);
            self.push(docker::swarm::run(config, known, self.metrics.clone(), self.unlisted.clone()));
        }
    }

    fn add_static(&mut self, i: usize, config: &StaticConfig, reads: &Arc<Reads>) {
        let (mut known, unlisted) = (self.known("static_configs", i), self.unlisted.clone());
        if let Some(files) = docker::ContainerFiles::of(config, reads) {
            return self.push(files.run(known, unlisted));
        }
        let group = TargetGroup::new("static".to_string(), config.targets());
        self.push(async move {
            known.replace(vec![group]).await;
            drop(unlisted);
            // Like the other loops, it lives as long as its targets are known.
            std::future::pending().await
        });
    }

    fn add_kubernetes(&mut self, i: usize, config: kubernetes::Config, node: &Arc<str>, reads: &Arc<Reads>) {
        for found in kubernetes::discoveries(config, node, self.job, reads, self.metrics) {
            let known = || self.known("kubernetes_sd_configs", i);
            let folders = self.around.places.clone().and_then(|at| found.folders(at, known()));
            let pods = found.run(known(), folders.clone(), self.unlisted.clone());
            self.all.extend(folders.map(|folders| folders.run().boxed()));
            self.all.push(pods);
        }
    }

    fn push(&mut self, run: impl Future<Output = ()> + Send + 'static) {
        self.all.push(run.boxed());
    }

    fn known(&self, key: &'static str, index: usize) -> Known {
        Known::new(self.job, key, index, self.metrics, self.updates.clone())
    }

    /// If the config stays the same, its last list stays known after a reload, until the server answers.
    fn known_over_reloads(&self, key: &'static str, index: usize, config: &impl Serialize) -> Known {
        // Without its secrets.
        let text = serde_yaml::to_string(config).unwrap_or_default();
        let last = self.around.lists.of(format!("{}/{key}/{text}", self.job));
        self.known(key, index).keeping(last)
    }
}
