//! What is left of the batches of a lane, and in which order it is asked about.
//!
//! A push carries several streams, and an answer that refuses it says seldom which of them it is about. So a push that is
//! refused is sent again in smaller parts until the streams that are refused are known. Three rules keep this cheap and safe:
//!
//! - *Nothing is parted at full speed on suspicion*, unless the answer says that it is about streams. A server that fails
//!   answers each part as it answered the whole. Only once a part was stored is it known that the refusals are about what is
//!   sent; until then each pause is followed by one attempt, with less and less.
//! - *A stream is sent oldest first.* Parts of one stream keep their order; what is set apart takes its younger parts along. While
//!   a single refused entry is being looked for, younger entries are sent right after the oldest one was refused again.
//! - *Only an entry is discarded that is refused alone sixteen times, while others of its stream are stored and other pushes
//!   get through in between*, if the answer gives no reason that Loki is known to give. Whatever else is refused waits: a server
//!   that refuses everything, or every other push, discards nothing.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use super::answer::Scope;
use crate::batch::{Batch, StreamKey};

/// After so many refusals in a row it is no longer believed that they are about what is sent.
const DOUBT: u32 = 16;

/// How many streams of a push, or entries of a stream, are tried alone while nothing is stored. Each is a push more once the
/// server is well again.
const MOST_ALONE: usize = 4;

/// One more is tried at each eighth refusal.
const ONE_MORE: u32 = 8;

/// How often an entry is asked about alone, after others of its stream were stored, before it is discarded.
const STRIKES: u32 = 16;

/// Some streams, or some entries of one stream.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) batch: Batch,
    /// How often it was sent after a pause, it or what it is a part of. Attempts that come before their turn, and those that
    /// only part it further, are not counted.
    attempts: u32,
    /// How often it was refused, a single entry, though others of its stream were stored, and other pushes since the last time.
    strikes: u32,
    /// Others of its stream were stored while it was refused.
    is_odd: bool,
    /// How many pushes of the client were stored when it was last refused.
    stored_before: u64,
    /// How long the server wants to be left alone with it.
    pub(super) at_least: Option<Duration>,
    is_new: bool,
}

/// What to do about a part that was refused.
#[derive(Debug)]
pub(super) enum Step {
    /// Ask about the next part at once.
    Next,
    /// Ask about the next part after a pause.
    Pause,
    /// This stream is refused, others are not: it is to wait on its own.
    SetApart(Part),
    /// Nobody will ever take this entry.
    Discard(Part),
}

impl Part {
    pub(super) fn new(batch: Batch) -> Self {
        Self { batch, attempts: 0, strikes: 0, is_odd: false, stored_before: 0, at_least: None, is_new: true }
    }

    /// Whether it was never sent as it is.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The same stream's younger entries take a place behind its own, so that many small ones do not take much memory. They
    /// come back if that would be too much.
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

    /// It is sent now.
    pub(super) fn begin(&mut self) {
        self.is_new = false;
    }
}

#[derive(Debug, Default)]
pub(super) struct Parts {
    queue: VecDeque<Part>,
    /// Single entries of a stream that were refused alone, oldest first. The stream's other entries are tried meanwhile.
    held: Vec<Part>,
    /// Whether refusals are being looked into; until nothing is left.
    is_troubled: bool,
    /// Whether anything was stored since the first of these refusals.
    stored: bool,
    /// Of which streams.
    stored_streams: HashSet<StreamKey>,
    /// Refusals since something was stored.
    in_a_row: u32,
    /// This lane is that of one stream that is set apart: it waits here, and nowhere else.
    apart: bool,
    /// How many pushes of the client were stored so far, as this lane was last told.
    stored_so_far: u64,
    /// Whether the last attempt was in its turn.
    in_turn: bool,
}

impl Parts {
    pub(super) fn new(apart: bool) -> Self {
        Self { apart, ..Self::default() }
    }

    pub(super) fn push(&mut self, part: Part) {
        self.queue.push_back(part);
    }

    /// A batch that was waiting behind the others, to be asked about before them: what its answer is shows whether it is
    /// their streams that are refused. Of those it takes its place behind.
    pub(super) fn push_probe(&mut self, part: Part) {
        let all = self.queue.iter().chain(&self.held);
        let waiting: HashSet<StreamKey> = all.flat_map(|part| part.batch.stream_keys()).collect();
        let (probe, behind) = part.batch.take_apart(|key| waiting.contains(&key));
        if let Some(batch) = probe {
            self.queue.push_front(Part::new(batch));
        }
        behind.into_iter().for_each(|batch| self.push(Part::new(batch)));
    }

    /// What to ask about now. `None`: nothing is left.
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

