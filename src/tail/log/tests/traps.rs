//! Situations, found in a review, in which a log once lost or duplicated lines.

use super::*;

#[test]
fn a_truncation_found_while_reading_reads_the_copy_first() {
    let mut d = Dir::new();
    d.append("a.log", "old 1\n");
    let mut log = d.open(START);
    assert_eq!(d.read(&mut log), ["old 1"]);
    d.append("a.log", "old 2\n");
    fs::copy(d.path("a.log"), d.path("a.log.1")).expect("copied");
    OpenOptions::new().write(true).open(d.path("a.log")).expect("opened").set_len(0).expect("truncated");
    let mut got = d.read(&mut log);
    d.append("a.log", "new\n");
    d.wait();
    got.extend(d.read(&mut log));
    assert_eq!(got, ["old 2", "new"]);
}

#[test]
fn a_live_file_that_is_renamed_before_its_siblings_are_listed_is_one_generation() {
    let d = Dir::new();
    d.append("a.log", "1\n");
    let path = d.path("a.log");
    let live = Generation::open(&path, None).expect("opened");
    d.rename("a.log", "a.log.20261122-100000");
    d.append("a.log", "2\n");
    let mut generations = VecDeque::new();
    open_younger(
        &siblings(&path, &path, &Folders::default()).expect("listed"),
        SystemTime::UNIX_EPOCH,
        &mut generations,
    )
    .expect("opened");
    add_live(&mut generations, 0, live);
    assert_eq!(generations.len(), 1);
    add_live(&mut generations, 0, Generation::open(&path, None).expect("opened"));
    assert_eq!(generations.len(), 2);
}

/// A file that is compressed after it was listed and before it is opened is there under another name: all are listed again.
#[test]
fn files_that_are_renamed_after_they_were_listed_are_listed_again() {
    let d = Dir::new();
    d.append("a.log.2", "1\n");
    d.append("a.log.1", "2\n");
    d.append("a.log", "3\n");
    let path = d.path("a.log");
    let listed = || siblings(&path, &path, &Folders::default()).expect("listed");
    let position = Generation::open(&d.path("a.log.1"), None).expect("opened").position();
    let before = listed();
    d.gzip("a.log.1");
    let again = |error: io::Error| error.kind() == io::ErrorKind::Interrupted;
    assert!(open_younger(&before, SystemTime::UNIX_EPOCH, &mut VecDeque::new()).is_err_and(again));
    assert!(find_listed(&before, &position).is_err_and(again));
    let mut generations = VecDeque::new();
    open_younger(&listed(), SystemTime::UNIX_EPOCH, &mut generations).expect("opened");
    assert_eq!(generations.len(), 2);
    // One that was deleted is not listed any more.
    fs::remove_file(d.path("a.log.1.gz")).expect("removed");
    assert_eq!(listed().len(), 1);
}

#[test]
fn a_generation_rotated_before_its_elder_was_compressed_is_not_skipped() {
    let mut d = Dir::new();
    d.append("a.log", "1\n");
    let mut log = d.open(START);
    assert_eq!(d.read(&mut log), ["1"]);
    let resume = d.at(&log);
    d.append("a.log", "2\n");
    drop(log);
    d.rename("a.log", "a.log.20261122-100000");
    d.append("a.log", "3\n");
    d.gzip("a.log.20261122-100000");
    // The kubelet compresses the older file first, so the copy's time is later than the last line of the next file.
    let compressed = OpenOptions::new().append(true).open(d.path("a.log.20261122-100000.gz")).expect("opened");
    compressed.set_modified(SystemTime::now() + Duration::from_secs(5)).expect("set");
    d.rename("a.log", "a.log.20261122-100001");
    d.append("a.log", "4\n");
    let mut log = d.open(resume);
    d.wait();
    assert_eq!(d.read(&mut log), ["2", "3", "4"]);
}

