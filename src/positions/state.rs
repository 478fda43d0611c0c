//! The positions in memory, and what is written to the journal and the yaml.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::journal::{self, Journal, KnownLogRef, LeftFiles, Place, Record};
use super::read_time::ReadTimes;
use super::{KEPT, KEPT_CONTAINER, KEPT_MOST, Key, LINES, LogName, PositionId, Vanished};
use crate::model::{Clock, Position, later};

#[derive(Debug)]
pub(super) struct State {
    pub journal: Journal,
    pub slots: HashMap<Arc<Key>, PositionId>,
    pub records: BTreeMap<PositionId, Box<Entry>>,
    /// Indices: each of ten thousand logs looks up earlier positions by name or by file.
    pub by_name: BTreeSet<(LogName, PositionId)>,
    /// By inode: a file system that is mounted again may have another device number.
    pub by_file: BTreeSet<(u64, PositionId)>,
    /// The same of files that were left.
    pub by_left: BTreeSet<(u64, PositionId)>,
    /// The same of files with read times, as they were when this run began.
    pub by_read: BTreeSet<(u64, PositionId)>,
    pub next: u32,
    /// Entries of Promtail's file for logs without a newer position: offsets by path, and `cursor-…` keys.
    pub foreign: BTreeMap<String, String>,
    /// Promtail ran before this agent.
    pub is_taken_over: bool,
    /// The hash of the yaml as read at the start.
    pub yaml_read: u64,
    pub clock: Clock,
    pub opened: SystemTime,
    /// When an earlier run was active last, as far as it is known.
    pub ran_until: SystemTime,
    /// The clients and jobs of the current config.
    pub readers: BTreeSet<(Arc<str>, Arc<str>)>,
    pub unseen_since: SystemTime,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: Arc<Key>,
    pub saved: Option<Record>,
    pub times: ReadTimes,
    pub left: LeftFiles,
    pub in_use: bool,
    /// The current run has opened the log.
    pub was_opened: bool,
    /// Since when the log is being opened without a saved position. An open file that hangs may take long.
    pub opening: Option<SystemTime>,
    /// Set if an earlier run of this process had the log open and nothing was committed: how far back that run looked.
    pub looked_since: Option<SystemTime>,
    /// Since when its path is known to be gone, by the monotonic clock: the other one may be set.
    pub gone_since: Option<i64>,
}

impl State {
    pub fn new(
        journal: Journal,
        yaml_read: u64,
        readers: BTreeSet<(Arc<str>, Arc<str>)>,
        unseen_since: SystemTime,
        clock: Clock,
    ) -> Self {
        Self {
            journal,
            slots: HashMap::new(),
            records: BTreeMap::new(),
            by_name: BTreeSet::new(),
            by_file: BTreeSet::new(),
            by_left: BTreeSet::new(),
            by_read: BTreeSet::new(),
            next: 0,
            foreign: BTreeMap::new(),
            is_taken_over: false,
            yaml_read,
            opened: clock.system_time(),
            ran_until: clock.system_time(),
            clock,
            readers,
            unseen_since,
        }
    }

    pub fn slot(&mut self, key: Key) -> PositionId {
        if let Some(slot) = self.slots.get(&key) {
            return *slot;
        }
        let slot = PositionId(self.next);
        self.next += 1;
        let key = Arc::new(key);
        self.slots.insert(key.clone(), slot);
        self.by_name.insert((key.log.clone(), slot));
        let entry = Entry {
            key,
            saved: None,
            times: ReadTimes::default(),
            left: LeftFiles::default(),
            in_use: false,
            was_opened: false,
            opening: None,
            looked_since: None,
            gone_since: None,
        };
        self.records.insert(slot, Box::new(entry));
        slot
    }

    pub fn rewrite(&mut self) -> io::Result<()> {
        self.journal.rewrite(worth_writing(&self.records), self.alive())
    }

    /// Until when an agent has looked at all logs. One that is still being opened, and that the next run does not know, was not
    /// looked at.
    pub fn alive(&self) -> SystemTime {
        let now = self.clock.system_time();
        self.records.values().filter_map(|entry| entry.opening).fold(now, SystemTime::min)
    }

