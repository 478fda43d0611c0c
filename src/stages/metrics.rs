//! `metrics`: numbers are made of lines, and shown at `/metrics`.
//!
//! ```yaml
//! - metrics:
//!     http_requests_total:                 # promtail_custom_http_requests_total
//!       type: Counter                      # required; Counter, Gauge or Histogram
//!       description: requests by status
//!       prefix: promtail_custom_           # default; goes before the name
//!       source: status                     # an extracted value; the metric's name if left out
//!       max_idle_duration: 5m              # default; a series in which nothing was counted for so long goes away
//!       config:
//!         value: '200'                     # counts only where the source is this text
//!         action: inc                      # required; inc or add
//!     log_bytes_total:
//!       type: Counter
//!       config:
//!         match_all: true                  # counts every line, whatever was extracted; false unless written
//!         count_entry_bytes: true          # counts bytes, with match_all and add; false unless written
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
//!         buckets: [0.1, 1, 10]            # 0.005 to 10 if left out
//! ```
//!
//! A series has the labels of the line at this stage, but none that begins with `__`. A value for add, sub, set and a
//! histogram is a number, a text that is one, a duration (in seconds) or a boolean; what is none changes nothing. The
//! line itself always passes.
//!
//! Stages of several jobs may have a metric of one name: they count in the same series. With several clients the lines
//! count as the first of them reads them.
//!
//! A metric shows at most 50,000 samples: so many series of a counter or a gauge, fewer of a histogram, which has a sample for
//! each bucket and three more. Values of further label sets are skipped, and counted in `fantail_stage_metric_skipped_total`.
//!
//! When the config is reloaded, a metric that still has its name, type and buckets goes on with all its series; one of another type
//! or with other buckets begins anew, and one that the config has no more is gone.
//!
//! Unlike Promtail: a negative amount for a counter is skipped, and counted in `fantail_stage_metric_skipped_total`,
//! instead of ending the process; one name in two jobs, a tenant, or a reload does not make
//! `/metrics` fail.

mod config;
mod custom;

use std::sync::Arc;

pub use custom::CustomMetrics;

use super::options::Options;
use super::{Clock, ConfigError, Flow, Recipe, Stage, Work};
use config::{Action, Meter};
use custom::Family;

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
    /// One for each meter; none where it is another's turn to count.
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
    /// What a line counts for; none if it does not count.
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
