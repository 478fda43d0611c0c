//! Files that are gone before they were read to their end: how much is lost is known, and said only if something is.

use super::*;

fn lines(from: usize, to: usize) -> String {
    (from..to).map(|n| format!("line {n} of a log that is long enough\n")).collect()
}

/// Time passes, and Loki answers nothing.
fn wait(scene: &mut Scene, seconds: usize) {
    for _ in 0..seconds * 10 {
        scene.reader.hold().turn();
        scene.clock.advance(Duration::from_millis(100));
    }
}

#[test]
fn of_a_file_that_is_gone_at_the_start_the_bytes_are_counted_that_were_not_read() {
    for is_answered in [true, false] {
        let mut scene = Scene::new(Duration::ZERO);
        scene.dir.append("a.log", lines(0, 100));
        scene.add("a.log");
        assert_eq!(scene.lines(2 * SECOND).len(), 100);
        // More than is sent before Loki answers.
        scene.dir.append("a.log", lines(100, 5_000));
        match is_answered {
            true => assert_eq!(scene.lines(10 * SECOND).len(), 4_900),
            false => {
                wait(&mut scene, 3);
                scene.dir.append("a.log", lines(5_000, 20_000));
                wait(&mut scene, 5);
            }
        }
        // The agent is killed.
        let Scene { dir, clock, .. } = scene;
        let size = fs::metadata(dir.path("a.log")).expect("it is there").len();
        fs::remove_file(dir.path("a.log")).expect("removed");
        dir.append("a.log", "new\n");
        let positions = dir.positions();
        let mut scene =
            Scene::start(dir, clock, positions, Duration::ZERO, OpenLogs::default(), |_| QuietFiles::none());
        scene.add("a.log");
        assert_eq!(scene.lines(2 * SECOND), ["new"]);
        let lost: Vec<_> = scene.status.files().iter().flat_map(|file| file.ledger.account().lost).collect();
        let committed = lines(0, 100).len() as u64;
        match is_answered {
            true => assert!(lost.is_empty(), "it was read to its end: {lost:?}"),
            false => assert_eq!(lost, [("rotated_away", size - committed)]),
        }
    }
}
