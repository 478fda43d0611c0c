//! Compressed files that are still being written, are cut off or damaged, in a job of compressed files and as rotated
//! files.

use super::*;

/// What the kubelet, logrotate and others leave: gzip bytes of these lines.
fn gzipped(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()).expect("to memory")
}

fn lines(from: u32, to: u32) -> Vec<String> {
    (from..to).map(|n| format!("line {n} of a log whose lines are of some length")).collect()
}

fn text(from: u32, to: u32) -> String {
    lines(from, to).iter().map(|line| format!("{line}\n")).collect()
}

fn write(d: &Dir, name: &str, bytes: &[u8]) {
    let mut file = OpenOptions::new().create(true).append(true).open(d.path(name)).expect("opened");
    file.write_all(bytes).expect("written");
}

#[test]
fn a_job_of_compressed_files_cuts_no_line_of_one_that_is_still_being_written() {
    let mut d = Dir::new();
    let bytes = gzipped(&(text(0, 300) + "the last line without newline"));
    let options = Options { compression: Some(Compression::Gzip), ..Options::default() };
    write(&d, "a.gz", &[]);
    let mut log = Log::open(&d.path("a.gz"), START, options).expect("opened");
    let mut all = Vec::new();
    for piece in bytes.chunks(1_001) {
        all.extend(d.read(&mut log));
        // The upload may pause for long.
        d.wait();
        all.extend(d.read(&mut log));
        write(&d, "a.gz", piece);
    }
    all.extend(d.read(&mut log));
    assert_eq!(all.len(), 301);
    assert_eq!(all[..300], lines(0, 300));
    assert_eq!(all[300], "the last line without newline");
    let resume = d.at(&log);
    let mut log = Log::open(&d.path("a.gz"), resume, options).expect("opened");
    assert_eq!(d.read(&mut log), [""; 0], "it was read already");
}

#[test]
fn a_compressed_file_that_is_written_anew_in_its_place_is_read_anew() {
    let d = Dir::new();
    let options = Options { compression: Some(Compression::Gzip), ..Options::default() };
    fs::write(d.path("a.gz"), gzipped(&text(0, 300))).expect("written");
    let mut log = Log::open(&d.path("a.gz"), START, options).expect("opened");
    assert_eq!(d.read(&mut log), lines(0, 300));
    fs::write(d.path("a.gz"), gzipped(&text(300, 310))).expect("written");
    assert_eq!(d.read(&mut log), lines(300, 310));
}

/// The file was renamed and compressed while the agent was down, and is not whole when the agent starts.
#[test]
fn after_a_restart_a_generation_is_read_while_it_is_being_compressed() {
    let bytes = gzipped(&text(0, 300));
    for (what, written) in [("the position is there", 3 * bytes.len() / 4), ("it is not yet", bytes.len() / 4)] {
        let mut d = Dir::new();
        d.append("a.log", &text(0, 100));
        let mut log = d.open(START);
        assert_eq!(d.read(&mut log).len(), 100);
        let resume = d.at(&log);
        drop(log);
        d.append("a.log", &text(100, 300));
        fs::remove_file(d.path("a.log")).expect("compressed");
        write(&d, "a.log.1.gz", &bytes[..written]);
        d.append("a.log", "young\n");
        let mut log = d.open(resume);
        let mut all = d.read(&mut log);
        d.now += Duration::from_secs(30);
        all.extend(d.read(&mut log));
        assert!(!log.lost_position(), "{what}");
        assert!(all.iter().all(|line| line != "young"), "{what}: its end is still to come");
        write(&d, "a.log.1.gz", &bytes[written..bytes.len() - 9]);
        all.extend(d.read(&mut log));
        d.now += Duration::from_secs(50);
        all.extend(d.read(&mut log));
        write(&d, "a.log.1.gz", &bytes[bytes.len() - 9..]);
        all.extend(d.read(&mut log));
        let mut want = lines(100, 300);
        want.push("young".into());
        assert_eq!(all, want, "{what}");
    }
}

