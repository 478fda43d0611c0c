//! Real files, written by systemd-journal-remote and read by journalctl (`tests/journal/write`).

mod hostile;
mod live;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::*;

const NAMES: [&str; 4] = ["xz", "lz4", "zstd", "compact-zstd"];

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journal").join(name);
    let mut bytes = Vec::new();
    let file = fs::File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).expect("a fixture");
    bytes
}

/// An entry with all its fields, for comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Read1 {
    cursor: String,
    fields: Vec<(String, Vec<u8>)>,
}

/// The entries of journalctl's export format.
fn exported(bytes: &[u8]) -> Vec<Read1> {
    let mut entries = Vec::new();
    let (mut cursor, mut fields, mut rest) = (String::new(), Vec::new(), bytes);
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let (line, after) = (&rest[..end], &rest[(end + 1).min(rest.len())..]);
        rest = after;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("a name");
        match memchr::memchr(b'=', line) {
            _ if line.is_empty() => {
                entries.push(Read1 { cursor: std::mem::take(&mut cursor), fields: std::mem::take(&mut fields) });
            }
            Some(at) if line.starts_with(b"__CURSOR=") => cursor = text(&line[at + 1..]),
            // The boot is shown from the entry's head, and its field is not shown.
            Some(_) if line.starts_with(b"__") || line.starts_with(b"_BOOT_ID=") => {}
            Some(at) => fields.push((text(&line[..at]), line[at + 1..].to_vec())),
            None => {
                let len = u64::from_le_bytes(rest[..8].try_into().expect("a length")) as usize;
                fields.push((text(line), rest[8..8 + len].to_vec()));
                rest = &rest[8 + len + 1..];
            }
        }
    }
    entries
}

fn seen(entry: &Entry) -> Read1 {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let fields = entry.fields().filter(|(name, _)| *name != b"_BOOT_ID");
    let fields = fields.map(|(name, value)| (text(name), value.to_vec())).collect();
    Read1 { cursor: entry.location.to_string(), fields }
}

/// Everything that can be read now.
fn all(journal: &mut Journal) -> Vec<Read1> {
    let (mut entry, mut all) = (Entry::default(), Vec::new());
    // Damaged entries of a file that may be written to are tried again.
    for _ in 0..20 {
        journal.refresh().expect("a folder");
        while let Some(place) = journal.next(&mut entry, |_| true) {
            journal.release(place);
            all.push(seen(&entry));
        }
    }
    all
}

fn folder_with(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, bytes) in files {
        write_sparse(&folder.path().join(name), bytes);
    }
    folder
}

/// Journal files are mostly zeros.
fn write_sparse(path: &PathBuf, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    let file = fs::File::create(path).expect("a file");
    file.set_len(bytes.len() as u64).expect("room");
    for (i, page) in bytes.chunks(4096).enumerate().filter(|(_, page)| page.iter().any(|byte| *byte != 0)) {
        file.write_all_at(page, i as u64 * 4096).expect("written");
    }
}

fn journal(folder: &tempfile::TempDir, from: From) -> Journal {
    Journal::new(Folders::new(folder.path().to_str().expect("text")), from)
}

#[test]
fn every_entry_is_as_journalctl_shows_it() {
    for name in NAMES {
        let folder = folder_with(&[("system.journal", &fixture(&format!("{name}.journal.gz")))]);
        let want = exported(&fixture(&format!("{name}.export.gz")));
        assert_eq!(want.len(), 80, "{name}");
        let mut journal = journal(&folder, From::Since(0));
        assert_eq!(all(&mut journal), want, "{name}");
        assert_eq!(journal.take_skips(), Skips::default(), "{name}");
        assert_eq!(journal.take_problems(), []);
    }
}

