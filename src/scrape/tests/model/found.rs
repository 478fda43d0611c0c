//! Bugs that the histories found, as short tests.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use super::agent::{Agent, Settings};
use super::directory;
use super::disk::Disk;
use crate::batch::Batch;
use crate::model::Clock;
use crate::scrape::tests::rig::{Stored, decode};

const SETTINGS: Settings = Settings { clients: 1, window: 64 << 10, batchsize: 1 << 20 };

pub(super) struct Story {
    dir: tempfile::TempDir,
    pub disk: Disk,
    pub agent: Agent,
    /// The value of the target's label.
    pub label: &'static str,
    /// Whether Loki answers.
    pub answers: bool,
    pub stored: Vec<String>,
    /// The timestamps of these.
    pub times: Vec<i64>,
    /// All entries that Loki has: equal ones are one.
    pub entries: BTreeSet<Stored>,
    /// Batches that Loki has, and that it has not answered.
    unanswered: Vec<Batch>,
}

impl Story {
    pub fn begin() -> Self {
        let dir = directory();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let disk = Disk::new(dir.path().into(), Clock::standing(now.as_nanos() as i64));
        fs::create_dir_all(dir.path().join("plain/app")).expect("made");
        fs::create_dir_all(dir.path().join("cri/app")).expect("made");
        fs::create_dir_all(dir.path().join("multiline/app")).expect("made");
        let agent = Agent::start(&disk, dir.path(), SETTINGS);
        Self {
            dir,
            disk,
            agent,
            label: "a",
            answers: true,
            stored: Vec::new(),
            times: Vec::new(),
            entries: BTreeSet::new(),
            unanswered: Vec::new(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn append(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path(name)).expect("opened");
        file.write_all(text.as_bytes()).expect("written");
        file.set_modified(self.disk.clock.system_time()).expect("dated");
    }

    pub fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).expect("renamed");
    }

    /// As logrotate's `copytruncate` does.
    pub fn copy_and_cut(&self, from: &str, to: &str) {
        fs::copy(self.path(from), self.path(to)).expect("copied");
        fs::File::create(self.path(from)).expect("cut");
    }

    /// Lets this many seconds pass while the agent looks and reads.
    pub fn pass(&mut self, seconds: u64) {
        self.agent.hear(&mut self.disk, true);
        for _ in 0..seconds {
            self.disk.clock.advance(Duration::from_secs(1));
            for _ in 0..3 {
                self.agent.turn(self.disk.clock.now());
                self.store();
                if self.answers {
                    self.answer();
                }
            }
        }
    }

    fn store(&mut self) {
        for batch in self.agent.roads[0].take() {
            self.entries.extend(decode(&batch));
            self.unanswered.push(batch);
        }
    }

    fn answer(&mut self) {
        self.store();
        for batch in self.unanswered.drain(..) {
            for entry in decode(&batch) {
                self.stored.push(entry.line);
                self.times.push(entry.timestamp);
            }
            batch.close();
        }
    }

    /// Batches of the last run are not answered any more.
    pub fn reload(mut self) -> Self {
        self.agent.tell_to_hand_over();
        for _ in 0..50 {
            self.agent.turn(self.disk.clock.now());
            self.disk.clock.advance(Duration::from_millis(200));
        }
        assert!(self.agent.has_stopped());
        self.unanswered.clear();
        self.agent = self.agent.start_again(self.label, &self.disk, self.dir.path(), SETTINGS);
        self
    }

    pub fn crash_and_start(&mut self) {
        self.unanswered.clear();
        self.agent = Agent::start_as(self.label, &self.disk, self.dir.path(), SETTINGS);
    }
}

#[test]
fn a_file_that_got_another_name_of_the_glob_unacknowledged_is_sent_after_a_crash() {
    let mut story = Story::begin();
    story.append("plain/app/app.log", "one\n");
    story.answers = false;
    story.pass(2);
    story.rename("plain/app/app.log", "plain/app/app-2026.log");
    story.append("plain/app/app.log", "two\n");
    // One log has read it to its end and closed it. The other asks where to continue.
    story.pass(5);
    story.crash_and_start();
    story.answers = true;
    story.pass(5);
    story.stored.sort();
    assert_eq!(story.stored, ["one", "two"]);
}

#[test]
fn what_was_written_before_a_late_answer_is_found_although_the_file_of_the_answer_is_gone() {
    let mut story = Story::begin();
    story.append("plain/app/app.log", "one\n");
    story.answers = false;
    story.pass(2);
    story.rename("plain/app/app.log", "plain/app/app.log.1");
    story.append("plain/app/app.log", "two\n");
    story.pass(0);
    story.disk.clock.advance(Duration::from_secs(120));
    // The answer to the first line arrives long after the second was written.
    story.answer();
    story.agent.turn(story.disk.clock.now());
    fs::remove_file(story.path("plain/app/app.log.1")).expect("removed");
    story.rename("plain/app/app.log", "plain/app/app.log.1");
    story.append("plain/app/app.log", "three\n");
    story.crash_and_start();
    story.answers = true;
    story.pass(5);
    assert_eq!(story.stored, ["one", "two", "three"]);
}

