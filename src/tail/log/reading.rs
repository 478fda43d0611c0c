//! Reads whole lines from a log's generations, one generation after the other.

use std::io;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use super::{Drained, LastLine, Log};
use crate::model::{Checkpoint, Chunk, Encoding, MAX_LINE, Mark, Position, Progress, Read, Source, Wake};
use crate::tail::generation::Generation;
use crate::tail::mounts::Mounts;

/// A line does not begin with this many NUL bytes: they are a hole in the file.
const NULS: usize = 64;

impl Source for Log {
    fn read(&mut self, room: usize, now: Instant, chunk: &mut Chunk) -> io::Result<Read> {
        chunk.records = None;
        self.read_lines(room, now, chunk)
    }

    fn rewind(&mut self, to: Mark) -> u64 {
        let mut lost = 0;
        while let Some(back) = self.marks.step_back(to) {
            if back.is_late {
                lost += self.rewind_late(&back);
                continue;
            }
            self.skipping = None;
            if self.generations[0].number != back.generation {
                match self.take_read(back.generation) {
                    Some(generation) => self.generations.push_front(generation),
                    // Truncated or given up meanwhile: there is nothing to rewind to.
                    None => {
                        lost += back.bytes;
                        continue;
                    }
                }
            }
            self.generations[0].offset = back.offset;
        }
        lost
    }

    fn committed(&mut self, to: Mark) -> Option<Checkpoint> {
        // While its files are still open.
        let mut position = self.position_of(to);
        let late_ends = self.late_ends(to);
        // As long as nothing was read of a younger file, the late lines follow the position in its file.
        let follows = |end: &&Position| end.file.has_inode_of(&position.file) && end.offset > position.offset;
        if let Some(end) = late_ends.iter().rfind(follows) {
            position = *end;
        }
        self.marks.commit(to);
        self.settled = Some(position);
        while self.spent.pop_front_if(|generation| self.marks.is_done_with(generation)).is_some() {}
        // A file that was cut counts as another file.
        let is_here =
            |end: &Position| end.file.has_inode_of(&position.file) && end.file.fingerprint == position.file.fingerprint;
        let left = self.drained.iter_mut().filter(|d| !d.is_told && d.mark <= to && !is_here(&d.end));
        let left = left.map(|drained| {
            drained.is_told = true;
            drained.end
        });
        let left = left.chain(late_ends).collect();
        let (live, written, unread) = (self.is_live(&position), self.written(&position), self.behind(&position));
        Some(Checkpoint::File { position, live, written, unread, left })
    }

    /// If decoding can change lengths, the exact offset of a line is unknown.
    fn is_exact(&self) -> bool {
        matches!(self.generations[0].encoding(self.options.encoding), Encoding::Utf8)
    }

    fn wake(&self) -> Wake {
        Wake::Poll
    }

    fn note_progress(&self, progress: &mut Progress) {
        let (offset, unread) = (self.position().offset, self.unread());
        progress.read_offset = offset;
        progress.unread = unread;
        progress.size = offset + unread;
        progress.generations = self.generations() as u32;
    }
}

impl Log {
    /// The position to save for this mark, with the hash of the bytes before it in its file.
    fn position_of(&mut self, mark: Mark) -> Position {
        let Some((mut position, number)) = self.marks.position(mark) else {
            return self.settled.unwrap_or_else(|| self.position());
        };
        let late = self.late.iter_mut().map(|late| &mut late.generation);
        let mut open = self.spent.iter_mut().chain(late).chain(&mut self.generations);
        if let Some(generation) = open.find(|generation| generation.number == number) {
            position.before = generation.before(position.offset);
        }
        position
    }

    /// Bytes of the file of this position behind it. 0 if they are not known.
    fn behind(&self, position: &Position) -> u64 {
        let is_it = |generation: &&Generation| generation.id().has_inode_of(&position.file) && generation.is_plain();
        let generation = self.spent.iter().chain(&self.generations).find(is_it);
        let size = generation.and_then(|generation| generation.metadata().ok()).map_or(0, |meta| meta.len());
        size.saturating_sub(position.offset)
    }

