//! The scrape threads on real files.

mod begins;
mod bounds;
mod checks;
mod churn;
mod containers;
mod farewell;
mod found;
mod hanging;
mod idle;
mod journal;
mod late;
mod model;
mod neighbours;
mod owners;
mod places;
mod resend;
mod rig;
mod series;
mod sources;
mod start_at;
mod waiting;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::model::Report;
use crate::positions::{self, Positions};
use rig::{Dir, Rig, tell};

#[test]
fn files_of_a_glob_and_those_that_come_later() {
    let dir = Dir::new();
    dir.append("logs/a.log", "one\n");
    let mut rig = dir.scrape("logs/**/*.log", "[]");
    rig.until_lines(&["one"]);
    assert_eq!(rig.stored[0].labels, format!("{{app=\"a\", filename={:?}}}", dir.path("logs/a.log")));
    dir.append("logs/new/dir/b.log", "two\n");
    rig.until_lines(&["one", "two"]);
    dir.append("logs/a.log", "three\n");
    rig.until_lines(&["one", "two", "three"]);
    dir.append("logs/other.txt", "not this\n");
    assert_eq!(rig.stop().len(), 3);
}

#[test]
fn a_directory_that_is_not_there_yet() {
    let dir = Dir::new();
    let mut rig = dir.scrape("pods/*uid/app/*.log", "[]");
    dir.append("pods/ns_pod_other/app/0.log", "not this\n");
    dir.append("pods/ns_pod_uid/app/0.log", "this\n");
    rig.until_lines(&["this"]);
    rig.stop();
}

#[test]
fn rotation_keeps_order_and_loses_nothing() {
    let dir = Dir::new();
    dir.append("a.log", "begin\n");
    let mut rig = dir.scrape("*.log", "[]");
    rig.until_lines(&["begin"]);
    let mut want = vec!["begin".to_string()];
    for generation in 0..6 {
        for n in 0..200 {
            let line = format!("{generation}.{n}");
            dir.append("a.log", format!("{line}\n"));
            want.push(line);
        }
        fs::rename(dir.path("a.log"), dir.path(&format!("a.log.2026112210{generation:04}"))).expect("renamed");
    }
    dir.append("a.log", "end\n");
    want.push("end".into());
    rig.until(|stored| stored.last().is_some_and(|s| s.line == "end"));
    assert_eq!(rig.lines(), want);
    rig.stop();
}

#[test]
fn a_file_deleted_while_loki_is_away_is_delivered_when_it_is_back() {
    let dir = Dir::new();
    dir.number("a.log", 0, 3_000);
    let mut rig = dir.scrape("*.log", "[]");
    rig.answer = false;
    rig.until(|stored| !stored.is_empty());
    let sent = rig.stored.len();
    assert!(sent < 1_000, "no more than the replay window is on its way, not {sent} lines");
    fs::remove_file(dir.path("a.log")).expect("removed");
    rig.answer();
    rig.until(|stored| stored.len() >= 3_000);
    let numbers: Vec<String> = (0..3_000).map(|n| format!("line {n} ")).collect();
    assert!(rig.lines().iter().zip(&numbers).all(|(line, number)| line.starts_with(number)));
    rig.stop();
}

#[test]
fn what_was_not_acknowledged_is_sent_again_and_what_was_is_not() {
    let dir = Dir::new();
    dir.append("a.log", "2026-11-22T10:00:00.1Z stdout F one\n");
    let mut rig = dir.scrape("*.log", "[{cri: {}}]");
    rig.until_lines(&["one"]);
    rig.answer = false;
    dir.append("a.log", "2026-11-22T10:00:00.2Z stdout F two\n");
    rig.until_lines(&["one", "two"]);
    let first = rig.stop();

    // Rotated twice before the agent looked.
    fs::rename(dir.path("a.log"), dir.path("a.log.20261122-100000")).expect("renamed");
    dir.append("a.log", "2026-11-22T10:00:00.3Z stdout F three\n");
    let mut rig = dir.scrape("*.log", "[{cri: {}}]");
    rig.until_lines(&["two", "three"]);
    assert_eq!(rig.stored[0], first[1], "what is sent again is the same to the last bit");
    rig.stop();
    assert_eq!(dir.scrape("*.log", "[{cri: {}}]").rest(), []);
}

