use super::*;

const STREAM: Asked = Asked { streams: 1, entries: 300, bytes: 20_000, attempt: 1, drop_rate_limited: false };
const STREAMS: Asked = Asked { streams: 3, ..STREAM };
const ENTRY: Asked = Asked { entries: 1, ..STREAM };

fn answer(status: u16, body: &str) -> Result<Answer, Failure> {
    Ok(Answer { status, body: body.to_string(), ..Answer::default() })
}

/// The decision in a short form, with the reason for discarded entries.
fn word(answer: &Result<Answer, Failure>, part: Asked) -> String {
    match decide(answer, part) {
        Next::Done => "done".into(),
        Next::DoneBut { refused, reason, .. } => format!("less {refused} {}", reason.as_str()),
        _ => super::table::word_of(answer, part).0,
    }
}

#[test]
fn by_status() {
    for (status, expected) in [
        (200, "done"),
        (201, "retry slowly"),
        (202, "retry slowly"),
        (204, "done"),
        (206, "retry slowly"),
        (260, "retry slowly, streams in doubt"),
        (299, "retry slowly"),
        (301, "retry slowly"),
        (308, "retry slowly"),
        (400, "retry slowly, entries in doubt"),
        (401, "retry slowly"),
        (402, "retry slowly, streams in doubt"),
        (403, "retry slowly, streams in doubt"),
        (404, "retry slowly"),
        (405, "retry slowly"),
        (406, "retry slowly, entries in doubt"),
        (407, "retry slowly"),
        (408, "retry, streams in doubt"),
        (409, "retry slowly, entries in doubt"),
        (410, "retry slowly"),
        (412, "retry slowly, entries in doubt"),
        (415, "retry slowly"),
        (422, "retry slowly, entries in doubt"),
        (429, "retry"),
        (431, "retry slowly, entries in doubt"),
        (500, "retry, streams in doubt"),
        (503, "retry, streams in doubt"),
        (599, "retry, streams in doubt"),
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
        (Failure::Unreachable("connection refused".into()), "retry"),
        (Failure::NotSent("password_file: gone".into()), "retry slowly"),
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
        ("too much, under 400", rate, "retry"),
        ("unknown", "no", "retry slowly, entries in doubt"),
        ("known and unknown", "entry too far behind; 3 errors like: no", "apart"),
        ("scheme", "Client sent an HTTP request to an HTTPS server.\n", "retry slowly"),
        (
            "blocked",
            "ingestion blocked for user 'fake' until '2026-01-01' with status code '400'",
            "retry slowly, streams in doubt",
        ),
    ] {
        assert_eq!(word(&answer(400, body), STREAM), expected, "{name}");
    }
    // With several streams, the reason may be about one of them, and the answer for two is incomplete.
    assert_eq!(word(&answer(400, behind), STREAMS), "apart");
}

#[test]
fn a_web_page_is_not_lokis_word() {
    let page = Ok(Answer { status: 400, is_html: true, body: "<html>".into(), ..Answer::default() });
    assert_eq!(word(&page, ENTRY), "retry slowly, streams in doubt");
    for status in [200, 204] {
        let page = Ok(Answer { status, is_html: true, body: "<html>".into(), ..Answer::default() });
        assert_eq!(word(&page, ENTRY), "retry slowly", "{status}");
    }
}

#[test]
fn what_loki_refuses_of_a_stream_for_now_is_a_matter_of_that_stream_whatever_the_status() {
    let blocked =
        "ingestion blocked for user 'fake' (policy: 'chatty') until '2026-12-01T00:00:00Z' with status code '260'";
    let limit = "maximum active stream limit exceeded when trying to create stream {a=\"b\"}, reduce the number of \
                 active streams (reduce labels or reduce label values), or contact your Loki administrator";
    let dropping = Asked { drop_rate_limited: true, ..STREAM };
    for status in [260, 400, 403, 429, 503] {
        for part in [STREAMS, STREAM, ENTRY, dropping] {
            assert_eq!(word(&answer(status, blocked), part), "retry slowly, by stream", "{status}");
        }
        for (part, expected) in [
            (STREAMS, "retry, by stream"),
            (STREAM, "retry, by stream"),
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
        (STREAM, listed, "retry"),
        // A push larger than the burst would never be accepted.
        (Asked { attempt: 4, bytes: 1 << 20, ..STREAM }, listed, "halve"),
        (Asked { attempt: 3, bytes: 1 << 20, ..STREAM }, listed, "retry"),
        (Asked { attempt: 9, ..STREAM }, listed, "retry"),
        (Asked { attempt: 4, ..STREAMS }, listed, "halve"),
        (Asked { attempt: 9, bytes: 1 << 20, ..ENTRY }, listed, "retry"),
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
