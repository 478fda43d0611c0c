//! Spools in a folder of a test, opened again as after a kill.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use proptest::prelude::*;

use super::records::{decode, encode};
use super::*;
use crate::model::{LabelSet, Record, RecordList, Structured};

const SIZE: u64 = 16 << 20;

fn open_sized(folder: &Path, max_size: u64) -> Arc<Spool> {
    let spool = Spool::open(segments::prefix(&folder.join("positions.yaml"), "job"), max_size).expect("opened");
    Arc::new(spool)
}

fn open(folder: &Path) -> Arc<Spool> {
    open_sized(folder, SIZE)
}

/// A transaction with these lines, each in a parcel of its own.
fn transaction(id: Option<u128>, lines: &[&str]) -> Transaction {
    let parcel = |line: &&str| {
        (format!("{line}\n"), RecordList::from_iter([Record { end: line.len() + 1, ..Record::default() }]))
    };
    let parcels: Vec<(String, RecordList)> = lines.iter().map(parcel).collect();
    Transaction::new(id, parcels.iter().map(|(text, records)| (text.as_str(), records)))
}

fn append(spool: &Spool, id: Option<u128>, lines: &[&str]) {
    let transaction = transaction(id, lines);
    spool.reserve(transaction.size()).expect("room");
    spool.append(&[transaction]).expect("written");
}

fn reader(spool: &Arc<Spool>, client: usize, cursor: Option<&str>) -> Reader {
    Reader::open(spool.clone(), client, cursor, Waker::noop().clone())
}

/// The lines that are left, and the bytes that are damaged.
fn rest(reader: &mut Reader) -> (Vec<String>, u64) {
    let (mut lines, mut damaged) = (Vec::new(), 0);
    loop {
        match reader.read().expect("read") {
            Next::Records(_, records) => lines.extend(records.text.lines().map(String::from)),
            Next::Damaged(bytes) => damaged += bytes,
            Next::Nothing => return (lines, damaged),
        }
    }
}

fn all(spool: &Arc<Spool>) -> Vec<String> {
    spool.begin_run(1);
    rest(&mut reader(spool, 0, None)).0
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file").path()).collect();
    files.sort();
    files
}

fn record(text: &mut String, line: &str, set: u8, time: Option<i64>) -> Record {
    text.push_str(line);
    text.push('\n');
    let labels = (set > 0).then(|| LabelSet::new([("set", set.to_string()), ("a", "b".into())]));
    let pair = Structured { name: "n".into(), value: Cow::Owned(line.to_string()) };
    let metadata = (set > 2).then(|| vec![pair.clone(), pair].into());
    Record { end: text.len(), time, labels, metadata, tenant: (set % 2 == 1).then(|| format!("t{set}").into()) }
}

proptest! {
    #[test]
    fn what_is_written_is_read(lines in prop::collection::vec((".{0,20}", 0_u8..5, any::<Option<i64>>()), 0..20)) {
        let mut text = String::new();
        let records: RecordList =
            lines.iter().map(|(line, set, time)| record(&mut text, line, *set, *time)).collect();
        let mut bytes = Vec::new();
        encode(&text, &records, &mut bytes);
        prop_assert_eq!(decode(&bytes), Some(Records { text, records }));
    }

    /// Whatever a disk makes of it, it is read or refused.
    #[test]
    fn anything_can_be_decoded(mut bytes in prop::collection::vec(any::<u8>(), 0..200), changes in prop::collection::vec((0_usize..400, any::<u8>()), 0..4)) {
        let _ = decode(&bytes);
        let mut text = String::new();
        let records = [record(&mut text, "one", 3, Some(1)), record(&mut text, "two", 1, None)].into_iter().collect();
        bytes.clear();
        encode(&text, &records, &mut bytes);
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if let Some(read) = decode(&bytes) {
            prop_assert!(read.records.iter().all(|record| read.text.as_bytes()[record.end - 1] == b'\n'));
        }
    }
}

