//! Files that are not read yet, on a clock of the test.

mod gone;
mod quiet;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;

use super::rig::{self, Dir, decode};
use crate::batch::Batch;
use crate::metrics::{Dropped, Registry};
use crate::model::{Clock, LabelSet, Report, Target};
use crate::positions::Positions;
use crate::scrape::messages::{Assignment, Command, Commands, StopRequest};
use crate::scrape::metrics::Metrics;
use crate::scrape::open_logs::OpenLogs;
use crate::scrape::reader::{Parts, Reader};
use crate::scrape::status::Status;
use crate::scrape::supervised::Supervised;
use crate::tail::QuietFiles;

struct Scene {
    dir: Dir,
    clock: Clock,
    positions: Arc<Positions>,
    reader: Arc<Supervised<Reader>>,
    commands: Arc<Commands>,
    batches: UnboundedReceiver<Vec<Batch>>,
    target: Arc<Target>,
    status: Arc<Status>,
    logs: u64,
}

impl Scene {
    fn new(initial_delay: Duration) -> Self {
        let dir = Dir::new();
        let positions = dir.positions();
        Self::start(dir, Clock::standing(1), positions, initial_delay, OpenLogs::default(), |_| QuietFiles::none())
    }

    fn start(
        dir: Dir,
        clock: Clock,
        positions: Arc<Positions>,
        initial_delay: Duration,
        logs: OpenLogs,
        quiet: impl FnOnce(Arc<Commands>) -> QuietFiles,
    ) -> Self {
        let registry = Registry::new();
        let (status, commands) = (Arc::new(Status::default()), Arc::new(Commands::new(Arc::default())));
        let (outlet, batches) = rig::outlet("loki");
        let mut job = rig::job("job", "[]");
        job.initial_delay = initial_delay;
        let target =
            Arc::new(Target::new("job".into(), LabelSet::new([("app", "a")]), dir.path("*.log").display().to_string()));
        status.add_target(1, target.clone());
        let reader = Reader::new(Parts {
            clock: clock.clone(),
            index: 0,
            config: rig::config(),
            jobs: [job].into(),
            outlet,
            positions: positions.clone(),
            commands: commands.clone(),
            target_manager: Default::default(),
            metrics: Metrics::register(&registry, status.clone()),
            dropped: Dropped::register(&registry),
            custom: None,
            live_tail: None,
            status: status.clone(),
            open_logs: logs.share_out(&["loki".into()]).remove(0),
            quiet: quiet(commands.clone()),
        });
        let reader = Supervised::new(reader, || {}).0;
        Self { dir, clock, positions, reader, commands, batches, target, status, logs: 0 }
    }

    fn add(&mut self, name: &str) {
        self.logs += 1;
        let (log, path, target) = (self.logs, self.dir.path(name), self.target.clone());
        self.commands.send(Command::Add(Assignment {
            log,
            path: path.into(),
            folder: self.dir.0.path().into(),
            target,
            allowed: Default::default(),
            job: 0,
            from_oldest: false,
            start: None,
        }));
    }

    /// The scrape after a reload in which this delay was written into the config. Loki has not answered.
    fn reload(self, initial_delay: Duration) -> Self {
        self.commands.send(Command::Stop(StopRequest { within: Duration::ZERO, reads_on: false }));
        while self.reader.hold().turn().is_some() {}
        let left = OpenLogs::new(vec![self.reader.hold().finish().expect("it is the only thread")]);
        let readers = [("loki".into(), "job".into())].into();
        self.positions.begin_run(readers, self.clock.system_time(), left.has_looked());
        Self::start(self.dir, self.clock, self.positions, initial_delay, left, |_| QuietFiles::none())
    }

    /// The lines that arrive while this much time passes.
    fn lines(&mut self, passes: Duration) -> Vec<String> {
        let mut lines = Vec::new();
        let steps = 1 + passes.as_millis() / 100;
        for _ in 0..steps {
            self.reader.hold().turn();
            self.clock.advance(Duration::from_millis(100));
            for batch in std::iter::from_fn(|| self.batches.try_recv().ok()).flatten() {
                lines.extend(decode(&batch).into_iter().map(|stored| stored.line));
                batch.close();
            }
        }
        lines
    }

    /// Why each file is not read. None: it is read.
    fn errors(&self) -> Vec<(PathBuf, Option<String>)> {
        let files = self.status.targets().into_iter().flat_map(|target| target.files);
        files.map(|file| (file.path.into(), file.error)).collect()
    }
}

/// The names of a directory that are open.
fn open_files(dir: &Dir) -> usize {
    let links = fs::read_dir("/proc/self/fd").expect("there").filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    links.filter(|path| path.starts_with(dir.0.path()) && path.extension().is_some_and(|is| is == "log")).count()
}

