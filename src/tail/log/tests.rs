mod cut;
mod identity;
mod late;
mod many;
mod marks;
mod packed;
mod programs;
mod rotations;
mod traps;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use super::*;
use crate::model::{Checkpoint, Chunk, Read, Source};

/// At the start of the live file. Nothing older is read.
const START: Resume = Resume::Offset(0);

/// A directory with a log, and a clock that only the test moves.
struct Dir {
    dir: tempfile::TempDir,
    now: Instant,
}

impl Dir {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory"), now: Instant::now() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path(name)).expect("opened");
        file.write_all(text.as_bytes()).expect("written");
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).expect("renamed");
    }

    /// Compresses as the kubelet does: writes a copy beside the file, then removes the plain file.
    fn gzip(&self, name: &str) {
        let text = fs::read(self.path(name)).expect("read");
        let out = fs::File::create(self.path(&format!("{name}.gz"))).expect("created");
        let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::fast());
        encoder.write_all(&text).expect("written");
        encoder.finish().expect("written");
        fs::remove_file(self.path(name)).expect("removed");
    }

    fn open(&self, resume: Resume) -> Log {
        Log::open(&self.path("a.log"), resume, Options::default()).expect("opened")
    }

    fn at(&self, log: &Log) -> Resume {
        Resume::At { position: log.position(), saved: SystemTime::now() }
    }

    fn wait(&mut self) {
        self.now += Duration::from_secs(61);
    }

    /// Reads all available lines.
    fn read(&self, log: &mut Log) -> Vec<String> {
        let (mut chunk, mut lines) = (Chunk::default(), Vec::new());
        loop {
            match log.read(64, self.now, &mut chunk).expect("read") {
                Read::Records { .. } => {
                    lines.extend(String::from_utf8_lossy(&chunk.bytes[..chunk.len]).lines().map(str::to_string));
                }
                Read::Passed => {}
                Read::Skipped { bytes, .. } => lines.push(format!("skipped {bytes}")),
                Read::Idle => return lines,
                Read::Finished => {
                    lines.push("finished".into());
                    return lines;
                }
            }
        }
    }
}

#[test]
fn whole_lines_only_and_the_rest_when_it_is_written() {
    let d = Dir::new();
    d.append("a.log", "one\ntw");
    let mut log = d.open(START);
    assert_eq!(d.read(&mut log), ["one"]);
    d.append("a.log", "o\n\nthree");
    assert_eq!(d.read(&mut log), ["two", ""]);
    assert_eq!(log.position().offset, 9);
}

#[test]
fn lines_longer_than_a_read_come_whole() {
    let d = Dir::new();
    let long = "x".repeat(600_000);
    d.append("a.log", &format!("{long}\nshort\n"));
    assert_eq!(d.read(&mut d.open(START)), [long.as_str(), "short"]);
}

#[test]
fn a_line_beyond_all_bounds_is_passed_over_and_its_neighbours_are_not() {
    let d = Dir::new();
    d.append("a.log", "before\n");
    for _ in 0..100 {
        d.append("a.log", &"x".repeat(1_000_000));
    }
    let mut log = d.open(START);
    assert_eq!(d.read(&mut log), ["before"]);
    let held = log.position();
    assert!(held.offset > 90_000_000, "what is passed over is not kept");
    d.append("a.log", "end\nafter\n");
    assert_eq!(d.read(&mut log), ["skipped 100000004", "after"]);
}

#[test]
fn a_renamed_file_is_drained_before_the_new_one() {
    let mut d = Dir::new();
    d.append("a.log", "1\n");
    let mut log = d.open(START);
    assert_eq!(d.read(&mut log), ["1"]);
    d.append("a.log", "2\n");
    d.rename("a.log", "a.log.1");
    assert_eq!(log.look(d.now).expect("looked"), Look::Gone);
    d.append("a.log", "5\n");
    assert_eq!(log.look(d.now).expect("looked"), Look::Rotated(1));
    assert_eq!(d.read(&mut log), ["2"]);
    // The writer may keep the file open for a moment.
    d.append("a.log.1", "3\n4 without newline");
    assert_eq!(d.read(&mut log), ["3"]);
    d.wait();
    assert_eq!(d.read(&mut log), ["4 without newline", "5"]);
    assert_eq!(log.generations(), 1);
}

