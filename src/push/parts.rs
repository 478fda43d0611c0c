//! The remaining parts of a lane's batches, and their order.
//!
//! A push has several streams, and the answer to a refused push rarely names the refused stream. So the push is sent
//! again in smaller parts until the refused streams are known. Three rules keep this cheap and safe:
//!
//! - *No split at full speed without evidence*, unless the answer says that it is about streams. A failing server gives
//!   the same answer to each part. Only when a part was stored is it known that the content causes the refusals. Until
//!   then, there is one attempt after each pause, with smaller and smaller parts.
//! - *A stream is sent oldest first.* Parts of a stream keep their order, and a stream that is set apart takes its
//!   younger parts along. While a single refused entry is searched, younger entries are sent right after the oldest one
//!   was refused again.
//! - *If the answer has no reason that Loki is known to give, an entry is discarded only after it was refused alone
//!   sixteen times, while others of its stream were stored and other pushes succeeded in between.* All other refused
//!   entries wait. So a server that refuses everything, or every second push, causes no discards.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use super::answer::Scope;
use crate::batch::{Batch, StreamKey};

/// After this many refusals in a row, the content is no longer assumed to be the cause.
const DOUBT: u32 = 16;

/// The most streams of a push, or entries of a stream, that are tried alone while nothing is stored. Each causes one
/// more push when the server works again.
const MOST_ALONE: usize = 4;

/// One more is tried after each eighth refusal.
const ONE_MORE: u32 = 8;

/// How often an entry is refused alone, after others of its stream were stored, before it is discarded.
const STRIKES: u32 = 16;

/// Some streams, or some entries of a stream.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) batch: Batch,
    /// How often the part, or the part that contained it, was sent after a pause. Attempts before their due time, and
    /// attempts that only split it, do not count.
    attempts: u32,
    /// How often this single entry was refused although others of its stream were stored, and other pushes succeeded
    /// since the last time.
    strikes: u32,
    /// Others of its stream were stored while it was refused.
    is_odd: bool,
    /// The client's number of stored pushes at the last refusal.
    stored_before: u64,
    /// How long the server asked to wait before the next attempt.
    pub(super) at_least: Option<Duration>,
    is_new: bool,
    /// How often its entries got other times in a row.
    pub(super) dated: u32,
}

/// The next step after a part was refused.
#[derive(Debug)]
pub(super) enum Step {
    /// Send the next part at once.
    Next,
    /// Send the next part after a pause.
    Pause,
    /// This stream is refused and others are not: set it apart.
    SetApart(Part),
    /// The entry will never be accepted.
    Discard(Part),
}

impl Part {
    pub(super) fn new(batch: Batch) -> Self {
        Self { batch, attempts: 0, strikes: 0, is_odd: false, stored_before: 0, at_least: None, is_new: true, dated: 0 }
    }

    /// Whether the part was never sent in this form.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Appends younger entries of the same stream, so that many small parts do not take much memory. Returns them if
    /// the result would be too large.
    pub(super) fn join(&mut self, younger: Part) -> Option<Part> {
        let Part { batch, attempts, at_least, .. } = younger;
        match self.batch.join(batch) {
            None => {
                self.is_new = true;
                None
            }
            Some(batch) => Some(Part { attempts, at_least, ..Part::new(batch) }),
        }
    }

    /// Called when the part is sent.
    pub(super) fn begin(&mut self) {
        self.is_new = false;
    }
}

#[derive(Debug, Default)]
pub(super) struct Parts {
    queue: VecDeque<Part>,
    /// Single entries of a stream that were refused alone, oldest first. Other entries of the stream are tried
    /// meanwhile.
    held: Vec<Part>,
    /// Whether a refusal is being examined. True until no part is left.
    is_troubled: bool,
    /// Whether anything was stored since the first of these refusals.
    stored: bool,
    /// The streams of which something was stored.
    stored_streams: HashSet<StreamKey>,
    /// Refusals since the last success.
    in_a_row: u32,
    /// This lane has a single stream that is set apart. Its entries wait here.
    apart: bool,
    /// The client's number of stored pushes, as last reported to this lane.
    stored_so_far: u64,
    /// Whether the last attempt was due.
    in_turn: bool,
}

impl Parts {
    pub(super) fn new(apart: bool) -> Self {
        Self { apart, ..Self::default() }
    }

