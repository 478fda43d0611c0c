//! The task that reads a container's log through the API, for one client.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::buffer::Buffer;
use super::cursor::Skip;
use super::frames::{Frames, NotFrames};
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

/// How an answer ended.
enum End {
    /// Docker has sent everything, and the container had stopped.
    Stopped,
    /// The container does not exist any more.
    Gone,
    Failed(Failure),
}

impl Follow {
    /// Runs until the container is gone.
    pub async fn run(mut self) {
        let mut retry = FIRST_RETRY;
        // The failure that was logged last. None: the log is read.
        let mut failure: Option<Failure> = None;
        loop {
            let before = self.lines.cursor();
            self.runs.mark_unchanged();
            let end = self.once(&mut failure).await;
            if self.lines.cursor() != before {
                retry = FIRST_RETRY;
            }
            let pause = match end {
                End::Gone => break,
                // The stream ended because the container did, so the log is complete.
                End::Stopped if !*self.runs.borrow() => {
                    self.flush().await;
                    None
                }
                End::Stopped => Some(retry),
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
        let mut answer = match self.engine.get(&format!("/containers/{}/logs", self.id), &query).await {
            Ok(answer) => answer,
            Err(Failure::Refused { status: 404, .. }) => return End::Gone,
            Err(failure) => return End::Failed(failure),
        };
        if failure.take().is_some() {
            tracing::info!(container = self.name, "the log of the container is read again");
        }
        let (mut frames, mut skip) = (Frames::new(self.tty), Skip::new(cursor));
        loop {
            let piece = match answer.next().await {
                Ok(Some(piece)) => piece,
                // The rest of a broken answer is requested again.
                Err(error) => return End::Failed(Failure::NoAnswer(error)),
                Ok(None) => {
                    if let Some(frame) = frames.rest()
                        && !skip.skips(frame.time)
                    {
                        self.take(frame).await;
                    }
                    return End::Stopped;
                }
            };
            frames.add(&piece);
            loop {
                match frames.next_frame() {
                    Ok(None) => break,
                    Ok(Some(frame)) if skip.skips(frame.time) => {}
                    Ok(Some(frame)) => self.take(frame).await,
                    Err(NotFrames(text)) => return End::Failed(Failure::NoAnswer(text)),
                }
            }
        }
    }

    async fn take(&mut self, frame: super::frames::Frame) {
        for line in self.lines.take(frame).into_iter().flatten() {
            self.put(line).await;
        }
    }

    async fn put(&self, line: Line) {
        if self.buffer.drops(line.is_stderr) {
            return;
        }
        if let Some(counts) = &self.counts {
            counts.count(line.time.is_some());
        }
        self.buffer.lines.put(line).await;
    }

    async fn flush(&mut self) {
        for line in self.lines.rest() {
            self.put(line).await;
        }
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
