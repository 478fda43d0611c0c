//! Reads a compressed file at offsets of its decompressed content.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use flate2::read::{MultiGzDecoder, ZlibDecoder};

/// How a file's bytes are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Gzip,
    Zlib,
}

/// The most bytes to skip per call, about 10 ms. One compressed megabyte may hold a gigabyte, and other logs wait
/// meanwhile.
const PASS: usize = 4 << 20;

/// The bytes at the start of the file that are kept, because they identify the file and are compared often.
const HEAD: usize = super::FINGERPRINT;

/// A decoder that can read at any offset. Going back further than `recent` restarts it.
#[derive(Debug)]
pub(super) struct Inflated {
    file: File,
    compression: Compression,
    decoder: Option<Decoder>,
    /// The last bytes that were decompressed, which end at `at`. Used to read an incomplete line again from its start.
    recent: Vec<u8>,
    at: u64,
    /// The first bytes once they were read, at most [`HEAD`].
    head: Vec<u8>,
}

#[derive(Debug)]
enum Decoder {
    // Rotated logs may be concatenated: a file may have several gzip members.
    Gzip(Box<MultiGzDecoder<File>>),
    Zlib(Box<ZlibDecoder<File>>),
}

impl Inflated {
    pub fn new(file: File, compression: Compression) -> Self {
        Self { file, compression, decoder: None, recent: Vec::new(), at: 0, head: Vec::new() }
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// Fails with `WouldBlock` if `offset` is far away. The next call continues from where this one stopped.
    pub fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let known = usize::try_from(offset).ok().and_then(|from| self.head.get(from..from.checked_add(buffer.len())?));
        if let Some(known) = known {
            buffer.copy_from_slice(known);
            return Ok(known.len());
        }
        if self.decoder.is_none() || offset < self.at - self.recent.len() as u64 {
            self.rewind()?;
        }
        let mut have = 0;
        if offset < self.at {
            let back = (self.at - offset) as usize;
            let start = self.recent.len() - back;
            have = back.min(buffer.len());
            buffer[..have].copy_from_slice(&self.recent[start..start + have]);
            if have == buffer.len() {
                return Ok(have);
            }
        }
        if self.at < offset {
            // Skipped bytes are not kept, so the bytes before them no longer end at `at`.
            self.recent.clear();
        }
        let mut passed = 0;
        while self.at < offset {
            if passed >= PASS {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let skip = ((offset - self.at) as usize).min(buffer.len());
            match self.inflate(&mut buffer[..skip])? {
                0 => return Ok(0),
                n => {
                    passed += n;
                    self.at += n as u64;
                }
            }
        }
        while have < buffer.len() {
            match self.inflate(&mut buffer[have..])? {
                0 => break,
                n => {
                    have += n;
                    self.at += n as u64;
                }
            }
        }
        self.recent.clear();
        self.recent.extend_from_slice(&buffer[..have]);
        if offset == 0 && self.head.len() < have.min(HEAD) {
            self.head = buffer[..have.min(HEAD)].to_vec();
        }
        Ok(have)
    }

    fn inflate(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.decoder {
            Some(Decoder::Gzip(d)) => d.read(buffer),
            Some(Decoder::Zlib(d)) => d.read(buffer),
            None => Ok(0),
        };
        match read {
            // The file is still being written, or is cut off: everything available has been read.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            other => other,
        }
    }

    fn rewind(&mut self) -> io::Result<()> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(0))?;
        self.decoder = Some(match self.compression {
            Compression::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(file))),
            Compression::Zlib => Decoder::Zlib(Box::new(ZlibDecoder::new(file))),
        });
        self.recent.clear();
        self.at = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn any_offset_in_any_order() {
        let text: Vec<u8> = (0..100_000u32).flat_map(|n| n.to_le_bytes()).collect();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&text[..70_000]).expect("to memory");
        let mut packed = encoder.finish().expect("to memory");
        let mut second = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        second.write_all(&text[70_000..]).expect("to memory");
        packed.extend(second.finish().expect("to memory"));

        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(&packed).expect("written");
        let mut inflated = Inflated::new(file, Compression::Gzip);
        for offset in [0usize, 5000, 4000, 90_000, 10, 399_990, 60_000, 61_000] {
            let mut buffer = [0; 4096];
            let n = inflated.read_at(offset as u64, &mut buffer).expect("read");
            let end = (offset + 4096).min(text.len());
            assert_eq!(&buffer[..n], &text[offset..end], "at {offset}");
        }
        assert_eq!(inflated.read_at(text.len() as u64, &mut [0; 10]).expect("read"), 0);
    }

    #[test]
    fn a_file_that_is_cut_off_gives_what_there_is() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        encoder.write_all(&[b'x'; 10_000]).expect("to memory");
        let packed = encoder.finish().expect("to memory");
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(&packed[..5_000]).expect("written");
        let mut buffer = vec![0; 20_000];
        let n = Inflated::new(file, Compression::Gzip).read_at(0, &mut buffer).expect("read");
        assert!((4_000..5_000).contains(&n), "{n}");
    }

    #[test]
    fn what_was_read_before_a_jump_beyond_the_end_is_not_taken_for_what_comes_after_it() {
        let text: Vec<u8> = (0..9_000u32).map(|n| (n % 251) as u8).collect();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&text).expect("to memory");
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(&encoder.finish().expect("to memory")).expect("written");
        let mut inflated = Inflated::new(file, Compression::Gzip);
        let mut buffer = vec![0; 1_000];
        assert_eq!(inflated.read_at(0, &mut buffer).expect("read"), 1_000);
        assert_eq!(inflated.read_at(20_000, &mut buffer).expect("read"), 0, "it is not there yet");
        for offset in [8_500, 8_100, 0] {
            let n = inflated.read_at(offset, &mut buffer).expect("read");
            assert_eq!(&buffer[..n], &text[offset as usize..(offset as usize + n)], "at {offset}");
            assert!(n > 0, "at {offset}");
        }
    }

    /// 64 MiB of zeros, compressed to 64 KiB.
    fn bomb() -> File {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"the head").expect("to memory");
        (0..64).for_each(|_| encoder.write_all(&[0; 1 << 20]).expect("to memory"));
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(&encoder.finish().expect("to memory")).expect("written");
        file
    }

    #[test]
    fn one_call_inflates_no_more_than_is_asked_for_and_a_bound() {
        let mut inflated = Inflated::new(bomb(), Compression::Gzip);
        let (mut buffer, mut calls, mut before) = (vec![0; 64 << 10], 0, 0);
        let far = 60 << 20;
        let n = loop {
            calls += 1;
            let read = inflated.read_at(far, &mut buffer);
            let inflated_now = inflated.at - before;
            assert!(inflated_now <= (PASS + 2 * buffer.len()) as u64, "{inflated_now} in call {calls}");
            assert!(inflated.recent.len() <= buffer.len() && inflated.recent.capacity() <= 2 * buffer.len());
            before = inflated.at;
            match read {
                Ok(n) => break n,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        };
        assert_eq!((n, calls), (buffer.len(), 60 / (PASS >> 20)), "each call goes on where the last one ended");
    }

    #[test]
    fn a_look_at_the_head_does_not_begin_anew() {
        let mut inflated = Inflated::new(bomb(), Compression::Gzip);
        let mut head = vec![0; HEAD];
        assert_eq!(inflated.read_at(0, &mut head).expect("read"), HEAD);
        let (mut buffer, mut calls) = (vec![0; 4096], 0);
        while inflated.read_at(32 << 20, &mut buffer).is_err() {
            calls += 1;
            assert!(calls < 32, "it never gets there");
            let mut again = vec![1; HEAD / 2];
            assert_eq!(inflated.read_at(4, &mut again).expect("read"), again.len());
            assert_eq!(again, head[4..4 + again.len()]);
        }
    }
}