    pub(super) fn push(&mut self, part: Part) {
        self.queue.push_back(part);
    }

    /// Adds a waiting batch before the others: its answer shows whether the streams of the others are refused. Entries
    /// of those streams go behind the earlier ones.
    pub(super) fn push_probe(&mut self, part: Part) {
        let all = self.queue.iter().chain(&self.held);
        let waiting: HashSet<StreamKey> = all.flat_map(|part| part.batch.stream_keys()).collect();
        let (probe, behind) = part.batch.take_apart(|key| waiting.contains(&key));
        if let Some(batch) = probe {
            self.queue.push_front(Part::new(batch));
        }
        behind.into_iter().for_each(|batch| self.push(Part::new(batch)));
    }

    /// The next part to send. `None`: no part is left.
    pub(super) fn next(&mut self) -> Option<Part> {
        if self.queue.is_empty() && !self.held.is_empty() {
            self.queue.extend(std::mem::take(&mut self.held));
        }
        let part = self.queue.pop_front();
        if part.is_none() {
            self.is_troubled = false;
            self.in_a_row = 0;
            self.stored_streams.clear();
        }
        part
    }

    /// Whether a part was refused and nothing was stored since. Another batch might then show the cause.
    pub(super) fn is_in_doubt(&self) -> bool {
        // For a stream that is set apart, only a few parts are taken, so that the others can be joined while they wait.
        self.is_troubled && !self.stored && (!self.apart || self.queue.len() + self.held.len() < MOST_ALONE)
    }

    /// Called when the part was stored, completely or mostly.
    pub(super) fn stored(&mut self, batch: &Batch) {
        if self.is_troubled {
            self.stored_streams.extend(batch.stream_keys());
        }
        self.stored = true;
        self.in_a_row = 0;
    }

    /// Sends the part again unchanged.
    pub(super) fn again(&mut self, part: Part) {
        self.queue.push_front(part);
    }

    /// Called when the part is too large: sends each half as if it were new. Returns the part if it cannot be halved.
    pub(super) fn halve_anew(&mut self, part: Part) -> Option<Part> {
        self.halve(Part { attempts: 0, ..part })
    }

    /// Called when some entries are refused permanently: sends each half. Returns the part if it cannot be halved.
    pub(super) fn halve(&mut self, part: Part) -> Option<Part> {
        if part.batch.entries() < 2 {
            return Some(part);
        }
        self.narrow(part, Batch::split);
        None
    }

    /// Called when the part was refused for now.
    ///
    /// `stored` is the client's number of stored pushes. The attempt counts if the next one comes after a pause, and if
    /// it was `in_turn`.
    pub(super) fn refused(&mut self, part: Part, scope: Scope, is_overload: bool, stored: u64, in_turn: bool) -> Step {
        (self.stored_so_far, self.in_turn) = (stored, in_turn);
        self.sorted(part, scope, is_overload)
    }

    /// Removes the parts that have had this many attempts.
    pub(super) fn take_exhausted(&mut self, attempts: u32) -> Vec<Part> {
        let all = std::mem::take(&mut self.held).into_iter().chain(std::mem::take(&mut self.queue));
        let (exhausted, left): (Vec<_>, Vec<_>) = all.partition(|part| part.attempts >= attempts);
        self.queue = left.into();
        exhausted
    }

    /// Counts the attempt: the next part is sent after a pause.
    fn counted(&self, part: Part) -> Part {
        Part { attempts: part.attempts + u32::from(self.in_turn), ..part }
    }