/// Whether several entries have a field or only one, whether its text is compressed, and however it comes first.
#[test]
fn an_entry_has_the_fields_that_are_wanted_and_no_others() {
    for name in NAMES {
        let folder = folder_with(&[("system.journal", &fixture(&format!("{name}.journal.gz")))]);
        let whole = exported(&fixture(&format!("{name}.export.gz")));
        let names: std::collections::BTreeSet<&String> =
            whole.iter().flat_map(|entry| entry.fields.iter().map(|(name, _)| name)).collect();
        assert!(names.len() > 8, "{names:?}");
        for (at, _) in names.iter().enumerate() {
            // Three of them, of which each is once the first.
            let wanted: Vec<&String> = names.iter().cycle().skip(at).take(3).copied().collect();
            let is_wanted = |name: &[u8]| wanted.iter().any(|wanted| wanted.as_bytes() == name);
            let (mut journal, mut entry, mut read) = (journal(&folder, From::Since(0)), Entry::default(), Vec::new());
            for _ in 0..3 {
                journal.refresh().expect("a folder");
                while let Some(place) = journal.next(&mut entry, is_wanted) {
                    journal.release(place);
                    read.push(seen(&entry));
                }
            }
            let left = |entry: &Read1| {
                let fields = entry.fields.iter().filter(|(name, _)| is_wanted(name.as_bytes())).cloned().collect();
                Read1 { cursor: entry.cursor.clone(), fields }
            };
            assert_eq!(read, whole.iter().map(left).collect::<Vec<_>>(), "{name} {wanted:?}");
        }
    }
}

#[test]
fn reading_goes_on_behind_any_cursor_and_since_any_time() {
    let folder = folder_with(&[("system.journal", &fixture("compact-zstd.journal.gz"))]);
    let want = exported(&fixture("compact-zstd.export.gz"));
    for (i, entry) in want.iter().enumerate() {
        let cursor: Location = entry.cursor.parse().expect("a cursor");
        let mut behind = journal(&folder, From::Behind(cursor));
        assert_eq!(all(&mut behind), want[i + 1..], "{i}");
        assert_eq!(behind.has_begin(), Some(true), "{i}");
    }
    // The clock goes back once in the file, so times before that are enough here.
    let cursor: Location = want[20].cursor.parse().expect("a cursor");
    assert_eq!(all(&mut journal(&folder, From::Since(cursor.realtime))), want[20..]);
    assert_eq!(all(&mut journal(&folder, From::Since(u64::MAX))), []);
}

#[test]
fn behind_an_entry_that_is_gone_the_next_one_is_read() {
    let folder = folder_with(&[("system.journal", &fixture("zstd.journal.gz"))]);
    let want = exported(&fixture("zstd.export.gz"));
    let known: Location = want[40].cursor.parse().expect("a cursor");
    let other = Location { seqnum_id: location::Id([9; 16]), boot: location::Id([8; 16]), ..known };
    for (gone, first) in [
        // Of another file with the same times.
        (Location { realtime: known.realtime + 1, ..other }, 41),
        (Location { realtime: known.realtime - 1, ..other }, 40),
        // Of the same boot: the clock does not count.
        (Location { boot: known.boot, monotonic: known.monotonic + 1, realtime: 1, ..other }, 41),
    ] {
        let mut journal = journal(&folder, From::Behind(gone));
        assert_eq!(all(&mut journal).first(), want.get(first), "{gone}");
        assert_eq!(journal.has_begin(), Some(false), "{gone}");
    }
}

#[test]
fn files_are_merged_and_copies_are_read_once() {
    let (zstd, lz4) = (fixture("zstd.journal.gz"), fixture("lz4.journal.gz"));
    let folder = folder_with(&[("system.journal", &zstd), ("user-1000.journal", &lz4)]);
    let namespace = folder.path().join("3d1219c7c4c5404aaa1f6d2a48adfda4.quiet");
    fs::create_dir(&namespace).expect("a folder");
    write_sparse(&namespace.join("system.journal"), &zstd);
    // No journal files.
    fs::create_dir(folder.path().join("else")).expect("a folder");
    write_sparse(&folder.path().join("else/system.journal"), &zstd);
    fs::write(folder.path().join("note.txt"), "x").expect("a file");
    let want = exported(&fixture("zstd.export.gz"));
    let read = all(&mut journal(&folder, From::Since(0)));
    // The files hold the same entries: hashes differ between files, so copies are known within the same file id only.
    let messages: Vec<_> = read.iter().map(|entry| entry.fields.clone()).collect();
    for entry in &want {
        let times = messages.iter().filter(|fields| **fields == entry.fields).count();
        assert!((1..=2).contains(&times), "{times} {entry:?}");
    }
    assert_eq!(read.iter().filter(|entry| want.contains(entry)).count(), 80);
}

