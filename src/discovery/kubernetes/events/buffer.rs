//! Lines between the task that watches the events and the reader of one client. They stay until the client has committed
//! them, so that they can be read again.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use tokio::sync::Notify;

use super::line::Line;
use super::progress::{Progress, Version};
use crate::model::{self, Checkpoint, Chunk, Encoding, Mark, Position, Read, Record, Source, Wake};

/// The most bytes of lines in a buffer. A longer line is taken if the buffer is empty.
const ROOM: usize = 1 << 20;

/// Approximate bytes of memory of a line, besides its text.
const COST: usize = 128;

#[derive(Debug)]
pub(super) struct Buffer {
    state: Mutex<State>,
    has_room: Notify,
    waker: Waker,
    progress: Arc<Progress>,
    /// The number of this client in `progress`.
    client: u64,
    /// The version up to which the client had delivered before.
    pub begins: Option<Version>,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Kept>,
    /// The number of `lines` that the reader has taken since it was last rewound.
    read: usize,
    /// Bytes of memory of `lines`, with the overhead of each line.
    bytes: usize,
    /// After the last line.
    end: Mark,
}

#[derive(Debug)]
struct Kept {
    end: Mark,
    line: Line,
}

impl State {
    /// The mark before the next line to read.
    fn at(&self) -> Mark {
        match self.lines.get(self.read) {
            Some(next) => Mark(next.end.0 - next.line.text.len() as u64 - 1),
            None => self.end,
        }
    }
}

impl Buffer {
    pub fn new(waker: Waker, progress: Arc<Progress>, cursor: Option<&str>) -> Arc<Self> {
        let begins = cursor.and_then(|cursor| {
            let version = cursor.parse().ok();
            if version.is_none() {
                tracing::warn!("the position of the Kubernetes events is not a resource version: all events are sent");
            }
            version
        });
        let client = progress.add(begins);
        let (state, has_room) = (Mutex::default(), Notify::new());
        Arc::new(Self { state, has_room, waker, progress, client, begins })
    }

    /// Adds a line, as soon as there is room.
    pub async fn put(&self, line: Line) {
        let cost = line.text.len() + COST;
        loop {
            let room = self.has_room.notified();
            let has_room = |state: &State| state.lines.is_empty() || state.bytes + cost <= ROOM;
            if has_room(&self.lock()) {
                break;
            }
            room.await;
        }
        // Only one task puts lines, so the room is still there.
        let mut state = self.lock();
        state.bytes += cost;
        state.end = state.end.after(line.text.len() as u64 + 1);
        let end = state.end;
        state.lines.push_back(Kept { end, line });
        drop(state);
        self.waker.wake_by_ref();
    }

    // No code that can panic runs under this lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.progress.remove(self.client);
    }
}

/// The reader's end of a buffer. The task that fills the buffer ends with it.
#[derive(Debug)]
pub(super) struct EventLog {
    pub buffer: Arc<Buffer>,
    pub task: tokio::task::AbortHandle,
}

impl Drop for EventLog {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Source for EventLog {
    fn read(&mut self, room: usize, _now: Instant, chunk: &mut Chunk) -> io::Result<Read> {
        let mut state = self.buffer.lock();
        if state.read == state.lines.len() {
            return Ok(Read::Idle);
        }
        chunk.start = state.at();
        chunk.place = Position { offset: chunk.start.0, ..Position::default() };
        chunk.encoding = Encoding::Utf8;
        chunk.bytes.clear();
        let mut records = chunk.records.take().unwrap_or_default();
        records.clear();
        while let Some(Kept { line, .. }) = state.lines.get(state.read) {
            if !records.is_empty() && chunk.bytes.len() + line.text.len() > room {
                break;
            }
            chunk.bytes.extend_from_slice(line.text.as_bytes());
            chunk.bytes.push(b'\n');
            let labels = Some(line.labels.clone());
            records.push(Record { end: chunk.bytes.len(), time: line.time, labels, ..Record::default() });
            state.read += 1;
        }
        chunk.len = chunk.bytes.len();
        chunk.records = Some(records);
        Ok(Read::Records { more: state.read < state.lines.len() })
    }

