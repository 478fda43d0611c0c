//! Sources, which a reader reads. A source gives records up to a mark, can be rewound to a mark, and turns a committed mark into
//! a checkpoint. A file with its rotated generations is one source; an inbox of a receiver or a journal is another. A
//! reader does not know which kind it reads.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::{Encoding, LabelSet, Lines, Mark, Position, Progress, RecordList, Structured, records};

/// The result of one read: bytes, and where the records in them end. Reused for the next read to keep its memory.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Only the first `len` bytes are valid.
    pub bytes: Vec<u8>,
    pub len: usize,
    /// None: each line of the bytes is a record.
    pub records: Option<RecordList>,
    /// How the lines are encoded.
    pub encoding: Encoding,
    /// A carriage return before a newline is no part of the line.
    pub trims_returns: bool,
    /// The mark where the chunk begins.
    pub start: Mark,
    /// The same place in the file, which is stable across restarts. A source without files sets only the offset, and
    /// any offset will do that grows within a run.
    pub place: Position,
}

/// A record as the pipeline sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View<'c> {
    /// Where the record begins in the chunk, in bytes.
    pub at: usize,
    /// Where the next record begins.
    pub end: usize,
    pub text: &'c str,
    pub time: Option<i64>,
    pub labels: Option<&'c LabelSet>,
    pub metadata: &'c [Structured<'static>],
    pub tenant: Option<&'c Arc<str>>,
}

/// Iterates over the records of a chunk, or of a part of it, in order.
#[derive(Debug)]
pub enum Views<'c> {
    Lines { lines: Lines<'c>, trims_returns: bool },
    Records { text: &'c str, at: usize, records: records::Iter<'c> },
}

impl<'c> Iterator for Views<'c> {
    type Item = View<'c>;

    #[inline]
    fn next(&mut self) -> Option<View<'c>> {
        match self {
            Views::Lines { lines, trims_returns } => {
                let (at, text) = lines.next()?;
                let end = lines.at();
                let text = text.strip_suffix('\r').filter(|_| *trims_returns).unwrap_or(text);
                Some(View { at, end, text, time: None, labels: None, metadata: &[], tenant: None })
            }
            Views::Records { text, at, records } => {
                let record = records.next()?;
                let begins = std::mem::replace(at, record.end);
                // The source cuts chunks at character boundaries. If it did not, use an empty record rather than panic.
                let text = text.get(begins..record.end.saturating_sub(1)).unwrap_or_default();
                Some(View {
                    at: begins,
                    end: record.end,
                    text,
                    time: record.time,
                    labels: record.labels,
                    metadata: record.metadata,
                    tenant: record.tenant,
                })
            }
        }
    }
}

/// The outcome of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// The chunk holds whole records. `more`: more may be available at once. A last line without newline counts as
    /// whole at the end of a finished file.
    Records { more: bool },
    /// Nothing to deliver yet: a part of a line longer than [`MAX_LINE`](super::MAX_LINE) was skipped and more of that
    /// line follows, or a compressed file is being decompressed up to the mark where reading continues.
    Passed,
    /// A line longer than [`MAX_LINE`](super::MAX_LINE), which ends at this mark, was skipped.
    Skipped { bytes: u64, end: Mark },
    /// Nothing to read for now.
    Idle,
    /// Nothing to read any more.
    Finished,
}

/// A place in a form that can be saved, so that the next run can continue there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    File {
        position: Position,
        /// Whether `position` is in the file that has the log's name now.
        live: bool,
        /// When that file was last modified.
        written: SystemTime,
        /// Bytes of that file behind `position`, as far as they are known.
        unread: u64,
        /// Where older files ended that were read to their end and left since the last checkpoint.
        left: Vec<Position>,
    },
    /// A text that only the source understands.
    Cursor(Arc<str>),
}

/// How a reader learns that a source has something to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The reader polls the source.
    Poll,
    /// The source wakes the reader.
    Rings,
}

/// See the [module](self). No method blocks.
pub trait Source: fmt::Debug + Send {
    /// Reads whole records into `chunk`: about `room` bytes, or one record if that is longer.
    fn read(&mut self, room: usize, now: Instant, chunk: &mut Chunk) -> io::Result<Read>;

    /// Continues reading at `to`, which is at or after the last committed mark. Returns the number of bytes that cannot
    /// be read again (because a file was truncated since) and are skipped.
    fn rewind(&mut self, to: Mark) -> u64;

    /// Everything before `to` is delivered, or discarded with a reason. Returns the checkpoint to save. None: nothing
    /// to save.
    fn committed(&mut self, to: Mark) -> Option<Checkpoint>;

    /// How many of the bytes that were read and not committed count as exposed: the batches of a log are sent without
    /// waiting for `batchwait` while it has a window of these, so that a crash causes few lines to be sent again. A source
    /// that gives nothing again after a crash may wait for larger batches.
    fn exposed(&self, uncommitted: u64) -> u64 {
        uncommitted
    }

    /// Whether the source can be rewound to the start of any record that it gave.
    fn is_exact(&self) -> bool {
        true
    }

    fn wake(&self) -> Wake;

    /// Whether its uncommitted records exist only in this object. When the config is reloaded, such a source is read to
    /// its end by the next run instead of being opened again.
    fn outlives_run(&self) -> bool {
        false
    }

    /// Writes how far reading is, and how much there is to read, into `progress`. For display only.
    fn note_progress(&self, progress: &mut Progress);
}