#[test]
fn a_short_file_written_anew_is_read_from_its_start() {
    let d = Dir::new();
    d.append("a.log", "old\n");
    let mut log = d.open(START);
    assert_eq!(d.read(&mut log), ["old"]);
    fs::write(d.path("a.log"), "new 1\nnew 2\nnew 3\n").expect("written");
    assert_eq!(d.read(&mut log), ["new 1", "new 2", "new 3"]);
}

#[test]
fn a_writer_that_takes_its_time_to_reopen_loses_nothing() {
    let mut d = Dir::new();
    d.append("a.log", "1\n");
    let mut log = d.open(START);
    d.read(&mut log);
    d.rename("a.log", "a.log.1");
    d.append("a.log", "");
    assert_eq!(log.look(d.now).expect("looked"), Look::Rotated(1));
    d.now += Duration::from_secs(5);
    assert_eq!(d.read(&mut log), [""; 0]);
    d.append("a.log.1", "2\n");
    d.append("a.log", "3\n");
    assert_eq!(d.read(&mut log), ["2", "3"]);
}

#[test]
fn a_corrupt_generation_does_not_hold_up_the_younger_ones() {
    let mut d = Dir::new();
    let text: String = (0..20000u64).map(|n| format!("{}\n", n.wrapping_mul(6364136223846793005))).collect();
    d.append("a.log.1", &text);
    d.gzip("a.log.1");
    let mut bytes = fs::read(d.path("a.log.1.gz")).expect("works");
    let n = bytes.len();
    bytes[n / 2..n / 2 + 200].fill(0xff);
    fs::write(d.path("a.log.1.gz"), bytes).expect("works");
    d.append("a.log", "live\n");
    let mut log = d.open(Resume::Since(SystemTime::UNIX_EPOCH));
    d.wait();
    let mut chunk = Chunk::default();
    let mut lines = Vec::new();
    for _ in 0..1000 {
        match log.read(65536, d.now, &mut chunk) {
            Ok(Read::Records { .. }) => {
                lines.extend(String::from_utf8_lossy(&chunk.bytes[..chunk.len]).lines().map(str::to_string))
            }
            Ok(_) => break,
            Err(_) => {}
        }
    }
    assert!(lines.contains(&"live".to_string()));
}

#[test]
fn of_deleted_generations_no_more_is_kept_than_may_be() {
    let mut d = Dir::new();
    d.append("a.log", "1\n2\n");
    let mut log = d.open(START);
    let mut chunk = Chunk::default();
    assert!(matches!((log.read(2, d.now, &mut chunk).expect("read"), chunk.len), (Read::Records { .. }, 2)));
    for n in 3..6 {
        d.rename("a.log", &format!("a.log.2026112210000{n}"));
        d.append("a.log", &format!("{n}\n"));
        assert_eq!(log.look(d.now).expect("looked"), Look::Rotated(1));
    }
    assert_eq!(log.shed(0), 0, "what has a name is not ours to judge");
    for n in 3..5 {
        fs::remove_file(d.path(&format!("a.log.2026112210000{n}"))).expect("removed");
    }
    assert_eq!(log.shed(6), 0);
    // The first file has four bytes, two of them read. The second is within the limit.
    assert_eq!(log.shed(2), 2);
    d.wait();
    assert_eq!(d.read(&mut log), ["3", "4", "5"]);
}

#[test]
fn what_is_given_up_of_a_deleted_log_is_counted_to_the_byte() {
    let d = Dir::new();
    d.append("a.log", "1\n2\n3\n");
    let mut log = d.open(START);
    let mut chunk = Chunk::default();
    assert!(matches!((log.read(2, d.now, &mut chunk).expect("read"), chunk.len), (Read::Records { .. }, 2)));
    assert_eq!(log.pinned(), 0);
    fs::remove_file(d.path("a.log")).expect("removed");
    assert_eq!(log.look(d.now).expect("looked"), Look::Gone);
    assert_eq!(log.pinned(), 6);
    assert_eq!(log.shed(6), 0);
    assert_eq!(log.shed(5), 4);
    // The loss is reported once, and the file is not read any more.
    assert_eq!(log.shed(0), 0);
    assert!(matches!(log.read(2, d.now, &mut chunk).expect("read"), Read::Finished));
}

