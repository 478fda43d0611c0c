//! Helpers for the stages' tests: lines in, entries out.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;

use serde_yaml::Value as Yaml;

use super::{Clock, ConfigError, CustomMetrics, Due, Inspector, Pipeline, Program, Work, compile};
use crate::metrics::{Dropped, Registry};
use crate::model::{AckRef, Entry, LabelSet, Ledger, Mark, Origin};

/// An entry as it left the pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub timestamp: i64,
    pub labels: String,
    pub line: String,
}

impl Seen {
    /// The read time in these tests.
    pub const READ: i64 = 42;
}

/// Runs the stage `yaml` on lines of `{app="x"}`.
pub(super) fn check(yaml: &str, lines: &[String], want: &[Seen]) {
    let stage = serde_yaml::from_str(yaml).expect(yaml);
    let program = compile(&[stage]).unwrap_or_else(|e| panic!("{yaml}: {e:?}"));
    assert_eq!(run(&program, lines), want, "{yaml}");
}

/// Runs lines through a program. Each line is a separate chunk, which must be fully acknowledged.
pub(super) fn run(program: &Program, lines: &[String]) -> Vec<Seen> {
    let mut bench = Bench::new(program);
    let mut seen = Vec::new();
    for line in lines {
        bench.run(line, &mut |entry| seen.push(see(entry)));
    }
    bench.end(&mut |_| {});
    seen
}

/// Runs a list of stages on lines of `{app="x"}`. Each row has a line and its result: `{labels} line`, then `@tenant`
/// and `[metadata]` if there are any. Several entries are separated by ` / `.
pub(super) fn table(yaml: &str, rows: &[(&str, &str)]) {
    let mut bench = Bench::of(yaml);
    for (line, want) in rows {
        assert_eq!(bench.outcome(line), *want, "{yaml}\n{line}");
    }
    bench.end(&mut |_| {});
}

/// What becomes of lines of `{app="a"}`, written as in [`table`], while the stages are inspected.
pub(super) fn inspected(yaml: &str, lines: &[&str], inspector: Inspector) -> Vec<String> {
    let program = parse(yaml).unwrap_or_else(|e| panic!("{yaml}: {e}"));
    outcomes_of(&program.inspected_by(Some(inspector)), lines)
}

/// The same without inspection.
pub(super) fn outcomes(yaml: &str, lines: &[&str]) -> Vec<String> {
    outcomes_of(&parse(yaml).unwrap_or_else(|e| panic!("{yaml}: {e}")), lines)
}

fn outcomes_of(program: &Program, lines: &[&str]) -> Vec<String> {
    let mut bench = Bench::new(program);
    bench.labels = LabelSet::new([("app", "a")]);
    let mut outcomes = Vec::new();
    for line in lines {
        bench.run(line, &mut |entry| outcomes.push(write(entry)));
    }
    bench.end(&mut |entry| outcomes.push(write(entry)));
    outcomes
}

/// Checks stages that must be rejected: the YAML, the path of the error, and a part of its message.
pub(super) fn refused(rows: &[(&str, &str, &str)]) {
    for (yaml, path, message) in rows {
        let error = parse(yaml).expect_err(yaml);
        assert_eq!(error.path.to_string(), *path, "{yaml}: {error}");
        assert!(error.problem.contains(message), "{yaml}: {error}");
    }
}

/// Compiles a list of stages in YAML. A single stage needs no list.
pub(super) fn parse(yaml: &str) -> Result<Program, ConfigError> {
    mistakes_of(yaml).map_err(|mut mistakes| mistakes.remove(0))
}

/// The same with all mistakes.
pub(super) fn mistakes_of(yaml: &str) -> Result<Program, Vec<ConfigError>> {
    match serde_yaml::from_str(yaml).expect(yaml) {
        Yaml::Sequence(stages) => compile(&stages),
        stage => compile(&[stage]),
    }
}

/// The warnings of a program, with their paths in a job.
pub(super) fn warnings(program: &Program) -> Vec<String> {
    program.warnings().iter().map(|warning| warning.clone().within("pipeline_stages").to_string()).collect()
}

/// A pipeline and a log to run through it.
pub(super) struct Bench {
    pub clock: Clock,
    pub labels: LabelSet,
    pipeline: Pipeline,
    dropped: Dropped,
    custom: CustomMetrics,
    pub registry: Registry,
    ledger: Arc<Ledger>,
    offset: u64,
}

impl Bench {
    pub fn new(program: &Program) -> Self {
        Self::with(program, false)
    }

