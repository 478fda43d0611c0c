//! One decoder for each kind of compression. A decoder takes bytes as they come and never reads a file itself, so it can
//! wait for more at any place.

use flate2::{Decompress, FlushDecompress, Status};
use lzma_rust2::{Action, XzStream};

use super::step::Step;
use super::zstd::Zstd;
use super::{Compression, MEMORY};

pub(super) enum Decoder {
    Deflate(Box<Decompress>),
    Bzip2(Box<bzip2::Decompress>),
    Xz(Box<XzStream>),
    Zstd(Box<Zstd>),
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decoder")
    }
}

impl Decoder {
    pub fn new(compression: Compression) -> Self {
        match compression {
            Compression::Gzip => Self::Deflate(Box::new(Decompress::new_gzip(15))),
            Compression::Zlib => Self::Deflate(Box::new(Decompress::new(true))),
            Compression::Bzip2 => Self::Bzip2(Box::new(bzip2::Decompress::new(false))),
            Compression::Xz => {
                let limit = u32::try_from(MEMORY >> 10).unwrap_or(u32::MAX) + 1024;
                Self::Xz(Box::new(XzStream::new_mem_limit(false, limit)))
            }
            Compression::Zstd => Self::Zstd(Box::new(Zstd::new(MEMORY))),
        }
    }

    /// Takes what it can use of `input`, and fills `output` as far as it can. Nothing taken and nothing given: more input
    /// is needed.
    pub fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, String> {
        match self {
            Self::Deflate(decoder) => {
                let (taken, given) = (decoder.total_in(), decoder.total_out());
                let status = decoder.decompress(input, output, FlushDecompress::None).map_err(|e| e.to_string())?;
                Ok(Step {
                    taken: (decoder.total_in() - taken) as usize,
                    given: (decoder.total_out() - given) as usize,
                    is_end: status == Status::StreamEnd,
                })
            }
            Self::Bzip2(decoder) => {
                let (taken, given) = (decoder.total_in(), decoder.total_out());
                let status = decoder.decompress(input, output).map_err(|e| e.to_string())?;
                Ok(Step {
                    taken: (decoder.total_in() - taken) as usize,
                    given: (decoder.total_out() - given) as usize,
                    is_end: status == bzip2::Status::StreamEnd,
                })
            }
            Self::Xz(decoder) => {
                let done = decoder.process(input, output, Action::Run).map_err(|e| e.to_string())?;
                let is_end = done.status == lzma_rust2::Status::StreamEnd;
                Ok(Step { taken: done.bytes_consumed, given: done.bytes_produced, is_end })
            }
            Self::Zstd(decoder) => decoder.step(input, output),
        }
    }
}
