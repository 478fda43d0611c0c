//! What of the disk is held only because it is still to be read: files that have no name any more.

use std::os::unix::fs::MetadataExt;

use super::Log;
use crate::tail::generation::Generation;

impl Log {
    /// Bytes of the disk that deleted files hold because this log has them open.
    pub fn pinned(&self) -> u64 {
        if self.generations.len() == 1 && self.gone.is_none() && self.spent.is_empty() {
            return 0;
        }
        self.spent.iter().chain(&self.generations).map(held).sum()
    }

    /// Gives up deleted files, oldest first, for as long as such hold more than `limit`; gives the bytes on disk that
    /// had not been read of them.
    pub fn shed(&mut self, limit: u64) -> u64 {
        let mut pinned = self.pinned();
        let mut lost = 0;
        // What was read is lost only if Loki does not answer and the process ends.
        while pinned > limit
            && let Some(generation) = self.spent.pop_front()
        {
            pinned -= held(&generation);
        }
        while pinned > limit && !self.abandoned {
            let size = held(&self.generations[0]);
            if size == 0 {
                break; // it has a name, and costs nothing that its owner does not know of
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

    /// Gives up the oldest files beyond so many; gives the bytes on disk that had not been read of them.
    pub fn shed_files(&mut self, most: usize) -> u64 {
        let mut lost = 0;
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