#[test]
fn at_the_start_all_files_are_open_before_one_is_read_unless_that_takes_long() {
    const FILES: usize = 40;
    // An opening takes four milliseconds or half a second, and a slice of openings ten milliseconds.
    for (step, all) in [(4, true), (500, false)] {
        let mut scene = Scene::new(Duration::ZERO);
        for n in 0..FILES {
            scene.dir.append(&format!("{n}.log"), "one\n");
            scene.add(&format!("{n}.log"));
        }
        scene.clock.step_by(Duration::from_millis(step));
        let has_read = |scene: &Scene| scene.status.accounts().iter().any(|(_, account)| account.read.lines > 0);
        let mut turns = 0;
        while !has_read(&scene) {
            scene.reader.hold().turn();
            turns += 1;
        }
        assert_eq!(open_files(&scene.dir) == FILES, all, "{step} ms, {turns} turns");
        assert!(turns > 1, "{step} ms, {turns} turns");
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_file_is_left_alone_for_as_long_as_its_job_says() {
    let mut scene = Scene::new(60 * SECOND);
    scene.dir.append("a.log", "one\n");
    scene.add("a.log");
    assert_eq!(scene.lines(59 * SECOND), [""; 0]);
    // A file that is gone by then is never read.
    scene.dir.append("b.log", "two\n");
    scene.add("b.log");
    assert_eq!(scene.lines(2 * SECOND), ["one"]);
    scene.commands.send(Command::Retire(2));
    assert_eq!(scene.lines(100 * SECOND), [""; 0]);
}

#[test]
fn a_file_with_two_names_is_read_once_and_the_other_name_says_why_it_is_not() {
    let mut scene = Scene::new(Duration::ZERO);
    scene.dir.append("a.log", "one\n");
    fs::hard_link(scene.dir.path("a.log"), scene.dir.path("b.log")).expect("linked");
    scene.add("a.log");
    assert_eq!(scene.lines(SECOND), ["one"]);
    scene.add("b.log");
    assert_eq!(scene.lines(3 * SECOND), [""; 0]);
    let (a, b) = (scene.dir.path("a.log"), scene.dir.path("b.log"));
    assert_eq!(scene.errors(), [(a.clone(), None)], "what is over soon is not spoken of");
    assert_eq!(scene.lines(10 * SECOND), [""; 0]);
    let errors = scene.errors();
    let why = errors.iter().find(|(path, _)| *path == b).and_then(|(_, why)| why.clone());
    assert!(why.is_some_and(|why| why.contains("under another name")), "{errors:?}");
    // The first name is removed, and with it the reason why the second one waits.
    fs::remove_file(&a).expect("removed");
    scene.commands.send(Command::Look(1));
    scene.dir.append("b.log", "two\n");
    assert_eq!(scene.lines(120 * SECOND), ["two"]);
    assert!(scene.errors().iter().all(|(_, why)| why.is_none()), "{:?}", scene.errors());
}

/// The file of a new name was read under another one, and nobody knows yet whether that log comes again.
#[test]
fn a_log_that_waits_for_another_is_read_although_its_target_goes_meanwhile() {
    let mut scene = Scene::new(Duration::ZERO);
    scene.dir.append("a.log", "one\n");
    scene.add("a.log");
    assert_eq!(scene.lines(SECOND), ["one"]);
    let Scene { dir, clock, .. } = scene;
    fs::rename(dir.path("a.log"), dir.path("b.log")).expect("renamed");
    dir.append("b.log", "two\n");
    let positions = dir.positions();
    let mut scene = Scene::start(dir, clock, positions, Duration::ZERO, OpenLogs::default(), |_| QuietFiles::none());
    scene.add("b.log");
    assert_eq!(scene.lines(SECOND), [""; 0]);
    scene.commands.send(Command::Retire(1));
    assert_eq!(scene.lines(SECOND), [""; 0]);
    // All targets are known, and none has the first name.
    scene.commands.send(Command::Settle);
    assert_eq!(scene.lines(5 * SECOND), ["two"]);
}

#[test]
fn a_log_whose_target_goes_before_it_is_opened_again_is_read_to_its_end_beside_another() {
    let mut scene = Scene::new(Duration::ZERO);
    // More than is sent before Loki answers, so that reading goes on after both have begun.
    for name in ["a", "b"] {
        scene.dir.append(&format!("{name}.log"), (0..2000).map(|n| format!("{name} {n:0100}\n")).collect::<String>());
        scene.add(&format!("{name}.log"));
    }
    scene.reader.hold().turn();
    let mut scene = scene.reload(60 * SECOND);
    for name in ["a.log", "b.log"] {
        fs::remove_file(scene.dir.path(name)).expect("removed");
    }
    // The targets are known. That of the first log is gone, and the second one's waits.
    scene.add("b.log");
    scene.commands.send(Command::Settle);
    scene.reader.hold().turn();
    scene.commands.send(Command::Retire(1));
    let mut lines = scene.lines(30 * SECOND);
    lines.sort();
    let all = ["a", "b"].iter().flat_map(|name| (0..2000).map(move |n| format!("{name} {n:0100}")));
    assert!(lines.iter().cloned().eq(all), "{} lines of 4000", lines.len());
}

#[test]
fn a_name_that_is_made_and_deleted_again_and_again_while_loki_is_away_is_opened_each_time() {
    let mut scene = Scene::new(Duration::ZERO);
    let mut unanswered = Vec::new();
    for n in 0..4 {
        scene.dir.append("a.log", format!("line {n}\n"));
        match n {
            0 => scene.add("a.log"),
            _ => scene.commands.send(Command::Look(1)),
        }
        for _ in 0..30 {
            if scene.reader.hold().turn().is_some() {
                scene.clock.advance(Duration::from_millis(100));
            }
            unanswered.extend(std::iter::from_fn(|| scene.batches.try_recv().ok()).flatten());
        }
        let read: u64 = scene.status.files().iter().map(|file| file.ledger.account().read.lines).sum();
        assert_eq!(read, n + 1, "line {n} is read");
        fs::remove_file(scene.dir.path("a.log")).expect("removed");
        scene.commands.send(Command::Look(1));
        // It is read to its end, and ends.
        for _ in 0..30 {
            scene.reader.hold().turn();
            scene.clock.advance(Duration::from_millis(100));
        }
    }
    let mut lines: Vec<String> = Vec::new();
    for batch in unanswered {
        lines.extend(decode(&batch).into_iter().map(|stored| stored.line));
        batch.close();
    }
    lines.extend(scene.lines(5 * SECOND));
    assert_eq!(lines, ["line 0", "line 1", "line 2", "line 3"]);
}
