//! Asks discovery once which targets there are, for commands of the command line.

mod docker;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::runtime;
use crate::config::Config;
use crate::discovery::{self, Around};
use crate::explain::Found;
use crate::metrics::Registry;
use crate::model::{AbortOnPanic, Update};
use crate::relabel::Rules;

/// What discovery has found once.
#[derive(Debug, Default)]
pub struct Look {
    pub found: Vec<Found>,
    /// Why targets may be missing.
    pub notes: Vec<String>,
}

/// The targets of all jobs, or of one. Waits for discovery of each job for at most `within`.
pub fn look(config: &Config, job: Option<&str>, node: &str, within: Duration) -> Result<Look, String> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = runtime().map_err(|e| format!("cannot start the runtime: {e}"))?;
    let look = runtime.block_on(look_within(config, job, node.into(), within));
    runtime.shutdown_timeout(Duration::from_millis(100));
    look
}

async fn look_within(config: &Config, job: Option<&str>, node: Arc<str>, within: Duration) -> Result<Look, String> {
    let deadline = Instant::now() + within;
    let metrics = discovery::Metrics::register(&Registry::new());
    let (mut look, mut looks) = (Look::default(), Vec::new());
    for config in config.scrape_configs.iter().filter(|config| job.is_none_or(|job| job == config.job_name)) {
        let rules = Rules::compile(&config.relabel_configs).map_err(|e| e.to_string())?;
        let (sender, updates) = mpsc::channel(64);
        let name: Arc<str> = config.job_name.as_str().into();
        let (mut discovery, containers) = (config.discovery(), docker::Containers::default());
        let silent = docker::without_silent(&mut discovery.docker);
        look.notes.extend(silent.into_iter().map(|note| format!("job {name:?}: {note}")));
        let around = Around { containers: Some(containers.outside(rules.clone())), ..Around::default() };
        let run = discovery::run(name, discovery, node.clone(), rules.reads(), around, metrics.clone(), sender);
        let task = tokio::spawn(async {
            let _abort_on_panic = AbortOnPanic;
            run.await;
        });
        looks.push((config, updates, containers, task));
    }
    for (config, updates, containers, task) in looks {
        let name = &config.job_name;
        if !found_all(updates, deadline, &mut look.found).await {
            look.notes.push(format!(
                "discovery of job {name:?} was not complete after {} s: targets may be missing. The log above says what \
                 could not be asked",
                within.as_secs()
            ));
        }
        look.notes.extend(containers.note().map(|note| format!("job {name:?}: {note}")));
        task.abort();
    }
    Ok(look)
}

/// Collects the targets of one job. Returns whether these are all.
async fn found_all(mut updates: mpsc::Receiver<Update>, deadline: Instant, found: &mut Vec<Found>) -> bool {
    loop {
        match timeout_at(deadline, updates.recv()).await {
            Ok(Some(Update::Group { job, group })) => {
                let target = |labels: crate::model::TargetLabels| Found {
                    job: job.to_string(),
                    source: group.id.clone(),
                    labels: labels.to_labels(),
                };
                found.retain(|known| *known.job != *job || known.source != group.id);
                found.extend(group.targets.into_iter().map(target));
            }
            Ok(Some(Update::Synced { .. })) => return true,
            Ok(None) | Err(_) => return false,
        }
    }
}
