//! The thread that decides which logs exist: relabelling, globs, names heard of.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::metrics::Metrics;
use super::reader::{Assignment, Command, Mailbox};
use super::status::{Discovered, Status};
use super::targets::resolve;
use super::watch::{Heard, Watch};
use super::{Config, Job, stdin};
use crate::model::{LabelSet, Labels, Target, TargetGroup, Update};
use crate::positions::Positions;
use crate::tail::{Glob, is_rotation};

/// Names come in bursts; a walk waits for the burst to pass.
const BURST: Duration = Duration::from_millis(50);

/// With names being heard of, walking all globs is a safety net: every so many sync periods.
const SAFETY_NET: u32 = 6;

/// The summary of what was found is not held back longer for a slow discovery.
const SUMMARY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) enum Event {
    Update(Update),
    Heard(Heard),
    /// This reader is done with this log.
    Finished {
        reader: usize,
        log: u64,
    },
    /// This reader has stopped.
    Stopped {
        reader: usize,
    },
    Stop(Duration),
}

pub(super) struct Scout {
    config: Config,
    jobs: Arc<[Job]>,
    readers: Vec<Arc<Mailbox>>,
    positions: Arc<Positions>,
    metrics: Metrics,
    status: Arc<Status>,
    inbox: Receiver<Event>,
    outbox: Sender<Event>,
    watch: Watch,
    /// Which targets each source of each job has.
    sources: HashMap<(Arc<str>, String), Vec<Arc<Target>>>,
    tracked: BTreeMap<u64, Tracked>,
    logs: BTreeMap<u64, Known>,
    /// For names heard of: the logs of a directory.
    names: HashMap<PathBuf, Vec<(OsString, u64)>>,
    next: u64,
    unsynced: BTreeSet<Arc<str>>,
    summarised: bool,
    positions_fail: bool,
}

/// A target that is tailed.
#[derive(Debug)]
struct Tracked {
    target: Arc<Target>,
    job: usize,
    glob: Glob,
    exclude: Option<Glob>,
    files: BTreeMap<PathBuf, u64>,
    directories: BTreeSet<PathBuf>,
    dirty: bool,
    said: BTreeSet<PathBuf>,
}

/// A log that readers have.
#[derive(Debug)]
struct Known {
    path: PathBuf,
    job: usize,
    /// None: its target is gone.
    tracked: Option<u64>,
    /// The directory where its rotations show, and its name there.
    place: Option<(PathBuf, OsString)>,
    /// Readers that are done with it; the others may still wait for their Loki.
    away: BTreeSet<usize>,
}

impl Scout {
    pub fn new(
        config: Config,
        jobs: Arc<[Job]>,
        readers: Vec<Arc<Mailbox>>,
        positions: Arc<Positions>,
        metrics: Metrics,
        status: Arc<Status>,
        (outbox, inbox): (mpsc::Sender<Event>, Receiver<Event>),
    ) -> Self {
        let heard = outbox.clone();
        let watch = Watch::new(move |what| {
            let _ = heard.send(Event::Heard(what));
        });
        let unsynced = jobs.iter().map(|job| job.name.clone()).collect();
        Self {
            config,
            jobs,
            readers,
            positions,
            metrics,
            status,
            inbox,
            outbox,
            watch,
            sources: HashMap::new(),
            tracked: BTreeMap::new(),
            logs: BTreeMap::new(),
            names: HashMap::new(),
            next: 1,
            unsynced,
            summarised: false,
            positions_fail: false,
        }
    }

