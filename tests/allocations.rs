//! Counts allocations in the hot path: a line needs no allocation of its own, as far as its values allow it. A new
//! chunk or a new set of labels may need some.

use std::borrow::Cow;

use allocation_counter::measure;
use fantail::metrics::{Dropped, Registry};
use fantail::model::{AckRef, ChunkAck, Clock, Entry, LabelSet, Ledger, Mark, Origin, Weight};
use fantail::stages::{self, Pipeline, Work};

/// The stages that every node runs, and common stages after them.
const USUAL: &str = "
- cri: {}
- json: {expressions: {level: , time: , user: context.user, msg: }}
- labels: {level: }
- timestamp: {source: time, format: RFC3339Nano}
";

#[test]
fn the_usual_pipeline_allocates_nothing_for_a_line() {
    check(USUAL, &lines(usual));
}

#[test]
fn neither_do_the_other_stages_that_need_not() {
    let cri = "{cri: {}}, {regex: {expression: '^(?P<a>\\S+) (?P<b>\\S+)'}}";
    for more in [
        "drop: {source: a, value: no}",
        "drop: {source: a, expression: '^n.$'}",
        "drop: {expression: 'nothing like that', longer_than: 8kb, older_than: 9h}",
        "logfmt: {mapping: {level: , user: }}",
        "output: {source: b}",
        "static_labels: {cluster: eu}",
        "labeldrop: [stream]",
        "labelallow: [app]",
        "tenant: {value: a}",
        "sampling: {rate: 1}",
        "limit: {rate: 1000000, burst: 1000000, drop: true}",
        "decolorize: {}",
        "match: {selector: '{app=\"x\"} |= \"zzz\"', action: drop}",
        "match: {selector: '{app=\"x\"} |= \"ready\"', stages: [{labels: {a: }}]}",
        "timestamp: {source: t, format: '2006-01-02 15:04:05'}",
        "timestamp: {source: b, format: Unix}",
        "eventlogmessage: {}",
        "multiline: {firstline: '^never'}",
        "structured_metadata: {b: }",
    ] {
        check(
            &format!("[{cri}, {{{more}}}]"),
            &lines(|i| format!("ready {} level=info user=u{}", 1_700_000_000 + i, i % 7)),
        );
    }
}

/// Lines in the runtime's format, a millisecond apart.
fn lines(text: impl Fn(usize) -> String) -> Vec<String> {
    (0..1000).map(|i| format!("2026-11-22T10:00:0{}.{:03}Z stdout F {}", i / 1000, i % 1000, text(i))).collect()
}

fn usual(i: usize) -> String {
    let level = ["debug", "info", "error"][i % 3];
    format!(
        r#"{{"level":"{level}","time":"2026-11-22T10:00:00.{i:09}+01:00","context":{{"user":"u{i}","n":[1,2]}},"msg":"a line {i}"}}"#
    )
}

/// Runs the lines once as a warm-up, and then counts the allocations of a chunk.
fn check(yaml: &str, lines: &[String]) {
    let program = stages::compile(&serde_yaml::from_str::<Vec<_>>(yaml).expect(yaml)).expect(yaml);
    let dropped = Dropped::register(&Registry::new());
    let mut pipeline = program.start(dropped, None, Clock::default());
    let ledger = Ledger::new();
    let labels = LabelSet::new([("app", "x"), ("namespace", "test")]);
    let mut passed = 0;
    let mut chunk = |lines: &[String]| {
        let ack = ledger.open_chunk(1, Mark(lines.len() as u64));
        run(&mut pipeline, lines, &labels, &ack, &mut passed);
        ack.close();
    };
    chunk(lines);
    let few = measure(|| chunk(&lines[..10])).count_total;
    let many = measure(|| chunk(lines)).count_total;
    assert_eq!(passed, 2 * lines.len() + 10, "{yaml}: not all lines came out");
    assert_eq!(many, few, "{yaml}: allocations for {} lines, and for 10", lines.len());
}

fn run(pipeline: &mut Pipeline, lines: &[String], labels: &LabelSet, ack: &ChunkAck, passed: &mut usize) {
    let mut work = Work::new(Entry {
        timestamp: 0,
        line: Cow::Borrowed(""),
        labels: labels.clone(),
        metadata: Vec::new(),
        tenant: None,
        origin: Origin { log: 1, file: 1, offset: 0, clock: None },
        weight: Weight::default(),
        ack: AckRef::Chunk(ack),
    });
    for (i, line) in lines.iter().enumerate() {
        ack.begin_line(Mark(i as u64));
        work.begin(1_770_000_000_000_000_000, line, labels, i as u64, Weight::default());
        pipeline.run(&mut work, &mut |_| *passed += 1);
    }
}
