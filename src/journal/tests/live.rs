//! A file that the real systemd-journal-remote writes while it is read, judged by journalctl.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use super::*;

const REMOTE: &str = "/lib/systemd/systemd-journal-remote";

/// Writes entries into a journal file. None: the tool is not here.
fn writer(path: &Path) -> Option<Child> {
    if !Path::new(REMOTE).exists() || Command::new("journalctl").arg("--version").output().is_err() {
        eprintln!("not tested: {REMOTE} or journalctl is missing (Debian's package systemd-journal-remote)");
        return None;
    }
    let mut remote = Command::new(REMOTE);
    remote.arg("--output").arg(path).arg("-").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    Some(remote.spawn().expect("it starts"))
}

fn entry(n: u64) -> String {
    format!(
        "__REALTIME_TIMESTAMP={}\n__MONOTONIC_TIMESTAMP={}\n_BOOT_ID=0a1b2c3d4e5f60718293a4b5c6d7e8f9\n_PID={}\n\
         MESSAGE=entry {n} {}\n\n",
        1_700_000_000_000_000 + n * 1000,
        5_000_000 + n * 1000,
        n % 13,
        "text ".repeat((n % 200) as usize)
    )
}

/// Writes two files, the second one when the first one is renamed as at a rotation, and reads them all the while.
#[test]
fn entries_are_read_while_they_are_written_and_rotated() {
    let folder = tempfile::tempdir().expect("a folder");
    let live = folder.path().join("system.journal");
    let rotated =
        folder.path().join("system@0a1b2c3d4e5f60718293a4b5c6d7e8f9-0000000000000001-00060a24181e4000.journal");
    let mut journal = journal(&folder, From::Since(0));
    let (mut entry_read, mut read) = (Entry::default(), Vec::new());
    let mut read_on = |journal: &mut Journal, read: &mut Vec<Read1>| {
        journal.refresh().expect("a folder");
        while let Some(place) = journal.next(&mut entry_read, |_| true) {
            journal.release(place);
            read.push(seen(&entry_read));
        }
        read.len()
    };
    let mut written = 0;
    for round in 0..2 {
        let Some(mut child) = writer(&live) else { return };
        let mut input = child.stdin.take().expect("a pipe");
        for _ in 0..40 {
            let entries: String = (written..written + 50).map(entry).collect();
            written += 50;
            input.write_all(entries.as_bytes()).expect("it reads");
            read_on(&mut journal, &mut read);
        }
        drop(input);
        assert!(child.wait().expect("it ends").success());
        if round == 0 {
            fs::rename(&live, &rotated).expect("renamed");
        }
    }
    let mut before = 0;
    // Two looks that find nothing more: everything is read.
    while read_on(&mut journal, &mut read) > before || journal.has_unsettled() {
        before = read.len();
    }
    let mut want = Vec::new();
    for path in [&rotated, &live] {
        let judge = Command::new("journalctl").arg("--file").arg(path).args(["-o", "export", "--all"]).output();
        want.extend(exported(&judge.expect("journalctl").stdout));
    }
    assert_eq!(want.len(), 4_000);
    assert!(read == want, "{} entries were read, and journalctl shows {}", read.len(), want.len());
    assert_eq!(journal.take_skips(), Skips::default());
}