#[test]
fn what_follows_a_line_that_is_longer_than_asked_for_is_left_for_the_next_time() {
    let d = Dir::new();
    let long = "x".repeat(100);
    d.append("a.log", &format!("{long}\n1\n2\n"));
    let mut log = d.open(START);
    let mut chunk = Chunk::default();
    let mut read = || match log.read(64, d.now, &mut chunk).expect("read") {
        Read::Records { more } => (chunk.len, more),
        other => panic!("{other:?}"),
    };
    assert_eq!((read(), read()), ((101, true), (4, false)), "not more than one window and a line are in flight");
}

#[test]
fn a_file_that_was_empty_when_it_was_opened_and_is_compressed_when_it_is_looked_at_is_read_once() {
    let mut d = Dir::new();
    d.append("a.log", "");
    let mut log = d.open(START);
    d.append("a.log", "1\n2\n");
    d.rename("a.log", "a.log.1");
    d.gzip("a.log.1");
    d.append("a.log", "3\n");
    log.look(d.now).expect("looked");
    d.wait();
    assert_eq!(d.read(&mut log), ["1", "2", "3"]);
}

#[test]
fn when_the_file_of_a_position_was_written_to_is_known_after_it_was_let_go() {
    let mut d = Dir::new();
    let written = |name: &str, seconds: u64| {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        OpenOptions::new().append(true).open(d.path(name)).expect("opened").set_modified(time).expect("dated");
        time
    };
    d.append("a.log", "1\n");
    let first = written("a.log", 1_000);
    let mut log = d.open(START);
    d.read(&mut log);
    let position = log.position();
    d.rename("a.log", "a.log.1");
    d.append("a.log", "2\n");
    let second = written("a.log", 2_000);
    log.look(d.now).expect("looked");
    assert_eq!(log.written(&position), first);
    d.wait();
    assert_eq!(d.read(&mut log), ["2"]);
    assert_eq!(log.generations(), 1, "the first was let go");
    assert_eq!(log.written(&position), first);
    assert_eq!(log.written(&log.position()), second);
}

#[test]
fn of_a_generation_that_was_let_go_it_is_known_where_it_ended() {
    let mut d = Dir::new();
    d.append("a.log", "1\n2\n");
    let mut log = d.open(START);
    d.read(&mut log);
    let end = log.position();
    d.rename("a.log", "a.log.1");
    d.append("a.log", "3\n");
    log.look(d.now).expect("looked");
    d.wait();
    assert_eq!(d.read(&mut log), ["3"]);
    assert_eq!(log.had(&end.file), Some((end, Mark(4))));
    let live = log.position().file;
    assert_eq!((log.had(&live), log.had(&FileId::default())), (None, None), "it is not let go, or not known");
}

#[test]
fn a_file_that_was_compressed_is_known_though_another_has_its_inode_now() {
    let d = Dir::new();
    d.append("a.log.1", "old 1\nold 2\n");
    let old = Generation::open(&d.path("a.log.1"), None).expect("opened").id();
    d.gzip("a.log.1");
    d.append("a.log", "new\n");
    let mut log = d.open(Resume::Since(SystemTime::UNIX_EPOCH));
    let live = fs::metadata(d.path("a.log")).expect("it is there");
    assert!(log.is_reading(&FileId { inode: live.ino(), ..old }));
}

