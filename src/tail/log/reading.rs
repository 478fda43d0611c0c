//! Whole lines of a log's generations, one generation after the other.

use std::io;
use std::time::{Duration, Instant};

use super::{DRAINED, Log, Read};
use crate::model::MAX_LINE;

impl Log {
    /// Reads whole lines into the front of `buffer`: about `limit` bytes, or one line if that is longer.
    pub fn read(&mut self, buffer: &mut Vec<u8>, limit: usize, now: Instant) -> io::Result<Read> {
        let mut want = limit;
        if self.abandoned {
            return Ok(Read::Finished);
        }
        loop {
            if buffer.len() < want {
                buffer.resize(want, 0);
            }
            let n = match self.peek(&mut buffer[..want]) {
                // A compressed file, on the way to where it is to go on.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Read::Passed),
                read => read?,
            };
            let bytes = &buffer[..n];
            if let Some(skipped) = self.skipping {
                match self.options.encoding.first_line(bytes) {
                    Some(len) => return Ok(self.end_skip(skipped + len as u64, len)),
                    None if n >= self.options.encoding.unit() => {
                        let passed = (n - n % self.options.encoding.unit()) as u64;
                        self.skipping = Some(skipped + passed);
                        self.generations[0].offset += passed;
                        return Ok(Read::Passed);
                    }
                    None if self.is_drained(now) => return Ok(self.end_skip(skipped, 0)),
                    None => return Ok(Read::Idle),
                }
            }
            // More was read only for the end of a line that is longer than asked for.
            let whole = match want > limit {
                true => self.options.encoding.first_line(bytes).unwrap_or(0),
                false => self.options.encoding.whole_lines(bytes),
            };
            if whole > 0 {
                return Ok(self.lines(whole, n == want || want > limit));
            }
            if n == want {
                if want < MAX_LINE {
                    want = (want * 4).min(MAX_LINE);
                } else {
                    self.skipping = Some(0);
                }
                continue;
            }
            // At the end, perhaps with the beginning of a line, which is only a line once its file can grow no more.
            if !self.is_drained(now) {
                return Ok(Read::Idle);
            }
            if n > 0 {
                return Ok(self.lines(n, true));
            }
            if self.generations.len() == 1 {
                return Ok(if self.gone.is_some() { Read::Finished } else { Read::Idle });
            }
            self.let_go();
        }
    }

    pub(super) fn let_go(&mut self) {
        if self.drained.len() == DRAINED {
            self.drained.pop_front();
        }
        self.drained.extend(self.generations.pop_front().map(|g| (g.position(), g.written())));
    }

    /// The last bytes that were read will be read again.
    pub fn go_back(&mut self, bytes: usize) {
        self.generations[0].offset -= bytes as u64;
    }

    fn lines(&mut self, len: usize, more: bool) -> Read {
        let front = &mut self.generations[0];
        let start = front.position();
        front.offset += len as u64;
        Read::Lines { len, start, end: front.position(), more }
    }

    fn end_skip(&mut self, bytes: u64, len: usize) -> Read {
        self.skipping = None;
        self.generations[0].offset += len as u64;
        Read::Skipped { bytes, end: self.generations[0].position() }
    }

    fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let is_youngest = self.generations.len() == 1;
        let front = &mut self.generations[0];
        if front.is_plain() {
            // One fstat tells all that an idle file has to say, and costs the least.
            let size = front.metadata()?.len();
            // A head that is still short is held against the file as long as it grows: it may have been written anew.
            let anew = size < front.offset || (size > front.offset && front.is_short() && front.is_truncated(size)?);
            if anew && is_youngest {
                self.truncate()?;
                // If there is a copy of what was not read yet, it comes first.
                return self.peek(buffer);
            }
            if size <= front.offset {
                return Ok(0);
            }
        }
        front.peek(buffer)
    }

    /// Whether the generation being read, whose end was reached, can be taken as complete.
    fn is_drained(&self, now: Instant) -> bool {
        let over = |since: Option<Instant>, wait: Duration| since.is_none_or(|s| now >= s + wait);
        match self.generations.len() {
            1 if self.options.compression.is_some() => true,
            1 => match self.gone {
                None => false,
                // Deleted for good; or renamed, and who writes it may go on for a while.
                Some(_) if self.is_deleted() => over(self.gone, self.options.grace),
                Some(_) => over(self.gone, self.options.grace * 120),
            },
            2 if self.generations[0].is_plain() => {
                // As long as nobody writes to the new file, its writer has the old one open.
                let unused = self.generations[1].metadata().is_ok_and(|m| m.len() == 0);
                over(self.rotated, if unused { self.options.grace * 120 } else { self.options.grace })
            }
            _ => true,
        }
    }
}