#[test]
fn a_line_half_of_which_was_read_when_loki_went_away_arrives_whole() {
    let mut story = Story::begin();
    let filler = "x".repeat(SETTINGS.window);
    story.answers = false;
    story.append("cri/app/0.log", &format!("2026-11-22T10:00:00Z stdout F {filler}\n"));
    story.append("cri/app/0.log", "2026-11-22T10:00:01Z stderr P one \n");
    story.append("cri/app/0.log", &format!("2026-11-22T10:00:02Z stdout F {filler}\n"));
    story.append("cri/app/0.log", "2026-11-22T10:00:03Z stderr F line\n");
    story.pass(1_000);
    story.answers = true;
    story.pass(5);
    story.stored.retain(|line| line.len() < 100);
    assert_eq!(story.stored, ["one line"]);
}

#[test]
fn what_went_on_with_a_block_keeps_its_place_before_a_younger_file_after_a_crash() {
    let mut story = Story::begin();
    story.append("multiline/app/app.log", "<one\n");
    story.pass(10);
    story.answers = false;
    // It is sent with the time of the block, so its own read time is not needed.
    story.append("multiline/app/app.log", " more\n");
    story.pass(1);
    story.rename("multiline/app/app.log", "multiline/app/app.log.1");
    story.append("multiline/app/app.log", "<two\n<three\n");
    story.pass(2);
    story.crash_and_start();
    story.answers = true;
    story.pass(10);
    assert_eq!(story.stored, ["<one", " more", "<two", "<three"]);
    assert!(story.times.is_sorted(), "{:?}", story.times);
}

#[test]
fn a_block_that_goes_on_in_a_younger_file_is_not_cut_while_the_older_one_is_waited_for() {
    let mut story = Story::begin();
    story.append("multiline/app/app.log", "<one\n");
    story.pass(3);
    story.rename("multiline/app/app.log", "multiline/app/app.log.1");
    story.append("multiline/app/app.log", " more\n<two\n");
    story.pass(10);
    assert_eq!(story.stored, ["<one\n more", "<two"]);
}

#[test]
fn what_was_copied_and_cut_before_anything_of_it_was_committed_comes_again_at_the_same_times() {
    for goes_on in ["", "three\n"] {
        let mut story = Story::begin();
        story.append("plain/app/app.log", "one\ntwo\n");
        story.answers = false;
        story.pass(2);
        let mut sent: Vec<i64> = story.entries.iter().map(|entry| entry.timestamp).collect();
        sent.sort_unstable();
        fs::copy(story.path("plain/app/app.log"), story.path("plain/app/app.log.1")).expect("copied");
        fs::write(story.path("plain/app/app.log"), goes_on).expect("cut");
        story.crash_and_start();
        story.answers = true;
        story.pass(5);
        assert_eq!(story.stored.join("\n"), format!("one\ntwo\n{goes_on}").trim_end());
        assert_eq!((story.times[..2].to_vec(), sent.len()), (sent, 2));
    }
}

fn numbered(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|n| format!("line {n} of a log that is longer than one fingerprint")).collect()
}

#[test]
fn a_copy_of_a_log_that_has_a_name_of_the_glob_is_not_sent_again_and_its_rest_is() {
    for is_down in [false, true] {
        let mut story = Story::begin();
        story.append("plain/app/app.log", &(numbered(0, 50).join("\n") + "\n"));
        story.pass(5);
        // logrotate's copytruncate with dateext and extension, while more was written than the agent has read.
        story.append("plain/app/app.log", &(numbered(50, 52).join("\n") + "\n"));
        fs::copy(story.path("plain/app/app.log"), story.path("plain/app/app-20261126.log")).expect("copied");
        if !is_down {
            story.pass(5);
        }
        fs::write(story.path("plain/app/app.log"), "new\n").expect("cut");
        if is_down {
            story.crash_and_start();
        }
        story.pass(10);
        story.append("plain/app/app.log", "newer\n");
        story.pass(5);
        story.crash_and_start();
        story.pass(5);
        let mut want = numbered(0, 52);
        want.extend(["new".into(), "newer".into()]);
        want.sort();
        story.stored.sort();
        assert_eq!(story.stored, want, "down: {is_down}");
    }
}

#[test]
fn a_log_that_begins_as_another_one_does_is_read_as_soon_as_it_differs() {
    let mut story = Story::begin();
    let text = numbered(0, 50).join("\n") + "\n";
    story.append("plain/app/app.log", &text);
    story.pass(5);
    story.append("plain/app/app-1.log", &text);
    story.pass(5);
    assert_eq!(story.stored.len(), 50, "a copy, as far as anybody can tell");
    story.append("plain/app/app-1.log", "one more\n");
    story.pass(5);
    assert_eq!(story.stored.len(), 101);
}

#[test]
fn a_log_that_was_renamed_while_the_agent_was_down_and_not_made_again_is_read_to_its_end() {
    let mut story = Story::begin();
    story.append("plain/app/app.log", "one\n");
    story.pass(5);
    story.append("plain/app/app.log", "two\n");
    story.rename("plain/app/app.log", "plain/app/app.log.1");
    story.append("cri/app/0.log", "2026-11-22T10:00:00Z stdout F three\n");
    story.pass(0);
    story.crash_and_start();
    story.pass(5);
    story.append("plain/app/app.log", "four\n");
    story.pass(70);
    story.stored.sort();
    assert_eq!(story.stored, ["four", "one", "three", "two"]);
}
