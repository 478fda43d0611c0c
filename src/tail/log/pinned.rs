//! Deleted files that take disk space only because the agent has not finished reading them.

use std::os::unix::fs::MetadataExt;

use super::Log;
use crate::tail::generation::Generation;

impl Log {
    /// Bytes on disk of deleted files that this log keeps open.
    pub fn pinned(&self) -> u64 {
        if self.generations.len() == 1 && self.gone.is_none() && self.spent.is_empty() && self.late.is_empty() {
            return 0;
        }
        let late = self.late.iter().map(|late| &late.generation);
        self.spent.iter().chain(late).chain(&self.generations).map(held).sum()
    }

    /// Gives up deleted files, oldest first, while they take more than `limit` bytes. Returns their unread bytes on
    /// disk.
    pub fn shed(&mut self, limit: u64) -> u64 {
        let mut pinned = self.pinned();
        let mut lost = 0;
        // These were read to their end, and nothing may have been written to them since.
        while pinned > limit
            && let Some(at) = self.late.iter().position(|late| held(&late.generation) > 0)
            && let Some(late) = self.late.remove(at)
        {
            pinned -= held(&late.generation);
            lost += self.give_up_late(late);
        }
        // These were read. They are only lost if Loki does not answer and the process ends.
        while pinned > limit
            && let Some(generation) = self.spent.pop_front()
        {
            pinned -= held(&generation);
        }
        while pinned > limit && !self.abandoned {
            let size = held(&self.generations[0]);
            if size == 0 {
                break; // The file still has a name, so its owner knows about its disk space.
            }
            lost += self.skipping.take().unwrap_or(0) + self.generations[0].unread();
            pinned -= size;
            match self.generations.len() {
                1 => self.abandoned = true,
                _ => drop(self.give_up()),
            }
        }
        lost
    }

    /// Gives up the oldest files if there are more than `most`. Returns their unread bytes on disk.
    pub fn shed_files(&mut self, most: usize) -> u64 {
        let mut lost = 0;
        while self.files() > most
            && let Some(late) = self.late.pop_front()
        {
            lost += self.give_up_late(late);
        }
        while self.files() > most && self.spent.pop_front().is_some() {}
        while self.generations.len() > most.max(1) {
            lost += self.skipping.take().unwrap_or(0) + self.generations[0].unread();
            drop(self.give_up());
        }
        lost
    }
}

fn held(generation: &Generation) -> u64 {
    generation.metadata().ok().filter(|meta| meta.nlink() == 0).map_or(0, |meta| meta.len())
}