#[test]
fn what_was_read_is_not_read_again_when_an_empty_file_after_it_was_compressed_too() {
    let mut d = Dir::new();
    d.append("a.log", "1\n");
    let mut log = d.open(START);
    d.rename("a.log", "a.log.20261122-100000");
    d.append("a.log", "");
    assert_eq!(log.look(d.now).expect("looked"), Look::Rotated(1));
    d.wait();
    assert_eq!(d.read(&mut log), ["1"]);
    // The kubelet gives a compressed file the time of the compression, so the file looks new.
    d.gzip("a.log.20261122-100000");
    d.rename("a.log", "a.log.20261122-100001");
    d.append("a.log.20261122-100002", "2\n");
    d.gzip("a.log.20261122-100001");
    d.append("a.log", "3\n");
    assert_eq!(log.look(d.now).expect("looked"), Look::Rotated(3));
    d.wait();
    assert_eq!(d.read(&mut log), ["2", "3"]);
}

#[test]
fn of_two_compressed_files_that_begin_alike_the_one_that_ends_there_is_it() {
    let mut d = Dir::new();
    d.append("a.log", "1\n");
    let mut log = d.open(START);
    assert_eq!(d.read(&mut log), ["1"]);
    // Two rotations between two looks, and the second file begins like the first.
    d.rename("a.log", "a.log.2");
    d.gzip("a.log.2");
    d.append("a.log.1", "1\n2\n3\n");
    d.gzip("a.log.1");
    d.append("a.log", "4\n");
    log.look(d.now).expect("looked");
    d.wait();
    assert_eq!(d.read(&mut log), ["1", "2", "3", "4"]);
}

#[test]
fn a_position_of_a_version_that_looked_at_longer_heads_is_one_of_an_unknown_file() {
    let d = Dir::new();
    d.append("a.log", &("x".repeat(5_000) + "\n"));
    let mut id = Generation::open(&d.path("a.log"), None).expect("opened").id();
    for len in [1025, 4096, u16::MAX] {
        id.fingerprint.len = len;
        let position = Position { file: id, offset: 3, ..Position::default() };
        let mut log = d.open(Resume::At { position, saved: SystemTime::UNIX_EPOCH });
        assert!(log.lost_position() && !log.is_reading(&id), "{len}");
        assert_eq!(d.read(&mut log).len(), 1, "{len}");
    }
}

#[test]
fn a_byte_order_mark_decides_the_encoding_and_is_no_part_of_the_line() {
    let wide = |text: &str, big: bool| -> Vec<u8> {
        let bytes = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
        text.encode_utf16().flat_map(bytes).collect()
    };
    let utf16 = Encoding::new("utf-16").expect("known");
    let text = "\u{feff}eins ü\nzwei\n";
    for (file, configured) in [
        (text.as_bytes().to_vec(), utf16),
        (wide(text, false), utf16),
        (wide(text, true), utf16),
        (wide(text, false), Encoding::Utf8),
        (wide(text, true), Encoding::new("latin1").expect("known")),
    ] {
        let mut d = Dir::new();
        let options = Options { encoding: configured, ..Options::default() };
        let lines = |d: &Dir, log: &mut Log| {
            let (mut chunk, mut lines) = (Chunk::default(), Vec::new());
            while let Read::Records { .. } = log.read(64, d.now, &mut chunk).expect("read") {
                let bytes = &chunk.bytes[..chunk.len];
                let text = chunk.encoding.decode(bytes);
                lines.extend(chunk.encoding.lines(bytes, &text).map(|(_, line)| line.to_string()));
            }
            lines
        };
        // It is there byte by byte.
        fs::write(d.path("a.log"), &file[..1]).expect("written");
        let mut log = Log::open(&d.path("a.log"), START, options).expect("opened");
        assert_eq!(lines(&d, &mut log), Vec::<String>::new());
        fs::write(d.path("a.log"), &file).expect("written");
        assert_eq!(lines(&d, &mut log), ["eins ü", "zwei"], "{configured:?}");
        // A later run begins in the middle, and a younger generation may be encoded in another way.
        let unit = if file[0] == 0xef { 1 } else { 2 };
        let after = Position { offset: (file.len() - "zwei\n".len() * unit) as u64, ..log.position() };
        let resume = Resume::At { position: after, saved: SystemTime::now() };
        let mut log = Log::open(&d.path("a.log"), resume, options).expect("opened");
        d.rename("a.log", "a.log.1");
        fs::write(d.path("a.log"), wide("\u{feff}drei\n", unit == 1)).expect("written");
        log.look(d.now).expect("looked");
        d.wait();
        assert_eq!(lines(&d, &mut log), ["zwei", "drei"], "{configured:?}");
    }
    // As in Promtail.
    let d = Dir::new();
    d.append("a.log", text);
    assert_eq!(d.read(&mut d.open(START)), ["\u{feff}eins ü", "zwei"]);
}

