//! Programs that go on in the old file after a rotation, with restarts of the agent.

use super::rig::{Dir, Rig, Stored};

fn sorted(stored: &[Stored]) -> Vec<&str> {
    let mut lines: Vec<&str> = stored.iter().map(|entry| entry.line.as_str()).collect();
    lines.sort_unstable();
    lines
}

fn alternate(d: &Dir, rig: &mut Rig, old: &str, lines: std::ops::Range<usize>) {
    for n in lines {
        d.append(old, format!("late {n}\n"));
        d.append("app.log", format!("new {n}\n"));
        let both = [format!("late {n}"), format!("new {n}")];
        rig.until(|stored| both.iter().all(|line| stored.iter().any(|entry| entry.line == *line)));
    }
}

/// The name of the old file: one that is known as a rotation, and one that the glob takes for a log of its own.
const NAMES: [&str; 2] = ["app.log.1", "app-2026-11-26T10-00-00.000.log"];

#[test]
fn lines_in_the_old_file_come_once_also_if_the_glob_matches_it_and_the_agent_starts_again() {
    for old in NAMES {
        let d = Dir::new();
        d.append("app.log", "first\n");
        let mut rig = d.scrape("app*", "[]");
        rig.until_lines(&["first"]);
        std::fs::rename(d.path("app.log"), d.path(old)).expect("renamed");
        alternate(&d, &mut rig, old, 0..5);
        let stored = rig.rest();
        let before: Vec<String> = (0..5).flat_map(|n| [format!("late {n}"), format!("new {n}")]).collect();
        let mut before: Vec<&str> = before.iter().map(String::as_str).chain(["first"]).collect();
        before.sort_unstable();
        assert_eq!(sorted(&stored), before, "{old}");
        // Both write on while no agent runs, and while the next one does.
        d.append(old, "late 5\n");
        d.append("app.log", "new 5\n");
        let mut rig = d.scrape("app*", "[]");
        rig.until(|stored| stored.len() >= 2);
        alternate(&d, &mut rig, old, 6..8);
        let stored = rig.rest();
        assert_eq!(sorted(&stored), ["late 5", "late 6", "late 7", "new 5", "new 6", "new 7"], "{old}");
    }
}
