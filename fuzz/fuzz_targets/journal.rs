//! A journal file: whatever is behind its header, reading it ends, and each entry has a cursor that can be read again. The
//! first two bytes are the flags of the format and the number of entries, and the objects follow.

#![no_main]

use fantail::journal::{Entry, Folders, From, Journal, Location};
use fantail_fuzz::file;
use libfuzzer_sys::fuzz_target;

/// Bytes of the header. The first array of entries is behind it.
const HEADER: usize = 208;

fuzz_target!(|data: &[u8]| {
    let [flags, entries, objects @ ..] = data else { return };
    let mut bytes = vec![0; HEADER];
    bytes[..8].copy_from_slice(b"LPKSHHRH");
    // All formats that there are.
    bytes[12] = flags & 31;
    bytes[72..88].copy_from_slice(&[7; 16]);
    for (at, number) in [(88, HEADER as u64), (96, objects.len() as u64), (152, u64::from(*entries)), (176, HEADER as u64)] {
        bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(objects);
    let path = file("system.journal~", &bytes);
    let folder = path.parent().and_then(|folder| folder.to_str()).expect("a folder");
    let mut journal = Journal::new(Folders::new(folder), From::Since(0));
    let (mut entry, mut read) = (Entry::default(), 0);
    for _ in 0..3 {
        journal.refresh().expect("the folder is there");
        while let Some(place) = journal.next(&mut entry, |_| true) {
            journal.release(place);
            read += 1;
            assert!(read <= usize::from(*entries));
            assert_eq!(entry.location.to_string().parse::<Location>(), Ok(entry.location));
        }
    }
    assert!(read as u64 + journal.take_skips().entries <= u64::from(*entries));
});
