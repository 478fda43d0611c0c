//! Encodes streams into the body of a push.

use std::sync::Arc;

use super::wire;

/// The most bytes of encoding memory that are kept between pushes.
const KEPT: usize = 256 << 10;

/// At most this many entry buffers are kept for reuse, each of at most `LARGEST` bytes.
const SPARE: usize = 4;
const LARGEST: usize = 128 << 10;

/// Reuses its tables and buffers for all pushes.
#[derive(Debug)]
pub(super) struct Encoder {
    snappy: snap::raw::Encoder,
    plain: Vec<u8>,
    compressed: Vec<u8>,
    /// Empty entry buffers for reuse.
    spare: Vec<Vec<u8>>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { snappy: snap::raw::Encoder::new(), plain: Vec::new(), compressed: Vec::new(), spare: Vec::new() }
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
    pub fn encode<'s>(&mut self, streams: impl Iterator<Item = (&'s str, &'s [u8])>) -> Arc<[u8]> {
        let Encoder { snappy, plain, compressed, .. } = self;
        plain.clear();
        for (labels, entries) in streams {
            wire::stream(plain, labels, entries);
        }
        let most = snap::raw::max_compress_len(plain.len());
        if compressed.len() < most {
            compressed.resize(most, 0);
        }
        let len = snappy.compress(plain, compressed).expect("a push is far below snappy's 4 GiB");
        let body = compressed[..len].into();
        if plain.capacity() > KEPT {
            (*plain, *compressed) = (Vec::new(), Vec::new());
        }
        body
    }
}

/// Decompresses a body made by [`Encoder::encode`].
pub(super) fn decode(body: &[u8]) -> Vec<u8> {
    snap::raw::Decoder::new().decompress_vec(body).expect("it was compressed here")
}
