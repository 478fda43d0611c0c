//! Streams that Loki refuses while it accepts others. Each is sent on its own, slowly, and its lane continues without
//! it.
//!
//! Later entries of such a stream wait behind the refused ones, so that they arrive in order. All such streams of a
//! client together make at most one attempt per second (per twice `min_period`), however many there are. When one of
//! them is accepted, the others are tried at once.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Tenant;
use super::parts::Part;
use crate::batch::{Batch, StreamKey};

/// The factor for the time between attempts while no push succeeds.
const NO_WAY: u32 = 5;

/// Batches that wait for a lane.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    parts: VecDeque<Part>,
    /// Earlier batches were given up, and nothing may overtake them.
    is_closed: bool,
}

impl Queue {
    pub(super) fn push(&self, part: Part) {
        let mut waiting = lock(&self.waiting);
        if !waiting.is_closed {
            waiting.parts.push_back(part);
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    /// As `push`, for a stream that is set apart. Small waiting parts are joined so that each part is at least half as
    /// large as the one before. So a slow stream takes little memory, however long it waits.
    fn push_joined(&self, part: Part) {
        let mut waiting = lock(&self.waiting);
        if !waiting.is_closed {
            waiting.parts.push_back(part);
            while let [.., older, younger] = waiting.parts.make_contiguous()
                && older.batch.bytes() <= 2 * younger.batch.bytes()
                && let Some(younger) = waiting.parts.pop_back()
            {
                let older = waiting.parts.back_mut().expect("there were two");
                if let Some(younger) = older.join(younger) {
                    waiting.parts.push_back(younger);
                    break;
                }
            }
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    /// How long the server asked to wait before the next attempt.
    pub(super) fn at_least(&self) -> Option<Duration> {
        lock(&self.waiting).parts.front().and_then(|part| part.at_least)
    }

    pub(super) fn pop(&self) -> Option<Part> {
        lock(&self.waiting).parts.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        lock(&self.waiting).parts.is_empty()
    }

    /// Waits until the queue is not empty.
    pub(super) async fn filled(&self) {
        while self.is_empty() {
            self.arrived.notified().await;
        }
    }

    /// The tenant of the batches. All have the same.
    pub(super) fn tenant(&self) -> Tenant {
        lock(&self.waiting).parts.front().and_then(|part| part.batch.tenant().cloned())
    }

    pub(super) fn close(&self) {
        let mut waiting = lock(&self.waiting);
        waiting.is_closed = true;
        waiting.parts.clear();
    }
}

type NewStreams = Vec<(StreamKey, Arc<Queue>)>;

/// The streams of a client that are set apart.
#[derive(Debug)]
pub(super) struct Apart {
    /// The time between two attempts that fail.
    spacing: Duration,
    streams: Mutex<HashMap<StreamKey, Arc<Queue>>>,
    /// The number of these streams. Usually 0. Each push reads it.
    count: AtomicUsize,
    /// Streams without a lane of their own yet.
    new: Mutex<NewStreams>,
    pub(super) is_new: Notify,
    /// The turn for the next attempt, and its earliest time.
    turn: tokio::sync::Mutex<Option<Instant>>,
    /// One of the streams was accepted, so the others may be accepted too.
    pub(super) cleared: Notify,
}

impl Apart {
    /// `min_period` is the shortest pause of the config.
    pub(super) fn new(min_period: Duration) -> Self {
        Self {
            spacing: min_period * 2,
            streams: Mutex::default(),
            count: AtomicUsize::new(0),
            new: Mutex::default(),
            is_new: Notify::new(),
            turn: tokio::sync::Mutex::default(),
            cleared: Notify::new(),
        }
    }

    /// Sets the stream of this part apart, and all its later entries. The part has only one stream.
    pub(super) fn add(&self, mut part: Part) {
        let Some(key) = part.batch.stream_keys().next() else {
            return;
        };
        part.batch.set_apart();
        let mut streams = lock(&self.streams);
        if let Some(queue) = streams.get(&key) {
            queue.push_joined(part);
            return;
        }
        let queue = Arc::<Queue>::default();
        queue.push(part);
        streams.insert(key, queue.clone());
        self.count.store(streams.len(), Ordering::Relaxed);
        drop(streams);
        lock(&self.new).push((key, queue));
        self.is_new.notify_one();
    }

    /// Moves the entries of streams that are set apart to their queues. Returns the rest of the batch.
    pub(super) fn sort(&self, batch: Batch) -> Option<Batch> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return Some(batch);
        }
        let (rest, apart) = {
            let streams = lock(&self.streams);
            batch.take_apart(|key| streams.contains_key(&key))
        };
        apart.into_iter().for_each(|batch| self.add(Part::new(batch)));
        rest
    }

    pub(super) fn has_new(&self) -> bool {
        !lock(&self.new).is_empty()
    }

    pub(super) fn take_new(&self) -> Option<(StreamKey, Arc<Queue>)> {
        lock(&self.new).pop()
    }

    /// The stream returns to its old lane if its queue is empty. False: more has arrived.
    pub(super) fn remove_if_empty(&self, key: StreamKey) -> bool {
        let mut streams = lock(&self.streams);
        let is_empty = streams.get(&key).is_none_or(|queue| queue.is_empty());
        if is_empty {
            streams.remove(&key);
            self.count.store(streams.len(), Ordering::Relaxed);
        }
        is_empty
    }

    /// Waits for the turn to send a stream that is set apart. The caller reports the outcome to the result.
    pub(super) async fn turn(&self) -> Turn<'_> {
        let next = self.turn.lock().await;
        if let Some(at) = *next {
            tokio::time::sleep_until(at).await;
        }
        Turn { next, spacing: self.spacing }
    }
}

/// The right to one attempt.
#[derive(Debug)]
pub(super) struct Turn<'t> {
    next: tokio::sync::MutexGuard<'t, Option<Instant>>,
    spacing: Duration,
}

/// The outcome of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Stored,
    Refused,
    /// No push succeeds at all, so this says nothing about the stream.
    NoWay,
}

impl Turn<'_> {
    pub(super) fn ended(mut self, outcome: Outcome) {
        let wait = match outcome {
            Outcome::Stored => None,
            Outcome::Refused => Some(self.spacing),
            Outcome::NoWay => Some(self.spacing * NO_WAY),
        };
        *self.next = wait.map(|wait| Instant::now() + wait);
    }
}

// No call under these locks can leave their data inconsistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
