//! Rotations are known by what they are: by content, times and the numbers of their names, not by a list of names.

use super::*;

fn at(d: &Dir, name: &str) -> Resume {
    let mut log = Log::open(&d.path(name), START, Options::default()).expect("opened");
    d.read(&mut log);
    assert!(log.position().offset > 0);
    d.at(&log)
}

fn all(d: &mut Dir, name: &str, resume: Resume) -> Vec<String> {
    let mut log = Log::open(&d.path(name), resume, Options::default()).expect("opened");
    d.wait();
    let lines = d.read(&mut log);
    assert!(!log.lost_position());
    lines
}

/// Sets when a file was last modified, in seconds from now.
fn date(d: &Dir, name: &str, seconds: u64) {
    let file = OpenOptions::new().append(true).open(d.path(name)).expect("opened");
    file.set_modified(SystemTime::now() + Duration::from_secs(seconds)).expect("dated");
}

/// `app.log` was read up to its first line. Then it got another one and was rotated to these names, one after the other.
fn rotated(names: &[&str]) -> (Dir, Resume) {
    let d = Dir::new();
    d.append("app.log", "0\n");
    let resume = at(&d, "app.log");
    for (n, name) in names.iter().enumerate() {
        d.append("app.log", &format!("{}\n", n + 1));
        d.rename("app.log", name.strip_suffix(".gz").unwrap_or(name));
        if name.ends_with(".gz") {
            d.gzip(name.strip_suffix(".gz").expect("just seen"));
        }
        date(&d, name, n as u64);
    }
    d.append("app.log", "live\n");
    (d, resume)
}

#[test]
fn the_order_is_that_of_the_numbers_in_the_names_or_of_the_times() {
    for names in [
        // logback and log4j2: 9 is older than 10.
        &["app.log.2026-11-26.8", "app.log.2026-11-26.9", "app.log.2026-11-26.10", "app.log.2026-11-26.11"][..],
        &["app.log.30-11-2026", "app.log.01-12-2026", "app.log.02-12-2026"],
        &["app.log.11-30-2026", "app.log.12-01-2026"],
        // log4j2's default: the highest number is the youngest.
        &["app.log.1", "app.log.2", "app.log.3"],
        &["app.log.9.gz", "app.log.10.gz"],
        // Between name and extension, where only the content says which log it is: lumberjack, logback, logrotate.
        &["app-2026-11-26T10-00-00.000.log", "app-2026-11-26T10-00-01.000.log"],
        &["app-2026-11-26T10-00-00.000.log.gz", "app-2026-11-26T10-00-01.000.log.gz"],
        &["app.2026-11-26.9.log", "app.2026-11-26.10.log"],
        &["app_20261126.log", "app_20261127.log"],
        &["app.1.log"],
        &["app.1.log.gz"],
        &["app-20261126.log.gz"],
    ] {
        let (mut d, resume) = rotated(names);
        let mut want: Vec<String> = (1..=names.len()).map(|n| n.to_string()).collect();
        want.push("live".into());
        assert_eq!(all(&mut d, "app.log", resume), want, "{names:?}");
    }
}

#[test]
fn a_process_that_writes_late_to_an_older_generation_makes_it_no_younger() {
    let (mut d, resume) = rotated(&["app.log.2", "app.log.1"]);
    date(&d, "app.log.2", 100);
    assert_eq!(all(&mut d, "app.log", resume), ["1", "2", "live"]);
}

#[test]
fn what_is_named_like_a_generation_and_has_other_content_is_another_log() {
    let mut d = Dir::new();
    d.append("app.log", "0\n");
    let resume = at(&d, "app.log");
    d.append("app.log", "1\n");
    d.append("app-20261126.log", "of another log\n");
    d.append("app.7.log", "of another log\n");
    assert_eq!(all(&mut d, "app.log", resume), ["1"]);
    let mut log = Log::open(&d.path("app.log"), resume, Options::default()).expect("opened");
    d.rename("app.log", "app.log.1");
    d.append("app.log", "2\n");
    assert_eq!(log.look(d.now).expect("looked"), Look::Rotated(1));
    d.wait();
    assert_eq!(d.read(&mut log), ["1", "2"]);
    let since = Resume::Since(SystemTime::UNIX_EPOCH);
    assert_eq!(all(&mut d, "app.log", since), ["0", "1", "2"], "nobody knows what they are");
}

#[test]
fn what_is_a_log_of_its_own_is_no_generation_of_another() {
    for name in ["app-20261126.log", "app.log.1"] {
        let (mut d, resume) = rotated(&[name]);
        let folders = Arc::new(Folders::default());
        folders.add_log(7, d.path(name).canonicalize().expect("there").into());
        let path = d.path("app.log").into();
        let open = || {
            Log::open_among(&path, resume, Options::default(), &folders, &Arc::default(), Known::NOTHING)
                .expect("opened")
        };
        let mut log = open();
        assert!(!log.lost_position(), "what was not read of it is read there");
        assert_eq!(d.read(&mut log), ["live"], "{name}");
        folders.remove_log(7);
        let mut log = open();
        d.wait();
        assert_eq!(d.read(&mut log), ["1", "live"], "{name}");
    }
}

#[test]
fn a_link_that_was_moved_on_while_nobody_looked() {
    for (link, first, second, third) in [
        ("a.log", "a.log.20261126", "a.log.20261127", "a.log.20261128"),
        ("current.log", "app.9.log", "app.10.log", "app.11.log"),
    ] {
        let mut d = Dir::new();
        let lead = |to: &str| {
            let _ = fs::remove_file(d.path(link));
            std::os::unix::fs::symlink(to, d.path(link)).expect("linked");
        };
        d.append(first, "0\n");
        lead(first);
        let resume = at(&d, link);
        d.append(first, "1\n");
        d.append(second, "2\n");
        d.append(third, "3\n");
        lead(third);
        assert_eq!(all(&mut d, link, resume), ["1", "2", "3"]);
    }
}

#[test]
fn a_log_whose_file_was_renamed_and_has_no_successor_is_read_to_its_end() {
    let (mut d, resume) = rotated(&["app.log.2", "app.log.1"]);
    fs::remove_file(d.path("app.log")).expect("removed");
    let mut log = Log::open(&d.path("app.log"), resume, Options::default()).expect("opened");
    assert_eq!(d.read(&mut log), ["1", "2"]);
    assert_eq!(log.look(d.now).expect("looked"), Look::Gone);
    d.wait();
    assert_eq!(d.read(&mut log), ["finished"]);
    // Nothing of it is there, or nothing is known.
    for name in ["app.log.1", "app.log.2"] {
        fs::remove_file(d.path(name)).expect("removed");
    }
    let error = |resume| Log::open(&d.path("app.log"), resume, Options::default()).map(drop).expect_err("gone").kind();
    assert_eq!(error(resume), io::ErrorKind::NotFound);
    assert_eq!(error(Resume::Since(SystemTime::UNIX_EPOCH)), io::ErrorKind::NotFound);
    // It is made again while the rest is read.
    let (mut d, resume) = rotated(&["app.log.1"]);
    fs::remove_file(d.path("app.log")).expect("removed");
    let mut log = Log::open(&d.path("app.log"), resume, Options::default()).expect("opened");
    d.append("app.log", "made again\n");
    assert_eq!(log.look(d.now).expect("looked"), Look::Rotated(1));
    d.wait();
    assert_eq!(d.read(&mut log), ["1", "made again"]);
}
