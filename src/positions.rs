//! How far each log has been delivered, on disk.
//!
//! Commits are appended at once to a journal beside `positions.filename`: what a crash of the process keeps needs no
//! fsync, which comes every `sync_period` together with compaction. `positions.yaml` itself stays in Promtail's format:
//! read where the journal knows nothing (a migration resends nothing and skips nothing), and written every `sync_period`
//! (so that a person can go back to Promtail).

mod journal;
mod read_time;
mod safe;
mod takeover;
mod yaml;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

pub use journal::Record;
use journal::{Journal, Known, KnownRef};
pub use read_time::ReadTime;
use read_time::ReadTimes;
pub use safe::{read as read_beside, replace as replace_beside};
pub use takeover::take_over;

use crate::model::Position;

/// How much earlier than its last sign of life an agent is taken to have looked away: it may have died just before it
/// could write down what it saw.
const BENEFIT_OF_DOUBT: Duration = Duration::from_secs(60);

/// Lines that are appended to the journal at once.
const LINES: usize = 512;

/// How long the position of a path that is gone is kept.
const KEPT: Duration = Duration::from_secs(3600);

/// Of so many paths that are gone; who makes and removes more in that time has the oldest forgotten sooner.
const KEPT_MOST: usize = 10_000;

/// Where positions are kept, as `positions` of the config says.
#[derive(Clone, Debug)]
pub struct Config {
    pub filename: PathBuf,
    pub ignore_invalid_yaml: bool,
    /// Read, never write: a dry run.
    pub read_only: bool,
    /// Clients and jobs there are: what others had belongs to who has none of his own.
    pub readers: BTreeSet<(Arc<str>, Arc<str>)>,
}

/// What a position is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub client: Arc<str>,
    pub job: Arc<str>,
    pub path: Arc<Path>,
    /// [`stable_hash`](crate::model::LabelSet::stable_hash) of the target's labels: two targets may tail one file.
    pub labels: u64,
}

impl Key {
    fn reader(&self) -> (Arc<str>, Arc<str>) {
        (self.client.clone(), self.job.clone())
    }
}

/// Where a log that was tailed before goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    At {
        position: Position,
        saved: SystemTime,
    },
    /// All that Promtail's file knows: an offset in the file that has the name.
    Offset(u64),
}

/// A log's place in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u32);

/// One step forward.
#[derive(Clone, Copy, Debug)]
pub struct Commit {
    pub slot: Slot,
    pub position: Position,
    /// Whether the position is in the file that has the log's name now.
    pub live: bool,
    /// The last of the read times that lies wholly behind it.
    pub through: Option<i64>,
}

/// Why positions cannot be read. It stops the start: going on would send everything again, or skip it.
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

/// The positions of all clients; shared, each call short.
#[derive(Debug)]
pub struct Positions {
    config: Config,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    journal: Journal,
    slots: HashMap<Arc<Key>, Slot>,
    records: BTreeMap<Slot, Box<Entry>>,
    /// Of ten thousand logs each asks who had its path, or its file, before.
    by_path: BTreeSet<(Arc<Path>, Slot)>,
    by_file: BTreeSet<((u64, u64), Slot)>,
    next: u32,
    /// Of Promtail's file: offsets by path (`cursor-…` keys among them) that we have no better knowledge of.
    foreign: BTreeMap<String, String>,
    /// Of the file as it was at the start.
    yaml_read: u64,
    opened: SystemTime,
    /// Clients and jobs of the config that runs now.
    readers: BTreeSet<(Arc<str>, Arc<str>)>,
    unseen_since: SystemTime,
}

#[derive(Clone, Debug)]
struct Entry {
    key: Arc<Key>,
    saved: Option<Record>,
    times: ReadTimes,
    in_use: bool,
    /// Set if an earlier run of this process had the log open and nothing of it was committed: since when it had looked.
    looked_since: Option<SystemTime>,
}

/// For as long as it is there no other agent uses the same positions.
#[derive(Debug)]
pub struct Lock {
    _file: Option<std::fs::File>,
}

impl Positions {
    /// Takes the positions for this agent; an error says who has them. A dry run only reads them, and needs no lock.
    pub fn take(config: &Config) -> Result<Lock, Error> {
        if config.read_only {
            return Ok(Lock { _file: None });
        }
        safe::warn_of_writers(&config.filename);
        let lock = safe::lock(&config.filename);
        lock.map(|file| Lock { _file: file }).map_err(|message| Error { path: config.filename.clone(), message })
    }

