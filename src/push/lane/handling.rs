//! Handles the answers to the parts that a lane has sent.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{After, Lane, LaneContext, Pause, Sent};
use crate::batch::Batch;
use crate::http_client::Answer;
use crate::model::Reason;
use crate::push::answer::{self, Asked, Failure, Next, Scope};
use crate::push::apart::{Outcome, Turn};
use crate::push::backoff::Pace;
use crate::push::pace::Limit;
use crate::push::parts::{Part, Step};
use crate::push::status::Place;

impl Lane {
    /// Does what the answer to a part demands.
    pub(super) fn handle(
        &mut self,
        mut part: Part,
        turn: Option<Turn<'_>>,
        answer: &Result<Answer, Failure>,
        sent: Sent,
        context: &LaneContext,
    ) -> After {
        let Some(next) = self.decide(&mut part, answer, context) else {
            if let Some(turn) = turn {
                turn.ended(Outcome::Stored);
            }
            self.parts.again(part);
            return After::Next;
        };
        if let Some(turn) = turn {
            turn.ended(outcome(&next));
        }
        match next {
            Next::Done => self.stored(part, sent, context),
            Next::DoneBut { refused, reason, why } => {
                self.stored_without(part, (refused, reason, &why), answer, sent, context);
            }
            Next::TakeApart { why } if part.batch.streams() == 1 && self.taken.is_hopeless() => {
                let reason = answer::counted(answer).unwrap_or(Reason::IngesterError);
                self.discard(part, reason, &why, context);
            }
            Next::Halve { why } => {
                // The answer is about more than one entry, so the part can be split.
                if let Some(single) = self.parts.halve_anew(part) {
                    self.discard(single, Reason::IngesterError, &why, context);
                }
            }
            Next::TakeApart { why } => {
                if let Some(single) = self.parts.halve(part) {
                    self.discard(single, Reason::IngesterError, &why, context);
                }
            }
            Next::Again { scope, pace, at_least, why } => {
                if let Some(refusal) = answer::rate_limit(answer) {
                    if refusal.of == Limit::Stream {
                        part.batch.limited();
                    }
                    self.slow_down(refusal, sent.alone, context);
                }
                return self.refused(part, answer, (scope, pace, at_least, &why), sent.in_turn, context);
            }
        }
        After::Next
    }

    /// Decides what an answer means for the part. None: its entries have other times now, and it is sent again.
    fn decide(&mut self, part: &mut Part, answer: &Result<Answer, Failure>, context: &LaneContext) -> Option<Next> {
        let batch = &part.batch;
        self.taken.turn_to(batch);
        let about = Asked {
            streams: batch.streams(),
            entries: batch.entries(),
            bytes: batch.bytes(),
            attempt: part.attempts() + 1,
            drop_rate_limited: context.drop_rate_limited,
        };
        context.decide(part, answer, about)
    }

    /// Handles the acknowledgement of a whole part.
    fn stored(&mut self, part: Part, sent: Sent, context: &LaneContext) {
        let batch = part.batch;
        self.answered(context);
        batch.answered_within(sent.round_trip);
        context.paces().accepted(&self.tenant, sent.alone, Instant::now());
        self.note_stored(&batch, batch.entries(), sent.bytes, context);
        batch.close();
    }

    /// Handles the acknowledgement of a part of which Loki has dropped some entries.
    fn stored_without(
        &mut self,
        part: Part,
        (refused, reason, why): (usize, Reason, &str),
        answer: &Result<Answer, Failure>,
        sent: Sent,
        context: &LaneContext,
    ) {
        let batch = part.batch;
        self.answered(context);
        batch.answered_within(sent.round_trip);
        let bytes = sent.bytes * refused / batch.entries().max(1);
        context.discard(&batch, refused, bytes, &reason, why);
        if refused < batch.entries() {
            self.note_stored(&batch, batch.entries() - refused, sent.bytes - bytes, context);
        } else {
            self.taken.refused += refused;
        }
        if let Some(bound) = answer::bound(answer) {
            batch.learn(bound, Instant::now());
        }
        batch.discard(refused, &answer::counted(answer).unwrap_or(reason));
    }

    /// Notes that Loki has stored so many entries of the batch.
    fn note_stored(&mut self, batch: &Batch, entries: usize, bytes: usize, context: &LaneContext) {
        self.taken.stored = true;
        context.metrics.sent(entries, bytes);
        self.parts.stored(batch);
        context.count_stored(&self.tenant, entries);
    }