#[test]
fn several_rotations_between_two_looks_lose_nothing() {
    let mut d = Dir::new();
    d.append("a.log", "1\n");
    let mut log = d.open(START);
    d.rename("a.log", "a.log.20261122-100000");
    d.append("a.log", "2\n");
    d.rename("a.log", "a.log.20261122-100001");
    d.gzip("a.log.20261122-100000");
    d.append("a.log", "3\n");
    d.rename("a.log", "a.log.20261122-100002");
    d.append("a.log", "4\n");
    // The first is read from its descriptor, although only its compressed copy has a name.
    assert_eq!(log.look(d.now).expect("looked"), Look::Rotated(3));
    d.wait();
    assert_eq!(d.read(&mut log), ["1", "2", "3", "4"]);
}

#[test]
fn a_deleted_file_is_read_to_its_end() {
    let mut d = Dir::new();
    d.append("a.log", "1\n2\nlast");
    let mut log = d.open(START);
    fs::remove_file(d.path("a.log")).expect("removed");
    assert_eq!(log.look(d.now).expect("looked"), Look::Gone);
    assert_eq!(d.read(&mut log), ["1", "2"]);
    d.wait();
    assert_eq!(d.read(&mut log), ["last", "finished"]);
}

#[test]
fn truncated_in_place_it_starts_again_with_what_the_copy_still_has() {
    let mut d = Dir::new();
    d.append("a.log", "old 1\n");
    let mut log = d.open(START);
    assert_eq!(d.read(&mut log), ["old 1"]);
    d.append("a.log", "old 2\n");
    fs::copy(d.path("a.log"), d.path("a.log.1")).expect("copied");
    OpenOptions::new().write(true).open(d.path("a.log")).expect("opened").set_len(0).expect("truncated");
    d.append("a.log", "new\n");
    assert_eq!(log.look(d.now).expect("looked"), Look::Truncated);
    d.wait();
    assert_eq!(d.read(&mut log), ["old 2", "new"]);
}

#[test]
fn truncated_and_grown_beyond_the_old_offset_is_noticed_by_its_head() {
    let d = Dir::new();
    d.append("a.log", "old\n");
    let mut log = d.open(START);
    assert_eq!(d.read(&mut log), ["old"]);
    fs::write(d.path("a.log"), "new 1\nnew 2\n").expect("written");
    assert_eq!(log.look(d.now).expect("looked"), Look::Truncated);
    assert_eq!(d.read(&mut log), ["new 1", "new 2"]);
}

#[test]
fn after_a_restart_it_goes_on_in_whatever_the_file_has_become() {
    type Happening = fn(&Dir);
    let happenings: [(&str, Happening, &[&str]); 7] = [
        ("nothing", |_| {}, &["2"]),
        ("appended", |d| d.append("a.log", "3\n"), &["2", "3"]),
        (
            "renamed",
            |d| {
                d.rename("a.log", "a.log.1");
                d.append("a.log", "3\n")
            },
            &["2", "3"],
        ),
        (
            "renamed twice",
            |d| {
                d.rename("a.log", "a.log.2");
                d.append("a.log.1", "3\n");
                d.append("a.log", "4\n");
            },
            &["2", "3", "4"],
        ),
        (
            "renamed and gzipped",
            |d| {
                d.rename("a.log", "a.log.20261122-100000");
                d.gzip("a.log.20261122-100000");
                d.append("a.log.20261122-100001", "3\n");
                d.append("a.log", "4\n");
            },
            &["2", "3", "4"],
        ),
        (
            "copied and truncated",
            |d| {
                fs::copy(d.path("a.log"), d.path("a.log.1")).expect("copied");
                fs::write(d.path("a.log"), "3\n").expect("written");
            },
            &["2", "3"],
        ),
        (
            "deleted and another of its name",
            |d| {
                fs::remove_file(d.path("a.log")).expect("removed");
                d.append("a.log", "other 1\nother 2\n");
            },
            &["other 1", "other 2"],
        ),
    ];
    for (what, happen, want) in happenings {
        let mut d = Dir::new();
        d.append("a.log", "1\n");
        let mut log = d.open(START);
        assert_eq!(d.read(&mut log), ["1"]);
        let resume = d.at(&log);
        d.append("a.log", "2\n");
        drop(log);
        happen(&d);
        let mut log = d.open(resume);
        d.wait();
        assert_eq!(d.read(&mut log), want, "{what}");
    }
}

