use std::fs::{self, OpenOptions};
use std::io::Write;
use std::sync::mpsc::{Receiver, channel};

use super::*;
use crate::model::{Chunk, Read, Source};
use crate::tail::{Options, Resume};

/// Far longer than an event needs.
const PATIENCE: Duration = Duration::from_secs(60);

struct Rig {
    dir: tempfile::TempDir,
    quiet: QuietFiles,
    written: Receiver<u64>,
}

impl Rig {
    fn new() -> Self {
        let (sender, written) = channel();
        let quiet = QuietFiles::new(1, move |log| {
            let _ = sender.send(log);
        });
        // Inside of a container, `/tmp` may be on an overlay.
        let dir = tempfile::tempdir().expect("a directory");
        let is_local = Mounts::now().events_of(dir.path()) == Events::All;
        let dir = if is_local { dir } else { tempfile::tempdir_in("/dev/shm").expect("a directory") };
        Self { dir, quiet, written }
    }

    fn append(&self, name: &str, text: &str) {
        let file = OpenOptions::new().create(true).append(true).open(self.dir.path().join(name));
        file.expect("opened").write_all(text.as_bytes()).expect("written");
    }

    /// A log that is read to its end.
    fn log(&self, name: &str) -> Log {
        self.append(name, "a line\n");
        let mut log = Log::open(&self.dir.path().join(name), Resume::Offset(0), Options::default()).expect("opened");
        self.read(&mut log);
        log
    }

    fn read(&self, log: &mut Log) {
        while let Read::Records { .. } = log.read(4096, Instant::now(), &mut Chunk::default()).expect("read") {}
    }

    fn watch(&self, id: u64, log: &Log) -> Result<Watched, Unwatched> {
        self.quiet.watch(id, log, Instant::now())
    }

    /// All logs that were reported. A log that is written last marks the end.
    fn reported(&self) -> Vec<u64> {
        let last = self.log("last.log");
        let _watched = self.watch(0, &last).expect("watched");
        self.append("last.log", "x\n");
        let next = || self.written.recv_timeout(PATIENCE).expect("the last one is reported");
        std::iter::repeat_with(next).take_while(|log| *log != 0).collect()
    }

    fn watches(&self) -> usize {
        self.quiet.0.as_ref().map_or(0, |running| running.watches.logs().len())
    }
}

#[test]
fn the_first_write_to_a_watched_file_is_reported_once() {
    let rig = Rig::new();
    let (one, two) = (rig.log("one.log"), rig.log("two.log"));
    let (first, _second) = (rig.watch(1, &one).expect("watched"), rig.watch(2, &two).expect("watched"));
    assert!(first.is_of(one.quiet_file().expect("one file").0) && !first.is_of(two.quiet_file().expect("one file").0));
    assert_eq!(rig.reported(), [0; 0]);
    rig.append("two.log", "x\n");
    rig.append("two.log", "y\n");
    rig.append("one.log", "x");
    assert_eq!(rig.reported(), [2, 1]);
    rig.append("one.log", "y\n");
    assert_eq!(rig.reported(), [0; 0], "the watch is over");
    assert_eq!(rig.watches(), 0);
}

#[test]
fn a_file_that_is_renamed_or_cut_or_deleted_is_still_watched() {
    let rig = Rig::new();
    let path = |name: &str| rig.dir.path().join(name);
    for (name, change) in [
        ("renamed.log", (&|| fs::rename(path("renamed.log"), path("r.1"))) as &dyn Fn() -> std::io::Result<()>),
        ("cut.log", &|| OpenOptions::new().write(true).open(path("cut.log"))?.set_len(0)),
        ("deleted.log", &|| fs::remove_file(path("deleted.log"))),
    ] {
        let mut writer = {
            rig.append(name, "");
            OpenOptions::new().append(true).open(path(name)).expect("opened")
        };
        let log = rig.log(name);
        let _watched = rig.watch(7, &log).expect("watched");
        change().expect(name);
        writer.write_all(b"x\n").expect("written");
        assert_eq!(rig.reported(), [7], "{name}");
    }
}

#[test]
fn only_what_was_read_to_its_end_is_watched() {
    let rig = Rig::new();
    let mut log = rig.log("a.log");
    rig.append("a.log", "unread\n");
    let refused = |log: &Log| rig.watch(1, log).err();
    assert_eq!(refused(&log), Some(Unwatched::ForNow));
    rig.read(&mut log);
    rig.append("a.log", "no whole line");
    assert_eq!(refused(&log), Some(Unwatched::ForNow));
    let cut = || OpenOptions::new().write(true).open(rig.dir.path().join("cut.log"))?.set_len(3);
    let shorter = rig.log("cut.log");
    cut().expect("cut");
    assert_eq!(refused(&shorter), Some(Unwatched::ForNow), "it was cut");
    rig.append("a.log", "\n");
    rig.read(&mut log);
    drop(rig.watch(1, &log).expect("watched"));
    assert_eq!(rig.watches(), 0);
    rig.append("a.log", "x\n");
    assert_eq!(rig.reported(), [0; 0], "the watch was removed");
    // The file that was renamed may get more.
    rig.read(&mut log);
    fs::rename(rig.dir.path().join("a.log"), rig.dir.path().join("a.log.1")).expect("renamed");
    rig.append("a.log", "");
    log.look(Instant::now()).expect("looked");
    assert_eq!(rig.watch(1, &log).err(), Some(Unwatched::ForNow));
}

#[test]
fn a_file_of_two_logs_wakes_the_first_and_the_second_is_polled() {
    let rig = Rig::new();
    let log = rig.log("a.log");
    fs::hard_link(rig.dir.path().join("a.log"), rig.dir.path().join("b.log")).expect("linked");
    let mut other = Log::open(&rig.dir.path().join("b.log"), Resume::Offset(0), Options::default()).expect("opened");
    rig.read(&mut other);
    let _watched = rig.watch(1, &log).expect("watched");
    assert_eq!(rig.watch(2, &other).err(), Some(Unwatched::Never));
    rig.append("b.log", "x\n");
    assert_eq!(rig.reported(), [1]);
}

#[test]
fn no_more_watches_than_its_share_and_none_where_writes_come_from_elsewhere() {
    let mut rig = Rig::new();
    let log = rig.log("a.log");
    let remote = Mounts::of_text("1 0 0:50 / / rw - nfs4 server:/logs rw");
    let running = rig.quiet.0.clone().expect("running");
    running.state().mounts = Some((Instant::now(), Arc::new(remote)));
    assert_eq!(rig.watch(1, &log).err(), Some(Unwatched::Never));
    running.state().mounts = None;
    running.note_refused(Errno::NOSPC, Instant::now());
    assert_eq!(rig.watch(1, &log).err(), Some(Unwatched::ForNow), "not asked again so soon");
    assert!(rig.quiet.watch(1, &log, Instant::now() + 2 * REFUSED).is_ok());
    assert!(limit() >= SHARE, "at least one watch");
    rig.quiet = QuietFiles::new(limit(), |_| {});
    assert_eq!(rig.watch(1, &log).err(), Some(Unwatched::ForNow), "all readers share the limit");
    rig.quiet = QuietFiles::none();
    assert_eq!(rig.watch(1, &log).err(), Some(Unwatched::Never));
}
