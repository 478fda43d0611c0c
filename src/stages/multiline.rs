//! `multiline`: joins lines that belong together into one entry.
//!
//! ```yaml
//! - multiline:
//!     firstline: '^\d{4}-\d{2}-\d{2}'   # required; matches the first line of a block (RE2, anywhere in the line)
//!     max_lines: 128                    # default; a block is sent after this many lines; 0: no limit
//!     max_wait_time: 3s                 # default; a block is sent if no line comes for this long
//! ```
//!
//! A block has the labels, time and extracted values of its first line. Its lines are joined with newlines. Blocks are
//! collected separately for each log and each set of labels. Lines before the first block pass unchanged. Lines that
//! continue a block after `max_lines` or `max_wait_time` form a new block, with the time of the block before.
//!
//! Put this stage after `cri` or `docker`, which remove the text that the container runtime adds.
//!
//! Unlike Promtail: a block longer than 2 MiB is sent in parts. All blocks are sent as they are if there are more than
//! 10,000 of them, or if they take more than 32 MiB in all. A block that is held when its file ends is sent. A block
//! that is held when the agent stops is sent if its log is quiet for a second. Otherwise it is read again when the agent
//! starts.

use std::time::{Duration, Instant};

use super::options::Options;
use super::{Clock, ConfigError, Due, Extracted, Flow, Kept, Recipe, Stage, Work};
use crate::goregex::Regex;
use crate::model::{Ack, Entry, LabelMap, MAX_LINE, Structured};

const MAX_LINES: u64 = 128;
const MAX_WAIT: Duration = Duration::from_secs(3);

/// Beyond this number of blocks, or this size in bytes, all blocks are released.
const BLOCKS: usize = 10_000;
const BYTES: usize = 16 * MAX_LINE;

/// The most continuation blocks that are committed, or sent again, together.
const TIED: usize = 16;

pub(super) fn compile(options: &mut Options<'_>) -> Result<Recipe, ConfigError> {
    let Some(field) = options.field("firstline")? else {
        return Err(options.fail("`firstline` is required".into()));
    };
    let firstline = field.regex()?;
    if field.text()?.is_empty() {
        options.warn("with an empty `firstline` each line is a block of its own".into());
    }
    let max_lines = options.number("max_lines")?.unwrap_or(MAX_LINES) as usize;
    let max_wait = options.duration("max_wait_time")?.unwrap_or(MAX_WAIT);
    options.needs_nothing_extracted();
    Ok(Box::new(move |around| {
        Box::new(Multiline {
            firstline: firstline.clone(),
            max_lines,
            max_wait,
            clock: around.clock.clone(),
            streams: LabelMap::default(),
            blocks: 0,
            bytes: 0,
            earliest: None,
        })
    }))
}

struct Multiline {
    firstline: Regex,
    max_lines: usize,
    max_wait: Duration,
    clock: Clock,
    /// By labels, then by log. One log, unless files share their labels.
    streams: LabelMap<Vec<Stream>>,
    blocks: usize,
    bytes: usize,
    /// No block is due before this.
    earliest: Option<Instant>,
}

struct Stream {
    log: u64,
    block: Option<Block>,
    /// The start of the previous block, for lines that continue it.
    start: Option<Start>,
    tie: Option<Tie>,
}

struct Block {
    work: Work<'static>,
    lines: usize,
    /// When its last line came.
    touched: Instant,
}

/// Keeps the log's position before a block that was cut until it is known whether lines continue it. Read again without
/// their block, such lines would not form one.
struct Tie {
    ack: Option<Ack>,
    blocks: usize,
    since: Instant,
}

struct Start {
    timestamp: i64,
    metadata: Vec<Structured<'static>>,
    extracted: Extracted<'static>,
}

