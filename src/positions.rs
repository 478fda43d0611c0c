//! Stores on disk how far each log has been delivered.
//!
//! Commits are appended at once to a journal beside `positions.filename`. They survive a crash of the process without
//! fsync. Every `sync_period` the journal is fsynced and compacted. `positions.yaml` keeps Promtail's format. It is
//! read for logs that are not in the journal, so a migration neither resends nor skips anything. It is written every
//! `sync_period`, so that users can go back to Promtail.

mod edit;
mod first_start;
mod journal;
mod others;
mod read_time;
mod safe;
mod state;
mod takeover;
mod yaml;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

pub use edit::Listed;
use journal::{Journal, KnownLog, Place, Record};
pub use read_time::ReadTime;
pub use safe::{read as read_beside, replace as replace_beside};
use state::{State, slots_of, worth_writing};
pub use takeover::take_over;

use crate::model::{Checkpoint, Clock, Position};

/// How long before its last recorded activity an agent may have stopped looking. It may have died before it could
/// record what it saw.
const BENEFIT_OF_DOUBT: Duration = Duration::from_secs(60);

/// Without positions, and if a reboot would have deleted them, older generations are read that were modified in this time
/// before the start: the agent may have stopped with unread lines. The same if the clock was put back since the last run.
const BEFORE_REBOOT: Duration = Duration::from_secs(3600);

/// The most lines per write to the journal.
const LINES: usize = 512;

/// How long the position of a path that no longer exists is kept.
const KEPT: Duration = Duration::from_secs(3600);

/// How long the cursor of a container is kept that is not read. Nothing says whether the container exists.
const KEPT_CONTAINER: Duration = Duration::from_secs(7 * 24 * 3600);

/// The most positions kept for paths that no longer exist. Beyond that the oldest are dropped.
const KEPT_MOST: usize = 10_000;

/// The `positions` section of the config.
#[derive(Clone, Debug)]
pub struct Config {
    pub filename: PathBuf,
    pub ignore_invalid_yaml: bool,
    /// A dry run: reads positions and writes nothing.
    pub read_only: bool,
    /// The clients and jobs of the config. A reader without a position of its own takes over positions of readers that
    /// are not listed here.
    pub readers: BTreeSet<(Arc<str>, Arc<str>)>,
}

/// The key of a position.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub client: Arc<str>,
    pub job: Arc<str>,
    pub log: LogName,
    /// [`stable_hash`](crate::model::LabelSet::stable_hash) of the target's labels. Two targets may tail the same file.
    pub labels: u64,
}

impl Key {
    /// Whether it is another log with the same reader and labels.
    fn is_beside(&self, other: &Self) -> bool {
        let is_same = (&self.client, &self.job, self.labels) == (&other.client, &other.job, other.labels);
        is_same && self.log != other.log
    }

    fn reader(&self) -> (Arc<str>, Arc<str>) {
        (self.client.clone(), self.job.clone())
    }
}

/// The name of a log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LogName {
    File(Arc<Path>),
    /// A log that is not a file, by its name in `positions.yaml`. As in Promtail, a journal is `cursor-<job>`.
    Other(Arc<str>),
}

impl LogName {
    /// The name in `positions.yaml`.
    fn in_yaml(&self) -> Cow<'_, str> {
        match self {
            LogName::File(path) => path.to_string_lossy(),
            LogName::Other(name) => Cow::Borrowed(name),
        }
    }

    /// Whether this is the cursor of a container, which may not exist any more.
    fn is_of_container(&self) -> bool {
        let id = match self {
            LogName::File(_) => None,
            LogName::Other(name) => name.strip_prefix("cursor-"),
        };
        id.is_some_and(|id| id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()))
    }

    fn path(&self) -> Option<&Path> {
        match self {
            LogName::File(path) => Some(path),
            LogName::Other(_) => None,
        }
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.in_yaml())
    }
}

/// Where to continue a log that was read before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saved {
    At {
        position: Position,
        saved: SystemTime,
    },
    /// An offset in the live file. Promtail's file contains nothing more.
    Offset(u64),
    /// For a log that is not a file.
    Cursor(Arc<str>),
}

impl Saved {
    pub fn into_position(self) -> Option<Position> {
        match self {
            Saved::At { position, .. } => Some(position),
            Saved::Offset(_) | Saved::Cursor(_) => None,
        }
    }
}

/// Paths of positions that no log uses and that no file has any more.
#[derive(Clone, Debug, Default)]
pub struct Vanished(HashSet<PathBuf>);

impl Vanished {
    fn has(&self, name: &LogName) -> bool {
        name.path().is_some_and(|path| self.0.contains(path))
    }
}

/// Identifies a log's position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PositionId(u32);

