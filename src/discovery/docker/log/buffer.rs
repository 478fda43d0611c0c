//! Lines between the task that asks Docker and the reader of one client. They stay until the client has committed them,
//! so that they can be read again.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use tokio::sync::Notify;

use super::cursor::Cursor;
use super::lines::Line;
use crate::model::{
    Checkpoint, Chunk, Encoding, LabelSet, Mark, Position, Progress, Read, Record, Source, Streams, Wake,
};

/// The most bytes of lines in a buffer. A longer line is taken if the buffer is empty. This is many times the window of a
/// stream.
const ROOM: usize = 1 << 20;

/// Approximate bytes of memory of a line, besides its text.
const COST: usize = 96;

/// The labels of a container's lines. They change when the container does.
pub(super) type Labels = Arc<Mutex<Streams>>;

#[derive(Debug)]
pub(super) struct Buffer {
    state: Mutex<State>,
    has_room: Notify,
    labels: Labels,
    waker: Waker,
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
    /// No more lines will come.
    is_ended: bool,
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
    pub fn new(labels: Labels, waker: Waker) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), has_room: Notify::new(), labels, waker })
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

    /// No more lines will come.
    pub fn end(&self) {
        self.lock().is_ended = true;
        self.waker.wake_by_ref();
    }

    /// Whether the rules drop the lines of this stream.
    pub fn drops(&self, is_stderr: bool) -> bool {
        self.labels(is_stderr).is_none()
    }

    fn labels(&self, is_stderr: bool) -> Option<LabelSet> {
        lock(&self.labels).of(is_stderr).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

// No code that can panic runs under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The reader's end of a buffer. The task that fills the buffer ends with it.
#[derive(Debug)]
pub(super) struct ContainerLog {
    pub buffer: Arc<Buffer>,
    pub task: tokio::task::AbortHandle,
}

impl Drop for ContainerLog {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Source for ContainerLog {
    fn read(&mut self, room: usize, _now: Instant, chunk: &mut Chunk) -> io::Result<Read> {
        let labels = [false, true].map(|is_stderr| self.buffer.labels(is_stderr));
        let mut state = self.buffer.lock();
        if state.read == state.lines.len() {
            return Ok(if state.is_ended { Read::Finished } else { Read::Idle });
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
            let labels = labels[usize::from(line.is_stderr)].clone();
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
        let mut cursor: Option<Cursor> = None;
        let mut state = self.buffer.lock();
        while let Some(first) = state.lines.pop_front_if(|first| first.end <= to) {
            state.bytes -= first.line.text.len() + COST;
            state.read = state.read.saturating_sub(1);
            cursor = Some(first.line.cursor);
        }
        drop(state);
        self.buffer.has_room.notify_one();
        cursor.map(|cursor| Checkpoint::Cursor(cursor.to_string().into()))
    }

    fn wake(&self) -> Wake {
        Wake::Rings
    }

    fn note_progress(&self, progress: &mut Progress) {
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

    fn line(n: i64, length: usize) -> Line {
        let cursor = Cursor::default().after(Some(n));
        Line { is_stderr: n % 2 == 1, time: Some(n), text: "x".repeat(length), cursor }
    }

    fn log() -> ContainerLog {
        let set = |value: &str| Some(LabelSet::new([("stream", value)]));
        let labels = Arc::new(Mutex::new(Streams { stdout: set("out"), stderr: set("err") }));
        let task = tokio::spawn(std::future::pending::<()>()).abort_handle();
        ContainerLog { buffer: Buffer::new(labels, Waker::noop().clone()), task }
    }

    fn times(log: &mut ContainerLog, room: usize) -> (Mark, Vec<i64>) {
        let mut chunk = Chunk::default();
        match log.read(room, Instant::now(), &mut chunk).expect("read") {
            Read::Records { .. } => {
                let records = chunk.records.unwrap_or_default();
                for record in &records {
                    let stream = if record.time.is_some_and(|time| time % 2 == 1) { "err" } else { "out" };
                    assert_eq!(record.labels.as_ref().and_then(|labels| labels.get("stream")), Some(stream));
                }
                (chunk.start, records.iter().filter_map(|record| record.time).collect())
            }
            Read::Idle => (chunk.start, Vec::new()),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn lines_stay_until_they_are_committed() {
        let mut log = log();
        for n in 1..=6 {
            log.buffer.put(line(n, 9)).await;
        }
        assert_eq!(times(&mut log, 25), (Mark(0), vec![1, 2]));
        assert_eq!(times(&mut log, 1), (Mark(20), vec![3]), "one at least");
        log.rewind(Mark(10));
        assert_eq!(times(&mut log, 1000), (Mark(10), vec![2, 3, 4, 5, 6]));
        assert_eq!(log.committed(Mark(39)), Some(Checkpoint::Cursor("0.000000003+1".into())));
        assert_eq!(log.committed(Mark(39)), None);
        log.rewind(Mark(30));
        assert_eq!(times(&mut log, 1000), (Mark(30), vec![4, 5, 6]));
        assert_eq!(times(&mut log, 1000).1, [0; 0]);
        log.buffer.end();
        assert_eq!(log.read(1, Instant::now(), &mut Chunk::default()).expect("read"), Read::Finished);
    }

    #[tokio::test]
    async fn a_full_buffer_waits_for_commits() {
        let mut log = log();
        let buffer = log.buffer.clone();
        let lines = 10_i64;
        let filled = tokio::spawn(async move {
            for n in 1..=lines {
                buffer.put(line(n, ROOM / 2)).await;
            }
        });
        let mut seen = Vec::new();
        while seen.len() < lines as usize {
            let (start, new) = times(&mut log, 1);
            let bytes = log.buffer.lock().bytes;
            assert!(bytes <= ROOM, "{bytes}");
            if let [time] = new[..] {
                seen.push(time);
                log.committed(start.after(ROOM as u64 / 2 + 1));
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(seen, (1..=lines).collect::<Vec<_>>());
        super::super::super::tests::soon(filled).await.expect("filled");
    }
}
