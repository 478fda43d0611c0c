//! `file_sd_configs`: targets in files that other programs write.
//!
//! ```yaml
//! file_sd_configs:
//!   - files: [/etc/targets/*.yaml]
//!     refresh_interval: 5m
//! ```
//!
//! A file is a list of `{targets, labels}`, as YAML or JSON. Its targets also get the label `__meta_filepath`.

mod read;

use std::convert::Infallible;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Known, Metrics};
use crate::model::ConfigError;
use crate::model::units::PromDuration;
use read::Files;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    pub files: Vec<String>,
    /// How often a file is read even if it looks unchanged.
    #[serde(default = "five_minutes")]
    pub refresh_interval: PromDuration,
}

impl Config {
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.files.is_empty() {
            return Err(ConfigError::new("files", "must have at least one file, for instance /etc/targets/*.yaml"));
        }
        if self.refresh_interval.0.is_zero() {
            return Err(ConfigError::new("refresh_interval", "must be more than 0, for instance 5m"));
        }
        let check = |file: &String| check(file).map_err(|e| ConfigError::new("files", format!("{file:?} {e}")));
        self.files.iter().try_for_each(check)
    }
}

fn five_minutes() -> PromDuration {
    PromDuration(Duration::from_secs(300))
}

/// Checks a path whose last element may contain `*`.
fn check(path: &str) -> Result<(), &'static str> {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    if ![".json", ".yml", ".yaml", ".JSON", ".YML", ".YAML"].iter().any(|end| name.ends_with(end)) {
        return Err("is not a file of targets: its name must end in .json, .yml or .yaml");
    }
    if directory.contains('*') {
        return Err("has a * in a directory: only the file's name may contain *");
    }
    if path.contains(['?', '[', '\\']) {
        return Err("has a wildcard other than *: write * instead, or list the files one by one");
    }
    Ok(())
}

/// Sends the targets of the files until it is dropped. `unlisted` is dropped when each file has been tried once.
pub(super) async fn run(config: Config, mut known: Known, metrics: Metrics, unlisted: mpsc::Sender<Infallible>) {
    let mut unlisted = Some(unlisted);
    let mut files = Files::new(config.files, known.job(), metrics);
    let refresh = config.refresh_interval.0;
    // A check costs one stat per file, so it may be frequent.
    let mut looks = tokio::time::interval(refresh.min(Duration::from_secs(5)));
    let mut read_all_at = Instant::now();
    loop {
        let now = looks.tick().await;
        let all = now >= read_all_at;
        if all {
            read_all_at = now + refresh;
        }
        let looked = tokio::task::spawn_blocking(move || {
            let groups = files.look(all);
            (files, groups)
        });
        let (back, groups) = match looked.await {
            Ok(looked) => looked,
            // Passes a panic of the blocking task on.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => return, // the runtime is shutting down
        };
        files = back;
        if let Some(groups) = groups {
            known.replace(groups).await;
        }
        drop(unlisted.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validate(yaml: &str) -> Result<(), String> {
        crate::yaml::from_str::<Config>(yaml).map_err(|e| e.to_string())?.validate().map_err(|e| e.to_string())
    }

    #[test]
    fn configs_that_are_refused_and_why() {
        for (yaml, why) in [
            ("files: []", "at least one"),
            ("files:", "at least one"),
            ("files: [a.txt]", ".json, .yml or .yaml"),
            ("files: ['a.y*']", ".json, .yml or .yaml"),
            ("files: ['*/a.yml']", "in a directory"),
            ("files: ['a?.yml']", "other than *"),
            ("files: ['[ab].yml']", "other than *"),
            ("{files: [a.yml], refresh_interval: 0s}", "refresh_interval"),
            ("{files: [a.yml], interval: 1s}", "interval"),
        ] {
            let error = validate(yaml).expect_err(yaml);
            assert!(error.contains(why), "{yaml}: {error}");
        }
    }

    #[test]
    fn configs_that_are_taken() {
        for yaml in [
            "files: [a.yml]",
            "files: ['/a/*.json', '/b/tg_*_x*.yaml', c.YML]",
            "{files: [a.yml], refresh_interval: 1d}",
        ] {
            assert_eq!(validate(yaml), Ok(()), "{yaml}");
        }
        let config: Config = serde_yaml::from_str("files: [a.yml]").expect("a config");
        assert_eq!(config.refresh_interval, five_minutes());
    }
}