/// A position that moved.
#[derive(Clone, Debug)]
pub struct Commit {
    pub slot: PositionId,
    pub checkpoint: Checkpoint,
    /// The last read time that is completely before the position. None: unknown.
    pub through: Option<i64>,
}

/// Why positions cannot be read. The agent does not start then, because it would resend or skip lines.
#[derive(Debug)]
pub struct Error {
    path: PathBuf,
    message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "positions file {}: {}", self.path.display(), self.message)
    }
}

impl std::error::Error for Error {}

/// The positions of all clients. Shared between threads; calls are short.
#[derive(Debug)]
pub struct Positions {
    config: Config,
    state: Mutex<State>,
}

/// While it exists, no other agent can use the same positions.
#[derive(Debug)]
pub struct Lock {
    _file: Option<std::fs::File>,
}

impl Positions {
    /// Locks the positions for this agent. The error names the holder. A dry run only reads and takes no lock.
    pub fn take(config: &Config) -> Result<Lock, Error> {
        if config.read_only {
            return Ok(Lock { _file: None });
        }
        safe::warn_of_writers(&config.filename);
        let lock = safe::lock(&config.filename);
        lock.map(|file| Lock { _file: file }).map_err(|message| Error { path: config.filename.clone(), message })
    }

    /// Whether an agent has saved positions here.
    pub fn exist(config: &Config) -> bool {
        takeover::exists(&config.filename) || takeover::exists(&journal::path(&config.filename))
    }

    pub fn open(config: Config) -> Result<Self, Error> {
        Self::open_at(config, Clock::default())
    }

    /// With this clock.
    pub fn open_at(config: Config, clock: Clock) -> Result<Self, Error> {
        let fail = |path: &Path, message: String| Error { path: path.into(), message };
        let path = journal::path(&config.filename);
        let read = journal::read(&path).map_err(|e| fail(&path, e))?;
        let foreign = match yaml::read(&config.filename) {
            Ok(yaml) => yaml,
            Err(yaml::Unread::Content(_)) if config.ignore_invalid_yaml => yaml::File::default(),
            Err(yaml::Unread::Content(e)) => {
                let advice = "name another file as positions.filename; or, if it is the agent's own and damaged, move it away (what has \
                              no position in the journal is sent again), or set positions.ignore_invalid_yaml";
                return Err(fail(&config.filename, format!("{e}; {advice}")));
            }
            Err(yaml::Unread::Failed(e)) => return Err(fail(&config.filename, e)),
        };
        let journal = Journal::new(path, config.read_only, read.yaml_hashes.clone(), read.begun);
        let is_lost = foreign.positions.is_empty() && safe::is_lost_at_reboot(&config.filename);
        let now = clock.system_time();
        let unseen_since = match read.alive {
            Some(alive) => before(alive, now) - BENEFIT_OF_DOUBT,
            None if is_lost => now - BEFORE_REBOOT,
            None => now,
        };
        let mut state = State::new(journal, foreign.hash, config.readers.clone(), unseen_since, clock);
        for KnownLog { key, record, times, left } in read.known.into_values() {
            let slot = state.slot(key);
            state.records.entry(slot).and_modify(|e| e.times = times);
            state.save(slot, record);
            left.iter().for_each(|end| state.leave(slot, *end));
        }
        state.index_read_files();
        // A yaml that we did not write is Promtail's, and newer where it says something else than we would.
        let (written_here, ours) = (read.yaml_hashes.has(foreign.hash), state.yaml(&Vanished::default()));
        let news = |path: &String, offset: &String| match written_here {
            true => !state.knows(path),
            false => ours.get(path) != Some(offset),
        };
        let mut positions = foreign.positions;
        positions.retain(|path, offset| news(path, offset));
        state.is_taken_over = !written_here && !positions.is_empty();
        state.foreign = positions;
        // From now on the journal is newer, even if this run ends before it writes the yaml.
        if state.has_old_yaml() {
            state.journal.note(&journal::Line::Yaml(foreign.hash));
        }
        // This run has not looked at any log yet. If it ends before that, the next one looks back as far.
        state.ran_until = read.alive.unwrap_or(now);
        state.journal.restart(worth_writing(&state.records), state.ran_until);
        Ok(Self { config, state: Mutex::new(state) })
    }

