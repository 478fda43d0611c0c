//! Tracks how far a log has been delivered: a window of slots that close out of order and are committed in order.
//!
//! Entries sent again after a crash must be the same as before. After a restart, reading continues at the committed
//! mark with empty stages. So the mark must be a place where the stages held nothing: the start of a line that is not
//! inside a join. Two rules guarantee this:
//!
//! - *A slot splits where a line is held.* The chunk's slot ends before the line, a new slot begins with the line, and
//!   the holder of the line holds the new slot. So a held line stops the commit right before itself, not before its
//!   chunk.
//! - *A join is committed as a whole or not at all.* When a line is joined to an earlier one, the earlier line's slot
//!   is tied to the slot of the joined line ([`Ack::take_in`]). The commit never stops between the first and the last
//!   slot of a tie. It does not reach a join that still grows, because the first line of that join is still held.
//!
//! Joins may overlap without end: several streams in one file, all with multiline blocks. They would stop the commit
//! for ever, so at most [`TIED`] delivered bytes wait for them. Then the commit stops inside a join.
//!
//! Lines after the last line of a join, in the same slot, need no split: they are committed, or sent again, together
//! with that line.

mod progress;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use progress::Progress;

use super::{Account, Mark};

/// The most delivered bytes that wait for the end of a join. Loki accepts no longer line by default.
const TIED: u64 = 256 << 10;

/// The in-flight window of one log for one client.
///
/// A slot is opened per chunk and is closed once every holder of an [`Ack`] for it has closed that `Ack`. The committed
/// mark is the end of the longest run of closed slots from the left that does not cut a join. *Silence is not consent*:
/// an `Ack` dropped without [`Ack::close`] (a panic, a shutdown) leaves its slot open for ever. So a forgotten `Ack`
/// can cause lines to be sent again, but never to be lost.
#[derive(Debug, Default)]
pub struct Ledger {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// In the order they were opened. A run of closed slots behind an open one is merged into at most two slots. So a
    /// partial line that waits long for its rest does not make this grow.
    slots: VecDeque<Slot>,
    opened: u64,
    committed: Option<Mark>,
    /// How many slots have been committed.
    settled: u64,
    /// Whether `committed` moved since the last [`Ledger::take_commit`].
    dirty: bool,
    in_flight: u64,
    progress: Progress,
    account: Account,
}

#[derive(Debug)]
struct Slot {
    number: u64,
    end: Mark,
    bytes: u64,
    holders: u32,
    /// How many of the holders are pushes in flight.
    sending: u32,
    /// The last slot that contains a line of a join that begins here. The slot's own number if there is none.
    until: u64,
}

impl Slot {
    fn is_closed(&self) -> bool {
        self.holders == 0
    }

    /// Whether no join that begins here reaches beyond this slot.
    fn is_whole(&self) -> bool {
        self.until <= self.number
    }
}

impl Ledger {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// For a log that was read before and is committed up to this mark.
    pub fn starting_at(committed: Mark) -> Arc<Self> {
        let committed = Some(committed).filter(|mark| *mark > Mark::default());
        Arc::new(Self { state: Mutex::new(State { committed, ..State::default() }) })
    }

    /// Opens a slot that ends at `end`. The returned `Ack` is its first holder.
    pub fn open(self: &Arc<Self>, bytes: u64, end: Mark) -> Ack {
        let slot = self.lock().open(bytes, end, 1);
        self.ack(slot, false)
    }

    /// Like [`open`](Self::open), for a chunk whose lines are processed one by one. The caller opens no other slot
    /// until then.
    pub fn open_chunk(self: &Arc<Self>, bytes: u64, end: Mark) -> ChunkAck {
        let line = AtomicU64::new(end.0.saturating_sub(bytes));
        ChunkAck { ack: self.open(bytes, end), line, held: AtomicBool::new(false) }
    }

    /// The mark up to which everything is delivered or discarded. None: nothing has been committed yet.
    pub fn committed(&self) -> Option<Mark> {
        self.lock().committed
    }

    /// The committed mark and the number of committed slots, if the mark moved since the last call. Otherwise None.
    pub fn take_commit(&self) -> Option<(Mark, u64)> {
        let mut state = self.lock();
        let settled = state.settled;
        std::mem::take(&mut state.dirty).then_some(state.committed).flatten().map(|mark| (mark, settled))
    }

    /// Whether [`take_commit`](Self::take_commit) may have something.
    pub fn has_commit(&self) -> bool {
        self.lock().dirty
    }

    /// Bytes handed to pushes that have not been answered.
    pub fn in_flight(&self) -> u64 {
        self.lock().in_flight
    }

