//! The small blocks of the top level, with Promtail's defaults.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_yaml::Value;

use crate::model::units::{ByteSize, GoDuration};

/// Where it is remembered what has been delivered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PositionsConfig {
    pub filename: String,
    pub sync_period: GoDuration,
    /// A file that cannot be read is as good as none, instead of a reason not to start.
    pub ignore_invalid_yaml: bool,
    /// Positions files of agents that were here before; the first that is there is taken over at the first start.
    pub import_from: Vec<String>,
}

impl Default for PositionsConfig {
    fn default() -> Self {
        Self {
            filename: "/var/log/positions.yaml".to_string(),
            sync_period: GoDuration(Duration::from_secs(10)),
            ignore_invalid_yaml: false,
            import_from: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Lines per second of the whole process, after all stages.
    pub readline_rate: f64,
    pub readline_burst: u64,
    pub readline_rate_enabled: bool,
    /// Too many lines are dropped, or wait.
    pub readline_rate_drop: bool,
    /// Accepted; see [`check`](super::check()).
    pub max_streams: u64,
    /// Of the line as the stages left it; 0 is no limit.
    pub max_line_size: ByteSize,
    pub max_line_size_truncate: bool,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            readline_rate: 10_000.0,
            readline_burst: 10_000,
            readline_rate_enabled: false,
            readline_rate_drop: true,
            max_streams: 0,
            max_line_size: ByteSize(0),
            max_line_size_truncate: false,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TargetConfig {
    /// How often globs are looked at again.
    pub sync_period: GoDuration,
    /// Lines come from standard input and nowhere else.
    pub stdin: bool,
    /// Of the disk, what deleted files may hold that are still to be read, per client.
    pub deleted_files_limit: ByteSize,
    /// A pod's target may read the folders of other pods' logs, where its path leads there.
    pub foreign_pod_logs: bool,
    /// How many logs may be open.
    pub logs_limit: usize,
    /// Folders that links in a log's folder may lead to.
    pub link_roots: Vec<String>,
    /// Folders that logs may be in, where the paths of a job cannot be known at the start: nothing else is read then (Landlock).
    pub read_roots: Vec<String>,
}

impl Default for TargetConfig {
    fn default() -> Self {
        Self {
            sync_period: GoDuration(Duration::from_secs(10)),
            stdin: false,
            deleted_files_limit: ByteSize(1 << 30),
            foreign_pod_logs: false,
            logs_limit: 20_000,
            link_roots: Vec::new(),
            read_roots: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GlobalConfig {
    pub file_watch_config: FileWatchConfig,
}

/// How often a file is looked at that has told nothing of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileWatchConfig {
    pub min_poll_frequency: GoDuration,
    /// None: the longer a file is quiet, the less often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_poll_frequency: Option<GoDuration>,
}

impl Default for FileWatchConfig {
    fn default() -> Self {
        Self { min_poll_frequency: GoDuration(Duration::from_millis(250)), max_poll_frequency: None }
    }
}

/// Accepted; there is nothing in it any more.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptionsConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_lag_labels: Option<Value>,
    /// Start without the jobs whose kind of target is not supported, instead of refusing the config.
    pub skip_unsupported_jobs: bool,
}

/// Accepted: fantail traces nothing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TracingConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// Accepted: the log files are the write-ahead log.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct WalConfig {
    pub enabled: bool,
    pub dir: String,
    pub clean_segments_older_than: GoDuration,
    pub watch_config: WalWatchConfig,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct WalWatchConfig {
    pub min_read_frequency: GoDuration,
    pub max_read_frequency: GoDuration,
    pub drain_timeout: GoDuration,
}
