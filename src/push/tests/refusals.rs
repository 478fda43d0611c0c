//! Loki refuses some streams, and the others continue.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use super::*;

fn full(status: u16, body: &str) -> Reply {
    Reply::Full { status, headers: "", body: body.to_string() }
}

fn names(push: &Push, word: &str) -> bool {
    push.streams.iter().any(|(labels, _)| labels.contains(word))
}

fn has_line(push: &Push, word: &str) -> bool {
    push.lines().iter().any(|line| line.contains(word))
}

/// A config with short pauses for streams that are set apart.
fn soon(loki: &FakeLoki) -> Config {
    config(loki, "")
}

const LIMIT: &str = "maximum active stream limit exceeded when trying to create stream {app=\"x\"}, reduce the number of \
                     active streams (reduce labels or reduce label values)";
const BLOCKED: &str =
    "ingestion blocked for user fake (policy 'p') until '2027-01-01T00:00:00Z' with status code '260'";

/// The answers with which Loki, or a proxy, refuses some streams and accepts the others.
const REFUSALS: [(u16, &str); 7] = [
    (429, LIMIT),
    (260, BLOCKED),
    (260, "a text of tomorrow's Loki"),
    (500, "internal error"),
    (400, "no reason that anybody knows"),
    (403, "<html>blocked by the firewall</html>"),
    (422, "unprocessable"),
];

#[tokio::test]
async fn streams_that_are_refused_hold_up_no_other_and_lose_nothing() {
    for (status, body) in REFUSALS {
        let well = Arc::new(AtomicBool::new(false));
        let switch = well.clone();
        let loki = FakeLoki::start(move |push, _| match names(push, "bad") && !switch.load(Ordering::Relaxed) {
            true => full(status, body),
            false => Reply::Status(204),
        });
        let mut running = start(&soon(&loki));
        // Any number of streams, including the first and the last.
        for n in 0..20 {
            running.add(&format!("bad-{n}"), &["refused 0", "refused 1"]);
            running.add(&format!("good-{n}"), &["taken"]);
        }
        running.add("bad-last", &["refused 0"]);
        running.flush();
        let good = |loki: &FakeLoki| loki.stored().iter().filter(|line| *line == "taken").count();
        until("what is not refused is stored", || good(&loki) >= 20).await;
        until("the lane does not wait for it", || running.batcher.outstanding() == 0).await;
        assert_eq!(running.status.refused_streams(), 21, "{status} {body}");
        let state = running.status.report().state;
        assert!(state.contains("21 streams refused for"), "{state}");
        // Their later entries wait behind, and the others continue at once.
        for round in 1..10 {
            running.add("bad-3", &[&format!("refused {}", round + 1)]);
            running.push("good-3", &["taken"]);
            until("the good one is stored", || good(&loki) >= 20 + round).await;
        }
        assert_eq!(loki.stored().iter().filter(|line| line.contains("refused")).count(), 0);

        well.store(true, Ordering::Relaxed);
        running.settled().await;
        until("no stream is set apart", || running.status.refused_streams() == 0).await;
        // Not always the last one: while the agent searches for an entry that is refused without a reason, it also
        // tries others.
        let of_third = loki.pushes().into_iter().filter(|push| names(push, "\"bad-3\""));
        assert!(of_third.into_iter().any(|push| push.lines().last() == Some(&"refused 10")), "{status} {body}");
        let mut refused: Vec<String> = loki.stored();
        refused.retain(|line| line.contains("refused"));
        assert_eq!(refused.len(), 20 * 2 + 1 + 9, "{status} {body}");
        assert_eq!(running.dropped("ingester_error"), 0, "{status} {body}");
        assert_eq!(running.status.report().state, "ok");
        // The stream returns to its old lane.
        running.push("bad-3", &["taken"]);
        running.settled().await;
    }
}

