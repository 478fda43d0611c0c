use super::*;
use crate::model::{LabelSet, Record};

fn parcel(texts: &[&str]) -> Parcel {
    let mut parcel = Parcel::default();
    texts.iter().for_each(|text| parcel.push(text, None, None));
    parcel
}

fn intake(clients: usize) -> (Intake, Vec<Inbox>) {
    Intake::new((0..clients).map(|_| Arc::new(Parker::default())))
}

/// Reads all available records, `room` bytes at a time.
fn read(inbox: &mut Inbox, room: usize) -> (Vec<String>, Read) {
    let (mut chunk, mut texts) = (Chunk::default(), Vec::new());
    loop {
        match inbox.read(room, Instant::now(), &mut chunk).expect("an inbox does not fail") {
            Read::Records { .. } => {
                let mut at = 0;
                for record in chunk.records.iter().flatten() {
                    texts.push(String::from_utf8_lossy(&chunk.bytes[at..record.end - 1]).into_owned());
                    at = record.end;
                }
                assert_eq!(at, chunk.len);
            }
            other => return (texts, other),
        }
    }
}

fn now_or_never(ticket: Ticket) -> Option<Result<(), NotCommitted>> {
    futures::FutureExt::now_or_never(ticket.committed())
}

#[test]
fn records_are_read_whole_whatever_the_room() {
    for room in [1, 4, 5, 9, 1_000] {
        let (intake, mut inboxes) = intake(2);
        intake.offer(parcel(&["one", "", "three"])).expect("room");
        intake.offer(parcel(&["four"])).expect("room");
        drop(intake);
        for inbox in &mut inboxes {
            let all = ["one", "", "three", "four"].map(str::to_string).to_vec();
            assert_eq!(read(inbox, room), (all, Read::Finished), "{room}");
        }
    }
}

#[test]
fn what_is_not_committed_can_be_read_again_from_any_record() {
    let (intake, mut inboxes) = intake(1);
    let inbox = &mut inboxes[0];
    intake.offer(parcel(&["one", "two"])).expect("room");
    intake.offer(parcel(&["three"])).expect("room");
    read(inbox, 100);
    for (mark, want) in [(0, &["one", "two", "three"][..]), (4, &["two", "three"]), (8, &["three"]), (14, &[])] {
        inbox.rewind(Mark(mark));
        assert_eq!(read(inbox, 100), (want.iter().map(ToString::to_string).collect(), Read::Idle), "{mark}");
    }
    inbox.committed(Mark(8));
    inbox.rewind(Mark(8));
    assert_eq!(read(inbox, 100).0, ["three"]);
}

#[test]
fn a_ticket_resolves_with_the_last_client_and_fails_with_the_first_that_ends() {
    let (intake, mut inboxes) = intake(2);
    let both = intake.offer(parcel(&["one"])).expect("room");
    let second = intake.offer(parcel(&["two"])).expect("room");
    let unread = intake.offer(parcel(&["three"])).expect("room");
    inboxes.iter_mut().for_each(|inbox| drop(read(inbox, 100)));
    inboxes[0].committed(Mark(8));
    assert_eq!(now_or_never(Ticket(both.0.clone())), None);
    inboxes[1].committed(Mark(5));
    assert_eq!(now_or_never(both), Some(Ok(())), "a mark in the middle of the second leaves the first behind it");
    assert_eq!(now_or_never(Ticket(second.0.clone())), None);
    drop(inboxes.pop());
    assert_eq!(now_or_never(second), Some(Err(NotCommitted)));
    assert_eq!(now_or_never(unread), Some(Err(NotCommitted)));
    assert!(intake.offer(parcel(&["four"])).is_err(), "one client reads no more");
}

#[test]
fn all_clients_take_a_parcel_or_none_does_until_there_is_room_again() {
    let (intake, mut inboxes) = intake(2);
    let large = "x".repeat(ROOM - 1);
    intake.offer(parcel(&[&large])).expect("however large, if there is nothing else");
    inboxes.iter_mut().for_each(|inbox| drop(read(inbox, 100)));
    inboxes[0].committed(Mark(ROOM as u64));
    let (small, all) = (parcel(&["small"]), Mark(ROOM as u64));
    assert_eq!(intake.offer(small.clone()).err(), Some(small.clone()));
    assert_eq!(read(&mut inboxes[0], 100).0.len(), 0, "none has it");
    assert_eq!(intake.offer_to_some(small.clone()), Taken { by: 1, missed: 1 });
    assert_eq!(read(&mut inboxes[0], 100).0, ["small"]);
    assert_eq!(intake.with_room_for(&small), 1);
    inboxes[1].committed(all);
    assert!(intake.offer(small).is_ok());
    assert_eq!(read(&mut inboxes[1], 100).0, ["small"]);
}

