//! Logs whose names look like older generations of a log beside them.

use std::cell::Cell;

use super::rig::Stored;
use super::*;

#[test]
fn what_grows_beside_a_log_is_a_log_of_its_own() {
    let dir = Dir::new();
    dir.append("app.log", "a 1\n");
    let mut rig = dir.scrape("app.log*", "[]");
    rig.until_lines(&["a 1"]);
    let created = |name: &str| fs::metadata(dir.path(name)).and_then(|meta| meta.created()).expect("a time");
    // Of another program, which began later.
    loop {
        dir.append("app.log.1", "b\n");
        if created("app.log.1") > created("app.log") {
            break;
        }
        fs::remove_file(dir.path("app.log.1")).expect("removed");
    }
    let written = Cell::new(1);
    let goes_on = |stored: &[Stored]| {
        let is_read = stored.iter().any(|s| s.line == "b");
        if !is_read {
            dir.append("app.log.1", "b\n");
            written.set(written.get() + 1);
        }
        is_read
    };
    rig.until(goes_on);
    dir.append("app.log", "a 2\n");
    rig.until(|stored| stored.len() == written.get() + 2);
    rig.stop();
    // Another agent knows that it is one.
    dir.append("app.log.1", "last\n");
    let mut rig = dir.scrape("app.log*", "[]");
    rig.until_lines(&["last"]);
    assert_eq!(rig.stop().len(), 1, "nothing is read twice");
}
