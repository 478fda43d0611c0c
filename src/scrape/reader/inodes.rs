//! Which logs have which files, so that for each file that is opened not all logs have to be asked.

use std::collections::HashMap;

/// May know of files that a log has let go of: whoever asks looks at the log itself.
#[derive(Debug, Default)]
pub(super) struct Inodes {
    logs: HashMap<(u64, u64), Vec<u64>>,
    files: HashMap<u64, Vec<(u64, u64)>>,
}

impl Inodes {
    /// The log has these files as well; of what it has had, what it does not know any more is forgotten now and then.
    pub fn add(&mut self, log: u64, new: Vec<(u64, u64)>, knows: impl Fn((u64, u64)) -> bool) {
        if new.is_empty() {
            return;
        }
        let files = self.files.entry(log).or_default();
        if files.len() >= 32 {
            let (kept, gone) = std::mem::take(files).into_iter().partition(|file| knows(*file));
            *files = kept;
            for file in gone {
                forget(&mut self.logs, file, log);
            }
        }
        let files = self.files.entry(log).or_default();
        for file in new {
            if !files.contains(&file) {
                files.push(file);
                self.logs.entry(file).or_default().push(log);
            }
        }
    }

    /// The logs that may have this file.
    pub fn of(&self, file: (u64, u64)) -> &[u64] {
        self.logs.get(&file).map_or(&[], Vec::as_slice)
    }

    pub fn remove(&mut self, log: u64) {
        for file in self.files.remove(&log).unwrap_or_default() {
            forget(&mut self.logs, file, log);
        }
    }
}

fn forget(logs: &mut HashMap<(u64, u64), Vec<u64>>, file: (u64, u64), log: u64) {
    if let Some(of) = logs.get_mut(&file) {
        of.retain(|l| *l != log);
        if of.is_empty() {
            logs.remove(&file);
        }
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
        assert!(inodes.files[&2].len() <= 40 && inodes.logs.len() <= 40);
        assert_eq!((inodes.of((7, 7)), inodes.of((1, 9_999)), inodes.of((1, 0))), (&[1, 2][..], &[2][..], &[][..]));
        inodes.remove(2);
        assert_eq!((inodes.of((7, 7)), inodes.logs.len()), (&[1][..], 1));
    }
}
