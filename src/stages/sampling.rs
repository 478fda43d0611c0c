//! `sampling`: passes a random share of the lines and drops the others.
//!
//! ```yaml
//! - sampling:
//!     rate: 0.1                               # the share of lines that pass, from 0 to 1; default 0: none
//!     drop_counter_reason: sampling_stage     # default; the reason in the metric
//! ```
//!
//! Dropped lines are counted in `logentry_dropped_lines_total{reason="sampling_stage"}`, or with the reason in
//! `drop_counter_reason`.
//!
//! Unlike Promtail: the decision depends on where the line was read, so a line that must be sent again passes again.

use xxhash_rust::xxh3::xxh3_64;

use super::drop::reason;
use super::options::Options;
use super::{ConfigError, Flow, Recipe, Stage, Work};
use crate::model::{Origin, Reason};

const REASON: &str = "sampling_stage";

pub(super) fn compile(options: &mut Options<'_>) -> Result<Recipe, ConfigError> {
    let rate = options.float("rate")?;
    if rate.is_none() {
        options.warn("without `rate` no line passes".into());
    }
    let rate = rate.unwrap_or(0.0);
    if !(0.0..=1.0).contains(&rate) {
        return Err(options.fail(format!("`rate` is {rate}, expected a number from 0 to 1")));
    }
    let reason = reason(options, REASON)?;
    options.needs_nothing_extracted();
    Ok(Box::new(move |_| Box::new(Sampling { rate, reason: reason.clone() })))
}

struct Sampling {
    rate: f64,
    reason: Reason,
}

impl Stage for Sampling {
    fn process(&mut self, work: &mut Work<'_>, _: &mut Vec<Work<'static>>) -> Flow {
        if draw(work.entry.origin) < self.rate { Flow::Pass } else { Flow::Discard(self.reason.clone()) }
    }
}

/// A number from 0 to below 1 that depends only on the place of the line.
fn draw(origin: Origin) -> f64 {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&origin.file.to_le_bytes());
    place[8..].copy_from_slice(&origin.offset.to_le_bytes());
    // 53 bits: as many as a float can hold.
    (xxh3_64(&place) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, parse, refused, warnings};

    fn kept(rate: &str) -> (usize, u64) {
        let mut bench = Bench::of(&format!("sampling: {{rate: {rate}, drop_counter_reason: r}}"));
        let kept = (0..1000).filter(|_| !bench.outcome("l").is_empty()).count();
        (kept, bench.dropped_as("r"))
    }

    #[test]
    fn a_part_passes_and_always_the_same() {
        assert_eq!((kept("0"), kept("1")), ((0, 1000), (1000, 0)));
        let (some, dropped) = kept("'0.25'");
        assert!((200..300).contains(&some), "{some}");
        assert_eq!(dropped, 1000 - some as u64);
        assert_eq!(kept("0.25"), (some, dropped));
    }

    #[test]
    fn rates_that_are_none() {
        refused(&[
            ("sampling: {rate: 1.5}", "[0].sampling", "`rate` is 1.5, expected a number from 0 to 1"),
            ("sampling: {rate: -0.1}", "[0].sampling", "expected a number from 0 to 1"),
            ("sampling: {rate: much}", "[0].sampling.rate", "expected a number"),
        ]);
        let program = parse("sampling:").expect("a stage");
        assert_eq!(warnings(&program), ["pipeline_stages[0].sampling: without `rate` no line passes"]);
    }
}
