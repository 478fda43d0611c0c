//! The reasons that Loki documents for a refusal, found in the text of its answer.
//!
//! Only the texts of this table are logged, because an answer may quote labels and parts of a line.

use std::time::{Duration, SystemTime};

use crate::batch::{Bound, Misdated};
use crate::model::units::ByteSize;
use crate::push::pace::Limit;

/// The entries that a reason applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// Single entries. The others of their stream are stored.
    Entry,
    /// The reason is known, but not whether other entries are stored.
    Unclear,
    /// All entries of a stream.
    Stream,
    /// Entries that Loki will accept later.
    Rate,
    /// Streams that Loki refuses until something changes. It stores the others.
    Refused,
    /// Everything that is sent to this server, until a person changes it.
    Everything,
}

#[derive(Debug)]
pub(super) struct Known {
    needle: &'static str,
    pub(super) say: &'static str,
    pub(super) extent: Extent,
    /// Loki's name for the reason (`loki_discarded_samples_total{reason}`).
    pub(super) counted: &'static str,
}

const fn known(needle: &'static str, say: &'static str, extent: Extent, counted: &'static str) -> Known {
    Known { needle, say, extent, counted }
}

const STREAM_RATE: &str = "per stream rate limit exceeded";
const INGESTION_RATE: &str = "ingestion rate limit exceeded";
const TOO_NEW: &str = "has timestamp too new";
const TOO_OLD: &str = "has timestamp too old";
/// The reasons that are about the time of an entry.
const TIMES: [&str; 4] = [TOO_NEW, TOO_OLD, "entry too far behind", "entry out of order"];
const OLDEST: &str = "oldest acceptable timestamp is: ";

/// In lower case. The reasons with the widest extent come first, because they win if an answer has two reasons.
const KNOWN: [Known; 19] = [
    known(
        "client sent an http request to an https server",
        "this port expects HTTPS: check url",
        Extent::Everything,
        "unknown",
    ),
    known(
        "ingestion blocked",
        "ingestion is blocked for this tenant or policy (block_ingestion_until in Loki's limits)",
        Extent::Refused,
        "blocked_ingestion",
    ),
    known(
        "maximum active stream limit exceeded",
        "maximum active stream limit exceeded (max_streams_per_user in Loki's limits): use fewer labels, or raise it",
        Extent::Refused,
        "stream_limit",
    ),
    known(STREAM_RATE, "per stream rate limit exceeded", Extent::Rate, "per_stream_rate_limit"),
    known(INGESTION_RATE, "ingestion rate limit exceeded", Extent::Rate, "rate_limited"),
    known("error parsing labels", "a label name is not valid", Extent::Stream, "invalid_labels"),
    known("at least one label pair is required", "a stream needs at least one label", Extent::Stream, "missing_labels"),
    known("label names; limit", "too many label names", Extent::Stream, "max_label_names_per_series"),
    known("label name too long", "label name too long", Extent::Stream, "label_name_too_long"),
    known("label value too long", "label value too long", Extent::Stream, "label_value_too_long"),
    known("duplicate label name", "duplicate label name", Extent::Stream, "duplicate_label_names"),
    known(
        "structured metadata too large",
        "structured metadata too large",
        Extent::Unclear,
        "structured_metadata_too_large",
    ),
    known(
        "too many structured metadata labels",
        "too many structured metadata labels",
        Extent::Unclear,
        "structured_metadata_too_many",
    ),
    known(
        "includes structured metadata",
        "structured metadata is not allowed",
        Extent::Unclear,
        "disallowed_structured_metadata",
    ),
    known("entry too far behind", "entry too far behind", Extent::Entry, "too_far_behind"),
    known("entry out of order", "entry out of order", Extent::Entry, "out_of_order"),
    known(TOO_OLD, "timestamp too old", Extent::Entry, "greater_than_max_sample_age"),
    known(TOO_NEW, "timestamp too new", Extent::Entry, "too_far_in_future"),
    known("max entry size", "line over Loki's max entry size", Extent::Entry, "line_too_long"),
];

/// The reason with the widest extent.
pub(super) fn find(body: &str) -> Option<&'static Known> {
    find_in(&without_quoted(body))
}

/// Parses `total ignored: 7 out of 300 for stream: {…}`.
pub(super) fn total_ignored(body: &str) -> Option<usize> {
    total_in(&without_quoted(body))
}

