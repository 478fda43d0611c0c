//! Lines between the task that asks a server and the reader of one client. They stay until the client has committed them,
//! so that they can be read again.

use std::collections::VecDeque;
use std::iter::Peekable;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tokio::sync::Notify;

use crate::model::{Chunk, Encoding, Mark, Position, Progress, Read, Record};

/// The most bytes of lines in a buffer. A longer line is taken if the buffer is empty. This is many times the window of a
/// stream.
pub(super) const ROOM: usize = 1 << 20;

/// The most bytes of all buffers that share their room, if each has its least.
const ALL: usize = 16 << 20;

/// What each buffer may have, however many there are.
const LEAST: usize = 32 << 10;

/// Approximate bytes of memory of a line, besides its text.
const COST: usize = 128;

/// A line in a buffer.
pub(super) trait Buffered {
    fn text(&self) -> &str;
}

/// The room that buffers share: while Loki is away, all of them may be full.
#[derive(Debug, Default)]
pub(super) struct SharedRoom {
    buffers: AtomicUsize,
}

impl SharedRoom {
    /// The most bytes of each buffer.
    fn of_each(&self) -> usize {
        (ALL / self.buffers.load(Ordering::Relaxed).max(1)).clamp(LEAST, ROOM)
    }
}

#[derive(Debug)]
pub(super) struct Buffer<L> {
    state: Mutex<State<L>>,
    shared: Arc<SharedRoom>,
    has_room: Notify,
    waker: Waker,
}

#[derive(Debug)]
struct State<L> {
    lines: VecDeque<Kept<L>>,
    /// The number of `lines` that the reader has taken since it was last rewound.
    read: usize,
    /// Bytes of memory of `lines`, with the overhead of each line.
    bytes: usize,
    /// After the last line.
    end: Mark,
    /// No more lines will come.
    is_ended: bool,
}

#[derive(Debug)]
struct Kept<L> {
    end: Mark,
    line: L,
}

impl<L: Buffered> State<L> {
    /// The mark before the next line to read.
    fn at(&self) -> Mark {
        match self.lines.get(self.read) {
            Some(next) => Mark(next.end.0 - next.line.text().len() as u64 - 1),
            None => self.end,
        }
    }
}

impl<L: Buffered> Buffer<L> {
    /// `waker` wakes the client's reader.
    pub fn new(waker: Waker, shared: Arc<SharedRoom>) -> Self {
        shared.buffers.fetch_add(1, Ordering::Relaxed);
        let state = State { lines: VecDeque::new(), read: 0, bytes: 0, end: Mark::default(), is_ended: false };
        Self { state: Mutex::new(state), shared, has_room: Notify::new(), waker }
    }

    /// Adds a line, as soon as there is room. Only one task may add lines.
    pub async fn put(&self, line: L) {
        self.put_all(&mut vec![line]).await;
    }

    /// Adds lines in their order, each as soon as there is room. Only one task may add lines.
    pub async fn put_all(&self, lines: &mut Vec<L>) {
        let mut left = lines.drain(..).peekable();
        while left.peek().is_some() {
            let room = self.has_room.notified();
            if self.put_some(&mut left) {
                self.waker.wake_by_ref();
            } else {
                room.await;
            }
        }
    }

    /// Adds the lines that there is room for. False: there is no room.
    fn put_some(&self, lines: &mut Peekable<impl Iterator<Item = L>>) -> bool {
        let room = self.shared.of_each();
        let mut state = self.lock();
        let before = state.lines.len();
        while let Some(line) =
            lines.next_if(|line| state.lines.is_empty() || state.bytes + line.text().len() + COST <= room)
        {
            state.bytes += line.text().len() + COST;
            state.end = state.end.after(line.text().len() as u64 + 1);
            let end = state.end;
            state.lines.push_back(Kept { end, line });
        }
        state.lines.len() > before
    }

    /// No more lines will come.
    pub fn end(&self) {
        self.lock().is_ended = true;
        self.waker.wake_by_ref();
    }

    /// Reads about `room` bytes of lines, at least one line. `record` gives the record of a line; its end is set here.
    pub fn read(&self, room: usize, chunk: &mut Chunk, record: impl Fn(&L) -> Record) -> Read {
        let mut state = self.lock();
        if state.read == state.lines.len() {
            return if state.is_ended { Read::Finished } else { Read::Idle };
        }
        chunk.start = state.at();
        chunk.place = Position { offset: chunk.start.0, ..Position::default() };
        chunk.encoding = Encoding::Utf8;
        chunk.bytes.clear();
        let mut records = chunk.records.take().unwrap_or_default();
        records.clear();
        while let Some(Kept { line, .. }) = state.lines.get(state.read) {
            if !records.is_empty() && chunk.bytes.len() + line.text().len() > room {
                break;
            }
            chunk.bytes.extend_from_slice(line.text().as_bytes());
            chunk.bytes.push(b'\n');
            records.push(Record { end: chunk.bytes.len(), ..record(line) });
            state.read += 1;
        }
        chunk.len = chunk.bytes.len();
        chunk.records = Some(records);
        Read::Records { more: state.read < state.lines.len() }
    }

    /// The next line to read is the first one after this mark.
    pub fn rewind(&self, to: Mark) {
        let mut state = self.lock();
        state.read = state.lines.partition_point(|line| line.end <= to);
    }

    /// Removes the lines up to this mark, and gives each to `each`.
    pub fn commit(&self, to: Mark, mut each: impl FnMut(L)) {
        let mut state = self.lock();
        while let Some(first) = state.lines.pop_front_if(|first| first.end <= to) {
            state.bytes -= first.line.text().len() + COST;
            state.read = state.read.saturating_sub(1);
            each(first.line);
        }
        drop(state);
        self.has_room.notify_one();
    }

    pub fn note_progress(&self, progress: &mut Progress) {
        let state = self.lock();
        let at = state.at();
        progress.read_offset = at.0;
        progress.size = state.end.0;
        progress.unread = state.end.0 - at.0;
    }

    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    // No code that can panic runs under this lock, also not the closures of the sources.
    fn lock(&self) -> MutexGuard<'_, State<L>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L> Drop for Buffer<L> {
    fn drop(&mut self) {
        self.shared.buffers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    impl Buffered for String {
        fn text(&self) -> &str {
            self
        }
    }

    #[test]
    fn many_buffers_share_their_room_and_each_has_some() {
        let filled = |count: usize| {
            let shared = Arc::new(SharedRoom::default());
            let buffers: Vec<Buffer<String>> =
                (0..count).map(|_| Buffer::new(Waker::noop().clone(), shared.clone())).collect();
            for buffer in &buffers {
                let mut lines = vec!["x".repeat(1_000); 2_000];
                assert_eq!(buffer.put_all(&mut lines).now_or_never(), None, "it is full");
            }
            let bytes: Vec<usize> = buffers.iter().map(Buffer::bytes).collect();
            assert!(bytes.iter().all(|bytes| *bytes >= LEAST - 2_000), "{bytes:?}");
            drop(buffers);
            assert_eq!(shared.buffers.load(Ordering::Relaxed), 0);
            bytes.iter().sum::<usize>()
        };
        assert!((ROOM - 2_000..=ROOM).contains(&filled(1)));
        for count in [16, 60, 200] {
            assert!((ALL - count * 2_000..=ALL).contains(&filled(count)), "{count}");
        }
        assert!(filled(1_000) <= 1_000 * LEAST);
    }
}
