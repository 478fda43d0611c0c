//! Files that an attacker puts into a log directory to get them read, or to stop other logs.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::rig::{Loki, Rig, SOON, line, wait_until};
use crate::saying::page;

/// Devices, pipes, kernel files and links to themselves: none is sent, and none delays other logs.
#[test]
fn what_is_no_log_is_not_read() {
    let (loki, mut rig) = (Loki::answering(204), Rig::new());
    rig.write("logs/app.log", "one\n");
    let fifo = rig.path("logs/fifo.log");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
    for (name, to) in [
        ("zero.log", "/dev/zero"),
        ("tty.log", "/dev/tty"),
        ("stdin.log", "/dev/stdin"),
        ("environ.log", "/proc/self/environ"),
        ("cmdline.log", "/proc/1/cmdline"),
        ("fd.log", "/proc/self/fd/2"),
        ("root.log", "/proc/self/root/etc/passwd"),
        ("passwd.log", "/etc/passwd"),
        ("loop.log", "loop.log"),
        ("app.log.1", "/etc/passwd"),
        ("app.log.20261126-100000", "/proc/self/environ"),
    ] {
        symlink(to, rig.path(&format!("logs/{name}"))).expect("linked");
    }
    // Zeros without a newline.
    fs::File::create(rig.path("logs/sparse.log")).and_then(|file| file.set_len(1 << 40)).expect("sparse");
    let config = rig.config(&loki.url, "");
    rig.start(&config);
    let mut expected = vec![line(&rig, "logs/app.log", "one")];
    // Each new name makes the agent check all names again.
    for n in 0..4 {
        let name = format!("logs/new-{n}.log");
        rig.write(&name, "two\n");
        expected.push(line(&rig, &name, "two"));
        wait_until("logs beside them are read", SOON, || expected.iter().all(|line| loki.stored().contains(line)));
    }
    fs::rename(rig.path("logs/app.log"), rig.path("logs/app.log.2")).expect("renamed");
    rig.write("logs/app.log", "three\n");
    expected.push(line(&rig, "logs/app.log", "three"));
    wait_until("it goes on behind a rotation", SOON, || expected.iter().all(|line| loki.stored().contains(line)));
    let mut stored = loki.stored();
    stored.sort();
    expected.sort();
    assert_eq!(stored, expected);
}

/// Few files may be open, and most of them only after the agent has raised the limit. Loki is down or up, and one log
/// has rotated more often than the agent may have files open.
#[test]
fn a_new_log_is_read_however_often_another_rotates() {
    for status in [500, 204] {
        let (loki, mut rig) = (Loki::answering(status), Rig::new());
        rig.write("logs/evil.log", "0\n");
        rig.write("logs/good.log", "old\n");
        let config = rig.config(&loki.url, "");
        let config = config.display();
        let script = format!("ulimit -n 640 && ulimit -S -n 128 && exec \"$0\" -config.file={config}");
        rig.start_as(Command::new("sh").args(["-c", &script, env!("CARGO_BIN_EXE_fantail")]));
        wait_until("it pushes", SOON, || loki.requests() > 0);
        let read = |rig: &Rig, name: &str| {
            let page = page(rig, "/targets");
            let targets = page["targets"].as_array().cloned().unwrap_or_default();
            let mut files = targets.iter().flat_map(|target| target["files"].as_array().cloned().unwrap_or_default());
            let path = rig.path(name);
            let file = files.find(|file| file["path"].as_str() == path.to_str());
            file.and_then(|file| file["read_offset"].as_u64()).unwrap_or(0)
        };
        for n in 1..=300 {
            fs::rename(rig.path("logs/evil.log"), rig.path(&format!("logs/evil.log.20261126-{n:06}")))
                .expect("renamed");
            rig.write("logs/evil.log", &format!("{n}\n"));
            // So that the agent sees some of the generations, not only the last.
            if n % 60 == 0 {
                rig.write("logs/good.log", "more\n");
                let written = 4 + 5 * (n / 60);
                wait_until("the neighbour is read", SOON, || read(&rig, "logs/good.log") == written);
            }
        }
        rig.write("logs/new.log", "new\n");
        wait_until("a new log is read", SOON, || read(&rig, "logs/new.log") == 4);
        let open = fs::read_dir(format!("/proc/{}/fd", rig.id())).expect("it runs").count();
        assert!(open <= 640, "{open} descriptors");
        loki.answer(204);
        wait_until("it is delivered", SOON, || loki.stored().contains(&line(&rig, "logs/new.log", "new")));
    }
}

/// A rotated file of one megabyte that decompresses to one gigabyte.
#[test]
fn a_bomb_is_read_beside_others_and_in_bounded_memory() {
    for unit in [b"\0", b"\n"] {
        let (loki, mut rig) = (Loki::answering(204), Rig::new());
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        for _ in 0..64 {
            encoder.write_all(&unit.repeat(1 << 20)).expect("to memory");
        }
        let bomb = encoder.finish().expect("to memory").repeat(16);
        rig.write("logs/evil.log", "one\n");
        rig.write("logs/good.log", "0\n");
        let config = rig.config(&loki.url, "");
        rig.start(&config);
        wait_until("both are read", SOON, || loki.stored().len() == 2);
        fs::write(rig.path("logs/evil.log.1.gz"), bomb).expect("written");
        rig.write("new", "two\n");
        fs::rename(rig.path("new"), rig.path("logs/evil.log")).expect("renamed");
        for n in 1..10 {
            rig.write("logs/good.log", &format!("{n}\n"));
            let expected = line(&rig, "logs/good.log", &n.to_string());
            wait_until("the neighbour is read", SOON, || loki.stored().contains(&expected));
        }
        let status = fs::read_to_string(format!("/proc/{}/status", rig.id())).expect("it runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
        assert!(peak < 256 << 10, "{peak} KiB");
    }
}
