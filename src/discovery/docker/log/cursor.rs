//! The place up to which a container's log has been read through the API.
//!
//! Docker gives a log from a time on. Several messages may have the same time, so the cursor also counts messages:
//! `1700000000.000000001+3` is after the third message from the first with that time on. The time is the latest so far,
//! because a clock may go back. Promtail has only seconds: `1700000000`.

use std::fmt;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// In Unix nanoseconds.
    time: i64,
    /// The number of messages that were read since the first one with this time.
    count: u64,
}

const SECOND: i64 = 1_000_000_000;

impl Cursor {
    /// A cursor of fantail or Promtail. None: it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let (time, count) = text.split_once('+').unwrap_or((text, "0"));
        let (seconds, nanos) = time.split_once('.').unwrap_or((time, "000000000"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if nanos.len() != 9 || ![seconds, nanos, count].into_iter().all(is_number) {
            return None;
        }
        let time = seconds.parse::<i64>().ok()?.checked_mul(SECOND)?.checked_add(nanos.parse().ok()?)?;
        Some(Self { time, count: count.parse().ok()? })
    }

    /// The cursor after a message with this time.
    pub fn after(self, time: Option<i64>) -> Self {
        match time {
            Some(time) if time > self.time => Self { time, count: 1 },
            _ => Self { count: self.count + 1, ..self },
        }
    }

    /// The value of `since` for a request. None: from the beginning.
    pub fn since(self) -> Option<String> {
        (self.time > 0).then(|| self.seconds())
    }

    fn seconds(self) -> String {
        format!("{}.{:09}", self.time.div_euclid(SECOND), self.time.rem_euclid(SECOND))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.seconds(), self.count)
    }
}

/// Passes over the messages before a cursor in an answer that begins at its time.
#[derive(Debug)]
pub(super) struct Skip {
    until: Cursor,
    left: u64,
}

impl Skip {
    pub fn new(until: Cursor) -> Self {
        Self { until, left: until.count }
    }

    /// Whether the next message was read before.
    pub fn skips(&mut self, time: Option<i64>) -> bool {
        // Docker may have deleted some of the messages. None of those before the cursor is later than its time.
        if time.is_some_and(|time| time > self.until.time) {
            self.left = 0;
        }
        let skips = self.left > 0;
        self.left = self.left.saturating_sub(1);
        skips
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let cursor = Cursor { time: 1_700_000_000_000_000_001, count: 3 };
        assert_eq!(cursor.to_string(), "1700000000.000000001+3");
        assert_eq!(Cursor::parse("1700000000.000000001+3"), Some(cursor));
        assert_eq!(Cursor::parse("1700000000"), Some(Cursor { time: 1_700_000_000_000_000_000, count: 0 }));
        for odd in ["", "x", "1.2", "1.000000000+", "-1", "1+x", "99999999999999999999", "9999999999999999+1", "+1"] {
            assert_eq!(Cursor::parse(odd), None, "{odd}");
        }
        assert_eq!(Cursor::default().since(), None);
    }

    /// The times of a log, some equal, some going back: from each place on, exactly the rest is read.
    #[test]
    fn from_each_place_on_the_rest_is_read() {
        let times = [1, 5, 5, 5, 6, 4, 5, 6, 6, 7, 2, 7, 9].map(|n| n * SECOND);
        for done in 0..=times.len() {
            let cursor = times[..done].iter().fold(Cursor::default(), |cursor, time| cursor.after(Some(*time)));
            let cursor = Cursor::parse(&cursor.to_string()).expect("its own");
            // Docker leaves out all messages before the first one that is not earlier than `since`.
            let answer = times.iter().skip_while(|time| **time < cursor.time);
            let mut skip = Skip::new(cursor);
            let read: Vec<i64> = answer.copied().filter(|time| !skip.skips(Some(*time))).collect();
            assert_eq!(read, times[done..], "after {done}");
        }
    }

    #[test]
    fn what_docker_deleted_is_not_counted_against_later_messages() {
        let cursor = (0..3).fold(Cursor::default(), |cursor, _| cursor.after(Some(5)));
        let mut skip = Skip::new(cursor);
        assert_eq!([5, 7, 7].map(|time| skip.skips(Some(time))), [true, false, false]);
    }
}
