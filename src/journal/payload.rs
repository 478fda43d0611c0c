//! Decompresses the text of a data object. The length that a payload claims is not trusted.

use std::io::{Cursor, Read};

/// The longest field, in bytes. The same limit as for a line of a file.
pub(super) const LONGEST: usize = crate::model::MAX_LINE;

/// The compression of a payload, from the flags of its object.
const XZ: u8 = 1;
const LZ4: u8 = 2;
const ZSTD: u8 = 4;

/// Memory that a dictionary of xz may take, in KiB. journald uses xz's default preset, which has 8 MiB.
const XZ_MEMORY: u32 = 16 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Error {
    Damaged,
    TooLong,
}

/// Appends the payload to `out`.
pub(super) fn decode(flags: u8, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let begin = out.len();
    let decoded = match flags & (XZ | LZ4 | ZSTD) {
        0 if payload.len() > LONGEST => Err(Error::TooLong),
        0 => {
            out.extend_from_slice(payload);
            Ok(())
        }
        XZ => all(lzma_rust2::XzReader::new_mem_limit(Cursor::new(payload), false, XZ_MEMORY), out),
        LZ4 => lz4(payload, out),
        ZSTD => zstd(payload, out),
        _ => Err(Error::Damaged),
    };
    if decoded.is_err() {
        out.truncate(begin);
    }
    decoded
}

/// The payload has a length of eight bytes, and then a block.
fn lz4(payload: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let (len, block) = payload.split_at_checked(8).ok_or(Error::Damaged)?;
    let len = u64::from_le_bytes(len.try_into().map_err(|_| Error::Damaged)?);
    if len > LONGEST as u64 {
        return Err(Error::TooLong);
    }
    let begin = out.len();
    out.resize(begin + len as usize, 0);
    let written = lz4_flex::block::decompress_into(block, &mut out[begin..]).map_err(|_| Error::Damaged)?;
    if written as u64 == len { Ok(()) } else { Err(Error::Damaged) }
}

fn zstd(payload: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let mut decoder = ruzstd::decoding::FrameDecoder::new();
    let mut header = payload;
    decoder.reset(&mut header).map_err(|_| Error::Damaged)?;
    if decoder.content_size() > LONGEST as u64 {
        return Err(Error::TooLong);
    }
    let reader = ruzstd::decoding::StreamingDecoder::new_with_decoder(payload, ruzstd::decoding::FrameDecoder::new());
    all(reader.map_err(|_| Error::Damaged)?, out)
}

fn all(reader: impl Read, out: &mut Vec<u8>) -> Result<(), Error> {
    let begin = out.len();
    reader.take(LONGEST as u64 + 1).read_to_end(out).map_err(|_| Error::Damaged)?;
    if out.len() - begin > LONGEST { Err(Error::TooLong) } else { Ok(()) }
}
