//! A source for records that are handed in by standard input or a receiver. An [`Intake`] takes them for all clients;
//! an [`Inbox`] gives them to the reader of one client.
//!
//! An inbox keeps its records until its client has committed them, so they can be read again. The sender can wait for
//! the commit ([`Ticket`]). An inbox is bounded: a parcel that does not fit is not taken, and the sender decides what
//! to do with it.

mod takeover;
mod waiting;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::parker::Parker;
use crate::model::{
    Checkpoint, Chunk, Encoding, LabelSet, Mark, Position, Progress, Read, RecordList, Source, Structured, Wake,
};

/// The most bytes of records in an inbox. A larger parcel is taken only if the inbox is empty. This is many times the
/// window of a stream.
const ROOM: usize = 4 << 20;

/// Approximate bytes of memory of a pair of structured metadata, in addition to its text.
const METADATA_COST: usize = size_of::<Structured<'_>>() + 32;

/// Records that are handed in together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parcel {
    text: String,
    records: RecordList,
    /// Bytes of structured metadata.
    metadata: usize,
}

impl Parcel {
    /// Makes room for so many more records, with so many bytes of text.
    pub fn reserve(&mut self, records: usize, bytes: usize) {
        self.text.reserve(bytes);
        self.records.reserve(records);
    }

    /// Gives back memory that was reserved and not needed.
    pub fn fitted(mut self) -> Self {
        if self.text.capacity() > 2 * self.text.len() + 64 {
            self.text.shrink_to_fit();
        }
        self.records.fit();
        self
    }

    /// Approximate bytes of memory of so many records, with so many bytes of text.
    pub fn cost_of(records: usize, bytes: usize) -> usize {
        bytes + RecordList::cost_of(records)
    }

    /// Adds a record: its text, its time in Unix nanoseconds, and its labels. None: the time of reading, the labels of
    /// the target.
    pub fn push(&mut self, text: &str, time: Option<i64>, labels: Option<LabelSet>) {
        self.push_to(text, time, Vec::new(), (labels.as_ref(), None));
    }

    /// Adds a record with structured metadata, and with a tenant. None: the tenant of the client.
    #[inline]
    pub fn push_to(
        &mut self,
        text: &str,
        time: Option<i64>,
        metadata: Vec<Structured<'static>>,
        to: (Option<&LabelSet>, Option<&Arc<str>>),
    ) {
        self.text.push_str(text);
        self.text.push('\n');
        let metadata = (!metadata.is_empty()).then(|| {
            let bytes = |pair: &Structured<'_>| pair.name.len() + pair.value.len() + METADATA_COST;
            self.metadata += metadata.iter().map(bytes).sum::<usize>();
            metadata.into()
        });
        self.records.add(self.text.len(), time, metadata, to);
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// The text of all records, each with a newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn records(&self) -> &RecordList {
        &self.records
    }

    /// Bytes of text, including one newline per record.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Adds the records of another parcel.
    #[cfg(test)]
    pub(super) fn append(&mut self, other: &Self) {
        let offset = self.text.len();
        self.metadata += other.metadata;
        self.text.push_str(&other.text);
        for record in &other.records {
            let metadata = (!record.metadata.is_empty()).then(|| record.metadata.into());
            self.records.add(offset + record.end, record.time, metadata, (record.labels, record.tenant));
        }
    }

    /// Approximate bytes of memory.
    pub fn cost(&self) -> usize {
        self.text.len() + self.metadata + self.records.cost()
    }
}

/// Takes records for the inboxes of all clients.
#[derive(Debug)]
pub struct Intake {
    inboxes: Vec<Arc<Shared>>,
    room: Arc<Room>,
}

/// Signals that an inbox has more room than before.
#[derive(Debug, Default)]
struct Room {
    changed: Mutex<()>,
    is_there: Condvar,
    /// For tasks that wait.
    notify: Notify,
}

impl Room {
    fn changed(&self) {
        let _changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_there.notify_all();
        self.notify.notify_waiters();
    }
}

/// The result of offering a parcel to some of the clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// How many clients took it.
    pub by: usize,
    /// How many clients had no room for it.
    pub missed: usize,
}

impl Intake {
    /// An intake, and one inbox for each client. A parker wakes the reader of its client.
    pub(super) fn new(parkers: impl IntoIterator<Item = Arc<Parker>>) -> (Self, Vec<Inbox>) {
        let room = Arc::new(Room::default());
        let shared = |parker| Arc::new(Shared { state: Mutex::default(), parker, room: room.clone() });
        let inboxes: Vec<Arc<Shared>> = parkers.into_iter().map(shared).collect();
        let read = inboxes.iter().map(|shared| Inbox { shared: shared.clone() }).collect();
        (Self { inboxes, room }, read)
    }