#[test]
fn the_metric_says_how_much_waits() {
    let dir = tempfile::tempdir().expect("a folder");
    let registry = Registry::new();
    let open = || {
        let config = Config { max_size: crate::model::units::ByteSize(SIZE) };
        Spools::measured(&registry).open("job", &config, &dir.path().join("positions.yaml")).expect("opened")
    };
    let bytes = || registry.gather()[0].get_metric()[0].get_gauge().get_value() as u64;
    let spool = open();
    assert_eq!(bytes(), 0);
    spool.begin_run(2);
    append(&spool, None, &["one", "two"]);
    let used = spool.used();
    assert!(used > 0);
    assert_eq!(bytes(), used);
    drop(spool);
    let spool = open();
    spool.begin_run(2);
    assert_eq!(bytes(), used, "after a restart");
    let mut readers = [reader(&spool, 0, None), reader(&spool, 1, None)];
    for (reader, want) in readers.iter_mut().zip([used, 0]) {
        rest(reader);
        reader.commit(reader.at());
        assert_eq!(bytes(), want, "until each client has committed all");
    }
}

/// A kill may leave any part of the last transaction: then nothing of it is there, and what comes next is.
#[test]
fn a_transaction_is_there_whole_or_not_at_all() {
    let dir = tempfile::tempdir().expect("a folder");
    let spool = open(dir.path());
    append(&spool, Some(1), &["one", "two"]);
    drop(spool);
    let file = files(dir.path()).pop().expect("a segment");
    let before = fs::read(&file).expect("read");
    append(&open(dir.path()), Some(2), &["three", "four", "five"]);
    let after = fs::read(&file).expect("read");
    for cut in before.len()..=after.len() {
        for junk in [&[][..], &[0; 7], &[0; 100], &[255; 100]] {
            fs::write(&file, [&after[..cut], junk].concat()).expect("written");
            let spool = open(dir.path());
            let is_whole = cut == after.len();
            assert_eq!(spool.torn() > 0, cut > before.len() && !is_whole || !junk.is_empty(), "{cut}");
            assert_eq!(spool.remembered(), if is_whole { vec![1, 2] } else { vec![1] }, "{cut}");
            append(&spool, None, &["next"]);
            let want: &[&str] =
                if is_whole { &["one", "two", "three", "four", "five", "next"] } else { &["one", "two", "next"] };
            assert_eq!(all(&spool), want, "{cut}");
            assert_eq!(all(&open(dir.path())), want, "{cut}");
        }
    }
}

#[test]
fn damage_takes_no_other_frame_with_it_and_is_counted() {
    let dir = tempfile::tempdir().expect("a folder");
    let spool = open(dir.path());
    for line in ["one", "two", "three"] {
        append(&spool, None, &[line]);
    }
    drop(spool);
    let file = files(dir.path()).pop().expect("a segment");
    let whole = fs::read(&file).expect("read");
    let begin = segments::HEADER as usize + transaction(None, &["one"]).size() as usize;
    let end = begin + transaction(None, &["two"]).size() as usize;
    for at in begin..end {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        fs::write(&file, &bytes).expect("written");
        let spool = open(dir.path());
        spool.begin_run(1);
        let (lines, damaged) = rest(&mut reader(&spool, 0, None));
        // Also if the damage is in the length of the frame.
        assert_eq!((lines, damaged), (vec!["one".to_string(), "three".into()], (end - begin) as u64), "{at}");
        assert_eq!(spool.torn(), 0, "{at}");
    }
}

/// A page of the disk, with many frames or a part of one, anywhere in a segment that is longer than what a search reads at once.
#[test]
fn what_follows_a_damaged_page_is_read() {
    let dir = tempfile::tempdir().expect("a folder");
    let spool = open(dir.path());
    let lines: Vec<String> = (0..60_u32).map(|n| format!("{n} {}", "x".repeat((n as usize * 397) % 20_000))).collect();
    for (n, line) in lines.iter().enumerate() {
        append(&spool, (n % 2 == 0).then_some(n as u128 + 1), &[line, "second"]);
    }
    drop(spool);
    let file = files(dir.path()).pop().expect("a segment");
    let whole = fs::read(&file).expect("read");
    assert!(whole.len() > 500_000);
    for (page, fill) in [(4_096, 0), (100_000, 0xff), (262_144, 1), (400_000, 0)] {
        let mut bytes = whole.clone();
        bytes[page..page + 4_096].fill(fill);
        fs::write(&file, &bytes).expect("written");
        let spool = open(dir.path());
        spool.begin_run(1);
        let (left, damaged) = rest(&mut reader(&spool, 0, None));
        let left: Vec<&String> = left.iter().filter(|line| *line != "second").collect();
        let (first, lost) = (lines.iter().zip(&left).take_while(|(a, b)| a == *b).count(), lines.len() - left.len());
        assert!(lost < 15 && spool.torn() == 0 && damaged >= 4_096 - 64, "{page}: {lost} lost, {damaged} bytes");
        assert!(
            left[first..].iter().copied().eq(&lines[first + lost..]),
            "{page}: the others are there, in their order"
        );
    }
}

