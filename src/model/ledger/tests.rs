use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn at(mark: u64) -> Mark {
    Mark(mark)
}

#[test]
fn commits_the_longest_closed_run_from_the_left() {
    let ledger = Ledger::new();
    let (a, b, c) = (ledger.open(10, at(10)), ledger.open(10, at(20)), ledger.open(10, at(30)));
    b.close();
    assert_eq!(ledger.take_commit(), None);
    a.close();
    assert_eq!(ledger.take_commit(), Some((at(20), 2)));
    assert_eq!(ledger.take_commit(), None);
    c.close();
    assert_eq!(ledger.committed(), Some(at(30)));
    assert!(ledger.is_settled());
}

#[test]
fn a_slot_closes_with_its_last_holder() {
    let ledger = Ledger::new();
    let chunk = ledger.open(10, at(10));
    let push = chunk.send();
    chunk.close();
    assert_eq!(ledger.committed(), None);
    push.close();
    assert_eq!(ledger.committed(), Some(at(10)));
}

#[test]
fn a_chunk_may_end_before_its_end() {
    let ledger = Ledger::new();
    let chunk = ledger.open_chunk(100, at(100));
    let first = chunk.ack().send();
    chunk.begin_line(Mark(60));
    let held = chunk.hold();
    let second = held.send();
    chunk.end_at(Mark(80));
    assert_eq!((ledger.in_flight(), ledger.exposed()), (80, 80));
    chunk.close();
    first.close();
    assert_eq!(ledger.committed(), Some(at(60)));
    held.close();
    second.close();
    assert_eq!((ledger.committed(), ledger.in_flight()), (Some(at(80)), 0));
    assert!(ledger.is_settled());
}

#[test]
fn what_is_closed_behind_an_open_slot_takes_no_room() {
    let ledger = Ledger::new();
    let held = ledger.open(1, at(1));
    let mut open: Vec<Ack> = (2..1_000).map(|n| ledger.open(1, at(n))).collect();
    // In an order unrelated to the order in which they were opened.
    while !open.is_empty() {
        open.swap_remove(open.len() * 7 / 11).close();
    }
    assert_eq!(ledger.lock().slots.len(), 2);
    assert_eq!(ledger.committed(), None);
    held.close();
    assert_eq!(ledger.committed(), Some(at(999)));
    assert!(ledger.is_settled());
}

#[test]
fn silence_is_not_consent() {
    let ledger = Ledger::new();
    drop(ledger.open(10, at(10)));
    ledger.open(10, at(20)).close();
    assert_eq!(ledger.committed(), None);
    assert!(!ledger.is_settled());
}

#[test]
fn in_flight_counts_what_pushes_carry_once_per_slot() {
    let ledger = Ledger::new();
    let chunk = ledger.open(64, at(64));
    let (one, two) = (chunk.send(), chunk.send());
    let held = chunk.share();
    chunk.close();
    assert_eq!(ledger.in_flight(), 64);
    one.close();
    assert_eq!(ledger.in_flight(), 64);
    two.close();
    // A partial line that waits for its rest is not in flight: it must not stop reading.
    assert_eq!(ledger.in_flight(), 0);
    assert_eq!(ledger.committed(), None);
    held.close();
    assert_eq!(ledger.committed(), Some(at(64)));
}

/// A chunk from `start` to `end` that is being processed.
fn chunk(ledger: &Arc<Ledger>, start: u64, end: u64) -> ChunkAck {
    ledger.open_chunk(end - start, at(end))
}

#[test]
fn a_line_that_is_held_stops_the_commit_right_before_itself() {
    for (held_at, committed) in [(0, None), (10, Some(at(10))), (90, Some(at(90)))] {
        let ledger = Ledger::new();
        let chunk = chunk(&ledger, 0, 100);
        chunk.begin_line(Mark(held_at));
        let held = chunk.hold();
        chunk.close();
        assert_eq!(ledger.committed(), committed, "held at {held_at}");
        held.close();
        assert_eq!(ledger.committed(), Some(at(100)));
    }
}

