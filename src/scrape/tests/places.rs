//! Links to directories, and directories with two names, as the target manager sees them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::rig::{Dir, ManagerRig};
use crate::model::{Labels, Report, TargetGroup, Update};
use crate::scrape::messages::{Command, Event};
use crate::scrape::watch::Heard;

impl ManagerRig {
    pub(super) fn with_target(dir: Dir, glob: &str) -> Self {
        let scene = Self::new(dir);
        let target = Labels::from([("__path__".into(), scene.dir.path(glob).display().to_string())]);
        let group = TargetGroup::new("static".into(), [target]);
        scene.events.send(Event::Update(Update::Group { job: "job".into(), group }));
        scene
    }

    /// Reports these names, and returns the paths that were added and the logs to be checked.
    fn hear(&mut self, names: &[&str]) -> (Vec<PathBuf>, Vec<u64>) {
        self.events.send(Event::Heard(Heard::Names(names.iter().map(|name| self.dir.path(name)).collect())));
        self.target_manager.hold().step();
        let (mut added, mut looks) = (Vec::new(), Vec::new());
        for command in self.commands.take() {
            match command {
                Command::Add(assignment) => added.push(within(&self.dir, &assignment.path)),
                Command::Look(log) => looks.push(log),
                _ => {}
            }
        }
        (added, looks)
    }
}

fn within(dir: &Dir, path: &Path) -> PathBuf {
    path.strip_prefix(dir.0.path()).expect("inside").into()
}

#[test]
fn a_link_that_is_moved_is_noticed_and_so_is_what_comes_behind_it() {
    let dir = Dir::new();
    dir.append("v1/a.log", "one\n");
    dir.append("v2/a.log", "two\n");
    symlink("v1", dir.path("..data")).expect("linked");
    symlink("..data", dir.path("current")).expect("linked");
    let mut scene = ManagerRig::with_target(dir, "current/*.log");
    assert_eq!(scene.hear(&[]), (vec!["current/a.log".into()], vec![]));
    scene.dir.append("v1/b.log", "one\n");
    assert_eq!(scene.hear(&["v1/b.log"]).0, [PathBuf::from("current/b.log")], "by its real path");
    assert!(!scene.hear(&["v1/a.log.1"]).1.is_empty(), "a rotation shows in the real directory");
    symlink("v2", scene.dir.path("new")).expect("linked");
    fs::rename(scene.dir.path("new"), scene.dir.path("..data")).expect("moved");
    let (added, looks) = scene.hear(&["..data"]);
    assert_eq!((added, looks.len()), (vec![], 1), "the log that is there as well is checked");
    scene.dir.append("v2/c.log", "two\n");
    assert_eq!(scene.hear(&["v2/c.log"]).0, [PathBuf::from("current/c.log")]);
    assert!(scene.hear(&["v1/d.log"]).0.is_empty(), "the old directory is none of its own any more");
}

#[test]
fn a_directory_that_was_renamed_and_made_again_is_another() {
    let dir = Dir::new();
    dir.append("app/a.log", "one\n");
    let mut scene = ManagerRig::with_target(dir, "app/*.log");
    scene.hear(&[]);
    fs::rename(scene.dir.path("app"), scene.dir.path("app.old")).expect("renamed");
    scene.dir.append("app/a.log", "two\n");
    assert_eq!(scene.hear(&["app"]).1.len(), 1);
    assert_eq!(scene.hear(&["app"]).1, [0; 0], "once");
}

#[test]
fn a_file_of_two_paths_is_read_once_under_the_path_without_links_and_the_other_says_so() {
    let dir = Dir::new();
    dir.append("x/a.log", "one\n");
    symlink("x", dir.path("a-link")).expect("linked");
    let mut scene = ManagerRig::with_target(dir, "*/*.log");
    assert_eq!(scene.hear(&[]).0, [PathBuf::from("x/a.log")]);
    let not_read: Vec<_> = scene.status.targets().into_iter().flat_map(|target| target.not_read).collect();
    assert_eq!(not_read.len(), 1);
    assert!(not_read[0].path.ends_with("a-link/a.log") && not_read[0].reason.contains("x/a.log"), "{not_read:?}");
}
