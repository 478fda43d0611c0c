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

/// The owner of a file can give it any time. (On disks, the times have a smaller range than in memory.)
#[test]
fn a_file_may_have_the_last_time_that_there_is() {
    let Ok(dir) = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()) else { return };
    let dir = Dir(dir);
    dir.append("app.log", "a 1\n");
    let mut rig = dir.scrape("app.log*", "[]");
    rig.until_lines(&["a 1"]);
    dir.append("app.log.1", "b\n");
    let far = i64::MAX as u64;
    let last = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(far);
    let file = fs::File::options().write(true).open(dir.path("app.log.1")).expect("opened");
    file.set_modified(last).expect("set");
    for n in 2..6 {
        dir.append("app.log", format!("a {n}\n"));
        rig.until(|stored| stored.iter().any(|one| one.line == format!("a {n}")));
        file.set_modified(last).expect("set");
        fs::rename(dir.path("app.log"), dir.path(&format!("app.log.{n}"))).expect("renamed");
        let of = fs::File::options().write(true).open(dir.path(&format!("app.log.{n}"))).expect("opened");
        of.set_modified(last).expect("set");
    }
    rig.stop();
}