#[test]
fn what_is_compressed_is_never_read_as_text() {
    let heads: [(&str, &[u8]); 6] = [
        ("gzip", b"\x1f\x8b\x08\0\n"),
        ("zstd", b"\x28\xb5\x2f\xfd\n"),
        ("xz", b"\xfd7zXZ\0\n"),
        ("bzip2", b"BZh91AY&SY\n"),
        ("lz4", b"\x04\x22\x4d\x18\n"),
        ("zip", b"PK\x03\x04\n"),
    ];
    for (name, head) in heads {
        let mut d = Dir::new();
        fs::write(d.path("a.log"), head).expect("written");
        let refused = Log::open(&d.path("a.log"), START, Options::default()).map(|_| ()).expect_err(name);
        assert!(refused.to_string().contains(name), "{refused}");
        // It was empty when it was opened.
        fs::write(d.path("a.log"), "").expect("written");
        let mut log = d.open(START);
        fs::write(d.path("a.log"), head).expect("written");
        assert!(log.read(64, d.now, &mut Chunk::default()).is_err(), "{name}");
        // A younger file does not wait for it.
        d.rename("a.log", "a.log.1");
        d.append("a.log", "text\n");
        log.look(d.now).expect("looked");
        d.wait();
        assert_eq!(d.read(&mut log), ["text"], "{name}");
        assert_eq!(log.take_lost().damaged, head.len() as u64, "{name}");
    }
    let d = Dir::new();
    d.append("a.log", "BZh is no archive\nPK neither\n");
    assert_eq!(d.read(&mut d.open(START)).len(), 2);
}

#[test]
fn nul_bytes_in_front_of_a_line_are_no_part_of_it_however_many() {
    for nuls in [NULS_OF_A_LINE + 1, 5_000, 64 << 10, (3 << 20) + 1] {
        let d = Dir::new();
        d.append("a.log", "before\n");
        let mut log = d.open(START);
        assert_eq!(d.read(&mut log), ["before"]);
        // As a power cut leaves them, or a program that does not append after a truncation.
        let file = OpenOptions::new().write(true).open(d.path("a.log")).expect("opened");
        file.set_len(7 + nuls as u64).expect("extended");
        let mut lines = d.read(&mut log);
        d.append("a.log", "after\n\0kept\n");
        lines.extend(d.read(&mut log));
        assert_eq!(lines, ["after", "\0kept"], "{nuls}");
        assert_eq!((log.position().offset, log.holes), (7 + nuls as u64 + 12, nuls as u64));
        // Also from the start of the file, and after going back.
        assert_eq!(d.read(&mut d.open(START)), ["before", "after", "\0kept"]);
        assert_eq!(log.rewind(Mark(7)), 0);
        assert_eq!(d.read(&mut log), ["after", "\0kept"]);
    }
    // A few belong to the line, as in Promtail.
    let d = Dir::new();
    let line = "\0".repeat(NULS_OF_A_LINE) + "x";
    d.append("a.log", &format!("{line}\n"));
    assert_eq!(d.read(&mut d.open(START)), [line]);
}

/// The most NUL bytes that a line may begin with.
const NULS_OF_A_LINE: usize = 63;
