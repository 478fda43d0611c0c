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
use reasons::{Extent, Known};

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
pub(super) struct Asked {
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
    DoneBut { refused: usize, reason: Reason, why: Cow<'static, str> },
    /// It is too much at once: send each half. There is more than one entry.
    Halve { why: Cow<'static, str> },
    /// Something in it is refused: send each half to find out what. There is more than one entry.
    TakeApart { why: Cow<'static, str> },
    /// Nothing of it is known to be stored, or to be refused for good: ask again.
    Again { scope: Scope, pace: Pace, at_least: Option<Duration>, why: Cow<'static, str> },
}

/// What a refusal that may pass is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Whatever is sent this way: there is no answer, a password is wrong, a limit of rate is met.
    Way,
    /// Some of the streams: the others are stored.
    Streams,
    /// The answer does not say it: perhaps everything, perhaps one stream. What becomes of the other streams tells.
    Unknown,
    /// As `Unknown`; it may be a single entry as well.
    Entries,
}

pub(super) fn decide(answer: &Result<Answer, Failure>, part: Asked) -> Next {
    let answer = match answer {
        Ok(answer) => answer,
        Err(Failure::Unreachable(why)) => return again(Scope::Way, Pace::Backoff, None, why.clone()),
        Err(Failure::NotSent(why)) => return again(Scope::Way, Pace::Slow, None, why.clone()),
        Err(Failure::TenantName) => {
            return discard(part, Reason::IngesterError, "the tenant's name cannot be sent in a header");
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
        260 => again(Scope::Streams, Pace::Slow, wait, "status 260, ingestion is blocked"),
        201..=299 => again(Scope::Way, Pace::Slow, wait, format!("status {status}, {NOT_LOKI}")),
        429 => rate_limited(answer, part),
        413 if part.entries > 1 => Next::Halve { why: "413, the push is too large".into() },
        413 => discard(part, Reason::IngesterError, "413, the entry is too large"),
        408 | 425 | 499 | 500.. => again(Scope::Unknown, Pace::Backoff, wait, format!("status {status}")),
        status => match needs_a_person(status, answer) {
            Some((scope, advice)) => again(scope, Pace::Slow, wait, format!("status {status}, {advice}")),
            None => refused(answer, part),
        },
    }
}

/// Said of an answer that Loki never gives to a push.
const NOT_LOKI: &str =
    "which is not Loki's answer to a push: check url, and what is in front of Loki (a proxy, a sign-in page)";

/// Some streams are refused until something changes in Loki: a block, or a limit of streams. It stores the others.
fn refused_for_now(answer: &Answer, part: Asked, reason: &Known) -> Next {
    let why = format!("status {}, {}", answer.status, reason.say);
    let is_limit = reason.counted == "stream_limit";
    if is_limit && part.drop_rate_limited {
        return match part.streams {
            1 => discard(part, Reason::StreamLimited, why),
            _ => Next::TakeApart { why: why.into() },
        };
    }
    let pace = if is_limit { Pace::Backoff } else { Pace::Slow };
    again(Scope::Streams, pace, answer.retry_after, why)
}

/// What Loki counts the refused entries as.
pub(super) fn counted(answer: &Result<Answer, Failure>) -> Option<Reason> {
    let body = &answer.as_ref().ok()?.body;
    reasons::find(body).map(|reason| Reason::Loki(reason.counted))
}

/// What kind of refusal it is, for a counter: Loki's word for it, or its status.
pub(super) fn kind(answer: &Result<Answer, Failure>) -> Cow<'static, str> {
    match answer {
        Ok(answer) => match reasons::find(&answer.body) {
            Some(reason) => reason.counted.into(),
            None => format!("status_{}", answer.status).into(),
        },
        Err(_) => "failed".into(),
    }
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

fn rate_limited(answer: &Answer, part: Asked) -> Next {
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
    again(Scope::Way, Pace::Backoff, answer.retry_after, why)
}

/// Statuses about who asks, where and how, not about what is sent; and what to look at.
fn needs_a_person(status: u16, answer: &Answer) -> Option<(Scope, &'static str)> {
    let way = |advice| Some((Scope::Way, advice));
    match status {
        0..=199 | 300..=399 => {
            way("a redirect that a push cannot follow (only 307 and 308 can be): put the final address into url")
        }
        401 => way("unauthorized: check basic_auth, authorization, bearer_token or oauth2, and tenant_id"),
        // A firewall for web applications refuses single pushes with it, for what their lines say.
        402 | 403 => Some((Scope::Unknown, "forbidden: check the credentials and the tenant_id of this client")),
        404 | 410 => way("not found: check the path of url, Loki's is /loki/api/v1/push"),
        405 | 411 | 415 | 421 | 426 | 451 => {
            way("the server takes no pushes there: check url, Loki's path is /loki/api/v1/push")
        }
        407 => way("the proxy wants credentials: check proxy_url"),
        _ if answer.is_html => Some((
            Scope::Unknown,
            "a web page instead of Loki's answer: check url, its scheme, and what is in front of Loki",
        )),
        _ => reasons::find(&answer.body).filter(|r| r.extent == Extent::Everything).map(|r| (Scope::Way, r.say)),
    }
}

/// 400, 422 and their like: something in it was refused, and what else is in it may be stored or not.
fn refused(answer: &Answer, part: Asked) -> Next {
    let status = answer.status;
    let Some(reason) = reasons::find(&answer.body) else {
        return again(
            Scope::Entries,
            Pace::Slow,
            answer.retry_after,
            format!("status {status}, without a reason that Loki is known to give: check what is in front of Loki"),
        );
    };
    let why = format!("status {status}, {}", reason.say);
    // Only of a stream that travels alone does the answer say the whole truth (and not even whether the others are
    // stored: one label name that does not parse refuses the whole push).
    if part.streams > 1 {
        return Next::TakeApart { why: why.into() };
    }
    match reason.extent {
        // Ignored entries that were merely too many are wanted again.
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

    const STREAM: Asked = Asked { streams: 1, entries: 300, bytes: 20_000, attempt: 1, drop_rate_limited: false };
    const STREAMS: Asked = Asked { streams: 3, ..STREAM };
    const ENTRY: Asked = Asked { entries: 1, ..STREAM };

    fn answer(status: u16, body: &str) -> Result<Answer, Failure> {
        Ok(Answer { status, body: body.to_string(), ..Answer::default() })
    }

    /// The decision in a word.
    fn word(answer: &Result<Answer, Failure>, part: Asked) -> String {
        match decide(answer, part) {
            Next::Done => "done".into(),
            Next::DoneBut { refused, reason, .. } => format!("less {refused} {}", reason.as_str()),
            Next::Halve { .. } => "halve".into(),
            Next::TakeApart { .. } => "apart".into(),
            Next::Again { scope, pace, .. } => {
                let scope = match scope {
                    Scope::Way => "",
                    Scope::Streams => ", by stream",
                    Scope::Unknown => ", streams in doubt",
                    Scope::Entries => ", entries in doubt",
                };
                format!("{}{scope}", if pace == Pace::Slow { "slowly" } else { "again" })
            }
        }
    }

    #[test]
    fn by_status() {
        for (status, expected) in [
            (200, "done"),
            (201, "slowly"),
            (202, "slowly"),
            (204, "done"),
            (206, "slowly"),
            (260, "slowly, by stream"),
            (299, "slowly"),
            (301, "slowly"),
            (308, "slowly"),
            (400, "slowly, entries in doubt"),
            (401, "slowly"),
            (402, "slowly, streams in doubt"),
            (403, "slowly, streams in doubt"),
            (404, "slowly"),
            (405, "slowly"),
            (406, "slowly, entries in doubt"),
            (407, "slowly"),
            (408, "again, streams in doubt"),
            (409, "slowly, entries in doubt"),
            (410, "slowly"),
            (412, "slowly, entries in doubt"),
            (415, "slowly"),
            (422, "slowly, entries in doubt"),
            (429, "again"),
            (431, "slowly, entries in doubt"),
            (500, "again, streams in doubt"),
            (503, "again, streams in doubt"),
            (599, "again, streams in doubt"),
        ] {
            let answer = answer(status, "");
            for part in [STREAMS, STREAM, ENTRY] {
                assert_eq!(word(&answer, part), expected, "{status} {part:?}");
            }
        }
        let words = [STREAMS, STREAM, ENTRY].map(|part| word(&answer(413, ""), part));
        assert_eq!(words, ["halve", "halve", "less 1 ingester_error"]);
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
            ("unknown", "no", "slowly, entries in doubt"),
            ("known and unknown", "entry too far behind; 3 errors like: no", "apart"),
            ("scheme", "Client sent an HTTP request to an HTTPS server.\n", "slowly"),
            (
                "blocked",
                "ingestion blocked for user fake until '2026-01-01' with status code '400'",
                "slowly, by stream",
            ),
        ] {
            assert_eq!(word(&answer(400, body), STREAM), expected, "{name}");
        }
        // Among other streams it may be about one of them, and an answer about two is cut short.
        assert_eq!(word(&answer(400, behind), STREAMS), "apart");
    }

    #[test]
    fn a_web_page_is_not_lokis_word() {
        let page = Ok(Answer { status: 400, is_html: true, body: "<html>".into(), ..Answer::default() });
        assert_eq!(word(&page, ENTRY), "slowly, streams in doubt");
        for status in [200, 204] {
            let page = Ok(Answer { status, is_html: true, body: "<html>".into(), ..Answer::default() });
            assert_eq!(word(&page, ENTRY), "slowly", "{status}");
        }
    }

    #[test]
    fn what_loki_refuses_of_a_stream_for_now_is_a_matter_of_that_stream_whatever_the_status() {
        let blocked =
            "ingestion blocked for user fake (policy 'chatty') until '2026-12-01T00:00:00Z' with status code '260'";
        let limit = "maximum active stream limit exceeded when trying to create stream {a=\"b\"}, reduce the number of \
                     active streams (reduce labels or reduce label values), or contact your Loki administrator";
        let dropping = Asked { drop_rate_limited: true, ..STREAM };
        for status in [260, 400, 403, 429, 503] {
            for part in [STREAMS, STREAM, ENTRY, dropping] {
                assert_eq!(word(&answer(status, blocked), part), "slowly, by stream", "{status}");
            }
            for (part, expected) in [
                (STREAMS, "again, by stream"),
                (STREAM, "again, by stream"),
                (dropping, "less 300 stream_limited"),
                (Asked { streams: 2, ..dropping }, "apart"),
            ] {
                assert_eq!(word(&answer(status, limit), part), expected, "{status} {part:?}");
            }
        }
    }

    #[test]
    fn rate_limits() {
        let listed = "total ignored: 97 out of 300 for stream: {a=\"b\"}";
        let dropping = Asked { drop_rate_limited: true, ..STREAM };
        for (part, body, expected) in [
            (dropping, listed, "less 97 rate_limited"),
            (dropping, "ingestion rate limit exceeded", "less 300 rate_limited"),
            (Asked { streams: 2, ..dropping }, listed, "less 300 rate_limited"),
            (STREAM, listed, "again"),
            // A push that is over the burst would never get through.
            (Asked { attempt: 4, bytes: 1 << 20, ..STREAM }, listed, "halve"),
            (Asked { attempt: 3, bytes: 1 << 20, ..STREAM }, listed, "again"),
            (Asked { attempt: 9, ..STREAM }, listed, "again"),
            (Asked { attempt: 4, ..STREAMS }, listed, "halve"),
            (Asked { attempt: 9, bytes: 1 << 20, ..ENTRY }, listed, "again"),
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