    /// Bytes that would be sent again after a crash: those of the first slot in flight and of all slots after it. A
    /// slot that is only held (a partial line that waits for its rest) does not start the count, because reading must
    /// continue to get that rest.
    pub fn exposed(&self) -> u64 {
        let state = self.lock();
        state.slots.iter().skip_while(|slot| slot.sending == 0).map(|slot| slot.bytes).sum()
    }

    /// Frees the memory of the slots if there are none. Most logs of a node are quiet.
    pub fn shrink(&self) {
        let mut state = self.lock();
        if state.slots.is_empty() {
            state.slots = VecDeque::new();
        }
    }

    /// Whether every opened slot is closed and committed.
    pub fn is_settled(&self) -> bool {
        self.lock().slots.is_empty()
    }

    pub fn progress(&self) -> Progress {
        self.lock().progress
    }

    pub fn account(&self) -> Account {
        self.lock().account.clone()
    }

    pub fn update_account(&self, update: impl FnOnce(&mut Account)) {
        update(&mut self.lock().account);
    }

    pub fn update_progress(&self, update: impl FnOnce(&mut Progress)) {
        update(&mut self.lock().progress);
    }

    /// Shows the committed offset. `now` is in Unix nanoseconds.
    pub fn show_committed(&self, offset: u64, now: i64) {
        let mut state = self.lock();
        let delivered = state.account.delivered.lines;
        state.progress.committed(offset, delivered, now);
    }

    fn ack(self: &Arc<Self>, slot: u64, sending: bool) -> Ack {
        Ack { ledger: self.clone(), slot: AtomicU64::new(slot), sending }
    }

    // A panic elsewhere cannot leave the state half changed: no code outside this module that changes slots runs under
    // the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The index of a slot that has a holder, and so is still here.
    fn index(&self, number: u64) -> usize {
        self.slots.partition_point(|slot| slot.number < number)
    }

    fn slot(&mut self, number: u64) -> &mut Slot {
        let index = self.index(number);
        &mut self.slots[index]
    }

    fn open(&mut self, bytes: u64, end: Mark, holders: u32) -> u64 {
        let number = self.opened;
        self.opened += 1;
        self.slots.push_back(Slot { number, end, bytes, holders, sending: 0, until: number });
        number
    }

    /// Splits the newest slot at `mark`. The caller then holds the new slot instead of the old one. Returns the new
    /// slot, or the slot itself if it begins at `mark`.
    fn split(&mut self, number: u64, mark: Mark) -> u64 {
        let slot = self.slot(number);
        let (end, rest) = (slot.end, slot.end.0.saturating_sub(mark.0));
        if rest == 0 || rest >= slot.bytes {
            return number;
        }
        slot.bytes -= rest;
        slot.end = mark;
        slot.holders -= 1;
        let (sending, closed) = (slot.sending > 0, slot.is_closed());
        if sending {
            self.in_flight -= rest;
        }
        let new = self.open(rest, end, 1);
        if closed {
            self.closed(number);
        }
        new
    }

    /// Cuts the newest slot off at `mark`.
    fn shorten(&mut self, number: u64, mark: Mark) {
        let slot = self.slot(number);
        let rest = slot.end.0.saturating_sub(mark.0);
        slot.bytes -= rest;
        slot.end = mark;
        if slot.sending > 0 {
            self.in_flight -= rest;
        }
    }

    /// Handles a slot that lost its last holder: merges slots and moves the commit.
    fn closed(&mut self, number: u64) {
        let at = self.index(number);
        for left in (at.saturating_sub(2)..=at).rev() {
            while self.merge(left) {}
        }
        let (mut reach, mut bytes, mut end) = (0, 0, None);
        for (i, slot) in self.slots.iter().enumerate().take_while(|(_, slot)| slot.is_closed()) {
            reach = slot.until.max(reach);
            bytes += slot.bytes;
            if reach <= slot.number || bytes > TIED {
                end = Some(i);
            }
        }
        if let Some(last) = end.and_then(|i| self.slots.drain(..=i).next_back()) {
            self.committed = Some(last.end);
            self.settled = last.number + 1;
            self.dirty = true;
        }
    }

    /// Merges two closed neighbours, unless a commit could stop between them but not after them. Returns whether it
    /// did.
    fn merge(&mut self, left: usize) -> bool {
        let (Some(a), Some(b)) = (self.slots.get(left), self.slots.get(left + 1)) else {
            return false;
        };
        if !a.is_closed() || !b.is_closed() || (a.is_whole() && !b.is_whole()) {
            return false;
        }
        let (until, bytes) = (a.until.max(b.until), a.bytes + b.bytes);
        self.slots.remove(left);
        self.slots[left].until = until;
        self.slots[left].bytes = bytes;
        true
    }
}