#[test]
fn the_parts_of_a_line_are_joined_across_a_rotation() {
    let dir = Dir::new();
    dir.append("0.log", "2026-11-22T10:00:00.1Z stdout P one \n");
    let mut rig = dir.scrape("*.log", "[{cri: {}}]");
    dir.append("0.log", "2026-11-22T10:00:00.2Z stderr F other\n");
    rig.until_lines(&["other"]);
    fs::rename(dir.path("0.log"), dir.path("0.log.20261122-100000")).expect("renamed");
    dir.append("0.log", "2026-11-22T10:00:00.3Z stdout F line\n");
    rig.until_lines(&["other", "one line"]);
    rig.stop();
    assert_eq!(dir.scrape("*.log", "[{cri: {}}]").rest(), []);
}

#[test]
fn a_stop_in_the_middle_of_a_joined_line_sends_it_once_and_whole() {
    let dir = Dir::new();
    dir.append("0.log", "2026-11-22T10:00:00.1Z stdout P one \n2026-11-22T10:00:00.2Z stderr F other\n");
    let mut rig = dir.scrape("*.log", "[{cri: {}}]");
    rig.held = 1;
    let stored = rig.rest();
    assert_eq!(stored.iter().map(|s| s.line.as_str()).collect::<Vec<_>>(), ["other"]);
    dir.append("0.log", "2026-11-22T10:00:00.3Z stdout F line\n");
    let again = dir.scrape("*.log", "[{cri: {}}]").rest();
    let mut lines: Vec<&str> = again.iter().map(|s| s.line.as_str()).collect();
    // The line before it could not be committed without the partial line, so it is sent again, unchanged.
    lines.retain(|line| *line != "other");
    assert_eq!(lines, ["one line"]);
}

#[test]
fn odd_bytes_and_lines_cost_nobody_else_anything() {
    let dir = Dir::new();
    dir.append("a.log", b"\xff\xfe bad\nnul \0 inside\n\n");
    dir.append("a.log", [b"x".repeat(3_000_000).as_slice(), b"\n"].concat());
    dir.append("a.log", "2026-11-22T10:00:00Z stdout F\n2026-11 torn\nlast\n");
    let mut rig = dir.scrape("*.log", "[{cri: {}}]");
    rig.until_lines(&[
        "\u{fffd}\u{fffd} bad",
        "nul \0 inside",
        "",
        "2026-11-22T10:00:00Z stdout F",
        "2026-11 torn",
        "last",
    ]);
    rig.stop();
    assert_eq!(dir.scrape("*.log", "[{cri: {}}]").rest(), []);
}

#[test]
fn what_cannot_be_read_is_shown_and_its_neighbours_are_read() {
    let dir = Dir::new();
    fs::create_dir(dir.path("dir.log")).expect("made");
    std::os::unix::fs::symlink("nowhere", dir.path("link.log")).expect("linked");
    let fifo = std::process::Command::new("mkfifo").arg(dir.path("fifo.log")).status().expect("mkfifo");
    assert!(fifo.success());
    dir.append("a.log", "fine\n");
    let mut rig = dir.scrape("*.log", "[]");
    rig.until_lines(&["fine"]);
    // A directory and then a FIFO replace the file that was read.
    fs::remove_file(dir.path("a.log")).expect("removed");
    fs::create_dir(dir.path("a.log")).expect("made");
    dir.append("b.log", "still\n");
    rig.until_lines(&["fine", "still"]);
    fs::remove_dir(dir.path("a.log")).expect("removed");
    fs::rename(dir.path("fifo.log"), dir.path("a.log")).expect("renamed");
    dir.append("c.log", "and on\n");
    rig.until_lines(&["fine", "still", "and on"]);
    rig.stop();
}

#[test]
fn with_positions_that_cannot_be_written_lines_still_arrive() {
    let dir = Dir::new();
    dir.append("logs/a.log", "one\n");
    fs::create_dir(dir.path("positions.yaml")).expect("a directory where the file should be");
    let config = positions::Config {
        filename: Path::new("/proc/none/positions.yaml").into(),
        ignore_invalid_yaml: false,
        read_only: false,
        readers: Default::default(),
    };
    assert!(Positions::open(config).is_ok(), "an absent directory is said when it is written to");
    fs::remove_dir(dir.path("positions.yaml")).expect("removed");
    let mut rig = dir.scrape("logs/*.log", "[]");
    rig.until_lines(&["one"]);
    // From now on the journal cannot be written.
    fs::remove_file(dir.path("positions.yaml.journal")).expect("it is there");
    fs::create_dir(dir.path("positions.yaml.journal")).expect("made");
    dir.append("logs/a.log", "two\n");
    rig.until_lines(&["one", "two"]);
    rig.stop();
}

