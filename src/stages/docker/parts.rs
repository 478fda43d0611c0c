//! Joins the parts of lines that Docker splits.
//!
//! Docker writes a line in parts of 16 KiB. Only the last part ends with a newline. A program that ends without a
//! newline leaves a last part that is shorter: such a part ends its line too.

use std::time::{Duration, Instant};

use crate::model::{Clock, LabelSet};
use crate::stages::{Due, Flow, Value, Work};

/// The size of a part in bytes. A part with invalid UTF-8 is longer, because Docker replaces the invalid bytes.
pub(super) const PART: usize = 16 << 10;

/// The longest line in bytes that parts are joined to: the longest line that Loki accepts by default. Further
/// parts become a line of their own.
pub(super) const LONGEST: usize = 256 << 10;

/// How many streams may have an incomplete line at the same time. This bounds the memory: at most [`LONGEST`] for each.
const MOST: usize = 100;

/// How long a part waits for the next one. Docker writes the parts of a line directly after each other. A part that
/// waited without limit would stop the log's position.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(super) struct Parts {
    incomplete: Vec<Incomplete>,
    clock: Clock,
    /// No part is due before this.
    next_due: Option<Instant>,
}

/// The parts of one line, joined so far. They have the time and labels of the first part.
#[derive(Debug)]
struct Incomplete {
    work: Work<'static>,
    stream: Box<str>,
    /// When its last part came.
    since: Instant,
}

impl Incomplete {
    fn is_of(&self, log: u64, labels: &LabelSet, stream: &str) -> bool {
        self.work.entry.origin.log == log && *self.stream == *stream && self.work.entry.labels == *labels
    }
}

impl Parts {
    pub fn new(clock: Clock) -> Self {
        Self { incomplete: Vec::new(), clock, next_due: None }
    }

    /// Whether no line is incomplete.
    pub fn is_empty(&self) -> bool {
        self.incomplete.is_empty()
    }

    /// Takes the next part or line of a stream. `extract`: a later stage may use the extracted value `output`.
    pub fn take(
        &mut self,
        work: &mut Work<'_>,
        stream: &str,
        extract: bool,
        released: &mut Vec<Work<'static>>,
    ) -> Flow {
        let is_part = work.entry.line.len() >= PART && !work.entry.line.ends_with('\n');
        if !is_part && self.incomplete.is_empty() {
            return Flow::Pass;
        }
        let (log, length) = (work.entry.origin.log, work.entry.line.len());
        let mut known = self.incomplete.iter().position(|line| line.is_of(log, &work.entry.labels, stream));
        if let Some(index) = known.filter(|index| self.incomplete[*index].work.entry.line.len() + length > LONGEST) {
            released.push(self.incomplete.swap_remove(index).work);
            known = None;
        }
        if is_part {
            let since = self.clock.now();
            self.next_due.get_or_insert(since + PATIENCE);
            if let Some(line) = known.map(|index| &mut self.incomplete[index]) {
                line.since = since;
            }
        }
        match known {
            None if !is_part => Flow::Pass,
            None => {
                if self.incomplete.len() >= MOST {
                    self.release_all(released);
                }
                let since = self.clock.now();
                let (work, kept) = work.keep();
                self.incomplete.push(Incomplete { work, stream: stream.into(), since });
                Flow::Held(kept)
            }
            Some(index) => {
                let line = &mut self.incomplete[index].work;
                line.entry.line.to_mut().push_str(&work.entry.line);
                let kept = line.take_in(work);
                if !is_part {
                    let mut line = self.incomplete.swap_remove(index).work;
                    if extract {
                        line.extracted.set("output", Value::from(line.entry.line.to_string()));
                    }
                    released.push(line);
                }
                Flow::Held(kept)
            }
        }
    }

    /// See [`Stage::release`](super::Stage::release). Sending parts as they are is better than losing them.
    pub fn release(&mut self, due: Due, released: &mut Vec<Work<'static>>) {
        let is_over: &dyn Fn(&Incomplete) -> bool = match due {
            Due::Log(log) => &move |line| line.work.entry.origin.log == log,
            Due::At(now) if self.next_due.is_some_and(|due| due <= now) => &move |line| line.since + PATIENCE <= now,
            Due::At(_) | Due::Quiet(_) => return,
            Due::Unread(log, now) => {
                let of_log = self.incomplete.iter_mut().filter(|line| line.work.entry.origin.log == log);
                return of_log.for_each(|line| line.since = now);
            }
        };
        released.extend(self.incomplete.extract_if(.., |line| is_over(line)).map(|line| line.work));
        self.next_due = self.incomplete.iter().map(|line| line.since + PATIENCE).min();
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.next_due
    }

