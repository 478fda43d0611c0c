//! One file of a log: its descriptor, its identity, and how far it has been read.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use seen::Seen;
use xxhash_rust::xxh3::xxh3_64;

use super::allowed_paths;
use super::compressed::{Compression, Inflated, compressed_as};
use super::walls::explain;
use super::{BEFORE, FINGERPRINT};
use crate::model::{Encoding, FileId, Fingerprint, Position};

#[derive(Debug)]
pub(super) struct Generation {
    content: Content,
    id: FileId,
    /// Offset of the next byte to read, in decompressed bytes.
    pub offset: u64,
    /// Unique among the files of the log. Changes when the file is truncated. 0: nothing was read yet.
    pub number: u64,
    /// The encoding that its byte order mark names, and the length of the mark in bytes.
    mark: Option<(Encoding, usize)>,
    /// The unit after a mark of UTF-16 has the zero of a Latin letter, or of a newline.
    looks_wide: bool,
    /// How its bytes are compressed, although it is to be read as it is.
    compressed: Option<&'static str>,
    /// An offset up to which the file was read, and the bytes before it as they were read.
    read: (u64, Fingerprint),
    seen: Seen,
}

mod seen;

/// In a compressed file, the bytes before an offset beyond this one are not checked, because all logs of the reader
/// would wait.
const FAR: u64 = 64 << 20;

#[derive(Debug)]
enum Content {
    Plain(File),
    Inflated(Box<Inflated>),
}

impl Generation {
    /// Opens `path` without following links. `compression` comes from the config.
    pub fn open(path: &Path, compression: Option<Compression>) -> io::Result<Self> {
        Self::begin(path, |_| compression)
    }

    /// Opens a file that was rotated: how it is compressed is what its first bytes say, or else its name.
    pub fn open_rotated(path: &Path, named: Option<Compression>) -> io::Result<Self> {
        Self::begin(path, |file| {
            let mut head = [0; 16];
            let have = file.read_at(&mut head, 0).unwrap_or(0);
            compressed_as(&head[..have]).and_then(|(_, kind)| kind).or(named)
        })
    }

