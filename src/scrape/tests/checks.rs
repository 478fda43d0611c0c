//! Changes of directories that no event told of.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::rig::{Dir, ManagerRig};
use crate::model::Clock;
use crate::scrape::messages::{Command, Event};
use crate::scrape::watch::Heard;
use crate::tail::{Events, Mounts};

/// A change, and the files that are new after it.
type Case = (&'static str, fn(&Dir), &'static [&'static str]);

impl ManagerRig {
    /// Its directories have not changed for an hour, as far as the target manager knows.
    fn of_old_directories(dir: Dir, glob: &str) -> Self {
        let rig = Self::with_target(dir, glob);
        let later = SystemTime::now() + Duration::from_secs(3600);
        let nanos = later.duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as i64;
        rig.target_manager.hold().clock = Clock::standing(nanos);
        rig
    }

    /// Does something. Returns the number of walks, and the files that were new.
    fn after(&mut self, act: impl FnOnce(&mut Self)) -> (usize, Vec<PathBuf>) {
        let before = self.target_manager.hold().walked;
        act(self);
        let added = self.commands.take().into_iter().filter_map(|command| match command {
            Command::Add(assignment) => {
                Some(assignment.path.strip_prefix(self.dir.0.path()).expect("inside").to_path_buf())
            }
            _ => None,
        });
        (self.target_manager.hold().walked - before, added.collect())
    }

    fn check(&mut self) -> (usize, Vec<PathBuf>) {
        self.after(|rig| rig.target_manager.hold().check_all())
    }
}

/// Waits until a change of `dir` gets another time than its last one.
fn await_tick(dir: &Path) {
    let time = |path: &Path| fs::metadata(path).map(|meta| (meta.ctime(), meta.ctime_nsec())).expect("there");
    let last = time(dir);
    let probe = tempfile::NamedTempFile::new_in(dir.parent().expect("a parent")).expect("a file");
    while time(probe.path()) <= last {
        probe.as_file().set_modified(SystemTime::now()).expect("set");
    }
}

#[test]
fn a_check_finds_what_no_event_told_of_and_lists_nothing_else() {
    let cases: [Case; 8] = [
        ("a file", |dir| dir.append("a/2.log", "x\n"), &["a/2.log"]),
        ("a file that matches not", |dir| dir.append("a/2.txt", "x\n"), &[]),
        (
            "a directory",
            |dir| {
                fs::create_dir(dir.path("c")).expect("made");
                dir.append("c/1.log", "x\n");
            },
            &["c/1.log"],
        ),
        ("a renamed file", |dir| fs::rename(dir.path("a/1.txt"), dir.path("a/3.log")).expect("renamed"), &["a/3.log"]),
        (
            "a directory that was made again",
            |dir| {
                fs::rename(dir.path("b"), dir.path("old")).expect("renamed");
                fs::create_dir(dir.path("b")).expect("made");
                dir.append("b/2.log", "x\n");
            },
            &["b/2.log"],
        ),
        (
            "a moved link",
            |dir| {
                symlink("v2", dir.path("new")).expect("linked");
                fs::rename(dir.path("new"), dir.path("z")).expect("moved");
            },
            &["z/2.log"],
        ),
        ("a file behind a link", |dir| fs::write(dir.path("v1/4.log"), "x\n").expect("written"), &["z/4.log"]),
        ("a link to a file", |dir| symlink("1.txt", dir.path("a/5.log")).expect("linked"), &["a/5.log"]),
    ];
    for (what, change, new) in cases {
        let dir = Dir::new();
        for (name, file) in [("a", "1.log"), ("a", "1.txt"), ("b", "1.log"), ("v1", "1.log"), ("v2", "2.log")] {
            fs::create_dir_all(dir.path(name)).expect("made");
            fs::write(dir.path(name).join(file), "x\n").expect("written");
        }
        symlink("v1", dir.path("z")).expect("linked");
        let is_local = Mounts::now().events_of(dir.0.path()) == Events::All;
        let mut rig = ManagerRig::of_old_directories(dir, "?/*.log");
        assert_eq!(rig.after(|rig| rig.target_manager.hold().step()).1.len(), 3, "{what}");
        // Without events from the kernel each walk is needed.
        assert_eq!(rig.check(), (usize::from(!is_local), vec![]), "{what}: nothing changed");
        for directory in ["a", "b", ".", "v1"] {
            await_tick(&fs::canonicalize(rig.dir.path(directory)).expect("there"));
        }
        change(&rig.dir);
        let new: Vec<PathBuf> = new.iter().map(PathBuf::from).collect();
        assert_eq!(rig.check(), (1, new), "{what}");
        assert_eq!(rig.check(), (usize::from(!is_local), vec![]), "{what}: it is known");
    }
}

#[test]
fn what_is_lost_with_the_queue_of_events_or_leads_elsewhere_is_walked_all_the_same() {
    let dir = Dir::new();
    fs::create_dir(dir.path("logs")).expect("made");
    dir.append("logs/1.log", "x\n");
    symlink("../elsewhere", dir.path("logs/2.log")).expect("linked");
    let mut rig = ManagerRig::of_old_directories(dir, "logs/*.log");
    let step = |rig: &mut ManagerRig| rig.after(|rig| rig.target_manager.hold().step());
    assert_eq!(step(&mut rig).1, [PathBuf::from("logs/1.log")]);
    // The directory of the link does not tell whether its target exists.
    rig.dir.append("elsewhere", "x\n");
    assert_eq!(rig.check().0, 1);
    fs::remove_file(rig.dir.path("logs/2.log")).expect("removed");
    rig.check();
    rig.events.send(Event::Heard(Heard::Everything));
    assert_eq!(step(&mut rig), (1, vec![]));
}
