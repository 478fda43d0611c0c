//! Positions are shown and changed while no agent runs.

use super::*;

fn edit(dir: &Path) -> Positions {
    Positions::open_to_edit(config(dir)).expect("opened")
}

fn with_two(dir: &Path) {
    let positions = open(dir);
    for (path, offset) in [("/a.log", 10), ("/b.log", 20)] {
        let (slot, _) = claim(&positions, path);
        commit(&positions, slot, offset, true);
    }
    positions.save(&Vanished::default()).expect("written");
}

#[test]
fn a_reset_forgets_one_log() {
    let dir = dir();
    with_two(dir.path());
    let positions = edit(dir.path());
    assert_eq!(positions.reset("/c.log"), 0);
    assert_eq!(positions.reset("/a.log"), 1);
    positions.persist().expect("written");
    let listed: Vec<_> = edit(dir.path()).list().into_iter().map(|listed| (listed.log, listed.at)).collect();
    assert_eq!(listed, [("/b.log".to_string(), "20".to_string())]);
    let again = open(dir.path());
    assert_eq!(claim(&again, "/a.log").1, None);
    assert_eq!(claim(&again, "/b.log").1, Some(Saved::At { position: at(20), saved: then() }));
}

#[test]
fn a_moved_position_replaces_the_one_at_its_new_name() {
    let dir = dir();
    with_two(dir.path());
    let positions = edit(dir.path());
    assert_eq!(positions.rename("/a.log", "/b.log"), 1);
    positions.persist().expect("written");
    let again = open(dir.path());
    assert_eq!(claim(&again, "/a.log").1, None);
    assert_eq!(claim(&again, "/b.log").1, Some(Saved::At { position: at(10), saved: then() }));
}

#[test]
fn promtails_positions_are_listed_reset_and_moved() {
    let dir = dir();
    let yaml = dir.path().join("positions.yaml");
    std::fs::write(&yaml, "positions:\n  /a.log: \"1\"\n  /b.log: \"2\"\n  cursor-j: s=1\n").expect("written");
    let positions = edit(dir.path());
    assert!(positions.list().iter().all(|listed| listed.reader.is_none()));
    assert_eq!(
        (positions.reset("/a.log"), positions.rename("/b.log", "/c.log"), positions.reset("cursor-j")),
        (1, 1, 1)
    );
    positions.persist().expect("written");
    assert_eq!(std::fs::read_to_string(&yaml).expect("read"), "positions:\n  /c.log: \"2\"\n");
    assert_eq!(claim(&open(dir.path()), "/c.log").1, Some(Saved::Offset(2)));
}

/// Otherwise files that were rotated between the end of the agent and the change would count as old, and would not be read.
#[test]
fn a_change_does_not_count_as_looking_for_logs() {
    let dir = dir();
    with_two(dir.path());
    let unseen = edit(dir.path()).unseen();
    let positions = edit(dir.path());
    positions.reset("/a.log");
    positions.persist().expect("written");
    drop(positions);
    assert!(edit(dir.path()).unseen() <= unseen);
}
