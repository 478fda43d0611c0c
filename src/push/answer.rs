//! Decides what an answer means for the entries of a push, and what to do next. Pure: the tables of `loki.md` as code.
//!
//! Two rules apply to all rows. An entry that Loki may still store is never discarded: in doubt, a smaller part is
//! sent. A problem that a person must solve (a password, a path, a proxy) delays lines but does not lose them.

mod reasons;

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use super::backoff::Pace;
use super::pace::Refusal;
use crate::batch::{Bound, Misdated};
use crate::http_client::Answer;
use crate::model::Reason;
use reasons::{Extent, Known};

/// After this many 429 answers, the push may be larger than the limit's burst, so that it would always be refused.
const PATIENCE_WITH_SIZE: u32 = 4;
/// Parts below this size are not halved: no sensible limit has a smaller burst.
const SMALLEST_HALF: usize = 64 << 10;

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// There is no connection, no TLS, or no answer in time.
    Unreachable(String),
    /// The client cannot build the request: a password file or a token is missing.
    NotSent(String),
    /// The tenant cannot be sent in a header.
    TenantName,
}

/// The part that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) streams: usize,
    pub(super) entries: usize,
    pub(super) bytes: usize,
    /// The number of attempts, including this one.
    pub(super) attempt: u32,
    pub(super) drop_rate_limited: bool,
}