#[test]
fn a_generation_whose_head_is_not_written_yet_is_waited_for() {
    let bytes = gzipped(&text(0, 300));
    let d = Dir::new();
    d.append("a.log", &text(0, 100));
    let mut log = d.open(START);
    assert_eq!(d.read(&mut log).len(), 100);
    let resume = d.at(&log);
    drop(log);
    fs::remove_file(d.path("a.log")).expect("compressed");
    for part in [0, 10, 100] {
        fs::write(d.path("a.log.1.gz"), &bytes[..part]).expect("written");
        d.append("a.log", "young\n");
        let error = Log::open(&d.path("a.log"), resume, Options::default()).map(|_| ()).expect_err("it waits");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
    }
    // Nobody has written to it for long: it will never be whole.
    let old = SystemTime::now() - Duration::from_secs(61);
    let file = OpenOptions::new().append(true).open(d.path("a.log.1.gz")).expect("opened");
    file.set_modified(old).expect("set");
    assert!(d.open(resume).lost_position());
    fs::write(d.path("a.log.1.gz"), &bytes).expect("written");
    let mut log = d.open(resume);
    assert_eq!(d.read(&mut log)[..200], lines(100, 300));
}

#[test]
fn a_generation_that_stays_cut_off_is_left_after_a_minute_and_a_damaged_one_at_once() {
    let bytes = gzipped(&text(0, 3_000));
    for is_damaged in [false, true] {
        let mut d = Dir::new();
        let mut bytes = bytes.clone();
        match is_damaged {
            // The length of a stored block, and its complement.
            true => bytes[70_000..].iter_mut().for_each(|byte| *byte = 0xff),
            false => bytes.truncate(70_000),
        }
        fs::write(d.path("a.log.1.gz"), &bytes).expect("written");
        d.append("a.log", "young\n");
        let mut log = d.open(Resume::Since(SystemTime::UNIX_EPOCH));
        let mut all = d.read(&mut log);
        let before = all.iter().any(|line| line == "young");
        assert_eq!(before, is_damaged);
        if !is_damaged {
            d.now += Duration::from_secs(59);
            all.extend(d.read(&mut log));
            assert!(all.len() > 1_000 && all.iter().all(|line| line != "young"), "it may still grow");
            d.wait();
            all.extend(d.read(&mut log));
        }
        assert_eq!(all.last().map(String::as_str), Some("young"));
        assert_eq!(log.take_lost().damaged > 0, is_damaged);
        assert_eq!(log.generations(), 1);
    }
}

/// Programs that compress with an ending of their own, or with none.
#[test]
fn a_rotated_file_is_decompressed_as_its_first_bytes_say() {
    let packed: [(&str, Vec<u8>); 4] = [
        ("a.log.1.xz", {
            let options = lzma_rust2::XzOptions::with_preset(1);
            let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).expect("options");
            encoder.write_all(text(0, 300).as_bytes()).and_then(|()| encoder.finish()).expect("to memory")
        }),
        ("a.log-20261126.zst", {
            let text = text(0, 300);
            ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest)
        }),
        ("a.log.2026-11-26.bz2", {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(text(0, 300).as_bytes()).and_then(|()| encoder.finish()).expect("to memory")
        }),
        ("a.log.1", gzipped(&text(0, 300))),
    ];
    for (name, bytes) in packed {
        let mut d = Dir::new();
        d.append("a.log", &text(0, 100));
        let mut log = d.open(START);
        assert_eq!(d.read(&mut log).len(), 100);
        let resume = d.at(&log);
        drop(log);
        fs::remove_file(d.path("a.log")).expect("compressed");
        fs::write(d.path(name), bytes).expect("written");
        d.append("a.log", "young\n");
        let mut log = d.open(resume);
        d.wait();
        let mut want = lines(100, 300);
        want.push("young".into());
        assert_eq!(d.read(&mut log), want, "{name}");
    }
}