#[test]
fn what_was_sent_before_a_split_counts_as_in_flight_for_its_part_only() {
    let ledger = Ledger::new();
    let chunk = chunk(&ledger, 0, 100);
    chunk.begin_line(Mark(0));
    let early = chunk.ack().send();
    assert_eq!(ledger.in_flight(), 100);
    chunk.begin_line(Mark(30));
    let held = chunk.hold();
    assert_eq!(ledger.in_flight(), 30);
    let late = held.send();
    held.close();
    chunk.close();
    assert_eq!(ledger.in_flight(), 100);
    late.close();
    assert_eq!((ledger.in_flight(), ledger.committed()), (30, None));
    early.close();
    assert_eq!((ledger.in_flight(), ledger.committed()), (0, Some(at(100))));
}

#[test]
fn a_join_is_committed_whole_or_not_at_all() {
    let ledger = Ledger::new();
    let first = chunk(&ledger, 0, 100);
    first.begin_line(Mark(50));
    let joined = first.hold();
    first.close();
    let second = chunk(&ledger, 100, 200);
    second.begin_line(Mark(100));
    joined.take_in(second.ack());
    second.begin_line(Mark(120));
    let other = second.ack().send();
    second.close();
    joined.close();
    assert_eq!(ledger.committed(), Some(at(50)), "the rest of the join is not known to be delivered");
    other.close();
    assert_eq!(ledger.committed(), Some(at(200)));
}

#[test]
fn joins_that_overlap_hold_each_other() {
    let ledger = Ledger::new();
    let (mut held, mut chunks) = (Vec::new(), Vec::new());
    for n in 0..4u64 {
        let chunk = chunk(&ledger, n * 10, n * 10 + 10);
        chunk.begin_line(Mark(n * 10));
        if let Some(before) = held.last() {
            Ack::take_in(before, chunk.ack());
        }
        held.push(chunk.hold());
        chunks.push(chunk);
    }
    chunks.into_iter().for_each(ChunkAck::close);
    let last = held.pop().expect("four");
    held.into_iter().for_each(Ack::close);
    assert_eq!(ledger.committed(), None);
    assert!(ledger.lock().slots.len() <= 3);
    last.close();
    assert_eq!(ledger.committed(), Some(at(40)));
}

#[test]
fn joins_that_overlap_without_end_do_not_stop_the_commit_for_ever() {
    let ledger = Ledger::new();
    let size = 10_000;
    let mut held: Option<Ack> = None;
    for n in 0..200 {
        let (start, end) = (n * size, (n + 1) * size);
        let chunk = chunk(&ledger, start, end);
        chunk.begin_line(Mark(start));
        let before = held.replace(chunk.hold());
        if let Some(before) = before {
            before.take_in(chunk.ack());
            before.close();
        }
        chunk.close();
        let committed = ledger.committed().map_or(0, |mark| mark.0);
        assert!(end - committed <= TIED + 2 * size, "{committed} of {end}");
        assert!(ledger.lock().slots.len() <= 4);
    }
    held.into_iter().for_each(Ack::close);
    assert_eq!(ledger.committed(), Some(at(200 * size)));
}

/// The fate of a line.
#[derive(Clone, Copy, Debug)]
enum Step {
    Sent,
    Discarded,
    /// The line begins a join.
    Held,
    /// The line is added to one of the open joins, if there is one. `true` completes the join.
    TakenIn(usize, bool),
    /// The line completes a join that is part of another join: a CRI line in a multiline block.
    Nested(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Sent),
        1 => Just(Step::Discarded),
        2 => Just(Step::Held),
        3 => (any::<usize>(), any::<bool>()).prop_map(|(which, ends)| Step::TakenIn(which, ends)),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(inner, outer)| Step::Nested(inner, outer)),
    ]
}

/// A reference model: keeps the whole history and searches all of it each time.
#[derive(Default)]
struct Model {
    /// Where a commit may stop: ends of chunks and starts of lines that were held.
    places: BTreeSet<u64>,
    read: u64,
    /// Lines that have a holder.
    open: BTreeSet<u64>,
    /// First and last line of each join.
    joins: Vec<(u64, u64)>,
}