/// The next action.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Next {
    /// All entries are stored.
    Done,
    /// All entries are stored, except some that Loki refuses permanently.
    DoneBut { refused: usize, reason: Reason, why: Cow<'static, str> },
    /// The part is too large: send each half. It has more than one entry.
    Halve { why: Cow<'static, str> },
    /// Some entries are refused: send each half to find them. The part has more than one entry.
    TakeApart { why: Cow<'static, str> },
    /// No entry is known to be stored or refused permanently: send the part again.
    Again { scope: Scope, pace: Pace, at_least: Option<Duration>, why: Cow<'static, str> },
}

/// The scope of a temporary refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Everything that is sent to this server: there is no answer, a password is wrong, or a rate limit is reached.
    Way,
    /// Some of the streams. The others are stored.
    Streams,
    /// Not known: everything, or single streams. The answers to other streams will show it.
    Unknown,
    /// As `Unknown`, but also possibly a single entry.
    Entries,
}

pub(super) fn decide(answer: &Result<Answer, Failure>, part: Asked) -> Next {
    let answer = match answer {
        Ok(answer) => answer,
        Err(Failure::Unreachable(why)) => return again(Scope::Way, Pace::Backoff, None, why.clone()),
        Err(Failure::NotSent(why)) => return again(Scope::Way, Pace::Slow, None, why.clone()),
        Err(Failure::TenantName) => {
            return discard(part, Reason::IngesterError, "the tenant's name cannot be sent in an HTTP header");
        }
    };
    let status = answer.status;
    let wait = answer.retry_after;
    match status {
        200 | 204 if !answer.is_html => return Next::Done,
        200 | 204 => return again(Scope::Way, Pace::Slow, wait, format!("status {status}, {NOT_LOKI}")),
        _ => {}
    }
    if let Some(reason) = reasons::find(&answer.body).filter(|reason| reason.extent == Extent::Refused) {
        return refused_for_now(answer, part, reason);
    }
    match status {
        260 => again(Scope::Unknown, Pace::Slow, wait, "status 260, ingestion is blocked"),
        201..=299 => again(Scope::Way, Pace::Slow, wait, format!("status {status}, {NOT_LOKI}")),
        429 => rate_limited(answer, part),
        413 if part.entries > 1 => Next::Halve { why: "status 413, the push is too large".into() },
        413 => discard(part, Reason::IngesterError, "status 413, the entry is too large"),
        408 | 425 | 499 | 500.. => again(Scope::Unknown, Pace::Backoff, wait, format!("status {status}")),
        status => match needs_a_person(status, answer) {
            Some((scope, advice)) => again(scope, Pace::Slow, wait, format!("status {status}, {advice}")),
            None => refused(answer, part),
        },
    }
}

/// For an answer that Loki never gives to a push.
const NOT_LOKI: &str = "not an answer of Loki to a push: check url, and any proxy or sign-in page in front of Loki";

/// Loki refuses some streams until something changes (a block, or a limit of streams), and stores the others.
fn refused_for_now(answer: &Answer, part: Asked, reason: &Known) -> Next {
    let why = format!("status {}, {}", answer.status, reason.say);
    let is_limit = reason.counted == "stream_limit";
    if is_limit && part.drop_rate_limited {
        return match part.streams {
            1 => discard(part, Reason::StreamLimited, why),
            _ => Next::TakeApart { why: why.into() },
        };
    }
    // A block by a policy affects some streams, and a block of the tenant affects all. If the answer names neither, it
    // may be either.
    let scope = if is_limit || answer.body.contains("policy") { Scope::Streams } else { Scope::Unknown };
    let pace = if is_limit { Pace::Backoff } else { Pace::Slow };
    again(scope, pace, answer.retry_after, why)
}

/// The name under which Loki counts the refused entries.
pub(super) fn counted(answer: &Result<Answer, Failure>) -> Option<Reason> {
    let body = &answer.as_ref().ok()?.body;
    reasons::find(body).map(|reason| Reason::Loki(reason.counted))
}

/// The kind of refusal for a counter: Loki's name, or the status.
pub(super) fn kind(answer: &Result<Answer, Failure>) -> Cow<'static, str> {
    match answer {
        Ok(answer) => match reasons::find(&answer.body) {
            Some(reason) => reason.counted.into(),
            None => format!("status_{}", answer.status).into(),
        },
        Err(_) => "failed".into(),
    }
}

/// A limit for entries that the answer names.
pub(super) fn bound(answer: &Result<Answer, Failure>) -> Option<Bound> {
    let answer = answer.as_ref().ok()?;
    // The clock of this machine may be wrong.
    reasons::bound(&answer.body, answer.date.unwrap_or_else(SystemTime::now))
}

/// The entries that are refused because of their times, and the clock of the server. The push had a single stream.
pub(super) fn misdated(answer: &Result<Answer, Failure>) -> Option<(Misdated, Option<SystemTime>)> {
    let answer = answer.as_ref().ok()?;
    Some((reasons::misdated(&answer.body)?, answer.date))
}

/// Whether entries are refused because they are ahead of Loki's clock.
pub(super) fn is_too_new(answer: &Result<Answer, Failure>) -> bool {
    counted(answer) == Some(Reason::Loki("too_far_in_future"))
}

/// The rate limit that the answer names, if any.
pub(super) fn rate_limit(answer: &Result<Answer, Failure>) -> Option<Refusal> {
    let body = &answer.as_ref().ok()?.body;
    let of = reasons::find(body)?.limit()?;
    Some(Refusal { of, named: reasons::named_limit(body) })
}

fn rate_limited(answer: &Answer, part: Asked) -> Next {
    let reason = reasons::find(&answer.body);
    let why = reason.map_or("status 429".into(), |r| format!("status 429, {}", r.say));
    if part.drop_rate_limited {
        let refused = reasons::total_ignored(&answer.body).filter(|_| part.streams == 1).unwrap_or(part.entries);
        return Next::DoneBut { refused: refused.min(part.entries), reason: Reason::RateLimited, why: why.into() };
    }
    // The whole push is sent again. Loki drops duplicates of stored entries.
    let halves = part.entries > 1 && (part.streams > 1 || part.bytes >= 2 * SMALLEST_HALF);
    if part.attempt >= PATIENCE_WITH_SIZE && halves {
        return Next::Halve { why: why.into() };
    }
    again(Scope::Way, Pace::Backoff, answer.retry_after, why)
}

/// Statuses about the client, the address or the method, not about the entries. Returns also what to check.
fn needs_a_person(status: u16, answer: &Answer) -> Option<(Scope, &'static str)> {
    let way = |advice| Some((Scope::Way, advice));
    match status {
        0..=199 | 300..=399 => way(
            "the redirect is not followed (only 307 and 308 to the same host are): write the final address into url",
        ),
        401 => way("unauthorized: check basic_auth, authorization, bearer_token or oauth2, and tenant_id"),
        // A web application firewall may refuse single pushes with this status because of their lines.
        402 | 403 => Some((Scope::Unknown, "forbidden: check the credentials and the tenant_id of this client")),
        404 | 410 => way("not found: check the path of url, Loki's is /loki/api/v1/push"),
        405 | 411 | 415 | 421 | 426 | 451 => {
            way("the server accepts no pushes at this address: check url, Loki's path is /loki/api/v1/push")
        }
        407 => way("the proxy requires credentials: check proxy_url"),
        _ if answer.is_html => Some((
            Scope::Unknown,
            "the answer is a web page, not Loki's: check url and its scheme, and any proxy in front of Loki",
        )),
        _ => reasons::find(&answer.body).filter(|r| r.extent == Extent::Everything).map(|r| (Scope::Way, r.say)),
    }
}

/// For 400, 422 and similar: an entry was refused. The other entries may be stored or not.
fn refused(answer: &Answer, part: Asked) -> Next {
    let status = answer.status;
    let Some(reason) = reasons::find(&answer.body) else {
        return again(
            Scope::Entries,
            Pace::Slow,
            answer.retry_after,
            format!("status {status}, without a known reason of Loki: check any proxy in front of Loki"),
        );
    };
    let why = format!("status {status}, {}", reason.say);
    // The answer is only reliable for a push with a single stream. With several, it does not even say whether the
    // others are stored: one invalid label name refuses the whole push.
    if part.streams > 1 {
        return Next::TakeApart { why: why.into() };
    }
    match reason.extent {
        // Entries beyond a rate limit are sent again.
        Extent::Rate => return rate_limited(answer, part),
        Extent::Stream => return discard(part, Reason::IngesterError, why),
        _ => {}
    }
    match reasons::refused_entries(&answer.body) {
        Some(refused) if refused < part.entries => {
            Next::DoneBut { refused, reason: Reason::IngesterError, why: why.into() }
        }
        Some(_) => discard(part, Reason::IngesterError, why),
        None if part.entries > 1 => Next::TakeApart { why: why.into() },
        None => discard(part, Reason::IngesterError, why),
    }
}

fn again(scope: Scope, pace: Pace, at_least: Option<Duration>, why: impl Into<Cow<'static, str>>) -> Next {
    Next::Again { scope, pace, at_least, why: why.into() }
}

fn discard(part: Asked, reason: Reason, why: impl Into<Cow<'static, str>>) -> Next {
    Next::DoneBut { refused: part.entries, reason, why: why.into() }
}

#[cfg(test)]
mod table;
#[cfg(test)]
mod tests;
