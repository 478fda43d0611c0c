//! The spool of a receiver as a source: each client reads it from its own place. The checkpoint is a cursor, saved as
//! `spool-<job>`.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::given::{GivenSource, Opening};
use super::metrics::{Metrics, SPOOL};
use crate::model::{Checkpoint, Chunk, Encoding, LabelSet, Mark, Position, Progress, Read, Source, Wake};
use crate::spool::{Location, Next, Reader, Records, Spool};

/// The most frames that wait for their commit. Reading pauses then.
const GIVEN: usize = 100_000;

/// The records of this job come from the spool.
pub(super) fn source(
    (job, name): (Arc<str>, Arc<str>),
    labels: LabelSet,
    spool: Arc<Spool>,
    metrics: Metrics,
) -> GivenSource {
    let position = Some(format!("spool-{job}").into());
    let open = move |opening: Opening| {
        let Opening { client, cursor, waker } = opening;
        let reader = Reader::open(spool.clone(), client, cursor.as_deref(), waker.clone());
        Ok(Box::new(Spooled::new(reader, waker, metrics.clone())) as Box<dyn Source>)
    };
    GivenSource::new((job, name), labels, position, open)
}

#[derive(Debug)]
struct Spooled {
    reader: Reader,
    /// The frame that is read, which is the last of `given`.
    current: Option<Records>,
    /// Frames that are not committed, oldest first.
    given: VecDeque<Given>,
    /// Where the next record begins.
    next: Mark,
    /// Wakes the reader.
    waker: Waker,
    metrics: Metrics,
}

/// A frame of which something was given, or will be.
#[derive(Clone, Copy, Debug)]
struct Given {
    /// The mark of its place.
    begin: Mark,
    place: Location,
    end: Mark,
}

impl Given {
    /// Bytes of its text before this mark.
    fn skip(&self, at: Mark) -> u64 {
        self.place.skip + at.since(self.begin)
    }
}

impl Spooled {
    fn new(reader: Reader, waker: Waker, metrics: Metrics) -> Self {
        Self { reader, current: None, given: VecDeque::new(), next: Mark::default(), waker, metrics }
    }

    /// Reads the next frame with something to give. False: there is none.
    fn advance(&mut self) -> io::Result<bool> {
        while self.given.len() < GIVEN {
            match self.reader.read()? {
                Next::Records(place, records) => {
                    let end = self.next.after((records.text.len() as u64).saturating_sub(place.skip));
                    if end == self.next {
                        continue;
                    }
                    self.given.push_back(Given { begin: self.next, place, end });
                    self.current = Some(records);
                    return Ok(true);
                }
                Next::Damaged(bytes) => {
                    self.metrics.lost(bytes, SPOOL);
                    tracing::error!(
                        bytes,
                        "a part of a spool is damaged, and its lines are lost: check the disk (fantail_lost_bytes_total, reason \"spool\")"
                    );
                }
                Next::Nothing => break,
            }
        }
        if self.given.is_empty() {
            // Bytes that were passed over count as committed.
            self.reader.commit(self.reader.at());
        }
        Ok(false)
    }
}

impl Source for Spooled {
    fn read(&mut self, room: usize, _now: Instant, chunk: &mut Chunk) -> io::Result<Read> {
        if self.given.back().is_none_or(|given| given.end <= self.next) || self.current.is_none() {
            self.current = None;
            if !self.advance()? {
                return Ok(Read::Idle);
            }
        }
        let (Some(frame), Some(given)) = (&self.current, self.given.back()) else { return Ok(Read::Idle) };
        let skip = given.skip(self.next) as usize;
        let until = chunk.records.get_or_insert_default().copy_part(&frame.records, skip, room);
        chunk.bytes.clear();
        chunk.bytes.extend_from_slice(frame.text.as_bytes().get(skip..until).unwrap_or_default());
        chunk.len = chunk.bytes.len();
        chunk.encoding = Encoding::Utf8;
        chunk.start = self.next;
        chunk.place = Position { offset: self.next.0, ..Position::default() };
        self.next = self.next.after(chunk.len as u64);
        Ok(Read::Records { more: self.next < given.end || self.reader.unread() > 0 })
    }

    fn rewind(&mut self, to: Mark) -> u64 {
        self.next = to;
        let Some(at) = self.given.iter().position(|given| to < given.end) else { return 0 };
        let Some(given) = self.given.get(at).copied() else { return 0 };
        self.given.truncate(at);
        self.current = None;
        self.reader.seek(Location { skip: given.skip(to.max(given.begin)), ..given.place });
        // The frame is split here: what is before this mark is not read again.
        if to > given.begin {
            self.given.push_back(Given { end: to, ..given });
        }
        0
    }

    fn committed(&mut self, to: Mark) -> Option<Checkpoint> {
        let before = self.given.front().map(|given| given.begin)?;
        let was_full = self.given.len() >= GIVEN;
        while self.given.pop_front_if(|given| given.end <= to).is_some() {}
        let location = match self.given.front_mut() {
            Some(given) => {
                if to > given.begin {
                    (given.place.skip, given.begin) = (given.skip(to), to);
                }
                given.place
            }
            None => self.reader.at(),
        };
        if was_full {
            self.waker.wake_by_ref();
        }
        (to > before).then(|| Checkpoint::Cursor(self.reader.commit(location).into()))
    }

    fn wake(&self) -> Wake {
        Wake::Rings
    }

    fn note_progress(&self, progress: &mut Progress) {
        let here = self.given.back().map_or(0, |given| given.end.since(self.next));
        progress.read_offset = self.next.0;
        progress.unread = self.reader.unread() + here;
        progress.size = self.next.0 + progress.unread;
        progress.generations = 1;
    }
}

#[cfg(test)]
mod tests;