    /// Takes the records for all clients, and returns a ticket that resolves once all have committed them. Returns the
    /// parcel, and takes it for none, if a client has no room or no longer reads.
    pub fn offer(&self, parcel: Parcel) -> Result<Ticket, Parcel> {
        // Locks all inboxes first: otherwise two senders could each fill one.
        let mut states: Vec<_> = self.inboxes.iter().map(|inbox| inbox.lock()).collect();
        if !states.iter().all(|state| state.has_room_for(&parcel)) {
            return Err(parcel);
        }
        let ticket = Arc::new(Open { left: AtomicUsize::new(states.len()), ..Open::default() });
        let parcel = Arc::new(parcel);
        states.iter_mut().for_each(|state| state.put(parcel.clone(), Some(TicketShare(Some(ticket.clone())))));
        drop(states);
        self.inboxes.iter().for_each(|inbox| inbox.parker.ring());
        Ok(Ticket(ticket))
    }

    /// Takes the records for the clients that have room.
    pub fn offer_to_some(&self, parcel: Parcel) -> Taken {
        let parcel = Arc::new(parcel);
        let mut taken = Taken { by: 0, missed: 0 };
        for inbox in &self.inboxes {
            let mut state = inbox.lock();
            match state.has_room_for(&parcel) {
                true => {
                    state.put(parcel.clone(), None);
                    taken.by += 1;
                }
                false => taken.missed += 1,
            }
            drop(state);
            inbox.parker.ring();
        }
        taken
    }

    pub fn clients(&self) -> usize {
        self.inboxes.len()
    }

    /// Whether no client reads any more.
    pub fn is_left(&self) -> bool {
        self.inboxes.iter().all(|inbox| inbox.lock().is_left)
    }

    /// How many clients have room for the parcel.
    pub(super) fn with_room_for(&self, parcel: &Parcel) -> usize {
        self.inboxes.iter().filter(|inbox| inbox.lock().has_room_for(parcel)).count()
    }

