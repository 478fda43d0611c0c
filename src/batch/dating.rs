//! Dates entries again that Loki refuses because the clock of the machine was wrong when they were read.

use super::encoder::{self, Encoder};
use super::{Batch, Span, wire};
use crate::model::Weight;

/// A clock that was set by less than this explains no refusal. In nanoseconds.
const LEAST: i64 = 1_000_000_000;

/// The entries of a single stream that Loki refused because of their times, as far as its answer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misdated {
    /// So many of the newest ones.
    Newest(usize),
    /// So many of the oldest ones.
    Oldest(usize),
    /// Those that have this time, in Unix nanoseconds, or a later one.
    From(i64),
    /// Those that are older than this.
    Before(i64),
}

/// What became of the refused entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dated {
    /// The times of this many entries were moved, the last one by so many nanoseconds.
    Moved { entries: usize, by: i64 },
    /// Some have the time of reading, but the clock was not set since.
    Right,
    /// All have times of their own.
    Own,
}

impl Misdated {
    /// The first and the last time of the refused entries.
    fn range(self, times: &[i64]) -> (i64, i64) {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        match self {
            Misdated::Newest(count) => (sorted[sorted.len().saturating_sub(count.max(1))], i64::MAX),
            Misdated::Oldest(count) => (i64::MIN, sorted[count.max(1).min(sorted.len()) - 1]),
            Misdated::From(first) => (first, i64::MAX),
            Misdated::Before(first) => (i64::MIN, first.saturating_sub(1)),
        }
    }
}

impl Batch {
    /// Moves those of the refused entries that have the time of reading by as much as the clock was set since. So they keep
    /// their order and their distances, also to entries that are read later. `clock` is the present difference between
    /// Unix time and the monotonic clock. Other entries stay as they are: Loki stored them, and recognises them.
    pub fn date_again(&mut self, refused: Misdated, clock: i64) -> Dated {
        let plain = encoder::decode(&self.body);
        let bodies = wire::bodies(&plain);
        let ([stream], [body]) = (self.streams.as_mut_slice(), bodies.as_slice()) else {
            return Dated::Own;
        };
        let mut times = wire::times(body);
        if times.is_empty() {
            return Dated::Own;
        }
        let (first, last) = refused.range(&times);
        let (mut result, mut moved, mut spans) = (Dated::Own, 0, Vec::with_capacity(stream.spans.len()));
        let mut left = times.iter_mut();
        for span in &stream.spans {
            let mut parts = Parts { span, entries: 0, weight: span.weight };
            for time in left.by_ref().take(span.entries) {
                let mut new = span.clock;
                if let Some(read) = span.clock.filter(|_| (first..=last).contains(time)) {
                    let by = clock.saturating_sub(read);
                    if by.saturating_abs() >= LEAST {
                        *time = time.saturating_add(by);
                        moved += 1;
                        result = Dated::Moved { entries: moved, by };
                        new = Some(clock);
                    } else if moved == 0 {
                        result = Dated::Right;
                    }
                }
                parts.add(new, &mut spans);
            }
        }
        if moved > 0 {
            stream.spans = spans;
            let body = wire::with_times(body, &times);
            self.body = Encoder::default().encode(std::iter::once((&*stream.labels, body.as_slice())));
        }
        result
    }
}

/// Divides a span into spans whose entries were dated alike.
struct Parts<'s> {
    span: &'s Span,
    /// The entries of the span that have a part.
    entries: usize,
    /// The weight that no part has yet.
    weight: Weight,
}

impl Parts<'_> {
    /// Adds the next entry of the span.
    fn add(&mut self, clock: Option<i64>, spans: &mut Vec<Span>) {
        let weight = self.weight.share(1, self.span.entries - self.entries);
        self.weight = self.weight - weight;
        match spans.last_mut().filter(|last| self.entries > 0 && last.clock == clock) {
            Some(last) => {
                last.entries += 1;
                last.weight += weight;
            }
            None => spans.push(Span { ack: self.span.ack, entries: 1, weight, clock }),
        }
        self.entries += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_found_by_its_time() {
        let times = [30, 10, 20, 40];
        let among = |refused: Misdated| {
            let (first, last) = refused.range(&times);
            times.iter().copied().filter(|time| (first..=last).contains(time)).collect::<Vec<i64>>()
        };
        assert_eq!(among(Misdated::Newest(2)), [30, 40]);
        assert_eq!(among(Misdated::Oldest(3)), [30, 10, 20]);
        assert_eq!(among(Misdated::From(30)), [30, 40]);
        assert_eq!(among(Misdated::Before(20)), [10]);
        // More than there are, and none at all.
        assert_eq!(among(Misdated::Newest(9)).len() + among(Misdated::Oldest(9)).len(), 8);
        assert_eq!((among(Misdated::Newest(0)), among(Misdated::Oldest(0))), (vec![40], vec![10]));
        assert_eq!(among(Misdated::Before(i64::MIN)), Vec::<i64>::new());
    }
}
