//! Joins the messages of a container to lines, and knows where reading continues after each line.

use super::cursor::Cursor;
use super::frames::Frame;

/// The longest line in bytes that parts are joined to: the longest line that Loki accepts by default. Further
/// parts become a line of their own.
const LONGEST: usize = 256 << 10;

/// A line of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub is_stderr: bool,
    /// In Unix nanoseconds. None: it has no time.
    pub time: Option<i64>,
    pub text: String,
    /// Where the next run of the agent continues once this line is delivered. While a line of the other stream is
    /// incomplete, that is before its first part.
    pub cursor: Cursor,
}

/// The parts of a line, joined so far.
#[derive(Debug)]
struct Incomplete {
    time: Option<i64>,
    text: Vec<u8>,
    /// The cursor before its first part.
    before: Cursor,
    /// The number of its first message.
    number: u64,
}

#[derive(Debug)]
pub struct Lines {
    /// After the last message.
    cursor: Cursor,
    /// How many messages there were.
    count: u64,
    /// Of stdout and of stderr.
    incomplete: [Option<Incomplete>; 2],
}

impl Lines {
    pub fn new(cursor: Cursor) -> Self {
        Self { cursor, count: 0, incomplete: [None, None] }
    }

    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Takes the next message. Returns the lines that are complete with it.
    pub fn take(&mut self, frame: Frame<'_>) -> [Option<Line>; 2] {
        let Frame { is_stderr, time, text, is_part } = frame;
        let (stream, before, number) = (usize::from(is_stderr), self.cursor, self.count);
        let is_over = |held: &Incomplete| held.text.len() + text.len() > LONGEST;
        let over = self.incomplete[stream].take_if(|held| is_over(held));
        let over = over.map(|held| self.line(is_stderr, held));
        self.cursor = self.cursor.after(time);
        self.count += 1;
        if !is_part && self.incomplete.iter().all(Option::is_none) {
            let text = String::from_utf8_lossy(text).into_owned();
            return [over, Some(Line { is_stderr, time, text, cursor: self.cursor })];
        }
        let mut line = self.incomplete[stream].take().unwrap_or(Incomplete { time, text: Vec::new(), before, number });
        line.text.extend_from_slice(text);
        if is_part {
            self.incomplete[stream] = Some(line);
            return [over, None];
        }
        [over, Some(self.line(is_stderr, line))]
    }

    /// The incomplete lines, when their ends will never come.
    pub fn rest(&mut self) -> Vec<Line> {
        let mut rest = Vec::new();
        for is_stderr in [false, true] {
            if let Some(held) = self.incomplete[usize::from(is_stderr)].take() {
                rest.push(self.line(is_stderr, held));
            }
        }
        rest
    }

    fn line(&self, is_stderr: bool, line: Incomplete) -> Line {
        let first = self.incomplete.iter().flatten().min_by_key(|held| held.number);
        let cursor = first.map_or(self.cursor, |held| held.before);
        let text = String::from_utf8(line.text).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
        Line { is_stderr, time: line.time, text, cursor }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frames::PART;
    use super::*;

    fn frame(is_stderr: bool, time: i64, text: &str) -> Frame<'_> {
        let is_part = text.len() >= PART;
        Frame { is_stderr, time: Some(time), text: text.as_bytes(), is_part }
    }

    fn shown(lines: impl IntoIterator<Item = Line>) -> Vec<(bool, usize, String)> {
        lines.into_iter().map(|line| (line.is_stderr, line.text.len(), line.cursor.to_string())).collect()
    }

    #[test]
    fn a_cursor_never_passes_an_incomplete_line() {
        let mut lines = Lines::new(Cursor::default());
        let part = "p".repeat(PART);
        let mut take =
            |is_stderr, time, text: &str| shown(lines.take(frame(is_stderr, time, text)).into_iter().flatten());
        assert_eq!(take(false, 1, "a"), [(false, 1, "0.000000001+1".to_string())]);
        assert_eq!(take(false, 2, &part), []);
        assert_eq!(take(true, 3, "err"), [(true, 3, "0.000000001+1".to_string())], "before the part");
        assert_eq!(take(true, 4, &part), []);
        assert_eq!(take(false, 2, "end"), [(false, PART + 3, "0.000000003+1".to_string())], "before the other part");
        assert_eq!(take(true, 4, "end"), [(true, PART + 3, "0.000000004+3".to_string())]);
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let mut lines = Lines::new(Cursor::default());
        let part = "p".repeat(PART);
        let mut seen = Vec::new();
        for _ in 0..40 {
            seen.extend(shown(lines.take(frame(false, 1, &part)).into_iter().flatten()));
        }
        assert_eq!(seen, [16, 32].map(|n| (false, LONGEST, format!("0.000000001+{n}"))));
        assert_eq!(shown(lines.rest()), [(false, 8 * PART, "0.000000001+40".to_string())]);
        assert!(lines.rest().is_empty());
    }
}
