//! What an answer says about the entries of a push, and what to do now. Pure: `loki.md`'s tables as code.
//!
//! Two rules stand behind every row. What may be stored is never discarded: doubt means to ask again, with less. And
//! what a person has to mend (a password, a path, a proxy) costs patience, not logs.

mod reasons;

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use super::backoff::Pace;
use super::pace::Refusal;
use crate::batch::Bound;
use crate::model::Reason;
use reasons::Extent;

/// A 429 again and again may mean that the push is larger than the limit's burst, and would be refused for ever.
const PATIENCE_WITH_SIZE: u32 = 4;
/// No limit worth setting has a burst below this.
const SMALLEST_HALF: usize = 64 << 10;

/// What came back over the wire.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    /// A web page: not Loki speaks, but something in front of it.
    pub(super) is_html: bool,
    /// The beginning of it, unless the answer is a success.
    pub(super) body: String,
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// No connection, no TLS, no answer in time.
    Unreachable(String),
    /// What the request needs of our own side is missing: a password file, a token.
    NotSent(String),
    /// The tenant cannot be written in a header, now or ever.
    TenantName,
}

/// What is being asked about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) streams: usize,
    pub(super) entries: usize,
    pub(super) bytes: usize,
    /// How often it has been sent, this time included.
    pub(super) attempt: u32,
    pub(super) drop_rate_limited: bool,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Next {
    /// Everything is stored.
    Done,
    /// Everything is stored but some entries that never will be.
    DoneBut {
        refused: usize,
        reason: Reason,
        why: Cow<'static, str>,
    },
    /// It is too much at once: send each half. There is more than one entry.
    Halve {
        why: Cow<'static, str>,
    },
    /// Something in it is refused: send each half to find out what. There is more than one entry.
    TakeApart {
        why: Cow<'static, str>,
    },
    Again {
        pace: Pace,
        at_least: Option<Duration>,
        why: Cow<'static, str>,
    },
}

pub(super) fn decide(answer: &Result<Answer, Failure>, part: Part) -> Next {
    let answer = match answer {
        Ok(answer) => answer,
        Err(Failure::Unreachable(why)) => return again(Pace::Backoff, None, why.clone()),
        Err(Failure::NotSent(why)) => return again(Pace::Slow, None, why.clone()),
        Err(Failure::TenantName) => {
            return discard(part, Reason::IngesterError, "the tenant's name cannot be sent in a header");
        }
    };
    match answer.status {
        200..=299 => Next::Done,
        429 => rate_limited(answer, part),
        413 if part.entries > 1 => Next::Halve { why: "413, the push is too large".into() },
        413 => discard(part, Reason::IngesterError, "413, the entry is too large"),
        408 | 425 | 499 | 500.. => again(Pace::Backoff, answer.retry_after, format!("status {}", answer.status)),
        status => match needs_a_person(status, answer) {
            Some(advice) => again(Pace::Slow, answer.retry_after, format!("status {status}, {advice}")),
            None => refused(answer, part),
        },
    }
}

/// What Loki counts the refused entries as.
pub(super) fn counted(answer: &Result<Answer, Failure>) -> Option<Reason> {
    let body = &answer.as_ref().ok()?.body;
    reasons::find(body).map(|reason| Reason::Loki(reason.counted))
}

/// A limit of entries that it names.
pub(super) fn bound(answer: &Result<Answer, Failure>) -> Option<Bound> {
    reasons::bound(&answer.as_ref().ok()?.body, SystemTime::now())
}

/// The limit that an answer speaks of, if it is one of rate.
pub(super) fn rate_limit(answer: &Result<Answer, Failure>) -> Option<Refusal> {
    let body = &answer.as_ref().ok()?.body;
    let of = reasons::find(body)?.limit()?;
    Some(Refusal { of, named: reasons::named_limit(body) })
}

fn rate_limited(answer: &Answer, part: Part) -> Next {
    let reason = reasons::find(&answer.body);
    let why = reason.map_or("status 429".into(), |r| format!("status 429, {}", r.say));
    if part.drop_rate_limited {
        let refused = reasons::total_ignored(&answer.body).filter(|_| part.streams == 1).unwrap_or(part.entries);
        return Next::DoneBut { refused: refused.min(part.entries), reason: Reason::RateLimited, why: why.into() };
    }
    // Sent again as a whole: what was stored of it is folded.
    let halves = part.entries > 1 && (part.streams > 1 || part.bytes >= 2 * SMALLEST_HALF);
    if part.attempt >= PATIENCE_WITH_SIZE && halves {
        return Next::Halve { why: why.into() };
    }
    again(Pace::Backoff, answer.retry_after, why)
}

