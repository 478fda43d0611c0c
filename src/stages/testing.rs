//! Lines in, entries out: what the tables of the stages' tests are made of.

use std::borrow::Cow;

use super::{Program, compile};
use crate::metrics::{Dropped, Registry};
use crate::model::{AckRef, Entry, LabelSet, Ledger, Origin, Position};

/// An entry as it left the pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub timestamp: i64,
    pub labels: String,
    pub line: String,
}

impl Seen {
    /// The time of reading in these tests.
    pub const READ: i64 = 42;
}

/// Runs the stage `yaml` over lines of `{app="x"}`.
pub(super) fn check(yaml: &str, lines: &[String], want: &[Seen]) {
    let stage = serde_yaml::from_str(yaml).expect(yaml);
    let program = compile(&[stage]).unwrap_or_else(|e| panic!("{yaml}: {}: {e}", e.path));
    assert_eq!(run(&program, lines), want, "{yaml}");
}

/// Runs lines through a program; each line is a chunk of its own, acknowledged to the end.
pub(super) fn run(program: &Program, lines: &[String]) -> Vec<Seen> {
    let mut pipeline = program.start(Dropped::register(&Registry::new()));
    let labels = LabelSet::new([("app", "x")]);
    let ledger = Ledger::new(None);
    let mut seen = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let end = Position { offset: i as u64 + 1, ..Position::default() };
        let ack = ledger.open(line.len() as u64, end);
        let entry = Entry {
            timestamp: Seen::READ,
            line: Cow::Borrowed(line),
            labels: labels.clone(),
            metadata: Vec::new(),
            tenant: None,
            origin: Origin { log: 1, offset: i as u64 },
            ack: AckRef::Chunk(&ack),
        };
        pipeline.run(entry, &mut |entry| {
            seen.push(Seen {
                timestamp: entry.timestamp,
                labels: entry.labels.to_string(),
                line: entry.line.to_string(),
            });
            entry.close();
        });
        ack.close();
    }
    let mut rest = Vec::new();
    pipeline.release(super::Due::Log(1), &mut |entry| {
        rest.push(entry.line.len());
        entry.close();
    });
    // Whatever became of the lines, each of them came to its end.
    assert!(ledger.is_settled(), "something was neither delivered nor discarded");
    seen
}
