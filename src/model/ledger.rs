//! Which part of a log has been delivered: a window of slots, closed out of order, committed in order.
//!
//! What is sent again after a crash must come out as it did before. Reading goes on at the committed mark with stages
//! that know nothing, so that mark must be one at which they held nothing then: the start of a line that is inside no
//! join. Two rules see to it:
//!
//! - *A slot splits where a line is held.* The chunk's slot ends before the line, a new one begins with it, and whoever
//!   holds the line has the new one. So a line that is held stops the commit right before itself, not before its chunk.
//! - *A join is committed whole or not at all.* Who takes a line in ties its own slot to that line's ([`Ack::take_in`]);
//!   the commit stops at no place that has the first of a tie before it and the last behind it. A place inside a join that
//!   still grows is not reached, since its first line is still held.
//!
//! Joins that overlap each other without end (several streams in one file, all with blocks of many lines) would stop the
//! commit for ever. Of what is delivered no more than [`TIED`] bytes wait for it; then it stops inside of one.
//!
//! What comes behind the last line of a join in the same slot needs no split: it is passed over together with it, or sent
//! again together with it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Account, Mark};

/// Bytes that are delivered and wait for the end of a join, at most. Loki takes no longer line by default.
const TIED: u64 = 256 << 10;

/// The in-flight window of one log for one client.
///
/// A slot is opened per chunk and closed once everybody who holds an [`Ack`] for it has said so. The committed mark
/// is the end of the longest closed run from the left that cuts no join. *Silence is not consent*: an `Ack` dropped without [`Ack::close`]
/// (a panic, a shutdown) leaves its slot open for ever, so forgetting can resend but cannot lose.
#[derive(Debug, Default)]
pub struct Ledger {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// In the order they were opened. Of a run of closed ones behind an open one no more is kept than two: however long
    /// one part of a line waits for its rest, what comes after it costs nothing here.
    slots: VecDeque<Slot>,
    opened: u64,
    committed: Option<Mark>,
    /// How many slots lie behind `committed`.
    settled: u64,
    /// Whether `committed` moved since it was last taken for the journal.
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
    /// Those of the holders that are pushes on their way.
    sending: u32,
    /// The last slot that has a line of a join that begins here; its own number if there is none.
    until: u64,
}

impl Slot {
    fn is_closed(&self) -> bool {
        self.holders == 0
    }

    /// Whether nothing that begins here reaches beyond its end.
    fn is_whole(&self) -> bool {
        self.until <= self.number
    }
}

/// What a person wants to know of a log, kept here because everybody who works on it holds the ledger.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Read so far, in the generation being read.
    pub read_offset: u64,
    /// Committed so far, in the generation that this is in; of a log that was not read yet, where its position is.
    pub committed_offset: u64,
    /// Bytes of the generation being read and of the younger ones, as last seen.
    pub size: u64,
    /// Bytes on disk that have not been read, over all generations.
    pub unread: u64,
    /// How many generations are open.
    pub generations: u32,
}

impl Ledger {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Of a log that was read before, and is committed up to this mark.
    pub fn starting_at(committed: Mark) -> Arc<Self> {
        let committed = Some(committed).filter(|mark| *mark > Mark::default());
        Arc::new(Self { state: Mutex::new(State { committed, ..State::default() }) })
    }

    /// Opens a slot that ends at `end`; the returned `Ack` is its first holder.
    pub fn open(self: &Arc<Self>, bytes: u64, end: Mark) -> Ack {
        let slot = self.lock().open(bytes, end, 1);
        self.ack(slot, false)
    }

    /// The same for a chunk whose lines are now worked on one after the other. Nothing else is opened meanwhile.
    pub fn open_chunk(self: &Arc<Self>, bytes: u64, end: Mark) -> ChunkAck {
        let line = AtomicU64::new(end.0.saturating_sub(bytes));
        ChunkAck { ack: self.open(bytes, end), line, held: AtomicBool::new(false) }
    }

    /// Up to where everything is delivered or discarded. None: nothing has been committed yet.
    pub fn committed(&self) -> Option<Mark> {
        self.lock().committed
    }

    /// The committed mark and how many slots lie behind it, if it moved since the last call.
    pub fn take_commit(&self) -> Option<(Mark, u64)> {
        let mut state = self.lock();
        let settled = state.settled;
        std::mem::take(&mut state.dirty).then_some(state.committed).flatten().map(|mark| (mark, settled))
    }

    /// Bytes handed to pushes that have not been answered.
    pub fn in_flight(&self) -> u64 {
        self.lock().in_flight
    }

    /// Bytes that would be sent again after a crash: of the first slot that is on its way and of all behind it. (What is
    /// merely held, a part of a line that waits for its rest, does not begin it: reading must go on to that rest.)
    pub fn exposed(&self) -> u64 {
        let state = self.lock();
        state.slots.iter().skip_while(|slot| slot.sending == 0).map(|slot| slot.bytes).sum()
    }