    fn read_lines(&mut self, limit: usize, now: Instant, chunk: &mut Chunk) -> io::Result<Read> {
        let mut want = limit;
        if self.abandoned {
            return Ok(Read::Finished);
        }
        if let Some(read) = self.read_late(limit, now, chunk)? {
            return Ok(read);
        }
        loop {
            if chunk.bytes.len() < want {
                chunk.bytes.resize(want, 0);
            }
            let n = match self.peek(&mut chunk.bytes[..want]) {
                // A compressed file that is still skipping to the offset.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Read::Passed),
                // Damaged. What follows in other files must not wait for it.
                Err(error) if error.kind() == io::ErrorKind::InvalidData && self.generations.len() > 1 => {
                    self.skip_damaged(&error, now);
                    continue;
                }
                read => read?,
            };
            // A file that was empty when it was opened shows now whether it is text.
            if self.generations[0].offset == 0
                && n > 0
                && let Err(error) = self.generations[0].check_is_text()
            {
                if self.generations.len() == 1 {
                    return Err(error);
                }
                self.skip_damaged(&error, now);
                continue;
            }
            if let Some(mark) = self.generations[0].mark_ahead(self.options.encoding).filter(|mark| n >= *mark) {
                self.marks.step(&mut self.generations[0], &chunk.bytes[..mark]);
                continue;
            }
            let encoding = self.generations[0].encoding(self.options.encoding);
            let bytes = &chunk.bytes[..n];
            if let Some(skipped) = self.skipping {
                return Ok(self.skip_line(skipped, encoding, bytes, now));
            }
            let nuls = bytes.iter().take_while(|byte| **byte == 0).count();
            if !encoding.is_wide() && (nuls >= NULS || nuls > 0 && self.hole > 0) {
                self.marks.step(&mut self.generations[0], &bytes[..nuls]);
                self.hole += nuls as u64;
                if nuls == n {
                    return Ok(Read::Passed);
                }
                continue;
            }
            if n > 0 {
                self.note_hole();
            }
            // The extra bytes were read only to find the end of one line that is longer than asked for.
            let whole = match want > limit {
                true => encoding.first_line(bytes).unwrap_or(0),
                false => encoding.whole_lines(bytes),
            };
            if whole > 0 {
                self.note_growth(whole, now);
                return Ok(self.lines(chunk, whole, n == want || want > limit));
            }
            if n == want {
                if want < MAX_LINE {
                    want = (want * 4).min(MAX_LINE);
                } else {
                    self.skipping = Some(0);
                }
                continue;
            }
            // At the end of the file, perhaps with an incomplete line. That counts as a line only once the file cannot
            // grow any more.
            if !(self.is_drained(now) || self.ends_here && self.generations.len() == 1 && n > 0) {
                return Ok(Read::Idle);
            }
            if n > 0 {
                return Ok(self.lines(chunk, n, true));
            }
            if self.generations.len() == 1 {
                let is_over = self.gone.is_some() && self.late.is_empty();
                return Ok(if is_over { Read::Finished } else { Read::Idle });
            }
            self.note_cut_off();
            self.let_go(now);
        }
    }

    /// Lines that are read again are no growth.
    fn note_growth(&mut self, bytes: usize, now: Instant) {
        let end = self.marks.next.after(bytes as u64);
        if end > self.furthest {
            self.furthest = end;
            self.grown = Some(now);
        }
    }

    /// Whether its known lines may be its last ones, and nothing of it is skipped or comes from older files.
    pub fn may_end_here(&self) -> bool {
        self.generations.len() == 1 && self.generations[0].is_plain() && self.skipping.is_none()
    }

    /// Whether a line without a newline at its end is lost if this agent does not send it before it ends.
    pub fn dies_with_agent(&self) -> bool {
        /// Asked at the end of the agent only, so they do not change any more.
        static MOUNTS: LazyLock<Mounts> = LazyLock::new(Mounts::now);
        match self.options.last_line {
            LastLine::InPodVolume => MOUNTS.of(&self.path).is_some_and(|mount| mount.is_pod_volume),
            #[cfg(test)]
            LastLine::Anywhere => true,
        }
    }

    /// A line without a newline at its end is its last one.
    pub fn end_here(&mut self) {
        self.ends_here = true;
    }

