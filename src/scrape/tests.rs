//! The threads at work on real files; Loki is the test.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::batch::Limits;
use crate::model::{Labels, TargetGroup};
use crate::positions;

/// An entry as Loki would store it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Stored {
    labels: String,
    timestamp: i64,
    line: String,
}

/// One client's scrape, whose batches come here instead of to Loki.
struct Rig {
    scrape: Option<Scrape>,
    batches: UnboundedReceiver<Batch>,
    stored: Vec<Stored>,
    /// Batches that Loki has not answered yet.
    unanswered: Vec<Batch>,
    answer: bool,
}

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("opened");
        file.write_all(text.as_ref()).expect("written");
    }

    /// Lines `from..to`, numbered.
    fn number(&self, name: &str, from: usize, to: usize) {
        self.append(name, (from..to).map(|n| format!("line {n} {}\n", "x".repeat(100))).collect::<String>());
    }

    fn positions(&self) -> Arc<Positions> {
        let config = positions::Config {
            filename: self.path("positions.yaml"),
            ignore_invalid_yaml: false,
            read_only: false,
            readers: Default::default(),
        };
        Arc::new(Positions::open(config).expect("positions"))
    }

    fn scrape(&self, glob: &str, stages: &str) -> Rig {
        self.scrape_with(glob, stages, |_| {})
    }

    fn scrape_with(&self, glob: &str, stages: &str, change: impl FnOnce(&mut Config)) -> Rig {
        let (outlet, batches) = outlet("loki");
        self.start(glob, stages, change, vec![outlet], batches)
    }

    /// The second client's batches are nobody's: they wait for ever.
    fn scrape_for_two(&self, glob: &str) -> (Rig, UnboundedReceiver<Batch>) {
        let ((outlet, batches), (other, dead)) = (outlet("loki"), self::outlet("dead"));
        (self.start(glob, "[]", |_| {}, vec![outlet, other], batches), dead)
    }

    fn start(
        &self,
        glob: &str,
        stages: &str,
        change: impl FnOnce(&mut Config),
        outlets: Vec<Outlet>,
        batches: UnboundedReceiver<Batch>,
    ) -> Rig {
        let mut config = Config {
            hostname: "here".into(),
            sync_period: Duration::from_secs(1),
            positions_sync_period: Duration::from_secs(1),
            min_poll: Duration::from_millis(10),
            max_poll: Some(Duration::from_millis(20)),
            replay_window: 64 << 10,
            rate: None,
            dry_run: false,
            stdin: None,
        };
        change(&mut config);
        let stages: Vec<serde_yaml::Value> = serde_yaml::from_str(stages).expect("yaml");
        let job = Job {
            name: "job".into(),
            rules: Rules::compile(&[]).expect("no rules"),
            program: Some(crate::stages::compile(&stages).expect("stages")),
            options: tail::Options { grace: Duration::from_millis(50), ..tail::Options::default() },
            unreadable: None,
        };
        let scrape = Scrape::start(config, vec![job], outlets, self.positions(), &Registry::new()).expect("started");
        let path = self.path(glob).to_str().expect("text").to_string();
        tell(&scrape, "static", &[&[("app", "a"), ("__path__", &path)]]);
        Rig { scrape: Some(scrape), batches, stored: Vec::new(), unanswered: Vec::new(), answer: true }
    }
}

fn outlet(client: &str) -> (Outlet, UnboundedReceiver<Batch>) {
    let (sender, batches) = unbounded_channel();
    let batch = batch::Config {
        batchsize: 1 << 20,
        batchwait: Duration::from_millis(20),
        tenant_id: None,
        external_labels: Labels::new(),
        limits: Limits::default(),
    };
    let books = Books { too_long: Box::new(|_| {}), truncated: Box::new(|_| {}) };
    (Outlet { client: client.into(), batch, batches: sender, books }, batches)
}

fn tell(scrape: &Scrape, source: &str, targets: &[&[(&str, &str)]]) {
    let labels = |pairs: &&[(&str, &str)]| pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
    let group = TargetGroup { source: source.into(), targets: targets.iter().map(labels).collect() };
    scrape.updates()(Update::Group { job: "job".into(), group });
}

impl Rig {
    /// Takes what comes until `enough` says so.
    #[track_caller]
    fn until(&mut self, enough: impl Fn(&[Stored]) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !enough(&self.stored) {
            assert!(Instant::now() < deadline, "waited in vain; there is: {:?}", self.lines());
            match self.batches.try_recv() {
                Ok(batch) => self.take(batch),
                Err(_) => std::thread::park_timeout(Duration::from_millis(2)),
            }
        }
    }

