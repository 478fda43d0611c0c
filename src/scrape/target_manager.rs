//! The thread that decides which logs exist: relabels targets, expands globs, handles file events.

mod giving;
mod index;
mod neighbours;
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
use super::messages::{Command, Commands, Event, Events};
use super::metrics::Metrics;
use super::status::Status;
use super::unread::Unread;
use super::watch::{Heard, Watch};
use super::{Config, Job};
use crate::model::{Owner, Target, Update};
use crate::positions::Positions;
use crate::tail::Glob;

/// File events come in bursts. A walk waits until the burst is over.
const BURST: Duration = Duration::from_millis(50);

/// If file events work, all globs are walked only every this many sync periods, as a safety net.
const SAFETY_NET: u32 = 6;

/// A pod may be known before it has a log. If it has none for this long, that is logged.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the summary at the start waits for discovery at most.
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
    /// The targets of each source of each job.
    sources: HashMap<(Arc<str>, String), Vec<Same>>,
    /// The number of sources that have each target.
    wanted: HashMap<Same, usize>,
    tracked: BTreeMap<u64, TrackedTarget>,
    /// The number of each target in `tracked`.
    ids: HashMap<Same, u64>,
    logs: BTreeMap<u64, AssignedLog>,
    /// The log of each source that was given and was not taken back.
    given: BTreeMap<u64, u64>,
    /// Logs that are held until their owner is known.
    held: BTreeSet<u64>,
    /// Paths of logs, with their jobs, that had positions at the start and no file. None: not looked up yet.
    gone: Option<Vec<(Arc<str>, Arc<Path>)>>,
    /// Indices for file events.
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
    /// Its last walk took long. It is not walked again before this time.
    rests_until: Option<Instant>,
    unread: Arc<Unread>,
    /// Files whose names look like older generations of logs beside them.
    neighbours: BTreeMap<PathBuf, neighbours::Seen>,
    /// Since when it has had no file, and whether that was logged. None: it has files.
    empty: Option<Instant>,
    empty_said: bool,
}

/// A log that was assigned to the readers.
#[derive(Debug)]
struct AssignedLog {
    path: Arc<Path>,
    job: usize,
    /// Its target's number. None: its target is gone.
    tracked: Option<u64>,
    /// The inodes that its live file had.
    lives: Vec<u64>,
    /// The directory that shows its rotations, and its name there.
    place: Option<(PathBuf, OsString)>,
    /// Readers that have finished it. The others may still wait for Loki.
    away: BTreeSet<usize>,
    /// The pod that it is held for until its owner is known. None: it is not held.
    held_for: Option<Owner>,
    /// For a source that was given: the number of its target on the pages.
    given: Option<u64>,
    /// The agent ends with this log.
    is_last: bool,
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
            given: BTreeMap::new(),
            held: BTreeSet::new(),
            gone: None,
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

    /// Handles an event. Returns whether there is something to walk.
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
            Event::Give(id, source) => {
                let log = self.give(source);
                self.given.insert(id, log);
                false
            }
            Event::TakeBack(id) => {
                self.take_back(id);
                false
            }
        }
    }

    /// Handles a file name that appeared, changed or was removed. Returns whether there is something to walk.
    fn hear(&mut self, path: &Path) -> bool {
        for log in self.names.of(path) {
            self.tell(|| Command::Look(log));
        }
        // A removed directory takes its watch along, and a new one needs a new watch.
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

    fn sync_positions(&mut self) {
        match self.positions.sync() {
            Ok(()) => self.positions_fail = false,
            Err(error) => {
                self.metrics.positions_error();
                if !std::mem::replace(&mut self.positions_fail, true) {
                    let file = self.positions.filename().display();
                    // A file that is itself a mount cannot be replaced.
                    let advice = match error.kind() {
                        std::io::ErrorKind::ResourceBusy => {
                            "mount the directory instead of the file, because the journal is beside the file"
                        }
                        _ => "make the directory writable",
                    };
                    tracing::error!(%file, %error, advice, "cannot write the positions file");
                }
            }
        }
    }

    fn summarise(&mut self) {
        self.summarised = true;
        self.tell(|| Command::Settle);
        let waiting: Vec<&str> = self.unsynced.iter().map(|j| &**j).collect();
        if !waiting.is_empty() {
            tracing::warn!(
                jobs = waiting.join(", "),
                "discovery of these jobs is not complete yet: the agent continues with the known targets"
            );
        }
        for job in &*self.jobs {
            let of_job = || self.tracked.values().filter(|t| t.target.job == job.name);
            let targets = of_job().count();
            let files: usize = of_job().map(|t| t.files.len()).sum();
            let defaulted = of_job().filter(|t| t.target.defaulted).count();
            // More discovered targets than tailed ones: rules dropped the rest. /service-discovery shows which rules.
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

/// For tests, which send file events and move the clock.
#[cfg(test)]
impl TargetManager {
    pub fn deaf(mut self) -> Self {
        self.watch = Watch::deaf();
        self
    }

    /// The number of known items of each kind.
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

    /// What it does after the summary at the start.
    pub fn settle(&self) {
        self.tell(|| Command::Settle);
    }

    /// Handles all pending events, and walks if necessary.
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
