//! Finds logs by file, so that opening a file does not require asking every log.

use std::collections::BTreeSet;

/// Device and inode.
type File = (u64, u64);

/// May list files that a log has closed. Callers check with the log.
#[derive(Debug, Default)]
pub(super) struct Inodes {
    logs: BTreeSet<(File, u64)>,
    files: BTreeSet<(u64, File)>,
}

impl Inodes {
    /// Adds files to a log. From time to time, files that the log no longer knows are removed.
    pub fn add(&mut self, log: u64, new: Vec<File>, knows: impl Fn(File) -> bool) {
        if new.is_empty() {
            return;
        }
        if self.files_of(log).count() >= 32 {
            let gone: Vec<File> = self.files_of(log).filter(|file| !knows(*file)).collect();
            gone.into_iter().for_each(|file| self.forget(log, file));
        }
        for file in new {
            self.files.insert((log, file));
            self.logs.insert((file, log));
        }
    }

    /// The logs that may have this file.
    pub fn of(&self, file: File) -> impl Iterator<Item = u64> {
        self.logs.range((file, 0)..=(file, u64::MAX)).map(|(_, log)| *log)
    }

    pub fn remove(&mut self, log: u64) {
        let files: Vec<File> = self.files_of(log).collect();
        files.into_iter().for_each(|file| self.forget(log, file));
    }

    fn files_of(&self, log: u64) -> impl Iterator<Item = File> {
        self.files.range((log, (0, 0))..=(log, (u64::MAX, u64::MAX))).map(|(_, file)| *file)
    }

    fn forget(&mut self, log: u64, file: File) {
        self.files.remove(&(log, file));
        self.logs.remove(&(file, log));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_a_log_that_rotates_for_ever_stays_small() {
        let mut inodes = Inodes::default();
        inodes.add(1, vec![(7, 7)], |_| true);
        for n in 0..10_000 {
            inodes.add(2, vec![(1, n), (7, 7)], |file| file == (7, 7) || file.1 + 8 > n);
        }
        assert!(inodes.files_of(2).count() <= 40 && inodes.logs.len() <= 40);
        let of = |inodes: &Inodes, file| inodes.of(file).collect::<Vec<u64>>();
        assert_eq!([of(&inodes, (7, 7)), of(&inodes, (1, 9_999)), of(&inodes, (1, 0))], [vec![1, 2], vec![2], vec![]]);
        inodes.remove(2);
        assert_eq!((of(&inodes, (7, 7)), inodes.logs.len(), inodes.files.len()), (vec![1], 1, 1));
    }
}
