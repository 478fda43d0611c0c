//! Which part of a log has been delivered: a window of slots, closed out of order, committed in order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The first bytes of a file (decompressed), as a hash: what tells two files with one inode apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// How many bytes were hashed; 0 knows nothing and fits any file.
    pub len: u16,
    pub hash: u64,
}

/// Which file, not which name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileId {
    pub device: u64,
    pub inode: u64,
    pub fingerprint: Fingerprint,
}

/// A place in a file: an offset in its (decompressed) bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub file: FileId,
    pub offset: u64,
}

/// The in-flight window of one log for one client.
///
/// A slot is opened per chunk and closed once everybody who holds an [`Ack`] for it has said so. The committed position
/// is the end of the longest closed run from the left. *Silence is not consent*: an `Ack` dropped without [`Ack::close`]
/// (a panic, a shutdown) leaves its slot open for ever, so forgetting can resend but cannot lose.
#[derive(Debug, Default)]
pub struct Ledger {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// In the order they were opened. A run of closed ones behind an open one is kept as its last: however long one
    /// part of a line waits for its rest, what comes after it costs nothing here.
    slots: VecDeque<Slot>,
    opened: u64,
    committed: Option<Position>,
    /// Whether `committed` moved since it was last taken for the journal.
    dirty: bool,
    in_flight: u64,
    progress: Progress,
}

#[derive(Debug)]
struct Slot {
    number: u64,
    end: Position,
    bytes: u64,
    holders: u32,
    /// Those of the holders that are pushes on their way.
    sending: u32,
}

/// What a person wants to know of a log, kept here because everybody who works on it holds the ledger.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Read so far, in the generation being read.
    pub read_offset: u64,
    /// Bytes of the generation being read and of the younger ones, as last seen.
    pub size: u64,
    /// Bytes on disk that have not been read, over all generations.
    pub unread: u64,
    /// How many generations are open.
    pub generations: u32,
    /// Lines and bytes read since the start.
    pub lines: u64,
    pub bytes: u64,
}

impl Ledger {
    pub fn new(committed: Option<Position>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { committed, ..State::default() }) })
    }

    /// Opens a slot that ends at `end`; the returned `Ack` is its first holder.
    pub fn open(self: &Arc<Self>, bytes: u64, end: Position) -> Ack {
        let mut state = self.lock();
        let number = state.opened;
        state.opened += 1;
        state.slots.push_back(Slot { number, end, bytes, holders: 1, sending: 0 });
        drop(state);
        Ack { ledger: self.clone(), slot: number, sending: false }
    }

    /// Up to where everything is delivered or discarded.
    pub fn committed(&self) -> Option<Position> {
        self.lock().committed
    }

    /// The committed position, if it moved since the last call.
    pub fn take_commit(&self) -> Option<Position> {
        let mut state = self.lock();
        std::mem::take(&mut state.dirty).then_some(state.committed).flatten()
    }

    /// Bytes handed to pushes that have not been answered.
    pub fn in_flight(&self) -> u64 {
        self.lock().in_flight
    }

    /// Whether every slot that was opened is closed.
    pub fn is_settled(&self) -> bool {
        self.lock().slots.is_empty()
    }

    pub fn progress(&self) -> Progress {
        self.lock().progress
    }

    pub fn update_progress(&self, update: impl FnOnce(&mut Progress)) {
        update(&mut self.lock().progress);
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

    /// The slot lost its last holder.
    fn closed(&mut self, number: u64) {
        let at = self.index(number);
        let is_closed = |slot: Option<&Slot>| slot.is_some_and(|s| s.holders == 0);
        if is_closed(self.slots.get(at + 1)) {
            self.slots.remove(at);
        }
        if at > 0 && is_closed(self.slots.get(at - 1)) {
            self.slots.remove(at - 1);
        }
        while is_closed(self.slots.front()) {
            self.committed = self.slots.pop_front().map(|slot| slot.end);
            self.dirty = true;
        }
    }
}

/// The right to close one place in a [`Ledger`].
#[derive(Debug)]
#[must_use = "an Ack that is dropped leaves its slot open: what it stands for will be sent again"]
pub struct Ack {
    ledger: Arc<Ledger>,
    slot: u64,
    sending: bool,
}