    pub fn append(&mut self, lines: &[journal::Line<'_>]) -> io::Result<()> {
        if self.journal.must_rewrite() || self.journal.is_overdue() {
            lines.iter().for_each(|line| self.journal.note(line));
            return self.rewrite();
        }
        // In parts, since all logs of a node may have moved at once. If one part cannot be written, the journal is
        // later rewritten from the records.
        for part in lines.chunks(LINES) {
            // The first line about a log comes with its key.
            let mut keyed = Vec::with_capacity(part.len());
            for line in part {
                if let journal::Line::Position(slot, ..)
                | journal::Line::ReadTime(slot, _)
                | journal::Line::Left(slot, _) = line
                    && self.journal.introduce(*slot)
                {
                    keyed.push(journal::Line::Key(*slot, &self.records[&PositionId(*slot)].key));
                }
                keyed.push(line.clone());
            }
            self.journal.append(&keyed)?;
        }
        Ok(())
    }

    pub fn save(&mut self, slot: PositionId, record: Option<Record>) {
        let Some(entry) = self.records.get_mut(&slot) else {
            return;
        };
        entry.opening = None;
        let (before, now) = (entry.saved.as_ref().and_then(Record::file), record.as_ref().and_then(Record::file));
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

    pub fn forget(&mut self, slot: PositionId) {
        self.save(slot, None);
        if let Some(entry) = self.records.remove(&slot) {
            for end in entry.left.iter() {
                self.by_left.remove(&(file_of(end), slot));
            }
            self.by_name.remove(&(entry.key.log.clone(), slot));
            self.slots.remove(&entry.key);
            self.journal.require_rewrite();
        }
    }

    /// A log has left this file, read to its end.
    pub fn leave(&mut self, slot: PositionId, end: Position) {
        let Some(entry) = self.records.get_mut(&slot) else {
            return;
        };
        for forgotten in entry.left.add(end) {
            // Another device may have the same inode.
            if !entry.left.iter().any(|left| file_of(left) == file_of(&forgotten)) {
                self.by_left.remove(&(file_of(&forgotten), slot));
            }
        }
        self.by_left.insert((file_of(&end), slot));
    }

    /// A run begins: in which files lines were read that may be sent again.
    pub fn index_read_files(&mut self) {
        let files = self.records.iter().flat_map(|(slot, entry)| {
            let files = entry.times.files().into_iter();
            files.map(move |start| (file_of(&start), *slot))
        });
        self.by_read = files.collect();
    }

    /// A `positions.yaml` of this hash is ours.
    pub fn note_yaml(&mut self, hash: u64) -> io::Result<()> {
        match self.journal.yaml_hash() == Some(hash) {
            true => Ok(()),
            false => self.append(&[journal::Line::Yaml(hash)]),
        }
    }

    /// The position at which a log with this key continues. If labels, a job's name or a client's URL changed, delivered lines
    /// are not sent again. In Promtail, a position belongs to the path alone.
    pub fn of_name(&self, key: &Key) -> Option<&Entry> {
        let same_log = |e: &Entry| (&e.key.client, &e.key.job, &e.key.log) == (&key.client, &key.job, &key.log);
        let same_name = |e: &Entry| e.key.log == key.log && !self.readers.contains(&e.key.reader());
        let known = self.slots.get(key).map(|slot| &*self.records[slot]).filter(|e| e.saved.is_some());
        known.or_else(|| self.orphan(&key.log, &same_log)).or_else(|| self.orphan(&key.log, &same_name))
    }

    /// The newest position of a log with this name that no reader has claimed.
    pub fn orphan(&self, name: &LogName, which: &dyn Fn(&Entry) -> bool) -> Option<&Entry> {
        let records = slots_of(&self.by_name, name.clone()).filter_map(|slot| self.records.get(&slot).map(Box::as_ref));
        let records = records.filter(|e| !e.in_use && which(e));
        records.filter(|e| e.saved.is_some()).max_by_key(|e| e.saved.as_ref().map(|r| r.saved))
    }

    /// Whether there is a position for the log that has this name in `positions.yaml`.
    pub fn knows(&self, name: &str) -> bool {
        let names = [LogName::File(Path::new(name).into()), LogName::Other(name.into())];
        let mut slots = names.into_iter().flat_map(|name| slots_of(&self.by_name, name));
        slots.any(|slot| self.records.get(&slot).is_some_and(|e| e.saved.is_some()))
    }

    /// Whether the yaml read at the start has nothing newer: each of its logs is in the journal with a newer position,
    /// or unknown elsewhere.
    pub fn has_old_yaml(&self) -> bool {
        !self.foreign.keys().any(|path| self.knows(path))
    }

    /// The content of `positions.yaml`: for each path the lowest offset of all clients.
    pub fn yaml(&self, vanished: &Vanished) -> BTreeMap<String, String> {
        let mut all = self.foreign.clone();
        let mut least: BTreeMap<String, u64> = BTreeMap::new();
        let mut oldest: BTreeMap<String, (SystemTime, &Arc<str>)> = BTreeMap::new();
        for entry in self.records.values() {
            let Some(record) = &entry.saved else {
                continue;
            };
            let name = || entry.key.log.in_yaml().into_owned();
            match &record.place {
                Place::File(..) if !entry.in_use && vanished.has(&entry.key.log) => {}
                Place::File(position, live) => {
                    // The position is in an older generation. Promtail can only start at the beginning of the live
                    // file.
                    let offset = if *live { position.offset } else { 0 };
                    least.entry(name()).and_modify(|o| *o = (*o).min(offset)).or_insert(offset);
                }
                // Cursors cannot be compared. The one saved earlier is taken as the one that is behind.
                Place::Cursor(cursor) => {
                    let own = (record.saved, cursor);
                    oldest.entry(name()).and_modify(|o| *o = (*o).min(own)).or_insert(own);
                }
            }
        }
        all.extend(least.into_iter().map(|(path, offset)| (path, offset.to_string())));
        // Promtail reads the position of a container as whole seconds.
        let shown = |name: &str, cursor: &str| match LogName::Other(name.into()).is_of_container() {
            true => cursor.split('.').next().unwrap_or_default().to_string(),
            false => cursor.to_string(),
        };
        all.extend(
            oldest.into_iter().map(|(name, (_, cursor))| (shown(&name, cursor), name)).map(|(c, name)| (name, c)),
        );
        all
    }

    /// The paths of logs that nobody reads, and those of Promtail's file.
    pub fn unused_paths(&self) -> BTreeSet<PathBuf> {
        let unused = self.records.values().filter(|entry| !entry.in_use).filter_map(|entry| entry.key.log.path());
        let foreign = self.foreign.keys().filter(|path| path.starts_with('/')).map(Path::new);
        unused.chain(foreign).map(Path::to_path_buf).collect()
    }

    /// As in Promtail, forgets paths that no longer exist and are not tailed. But not at once: a renamed file may be
    /// recognised by its position, and its disk may be mounted after the agent starts.
    pub fn drop_vanished(&mut self, gone: &Vanished, now: SystemTime) {
        let is_gone = |log: &LogName| gone.has(log) || log.is_of_container();
        let monotonic = self.clock.monotonic();
        for entry in self.records.values_mut() {
            match !entry.in_use && is_gone(&entry.key.log) {
                true => drop(entry.gone_since.get_or_insert(monotonic)),
                false => entry.gone_since = None,
            }
        }
        let vanished = self.records.iter().filter(|(_, e)| !e.in_use && is_gone(&e.key.log));
        let kept = |e: &Entry| if e.key.log.is_of_container() { KEPT_CONTAINER } else { KEPT };
        let gone_for = |e: &Entry| e.gone_since.map_or(0, |since| monotonic - since);
        let of = vanished.map(|(slot, e)| {
            let kept = kept(e);
            let is_long_gone = e.key.log.is_of_container() || gone_for(e) >= kept.as_nanos() as i64;
            (e.saved.as_ref().map(|r| r.saved), *slot, kept, is_long_gone)
        });
        let mut vanished: Vec<_> = of.collect();
        vanished.sort_unstable();
        let too_many = vanished.len().saturating_sub(KEPT_MOST);
        let opened = self.opened;
        let is_old = |saved: Option<SystemTime>, kept| saved.is_none_or(|saved| later(saved.max(opened), kept) < now);
        for (i, (saved, slot, kept, is_long_gone)) in vanished.into_iter().enumerate() {
            if i < too_many || is_long_gone && is_old(saved, kept) {
                self.forget(slot);
            }
        }
        self.foreign.retain(|path, _| !gone.0.contains(Path::new(path)));
    }
}

/// The records that belong in the journal.
pub(super) fn worth_writing(records: &BTreeMap<PositionId, Box<Entry>>) -> impl Iterator<Item = KnownLogRef<'_>> {
    let worth = records.iter().filter(|(_, e)| e.saved.is_some() || !e.times.is_empty() || !e.left.is_empty());
    worth.map(|(slot, e)| KnownLogRef {
        slot: slot.0,
        key: &e.key,
        record: e.saved.as_ref(),
        times: &e.times,
        left: &e.left,
    })
}

fn file_of(position: &Position) -> u64 {
    position.file.inode
}

/// All slots in an index with this key.
pub(super) fn slots_of<K: Clone + Ord>(index: &BTreeSet<(K, PositionId)>, key: K) -> impl Iterator<Item = PositionId> {
    index.range((key.clone(), PositionId(0))..=(key, PositionId(u32::MAX))).map(|(_, slot)| *slot)
}
