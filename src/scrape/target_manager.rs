//! The thread that decides which logs exist: relabelling, globs, names heard of.

mod index;
mod telling;
mod tracking;
mod walking;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::index::{Names, Places, Same};
use super::budget::Budget;
use super::inbox::Inbox;
use super::messages::{Command, Commands, Event, Events, Opener, SourceAssignment};
use super::metrics::Metrics;
use super::status::Status;
use super::unread::Unread;
use super::watch::{Heard, Watch};
use super::{Config, Job};
use crate::model::{Owner, Target, Update};
use crate::positions::Positions;
use crate::tail::Glob;

/// Names come in bursts; a walk waits for the burst to pass.
const BURST: Duration = Duration::from_millis(50);

/// With names being heard of, walking all globs is a safety net: every so many sync periods.
const SAFETY_NET: u32 = 6;

/// A pod may be known before it has a log; when it has none for so long, that is said.
const PATIENCE: Duration = Duration::from_secs(10);

/// The summary of what was found is not held back longer for a slow discovery.
const SUMMARY: Duration = Duration::from_secs(5);

pub(super) struct TargetManager {
    config: Config,
    jobs: Arc<[Job]>,
    readers: Vec<Arc<Commands>>,
    positions: Arc<Positions>,
    metrics: Metrics,
    status: Arc<Status>,
    events: Arc<Events>,
    watch: Watch,
    /// Which targets each source of each job has.
    sources: HashMap<(Arc<str>, String), Vec<Same>>,
    /// How many sources have a target.
    wanted: HashMap<Same, usize>,
    tracked: BTreeMap<u64, TrackedTarget>,
    /// Where a target is among those.
    ids: HashMap<Same, u64>,
    logs: BTreeMap<u64, AssignedLog>,
    /// Logs that are held until it is known whose they are.
    held: BTreeSet<u64>,
    /// For names heard of.
    names: Names,
    places: Places,
    next: u64,
    unsynced: BTreeSet<Arc<str>>,
    summarised: bool,
    positions_fail: bool,
    budget: Budget,
    /// How often a name was compared with a target.
    #[cfg(test)]
    pub compared: usize,
}

/// A target that is tailed.
#[derive(Debug)]
struct TrackedTarget {
    target: Arc<Target>,
    job: usize,
    glob: Glob,
    exclude: Option<Glob>,
    files: BTreeMap<Arc<Path>, u64>,
    directories: BTreeSet<PathBuf>,
    dirty: bool,
    /// Its walk took long: it is not walked again before then.
    rests_until: Option<Instant>,
    unread: Arc<Unread>,
    /// Since when it has had no file, if it has none; and whether that was said.
    empty: Option<Instant>,
    empty_said: bool,
}

/// A log that readers have.
#[derive(Debug)]
struct AssignedLog {
    path: Arc<Path>,
    job: usize,
    /// None: its target is gone.
    tracked: Option<u64>,
    /// The directory where its rotations show, and its name there.
    place: Option<(PathBuf, OsString)>,
    /// Readers that are done with it; the others may still wait for their Loki.
    away: BTreeSet<usize>,
    /// Whose it was taken for, if it is held until that is known.
    held_for: Option<Owner>,
    /// The agent ends with it.
    is_last: bool,
}

/// A source whose records are handed in; the agent ends when it has ended.
pub(super) struct ReceivedSource {
    pub name: Arc<str>,
    pub target: Arc<Target>,
    pub job: usize,
    /// One for each reader.
    pub inboxes: Vec<Inbox>,
}

impl TargetManager {
    pub fn new(
        config: Config,
        jobs: Arc<[Job]>,
        readers: Vec<Arc<Commands>>,
        positions: Arc<Positions>,
        metrics: Metrics,
        status: Arc<Status>,
        events: Arc<Events>,
    ) -> Self {
        let heard = events.clone();
        let watch = Watch::new(move |what| heard.send(Event::Heard(what)));
        let unsynced = jobs.iter().map(|job| job.name.clone()).collect();
        Self {
            config,
            jobs,
            readers,
            positions,
            metrics,
            status,
            events,
            watch,
            sources: HashMap::new(),
            wanted: HashMap::new(),
            tracked: BTreeMap::new(),
            ids: HashMap::new(),
            logs: BTreeMap::new(),
            held: BTreeSet::new(),
            names: Names::default(),
            places: Places::default(),
            next: 1,
            unsynced,
            summarised: false,
            positions_fail: false,
            budget: Budget::new(Instant::now()),
            #[cfg(test)]
            compared: 0,
        }
    }

    pub fn run(mut self) {
        let started = Instant::now();
        let mut walk_at: Option<Instant> = None;
        let mut full_walk = started + self.config.sync_period;
        let mut sync_positions = started + self.config.positions_sync_period;
        let mut say_empty = started + PATIENCE;
        let mut running = self.readers.len();
        while running > 0 {
            let now = Instant::now();
            if walk_at.is_some_and(|at| at <= now) {
                walk_at = self.walk_dirty();
            }
            if now >= full_walk {
                let every = if self.watch.is_working() { SAFETY_NET } else { 1 };
                full_walk = now + self.config.sync_period * every;
                walk_at = self.walk_all();
            }
            if now >= sync_positions {
                sync_positions = now + self.config.positions_sync_period;
                self.sync_positions();
            }
            if now >= say_empty {
                say_empty = now + PATIENCE;
                self.say_empty(|tracked, since| tracked.is_of_pod() && now < since + PATIENCE);
            }
            if !self.summarised && (self.unsynced.is_empty() && walk_at.is_none() || now >= started + SUMMARY) {
                self.summarise();
            }
            let mut until = full_walk.min(sync_positions).min(say_empty);
            if !self.summarised {
                until = until.min(started + SUMMARY);
            }
            let wait = walk_at.map_or(until, |at| at.min(until)).saturating_duration_since(now);
            let Some(event) = self.events.next(wait) else {
                continue;
            };
            if let Event::Stopped { reader } = event {
                tracing::debug!(reader, "stopped");
                running -= 1;
            } else if self.take(event) {
                let soon = Instant::now() + BURST;
                walk_at = Some(walk_at.map_or(soon, |at| at.min(soon)));
            }
        }
        self.sync_positions();
    }

