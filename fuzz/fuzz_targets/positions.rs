//! A positions file, and its journal behind a line `---`: whatever is in them, opening them ends, and what was read can be
//! claimed and written.

#![no_main]

use std::collections::BTreeSet;
use std::time::SystemTime;

use fantail::model::{Checkpoint, Position};
use fantail::positions::{Commit, Config, Key, LogName, Positions, Vanished};
use fantail_fuzz::{file, text};
use libfuzzer_sys::fuzz_target;
use xxhash_rust::xxh3::xxh3_64;

fuzz_target!(|data: &[u8]| {
    let text = text(data);
    let (yaml, journal) = text.split_once("\n---\n").unwrap_or((&text, ""));
    let filename = file("positions.yaml", yaml.as_bytes());
    // A line that ends with a blank gets the checksum that nobody would find by chance.
    let summed = journal.split_inclusive('\n').map(|line| match line.strip_suffix(" \n") {
        Some(body) => format!("{body} {:08x}\n", xxh3_64(body.as_bytes()) as u32),
        None => line.to_string(),
    });
    file("positions.yaml.journal", format!("fantail-positions 1\n{}", summed.collect::<String>()).as_bytes());
    let config = Config { filename, ignore_invalid_yaml: false, read_only: false, readers: BTreeSet::new() };
    let Ok(positions) = Positions::open(config.clone()) else {
        return;
    };
    let key = |path: &str| Key { client: "c".into(), job: "j".into(), log: LogName::File(std::path::Path::new(path).into()), labels: 1 };
    for path in ["/a", "/b"] {
        if let Some((slot, _)) = positions.claim(key(path)) {
            let position = Position { offset: 7, ..Position::default() };
            let commit =
                Commit { slot, checkpoint: Checkpoint::File { position, live: true, written: SystemTime::now(), left: Vec::new() }, through: None };
            positions.commit(&[commit], SystemTime::now()).expect("it can be written");
            positions.release(slot);
        }
    }
    positions.save(&Vanished::default()).expect("it can be written");
    drop(positions);
    let again = Positions::open(config).expect("what was written can be read");
    assert!(again.claim(key("/a")).is_some_and(|(_, saved)| saved.is_some()));
});
