//! Finds files. Visits each directory once, for all patterns that need it.
//!
//! The directories belong to others, who may nest and link them freely. So there is no recursion, a directory is not
//! visited again through links, and the walk has a budget of names, directories and time.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{is_wild, matches_name, unescape};
use crate::model::Clock;
use crate::tail::allowed_paths::AllowedPaths;
use crate::tail::walls::explain;

/// How deep `**` goes. Deeper than any real tree.
const MAX_DEPTH: usize = 32;

/// The most matches that are not files to report.
const MOST_SKIPPED: usize = 1000;

/// How often a directory is visited again through links where each of its names is a separate match
/// (`releases/*/app.log`, with a link `current`). Below `**` it is never visited again.
const MOST_BY_LINKS: u32 = 4;

/// Why a path is not touched.
const HANGS: &str = "its file system does not answer: a system call on it has not returned";

/// The limits of a walk.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    pub names: usize,
    pub directories: usize,
    pub time: Duration,
}

impl Default for Budget {
    /// Enough for a thousand pods with a hundred files each. The agent could not keep more files open.
    fn default() -> Self {
        Self { names: 200_000, directories: 20_000, time: Duration::from_secs(2) }
    }
}

/// The result of a walk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    pub files: BTreeSet<PathBuf>,
    /// Directories in which a new name could match, or lead to a match.
    pub directories: BTreeSet<PathBuf>,
    /// Paths that could not be read, with the error.
    pub errors: Vec<(PathBuf, String)>,
    /// Matches that cannot be read as a log, at most 1,000.
    pub skipped: BTreeMap<PathBuf, Skip>,
    /// Where the walk stopped and which limit it hit. Later paths were not visited. None: the walk is complete.
    pub cut: Option<(PathBuf, String)>,
}

/// Why a match is not read as a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    Directory,
    /// A pipe, a socket or a device.
    Special,
    BrokenLink,
    /// A link to a place that the agent may not read, or a loop of links.
    Unreachable,
    /// A link that leads out of the directory that the path names.
    Outside,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Skip::Directory => "it is a directory",
            Skip::Special => "it is not a regular file",
            Skip::BrokenLink => "it is a link whose target does not exist",
            Skip::Outside => "it is a link that leads out of its directory",
            Skip::Unreachable => "it is a link that cannot be followed",
        })
    }
}

/// The kind of a path.
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

/// The patterns that a directory may lead to, each with the index of its next component.
type Wanted = BTreeSet<(usize, usize)>;

/// Paths that a walk must not touch, because that may take long, and a function that gets each path before it is
/// touched.
pub(super) struct Around<'w> {
    pub left_out: &'w [PathBuf],
    pub at: &'w dyn Fn(&Path),
}

impl Around<'_> {
    #[cfg(test)]
    pub fn nothing() -> Self {
        Self { left_out: &[], at: &|_| {} }
    }

    /// Whether `path` may be touched, which happens next.
    pub fn may_touch(&self, path: &Path) -> bool {
        (self.at)(path);
        !self.left_out.iter().any(|place| path.starts_with(place))
    }
}

/// A directory to visit.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    wanted: Wanted,
    depth: usize,
    /// The way here contains a link that the pattern does not name literally.
    by_link: bool,
}

/// A walk in progress.
pub(super) struct Walker<'p> {
    patterns: &'p [Vec<&'p str>],
    allowed: &'p AllowedPaths,
    around: &'p Around<'p>,
    budget: Budget,
    clock: Clock,
    begun: Instant,
    names: usize,
    /// How often each directory was visited, by device and inode.
    walked: HashMap<(u64, u64), u32>,
    places: VecDeque<Place>,
    /// Visited after all others, so that a directory is visited under its own name first.
    behind_links: VecDeque<Place>,
    walk: Walk,
}

