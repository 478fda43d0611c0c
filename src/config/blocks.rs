//! Top-level blocks with few keys. The defaults are Promtail's.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_yaml::Value;

use crate::model::StartAt;
use crate::model::units::{ByteSize, GoDuration};

/// Where positions are saved.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PositionsConfig {
    pub filename: String,
    pub sync_period: GoDuration,
    /// An unreadable positions file counts as missing. Otherwise, the agent does not start.
    pub ignore_invalid_yaml: bool,
    /// Positions files of earlier agents. At the first start, the first one that exists is taken over.
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
    /// Whether lines beyond the rate are dropped. If not, they wait.
    pub readline_rate_drop: bool,
    /// Ignored. See [`check`](super::check()).
    pub max_streams: u64,
    /// The maximum size of a line after all stages. 0: no limit.
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
    /// How often globs are walked.
    pub sync_period: GoDuration,
    /// Lines only come from standard input.
    pub stdin: bool,
    /// Bytes of deleted but still open files to keep, for each client.
    pub deleted_files_limit: ByteSize,
    /// How long after its last byte a rotated file is looked at, because a writer may still have it open.
    pub late_writer_period: GoDuration,
    /// Whether a pod's target may read the directories of other pods' logs.
    pub foreign_pod_logs: bool,
    /// The maximum number of open logs.
    pub logs_limit: usize,
    /// Directories that links among the logs may lead to.
    pub link_roots: Vec<String>,
    /// Where rotated files of a log may be, beside its own directory. Relative to that directory, or absolute.
    pub rotated_dirs: Vec<String>,
    /// Directories that contain logs, for jobs whose paths are not known at the start. Landlock then refuses all
    /// others.
    pub read_roots: Vec<String>,
    /// Where files begin that existed before the first start. A job may have its own.
    pub start_at: StartAt,
    /// The file of a log to which nothing was written for so long is closed until it changes. 0: never.
    pub close_idle_after: GoDuration,
}

impl Default for TargetConfig {
    fn default() -> Self {
        Self {
            sync_period: GoDuration(Duration::from_secs(10)),
            stdin: false,
            deleted_files_limit: ByteSize(1 << 30),
            late_writer_period: GoDuration(Duration::from_secs(60)),
            foreign_pod_logs: false,
            logs_limit: 20_000,
            link_roots: Vec::new(),
            rotated_dirs: ["archive", "archived", "old", "olddir", "rotated", "backup"].map(Into::into).into(),
            read_roots: Vec::new(),
            start_at: StartAt::Beginning,
            close_idle_after: GoDuration(Duration::from_secs(3_600)),
        }
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GlobalConfig {
    pub file_watch_config: FileWatchConfig,
}

/// How often a file without inotify events is polled.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileWatchConfig {
    pub min_poll_frequency: GoDuration,
    /// None: the longer a file is idle, the less often it is polled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_poll_frequency: Option<GoDuration>,
}

impl Default for FileWatchConfig {
    fn default() -> Self {
        Self { min_poll_frequency: GoDuration(Duration::from_millis(250)), max_poll_frequency: None }
    }
}

/// Ignored. Promtail 3 has removed it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptionsConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_lag_labels: Option<Value>,
    /// Start without the jobs whose kind of target is not supported, instead of refusing the config.
    pub skip_unsupported_jobs: bool,
}

/// Ignored. fantail sends no traces.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TracingConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// Ignored. The log files are the write-ahead log.
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
