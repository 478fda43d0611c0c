//! The result of a comparison, as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;

use serde::Serialize;

use super::SIDES;
use super::matcher::Outcome;
use crate::model::counted;

/// How many characters of a line are shown.
const EXCERPT: usize = 200;

#[derive(Debug, Serialize)]
pub struct Comparison {
    /// Nanoseconds since 1970. `to` is exclusive.
    pub from: i64,
    pub to: i64,
    pub equal: bool,
    /// The sums of all streams.
    pub total: Numbers,
    /// Sorted by labels.
    pub streams: Vec<StreamResult>,
    /// The first lines that differ, if they were asked for.
    pub lines: Vec<DifferentLine>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Numbers {
    /// Lines on each side.
    pub left: u64,
    pub right: u64,
    /// Lines that this side does not have.
    pub missing_left: u64,
    pub missing_right: u64,
    /// Lines that both sides have, but this side more often.
    pub doubled_left: u64,
    pub doubled_right: u64,
}

#[derive(Debug, Serialize)]
pub struct StreamResult {
    pub labels: BTreeMap<String, String>,
    pub numbers: Numbers,
}

#[derive(Debug, Serialize)]
pub struct DifferentLine {
    pub timestamp: i64,
    pub labels: BTreeMap<String, String>,
    /// `left` or `right`: the side that has the line.
    pub side: &'static str,
    /// `missing` (on the other side) or `doubled`.
    pub difference: &'static str,
    pub line: String,
}

impl Numbers {
    fn differ(&self) -> bool {
        [self.missing_left, self.missing_right, self.doubled_left, self.doubled_right].iter().any(|count| *count > 0)
    }

    fn add(&mut self, other: &Numbers) {
        self.left += other.left;
        self.right += other.right;
        self.missing_left += other.missing_left;
        self.missing_right += other.missing_right;
        self.doubled_left += other.doubled_left;
        self.doubled_right += other.doubled_right;
    }
}

/// The start of a line.
pub(super) fn excerpt(line: &str) -> Box<str> {
    let end = line.char_indices().nth(EXCERPT).map_or(line.len(), |(at, _)| at);
    line[..end].into()
}

pub(super) fn comparison(range: Range<i64>, labels: Vec<BTreeMap<String, String>>, outcome: Outcome) -> Comparison {
    let of = |number: u32| labels.get(number as usize).cloned().unwrap_or_default();
    let result = |(number, counts): (&u32, &super::matcher::Counts)| StreamResult {
        labels: of(*number),
        numbers: Numbers {
            left: counts.lines[0],
            right: counts.lines[1],
            missing_left: counts.missing[0],
            missing_right: counts.missing[1],
            doubled_left: counts.doubled[0],
            doubled_right: counts.doubled[1],
        },
    };
    let mut streams: Vec<StreamResult> = outcome.counts.iter().map(result).collect();
    streams.sort_by(|a, b| a.labels.cmp(&b.labels));
    let mut total = Numbers::default();
    streams.iter().for_each(|stream| total.add(&stream.numbers));
    let lines = outcome.unmatched.into_iter().map(|line| DifferentLine {
        timestamp: line.at,
        labels: of(line.stream),
        side: SIDES[line.side],
        difference: if line.doubled { "doubled" } else { "missing" },
        line: line.text.into(),
    });
    let lines = lines.collect();
    Comparison { from: range.start, to: range.end, equal: !total.differ(), total, streams, lines }
}

/// A table of the streams that differ, and the sums.
pub fn text(comparison: &Comparison) -> String {
    let mut out = String::new();
    let different: Vec<_> = comparison.streams.iter().filter(|stream| stream.numbers.differ()).collect();
    if !different.is_empty() {
        let head = ["LEFT", "RIGHT", "MISSING LEFT", "MISSING RIGHT", "DOUBLED LEFT", "DOUBLED RIGHT"];
        let _ = writeln!(out, "{}  STREAM", head.join("  "));
        for stream in &different {
            let n = &stream.numbers;
            let counts = [n.left, n.right, n.missing_left, n.missing_right, n.doubled_left, n.doubled_right];
            for (title, count) in head.iter().zip(counts) {
                let _ = write!(out, "{count:>width$}  ", width = title.len());
            }
            let _ = writeln!(out, "{}", selector(&stream.labels));
        }
        out.push('\n');
    }
    for line in &comparison.lines {
        let what = match line.difference {
            "doubled" => format!("doubled on the {}", line.side),
            _ => format!("only on the {}", line.side),
        };
        // As a Rust string: a line may have control characters that would change the terminal.
        let _ = writeln!(out, "{} {what} {} {:?}", line.timestamp, selector(&line.labels), line.line);
    }
    let total = &comparison.total;
    let _ = writeln!(
        out,
        "left: {}, right: {}, {}, {} of them differ",
        counted(total.left, "line"),
        counted(total.right, "line"),
        counted(comparison.streams.len(), "stream"),
        different.len()
    );
    let _ = write!(
        out,
        "missing: {} on the left, {} on the right; doubled: {} on the left, {} on the right",
        total.missing_left, total.missing_right, total.doubled_left, total.doubled_right
    );
    out
}

fn selector(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}
