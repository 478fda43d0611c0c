//! Kills a reader again and again, on a clock of the test. The entries that it sends again must be identical.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;

use super::rig::{Dir, Stored, decode, outlet};
use crate::batch::Batch;
use crate::metrics::{Dropped, Registry};
use crate::model::{Clock, LabelSet, Target};
use crate::positions::Positions;
use crate::relabel::Rules;
use crate::scrape::messages::{Assignment, Command, Commands};
use crate::scrape::metrics::Metrics;
use crate::scrape::reader::{Parts, Reader};
use crate::scrape::status::Status;
use crate::scrape::supervised::Supervised;
use crate::scrape::{Config, Job, Parker, tail};

const BEGIN: i64 = 1_795_000_000_000_000_000;
const TURN: Duration = Duration::from_millis(20);

/// Random schedules of kills per check.
const SEEDS: u64 = 8;

/// A machine that outlives its agent: files, a clock, and the entries in Loki.
struct Machine {
    dir: Dir,
    clock: Clock,
    stages: &'static str,
    /// The window: so small that a file is read in many chunks.
    window: usize,
    batchsize: usize,
    stored: BTreeSet<Stored>,
    /// Entries sent, including repeats.
    sent: usize,
    /// How many agents were started.
    runs: usize,
}

/// A running agent.
struct Run {
    reader: Arc<Supervised<Reader>>,
    commands: Arc<Commands>,
    positions: Arc<Positions>,
    batches: UnboundedReceiver<Vec<Batch>>,
    unanswered: Vec<Batch>,
}

impl Machine {
    fn new(stages: &'static str) -> Self {
        Self {
            dir: Dir::new(),
            clock: Clock::standing(BEGIN),
            stages,
            window: 300,
            batchsize: 150,
            stored: BTreeSet::new(),
            sent: 0,
            runs: 0,
        }
    }

    fn start(&mut self) -> Run {
        self.runs += 1;
        let positions = self.dir.positions();
        let (mut outlet, batches) = outlet("loki");
        outlet.batch.batchsize = self.batchsize;
        outlet.batch.replay_window = self.window;
        let stages: Vec<serde_yaml::Value> = serde_yaml::from_str(self.stages).expect("yaml");
        let job = Job {
            name: "job".into(),
            rules: Rules::compile(&[]).expect("no rules"),
            program: Some(crate::stages::compile(&stages).expect("stages")),
            options: tail::Options { grace: Duration::from_millis(50), ..tail::Options::default() },
            journal: None,
            has_containers: false,
            initial_delay: Duration::ZERO,
            start_at: Default::default(),
            unreadable: None,
        };
        let config = Config {
            hostname: "here".into(),
            sync_period: Duration::from_secs(1),
            positions_sync_period: Duration::from_secs(1),
            min_poll: Duration::from_millis(10),
            max_poll: Some(Duration::from_millis(10)),
            rate: None,
            close_idle_after: Duration::ZERO,
            deleted_files_limit: 1 << 30,
            pod_logs: None,
            files: 2000,
            logs: 1000,
            link_roots: Vec::new(),
            rotated_dirs: vec!["old".into()],
            dry_run: false,
            stdin: None,
            receivers: Vec::new(),
        };
        let (registry, status) = (Registry::new(), Arc::new(Status::default()));
        let commands = Arc::new(Commands::new(Arc::new(Parker::default())));
        let reader = Reader::new(Parts {
            clock: self.clock.clone(),
            index: 0,
            config,
            jobs: [job].into(),
            outlet,
            positions: positions.clone(),
            commands: commands.clone(),
            target_manager: Default::default(),
            metrics: Metrics::register(&registry, status.clone()),
            dropped: Dropped::register(&registry),
            custom: None,
            live_tail: None,
            status,
            open_logs: Default::default(),
            quiet: crate::tail::QuietFiles::none(),
        });
        let path = self.dir.path("0.log");
        let target = Target::new("job".into(), LabelSet::new([("app", "a")]), path.display().to_string());
        // The log's number differs in each run, as in reality.
        let log = 10 + self.runs as u64;
        let assignment = Assignment {
            log,
            path: path.into(),
            folder: self.dir.0.path().into(),
            target: target.into(),
            allowed: Default::default(),
            job: 0,
            from_oldest: false,
            start: None,
        };
        commands.send(Command::Add(assignment));
        Run { reader: Supervised::new(reader, || {}).0, commands, positions, batches, unanswered: Vec::new() }
    }

