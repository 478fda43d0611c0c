//! Marks: their positions, and rewinding to them.

use super::*;

/// The position that is saved for a commit up to this mark.
fn checkpoint(log: &mut Log, mark: u64) -> (Position, bool) {
    match log.committed(Mark(mark)) {
        Some(Checkpoint::File { position, live, .. }) => (position.with_offset(position.offset), live),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_mark_is_found_again_in_the_file_that_it_was_read_from() {
    let mut d = Dir::new();
    d.append("a.log", "1\n2\n");
    let mut log = d.open(START);
    assert_eq!(d.read(&mut log), ["1", "2"]);
    let first = log.position().with_offset(4);
    d.rename("a.log", "a.log.1");
    d.append("a.log", "3\n");
    log.look(d.now).expect("looked");
    d.wait();
    assert_eq!(d.read(&mut log), ["3"]);
    let second = log.position().with_offset(2);
    let within = |position: Position, offset| Position { offset, ..position };
    assert_eq!(checkpoint(&mut log, 2), (within(first, 2), false));
    assert_eq!(checkpoint(&mut log, 4), (first, false), "the end of a file is there, not at the beginning of the next");
    assert_eq!(checkpoint(&mut log, 5), (within(second, 1), true));
    assert_eq!(checkpoint(&mut log, 6), (second, true));
}

#[test]
fn it_goes_back_to_what_is_committed_through_files_that_are_deleted_meanwhile() {
    for committed in 0..=4 {
        let mut d = Dir::new();
        d.append("a.log", "1\n");
        let mut log = d.open(START);
        d.read(&mut log);
        for n in 2..5 {
            d.rename("a.log", "a.log.1");
            d.append("a.log", &format!("{n}\n"));
            log.look(d.now).expect("looked");
            fs::remove_file(d.path("a.log.1")).expect("removed");
            d.wait();
            assert_eq!(d.read(&mut log), [n.to_string()]);
        }
        let _ = checkpoint(&mut log, committed * 2);
        let all: Vec<String> = (1..5).map(|n| n.to_string()).collect();
        for _ in 0..2 {
            assert_eq!(log.rewind(Mark(committed * 2)), 0);
            assert_eq!(d.read(&mut log), all[committed as usize..], "after {committed}");
        }
        let _ = checkpoint(&mut log, 8);
        assert_eq!(log.files(), 1, "what is committed is kept open no longer");
        d.append("a.log", "5\n");
        assert_eq!(d.read(&mut log), ["5"]);
    }
}

#[test]
fn what_was_cut_since_cannot_be_gone_back_to() {
    let mut d = Dir::new();
    d.append("a.log", "1\n2\n");
    let mut log = d.open(START);
    d.read(&mut log);
    fs::write(d.path("a.log"), "new\n").expect("written");
    log.look(d.now).expect("looked");
    d.wait();
    assert_eq!(d.read(&mut log), ["new"]);
    let _ = checkpoint(&mut log, 2);
    assert_eq!(log.rewind(Mark(2)), 2, "the bytes of the second line");
    assert_eq!(d.read(&mut log), ["new"]);
    let end = log.position().with_offset(log.position().offset);
    assert_eq!(checkpoint(&mut log, 6), (end, true));
}

#[test]
fn files_that_are_read_and_not_committed_are_the_first_to_be_closed() {
    let mut d = Dir::new();
    d.append("a.log", "1\n");
    let mut log = d.open(START);
    d.read(&mut log);
    for n in 2..9 {
        d.rename("a.log", &format!("a.log.2026112210000{n}"));
        d.append("a.log", &format!("{n}\n"));
        log.look(d.now).expect("looked");
        d.wait();
        d.read(&mut log);
    }
    assert_eq!((log.files(), log.generations()), (8, 1));
    assert_eq!(log.shed_files(3), 0, "nothing is lost of what was read");
    assert_eq!(log.files(), 3);
    assert_eq!(log.rewind(Mark(0)), 10, "five files");
    assert_eq!(d.read(&mut log), ["6", "7", "8"]);
}

#[test]
fn what_was_read_of_a_file_before_it_was_copied_and_cut_is_gone_back_to_in_the_copy() {
    let mut d = Dir::new();
    d.append("a.log", "1\n2\n");
    let mut log = d.open(START);
    d.read(&mut log);
    fs::copy(d.path("a.log"), d.path("a.log.1")).expect("copied");
    fs::write(d.path("a.log"), "").expect("cut");
    log.look(d.now).expect("looked");
    d.append("a.log", "3\n");
    d.wait();
    assert_eq!(d.read(&mut log), ["3"]);
    let _ = checkpoint(&mut log, 2);
    assert_eq!(log.rewind(Mark(2)), 0);
    assert_eq!(d.read(&mut log), ["2", "3"]);
    let end = log.position().with_offset(log.position().offset);
    assert_eq!(checkpoint(&mut log, 6), (end, true));
}