impl Model {
    fn committed(&self) -> Option<u64> {
        let delivered = |place: u64| self.open.range(..place).next().is_none();
        let cut = |place: u64| self.joins.iter().any(|(first, last)| *first < place && place <= *last);
        self.places.iter().copied().filter(|p| *p > 0 && *p <= self.read && delivered(*p) && !cut(*p)).max()
    }

    fn in_flight(&self, flying: &[(u64, Ack)]) -> u64 {
        let start = |line: &u64| self.places.range(..=*line).next_back().copied().expect("0 is one");
        let end = |start: &u64| self.places.range(*start + 1..).next().copied().expect("the chunk's end is one");
        let parts: BTreeSet<u64> = flying.iter().map(|(line, _)| start(line)).collect();
        parts.iter().map(|s| end(s) - s).sum()
    }
}

proptest! {
    #[test]
    fn a_ledger_commits_what_a_naive_one_would(
        chunks in prop::collection::vec(prop::collection::vec((step(), prop::option::of(any::<usize>())), 1..6), 1..12)
    ) {
        let ledger = Ledger::new();
        let mut model = Model { places: BTreeSet::from([0]), ..Model::default() };
        let mut joins: Vec<(usize, Ack)> = Vec::new();
        let mut flying: Vec<(u64, Ack)> = Vec::new();
        let mut line = 0;
        for lines in chunks {
            let end = line + lines.len() as u64;
            model.places.insert(end);
            let chunk = chunk(&ledger, line, end);
            for (step, answered) in lines {
                // The chunk itself stands for all of its lines that are still to come.
                model.open.insert(line);
                model.read = line;
                chunk.begin_line(Mark(line));
                match step {
                    Step::Sent => flying.push((line, chunk.ack().send())),
                    Step::Held => {
                        model.places.insert(line);
                        joins.push((model.joins.len(), chunk.hold()));
                        model.joins.push((line, line));
                    }
                    Step::TakenIn(which, ends) if !joins.is_empty() => {
                        let at = which % joins.len();
                        let (join, held) = &joins[at];
                        held.take_in(chunk.ack());
                        model.joins[*join].1 = line;
                        if ends {
                            let (join, held) = joins.remove(at);
                            flying.push((model.joins[join].0, held.send()));
                            held.close();
                        }
                        model.open.remove(&line);
                    }
                    Step::Nested(inner, outer) if joins.len() > 1 => {
                        let (inner, held) = joins.remove(inner % joins.len());
                        let (outer, block) = &joins[outer % joins.len()];
                        held.take_in(chunk.ack());
                        block.take_in(&held);
                        held.close();
                        model.open.remove(&model.joins[inner].0);
                        model.open.remove(&line);
                        (model.joins[inner].1, model.joins[*outer].1) = (line, line);
                    }
                    Step::Discarded | Step::TakenIn(..) | Step::Nested(..) => { model.open.remove(&line); }
                }
                if let Some(which) = answered.filter(|_| !flying.is_empty()) {
                    let (line, ack) = flying.swap_remove(which % flying.len());
                    ack.close();
                    model.open.remove(&line);
                }
                prop_assert_eq!(ledger.committed().map(|mark| mark.0), model.committed());
                prop_assert_eq!(ledger.in_flight(), model.in_flight(&flying));
                line += 1;
            }
            chunk.close();
            model.read = line;
            prop_assert_eq!(ledger.committed().map(|mark| mark.0), model.committed());
        }
        flying.extend(joins.into_iter().map(|(join, held)| (model.joins[join].0, held)));
        while !flying.is_empty() {
            let (line, ack) = flying.swap_remove(flying.len() * 7 / 11);
            ack.close();
            model.open.remove(&line);
            prop_assert_eq!(ledger.committed().map(|mark| mark.0), model.committed());
        }
        prop_assert_eq!(ledger.committed(), Some(at(line)));
        prop_assert!(ledger.is_settled());
        prop_assert_eq!(ledger.in_flight(), 0);
    }
}
