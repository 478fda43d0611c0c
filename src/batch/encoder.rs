//! From streams to the body of a push.

use std::sync::Arc;

use super::wire;

/// Of the memory for encoding, what is kept from push to push.
const KEPT: usize = 256 << 10;

/// So many of what entries were written to, none of them larger than this.
const SPARE: usize = 4;
const LARGEST: usize = 128 << 10;

/// Keeps its tables and buffers from push to push.
#[derive(Debug)]
pub(super) struct Encoder {
    snappy: snap::raw::Encoder,
    plain: Vec<u8>,
    compressed: Vec<u8>,
    /// What entries were written to, to be written to again.
    spare: Vec<Vec<u8>>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { snappy: snap::raw::Encoder::new(), plain: Vec::new(), compressed: Vec::new(), spare: Vec::new() }
    }
}

impl Encoder {
    /// To write so many bytes of entries to.
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

    /// Each stream's labels and its entries, which are encoded already.
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

/// What [`Encoder::encode`] has compressed.
pub(super) fn decode(body: &[u8]) -> Vec<u8> {
    snap::raw::Decoder::new().decompress_vec(body).expect("it was compressed here")
}
