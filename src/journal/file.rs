//! One journal file: its entries by number, and the number of the next entry to read.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::arrays::Arrays;
use super::entry::{Entry, Skips};
use super::folders::Found;
use super::header::{HEADER, Header, Refused};
use super::location::Location;
use super::object::{Error, Objects};
use super::pages::{Pages, read_at};
use crate::model::SeededMap;

/// An entry of a file that is written to may be seen before it is complete. It is tried this many times.
const TRIES: u32 = 5;

/// The most damaged entries that one call skips.
const SKIPPED_AT_ONCE: usize = 1024;

/// The most bytes of an entry's fields that are kept.
const ENTRY_BYTES: usize = 4 << 20;

/// The most fields to cache because several entries have them, and the longest such field in bytes.
const KEPT: usize = 4096;
const KEPT_LEN: usize = 512;

/// The most damaged entries that a search for a place passes.
const LOOKS: u64 = 64;

/// The caches and limits that all files of a journal share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub pages: Pages,
    buffer: Vec<u8>,
    fields: Vec<u64>,
    /// By file and place: fields that several entries have. None: it is not wanted.
    kept: SeededMap<(u32, u64), Option<Box<[u8]>>>,
}

/// Why a file is not opened.
#[derive(Debug)]
pub(super) enum NotOpened {
    Io(io::Error),
    Refused(Refused),
}

#[derive(Debug)]
pub(super) struct File {
    pub id: u32,
    pub path: PathBuf,
    pub key: (u64, u64),
    handle: Option<fs::File>,
    header: Header,
    arrays: Arrays,
    /// The number of the next entry to read.
    pub next: u64,
    /// The next entry, if it was looked at: its place in the file and in the journal, and its size.
    head: Option<(u64, Location, usize)>,
    /// How many entries there were when the header was read last, and when it was read before that.
    pub visible: u64,
    pub settled: u64,
    /// How often the next entry could not be read, and whether it was tried since the header was read.
    tries: u32,
    is_tried: bool,
    /// Entries that were given and are not committed.
    pub held: usize,
}

impl File {
    pub fn open(id: u32, found: Found) -> Result<Self, NotOpened> {
        let handle = open(&found.path, found.key).map_err(NotOpened::Io)?;
        let header = read_header(&handle)?;
        let Found { path, key } = found;
        let (visible, arrays) = (entries(&header), Arrays::default());
        let (next, head, settled, tries, is_tried, held) = (0, None, 0, 0, false, 0);
        Ok(Self {
            id,
            path,
            key,
            handle: Some(handle),
            header,
            arrays,
            next,
            head,
            visible,
            settled,
            tries,
            is_tried,
            held,
        })
    }

    /// Reads the header again, for the current number of entries.
    pub fn refresh(&mut self, shared: &mut Shared) -> Result<(), NotOpened> {
        self.settled = self.visible;
        self.is_tried = false;
        if self.is_final() {
            return Ok(());
        }
        let header = read_header(self.reopen().map_err(NotOpened::Io)?)?;
        if header != self.header || self.tries > 0 {
            shared.pages.forget(self.id);
        }
        self.visible = self.visible.max(entries(&header));
        self.header = header;
        Ok(())
    }

    /// Whether no entry will be added.
    pub fn is_final(&self) -> bool {
        self.header.is_archived || self.path.extension().is_some_and(|extension| extension == "journal~")
    }

    /// Whether all its entries were read and committed, and none will be added.
    pub fn is_over(&self, is_listed: bool) -> bool {
        let is_read = self.next >= self.visible && self.settled == self.visible;
        is_read && self.held == 0 && (self.is_final() || !is_listed)
    }

    pub fn is_open(&self) -> bool {
        self.handle.is_some()
    }

    /// Closes the file until it is needed again.
    pub fn close(&mut self) {
        self.handle = None;
    }

    /// Opens the file if it is closed.
    fn reopen(&mut self) -> io::Result<&fs::File> {
        let handle = match self.handle.take() {
            Some(handle) => handle,
            None => open(&self.path, self.key)?,
        };
        Ok(self.handle.insert(handle))
    }

    /// Goes to the first entry that is not before a place. `is_before` holds for the first entries of the file and for
    /// no others.
    pub fn seek(&mut self, shared: &mut Shared, is_before: impl Fn(&Location) -> bool) {
        let (mut low, mut high) = (0, self.visible);
        while low < high {
            let middle = low + (high - low) / 2;
            // The entry after a damaged one decides.
            let until = high.min(middle + LOOKS);
            let readable = (middle..until).find_map(|at| Some((at, self.location(at, shared)?)));
            match readable {
                Some((at, location)) if is_before(&location) => low = at + 1,
                _ => high = middle,
            }
        }
        self.go_to(low);
    }

    /// Goes behind a place of the journal.
    pub fn seek_behind(&mut self, place: &Location, shared: &mut Shared) {
        if self.header.seqnum_id == place.seqnum_id {
            return self.seek(shared, |location| location.seqnum <= place.seqnum);
        }
        self.seek(shared, |location| location.realtime <= place.realtime);
        // The clock may have been set, so entries of one boot are ordered by the time since the boot.
        let of_boot = |location: &Location| location.boot == place.boot;
        let is_behind = |location: &Location| location.order(place).is_gt();
        let mut next = self.next;
        while next > 0 && self.location(next - 1, shared).is_some_and(|before| of_boot(&before) && is_behind(&before)) {
            next -= 1;
        }
        while next < self.visible && self.location(next, shared).is_some_and(|at| of_boot(&at) && !is_behind(&at)) {
            next += 1;
        }
        self.go_to(next);
    }