#[test]
fn new_labels_take_over_where_the_old_ones_were() {
    let dir = Dir::new();
    dir.append("a.log", "one\n");
    let mut rig = dir.scrape("a.log", "[]");
    rig.until_lines(&["one"]);
    let path = dir.path("a.log").to_str().expect("text").to_string();
    let scrape = rig.scrape.as_ref().expect("running");
    tell(scrape, "static", &[&[("app", "b"), ("__path__", &path)]]);
    let changed = || scrape.report().targets().iter().all(|t| t.labels["app"] == "b");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !changed() {
        assert!(Instant::now() < deadline);
        std::thread::park_timeout(Duration::from_millis(2));
    }
    // Commands reach the reader in order. Its next turn has the new labels.
    let reading = || scrape.report().targets().iter().flat_map(|t| t.files.clone()).count() == 1;
    while !reading() {
        assert!(Instant::now() < deadline);
        std::thread::park_timeout(Duration::from_millis(2));
    }
    dir.append("a.log", "two\n");
    rig.until_lines(&["one", "two"]);
    assert!(rig.stored[1].labels.contains("app=\"b\""), "{:?}", rig.stored[1]);
    rig.stop();
}

#[test]
fn a_target_that_goes_is_read_to_its_end() {
    let dir = Dir::new();
    dir.number("a.log", 0, 2_000);
    let mut rig = dir.scrape("*.log", "[]");
    rig.answer = false;
    rig.until(|stored| !stored.is_empty());
    tell(rig.scrape.as_ref().expect("running"), "static", &[]);
    fs::remove_file(dir.path("a.log")).expect("removed");
    rig.answer();
    rig.until(|stored| stored.len() >= 2_000);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !rig.scrape.as_ref().expect("running").report().targets().is_empty() {
        assert!(Instant::now() < deadline, "the file is done and still listed");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    rig.stop();
}

#[test]
fn loki_away_at_the_stop_does_not_hold_it_up() {
    let dir = Dir::new();
    dir.number("a.log", 0, 2_000);
    let mut rig = dir.scrape("*.log", "[]");
    rig.answer = false;
    rig.until(|stored| !stored.is_empty());
    let begun = Instant::now();
    rig.stop();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // Everything is on disk and is sent now.
    assert_eq!(dir.scrape("*.log", "[]").rest().len(), 2_000);
}

#[test]
fn rotated_names_that_match_the_glob_are_generations_not_logs() {
    let dir = Dir::new();
    dir.append("a.log.1", "one\n");
    dir.append("a.log", "two\n");
    dir.append("a.log-other", "three\n");
    let mut rig = dir.scrape("a.log*", "[]");
    rig.until(|stored| stored.len() >= 3);
    let mut lines = rig.lines();
    lines.retain(|line| *line != "three");
    assert_eq!(lines, ["one", "two"]);
    fs::rename(dir.path("a.log.1"), dir.path("a.log.2")).expect("renamed");
    fs::rename(dir.path("a.log"), dir.path("a.log.1")).expect("renamed");
    dir.append("a.log", "four\n");
    rig.until(|stored| stored.len() >= 4);
    assert_eq!(rig.stop().len(), 4, "nothing is read twice");
}

#[test]
fn a_rotated_file_that_stands_alone_for_a_moment_is_not_a_log() {
    let dir = Dir::new();
    dir.append("a.log", "one\n");
    let mut rig = dir.scrape("*.log*", "[]");
    rig.until_lines(&["one"]);
    fs::rename(dir.path("a.log"), dir.path("a.log.1")).expect("renamed");
    // Found only by a walk after the rename.
    dir.append("b.log", "other\n");
    rig.until_lines(&["one", "other"]);
    dir.append("a.log", "two\n");
    rig.until_lines(&["one", "other", "two"]);
    dir.append("c.log", "last\n");
    rig.until(|stored| stored.iter().any(|s| s.line == "last"));
    assert_eq!(rig.stop().len(), 4, "nothing is read twice");
}

#[test]
fn a_log_created_again_while_its_elder_waits_for_loki_is_found() {
    let dir = Dir::new();
    dir.append("a.log", "one\n");
    let mut rig = dir.scrape_with("*.log", "[]", |c| c.sync_period = Duration::from_secs(60));
    rig.answer = false;
    rig.until_lines(&["one"]);
    fs::remove_file(dir.path("a.log")).expect("removed");
    dir.append("b.log", "other\n");
    rig.until_lines(&["one", "other"]);
    dir.append("a.log", "two\n");
    rig.answer();
    rig.until_lines(&["one", "other", "two"]);
    rig.stop();
}

#[test]
fn a_stop_does_not_wait_for_files_that_are_written_to_all_the_time() {
    let dir = Dir::new();
    for n in 0..20 {
        dir.append(&format!("{n}.log"), "begin\n");
    }
    let mut rig = dir.scrape("*.log", "[]");
    rig.until(|stored| stored.len() >= 20);
    let scrape = rig.scrape.take().expect("running");
    let (waker, writing) = (scrape.waker(0), std::sync::atomic::AtomicBool::new(true));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0;
            while writing.load(std::sync::atomic::Ordering::Relaxed) {
                dir.append(&format!("{}.log", n % 20), "more\n");
                n += 1;
                std::thread::park_timeout(Duration::from_millis(2));
            }
        });
        let begun = Instant::now();
        scrape.stop(Duration::from_secs(20));
        for batch in std::iter::from_fn(|| rig.batches.blocking_recv()).flatten() {
            // A slow Loki.
            std::thread::park_timeout(Duration::from_millis(100));
            batch.close();
            waker.wake_by_ref();
        }
        scrape.join();
        writing.store(false, std::sync::atomic::Ordering::Relaxed);
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    });
}