    /// Prepares for the next run of this process, after all readers of the last run have ended. All positions become
    /// free, and `readers` are the clients and jobs of the new config. `has_looked`: the last run opened all logs that
    /// existed when it began. Otherwise the next run looks back as far as the last one did.
    pub fn begin_run(&self, readers: BTreeSet<(Arc<str>, Arc<str>)>, now: SystemTime, has_looked: bool) {
        let mut state = self.lock();
        let unseen_since = now - BENEFIT_OF_DOUBT;
        let looked_since = state.unseen_since.min(unseen_since);
        for entry in state.records.values_mut().filter(|entry| entry.was_opened || entry.in_use) {
            (entry.was_opened, entry.opening) = (false, None);
            if !std::mem::take(&mut entry.in_use) {
                continue;
            }
            // Nothing of this log has been acknowledged yet. The next run must look back as far for its rotated
            // generations.
            if entry.saved.is_none() {
                entry.looked_since.get_or_insert(looked_since);
            }
        }
        state.index_read_files();
        state.readers = readers;
        if has_looked {
            state.unseen_since = unseen_since;
        }
    }

    pub fn filename(&self) -> &Path {
        &self.config.filename
    }

    /// For an unknown log: bytes that were written at or after this time are new, because no agent was running. Older
    /// ones are not read at the very first start, as in Promtail.
    pub fn unseen_since(&self, slot: PositionId) -> SystemTime {
        let state = self.lock();
        let name = state.records.get(&slot).map(|entry| entry.key.log.clone());
        // The same file under other labels or for another job.
        let of_name = name.into_iter().flat_map(|name| slots_of(&state.by_name, name));
        let looked_since = of_name.filter_map(|slot| state.records.get(&slot)?.looked_since).min();
        looked_since.unwrap_or(state.unseen_since)
    }

    /// A time at which an agent was running, by the clock of that time.
    pub fn ran_until(&self) -> SystemTime {
        self.lock().ran_until
    }

    /// Since when no agent may have looked for logs. At the very first start: now.
    pub fn unseen(&self) -> SystemTime {
        self.lock().unseen_since
    }

    /// Whether the log with this name in `positions.yaml` has a position.
    pub fn is_known(&self, name: &str) -> bool {
        let state = self.lock();
        state.knows(name) || state.foreign.contains_key(name)
    }

    /// How many logs are known from earlier runs.
    pub fn known(&self) -> usize {
        let state = self.lock();
        state.records.values().filter(|e| e.saved.is_some()).count().max(state.foreign.len())
    }

    /// Claims the position of a log and returns where to continue. `None` if it is claimed already.
    pub fn claim(&self, key: Key) -> Option<(PositionId, Option<Saved>)> {
        let mut state = self.lock();
        let known = state.slots.get(&key).copied();
        if known.is_some_and(|slot| state.records[&slot].in_use) {
            return None;
        }
        let before = state.of_name(&key);
        let mut saved = before.and_then(|e| e.saved.as_ref()).map(Record::to_saved);
        let times = before.map(|e| e.times.clone()).unwrap_or_default();
        if let Some(foreign) = state.foreign.get(&*key.log.in_yaml()) {
            saved = match &key.log {
                LogName::File(_) => foreign.parse().ok().map(Saved::Offset).or(saved),
                LogName::Other(_) => Some(Saved::Cursor(foreign.as_str().into())),
            };
        }
        let opening = (saved.is_none() && key.log.path().is_some()).then(|| state.clock.system_time());
        let slot = state.slot(key);
        state.records.entry(slot).and_modify(|e| {
            (e.in_use, e.was_opened, e.opening) = (true, false, opening);
            if e.times.is_empty() {
                e.times = times;
            }
        });
        Some((slot, saved))
    }

    /// The files that a log has left, read to their end there.
    pub fn left(&self, slot: PositionId) -> Vec<Position> {
        self.lock().records.get(&slot).map(|e| e.left.iter().copied().collect()).unwrap_or_default()
    }

    /// The next line of a log that has no time of its own gets a later time than this, in Unix nanoseconds. 0: unknown.
    pub fn last_time(&self, slot: PositionId) -> i64 {
        self.lock().records.get(&slot).map_or(0, |e| e.times.last())
    }

    /// The read times of a log that are not before its position, oldest first.
    pub fn read_times(&self, slot: PositionId) -> Vec<ReadTime> {
        self.lock().records.get(&slot).map(|e| e.times.iter().copied().collect()).unwrap_or_default()
    }

    /// Saves when chunks were read, before any entry of them is sent. A failed write is repeated with the next call.
    pub fn remember(&self, times: &[(PositionId, ReadTime)]) -> io::Result<()> {
        let mut state = self.lock();
        let mut lines = Vec::with_capacity(times.len());
        for (slot, time) in times {
            if let Some(entry) = state.records.get_mut(slot) {
                entry.times.add(*time);
                lines.push(journal::Line::ReadTime(slot.0, *time));
            }
        }
        state.append(&lines)
    }