#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Two clients: what the slower one has not committed stays, and no more than the limit is on the disk.
#[test]
fn the_size_is_bounded_and_commits_make_room() {
    let dir = tempfile::tempdir().expect("a folder");
    let spool = open(dir.path());
    spool.begin_run(2);
    let (mut fast, mut slow) = (reader(&spool, 0, None), reader(&spool, 1, None));
    let size = || files(dir.path()).iter().map(|file| fs::metadata(file).expect("there").len()).sum::<u64>();
    let line = "x".repeat(1 << 20);
    let bell = Arc::new(Bell::default());
    let (waker, waiter) = (Waker::from(bell.clone()), spool.waiter());
    let (mut written, mut read) = (0, 0);
    for _ in 0..5 {
        loop {
            let id = Some(written as u128);
            let transaction = transaction(id, &[&line]);
            match waiter.reserve(transaction.size(), &waker) {
                Ok(()) => spool.append(&[transaction]).expect("written"),
                Err(full) => break assert_eq!(full, Full::Now),
            }
            written += 1;
        }
        assert!(size() <= SIZE, "{}", size());
        rest(&mut fast);
        fast.commit(fast.at());
        assert_eq!(waiter.reserve(1 << 20, &waker), Err(Full::Now), "the other client has not committed");
        read += rest(&mut slow).0.len();
        assert_eq!(read, written);
        let before = bell.0.load(Ordering::Relaxed);
        slow.commit(slow.at());
        assert!(bell.0.load(Ordering::Relaxed) > before, "there is room now");
    }
    assert!(written > 60, "{written}");
    assert_eq!(spool.reserve(SIZE / 2 + 1), Err(Full::Ever));
    assert!(files(dir.path()).len() <= 2);
    // Deleted segments take no push out of memory.
    let before = spool.remembered();
    assert_eq!(before.len(), written);
    drop((fast, slow, waiter));
    drop(spool);
    assert_eq!(open(dir.path()).remembered(), before);
}

/// Senders come and go while the spool is full.
#[test]
fn who_does_not_wait_any_more_is_forgotten() {
    let dir = tempfile::tempdir().expect("a folder");
    let spool = open(dir.path());
    let half = SIZE / 2;
    (0..2).for_each(|_| spool.reserve(half).expect("room"));
    let (waits, left) = (Arc::new(Bell::default()), Arc::new(Bell::default()));
    let stays = spool.waiter();
    for _ in 0..100 {
        assert_eq!(stays.reserve(1, &Waker::from(waits.clone())), Err(Full::Now));
        assert_eq!(spool.waiter().reserve(1, &Waker::from(left.clone())), Err(Full::Now));
    }
    assert_eq!(spool.lock().waiting.len(), 1);
    spool.give_back(half);
    assert_eq!((waits.0.load(Ordering::Relaxed), left.0.load(Ordering::Relaxed)), (1, 0));
    assert_eq!(stays.reserve(half, &Waker::from(waits)), Ok(()));
}

#[test]
fn a_cursor_is_of_one_spool_and_survives_the_segment_that_it_names() {
    let dir = tempfile::tempdir().expect("a folder");
    let spool = open(dir.path());
    spool.begin_run(1);
    append(&spool, None, &["one", "two"]);
    let mut first = reader(&spool, 0, None);
    assert!(matches!(first.read(), Ok(Next::Records(..))));
    let cursor = first.commit(first.at());
    drop((first, spool));
    let spool = open(dir.path());
    spool.begin_run(1);
    let mut second = reader(&spool, 0, Some(&cursor));
    assert_eq!(rest(&mut second).0, ["two"]);
    let done = second.commit(second.at());
    let line = "x".repeat(2 << 20);
    append(&spool, None, &[&line]);
    assert_eq!(rest(&mut second).0, [line.as_str()]);
    second.commit(second.at());
    append(&spool, None, &["three"]);
    assert_eq!(files(dir.path()).len(), 1, "a new segment replaced the first");
    assert_eq!(rest(&mut reader(&spool, 0, Some(&done))).0, ["three"]);
    // Somebody deletes the files.
    drop(spool);
    files(dir.path()).iter().for_each(|file| fs::remove_file(file).expect("removed"));
    let spool = open(dir.path());
    append(&spool, None, &["four", "five"]);
    spool.begin_run(1);
    for cursor in [&*cursor, &*done, "", "x", "1:1:1"] {
        assert_eq!(rest(&mut reader(&spool, 0, Some(cursor))).0, ["four", "five"], "{cursor}");
    }
}

