//! A source whose system calls hang until the test lets them return.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver as Outcomes, Sender, channel};
use std::time::Instant;

use super::rig::{self, Dir, decode, outlet};
use crate::model::{Checkpoint, Chunk, Encoding, Mark, Position, Progress, Read, Source, Target, Wake};
use crate::scrape::messages::{Assignment, Command, Commands, SourceAssignment, StopRequest};
use crate::scrape::open_logs::ReaderLogs;
use crate::scrape::parker::Parker;
use crate::scrape::reader::{Parts, Reader};
use crate::scrape::supervised::{Found, Seen, Supervised, Watched};
use crate::scrape::*;

/// Where the source hangs.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Open,
    Read,
    Commit,
}

/// One line. One of the calls hangs, once.
#[derive(Debug)]
struct Stuck {
    place: Place,
    until: Option<Mutex<Outcomes<()>>>,
    offset: u64,
}

const LINE: &str = "a line that comes late\n";

impl Stuck {
    fn hang_at(&mut self, place: Place) {
        if place == self.place
            && let Some(until) = self.until.take()
        {
            let _ = until.lock().expect("well").recv();
        }
    }
}

impl Source for Stuck {
    fn read(&mut self, _: usize, _: Instant, chunk: &mut Chunk) -> std::io::Result<Read> {
        self.hang_at(Place::Read);
        if self.offset > 0 {
            return Ok(Read::Idle);
        }
        chunk.bytes = LINE.into();
        (chunk.len, chunk.records, chunk.encoding) = (LINE.len(), None, Encoding::Utf8);
        (chunk.start, chunk.place) = (Mark(0), Position::default());
        self.offset = LINE.len() as u64;
        Ok(Read::Records { more: false })
    }

    fn rewind(&mut self, to: Mark) -> u64 {
        self.offset = to.0;
        0
    }

    fn committed(&mut self, to: Mark) -> Option<Checkpoint> {
        self.hang_at(Place::Commit);
        Some(Checkpoint::Cursor(to.0.to_string().into()))
    }

    fn wake(&self) -> Wake {
        Wake::Poll
    }

    fn note_progress(&self, _: &mut Progress) {}
}

struct Scene {
    dir: Dir,
    commands: Arc<Commands>,
    reader: Arc<Supervised<Reader>>,
    outcome: Outcomes<ReaderLogs>,
    batches: tokio::sync::mpsc::UnboundedReceiver<Vec<Batch>>,
    status: Arc<Status>,
    let_go: Sender<()>,
    seen: Seen,
}

impl Scene {
    /// A reader with a log of files and a source that hangs.
    fn new(place: Place) -> Self {
        let (dir, (outlet, batches)) = (Dir::new(), outlet("loki"));
        dir.append("a.log", "line 0\n");
        let (registry, status) = (Registry::new(), Arc::new(Status::default()));
        let commands = Arc::new(Commands::new(Arc::new(Parker::default())));
        let target = |path: &str| Target::new("job".into(), LabelSet::new([("app", "a")]), path);
        let reader = Reader::new(Parts {
            clock: Clock::default(),
            index: 0,
            config: rig::config(),
            jobs: vec![rig::job("job", "[]")].into(),
            outlet,
            positions: dir.positions(),
            commands: commands.clone(),
            target_manager: Arc::default(),
            metrics: metrics::Metrics::register(&registry, status.clone()),
            dropped: Dropped::register(&registry),
            custom: None,
            live_tail: None,
            status: status.clone(),
            open_logs: Default::default(),
            quiet: crate::tail::QuietFiles::none(),
        });
        let (let_go, until) = channel();
        let until = Mutex::new(Some(until));
        let open = move |_: Opening| {
            let mut stuck = Stuck { place, until: until.lock().expect("well").take().map(Mutex::new), offset: 0 };
            stuck.hang_at(Place::Open);
            Ok(Box::new(stuck) as Box<dyn Source>)
        };
        let name = ("job".into(), "stuck".into());
        let source = GivenSource::new(name, LabelSet::new([("app", "a")]), Some("cursor-stuck".into()), open);
        let stuck = Arc::new(source.target());
        commands.send(Command::Open(SourceAssignment { log: 1, target: stuck, source: Arc::new(source) }));
        commands.send(Command::Add(Assignment {
            log: 2,
            path: dir.path("a.log").into(),
            folder: dir.0.path().into(),
            target: Arc::new(target("*.log")),
            allowed: Default::default(),
            job: 0,
            from_oldest: false,
            start: None,
        }));
        let (reader, outcome) = Supervised::new(reader, || {});
        reader.start().expect("started");
        Self { dir, commands, reader, outcome, batches, status, let_go, seen: Seen::new(Instant::now()) }
    }

