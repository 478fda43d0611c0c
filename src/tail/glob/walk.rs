//! Looking for files: each directory once, with all that a pattern may still want of it.
//!
//! What is looked at belongs to others, who may nest and link as they like. So there is no recursion, a directory is not
//! walked again because links lead to it, and there is a budget of names and of time.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{is_wild, matches_name, unescape};
use crate::tail::allowed_paths::AllowedPaths;
use crate::tail::walls::explain;

/// As deep as `**` goes: far beyond any real tree.
const MAX_DEPTH: usize = 32;

/// What matches and is no file is told so often: who has more of it looks at the directory anyway.
const MOST_SKIPPED: usize = 1000;

/// How often a directory is walked again because a link leads to it, where each of its names is a match of its own
/// (`releases/*/app.log`, with a link `current`). Beneath `**` it is never walked again.
const MOST_BY_LINKS: u32 = 4;

/// How much a walk looks at.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    pub names: usize,
    pub directories: usize,
    pub time: Duration,
}

impl Default for Budget {
    /// A thousand pods of a hundred files are within it; more than that no agent could keep open.
    fn default() -> Self {
        Self { names: 200_000, directories: 20_000, time: Duration::from_secs(2) }
    }
}

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
    /// Where the walk ended because its budget was spent, and what was too much. What comes behind was not looked at.
    pub cut: Option<(PathBuf, String)>,
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
    /// A link that leads out of the folder that the path names.
    Outside,
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

/// Which patterns a directory is on the way of, and which component of each is next.
type Wanted = BTreeSet<(usize, usize)>;

/// A directory that is to be looked into.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    wanted: Wanted,
    depth: usize,
    /// Some link was followed on the way, beyond those that the pattern itself names.
    by_link: bool,
}

/// A walk under way.
pub(super) struct Walker<'p> {
    patterns: &'p [Vec<String>],
    allowed: &'p AllowedPaths,
    budget: Budget,
    begun: Instant,
    names: usize,
    /// Directories that were walked, by device and inode, and how often.
    walked: HashMap<(u64, u64), u32>,
    places: VecDeque<Place>,
    /// Looked into when all others were, so that a directory goes by its own name.
    behind_links: VecDeque<Place>,
    walk: Walk,
}

impl<'p> Walker<'p> {
    pub fn new(patterns: &'p [Vec<String>], allowed: &'p AllowedPaths, budget: Budget) -> Self {
        Self {
            patterns,
            allowed,
            budget,
            begun: Instant::now(),
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
            if self.begun.elapsed() > self.budget.time {
                self.cut(&place.path, format!("it takes longer than {:?}", self.budget.time));
            }
            if self.walk.cut.is_some() {
                break;
            }
            if !self.is_known(&place) {
                self.look_into(place);
            }
        }
        self.walk
    }

    /// Whether it was walked by another name already, and another time would only find the same again.
    fn is_known(&mut self, place: &Place) -> bool {
        let Ok(meta) = fs::metadata(&place.path) else {
            return false; // what is wrong with it is said where it is looked into
        };
        let times = self.walked.entry((meta.dev(), meta.ino())).or_default();
        let is_deep = || place.wanted.iter().any(|(pattern, at)| self.patterns[*pattern][..=*at].iter().any(is_deep));
        let known = place.by_link && *times > if is_deep() { 0 } else { MOST_BY_LINKS };
        *times += 1;
        known
    }

    fn look_into(&mut self, place: Place) {
        let mut wanted = place.wanted.clone();
        // None included: `a/**/b` matches `a/b`.
        for (pattern, at) in &place.wanted {
            if self.patterns[*pattern][*at] == "**" && *at + 1 < self.patterns[*pattern].len() {
                wanted.insert((*pattern, *at + 1));
            }
        }
        // What is named needs no right to list its directory; but where that is listed, a name is met once with all that
        // is wanted of it, so that it is not walked once for each.
        let is_named = |(pattern, at): &(usize, usize)| !is_wild(&self.patterns[*pattern][*at]);
        let mut left: Wanted = wanted.iter().filter(|want| is_named(want)).copied().collect();
        if left.len() < wanted.len() {
            self.list(&place, &wanted, &mut left);
        }
        let mut named: BTreeMap<PathBuf, Wanted> = BTreeMap::new();
        for (pattern, at) in left {
            named.entry(place.path.join(unescape(&self.patterns[pattern][at]))).or_default().insert((pattern, at));
        }
        for (path, wanted) in named {
            self.named(&place, path, &wanted);
        }
    }

    /// Goes on at the one name that can match.
    fn named(&mut self, place: &Place, path: PathBuf, wanted: &Wanted) {
        let is_link = fs::symlink_metadata(&path).is_ok_and(|m| m.is_symlink());
        let kind = match if is_link { self.kind_within(&path) } else { kind(&path) } {
            Ok(kind) => kind,
            Err(e) => {
                // It may come: its parent is where that would show.
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

    /// Takes what it meets from `left`.
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
            if self.names.is_multiple_of(64) && self.begun.elapsed() > self.budget.time {
                return self.cut(&place.path, format!("it takes longer than {:?}", self.budget.time));
            }
            let name = entry.file_name();
            let matches = |(pattern, at): &&(usize, usize)| {
                let component = &self.patterns[*pattern][*at];
                component == "**" || matches_name(component, name.as_encoded_bytes())
            };
            let wanted: Wanted = wanted.iter().filter(matches).copied().collect();
            if wanted.is_empty() {
                continue;
            }
            left.retain(|want| !wanted.contains(want));
            let path = entry.path();
            // Asked of the directory where it knows: it saves a call for each of many thousand files.
            let (kind, is_link) = match entry.file_type() {
                Ok(listed) if !listed.is_symlink() => (Ok(listed.into()), false),
                _ => (self.kind_within(&path), true),
            };
            match kind {
                Ok(kind) => self.meet(place, path, kind, is_link, &wanted),
                Err(e) if e.kind() == ErrorKind::NotFound => {} // gone since
                Err(_) => self.meet(place, path, Kind::Other(Skip::Unreachable), is_link, &wanted),
            }
        }
    }

    /// What a link stands for.
    fn kind_within(&self, path: &Path) -> std::io::Result<Kind> {
        let kind = kind(path)?;
        let is_there = matches!(kind, Kind::File | Kind::Other(Skip::Directory | Skip::Special));
        let leads_out = || self.allowed.resolve(path).is_err_and(|e| e.kind() == ErrorKind::PermissionDenied);
        Ok(if is_there && !self.allowed.is_before(path) && leads_out() { Kind::Other(Skip::Outside) } else { kind })
    }

    /// A name that matches these components.
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

fn is_deep(component: &String) -> bool {
    component == "**"
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