    /// Passes over the bytes of a line that is too long, of which `skipped` bytes are passed already.
    fn skip_line(&mut self, skipped: u64, encoding: Encoding, bytes: &[u8], now: Instant) -> Read {
        match encoding.first_line(bytes) {
            Some(len) => self.end_skip(skipped, &bytes[..len]),
            None if bytes.len() >= encoding.unit() => {
                let passed = &bytes[..bytes.len() - bytes.len() % encoding.unit()];
                self.skipping = Some(skipped + passed.len() as u64);
                self.marks.step(&mut self.generations[0], passed);
                Read::Passed
            }
            None if self.is_drained(now) => self.end_skip(skipped, &[]),
            None => Read::Idle,
        }
    }

    /// Reports NUL bytes that were passed over, once text follows them.
    fn note_hole(&mut self) {
        let bytes = std::mem::take(&mut self.hole);
        if bytes > 0 && self.holes == 0 {
            let (path, offset) = (self.path.display(), self.position().offset);
            tracing::warn!(
                %path,
                offset,
                bytes,
                "NUL bytes in front of a line of a log are skipped: they come from a power failure, or from a truncation \
                 if the program does not append; further ones in this log are not reported"
            );
        }
        self.holes += bytes;
    }

    /// Stops reading the first generation and returns it.
    pub(super) fn give_up(&mut self) -> Option<Generation> {
        let generation = self.generations.pop_front()?;
        self.growing = None;
        self.leave(Drained::at(generation.position(), self.marks.next, generation.written()));
        Some(generation)
    }

    fn lines(&mut self, chunk: &mut Chunk, len: usize, more: bool) -> Read {
        chunk.encoding = self.generations[0].encoding(self.options.encoding);
        chunk.trims_returns = self.options.compression.is_some();
        (chunk.start, chunk.place) = self.marks.step(&mut self.generations[0], &chunk.bytes[..len]);
        chunk.len = len;
        Read::Records { more }
    }

    /// Ends a line that is too long, of which `skipped` bytes were passed over before `end`.
    fn end_skip(&mut self, skipped: u64, end: &[u8]) -> Read {
        self.skipping = None;
        self.marks.step(&mut self.generations[0], end);
        Read::Skipped { bytes: skipped + end.len() as u64, end: self.marks.next }
    }

    fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let is_youngest = self.generations.len() == 1;
        let front = &mut self.generations[0];
        if front.is_plain() {
            // One fstat is enough for an idle file, and is the cheapest check.
            let size = front.metadata()?.len();
            // Each time the file has grown: it may have been cut and have grown again since.
            let anew = size < front.offset || (size > front.offset && front.is_rewritten()?);
            if anew && is_youngest {
                self.truncate()?;
                // A copy with the unread bytes, if there is one, comes first.
                return self.peek(buffer);
            }
            if size <= front.offset {
                return Ok(0);
            }
        } else if is_youngest && front.is_truncated(front.metadata()?.len())? {
            self.truncate()?;
            return self.peek(buffer);
        }
        front.peek(buffer)
    }

    /// Whether the generation being read, whose end was reached, is complete.
    fn is_drained(&mut self, now: Instant) -> bool {
        if !self.generations[0].is_plain() && !self.is_packed(now) {
            return false;
        }
        let over = |since: Option<Instant>, wait: Duration| since.is_none_or(|s| now >= s + wait);
        // After the last byte, not after the rotation.
        let wait = self.options.late.max(self.options.grace * 120);
        let quiet = |since: Option<Instant>| over(since.max(self.grown), wait);
        match self.generations.len() {
            1 if self.options.compression.is_some() => true,
            1 => match self.gone {
                None => false,
                // A deleted file is complete after the grace time. A renamed file may still be written to for longer.
                Some(_) if self.is_deleted() => over(self.gone, self.options.grace),
                Some(_) => quiet(self.gone),
            },
            2 if self.generations[0].is_plain() => {
                // As long as the new file is empty, the writer still has the old one open.
                let unused = self.generations[1].metadata().is_ok_and(|m| m.len() == 0);
                if unused { quiet(self.rotated) } else { over(self.rotated, self.options.grace) }
            }
            _ => true,
        }
    }
}
