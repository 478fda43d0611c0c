//! The journal when a sync cannot complete.

use super::*;

/// The yaml cannot be replaced, for instance because it is a mount: all temporary names are taken.
fn yaml_that_cannot_be_written(dir: &Path) {
    for n in 0..100 {
        std::fs::create_dir(dir.join(format!("positions.yaml.{}-{n}.tmp", std::process::id()))).expect("made");
    }
}

#[test]
fn a_yaml_that_cannot_be_written_leaves_the_journal_small_and_true() {
    let dir = dir();
    let yaml = dir.path().join("positions.yaml");
    std::fs::write(&yaml, "positions:\n  /a.log: \"7\"\n  /never-tailed.log: \"9\"\n").expect("written");
    yaml_that_cannot_be_written(dir.path());
    {
        let positions = open(dir.path());
        let (slot, saved) = claim(&positions, "/a.log");
        assert_eq!(saved, Some(Saved::Offset(7)));
        for offset in 8..30_000 {
            commit(&positions, slot, offset, true);
            if offset % 10_000 == 0 {
                assert!(positions.sync().is_err(), "it is said");
                let journal = std::fs::metadata(journal::path(&yaml)).expect("there").len();
                assert!(journal < 1 << 20, "{journal} bytes");
            }
        }
    }
    // The yaml is old, not news from Promtail.
    let positions = open(dir.path());
    assert_eq!(claim(&positions, "/a.log").1, Some(Saved::At { position: at(29_999), saved: then() }));
    assert_eq!(claim(&positions, "/never-tailed.log").1, Some(Saved::Offset(9)));
}

#[test]
fn a_journal_that_no_sync_makes_small_makes_itself_small() {
    let dir = dir();
    let positions = open(dir.path());
    let (slot, _) = claim(&positions, "/a.log");
    for offset in 0..60_000 {
        commit(&positions, slot, offset, true);
    }
    let journal = std::fs::metadata(journal::path(&dir.path().join("positions.yaml"))).expect("there").len();
    assert!(journal < 5 << 20, "{journal} bytes");
    assert_eq!(claim(&open(dir.path()), "/a.log").1, Some(Saved::At { position: at(59_999), saved: then() }));
}

#[test]
fn a_journal_of_any_size_is_read() {
    let dir = dir();
    {
        let positions = open(dir.path());
        let (slot, _) = claim(&positions, "/a.log");
        commit(&positions, slot, 10, true);
        let journal = std::fs::File::options().append(true).open(journal::path(&dir.path().join("positions.yaml")));
        let mut journal = journal.expect("opened");
        for _ in 0..70 {
            // An invalid line that is longer than any valid one.
            std::io::Write::write_all(&mut journal, &[b'x'; 1 << 20]).expect("written");
        }
        std::io::Write::write_all(&mut journal, b"\n").expect("written");
        commit(&positions, slot, 20, true);
    }
    let journal = journal::path(&dir.path().join("positions.yaml"));
    assert!(std::fs::metadata(&journal).expect("there").len() > 70 << 20);
    assert_eq!(claim(&open(dir.path()), "/a.log").1, Some(Saved::At { position: at(20), saved: then() }));
    assert!(std::fs::metadata(&journal).expect("there").len() < 1 << 20, "and written anew");
}

#[test]
fn what_was_taken_over_from_promtail_is_not_taken_over_again_by_who_is_killed_before_a_sync() {
    let dir = dir();
    let yaml = dir.path().join("positions.yaml");
    std::fs::write(&yaml, "positions:\n  /a.log: \"7\"\n  /b.log: \"9\"\n").expect("written");
    {
        let positions = open(dir.path());
        let (slot, saved) = claim(&positions, "/a.log");
        assert_eq!(saved, Some(Saved::Offset(7)));
        commit(&positions, slot, 20, true);
    }
    let positions = open(dir.path());
    assert_eq!(claim(&positions, "/a.log").1, Some(Saved::At { position: at(20), saved: then() }));
    assert_eq!(claim(&positions, "/b.log").1, Some(Saved::Offset(9)), "nobody knows better yet");
}

#[test]
fn our_own_yaml_is_known_whenever_a_kill_comes_and_another_is_promtails() {
    let dir = dir();
    let yaml = dir.path().join("positions.yaml");
    let journal = journal::path(&yaml);
    std::fs::write(dir.path().join("a.log"), "x".repeat(100)).expect("written");
    let log = dir.path().join("a.log").display().to_string();
    // Each sync is killed after the journal says what is to come, and before or after the yaml is there.
    for (killed_before, offset) in [(false, 10), (true, 20), (true, 30), (false, 40)] {
        let positions = open(dir.path());
        let (slot, _) = claim(&positions, &log);
        commit(&positions, slot, offset, true);
        let old = std::fs::read(&yaml).ok();
        positions.sync().expect("written");
        let (slot, says) = (slot, std::fs::read_to_string(&journal).expect("there"));
        commit(&positions, slot, offset + 5, true);
        let later = std::fs::read_to_string(&journal).expect("there")[says.len()..].to_string();
        drop(positions);
        // An entry that is delivered right after the rename is in the journal. Nothing else was written by then.
        let announced = says.rfind("\ny ").map(|at| at + 1 + says[at + 1..].find('\n').expect("a line") + 1);
        std::fs::write(&journal, says[..announced.expect("it is announced")].to_string() + &later).expect("written");
        if killed_before && let Some(old) = old {
            std::fs::write(&yaml, old).expect("written");
        }
        let saved = claim(&open(dir.path()), &log).1;
        assert_eq!(saved, Some(Saved::At { position: at(offset + 5), saved: then() }), "at {offset}");
    }
    // Whoever else writes it knows better.
    std::fs::write(&yaml, format!("positions:\n  {log}: \"77\"\n")).expect("written");
    assert_eq!(claim(&open(dir.path()), &log).1, Some(Saved::Offset(77)));
}