impl Stage for Multiline {
    fn process(&mut self, work: &mut Work<'_>, released: &mut Vec<Work<'static>>) -> Flow {
        let first = self.firstline.is_match(&work.entry.line);
        let log = work.entry.origin.log;
        let known = self.streams.get_mut(&work.entry.labels);
        let found = known.and_then(|streams| streams.iter_mut().find(|s| s.log == log));
        let now = self.clock.now();
        let (stream, length) = match found {
            None if !first => return Flow::Pass,
            None => {
                self.make_room(released);
                let streams = self.streams.entry(work.entry.labels.clone()).or_default();
                streams.push(Stream { log, block: None, start: None, tie: None });
                (streams.last_mut().expect("it was just put there"), work.entry.line.len())
            }
            Some(stream) => (stream, work.entry.line.len()),
        };
        let late = stream.block.as_ref().is_some_and(|block| now >= block.touched + self.max_wait);
        let too_long = stream.block.as_ref().is_some_and(|block| block.work.entry.line.len() + length >= MAX_LINE);
        if stream.block.is_some() && (first || late || too_long) {
            let block = stream.end().expect("there is one");
            self.blocks -= 1;
            self.bytes -= block.entry.line.len();
            if !late {
                stream.tie(&block.entry, now);
            }
            released.push(block);
        }
        if first || late {
            stream.tie = None;
        }
        let before = stream.block.as_ref().map_or(0, |b| b.work.entry.line.len());
        let kept = match &mut stream.block {
            Some(block) => block.append(work, now),
            None => {
                let (mut work, kept) = work.keep();
                match &stream.start {
                    Some(start) if !first => {
                        start.give_to(&mut work);
                        stream.tie.iter().for_each(|tie| tie.reach(&work.entry));
                    }
                    _ => stream.start = None,
                }
                stream.block = Some(Block { work, lines: 1, touched: now });
                self.blocks += 1;
                kept
            }
        };
        let block = stream.block.as_ref().expect("it was just put there");
        self.bytes += block.work.entry.line.len() - before;
        self.earliest = Some(self.earliest.map_or(now + self.max_wait, |e| e.min(now + self.max_wait)));
        if self.max_lines > 0 && block.lines >= self.max_lines {
            let block = stream.end().expect("there is one");
            self.blocks -= 1;
            self.bytes -= block.entry.line.len();
            stream.tie(&block.entry, now);
            released.push(block);
            return Flow::Held(kept);
        }
        if self.blocks > BLOCKS || self.bytes > BYTES {
            self.end_where(released, |_, _| true);
        }
        Flow::Held(kept)
    }

    fn release(&mut self, due: Due, released: &mut Vec<Work<'static>>) {
        match due {
            Due::At(now) if self.earliest.is_none_or(|e| e > now) => {}
            Due::At(now) => {
                let wait = self.max_wait;
                self.end_where(released, |_, block| block.touched + wait <= now);
                let streams = self.streams.values_mut().flatten();
                self.earliest = streams.filter_map(|stream| Some(stream.touched(now, wait)? + wait)).min();
            }
            Due::Unread(log, now) => {
                let streams = self.streams.values_mut().flatten().filter(|s| s.log == log);
                streams.filter_map(|s| s.block.as_mut()).for_each(|block| block.touched = now);
            }
            Due::Quiet(log) => {
                self.end_where(released, |stream, _| stream == log);
                let streams = self.streams.values_mut().flatten().filter(|stream| stream.log == log);
                streams.for_each(|stream| stream.tie = None);
            }
            Due::Log(log) => {
                self.end_where(released, |stream, _| stream == log);
                self.forget(|stream| stream.log == log);
            }
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.earliest
    }
}

impl Multiline {
    /// Releases the blocks for which `which`, called with their log, is true, oldest first.
    fn end_where(&mut self, released: &mut Vec<Work<'static>>, which: impl Fn(u64, &Block) -> bool) {
        let before = released.len();
        for stream in self.streams.values_mut().flatten() {
            if stream.block.as_ref().is_some_and(|block| which(stream.log, block)) {
                let block = stream.end().expect("there is one");
                self.blocks -= 1;
                self.bytes -= block.entry.line.len();
                stream.tie = None;
                released.push(block);
            }
        }
        released[before..].sort_by_key(|work| (work.entry.origin.log, work.entry.origin.offset));
    }

    /// Forgets streams without a block. They only remember the start of the previous block.
    fn make_room(&mut self, released: &mut Vec<Work<'static>>) {
        if self.streams.len() < BLOCKS {
            return;
        }
        self.forget(|stream| stream.block.is_none());
        if self.streams.len() >= BLOCKS {
            self.end_where(released, |_, _| true);
            self.streams.clear();
        }
    }

    fn forget(&mut self, which: impl Fn(&Stream) -> bool) {
        self.streams.retain(|_, streams| {
            streams.retain(|stream| !which(stream));
            !streams.is_empty()
        });
    }
}

impl Stream {
    fn end(&mut self) -> Option<Work<'static>> {
        let work = self.block.take()?.work;
        self.start = Some(Start {
            timestamp: work.entry.timestamp,
            metadata: work.entry.metadata.clone(),
            extracted: work.extracted.clone(),
        });
        Some(work)
    }

