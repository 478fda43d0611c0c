//! The thread that decides which logs exist: relabels targets, expands globs, handles file events.
//!
//! If a system call on a directory does not return, another thread takes over (see [`supervised`](super::supervised)).
//! Methods that make such calls are those of [`Held`].

mod assigning;
mod checking;
mod giving;
mod hanging;
mod index;
mod neighbours;
mod running;
mod telling;
mod tracking;
mod walking;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use self::hanging::Calls;
use self::index::{Directories, InFolders, Names, Places, Same};
use super::budget::Budget;
use super::messages::{Command, Commands, Event, Events, Start};
use super::metrics::Metrics;
use super::status::Status;
use super::unread::Unread;
use super::watch::Watch;
use super::{Config, Job};
use crate::model::{Clock, Owner, Target};
use crate::positions::Positions;
use crate::tail::{Glob, Snapshot};

/// File events come in bursts. A walk waits until the burst is over.
const BURST: Duration = Duration::from_millis(50);

/// How often directories are walked for which no events arrive: those of network file systems, for instance.
const POLL: Duration = Duration::from_secs(2);

/// If file events work, only every this many sync periods it is checked whether directories changed without an event.
/// Targets whose directories did are walked.
const SAFETY_NET: u32 = 6;

/// All targets are walked, whatever is known of their directories, every this many sync periods.
const FULL_WALK: u32 = 30;

/// A pod may be known before it has a log. If it has none for this long, that is logged.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the summary at the start waits for discovery at most.
const SUMMARY: Duration = Duration::from_secs(5);

pub(super) struct TargetManager {
    /// For the times of directories.
    pub clock: Clock,
    config: Config,
    jobs: Arc<[Job]>,
    readers: Vec<Arc<Commands>>,
    positions: Arc<Positions>,
    metrics: Metrics,
    status: Arc<Status>,
    events: Arc<Events>,
    watch: Watch,
    /// The targets of each group of each job.
    groups: HashMap<(Arc<str>, String), Box<[Same]>>,
    /// The number of groups that have each target.
    wanted: HashMap<Same, usize>,
    tracked: BTreeMap<u64, Box<TrackedTarget>>,
    /// The number of each target in `tracked`.
    ids: HashMap<Same, u64>,
    logs: BTreeMap<u64, Box<AssignedLog>>,
    /// The log of each source that was given and was not taken back.
    given: BTreeMap<u64, u64>,
    /// Logs that are held until their owner is known.
    held: BTreeSet<u64>,
    /// Paths of logs, with their jobs, that had positions at the start and no file. None: not looked up yet.
    gone: Option<Vec<(Arc<str>, Arc<Path>)>>,
    /// Indices for file events.
    names: Names,
    places: Places,
    in_folders: InFolders,
    next: u64,
    unsynced: BTreeSet<Arc<str>>,
    summarised: bool,
    /// Jobs that are run for the first time.
    new_jobs: BTreeSet<Arc<str>>,
    looked: SystemTime,
    positions_fail: bool,
    budget: Budget,
    due: Due,
    /// Readers that have not stopped.
    running: usize,
    calls: Calls,
    /// How often a name was compared with a target.
    #[cfg(test)]
    pub compared: usize,
    /// How many targets were walked.
    #[cfg(test)]
    pub walked: usize,
}

/// When it does what.
#[derive(Debug)]
struct Due {
    started: Instant,
    /// The walk of targets with file events. None: there are none.
    walk: Option<Instant>,
    /// The check of all directories, and the walk of all targets.
    check: Instant,
    full_walk: Instant,
    /// The walk of directories for which no events arrive.
    poll: Instant,
    sync_positions: Instant,
    say_empty: Instant,
}

/// A target that is tailed.
#[derive(Debug)]
struct TrackedTarget {
    target: Arc<Target>,
    job: usize,
    glob: Arc<Glob>,
    exclude: Option<Glob>,
    files: BTreeMap<Arc<Path>, u64>,
    /// Directories in which a new name may concern it, as the walk names them and after all links.
    directories: Directories,
    /// These directories when they were listed, if they alone decide what a walk finds. Otherwise None.
    listed: Option<Snapshot>,
    /// Directories that the walk reached through links, by real path.
    aliases: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
    /// The real paths of the links on the way.
    links: BTreeSet<PathBuf>,
    /// No events arrive for some of its directories, so it is polled.
    is_polled: bool,
    /// Some of its files are read under another path, which may end.
    has_aliases: bool,
    /// Something changed: it is walked next.
    dirty: bool,
    /// It is walked next if its directories changed.
    is_to_check: bool,
    /// Its last walk took long. It is not walked again before this time.
    rests_until: Option<Instant>,
    unread: Arc<Unread>,
    /// Files whose names look like older generations of logs beside them.
    neighbours: BTreeMap<PathBuf, neighbours::Seen>,
    /// When it is walked again because one of these may be growing.
    again: Option<Instant>,
    /// Since when it has had no file, and whether that was logged. None: it has files.
    empty: Option<Instant>,
    empty_said: bool,
}

