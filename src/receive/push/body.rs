//! Decompresses the body of a push within limits, because a small compressed body may become very large.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::{Refused, malformed};
use crate::receive::budget::{Full, Reservation};

/// `Content-Encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Plain,
    Gzip,
    Deflate,
}

impl Encoding {
    /// None: it is not supported.
    pub fn of(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            // Protobuf is always compressed with snappy, even if there is no header.
            "" | "identity" | "snappy" => Some(Self::Plain),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            _ => None,
        }
    }
}

/// Bytes per step, after which the reservation grows.
const STEP: usize = 64 << 10;

impl From<Full> for Refused {
    fn from(full: Full) -> Self {
        match full {
            Full::Busy => Refused::Busy,
            Full::TooLarge => Refused::TooLarge,
        }
    }
}

/// Undoes `Content-Encoding`. `held` is the number of bytes that are already reserved for the body.
pub fn decompress<'b>(
    encoding: Encoding,
    body: &'b [u8],
    limit: usize,
    reservation: &mut Reservation,
) -> Result<Cow<'b, [u8]>, Refused> {
    let held = body.len();
    let plain = match encoding {
        Encoding::Plain => return Ok(body.into()),
        Encoding::Gzip => inflate(MultiGzDecoder::new(body), held, limit, reservation),
        // `deflate` means zlib's format in HTTP, but some senders use the raw format.
        Encoding::Deflate if is_zlib(body) => inflate(ZlibDecoder::new(body), held, limit, reservation),
        Encoding::Deflate => inflate(DeflateDecoder::new(body), held, limit, reservation),
    };
    plain.map(Cow::Owned)
}

fn is_zlib(body: &[u8]) -> bool {
    matches!(body, [first, second, ..] if first & 15 == 8 && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0)
}

fn inflate(mut from: impl Read, held: usize, limit: usize, reservation: &mut Reservation) -> Result<Vec<u8>, Refused> {
    let mut plain = Vec::new();
    loop {
        reservation.grow_to(held + plain.len() + STEP)?;
        let begun = plain.len();
        plain.resize(begun + STEP, 0);
        let read = from.read(&mut plain[begun..]).map_err(|_| malformed("cannot be decompressed"))?;
        plain.truncate(begun + read);
        if plain.len() > limit {
            return Err(Refused::TooLarge);
        }
        if read == 0 {
            return Ok(plain);
        }
    }
}

/// The bytes of a protobuf push without its snappy compression, as it says itself.
pub(super) fn plain_len(body: &[u8]) -> Option<usize> {
    snap::raw::decompress_len(body).ok()
}

/// Undoes the snappy compression of a protobuf push.
pub fn unsnap(body: &[u8], limit: usize, reservation: &mut Reservation) -> Result<Vec<u8>, Refused> {
    let broken = |_| malformed("cannot be decompressed: a protobuf push is compressed with snappy");
    let length = snap::raw::decompress_len(body).map_err(broken)?;
    if length > limit {
        return Err(Refused::TooLarge);
    }
    reservation.grow_to(body.len() + length)?;
    snap::raw::Decoder::new().decompress_vec(body).map_err(broken)
}