#[test]
fn an_inode_that_is_used_again_is_another_file() {
    let d = Dir::new();
    d.append("a.log", "first of the old\n");
    let mut log = d.open(START);
    d.read(&mut log);
    let Resume::At { position, saved } = d.at(&log) else { unreachable!() };
    // Same device and inode, different head.
    fs::write(d.path("a.log"), "first of the new\nsecond of the new\n").expect("written");
    let mut log = d.open(Resume::At { position, saved });
    assert_eq!(d.read(&mut log), ["first of the new", "second of the new"]);
    assert!(log.lost_position());
}

#[test]
fn promtails_offset_counts_only_in_a_file_that_is_long_enough() {
    let d = Dir::new();
    d.append("a.log", "1\n2\n");
    assert_eq!(d.read(&mut d.open(Resume::Offset(2))), ["2"]);
    assert_eq!(d.read(&mut d.open(Resume::Offset(99))), ["1", "2"]);
}

#[test]
fn from_the_oldest_generation_there_is() {
    let mut d = Dir::new();
    d.append("a.log.2", "1\n");
    d.gzip("a.log.2");
    d.append("a.log.1", "2\n");
    d.append("a.log", "3\n");
    d.wait();
    assert_eq!(d.read(&mut d.open(Resume::Since(SystemTime::UNIX_EPOCH))), ["1", "2", "3"]);
}

#[test]
fn of_an_unknown_log_what_was_written_while_nobody_looked() {
    let mut d = Dir::new();
    let set = |name: &str, at: SystemTime| {
        OpenOptions::new().append(true).open(d.path(name)).expect("opened").set_modified(at).expect("set");
    };
    d.append("a.log.2", "long ago\n");
    d.append("a.log.1", "1\n");
    d.append("a.log", "2\n");
    let then = SystemTime::now() - Duration::from_secs(3600);
    set("a.log.2", then - Duration::from_secs(1));
    set("a.log.1", then + Duration::from_secs(1));
    let mut log = d.open(Resume::Since(then));
    d.wait();
    assert_eq!(d.read(&mut log), ["1", "2"]);
}

#[test]
fn what_is_no_file_is_refused_and_does_not_block() {
    let d = Dir::new();
    let open = |name: &str| Log::open(&d.path(name), START, Options::default()).expect_err("refused").to_string();
    fs::create_dir(d.path("dir")).expect("made");
    assert_eq!(open("dir"), "it is a directory");
    let made = std::process::Command::new("mkfifo").arg(d.path("fifo")).status().expect("mkfifo is in coreutils");
    assert!(made.success());
    assert_eq!(open("fifo"), "it is not a regular file");
    assert!(open("absent").contains("No such file"));
}

#[test]
fn a_directory_or_fifo_in_the_place_of_a_log_ends_it() {
    let mut d = Dir::new();
    d.append("a.log", "1\n");
    let mut log = d.open(START);
    fs::remove_file(d.path("a.log")).expect("removed");
    fs::create_dir(d.path("a.log")).expect("made");
    assert_eq!(log.look(d.now).expect("looked"), Look::Gone);
    d.wait();
    assert_eq!(d.read(&mut log), ["1", "finished"]);
}

#[test]
fn a_compressed_file_is_read_once_and_needs_no_last_newline() {
    let d = Dir::new();
    d.append("b.log", "1\n2");
    d.gzip("b.log");
    let options = Options { compression: Some(Compression::Gzip), ..Options::default() };
    let mut log = Log::open(&d.path("b.log.gz"), START, options).expect("opened");
    assert_eq!(d.read(&mut log), ["1", "2"]);
    let position = log.position();
    let again = Resume::At { position, saved: SystemTime::now() };
    let mut log = Log::open(&d.path("b.log.gz"), again, options).expect("opened");
    assert_eq!(d.read(&mut log), [""; 0]);
}

#[test]
fn a_link_to_another_file_is_a_rotation() {
    let mut d = Dir::new();
    d.append("0.log", "1\n");
    d.append("1.log", "2\n");
    std::os::unix::fs::symlink("0.log", d.path("a.log")).expect("linked");
    let mut log = d.open(START);
    assert_eq!(d.read(&mut log), ["1"]);
    fs::remove_file(d.path("a.log")).expect("removed");
    std::os::unix::fs::symlink("1.log", d.path("a.log")).expect("linked");
    assert_eq!(log.look(d.now).expect("looked"), Look::Rotated(1));
    d.wait();
    assert_eq!(d.read(&mut log), ["2"]);
}