    /// Checks the reader as the watchdog does, until this line arrives. Returns all lines.
    fn until(&mut self, line: &str) -> Vec<String> {
        let (begun, mut lines) = (Instant::now(), Vec::<String>::new());
        while !lines.iter().any(|arrived| arrived == line) {
            assert!(begun.elapsed() < Duration::from_secs(20), "{line:?} does not arrive; there is: {lines:?}");
            std::thread::park_timeout(Duration::from_millis(20));
            assert_ne!(self.reader.clone().check(&mut self.seen, Instant::now()), Found::Over);
            for batch in std::iter::from_fn(|| self.batches.try_recv().ok()).flatten() {
                lines.extend(decode(&batch).into_iter().map(|stored| stored.line));
                batch.close();
            }
            self.commands.parker.ring();
        }
        lines
    }

    /// None: it does not stop.
    fn stop(mut self) -> Option<(ReaderLogs, Dir)> {
        self.commands.send(Command::Stop(StopRequest { within: Duration::from_secs(5), reads_on: true }));
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            for batch in std::iter::from_fn(|| self.batches.try_recv().ok()).flatten() {
                batch.close();
            }
            self.commands.parker.ring();
            if let Ok(logs) = self.outcome.recv_timeout(Duration::from_millis(20)) {
                return Some((logs, self.dir));
            }
        }
        None
    }
}

#[test]
fn what_hangs_stops_no_other_log_and_arrives_once_when_it_returns() {
    for place in [Place::Open, Place::Read, Place::Commit] {
        let mut scene = Scene::new(place);
        let mut lines = scene.until("line 0");
        for n in 1..20 {
            scene.dir.append("a.log", format!("line {n}\n"));
            lines.extend(scene.until(&format!("line {n}")));
        }
        let is_late = |line: &String| line == LINE.trim();
        // Its line is there already if only the commit hangs.
        assert_eq!(lines.iter().any(is_late), place == Place::Commit, "{place:?}: {lines:?}");
        scene.let_go.send(()).expect("it hangs");
        if place != Place::Commit {
            lines.extend(scene.until(LINE.trim()));
        }
        scene.dir.append("a.log", "the last line\n");
        lines.extend(scene.until("the last line"));
        assert_eq!((lines.len(), lines.iter().filter(|line| is_late(line)).count()), (22, 1), "{place:?}: {lines:?}");
        assert!(scene.status.files().iter().all(|file| file.error.is_none()), "{place:?}");
        let journal = scene.dir.path("positions.yaml.journal");
        let dir = scene.stop().map(|(_, dir)| dir);
        assert!(dir.is_some(), "{place:?}: it does not stop");
        let journal = std::fs::read_to_string(journal).expect("there");
        let cursor = format!("\"{}\"", LINE.len());
        assert!(journal.lines().any(|line| line.starts_with("c ") && line.contains(&cursor)), "{place:?}: {journal}");
    }
}

#[test]
fn a_log_that_hangs_holds_up_no_stop() {
    for place in [Place::Open, Place::Read] {
        let mut scene = Scene::new(place);
        scene.until("line 0");
        scene.dir.append("a.log", "line 1\n");
        scene.until("line 1");
        let (let_go, reader) = (scene.let_go.clone(), scene.reader.clone());
        assert!(scene.stop().is_some(), "{place:?}");
        // The thread that hung finds everything finished.
        let_go.send(()).expect("it hangs");
        while Arc::strong_count(&reader) > 1 {
            std::thread::yield_now();
        }
    }
}