    /// Ties a block that was cut to lines that may continue it.
    fn tie(&mut self, block: &Entry<'_>, now: Instant) {
        match &mut self.tie {
            Some(tie) if tie.blocks < TIED => (tie.blocks, tie.since) = (tie.blocks + 1, now),
            _ => self.tie = Some(Tie { ack: Some(block.ack.get().share()), blocks: 1, since: now }),
        }
    }

    /// When the last line came for a block or tie that waits, if any. A tie waits no longer than a block.
    fn touched(&mut self, now: Instant, wait: Duration) -> Option<Instant> {
        if let Some(block) = &self.block {
            return Some(block.touched);
        }
        self.tie = self.tie.take().filter(|tie| tie.since + wait > now);
        self.tie.as_ref().map(|tie| tie.since)
    }
}

impl Tie {
    /// Commits a continuation together with its block.
    fn reach(&self, on: &Entry<'_>) {
        self.ack.iter().for_each(|ack| ack.take_in(on.ack.get()));
    }
}

impl Drop for Tie {
    /// A tie has no entry to deliver, so dropping it loses nothing.
    fn drop(&mut self) {
        self.ack.take().into_iter().for_each(Ack::close);
    }
}

impl Block {
    fn append(&mut self, work: &Work<'_>, now: Instant) -> Kept {
        let line = self.work.entry.line.to_mut();
        line.push('\n');
        line.push_str(&work.entry.line);
        self.lines += 1;
        self.touched = now;
        self.work.take_in(work)
    }
}