    /// Whether the entry before the next one is at this place.
    pub fn is_just_behind(&mut self, place: &Location, shared: &mut Shared) -> bool {
        let before = self.next.checked_sub(1).and_then(|before| self.location(before, shared));
        before.is_some_and(|before| before.order(place).is_eq())
    }

    pub fn go_to(&mut self, number: u64) {
        self.next = number;
        self.head = None;
        self.tries = 0;
    }

    fn location(&mut self, number: u64, shared: &mut Shared) -> Option<Location> {
        self.locate(number, shared).ok().map(|(_, location, _)| location)
    }

    fn locate(&mut self, number: u64, shared: &mut Shared) -> Result<(u64, Location, usize), Unreadable> {
        self.reopen().map_err(|_| Unreadable::Gone)?;
        let Some(file) = &self.handle else {
            return Err(Unreadable::Gone);
        };
        let Shared { pages, buffer, .. } = shared;
        let mut objects = Objects { id: self.id, file, header: &self.header, pages, buffer };
        let at = self.arrays.entry(number, &mut objects).map_err(|_| Unreadable::Rest)?;
        let (location, size) = objects.location(at).map_err(|_| Unreadable::Entry)?;
        Ok((at, location, size))
    }

    /// The place of the next entry in the journal. None: there is no next entry now.
    pub fn peek(&mut self, shared: &mut Shared, skips: &mut Skips) -> Option<Location> {
        for _ in 0..SKIPPED_AT_ONCE {
            if self.head.is_some() || self.next >= self.visible {
                break;
            }
            match self.locate(self.next, shared) {
                Ok(head) => self.head = Some(head),
                Err(unreadable) => {
                    if !self.is_final() && self.tries < TRIES {
                        self.tries += u32::from(!std::mem::replace(&mut self.is_tried, true));
                        return None;
                    }
                    let (rest, next) = (self.visible - self.next, self.next + 1);
                    match unreadable {
                        Unreadable::Entry => skips.entries += 1,
                        Unreadable::Rest => skips.entries += rest,
                        Unreadable::Gone => skips.deleted += rest,
                    }
                    self.go_to(if matches!(unreadable, Unreadable::Entry) { next } else { self.visible });
                }
            }
        }
        self.head.map(|(_, location, _)| location)
    }

    /// Reads the next entry, which was looked at, and goes behind it. Returns its number, or None if it is damaged. `wants`
    /// says by its name whether a field is needed.
    pub fn read(
        &mut self,
        entry: &mut Entry,
        wants: &mut impl FnMut(&[u8]) -> bool,
        shared: &mut Shared,
        skips: &mut Skips,
    ) -> Option<u64> {
        let number = self.next;
        let (at, location, size) = self.head?;
        self.go_to(number + 1);
        entry.clear();
        entry.location = location;
        let Shared { pages, buffer, fields, kept } = shared;
        let Some(file) = self.reopen().is_ok().then_some(self.handle.as_ref()).flatten() else {
            skips.deleted += 1;
            return None;
        };
        let mut objects = Objects { id: self.id, file, header: &self.header, pages, buffer };
        if objects.fields(at, size, fields).is_err() {
            skips.entries += 1;
            return None;
        }
        let mut unwanted = 0;
        for place in fields.iter() {
            // Fields that are not wanted were decompressed too.
            if entry.len() + unwanted > ENTRY_BYTES {
                skips.long_fields += 1;
                continue;
            }
            let key = (self.id, *place);
            match kept.get(&key) {
                Some(Some(text)) => {
                    entry.add_text(text);
                    continue;
                }
                Some(None) => continue,
                None => {}
            }
            match entry.add(|out| objects.data(*place, out)) {
                Ok(is_shared) => {
                    let text = entry.last();
                    // A text without a name is none of the fields, and nobody can say that it is not wanted.
                    let is_wanted = memchr::memchr(b'=', text).is_none_or(|end| wants(&text[..end]));
                    if is_shared && text.len() <= KEPT_LEN {
                        if kept.len() >= KEPT {
                            kept.clear();
                        }
                        kept.insert(key, is_wanted.then(|| text.into()));
                    }
                    if !is_wanted {
                        unwanted += text.len();
                        entry.remove_last();
                    }
                }
                Err(Error::TooLong) => skips.long_fields += 1,
                Err(Error::Damaged | Error::Io) => skips.fields += 1,
            }
        }
        Some(number)
    }
}

/// The part of a file that cannot be read.
enum Unreadable {
    Entry,
    /// The chain that leads to this entry and all later ones.
    Rest,
    /// The file was deleted while it was closed.
    Gone,
}

/// How many entries a file can have at most: each is an object.
fn entries(header: &Header) -> u64 {
    header.entries.min((header.end - header.begin) / 64)
}

fn read_header(file: &fs::File) -> Result<Header, NotOpened> {
    let mut bytes = [0; HEADER];
    let read = read_at(file, &mut bytes, 0).map_err(NotOpened::Io)?;
    Header::parse(&bytes[..read]).map_err(NotOpened::Refused)
}

/// Opens the file if it is still the one that was found.
fn open(path: &Path, key: (u64, u64)) -> io::Result<fs::File> {
    let file = fs::File::open(path)?;
    let meta = file.metadata()?;
    match meta.is_file() && (meta.dev(), meta.ino()) == key {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::NotFound, "another file has its name")),
    }
}
