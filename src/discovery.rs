//! (1) Discover: finds pods, containers, static targets, and targets that files or servers list.
//!
//! Each group of targets (a pod, a group in a file, a static config) is sent as a complete [`TargetGroup`] whenever it
//! changes. A group without targets is removed. Relabelling decides which targets to keep, and their labels.

pub mod consul;
pub mod dns;
pub mod docker;
mod few;
pub mod file;
mod groups;
pub mod http;
mod http_settings;
mod known;
pub mod kubernetes;
mod label_name;
mod lists;
mod metrics;
mod refresh;
mod static_config;
#[cfg(test)]
mod testing;
mod trouble;

use std::convert::Infallible;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt, join_all};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::model::{ConfigError, TargetGroup, Update};
use crate::relabel::Reads;
use known::Known;
pub use lists::Lists;
pub use metrics::Metrics;
pub use static_config::StaticConfig;

/// The service discovery configs of one job.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Config {
    pub static_configs: Vec<StaticConfig>,
    pub kubernetes: Vec<kubernetes::Config>,
    pub file: Vec<file::Config>,
    pub docker: Vec<docker::Config>,
    pub http: Vec<http::Config>,
    pub consul: Vec<consul::Config>,
    pub consul_agent: Vec<consul::agent::Config>,
    pub dns: Vec<dns::Config>,
    pub docker_swarm: Vec<docker::swarm::Config>,
}

impl Config {
    /// Checks the config without reading files or using the network.
    pub fn validate(&self) -> Result<(), ConfigError> {
        each("static_configs", &self.static_configs, StaticConfig::validate)?;
        each("kubernetes_sd_configs", &self.kubernetes, kubernetes::Config::validate)?;
        each("file_sd_configs", &self.file, file::Config::validate)?;
        each("docker_sd_configs", &self.docker, docker::Config::validate)?;
        each("http_sd_configs", &self.http, http::Config::validate)?;
        each("consul_sd_configs", &self.consul, consul::Config::validate)?;
        each("consulagent_sd_configs", &self.consul_agent, consul::agent::Config::validate)?;
        each("dns_sd_configs", &self.dns, dns::Config::validate)?;
        each("dockerswarm_sd_configs", &self.docker_swarm, docker::swarm::Config::validate)
    }

    /// Settings without effect.
    pub fn warnings(&self) -> Vec<ConfigError> {
        let of = |(i, config): (usize, &docker::Config)| {
            config.warnings().into_iter().map(move |e| e.within(i).within("docker_sd_configs"))
        };
        self.docker.iter().enumerate().flat_map(of).collect()
    }

    /// Checks that the credentials of the config can be opened. Done at the start, not by a syntax check.
    pub fn check_files(&self) -> Result<(), ConfigError> {
        each("kubernetes_sd_configs", &self.kubernetes, kubernetes::Config::check_files)
    }
}

/// Checks the configs of the list under `key`. Returns the first error.
fn each<T>(key: &str, configs: &[T], check: impl Fn(&T) -> Result<(), ConfigError>) -> Result<(), ConfigError> {
    configs.iter().enumerate().try_for_each(|(i, config)| check(config).map_err(|e| e.within(i).within(key)))
}

/// The places outside this module that discovery needs.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// The directories of pods' logs, to find pods by them.
    pub places: Option<kubernetes::Places>,
    /// For containers of Docker. None: no job discovers containers.
    pub containers: Option<docker::Outside>,
    /// The last lists of servers, kept over a reload.
    pub lists: Lists,
}

