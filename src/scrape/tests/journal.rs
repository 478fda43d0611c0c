//! The journal of a job, read from a real file, killed and continued.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use super::rig::{self, Dir, Stored, decode};
use super::sources::reader;
use crate::journal;
use crate::metrics::Registry;
use crate::model::units::GoDuration;
use crate::relabel::Rules;
use crate::scrape::given::GivenSource;
use crate::scrape::status::Status;
use crate::scrape::*;

/// A folder with the journal file of `tests/journal`, which has 80 entries of November 2023.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journal/compact-zstd.journal.gz");
    let mut bytes = Vec::new();
    let file = std::fs::File::open(packed).expect("the fixture");
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).expect("the fixture");
    std::fs::write(folder.path().join("system.journal"), bytes).expect("written");
    folder
}

fn config(folder: &tempfile::TempDir, change: impl FnOnce(&mut journal::Config)) -> journal::Config {
    let mut config = journal::Config {
        path: folder.path().display().to_string(),
        max_age: GoDuration(Duration::from_hours(24 * 365 * 100)),
        ..journal::Config::default()
    };
    config.labels.insert("job".into(), "systemd".into());
    change(&mut config);
    config
}

fn source(config: journal::Config, rules: &str, registry: &Registry) -> GivenSource {
    let rules: Vec<crate::relabel::Config> = serde_yaml::from_str(rules).expect("rules");
    let rules = Rules::compile(&rules).expect("rules");
    let job = Job { journal: Some(config), rules, ..rig::job("numbers", "[]") };
    let metrics = metrics::Metrics::register(registry, Arc::new(Status::default()));
    crate::scrape::journal::source(&job, &metrics).expect("it has a journal")
}

/// One run of a reader, which is killed after Loki has stored about `until` entries.
fn run(dir: &Dir, source: GivenSource, until: usize) -> Vec<Stored> {
    let clock = Clock::standing(0);
    let (reader, _, mut batches) = reader(dir, source, OpenLogs::default(), clock.clone());
    let mut taken = Vec::new();
    for _ in 0..200 {
        let due = reader.hold().turn().expect("it was not told to stop");
        clock.advance(due.saturating_duration_since(clock.now()).max(Duration::from_millis(1)));
        for batch in std::iter::from_fn(|| batches.try_recv().ok()).flatten() {
            let entries = decode(&batch);
            if taken.len() + entries.len() <= until {
                taken.extend(entries);
                batch.close();
            }
        }
    }
    taken
}

const BY_UNIT: &str = "[{source_labels: [__journal__systemd_unit], target_label: unit}, \
                        {source_labels: [__journal_priority_keyword], target_label: level}]";

