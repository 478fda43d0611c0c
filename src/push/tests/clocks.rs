//! Entries that were read while the clock of the machine was wrong.

use std::borrow::Cow;

use super::*;

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3600 * SECOND;

/// The clock of a Loki that is far behind that of this machine, as its answers tell it.
const DATE: &str = "Date: Tue, 09 Jan 2001 00:00:00 GMT\r\n";
const DATE_NANOS: i64 = 978_998_400 * SECOND;

/// Loki's answer to a push with these times: it takes what is at most ten minutes ahead of its clock, and a week behind.
fn judged(push: &Push, loki: i64, headers: &'static str) -> Reply {
    let (newest, oldest) = (loki + 600 * SECOND, loki - 7 * 24 * HOUR);
    let of = |time: i64| jiff::Timestamp::from_nanosecond(time.into()).expect("a time");
    let text = |time: &i64, what: String| match *time {
        time if time > newest => Some(format!("entry for stream '{what}' has timestamp too new: {}", of(time))),
        time if time < oldest => Some(format!(
            "entry for stream '{what}' has timestamp too old: {}, oldest acceptable timestamp is: {}",
            of(time),
            of(oldest)
        )),
        _ => None,
    };
    let errors: Vec<String> = push.times.iter().filter_map(|time| text(time, "{app=\"a\"}".into())).collect();
    match errors.len() {
        0 => Reply::Full { status: 204, headers, body: String::new() },
        1 => Reply::Full { status: 400, headers, body: errors[0].clone() },
        many => Reply::Full { status: 400, headers, body: format!("{many} errors like: {}", errors[0]) },
    }
}

/// Entries of a stream, by the time they get, and the clock at reading if that is the time of reading.
fn add(running: &mut Running, stream: &str, entries: &[(i64, Option<i64>)]) {
    for (timestamp, clock) in entries {
        running.end += 4;
        let mut entry = Entry {
            timestamp: *timestamp,
            line: Cow::Borrowed("line"),
            labels: LabelSet::new([("app", stream)]),
            metadata: Vec::new(),
            tenant: None,
            origin: Origin { clock: *clock, ..Origin::default() },
            weight: Weight::line(4),
            ack: AckRef::Own(running.ledger.open(4, Mark(running.end))),
        };
        assert!(matches!(running.batcher.add(&mut entry, Instant::now()), Outcome::Batched(_)));
        entry.close();
    }
    running.flush();
}

/// The present clock: Unix time, and its difference to the monotonic clock.
fn clock() -> (i64, i64) {
    let clock = Clock::default();
    (clock.unix_nanos(), clock.unix_nanos() - clock.monotonic())
}

fn times_of(push: &Push, base: i64) -> Vec<i64> {
    // Reading two clocks takes a moment.
    push.times.iter().map(|time| (time - base + SECOND / 4).div_euclid(SECOND / 2)).collect()
}

#[tokio::test]
async fn what_was_read_with_a_clock_that_is_right_by_now_gets_the_time_that_it_should_have_had() {
    let (now, right) = clock();
    for (wrong, date) in [(24 * HOUR, ""), (-30 * 365 * 24 * HOUR, ""), (2 * HOUR, ""), (-8 * 24 * HOUR, "")] {
        let loki = FakeLoki::start(move |push, _| judged(push, clock().0, date));
        let mut running = start(&config(&loki, ""));
        // Read 3 s, 2 s and 1 s ago, with the wrong clock; and one just now.
        let read = |ago: i64| (now + wrong - ago * SECOND, Some(right + wrong));
        add(&mut running, "a", &[read(3), read(2), read(1), (now, Some(right))]);
        running.settled().await;
        assert_eq!((running.sent(), running.dropped("ingester_error")), (4, 0), "{wrong}");
        assert_eq!(running.metric("fantail_dated_again_entries_total", &[]), 3);
        // The entry with the right time may be in a push of its own: it is far from the others.
        let stored = loki.pushes().into_iter().filter(|push| push.times.iter().all(|time| (time - now).abs() < HOUR));
        let mut stored: Vec<i64> = stored.flat_map(|push| times_of(&push, now)).collect();
        stored.sort_unstable();
        stored.dedup();
        assert_eq!(stored, [-6, -4, -2, 0], "{wrong}");
    }
}

#[tokio::test]
async fn while_the_clock_is_wrong_the_clock_of_loki_counts() {
    let (now, right) = clock();
    let loki = FakeLoki::start(|push, _| judged(push, DATE_NANOS, DATE));
    let mut running = start(&config(&loki, ""));
    // In two pushes, and with another stream in them.
    add(&mut running, "a", &[(now - 2 * SECOND, Some(right)), (now - SECOND, Some(right))]);
    add(&mut running, "b", &[(DATE_NANOS, None)]);
    running.settled().await;
    add(&mut running, "a", &[(now, Some(right))]);
    running.settled().await;
    assert_eq!((running.sent(), running.dropped("ingester_error")), (4, 0));
    let stored = loki.pushes().into_iter().filter(|push| push.times.iter().all(|time| *time < DATE_NANOS + SECOND));
    let stored: Vec<i64> = stored.flat_map(|push| times_of(&push, DATE_NANOS)).collect();
    assert!(stored.iter().all(|half_seconds| (-6..=2).contains(half_seconds)), "{stored:?}");
}

#[tokio::test]
async fn entries_with_times_of_their_own_and_those_that_loki_stored_stay_as_they_are() {
    let (now, right) = clock();
    let loki = FakeLoki::start(|push, _| judged(push, clock().0, ""));
    let mut running = start(&config(&loki, ""));
    // The clock was eleven minutes ahead: some entries are within what Loki takes. One has a time of its own in the future.
    let ahead = 660 * SECOND;
    let stored = now + ahead - 120 * SECOND;
    add(&mut running, "a", &[(stored, Some(right + ahead)), (now + ahead, Some(right + ahead)), (now + HOUR, None)]);
    running.settled().await;
    assert_eq!((running.sent(), running.dropped("ingester_error")), (2, 1));
    let pushes = loki.pushes();
    assert_eq!(pushes.len(), 2);
    assert_eq!((pushes[1].times[0], pushes[1].times[2]), (stored, now + HOUR));
    assert!((pushes[1].times[1] - now).abs() < SECOND);
}

#[tokio::test]
async fn what_is_ahead_of_lokis_clock_alone_waits_and_holds_up_no_other_stream() {
    let (now, right) = clock();
    // Loki's clock is wrong for its first pushes, and a gateway in front of it tells no time.
    let loki = FakeLoki::start(move |push, before| match before {
        0..4 => judged(push, now - HOUR, ""),
        _ => judged(push, clock().0, ""),
    });
    let mut running = start(&config(&loki, ""));
    add(&mut running, "a", &[(now, Some(right)), (now + 1, Some(right))]);
    until("it is set apart", || running.status.refused_streams() == 1).await;
    add(&mut running, "b", &[(now - HOUR, None)]);
    running.settled().await;
    assert_eq!((running.sent(), running.dropped("ingester_error")), (3, 0));
    assert_eq!(loki.pushes().last().map(|push| push.times.clone()), Some(vec![now, now + 1]));
}
