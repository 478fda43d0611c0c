//! Looking for files: one directory after the other, as deep as the pattern goes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{is_wild, matches_name, unescape};

/// As deep as `**` goes: far beyond any real tree, short of a loop of links.
const MAX_DEPTH: usize = 32;

/// What matches and is no file is told so often: who has more of it looks at the directory anyway.
const MOST_SKIPPED: usize = 1000;

/// What a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    pub files: BTreeSet<PathBuf>,
    /// Directories in which a new name could be a match, or lead to one.
    pub directories: BTreeSet<PathBuf>,
    /// What could not be looked into, and why.
    pub errors: Vec<(PathBuf, String)>,
    /// What matches and cannot be read as a log; the first thousand of it.
    pub skipped: BTreeMap<PathBuf, Skip>,
}

/// Why something that matches is no log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    Directory,
    /// A pipe, a socket or a device.
    Special,
    BrokenLink,
    /// A link that leads where the agent's user may not go, or round in a circle.
    Unreachable,
}

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Other(Skip),
}

impl Kind {
    fn is_dir(self) -> bool {
        self == Kind::Other(Skip::Directory)
    }
}

impl From<fs::FileType> for Kind {
    fn from(kind: fs::FileType) -> Self {
        match kind {
            kind if kind.is_file() => Kind::File,
            kind if kind.is_dir() => Kind::Other(Skip::Directory),
            _ => Kind::Other(Skip::Special),
        }
    }
}

impl Walk {
    pub(super) fn descend(&mut self, dir: &Path, pattern: &[String], depth: usize) {
        let Some((component, rest)) = pattern.split_first() else {
            return;
        };
        if component == "**" {
            // None included: `a/**/b` matches `a/b`.
            if !rest.is_empty() {
                self.descend(dir, rest, depth);
            }
            return self.for_each(dir, |path, kind, walk| {
                if kind.is_dir() && depth < MAX_DEPTH {
                    walk.descend(&path, pattern, depth + 1);
                } else if rest.is_empty() && !kind.is_dir() {
                    walk.found(path, kind);
                }
            });
        }
        if !is_wild(component) {
            return self.named(dir, &dir.join(unescape(component)), rest, depth);
        }
        self.for_each(dir, |path, kind, walk| {
            let matches = path.file_name().is_some_and(|n| matches_name(component, n.as_encoded_bytes()));
            if matches && rest.is_empty() {
                walk.found(path, kind);
            } else if matches && kind.is_dir() {
                walk.descend(&path, rest, depth);
            }
        });
    }

    /// Goes on at the one name that can match.
    fn named(&mut self, dir: &Path, path: &Path, rest: &[String], depth: usize) {
        let kind = match kind(path) {
            Ok(kind) => kind,
            Err(e) => {
                // It may come: its parent is where that would show.
                self.directories.insert(dir.into());
                if !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) {
                    self.errors.push((path.into(), e.to_string()));
                }
                return;
            }
        };
        if kind.is_dir() && !rest.is_empty() {
            return self.descend(path, rest, depth);
        }
        self.directories.insert(dir.into());
        if rest.is_empty() {
            self.found(path.into(), kind);
        }
    }

    fn found(&mut self, path: PathBuf, kind: Kind) {
        match kind {
            Kind::File => drop(self.files.insert(path)),
            Kind::Other(skip) if self.skipped.len() < MOST_SKIPPED => drop(self.skipped.insert(path, skip)),
            Kind::Other(_) => {}
        }
    }

    /// Calls `f` for each name in `dir`, links followed.
    fn for_each(&mut self, dir: &Path, mut f: impl FnMut(PathBuf, Kind, &mut Self)) {
        self.directories.insert(dir.into());
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(e) => {
                if e.kind() != ErrorKind::NotFound {
                    self.errors.push((dir.into(), e.to_string()));
                }
                return;
            }
        };
        for entry in entries.flatten() {
            let path = entry.path();
            // Asked of the directory where it knows: it saves a call for each of many thousand files.
            let kind = match entry.file_type() {
                Ok(listed) if !listed.is_symlink() => Ok(listed.into()),
                _ => kind(&path),
            };
            match kind {
                Ok(kind) => f(path, kind, self),
                Err(e) if e.kind() == ErrorKind::NotFound => {} // gone since
                Err(_) => f(path, Kind::Other(Skip::Unreachable), self),
            }
        }
    }
}

/// What is there, at the end of all links.
fn kind(path: &Path) -> std::io::Result<Kind> {
    match fs::metadata(path) {
        Ok(meta) => Ok(meta.file_type().into()),
        Err(e) if e.kind() == ErrorKind::NotFound && fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink()) => {
            Ok(Kind::Other(Skip::BrokenLink))
        }
        Err(e) => Err(e),
    }
}