    fn sorted(&mut self, part: Part, scope: Scope, is_overload: bool) -> Step {
        let single = part.batch.streams() == 1;
        match scope {
            Scope::Way => {
                self.stored = false;
                self.again(self.counted(part));
                return Step::Pause;
            }
            Scope::Streams if single => return self.wait_apart(part),
            Scope::Streams => return self.halve_or_again(part, Step::Next),
            Scope::Unknown | Scope::Entries => {}
        }
        let first = !std::mem::replace(&mut self.is_troubled, true);
        self.in_a_row = if first { 1 } else { self.in_a_row + 1 };
        self.stored &= !first && self.in_a_row < DOUBT;
        let is_proven = self.stored;
        if !single {
            return match (is_proven, is_overload && first) {
                (true, _) => self.halve_or_again(part, Step::Next),
                // A server with a short overload accepts the whole part the next time.
                (false, true) => {
                    self.again(self.counted(part));
                    Step::Pause
                }
                (false, false) if self.may_try_alone(|part| part.batch.streams() == 1) => {
                    let proven = part.batch.proven_stream();
                    let part = if first { part } else { self.counted(part) };
                    self.narrow(part, |batch| batch.split_stream(proven));
                    if first { Step::Next } else { Step::Pause }
                }
                (false, false) => self.rotate(part),
            };
        }
        if is_proven && !self.apart {
            let key = part.batch.stream_keys().next();
            let is_odd = part.is_odd || key.is_some_and(|key| self.stored_streams.contains(&key));
            self.again(Part { is_odd, ..part });
            // The held entries of the stream are older, so they go first, and the rest follows them.
            self.restore_held();
            return self.queue.pop_front().map_or(Step::Next, Step::SetApart);
        }
        let others = !self.apart && self.queue.iter().any(|other| !is_same_stream(other, &part));
        if scope == Scope::Entries && !others { self.refused_entries(part, first) } else { self.rotate(part) }
    }

    /// Handles the refusal of a part with one stream, which may be about a single entry.
    fn refused_entries(&mut self, mut part: Part, first: bool) -> Step {
        if part.batch.entries() > 1 {
            if self.stored {
                return self.halve_or_again(part, Step::Next);
            }
            let part = if first { part } else { self.counted(part) };
            match self.may_try_alone(|part| part.batch.entries() == 1) {
                true => self.narrow(part, Batch::split_first_entry),
                false => self.again(part),
            }
            self.restore_held();
            return if first { Step::Next } else { Step::Pause };
        }
        part.is_odd |= self.stored;
        let is_fresh = self.stored_so_far > std::mem::replace(&mut part.stored_before, self.stored_so_far);
        let counts = part.is_odd && is_fresh;
        part.strikes += u32::from(counts);
        if part.strikes >= STRIKES {
            return Step::Discard(part);
        }
        // Other entries of the stream are tried before the pause.
        if counts || (!self.stored && !self.queue.is_empty()) {
            self.held.push(part);
            return Step::Next;
        }
        self.held.push(self.counted(part));
        Step::Pause
    }

    /// Whether one more such part may be tried alone although nothing is stored.
    fn may_try_alone(&self, is_alone: impl Fn(&Part) -> bool) -> bool {
        let alone = self.queue.iter().chain(&self.held).filter(|part| is_alone(part)).count();
        alone < MOST_ALONE || self.in_a_row.is_multiple_of(ONE_MORE)
    }

    /// Puts held entries back to the front, oldest first.
    fn restore_held(&mut self) {
        for part in std::mem::take(&mut self.held).into_iter().rev() {
            self.queue.push_front(part);
        }
    }

    fn wait_apart(&mut self, part: Part) -> Step {
        if self.apart {
            self.again(self.counted(part));
            return Step::Pause;
        }
        Step::SetApart(part)
    }

    fn halve_or_again(&mut self, part: Part, step: Step) -> Step {
        match self.halve(part) {
            None => step,
            Some(part) => {
                self.again(self.counted(part));
                Step::Pause
            }
        }
    }

    /// Queues the first of two smaller parts, then the second.
    fn narrow(&mut self, part: Part, split: impl FnOnce(Batch) -> (Batch, Option<Batch>)) {
        let (attempts, is_odd) = (part.attempts, part.is_odd);
        let (first, rest) = split(part.batch);
        for batch in [rest, Some(first)].into_iter().flatten() {
            self.queue.push_front(Part { attempts, is_odd, ..Part::new(batch) });
        }
    }

    /// Tries other streams before those of this part.
    fn rotate(&mut self, part: Part) -> Step {
        let keys: HashSet<StreamKey> = part.batch.stream_keys().collect();
        let (own, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.queue)
            .into_iter()
            .partition(|other| other.batch.stream_keys().any(|key| keys.contains(&key)));
        self.queue = others.into();
        // The held entries of a stream are older than its other entries.
        self.queue.extend(std::mem::take(&mut self.held));
        self.queue.push_back(self.counted(part));
        self.queue.extend(own);
        Step::Pause
    }
}

/// Whether `part` has only one stream, which is the single stream of `of`.
fn is_same_stream(part: &Part, of: &Part) -> bool {
    part.batch.streams() == 1 && part.batch.stream_keys().next() == of.batch.stream_keys().next()
}
