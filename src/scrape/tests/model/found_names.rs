//! Files that got a name which the path matches, while lines of them were on their way. A new agent reads them again under the
//! name that they had, so that Loki sees that it has them.

use std::fs;

use super::found::Story;
use super::hanging::Fate;

const LIVE: &str = "plain/app/app.log";

/// The lines with this word, as a file has them.
fn lines(word: &str, numbers: std::ops::Range<usize>) -> String {
    numbers.map(|n| format!("{word} {n:03} of a log that is long enough to be told from others\n")).collect()
}

/// A log of which the first 50 lines were answered, and 50 more were not.
fn on_their_way() -> Story {
    let mut story = Story::begin();
    story.append(LIVE, &lines("one", 0..50));
    story.pass(3);
    story.answers = false;
    story.append(LIVE, &lines("one", 50..100));
    story.pass(2);
    story
}

impl Story {
    /// Loki answers again, and has so many entries in the end, each once.
    #[track_caller]
    fn ends_with(&mut self, lines: usize) {
        self.answers = true;
        // Longer than a log waits for the last bytes of an old file.
        self.pass(90);
        self.pass(90);
        let mut entries: Vec<&str> = self.entries.iter().map(|entry| &*entry.line).collect();
        entries.sort_unstable();
        let again: Vec<&&str> = entries.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| &pair[0]).collect();
        assert_eq!(again, [&""; 0], "stored twice");
        assert_eq!(entries.len(), lines);
        let troubles = self.agent.troubles();
        assert_eq!(troubles, [""; 0]);
    }
}

#[test]
fn a_file_that_was_renamed_before_a_kill_is_read_on_under_its_first_name() {
    let mut story = on_their_way();
    story.rename(LIVE, "plain/app/app-2026-11-26T10-00-00001.log");
    story.append(LIVE, &lines("two", 0..10));
    story.crash_and_start();
    story.ends_with(110);
}

#[test]
fn the_same_for_a_name_that_says_nothing() {
    let mut story = on_their_way();
    story.rename(LIVE, "plain/app/a-done.log");
    story.append(LIVE, &lines("two", 0..10));
    story.crash_and_start();
    story.ends_with(110);
}

#[test]
fn the_same_without_a_new_file() {
    let mut story = on_their_way();
    story.rename(LIVE, "plain/app/app-2026-11-26T10-00-00001.log");
    story.crash_and_start();
    story.ends_with(100);
}

#[test]
fn two_files_that_were_renamed_before_a_kill_are_read_on_under_their_first_name() {
    for names in [["app-2026-11-26T10-00-00001.log", "app-2026-11-26T10-00-00002.log"], ["b-done.log", "a-done.log"]] {
        let mut story = on_their_way();
        story.rename(LIVE, &format!("plain/app/{}", names[0]));
        story.append(LIVE, &lines("two", 0..10));
        story.pass(2);
        story.rename(LIVE, &format!("plain/app/{}", names[1]));
        story.append(LIVE, &lines("three", 0..10));
        story.crash_and_start();
        story.ends_with(120);
    }
}

/// Loki has not answered for any of twenty short files when the agent is killed, or it answers then.
#[test]
fn many_short_files_that_were_renamed_are_read_under_their_first_name() {
    for is_killed in [true, false] {
        let mut story = on_their_way();
        for n in 0..20 {
            story.rename(LIVE, &format!("plain/app/app-2026-11-26T10-00-000{n:02}.log"));
            story.append(LIVE, &lines("short", n..n + 1));
            story.pass(2);
        }
        if is_killed {
            story.crash_and_start();
        }
        story.ends_with(120);
    }
}

/// Their lines have times of their own, so no time of reading is saved for them.
#[test]
fn the_same_for_lines_with_timestamps() {
    let live = "cri/app/app.log";
    let lines = |word: &str| -> String {
        let line = |n| format!("2026-11-26T10:00:00.{n:09}Z stdout F {word} {n} of a log that is long enough\n");
        (0..20).map(line).collect()
    };
    let mut story = Story::begin();
    story.append(live, "2026-11-26T09:00:00Z stdout F first\n");
    story.pass(3);
    story.answers = false;
    story.append(live, &lines("one"));
    story.pass(2);
    story.rename(live, "cri/app/b-done.log");
    story.append(live, &lines("two"));
    story.pass(2);
    story.rename(live, "cri/app/a-done.log");
    story.append(live, &lines("three"));
    story.crash_and_start();
    story.ends_with(61);
}

