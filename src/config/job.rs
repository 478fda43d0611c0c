//! Builds a job from its config.

use std::time::Duration;

use super::{Decompression, ScrapeConfig, TargetConfig};
use crate::model::Encoding;
use crate::relabel::Rules;
use crate::scrape::Job;
use crate::stages;
use crate::tail::{self, Compression};

impl ScrapeConfig {
    /// The job, ready to run. The config was checked, so an error is a mistake in the check.
    pub fn job(&self, defaults: &TargetConfig) -> Result<Job, String> {
        let rules = Rules::compile(&self.relabel_configs).map_err(|e| e.to_string())?;
        let program = match self.pipeline_stages.as_slice() {
            [] => None,
            stages => Some(stages::compile(stages).map_err(|mistakes| {
                let mistakes = mistakes.into_iter().map(|e| e.within("pipeline_stages").to_string());
                mistakes.collect::<Vec<_>>().join("; ")
            })?),
        };
        let mut unreadable = None;
        let encoding = match self.encoding.as_str() {
            "" => Encoding::Utf8,
            name => Encoding::new(name).unwrap_or_else(|| {
                unreadable = Some(format!("encoding {name:?} is not known: its files are not read"));
                Encoding::Utf8
            }),
        };
        let compression = compression(&self.decompression).unwrap_or_else(|why| {
            unreadable = Some(why);
            None
        });
        let options =
            tail::Options { encoding, compression, late: defaults.late_writer_period.0, ..tail::Options::default() };
        // The program that compresses a file needs this time to finish it.
        let initial_delay =
            if self.decompression.enabled { self.decompression.initial_delay.0 } else { Duration::ZERO };
        let has_containers = !self.docker_sd_configs.is_empty();
        let (name, journal) = (self.job_name.as_str().into(), self.journal().cloned());
        let start_at = self.start_at.unwrap_or(defaults.start_at);
        Ok(Job { name, rules, program, options, journal, has_containers, initial_delay, start_at, unreadable })
    }
}

fn compression(config: &Decompression) -> Result<Option<Compression>, String> {
    if !config.enabled {
        return Ok(None);
    }
    match config.format.as_str() {
        "gz" => Ok(Some(Compression::Gzip)),
        "z" => Ok(Some(Compression::Zlib)),
        "bz2" => Ok(Some(Compression::Bzip2)),
        // These are not in Promtail.
        "xz" => Ok(Some(Compression::Xz)),
        "zst" => Ok(Some(Compression::Zstd)),
        other => Err(format!(
            "decompression.format {other:?} is not supported: use gz, z, bz2, xz or zst; its files are not read"
        )),
    }
}
