//! Reads a compressed file at offsets of its decompressed content, also while it is being written.

mod decoder;
mod kind;
mod step;
#[cfg(test)]
mod tests;
mod zstd;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use decoder::Decoder;
pub use kind::Compression;
pub(super) use kind::compressed_as;

/// The most bytes to skip per call, about 10 ms. One compressed megabyte may hold a gigabyte, and other logs wait
/// meanwhile.
const PASS: usize = 4 << 20;

/// The bytes at the start of the file that are kept, because they identify the file and are compared often.
const HEAD: usize = super::FINGERPRINT;

/// The most memory of one decoder in bytes: `xz -9` and `zstd --long=26` need as much. Memory is taken only as the
/// content fills it.
const MEMORY: u64 = 64 << 20;

/// A decoder that can read at any offset. Going back further than `recent` restarts it. If the file ends before its
/// content does, the decoder continues once the file has grown.
#[derive(Debug)]
pub(super) struct Inflated {
    file: File,
    compression: Compression,
    stream: Option<Stream>,
    /// The last bytes that were decompressed, which end at `at`. Used to read an incomplete line again from its start.
    recent: Vec<u8>,
    at: u64,
    /// The first bytes once they were read, at most [`HEAD`].
    head: Vec<u8>,
}

impl Inflated {
    pub fn new(file: File, compression: Compression) -> Self {
        Self { file, compression, stream: None, recent: Vec::new(), at: 0, head: Vec::new() }
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// Whether all content was decompressed, up to the end of the file. False if the file is still being written or
    /// was cut off.
    pub fn is_whole(&self) -> bool {
        let size = self.file.metadata().map_or(0, |meta| meta.len());
        self.stream.as_ref().is_some_and(|stream| stream.is_at_end(size))
    }

    /// Whether nothing more of it can be decompressed, however it grows.
    pub fn is_damaged(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.failed.is_some())
    }

    /// Bytes on disk that were not decompressed yet.
    pub fn packed_ahead(&self) -> u64 {
        let size = self.file.metadata().map_or(0, |meta| meta.len());
        size.saturating_sub(self.stream.as_ref().map_or(0, Stream::taken))
    }

    /// Whether the file is now shorter than what was read of it.
    pub fn is_cut(&self, size: u64) -> bool {
        self.stream.as_ref().is_some_and(|stream| size < stream.taken())
    }

    /// Frees the decoder's memory. The next read starts again at the beginning of the file.
    pub fn rest(&mut self) {
        self.stream = None;
        self.recent = Vec::new();
        self.at = 0;
    }

    /// The file is to be read again as a new one.
    pub fn forget(&mut self) {
        self.rest();
        self.head = Vec::new();
    }

    /// Fails with `WouldBlock` if `offset` is far away. The next call continues from where this one stopped.
    pub fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let known = usize::try_from(offset).ok().and_then(|from| self.head.get(from..from.checked_add(buffer.len())?));
        if let Some(known) = known {
            buffer.copy_from_slice(known);
            return Ok(known.len());
        }
        if self.stream.is_none() || offset < self.at - self.recent.len() as u64 {
            self.rest();
            self.stream = Some(Stream::new(self.compression));
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
                n => passed += n,
            }
        }
        let begin = self.at - have as u64;
        while have < buffer.len() {
            match self.inflate(&mut buffer[have..]) {
                Ok(0) => break,
                Ok(n) => have += n,
                // What was decompressed before comes first. The decoder fails again at the next read.
                Err(_) if have > 0 => break,
                Err(error) => return Err(error),
            }
        }
        debug_assert_eq!(begin + have as u64, self.at);
        self.recent.clear();
        self.recent.extend_from_slice(&buffer[..have]);
        if offset == 0 && self.head.len() < have.min(HEAD) {
            self.head = buffer[..have.min(HEAD)].to_vec();
        }
        Ok(have)
    }

    fn inflate(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(stream) = &mut self.stream else {
            return Ok(0);
        };
        let n = stream.inflate(&self.file, buffer)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// The members of a compressed file, one after the other: rotated logs may be concatenated.
#[derive(Debug)]
struct Stream {
    compression: Compression,
    /// None: between two members, or at the end.
    member: Option<Decoder>,
    /// How many members were read to their end.
    ended: u64,
    input: Vec<u8>,
    /// Bytes of the input that the decoder has taken.
    used: usize,
    /// The offset in the file of the end of the input.
    read: u64,
    /// Something else follows the last member, as other programs ignore it too.
    is_over: bool,
    /// Why decoding failed. A decoder is not asked again after that.
    failed: Option<String>,
}

impl Stream {
    fn new(compression: Compression) -> Self {
        Self { compression, member: None, ended: 0, input: Vec::new(), used: 0, read: 0, is_over: false, failed: None }
    }

    /// The offset in the file up to which the decoder has taken its bytes.
    fn taken(&self) -> u64 {
        self.read - (self.input.len() - self.used) as u64
    }

    fn is_at_end(&self, size: u64) -> bool {
        self.member.is_none() && self.ended > 0 && (self.is_over || self.taken() >= size)
    }

    /// Decompresses more. 0: at the end, or at the end of what was written so far.
    fn inflate(&mut self, file: &File, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(why) = &self.failed {
            return Err(io::Error::new(io::ErrorKind::InvalidData, why.clone()));
        }
        loop {
            if self.member.is_none() && !self.begin_member(file)? {
                return Ok(0);
            }
            let Some(decoder) = &mut self.member else {
                return Ok(0);
            };
            let step = match decoder.step(&self.input[self.used..], buffer) {
                Ok(step) => step,
                Err(why) => {
                    let why = format!("it is not a {} file, or it is damaged: {why}", self.compression.name());
                    self.failed = Some(why.clone());
                    return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                }
            };
            self.used += step.taken;
            if step.is_end {
                self.member = None;
                self.ended += 1;
            }
            if step.given > 0 {
                return Ok(step.given);
            }
            if !step.is_end && step.taken == 0 && !self.refill(file)? {
                return Ok(0);
            }
        }
    }

    /// Begins the next member. Returns false if there is none yet.
    fn begin_member(&mut self, file: &File) -> io::Result<bool> {
        while !self.is_over {
            // Zeros behind a member only fill up a block, of a tape for instance.
            let rest = &self.input[self.used..];
            let zeros = if self.ended > 0 { rest.iter().take_while(|byte| **byte == 0).count() } else { 0 };
            self.used += zeros;
            let begins = match &self.input[self.used..] {
                [] => None,
                rest if self.ended == 0 => (rest.len() >= self.compression.header()).then_some(true),
                _ if self.compression.has_one_member() => Some(false),
                rest => self.compression.begins(rest),
            };
            match begins {
                Some(true) => {
                    self.member = Some(Decoder::new(self.compression));
                    return Ok(true);
                }
                Some(false) => self.is_over = true,
                None if !self.refill(file)? => return Ok(false),
                None => {}
            }
        }
        Ok(false)
    }

    /// Reads more of the file behind the bytes that are not used yet. Returns false if there is no more.
    fn refill(&mut self, file: &File) -> io::Result<bool> {
        self.input.drain(..self.used);
        self.used = 0;
        let (have, most) = (self.input.len(), self.compression.input());
        if have >= most {
            self.failed = Some(format!("it is not a {} file, or it is damaged", self.compression.name()));
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a decoder takes no more bytes"));
        }
        self.input.resize(most, 0);
        let read = loop {
            match file.read_at(&mut self.input[have..], self.read) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.input.truncate(have + *read.as_ref().unwrap_or(&0));
        let n = read?;
        self.read += n as u64;
        Ok(n > 0)
    }
}