impl<'p> Walker<'p> {
    pub fn new(
        patterns: &'p [Vec<&'p str>],
        allowed: &'p AllowedPaths,
        around: &'p Around<'p>,
        budget: Budget,
        clock: Clock,
    ) -> Self {
        Self {
            patterns,
            allowed,
            around,
            budget,
            begun: clock.now(),
            clock,
            names: 0,
            walked: HashMap::new(),
            places: VecDeque::new(),
            behind_links: VecDeque::new(),
            walk: Walk::default(),
        }
    }

    pub fn run(mut self) -> Walk {
        let wanted = (0..self.patterns.len()).map(|pattern| (pattern, 0)).collect();
        self.places.push_back(Place { path: "/".into(), wanted, depth: 0, by_link: false });
        while let Some(place) = self.places.pop_front().or_else(|| self.behind_links.pop_front()) {
            if self.is_late() {
                self.cut(&place.path, format!("the search takes longer than {:?}", self.budget.time));
            }
            if self.walk.cut.is_some() {
                break;
            }
            if self.may_touch(&place.path) && !self.is_known(&place) {
                self.look_into(place);
            }
        }
        self.walk
    }

    fn is_late(&self) -> bool {
        self.clock.now().saturating_duration_since(self.begun) > self.budget.time
    }

    /// Whether the directory was visited under another name and another visit would find nothing new.
    fn is_known(&mut self, place: &Place) -> bool {
        let Ok(meta) = fs::metadata(&place.path) else {
            return false; // The error is reported when the directory is listed.
        };
        let times = self.walked.entry((meta.dev(), meta.ino())).or_default();
        let is_deep = || place.wanted.iter().any(|(pattern, at)| self.patterns[*pattern][..=*at].iter().any(is_deep));
        let known = place.by_link && *times > if is_deep() { 0 } else { MOST_BY_LINKS };
        *times += 1;
        known
    }

    fn look_into(&mut self, place: Place) {
        let mut wanted = place.wanted.clone();
        // `**` also matches no component: `a/**/b` matches `a/b`.
        for (pattern, at) in &place.wanted {
            if self.patterns[*pattern][*at] == "**" && *at + 1 < self.patterns[*pattern].len() {
                wanted.insert((*pattern, *at + 1));
            }
        }
        // A literal component does not need the right to list the directory. If the directory is listed anyway, the
        // name is handled there once, together with all other patterns.
        let is_named = |(pattern, at): &(usize, usize)| !is_wild(self.patterns[*pattern][*at]);
        let mut left: Wanted = wanted.iter().filter(|want| is_named(want)).copied().collect();
        if left.len() < wanted.len() {
            self.list(&place, &wanted, &mut left);
        }
        let mut named: BTreeMap<PathBuf, Wanted> = BTreeMap::new();
        for (pattern, at) in left {
            named.entry(place.path.join(unescape(self.patterns[pattern][at]))).or_default().insert((pattern, at));
        }
        for (path, wanted) in named {
            self.named(&place, path, &wanted);
        }
    }

    /// Whether `path` may be touched. If not, that is reported.
    fn may_touch(&mut self, path: &Path) -> bool {
        let may = self.around.may_touch(path);
        if !may {
            self.walk.errors.push((path.into(), HANGS.into()));
        }
        may
    }

    /// Continues at the only name that can match.
    fn named(&mut self, place: &Place, path: PathBuf, wanted: &Wanted) {
        if !self.may_touch(&path) {
            return;
        }
        let is_link = fs::symlink_metadata(&path).is_ok_and(|m| m.is_symlink());
        let kind = match if is_link { self.kind_within(&path) } else { kind(&path) } {
            Ok(kind) => kind,
            Err(e) => {
                // The file may be created later. Its parent directory shows that.
                self.walk.directories.insert(place.path.clone());
                if !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) {
                    self.walk.errors.push((path, e.to_string()));
                }
                return;
            }
        };
        if wanted.iter().any(|want| !kind.is_dir() || self.is_last(want)) {
            self.walk.directories.insert(place.path.clone());
        }
        self.meet(place, path, kind, false, wanted);
    }

    /// Lists a directory. Removes the components that it handled from `left`.
    fn list(&mut self, place: &Place, wanted: &Wanted, left: &mut Wanted) {
        self.walk.directories.insert(place.path.clone());
        if self.walk.directories.len() > self.budget.directories {
            return self.cut(&place.path, format!("there are more than {} directories", self.budget.directories));
        }
        let entries = match fs::read_dir(&place.path) {
            Ok(entries) => entries,
            Err(e) => {
                if e.kind() != ErrorKind::NotFound {
                    let e = explain(&place.path, e);
                    self.walk.errors.push((place.path.clone(), e.to_string()));
                }
                return;
            }
        };
        for entry in entries.flatten() {
            self.names += 1;
            if self.names > self.budget.names {
                return self.cut(&place.path, format!("there are more than {} names", self.budget.names));
            }
            if self.names.is_multiple_of(64) && self.is_late() {
                return self.cut(&place.path, format!("the search takes longer than {:?}", self.budget.time));
            }
            let name = entry.file_name();
            let matches = |(pattern, at): &&(usize, usize)| {
                let component = self.patterns[*pattern][*at];
                component == "**" || matches_name(component, name.as_encoded_bytes())
            };
            let wanted: Wanted = wanted.iter().filter(matches).copied().collect();
            if wanted.is_empty() {
                continue;
            }
            left.retain(|want| !wanted.contains(want));
            let path = entry.path();
            // The listing often knows the type, which saves a system call for each of many thousand files.
            let (kind, is_link) = match entry.file_type() {
                Ok(listed) if !listed.is_symlink() => (Ok(listed.into()), false),
                _ if !self.may_touch(&path) => continue,
                _ => (self.kind_within(&path), true),
            };
            match kind {
                Ok(kind) => self.meet(place, path, kind, is_link, &wanted),
                Err(e) if e.kind() == ErrorKind::NotFound => {} // The file was removed meanwhile.
                Err(_) => self.meet(place, path, Kind::Other(Skip::Unreachable), is_link, &wanted),
            }
        }
    }

    /// The type of a link's target.
    fn kind_within(&self, path: &Path) -> std::io::Result<Kind> {
        let kind = kind(path)?;
        let is_there = matches!(kind, Kind::File | Kind::Other(Skip::Directory | Skip::Special));
        let leads_out = || self.allowed.resolve(path).is_err_and(|e| e.kind() == ErrorKind::PermissionDenied);
        Ok(if is_there && !self.allowed.is_before(path) && leads_out() { Kind::Other(Skip::Outside) } else { kind })
    }

    /// Handles a name that matches these components.
    fn meet(&mut self, place: &Place, path: PathBuf, kind: Kind, is_link: bool, wanted: &Wanted) {
        let mut beneath = Wanted::new();
        let mut is_found = false;
        for want @ (pattern, at) in wanted {
            let is_deep = self.patterns[*pattern][*at] == "**";
            match (kind.is_dir(), is_deep) {
                (true, true) if place.depth < MAX_DEPTH => drop(beneath.insert(*want)),
                (true, true) => {}
                (_, _) if self.is_last(want) => is_found = true,
                (true, false) => drop(beneath.insert((*pattern, at + 1))),
                (false, _) => {}
            }
        }
        if !beneath.is_empty() {
            let depth =
                place.depth + usize::from(wanted.iter().any(|(pattern, at)| self.patterns[*pattern][*at] == "**"));
            let by_link = place.by_link || is_link;
            let places = if by_link { &mut self.behind_links } else { &mut self.places };
            places.push_back(Place { path: path.clone(), wanted: beneath, depth, by_link });
        }
        if is_found {
            match kind {
                Kind::File => {
                    self.walk.files.insert(path);
                }
                Kind::Other(skip) if self.walk.skipped.len() < MOST_SKIPPED => {
                    self.walk.skipped.insert(path, skip);
                }
                Kind::Other(_) => {}
            }
        }
    }

    fn is_last(&self, (pattern, at): &(usize, usize)) -> bool {
        at + 1 == self.patterns[*pattern].len()
    }

    fn cut(&mut self, at: &Path, why: String) {
        self.walk.cut.get_or_insert_with(|| (at.into(), why));
    }
}

fn is_deep(component: &&str) -> bool {
    *component == "**"
}

/// The type of the file at the end of all links.
fn kind(path: &Path) -> std::io::Result<Kind> {
    match fs::metadata(path) {
        Ok(meta) => Ok(meta.file_type().into()),
        Err(e) if e.kind() == ErrorKind::NotFound && fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink()) => {
            Ok(Kind::Other(Skip::BrokenLink))
        }
        Err(e) => Err(e),
    }
}
