//! Limits on what one log may cost other logs and the node.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::rig::{self, Dir, outlet};
use crate::model::{LabelSet, Report};
use crate::scrape::{Config, Parcel, Receiver};

#[test]
fn deleted_files_hold_so_much_of_the_disk_and_the_rest_is_said_to_be_lost() {
    let dir = Dir::new();
    let mut rig = dir.scrape_with("*.log", "[]", |config| config.deleted_files_limit = 300_000);
    rig.answer = false;
    // The small file is spared.
    dir.number("small.log", 0, 1_000);
    dir.number("large.log", 0, 5_000);
    let written = fs::metadata(dir.path("large.log")).expect("there").len();
    rig.until(|stored| {
        stored.iter().any(|s| s.labels.contains("small")) && stored.iter().any(|s| s.labels.contains("large"))
    });
    fs::remove_file(dir.path("small.log")).expect("removed");
    fs::remove_file(dir.path("large.log")).expect("removed");
    let report = rig.scrape.as_ref().expect("running").report();
    let lost = |name: &str| {
        let files = report.targets().into_iter().flat_map(|target| target.files);
        let account = files.filter(|f| f.path.ends_with(name)).map(|f| f.account).next();
        account.map(|account| (account.read.bytes, account.lost_bytes.values().sum::<u64>()))
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while !lost("large.log").is_some_and(|(read, lost)| read + lost == written && lost > 0) {
        assert!(Instant::now() < deadline, "{:?} of {written}", lost("large.log"));
        rig.until(|_| true);
        std::thread::park_timeout(Duration::from_millis(5));
    }
    assert_eq!(lost("small.log").map(|(_, lost)| lost), Some(0));
    rig.answer();
    let small = |stored: &[rig::Stored]| stored.iter().filter(|s| s.labels.contains("small")).count();
    rig.until(|stored| small(stored) == 1_000);
}

#[test]
fn a_loud_log_costs_quiet_ones_nothing() {
    let dir = Dir::new();
    dir.number("loud.log", 0, 20_000);
    for n in 0..9 {
        dir.append(&format!("quiet-{n}.log"), "first\n");
    }
    let mut rig = dir.scrape("*.log", "[]");
    rig.ignore_led = true;
    let quiet = |stored: &[rig::Stored]| stored.iter().filter(|s| s.labels.contains("quiet")).count();
    rig.until(|stored| quiet(stored) == 9);
    // Nothing that the loud stream has sent by now is ever answered. Only its own window is full.
    let loud = |stored: &[rig::Stored]| {
        stored.iter().filter(|s| s.labels.contains("loud")).map(|s| s.line.len()).sum::<usize>()
    };
    rig.until(|stored| loud(stored) > 100_000);
    for round in 2..20 {
        for n in 0..9 {
            dir.append(&format!("quiet-{n}.log"), format!("{round}\n"));
        }
        rig.until(|stored| quiet(stored) == 9 * round);
    }
    assert!(loud(&rig.stored) < 300_000, "one window and what was answered before: {}", loud(&rig.stored));
    rig.ignore_led = false;
    rig.answer();
    rig.until(|stored| loud(stored) > 2_000_000);
}

/// One target has endless logs. It gets the places that others leave, others get their share, and it continues as its
/// logs end.
#[test]
fn logs_without_end_do_not_keep_out_the_neighbours() {
    let dir = Dir::new();
    (0..400).for_each(|n| dir.append(&format!("many-{n:03}.log"), "many\n"));
    let mut rig = dir.scrape_with("many-*.log", "[]", |config| config.logs = 200);
    let of = |stored: &[rig::Stored], what: &str| stored.iter().filter(|s| s.labels.contains(what)).count();
    rig.until(|stored| of(stored, "many") == 150);
    (0..45).for_each(|n| dir.append(&format!("honest-{n}.log"), "honest\n"));
    let path = dir.path("honest-*.log").to_str().expect("text").to_string();
    rig::tell(rig.scrape.as_ref().expect("running"), "honest", &[&[("app", "honest"), ("__path__", &path)]]);
    rig.until(|stored| of(stored, "honest-") == 45);
    let report = rig.scrape.as_ref().expect("running").report();
    let not_read: usize = report.targets().iter().map(|target| target.not_read.len()).sum();
    assert_eq!((of(&rig.stored, "many"), not_read), (150, 250));
    // As logs end, others begin, until all were read.
    for n in 0..400 {
        let name = format!("many-{n:03}.log");
        rig.until(|stored| stored.iter().any(|s| s.labels.contains(&name)));
        fs::remove_file(dir.path(&name)).expect("removed");
    }
    assert_eq!(of(&rig.stored, "many"), 400);
}

/// Loki does not answer, so rotated files stay open until their logs need the descriptors.
#[test]
fn older_files_have_the_descriptors_that_the_logs_leave() {
    for files in [6, 9] {
        let dir = Dir::new();
        let mut rig = dir.scrape_with("*.log", "[]", |config| config.files = files);
        rig.answer = false;
        for generation in 0..3 {
            for log in ["a", "b", "c"] {
                let path = |suffix: &str| dir.path(&format!("{log}.log{suffix}"));
                for (from, to) in [(".1", ".2"), ("", ".1")] {
                    if path(from).exists() {
                        fs::rename(path(from), path(to)).expect("renamed");
                    }
                }
                dir.append(&format!("{log}.log"), format!("{generation}\n"));
            }
            // The client sends no third batch before an answer.
            rig.until(|stored| stored.len() == 3 * (generation + 1).min(2));
        }
        let open = || {
            let links = fs::read_dir("/proc/self/fd").expect("descriptors").flatten();
            links.filter(|link| fs::read_link(link.path()).is_ok_and(|file| is_log(&file, &dir.path("")))).count()
        };
        rig.until(|_| open() == files);
    }
}

fn is_log(file: &Path, dir: &Path) -> bool {
    file.strip_prefix(dir).is_ok_and(|name| name.to_str().is_some_and(|name| name.contains(".log")))
}

/// A receiver's sender waits for seconds, and a backlog may take hours.
#[test]
fn a_backlog_of_files_leaves_room_for_receivers() {
    // Many files have a long round, in which each of them has its turn.
    [(12, 1_000), (200, 60)].into_iter().for_each(|(files, lines)| receive_beside(files, lines));
}

fn receive_beside(files: usize, lines: usize) {
    let dir = Dir::new();
    let names: Vec<String> = (0..files).map(|n| format!("{n}.log")).collect();
    names.iter().for_each(|name| dir.append(name, format!("{name} {}\n", "x".repeat(1_000)).repeat(lines)));
    let (mut outlet, batches) = outlet("loki");
    outlet.batch.buffer = 256 << 10;
    let receives = |config: &mut Config| {
        let labels = LabelSet::new([("app", "pushed")]);
        config.receivers = vec![Receiver { job: 0, name: "push".into(), labels, spool: None }];
    };
    let mut rig = dir.start("*.log", "[]", receives, vec![outlet], batches);
    let intake = rig.scrape.as_ref().expect("running").intake("job").expect("it receives");
    rig.until(|stored| stored.len() > 500);
    for n in 0..2 {
        let mut parcel = Parcel::default();
        let line = format!("push {n}");
        parcel.push(&line, Some(n), None);
        let before = rig.stored.len();
        intake.offer(parcel).expect("there is room");
        rig.until(|stored| stored.iter().any(|one| one.line == line));
        let meanwhile = rig.stored.len() - before;
        // What had the room when it came, and a turn for each, and what a busy machine takes until the reader runs.
        assert!(meanwhile < 4_000, "{line}: {meanwhile} lines of files came before");
    }
    assert!(rig.stored.len() < 10_000, "there is still a backlog");
    drop(intake);
    rig.until(|stored| stored.len() == 12_002);
}

/// What Loki's answers make free goes to the log that has waited longest, and not again and again to the first ones: the others
/// would wait until the first have no backlog any more.
#[test]
fn logs_that_wait_for_room_get_it_in_turn() {
    for (stages, buffer) in [("[]", 256 << 10), ("[{labeldrop: [filename]}]", 16 << 20)] {
        let dir = Dir::new();
        let names: Vec<String> = (0..12).map(|n| format!("{n}.log")).collect();
        names.iter().for_each(|name| dir.append(name, format!("{name} {}\n", "x".repeat(1_000)).repeat(1_000)));
        let (mut outlet, batches) = outlet("loki");
        outlet.batch.buffer = buffer;
        let mut rig = dir.start("*.log", stages, |_| {}, vec![outlet], batches);
        let of = |stored: &[rig::Stored], name: &str| {
            stored.iter().filter(|one| one.line.split(' ').next() == Some(name)).count()
        };
        rig.until(|stored| names.iter().any(|name| of(stored, name) >= 500));
        let parts: Vec<usize> = names.iter().map(|name| of(&rig.stored, name)).collect();
        assert!(parts.iter().all(|part| *part >= 200), "{stages}: {parts:?}");
        assert_eq!(rig.rest().len(), 12_000, "{stages}");
    }
}
