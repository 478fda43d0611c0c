//! Copies of copytruncate while nothing is read, because Loki does not answer. The agent looks at the file meanwhile.

use super::*;

/// Moves older copies up by one, copies the live file, and cuts it.
fn copytruncate(d: &Dir) {
    for number in (1..9).rev().filter(|number| d.path(&format!("a.log.{number}")).exists()) {
        d.rename(&format!("a.log.{number}"), &format!("a.log.{}", number + 1));
    }
    fs::copy(d.path("a.log"), d.path("a.log.1")).expect("copied");
    cut(d);
}

fn cut(d: &Dir) {
    OpenOptions::new().write(true).open(d.path("a.log")).expect("opened").set_len(0).expect("cut");
}

fn lines(name: &str, count: u32) -> Vec<String> {
    (0..count).map(|n| format!("{name} {n} of a log that is long enough")).collect()
}

fn append(d: &Dir, name: &str, count: u32) {
    d.append("a.log", &lines(name, count).iter().map(|line| format!("{line}\n")).collect::<String>());
}

#[test]
fn each_copy_that_is_made_in_an_outage_is_read_in_its_turn() {
    let mut d = Dir::new();
    append(&d, "read", 10);
    let mut log = d.open(START);
    assert_eq!(d.read(&mut log), lines("read", 10));
    let mut want = Vec::new();
    for name in ["b", "c", "d", "e"] {
        append(&d, name, 50);
        want.extend(lines(name, 50));
        assert_eq!(log.look(d.now).expect("looked"), Look::Same);
        append(&d, name, 3);
        want.extend(lines(name, 3));
        copytruncate(&d);
        append(&d, "first of the next", 1);
        want.extend(lines("first of the next", 1));
        assert_eq!(log.look(d.now).expect("looked"), Look::Truncated);
    }
    d.wait();
    assert_eq!(d.read(&mut log), want);
    assert_eq!(log.take_lost(), Lost::default());
}

/// As with a file system that gives a new file the inode of one that was deleted.
#[test]
fn a_copy_with_the_inode_of_a_copy_that_was_read_before_is_read() {
    let mut d = Dir::new();
    append(&d, "read", 10);
    let mut log = d.open(START);
    assert_eq!(d.read(&mut log), lines("read", 10));
    for round in 0..10 {
        let names = [format!("before the look in round {round}"), format!("after the look in round {round}")];
        append(&d, &names[0], 30);
        log.look(d.now).expect("looked");
        append(&d, &names[1], 5);
        // Written over the copy before.
        fs::copy(d.path("a.log"), d.path("a.log.1")).expect("copied");
        cut(&d);
        assert_eq!(log.look(d.now).expect("looked"), Look::Truncated);
        d.wait();
        assert_eq!(d.read(&mut log), [lines(&names[0], 30), lines(&names[1], 5)].concat(), "round {round}");
        d.wait();
        assert_eq!(d.read(&mut log), [""; 0]);
    }
    assert_eq!(log.take_lost(), Lost::default());
}

#[test]
fn two_copies_between_two_looks_are_both_read() {
    let mut d = Dir::new();
    append(&d, "a", 30);
    let mut log = d.open(START);
    log.look(d.now).expect("looked");
    copytruncate(&d);
    append(&d, "b", 20);
    copytruncate(&d);
    append(&d, "c", 40);
    // The next copy is made, and the file not cut yet.
    d.rename("a.log.2", "a.log.3");
    d.rename("a.log.1", "a.log.2");
    fs::copy(d.path("a.log"), d.path("a.log.1")).expect("copied");
    log.look(d.now).expect("looked");
    d.wait();
    let want: Vec<String> = [lines("a", 30), lines("b", 20), lines("c", 40)].concat();
    assert_eq!(d.read(&mut log), want);
}

#[test]
fn a_banner_that_all_copies_share_hides_no_cut() {
    let mut d = Dir::new();
    let banner: Vec<String> =
        (0..60).map(|n| format!("runtime option {n} of a program that says what it is")).collect();
    let begin = |d: &Dir| d.append("a.log", &banner.iter().map(|line| format!("{line}\n")).collect::<String>());
    begin(&d);
    let mut log = d.open(START);
    d.read(&mut log);
    let mut want = Vec::new();
    for name in ["a", "b", "c"] {
        append(&d, name, 5);
        want.extend(lines(name, 5));
        assert_eq!(log.look(d.now).expect("looked"), Look::Same);
        copytruncate(&d);
        begin(&d);
        // It is longer than it was before.
        append(&d, "between", 9);
        want.extend(banner.clone());
        want.extend(lines("between", 9));
        assert_eq!(log.look(d.now).expect("looked"), Look::Truncated, "{name}");
    }
    d.wait();
    assert_eq!(d.read(&mut log), want);
}

#[test]
fn what_no_copy_has_is_counted_to_the_byte_and_nothing_is_read_twice() {
    let mut d = Dir::new();
    append(&d, "read", 10);
    let mut log = d.open(START);
    d.read(&mut log);
    append(&d, "unread", 10);
    let unread: usize = lines("unread", 10).iter().map(|line| line.len() + 1).sum();
    log.look(d.now).expect("looked");
    cut(&d);
    append(&d, "new", 40);
    log.look(d.now).expect("looked");
    assert_eq!(log.take_lost().cut, unread as u64);
    assert_eq!(d.read(&mut log), lines("new", 40));
    // All of it was read.
    log.look(d.now).expect("looked");
    cut(&d);
    append(&d, "newer", 1);
    log.look(d.now).expect("looked");
    d.wait();
    assert_eq!(d.read(&mut log), lines("newer", 1));
    assert_eq!(log.take_lost(), Lost::default());
}

#[test]
fn a_file_that_is_made_shorter_and_goes_on_is_not_read_from_its_start() {
    let d = Dir::new();
    append(&d, "read", 50);
    let mut log = d.open(START);
    d.read(&mut log);
    let (len, offset) = (fs::metadata(d.path("a.log")).expect("there").len(), log.position().offset);
    assert_eq!(len, offset);
    append(&d, "taken back", 10);
    log.look(d.now).expect("looked");
    let longer = fs::metadata(d.path("a.log")).expect("there").len();
    OpenOptions::new().write(true).open(d.path("a.log")).expect("opened").set_len(offset).expect("cut");
    append(&d, "new", 3);
    log.look(d.now).expect("looked");
    assert_eq!(d.read(&mut log), lines("new", 3));
    let new = fs::metadata(d.path("a.log")).expect("there").len();
    assert_eq!(log.take_lost().cut, longer - new);
}