#[tokio::test]
async fn a_stream_that_is_refused_arrives_in_order() {
    let well = Arc::new(AtomicBool::new(false));
    let switch = well.clone();
    let loki = FakeLoki::start(move |push, _| match names(push, "bad") && !switch.load(Ordering::Relaxed) {
        true => full(429, LIMIT),
        false => Reply::Status(204),
    });
    let mut running = start(&soon(&loki));
    for n in 0..30 {
        running.add("bad", &[&format!("line {n:02}")]);
        running.push("good", &["taken"]);
        until("the good one is stored", || loki.stored().len() > n).await;
    }
    well.store(true, Ordering::Relaxed);
    running.settled().await;
    let mut lines = loki.stored();
    lines.retain(|line| line.starts_with("line"));
    assert_eq!(lines, (0..30).map(|n| format!("line {n:02}")).collect::<Vec<_>>());
}

/// A Loki with `max_streams_per_user`: it stores the known streams of a push, and answers 429 if there are others.
#[tokio::test]
async fn a_loki_that_stores_the_streams_it_knows_gets_each_of_their_entries() {
    let known = Arc::new(Mutex::new(HashSet::<String>::new()));
    let stored = Arc::new(Mutex::new(HashSet::<(String, String)>::new()));
    let (streams, lines) = (known.clone(), stored.clone());
    let loki = FakeLoki::start(move |push, _| {
        let (mut known, mut stored) = (streams.lock().expect("a lock"), lines.lock().expect("a lock"));
        let mut over = false;
        for (labels, lines) in &push.streams {
            if known.len() < 4 {
                known.insert(labels.clone());
            }
            match known.contains(labels) {
                true => stored.extend(lines.iter().map(|line| (labels.clone(), line.clone()))),
                false => over = true,
            }
        }
        if over { full(429, LIMIT) } else { Reply::Status(204) }
    });
    let mut running = start(&soon(&loki));
    (0..4).for_each(|n| {
        running.add(&format!("known-{n}"), &["first"]);
    });
    running.flush();
    until("four streams are known", || known.lock().expect("a lock").len() == 4).await;
    (0..40).for_each(|n| {
        running.add(&format!("new-{n}"), &["refused"]);
    });
    for round in 0..20 {
        (0..4).for_each(|n| {
            running.add(&format!("known-{n}"), &[&format!("round {round}")]);
        });
        until("the known ones are stored", || {
            running.flush();
            stored.lock().expect("a lock").len() == 4 * (round + 2)
        })
        .await;
    }
    assert_eq!(running.status.refused_streams(), 40);
    assert_eq!((running.dropped("ingester_error"), running.dropped("rate_limited")), (0, 0));
}

#[tokio::test]
async fn on_request_what_is_over_the_limit_of_streams_is_discarded_and_nothing_else() {
    let loki = FakeLoki::start(|push, _| match names(push, "bad") {
        true => full(429, LIMIT),
        false => Reply::Status(204),
    });
    let mut running = start(&config(&loki, "drop_rate_limited_batches: true"));
    running.add("bad", &["one", "two"]);
    running.push("good", &["three"]);
    running.settled().await;
    assert_eq!((running.sent(), running.dropped("stream_limited"), running.dropped("rate_limited")), (1, 2, 0));
}

/// Lines of one log in several streams: the position waits for the refused stream, but the lines of the others do not.
#[tokio::test]
async fn what_is_set_apart_holds_the_acks_of_its_own_entries_alone() {
    let loki = FakeLoki::start(|push, _| match names(push, "bad") {
        true => full(260, BLOCKED),
        false => Reply::Status(204),
    });
    let mut running = start(&soon(&loki));
    running.add("good", &["one"]);
    running.add("bad", &["two"]);
    running.add("good", &["three"]);
    running.flush();
    until("the good ones are stored", || loki.stored().iter().filter(|line| *line != "two").count() >= 2).await;
    until("the first is committed", || running.ledger.committed().is_some()).await;
    assert_eq!(running.ledger.committed().map(|mark| mark.0), Some(3), "up to the line that is refused");
}

