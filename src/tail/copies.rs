//! Recognises a file that is a copy of a log which was read already, under a name that a path matches as well. Programs
//! and logrotate (`copytruncate` with `dateext` and `extension`) make such copies.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::FINGERPRINT;
use super::allowed_paths::AllowedPaths;
use super::generation::Generation;
use crate::model::Position;

/// Whether a file is a copy of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// It is not a copy, or it is too short to tell.
    No,
    /// All of it is in the live file of the log.
    Whole,
    /// The log was cut since. It was read up to this position of the copy.
    Until(Position),
}

/// The names of logs in the same directory that a file with this name may be a copy of: `app.log` and `app` for
/// `app-20261126.log` or `app.log.bak`.
pub fn originals(path: &Path) -> Vec<PathBuf> {
    let Some(name) = path.file_name().map(OsStr::as_bytes) else {
        return Vec::new();
    };
    let extension = name.iter().rposition(|b| *b == b'.').map_or(&b""[..], |at| &name[at..]);
    let ends = (1..name.len()).filter(|at| b".-_~".contains(&name[*at]));
    let names: BTreeSet<Vec<u8>> =
        ends.flat_map(|end| [name[..end].to_vec(), [&name[..end], extension].concat()]).filter(|n| n != name).collect();
    names.into_iter().map(|name| path.with_file_name(OsString::from_vec(name))).collect()
}

/// Whether the file at `path` is a copy of the log at `live`, which was read up to `ends` in the files that it had.
pub fn copied(path: &Path, live: &Path, ends: &[Position], allowed: &AllowedPaths) -> Copied {
    let open = |path: &Path| allowed.resolve(path).and_then(|path| Generation::open(&path, None));
    let Ok(mut copy) = open(path) else {
        return Copied::No;
    };
    let mut live = open(live).ok();
    if live.as_mut().is_some_and(|live| is_within(&mut copy, live).unwrap_or(false)) {
        return Copied::Whole;
    }
    // Files of one program may begin alike. An equal whole head and equal bytes before the position are no accident.
    let is_long = |end: &&Position| end.offset >= FINGERPRINT as u64 && end.before.len > 0;
    let end = ends.iter().filter(is_long).find(|end| copy.holds(end).unwrap_or(false));
    // If the log was not cut, the file is not a copy any more: it got other lines.
    let end = end.filter(|end| !live.is_some_and(|mut live| live.holds(end).unwrap_or(false)));
    end.map_or(Copied::No, |end| Copied::Until(Position { file: copy.id(), ..*end }))
}

/// Whether the first file is a copy of the beginning of the second.
fn is_within(copy: &mut Generation, live: &mut Generation) -> io::Result<bool> {
    let (len, longer) = (copy.metadata()?.len(), live.metadata()?.len());
    if copy.id().has_inode_of(&live.id()) || len < FINGERPRINT as u64 || len > longer {
        return Ok(false);
    }
    let end = Position { file: copy.id(), offset: len, before: copy.look_before(len)? };
    live.holds(&end)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn text(from: usize, to: usize) -> String {
        (from..to).map(|n| format!("line {n} of a log that is long enough\n")).collect()
    }

    #[test]
    fn names_that_a_copy_may_have_its_name_from() {
        let of = |name: &str| {
            let names = originals(&Path::new("/d").join(name)).into_iter();
            names.map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(of("app-20261126.log"), ["app", "app-20261126", "app.log"]);
        assert_eq!(of("app.log.bak"), ["app", "app.bak", "app.log"]);
        assert_eq!(of("app.log~"), ["app", "app.log", "app.log.log~"]);
        assert_eq!(of("app"), [""; 0]);
    }

    #[test]
    fn a_copy_is_known_by_its_content_at_two_places() {
        let dir = tempfile::tempdir().expect("a directory");
        let (live, copy) = (dir.path().join("app.log"), dir.path().join("app-1.log"));
        let all = AllowedPaths::default();
        fs::write(&live, text(0, 100)).expect("written");
        let mut file = Generation::open(&live, None).expect("opened");
        let position = |file: &mut Generation, lines: usize| {
            let offset = text(0, lines).len() as u64;
            Position { file: file.id(), offset, before: file.look_before(offset).expect("read") }
        };
        let ends = [position(&mut file, 80)];
        let is = |ends: &[Position]| copied(&copy, &live, ends, &all);

        fs::copy(&live, &copy).expect("copied");
        assert_eq!(is(&ends), Copied::Whole, "it is not cut yet");
        fs::write(&copy, text(0, 60)).expect("written");
        assert_eq!(is(&ends), Copied::Whole, "the log has gone on since");
        fs::write(&copy, text(0, 100) + "more\n").expect("written");
        fs::write(&live, "new\n").expect("cut");
        let Copied::Until(there) = is(&ends) else { panic!("it was read up to there") };
        assert_eq!(there.offset, ends[0].offset);
        assert!(Generation::open(&copy, None).expect("opened").is_still(&there).expect("read"));
        fs::write(&live, text(0, 100)).expect("written");
        assert_eq!(is(&ends), Copied::No, "both go on, each in its own way");
        // A file of another program that begins alike.
        fs::write(&copy, text(0, 50) + &text(200, 300)).expect("written");
        assert_eq!(is(&ends), Copied::No);
        // Two short files cannot be distinguished.
        fs::write(&live, "ok\n").expect("written");
        fs::write(&copy, "ok\n").expect("written");
        assert_eq!((is(&ends), is(&[])), (Copied::No, Copied::No));
    }
}