impl TrackedTarget {
    /// Whether a name that appeared or vanished may change what its walk finds.
    fn is_concerned(&self, path: &Path) -> bool {
        let aliases = path.parent().and_then(|parent| self.aliases.get(parent));
        let mut aliases = aliases.into_iter().flatten().filter_map(|alias| Some(alias.join(path.file_name()?)));
        self.glob.may_lead_to(path) || self.links.contains(path) || aliases.any(|path| self.glob.may_lead_to(&path))
    }
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
    /// The path of its file after all links. Its rotations show in that directory.
    real: Option<Arc<Path>>,
    /// The directory that its path names, by device and inode.
    folder: Option<(u64, u64)>,
    /// Readers that have finished it. The others may still wait for Loki.
    away: BTreeSet<usize>,
    /// The pod that it is held for until its owner is known. None: it is not held.
    held_for: Option<Box<Owner>>,
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
        let names: Vec<Arc<str>> = jobs.iter().map(|job| job.name.clone()).collect();
        let (new_jobs, unsynced) = (positions.begin_jobs(&names), names.into_iter().collect());
        let now = Instant::now();
        let due = Due {
            started: now,
            walk: None,
            check: now + config.sync_period * SAFETY_NET,
            full_walk: now + config.sync_period * FULL_WALK,
            poll: now + POLL,
            sync_positions: now + config.positions_sync_period,
            say_empty: now + PATIENCE,
        };
        Self {
            clock: Clock::default(),
            running: readers.len(),
            due,
            calls: Calls::default(),
            config,
            jobs,
            readers,
            positions,
            metrics,
            status,
            events,
            watch,
            groups: HashMap::new(),
            wanted: HashMap::new(),
            tracked: BTreeMap::new(),
            ids: HashMap::new(),
            logs: BTreeMap::new(),
            given: BTreeMap::new(),
            held: BTreeSet::new(),
            gone: None,
            names: Names::default(),
            places: Places::default(),
            in_folders: InFolders::default(),
            next: 1,
            unsynced,
            summarised: false,
            new_jobs,
            looked: SystemTime::now(),
            positions_fail: false,
            budget: Budget::new(now),
            #[cfg(test)]
            compared: 0,
            #[cfg(test)]
            walked: 0,
        }
    }
}

impl TargetManager {
    /// Walks at this time, or earlier if that was planned.
    fn walk_by(&mut self, at: Instant) {
        self.due.walk = Some(self.due.walk.map_or(at, |known| known.min(at)));
    }

    /// Handles a file name that appeared, changed or was removed. Returns whether there is something to walk.
    fn hear(&mut self, path: &Path) -> bool {
        let others = self.watch.other_paths(path);
        let mut dirty = self.hear_path(path);
        for other in others {
            dirty |= self.hear_path(&other);
        }
        dirty
    }

    fn hear_path(&mut self, path: &Path) -> bool {
        for log in self.names.of(path) {
            self.tell(|| Command::Look(log));
        }
        // A removed directory takes its watch along, and a new one needs a new watch.
        if self.watch.forget(path) {
            for id in self.places.within(path) {
                self.tracked.entry(*id).and_modify(|tracked| tracked.listed = None);
            }
        }
        let mut dirty = false;
        let mut at_once = false;
        for id in self.places.of(path) {
            #[cfg(test)]
            {
                self.compared += 1;
            }
            if let Some(tracked) = self.tracked.get_mut(id).filter(|tracked| tracked.is_concerned(path)) {
                tracked.dirty = true;
                dirty = true;
                // Docker deletes the file of a container that was started with --rm as soon as it ends.
                at_once |= tracked.target.streams.is_some() && tracked.files.is_empty() && tracked.glob.matches(path);
            }
        }
        if at_once {
            self.walk_by(Instant::now());
        }
        dirty
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
        for (index, job) in self.jobs.iter().enumerate() {
            let of_job = || self.tracked.values().filter(|t| t.target.job == job.name);
            let targets = of_job().count();
            let files: usize = of_job().map(|t| t.files.len()).sum();
            let defaulted = of_job().filter(|t| t.target.defaulted).count();
            // More discovered targets than tailed ones: rules dropped the rest. /service-discovery shows which rules.
            let discovered = self.status.discovered_of(&job.name);
            let sources = self.logs.values().filter(|log| log.given.is_some() && log.job == index).count();
            tracing::info!(job = %job.name, discovered, targets, files, sources, pod_defaults = defaulted, "found");
            if discovered > 0 && targets == 0 {
                self.say_all_dropped(&job.name, discovered);
            }
        }
        self.say_empty(|tracked, _| tracked.is_of_pod());
    }

    /// Which of the job's files begin at their end: those that were there before its first start. What is discovered
    /// later is read from its start.
    fn start_of(&self, job: usize) -> Option<Start> {
        let job = &self.jobs[job];
        let is_early = !self.summarised || self.unsynced.contains(&job.name);
        let not_before =
            job.start_at.not_before(self.looked).filter(|_| is_early && self.new_jobs.contains(&job.name))?;
        Some(Start { not_before, looked: self.looked })
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
            self.groups.len(),
            self.wanted.len(),
            self.tracked.len(),
            self.ids.len(),
            self.logs.len(),
            self.names.len(),
            self.places.len(),
        ]
    }

    /// Tells the readers to settle, as after the summary at the start.
    pub fn settle(&self) {
        self.tell(|| Command::Settle);
    }
}
