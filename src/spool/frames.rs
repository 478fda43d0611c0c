//! A segment is a header and frames. A frame is the records of one parcel; the last frame of a transaction says so.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bytes::{Buf, BufMut};
use xxhash_rust::xxh3::Xxh3;

use super::records::encode;
use crate::model::RecordList;

/// Bytes before the content of a frame: its length, its flags, the push that it belongs to, a hash of these and of the
/// content.
pub(super) const HEAD: u64 = 32;

/// Bytes that a search for the next frame reads at once.
const WINDOW: u64 = 256 << 10;

/// The most bytes of contents that a search hashes: what looks like a frame may be the content of another.
const SEARCHED: u64 = 256 << 20;

/// It is the last frame of its transaction.
pub(super) const LAST: u32 = 1;

/// It belongs to a push.
const OF_PUSH: u32 = 2;

/// It has the pushes that are remembered, instead of records.
pub(super) const REMEMBERED: u32 = 4;

/// Records that are appended together.
#[derive(Clone, Debug)]
pub struct Transaction {
    pub(super) bytes: Vec<u8>,
    pub(super) id: Option<u128>,
}

impl Transaction {
    /// `id` is the push that the records belong to. Each parcel becomes a frame.
    pub fn new<'p>(id: Option<u128>, parcels: impl IntoIterator<Item = (&'p str, &'p RecordList)>) -> Self {
        let (mut bytes, mut parcels) = (Vec::new(), parcels.into_iter().peekable());
        while let Some((text, records)) = parcels.next() {
            let flags = if parcels.peek().is_none() { LAST } else { 0 };
            put(&mut bytes, flags, id, |out| encode(text, records, out));
        }
        Self { bytes, id }
    }

    /// In bytes.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }
}

pub(super) fn put(out: &mut Vec<u8>, flags: u32, id: Option<u128>, write: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    out.resize(begin + HEAD as usize, 0);
    write(out);
    let length = out.len() - begin - HEAD as usize;
    let mut head = Vec::with_capacity(HEAD as usize);
    head.put_u32_le(length as u32);
    head.put_u32_le(flags | if id.is_some() { OF_PUSH } else { 0 });
    head.put_u128_le(id.unwrap_or_default());
    let hash = hash(&head, &out[begin + HEAD as usize..]);
    head.put_u64_le(hash);
    out[begin..begin + HEAD as usize].copy_from_slice(&head);
}

fn hash(head: &[u8], content: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(head);
    hasher.update(content);
    hasher.digest()
}

#[derive(Debug)]
pub(super) struct Frame {
    pub flags: u32,
    pub id: Option<u128>,
    pub content: Vec<u8>,
    /// Where the next frame begins.
    pub end: u64,
}

/// The frame at this place.
#[derive(Debug)]
pub(super) enum Found {
    Frame(Frame),
    /// It is damaged, or was not written to its end. A frame that is whole follows at this place; None: there is none.
    Damaged(Option<u64>),
}

/// Reads the frame that begins at `at`, which is before `end`.
pub(super) fn read(file: &File, at: u64, end: u64) -> io::Result<Found> {
    match whole(file, at, end)? {
        Ok(frame) => Ok(Found::Frame(frame)),
        Err(Some(next)) if next < end && whole(file, next, end)?.is_ok() => Ok(Found::Damaged(Some(next))),
        Err(_) => Ok(Found::Damaged(search(file, at, end)?)),
    }
}

/// Where the next whole frame after `at` begins. The damage may be in the length of a frame, or be many frames. None: there is
/// none, as after a crash in the middle of a write.
fn search(file: &File, at: u64, end: u64) -> io::Result<Option<u64>> {
    let (mut window, mut from, mut hashed) = (Vec::new(), at + 1, 0_u64);
    while from + HEAD <= end {
        let length = (end - from).min(WINDOW + HEAD - 1);
        window.resize(length as usize, 0);
        file.read_exact_at(&mut window, from)?;
        for (i, head) in window.windows(HEAD as usize).enumerate() {
            let mut fields = head;
            let (length, flags, id) = (fields.get_u32_le(), fields.get_u32_le(), fields.get_u128_le());
            let (begin, length) = (from + i as u64, u64::from(length));
            let is_head = flags & !(LAST | OF_PUSH | REMEMBERED) == 0 && (id == 0) == (flags & OF_PUSH == 0);
            if !is_head || length == 0 || begin + HEAD + length > end {
                continue;
            }
            hashed += length;
            if hashed > SEARCHED {
                return Ok(None);
            }
            if whole(file, begin, end)?.is_ok() {
                return Ok(Some(begin));
            }
        }
        from += length - (HEAD - 1);
    }
    Ok(None)
}

/// An error is where the next frame may begin.
fn whole(file: &File, at: u64, end: u64) -> io::Result<Result<Frame, Option<u64>>> {
    let room = end.saturating_sub(at);
    if room < HEAD {
        return Ok(Err(None));
    }
    let mut head = [0; HEAD as usize];
    file.read_exact_at(&mut head, at)?;
    let mut fields = &head[..];
    let (length, flags, id, hashed) =
        (fields.get_u32_le(), fields.get_u32_le(), fields.get_u128_le(), fields.get_u64_le());
    let next = at + HEAD + u64::from(length);
    if next > end {
        return Ok(Err(None));
    }
    let mut content = vec![0; length as usize];
    file.read_exact_at(&mut content, at + HEAD)?;
    if hash(&head[..HEAD as usize - 8], &content) != hashed {
        return Ok(Err(Some(next)));
    }
    let id = (flags & OF_PUSH != 0).then_some(id);
    Ok(Ok(Frame { flags, id, content, end: next }))
}