/// The number of refused entries of a stream that was sent alone, if the answer has it.
pub(super) fn refused_entries(body: &str) -> Option<usize> {
    let text = without_quoted(body);
    if find_in(&text)?.extent != Extent::Entry {
        return None;
    }
    if let Some(total) = total_in(&text) {
        return Some(total);
    }
    // `9 errors like: <the first of them>; 11 errors like: <…>`, or a single error.
    text.split("; ")
        .map(|group| {
            find_in(group).filter(|reason| reason.extent == Extent::Entry)?;
            match group.split_once(" errors like: ") {
                Some((count, _)) => count.trim().parse().ok(),
                None => Some(1),
            }
        })
        .sum()
}

/// The bytes per second of the named rate limit: `(limit: 3MB/sec)`, `(limit: 4194304 bytes/sec)`.
pub(super) fn named_limit(body: &str) -> Option<u64> {
    let text = without_quoted(body);
    let (_, rest) = text.split_once("(limit: ")?;
    let (size, _) = rest.split_once("/sec")?;
    let size: ByteSize = size.trim_end_matches("bytes").trim().parse().ok()?;
    (size.0 > 0).then_some(size.0)
}

/// A named limit that also applies to other entries.
pub(super) fn bound(body: &str, now: SystemTime) -> Option<Bound> {
    let text = without_quoted(body);
    let after = |words: &str| text.split_once(words).map(|(_, rest)| rest);
    match find_in(&text)?.counted {
        "line_too_long" => {
            let (size, _) = after("max entry size '")?.split_once('\'')?;
            size.parse().ok().filter(|bytes| *bytes > 0).map(Bound::Line)
        }
        "greater_than_max_sample_age" => {
            let oldest = time_after(&text, OLDEST)?;
            let age = now.duration_since(SystemTime::from(oldest)).ok()?;
            // The answer is some moments old, so entries close to the limit are still sent, and Loki decides.
            Some(Bound::Age(age + Duration::from_secs(60)))
        }
        "max_label_names_per_series" => {
            let rest = after("label names; limit ")?;
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            rest[..end].parse().ok().filter(|count| *count > 0).map(Bound::Labels)
        }
        _ => None,
    }
}

/// The entries that are refused because of their times, if the answer is about a single stream.
pub(super) fn misdated(body: &str) -> Option<Misdated> {
    let text = without_quoted(body);
    let (group, reason) =
        text.split("; ").find_map(|group| Some((group, TIMES.iter().find(|r| group.contains(*r))?)))?;
    let count = group.split_once(" errors like: ").and_then(|(count, _)| count.trim().parse().ok());
    let nanos = |time: jiff::Timestamp| i64::try_from(time.as_nanosecond()).ok();
    Some(match (*reason, count) {
        (TOO_NEW, Some(count)) => Misdated::Newest(count),
        (TOO_NEW, None) => {
            time_after(group, "has timestamp too new: ").and_then(nanos).map_or(Misdated::Newest(1), Misdated::From)
        }
        (TOO_OLD, _) if let Some(oldest) = time_after(group, OLDEST).and_then(nanos) => Misdated::Before(oldest),
        (_, count) => Misdated::Oldest(total_in(&text).or(count).unwrap_or(1)),
    })
}

/// The time that an answer names after these words.
fn time_after(text: &str, words: &str) -> Option<jiff::Timestamp> {
    let (_, rest) = text.split_once(words)?;
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-:.+".contains(c))).unwrap_or(rest.len());
    rest[..end].to_uppercase().parse().ok()
}

impl Known {
    /// The rate limit, if it is one that the client can keep.
    pub(super) fn limit(&self) -> Option<Limit> {
        match self.needle {
            STREAM_RATE => Some(Limit::Stream),
            INGESTION_RATE => Some(Limit::Ingestion),
            _ => None,
        }
    }
}

fn find_in(text: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| text.contains(known.needle))
}

fn total_in(text: &str) -> Option<usize> {
    let (_, rest) = text.rsplit_once("total ignored: ")?;
    let (count, _) = rest.split_once(" out of ")?;
    count.parse().ok()
}