    /// One turn of the reader. Loki stores what is sent, whether or not the answer arrives.
    fn turn(&mut self, run: &mut Run) {
        run.reader.hold().turn();
        self.clock.advance(TURN);
        for batch in std::iter::from_fn(|| run.batches.try_recv().ok()).flatten() {
            self.sent += batch.entries();
            self.stored.extend(decode(&batch));
            run.unanswered.push(batch);
        }
    }

    /// Runs until everything is answered and no more comes, then releases what the stages hold.
    fn finish(&mut self) {
        let mut run = self.start();
        for wait in [Duration::ZERO, Duration::from_secs(20_000)] {
            self.clock.advance(wait);
            // Long enough for a renamed file to be closed.
            let mut quiet = 0;
            while quiet < 20 {
                self.turn(&mut run);
                quiet = if run.unanswered.is_empty() { quiet + 1 } else { 0 };
                run.unanswered.drain(..).for_each(Batch::close);
            }
        }
        // Then what a new agent finds.
        let before = self.stored.len();
        drop(run);
        let mut run = self.start();
        (0..20).for_each(|_| self.turn(&mut run));
        assert!(run.unanswered.is_empty(), "all was delivered, and still something was sent again");
        assert_eq!(self.stored.len(), before);
    }

    fn rotate(&self, run: &Run) {
        fs::rename(self.dir.path("0.log"), self.dir.path("0.log.20261122-100000")).expect("renamed");
        self.dir.append("0.log", "");
        run.commands.send(Command::Look(10 + self.runs as u64));
    }

    fn compress(&self) {
        let plain = self.dir.path("0.log.20261122-100000");
        let file = fs::File::create(self.dir.path("0.log.20261122-100000.gz")).expect("created");
        let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        encoder.write_all(&fs::read(&plain).expect("read")).expect("written");
        encoder.finish().expect("written");
        fs::remove_file(plain).expect("removed");
    }
}

/// Reproducible random numbers.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % sides
    }
}

/// The entries of the file that an undisturbed agent stores.
fn undisturbed(stages: &'static str, text: &str) -> BTreeSet<Stored> {
    let mut machine = Machine::new(stages);
    machine.dir.append("0.log", text);
    machine.finish();
    machine.stored
}

/// Labels (without `filename`, which contains the directory) and line of each entry, in order. A duplicate was stored
/// under two times.
fn parts(stored: &BTreeSet<Stored>) -> Vec<(&str, &str)> {
    let mut parts: Vec<(&str, &str)> = Vec::new();
    for entry in stored {
        let stream = entry.labels.split_once("stream=").map_or("", |(_, stream)| stream);
        parts.push((stream, &entry.line));
    }
    parts.sort_unstable();
    parts
}

/// Kills agents at random moments while the file grows and perhaps rotates. Compares everything stored with what an
/// undisturbed agent stores.
#[track_caller]
fn check(stages: &'static str, text: &str, rotates: bool) {
    let undisturbed = undisturbed(stages, text);
    let want = parts(&undisturbed);
    let mut again = 0;
    for seed in 0..SEEDS {
        let mut dice = Dice(seed);
        let mut machine = Machine::new(stages);
        machine.window = [120, 300, 900][dice.roll(3)];
        machine.batchsize = [1, 100, 400][dice.roll(3)];
        let mut rest = text;
        let mut rotated = 0;
        while !rest.is_empty() {
            let mut run = machine.start();
            for _ in 0..1 + dice.roll(8) {
                if dice.roll(2) == 0 {
                    let (now, later) = rest.split_at(dice.roll(400).min(rest.len()));
                    machine.dir.append("0.log", now);
                    rest = later;
                }
                // At the end of a line, as the kubelet does.
                let whole = rest.len() < text.len() && text[..text.len() - rest.len()].ends_with('\n');
                if rotates && rotated == 0 && whole && rest.len() < text.len() / 2 {
                    rotated = 1;
                    machine.rotate(&run);
                }
                machine.turn(&mut run);
                for _ in 0..dice.roll(4) {
                    if !run.unanswered.is_empty() {
                        let batch = run.unanswered.swap_remove(dice.roll(run.unanswered.len()));
                        batch.close();
                    }
                }
                if dice.roll(16) == 0 {
                    run.positions.sync().expect("written");
                }
            }
            // Killed: its memory is lost.
            drop(run);
            if rotated == 1 && dice.roll(2) == 0 {
                rotated = 2;
                machine.compress();
            }
        }
        machine.finish();
        assert_eq!(parts(&machine.stored), want, "seed {seed}, {} runs", machine.runs);
        again += machine.sent - machine.stored.len();
    }
    assert!(again > 0, "nothing was sent twice: this tested nothing");
}

