//! Where something is: in a file, or in what was read of a log.

/// The first bytes of a file (decompressed), as a hash: what tells two files with one inode apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// How many bytes were hashed; 0 knows nothing and fits any file.
    pub len: u16,
    pub hash: u64,
}

/// Which file, not which name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileId {
    pub device: u64,
    pub inode: u64,
    pub fingerprint: Fingerprint,
}

/// A place in a file: an offset in its (decompressed) bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub file: FileId,
    pub offset: u64,
}

/// A place in what a source gives to read: the bytes that it has given before, since it was opened. It only grows, whatever
/// becomes of the files, connections or cursors behind the source. What a mark means to the source, the source knows alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(pub u64);

impl Mark {
    /// The mark so many bytes further on.
    pub fn after(self, bytes: u64) -> Self {
        Self(self.0.saturating_add(bytes))
    }

    /// How many bytes lie between an earlier mark and this one.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
