//! Places in a file, and places in the bytes read from a source.

/// A hash of a few (decompressed) bytes of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// How many bytes were hashed. 0: none, so it matches any content.
    pub len: u16,
    pub hash: u64,
}

/// Identifies a file independently of its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileId {
    /// The number of the file system. It may change at a reboot or when the file system is mounted again.
    pub device: u64,
    /// May be used again once the file is deleted.
    pub inode: u64,
    /// When the inode was created, in Unix nanoseconds. 0: unknown.
    pub born: u64,
    /// Of the first bytes of the file.
    pub fingerprint: Fingerprint,
}

impl FileId {
    /// Whether both have the same inode of the same file system. False if the inode was used again in between, as far
    /// as the file system knows when it was created.
    pub fn has_inode_of(&self, other: &Self) -> bool {
        let is_same = |own: u64, other: u64| own == other || own == 0 || other == 0;
        // A file system that is mounted again may have another number. No inode is created
        // twice at the same time.
        let device = self.device == other.device || self.born != 0 && self.born == other.born;
        device && self.inode == other.inode && is_same(self.born, other.born)
    }
}

/// A place in a file: an offset in its (decompressed) bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub file: FileId,
    pub offset: u64,
    /// Of the last bytes before the offset. Several files may begin alike.
    pub before: Fingerprint,
}

impl Position {
    /// Another place in the same file. The bytes before it are not known.
    pub fn with_offset(self, offset: u64) -> Self {
        Self { file: self.file, offset, before: Fingerprint::default() }
    }
}

/// A place in the output of a source: the number of bytes it has given since it was opened. A mark only grows, whatever
/// happens to the files, connections or cursors behind the source. Only the source can translate a mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(pub u64);

impl Mark {
    /// The mark `bytes` further on.
    pub fn after(self, bytes: u64) -> Self {
        Self(self.0.saturating_add(bytes))
    }

    /// How many bytes lie between `earlier` and this mark.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