    /// Without stages, for log files of containers found by Docker's API.
    pub fn of_containers() -> Self {
        Self::with(&Program::nothing(), true)
    }

    fn with(program: &Program, unwraps: bool) -> Self {
        let (clock, registry) = (Clock::standing(Seen::READ), Registry::new());
        let custom = CustomMetrics::with_clock(&registry, clock.clone());
        let dropped = Dropped::register(&registry);
        let pipeline = Pipeline::new(program, unwraps, dropped.clone(), Some(custom.clone()), clock.clone());
        let labels = LabelSet::new([("app", "x")]);
        Self { clock, labels, pipeline, dropped, custom, registry, ledger: Ledger::new(), offset: 0 }
    }

    /// Continues with other stages, as after a reload of the config.
    pub fn reload(&mut self, yaml: &str) {
        let program = parse(yaml).unwrap_or_else(|e| panic!("{yaml}: {e}"));
        self.custom.begin_run();
        self.pipeline =
            Pipeline::new(&program, false, self.dropped.clone(), Some(self.custom.clone()), self.clock.clone());
        self.custom.forget_unused();
    }

    pub fn of(yaml: &str) -> Self {
        Self::new(&parse(yaml).unwrap_or_else(|e| panic!("{yaml}: {e}")))
    }

    pub fn run(&mut self, line: &str, sink: &mut dyn FnMut(&Entry<'_>)) {
        let end = Mark(self.offset + 1);
        let ack = self.ledger.open_chunk(line.len() as u64, end);
        let entry = Entry {
            timestamp: Seen::READ,
            line: Cow::Borrowed(line),
            labels: self.labels.clone(),
            metadata: Vec::new(),
            tenant: None,
            origin: Origin { log: 1, file: 1, offset: self.offset, clock: None },
            weight: crate::model::Weight::default(),
            ack: AckRef::Chunk(&ack),
        };
        self.offset += 1;
        self.pipeline.run(&mut Work::new(entry), &mut |entry| sink(entry));
        ack.close();
    }

    /// The result of a line, written as in [`table`].
    pub fn outcome(&mut self, line: &str) -> String {
        let mut outcome = Vec::new();
        self.run(line, &mut |entry| outcome.push(write(entry)));
        outcome.join(" / ")
    }

    /// The released entries, written as in [`table`].
    pub fn release(&mut self, due: Due) -> String {
        let mut outcome = Vec::new();
        self.pipeline.release(due, &mut |entry| outcome.push(write(entry)));
        outcome.join(" / ")
    }

    /// The entries that are due at the clock's current time.
    pub fn due(&mut self) -> String {
        self.release(Due::At(self.clock.now()))
    }

    /// The log becomes quiet.
    pub fn forget(&mut self) {
        self.pipeline.forget(1);
    }

    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// How many lines were dropped for this reason.
    pub fn dropped_as(&self, reason: &str) -> u64 {
        self.count("logentry_dropped_lines_total", &[reason])
    }

    /// The value of a counter with these label values. 0 if it does not exist.
    pub fn count(&self, name: &str, values: &[&str]) -> u64 {
        let families = self.registry.gather();
        let metrics = families.iter().filter(|f| f.name() == name).flat_map(|f| f.get_metric());
        let labelled =
            |m: &&prometheus::proto::Metric| m.get_label().iter().map(|l| l.value()).eq(values.iter().copied());
        metrics.filter(labelled).map(|m| m.get_counter().get_value() as u64).sum()
    }

    /// Ends the log, and checks that each of its lines has ended.
    pub fn end(mut self, sink: &mut dyn FnMut(&Entry<'_>)) {
        self.pipeline.release(Due::Log(1), &mut |entry| sink(entry));
        assert!(self.ledger.is_settled(), "something was neither delivered nor discarded");
    }
}

fn see(entry: &Entry<'_>) -> Seen {
    Seen { timestamp: entry.timestamp, labels: entry.labels.to_string(), line: entry.line.to_string() }
}

fn write(entry: &Entry<'_>) -> String {
    let mut text = format!("{} {}", entry.labels, entry.line);
    if let Some(tenant) = &entry.tenant {
        let _ = write!(text, " @{tenant}");
    }
    if !entry.metadata.is_empty() {
        let pairs: Vec<String> = entry.metadata.iter().map(|m| format!("{}={}", m.name, m.value)).collect();
        let _ = write!(text, " [{}]", pairs.join(", "));
    }
    text
}
