//! (1) Discover: finds pods, containers, static targets, and targets that files or servers list.
//!
//! Each group of targets (a pod, a group in a file, a static config) is sent as a complete [`TargetGroup`] whenever it
//! changes. A group without targets is removed. Relabelling decides which targets to keep, and their labels.

mod buffer;
mod config;
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
mod loops;
mod metrics;
mod refresh;
mod remote_log;
mod static_config;
#[cfg(test)]
mod testing;
mod trouble;

use std::convert::Infallible;
use std::sync::Arc;

use futures::future::join_all;
use tokio::sync::mpsc;

use crate::model::Update;
use crate::relabel::Reads;
pub use config::{Around, Config};
use known::Known;
pub use lists::Lists;
use loops::Loops;
pub use metrics::Metrics;
pub use remote_log::{Give, RemoteLog};
pub use static_config::StaticConfig;

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
    // The loops hold clones of `unlisted`. When all of them are dropped, the job is complete.
    let (unlisted, mut all_listed) = mpsc::channel::<Infallible>(1);
    let (around, metrics, all) = (&around, &metrics, Vec::new());
    let mut loops = Loops { job: &job, around, metrics, updates: &updates, unlisted, all };
    loops.add(config, &node, &Arc::new(reads));
    let Loops { all, unlisted, .. } = loops;
    drop(unlisted);

    let synced = async {
        all_listed.recv().await;
        // An error means that the receiver is gone, which `closed` below detects too.
        let _ = updates.send(Update::Synced { job: Arc::clone(&job) }).await;
    };
    let told = async {
        futures::join!(join_all(all), synced);
    };
    tokio::select! {
        () = updates.closed() => {}
        () = told => updates.closed().await,
    }
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
