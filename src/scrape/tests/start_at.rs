//! Files that existed before the first start, with `start_at`.

use std::fs::{File, FileTimes};
use std::time::SystemTime;

use super::rig::{job, outlet};
use super::*;
use crate::model::StartAt;
use crate::scrape::Job;

const HOUR: Duration = Duration::from_secs(3_600);

fn start(dir: &Dir, start_at: &str) -> Rig {
    let (outlet, batches) = outlet("loki");
    let start_at: StartAt = start_at.parse().expect("a place");
    dir.start_job("logs/**/*.log*", Job { start_at, ..job("job", "[]") }, |_| {}, vec![outlet], batches)
}

/// Waits until it is saved where these files begin.
fn until_begun(rig: &mut Rig, dir: &Dir, names: &[&str]) {
    let journal = dir.path("positions.yaml.journal");
    let saved = || std::fs::read_to_string(&journal).unwrap_or_default();
    rig.until(|_| names.iter().all(|name| saved().contains(&format!("{name}\""))));
}

fn age(dir: &Dir, name: &str, by: Duration) {
    let file = File::options().append(true).open(dir.path(name)).expect("opened");
    file.set_times(FileTimes::new().set_modified(SystemTime::now() - by)).expect("set");
}

#[test]
fn what_is_there_at_the_first_start_is_left_out_and_nothing_else() {
    let dir = Dir::new();
    dir.append("logs/a.log", "old\nbegun");
    dir.append("logs/b.log", "old\n");
    dir.append("logs/b.log.1", "older\n");
    let mut rig = start(&dir, "end");
    until_begun(&mut rig, &dir, &["logs/a.log", "logs/b.log"]);
    // A line that was begun before the start is whole, and a new file is read from its start.
    dir.append("logs/c/new.log", "first of a new file\n");
    rig.until_lines(&["first of a new file"]);
    dir.append("logs/a.log", " before\n");
    dir.append("logs/b.log", "new\n");
    rig.until(|stored| stored.len() == 3);
    let mut lines: Vec<String> = rig.stop().into_iter().map(|stored| stored.line).collect();
    lines.sort();
    assert_eq!(lines, ["begun before", "first of a new file", "new"]);
}

#[test]
fn the_next_start_reads_what_came_while_no_agent_ran() {
    let dir = Dir::new();
    dir.append("logs/a.log", "old\n");
    let mut rig = start(&dir, "end");
    until_begun(&mut rig, &dir, &["logs/a.log"]);
    dir.append("logs/b.log", "new\n");
    rig.until_lines(&["new"]);
    rig.stop();
    // It has read nothing of this file, and knows where it began.
    dir.append("logs/a.log", "away\n");
    std::fs::rename(dir.path("logs/a.log"), dir.path("logs/a.log.1")).expect("renamed");
    dir.append("logs/a.log", "live\n");
    dir.append("logs/c.log", "unknown\n");
    let mut rig = start(&dir, "end");
    rig.until(|stored| stored.len() == 3);
    let mut lines: Vec<String> = rig.stop().into_iter().map(|stored| stored.line).collect();
    lines.sort();
    assert_eq!(lines, ["away", "live", "unknown"]);
}

#[test]
fn files_that_were_modified_after_a_time_are_read() {
    let dir = Dir::new();
    dir.append("logs/old.log", "old\n");
    dir.append("logs/late.log", "late\n");
    dir.append("logs/late.log.1", "rotated\n");
    dir.append("logs/late.log.2", "rotated long ago\n");
    age(&dir, "logs/old.log", 3 * HOUR);
    age(&dir, "logs/late.log", HOUR / 2);
    age(&dir, "logs/late.log.1", HOUR);
    age(&dir, "logs/late.log.2", 3 * HOUR);
    let mut rig = start(&dir, "2h");
    rig.until_lines(&["rotated", "late"]);
    dir.append("logs/old.log", "new\n");
    rig.until_lines(&["rotated", "late", "new"]);
    rig.stop();
}

/// A job that the agent has run before has no first start any more, even if it found no file.
#[test]
fn a_job_that_found_no_file_at_its_first_start() {
    let dir = Dir::new();
    let rig = start(&dir, "end");
    rig.stop();
    dir.append("logs/a.log", "came while no agent ran\n");
    let mut rig = start(&dir, "end");
    rig.until_lines(&["came while no agent ran"]);
    rig.stop();
}

/// Promtail has read the job's files before. Only its positions say where.
#[test]
fn after_promtail_it_is_no_first_start() {
    let dir = Dir::new();
    dir.append("logs/a.log", "sent by Promtail\nnot sent\n");
    dir.append("logs/b.log", "came during the change\n");
    let known = format!("positions:\n  {:?}: \"17\"\n", dir.path("logs/a.log"));
    std::fs::write(dir.path("positions.yaml"), known).expect("written");
    let mut rig = start(&dir, "end");
    rig.until(|stored| stored.len() == 2);
    let mut lines: Vec<String> = rig.stop().into_iter().map(|stored| stored.line).collect();
    lines.sort();
    assert_eq!(lines, ["came during the change", "not sent"]);
}