/// The output of a program: lines of both streams in turn, in parts or whole.
fn cri(lines: usize, mut line: impl FnMut(&mut Dice, usize) -> String) -> String {
    let mut dice = Dice(7);
    let mut text = String::new();
    for n in 0..lines {
        let stream = ["stdout", "stderr"][dice.roll(2)];
        let flag = if dice.roll(3) == 0 && n + 6 < lines { "P" } else { "F" };
        let content = line(&mut dice, n);
        text += &format!("2026-11-22T10:00:{:02}.{n:09}Z {stream} {flag} {content}\n", n / 10 % 60);
    }
    text
}

#[test]
fn lines_without_times_of_their_own() {
    let text: String = (0..120).map(|n| format!("line {n} {}\n", "x".repeat(n * 7 % 60))).collect();
    check("[]", &text, false);
    check("[]", &text, true);
}

#[test]
fn lines_some_of_which_have_times_of_their_own() {
    let line = |n: usize| match n % 7 {
        0 => format!("odd {n}\n"),
        _ => format!("2026-11-22T10:00:00.{n:09}Z stdout F line {n}\n"),
    };
    let text: String = (0..120).map(line).collect();
    check("[cri: {}]", &text, true);
}

#[test]
fn parts_of_both_streams() {
    let text = cri(150, |_, n| format!("part {n} "));
    check("[cri: {}]", &text, false);
    check("[cri: {}]", &text, true);
}

#[test]
fn blocks_of_lines_without_times() {
    for width in [1, 70] {
        let mut dice = Dice(3);
        let mut line = |n: usize| {
            let mark = if n == 0 || dice.roll(4) == 0 { ">" } else { " " };
            format!("{mark} {n} {}\n", "x".repeat(width))
        };
        let text: String = (0..120).map(&mut line).collect();
        check("[multiline: {firstline: '^>', max_wait_time: 2h}]", &text, width > 1);
    }
}

#[test]
fn blocks_that_are_cut_and_go_on() {
    let mut dice = Dice(5);
    let mut line = |n: usize| format!("{} {n}\n", if n == 0 || dice.roll(9) == 0 { ">" } else { " " });
    let text: String = (0..150).map(&mut line).collect();
    check("[multiline: {firstline: '^>', max_lines: 3, max_wait_time: 2h}]", &text, true);
}

#[test]
fn blocks_of_both_streams_whose_lines_come_in_parts() {
    let mut firsts = [true; 2];
    let text = cri(200, |dice, n| {
        let first = dice.roll(4) == 0 || std::mem::take(&mut firsts[n % 2]);
        format!("{}{n} ", if first { ">" } else { " " })
    });
    check("[cri: {}, multiline: {firstline: '^>', max_wait_time: 2h}]", &text, true);
    check("[cri: {}, labeldrop: [stream], multiline: {firstline: '^>', max_wait_time: 2h}]", &text, false);
}