#[test]
fn a_client_whose_loki_is_dead_holds_up_no_other() {
    let dir = Dir::new();
    dir.append("a.log", "one\n");
    let (mut rig, _dead) = dir.scrape_for_two("*.log");
    rig.until_lines(&["one"]);
    fs::remove_file(dir.path("a.log")).expect("removed");
    // The first client has finished the file. The other never will.
    let first_is_done = |rig: &Rig| {
        let files = rig.scrape.as_ref().expect("running").report().targets().into_iter().flat_map(|t| t.files);
        files.filter(|f| f.client == "loki").count() == 0
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while !first_is_done(&rig) {
        assert!(Instant::now() < deadline);
        while let Ok(batches) = rig.batches.try_recv() {
            batches.into_iter().for_each(|batch| rig.take(batch));
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    dir.append("a.log", "two\n");
    rig.until_lines(&["one", "two"]);
    rig.stop();
}

#[test]
fn a_file_renamed_to_a_name_that_the_glob_matches_is_not_read_again() {
    let dir = Dir::new();
    dir.append("app.log", "one\ntwo\n");
    let mut rig = dir.scrape("*.log", "[]");
    rig.until_lines(&["one", "two"]);
    fs::rename(dir.path("app.log"), dir.path("app-2026-11-22.log")).expect("renamed");
    dir.append("app.log", "three\n");
    rig.until_lines(&["one", "two", "three"]);
    // The file is now a separate log, which continues where the other finished.
    let mut is_followed = false;
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_followed {
        assert!(Instant::now() < deadline);
        let files = rig.scrape.as_ref().expect("running").report().targets().into_iter().flat_map(|t| t.files);
        is_followed = files.filter(|f| f.path.ends_with("app-2026-11-22.log") && f.read_offset == 8).count() == 1;
        std::thread::park_timeout(Duration::from_millis(5));
    }
    dir.append("app-2026-11-22.log", "late\n");
    rig.until_lines(&["one", "two", "three", "late"]);
    rig.stop();
    // The same after a restart during which it happened again.
    fs::rename(dir.path("app.log"), dir.path("app-2026-11-23.log")).expect("renamed");
    dir.append("app-2026-11-23.log", "four\n");
    dir.append("app.log", "five\n");
    let stored = dir.scrape("*.log", "[]").rest();
    let mut lines: Vec<&str> = stored.iter().map(|s| s.line.as_str()).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["five", "four"]);
}
