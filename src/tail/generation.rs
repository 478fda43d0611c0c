//! One file of a log: its descriptor, its identity, and how far it has been read.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::SystemTime;

use xxhash_rust::xxh3::xxh3_64;

use super::FINGERPRINT;
use super::allowed_paths;
use super::gzip::{Compression, Inflated};
use super::walls::explain;
use crate::model::{Encoding, FileId, Fingerprint, Position};

#[derive(Debug)]
pub(super) struct Generation {
    content: Content,
    id: FileId,
    /// Offset of the next byte to read, in decompressed bytes.
    pub offset: u64,
    /// Unique among the files of the log. Changes when the file is truncated. 0: nothing was read yet.
    pub number: u64,
    /// What its byte order mark says of its encoding, and the bytes of that.
    mark: Option<(Encoding, usize)>,
    /// The unit after a mark of UTF-16 has the zero of a Latin letter, or of a newline.
    looks_wide: bool,
    /// How its bytes are compressed, although it is to be read as it is.
    compressed: Option<&'static str>,
}

/// How compressed files begin.
const MAGIC: [(&str, &[u8]); 6] = [
    ("gzip", b"\x1f\x8b\x08"),
    ("zstd", b"\x28\xb5\x2f\xfd"),
    ("xz", b"\xfd7zXZ\0"),
    ("bzip2", b"BZh"),
    ("lz4", b"\x04\x22\x4d\x18"),
    ("zip", b"PK\x03\x04"),
];

/// What follows `BZh` and a digit in a bzip2 file; a line of text may begin with the letters.
const BZIP2_BLOCK: &[u8] = b"1AY&SY";

fn compressed_as(head: &[u8]) -> Option<&'static str> {
    let (name, _) = MAGIC.iter().find(|(_, magic)| head.starts_with(magic))?;
    (*name != "bzip2" || head.get(4..10) == Some(BZIP2_BLOCK)).then_some(*name)
}

#[derive(Debug)]
enum Content {
    Plain(File),
    Inflated(Box<Inflated>),
}

impl Generation {
    /// Opens `path` without following links. `compression` comes from the name or the config.
    pub fn open(path: &Path, compression: Option<Compression>) -> io::Result<Self> {
        let file = allowed_paths::open(path).map_err(|e| explain(path, e))?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            let kind = if meta.is_dir() { "a directory" } else { "not a regular file" };
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {kind}")));
        }
        let content = match compression {
            None => Content::Plain(file),
            Some(c) => Content::Inflated(Box::new(Inflated::new(file, c))),
        };
        let mut generation =
            Self { content, id: file_id(&meta), offset: 0, number: 0, mark: None, looks_wide: false, compressed: None };
        generation.id.fingerprint = generation.fingerprint(FINGERPRINT)?;
        Ok(generation)
    }

    pub fn id(&self) -> FileId {
        self.id
    }

    pub fn position(&self) -> Position {
        Position { file: self.id, offset: self.offset }
    }

    /// How it is encoded: as its byte order mark says, or else as the config does.
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
             (gzip and zlib)"
        );
        Err(io::Error::new(io::ErrorKind::InvalidData, what))
    }

    /// Bytes of the byte order mark, if that is what is to be read next. It is no part of the first line.
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

    pub fn metadata(&self) -> io::Result<Metadata> {
        match &self.content {
            Content::Plain(file) => file.metadata(),
            Content::Inflated(inflated) => inflated.file().metadata(),
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

    /// Bytes on disk that have not been read. For a compressed file this is its whole size: decompressing it just to
    /// count could take gigabytes.
    pub fn unread(&self) -> u64 {
        let size = self.metadata().map_or(0, |meta| meta.len());
        if self.is_plain() { size.saturating_sub(self.offset) } else { size }
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
        let same_inode = (self.id.device, self.id.inode) == (id.device, id.inode);
        if known.len == 0 {
            return Ok(same_inode && self.is_plain());
        }
        // A copy (gzip, copytruncate) has another inode but the same head.
        Ok(self.fingerprint(known.len.into())? == known)
    }

    /// Whether the file is now shorter than what was read of it, or was rewritten from its start.
    pub fn is_truncated(&mut self, size: u64) -> io::Result<bool> {
        if !self.is_plain() {
            return Ok(false);
        }
        Ok(size < self.offset || self.fingerprint(self.id.fingerprint.len.into())? != self.id.fingerprint)
    }

    /// Whether the file was too short for a full fingerprint.
    pub fn is_short(&self) -> bool {
        usize::from(self.id.fingerprint.len) < FINGERPRINT
    }

    /// Starts again at the beginning of the same file, as a new file.
    pub fn restart(&mut self) -> io::Result<()> {
        self.offset = 0;
        self.number = 0;
        self.id.fingerprint = self.fingerprint(FINGERPRINT)?;
        Ok(())
    }

    fn fingerprint(&mut self, len: usize) -> io::Result<Fingerprint> {
        let mut head = [0; FINGERPRINT];
        // The journal may come from a version with longer fingerprints.
        let (len, mut have) = (len.min(FINGERPRINT), 0);
        while have < len {
            match self.read_at(have as u64, &mut head[have..len])? {
                0 => break,
                n => have += n,
            }
        }
        // Of a few bytes more is not known: a file that has just been begun is looked at again.
        self.mark = Encoding::of_mark(&head[..have]);
        self.looks_wide = have >= 4 && (head[2] == 0) != (head[3] == 0);
        self.compressed = compressed_as(&head[..have]).filter(|_| self.is_plain());
        Ok(Fingerprint { len: have as u16, hash: if have == 0 { 0 } else { xxh3_64(&head[..have]) } })
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
pub(super) fn file_id(meta: &Metadata) -> FileId {
    FileId { device: meta.dev(), inode: meta.ino(), fingerprint: Fingerprint::default() }
}