/// Sends the groups of one job until the receiver of `updates` is dropped.
///
/// `node` is the name of the Kubernetes node whose pods are discovered. `reads` has the labels that the job's rules
/// read; no other labels of pods need to be kept. If an API server is down or a file is invalid, its targets stay as
/// they were.
pub async fn run(
    job: Arc<str>,
    config: Config,
    node: Arc<str>,
    reads: Reads,
    around: Around,
    metrics: Metrics,
    updates: mpsc::Sender<Update>,
) {
    let reads = Arc::new(reads);
    // Each loop holds a sender until it has sent its first list. When all senders are dropped, the job is complete.
    let (unlisted, mut all_listed) = mpsc::channel::<Infallible>(1);
    let mut loops: Vec<BoxFuture<'static, ()>> = Vec::new();
    let known = |key, index| Known::new(&job, key, index, &metrics, updates.clone());
    // The list of a config that is the same after a reload.
    let last = |key, config: String| around.lists.of(format!("{job}/{key}/{config}"));

    for (i, config) in config.static_configs.into_iter().enumerate() {
        let (mut known, unlisted) = (known("static_configs", i), unlisted.clone());
        if let Some(files) = docker::ContainerFiles::of(&config, &reads) {
            loops.push(files.run(known, unlisted).boxed());
            continue;
        }
        loops.push(
            async move {
                known.replace(vec![TargetGroup::new("static".to_string(), config.targets())]).await;
                drop(unlisted);
                // Like the other loops, it lives as long as its targets are known.
                std::future::pending().await
            }
            .boxed(),
        );
    }
    for (i, config) in config.file.into_iter().enumerate() {
        loops.push(file::run(config, known("file_sd_configs", i), metrics.clone(), unlisted.clone()).boxed());
    }
    for (i, config) in config.kubernetes.into_iter().enumerate() {
        for found in kubernetes::discoveries(config, &node, &job, &reads, &metrics) {
            let folders = around.places.clone().and_then(|at| found.folders(at, known("kubernetes_sd_configs", i)));
            loops.extend(folders.clone().map(|folders| folders.run().boxed()));
            loops.push(found.run(known("kubernetes_sd_configs", i), folders, unlisted.clone()));
        }
    }
    for (i, config) in config.docker.into_iter().enumerate() {
        if let Some(outside) = around.containers.clone() {
            let known = known("docker_sd_configs", i);
            loops.push(docker::run(config, known, outside, metrics.clone(), unlisted.clone()).boxed());
        }
    }
    for (i, config) in config.http.into_iter().enumerate() {
        let known = known("http_sd_configs", i).keeping(last("http_sd_configs", text(&config)));
        loops.push(http::run(config, known, metrics.clone(), unlisted.clone()).boxed());
    }
    for (i, config) in config.consul.into_iter().enumerate() {
        let known = known("consul_sd_configs", i).keeping(last("consul_sd_configs", text(&config)));
        loops.push(consul::run(config, known, metrics.clone(), unlisted.clone()).boxed());
    }
    for (i, config) in config.consul_agent.into_iter().enumerate() {
        let known = known("consulagent_sd_configs", i).keeping(last("consulagent_sd_configs", text(&config)));
        loops.push(consul::agent::run(config, known, metrics.clone(), unlisted.clone()).boxed());
    }
    for (i, config) in config.dns.into_iter().enumerate() {
        let known = known("dns_sd_configs", i).keeping(last("dns_sd_configs", text(&config)));
        loops.push(dns::run(config, known, metrics.clone(), unlisted.clone()).boxed());
    }
    for (i, config) in config.docker_swarm.into_iter().enumerate() {
        let known = known("dockerswarm_sd_configs", i).keeping(last("dockerswarm_sd_configs", text(&config)));
        loops.push(docker::swarm::run(config, known, metrics.clone(), unlisted.clone()).boxed());
    }
    drop(unlisted);

    let synced = async {
        all_listed.recv().await;
        // An error means that the receiver is gone, which `closed` below detects too.
        let _ = updates.send(Update::Synced { job: Arc::clone(&job) }).await;
    };
    let told = async {
        futures::join!(join_all(loops), synced);
    };
    tokio::select! {
        () = updates.closed() => {}
        () = told => updates.closed().await,
    }
}

/// The config without its secrets.
fn text(config: &impl Serialize) -> String {
    serde_yaml::to_string(config).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::metrics::Registry;

    use super::*;

    fn config(directory: &str) -> Config {
        let statics = "[{labels: {__path__: /a}}, {targets: [x, y], labels: {__path__: /b}}]";
        let file = format!("[{{files: ['{directory}/*.yml']}}]");
        Config {
            static_configs: serde_yaml::from_str(statics).expect("static configs"),
            file: serde_yaml::from_str(&file).expect("file configs"),
            ..Config::default()
        }
    }

    async fn next(updates: &mut mpsc::Receiver<Update>) -> Update {
        tokio::time::timeout(Duration::from_secs(20), updates.recv()).await.expect("soon").expect("an update")
    }

    #[tokio::test]
    async fn a_job_is_in_step_once_all_its_sources_are_told_and_ends_when_nobody_listens() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().display().to_string();
        std::fs::write(directory.path().join("t.yml"), "- {targets: [z], labels: {__path__: /c}}").expect("written");
        let (sender, mut updates) = mpsc::channel(1);
        let metrics = Metrics::register(&Registry::new());
        let job = tokio::spawn(run(
            "j".into(),
            config(&path),
            "n1".into(),
            Reads::default(),
            Around::default(),
            metrics,
            sender,
        ));

        let mut told = Vec::new();
        while let Update::Group { job, group } = next(&mut updates).await {
            assert_eq!(&*job, "j");
            told.push((group.id, group.targets.len()));
        }
        told.sort();
        let file = format!("file_sd_configs[0]/{path}/t.yml:0");
        let expected = [(file.as_str(), 1), ("static_configs[0]/static", 1), ("static_configs[1]/static", 2)];
        assert_eq!(told, expected.map(|(group_id, targets)| (group_id.to_string(), targets)));

        drop(updates);
        tokio::time::timeout(Duration::from_secs(20), job).await.expect("it ends").expect("it does not panic");
    }

    #[tokio::test]
    async fn a_job_without_sources_is_in_step_at_once() {
        let (sender, mut updates) = mpsc::channel(1);
        let metrics = Metrics::register(&Registry::new());
        let _job = tokio::spawn(run(
            "j".into(),
            Config::default(),
            "n1".into(),
            Reads::default(),
            Around::default(),
            metrics,
            sender,
        ));
        assert_eq!(next(&mut updates).await, Update::Synced { job: "j".into() });
    }

    #[test]
    fn an_error_says_which_config_it_is_in() {
        let refused = |config: Config| config.validate().expect_err("it is wrong").to_string();
        let mut wrong = config("/x");
        wrong.static_configs[1].labels.insert(String::new(), "c".to_string());
        assert!(refused(wrong).starts_with("static_configs[1].labels: \"\""));
        let mut wrong = config("/x");
        wrong.kubernetes.push(kubernetes::Config::default());
        assert!(refused(wrong).starts_with("kubernetes_sd_configs[0].role: "));
        let mut wrong = config("/x");
        wrong.file[0].files.push("a.txt".to_string());
        assert!(refused(wrong).starts_with("file_sd_configs[0].files: \"a.txt\""));
        assert_eq!(config("/x").validate(), Ok(()));
    }
}
