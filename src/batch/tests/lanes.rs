//! Which lane a stream gets, and which streams share it.

use super::*;

#[test]
fn streams_that_say_little_share_a_push() {
    let mut bench = Bench::new();
    for _ in 0..30 {
        let seen = bench.stream_a_second(&[("a", 1, 20_000), ("b", 2, 20_000), ("c", 3, 50_000)]);
        assert_eq!(seen, vec![labels(&["a", "b", "c"]); 10]);
    }
}

#[test]
fn a_stream_that_says_much_travels_apart_until_it_has_calmed_down() {
    let mut bench = Bench::new();
    bench.stream_a_second(&[("quiet", 1, 1_000), ("loud", 2, 200_000)]);
    let seen = bench.stream_a_second(&[("quiet", 1, 1_000), ("loud", 2, 200_000)]);
    assert!(seen.contains(&labels(&["loud"])) && seen.contains(&labels(&["quiet"])), "{seen:?}");
    assert!(!seen.iter().any(|push| push.len() > 1), "{seen:?}");
    for _ in 0..15 {
        bench.stream_a_second(&[("quiet", 1, 1_000), ("loud", 2, 1_000)]);
    }
    let seen = bench.stream_a_second(&[("quiet", 1, 1_000), ("loud", 2, 1_000)]);
    assert_eq!(seen, vec![labels(&["quiet", "loud"]); 10]);
}

#[test]
fn a_large_window_does_not_let_loud_streams_share_a_push() {
    let mut bench = Bench::with(|config| config.replay_window = 16 << 20);
    bench.stream_a_second(&[("quiet", 1, 1_000), ("loud", 2, 4_000_000)]);
    let seen = bench.stream_a_second(&[("quiet", 1, 1_000), ("loud", 2, 4_000_000)]);
    assert!(!seen.iter().any(|push| push.len() > 1), "{seen:?}");
}

#[test]
fn the_rest_of_its_log_goes_in_front_of_a_stream_that_travels_apart() {
    let mut bench = Bench::new();
    let streams = [("out", 1, 200_000), ("err", 1, 1_000), ("other", 2, 1_000)];
    bench.stream_a_second(&streams);
    bench.stream_a_second(&streams);
    let seen = bench.stream_a_second(&streams);
    assert!(seen.contains(&labels(&["err", "out"])) && seen.contains(&labels(&["other"])), "{seen:?}");
    assert!(seen.iter().all(|push| push.len() < 3 && push.first() != Some(&labels(&["out"])[0]) || push.len() == 1));
}

#[test]
fn two_loud_streams_of_a_log_travel_apart_from_each_other() {
    let mut bench = Bench::new();
    let streams = [("out", 1, 200_000), ("err", 1, 200_000)];
    bench.stream_a_second(&streams);
    bench.stream_a_second(&streams);
    let seen = bench.stream_a_second(&streams);
    assert!(seen.iter().all(|push| push.len() == 1), "{seen:?}");
}

#[test]
fn a_loud_stream_follows_one_of_its_log_that_says_much_more() {
    let mut bench = Bench::new();
    let streams = [("err", 1, 200_000), ("out", 1, 2_000_000), ("other", 2, 2_000_000)];
    bench.stream_a_second(&streams);
    bench.stream_a_second(&streams);
    let seen = bench.stream_a_second(&streams);
    assert!(seen.iter().all(|push| *push == labels(&["err", "out"]) || *push == labels(&["other"])), "{seen:?}");
    // Its rate is now as high as the other's: Loki must answer for each of them separately.
    let streams = [("err", 1, 2_000_000), ("out", 1, 2_000_000)];
    (0..12).for_each(|_| drop(bench.stream_a_second(&streams)));
    let seen = bench.stream_a_second(&streams);
    assert!(seen.iter().all(|push| push.len() == 1), "{seen:?}");
    // Now its rate is the higher one.
    let streams = [("err", 1, 8_000_000), ("out", 1, 200_000)];
    (0..12).for_each(|_| drop(bench.stream_a_second(&streams)));
    let seen = bench.stream_a_second(&streams);
    assert!(seen.iter().all(|push| *push == labels(&["out", "err"])), "{seen:?}");
}

#[test]
fn who_led_and_was_refused_something_goes_on_to_lead() {
    let mut bench = Bench::new();
    let streams = [("err", 1, 200_000), ("out", 1, 200_000)];
    bench.stream_a_second(&streams);
    bench.stream_a_second(&streams);
    bench.add("err", 1, 100);
    bench.send().into_iter().for_each(|push| push.discard(1, &Reason::Loki("rate_limited")));
    let streams = [("err", 1, 200_000), ("out", 1, 4_000_000)];
    bench.stream_a_second(&streams);
    let seen = bench.stream_a_second(&streams);
    assert!(seen.iter().all(|push| push.len() == 1), "{seen:?}");
}

#[test]
fn a_stream_changes_lanes_only_when_nothing_of_it_is_under_way() {
    let mut bench = Bench::new();
    let id = bench.add("a", 1, 60_000);
    let first = bench.send();
    bench.add("a", 1, 60_000);
    let now = bench.now();
    // High rate with something in flight: no more of it may be read.
    assert_eq!(bench.batcher.room(id, now), Some(0));
    let second = bench.send();
    let lanes: Vec<u64> = first.iter().chain(&second).map(Batch::lane).collect();
    assert_eq!(lanes.len(), 2);
    assert_eq!(lanes[0], lanes[1]);
    first.into_iter().chain(second).for_each(Batch::close);
    assert_eq!(bench.batcher.room(id, now), Some(WINDOW));
    bench.add("a", 1, 100);
    let third = bench.send();
    assert_ne!(third[0].lane(), lanes[0]);
    assert!(third[0].is_led());
}

