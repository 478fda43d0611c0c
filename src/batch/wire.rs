//! Encodes the protobuf fields of a push directly: no intermediate structs, no second copy of a line.

use crate::model::Entry;

const SECOND: i64 = 1_000_000_000;

const STREAM: u8 = 0x0a;
const STREAM_LABELS: u8 = 0x0a;
const STREAM_ENTRY: u8 = 0x12;
const ENTRY_TIMESTAMP: u8 = 0x0a;
const ENTRY_LINE: u8 = 0x12;
const ENTRY_METADATA: u8 = 0x1a;
const TIMESTAMP_SECONDS: u8 = 0x08;
const TIMESTAMP_NANOS: u8 = 0x10;
const PAIR_NAME: u8 = 0x0a;
const PAIR_VALUE: u8 = 0x12;

/// Appends the head of a stream: its labels. Its encoded entries must follow.
pub(super) fn stream_head(out: &mut Vec<u8>, labels: &str, entries: &[u8]) {
    out.push(STREAM);
    varint(out, (field_len(labels.len()) + entries.len()) as u64);
    field(out, STREAM_LABELS, labels.as_bytes());
}

/// The bytes of a stream with its head.
pub(super) fn stream_len(labels: &str, entries: &[u8]) -> usize {
    field_len(field_len(labels.len()) + entries.len())
}

/// Appends an entry to the body of its stream. Returns the bytes of its line and metadata.
pub(super) fn entry(out: &mut Vec<u8>, entry: &Entry<'_>) -> usize {
    let line = entry.line.as_bytes();
    let pair_len = |name: &str, value: &str| field_len(name.len()) + field_len(value.len());
    let metadata_len: usize = entry.metadata.iter().map(|m| field_len(pair_len(&m.name, &m.value))).sum();

    let mut head = Head::new(entry.timestamp, field_len(line.len()) + metadata_len);
    head.byte(ENTRY_LINE);
    head.varint(line.len() as u64);
    out.reserve(head.len + line.len() + metadata_len);
    out.extend_from_slice(head.bytes());
    out.extend_from_slice(line);
    for pair in &entry.metadata {
        out.push(ENTRY_METADATA);
        varint(out, pair_len(&pair.name, &pair.value) as u64);
        field(out, PAIR_NAME, pair.name.as_bytes());
        field(out, PAIR_VALUE, pair.value.as_bytes());
    }
    line.len() + metadata_len
}

/// The encoded entries of each stream in a push, as they followed their heads.
pub(super) fn bodies(push: &[u8]) -> Vec<&[u8]> {
    let (mut bodies, mut at) = (Vec::new(), 0);
    while at < push.len() {
        let (len, head) = read_varint(&push[at + 1..]);
        let start = at + 1 + head;
        at = start + len as usize;
        let (labels, head) = read_varint(&push[start + 1..]);
        bodies.push(&push[start + 1 + head + labels as usize..at]);
    }
    bodies
}

/// The times of the entries of a body, in Unix nanoseconds.
pub(super) fn times(body: &[u8]) -> Vec<i64> {
    let (mut times, mut at) = (Vec::new(), 0);
    while at < body.len() {
        let (time, _, end) = dated(body, at);
        times.push(time);
        at = end;
    }
    times
}

/// The same entries with these times.
pub(super) fn with_times(body: &[u8], times: &[i64]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::with_capacity(body.len() + times.len()), 0);
    for time in times {
        let (_, rest, end) = dated(body, at);
        out.extend_from_slice(Head::new(*time, end - rest).bytes());
        out.extend_from_slice(&body[rest..end]);
        at = end;
    }
    out
}

/// The time of the entry at this offset, the offset of what follows its time, and the offset of its end.
fn dated(body: &[u8], at: usize) -> (i64, usize, usize) {
    let (len, head) = read_varint(&body[at + 1..]);
    let stamp = at + 1 + head;
    let seconds_at = stamp + 3;
    let (seconds, len_of_seconds) = read_varint(&body[seconds_at..]);
    let (nanos, _) = read_varint(&body[seconds_at + len_of_seconds + 1..]);
    let time = (seconds as i64).saturating_mul(SECOND).saturating_add(nanos as i64);
    (time, stamp + 2 + usize::from(body[stamp + 1]), stamp + len as usize)
}

/// More than the bytes of a head: five tags, a length of one byte, and four numbers of at most ten bytes.
const LONGEST_HEAD: usize = 64;