/// Statuses about who asks, where and how, not about what is sent; and what to look at.
fn needs_a_person(status: u16, answer: &Answer) -> Option<&'static str> {
    Some(match status {
        0..=199 | 300..=399 => {
            "a redirect that a push cannot follow (only 307 and 308 can be): put the final address into url"
        }
        401 => "unauthorized: check basic_auth, authorization, bearer_token or oauth2, and tenant_id",
        402 | 403 => "forbidden: check the credentials and the tenant_id of this client",
        404 | 410 => "not found: check the path of url, Loki's is /loki/api/v1/push",
        405 | 411 | 415 | 421 | 426 | 451 => {
            "the server takes no pushes there: check url, Loki's path is /loki/api/v1/push"
        }
        407 => "the proxy wants credentials: check proxy_url",
        _ if answer.is_html => {
            "a web page instead of Loki's answer: check url, its scheme, and what is in front of Loki"
        }
        _ => return reasons::find(&answer.body).filter(|r| r.extent == Extent::Everything).map(|r| r.say),
    })
}

/// 400, 422 and their like: something in it was refused, and what else is in it may be stored or not.
fn refused(answer: &Answer, part: Part) -> Next {
    let reason = reasons::find(&answer.body);
    let why = match reason {
        Some(reason) => format!("status {}, {}", answer.status, reason.say),
        None => format!("status {}", answer.status),
    };
    // Only of a stream that travels alone does the answer say the whole truth (and not even whether the others are
    // stored: one label name that does not parse refuses the whole push).
    if part.streams > 1 {
        return Next::TakeApart { why: why.into() };
    }
    match reason.map(|r| r.extent) {
        // Ignored entries that were merely too many are wanted again.
        Some(Extent::Rate) => return rate_limited(answer, part),
        Some(Extent::Stream) => return discard(part, Reason::IngesterError, why),
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

fn again(pace: Pace, at_least: Option<Duration>, why: impl Into<Cow<'static, str>>) -> Next {
    Next::Again { pace, at_least, why: why.into() }
}

fn discard(part: Part, reason: Reason, why: impl Into<Cow<'static, str>>) -> Next {
    Next::DoneBut { refused: part.entries, reason, why: why.into() }
}

/// `Retry-After`: seconds, or a date.
pub(super) fn retry_after(value: &str, now: std::time::SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?;
    let at = std::time::UNIX_EPOCH + Duration::from_secs(date.timestamp().as_second().try_into().ok()?);
    Some(at.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: Part = Part { streams: 1, entries: 300, bytes: 20_000, attempt: 1, drop_rate_limited: false };
    const STREAMS: Part = Part { streams: 3, ..STREAM };
    const ENTRY: Part = Part { entries: 1, ..STREAM };

    fn answer(status: u16, body: &str) -> Result<Answer, Failure> {
        Ok(Answer { status, body: body.to_string(), ..Answer::default() })
    }

    /// The decision in a word.
    fn word(answer: &Result<Answer, Failure>, part: Part) -> String {
        match decide(answer, part) {
            Next::Done => "done".into(),
            Next::DoneBut { refused, reason, .. } => format!("less {refused} {}", reason.as_str()),
            Next::Halve { .. } => "halve".into(),
            Next::TakeApart { .. } => "apart".into(),
            Next::Again { pace: Pace::Backoff, .. } => "again".into(),
            Next::Again { pace: Pace::Slow, .. } => "slowly".into(),
        }
    }

    #[test]
    fn by_status() {
        for (status, streams, stream, entry) in [
            (200, "done", "done", "done"),
            (204, "done", "done", "done"),
            (301, "slowly", "slowly", "slowly"),
            (308, "slowly", "slowly", "slowly"),
            (400, "apart", "apart", "less 1 ingester_error"),
            (401, "slowly", "slowly", "slowly"),
            (403, "slowly", "slowly", "slowly"),
            (404, "slowly", "slowly", "slowly"),
            (405, "slowly", "slowly", "slowly"),
            (407, "slowly", "slowly", "slowly"),
            (408, "again", "again", "again"),
            (413, "halve", "halve", "less 1 ingester_error"),
            (415, "slowly", "slowly", "slowly"),
            (422, "apart", "apart", "less 1 ingester_error"),
            (429, "again", "again", "again"),
            (431, "apart", "apart", "less 1 ingester_error"),
            (500, "again", "again", "again"),
            (503, "again", "again", "again"),
            (599, "again", "again", "again"),
        ] {
            let answer = answer(status, "");
            let words = [STREAMS, STREAM, ENTRY].map(|part| word(&answer, part));
            assert_eq!(words, [streams, stream, entry], "{status}");
        }
    }

    #[test]
    fn without_an_answer() {
        for (failure, expected) in [
            (Failure::Unreachable("connection refused".into()), "again"),
            (Failure::NotSent("password_file: gone".into()), "slowly"),
            (Failure::TenantName, "less 300 ingester_error"),
        ] {
            assert_eq!(word(&Err(failure.clone()), STREAMS), expected, "{failure:?}");
        }
    }

    #[test]
    fn a_refusal_by_its_body() {
        let behind = "entry with timestamp 2024-01-18 21:45:57 ignored, reason: 'entry too far behind, oldest \
                      acceptable timestamp is: 2024-01-19T08:46:25Z',\n\
                      total ignored: 7 out of 300 for stream: {a=\"b\"}";
        let old = "9 errors like: entry for stream '{a=\"x; y\"}' has timestamp too old: 2025-06-02T16:14:42Z, oldest \
                   acceptable timestamp is: 2026-05-22T18:18:05Z; 11 errors like: Max entry size '262144' bytes \
                   exceeded for stream '{a=\"x; y\"}' while adding an entry with length '415746' bytes";
        let rate = "entry with timestamp 2024-01-18 ignored, reason: 'Per stream rate limit exceeded (limit: 3MB/sec) \
                    while attempting to ingest for stream',\ntotal ignored: 97 out of 300 for stream: {a=\"b\"}";
        let names = "entry for stream '{a=\"total ignored: 1 out of 1\"}' has 16 label names; limit 15";
        for (name, body, expected) in [
            ("listed", behind, "less 7 ingester_error"),
            ("grouped", old, "less 20 ingester_error"),
            ("one", "entry for stream '{a=\"b\"}' has timestamp too new: 2026-01-01", "less 1 ingester_error"),
            ("the whole stream", names, "less 300 ingester_error"),
            ("too much, under 400", rate, "again"),
            ("unknown", "no", "apart"),
            ("known and unknown", "entry too far behind; 3 errors like: no", "apart"),
            ("scheme", "Client sent an HTTP request to an HTTPS server.\n", "slowly"),
            ("blocked", "ingestion blocked for user fake until '2026-01-01' with status code '400'", "slowly"),
        ] {
            assert_eq!(word(&answer(400, body), STREAM), expected, "{name}");
        }
        // Among other streams it may be about one of them, and an answer about two is cut short.
        assert_eq!(word(&answer(400, behind), STREAMS), "apart");
    }

    #[test]
    fn a_web_page_is_not_lokis_word() {
        let page = Ok(Answer { status: 400, is_html: true, body: "<html>".into(), ..Answer::default() });
        assert_eq!(word(&page, ENTRY), "slowly");
    }

    #[test]
    fn rate_limits() {
        let listed = "total ignored: 97 out of 300 for stream: {a=\"b\"}";
        let dropping = Part { drop_rate_limited: true, ..STREAM };
        for (part, body, expected) in [
            (dropping, listed, "less 97 rate_limited"),
            (dropping, "ingestion rate limit exceeded", "less 300 rate_limited"),
            (Part { streams: 2, ..dropping }, listed, "less 300 rate_limited"),
            (STREAM, listed, "again"),
            // A push that is over the burst would never get through.
            (Part { attempt: 4, bytes: 1 << 20, ..STREAM }, listed, "halve"),
            (Part { attempt: 3, bytes: 1 << 20, ..STREAM }, listed, "again"),
            (Part { attempt: 9, ..STREAM }, listed, "again"),
            (Part { attempt: 4, ..STREAMS }, listed, "halve"),
            (Part { attempt: 9, bytes: 1 << 20, ..ENTRY }, listed, "again"),
        ] {
            assert_eq!(word(&answer(429, body), part), expected, "{part:?} {body}");
        }
    }

    #[test]
    fn what_is_said_quotes_no_line() {
        let body = "error parsing 'password=hunter2': entry too far behind";
        let Next::TakeApart { why } = decide(&answer(400, body), STREAMS) else { panic!("not taken apart") };
        assert_eq!(why, "status 400, entry too far behind");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = std::time::UNIX_EPOCH + Duration::from_secs(784_111_767);
        for (value, secs) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:49:20 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
        ] {
            assert_eq!(retry_after(value, now), secs.map(Duration::from_secs), "{value}");
        }
    }
}