impl Start {
    fn give_to(&self, work: &mut Work<'static>) {
        work.entry.timestamp = self.timestamp;
        work.entry.metadata = self.metadata.clone();
        work.extracted = self.extracted.clone();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Due;
    use super::super::testing::{Bench, refused};
    use super::*;

    /// Runs lines with the labels `{app="x"}`. Returns the resulting blocks; those released at the end follow a bar.
    fn blocks(options: &str, lines: &[&str]) -> Vec<String> {
        let mut bench = Bench::of(&format!("multiline: {options}"));
        let mut blocks = Vec::new();
        for line in lines {
            bench.run(line, &mut |entry| blocks.push(entry.line.replace('\n', "+")));
        }
        bench.end(&mut |entry| blocks.push(format!("|{}", entry.line.replace('\n', "+"))));
        blocks
    }

    #[test]
    fn lines_are_joined() {
        let options = "{firstline: '^>'}";
        for (lines, want) in [
            (vec![">a", "b", "", "c ", ">d"], vec![">a+b++c ", "|>d"]),
            (vec!["early", "lines", ">a", "b"], vec!["early", "lines", "|>a+b"]),
            (vec![">a", ">b", ">c"], vec![">a", ">b", "|>c"]),
            (vec!["a", "b"], vec!["a", "b"]),
        ] {
            assert_eq!(blocks(options, &lines), want, "{lines:?}");
        }
    }

    #[test]
    fn long_blocks_come_in_parts() {
        let lines = [">a", "1", "2", "3", "4", "5", "6", ">b", "7"];
        assert_eq!(blocks("{firstline: '^>', max_lines: 3}", &lines), [">a+1+2", "3+4+5", "6", "|>b+7"]);
        assert_eq!(blocks("{firstline: '^>', max_lines: 1}", &lines), lines);
        assert_eq!(blocks("{firstline: '^>', max_lines: '0'}", &lines), [">a+1+2+3+4+5+6", "|>b+7"]);
        let many: Vec<&str> = std::iter::once(">").chain(std::iter::repeat_n("l", 128)).collect();
        let lines: Vec<usize> = blocks("{firstline: '^>'}", &many).iter().map(|b| b.split('+').count()).collect();
        assert_eq!(lines, [128, 1]);
    }

    #[test]
    fn a_block_is_no_longer_than_a_line_may_be() {
        let half = "x".repeat(MAX_LINE / 2);
        let lengths: Vec<usize> =
            blocks("{firstline: '^>'}", &[">", &half, &half, &half]).iter().map(String::len).collect();
        assert_eq!(lengths, [MAX_LINE / 2 + 2, MAX_LINE / 2, MAX_LINE / 2 + 1]);
    }

    #[test]
    fn a_block_ends_when_nothing_comes() {
        let mut bench = Bench::of("multiline: {firstline: '^>', max_wait_time: 1s}");
        let (wait, half) = (Duration::from_secs(1), Duration::from_millis(500));
        assert_eq!(bench.pipeline().next_due(), None);
        assert_eq!(bench.outcome(">a"), "");
        assert_eq!(bench.pipeline().next_due(), Some(bench.clock.now() + wait));
        bench.clock.advance(half);
        assert_eq!((bench.outcome("b"), bench.due()), (String::new(), String::new()));
        bench.clock.advance(half);
        // Each new line restarts the wait.
        assert_eq!(bench.due(), "");
        assert_eq!(bench.pipeline().next_due(), Some(bench.clock.now() + half));
        bench.clock.advance(half);
        assert_eq!(bench.due(), "{app=\"x\"} >a\nb");
        assert_eq!(bench.pipeline().next_due(), None);
        // The continuation is a separate block, even if nobody checked the clock in between.
        assert_eq!(bench.outcome("c"), "");
        bench.clock.advance(wait);
        assert_eq!(bench.outcome("d"), "{app=\"x\"} c");
        assert_eq!(bench.outcome(">e"), "{app=\"x\"} d");
        assert_eq!(bench.release(Due::Log(1)), "{app=\"x\"} >e");
        // The log is gone, and so is everything known about it.
        assert_eq!(bench.outcome("f"), "{app=\"x\"} f");
    }

    #[test]
    fn time_labels_and_values_are_those_of_the_first_line() {
        let yaml = r"
            - cri: {}
            - regex: {expression: 'id=(?P<id>\w+)'}
            - multiline: {firstline: '^\S', max_lines: 2}
            - labels: {id: }
        ";
        let mut bench = Bench::of(yaml);
        let mut seen = Vec::new();
        for (ns, text) in [(1, "a id=1"), (2, " b id=2"), (3, " c id=3"), (4, " d"), (5, "e")] {
            bench.run(&format!("1970-01-01T00:00:00.00000000{ns}Z stdout F {text}"), &mut |entry| {
                seen.push((entry.timestamp, entry.labels.get("id").map(str::to_string), entry.line.to_string()));
            });
        }
        let id = || Some("1".to_string());
        assert_eq!(seen, [(1, id(), "a id=1\n b id=2".to_string()), (1, id(), " c id=3\n d".to_string())]);
        bench.end(&mut |entry| assert_eq!((entry.timestamp, &*entry.line), (5, "e")));
    }

    #[test]
    fn label_sets_are_collected_apart() {
        let yaml = r"
            - regex: {expression: '^(?P<t>.) (?P<m>.*)'}
            - labels: {t: }
            - output: {source: m}
            - multiline: {firstline: '^>'}
            - labeldrop: [app]
        ";
        let mut bench = Bench::of(yaml);
        let outcomes: Vec<String> =
            ["1 >a", "2 >b", "1 c", "2 d", "2 >e", "1 >f"].iter().map(|line| bench.outcome(line)).collect();
        assert_eq!(outcomes, ["", "", "", "", "{t=\"2\"} >b\nd", "{t=\"1\"} >a\nc"]);
        assert_eq!(bench.release(Due::Log(1)), "{t=\"2\"} >e / {t=\"1\"} >f");
    }

    #[test]
    fn what_is_held_is_bounded() {
        let yaml = "[logfmt: {mapping: {n: }}, labels: {n: }, multiline: {firstline: '.'}]";
        let mut bench = Bench::of(yaml);
        let mut out = 0;
        for i in 0..2 * BLOCKS {
            bench.run(&format!("n={i}"), &mut |_| out += 1);
        }
        assert!(out >= BLOCKS, "{out}");
        bench.end(&mut |_| out += 1);
        assert_eq!(out, 2 * BLOCKS);
    }

    #[test]
    fn options_that_are_none() {
        refused(&[
            ("multiline: {max_lines: 3}", "[0].multiline", "`firstline` is required"),
            ("multiline: {firstline: '('}", "[0].multiline.firstline", "invalid regular expression"),
            ("multiline: {firstline: a, max_wait_time: 3}", "[0].multiline.max_wait_time", "invalid duration \"3\""),
            ("multiline: {firstline: a, max_lines: -1}", "[0].multiline.max_lines", "expected a whole number"),
        ]);
    }
}
