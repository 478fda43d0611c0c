//! Short lists that forget their oldest element.

use crate::model::Position;

/// The files that a log has left after reading them to their end. If one of them gets a name that the path matches too, it is
/// not read again.
#[derive(Clone, Debug, Default)]
pub struct LeftFiles(Vec<Position>);

impl LeftFiles {
    /// A rotation that gives such a file its new name is noticed before the log has left this many more.
    const MOST: usize = 32;

    /// Replaces what is known of this file, also if its file system has another number since. Returns what is forgotten: that,
    /// and the oldest file if there are too many.
    pub fn add(&mut self, end: Position) -> Vec<Position> {
        let file = |position: &Position| (position.file.device, position.file.inode);
        let is_it = |known: &Position| file(known) == file(&end) || known.file.has_inode_of(&end.file);
        let (mut forgotten, others): (Vec<Position>, _) = self.0.iter().partition(|known| is_it(known));
        self.0 = others;
        self.0.push(end);
        if self.0.len() > Self::MOST {
            forgotten.push(self.0.remove(0));
        }
        forgotten
    }

    pub fn iter(&self) -> impl Iterator<Item = &Position> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The hashes of the current `positions.yaml` and of the one that is about to replace it. If the process ends between writing
/// the two, the next one recognises its own file in either case.
#[derive(Clone, Debug, Default)]
pub struct YamlHashes(Vec<u64>);

impl YamlHashes {
    pub fn add(&mut self, hash: u64) {
        self.0.retain(|known| *known != hash);
        self.0.push(hash);
        if self.0.len() > 2 {
            self.0.remove(0);
        }
    }

    /// From the oldest to the newest.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.0.iter().copied()
    }

    pub fn newest(&self) -> Option<u64> {
        self.0.last().copied()
    }

    pub fn has(&self, hash: u64) -> bool {
        self.0.contains(&hash)
    }
}
