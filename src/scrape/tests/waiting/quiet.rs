//! Files that are watched instead of polled.

use std::sync::mpsc::{Receiver, channel};

use super::*;
use crate::tail::{Events, Mounts};

/// A scene with events, and the logs that they were about.
fn scene() -> (Scene, Receiver<u64>) {
    let (sender, written) = channel();
    let watch = |commands: Arc<Commands>| {
        QuietFiles::new(1, move |log| {
            commands.send(Command::Written(log));
            let _ = sender.send(log);
        })
    };
    let dir = local_dir();
    let positions = dir.positions();
    (Scene::start(dir, Clock::standing(1), positions, Duration::ZERO, OpenLogs::default(), watch), written)
}

/// Inside of a container, the usual directory may be on an overlay, whose events are not relied on.
fn local_dir() -> Dir {
    let dir = Dir::new();
    let is_local = Mounts::now().events_of(dir.0.path()) == Events::All;
    if is_local { dir } else { Dir(tempfile::tempdir_in("/dev/shm").expect("a directory")) }
}

/// Far longer than an event needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Far shorter than the time between two polls of a watched file.
const AT_ONCE: Duration = Duration::from_millis(200);

#[test]
fn a_line_in_a_file_that_was_quiet_for_hours_is_read_at_once() {
    let (mut scene, written) = scene();
    scene.dir.append("a.log", "one\n");
    scene.add("a.log");
    assert_eq!(scene.lines(3 * SECOND), ["one"]);
    for (n, quiet) in [60, 3, 1800].into_iter().enumerate() {
        assert_eq!(scene.lines(quiet * SECOND), [""; 0]);
        // The writer writes the start of the line first. The rest comes without an event.
        scene.dir.append("a.log", format!("line {n}"));
        assert_eq!(written.recv_timeout(PATIENCE), Ok(1));
        assert_eq!(scene.lines(AT_ONCE), [""; 0]);
        scene.dir.append("a.log", "\n");
        assert_eq!(scene.lines(SECOND), [format!("line {n}")]);
    }
    assert!(written.try_recv().is_err());
}

#[test]
fn without_an_event_a_watched_file_is_polled_now_and_then() {
    let mut scene = Scene::new(Duration::ZERO);
    scene.dir.append("a.log", "one\n");
    scene.add("a.log");
    assert_eq!(scene.lines(120 * SECOND), ["one"]);
    scene.dir.append("a.log", "two\n");
    assert_eq!(scene.lines(5 * SECOND), ["two"], "files without a watch are polled every five seconds");
    // An event that gets lost.
    let lost = |_: Arc<Commands>| QuietFiles::new(1, |_| {});
    let dir = local_dir();
    let positions = dir.positions();
    let mut scene = Scene::start(dir, Clock::standing(1), positions, Duration::ZERO, OpenLogs::default(), lost);
    scene.dir.append("a.log", "one\n");
    scene.add("a.log");
    assert_eq!(scene.lines(120 * SECOND), ["one"]);
    scene.dir.append("a.log", "two\n");
    assert_eq!(scene.lines(31 * SECOND), ["two"]);
}

#[test]
fn a_log_without_a_target_is_not_watched_and_one_that_gets_its_target_back_is() {
    let (mut scene, written) = scene();
    scene.dir.append("a.log", "one\n");
    scene.add("a.log");
    assert_eq!(scene.lines(60 * SECOND), ["one"]);
    scene.commands.send(Command::Retire(1));
    assert_eq!(scene.lines(6 * SECOND), [""; 0]);
    scene.dir.append("a.log", "two\n");
    assert_eq!(scene.lines(6 * SECOND), ["two"], "it is polled");
    scene.commands.send(Command::Relabel(1, scene.target.clone()));
    assert_eq!(scene.lines(60 * SECOND), [""; 0]);
    scene.dir.append("a.log", "three\n");
    assert_eq!(written.recv_timeout(PATIENCE), Ok(1));
    assert_eq!(scene.lines(AT_ONCE), ["three"]);
}