    pub fn open(config: Config) -> Result<Self, Error> {
        let fail = |path: &Path, message: String| Error { path: path.into(), message };
        let path = journal::path(&config.filename);
        let read = journal::read(&path).map_err(|e| fail(&path, e))?;
        let foreign = match yaml::read(&config.filename) {
            Ok(yaml) => yaml,
            Err(_) if config.ignore_invalid_yaml => yaml::File::default(),
            Err(e) => return Err(fail(&config.filename, e)),
        };
        let mut state = State {
            journal: Journal::new(path, config.read_only, read.yaml_hash),
            slots: HashMap::new(),
            records: BTreeMap::new(),
            by_path: BTreeSet::new(),
            by_file: BTreeSet::new(),
            next: 0,
            foreign: BTreeMap::new(),
            yaml_read: foreign.hash,
            opened: SystemTime::now(),
            readers: config.readers.clone(),
            unseen_since: read.alive.map_or_else(SystemTime::now, |alive| alive - BENEFIT_OF_DOUBT),
        };
        for Known { key, record, times, .. } in read.known.into_values() {
            let slot = state.slot(key);
            state.records.entry(slot).and_modify(|e| e.times = times);
            state.save(slot, record);
        }
        // A yaml that we did not write is Promtail's, and newer where it says something else than we would.
        let (written_here, ours) = (read.yaml_hash == Some(foreign.hash), state.yaml());
        let news = |path: &String, offset: &String| match written_here {
            true => !state.knows(path),
            false => ours.get(path) != Some(offset),
        };
        let mut positions = foreign.positions;
        positions.retain(|path, offset| news(path, offset));
        state.foreign = positions;
        state.journal.restart(worth_writing(&state.records));
        Ok(Self { config, state: Mutex::new(state) })
    }

    /// Prepares for the next run of this process, once nothing of the last one reads any more. Every place is free again, and
    /// `readers` are the clients and jobs that the next config has.
    pub fn begin_run(&self, readers: BTreeSet<(Arc<str>, Arc<str>)>, now: SystemTime) {
        let mut state = self.lock();
        let unseen_since = now - BENEFIT_OF_DOUBT;
        let looked_since = state.unseen_since.min(unseen_since);
        for entry in state.records.values_mut().filter(|entry| entry.in_use) {
            entry.in_use = false;
            // Nothing was acknowledged of it yet. Its rotated generations must not become older than this run looks back.
            if entry.saved.is_none() {
                entry.looked_since.get_or_insert(looked_since);
            }
        }
        state.readers = readers;
        state.unseen_since = unseen_since;
    }

    pub fn filename(&self) -> &Path {
        &self.config.filename
    }

    /// Of a log that is not known, what was written since then has not been seen: it came while nobody was looking.
    /// What is older at the very first start is none of ours, as with Promtail.
    pub fn unseen_since(&self, slot: Slot) -> SystemTime {
        let state = self.lock();
        let path = state.records.get(&slot).map(|entry| entry.key.path.clone());
        // With other labels, or for another job, it is the same file.
        let of_path = path.into_iter().flat_map(|path| slots_of(&state.by_path, path));
        let looked_since = of_path.filter_map(|slot| state.records.get(&slot)?.looked_since).min();
        looked_since.unwrap_or(state.unseen_since)
    }

    /// How many logs are known from earlier runs.
    pub fn known(&self) -> usize {
        let state = self.lock();
        state.records.values().filter(|e| e.saved.is_some()).count().max(state.foreign.len())
    }

    /// Takes a log's place, and says where it goes on. `None` if somebody has that place already.
    pub fn claim(&self, key: Key) -> Option<(Slot, Option<Saved>)> {
        let mut state = self.lock();
        let path = key.path.to_string_lossy().into_owned();
        let known = state.slots.get(&key).copied();
        if known.is_some_and(|slot| state.records[&slot].in_use) {
            return None;
        }
        // Labels, a job's name or a client's address changed: what was delivered before is not sent again. To Promtail
        // a position is the path's, whoever reads it.
        let same_log = |e: &Entry| (&e.key.client, &e.key.job, &e.key.path) == (&key.client, &key.job, &key.path);
        let same_path = |e: &Entry| e.key.path == key.path && !state.readers.contains(&e.key.reader());
        let known = known.map(|slot| &*state.records[&slot]).filter(|e| e.saved.is_some());
        let orphan = |which: &dyn Fn(&Entry) -> bool| state.orphan(&key.path, which);
        let before = known.or_else(|| orphan(&same_log)).or_else(|| orphan(&same_path));
        let mut saved = before.and_then(|e| e.saved).map(Record::into_saved);
        let times = before.map(|e| e.times.clone()).unwrap_or_default();
        if let Some(offset) = state.foreign.get(&path).and_then(|o| o.parse().ok()) {
            saved = Some(Saved::Offset(offset));
        }
        let slot = state.slot(key);
        state.records.entry(slot).and_modify(|e| {
            e.in_use = true;
            if e.times.is_empty() {
                e.times = times;
            }
        });
        Some((slot, saved))
    }

