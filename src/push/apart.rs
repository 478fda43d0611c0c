//! Streams that Loki refuses while it takes others: each is sent on its own, slowly, and its lane goes on without it.
//!
//! What comes of such a stream later waits behind what was refused, so that it arrives in order. All such streams of a client
//! together are asked about once a second at most (twice `min_period`) while they are refused, however many there are; once one of
//! them is taken, the others are tried at once.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Tenant;
use super::parts::Part;
use crate::batch::{Batch, StreamKey};

/// So many times longer is the time between two attempts while nothing gets through at all.
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
    /// What came before was given up, and nothing may overtake it.
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

    /// The same for a stream that is set apart: small parts that wait are joined, so that each part is at least half as large as the
    /// one before it, and a stream that says little for long takes little memory.
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

    /// How long the server wants to be left alone with what waits.
    pub(super) fn at_least(&self) -> Option<Duration> {
        lock(&self.waiting).parts.front().and_then(|part| part.at_least)
    }

    pub(super) fn pop(&self) -> Option<Part> {
        lock(&self.waiting).parts.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        lock(&self.waiting).parts.is_empty()
    }

    /// Waits until there is something.
    pub(super) async fn filled(&self) {
        while self.is_empty() {
            self.arrived.notified().await;
        }
    }

    /// That of the batches, which are all of one.
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
    /// Between two attempts while they are in vain.
    spacing: Duration,
    streams: Mutex<HashMap<StreamKey, Arc<Queue>>>,
    /// How many there are: nearly always none, and each push asks.
    count: AtomicUsize,
    /// Those that have no lane of their own yet.
    new: Mutex<NewStreams>,
    pub(super) is_new: Notify,
    /// Whose attempt is next, and not before when.
    turn: tokio::sync::Mutex<Option<Instant>>,
    /// One of them was taken: the others may be as well.
    pub(super) cleared: Notify,
}

impl Apart {
    /// `min_period` is the user's shortest pause.
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

    /// The stream's part, which has no other, is sent apart from now on, and so are those that follow.
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

    /// What of a batch is not of a stream that is set apart; such streams' entries queue behind what was refused of them.
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

    /// Nothing is left of the stream here; it takes its old lane again. False: something has come meanwhile.
    pub(super) fn remove_if_empty(&self, key: StreamKey) -> bool {
        let mut streams = lock(&self.streams);
        let is_empty = streams.get(&key).is_none_or(|queue| queue.is_empty());
        if is_empty {
            streams.remove(&key);
            self.count.store(streams.len(), Ordering::Relaxed);
        }
        is_empty
    }

    /// Waits for the turn to ask about a stream that is set apart. What is returned says what came of it.
    pub(super) async fn turn(&self) -> Turn<'_> {
        let next = self.turn.lock().await;
        if let Some(at) = *next {
            tokio::time::sleep_until(at).await;
        }
        Turn { next, spacing: self.spacing }
    }
}

/// The right to ask once.
#[derive(Debug)]
pub(super) struct Turn<'t> {
    next: tokio::sync::MutexGuard<'t, Option<Instant>>,
    spacing: Duration,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Stored,
    Refused,
    /// Nothing gets through: it says nothing of the stream.
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

// Nothing is called under these locks that could leave them half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
