//! Where reading begins after an agent that Loki had not answered yet.

use super::rig::Dir;
use std::time::Duration;

#[test]
fn a_log_that_was_rotated_before_loki_answered_for_the_first_time_is_read_from_its_old_file() {
    for (old, rotations) in [("a.log.1", 1), ("a.log.2", 2)] {
        let d = Dir::new();
        d.append("a.log", "1\n");
        let mut rig = d.scrape("a.log", "[]");
        rig.answer = false;
        rig.until_lines(&["1"]);
        drop(rig.stop());
        std::fs::rename(d.path("a.log"), d.path(old)).expect("renamed");
        if rotations == 2 {
            d.append("a.log.1", "between\n");
        }
        d.append("a.log", "2\n");
        // The agent was away for longer than it gives the benefit of the doubt.
        let long_ago = std::time::SystemTime::now() - Duration::from_secs(600);
        for name in [old, "a.log.1"] {
            let file = std::fs::File::options().append(true).open(d.path(name)).expect("opened");
            file.set_modified(long_ago).expect("dated");
        }
        let mut rig = d.scrape("a.log", "[]");
        match rotations {
            1 => rig.until_lines(&["1", "2"]),
            _ => rig.until_lines(&["1", "between", "2"]),
        }
    }
}