    /// The read times of a log that are not behind its position, oldest first.
    pub fn read_times(&self, slot: Slot) -> Vec<ReadTime> {
        self.lock().records.get(&slot).map(|e| e.times.iter().copied().collect()).unwrap_or_default()
    }

    /// Writes down when chunks were read, before anything of them is sent. What cannot be written now is written with the
    /// next call that can.
    pub fn remember(&self, times: &[(Slot, ReadTime)]) -> io::Result<()> {
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

    /// Where another log with the same reader and labels stopped, if that was in the file of this inode: the file has
    /// been renamed since.
    pub fn in_file(&self, key: &Key, (device, inode): (u64, u64)) -> Option<Saved> {
        let state = self.lock();
        let same = |k: &Key| (&k.client, &k.job, k.labels) == (&key.client, &key.job, key.labels) && k.path != key.path;
        let file = |r: &Record| (r.position.file.device, r.position.file.inode) == (device, inode);
        let slots = slots_of(&state.by_file, (device, inode));
        let there = slots.filter_map(|slot| state.records.get(&slot)).filter_map(|e| Some((e, e.saved.filter(file)?)));
        there.filter(|(e, _)| same(&e.key)).map(|(_, r)| r).max_by_key(|r| r.position.offset).map(Record::into_saved)
    }

    /// Gives a log's place back.
    pub fn release(&self, slot: Slot) {
        if let Some(entry) = self.lock().records.get_mut(&slot) {
            entry.in_use = false;
        }
    }

    /// Writes steps forward down, at once. What cannot be written now is written with the next call that can.
    pub fn commit(&self, commits: &[Commit], now: SystemTime) -> io::Result<()> {
        let mut state = self.lock();
        let mut lines = Vec::with_capacity(commits.len());
        let any_foreign = !state.foreign.is_empty();
        for commit in commits {
            let record = Record { position: commit.position, live: commit.live, saved: now };
            state.save(commit.slot, Some(record));
            let Some(entry) = state.records.get_mut(&commit.slot) else {
                continue;
            };
            entry.times.let_go(&commit.position, commit.through);
            if any_foreign {
                let path = entry.key.path.to_string_lossy().into_owned();
                state.foreign.remove(&path);
            }
            lines.push(journal::Line::Position(commit.slot.0, record, commit.through));
        }
        state.append(&lines)
    }

    /// Every `sync_period`: makes the journal durable and small, and writes `positions.yaml`.
    pub fn sync(&self) -> io::Result<()> {
        if self.config.read_only {
            return Ok(());
        }
        let mut state = self.lock();
        state.drop_vanished(SystemTime::now());
        let yaml = state.yaml();
        drop(state);
        // A slow disk must not keep a reader from writing its commits.
        let written = yaml::write(&self.config.filename, &yaml);
        let mut state = self.lock();
        let hash = match &written {
            Ok(hash) => Some(*hash),
            // It says what it said at the start, which is no news once all of that is known better.
            Err(_) => state.has_old_yaml().then_some(state.yaml_read),
        };
        // What cannot be done is said at the end: the journal must stay small and durable all the same.
        let noted = match hash {
            Some(hash) if state.journal.yaml_hash() != Some(hash) => state.append(&[journal::Line::Yaml(hash)]),
            _ => Ok(()),
        };
        let rewritten = match state.journal.is_large() {
            true => state.rewrite(),
            false => Ok(()),
        };
        let alive = state.append(&[journal::Line::Alive(SystemTime::now())]);
        let unsynced = state.journal.take_unsynced();
        drop(state);
        let synced = unsynced.and_then(|file| file.map_or(Ok(()), |file| file.sync_data()));
        written.map(|_| ()).and(noted).and(rewritten).and(alive).and(synced)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn slot(&mut self, key: Key) -> Slot {
        if let Some(slot) = self.slots.get(&key) {
            return *slot;
        }
        let slot = Slot(self.next);
        self.next += 1;
        let key = Arc::new(key);
        self.slots.insert(key.clone(), slot);
        self.by_path.insert((key.path.clone(), slot));
        let entry = Entry { key, saved: None, times: ReadTimes::default(), in_use: false, looked_since: None };
        self.records.insert(slot, Box::new(entry));
        slot
    }

    fn rewrite(&mut self) -> io::Result<()> {
        self.journal.rewrite(worth_writing(&self.records))
    }

    fn append(&mut self, lines: &[journal::Line<'_>]) -> io::Result<()> {
        if self.journal.must_rewrite() || self.journal.is_overdue() {
            lines.iter().for_each(|line| self.journal.note(line));
            return self.rewrite();
        }
        // In parts: all logs of a node may have moved at once. If one part cannot be written the journal is rewritten, from
        // the records, with what the others say.
        for part in lines.chunks(LINES) {
            // What is said of a log comes with its key the first time.
            let mut keyed = Vec::with_capacity(part.len());
            for line in part {
                if let journal::Line::Position(slot, ..) | journal::Line::ReadTime(slot, _) = line
                    && self.journal.introduce(*slot)
                {
                    keyed.push(journal::Line::Key(*slot, &self.records[&Slot(*slot)].key));
                }
                keyed.push(*line);
            }
            self.journal.append(&keyed)?;
        }
        Ok(())
    }

    fn save(&mut self, slot: Slot, record: Option<Record>) {
        let Some(entry) = self.records.get_mut(&slot) else {
            return;
        };
        let file = |r: Record| (r.position.file.device, r.position.file.inode);
        let (before, now) = (entry.saved.map(file), record.map(file));
        entry.saved = record;
        if before != now {
            if let Some(before) = before {
                self.by_file.remove(&(before, slot));
            }
            if let Some(now) = now {
                self.by_file.insert((now, slot));
            }
        }
    }

    fn forget(&mut self, slot: Slot) {
        self.save(slot, None);
        if let Some(entry) = self.records.remove(&slot) {
            self.by_path.remove(&(entry.key.path.clone(), slot));
            self.slots.remove(&entry.key);
            self.journal.require_rewrite();
        }
    }

    /// The newest position of a log of this path that nobody reads (yet).
    fn orphan(&self, path: &Arc<Path>, which: &dyn Fn(&Entry) -> bool) -> Option<&Entry> {
        let records = slots_of(&self.by_path, path.clone()).filter_map(|slot| self.records.get(&slot).map(Box::as_ref));
        let records = records.filter(|e| !e.in_use && which(e));
        records.filter(|e| e.saved.is_some()).max_by_key(|e| e.saved.map(|r| r.saved))
    }

    fn knows(&self, path: &str) -> bool {
        let mut slots = slots_of(&self.by_path, Path::new(path).into());
        slots.any(|slot| self.records.get(&slot).is_some_and(|e| e.saved.is_some()))
    }

    /// Whether all that the yaml of the start says is either in the journal, and newer there, or known nowhere else.
    fn has_old_yaml(&self) -> bool {
        !self.foreign.keys().any(|path| self.knows(path))
    }

    /// What Promtail would have to know: for each path the least that every client has.
    fn yaml(&self) -> BTreeMap<String, String> {
        let mut least: BTreeMap<String, u64> = BTreeMap::new();
        for entry in self.records.values() {
            let Some(record) = &entry.saved else {
                continue;
            };
            if !entry.in_use && matches!(entry.key.path.try_exists(), Ok(false)) {
                continue;
            }
            // In an older generation: Promtail can only begin the live file from its start.
            let offset = if record.live { record.position.offset } else { 0 };
            let path = entry.key.path.to_string_lossy().into_owned();
            least.entry(path).and_modify(|o| *o = (*o).min(offset)).or_insert(offset);
        }
        let mut all = self.foreign.clone();
        all.extend(least.into_iter().map(|(path, offset)| (path, offset.to_string())));
        all
    }

    /// As Promtail does: a path that is gone and that nobody tails is forgotten; but not at once, since a file that was
    /// renamed may be known again by its position, and its disk may be mounted later than the agent starts.
    fn drop_vanished(&mut self, now: SystemTime) {
        let gone = |path: &Path| matches!(path.try_exists(), Ok(false));
        let vanished = self.records.iter().filter(|(_, e)| !e.in_use && gone(&e.key.path));
        let mut vanished: Vec<_> = vanished.map(|(slot, e)| (e.saved.map(|record| record.saved), *slot)).collect();
        vanished.sort_unstable();
        let too_many = vanished.len().saturating_sub(KEPT_MOST);
        let opened = self.opened;
        let is_old = |saved: Option<SystemTime>| saved.is_none_or(|saved| saved.max(opened) + KEPT < now);
        for (i, (saved, slot)) in vanished.into_iter().enumerate() {
            if i < too_many || is_old(saved) {
                self.forget(slot);
            }
        }
        self.foreign.retain(|path, _| !path.starts_with('/') || !gone(Path::new(path)));
    }
}

/// What the journal has to say of all logs.
fn worth_writing(records: &BTreeMap<Slot, Box<Entry>>) -> impl Iterator<Item = KnownRef<'_>> {
    let worth = records.iter().filter(|(_, e)| e.saved.is_some() || !e.times.is_empty());
    worth.map(|(slot, e)| KnownRef { slot: slot.0, key: &e.key, record: e.saved, times: &e.times })
}

/// The slots that an index has under this key.
fn slots_of<K: Clone + Ord>(index: &BTreeSet<(K, Slot)>, key: K) -> impl Iterator<Item = Slot> {
    index.range((key.clone(), Slot(0))..=(key, Slot(u32::MAX))).map(|(_, slot)| *slot)
}

#[cfg(test)]
mod tests;
