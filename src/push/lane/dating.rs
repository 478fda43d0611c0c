//! Entries that Loki refuses because the clock of this machine was, or is, wrong.
//!
//! Lines without a time of their own get the time of reading. If Loki refuses that time, they are dated again: by the clock
//! of the machine, if that agrees with Loki's by now, or else by Loki's own clock, which its answers contain.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::LaneContext;
use crate::batch::Dated;
use crate::http_client::Answer;
use crate::model::Clock;
use crate::model::units::GoDuration;
use crate::push::answer::{self, Asked, Failure, Next, Scope};
use crate::push::backoff::Pace;
use crate::push::parts::Part;

/// The clock of this machine is trusted if it differs from Loki's by less than this, in nanoseconds. Loki takes what is at
/// most ten minutes ahead of its clock.
const TRUSTED: i64 = 60 * SECOND;

/// A server tells its time as whole seconds, and some moments ago. A difference of up to this is none.
const BLUR: i64 = 2 * SECOND;

const SECOND: i64 = 1_000_000_000;

/// The same entries are not dated more often in a row: the answers contradict each other.
const MOST: u32 = 3;

/// What is known about the clocks of this machine and of Loki. All values are differences to the monotonic clock, in
/// nanoseconds.
#[derive(Debug, Default)]
pub(in crate::push) struct Clocks {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    loki: Option<i64>,
    /// The minutes by which entries were moved when that was logged last.
    said: Option<i64>,
}

/// What to do about a push that Loki refused because of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Redate {
    /// Its entries have times of their own: no clock of ours is the reason.
    No,
    /// It has other times now.
    Again,
    /// Its entries are ahead of Loki's clock, but not of this machine's.
    Wait,
}

impl LaneContext {
    /// Decides what an answer means. None: Loki refused entries for their times, and they have other times now.
    pub(super) fn decide(&self, part: &mut Part, answer: &Result<Answer, Failure>, about: Asked) -> Option<Next> {
        let next = answer::decide(answer, about);
        let Next::DoneBut { why, .. } = &next else {
            return Some(next);
        };
        match if about.streams == 1 { self.date_again(part, answer) } else { Redate::No } {
            Redate::No => Some(next),
            Redate::Again => None,
            Redate::Wait => {
                let why = format!(
                    "{why}: the clock of Loki is behind the clock of this machine, by which the lines were read"
                );
                Some(Next::Again { scope: Scope::Streams, pace: Pace::Slow, at_least: None, why: why.into() })
            }
        }
    }

    /// Gives other times to the refused entries of a push with a single stream, if they have the time of reading.
    fn date_again(&self, part: &mut Part, answer: &Result<Answer, Failure>) -> Redate {
        let Some((refused, date)) = answer::misdated(answer) else {
            return Redate::No;
        };
        let clock = Clock::default();
        let monotonic = clock.monotonic();
        let own = clock.unix_nanos().saturating_sub(monotonic);
        let loki = date.map(|date| nanos(date).saturating_sub(monotonic));
        match part.batch.date_again(refused, self.clocks.best(own, loki)) {
            Dated::Moved { entries, by } if part.dated < MOST => {
                part.dated += 1;
                self.metrics.dated_again(entries);
                self.say_dated(entries, by);
                Redate::Again
            }
            Dated::Moved { .. } | Dated::Right if answer::is_too_new(answer) => Redate::Wait,
            _ => Redate::No,
        }
    }

    fn say_dated(&self, entries: usize, by: i64) {
        if self.clocks.is_to_say(by) {
            let (client, host) = (self.status.name(), &self.metrics.host);
            let is_ahead = by < 0;
            let wrong_by = GoDuration(Duration::from_secs(by.unsigned_abs() / SECOND as u64));
            tracing::warn!(
                client,
                host,
                entries,
                %wrong_by,
                is_ahead,
                "the clock of this machine was wrong when lines were read: those that Loki refuses for it get the right time; \
                 check the clock (NTP)"
            );
        }
    }
}

impl Clocks {
    /// The clock to date entries by.
    fn best(&self, own: i64, loki: Option<i64>) -> i64 {
        let Some(seen) = loki else {
            return own;
        };
        if seen.saturating_sub(own).saturating_abs() < TRUSTED {
            return own;
        }
        // What an answer says is always a bit late, so the latest value is the best one. It does not go back by this bit, so
        // that entries keep their order.
        let mut state = self.lock();
        let best = state.loki.filter(|known| (0..=BLUR).contains(&known.saturating_sub(seen))).unwrap_or(seen);
        state.loki = Some(best);
        best
    }

    /// Whether this was not said before.
    fn is_to_say(&self, by: i64) -> bool {
        let minutes = by / (60 * SECOND);
        let mut state = self.lock();
        // The difference may lie at the border of two minutes.
        let is_new = state.said.is_none_or(|said| said.abs_diff(minutes) > 1);
        if is_new {
            state.said = Some(minutes);
        }
        is_new
    }

    // No foreign code runs under the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn nanos(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600 * SECOND;

    #[test]
    fn the_own_clock_counts_if_it_agrees_with_that_of_loki_and_that_of_loki_does_not_go_back() {
        let clocks = Clocks::default();
        assert_eq!(clocks.best(HOUR, None), HOUR);
        assert_eq!(clocks.best(HOUR, Some(HOUR - 59 * SECOND)), HOUR);
        assert_eq!(clocks.best(HOUR, Some(5 * SECOND)), 5 * SECOND);
        // The same clock of Loki, read a moment later or earlier in its second.
        assert_eq!(clocks.best(HOUR, Some(4 * SECOND)), 5 * SECOND);
        assert_eq!(clocks.best(HOUR, Some(6 * SECOND)), 6 * SECOND);
        // Loki's clock was put back.
        assert_eq!(clocks.best(HOUR, Some(-9 * HOUR)), -9 * HOUR);
    }

    #[test]
    fn a_wrong_clock_is_said_once() {
        let clocks = Clocks::default();
        let said = [-24 * HOUR, -24 * HOUR - 3 * SECOND, -24 * HOUR + 59 * SECOND, 2 * HOUR, 2 * HOUR, -24 * HOUR];
        assert_eq!(said.map(|by| clocks.is_to_say(by)), [true, false, false, true, false, true]);
    }
}