    pub fn run(mut self) {
        if let Some(labels) = self.config.stdin.clone() {
            self.read_stdin(labels);
        }
        let started = Instant::now();
        let mut walk_at: Option<Instant> = None;
        let mut full_walk = started + self.config.sync_period;
        let mut sync_positions = started + self.config.positions_sync_period;
        let mut running = self.readers.len();
        while running > 0 {
            let now = Instant::now();
            if walk_at.is_some_and(|at| at <= now) {
                walk_at = None;
                self.walk_dirty();
            }
            if now >= full_walk {
                let every = if self.watch.is_working() { SAFETY_NET } else { 1 };
                full_walk = now + self.config.sync_period * every;
                self.walk_all();
            }
            if now >= sync_positions {
                sync_positions = now + self.config.positions_sync_period;
                self.sync_positions();
            }
            if !self.summarised && (self.unsynced.is_empty() && walk_at.is_none() || now >= started + SUMMARY) {
                self.summarise();
            }
            let mut until = full_walk.min(sync_positions);
            if !self.summarised {
                until = until.min(started + SUMMARY);
            }
            let wait = walk_at.map_or(until, |at| at.min(until)).saturating_duration_since(now);
            match self.inbox.recv_timeout(wait) {
                Ok(Event::Stopped { reader }) => {
                    tracing::debug!(reader, "stopped");
                    running -= 1;
                }
                Ok(event) => {
                    if self.take(event) {
                        walk_at.get_or_insert(Instant::now() + BURST);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
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
            Event::Stop(within) => {
                self.tell(|| Command::Stop(within));
                false
            }
            Event::Stopped { .. } => false,
        }
    }

    fn update(&mut self, job: &Arc<str>, group: TargetGroup) -> bool {
        let Some(index) = self.jobs.iter().position(|j| j.name == *job) else {
            return false;
        };
        let mut targets: Vec<Arc<Target>> = Vec::new();
        let mut shown = Vec::new();
        for discovered in &group.targets {
            let outcome = self.resolve(index, discovered);
            if let Ok(target) = &outcome
                && !targets.iter().any(|t| same(t, target))
            {
                targets.push(target.clone());
            }
            shown.push(Discovered { discovered: discovered.clone(), outcome });
        }
        self.status.set_discovered(job.clone(), group.source.clone(), shown);
        let key = (job.clone(), group.source);
        let before = match targets.is_empty() {
            true => self.sources.remove(&key),
            false => self.sources.insert(key, targets.clone()),
        };
        // Of two sources with one target, the target stays until the last of them lets go.
        let gone: Vec<Arc<Target>> = before.unwrap_or_default().into_iter().filter(|t| !self.is_wanted(t)).collect();
        let mut left: Vec<u64> = Vec::new();
        for target in gone {
            left.extend(self.tracked.iter().find(|(_, t)| same(&t.target, &target)).map(|(id, _)| *id));
        }
        for target in targets {
            if !self.tracked.values().any(|t| same(&t.target, &target)) {
                self.track(index, target, &mut left);
            }
        }
        for id in left {
            self.untrack(id);
        }
        self.status.set_targets(self.tracked.values().map(|t| t.target.clone()).collect());
        true
    }

    fn resolve(&self, job: usize, discovered: &Labels) -> Result<Arc<Target>, String> {
        let job = &self.jobs[job];
        let target = resolve(job, discovered, &self.config.hostname).map_err(|rejected| {
            self.metrics.target_failed(rejected.reason);
            rejected.text
        })?;
        match &job.unreadable {
            Some(why) => Err(why.clone()),
            None => Ok(Arc::new(target)),
        }
    }

    fn is_wanted(&self, target: &Target) -> bool {
        self.sources.values().flatten().any(|t| same(t, target))
    }

    /// Begins to follow a target. If one of `left` tailed the same path, its logs go on under the new labels.
    fn track(&mut self, job: usize, target: Arc<Target>, left: &mut Vec<u64>) {
        let globs =
            Glob::new(&target.path).and_then(|g| Ok((g, target.exclude.as_deref().map(Glob::new).transpose()?)));
        let (glob, exclude) = match globs {
            Ok(globs) => globs,
            Err(error) => {
                self.metrics.target_failed("error");
                tracing::error!(job = %target.job, path = target.path, error, "not a path that can be tailed");
                return;
            }
        };
        let heir = |id: &u64| {
            let old = &self.tracked[id].target;
            (&old.job, &old.path, &old.exclude) == (&target.job, &target.path, &target.exclude)
        };
        let id = self.next;
        self.next += 1;
        let files = match left.iter().position(heir) {
            Some(at) => self.tracked.remove(&left.swap_remove(at)).map(|t| t.files).unwrap_or_default(),
            None => BTreeMap::new(),
        };
        for log in files.values() {
            self.tell(|| Command::Relabel(*log, target.clone()));
            if let Some(known) = self.logs.get_mut(log) {
                known.tracked = Some(id);
            }
        }
        let tracked = Tracked {
            target,
            job,
            glob,
            exclude,
            files,
            directories: BTreeSet::new(),
            dirty: true,
            said: BTreeSet::new(),
        };
        self.tracked.insert(id, tracked);
    }

    fn untrack(&mut self, id: u64) {
        let Some(tracked) = self.tracked.remove(&id) else {
            return;
        };
        for log in tracked.files.values() {
            if let Some(known) = self.logs.get_mut(log) {
                known.tracked = None;
            }
            self.tell(|| Command::Retire(*log));
        }
    }

    /// A name appeared, changed or went away.
    fn hear(&mut self, path: &Path) -> bool {
        if let (Some(dir), Some(name)) = (path.parent(), path.file_name())
            && let Some(logs) = self.names.get(dir)
        {
            for (live, log) in logs {
                if name == live || is_rotation(live, name) {
                    self.tell(|| Command::Look(*log));
                }
            }
        }
        // What went away takes its watch along, and what comes in its place needs one.
        self.watch.forget(path);
        let mut dirty = false;
        for tracked in self.tracked.values_mut().filter(|t| t.glob.may_lead_to(path)) {
            tracked.dirty = true;
            dirty = true;
        }
        dirty
    }

    fn walk_all(&mut self) {
        for log in self.logs.keys() {
            self.tell(|| Command::Look(*log));
        }
        self.tracked.values_mut().for_each(|t| t.dirty = true);
        self.walk_dirty();
        let mut wanted: BTreeSet<PathBuf> = self.tracked.values().flat_map(|t| t.directories.iter().cloned()).collect();
        wanted.extend(self.names.keys().cloned());
        self.watch.retain(&wanted);
    }

    fn walk_dirty(&mut self) {
        let dirty: Vec<u64> = self.tracked.iter().filter(|(_, t)| t.dirty).map(|(id, _)| *id).collect();
        for id in dirty {
            self.walk(id);
        }
    }

    fn walk(&mut self, id: u64) {
        let Some(tracked) = self.tracked.get_mut(&id) else {
            return;
        };
        tracked.dirty = false;
        let mut found = tracked.glob.walk();
        // A directory that is new to the watch may have got a file between the walk and the watch: once more.
        let mut rounds = 0;
        while found.directories.iter().fold(false, |new, dir| self.watch.add(dir) | new) && rounds < 64 {
            found = tracked.glob.walk();
            rounds += 1;
        }
        for (path, error) in &found.errors {
            if tracked.said.insert(path.clone()) {
                let (job, path) = (&tracked.target.job, path.display());
                tracing::warn!(%job, %path, error, "cannot look into a directory of __path__; trying again");
            }
        }
        tracked.said.retain(|path| found.errors.iter().any(|(p, _)| p == path));
        tracked.directories = found.directories;
        if let Some(exclude) = &tracked.exclude {
            found.files.retain(|file| !exclude.matches(file));
        }
        // Between a rename and the new file the older generation stands alone; whose it is is known all the same.
        let lives: BTreeSet<PathBuf> = found.files.iter().chain(tracked.files.keys()).cloned().collect();
        let elders: BTreeMap<&PathBuf, PathBuf> =
            found.files.iter().filter_map(|f| Some((f, rotation_of(f, &lives)?))).collect();
        let olders: BTreeSet<&PathBuf> = elders.values().collect();
        let mut new = Vec::new();
        let mut back = Vec::new();
        for file in found.files.iter().filter(|f| !elders.contains_key(f)) {
            match tracked.files.get(file) {
                Some(log) => back.extend(self.logs.get(log).is_some_and(|k| !k.away.is_empty()).then_some(*log)),
                None => new.push((file.clone(), olders.contains(file))),
            }
        }
        for log in back {
            self.bring_back(log);
        }
        for (path, from_oldest) in new {
            self.begin(id, path, from_oldest);
        }
    }

    fn begin(&mut self, id: u64, path: PathBuf, from_oldest: bool) {
        let Some(tracked) = self.tracked.get_mut(&id) else {
            return;
        };
        let (target, job) = (tracked.target.clone(), tracked.job);
        // A log of a target that is gone, not finished yet: it goes on under its new target.
        let leaving = self.logs.iter_mut().find(|(_, k)| k.tracked.is_none() && k.job == job && k.path == path);
        if let Some((log, known)) = leaving {
            known.tracked = Some(id);
            tracked.files.insert(path, *log);
            let log = *log;
            self.tell(|| Command::Relabel(log, target.clone()));
            return self.bring_back(log);
        }
        let log = self.next;
        self.next += 1;
        tracked.files.insert(path.clone(), log);
        // Behind a link, rotation shows where the file is.
        let real = path.canonicalize().unwrap_or_else(|_| path.clone());
        let place = real.parent().zip(real.file_name()).map(|(dir, name)| (dir.to_path_buf(), name.to_os_string()));
        if let Some((dir, name)) = &place {
            self.watch.add(dir);
            self.names.entry(dir.clone()).or_default().push((name.clone(), log));
        }
        self.logs.insert(log, Known { path: path.clone(), job, tracked: Some(id), place, away: BTreeSet::new() });
        self.tell(|| Command::Add(Assignment { log, path: path.clone(), target: target.clone(), job, from_oldest }));
    }

    /// Whether there is something to walk: one of its name may be there already.
    fn finished(&mut self, reader: usize, log: u64) -> bool {
        let Some(known) = self.logs.get_mut(&log) else {
            return false;
        };
        if let Some(tracked) = known.tracked.and_then(|id| self.tracked.get_mut(&id)) {
            tracked.dirty = true;
        }
        known.away.insert(reader);
        if known.away.len() < self.readers.len() {
            return true;
        }
        let known = self.logs.remove(&log).expect("it was just seen");
        if let Some(tracked) = known.tracked.and_then(|id| self.tracked.get_mut(&id)) {
            tracked.files.remove(&known.path);
        }
        if let Some((dir, _)) = known.place
            && let Some(logs) = self.names.get_mut(&dir)
        {
            logs.retain(|(_, l)| *l != log);
            if logs.is_empty() {
                self.names.remove(&dir);
            }
        }
        if self.config.stdin.is_some() {
            let _ = self.outbox.send(Event::Stop(Duration::from_secs(30)));
        }
        true
    }

    /// Gives a log back to the readers that were done with it: its path is there again.
    fn bring_back(&mut self, log: u64) {
        let Some(known) = self.logs.get_mut(&log) else {
            return;
        };
        let away = std::mem::take(&mut known.away);
        let Some(tracked) = known.tracked.and_then(|id| self.tracked.get(&id)) else {
            return;
        };
        for reader in away {
            self.readers[reader].send(Command::Add(Assignment {
                log,
                path: known.path.clone(),
                target: tracked.target.clone(),
                job: known.job,
                from_oldest: false,
            }));
        }
    }

    fn read_stdin(&mut self, labels: LabelSet) {
        let bells = self.readers.iter().map(|mailbox| mailbox.bell.clone()).collect();
        let pipes = match stdin::start(bells) {
            Ok(pipes) => pipes,
            Err(error) => {
                tracing::error!(%error, "cannot read standard input");
                return self.tell(|| Command::Stop(Duration::ZERO));
            }
        };
        let target = Arc::new(Target {
            job: self.jobs.first().map_or_else(|| Arc::from("stdin"), |job| job.name.clone()),
            discovered: Labels::new(),
            labels,
            path: "stdin".into(),
            exclude: None,
            defaulted: false,
        });
        let log = self.next;
        self.next += 1;
        self.logs
            .insert(log, Known { path: "stdin".into(), job: 0, tracked: None, place: None, away: BTreeSet::new() });
        for (mailbox, pipe) in self.readers.iter().zip(pipes) {
            mailbox.send(Command::Stdin(log, pipe, target.clone()));
        }
        self.status.set_targets(vec![target]);
        self.unsynced.clear();
    }

    fn sync_positions(&mut self) {
        match self.positions.sync() {
            Ok(()) => self.positions_fail = false,
            Err(error) => {
                self.metrics.positions_error();
                if !std::mem::replace(&mut self.positions_fail, true) {
                    let file = self.positions.filename().display();
                    tracing::error!(%file, %error, "cannot write the positions file; make its directory writable");
                }
            }
        }
    }

    fn summarise(&mut self) {
        self.summarised = true;
        let waiting: Vec<&str> = self.unsynced.iter().map(|j| &**j).collect();
        if !waiting.is_empty() {
            tracing::warn!(jobs = waiting.join(", "), "discovery has not told everything yet; going on without");
        }
        for job in self.jobs.iter() {
            let of_job = || self.tracked.values().filter(|t| t.target.job == job.name);
            let targets = of_job().count();
            let files: usize = of_job().map(|t| t.files.len()).sum();
            let defaulted = of_job().filter(|t| t.target.defaulted).count();
            tracing::info!(job = %job.name, targets, files, pod_defaults = defaulted, "found");
        }
    }

    fn tell(&self, command: impl Fn() -> Command) {
        for mailbox in &self.readers {
            mailbox.send(command());
        }
    }
}

/// Whether two targets are one to Promtail: it tails a path once per set of labels.
fn same(a: &Target, b: &Target) -> bool {
    (&a.job, &a.path, &a.exclude, &a.labels) == (&b.job, &b.path, &b.exclude, &b.labels)
}

/// The live file among `files` of which `file` is an older generation.
fn rotation_of(file: &Path, files: &BTreeSet<PathBuf>) -> Option<PathBuf> {
    let name = file.file_name()?;
    let text = name.to_str()?;
    let ends = text.char_indices().filter(|(_, c)| matches!(c, '.' | '-')).map(|(i, _)| &text[..i]);
    ends.filter(|live| !live.is_empty() && is_rotation(live.as_ref(), name))
        .map(|live| file.with_file_name(live))
        .find(|live| files.contains(live))
}