    fn rewind(&mut self, to: Mark) -> u64 {
        let mut state = self.buffer.lock();
        state.read = state.lines.partition_point(|line| line.end <= to);
        0
    }

    fn committed(&mut self, to: Mark) -> Option<Checkpoint> {
        let mut cursor = None;
        let mut state = self.buffer.lock();
        while let Some(first) = state.lines.pop_front_if(|first| first.end <= to) {
            state.bytes -= first.line.text.len() + COST;
            state.read = state.read.saturating_sub(1);
            cursor = first.line.cursor.or(cursor);
        }
        drop(state);
        self.buffer.has_room.notify_one();
        let version = cursor?;
        self.buffer.progress.delivered(self.buffer.client, version);
        Some(Checkpoint::Cursor(version.to_string().into()))
    }

    fn wake(&self) -> Wake {
        Wake::Rings
    }

    fn note_progress(&self, progress: &mut model::Progress) {
        let state = self.buffer.lock();
        let at = state.at();
        progress.read_offset = at.0;
        progress.size = state.end.0;
        progress.unread = state.end.0 - at.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LabelSet;

    fn line(n: u64, cursor: Option<Version>) -> Line {
        Line { time: Some(n as i64), labels: LabelSet::new([("n", n.to_string())]), text: "x".repeat(9), cursor }
    }

    #[tokio::test]
    async fn lines_stay_until_they_are_committed() {
        let progress = Arc::new(Progress::default());
        let buffer = Buffer::new(Waker::noop().clone(), progress.clone(), Some("4"));
        let task = tokio::spawn(std::future::pending::<()>()).abort_handle();
        let mut log = EventLog { buffer: buffer.clone(), task };
        for (n, cursor) in [(1, None), (2, Some(7)), (3, None), (4, Some(9))] {
            buffer.put(line(n, cursor)).await;
        }
        let mut chunk = Chunk::default();
        let mut times = |log: &mut EventLog, room: usize| {
            let read = log.read(room, Instant::now(), &mut chunk).expect("read");
            let records = chunk.records.as_ref().filter(|_| read != Read::Idle);
            records
                .map(|records| records.iter().filter_map(|record| record.time).collect::<Vec<_>>())
                .unwrap_or_default()
        };
        assert_eq!(times(&mut log, 1), [1]);
        assert_eq!(times(&mut log, 100), [2, 3, 4]);
        assert_eq!(times(&mut log, 100), [0; 0]);
        assert_eq!((log.committed(Mark(10)), progress.of_all()), (None, Some(4)));
        log.rewind(Mark(10));
        assert_eq!(times(&mut log, 100), [2, 3, 4]);
        assert_eq!(log.committed(Mark(30)), Some(Checkpoint::Cursor("7".into())));
        assert_eq!(progress.of_all(), Some(7));
        assert_eq!(log.committed(Mark(40)), Some(Checkpoint::Cursor("9".into())));
        drop((log, buffer));
        assert_eq!(progress.of_all(), None);
    }

    #[tokio::test]
    async fn a_full_buffer_waits_for_commits() {
        let buffer = Buffer::new(Waker::noop().clone(), Arc::default(), None);
        let task = tokio::spawn(std::future::pending::<()>()).abort_handle();
        let mut log = EventLog { buffer: buffer.clone(), task };
        let long = |n: u64| Line { text: "x".repeat(ROOM / 2), ..line(n, Some(n)) };
        let filled = tokio::spawn(async move {
            for n in 1..=6 {
                buffer.put(long(n)).await;
            }
        });
        let mut end = Mark::default();
        for n in 1..=6_u64 {
            let mut chunk = Chunk::default();
            while log.read(1, Instant::now(), &mut chunk).expect("read") == Read::Idle {
                tokio::task::yield_now().await;
            }
            assert!(log.buffer.lock().bytes <= ROOM);
            end = end.after(ROOM as u64 / 2 + 1);
            assert_eq!(log.committed(end), Some(Checkpoint::Cursor(n.to_string().into())));
        }
        filled.await.expect("all are there");
    }
}
