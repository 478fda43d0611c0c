//! The files of a journal as one sequence of entries.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;

use super::entry::{Entry, Skips};
use super::file::{File, NotOpened, Shared};
use super::folders::{Folders, Found, Listed};
use super::header::Refused;
use super::location::Location;

/// The most files that are kept open. Further ones are opened for each read.
const OPEN: usize = 64;

/// The most problems that are kept until they are taken.
const PROBLEMS: usize = 100;

/// The place where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// At the first entry that is not older, in microseconds of Unix time.
    Since(u64),
    /// After this entry.
    Behind(Location),
}

/// An entry that was read, by its file and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    file: u32,
    number: u64,
}

/// A file that cannot be read. It is reported once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub path: PathBuf,
    pub text: String,
}

/// See the [module](super).
#[derive(Debug)]
pub struct Journal {
    folders: Folders,
    /// The place where reading begins in files that are found from now on: after the last entry that was read.
    from: From,
    files: BTreeMap<u32, File>,
    by_key: HashMap<(u64, u64), u32>,
    next_id: u32,
    /// Files that were read to their ends.
    over: HashMap<PathBuf, (u64, u64)>,
    /// Files that cannot be read, and why.
    refused: HashMap<PathBuf, ((u64, u64), Option<String>)>,
    shared: Shared,
    skips: Skips,
    problems: Vec<Problem>,
    /// Folders with more files than are read.
    left_out: Vec<PathBuf>,
    /// Whether the entry after which reading began was found. None: the folders were not listed yet.
    begin_found: Option<bool>,
}

impl Journal {
    /// Nothing is opened before the first [`refresh`](Self::refresh).
    pub fn new(folders: Folders, from: From) -> Self {
        Self {
            folders,
            from,
            files: BTreeMap::new(),
            by_key: HashMap::new(),
            next_id: 0,
            over: HashMap::new(),
            refused: HashMap::new(),
            shared: Shared::default(),
            skips: Skips::default(),
            problems: Vec::new(),
            left_out: Vec::new(),
            begin_found: None,
        }
    }

    pub fn folders(&self) -> &Folders {
        &self.folders
    }

    /// Looks for new files and new entries. An entry is given once two calls have seen it: what another file has before
    /// it was written earlier, so the second call has seen that as well.
    pub fn refresh(&mut self) -> io::Result<()> {
        let Listed { files: found, left_out } = self.folders.list()?;
        for (folder, files) in &left_out {
            if !self.left_out.contains(folder) {
                let text = format!(
                    "there are too many journal files in this folder: the oldest {files} of them are not read; delete old files \
                     (journalctl --vacuum-files), or move files to a folder that a job of its own reads (journal.path)"
                );
                self.problems.push(Problem { path: folder.clone(), text });
            }
        }
        self.left_out = left_out.into_iter().map(|(folder, _)| folder).collect();
        let listed: HashMap<(u64, u64), &PathBuf> = found.iter().map(|found| (found.key, &found.path)).collect();
        self.over.retain(|_, key| listed.contains_key(key));
        self.refused.retain(|_, (key, _)| listed.contains_key(key));
        for (id, file) in &mut self.files {
            // The name of a file that is rotated must be known before the file is opened again.
            if let Some(path) = listed.get(&file.key) {
                file.path.clone_from(path);
            }
            if let Err(NotOpened::Refused(refused)) = file.refresh(&mut self.shared) {
                let text = format!("{refused}; its new entries are not read");
                if self.refused.get(&file.path).is_none_or(|(_, known)| known.as_ref() != Some(&text)) {
                    self.refused.insert(file.path.clone(), (file.key, Some(text.clone())));
                    self.problems.push(Problem { path: file.path.clone(), text });
                }
            }
            if file.is_over(listed.contains_key(&file.key)) {
                self.over.insert(file.path.clone(), file.key);
                self.by_key.remove(&file.key);
                self.shared.pages.forget(*id);
            }
        }
        self.files.retain(|_, file| self.by_key.contains_key(&file.key));
        let mut begin_found = false;
        for found in found {
            if !self.by_key.contains_key(&found.key) && self.over.get(&found.path) != Some(&found.key) {
                begin_found |= self.open(found);
            }
        }
        self.problems.truncate(PROBLEMS);
        self.begin_found.get_or_insert(begin_found);
        Ok(())
    }

