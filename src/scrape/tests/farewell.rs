//! The end of the agent, which may be the end of the logs as well: a sidecar.

use super::rig::{Dir, Rig, job, outlet};
use super::*;
use crate::tail::LastLine;

const MULTILINE: &str = "[{multiline: {firstline: '^<', max_wait_time: 1h}}]";

/// Waits until the agent has read everything, except lines without a newline.
fn until_read(rig: &mut Rig, bytes: u64) {
    let report = rig.scrape.as_ref().expect("running").report();
    rig.until(|_| {
        let files: Vec<_> = report.targets().into_iter().flat_map(|target| target.files).collect();
        files.iter().map(|file| file.account.read.bytes).sum::<u64>() >= bytes
    });
}

fn lines(stored: &[super::rig::Stored]) -> Vec<&str> {
    stored.iter().map(|entry| entry.line.as_str()).collect()
}

#[test]
fn what_multiline_holds_and_a_line_without_newline_are_sent_at_the_end_and_do_not_come_again() {
    let d = Dir::new();
    d.append("a.log", "<1\n more of 1\n<2\n more of 2\n the end");
    let mut rig = d.scrape("a.log", MULTILINE);
    until_read(&mut rig, 28);
    let stored = rig.stop();
    assert_eq!(lines(&stored), ["<1\n more of 1", "<2\n more of 2\n the end"]);
    // Nothing comes again, and what comes later is not lost.
    d.append("a.log", "\n<3\n<4\n");
    let mut rig = d.scrape("a.log", MULTILINE);
    until_read(&mut rig, 7);
    let stored = rig.stop();
    assert_eq!(lines(&stored).join("|"), "|<3|<4");
}

#[test]
fn the_end_of_a_log_is_sent_without_stages_too_and_in_a_file_of_one_line() {
    let d = Dir::new();
    d.append("a.log", "the only line");
    d.append("b.log", "one\ntwo");
    d.append("c.log", "complete\n");
    let mut rig = d.scrape("*.log", "[]");
    rig.until(|stored| stored.len() == 2);
    let mut stored = rig.stop();
    stored.sort();
    let mut all = lines(&stored);
    all.sort_unstable();
    assert_eq!(all, ["complete", "one", "the only line", "two"]);
    let mut rig = d.scrape("*.log", "[]");
    d.append("c.log", "new\n");
    rig.until_lines(&["new"]);
    assert_eq!(lines(&rig.stop()), ["new"]);
}

#[test]
fn parts_of_a_cri_line_wait_for_their_rest_in_the_next_agent() {
    let d = Dir::new();
    let part = |flag: &str, text: &str| format!("2026-11-26T10:00:00.00000000{}Z stdout {flag} {text}\n", text.len());
    d.append("a.log", part("F", "whole") + &part("P", "the start "));
    let mut rig = d.scrape("a.log", "[{cri: {}}]");
    rig.until_lines(&["whole"]);
    assert_eq!(lines(&rig.stop()), ["whole"]);
    d.append("a.log", part("F", "and the rest"));
    let mut rig = d.scrape("a.log", "[{cri: {}}]");
    rig.until_lines(&["the start and the rest"]);
}

/// The next agent reads it when it is complete.
#[test]
fn a_line_without_newline_waits_if_its_file_outlives_the_agent() {
    let d = Dir::new();
    d.append("a.log", "<1\n more\n<2\n the sta");
    let start = || {
        let mut job = job("job", MULTILINE);
        job.options.last_line = LastLine::InPodVolume;
        let (outlet, batches) = outlet("loki");
        d.start_job("a.log", job, |_| {}, vec![outlet], batches)
    };
    let mut rig = start();
    until_read(&mut rig, 12);
    assert_eq!(lines(&rig.stop()), ["<1\n more"]);
    d.append("a.log", "rt\n<3\n");
    let mut rig = start();
    until_read(&mut rig, 15);
    assert_eq!(lines(&rig.stop()), ["<2\n the start", "<3"]);
}