    /// Waits until some inbox has more room than before, or until the time is over.
    pub(super) fn wait_for_room(&self, enough: impl Fn(&Self) -> bool, at_most: Duration) {
        let deadline = Instant::now() + at_most;
        let mut changed = self.room.changed.lock().unwrap_or_else(PoisonError::into_inner);
        while !enough(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            changed = self.room.is_there.wait_timeout(changed, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Intake {
    /// Closes the inboxes: no more records will come.
    fn drop(&mut self) {
        for inbox in &self.inboxes {
            inbox.lock().is_closed = true;
            inbox.parker.ring();
        }
    }
}

/// Resolves once all clients have committed the records of its parcel.
#[derive(Debug)]
pub struct Ticket(Arc<Open>);

/// An inbox ended before its client had committed the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotCommitted;

impl fmt::Display for NotCommitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the agent stopped before it was delivered")
    }
}

impl std::error::Error for NotCommitted {}

#[derive(Debug, Default)]
struct Open {
    /// Clients that have not committed yet. [`FAILED`] or more: one of them never will.
    left: AtomicUsize,
    changed: Notify,
}

const FAILED: usize = 1 << 32;

impl Ticket {
    /// Whether it is known what became of it.
    pub fn is_settled(&self) -> bool {
        matches!(self.0.left.load(Ordering::Acquire), 0 | FAILED..)
    }

    pub async fn committed(&self) -> Result<(), NotCommitted> {
        loop {
            let changed = self.0.changed.notified();
            match self.0.left.load(Ordering::Acquire) {
                0 => return Ok(()),
                FAILED.. => return Err(NotCommitted),
                _ => changed.await,
            }
        }
    }
}

/// The part of a ticket that belongs to one client.
#[derive(Debug)]
struct TicketShare(Option<Arc<Open>>);

impl TicketShare {
    fn commit(mut self) {
        if let Some(open) = self.0.take() {
            open.left.fetch_sub(1, Ordering::AcqRel);
            open.changed.notify_waiters();
            open.changed.notify_one();
        }
    }
}

impl Drop for TicketShare {
    fn drop(&mut self) {
        if let Some(open) = self.0.take() {
            open.left.fetch_add(FAILED, Ordering::AcqRel);
            open.changed.notify_waiters();
            open.changed.notify_one();
        }
    }
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    parker: Arc<Parker>,
    room: Arc<Room>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct State {
    /// Uncommitted records, oldest first.
    kept: VecDeque<Kept>,
    cost: usize,
    /// The mark where the next parcel will begin.
    end: Mark,
    /// The mark where reading continues.
    next: Mark,
    /// Everything before this mark is committed.
    committed: Mark,
    is_closed: bool,
    /// The reader has gone.
    is_left: bool,
}

#[derive(Debug)]
struct Kept {
    start: Mark,
    parcel: Arc<Parcel>,
    ticket: Option<TicketShare>,
}

impl Kept {
    fn end(&self) -> Mark {
        self.start.after(self.parcel.bytes() as u64)
    }
}

impl State {
    fn has_room_for(&self, parcel: &Parcel) -> bool {
        !self.is_left && (self.kept.is_empty() || self.cost + parcel.cost() <= ROOM)
    }

    /// Whether a sender waits for the commit of the youngest records, and all records were read.
    fn is_waited_for(&self) -> bool {
        self.next == self.end && self.kept.back().is_some_and(|kept| kept.ticket.is_some())
    }

    /// Approximate bytes of memory of the records that were read and not committed.
    fn read_cost(&self) -> u64 {
        let start = self.kept.front().map_or(self.end, |kept| kept.start);
        // The first records of the oldest parcel may be committed already.
        let from = if self.committed.0 > start.0 { self.committed } else { start };
        let (read, all) = (self.next.since(from), self.end.since(start));
        (self.cost as u64).saturating_mul(read).checked_div(all).unwrap_or(0)
    }

    fn put(&mut self, parcel: Arc<Parcel>, ticket: Option<TicketShare>) {
        let start = self.end;
        self.cost += parcel.cost();
        self.end = start.after(parcel.bytes() as u64);
        self.kept.push_back(Kept { start, parcel, ticket });
    }
}

/// The records for one client.
#[derive(Debug)]
pub(super) struct Inbox {
    shared: Arc<Shared>,
}

impl Source for Inbox {
    fn read(&mut self, room: usize, _now: Instant, chunk: &mut Chunk) -> io::Result<Read> {
        let mut state = self.shared.lock();
        let next = state.next;
        let at = state.kept.partition_point(|kept| kept.end() <= next);
        let Some(kept) = state.kept.get(at) else {
            return Ok(if state.is_closed { Read::Finished } else { Read::Idle });
        };
        let skip = next.since(kept.start) as usize;
        let until = chunk.records.get_or_insert_default().copy_part(&kept.parcel.records, skip, room);
        chunk.bytes.clear();
        chunk.bytes.extend_from_slice(&kept.parcel.text.as_bytes()[skip..until]);
        chunk.len = until - skip;
        chunk.encoding = Encoding::Utf8;
        chunk.start = next;
        chunk.place = Position { offset: next.0, ..Position::default() };
        state.next = next.after(chunk.len as u64);
        Ok(Read::Records { more: state.next < state.end })
    }

    fn rewind(&mut self, to: Mark) -> u64 {
        self.shared.lock().next = to;
        0
    }

    fn committed(&mut self, to: Mark) -> Option<Checkpoint> {
        let mut state = self.shared.lock();
        state.committed = to;
        let mut done = Vec::new();
        while let Some(kept) = state.kept.pop_front_if(|kept| kept.end() <= to) {
            state.cost -= kept.parcel.cost();
            done.extend(kept.ticket);
        }
        drop(state);
        done.into_iter().for_each(TicketShare::commit);
        self.shared.room.changed();
        None
    }

    fn wake(&self) -> Wake {
        Wake::Rings
    }

    /// A crash does not send records of an inbox again. But they must leave it before it is full, and at once if a sender
    /// waits and no more records come.
    fn exposed(&self, uncommitted: u64) -> u64 {
        let state = self.shared.lock();
        match state.is_waited_for() {
            true => uncommitted,
            // Nothing is on its way, so no answer would make room.
            false if uncommitted == 0 => 0,
            false => state.read_cost().saturating_sub(ROOM as u64 / 2),
        }
    }

    fn outlives_run(&self) -> bool {
        true
    }

    fn note_progress(&self, progress: &mut Progress) {
        let state = self.shared.lock();
        progress.read_offset = state.next.0;
        progress.size = state.end.0;
        progress.unread = state.end.since(state.next);
        progress.generations = 1;
    }
}

impl Drop for Inbox {
    /// The records left in the inbox will never be committed.
    fn drop(&mut self) {
        let left = {
            let mut state = self.shared.lock();
            state.is_left = true;
            std::mem::take(&mut state.kept)
        };
        drop(left);
        self.shared.room.changed();
    }
}

#[cfg(test)]
mod tests;
