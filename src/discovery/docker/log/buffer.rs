//! The reader's end of a container's log that is read through the API.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Instant;

use super::cursor::Cursor;
use super::lines::Line;
use crate::discovery::buffer::{self, Buffered, SharedRoom};
use crate::model::{Checkpoint, Chunk, LabelSet, Mark, Progress, Read, Record, Source, Streams, Wake};

/// The labels of a container's lines. They change when the container does.
pub(super) type Labels = Arc<Mutex<Streams>>;

/// The lines of a container, and their labels.
#[derive(Debug)]
pub(super) struct Buffer {
    pub lines: buffer::Buffer<Line>,
    labels: Labels,
}

impl Buffered for Line {
    fn text(&self) -> &str {
        &self.text
    }
}

impl Buffer {
    pub fn new(labels: Labels, waker: Waker, shared: Arc<SharedRoom>) -> Arc<Self> {
        Arc::new(Self { lines: buffer::Buffer::new(waker, shared), labels })
    }

    /// Whether the rules drop the lines of this stream.
    pub fn drops(&self, is_stderr: bool) -> bool {
        self.labels(is_stderr).is_none()
    }

    fn labels(&self, is_stderr: bool) -> Option<LabelSet> {
        self.labels.lock().unwrap_or_else(PoisonError::into_inner).of(is_stderr).cloned()
    }
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
        let labels = |line: &Line| labels[usize::from(line.is_stderr)].clone();
        let record = |line: &Line| Record { time: line.time, labels: labels(line), ..Record::default() };
        Ok(self.buffer.lines.read(room, chunk, record))
    }

    fn rewind(&mut self, to: Mark) -> u64 {
        self.buffer.lines.rewind(to);
        0
    }

    fn committed(&mut self, to: Mark) -> Option<Checkpoint> {
        let mut cursor: Option<Cursor> = None;
        self.buffer.lines.commit(to, |line| cursor = Some(line.cursor));
        cursor.map(|cursor| Checkpoint::Cursor(cursor.to_string().into()))
    }

    fn wake(&self) -> Wake {
        Wake::Rings
    }

    fn note_progress(&self, progress: &mut Progress) {
        self.buffer.lines.note_progress(progress);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::buffer::ROOM;

    fn line(n: i64, length: usize) -> Line {
        let cursor = Cursor::default().after(Some(n));
        Line { is_stderr: n % 2 == 1, time: Some(n), text: "x".repeat(length), cursor }
    }

    fn log() -> ContainerLog {
        let set = |value: &str| Some(LabelSet::new([("stream", value)]));
        let labels = Arc::new(Mutex::new(Streams { stdout: set("out"), stderr: set("err") }));
        let task = tokio::spawn(std::future::pending::<()>()).abort_handle();
        ContainerLog { buffer: Buffer::new(labels, Waker::noop().clone(), Arc::default()), task }
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
            log.buffer.lines.put(line(n, 9)).await;
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
        log.buffer.lines.end();
        assert_eq!(log.read(1, Instant::now(), &mut Chunk::default()).expect("read"), Read::Finished);
    }

    #[tokio::test]
    async fn a_full_buffer_waits_for_commits() {
        let mut log = log();
        let buffer = log.buffer.clone();
        let lines = 10_i64;
        let filled = tokio::spawn(async move {
            for n in 1..=lines {
                buffer.lines.put(line(n, ROOM / 2)).await;
            }
        });
        let mut seen = Vec::new();
        while seen.len() < lines as usize {
            let (start, new) = times(&mut log, 1);
            let bytes = log.buffer.lines.bytes();
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
