//! What programs and tools do with a log while no agent runs. Each line comes once, in order, and files of others are not
//! read.

use super::*;
use crate::model::Clock;

/// A program that rotates its log: it writes `lines` under its live name, and then moves the file away. It is called several
/// times.
struct Program {
    name: &'static str,
    live: &'static str,
    rotate: fn(&Dir, usize),
    /// Other files beside it.
    others: &'static [&'static str],
}

fn lines(of: usize) -> Vec<String> {
    (0..40).map(|n| format!("generation {of} line {n} of a log that is long enough to be known")).collect()
}

fn text(of: usize) -> String {
    lines(of).iter().map(|line| format!("{line}\n")).collect()
}

fn zstd(d: &Dir, name: &str) {
    let text = fs::read(d.path(name)).expect("read");
    let packed = ruzstd::encoding::compress_to_vec(&text[..], ruzstd::encoding::CompressionLevel::Fastest);
    fs::write(d.path(&format!("{name}.zst")), packed).expect("written");
    fs::remove_file(d.path(name)).expect("removed");
}

/// `.1` becomes `.2` and so on, also with an ending.
fn shift(d: &Dir, name: impl Fn(usize) -> String, ending: &str) {
    for number in (1..9).rev() {
        for ending in ["", ending] {
            let from = name(number) + ending;
            if d.path(&from).exists() {
                d.rename(&from, &(name(number + 1) + ending));
            }
        }
    }
}

const PROGRAMS: &[Program] = &[
    Program {
        name: "logrotate: olddir, compress",
        live: "a.log",
        rotate: |d, _| {
            fs::create_dir_all(d.path("old")).expect("made");
            shift(d, |n| format!("old/a.log.{n}"), ".gz");
            d.rename("a.log", "old/a.log.1");
            d.gzip("old/a.log.1");
        },
        others: &["old/b.log.1", "old/a.log.bak", "old/a-error.log.1"],
    },
    Program {
        name: "logrotate: compresscmd zstd, delaycompress, dateext, dateformat -%Y%m%d-%s",
        live: "a.log",
        rotate: |d, n| {
            let name = |n: usize| format!("a.log-20261126-{}", 1_764_150_000 + n);
            d.rename("a.log", &name(n));
            if n > 0 {
                zstd(d, &name(n - 1));
            }
        },
        others: &["a.log-error", "a.log.swp"],
    },
    Program {
        name: "logrotate: extension .log, compress",
        live: "a.log",
        rotate: |d, _| {
            shift(d, |n| format!("a.{n}.log"), ".gz");
            d.rename("a.log", "a.1.log");
            d.gzip("a.1.log");
        },
        others: &["a.error.log"],
    },
    Program {
        name: "svlogd",
        live: "current",
        rotate: |d, n| d.rename("current", &format!("@400000006927b1f{n:x}0a1b2c3d.s")),
        others: &["lock", "config"],
    },
    Program {
        name: "multilog with a processor that compresses",
        live: "current",
        rotate: |d, n| {
            let name = format!("@400000006927b1f{n:x}0a1b2c3d");
            d.rename("current", &name);
            d.gzip(&name);
            d.rename(&format!("{name}.gz"), &format!("{name}.s"));
        },
        others: &["state"],
    },
    Program {
        name: "java.util.logging",
        live: "a.log.0",
        rotate: |d, _| {
            shift(d, |n| format!("a.log.{n}"), "");
            d.rename("a.log.0", "a.log.1");
        },
        others: &["a.log.0.lck"],
    },
    Program {
        name: "java.util.logging, the number within the name",
        live: "a.0.log",
        rotate: |d, _| {
            shift(d, |n| format!("a.{n}.log"), "");
            d.rename("a.0.log", "a.1.log");
        },
        others: &["a.log", "ab.1.log"],
    },
    Program {
        name: "Python's TimedRotatingFileHandler",
        live: "a.log",
        rotate: |d, n| d.rename("a.log", &format!("a.log.2026-11-26_1{n}-00-00")),
        others: &[],
    },
    Program {
        name: "logback: date and index, zipped by gz, into archived/",
        live: "a.log",
        rotate: |d, n| {
            fs::create_dir_all(d.path("archived")).expect("made");
            let name = format!("archived/a.2026-11-26.{}.log", 8 + n);
            d.rename("a.log", &name);
            d.gzip(&name);
        },
        others: &["archived/b.2026-11-26.9.log"],
    },
    Program {
        name: "lumberjack with compress",
        live: "a.log",
        rotate: |d, n| {
            let name = format!("a-2026-11-26T10-00-0{n}.123.log");
            d.rename("a.log", &name);
            d.gzip(&name);
        },
        others: &["a-http-2026-11-26T10-00-00.123.log"],
    },
    Program {
        name: "Docker: json-file with max-file and compress",
        live: "a-json.log",
        rotate: |d, _| {
            shift(d, |n| format!("a-json.log.{n}"), ".gz");
            d.rename("a-json.log", "a-json.log.1");
            d.gzip("a-json.log.1");
        },
        others: &["a-json.log.1.gz.tmp"],
    },
    Program {
        name: "the kubelet",
        live: "a.log",
        rotate: |d, n| {
            let name = |n: usize| format!("a.log.20261126-17563{n}");
            if n > 0 {
                d.gzip(&name(n - 1));
            }
            d.rename("a.log", &name(n));
        },
        others: &["a.log.20261126-175630.tmp"],
    },
];

