//! The journal that the real systemd-journal-remote writes, read by a program that is killed again and again.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::rig::{Loki, Rig, SOON, wait_until};

const REMOTE: &str = "/lib/systemd/systemd-journal-remote";

/// Entries that are written before each of the kills.
const ENTRIES: usize = 50;
const KILLS: usize = 20;

#[test]
fn after_twenty_kills_every_entry_of_the_journal_is_stored() {
    if !Path::new(REMOTE).exists() {
        eprintln!("not tested: {REMOTE} is missing (Debian's package systemd-journal-remote)");
        return;
    }
    let (loki, mut rig) = (Loki::answering(204), Rig::new());
    let config = rig.config(&loki.url, "");
    let dir = rig.path("journal");
    fs::create_dir(&dir).expect("made");
    let text = fs::read_to_string(&config).expect("read");
    let (head, _) = text.split_once("scrape_configs:").expect("jobs");
    let job = format!(
        "scrape_configs:\n- job_name: journal\n  journal: {{path: {}, max_age: 500000h, labels: {{job: sd}}}}\n  \
         relabel_configs: [{{source_labels: [__journal__systemd_unit], target_label: unit}}]\n",
        dir.display()
    );
    fs::write(&config, format!("{head}{job}")).expect("written");
    let mut remote = Command::new(REMOTE);
    remote.arg("--output").arg(dir.join("system.journal")).arg("-");
    let remote = remote.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut remote = remote.expect("started");
    let mut input = remote.stdin.take().expect("a pipe");
    for kill in 0..KILLS {
        for n in kill * ENTRIES..(kill + 1) * ENTRIES {
            let time = 1_700_000_000_000_000 + n * 1000;
            let text = format!(
                "__REALTIME_TIMESTAMP={time}\n__MONOTONIC_TIMESTAMP={time}\n_BOOT_ID=0a1b2c3d4e5f60718293a4b5c6d7e8f9\n\
                 _SYSTEMD_UNIT=unit-{}\nMESSAGE=entry {n}\n\n",
                n % 3
            );
            input.write_all(text.as_bytes()).expect("it reads");
        }
        rig.start(&config);
        let before = loki.requests();
        // Killed at once, after the first push of this run, or after the second one.
        wait_until("pushes", SOON, || loki.requests() >= before + kill % 3 || loki.stored().len() >= kill * ENTRIES);
        rig.signal("-KILL");
        rig.ended(SOON);
    }
    drop(input);
    assert!(remote.wait().expect("it ends").success());
    let all = KILLS * ENTRIES;
    let distinct = || loki.stored().into_iter().collect::<BTreeSet<String>>();
    let runs = |rig: &Rig| rig.said().matches("msg=found").count();
    let before = runs(&rig);
    rig.start(&config);
    wait_until("every entry", SOON, || runs(&rig) > before && distinct().len() >= all);
    rig.signal("-TERM");
    assert_eq!(rig.ended(SOON), Some(0));
    let want = (0..all).map(|n| format!("{{job=\"sd\", unit=\"unit-{}\"}} entry {n}", n % 3));
    assert_eq!(distinct(), want.collect());
    // After a normal end nothing is sent again.
    let (stored, before) = (loki.stored().len(), runs(&rig));
    rig.start(&config);
    wait_until("it has begun", SOON, || runs(&rig) > before);
    rig.signal("-TERM");
    assert_eq!(rig.ended(SOON), Some(0));
    assert_eq!(loki.stored().len(), stored);
}