#[tokio::test]
async fn an_answer_nobody_knows_to_everything_discards_nothing() {
    for status in [400, 403, 406, 409, 412, 422, 431, 500] {
        let refusals = 12;
        let loki = FakeLoki::start(move |_, before| match before < refusals {
            true => full(status, "bad request"),
            false => Reply::Status(204),
        });
        let mut running = start(&soon(&loki));
        for n in 0..30 {
            running.add(&format!("stream-{n}"), &["one", "two", "three"]);
        }
        running.flush();
        running.settled().await;
        assert_eq!((running.sent(), running.dropped("ingester_error")), (90, 0), "{status}");
        assert!(loki.pushes().len() < 90, "{status}: {}", loki.pushes().len());
    }
}

#[tokio::test]
async fn a_single_line_that_is_refused_without_a_reason_is_found_behind_all_others() {
    for (poison, lines) in [(0, 300), (299, 300), (150, 300), (0, 2)] {
        let loki = FakeLoki::start(|push, _| match has_line(push, "poison") {
            true => full(400, "no, and no reason either"),
            false => Reply::Status(204),
        });
        let mut running = start(&soon(&loki));
        let text: Vec<String> =
            (0..lines).map(|n| if n == poison { "poison".to_string() } else { format!("line {n}") }).collect();
        running.push("only", &text.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(running.traffic_until_dropped().await, 1, "{poison} of {lines}");
        let stored = loki.stored().iter().filter(|line| line.starts_with("line")).count();
        assert_eq!(stored, lines - 1, "{poison} of {lines}");
        let own = loki.pushes().iter().filter(|push| names(push, "only")).count();
        assert!(own < 80, "{own}");
    }
}

#[tokio::test]
async fn a_stream_that_is_refused_whole_without_a_reason_is_not_taken_to_pieces() {
    let loki = FakeLoki::start(|push, _| match names(push, "bad") {
        true => full(400, "a reason of tomorrow's Loki"),
        false => Reply::Status(204),
    });
    let mut running = start(&soon(&loki));
    let lines: Vec<String> = (0..2000).map(|n| format!("line {n}")).collect();
    running.add("bad", &lines.iter().map(String::as_str).collect::<Vec<_>>());
    running.push("good", &["fine"]);
    until("the good one is stored", || loki.stored() == ["fine"]).await;
    until("it is set apart", || running.status.refused_streams() == 1).await;
    assert_eq!(running.dropped("ingester_error"), 0);
    assert!(loki.pushes().len() < 20, "{}", loki.pushes().len());
}

#[tokio::test]
async fn a_page_instead_of_lokis_answer_is_no_delivery() {
    for (status, headers, body) in [
        (200, "Content-Type: text/html; charset=utf-8\r\n", "<html>sign in</html>"),
        (200, "", "\r\n  <!DOCTYPE html><html>sign in</html>"),
        (200, "Content-Type: application/xhtml+xml\r\n", "<x/>"),
        (202, "", "accepted, perhaps"),
        (206, "", ""),
    ] {
        let loki = FakeLoki::start(move |_, before| match before {
            0..3 => Reply::Full { status, headers, body: body.to_string() },
            _ => Reply::Status(204),
        });
        let mut running = start(&soon(&loki));
        running.push("a", &["one"]);
        until("it is refused", || running.status.report().state.contains("not an answer of Loki")).await;
        assert_eq!(running.ledger.committed(), None, "{status} {body}");
        running.settled().await;
        assert_eq!(running.sent(), 1);
    }
}

/// With random answers, and all splits and refused streams that they cause.
#[tokio::test]
async fn answers_at_random_lose_nothing_and_turn_nothing_around() {
    for seed in 1..12_u64 {
        let loki = FakeLoki::start(move |push, before| {
            // A third of the answers is a success. The choice also depends on the streams.
            let streams = push.streams.iter().map(|(labels, _)| labels.len()).sum::<usize>();
            let mixed = (before as u64 + 1).wrapping_mul(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            match (mixed + streams as u64) % 9 {
                0 => Reply::Status(500),
                1 => full(429, LIMIT),
                2 => full(260, BLOCKED),
                3 => Reply::Status(403),
                4 => Reply::Reset,
                5 => full(429, "ingestion rate limit exceeded"),
                _ => Reply::Status(204),
            }
        });
        let mut running = start(&soon(&loki));
        for round in 0..10 {
            for stream in 0..8 {
                running.add(&format!("stream-{stream}"), &[&format!("{stream} {round:02}")]);
            }
            until("there is room", || {
                running.flush();
                running.batcher.is_empty()
            })
            .await;
        }
        running.settled().await;
        assert_eq!((running.sent(), running.dropped("ingester_error")), (80, 0), "seed {seed}");
        let mut seen: Vec<String> = loki.stored();
        for stream in 0..8 {
            let of = seen.iter().filter(|line| line.starts_with(&format!("{stream} ")));
            let expected: Vec<String> = (0..10).map(|round| format!("{stream} {round:02}")).collect();
            assert_eq!(of.cloned().collect::<Vec<_>>(), expected, "seed {seed}");
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 80);
        assert_eq!(running.status.refused_streams(), 0);
    }
}

/// If an answer may be about a single entry, younger ones are tried. But if the server works again when the oldest
/// entry is sent, all entries arrive in order.
#[tokio::test]
async fn a_stream_keeps_its_order_while_an_entry_is_looked_for() {
    for (refusals, streams) in [(1, 1), (2, 1), (7, 1), (20, 1), (1, 6), (7, 6), (30, 6)] {
        let well = AtomicBool::new(false);
        let loki = FakeLoki::start(move |push, before| {
            let oldest = push.streams.iter().any(|(_, lines)| lines.iter().any(|line| line == "line 000"));
            if before >= refusals && oldest {
                well.store(true, Ordering::Relaxed);
            }
            if well.load(Ordering::Relaxed) { Reply::Status(204) } else { full(400, "no reason that anybody knows") }
        });
        let mut running = start(&soon(&loki));
        for stream in 0..streams {
            for n in 0..50 {
                running.add(&format!("stream-{stream}"), &[&format!("line {n:03}")]);
            }
        }
        running.flush();
        running.settled().await;
        let stored = loki.pushes();
        for stream in 0..streams {
            let name = format!("stream-{stream}");
            let mut lines: Vec<String> = Vec::new();
            // The last push with a line is the stored one.
            for n in 0..50 {
                let line = format!("line {n:03}");
                let at = stored.iter().rposition(|push| {
                    push.streams.iter().any(|(labels, lines)| labels.contains(&name) && lines.contains(&line))
                });
                lines.push(format!("{:05}", at.expect("it was pushed")));
            }
            assert!(lines.is_sorted(), "{refusals} {name}: {lines:?}");
        }
        assert_eq!((running.sent(), running.dropped("ingester_error")), (50 * streams as u64, 0));
        assert!(loki.pushes().len() < refusals + 40, "{refusals}: {}", loki.pushes().len());
    }
}

/// After an outage, there are only a few more pushes than without it.
#[tokio::test]
async fn a_long_outage_does_not_end_in_a_push_for_each_stream() {
    for status in [503, 400, 403] {
        let loki = FakeLoki::start(move |_, before| match before {
            0..100 => full(status, "nobody is at home"),
            _ => Reply::Status(204),
        });
        let mut running = start(&soon(&loki));
        for stream in 0..200 {
            running.add(&format!("stream-{stream}"), &["one", "two"]);
        }
        running.flush();
        running.settled().await;
        assert_eq!((running.sent(), running.dropped("ingester_error")), (400, 0), "{status}");
        assert!(loki.pushes().len() < 100 + 30, "{status}: {}", loki.pushes().len());
    }
}
