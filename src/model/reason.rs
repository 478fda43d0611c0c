//! Why entries are discarded.

use std::sync::Arc;

/// Why an entry was discarded; what `logentry_dropped_lines_total{reason}` and
/// `promtail_dropped_entries_total{reason}` say.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Loki can never store it, or `max_retries` of the config ran out.
    IngesterError,
    /// Loki takes no more streams, and `drop_rate_limited_batches` is set.
    StreamLimited,
    /// 429 with `drop_rate_limited_batches`.
    RateLimited,
    /// Longer than `max_line_size`, or than the agent will hold.
    LineTooLong,
    /// Of standard input, where Promtail passes over them too.
    EmptyLine,
    /// Loki can never take it; the name is the one that Loki itself counts it by.
    Loki(&'static str),
    /// `limits_config.readline_rate`.
    GlobalRateLimiter,
    /// A stage's `drop_counter_reason`, or its default.
    Stage(Arc<str>),
}

impl Reason {
    pub fn as_str(&self) -> &str {
        match self {
            Reason::IngesterError => "ingester_error",
            Reason::StreamLimited => "stream_limited",
            Reason::RateLimited => "rate_limited",
            Reason::LineTooLong => "line_too_long",
            Reason::EmptyLine => "empty_line",
            Reason::Loki(name) => name,
            Reason::GlobalRateLimiter => "global_rate_limiter_drop",
            Reason::Stage(name) => name,
        }
    }
}
