//! Streams that Loki refuses while it accepts others.

use std::sync::atomic::Ordering;

use super::*;

const BUFFER: usize = 1 << 20;

fn bench() -> Bench {
    Bench::with(|config| config.buffer = BUFFER)
}

/// Sends all batches and sets those of streams named `bad…` apart. Returns these and the others.
fn set_apart(bench: &mut Bench) -> (Vec<Batch>, Vec<Batch>) {
    let (mut apart, mut others) = (Vec::new(), Vec::new());
    for batch in bench.send() {
        let bad: Vec<_> =
            batch.stream_keys().zip(batch.stream_labels()).filter(|(_, labels)| labels.contains("bad")).collect();
        let bad: Vec<_> = bad.into_iter().map(|(key, _)| key).collect();
        let (rest, parts) = batch.take_apart(|key| bad.contains(&key));
        others.extend(rest);
        apart.extend(parts);
    }
    apart.iter_mut().for_each(Batch::set_apart);
    (apart, others)
}

fn held_apart(bench: &Bench) -> usize {
    bench.batcher.held_apart.load(Ordering::Relaxed)
}

#[test]
fn what_is_set_apart_takes_no_room_of_others_and_its_lane_does_not_wait() {
    let mut bench = bench();
    let mut all = Vec::new();
    // Ten times as much as the buffer holds.
    for n in 0..200 {
        bench.add(&format!("bad-{n}"), n, WINDOW - 100);
        let good = bench.add("good", 1000, 100);
        let (apart, others) = set_apart(&mut bench);
        all.extend(apart);
        assert_eq!(bench.batcher.outstanding(), others.len());
        others.into_iter().for_each(Batch::close);
        assert!(!bench.batcher.is_full(good), "{n}");
    }
    assert_eq!(all.len(), 200);
    // The memory that is counted is that of compressed bodies, and all of it is given back.
    assert!(held_apart(&bench) < 200 * WINDOW / 4, "{}", held_apart(&bench));
    assert!(held_apart(&bench) > 0);
    all.into_iter().for_each(Batch::close);
    assert_eq!((held_apart(&bench), bench.batcher.buffered.bytes(), bench.batcher.outstanding()), (0, 0, 0));
    assert!(bench.ledger.is_settled());
}

#[test]
fn what_is_set_apart_is_bounded() {
    let mut bench = bench();
    let mut all = Vec::new();
    for n in 0.. {
        bench.add(&format!("bad-{n}"), n, 1000);
        all.extend(set_apart(&mut bench).0);
        if bench.batcher.has_no_room() {
            break;
        }
        assert!(held_apart(&bench) < 2 * BUFFER + 4096, "nothing is unbounded");
    }
    drop(all);
    assert!(!bench.batcher.has_no_room());
}

#[test]
fn parts_of_what_is_set_apart_give_back_what_the_whole_took() {
    let mut bench = bench();
    let id = (0..99).map(|_| bench.add("bad", 1, 100)).last().expect("entries");
    let (mut apart, _) = set_apart(&mut bench);
    let whole = held_apart(&bench);
    let (first, second) = apart.remove(0).split_first_entry();
    let (second, third) = second.expect("the others").split();
    assert_eq!(held_apart(&bench), whole);
    assert_eq!(first.entries(), 1);
    assert_eq!(bench.batcher.room_beside_refused(&[id]), Some(1 << 20));
    for part in [Some(first), Some(second), third].into_iter().flatten() {
        assert_eq!(bench.batcher.room_beside_refused(&[id]), Some(1 << 20));
        part.close();
    }
    assert_eq!(held_apart(&bench), 0);
    assert_eq!(bench.batcher.room_beside_refused(&[id]), None);
    let now = bench.now();
    assert_eq!(bench.batcher.room(id, now), Some(WINDOW));
    assert!(bench.ledger.is_settled());
}