/// The disk loses the frame that a client has half delivered. What is written to its place later is another frame.
#[test]
fn the_rest_of_a_lost_frame_is_of_no_other() {
    let dir = tempfile::tempdir().expect("a folder");
    let spool = open(dir.path());
    append(&spool, None, &["one"]);
    let file = files(dir.path()).pop().expect("a segment");
    let length = || fs::metadata(&file).expect("there").len();
    let kept = length();
    append(&spool, None, &["two"]);
    let third = length();
    append(&spool, None, &["three"]);
    let (seed, whole) = (spool.seed(), fs::read(&file).expect("read"));
    drop(spool);
    // The cursor is in the first lost frame, or in one behind it.
    for (frame, lost_from) in [(kept, kept), (third, kept), (third, third), (third, kept + 5)] {
        fs::write(&file, &whole[..lost_from as usize]).expect("written");
        let spool = open(dir.path());
        spool.begin_run(1);
        let mut reader = reader(&spool, 0, Some(&format!("{seed:016x}:{}", Location { segment: 1, frame, skip: 3 })));
        assert_eq!(reader.at().skip, 0, "{frame} {lost_from}");
        append(&spool, None, &["next"]);
        let Ok(Next::Records(place, records)) = reader.read() else { panic!("records") };
        assert_eq!((place.skip, records.text.as_str()), (0, "next\n"), "{frame} {lost_from}");
    }
}

#[test]
fn a_segment_that_could_not_be_made_is_made_again() {
    let dir = tempfile::tempdir().expect("a folder");
    append(&open(dir.path()), Some(7), &["one"]);
    let file = files(dir.path()).pop().expect("a segment");
    for junk in [&b""[..], b"fansp", &[0; 32]] {
        fs::write(file.with_extension("2"), junk).expect("written");
        let spool = open(dir.path());
        append(&spool, None, &["more"]);
        assert_eq!(spool.remembered(), [7]);
    }
    assert_eq!(all(&open(dir.path())), ["one", "more", "more", "more"]);
}

/// Others may be able to write to the folder.
#[test]
fn what_is_planted_is_not_followed_and_does_not_block() {
    let dir = tempfile::tempdir().expect("a folder");
    let spool = |file: &Path| segments::Segments::open(file.with_extension("")).map(drop).map_err(|e| e.to_string());
    append(&open(dir.path()), None, &["one"]);
    let file = files(dir.path()).pop().expect("a segment");
    let kept = dir.path().join("kept");
    fs::rename(&file, &kept).expect("renamed");
    std::os::unix::fs::symlink(&kept, &file).expect("linked");
    assert!(spool(&file).is_err_and(|error| error.contains(&*file.to_string_lossy())));
    fs::remove_file(&file).expect("removed");
    let made = std::process::Command::new("mkfifo").arg(&file).status();
    assert!(made.expect("mkfifo, of coreutils").success());
    assert!(spool(&file).is_err_and(|error| error.contains("not a file")));
}

#[test]
fn jobs_have_files_of_their_own() {
    let at = |job: &str| segments::prefix(Path::new("/p/positions.yaml"), job);
    assert_eq!(at("a-b_1"), Path::new("/p/positions.yaml.spool.a-b_1"));
    let odd = ["a/b", "a.b", "", "../x", "ä", &"x".repeat(300)].map(at);
    for (i, one) in odd.iter().enumerate() {
        assert!(
            one.parent() == Some(Path::new("/p")) && one.file_name().is_some_and(|name| name.len() < 100),
            "{one:?}"
        );
        assert!(!odd[..i].contains(one));
    }
}