    /// Opens a file and goes to its first entry that was not read. Returns whether it has the entry before that.
    fn open(&mut self, found: Found) -> bool {
        let known = self.refused.get(&found.path).filter(|(key, _)| *key == found.key).map(|(_, text)| text);
        // The bytes will not change.
        if known.is_some_and(Option::is_none) {
            return false;
        }
        let known = known.cloned().flatten();
        let (path, key) = (found.path.clone(), found.key);
        let mut file = match File::open(self.next_id, found) {
            Ok(file) => file,
            Err(NotOpened::Refused(Refused::Short)) => return false,
            Err(error) => {
                let (text, again) = match error {
                    NotOpened::Io(error) => (error.to_string(), true),
                    NotOpened::Refused(refused) => (refused.to_string(), false),
                };
                if known.as_ref() != Some(&text) {
                    self.problems.push(Problem { path: path.clone(), text: text.clone() });
                }
                self.refused.insert(path, (key, again.then_some(text)));
                return false;
            }
        };
        self.refused.remove(&path);
        let is_just_behind = match self.from {
            From::Since(time) => {
                file.seek(&mut self.shared, |location| location.realtime < time);
                false
            }
            From::Behind(place) => {
                file.seek_behind(&place, &mut self.shared);
                file.is_just_behind(&place, &mut self.shared)
            }
        };
        if self.files.len() >= OPEN {
            file.close();
        }
        self.by_key.insert(file.key, file.id);
        self.files.insert(file.id, file);
        self.next_id = self.next_id.wrapping_add(1);
        is_just_behind
    }

    /// Reads the next entry. None: [`refresh`](Self::refresh) must be called before there is another. `wants` says by its
    /// name whether a field is needed; the entry has no others. Its answer for a name must never change, because it is
    /// remembered.
    pub fn next(&mut self, entry: &mut Entry, mut wants: impl FnMut(&[u8]) -> bool) -> Option<Place> {
        loop {
            let mut first: Option<(u32, Location)> = None;
            let mut open = 0;
            for (id, file) in self.files.iter_mut().filter(|(_, file)| file.next < file.visible) {
                let head = file.peek(&mut self.shared, &mut self.skips);
                open += usize::from(file.is_open());
                if let Some(head) = head.filter(|head| first.is_none_or(|(_, first)| head.order(&first).is_lt())) {
                    first = Some((*id, head));
                }
            }
            let (id, place) = first?;
            if open > OPEN {
                self.files.values_mut().filter(|file| file.id != id).for_each(File::close);
            }
            let file = self.files.get_mut(&id)?;
            if file.next >= file.settled {
                return None;
            }
            let number = file.read(entry, &mut wants, &mut self.shared, &mut self.skips);
            let Some(number) = number else {
                continue;
            };
            file.held += 1;
            // journald copies the entries of /run to /var when that is mounted.
            for (_, file) in self.files.iter_mut().filter(|(_, file)| file.next < file.visible) {
                let head = file.peek(&mut self.shared, &mut self.skips);
                if head.is_some_and(|head| head.order(&place).is_eq()) {
                    file.go_to(file.next + 1);
                }
            }
            self.from = From::Behind(place);
            return Some(Place { file: id, number });
        }
    }

    /// Whether there are entries that the next call of [`refresh`](Self::refresh) makes available.
    pub fn has_unsettled(&self) -> bool {
        self.files.values().any(|file| file.next < file.visible)
    }

    /// Reads this entry again, and all that were read after it: they must be given back as well, the last one first.
    /// `before` is where the entry before it was, or where reading began.
    pub fn go_back(&mut self, place: Place, before: From) {
        if let Some(file) = self.files.get_mut(&place.file) {
            file.held = file.held.saturating_sub(1);
            file.go_to(file.next.min(place.number));
        }
        self.from = before;
    }

    /// Forgets this entry: it will not be read again.
    pub fn release(&mut self, place: Place) {
        if let Some(file) = self.files.get_mut(&place.file) {
            file.held = file.held.saturating_sub(1);
        }
    }

    /// The number of known entries that are not read yet.
    pub fn unread(&self) -> u64 {
        self.files.values().map(|file| file.visible.saturating_sub(file.next)).sum()
    }

    /// The number of files that are not read to their ends.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// Whether no journal file was found.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.over.is_empty() && self.refused.is_empty()
    }

    /// The place of the last entry that was read, or the place where reading begins.
    pub fn from(&self) -> From {
        self.from
    }

    /// The counts of what was skipped since the last call.
    pub fn take_skips(&mut self) -> Skips {
        std::mem::take(&mut self.skips)
    }

    pub fn take_problems(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.problems)
    }

    /// Whether the entry after which reading began exists. None: the folders were not listed yet.
    pub fn has_begin(&self) -> Option<bool> {
        self.begin_found
    }
}