    fn begin(path: &Path, compression: impl FnOnce(&File) -> Option<Compression>) -> io::Result<Self> {
        let file = allowed_paths::open(path).map_err(|e| explain(path, e))?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            let kind = if meta.is_dir() { "a directory" } else { "not a regular file" };
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {kind}")));
        }
        let content = match compression(&file) {
            None => Content::Plain(file),
            Some(c) => Content::Inflated(Box::new(Inflated::new(file, c))),
        };
        let mut generation = Self {
            content,
            id: file_id(&meta),
            offset: 0,
            number: 0,
            mark: None,
            looks_wide: false,
            compressed: None,
            read: (0, Fingerprint::default()),
            seen: Seen::default(),
        };
        generation.id.fingerprint = generation.fingerprint(FINGERPRINT)?;
        // There may be many that are not read yet.
        generation.rest();
        Ok(generation)
    }

    pub fn id(&self) -> FileId {
        self.id
    }

    pub fn position(&self) -> Position {
        let (read, before) = self.read;
        let before = if read == self.offset { before } else { Fingerprint::default() };
        Position { file: self.id, offset: self.offset, before }
    }

    /// Moves the offset behind `bytes`, which were read there.
    pub fn pass(&mut self, bytes: &[u8]) {
        self.offset += bytes.len() as u64;
        let mut before = &bytes[bytes.len().saturating_sub(BEFORE)..];
        let mut more = [0; BEFORE];
        // If the line is short, the bytes before it in the file are needed too.
        if before.len() < BEFORE && self.is_plain() {
            let want = BEFORE.min(usize::try_from(self.offset).unwrap_or(BEFORE));
            let is_whole = self.fill(self.offset - want as u64, &mut more[..want]).is_ok_and(|have| have == want);
            // The file may have been rewritten since.
            if is_whole && more[..want].ends_with(before) {
                before = &more[..want];
            }
        }
        self.read = (self.offset, hash(before));
    }

    /// Where reading continues in this file, as far as is known after a restart.
    pub fn continue_at(&mut self, position: &Position) {
        self.offset = position.offset;
        self.read = (position.offset, position.before);
    }

    /// The hash of the bytes before `offset`, up to which the file was read. Nothing if the file was rewritten since.
    pub fn before(&mut self, offset: u64) -> Fingerprint {
        let (read, before) = self.read;
        if read == offset {
            return before;
        }
        if !self.is_plain() || before.len == 0 || !self.is_as_read().unwrap_or(false) {
            return Fingerprint::default();
        }
        self.look_before(offset).unwrap_or_default()
    }

    /// The hash of the bytes that are before `offset` now. Nothing if the file is shorter.
    pub fn look_before(&mut self, offset: u64) -> io::Result<Fingerprint> {
        let want = BEFORE.min(usize::try_from(offset).unwrap_or(BEFORE));
        let mut bytes = [0; BEFORE];
        let have = self.fill(offset - want as u64, &mut bytes[..want])?;
        Ok(if have == want { hash(&bytes[..want]) } else { Fingerprint::default() })
    }

    /// Whether the bytes before the place up to which the file was read are still what was read there.
    fn is_as_read(&mut self) -> io::Result<bool> {
        let (offset, before) = self.read;
        self.has_before(offset, before)
    }

    /// Whether these bytes are before the offset. True if it is not known what they were.
    fn has_before(&mut self, offset: u64, before: Fingerprint) -> io::Result<bool> {
        let len = u64::from(before.len);
        if len == 0 || len > offset || len > BEFORE as u64 || !self.is_plain() && offset > FAR {
            return Ok(true);
        }
        let mut bytes = [0; BEFORE];
        let have = self.fill(offset - len, &mut bytes[..len as usize])?;
        // What is not there yet may still come.
        Ok(hash(&bytes[..have]) == before || (have as u64) < len && !self.is_whole())
    }

    /// Whether `position` is in this file, perhaps under another name, as a copy or compressed: it begins as that file
    /// did, and the same bytes are before the offset.
    pub fn holds(&mut self, position: &Position) -> io::Result<bool> {
        if !self.is(&position.file)? || self.is_plain() && self.metadata()?.len() < position.offset {
            return Ok(false);
        }
        self.has_before(position.offset, position.before)
    }

    /// Whether it can be the live file of `position`: its inode is the same, or it is on another file system and holds the
    /// position. An inode that was created later is another file, which may begin alike.
    pub fn is_still(&mut self, position: &Position) -> io::Result<bool> {
        let known = position.file;
        let moved = self.id.device != known.device && position.before.len > 0;
        Ok((self.id.has_inode_of(&known) || moved) && self.holds(position)?)
    }

    /// Its encoding: that of its byte order mark, or else that of the config.
    pub fn encoding(&self, configured: Encoding) -> Encoding {
        self.mark(configured).map_or(configured, |(encoding, _)| encoding)
    }

    /// An error if it is compressed and was to be read as text.
    pub fn check_is_text(&self) -> io::Result<()> {
        let Some(how) = self.compressed else {
            return Ok(());
        };
        let what = format!(
            "the file is compressed ({how}): exclude it with __path_exclude__, or read it in a job with decompression \
             (gz, z, bz2, xz, zst)"
        );
        Err(io::Error::new(io::ErrorKind::InvalidData, what))
    }

    /// The length of the byte order mark, if the mark is the next thing to read. It is no part of the first line.
    pub fn mark_ahead(&self, configured: Encoding) -> Option<usize> {
        self.mark(configured).filter(|_| self.offset == 0).map(|(_, len)| len)
    }

    /// The mark, if it counts. A UTF-8 mark in a file that is read as UTF-8 stays in the first line, as in Promtail. Without
    /// `encoding: UTF-16` in the config, the two bytes of a UTF-16 mark count only if the text after them is UTF-16.
    fn mark(&self, configured: Encoding) -> Option<(Encoding, usize)> {
        self.mark.filter(|(encoding, _)| match encoding.is_wide() {
            true => configured.is_wide() || self.looks_wide,
            false => configured != Encoding::Utf8,
        })
    }

    pub fn is_plain(&self) -> bool {
        matches!(self.content, Content::Plain(_))
    }

    /// The open file, if it is not compressed.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.content {
            Content::Plain(file) => Some(file.as_fd()),
            Content::Inflated(_) => None,
        }
    }

    pub fn metadata(&self) -> io::Result<Metadata> {
        match &self.content {
            Content::Plain(file) => file.metadata(),
            Content::Inflated(inflated) => inflated.file().metadata(),
        }
    }

    /// Whether it has all of its content: false for a compressed file that is still being written, or was cut off.
    pub fn is_whole(&self) -> bool {
        match &self.content {
            Content::Plain(_) => true,
            Content::Inflated(inflated) => inflated.is_whole(),
        }
    }

    pub fn is_damaged(&self) -> bool {
        matches!(&self.content, Content::Inflated(inflated) if inflated.is_damaged())
    }

    /// Frees the memory of a decoder that is not needed for now.
    pub fn rest(&mut self) {
        if let Content::Inflated(inflated) = &mut self.content {
            inflated.rest();
        }
    }

    /// When the file was last modified. The Unix epoch for compressed files, whose time is that of the compression.
    pub fn written(&self) -> SystemTime {
        let written = self.metadata().and_then(|meta| meta.modified());
        written.ok().filter(|_| self.is_plain()).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Reads at the current offset, without moving it.
    pub fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.read_at(self.offset, buffer)?;
        if n > 0 {
            self.learn_head()?;
        }
        Ok(n)
    }

    /// Bytes after the current offset, decompressed.
    pub fn remaining(&mut self) -> u64 {
        if self.is_plain() {
            return self.metadata().map_or(0, |meta| meta.len().saturating_sub(self.offset));
        }
        let (mut buffer, mut at) = (vec![0; 64 << 10], self.offset);
        loop {
            match self.read_at(at, &mut buffer) {
                Ok(n @ 1..) => at += n as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return at - self.offset,
            }
        }
    }

    /// Bytes on disk that have not been read. For a compressed file these are compressed bytes: decompressing it just to
    /// count could take gigabytes.
    pub fn unread(&self) -> u64 {
        match &self.content {
            Content::Plain(file) => file.metadata().map_or(0, |meta| meta.len()).saturating_sub(self.offset),
            Content::Inflated(inflated) => inflated.packed_ahead(),
        }
    }

    /// Extends the fingerprint if the file has grown.
    pub fn learn_head(&mut self) -> io::Result<()> {
        if self.is_short() {
            self.id.fingerprint = self.fingerprint(FINGERPRINT)?;
        }
        Ok(())
    }

    /// Whether this is the file that `id` names, even if it was renamed, grew or was compressed since.
    pub fn is(&mut self, id: &FileId) -> io::Result<bool> {
        let known = id.fingerprint;
        if known.len == 0 {
            return Ok(self.id.has_inode_of(id) && self.is_plain());
        }
        // A copy (gzip, copytruncate) has another inode but the same head.
        Ok(self.fingerprint(known.len.into())? == known)
    }

    /// Whether the file is now shorter than what was read of it, or was rewritten.
    pub fn is_truncated(&mut self, size: u64) -> io::Result<bool> {
        if let Content::Inflated(inflated) = &self.content {
            return Ok(inflated.is_cut(size));
        }
        Ok(size < self.offset || self.has_new_head()? || !self.is_as_read()? || !self.is_as_seen()?)
    }

    /// The same for a file that has grown, with less effort: a whole head is not compared again for each line.
    pub fn is_rewritten(&mut self) -> io::Result<bool> {
        Ok(self.is_short() && self.has_new_head()? || !self.is_as_read()? || !self.is_as_seen()?)
    }

    fn has_new_head(&mut self) -> io::Result<bool> {
        Ok(self.fingerprint(self.id.fingerprint.len.into())? != self.id.fingerprint)
    }

    /// Whether the file was too short for a full fingerprint.
    pub fn is_short(&self) -> bool {
        usize::from(self.id.fingerprint.len) < FINGERPRINT
    }

    /// Starts again at the beginning of the same file, as a new file.
    pub fn restart(&mut self) -> io::Result<()> {
        self.offset = 0;
        self.number = 0;
        if let Content::Inflated(inflated) = &mut self.content {
            inflated.forget();
        }
        self.read = (0, Fingerprint::default());
        self.seen = Seen::default();
        self.id.fingerprint = self.fingerprint(FINGERPRINT)?;
        Ok(())
    }

    fn fingerprint(&mut self, len: usize) -> io::Result<Fingerprint> {
        let mut head = [0; FINGERPRINT];
        // The journal may come from a version with longer fingerprints.
        let len = len.min(FINGERPRINT);
        let have = self.fill(0, &mut head[..len])?;
        // A few bytes prove nothing: a file that has just begun is checked again later.
        self.mark = Encoding::of_mark(&head[..have]);
        self.looks_wide = have >= 4 && (head[2] == 0) != (head[3] == 0);
        self.compressed = compressed_as(&head[..have]).map(|(name, _)| name).filter(|_| self.is_plain());
        Ok(hash(&head[..have]))
    }

    /// Reads until the buffer is full or the file ends.
    fn fill(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut have = 0;
        while have < buffer.len() {
            match self.read_at(offset + have as u64, &mut buffer[have..]) {
                Ok(0) => break,
                Ok(n) => have += n,
                // A compressed file that is still skipping to the offset.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(have)
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.content {
            Content::Plain(file) => loop {
                match file.read_at(buffer, offset) {
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    result => return result,
                }
            },
            Content::Inflated(inflated) => inflated.read_at(offset, buffer),
        }
    }
}

/// The identity of a file without its fingerprint.
pub fn file_id(meta: &Metadata) -> FileId {
    let born = meta.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let born = born.map_or(0, |born| u64::try_from(born.as_nanos()).unwrap_or(0));
    FileId { device: meta.dev(), inode: meta.ino(), born, fingerprint: Fingerprint::default() }
}

mod start;

fn hash(bytes: &[u8]) -> Fingerprint {
    let hash = if bytes.is_empty() { 0 } else { xxh3_64(bytes) };
    Fingerprint { len: bytes.len() as u16, hash }
}