#[test]
fn who_waits_for_room_is_woken_by_a_commit_and_by_an_end() {
    for ends in [false, true] {
        let (intake, mut inboxes) = intake(1);
        intake.offer(parcel(&[&"x".repeat(ROOM - 1)])).expect("room");
        let mut inbox = inboxes.remove(0);
        std::thread::scope(|scope| {
            let (told, tell) = std::sync::mpsc::channel();
            scope.spawn(move || {
                tell.recv().expect("told");
                match ends {
                    true => drop(inbox),
                    false => drop(inbox.committed(Mark(ROOM as u64))),
                }
            });
            let enough =
                |intake: &Intake| intake.with_room_for(&parcel(&["x"])) > 0 || intake.inboxes[0].lock().is_left;
            told.send(()).expect("sent");
            intake.wait_for_room(enough, Duration::from_secs(20));
            assert!(enough(&intake));
        });
    }
}

#[test]
fn records_keep_what_came_with_them() {
    let (intake, mut inboxes) = intake(1);
    let mut parcel = Parcel::default();
    let labels = LabelSet::new([("unit", "sshd")]);
    let metadata = vec![Structured { name: "trace".into(), value: "1".into() }];
    let tenant = Some("t".into());
    parcel.push_to("a", Some(7), metadata.clone(), (Some(&labels), tenant.as_ref()));
    parcel.push("b", None, None);
    intake.offer(parcel).expect("room");
    let mut chunk = Chunk::default();
    inboxes[0].read(100, Instant::now(), &mut chunk).expect("read");
    let first = Record { end: 2, time: Some(7), labels: Some(labels), metadata: Some(metadata.into()), tenant };
    let want = [first, Record { end: 4, ..Record::default() }];
    assert_eq!(chunk.records, Some(want.into_iter().collect()));
}

#[test]
fn what_nobody_answers_for_takes_no_room_of_what_is_read() {
    let (intake, mut inboxes) = intake(1);
    let inbox = &mut inboxes[0];
    // A parcel of plain records, and behind it one whose records weigh far more than their text.
    let plain = "x".repeat(1000);
    intake.offer_to_some(parcel(&vec![plain.as_str(); ROOM / 4000]));
    let pair = |n| Structured { name: format!("name{n}").into(), value: "value".repeat(4).into() };
    let metadata: Vec<Structured<'static>> = (0..12).map(pair).collect();
    let mut heavy = Parcel::default();
    while heavy.cost() < ROOM / 2 {
        heavy.push_to("y", None, metadata.clone(), (None, None));
    }
    intake.offer_to_some(heavy);
    // Almost all of the first parcel is read and committed, and nothing is on its way.
    let mut at = Mark::default();
    while at.0 < (ROOM / 4) as u64 * 9 / 10 {
        let mut chunk = Chunk::default();
        inbox.read(64 << 10, Instant::now(), &mut chunk).expect("read");
        at = chunk.start.after(chunk.len as u64);
    }
    inbox.committed(at);
    assert_eq!(inbox.exposed(0), 0);
    // What is read next counts from there.
    inbox.read(64 << 10, Instant::now(), &mut Chunk::default()).expect("read");
    let lock = intake.inboxes[0].lock();
    assert!(lock.read_cost() < (ROOM / 2) as u64, "{}", lock.read_cost());
}

#[test]
fn records_that_nobody_waits_for_may_stay_in_batches_until_half_of_the_room_is_taken() {
    let (intake, mut inboxes) = intake(1);
    let inbox = &mut inboxes[0];
    let (part, uncommitted) = ("x".repeat(ROOM / 8), 1_000_000);
    for _ in 0..4 {
        assert_eq!(intake.offer_to_some(parcel(&[&part])).by, 1);
    }
    assert_eq!(inbox.exposed(0), 0);
    read(inbox, ROOM);
    let a_little = inbox.exposed(uncommitted);
    assert!(a_little < ROOM as u64 / 64, "{a_little}");
    intake.offer(parcel(&[&part])).expect("room");
    read(inbox, 1);
    assert_eq!(inbox.exposed(uncommitted), uncommitted, "a sender waits for its commit");
    intake.offer(parcel(&[&part])).expect("room");
    let (of_one, exposed) = (ROOM as u64 / 8, inbox.exposed(uncommitted));
    assert!((of_one..of_one * 5 / 4).contains(&exposed), "{exposed}: there is more to read");
    inbox.committed(Mark(4 * (part.len() as u64 + 1)));
    assert_eq!(inbox.exposed(uncommitted), 0);
}

#[test]
fn a_parcel_takes_little_more_memory_than_it_counts() {
    let mut parcel = Parcel::default();
    parcel.reserve(1_000, 100_000);
    parcel.push("a", None, None);
    let parcel = parcel.fitted();
    assert!(parcel.text.capacity() < 100, "{}", parcel.text.capacity());
    assert_eq!((parcel.text(), parcel.len()), ("a\n", 1));
}
