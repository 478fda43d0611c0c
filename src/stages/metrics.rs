//! `metrics`: creates Prometheus metrics from lines, and shows them at `/metrics`.
//!
//! ```yaml
//! - metrics:
//!     http_requests_total:                 # promtail_custom_http_requests_total
//!       type: Counter                      # required; Counter, Gauge or Histogram
//!       description: requests by status
//!       prefix: promtail_custom_           # default; put before the name
//!       source: status                     # an extracted value; default: the metric's name
//!       max_idle_duration: 5m              # default; a series without updates for this long is removed
//!       config:
//!         value: '200'                     # only count lines whose source is this text
//!         action: inc                      # required; inc or add
//!     log_bytes_total:
//!       type: Counter
//!       config:
//!         match_all: true                  # count every line, whatever was extracted; default false
//!         count_entry_bytes: true          # add the line's bytes; needs match_all and add; default false
//!         action: add
//!     queue_length:
//!       type: Gauge
//!       source: queue
//!       config:
//!         action: set                      # required; set, inc, dec, add or sub
//!     response_seconds:
//!       type: Histogram
//!       source: took
//!       config:
//!         buckets: [0.1, 1, 10]            # default: 0.005 to 10
//! ```
//!
//! A series has the labels that the line has at this stage, except labels that begin with `__`. Values for `add`,
//! `sub`, `set` and histograms may be numbers, text with a number, durations (in seconds) or booleans. Other values
//! change nothing. The line itself always passes.
//!
//! Stages of several jobs may use the same metric name. They then update the same series. With several clients, lines
//! are counted when the first client reads them.
//!
//! A metric shows at most 50,000 samples. For counters and gauges this is the number of series. A histogram has one
//! sample per bucket plus three, so it has fewer series. With long labels there are fewer: the series of one metric and
//! their text in an answer of `/metrics` take at most 36 MiB of memory, and those of all metrics 48 MiB. Values for
//! further label sets are skipped and counted in `fantail_stage_metric_skipped_total`.
//!
//! When the config is reloaded, a metric with the same name, type and buckets keeps its series. If its type or buckets
//! changed, it starts again from nothing. A metric that is no longer in the config is removed.
//!
//! Unlike Promtail: a negative amount for a counter is skipped and counted in `fantail_stage_metric_skipped_total`; it
//! does not end the process. `/metrics` does not fail if two jobs use the same name, if tenants are set, or after a
//! reload.

mod config;
mod custom;

use std::sync::Arc;

pub use custom::CustomMetrics;

use super::options::Options;
use super::{Clock, ConfigError, Flow, Recipe, Stage, Work};
use config::Meter;
use custom::{Action, Family};

pub(super) fn compile(options: &mut Options<'_>) -> Result<Recipe, ConfigError> {
    let meters: Arc<[Meter]> = config::read(options)?.into();
    if meters.iter().all(|meter| meter.source.is_none()) {
        options.needs_nothing_extracted();
    }
    Ok(Box::new(move |around| {
        let families = around.custom.iter().flat_map(|custom| meters.iter().map(|m| custom.family(&m.spec)));
        Box::new(Metrics { families: families.collect(), meters: meters.clone(), clock: around.clock.clone() })
    }))
}

#[derive(Debug)]
struct Metrics {
    meters: Arc<[Meter]>,
    /// One for each meter. None if another pipeline counts the same lines.
    families: Vec<Arc<Family>>,
    clock: Clock,
}

impl Stage for Metrics {
    fn process(&mut self, work: &mut Work<'_>, _: &mut Vec<Work<'static>>) -> Flow {
        let now = self.clock.now();
        for (meter, family) in self.meters.iter().zip(&self.families) {
            if let Some(amount) = meter.measure(work) {
                family.record(&work.entry.labels, meter.action, amount, now);
            }
        }
        Flow::Pass
    }
}

impl Meter {
    /// The amount that a line adds. None if the line does not count.
    fn measure(&self, work: &Work<'_>) -> Option<f64> {
        let Some(source) = &self.source else {
            return match (self.action, self.bytes) {
                (Action::Increment, false) => Some(1.0),
                (_, true) => Some(work.entry.line.len() as f64),
                _ => None,
            };
        };
        let value = work.extracted.get(source)?;
        if self.value.as_ref().is_some_and(|wanted| value.clone().into_text().as_deref() != Some(wanted)) {
            return None;
        }
        match self.action {
            Action::Increment | Action::Decrement => Some(1.0),
            _ => value.as_number(),
        }
    }
}

#[cfg(test)]
mod tests;
