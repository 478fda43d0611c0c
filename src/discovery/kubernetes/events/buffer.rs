//! The reader's end of the events of the Kubernetes API.

use std::io;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::line::Line;
use super::progress::{Progress, Version};
use crate::discovery::buffer::{self, Buffered};
use crate::model::{self, Checkpoint, Chunk, Mark, Read, Record, Source, Wake};

/// The lines of the events for one client.
#[derive(Debug)]
pub(super) struct Buffer {
    pub lines: buffer::Buffer<Line>,
    progress: Arc<Progress>,
    /// The number of this client in `progress`.
    client: u64,
    /// The version up to which the client had delivered before.
    pub begins: Option<Version>,
}

impl Buffered for Line {
    fn text(&self) -> &str {
        &self.text
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
        Arc::new(Self { lines: buffer::Buffer::new(waker, Arc::default()), progress, client, begins })
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
        let record = |line: &Line| Record { time: line.time, labels: Some(line.labels.clone()), ..Record::default() };
        Ok(self.buffer.lines.read(room, chunk, record))
    }

    fn rewind(&mut self, to: Mark) -> u64 {
        self.buffer.lines.rewind(to);
        0
    }

    fn committed(&mut self, to: Mark) -> Option<Checkpoint> {
        let mut cursor = None;
        self.buffer.lines.commit(to, |line| cursor = line.cursor.or(cursor));
        let version = cursor?;
        self.buffer.progress.delivered(self.buffer.client, version);
        Some(Checkpoint::Cursor(version.to_string().into()))
    }

    fn wake(&self) -> Wake {
        Wake::Rings
    }

    fn note_progress(&self, progress: &mut model::Progress) {
        self.buffer.lines.note_progress(progress);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::buffer::ROOM;
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
            buffer.lines.put(line(n, cursor)).await;
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
                buffer.lines.put(long(n)).await;
            }
        });
        let mut end = Mark::default();
        for n in 1..=6_u64 {
            let mut chunk = Chunk::default();
            while log.read(1, Instant::now(), &mut chunk).expect("read") == Read::Idle {
                tokio::task::yield_now().await;
            }
            assert!(log.buffer.lines.bytes() <= ROOM);
            end = end.after(ROOM as u64 / 2 + 1);
            assert_eq!(log.committed(end), Some(Checkpoint::Cursor(n.to_string().into())));
        }
        filled.await.expect("all are there");
    }
}
