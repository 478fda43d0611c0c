//! Places in a file, and places in the bytes read from a source.

/// A hash of the first (decompressed) bytes of a file. Tells two files with the same inode apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// How many bytes were hashed. 0 matches any file.
    pub len: u16,
    pub hash: u64,
}

/// Identifies a file independently of its name.
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
