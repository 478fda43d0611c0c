//! Files that are damaged, cut or written to do harm.

use std::os::unix::fs::FileExt;

use super::*;

/// Bytes up to the last that is not zero.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// Where objects begin. The hash tables before them are most of a small file, and are not read.
fn objects(bytes: &[u8]) -> usize {
    let data = header::u64_at(bytes, 104) + header::u64_at(bytes, 112);
    let fields = header::u64_at(bytes, 120) + header::u64_at(bytes, 128);
    data.max(fields) as usize
}

#[test]
fn a_file_that_is_cut_anywhere_gives_what_is_left_of_it() {
    for name in ["zstd", "compact-zstd"] {
        let bytes = fixture(&format!("{name}.journal.gz"));
        let want = exported(&fixture(&format!("{name}.export.gz")));
        let (begin, end) = (objects(&bytes), used(&bytes));
        let mut most = 0;
        for cut in (0..40).map(|i| begin + (end - begin) * i / 40).chain([0, 100, 208, 300]) {
            let folder = folder_with(&[("system@x.journal~", &bytes[..cut])]);
            let mut journal = journal(&folder, From::Since(0));
            let read = all(&mut journal);
            // Whole entries are as they were. Fields that are cut off are missing.
            for entry in &read {
                let whole = want.iter().find(|want| want.cursor == entry.cursor).expect("an entry of the file");
                assert!(entry.fields.iter().all(|field| whole.fields.contains(field)), "{cut}");
            }
            most = most.max(read.len());
            let skipped = journal.take_skips();
            assert!(cut < 208 || read.len() as u64 + skipped.entries == 80, "{cut}: {} {skipped:?}", read.len());
        }
        assert!((40..80).contains(&most), "{most}");
    }
}

#[test]
fn no_byte_makes_it_panic_or_read_without_end() {
    for name in NAMES {
        let bytes = fixture(&format!("{name}.journal.gz"));
        let want = exported(&fixture(&format!("{name}.export.gz")));
        let (begin, end) = (objects(&bytes), used(&bytes));
        let places = (0..256).chain((0..200).map(|i| begin + (end - begin) * i / 200));
        let folder = folder_with(&[("system@x.journal~", &bytes)]);
        let path = folder.path().join("system@x.journal~");
        let (mut rounds, mut entries, mut damaged) = (0, 0, 0);
        for at in places {
            let file = fs::File::options().write(true).open(&path).expect("the file");
            for value in [0xff, bytes[at] ^ 1] {
                file.write_all_at(&[value], at as u64).expect("written");
                let mut journal = journal(&folder, From::Since(0));
                let read = all(&mut journal);
                assert!(read.len() <= 80, "{name} {at}: {}", read.len());
                rounds += 1;
                entries += read.iter().filter(|entry| want.contains(entry)).count();
                let skips = journal.take_skips();
                damaged += skips.entries + skips.fields + skips.long_fields;
            }
            file.write_all_at(&[bytes[at]], at as u64).expect("written");
        }
        // A byte costs an entry or a field, seldom the file.
        assert!(entries > rounds * 60, "{name}: {entries} in {rounds}");
        assert!(damaged > 0, "{name}");
    }
}

/// A header that claims so many entries, and a chain of arrays that leads to itself.
#[test]
fn numbers_of_a_header_are_not_trusted() {
    let bytes = fixture("zstd.journal.gz");
    let array = header::u64_at(&bytes, 176) as usize;
    let own = (array as u64).to_le_bytes();
    for (at, value) in [(152, u64::MAX.to_le_bytes()), (152, [0; 8]), (96, u64::MAX.to_le_bytes()), (array + 16, own)] {
        let mut hostile = bytes.clone();
        hostile[at..at + 8].copy_from_slice(&value);
        let folder = folder_with(&[("system@x.journal~", &hostile), ("b.journal", &fixture("lz4.journal.gz"))]);
        let read = all(&mut journal(&folder, From::Since(0)));
        assert!((80..=160).contains(&read.len()), "{at}: {}", read.len());
    }
}

#[test]
fn fields_beyond_the_limit_are_left_out() {
    let mut out = Vec::new();
    // The length that a compressed field claims, and one byte.
    let lz4 = |len: u64| -> Vec<u8> { len.to_le_bytes().into_iter().chain([0x10, b'x']).collect() };
    let long = payload::LONGEST as u64 + 1;
    assert_eq!(payload::decode(2, &lz4(long), &mut out), Err(payload::Error::TooLong));
    assert_eq!(payload::decode(0, &vec![b'x'; payload::LONGEST + 1], &mut out), Err(payload::Error::TooLong));
    assert_eq!(payload::decode(2, &lz4(10), &mut out), Err(payload::Error::Damaged));
    for flags in [1, 2, 4, 3, 7] {
        assert!(payload::decode(flags, b"no such stream, whatever is asked", &mut out).is_err(), "{flags}");
    }
    assert!(out.is_empty());
}