#[test]
fn entries_have_their_own_times_and_labels() {
    let (dir, folder, registry) = (Dir::new(), folder(), Registry::new());
    let stored = run(&dir, source(config(&folder, |_| {}), BY_UNIT, &registry), usize::MAX);
    // Every twentieth has no message.
    assert_eq!(stored.len(), 76);
    let first = stored.iter().find(|entry| entry.line == "entry 0").expect("the first");
    assert_eq!(first.labels, r#"{job="systemd", level="emerg", unit="ssh.service"}"#);
    assert_eq!(first.timestamp, 1_700_000_000_000_000_000);
    let error = stored.iter().find(|entry| entry.line.starts_with("entry 3 long")).expect("one with a long message");
    assert!(error.labels.contains(r#"level="error""#) && error.line.len() > 1500, "{error:?}");
    assert!(stored.iter().any(|entry| entry.line == "entry 7\nsecond line \u{20ac}"));
    let text = |name: &str| rig::samples(&registry, name);
    assert_eq!(text("promtail_journal_target_lines_total"), [76.0]);
    assert_eq!(text("promtail_journal_target_parsing_errors_total"), [0.0, 4.0]);
}

#[test]
fn what_a_rule_drops_and_what_does_not_match_is_not_sent() {
    let (folder, registry) = (folder(), Registry::new());
    let drop = "[{source_labels: [__journal__systemd_unit], regex: cron.*, action: drop}]";
    let matches = |config: &mut journal::Config| config.matches = "_UID=1000 PRIORITY=0 PRIORITY=6".into();
    let stored = run(&Dir::new(), source(config(&folder, matches), drop, &registry), usize::MAX);
    let want = (0..80).filter(|i| i % 2 == 0 && [0, 6].contains(&(i % 8)) && i % 3 != 1 && i % 20 != 9);
    let numbers = |entries: &[Stored]| -> BTreeSet<usize> {
        let number =
            |entry: &Stored| entry.line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
        entries.iter().map(number).collect()
    };
    assert_eq!(numbers(&stored), want.collect());
    assert_eq!(rig::samples(&registry, "promtail_journal_target_parsing_errors_total"), [6.0, 0.0]);
}

#[test]
fn with_json_the_line_has_all_fields() {
    let folder = folder();
    let stored =
        run(&Dir::new(), source(config(&folder, |config| config.json = true), "[]", &Registry::new()), usize::MAX);
    assert_eq!(stored.len(), 80);
    let object = |entry: &Stored| serde_json::from_str::<std::collections::BTreeMap<String, String>>(&entry.line);
    let objects: Vec<_> = stored.iter().map(|entry| object(entry).expect(&entry.line)).collect();
    assert_eq!(objects[0]["_HOSTNAME"], "node-1");
    assert_eq!(objects[5]["TWICE"], "two");
    assert_eq!(objects[11]["BINARY"], "\u{fffd}\u{fffd}\0A");
    assert!(stored[0].line.starts_with(r#"{"MESSAGE":"entry 0","PRIORITY":"0","#), "{}", stored[0].line);
    assert!(!objects[9].contains_key("MESSAGE"));
}

#[test]
fn after_twenty_kills_every_entry_is_there_once() {
    let (dir, folder) = (Dir::new(), folder());
    let mut all: Vec<Stored> = Vec::new();
    for kill in 0..20 {
        all.extend(run(&dir, source(config(&folder, |_| {}), "[]", &Registry::new()), kill * 7 % 5));
        let saved = dir.positions();
        drop(saved);
    }
    all.extend(run(&dir, source(config(&folder, |_| {}), "[]", &Registry::new()), usize::MAX));
    // Loki keeps one of two entries that are equal in all.
    let distinct: BTreeSet<_> = all.iter().map(|entry| (entry.timestamp, &entry.line, &entry.labels)).collect();
    assert_eq!(distinct.len(), 76);
    // Nothing is left for another run.
    assert_eq!(run(&dir, source(config(&folder, |_| {}), "[]", &Registry::new()), usize::MAX), []);
}

/// Promtail's file has the cursor of the last entry that it read.
#[test]
fn the_cursor_is_promtails() {
    let (dir, folder) = (Dir::new(), folder());
    let first = run(&dir, source(config(&folder, |_| {}), "[]", &Registry::new()), usize::MAX);
    dir.positions().sync().expect("written");
    let text = std::fs::read_to_string(dir.path("positions.yaml")).expect("positions");
    let saved = text.lines().find_map(|line| line.trim().strip_prefix("cursor-numbers: ")).expect(&text);
    let cursor: journal::Location = saved.trim_matches(['\'', '"']).parse().expect(saved);
    assert_eq!(cursor.seqnum, 80, "{text}");

    let dir = Dir::new();
    let earlier = journal::Location { seqnum: 40, ..cursor };
    dir.append("positions.yaml", format!("positions:\n  cursor-numbers: {earlier}\n"));
    let rest = run(&dir, source(config(&folder, |_| {}), "[]", &Registry::new()), usize::MAX);
    let want =
        |entry: &&Stored| entry.line.split_whitespace().nth(1).is_some_and(|n| n.parse::<u32>().unwrap_or(0) >= 40);
    assert_eq!(rest, first.iter().filter(want).cloned().collect::<Vec<_>>());
}

#[test]
fn a_folder_that_comes_later_is_read_then() {
    let (dir, parent) = (Dir::new(), tempfile::tempdir().expect("a folder"));
    let path = parent.path().join("journal");
    let moved = path.clone();
    let at = |config: &mut journal::Config| config.path = moved.display().to_string();
    let source = source(config(&folder(), at), "[]", &Registry::new());
    let clock = Clock::standing(0);
    let (reader, _, mut batches) = reader(&dir, source, OpenLogs::default(), clock.clone());
    let mut turns = |n: usize| {
        let mut lines = 0;
        for _ in 0..n {
            let due = reader.hold().turn().expect("it runs");
            clock.advance(due.saturating_duration_since(clock.now()).max(Duration::from_millis(1)));
            let batches = std::iter::from_fn(|| batches.try_recv().ok()).flatten();
            lines += batches.map(|batch| (decode(&batch).len(), batch.close()).0).sum::<usize>();
        }
        lines
    };
    assert_eq!(turns(20), 0);
    std::fs::rename(folder().keep(), &path).expect("moved");
    assert_eq!(turns(200), 76);
}
