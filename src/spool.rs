//! A queue of received records on disk, between the receiver of a job and the readers of all clients. A sender gets its
//! answer once its records are synced to the disk, and they survive a kill of the agent.
//!
//! ```text
//! receiver --> append --> segment 7 | segment 8 | segment 9 --> Reader of each client
//!                          deleted once all clients have committed it
//! ```
//!
//! The segments are files beside the positions file: `positions.yaml.spool.<job>.<number>`. Records that are appended
//! together are a [transaction](Transaction): after a crash all of them are there, or none. A position is a
//! [`Location`].

mod config;
mod frames;
mod location;
mod reader;
mod records;
mod segments;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use prometheus::{IntGauge, IntGaugeVec};

pub use config::Config;
pub use frames::Transaction;
pub use location::Location;
pub use reader::{Next, Reader};
pub use records::Records;
use segments::Segments;
use writer::Writer;

use crate::metrics::Registry;

/// The pushes that are remembered, so that a push that is repeated after a crash is not taken twice.
const REMEMBERED: usize = 4_096;

/// The spools of a process, by job. They stay open while the config is reloaded.
#[derive(Debug, Default)]
pub struct Spools {
    open: Mutex<BTreeMap<String, Arc<Spool>>>,
    /// The bytes of each spool. None: nobody asks.
    bytes: Option<IntGaugeVec>,
}

impl Spools {
    /// Spools that show their sizes as a metric.
    pub fn measured(registry: &Registry) -> Self {
        let help = "Bytes on disk of a spool that Loki has not acknowledged yet, by the job of the receiver.";
        Self { bytes: Some(registry.gauges("fantail_spool_bytes", help, &["job"])), ..Self::default() }
    }

    /// The spool of this job. `positions` is the positions file, beside which it is.
    pub fn open(&self, job: &str, config: &Config, positions: &Path) -> io::Result<Arc<Spool>> {
        let mut spools = lock(&self.open);
        if let Some(spool) = spools.get(job) {
            lock(&spool.state).max_size = config.max_size.0;
            return Ok(spool.clone());
        }
        let mut spool = Spool::open(segments::prefix(positions, job), config.max_size.0)?;
        spool.bytes = self.bytes.as_ref().map(|bytes| bytes.with_label_values(&[job]));
        spool.show(&spool.lock());
        let spool = Arc::new(spool);
        if spool.torn > 0 {
            tracing::warn!(
                job,
                spool = %spool.path().display(),
                bytes = spool.torn,
                "the last write to the spool was not finished before the agent or the host ended: it is removed; its sender was not told \
                 that it was taken"
            );
        }
        spools.insert(job.into(), spool.clone());
        Ok(spool)
    }
}

/// See the [module](self). Its methods are called from several threads; only [`append`](Self::append) waits for the
/// disk.
#[derive(Debug)]
pub struct Spool {
    segments: Segments,
    writer: Mutex<Writer>,
    state: Mutex<State>,
    /// Bytes after the last whole transaction, which a crash left. No sender was told that they are safe.
    torn: u64,
    /// Shows the bytes that are used. None: nobody asks.
    bytes: Option<IntGauge>,
}

#[derive(Debug, Default)]
struct State {
    max_size: u64,
    /// The bytes of each segment that are synced to the disk.
    segments: BTreeMap<u64, u64>,
    /// Bytes of transactions that will be appended.
    reserved: u64,
    /// How far each client has committed. None: it has not opened the spool yet.
    readers: Vec<Option<Location>>,
    /// Wakers of clients that wait for more to read, by client.
    wakers: Vec<Option<Waker>>,
    /// Wakers of receivers that wait for room, by the number of their [`Waiter`].
    waiting: BTreeMap<u64, Waker>,
    /// The number of the last waiter.
    waiters: u64,
    remembered: VecDeque<u128>,
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// There will be room once clients commit.
    Now,
    /// The transaction is larger than half of the spool.
    Ever,
}

impl Spool {
    fn open(prefix: PathBuf, max_size: u64) -> io::Result<Self> {
        let (segments, found) = Segments::open(prefix)?;
        let state =
            State { max_size, segments: found.lengths, remembered: found.remembered.into(), ..State::default() };
        let writer = Mutex::new(Writer::new(found.last));
        Ok(Self { segments, writer, state: Mutex::new(state), torn: found.torn, bytes: None })
    }

    /// Begins a run with this many clients. Nothing is deleted until each of them has opened the spool.
    pub fn begin_run(&self, clients: usize) {
        let mut state = self.lock();
        state.readers = vec![None; clients];
        state.wakers = vec![None; clients];
        self.show(&state);
    }

    /// Takes room for a transaction of so many bytes, which [`append`](Self::append) uses.
    pub fn reserve(&self, bytes: u64) -> Result<(), Full> {
        self.lock().reserve(bytes)
    }