    /// Handles a temporary refusal of a part.
    fn refused(
        &mut self,
        part: Part,
        answer: &Result<Answer, Failure>,
        (scope, pace, at_least, why): (Scope, Pace, Option<Duration>, &str),
        in_turn: bool,
        context: &LaneContext,
    ) -> After {
        if scope != Scope::Way {
            context.metrics.refused(&answer::kind(answer));
        }
        let stream = part.batch.stream_labels().next().map(str::to_string);
        let stored = context.stored.load(Ordering::Relaxed);
        let wait = match self.parts.refused(part, scope, pace == Pace::Backoff, stored, in_turn) {
            Step::Next => false,
            Step::Pause => true,
            Step::SetApart(mut part) => {
                self.say_apart(&part.batch, why, context);
                part.at_least = at_least;
                context.apart.add(part);
                false
            }
            Step::Discard(part) => {
                self.discard(part, Reason::IngesterError, why, context);
                false
            }
        };
        if !wait {
            return After::Next;
        }
        let exhausted = context.backoff.attempts().map_or_else(Vec::new, |most| self.parts.take_exhausted(most));
        if !exhausted.is_empty() {
            let why = format!("{why}, after max_retries attempts");
            exhausted.into_iter().for_each(|part| self.discard(part, last_reason(answer), &why, context));
            self.say_refused(pace, stream, &why, context);
            return After::Next;
        }
        if in_turn || at_least.is_some() {
            self.put_off(pace, at_least, context);
        }
        self.say_refused(pace, stream, why, context);
        context.metrics.retried(self.tenant());
        // A limit does not end because other streams stay below it, and a pause that the server asked for must be kept.
        let may_be_early = answer::rate_limit(answer).is_none() && at_least.is_none();
        let (is_apart, is_way) = (self.is_apart(), scope == Scope::Way);
        After::Pause(Pause {
            // A part that fails while others succeed is not sent more often for each of their successes.
            by_others: may_be_early && self.failures > self.hoped && (is_way || !is_apart),
            by_apart: may_be_early && is_apart,
            by_probe: may_be_early && !is_apart && pace == Pace::Backoff,
            // Not after the first failure: a server with a short overload must not get more requests.
            by_arrival: may_be_early && self.failures > 1 && self.parts.is_in_doubt(),
        })
    }

    /// Loki has answered about the entries, so it can be reached.
    fn answered(&mut self, context: &LaneContext) {
        let was_failing = std::mem::take(&mut self.failures) > 0;
        (self.hoped, self.due) = (0, None);
        context.cleared.notify_waiters();
        match self.place {
            Place::Lane(_) => context.say_answered(&self.tenant, self.place),
            Place::Apart(_) if was_failing => context.apart.cleared.notify_waiters(),
            Place::Apart(_) => {}
        }
    }

    fn say_refused(&self, pace: Pace, stream: Option<String>, why: &str, context: &LaneContext) {
        match self.place {
            Place::Lane(_) => context.say_failed(&self.tenant, self.place, pace, why),
            Place::Apart(key) => context.say_still_refused(key, &self.tenant, &stream.unwrap_or_default(), why),
        }
    }

    fn say_apart(&self, batch: &Batch, why: &str, context: &LaneContext) {
        if let Some(key) = batch.stream_keys().next() {
            context.say_set_apart(key, &self.tenant, batch, why);
        }
    }

    fn discard(&self, part: Part, reason: Reason, why: &str, context: &LaneContext) {
        let batch = part.batch;
        let entries = batch.entries();
        context.discard(&batch, entries, batch.body().len(), &reason, why);
        batch.discard(entries, &reason);
    }
}

/// The meaning of an answer for the streams that are set apart.
fn outcome(next: &Next) -> Outcome {
    match next {
        Next::Done | Next::DoneBut { .. } => Outcome::Stored,
        Next::Again { scope: Scope::Way, .. } => Outcome::NoWay,
        _ => Outcome::Refused,
    }
}

/// The reason for counting a batch without attempts left.
fn last_reason(answer: &Result<Answer, Failure>) -> Reason {
    match answer {
        Ok(answer) if answer.status == 429 => Reason::RateLimited,
        _ => Reason::IngesterError,
    }
}
