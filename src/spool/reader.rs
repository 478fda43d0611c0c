//! Reads a spool for one client.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::task::Waker;

use super::frames::{self, Found, REMEMBERED};
use super::records::{Records, decode};
use super::segments::{HEADER, seed};
use super::{Location, Spool};

#[derive(Debug)]
pub struct Reader {
    spool: Arc<Spool>,
    client: usize,
    at: Location,
    file: Option<(u64, File)>,
}

/// The next item of a spool.
#[derive(Debug)]
pub enum Next {
    /// The records of a frame, and the place where it begins.
    Records(Location, Records),
    /// This many bytes cannot be read and are passed over.
    Damaged(u64),
    /// There is nothing more for now.
    Nothing,
}

impl Reader {
    /// `cursor` is where this client has committed last. The waker is called when there is more to read.
    pub fn open(spool: Arc<Spool>, client: usize, cursor: Option<&str>, waker: Waker) -> Self {
        let seed = format!("{:016x}", spool.seed());
        // Another seed is that of a spool whose files were deleted.
        let of_this = |cursor: &str| cursor.split_once(':').filter(|(id, _)| *id == seed)?.1.parse().ok();
        let from: Option<Location> = cursor.and_then(of_this);
        let at = {
            let mut state = spool.lock();
            if let Some(place) = state.wakers.get_mut(client) {
                *place = Some(waker);
            }
            let at = from.unwrap_or_default();
            // A segment that is not there was committed.
            match state.segments.get(&at.segment) {
                // The frame of the cursor is not there any more: the disk has lost it. Nothing of the frame that will be
                // written there is delivered.
                Some(end) if at.frame >= *end => Location { frame: *end, skip: 0, ..at },
                Some(_) => at,
                None => {
                    let first = state.segments.first_key_value().map_or(0, |(number, _)| *number);
                    Location { segment: first, ..Location::default() }
                }
            }
        };
        spool.commit(client, at);
        Self { spool, client, at, file: None }
    }

    /// Where reading continues.
    pub fn at(&self) -> Location {
        self.at
    }

    /// Continues at this place.
    pub fn seek(&mut self, to: Location) {
        self.at = to;
    }

    /// Everything before the place is delivered. Returns the cursor to save.
    pub fn commit(&self, to: Location) -> String {
        self.spool.commit(self.client, to);
        format!("{:016x}:{to}", self.spool.seed())
    }

    /// Bytes that are not read yet.
    pub fn unread(&self) -> u64 {
        let state = self.spool.lock();
        let all: u64 = state.segments.range(self.at.segment..).map(|(_, end)| *end).sum();
        all.saturating_sub(self.at.frame)
    }

    /// Reads the next frame, from its beginning.
    pub fn read(&mut self) -> io::Result<Next> {
        loop {
            let Some((end, next)) = self.segment() else { return Ok(Next::Nothing) };
            self.at.frame = self.at.frame.max(HEADER);
            if self.at.frame >= end {
                let Some(next) = next else { return Ok(Next::Nothing) };
                self.at = Location { segment: next, ..Location::default() };
                continue;
            }
            let segment = self.at.segment;
            if self.file.as_ref().is_none_or(|(number, _)| *number != segment) {
                self.file = None;
                let file = self.spool.segments.read(segment)?;
                if seed(&file).is_err() {
                    return Ok(self.pass_over(end));
                }
                self.file = Some((segment, file));
            }
            let Some((_, file)) = &self.file else { return Ok(Next::Nothing) };
            match frames::read(file, self.at.frame, end)? {
                Found::Frame(frame) if frame.flags & REMEMBERED != 0 => {
                    self.at = Location { frame: frame.end, skip: 0, ..self.at };
                }
                Found::Frame(frame) => match decode(&frame.content) {
                    Some(records) => {
                        let begin = self.at;
                        self.at = Location { frame: frame.end, skip: 0, ..begin };
                        return Ok(Next::Records(begin, records));
                    }
                    None => return Ok(self.pass_over(frame.end)),
                },
                Found::Damaged(next) => return Ok(self.pass_over(next.unwrap_or(end))),
            }
        }
    }

    fn pass_over(&mut self, to: u64) -> Next {
        let bytes = to - self.at.frame;
        self.at = Location { frame: to, skip: 0, ..self.at };
        Next::Damaged(bytes)
    }

    /// The end of the segment that is read, and the next segment. None: there is none.
    fn segment(&mut self) -> Option<(u64, Option<u64>)> {
        let state = self.spool.lock();
        let mut segments = state.segments.range(self.at.segment..);
        let (number, end) = segments.next()?;
        if *number != self.at.segment {
            self.at = Location { segment: *number, ..Location::default() };
        }
        Some((*end, segments.next().map(|(number, _)| *number)))
    }
}