/// At the boot, journald copies the entries of /run/log/journal into a file with a sequence of its own.
#[test]
fn entries_that_were_copied_to_another_file_are_read_once() {
    let zstd = fixture("zstd.journal.gz");
    let mut copy = zstd.clone();
    copy[72..88].fill(7);
    let folder = folder_with(&[("runtime.journal", &zstd)]);
    let mut journal = journal(&folder, From::Since(0));
    let mut read = all(&mut journal);
    write_sparse(&folder.path().join("system.journal"), &copy);
    read.extend(all(&mut journal));
    assert_eq!(read, exported(&fixture("zstd.export.gz")));
    // Both are there from the start.
    let both = all(&mut self::journal(&folder, From::Since(0)));
    assert_eq!(both.len(), 80);
    // The first file is deleted, and reading goes on in the copy.
    fs::remove_file(folder.path().join("runtime.journal")).expect("removed");
    let cursor: Location = read[33].cursor.parse().expect("a cursor");
    let mut journal = self::journal(&folder, From::Behind(cursor));
    let rest = all(&mut journal);
    assert_eq!(journal.has_begin(), Some(true));
    let fields = |entries: &[Read1]| entries.iter().map(|entry| entry.fields.clone()).collect::<Vec<_>>();
    assert_eq!(fields(&rest), fields(&read[34..]));
}

#[test]
fn going_back_gives_the_same_entries_again() {
    let (zstd, lz4) = (fixture("zstd.journal.gz"), fixture("lz4.journal.gz"));
    let folder = folder_with(&[("system.journal", &zstd), ("user-1000.journal", &lz4)]);
    let mut journal = journal(&folder, From::Since(0));
    (0..2).for_each(|_| journal.refresh().expect("a folder"));
    let mut entry = Entry::default();
    let mut given: Vec<(Place, From, Read1)> = Vec::new();
    let mut back = 7;
    let mut fresh = Vec::new();
    loop {
        let from = journal.from();
        let Some(place) = journal.next(&mut entry, |_| true) else { break };
        given.push((place, from, seen(&entry)));
        if given.len() == back {
            // Gives five back and reads them again.
            let again = given.split_off(back - 5);
            for (place, from, _) in again.iter().rev() {
                journal.go_back(*place, *from);
            }
            for (_, _, want) in again {
                let from = journal.from();
                let place = journal.next(&mut entry, |_| true).expect("again");
                assert_eq!(seen(&entry), want);
                given.push((place, from, want));
            }
            back += 9;
        }
    }
    fresh.extend(all(&mut self::journal(&folder, From::Since(0))));
    assert_eq!(given.into_iter().map(|(_, _, entry)| entry).collect::<Vec<_>>(), fresh);
}

#[test]
fn a_newer_format_is_refused_by_name_and_its_neighbours_are_read() {
    let mut newer = fixture("zstd.journal.gz");
    newer[13] |= 1;
    let folder = folder_with(&[("a.journal", &newer), ("b.journal", &fixture("lz4.journal.gz")), ("c.journal", b"")]);
    fs::write(folder.path().join("d.journal"), vec![b'x'; 4096]).expect("a file");
    let mut journal = journal(&folder, From::Since(0));
    assert_eq!(all(&mut journal).len(), 80);
    let problems = journal.take_problems();
    let said: Vec<&str> = problems.iter().map(|problem| problem.text.split_once(' ').expect("words").1).collect();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(said[0].contains("incompatible flags 0x100") && said[1].contains("does not begin"), "{said:?}");
}