    /// Gives the room of slots back, if there are none: most logs of a node are quiet.
    pub fn shrink(&self) {
        let mut state = self.lock();
        if state.slots.is_empty() {
            state.slots = VecDeque::new();
        }
    }

    /// Whether every slot that was opened is closed.
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

    fn ack(self: &Arc<Self>, slot: u64, sending: bool) -> Ack {
        Ack { ledger: self.clone(), slot: AtomicU64::new(slot), sending }
    }

    // A panic elsewhere cannot leave the state half changed: no call out of this module is made under the lock
    // (`update_progress` touches numbers for people only).
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Of a slot that somebody holds: it is there.
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

    /// Parts the youngest slot at `mark`; the one who splits it holds the new one from now on, and the other no more.
    /// Gives the new one, or the slot itself if it begins there.
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

    /// Takes off the youngest slot what begins at `mark`.
    fn shorten(&mut self, number: u64, mark: Mark) {
        let slot = self.slot(number);
        let rest = slot.end.0.saturating_sub(mark.0);
        slot.bytes -= rest;
        slot.end = mark;
        if slot.sending > 0 {
            self.in_flight -= rest;
        }
    }

    /// The slot lost its last holder.
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

    /// Makes one of two closed neighbours, unless a commit could stop between them and not behind them.
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

/// The right to close one place in a [`Ledger`].
#[derive(Debug)]
#[must_use = "an Ack that is dropped leaves its slot open: what it stands for will be sent again"]
pub struct Ack {
    ledger: Arc<Ledger>,
    /// Changes for that of a chunk alone, which is shared with nobody then.
    slot: AtomicU64,
    sending: bool,
}

impl Ack {
    /// One more holder of the same slot.
    pub fn share(&self) -> Ack {
        self.ledger.lock().slot(self.slot()).holders += 1;
        self.ledger.ack(self.slot(), false)
    }

    /// A line that `last` stands for has become part of what this stands for: what is committed has both behind it, or
    /// neither.
    pub fn take_in(&self, last: &Ack) {
        let (first, last) = (self.slot(), last.slot());
        if last > first {
            let mut state = self.ledger.lock();
            let slot = state.slot(first);
            slot.until = slot.until.max(last);
        }
    }

    /// One more holder: a push that is on its way with it, whose bytes count as in flight until it is closed.
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

    /// What this stands for has been delivered, or discarded with a reason.
    pub fn close(self) {
        self.close_with(|_| {});
    }

    /// The same; what became of it is written into the log's account.
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

    /// Whether both stand for the same slot of the same ledger.
    pub fn same(&self, other: &Ack) -> bool {
        self.slot() == other.slot() && Arc::ptr_eq(&self.ledger, &other.ledger)
    }

    fn slot(&self) -> u64 {
        self.slot.load(Ordering::Relaxed)
    }
}

/// An [`Ack`] for a chunk while its lines are worked on, one after the other and by one thread: that its fields are
/// atomic only lets them change behind a shared reference.
#[derive(Debug)]
#[must_use = "an Ack that is dropped leaves its slot open: what it stands for will be sent again"]
pub struct ChunkAck {
    ack: Ack,
    /// The mark at which the line begins that is being worked on.
    line: AtomicU64,
    held: AtomicBool,
}

impl ChunkAck {
    /// The line that begins at this mark is worked on from now on.
    pub fn begin_line(&self, mark: Mark) {
        self.line.store(mark.0, Ordering::Relaxed);
    }

    /// For who keeps the line that is being worked on beyond its chunk: what came before it in the chunk is on its own.
    pub fn hold(&self) -> Ack {
        let mut state = self.ack.ledger.lock();
        let slot = state.split(self.ack.slot(), Mark(self.line.load(Ordering::Relaxed)));
        state.slot(slot).holders += 1;
        drop(state);
        self.ack.slot.store(slot, Ordering::Relaxed);
        self.held.store(true, Ordering::Relaxed);
        self.ack.ledger.ack(slot, false)
    }

    /// The chunk ends here, before its end: what is left of it will be read again.
    pub fn end_at(&self, mark: Mark) {
        self.ack.ledger.lock().shorten(self.ack.slot(), mark);
    }

    /// That of the line that is being worked on.
    pub fn ack(&self) -> &Ack {
        &self.ack
    }

    /// Whether any of its lines was held.
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    /// How many slots a commit has behind it that has all of the chunk behind it.
    pub fn slots(&self) -> u64 {
        self.ack.slot() + 1
    }

    /// All lines are worked on.
    pub fn close(self) {
        self.ack.close();
    }
}

#[cfg(test)]
mod tests;