    /// Bytes behind the saved position of a log in its file, as far as they were known when it was saved.
    pub fn unread(&self, slot: PositionId) -> u64 {
        let state = self.lock();
        let record = state.records.get(&slot).and_then(|entry| entry.saved.as_ref());
        record.map_or(0, |record| record.unread)
    }

    /// The log is open. Until then others that may have got its file wait for it, also while a call hangs that opens it.
    pub fn opened(&self, slot: PositionId) {
        if let Some(entry) = self.lock().records.get_mut(&slot) {
            entry.was_opened = true;
        }
    }

    /// Releases the position of a log, or of one that could not be opened.
    pub fn release(&self, slot: PositionId) {
        if let Some(entry) = self.lock().records.get_mut(&slot) {
            (entry.in_use, entry.opening) = (false, None);
        }
    }

    /// Saves new positions at once. A failed write is repeated with the next call. For a position in the live file,
    /// everything written before `now` has been read, so `now` is saved with it. For an older file, the file's
    /// modification time is saved.
    pub fn commit(&self, commits: &[Commit], now: SystemTime) -> io::Result<()> {
        let mut state = self.lock();
        let mut lines = Vec::with_capacity(commits.len());
        let any_foreign = !state.foreign.is_empty();
        for commit in commits {
            let record = match &commit.checkpoint {
                Checkpoint::File { position, live, written, unread, left } => {
                    for end in left {
                        state.leave(commit.slot, *end);
                        lines.push(journal::Line::Left(commit.slot.0, *end));
                    }
                    let saved = if *live { now } else { *written };
                    Record { place: Place::File(*position, *live), saved, unread: *unread }
                }
                Checkpoint::Cursor(cursor) => Record { place: Place::Cursor(cursor.clone()), saved: now, unread: 0 },
            };
            state.save(commit.slot, Some(record.clone()));
            let Some(entry) = state.records.get_mut(&commit.slot) else {
                continue;
            };
            if let Some(position) = record.position() {
                entry.times.let_go(&position, commit.through);
            }
            if any_foreign {
                let name = entry.key.log.in_yaml().into_owned();
                state.foreign.remove(&name);
            }
            lines.push(journal::Line::Position(commit.slot.0, record, commit.through));
        }
        state.append(&lines)
    }

    /// Finds paths that exist no longer. Asks their file systems, which may take long, so it holds no lock. `at` gets
    /// each path before it is asked for.
    pub fn find_vanished(&self, at: &dyn Fn(&Path)) -> Vanished {
        let paths = self.lock().unused_paths();
        let is_gone = |path: &PathBuf| {
            at(path);
            matches!(path.try_exists(), Ok(false))
        };
        Vanished(paths.into_iter().filter(is_gone).collect())
    }

    /// Runs every `sync_period`: fsyncs and compacts the journal, writes `positions.yaml`, and forgets paths that
    /// vanished.
    pub fn save(&self, vanished: &Vanished) -> io::Result<()> {
        if self.config.read_only {
            return Ok(());
        }
        let mut state = self.lock();
        let now = state.clock.system_time();
        state.drop_vanished(vanished, now);
        let yaml = yaml::text(&state.yaml(vanished));
        // Before it is there: whoever reads it after a kill has to know it for its own, and not for Promtail's.
        let before = state.journal.yaml_hash();
        let announced = state.note_yaml(yaml::hash(&yaml));
        drop(state);
        // Done without the lock: a slow disk must not block commits.
        let written = yaml::write(&self.config.filename, &yaml);
        let mut state = self.lock();
        // An error is returned at the end, because the journal must stay small and durable even then.
        let noted = match &written {
            Ok(()) => announced,
            // It says what it said before; or at the start, which is no news once all of that is known better.
            Err(_) => match before.or_else(|| state.has_old_yaml().then_some(state.yaml_read)) {
                Some(hash) => announced.and(state.note_yaml(hash)),
                None => announced,
            },
        };
        let rewritten = match state.journal.is_large() {
            true => state.rewrite(),
            false => Ok(()),
        };
        let alive = journal::Line::Alive(state.alive());
        let alive = state.append(&[alive]);
        let unsynced = state.journal.take_unsynced();
        drop(state);
        let synced = unsynced.and_then(|file| file.map_or(Ok(()), |file| file.sync_data()));
        written.and(noted).and(rewritten).and(alive).and(synced)
    }

    #[cfg(test)]
    pub fn sync(&self) -> io::Result<()> {
        self.save(&self.find_vanished(&|_| {}))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// This earlier time as the clock is now. If it is in the future, the clock was put back since: then a time before which
/// nothing relevant was written.
pub fn before(time: SystemTime, now: SystemTime) -> SystemTime {
    if time > now { now - BEFORE_REBOOT } else { time }
}

#[cfg(test)]
mod tests;
