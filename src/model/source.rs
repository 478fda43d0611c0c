//! What a reader reads: a source gives records up to a mark, can be taken back to one, and says what of a mark is to be
//! written down once everything before it is delivered. A file with its rotated generations is one; what a receiver hands
//! in, or a journal, are others. A reader does not know which it reads.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::{Encoding, LabelSet, Lines, Mark, Position, Progress};

/// What one read gave: bytes, and what of them is a record. It is kept from one read to the next for its memory.
#[derive(Debug, Default)]
pub struct Chunk {
    /// The first `len` bytes are what was read.
    pub bytes: Vec<u8>,
    pub len: usize,
    /// None: each line of the bytes is a record.
    pub records: Option<Vec<Record>>,
    /// How lines are encoded.
    pub encoding: Encoding,
    /// Where it begins.
    pub start: Mark,
    /// The same as a place in a file, which is the same in every run; of what is in no file the offset alone says something.
    pub place: Position,
}

/// One record of a chunk that does not consist of lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Where it ends in the chunk's bytes: behind the newline that follows its text, so that a record without text has a
    /// place as well. It begins where the one before it ends.
    pub end: usize,
    /// When it was written, in Unix nanoseconds; None: the time of reading is what there is.
    pub time: Option<i64>,
    /// Its labels instead of those of its target.
    pub labels: Option<LabelSet>,
}

/// A record as it is worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View<'c> {
    /// Where in the chunk it begins.
    pub at: usize,
    pub text: &'c str,
    pub time: Option<i64>,
    pub labels: Option<&'c LabelSet>,
}

/// The records of some of a chunk, in order.
#[derive(Debug)]
pub enum Views<'c> {
    Lines(Lines<'c>),
    Records { text: &'c str, at: usize, records: std::slice::Iter<'c, Record> },
}

impl<'c> Iterator for Views<'c> {
    type Item = View<'c>;

    fn next(&mut self) -> Option<View<'c>> {
        match self {
            Views::Lines(lines) => lines.next().map(|(at, text)| View { at, text, time: None, labels: None }),
            Views::Records { text, at, records } => {
                let record = records.next()?;
                let begins = std::mem::replace(at, record.end);
                // Whoever made the chunk cut it between characters; if not, a record is empty rather than the agent gone.
                let text = text.get(begins..record.end.saturating_sub(1)).unwrap_or_default();
                Some(View { at: begins, text, time: record.time, labels: record.labels.as_ref() })
            }
        }
    }
}

/// What one read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// The chunk holds whole records; `more` says that there may be more at once. (A last line without newline is whole
    /// where its file has ended.)
    Records { more: bool },
    /// Some of a line that is longer than [`MAX_LINE`](super::MAX_LINE) was passed over, and there is more of it; or some
    /// of a compressed file on the way to where it is to go on.
    Passed,
    /// A line longer than [`MAX_LINE`](super::MAX_LINE) was passed over, which ends at this mark.
    Skipped { bytes: u64, end: Mark },
    /// Nothing for now.
    Idle,
    /// Nothing will come any more.
    Finished,
}

/// What has to be written down so that reading can go on there in the next run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    File {
        position: Position,
        /// Whether that is in the file which has the log's name now.
        live: bool,
        /// When that file was last written to.
        written: SystemTime,
        /// Where older files ended that were read to their end and left since the last checkpoint.
        left: Vec<Position>,
    },
    /// What only the source understands.
    Cursor(Arc<str>),
}

/// How a reader learns that there is something to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// It looks, now and then.
    Poll,
    /// The source wakes it.
    Rings,
}

/// See the [module](self). No call waits.
pub trait Source: fmt::Debug + Send {
    /// Reads whole records into `chunk`: about `room` bytes, or one record if that is longer.
    fn read(&mut self, room: usize, now: Instant, chunk: &mut Chunk) -> io::Result<Read>;

    /// Reading goes on at `to`, which is at or after the mark that was last committed. Gives the bytes that cannot be read
    /// again (a file was cut since), and so are passed over.
    fn rewind(&mut self, to: Mark) -> u64;

    /// Everything before `to` is delivered, or discarded with a reason: what is to be written down. None: nothing is.
    fn committed(&mut self, to: Mark) -> Option<Checkpoint>;

    /// Whether it can be taken back to the beginning of any record that it gave.
    fn is_exact(&self) -> bool {
        true
    }

    fn wake(&self) -> Wake;

    /// For people: how far reading is, and how much there is to read.
    fn note_progress(&self, progress: &mut Progress);
}