impl Ack {
    /// One more holder of the same slot.
    pub fn share(&self) -> Ack {
        self.ledger.lock().slot(self.slot).holders += 1;
        Ack { ledger: self.ledger.clone(), slot: self.slot, sending: false }
    }

    /// One more holder: a push that is on its way with it, whose bytes count as in flight until it is closed.
    pub fn send(&self) -> Ack {
        let mut state = self.ledger.lock();
        let slot = state.slot(self.slot);
        slot.holders += 1;
        slot.sending += 1;
        let first = (slot.sending == 1).then_some(slot.bytes);
        state.in_flight += first.unwrap_or(0);
        drop(state);
        Ack { ledger: self.ledger.clone(), slot: self.slot, sending: true }
    }

    /// What this stands for has been delivered, or discarded with a reason.
    pub fn close(self) {
        let mut state = self.ledger.lock();
        let slot = state.slot(self.slot);
        slot.holders -= 1;
        let closed = slot.holders == 0;
        if self.sending {
            slot.sending -= 1;
            let last = (slot.sending == 0).then_some(slot.bytes);
            state.in_flight -= last.unwrap_or(0);
        }
        if closed {
            state.closed(self.slot);
        }
    }

    /// Whether both stand for the same slot of the same ledger.
    pub fn same(&self, other: &Ack) -> bool {
        self.slot == other.slot && Arc::ptr_eq(&self.ledger, &other.ledger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Position {
        Position { offset, ..Position::default() }
    }

    #[test]
    fn commits_the_longest_closed_run_from_the_left() {
        let ledger = Ledger::new(None);
        let (a, b, c) = (ledger.open(10, at(10)), ledger.open(10, at(20)), ledger.open(10, at(30)));
        b.close();
        assert_eq!(ledger.take_commit(), None);
        a.close();
        assert_eq!(ledger.take_commit(), Some(at(20)));
        assert_eq!(ledger.take_commit(), None);
        c.close();
        assert_eq!(ledger.committed(), Some(at(30)));
        assert!(ledger.is_settled());
    }

    #[test]
    fn a_slot_closes_with_its_last_holder() {
        let ledger = Ledger::new(None);
        let chunk = ledger.open(10, at(10));
        let push = chunk.send();
        chunk.close();
        assert_eq!(ledger.committed(), None);
        push.close();
        assert_eq!(ledger.committed(), Some(at(10)));
    }

    #[test]
    fn what_is_closed_behind_an_open_slot_takes_no_room() {
        let ledger = Ledger::new(None);
        let held = ledger.open(1, at(1));
        let mut open: Vec<Ack> = (2..1_000).map(|n| ledger.open(1, at(n))).collect();
        // In an order that has nothing to do with theirs.
        while !open.is_empty() {
            open.swap_remove(open.len() * 7 / 11).close();
        }
        assert_eq!(ledger.lock().slots.len(), 2);
        assert_eq!(ledger.committed(), None);
        held.close();
        assert_eq!(ledger.committed(), Some(at(999)));
        assert!(ledger.is_settled());
    }

    #[test]
    fn silence_is_not_consent() {
        let ledger = Ledger::new(None);
        drop(ledger.open(10, at(10)));
        ledger.open(10, at(20)).close();
        assert_eq!(ledger.committed(), None);
        assert!(!ledger.is_settled());
    }

    #[test]
    fn in_flight_counts_what_pushes_carry_once_per_slot() {
        let ledger = Ledger::new(None);
        let chunk = ledger.open(64, at(64));
        let (one, two) = (chunk.send(), chunk.send());
        let held = chunk.share();
        chunk.close();
        assert_eq!(ledger.in_flight(), 64);
        one.close();
        assert_eq!(ledger.in_flight(), 64);
        two.close();
        // A part of a line that waits for its rest is not in flight: it must not stop the reading of that rest.
        assert_eq!(ledger.in_flight(), 0);
        assert_eq!(ledger.committed(), None);
        held.close();
        assert_eq!(ledger.committed(), Some(at(64)));
    }
}