#[test]
fn streams_are_parted_in_their_order_with_all_their_entries() {
    let mut bench = bench();
    for name in ["a", "bad-1", "b", "bad-2", "c"] {
        for _ in 0..3 {
            bench.add(name, 1, 50);
        }
    }
    let batch = bench.send().remove(0);
    assert_eq!((batch.streams(), batch.entries()), (5, 15));
    let bad: Vec<_> = batch.stream_keys().zip(0..).filter(|(_, n)| n % 2 == 1).map(|(key, _)| key).collect();
    let (rest, parts) = batch.take_apart(|key| bad.contains(&key));
    let names = |batch: &Batch| batch.stream_labels().map(str::to_string).collect::<Vec<_>>();
    let rest = rest.expect("the others");
    assert_eq!((names(&rest).len(), rest.entries(), rest.bytes()), (3, 9, 450));
    assert_eq!(parts.iter().map(names).collect::<Vec<_>>(), [[r#"{app="bad-1"}"#], [r#"{app="bad-2"}"#]]);
    assert!(parts.iter().all(|part| part.entries() == 3 && part.bytes() == 150));
    let (one, others) = rest.split_stream(1);
    assert_eq!(names(&one), [r#"{app="b"}"#]);
    assert_eq!(others.as_ref().map(names), Some(vec![r#"{app="a"}"#.to_string(), r#"{app="c"}"#.to_string()]));
    for part in parts.into_iter().chain([one]).chain(others) {
        assert!(!bench.ledger.is_settled());
        part.close();
    }
    assert!(bench.ledger.is_settled());
    assert_eq!(bench.batcher.outstanding(), 0);
}

/// Many streams with a line now and then: small waiting batches, each of which takes more memory than its line.
#[test]
fn streams_that_are_refused_and_say_little_stop_no_other() {
    let mut bench = bench();
    let good = bench.add("good", 1, 100);
    bench.send().into_iter().for_each(Batch::close);
    let mut waiting: Vec<Batch> = Vec::new();
    for n in 0..20 {
        let mut own: Vec<Batch> = Vec::new();
        loop {
            let id = bench.add(&format!("bad-{n}"), 1, 100);
            for batch in set_apart(&mut bench).0 {
                let left = match own.last_mut() {
                    Some(older) => older.join(batch),
                    None => Some(batch),
                };
                own.extend(left);
            }
            assert!(!bench.batcher.is_full(good), "the good stream is stopped by {n} streams");
            let now = bench.now();
            // The stream's own file is not read any further.
            if bench.batcher.is_full(id) || bench.batcher.room(id, now).is_none_or(|room| room < WINDOW / 2) {
                break;
            }
        }
        waiting.extend(own);
    }
    assert_eq!(waiting.len(), 20, "what waits of a stream is one batch");
    waiting.into_iter().for_each(Batch::close);
    assert_eq!((held_apart(&bench), bench.batcher.buffered.bytes()), (0, 0));
    assert!(bench.ledger.is_settled());
}

#[test]
fn joined_batches_have_all_entries_in_order_and_each_of_their_acks() {
    let mut bench = bench();
    let mut batches = Vec::new();
    for bytes in [10, 20, 30] {
        bench.add("bad", 1, bytes);
        batches.extend(set_apart(&mut bench).0);
    }
    let mut rest = batches.into_iter();
    let mut joined = rest.next().expect("a batch");
    rest.for_each(|younger| assert!(joined.join(younger).is_none()));
    assert_eq!((joined.entries(), joined.bytes()), (3, 60));
    let (first, others) = joined.split_first_entry();
    assert_eq!(first.bytes(), 10);
    let (second, third) = others.expect("two more").split();
    assert_eq!((second.bytes(), third.as_ref().map(Batch::bytes)), (20, Some(30)));
    for part in [Some(first), Some(second), third].into_iter().flatten() {
        assert!(!bench.ledger.is_settled());
        part.close();
    }
    assert!(bench.ledger.is_settled());
    assert_eq!(held_apart(&bench), 0);
}