    /// Whether a part was refused, and nothing was stored since: another batch might show why.
    pub(super) fn is_in_doubt(&self) -> bool {
        // Of what is set apart few are taken, so that the others can be joined while they wait.
        self.is_troubled && !self.stored && (!self.apart || self.queue.len() + self.held.len() < MOST_ALONE)
    }

    /// The part was stored, all of it or the most.
    pub(super) fn stored(&mut self, batch: &Batch) {
        if self.is_troubled {
            self.stored_streams.extend(batch.stream_keys());
        }
        self.stored = true;
        self.in_a_row = 0;
    }

    /// It is to be asked about again, as it is.
    pub(super) fn again(&mut self, part: Part) {
        self.queue.push_front(part);
    }

    /// It is too much: each half is asked about. It comes back if it cannot be halved.
    /// The halves of what is too much are as if they had never been sent.
    pub(super) fn halve_anew(&mut self, part: Part) -> Option<Part> {
        self.halve(Part { attempts: 0, ..part })
    }

    /// Something in it is refused for good: each half is asked about. It comes back if it cannot be halved.
    pub(super) fn halve(&mut self, part: Part) -> Option<Part> {
        if part.batch.entries() < 2 {
            return Some(part);
        }
        self.narrow(part, Batch::split);
        None
    }

    /// The part was refused for now.
    ///
    /// `stored` is how many pushes of the client have been stored so far. The attempt counts if the next one comes after a
    /// pause, and if it was `in_turn`.
    pub(super) fn refused(&mut self, part: Part, scope: Scope, is_overload: bool, stored: u64, in_turn: bool) -> Step {
        (self.stored_so_far, self.in_turn) = (stored, in_turn);
        self.sorted(part, scope, is_overload)
    }

    /// Those that were sent so many times in vain.
    pub(super) fn take_exhausted(&mut self, attempts: u32) -> Vec<Part> {
        let all = std::mem::take(&mut self.held).into_iter().chain(std::mem::take(&mut self.queue));
        let (exhausted, left): (Vec<_>, Vec<_>) = all.partition(|part| part.attempts >= attempts);
        self.queue = left.into();
        exhausted
    }

    /// The attempt was one: what is asked about next comes after a pause.
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
                // What is overloaded for a moment takes all of it the next time.
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
            // What is held of the stream is older; the rest follows the first one where it goes.
            self.restore_held();
            return self.queue.pop_front().map_or(Step::Next, Step::SetApart);
        }
        let others = !self.apart && self.queue.iter().any(|other| !is_same_stream(other, &part));
        if scope == Scope::Entries && !others { self.refused_entries(part, first) } else { self.rotate(part) }
    }

    /// A part of one stream, whose refusal may be about one of its entries.
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
        // Its stream's other entries are tried before the pause.
        if counts || (!self.stored && !self.queue.is_empty()) {
            self.held.push(part);
            return Step::Next;
        }
        self.held.push(self.counted(part));
        Step::Pause
    }

    /// Whether one more of these may be tried alone though nothing is stored.
    fn may_try_alone(&self, is_alone: impl Fn(&Part) -> bool) -> bool {
        let alone = self.queue.iter().chain(&self.held).filter(|part| is_alone(part)).count();
        alone < MOST_ALONE || self.in_a_row.is_multiple_of(ONE_MORE)
    }

    /// What is held is asked about next, the oldest first.
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

    /// Asks about the first of two smaller parts next, then about the other.
    fn narrow(&mut self, part: Part, split: impl FnOnce(Batch) -> (Batch, Option<Batch>)) {
        let (attempts, is_odd) = (part.attempts, part.is_odd);
        let (first, rest) = split(part.batch);
        for batch in [rest, Some(first)].into_iter().flatten() {
            self.queue.push_front(Part { attempts, is_odd, ..Part::new(batch) });
        }
    }

    /// Other streams are tried before those of this part are again.
    fn rotate(&mut self, part: Part) -> Step {
        let keys: HashSet<StreamKey> = part.batch.stream_keys().collect();
        let (own, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.queue)
            .into_iter()
            .partition(|other| other.batch.stream_keys().any(|key| keys.contains(&key)));
        self.queue = others.into();
        // What is held of a stream is older than the rest of it.
        self.queue.extend(std::mem::take(&mut self.held));
        self.queue.push_back(self.counted(part));
        self.queue.extend(own);
        Step::Pause
    }
}

/// Whether a part is of one stream, and that is the stream of `of`, which has one.
fn is_same_stream(part: &Part, of: &Part) -> bool {
    part.batch.streams() == 1 && part.batch.stream_keys().next() == of.batch.stream_keys().next()
}