/// A holder's right to close one slot of a [`Ledger`].
#[derive(Debug)]
#[must_use = "an Ack that is dropped leaves its slot open: what it stands for will be sent again"]
pub struct Ack {
    ledger: Arc<Ledger>,
    /// Changes only for a chunk, whose `Ack` is not shared.
    slot: AtomicU64,
    sending: bool,
}

impl Ack {
    /// Adds a holder of the same slot.
    pub fn share(&self) -> Ack {
        self.ledger.lock().slot(self.slot()).holders += 1;
        self.ledger.ack(self.slot(), false)
    }

    /// A line of `last` was joined to a line of this `Ack`. The commit then covers both, or neither.
    pub fn take_in(&self, last: &Ack) {
        let (first, last) = (self.slot(), last.slot());
        if last > first {
            let mut state = self.ledger.lock();
            let slot = state.slot(first);
            slot.until = slot.until.max(last);
        }
    }

    /// Adds a holder that is a push in flight. The slot's bytes count as in flight until the push closes it.
    pub fn send(&self) -> Ack {
        let mut state = self.ledger.lock();
        let slot = state.slot(self.slot());
        slot.holders += 1;
        slot.sending += 1;
        let first = (slot.sending == 1).then_some(slot.bytes);
        state.in_flight += first.unwrap_or(0);
        drop(state);
        self.ledger.ack(self.slot(), true)
    }

    /// Everything behind this `Ack` has been delivered, or discarded with a reason.
    pub fn close(self) {
        self.close_with(|_| {});
    }

    /// Like [`close`](Self::close), and writes the outcome into the log's account.
    pub fn close_with(self, write: impl FnOnce(&mut Account)) {
        let mut state = self.ledger.lock();
        write(&mut state.account);
        let slot = state.slot(self.slot());
        slot.holders -= 1;
        let closed = slot.is_closed();
        if self.sending {
            slot.sending -= 1;
            let last = (slot.sending == 0).then_some(slot.bytes);
            state.in_flight -= last.unwrap_or(0);
        }
        if closed {
            state.closed(self.slot());
        }
    }

    /// Writes into the log's account.
    pub fn account(&self, write: impl FnOnce(&mut Account)) {
        self.ledger.update_account(write);
    }

    /// Whether both are for the same slot of the same ledger.
    pub fn same(&self, other: &Ack) -> bool {
        self.slot() == other.slot() && Arc::ptr_eq(&self.ledger, &other.ledger)
    }

    fn slot(&self) -> u64 {
        self.slot.load(Ordering::Relaxed)
    }
}

/// The [`Ack`] of a chunk while one thread processes its lines one by one. Its fields are atomic only so that they can
/// change behind a shared reference.
#[derive(Debug)]
#[must_use = "an Ack that is dropped leaves its slot open: what it stands for will be sent again"]
pub struct ChunkAck {
    ack: Ack,
    /// The mark where the line being processed begins.
    line: AtomicU64,
    held: AtomicBool,
}

impl ChunkAck {
    /// The line that begins at `mark` is processed next.
    pub fn begin_line(&self, mark: Mark) {
        self.line.store(mark.0, Ordering::Relaxed);
    }

    /// Returns an `Ack` for a caller that keeps the current line beyond its chunk. Splits the slot before that line.
    pub fn hold(&self) -> Ack {
        let mut state = self.ack.ledger.lock();
        let slot = state.split(self.ack.slot(), Mark(self.line.load(Ordering::Relaxed)));
        state.slot(slot).holders += 1;
        drop(state);
        self.ack.slot.store(slot, Ordering::Relaxed);
        self.held.store(true, Ordering::Relaxed);
        self.ack.ledger.ack(slot, false)
    }

    /// The chunk ends early, at `mark`. The rest will be read again.
    pub fn end_at(&self, mark: Mark) {
        self.ack.ledger.lock().shorten(self.ack.slot(), mark);
    }

    /// The `Ack` of the line being processed.
    pub fn ack(&self) -> &Ack {
        &self.ack
    }

    /// Whether any line of the chunk was held.
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    /// The number of committed slots at which the whole chunk is committed.
    pub fn slots(&self) -> u64 {
        self.ack.slot() + 1
    }

    /// All lines of the chunk have been processed.
    pub fn close(self) {
        self.ack.close();
    }
}

#[cfg(test)]
mod tests;
