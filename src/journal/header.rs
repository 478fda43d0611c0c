//! The header of a journal file.

use super::location::Id;

/// The longest header that is read. Longer ones have fields that are not known here.
pub(super) const HEADER: usize = 208;

const SIGNATURE: &[u8; 8] = b"LPKSHHRH";

/// The features that a reader must support to read a file, by bit.
const INCOMPATIBLE: [&str; 5] = ["xz", "lz4", "keyed hash", "zstd", "compact"];
const COMPACT: u32 = 1 << 4;

const ARCHIVED: u8 = 2;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub is_compact: bool,
    /// No entry will be added any more.
    pub is_archived: bool,
    pub seqnum_id: Id,
    /// The offsets of the first object and of the end of the objects, in bytes.
    pub begin: u64,
    pub end: u64,
    pub entries: u64,
    /// The first object of the chain of entry arrays. 0: there is none yet.
    pub array: u64,
}

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The file is shorter than a header, as it is for a moment after it was created.
    Short,
    NoJournal,
    Newer(u32),
    Damaged(&'static str),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refused::Short => f.write_str("it is shorter than the header of a journal file"),
            Refused::NoJournal => f.write_str("it does not begin as a journal file does"),
            Refused::Newer(flags) => write!(
                f,
                "its format is newer than this version of fantail (incompatible flags {flags:#x}): update fantail, or set \
                 SYSTEMD_JOURNAL_COMPACT=0 and the like for systemd-journald"
            ),
            Refused::Damaged(what) => write!(f, "its header is damaged: {what}"),
        }
    }
}

impl Header {
    pub fn parse(bytes: &[u8]) -> Result<Self, Refused> {
        let Some(bytes) = bytes.get(..HEADER) else {
            return Err(Refused::Short);
        };
        if &bytes[..8] != SIGNATURE {
            // A new file has room before it has a header.
            return Err(if bytes.iter().all(|byte| *byte == 0) { Refused::Short } else { Refused::NoJournal });
        }
        let flags = u32_at(bytes, 12);
        let unknown = flags & !((1 << INCOMPATIBLE.len()) - 1);
        if unknown != 0 {
            return Err(Refused::Newer(unknown));
        }
        let (begin, arena) = (u64_at(bytes, 88), u64_at(bytes, 96));
        if !(HEADER as u64..=1 << 20).contains(&begin) || !begin.is_multiple_of(8) {
            return Err(Refused::Damaged("its size"));
        }
        let end = begin.checked_add(arena).ok_or(Refused::Damaged("the size of the file"))?;
        Ok(Self {
            is_compact: flags & COMPACT != 0,
            is_archived: bytes[16] == ARCHIVED,
            seqnum_id: Id(bytes[72..88].try_into().unwrap_or_default()),
            begin,
            end,
            entries: u64_at(bytes, 152),
            array: u64_at(bytes, 176),
        })
    }
}

/// The little-endian number at this place, or 0 beyond the end.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
}
