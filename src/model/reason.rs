//! Why entries are discarded.

use std::sync::Arc;

/// Why an entry was discarded. This is the `reason` label of `logentry_dropped_lines_total` and
/// `promtail_dropped_entries_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Loki can never store the entry, or `max_retries` ran out.
    IngesterError,
    /// Loki accepts no more streams, and `drop_rate_limited_batches` is set.
    StreamLimited,
    /// Loki answered 429, and `drop_rate_limited_batches` is set.
    RateLimited,
    /// Longer than `max_line_size` or than [`MAX_LINE`](super::MAX_LINE).
    LineTooLong,
    /// A rule in `relabel_configs` drops the stream of a received line.
    Relabel,
    /// An empty line from standard input. Promtail skips these too.
    EmptyLine,
    /// Loki can never accept the entry. The name is the reason under which Loki counts it.
    Loki(&'static str),
    /// Over the limit in `limits_config.readline_rate`.
    GlobalRateLimiter,
    /// A rule of `relabel_configs` drops this stream of a container.
    Relabelled,
    /// Dropped by a stage: its `drop_counter_reason` or that setting's default.
    Stage(Arc<str>),
}

impl Reason {
    pub fn as_str(&self) -> &str {
        match self {
            Reason::IngesterError => "ingester_error",
            Reason::StreamLimited => "stream_limited",
            Reason::RateLimited => "rate_limited",
            Reason::LineTooLong => "line_too_long",
            Reason::Relabel => "relabel",
            Reason::EmptyLine => "empty_line",
            Reason::Loki(name) => name,
            Reason::GlobalRateLimiter => "global_rate_limiter_drop",
            Reason::Relabelled => "relabel_configs",
            Reason::Stage(name) => name,
        }
    }
}