    #[track_caller]
    fn until_lines(&mut self, want: &[&str]) {
        self.until(|stored| stored.len() >= want.len());
        assert_eq!(self.lines(), want);
    }

    fn lines(&self) -> Vec<&str> {
        self.stored.iter().map(|s| s.line.as_str()).collect()
    }

    fn take(&mut self, batch: Batch) {
        self.stored.extend(decode(&batch));
        match self.answer {
            true => batch.close(),
            false => self.unanswered.push(batch),
        }
        self.wake();
    }

    fn wake(&self) {
        self.scrape.as_ref().expect("running").waker(0).wake();
    }

    /// Loki answers all that it has.
    fn answer(&mut self) {
        self.answer = true;
        for batch in self.unanswered.drain(..) {
            batch.close();
        }
        self.wake();
    }

    /// Waits until all there is has been read and answered, stops, and gives what was stored in all.
    fn rest(mut self) -> Vec<Stored> {
        let report = self.scrape.as_ref().expect("running").report();
        self.until(|_| {
            let files: Vec<_> = report.targets().into_iter().flat_map(|t| t.files).collect();
            !files.is_empty() && files.iter().all(|f| f.lag_bytes == 0 && f.unacknowledged_bytes == 0)
        });
        self.stop()
    }

    /// Stops as a SIGTERM would, and gives what was stored in all.
    fn stop(mut self) -> Vec<Stored> {
        let scrape = self.scrape.take().expect("running");
        scrape.stop(Duration::from_secs(5));
        let waker = scrape.waker(0);
        while let Some(batch) = self.batches.blocking_recv() {
            self.stored.extend(decode(&batch));
            if self.answer {
                batch.close();
            }
            waker.wake_by_ref();
        }
        scrape.join();
        self.stored
    }
}

/// With prost, which knows the wire format better than we do.
fn decode(batch: &Batch) -> Vec<Stored> {
    #[derive(prost::Message)]
    struct Push {
        #[prost(message, repeated, tag = "1")]
        streams: Vec<Stream>,
    }
    #[derive(prost::Message)]
    struct Stream {
        #[prost(string, tag = "1")]
        labels: String,
        #[prost(message, repeated, tag = "2")]
        entries: Vec<Line>,
    }
    #[derive(prost::Message)]
    struct Line {
        #[prost(message, optional, tag = "1")]
        timestamp: Option<Time>,
        #[prost(string, tag = "2")]
        line: String,
    }
    #[derive(prost::Message)]
    struct Time {
        #[prost(int64, tag = "1")]
        seconds: i64,
        #[prost(int32, tag = "2")]
        nanos: i32,
    }
    let body = batch.encode(&mut snap::raw::Encoder::new());
    let plain = snap::raw::Decoder::new().decompress_vec(&body).expect("snappy");
    let push = <Push as prost::Message>::decode(plain.as_slice()).expect("protobuf");
    let mut stored = Vec::new();
    for stream in push.streams {
        for entry in stream.entries {
            let time = entry.timestamp.unwrap_or_default();
            let timestamp = time.seconds * 1_000_000_000 + i64::from(time.nanos);
            stored.push(Stored { labels: stream.labels.clone(), timestamp, line: entry.line });
        }
    }
    stored
}

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

    // Rotated and rotated again while nobody looked.
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
    let stored = dir.scrape("*.log", "[{cri: {}}]").rest();
    assert_eq!(stored.iter().map(|s| s.line.as_str()).collect::<Vec<_>>(), ["other"]);
    dir.append("0.log", "2026-11-22T10:00:00.3Z stdout F line\n");
    let again = dir.scrape("*.log", "[{cri: {}}]").rest();
    let mut lines: Vec<&str> = again.iter().map(|s| s.line.as_str()).collect();
    // The line before it could not be committed without losing the part: it is sent again, bit by bit the same.
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
    // A directory and then a FIFO take the place of the file that was read.
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
    // From now on nothing can be written there.
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
    // Commands come to the reader in order; its next turn has the new labels.
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
    // All of it is on disk, and comes now.
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
    // Seen only by a walk after the rename.
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
        while let Some(batch) = rig.batches.blocking_recv() {
            // A Loki that takes its time.
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
    // The first client is done with the file; the other never will be.
    let first_is_done = |rig: &Rig| {
        let files = rig.scrape.as_ref().expect("running").report().targets().into_iter().flat_map(|t| t.files);
        files.filter(|f| f.client == "loki").count() == 0
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while !first_is_done(&rig) {
        assert!(Instant::now() < deadline);
        while let Ok(batch) = rig.batches.try_recv() {
            rig.take(batch);
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    dir.append("a.log", "two\n");
    rig.until_lines(&["one", "two"]);
    rig.stop();
}