    fn release_all(&mut self, released: &mut Vec<Work<'static>>) {
        released.extend(self.incomplete.drain(..).map(|line| line.work));
        released.sort_by_key(|work| (work.entry.origin.log, work.entry.origin.offset));
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::Bench;
    use super::*;

    fn json(text: &str, stream: &str) -> String {
        let log = serde_json::to_string(text).expect("a string");
        format!(r#"{{"log":{log},"stream":"{stream}","time":"2024-05-17T06:30:00.000000001Z"}}"#)
    }

    /// The lines that come out, as their stream and length, and their first and last characters.
    fn run(bench: &mut Bench, text: &str, stream: &str) -> Vec<String> {
        let mut seen = Vec::new();
        bench.run(&json(text, stream), &mut |entry| {
            let stream = entry.labels.get("stream").unwrap_or("none").to_string();
            seen.push(format!("{stream} {} {}", entry.line.len(), ends(&entry.line)));
        });
        seen
    }

    fn ends(line: &str) -> String {
        let first = line.chars().next().unwrap_or('-');
        let last = line.trim_end_matches('\n').chars().next_back().unwrap_or('-');
        format!("{first}{last}")
    }

    fn part(letter: char) -> String {
        letter.to_string().repeat(PART)
    }

    #[test]
    fn parts_of_a_line_are_joined_by_stream() {
        let mut bench = Bench::of("docker: {}");
        for (text, stream, want) in [
            (part('a'), "stdout", vec![]),
            ("err\n".to_string(), "stderr", vec!["stderr 4 er"]),
            (part('x'), "stderr", vec![]),
            (part('b'), "stdout", vec![]),
            ("c\n".to_string(), "stdout", vec!["stdout 32770 ac"]),
            ("next\n".to_string(), "stdout", vec!["stdout 5 nt"]),
            ("y\n".to_string(), "stderr", vec!["stderr 16386 xy"]),
            // A line of exactly one part has a newline of its own.
            (format!("{}\n", part('d')), "stdout", vec!["stdout 16385 dd"]),
            // The program ended without a newline: nothing is waited for.
            ("e".to_string(), "stdout", vec!["stdout 1 ee"]),
            (part('f'), "stdout", vec![]),
            ("g".to_string(), "stdout", vec!["stdout 16385 fg"]),
            // Docker writes a newline alone if the line ends exactly where a part ends.
            (part('h'), "stdout", vec![]),
            ("\n".to_string(), "stdout", vec!["stdout 16385 hh"]),
        ] {
            assert_eq!(run(&mut bench, &text, stream), want, "{stream} {}", ends(&text));
        }
        bench.end(&mut |_| {});
    }

    #[test]
    fn a_joined_line_has_the_time_of_its_first_part_and_its_whole_text_is_extracted() {
        let mut bench = Bench::of("[docker: {}, {output: {source: output}}]");
        let first = json(&part('a'), "stdout");
        bench.run(&first, &mut |_| panic!("it waits"));
        let mut seen = Vec::new();
        let last = json("b\n", "stdout").replace("000000001Z", "000000009Z");
        bench.run(&last, &mut |entry| seen.push((entry.timestamp % 1_000, entry.line.to_string())));
        assert_eq!(seen, [(1, format!("{}b\n", part('a')))]);
        bench.end(&mut |_| {});
    }

    #[test]
    fn a_line_without_end_goes_on_as_another_line() {
        let mut bench = Bench::of("docker: {}");
        let mut seen = Vec::new();
        for _ in 0..40 {
            seen.extend(run(&mut bench, &part('z'), "stdout"));
        }
        seen.extend(run(&mut bench, "end\n", "stdout"));
        assert_eq!(seen, ["stdout 262144 zz", "stdout 262144 zz", "stdout 131076 zd"]);
        bench.end(&mut |_| {});
    }

    #[test]
    fn parts_without_a_rest_are_sent_in_the_end() {
        let mut bench = Bench::of("docker: {}");
        assert!(run(&mut bench, &part('z'), "stdout").is_empty());
        bench.clock.advance(PATIENCE / 2);
        bench.release(Due::Unread(1, bench.clock.now()));
        bench.clock.advance(PATIENCE / 2);
        assert_eq!(bench.due(), "", "its rest may be among the lines that are not read yet");
        bench.clock.advance(PATIENCE / 2);
        assert_eq!(bench.due().matches('z').count(), PART);
        assert_eq!(bench.pipeline().next_due(), None);
        // The log ends.
        assert!(run(&mut bench, &part('b'), "stderr").is_empty());
        assert_eq!(bench.release(Due::Log(2)), "");
        assert_eq!(bench.release(Due::Log(1)).matches('b').count(), PART);
        bench.end(&mut |_| {});
    }

    #[test]
    fn too_many_incomplete_lines_are_sent_as_they_are() {
        let mut bench = Bench::of("docker: {}");
        for i in 0..MOST {
            assert!(run(&mut bench, &part('a'), &format!("s{i}")).is_empty());
        }
        assert_eq!(run(&mut bench, &part('b'), "one more").len(), MOST);
        assert_eq!(run(&mut bench, "c\n", "one more"), ["one more 16386 bc"]);
        bench.end(&mut |_| {});
    }

    #[test]
    fn a_part_and_its_rest_are_committed_together() {
        let mut bench = Bench::of("[docker: {}, {drop: {expression: bbb, longer_than: 20KB}}]");
        assert!(run(&mut bench, &part('a'), "stdout").is_empty());
        assert!(run(&mut bench, &format!("{}\n", "b".repeat(9_000)), "stdout").is_empty());
        bench.end(&mut |entry| panic!("{} bytes were left", entry.line.len()));
    }
}
