//! Limits on the number of files and on their decompressed size.

use super::*;

#[test]
fn of_too_many_older_files_the_oldest_are_given_up() {
    let mut d = Dir::new();
    for n in 0..GENERATIONS + 10 {
        d.append("a.log", &format!("{n:03}\n"));
        d.rename("a.log", &format!("a.log.20261122-{n:06}"));
    }
    d.append("a.log", "live\n");
    let mut log = d.open(Resume::Since(SystemTime::UNIX_EPOCH));
    assert_eq!((log.generations(), log.take_lost().unopened, log.take_lost()), (GENERATIONS + 1, 40, Lost::default()));
    assert_eq!(log.shed_files(GENERATIONS), 4);
    assert_eq!(log.shed_files(3), 4 * (GENERATIONS as u64 - 3));
    let last = GENERATIONS + 8;
    d.wait();
    assert_eq!(d.read(&mut log), [format!("{last:03}"), format!("{:03}", last + 1), "live".into()], "the newest come");
}

#[test]
fn what_is_given_up_is_not_inflated_to_be_counted() {
    let mut d = Dir::new();
    d.append("a.log", "live\n");
    let mut log = d.open(START);
    // A gigabyte of zeros, compressed to a megabyte.
    let member = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        (0..64).for_each(|_| encoder.write_all(&vec![0; 1 << 20]).expect("written"));
        encoder.finish().expect("written")
    };
    fs::write(d.path("a.log.1.gz"), member.repeat(16)).expect("written");
    d.rename("a.log", "a.log.2");
    d.append("a.log", "young\n");
    assert!(matches!(log.look(d.now), Ok(Look::Rotated(2))));
    for name in ["a.log", "a.log.2"] {
        fs::remove_file(d.path(name)).expect("removed");
    }
    let packed = fs::metadata(d.path("a.log.1.gz")).expect("there").len();
    fs::remove_file(d.path("a.log.1.gz")).expect("removed");
    assert_eq!(log.shed(6), 5 + packed, "as much as it took of the disk");
    d.now += Duration::from_secs(1);
    assert_eq!(log.generations(), 1);
}

#[test]
fn a_thousand_logs_of_one_folder_list_it_once() {
    let d = Dir::new();
    (0..1_000).for_each(|n| d.append(&format!("{n}.log"), "x\n"));
    let then = SystemTime::now() - Duration::from_secs(60);
    fs::File::open(d.dir.path()).and_then(|dir| dir.set_modified(then)).expect("aged");
    let folders = Arc::new(Folders::default());
    for n in 0..1_000 {
        let path = d.path(&format!("{n}.log"));
        let resume = Resume::Since(SystemTime::now());
        Log::open_among(&path.into(), resume, Options::default(), &folders, &Arc::default(), Known::NOTHING)
            .expect("opened");
    }
    assert_eq!(folders.listed(), 1);
    d.rename("7.log", "7.log.1");
    d.append("7.log", "y\n");
    let log = Log::open_among(
        &d.path("7.log").into(),
        Resume::Since(SystemTime::UNIX_EPOCH),
        Options::default(),
        &folders,
        &Arc::default(),
        Known::NOTHING,
    );
    assert_eq!(log.expect("opened").generations(), 2, "a rotation is seen at once");
}

#[test]
fn who_reads_others_gets_a_turn_on_the_way_to_where_a_compressed_log_goes_on() {
    let d = Dir::new();
    let far = 32 << 20;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&b"0123456\n".repeat(far / 8)).expect("to memory");
    encoder.write_all(b"the next\n").expect("to memory");
    fs::write(d.path("b.gz"), encoder.finish().expect("to memory")).expect("written");
    let options = Options { compression: Some(Compression::Gzip), ..Options::default() };
    let log = Log::open(&d.path("b.gz"), START, options).expect("opened");
    let position = Position { offset: far as u64, ..log.position() };
    let again = Resume::At { position, saved: SystemTime::now() };
    let mut log = Log::open(&d.path("b.gz"), again, options).expect("opened");
    let (mut chunk, mut turns) = (Chunk::default(), 0);
    loop {
        match log.read(4096, d.now, &mut chunk).expect("read") {
            Read::Passed => turns += 1,
            Read::Records { .. } => break,
            other => panic!("{other:?}"),
        }
        // A look at the directory between two reads does the same.
        assert!(log.is_reading(&position.file));
    }
    assert_eq!((&chunk.bytes[..chunk.len], turns), (&b"the next\n"[..], 7), "4 MiB a turn");
}
