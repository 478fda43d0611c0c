//! The queue of logs to open or check. A few are handled between reads, so that open logs do not wait.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::{Path, PathBuf};

/// Takes turns between directories, so that ten thousand logs in one directory do not delay logs in another.
#[derive(Debug, Default)]
pub(super) struct Queue {
    turns: VecDeque<PathBuf>,
    folders: HashMap<PathBuf, VecDeque<u64>>,
    waiting: BTreeSet<u64>,
}

impl Queue {
    /// Adds a log, unless it is already in the queue.
    pub fn push(&mut self, path: &Path, log: u64) {
        if !self.waiting.insert(log) {
            return;
        }
        let folder = path.parent().unwrap_or(path);
        if let Some(logs) = self.folders.get_mut(folder) {
            return logs.push_back(log);
        }
        self.folders.insert(folder.into(), [log].into());
        self.turns.push_back(folder.into());
    }

    pub fn pop(&mut self) -> Option<u64> {
        let folder = self.turns.pop_front()?;
        let logs = self.folders.get_mut(&folder)?;
        let log = logs.pop_front()?;
        match logs.is_empty() {
            true => drop(self.folders.remove(&folder)),
            false => self.turns.push_back(folder),
        }
        self.waiting.remove(&log);
        Some(log)
    }

    pub fn has(&self, log: u64) -> bool {
        self.waiting.contains(&log)
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_take_turns_and_a_log_is_there_once() {
        let mut queue = Queue::default();
        (0..1_000).for_each(|log| queue.push(Path::new(&format!("/many/{log}.log")), log));
        queue.push(Path::new("/one/a.log"), 5_000);
        queue.push(Path::new("/one/a.log"), 5_000);
        queue.push(Path::new("/many/0.log"), 0);
        assert_eq!(std::iter::from_fn(|| queue.pop()).take(4).collect::<Vec<_>>(), [0, 5_000, 1, 2]);
        queue.push(Path::new("/many/0.log"), 0);
        let rest: Vec<u64> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!((rest.len(), rest.last()), (998, Some(&0)), "what was taken can be asked for again");
        assert!(queue.is_empty());
    }
}
