//! Encodes streams into the body of a push.
//!
//! The body is one message in snappy's block format. It is compressed block by block while it is put together, so a push
//! never exists as a whole in its plain form.

use std::sync::Arc;

use super::wire;

/// Snappy finds repetitions only within so many bytes.
const BLOCK: usize = 64 << 10;

/// The most bytes of encoding memory that are kept between pushes.
const KEPT: usize = 256 << 10;

/// At most this many entry buffers are kept for reuse, each of at most `LARGEST` bytes.
const SPARE: usize = 4;
const LARGEST: usize = 128 << 10;

/// Reuses its tables and buffers for all pushes.
#[derive(Debug)]
pub(super) struct Encoder {
    snappy: snap::raw::Encoder,
    /// Plain bytes of the push that are not compressed yet: about one block at most.
    block: Vec<u8>,
    /// The push. Only its first `len` bytes count, the others are room.
    compressed: Vec<u8>,
    len: usize,
    /// Empty entry buffers for reuse.
    spare: Vec<Vec<u8>>,
}

impl Default for Encoder {
    fn default() -> Self {
        let snappy = snap::raw::Encoder::new();
        Self { snappy, block: Vec::new(), compressed: Vec::new(), len: 0, spare: Vec::new() }
    }
}

impl Encoder {
    /// A buffer with room for this many bytes of entries.
    pub fn buffer(&mut self, room: usize) -> Vec<u8> {
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.reserve(room);
        buffer
    }

    pub fn put_back(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < SPARE && buffer.capacity() <= LARGEST {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// Encodes and compresses a push. Each item is a stream's labels and its encoded entries.
    pub fn encode<'s>(&mut self, streams: impl Iterator<Item = (&'s str, &'s [u8])> + Clone) -> Arc<[u8]> {
        self.begin(streams.clone().map(|(labels, entries)| wire::stream_len(labels, entries)).sum());
        for (labels, entries) in streams {
            wire::stream_head(&mut self.block, labels, entries);
            self.append(entries);
        }
        self.compress_block();
        let body = self.compressed[..self.len].into();
        if self.compressed.len() + self.block.capacity() > KEPT {
            (self.compressed, self.block) = (Vec::new(), Vec::new());
        }
        body
    }

    /// Begins a push with the header of snappy's format: the number of plain bytes.
    fn begin(&mut self, plain: usize) {
        self.block.clear();
        wire::varint(&mut self.block, plain as u64);
        self.len = self.block.len();
        self.make_room(0);
        self.compressed[..self.len].copy_from_slice(&self.block);
        self.block.clear();
    }

    fn append(&mut self, mut bytes: &[u8]) {
        // Whole blocks are compressed where they are.
        if bytes.len() >= BLOCK {
            self.compress_block();
            let blocks = bytes.chunks_exact(BLOCK);
            bytes = blocks.remainder();
            blocks.for_each(|block| self.compress(block));
        }
        if self.block.len() + bytes.len() > BLOCK {
            let (fits, rest) = bytes.split_at(BLOCK.saturating_sub(self.block.len()));
            self.block.extend_from_slice(fits);
            self.compress_block();
            bytes = rest;
        }
        self.block.extend_from_slice(bytes);
    }

    fn compress_block(&mut self) {
        let mut block = std::mem::take(&mut self.block);
        self.compress(&block);
        block.clear();
        self.block = block;
    }

    /// Compresses a part of the push. Snappy writes the length of the part in front of it, where the push has other bytes.
    /// These are put back: what follows the length does not depend on it.
    fn compress(&mut self, part: &[u8]) {
        if part.is_empty() {
            return;
        }
        self.make_room(snap::raw::max_compress_len(part.len()));
        // No part has more digits in its length than the push.
        let head = wire::varint_len(part.len() as u64);
        let from = self.len - head;
        let mut before = [0; 10];
        before[..head].copy_from_slice(&self.compressed[from..self.len]);
        let len = self.snappy.compress(part, &mut self.compressed[from..]);
        self.compressed[from..self.len].copy_from_slice(&before[..head]);
        self.len = from + len.expect("a part is far below snappy's 4 GiB");
    }

    /// Makes room for this many bytes more.
    fn make_room(&mut self, bytes: usize) {
        if self.compressed.len() < self.len + bytes {
            self.compressed.resize(self.len + bytes, 0);
        }
    }
}

/// Decompresses a body made by [`Encoder::encode`].
pub(super) fn decode(body: &[u8]) -> Vec<u8> {
    snap::raw::Decoder::new().decompress_vec(body).expect("it was compressed here")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that repeat themselves at some distances, as lines do.
    fn entries(len: usize, seed: usize) -> Vec<u8> {
        (0..len).map(|at| if at % 7 < 5 { (at % 90) as u8 } else { (at * at / 3 + seed) as u8 }).collect()
    }

    #[test]
    fn a_push_of_any_blocks_is_what_its_streams_are_in_plain_form() {
        let sizes = [0, 1, 15, 16, 17, 300, BLOCK - 9, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 5 * BLOCK / 2];
        let long = "x".repeat(2 * BLOCK);
        // One encoder, so that nothing of a push can be in the next one.
        let mut encoder = Encoder::default();
        for (n, size) in sizes.into_iter().enumerate() {
            for others in [vec![], vec![10], vec![40_000, 40_000], vec![3 * BLOCK, 7]] {
                for labels in ["{}", r#"{app="a"}"#, &long] {
                    let lens = others.iter().copied().chain([size]).chain(others.iter().copied());
                    let bodies: Vec<Vec<u8>> = lens.map(|len| entries(len, n)).collect();
                    let body = encoder.encode(bodies.iter().map(|body| (labels, body.as_slice())));
                    let mut plain = Vec::new();
                    for body in &bodies {
                        wire::stream_head(&mut plain, labels, body);
                        plain.extend_from_slice(body);
                    }
                    assert!(decode(&body) == plain, "{size} among {others:?}, labels of {}", labels.len());
                    assert_eq!(wire::bodies(&plain), bodies, "{size} among {others:?}");
                }
            }
        }
        assert!(encoder.compressed.len() + encoder.block.capacity() <= KEPT);
    }

    #[test]
    fn blocks_are_compressed_as_well_as_a_whole() {
        let bodies: Vec<Vec<u8>> = (0..40).map(|seed| entries(20_000, seed)).collect();
        let labels = r#"{app="a"}"#;
        let body = Encoder::default().encode(bodies.iter().map(|body| (labels, body.as_slice())));
        let whole = snap::raw::Encoder::new().compress_vec(&decode(&body)).expect("far below the limit");
        assert!(body.len() <= whole.len() + whole.len() / 100, "{} and {}", body.len(), whole.len());
    }
}