/// In lower case, without text in double quotes: label values, which users may choose.
fn without_quoted(body: &str) -> String {
    let mut text = String::with_capacity(body.len());
    let (mut quoted, mut escaped) = (false, false);
    for c in body.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if !quoted => text.extend(c.to_lowercase()),
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_have_no_say() {
        let body = r#"stream {a="max entry size", b="\"entry too far behind"} refused"#;
        assert!(find(body).is_none());
        assert_eq!(without_quoted(body), "stream {a=, b=} refused");
    }

    #[test]
    fn the_widest_extent_decides() {
        let body = "2 errors like: entry too far behind; 1 errors like: stream has label value too long";
        assert_eq!(find(body).map(|r| r.extent), Some(Extent::Stream));
    }

    #[test]
    fn limits_are_named_in_bytes_a_second() {
        let stream = "entry with timestamp 2024 ignored, reason: 'Per stream rate limit exceeded (limit: 3MB/sec) while \
                      attempting to ingest for stream '{a=\"(limit: 1MB/sec)\"}' totaling 50KB'";
        let tenant = "ingestion rate limit exceeded for user fake (limit: 4194304 bytes/sec) while attempting to ingest \
                      '500' lines totaling '80000' bytes";
        assert_eq!((find(stream).and_then(Known::limit), named_limit(stream)), (Some(Limit::Stream), Some(3 << 20)));
        assert_eq!((find(tenant).and_then(Known::limit), named_limit(tenant)), (Some(Limit::Ingestion), Some(4 << 20)));
        for unclear in ["per stream rate limit exceeded", "(limit: many/sec)", "(limit: 0/sec)", "(limit: 4", ""] {
            assert_eq!(named_limit(unclear), None, "{unclear}");
        }
    }

    #[test]
    fn limits_of_entries_are_learned_from_what_names_them() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let old = "entry for stream '{a=\"b\"}' has timestamp too old: 2025-06-02T16:14:42Z, oldest acceptable timestamp is: \
                   2027-01-08T08:00:00Z";
        let long = "Max entry size '262144' bytes exceeded for stream '{a=\"Max entry size '1' bytes\"}' while adding an entry \
                    with length '415746' bytes";
        let names = "entry for stream '{a=\"b\"}' has 16 label names; limit 15";
        assert_eq!(bound(old, now), Some(Bound::Age(Duration::from_secs(7 * 86_400 + 60))));
        // A Loki that uses a time zone other than UTC.
        let there = old.replace("08:00:00Z", "09:30:00+01:30");
        assert_eq!(bound(&there, now), Some(Bound::Age(Duration::from_secs(7 * 86_400 + 60))));
        assert_eq!(bound(long, now), Some(Bound::Line(262_144)));
        assert_eq!(bound(names, now), Some(Bound::Labels(15)));
        for unclear in [
            "max entry size exceeded",
            "max entry size '0' bytes exceeded",
            "has timestamp too old: 2025, oldest acceptable timestamp is: yesterday",
            "has timestamp too old, oldest acceptable timestamp is: 2090-01-01T00:00:00Z",
            "has 16 label names; limit many",
            "entry too far behind",
        ] {
            assert_eq!(bound(unclear, now), None, "{unclear}");
        }
    }

    #[test]
    fn counts_only_what_it_understands() {
        for (body, count) in [
            ("entry too far behind", Some(1)),
            ("3 errors like: entry has timestamp too old; 4 errors like: entry has timestamp too new", Some(7)),
            ("many errors like: entry has timestamp too old", None),
            ("entry has timestamp too old; and something else", None),
            ("something else", None),
            ("entry too far behind,\ntotal ignored: 4 out of 9", Some(4)),
            ("entry too far behind,\ntotal ignored: -4 out of 9", Some(1)),
        ] {
            assert_eq!(refused_entries(body), count, "{body}");
        }
    }

    #[test]
    fn the_entries_with_wrong_times_are_those_that_the_answer_counts_or_names() {
        let new = "entry for stream '{a=\"has timestamp too old\"}' has timestamp too new: 2027-01-08T08:00:00Z";
        let old = "entry for stream '{a=\"b\"}' has timestamp too old: 2025-06-02T16:14:42Z, oldest acceptable timestamp is: \
                   2027-01-08T08:00:00Z";
        let at = 1_799_395_200_000_000_000;
        let behind = "entry with timestamp 2024-01-18 ignored, reason: 'entry too far behind',\ntotal ignored: 2 out of 5 for \
                      stream: {app=\"a\"}";
        for (body, misdated) in [
            (new.to_string(), Some(Misdated::From(at))),
            (format!("7 errors like: {new}"), Some(Misdated::Newest(7))),
            (format!("3 errors like: {old}; 7 errors like: {new}"), Some(Misdated::Before(at))),
            (format!("3 errors like: max entry size; 7 errors like: {new}"), Some(Misdated::Newest(7))),
            (old.to_string(), Some(Misdated::Before(at))),
            (behind.to_string(), Some(Misdated::Oldest(2))),
            ("entry out of order".to_string(), Some(Misdated::Oldest(1))),
            ("has timestamp too new: soon".to_string(), Some(Misdated::Newest(1))),
            ("9 errors like: has timestamp too old: long ago".to_string(), Some(Misdated::Oldest(9))),
            ("max entry size".to_string(), None),
        ] {
            assert_eq!(super::misdated(&body), misdated, "{body}");
        }
    }
}
