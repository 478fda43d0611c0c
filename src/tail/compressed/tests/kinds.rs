//! What each kind of compression has to do.

use std::io::Write;
use std::os::unix::fs::FileExt;

use super::super::*;

const KINDS: [Compression; 5] =
    [Compression::Gzip, Compression::Zlib, Compression::Bzip2, Compression::Xz, Compression::Zstd];

pub(super) fn packed(kind: Compression, text: &[u8]) -> Vec<u8> {
    let level = flate2::Compression::fast();
    match kind {
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(text).and_then(|()| encoder.finish()).expect("to memory")
        }
        Compression::Zlib => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(text).and_then(|()| encoder.finish()).expect("to memory")
        }
        Compression::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(text).and_then(|()| encoder.finish()).expect("to memory")
        }
        Compression::Xz => {
            let options = lzma_rust2::XzOptions::with_preset(1);
            let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).expect("options");
            encoder.write_all(text).and_then(|()| encoder.finish()).expect("to memory")
        }
        Compression::Zstd => ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest),
    }
}

fn text(lines: u32) -> Vec<u8> {
    (0..lines).flat_map(|n| format!("line {n} {:x}\n", n.wrapping_mul(2_654_435_761)).into_bytes()).collect()
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(bytes).expect("written");
    file
}

/// Reads from `at` until nothing more comes.
fn read(inflated: &mut Inflated, at: &mut u64) -> io::Result<Vec<u8>> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; 7_000]);
    loop {
        match inflated.read_at(*at, &mut buffer) {
            Ok(0) => return Ok(all),
            Ok(n) => {
                all.extend_from_slice(&buffer[..n]);
                *at += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

#[test]
fn a_file_is_read_as_it_grows_wherever_its_writer_pauses() {
    let text = text(30_000);
    for kind in KINDS {
        let packed = packed(kind, &text);
        // A pause after every few bytes at both ends, where headers and checksums are, and some in between.
        let ends = (1..60).chain(packed.len() - 60..packed.len());
        let mut pauses: Vec<usize> = ends.chain((1..packed.len()).step_by(packed.len() / 50)).collect();
        pauses.sort_unstable();
        let growing = file(&[]);
        let mut inflated = Inflated::new(growing.try_clone().expect("a descriptor"), kind);
        let (mut all, mut at, mut written) = (Vec::new(), 0, 0);
        for pause in pauses.into_iter().chain([packed.len()]) {
            growing.write_all_at(&packed[written..pause], written as u64).expect("written");
            written = pause;
            all.extend(read(&mut inflated, &mut at).expect("not damaged"));
            assert!(all == text[..all.len()], "{kind:?}: after {pause} bytes");
            assert_eq!(inflated.is_whole(), pause == packed.len(), "{kind:?}: after {pause} of {} bytes", packed.len());
        }
        assert_eq!(all.len(), text.len(), "{kind:?}");
        assert_eq!(inflated.packed_ahead(), 0, "{kind:?}");
    }
}

#[test]
fn members_follow_each_other_and_zeros_behind_them_are_padding() {
    for kind in KINDS.into_iter().filter(|kind| *kind != Compression::Zlib) {
        let mut bytes = packed(kind, b"one\n");
        bytes.extend(packed(kind, b""));
        bytes.extend(packed(kind, b"two\n"));
        bytes.extend([0; 1_000]);
        let mut inflated = Inflated::new(file(&bytes), kind);
        assert_eq!(read(&mut inflated, &mut 0).expect("read"), b"one\ntwo\n", "{kind:?}");
        assert!(inflated.is_whole(), "{kind:?}");
    }
    // A frame of zstd that holds no content.
    let mut bytes = vec![0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, b'x', b'y', b'z'];
    bytes.extend(packed(Compression::Zstd, b"text\n"));
    bytes.extend([0x5f, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]);
    let mut inflated = Inflated::new(file(&bytes), Compression::Zstd);
    assert_eq!(read(&mut inflated, &mut 0).expect("read"), b"text\n");
    assert!(inflated.is_whole());
}

#[test]
fn what_follows_the_last_member_is_ignored() {
    for kind in KINDS {
        let mut bytes = packed(kind, b"text\n");
        bytes.extend(b"something else");
        let mut inflated = Inflated::new(file(&bytes), kind);
        assert_eq!(read(&mut inflated, &mut 0).expect("read"), b"text\n", "{kind:?}");
        assert!(inflated.is_whole(), "{kind:?}");
    }
}

#[test]
fn a_damaged_file_gives_what_is_before_the_damage_and_then_an_error() {
    let text = text(100_000);
    for kind in KINDS {
        let mut bytes = packed(kind, &text);
        let (from, to) = (bytes.len() / 2, bytes.len() / 2 + 4_000);
        bytes[from..to].iter_mut().for_each(|byte| *byte ^= 0x5a);
        let mut inflated = Inflated::new(file(&bytes), kind);
        let mut at = 0;
        let error = loop {
            match read(&mut inflated, &mut at) {
                Ok(more) => assert!(!more.is_empty(), "{kind:?}: it ends without an error"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{kind:?}");
        assert!(error.to_string().contains(kind.name()), "{error}");
        assert!(at < text.len() as u64, "{kind:?}: {at}");
        assert!(!inflated.is_whole() && inflated.packed_ahead() > 0, "{kind:?}");
        // It stays so, and the decoder is not asked again.
        assert!(inflated.read_at(at, &mut [0; 10]).is_err(), "{kind:?}");
    }
    let mut none = Inflated::new(file(b"a text that is not compressed, of some length"), Compression::Xz);
    assert!(none.read_at(0, &mut [0; 10]).expect_err("no xz").to_string().contains("xz"));
}

#[test]
fn a_file_that_needs_too_much_memory_is_refused_before_that_is_taken() {
    // A frame of zstd with a window of 2 GiB, and nothing in it.
    let zstd = [0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3, 1, 0, 0];
    // A block of xz with a dictionary of 1 GiB.
    let mut xz = vec![0xfd, b'7', b'z', b'X', b'Z', 0, 0, 0, 0xff, 0x12, 0xd9, 0x41];
    xz.extend([2, 0, 0x21, 1, 36, 0, 0, 0]);
    xz.extend(crc32(&xz[12..20]).to_le_bytes());
    xz.extend([0; 100]);
    for (kind, bytes) in [(Compression::Zstd, &zstd[..]), (Compression::Xz, &xz[..])] {
        let error = Inflated::new(file(bytes), kind).read_at(0, &mut [0; 10]).expect_err("too much");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        let why = error.to_string();
        assert!(why.contains("window") || why.contains("memory") || why.contains("mem_limit"), "{why}");
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// 64 MiB of zeros.
#[test]
fn no_kind_takes_memory_for_more_than_is_asked_for() {
    let zeros = vec![0; 64 << 20];
    for kind in [Compression::Bzip2, Compression::Xz, Compression::Zstd] {
        let mut inflated = Inflated::new(file(&packed(kind, &zeros)), kind);
        let mut at = 0;
        let mut buffer = vec![0; 64 << 10];
        while at < 8 << 20 {
            let n = inflated.read_at(at, &mut buffer).expect("read");
            assert!(n > 0, "{kind:?} at {at}");
            assert!(inflated.recent.capacity() <= 2 * buffer.len(), "{kind:?}");
            at += n as u64;
        }
        assert!(inflated.packed_ahead() > 0, "{kind:?}: all of it was decompressed at once");
    }
}
