//! Writers that go on in the old file after a rotation.

use super::*;

/// A log whose file was rotated and whose new file has a line.
fn rotated(d: &mut Dir) -> Log {
    d.append("a.log", "1\n");
    let mut log = d.open(START);
    assert_eq!(d.read(&mut log), ["1"]);
    d.rename("a.log", "a.log.1");
    d.append("a.log", "new 1\n");
    assert_eq!(log.look(d.now).expect("looked"), Look::Rotated(1));
    pass(d, 1);
    assert_eq!(d.read(&mut log), ["new 1"]);
    log
}

fn pass(d: &mut Dir, seconds: u64) {
    d.now += Duration::from_secs(seconds);
}

fn checkpoint(log: &mut Log) -> (Position, Vec<Position>) {
    match log.committed(log.mark()) {
        Some(Checkpoint::File { position, left, .. }) => (position, left),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_old_file_is_read_until_a_minute_after_its_last_byte() {
    let mut d = Dir::new();
    let mut log = rotated(&mut d);
    for n in 0..5 {
        d.append("a.log.1", &format!("late {n}\n"));
        d.append("a.log", &format!("new {n}\n"));
        pass(&mut d, 50);
        let mut lines = d.read(&mut log);
        lines.sort();
        assert_eq!(lines, [format!("late {n}"), format!("new {n}")]);
    }
    assert!(log.has((log.late[0].generation.id().device, log.late[0].generation.id().inode)));
    // It counts from the last byte on, even if that is no whole line. The rest is sent once nobody writes any more.
    d.append("a.log.1", "half");
    pass(&mut d, 1);
    assert_eq!(d.read(&mut log), Vec::<String>::new());
    pass(&mut d, 59);
    d.append("a.log.1", " a line");
    assert_eq!(d.read(&mut log), Vec::<String>::new());
    pass(&mut d, 61);
    assert_eq!(d.read(&mut log), ["half a line"]);
    pass(&mut d, 1);
    assert_eq!(d.read(&mut log), Vec::<String>::new());
    d.append("a.log.1", "nobody reads this\n");
    pass(&mut d, 1);
    assert_eq!(d.read(&mut log), Vec::<String>::new());
    checkpoint(&mut log);
    assert_eq!(log.files(), 1);
}

#[test]
fn a_deleted_file_is_kept_open_for_seconds_only() {
    let mut d = Dir::new();
    let mut log = rotated(&mut d);
    let mut writer = OpenOptions::new().append(true).open(d.path("a.log.1")).expect("opened");
    fs::remove_file(d.path("a.log.1")).expect("removed");
    for n in 0..3 {
        writer.write_all(format!("late {n}\n").as_bytes()).expect("written");
        pass(&mut d, 4);
        assert_eq!(d.read(&mut log), [format!("late {n}")]);
    }
    assert_eq!(log.pinned(), 2 + 3 * 7);
    pass(&mut d, 5);
    assert_eq!(d.read(&mut log), Vec::<String>::new());
    checkpoint(&mut log);
    assert_eq!((log.pinned(), log.files()), (0, 1));
}

#[test]
fn several_old_files_at_once_and_no_more_than_a_few() {
    let mut d = Dir::new();
    let mut log = rotated(&mut d);
    for n in 2..9 {
        d.rename("a.log", &format!("a.log.0{n}"));
        d.append("a.log", &format!("new {n}\n"));
        assert_eq!(log.look(d.now).expect("looked"), Look::Rotated(1));
        pass(&mut d, 1);
        assert_eq!(d.read(&mut log), [format!("new {n}")]);
    }
    for name in ["a.log.1", "a.log.02", "a.log.05", "a.log.08"] {
        d.append(name, &format!("late in {name}\n"));
    }
    pass(&mut d, 1);
    let mut lines = d.read(&mut log);
    lines.sort();
    assert_eq!(lines, ["late in a.log.05", "late in a.log.08"]);
    checkpoint(&mut log);
    assert_eq!(log.files(), 5);
}

#[test]
fn the_position_is_in_the_young_file_and_late_lines_are_found_again_after_a_restart() {
    let mut d = Dir::new();
    let mut log = rotated(&mut d);
    let (position, left) = checkpoint(&mut log);
    assert_eq!((position.offset, left.len(), left[0].offset), (6, 1, 2));
    d.append("a.log.1", "late 1\n");
    pass(&mut d, 1);
    assert_eq!(d.read(&mut log), ["late 1"]);
    let (position, left) = checkpoint(&mut log);
    assert_eq!((position.offset, left.len(), left[0].offset), (6, 1, 9));
    // Read, but not committed; and written while no agent runs.
    d.append("a.log.1", "late 2\n");
    pass(&mut d, 1);
    assert_eq!(d.read(&mut log), ["late 2"]);
    d.append("a.log.1", "late 3\n");
    d.append("a.log", "new 2\n");
    let mut log = d.open(Resume::At { position, saved: SystemTime::now() });
    assert_eq!(log.follow_late(Known { left: &left, ..Known::NOTHING }, SystemTime::now()).expect("followed"), 1);
    let mut lines = d.read(&mut log);
    lines.sort();
    assert_eq!(lines, ["late 2", "late 3", "new 2"]);
    let (position, left) = checkpoint(&mut log);
    assert_eq!((position.offset, left[0].offset), (12, 23));
    // Nothing was written for long: it is left alone.
    let mut log = d.open(Resume::At { position, saved: SystemTime::now() });
    let later = SystemTime::now() + Duration::from_secs(61);
    assert_eq!(log.follow_late(Known { left: &left, ..Known::NOTHING }, later).expect("followed"), 0);
}

#[test]
fn late_lines_that_are_taken_back_come_again_and_so_do_those_around_them() {
    let mut d = Dir::new();
    let mut log = rotated(&mut d);
    let (start, mut all) = (log.mark(), Vec::new());
    for n in 0..3 {
        d.append("a.log.1", &format!("late {n}\n"));
        pass(&mut d, 1);
        all.extend(d.read(&mut log));
        d.append("a.log", &format!("new {n}\n"));
        pass(&mut d, 1);
        all.extend(d.read(&mut log));
    }
    assert_eq!(all.len(), 6);
    let middle = start.after(7 + 6 + 7);
    for to in [middle, start] {
        assert_eq!(log.rewind(to), 0);
        pass(&mut d, 1);
        let mut again = d.read(&mut log);
        again.sort();
        let mut expected = all[if to == start { 0 } else { 3 }..].to_vec();
        expected.sort();
        assert_eq!(again, expected);
    }
    // Beyond the place where reading had moved on: the old file is read first again.
    assert_eq!(log.rewind(Mark::default()), 0);
    pass(&mut d, 1);
    let again = d.read(&mut log);
    assert_eq!((again.len(), again[0].as_str()), (8, "1"));
}

#[test]
fn an_old_file_that_is_cut_is_left() {
    let mut d = Dir::new();
    let mut log = rotated(&mut d);
    fs::write(d.path("a.log.1"), "").expect("cut");
    pass(&mut d, 1);
    assert_eq!(d.read(&mut log), Vec::<String>::new());
    d.append("a.log.1", "of something else\n");
    pass(&mut d, 1);
    assert_eq!(d.read(&mut log), Vec::<String>::new());
    assert_eq!(d.read(&mut log), Vec::<String>::new());
}
