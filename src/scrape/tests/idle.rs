//! Logs whose files are closed, because nothing was written to them for long.

use super::*;

/// How many files below this directory are open. Other tests of this process have other directories.
fn open_files(dir: &Dir) -> usize {
    let below = dir.path("logs");
    let links =
        fs::read_dir("/proc/self/fd").expect("a directory").filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links.filter(|path| path.starts_with(&below)).count()
}

fn start(dir: &Dir) -> Rig {
    dir.scrape_with("logs/*.log", "[]", |config| config.close_idle_after = Duration::from_millis(1))
}

#[test]
fn quiet_files_need_no_descriptors_and_are_opened_when_they_change() {
    let dir = Dir::new();
    let name = |n: usize| format!("logs/{n:03}.log");
    for n in 0..300 {
        dir.append(&name(n), format!("first {n:03}\n"));
    }
    let mut rig = start(&dir);
    rig.until(|stored| stored.len() == 300 && open_files(&dir) == 0);
    dir.append(&name(0), "grown\n");
    dir.append(&name(1), "rotated\n");
    fs::rename(dir.path(&name(1)), dir.path("logs/001.log.1")).expect("renamed");
    dir.append(&name(1), "live\n");
    dir.append(&name(2), "copied\n");
    fs::copy(dir.path(&name(2)), dir.path("logs/002.log.1")).expect("copied");
    fs::File::create(dir.path(&name(2))).expect("cut");
    fs::remove_file(dir.path(&name(3))).expect("removed");
    rig.until(|stored| stored.len() == 304);
    let mut new: Vec<&str> = rig.lines().split_off(300);
    new.sort_unstable();
    assert_eq!(new, ["copied", "grown", "live", "rotated"]);
    dir.append(&name(3), "made again\n");
    rig.until(|stored| stored.len() == 305 && open_files(&dir) == 0);
    rig.stop();
}

#[test]
fn nothing_is_closed_that_loki_has_not_acknowledged() {
    let dir = Dir::new();
    dir.append("logs/a.log", "one\n");
    let mut rig = start(&dir);
    rig.answer = false;
    rig.until(|stored| stored.len() == 1);
    fs::remove_file(dir.path("logs/a.log")).expect("removed");
    assert_eq!(open_files(&dir), 1);
    rig.answer();
    rig.until(|_| open_files(&dir) == 0);
    rig.stop();
}

#[test]
fn the_next_start_goes_on_where_a_closed_log_ended() {
    let dir = Dir::new();
    dir.append("logs/a.log", "one\n");
    let mut rig = start(&dir);
    rig.until(|stored| stored.len() == 1 && open_files(&dir) == 0);
    dir.append("logs/a.log", "two\n");
    rig.until_lines(&["one", "two"]);
    rig.until(|_| open_files(&dir) == 0);
    rig.stop();
    dir.append("logs/a.log", "three\n");
    let mut rig = start(&dir);
    rig.until_lines(&["three"]);
    rig.stop();
}
