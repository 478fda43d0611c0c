//! Pairs the lines of both sides. Lines are fed in the order of time.
//!
//! A line matches the same line of the same stream on the other side, if their times differ by at most the window. Equal
//! times go first, then the oldest line. A line without a match is *missing* on the other side, or, if the other side has
//! this line within the window but less often, *doubled* on its own side.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

/// How many bytes the lines may take that wait for a match.
const MOST_BYTES: usize = 512 << 20;

/// What a line takes without its text: its place in the map and in the queue.
const BYTES_PER_LINE: usize = 160;

#[derive(Clone, Debug)]
pub(super) struct Item {
    pub stream: u32,
    pub hash: u128,
    /// Kept only if different lines are shown.
    pub text: Option<Box<str>>,
}

/// Counts of one stream. The two numbers of a pair are for the left and the right side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub lines: [u64; 2],
    /// Lines that this side does not have.
    pub missing: [u64; 2],
    /// Lines that this side has more often than the other.
    pub doubled: [u64; 2],
}

/// A line without a match.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unmatched {
    pub at: i64,
    pub stream: u32,
    /// The side that has the line.
    pub side: usize,
    pub doubled: bool,
    pub text: Box<str>,
}

#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// By number of the stream.
    pub counts: HashMap<u32, Counts>,
    /// The first lines without a match.
    pub unmatched: Vec<Unmatched>,
}

type Key = (u32, u128);

struct Waiting {
    at: i64,
    side: usize,
    /// Whether both sides have this line within the window.
    doubled: bool,
    text: Option<Box<str>>,
}

#[derive(Default)]
struct Line {
    /// Oldest first, all of one side.
    waiting: VecDeque<Waiting>,
    last_match: Option<i64>,
}

pub(super) struct Matcher {
    range: Range<i64>,
    window: i64,
    shown: usize,
    lines: HashMap<Key, Line>,
    /// When to look at a line again.
    queue: VecDeque<(i64, Key)>,
    bytes: usize,
    outcome: Outcome,
}

impl Matcher {
    pub fn new(range: Range<i64>, window: i64, shown: usize) -> Self {
        Self {
            range,
            window,
            shown,
            lines: HashMap::new(),
            queue: VecDeque::new(),
            bytes: 0,
            outcome: Outcome::default(),
        }
    }

    /// The lines of both sides at this time. Times only grow.
    pub fn feed(&mut self, at: i64, sides: [Vec<Item>; 2]) -> Result<(), String> {
        self.expire(at.saturating_sub(self.window));
        let mut group: HashMap<Key, [Vec<Option<Box<str>>>; 2]> = HashMap::new();
        for (side, items) in sides.into_iter().enumerate() {
            for item in items {
                if self.range.contains(&at) {
                    self.outcome.counts.entry(item.stream).or_default().lines[side] += 1;
                }
                group.entry((item.stream, item.hash)).or_default()[side].push(item.text);
            }
        }
        for (key, [mut left, mut right]) in group {
            let line = self.lines.entry(key).or_default();
            let pairs = left.len().min(right.len());
            left.truncate(left.len() - pairs);
            right.truncate(right.len() - pairs);
            let mut matches = pairs;
            let (side, rest) = if left.is_empty() { (1, right) } else { (0, left) };
            for text in rest {
                if line.waiting.front().is_some_and(|other| other.side != side) {
                    let other = line.waiting.pop_front();
                    self.bytes -= other.and_then(|other| other.text).map_or(0, |text| text.len());
                    matches += 1;
                } else {
                    self.bytes += text.as_ref().map_or(0, |text| text.len());
                    let doubled = line.last_match.is_some();
                    line.waiting.push_back(Waiting { at, side, doubled, text });
                }
            }
            if matches > 0 {
                line.last_match = Some(at);
                line.waiting.iter_mut().for_each(|waiting| waiting.doubled = true);
            }
            self.queue.push_back((at, key));
            self.bytes += BYTES_PER_LINE;
        }
        if self.bytes > MOST_BYTES {
            return Err(format!(
                "the lines that wait for a match need more than {} MiB: use a shorter -window, or a narrower query",
                MOST_BYTES >> 20
            ));
        }
        Ok(())
    }

    /// Gives up the lines before `time`: no later line can match them.
    fn expire(&mut self, time: i64) {
        while let Some((at, key)) = self.queue.front().copied().filter(|(at, _)| *at < time) {
            self.queue.pop_front();
            self.bytes -= BYTES_PER_LINE;
            let Some(line) = self.lines.get_mut(&key) else { continue };
            while let Some(waiting) = line.waiting.pop_front_if(|waiting| waiting.at <= at) {
                self.bytes -= waiting.text.as_ref().map_or(0, |text| text.len());
                count(&mut self.outcome, &self.range, self.shown, key.0, waiting);
            }
            line.last_match = line.last_match.filter(|last| *last > at);
            if line.waiting.is_empty() && line.last_match.is_none() {
                self.lines.remove(&key);
            }
        }
    }

    pub fn finish(mut self) -> Outcome {
        self.expire(i64::MAX);
        self.outcome
    }
}

fn count(outcome: &mut Outcome, range: &Range<i64>, shown: usize, stream: u32, waiting: Waiting) {
    let Waiting { at, side, doubled, text } = waiting;
    if !range.contains(&at) {
        return;
    }
    let counts = outcome.counts.entry(stream).or_default();
    if doubled {
        counts.doubled[side] += 1;
    } else {
        counts.missing[1 - side] += 1;
    }
    if let Some(text) = text.filter(|_| outcome.unmatched.len() < shown) {
        outcome.unmatched.push(Unmatched { at, stream, side, doubled, text });
    }
}
