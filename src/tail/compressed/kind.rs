//! The kinds of compression: by the name of a file, and by how it begins.

/// How a file's bytes are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Gzip,
    Zlib,
    Bzip2,
    Xz,
    Zstd,
}

/// How compressed files begin. `None`: files of this kind cannot be read.
const MAGIC: [(&str, &[u8], Option<Compression>); 6] = [
    ("gzip", b"\x1f\x8b\x08", Some(Compression::Gzip)),
    ("zstd", b"\x28\xb5\x2f\xfd", Some(Compression::Zstd)),
    ("xz", b"\xfd7zXZ\0", Some(Compression::Xz)),
    ("bzip2", b"BZh", Some(Compression::Bzip2)),
    ("lz4", b"\x04\x22\x4d\x18", None),
    ("zip", b"PK\x03\x04", None),
];

/// What follows `BZh` and a digit in a bzip2 file; a line of text may begin with the letters.
const BZIP2_BLOCK: &[u8] = b"1AY&SY";

/// The endings that programs which compress a file give to its name.
const ENDINGS: [(&[u8], Compression); 5] = [
    (b".gz", Compression::Gzip),
    (b".bz2", Compression::Bzip2),
    (b".xz", Compression::Xz),
    (b".zst", Compression::Zstd),
    (b".zstd", Compression::Zstd),
];

impl Compression {
    /// A name without the ending of a compressed file, and what that ending says.
    pub fn of_name(name: &[u8]) -> (&[u8], Option<Self>) {
        let known = |(ending, kind): &(&[u8], Self)| Some((name.strip_suffix(*ending)?, Some(*kind)));
        ENDINGS.iter().find_map(known).unwrap_or((name, None))
    }

    /// As the config and messages call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zlib => "zlib",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        }
    }

    /// Whether a member of a compressed file begins so. None: that takes more bytes.
    pub(super) fn begins(self, bytes: &[u8]) -> Option<bool> {
        let begins = |magic: &[u8]| match bytes.len() < magic.len() {
            true => (!magic.starts_with(bytes)).then_some(false),
            false => Some(bytes.starts_with(magic)),
        };
        match self {
            Self::Gzip => begins(b"\x1f\x8b"),
            Self::Bzip2 => begins(b"BZh"),
            Self::Xz => begins(b"\xfd7zXZ\0"),
            // A frame without content begins with one of sixteen other numbers.
            Self::Zstd if bytes.first().is_some_and(|first| first & 0xf0 == 0x50) => {
                begins(&[bytes[0], 0x2a, 0x4d, 0x18])
            }
            Self::Zstd => begins(b"\x28\xb5\x2f\xfd"),
            Self::Zlib => Some(true),
        }
    }

    /// Whether what follows the end of the compressed bytes is no part of the content.
    pub(super) fn has_one_member(self) -> bool {
        self == Self::Zlib
    }

    /// With fewer bytes than this, a decoder cannot tell whether the file is of this kind.
    pub(super) fn header(self) -> usize {
        if self == Self::Gzip { 10 } else { 1 }
    }

    /// How many compressed bytes are read at once. A block of zstd, which is decoded as a whole, has up to 128 KiB.
    pub(super) fn input(self) -> usize {
        if self == Self::Zstd { 160 << 10 } else { 32 << 10 }
    }
}

/// The kind of compression that the first bytes of a file show, by its name, and how such a file is decompressed.
pub fn compressed_as(head: &[u8]) -> Option<(&'static str, Option<Compression>)> {
    let (name, _, kind) = MAGIC.iter().find(|(_, magic, _)| head.starts_with(magic))?;
    (*name != "bzip2" || head.get(4..10) == Some(BZIP2_BLOCK)).then_some((*name, *kind))
}