    /// Whether there is something to walk.
    fn take(&mut self, event: Event) -> bool {
        match event {
            Event::Update(Update::Group { job, group }) => self.update(&job, group),
            Event::Update(Update::Synced { job }) => {
                self.unsynced.remove(&job);
                true
            }
            Event::Heard(Heard::Names(paths)) => {
                let mut dirty = false;
                for path in paths {
                    dirty |= self.hear(&path);
                }
                dirty
            }
            Event::Heard(Heard::Everything) => {
                self.walk_all();
                true
            }
            Event::Finished { reader, log } => self.finished(reader, log),
            Event::Stop(ending) => {
                self.tell(|| Command::Stop(ending));
                false
            }
            Event::Stopped { .. } => false,
        }
    }

    /// A name appeared, changed or went away.
    fn hear(&mut self, path: &Path) -> bool {
        for log in self.names.of(path) {
            self.tell(|| Command::Look(log));
        }
        // What went away takes its watch along, and what comes in its place needs one.
        self.watch.forget(path);
        let mut dirty = false;
        for id in self.places.of(path) {
            #[cfg(test)]
            {
                self.compared += 1;
            }
            if let Some(tracked) = self.tracked.get_mut(id).filter(|tracked| tracked.glob.may_lead_to(path)) {
                tracked.dirty = true;
                dirty = true;
            }
        }
        dirty
    }

    /// Hands what is in no file to the readers.
    pub fn give(&mut self, source: ReceivedSource) {
        let ReceivedSource { name, target, job, inboxes } = source;
        let log = self.next;
        self.next += 1;
        self.logs.insert(
            log,
            AssignedLog {
                path: Path::new(&*name).into(),
                job,
                tracked: None,
                place: None,
                away: BTreeSet::new(),
                held_for: None,
                is_last: true,
            },
        );
        for (commands, inbox) in self.readers.iter().zip(inboxes) {
            let open: Opener = Box::new(|_| Ok(Box::new(inbox)));
            let (name, target) = (name.clone(), target.clone());
            commands.send(Command::Open(SourceAssignment { log, name, target, job, position: None, open }));
        }
        self.status.add_target(0, target);
    }

    fn sync_positions(&mut self) {
        match self.positions.sync() {
            Ok(()) => self.positions_fail = false,
            Err(error) => {
                self.metrics.positions_error();
                if !std::mem::replace(&mut self.positions_fail, true) {
                    let file = self.positions.filename().display();
                    // A file that is mounted on its own cannot be replaced.
                    let advice = match error.kind() {
                        std::io::ErrorKind::ResourceBusy => {
                            "mount its folder and not the file alone: its journal is beside it"
                        }
                        _ => "make its folder writable",
                    };
                    tracing::error!(%file, %error, advice, "cannot write the positions file");
                }
            }
        }
    }

    fn summarise(&mut self) {
        self.summarised = true;
        self.tell(|| Command::SettleEstate);
        let waiting: Vec<&str> = self.unsynced.iter().map(|j| &**j).collect();
        if !waiting.is_empty() {
            tracing::warn!(jobs = waiting.join(", "), "discovery has not told everything yet; going on without");
        }
        for job in &*self.jobs {
            let of_job = || self.tracked.values().filter(|t| t.target.job == job.name);
            let targets = of_job().count();
            let files: usize = of_job().map(|t| t.files.len()).sum();
            let defaulted = of_job().filter(|t| t.target.defaulted).count();
            // Where there are more of these than targets, rules drop them: /service-discovery says which.
            let discovered = self.status.discovered_of(&job.name);
            tracing::info!(job = %job.name, discovered, targets, files, pod_defaults = defaulted, "found");
        }
        self.say_empty(|tracked, _| tracked.is_of_pod());
    }

    fn tell(&self, command: impl Fn() -> Command) {
        for commands in &self.readers {
            commands.send(command());
        }
    }
}

/// For a test that is its ears and its clock.
#[cfg(test)]
impl TargetManager {
    pub fn deaf(mut self) -> Self {
        self.watch = Watch::deaf();
        self
    }

    /// How much of each kind is known.
    pub fn lengths(&self) -> [usize; 7] {
        [
            self.sources.len(),
            self.wanted.len(),
            self.tracked.len(),
            self.ids.len(),
            self.logs.len(),
            self.names.len(),
            self.places.len(),
        ]
    }

    /// As it does once it has a summary to give.
    pub fn settle_estate(&self) {
        self.tell(|| Command::SettleEstate);
    }

    /// Takes all that it was told, and walks where there is something to walk.
    pub fn step(&mut self) {
        let mut walk = false;
        while let Some(event) = self.events.next(Duration::ZERO) {
            walk |= self.take(event);
        }
        if walk {
            self.walk_dirty();
        }
    }
}