    /// For a receiver that waits until there is room.
    pub fn waiter(&self) -> Waiter<'_> {
        let mut state = self.lock();
        state.waiters += 1;
        Waiter { spool: self, number: state.waiters }
    }

    /// Frees reserved room that is not needed.
    pub fn give_back(&self, bytes: u64) {
        self.lock().gain(|state| state.reserved = state.reserved.saturating_sub(bytes));
    }

    /// Writes the transactions, and syncs them to the disk. After an error none of them is there. In both cases their
    /// room is not reserved any more.
    pub fn append(&self, transactions: &[Transaction]) -> io::Result<()> {
        let bytes = transactions.iter().map(Transaction::size).sum();
        let written = lock(&self.writer).append(self, transactions);
        let mut state = self.lock();
        if written.is_err() {
            state.gain(|state| state.reserved = state.reserved.saturating_sub(bytes));
            return written;
        }
        state.reserved = state.reserved.saturating_sub(bytes);
        self.show(&state);
        state.remembered.extend(transactions.iter().filter_map(|transaction| transaction.id));
        let over = state.remembered.len().saturating_sub(REMEMBERED);
        state.remembered.drain(..over);
        let wakers: Vec<Waker> = state.wakers.iter().flatten().cloned().collect();
        drop(state);
        wakers.iter().for_each(Waker::wake_by_ref);
        Ok(())
    }

    /// The last pushes that were appended, oldest first.
    pub fn remembered(&self) -> Vec<u128> {
        self.lock().remembered.iter().copied().collect()
    }

    /// A random number that stays the same as long as the spool exists. It is for hashes that no sender can foresee.
    pub fn seed(&self) -> u64 {
        self.segments.seed
    }

    /// Bytes on disk that at least one client has not committed.
    pub fn used(&self) -> u64 {
        self.lock().used()
    }

    /// Bytes of an unfinished transaction that a crash left, and that were removed when the spool was opened.
    pub fn torn(&self) -> u64 {
        self.torn
    }

    /// Its path, for messages: its files have this name and a number.
    pub fn path(&self) -> &Path {
        &self.segments.prefix
    }

    /// Notes that this client has delivered everything before the location. Deletes segments that no client needs any
    /// more.
    fn commit(&self, client: usize, location: Location) {
        let mut state = self.lock();
        if let Some(reader) = state.readers.get_mut(client) {
            *reader = Some(location);
        }
        let removed = state.sweep();
        self.show(&state);
        drop(state);
        removed.into_iter().for_each(|number| self.segments.remove(number));
    }

    fn show(&self, state: &State) {
        if let Some(bytes) = &self.bytes {
            bytes.set(i64::try_from(state.used()).unwrap_or(i64::MAX));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// A receiver that waits for room. It is not woken any more once this is dropped.
#[derive(Debug)]
pub struct Waiter<'s> {
    spool: &'s Spool,
    number: u64,
}

impl Waiter<'_> {
    /// As [`Spool::reserve`]. If there is no room now, the waker is called when there may be.
    pub fn reserve(&self, bytes: u64, waker: &Waker) -> Result<(), Full> {
        let mut state = self.spool.lock();
        let reserved = state.reserve(bytes);
        if reserved == Err(Full::Now) {
            state.waiting.insert(self.number, waker.clone());
        }
        reserved
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.spool.lock().waiting.remove(&self.number);
    }
}

impl State {
    fn reserve(&mut self, bytes: u64) -> Result<(), Full> {
        if bytes > self.max_size / 2 {
            return Err(Full::Ever);
        }
        if self.used() + self.reserved + bytes > self.max_size {
            return Err(Full::Now);
        }
        self.reserved += bytes;
        Ok(())
    }

    /// If all is committed, the next transaction may begin a new segment, and the last one is deleted.
    fn used(&self) -> u64 {
        if self.is_committed() { 0 } else { self.segments.values().sum() }
    }

    fn is_committed(&self) -> bool {
        let Some((&last, &end)) = self.segments.last_key_value() else { return true };
        let is_done = |reader: &Option<Location>| reader.is_some_and(|at| (at.segment, at.frame) >= (last, end));
        self.segments.len() == 1 && self.readers.iter().all(is_done)
    }

    /// Removes the segments before the one that the slowest client reads. Returns their numbers.
    fn sweep(&mut self) -> Vec<u64> {
        let slowest = self.readers.iter().map(|reader| reader.map_or(0, |at| at.segment)).min().unwrap_or(0);
        let removed: Vec<u64> = self.segments.range(..slowest).map(|(number, _)| *number).collect();
        self.gain(|state| state.segments.retain(|number, _| !removed.contains(number)));
        removed
    }

    /// Wakes the receivers that wait for room.
    fn gain(&mut self, change: impl FnOnce(&mut Self)) {
        change(self);
        std::mem::take(&mut self.waiting).into_values().for_each(Waker::wake);
    }
}

// A panic aborts the process, so no state is left half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