#[test]
fn a_file_that_was_renamed_before_a_reload_is_read_on_under_its_first_name() {
    let story = on_their_way();
    story.rename(LIVE, "plain/app/app-2026-11-26T10-00-00001.log");
    story.append(LIVE, &lines("two", 0..10));
    let mut story = story.reload();
    story.ends_with(110);
}

#[test]
fn a_copy_of_a_file_that_was_cut_before_a_kill_is_read_on_under_the_first_name() {
    let mut story = on_their_way();
    story.copy_and_cut(LIVE, "plain/app/app-20261126.log");
    story.append(LIVE, &lines("two", 0..10));
    story.crash_and_start();
    story.ends_with(110);
}

#[test]
fn the_other_name_of_a_copy_waits_for_the_answers_of_what_was_read_before_the_cut() {
    let mut story = on_their_way();
    story.copy_and_cut(LIVE, "plain/app/app-20261126.log");
    story.append(LIVE, &lines("two", 0..10));
    story.pass(20);
    story.ends_with(110);
}

/// A process that has not noticed the rotation writes to the old file, whose new name the path matches as well.
#[test]
fn late_lines_that_were_on_their_way_when_the_agent_was_killed_come_under_one_name() {
    for name in ["app-2026-11-26T10-00-00001.log", "a-done.log"] {
        let mut story = on_their_way();
        story.answers = true;
        let renamed = format!("plain/app/{name}");
        story.rename(LIVE, &renamed);
        story.append(LIVE, &lines("two", 0..10));
        // By now all was answered, and either log may read these lines.
        story.pass(45);
        story.answers = false;
        story.append(&renamed, &lines("late", 0..10));
        story.pass(3);
        story.crash_and_start();
        story.ends_with(120);
    }
}

/// Each of the first calls of the new agent in turn hangs for minutes: it opens the log that had the file, or the other one.
#[test]
fn a_renamed_file_is_read_on_under_its_first_name_after_a_call_that_hung_at_the_start() {
    let mut hung = 0;
    for call in 1..=30 {
        for name in ["app-2026-11-26T10-00-00001.log", "a-done.log"] {
            let mut story = on_their_way();
            story.rename(LIVE, &format!("plain/app/{name}"));
            story.append(LIVE, &lines("two", 0..10));
            story.crash_and_start();
            story.agent.hang(0, call);
            story.answers = true;
            story.pass(100);
            hung += story.agent.hung();
            story.agent.let_go(Fate::Returns);
            story.ends_with(110);
        }
    }
    assert!(hung > 10, "{hung} calls hung");
}

/// The log of the new name has gone on in the file for long, and the config gives both new labels.
#[test]
fn a_file_that_another_log_reads_is_left_to_it_also_with_other_labels() {
    let mut story = Story::begin();
    story.append(LIVE, &lines("one", 0..50));
    story.pass(3);
    story.rename(LIVE, "plain/app/app-2026-11-26T10-00-00001.log");
    story.pass(400);
    story.append("plain/app/app-2026-11-26T10-00-00001.log", &lines("two", 0..50));
    story.pass(5);
    assert_eq!(story.entries.len(), 100);
    story.label = "b";
    story.crash_and_start();
    story.ends_with(100);
}

/// The file of the other name was a log of its own before.
#[test]
fn a_log_of_its_own_is_not_taken_for_a_generation() {
    let mut story = on_their_way();
    story.rename(LIVE, "plain/app/app-2026-11-26T10-00-00001.log");
    story.append(LIVE, &lines("two", 0..10));
    story.answers = true;
    // The first name is done with it.
    story.pass(90);
    story.pass(90);
    story.append("plain/app/app-2026-11-26T10-00-00001.log", &lines("late", 0..10));
    story.pass(3);
    story.answers = false;
    story.append("plain/app/app-2026-11-26T10-00-00001.log", &lines("late", 10..20));
    story.pass(3);
    fs::remove_file(story.path(LIVE)).expect("removed");
    story.append(LIVE, &lines("three", 0..10));
    story.crash_and_start();
    story.ends_with(140);
}
