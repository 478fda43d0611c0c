//! The task that reads a container's log through the API, for one client.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::buffer::Buffer;
use super::cursor::Skip;
use super::frames::{Frame, Frames, NotFrames};
use super::lines::{Line, Lines};
use crate::discovery::docker::engine::{Engine, Failure};
use crate::metrics::ContainerLines;

/// The first and the longest pause before the next request.
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// The pause after a refusal. It ends early if the container is started.
const REFUSED: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Follow {
    pub engine: Arc<Engine>,
    pub id: String,
    pub name: String,
    pub driver: String,
    pub tty: bool,
    /// Whether the container is running.
    pub runs: watch::Receiver<bool>,
    pub lines: Lines,
    pub buffer: Arc<Buffer>,
    /// None: the task of another client counts the lines.
    pub counts: Option<ContainerLines>,
}

/// The most lines, and about the most bytes, that are handed in together.
const TOGETHER: (usize, usize) = (512, 64 << 10);

/// How an answer ended.
enum End {
    /// Docker has sent everything, and the container had stopped.
    Stopped,
    /// The same, or the connection broke.
    StoppedOrBroken,
    /// The container does not exist any more.
    Gone,
    Failed(Failure),
}

/// Lines that are handed in together.
#[derive(Debug, Default)]
struct Batch {
    lines: Vec<Line>,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, line: Line) {
        self.bytes += line.text.len();
        self.lines.push(line);
    }

    fn is_full(&self) -> bool {
        self.lines.len() >= TOGETHER.0 || self.bytes >= TOGETHER.1
    }
}

impl Follow {
    /// Runs until the container is gone.
    pub async fn run(mut self) {
        let mut retry = FIRST_RETRY;
        // The failure that was logged last. None: the log is read.
        let mut failure: Option<Failure> = None;
        // An answer to a container that does not run ended without a new line. A second one confirms it: the first may
        // have been broken off.
        let mut was_empty = false;
        loop {
            let before = self.lines.cursor();
            self.runs.mark_unchanged();
            let end = self.once(&mut failure).await;
            if self.lines.cursor() != before {
                retry = FIRST_RETRY;
            }
            let confirms = std::mem::take(&mut was_empty);
            let pause = match end {
                End::Gone => break,
                // The rest of an answer that broke is in the next one.
                End::StoppedOrBroken if self.lines.cursor() != before => Some(retry),
                End::StoppedOrBroken if !*self.runs.borrow() && !confirms => {
                    was_empty = true;
                    Some(retry)
                }
                // The stream ended because the container did, so the log is complete.
                End::Stopped | End::StoppedOrBroken if !*self.runs.borrow() => {
                    self.flush().await;
                    None
                }
                End::Stopped | End::StoppedOrBroken => Some(retry),
                End::Failed(new) => {
                    let pause = if matches!(new, Failure::Refused { .. }) { REFUSED } else { retry };
                    self.failed(new, &mut failure);
                    Some(pause)
                }
            };
            retry = (retry * 2).min(LAST_RETRY);
            // A container that is started is read at once. An error: discovery has taken the container back.
            let changed = self.runs.changed();
            let is_here = match pause {
                None => changed.await.is_ok(),
                Some(pause) => timeout(pause, changed).await.is_ok_and(|changed| changed.is_ok()),
            };
            if !is_here && self.runs.has_changed().is_err() {
                break;
            }
        }
        self.flush().await;
        self.buffer.lines.end();
    }

    /// Requests the log once, from the end of the last answer, and reads the answer to its end.
    async fn once(&mut self, failure: &mut Option<Failure>) -> End {
        let cursor = self.lines.cursor();
        let since = cursor.since();
        let mut query = vec![("stdout", "1"), ("stderr", "1"), ("timestamps", "1"), ("follow", "1"), ("tail", "all")];
        query.extend(since.as_deref().map(|since| ("since", since)));
        let path = format!("/containers/{}/logs", self.id);
        // Only the end of the answer shows that the last message of a TTY is whole.
        let answer = match self.tty {
            true => self.engine.get(&path, &query).await.map(|answer| (answer, false)),
            false => self.engine.get_in_large_pieces(&path, &query).await,
        };
        let (mut answer, until_close) = match answer {
            Ok(answer) => answer,
            Err(Failure::Refused { status: 404, .. }) => return End::Gone,
            Err(failure) => return End::Failed(failure),
        };
        if failure.take().is_some() {
            tracing::info!(container = self.name, "the log of the container is read again");
        }
        let (mut frames, mut skip) = (Frames::new(self.tty), Skip::new(cursor));
        let mut batch = Batch::default();
        loop {
            let piece = match answer.next().await {
                Ok(Some(piece)) => piece,
                // The rest of a broken answer is requested again.
                Err(error) => return End::Failed(Failure::NoAnswer(error)),
                Ok(None) => {
                    if !frames.is_empty() && until_close {
                        return End::Failed(Failure::NoAnswer("the answer ended in the middle of a message".into()));
                    }
                    if let Some(frame) = frames.rest()
                        && !skip.skips(frame.time)
                    {
                        self.take(frame, &mut batch);
                        self.put(&mut batch).await;
                    }
                    return if until_close { End::StoppedOrBroken } else { End::Stopped };
                }
            };
            frames.add(&piece);
            let failure = loop {
                match frames.next_frame() {
                    Ok(None) => break None,
                    Ok(Some(frame)) if skip.skips(frame.time) => {}
                    Ok(Some(frame)) => self.take(frame, &mut batch),
                    Err(NotFrames(text)) => break Some(text),
                }
                if batch.is_full() {
                    self.put(&mut batch).await;
                }
            };
            self.put(&mut batch).await;
            if let Some(text) = failure {
                return End::Failed(Failure::NoAnswer(text));
            }
        }
    }

    fn take(&mut self, frame: Frame<'_>, batch: &mut Batch) {
        self.lines.take(frame).into_iter().flatten().for_each(|line| batch.add(line));
    }

    /// Hands in the lines whose stream is not dropped by a rule.
    async fn put(&self, batch: &mut Batch) {
        batch.bytes = 0;
        let drops = [false, true].map(|is_stderr| self.buffer.drops(is_stderr));
        batch.lines.retain(|line| !drops[usize::from(line.is_stderr)]);
        if let Some(counts) = &self.counts {
            batch.lines.iter().for_each(|line| counts.count(line.time.is_some()));
        }
        self.buffer.lines.put_all(&mut batch.lines).await;
    }

    async fn flush(&mut self) {
        let mut batch = Batch::default();
        self.lines.rest().into_iter().for_each(|line| batch.add(line));
        self.put(&mut batch).await;
    }

    fn failed(&self, new: Failure, last: &mut Option<Failure>) {
        if last.as_ref() == Some(&new) {
            return;
        }
        match &new {
            Failure::Refused { .. } => tracing::error!(
                container = self.name, driver = self.driver, error = %new,
                "Docker does not give the log of a container; use a logging driver that Docker can read (json-file, local, \
                 journald), or allow /containers/<id>/logs in the proxy of the socket"
            ),
            Failure::NoAnswer(_) => tracing::warn!(
                container = self.name, error = %new, "cannot read the log of a container; trying again until it works"
            ),
        }
        *last = Some(new);
    }
}
