//! A file is known by its content at two places: its head, and the bytes before the position. Device and inode are a hint.

use super::*;

/// A head that several generations share, longer than a fingerprint.
fn banner() -> String {
    (0..40).map(|n| format!("runtime option {n:03} = -Xmx512m -Dlevel=info\n")).collect()
}

fn saved(log: &Log) -> Position {
    let position = log.position();
    assert!(position.before.len > 0, "{position:?}");
    position
}

fn resume(position: Position) -> Resume {
    Resume::At { position, saved: SystemTime::now() }
}

#[test]
fn of_generations_that_begin_with_the_same_banner_the_one_that_was_read_is_known() {
    for gzip in [false, true] {
        let mut d = Dir::new();
        d.append("a.log", &(banner() + "a 1\n"));
        let mut log = d.open(START);
        d.read(&mut log);
        let position = saved(&log);
        drop(log);
        d.append("a.log", "a 2\n");
        d.rename("a.log", "a.log.2");
        d.append("a.log.1", &(banner() + "b 1\nb 2\n"));
        if gzip {
            d.gzip("a.log.2");
            d.gzip("a.log.1");
        }
        d.append("a.log", &(banner() + "c 1\n"));
        let mut log = d.open(resume(position));
        d.wait();
        let mut lines = d.read(&mut log);
        lines.retain(|line| !line.starts_with("runtime"));
        assert_eq!(lines, ["a 2", "b 1", "b 2", "c 1"], "gzip: {gzip}");
        assert!(!log.lost_position());
    }
}

#[test]
fn a_file_that_was_cut_and_has_grown_again_is_noticed_though_it_begins_alike() {
    let d = Dir::new();
    d.append("a.log", &(banner() + "old 1\nold 2\n"));
    let mut log = d.open(START);
    d.read(&mut log);
    // Longer than before, in one step, and nobody looked in between.
    fs::write(d.path("a.log"), banner() + "new 1\nnew 2\nnew 3\n").expect("written");
    let lines = d.read(&mut log);
    assert_eq!(lines[lines.len() - 3..], ["new 1", "new 2", "new 3"], "{}", lines.len());
    assert_eq!(lines.len(), 43, "from its start");
    d.append("a.log", "new 4\n");
    assert_eq!(d.read(&mut log), ["new 4"]);
}

#[test]
fn a_file_system_that_has_another_number_now_has_the_same_files() {
    let mut d = Dir::new();
    d.append("a.log", "1\n");
    let mut log = d.open(START);
    d.read(&mut log);
    let mut position = saved(&log);
    drop(log);
    d.append("a.log", "2\n");
    position.file.device ^= 1;
    assert_eq!(d.read(&mut d.open(resume(position))), ["2"], "the same inode, created at the same time");
    // Copied to another disk: by its content.
    let copied = FileId { inode: position.file.inode + 1, born: position.file.born + 1, ..position.file };
    assert_eq!(d.read(&mut d.open(resume(Position { file: copied, ..position }))), ["2"]);
    // Rotated meanwhile.
    d.rename("a.log", "a.log.1");
    d.append("a.log", "3\n");
    d.wait();
    assert_eq!(d.read(&mut d.open(resume(position))), ["2", "3"]);
    // The content before the position is another.
    let other = Position { before: crate::model::Fingerprint { hash: 7, ..position.before }, ..position };
    let mut log = d.open(resume(other));
    assert!(log.lost_position());
    assert_eq!(d.read(&mut log).last().expect("a line"), "3");
}

#[test]
fn an_inode_that_was_created_later_is_another_file_though_it_begins_alike() {
    let d = Dir::new();
    d.append("a.log", "started\nstep 1\n");
    let mut log = d.open(START);
    d.read(&mut log);
    let mut position = saved(&log);
    drop(log);
    // As if the file system had given the inode of an earlier file to this one.
    position.file.born -= 1_000_000_000;
    d.append("a.log", "step 2\n");
    let mut log = d.open(resume(position));
    assert_eq!(d.read(&mut log), ["started", "step 1", "step 2"]);
    assert!(!is_in(&d.path("a.log"), &AllowedPaths::default(), &position));
    // A version that did not save when it was created.
    position.file.born = 0;
    assert_eq!(d.read(&mut d.open(resume(position))), ["step 2"]);
}

#[test]
fn what_is_before_a_committed_position_is_what_was_read_there() {
    let d = Dir::new();
    d.append("a.log", &(banner() + "one\ntwo\n"));
    let mut log = d.open(START);
    d.read(&mut log);
    let end = log.position();
    let until = |log: &mut Log, mark: u64| match log.committed(Mark(mark)) {
        Some(Checkpoint::File { position, .. }) => position,
        other => panic!("{other:?}"),
    };
    let before = until(&mut log, end.offset - 4);
    assert_eq!((before.offset, before.before.len), (end.offset - 4, 256), "in the middle of what was read");
    assert_eq!(d.read(&mut d.open(resume(before))), ["two"]);
    // Rewritten since it was read: what is there now was never read.
    let mut log = d.open(START);
    d.read(&mut log);
    fs::write(d.path("a.log"), banner() + "eins\nzwei\n").expect("written");
    assert_eq!(until(&mut log, end.offset - 4).before.len, 0);
    assert_eq!(until(&mut log, end.offset), end);
}
