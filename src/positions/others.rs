//! Questions about the positions of other logs: which of them were read in a file, and which have no file any more.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::journal::Record;
use super::state::{Entry, slots_of};
use super::{Key, LogName, PositionId, Positions};
use crate::model::{FileId, Position};

impl Positions {
    /// Where other logs with the same reader and labels stopped in the file of this inode, the furthest first: the file has been
    /// renamed since. Whether it has still that content the caller has to see.
    pub fn in_file(&self, key: &Key, file: &FileId) -> Vec<Position> {
        let state = self.lock();
        let indexed = slots_of(&state.by_file, file.inode).chain(slots_of(&state.by_left, file.inode));
        let entries = indexed.filter_map(|slot| state.records.get(&slot)).filter(|e| e.key.is_beside(key));
        let positions = entries.flat_map(|e| e.saved.iter().filter_map(Record::position).chain(e.left.iter().copied()));
        let mut there: Vec<Position> = positions.filter(|p| p.file.has_inode_of(file)).collect();
        there.sort_by_key(|position| std::cmp::Reverse(position.offset));
        there
    }

    /// Logs with a position whose files have no name any more, with their jobs.
    pub fn gone(&self) -> Vec<(Arc<str>, Arc<Path>)> {
        let known: Vec<_> = {
            let state = self.lock();
            let known = state.records.values().filter(|e| e.saved.is_some() && !e.in_use);
            known.map(|e| e.key.clone()).collect()
        };
        let path = |key: &Arc<Key>| match &key.log {
            LogName::File(path) => Some((key.job.clone(), path.clone())),
            LogName::Other(_) => None,
        };
        let paths = known.iter().filter_map(path);
        paths.filter(|(_, path)| matches!(path.try_exists(), Ok(false))).collect()
    }

    /// Where this log of a job stopped, for any client and labels.
    pub fn of_path(&self, job: &str, path: &Path) -> Vec<Position> {
        let state = self.lock();
        let slots = slots_of(&state.by_name, LogName::File(path.into()));
        let of_job = slots.filter_map(|slot| state.records.get(&slot)).filter(|e| *e.key.job == *job);
        of_job.filter_map(|e| e.saved.as_ref().and_then(Record::position)).collect()
    }

    /// Where the log of this key stopped in its last files, the furthest first.
    pub fn of_log(&self, key: &Key) -> Vec<Position> {
        let state = self.lock();
        let entry = state.slots.get(key).and_then(|slot| state.records.get(slot));
        let ends = entry.map(|e| e.saved.iter().filter_map(Record::position).chain(e.left.iter().copied()));
        let mut ends: Vec<Position> = ends.into_iter().flatten().collect();
        ends.sort_by_key(|position| std::cmp::Reverse(position.offset));
        ends
    }

    /// Logs with the same reader and labels that have a position and were not opened in this run yet: those that were read in the
    /// file of this inode (true), and those with these names (false).
    pub fn unopened(&self, key: &Key, file: &FileId, names: &[PathBuf]) -> Vec<(Arc<Path>, bool)> {
        let state = self.lock();
        let named = names.iter().filter_map(|name| {
            let log = LogName::File(name.as_path().into());
            state.slots.get(&Key { log, ..key.clone() }).copied()
        });
        let of_file = slots_of(&state.by_file, file.inode).chain(slots_of(&state.by_read, file.inode));
        let of_file = of_file.map(|slot| (slot, true));
        let slots = of_file.chain(named.map(|slot| (slot, false)));
        let entries = slots.filter_map(|(slot, of_file)| Some((state.records.get(&slot)?, of_file)));
        let was_read = |e: &Entry| {
            let files = e.saved.iter().filter_map(Record::position).chain(e.times.files());
            files.into_iter().any(|position| position.file.has_inode_of(file))
        };
        let unopened = entries.filter(|(e, of_file)| {
            !e.was_opened && e.saved.is_some() && e.key.is_beside(key) && (!of_file || was_read(e))
        });
        unopened.filter_map(|(e, of_file)| Some((Arc::from(e.key.log.path()?), of_file))).collect()
    }

    /// Where the log has read times, one position for each file, in the order of reading.
    pub fn files_read(&self, slot: PositionId) -> Vec<Position> {
        let state = self.lock();
        state.records.get(&slot).map(|entry| entry.times.files()).unwrap_or_default()
    }

    /// The position in a file at which the log with this key would continue.
    pub fn of_name(&self, key: &Key) -> Option<Position> {
        self.lock().of_name(key).and_then(|entry| entry.saved.as_ref()?.position())
    }
}
