//! Tells whether directories changed since they were listed, without listing them again.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use xxhash_rust::xxh3::Xxh3;

/// A directory that changed less than this before it was listed may change again without a new time: the clock of a file
/// system has ticks. The longest are those of FAT: two seconds.
const SETTLED: Duration = Duration::from_secs(3);

/// The same for a time that is no multiple of [`COARSE`]. Its file system takes the kernel's clock, which has a tick every
/// 1 to 10 ms.
const SOON_SETTLED: Duration = Duration::from_millis(100);

/// The unit of the finest times, in nanoseconds, of file systems that do not take the kernel's clock as it is (exFAT).
const COARSE: i64 = 10_000_000;

/// A hash of the state of some directories: their inodes, and the times of their last changes. Each name that is created,
/// renamed or removed in one of them changes it. It says nothing of file systems that other machines or daemons write to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot(u64);

impl Snapshot {
    /// `listed` is when their listing began, or an earlier time. `at` gets each path before it is touched. None: one of them
    /// is gone, or has no times, or has changed shortly before `listed` or later, so their listing may be older than their state.
    pub fn of<'d>(
        directories: impl IntoIterator<Item = &'d Path>,
        listed: SystemTime,
        at: &dyn Fn(&Path),
    ) -> Option<Self> {
        let mut hash = Xxh3::new();
        for directory in directories {
            at(directory);
            let meta = fs::metadata(directory).ok().filter(Metadata::is_dir)?;
            let times = [(meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec())];
            // The root of a FAT file system has no times.
            if times == [(0, 0); 2] {
                return None;
            }
            if !times.into_iter().all(|time| is_settled(time, listed)) {
                return None;
            }
            for number in [meta.dev(), meta.ino(), meta.nlink(), meta.size()] {
                hash.update(&number.to_ne_bytes());
            }
            for number in times.into_iter().flat_map(|(seconds, nanos)| [seconds, nanos]) {
                hash.update(&number.to_ne_bytes());
            }
        }
        Some(Self(hash.digest()))
    }
}

/// Whether a directory whose last change has this time, in seconds and nanoseconds, gets another time with the next change
/// after `listed`.
pub(super) fn is_settled((seconds, nanos): (i64, i64), listed: SystemTime) -> bool {
    let pause = if nanos % COARSE == 0 { SETTLED } else { SOON_SETTLED };
    let before = listed.checked_sub(pause).and_then(|before| before.duration_since(UNIX_EPOCH).ok());
    before.is_some_and(|before| (seconds, nanos) < (before.as_secs() as i64, i64::from(before.subsec_nanos())))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A change that `Snapshot` has to show.
    type Change = fn(&Path);

    #[test]
    fn each_change_of_a_name_shows_and_a_write_to_a_file_does_not() {
        let changes: [(&str, Change); 7] = [
            ("created", |dir| fs::write(dir.join("new"), "x").expect("written")),
            ("removed", |dir| fs::remove_file(dir.join("a.log")).expect("removed")),
            ("renamed", |dir| fs::rename(dir.join("a.log"), dir.join("b.log")).expect("renamed")),
            ("linked", |dir| symlink("a.log", dir.join("link")).expect("linked")),
            ("replaced", |dir| fs::rename(dir.join("other"), dir.join("a.log")).expect("renamed")),
            ("a directory in it", |dir| fs::create_dir(dir.join("sub")).expect("made")),
            ("made again", |dir| {
                fs::rename(dir, dir.with_extension("old")).expect("renamed");
                fs::create_dir(dir).expect("made");
            }),
        ];
        for (what, change) in changes {
            let parent = tempfile::tempdir().expect("a directory");
            let dir = parent.path().join("logs");
            fs::create_dir(&dir).expect("made");
            ["a.log", "other"].iter().for_each(|name| fs::write(dir.join(name), "x").expect("written"));
            // As if they were listed an hour later.
            let later = || SystemTime::now() + Duration::from_secs(3600);
            let snapshot = |listed| Snapshot::of([dir.as_path()], listed, &|_| {});
            let changed = fs::metadata(&dir).and_then(|meta| meta.modified()).expect("a time");
            assert_eq!(snapshot(changed), None, "it has just changed");
            let before = snapshot(later());
            fs::write(dir.join("a.log"), "longer").expect("written");
            assert!(before.is_some() && snapshot(later()) == before, "a write");
            // Another tick of the clock of the file system.
            while fs::metadata(&dir).expect("there").ctime_nsec() == probe(parent.path()) {}
            change(&dir);
            assert_ne!(snapshot(later()), before, "{what}");
        }
        assert_eq!(Snapshot::of([Path::new("/none")], SystemTime::now(), &|_| {}), None);
    }

    #[test]
    fn a_directory_may_change_within_the_tick_of_its_clock() {
        let parent = tempfile::tempdir().expect("a directory");
        let has_snapshot = |after| {
            let changed = fs::metadata(parent.path()).and_then(|meta| meta.modified()).expect("a time");
            Snapshot::of([parent.path()], changed + Duration::from_millis(after), &|_| {}).is_some()
        };
        // The kernel's clock, unless this tick has ten milliseconds to the nanosecond.
        while probe(parent.path()) % COARSE == 0 {}
        fs::create_dir(parent.path().join("new")).expect("made");
        assert_eq!([50, 500].map(has_snapshot), [false, true]);
        // FAT: whole seconds. Its other time is earlier.
        let second = UNIX_EPOCH.elapsed().expect("later").as_secs() + 2;
        let directory = fs::File::open(parent.path()).expect("opened");
        directory.set_modified(UNIX_EPOCH + Duration::from_secs(second)).expect("set");
        assert_eq!([500, 2_000, 4_000].map(has_snapshot), [false, false, true]);
    }

    /// The nanoseconds of a file that was written just now.
    fn probe(dir: &Path) -> i64 {
        fs::write(dir.join("probe"), "x").expect("written");
        fs::metadata(dir.join("probe")).expect("there").ctime_nsec()
    }
}