/// The first bytes of an entry, up to the text of its line. They are put together here, because appending each of them to
/// a vector costs more than the bytes themselves.
struct Head {
    bytes: [u8; LONGEST_HEAD],
    len: usize,
}

impl Head {
    /// The head of an entry, with its time. `rest`: the bytes of the entry that follow.
    #[inline]
    fn new(time: i64, rest: usize) -> Self {
        let seconds = time.div_euclid(SECOND) as u64;
        let nanos = time.rem_euclid(SECOND) as u64;
        let stamp_len = 1 + varint_len(seconds) + 1 + varint_len(nanos);
        let mut head = Self { bytes: [0; LONGEST_HEAD], len: 0 };
        head.byte(STREAM_ENTRY);
        head.varint((2 + stamp_len + rest) as u64);
        head.byte(ENTRY_TIMESTAMP);
        head.byte(stamp_len as u8);
        head.byte(TIMESTAMP_SECONDS);
        head.varint(seconds);
        head.byte(TIMESTAMP_NANOS);
        head.varint(nanos);
        head
    }

    #[inline]
    fn byte(&mut self, byte: u8) {
        // The remainder changes nothing: it shows the compiler that the index is in bounds.
        self.bytes[self.len % LONGEST_HEAD] = byte;
        self.len += 1;
    }

    /// Numbers below 2^35, which times and lengths are, take at most five bytes, which are made at once.
    #[inline]
    fn varint(&mut self, mut n: u64) {
        if n < 1 << 35 && self.len <= LONGEST_HEAD - 8 {
            let len = varint_len(n);
            let sevens = (0..5).fold(0, |sevens, i| sevens | (n << i) & (0x7f << (8 * i)));
            let more = 0x80_8080_8080 & ((1 << (8 * (len - 1))) - 1);
            self.bytes[self.len..self.len + 8].copy_from_slice(&u64::to_le_bytes(sevens | more));
            self.len += len;
            return;
        }
        while n >= 0x80 {
            self.byte(n as u8 | 0x80);
            n >>= 7;
        }
        self.byte(n as u8);
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The offset of the entry after the first `count`.
pub(super) fn skip_entries(body: &[u8], count: usize) -> usize {
    let mut at = 0;
    for _ in 0..count {
        let (len, head) = read_varint(&body[at + 1..]);
        at += 1 + head + len as usize;
    }
    at
}

/// The bytes of lines and metadata in a body, as counted by [`entry`].
pub(super) fn content_bytes(body: &[u8]) -> usize {
    let (mut at, mut bytes) = (0, 0);
    while at < body.len() {
        let (len, head) = read_varint(&body[at + 1..]);
        let start = at + 1 + head;
        let end = start + len as usize;
        let mut field = start;
        while field < end {
            let (len, head) = read_varint(&body[field + 1..]);
            bytes += match body[field] {
                ENTRY_LINE => len as usize,
                ENTRY_METADATA => 1 + head + len as usize,
                _ => 0,
            };
            field += 1 + head + len as usize;
        }
        at = end;
    }
    bytes
}

fn field(out: &mut Vec<u8>, tag: u8, value: &[u8]) {
    out.push(tag);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn field_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

pub(super) fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

pub(super) fn varint_len(n: u64) -> usize {
    (64 - (n | 1).leading_zeros() as usize).div_ceil(7)
}

/// Returns the value and the number of bytes it took.
fn read_varint(bytes: &[u8]) -> (u64, usize) {
    let mut n = 0;
    for (i, b) in bytes.iter().enumerate().take(10) {
        n |= u64::from(b & 0x7f) << (7 * i);
        if b & 0x80 == 0 {
            return (n, i + 1);
        }
    }
    (n, bytes.len().min(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_in_a_head_is_written_as_anywhere() {
        let near = |bits: u32| [(1u64 << bits) - 1, 1 << bits, (1 << bits) + 1];
        let numbers = (0..64).flat_map(near).chain([u64::MAX, 1_795_000_000, 999_999_999]);
        for number in numbers {
            let (mut head, mut plain) = (Head { bytes: [0; LONGEST_HEAD], len: 0 }, Vec::new());
            // Up to the end of the array.
            while plain.len() + 10 <= LONGEST_HEAD {
                head.varint(number);
                varint(&mut plain, number);
            }
            assert_eq!(head.bytes(), plain, "{number}");
            assert_eq!(read_varint(&plain), (number, varint_len(number)));
        }
    }
}