#[test]
fn bytes_that_are_no_text_and_chance_and_the_time() {
    let text: String = (0..100).map(|n| format!("n={n} ü\u{fffd}\n")).collect();
    let stages = "[sampling: {rate: 0.5}, regex: {expression: 'n=(?P<n>.)'}, timestamp: {source: n, format: Unix}, \
                  template: {source: t, template: '{{ .Entry }} {{ now.UnixNano }} {{ uuidv4 }}'}, output: {source: t}]";
    let mut machine = Machine::new(stages);
    machine.dir.append("0.log", &text);
    let mut twice = machine.start();
    (0..6).for_each(|_| machine.turn(&mut twice));
    drop(twice);
    assert!(!machine.stored.is_empty());
    machine.finish();
    let numbers: BTreeSet<&str> = machine.stored.iter().filter_map(|s| s.line.split(' ').next()).collect();
    assert!(machine.sent > machine.stored.len());
    assert_eq!(numbers.len(), machine.stored.len(), "each line came out the same way each time");
}

#[test]
fn a_chunk_goes_on_until_a_streams_window_is_full() {
    let line = |n: usize| {
        let stream = if n.is_multiple_of(3) { "stderr" } else { "stdout" };
        format!("2026-11-22T10:00:{:02}.{n:09}Z {stream} F line {n} {}\n", n / 50 % 60, "x".repeat(60))
    };
    let text: String = (0..2_000).map(line).collect();
    for (stages, lines) in [("[cri: {}]", 2_000), ("[]", 2_000), ("[cri: {}, drop: {expression: '7 x'}]", 1_800)] {
        let mut machine = Machine::new(stages);
        (machine.window, machine.batchsize) = (4_096, 1 << 20);
        machine.dir.append("0.log", &text);
        let mut run = machine.start();
        let (mut of_stream, mut of_all) = (0, 0);
        for _ in 0..200 {
            machine.turn(&mut run);
            let mut bytes = std::collections::BTreeMap::<String, usize>::new();
            let sent: Vec<Stored> = run.unanswered.iter().flat_map(decode).collect();
            sent.iter().for_each(|entry| *bytes.entry(entry.labels.clone()).or_default() += entry.line.len());
            of_stream = of_stream.max(bytes.values().copied().max().unwrap_or(0));
            of_all = of_all.max(bytes.values().sum());
            run.unanswered.drain(..).for_each(Batch::close);
        }
        let longest = line(1_999).len();
        assert!(of_stream <= 4_096 + longest, "{stages}: {of_stream} of a stream");
        // Both together have more in flight than one window.
        assert_eq!(of_all > 4_096 + longest, stages != "[]", "{stages}: {of_all} of all");
        assert_eq!(machine.stored.len(), lines, "{stages}");
        drop(run);
        machine.finish();
        assert_eq!(machine.sent, machine.stored.len(), "{stages}: nothing was sent twice");
    }
}

#[test]
fn long_lines_do_not_make_more_of_a_window() {
    for len in [20_000, 25_000, 29_000, 31_000, 59_000] {
        let mut machine = Machine::new("[]");
        (machine.window, machine.batchsize) = (64 << 10, 1 << 20);
        machine.dir.append("0.log", (0..60).map(|n| format!("{n:03}{}\n", "x".repeat(len))).collect::<String>());
        let mut run = machine.start();
        for _ in 0..300 {
            machine.turn(&mut run);
            let sent: usize = run.unanswered.iter().map(Batch::bytes).sum();
            assert!(sent <= 64 << 10, "{sent} bytes, of lines of {len}");
            run.unanswered.drain(..).for_each(Batch::close);
        }
        assert_eq!(machine.stored.len(), 60, "lines of {len}");
        drop(run);
        machine.finish();
    }
}

#[test]
fn where_all_lines_have_times_nothing_is_remembered() {
    let mut machine = Machine::new("[cri: {}]");
    machine.dir.append("0.log", cri(150, |_, n| format!("part {n} ")));
    let mut run = machine.start();
    for _ in 0..200 {
        machine.turn(&mut run);
        run.unanswered.drain(..).for_each(Batch::close);
    }
    assert!(machine.stored.len() > 50);
    let journal = fs::read_to_string(machine.dir.path("positions.yaml.journal")).expect("read");
    assert!(!journal.lines().any(|line| line.starts_with("r ")), "{journal}");
}