#[test]
fn what_may_be_too_far_behind_travels_apart() {
    let mut bench = Bench::new();
    bench.add("new", 1, 10);
    // The first known entry of the stream is an hour old: Loki may have newer ones.
    bench.time = NOW - 60 * MINUTE;
    bench.add("old", 2, 10);
    bench.time = NOW - 10 * MINUTE;
    bench.add("recent", 3, 10);
    let pushes: Vec<Vec<String>> =
        bench.send().iter().map(|b| b.stream_labels().map(str::to_string).collect()).collect();
    assert_eq!(pushes, [labels(&["new", "recent"]), labels(&["old"])]);
    // Another log has older lines of a stream than those already sent.
    bench.time = NOW - 40 * MINUTE;
    bench.add("new", 4, 10);
    bench.add("recent", 3, 10);
    let led: Vec<bool> = bench.send().iter().map(Batch::is_led).collect();
    assert_eq!(led, [false, true]);
}

#[test]
fn those_in_front_of_a_leader_are_parted_one_by_one() {
    let mut bench = Bench::new();
    let streams = [("out", 1, 400_000), ("err", 1, 100_000), ("warn", 1, 100_000)];
    (0..3).for_each(|_| drop(bench.stream_a_second(&streams)));
    for (stream, log, _) in streams {
        bench.add(stream, log, 100);
    }
    let led = bench.send().pop().expect("a push");
    assert_eq!((led.streams(), led.is_led()), (3, true));
    let (first, rest) = halves(led);
    assert_eq!((first.streams(), first.is_led()), (1, false));
    assert_eq!((rest.streams(), rest.is_led(), rest.last_stream_bytes()), (2, true, 100));
    let (second, out) = halves(rest);
    assert_eq!((second.is_led(), out.is_led()), (false, true));
    assert_eq!(out.stream_labels().collect::<Vec<_>>(), labels(&["out"]));
}

#[test]
fn the_half_of_a_push_that_its_leader_is_not_in_is_not_led() {
    let mut bench = Bench::new();
    let streams = [("out", 1, 200_000), ("err", 1, 1_000)];
    bench.stream_a_second(&streams);
    bench.stream_a_second(&streams);
    bench.add("out", 1, 10);
    bench.add("err", 1, 10);
    let led = bench.send().pop().expect("a push");
    let (err, out) = halves(led);
    assert_eq!((err.is_led(), out.is_led()), (false, true));
}

#[test]
fn who_led_and_met_its_limit_goes_on_to_lead() {
    let mut bench = Bench::new();
    let streams = [("err", 1, 200_000), ("out", 1, 200_000)];
    (0..2).for_each(|_| drop(bench.stream_a_second(&streams)));
    bench.add("err", 1, 100);
    // 429: the batch is sent again and accepted.
    bench.send().into_iter().for_each(|push| {
        push.limited();
        push.close();
    });
    let streams = [("err", 1, 200_000), ("out", 1, 4_000_000)];
    bench.stream_a_second(&streams);
    let seen = bench.stream_a_second(&streams);
    assert!(seen.iter().all(|push| push.len() == 1), "{seen:?}");
}

#[test]
fn of_who_follows_nothing_is_refused_that_nobody_is_told_of() {
    // Loki's limit and burst, bytes per second of `out`, bytes per second of `err`, and for how many tenths of a
    // second.
    for (rate, burst, out, err, tenths) in [
        (3e6, 15e6, 2_900_000, 14_000_000, 10),
        (3e6, 15e6, 2_900_000, 7_000_000, 20),
        (3e6, 6e6, 2_900_000, 10_000_000, 10),
        (5e6, 10e6, 4_900_000, 20_000_000, 10),
        (1e6, 2e6, 950_000, 4_000_000, 10),
        (3e6, 3e6, 2_900_000, 6_000_000, 10),
    ] {
        let mut bench = Bench::new();
        // Loki's token bucket per stream.
        let mut tokens = std::collections::BTreeMap::<String, f64>::new();
        for tenth in 0..250 {
            bench.clock.advance(Duration::from_millis(100));
            bench.time += MINUTE / 600;
            let err = if (200..200 + tenths).contains(&tenth) { err / 10 } else { 100 };
            for (stream, bytes) in [("out", out / 10), ("err", err)] {
                for at in (0..bytes).step_by(60_000) {
                    let id = bench.add(stream, 1, (bytes - at).min(60_000));
                    bench.add("out", 1, 10);
                    let now = bench.now();
                    bench.batcher.room(id, now);
                    for batch in bench.send() {
                        let last = batch.streams() - 1;
                        for (i, labels) in batch.stream_labels().enumerate() {
                            let size = if labels.contains(stream) { (bytes - at).min(60_000) } else { 10 };
                            let left = tokens.entry(labels.to_string()).or_insert(burst);
                            let taken = *left >= size as f64;
                            assert!(taken || i == last, "{labels} at {rate} and {burst}");
                            *left -= if taken { size as f64 } else { 0.0 };
                        }
                        batch.close();
                    }
                }
            }
            tokens.values_mut().for_each(|left| *left = (*left + rate / 10.0).min(burst));
        }
    }
}