fn open(d: &Dir, live: &str, resume: Resume) -> Log {
    let folders =
        Arc::new(Folders::new(vec!["old".into(), "archived".into()], Clock::default(), SystemTime::UNIX_EPOCH));
    let path: Arc<Path> = d.path(live).into();
    Log::open_among(&path, resume, Options::default(), &folders, &Arc::default(), Known::NOTHING).expect("opened")
}

#[test]
fn what_was_rotated_while_no_agent_ran_is_read_in_order() {
    for Program { name, live, rotate, others } in PROGRAMS {
        for rotations in 1..=4 {
            let mut d = Dir::new();
            d.append(live, &text(0));
            let mut log = open(&d, live, START);
            assert_eq!(d.read(&mut log), lines(0), "{name}");
            let resume = d.at(&log);
            drop(log);
            d.append(live, &text(1));
            let mut want = lines(1);
            for rotation in 0..rotations {
                rotate(&d, rotation);
                d.append(live, &text(2 + rotation));
                want.extend(lines(2 + rotation));
            }
            for other in *others {
                // Not even one that begins in the same way.
                d.append(other, &format!("{}another program's\n", text(0)));
            }
            let mut log = open(&d, live, resume);
            d.wait();
            assert_eq!(d.read(&mut log), want, "{name}, {rotations} times");
            assert!(!log.lost_position() && log.take_lost() == Lost::default(), "{name}, {rotations} times");
        }
    }
}

/// Programs that keep one older file, and people.
#[test]
fn one_older_file_is_found_under_any_name_by_its_inode_or_its_content() {
    let packed = |d: &Dir, name: &str| {
        d.rename("a.log", "packed");
        d.gzip("packed");
        d.rename("packed.gz", name);
    };
    let renamed =
        ["a.log.old", "a.old", "old-a.log", "yesterday", "a.log.2026-11-26.done", "old/whatever", "Copy of a.log"];
    for name in renamed.iter().map(|name| (*name, false)).chain([
        ("a.log.old.gz", true),
        ("a-prev.log", true),
        ("old/a.log.old", true),
    ]) {
        let mut d = Dir::new();
        fs::create_dir_all(d.path("old")).expect("made");
        d.append("a.log", &text(0));
        let mut log = open(&d, "a.log", START);
        assert_eq!(d.read(&mut log), lines(0));
        let resume = d.at(&log);
        drop(log);
        d.append("a.log", &text(1));
        match name {
            (name, true) => packed(&d, name),
            (name, false) => d.rename("a.log", name),
        }
        d.append("a.log", &text(2));
        // It begins alike, and has gone on in its own way.
        d.append("a.log.bak", &(text(0).replace("line 39", "line 93") + "another program's\n"));
        d.append("a-old.log", "short\n");
        let mut log = open(&d, "a.log", resume);
        d.wait();
        assert_eq!(d.read(&mut log), [lines(1), lines(2)].concat(), "{name:?}");
        assert!(!log.lost_position(), "{name:?}");
    }
}

#[test]
fn a_short_file_with_any_other_name_is_no_generation_and_links_are_not_followed() {
    let d = Dir::new();
    let elsewhere = tempfile::tempdir().expect("a directory");
    d.append("a.log", "ok\n");
    let mut log = open(&d, "a.log", START);
    assert_eq!(d.read(&mut log), ["ok"]);
    let resume = d.at(&log);
    drop(log);
    fs::remove_file(d.path("a.log")).expect("removed");
    d.append("a.log", "new\n");
    d.append("a.log.old", "ok\nof another program\n");
    fs::write(elsewhere.path().join("a.log.1"), "ok\na secret\n").expect("written");
    std::os::unix::fs::symlink(elsewhere.path(), d.path("old")).expect("linked");
    let mut log = open(&d, "a.log", resume);
    assert_eq!(d.read(&mut log), ["new"]);
    assert!(log.lost_position());
}
