//! Runs lines through a traced pipeline.

use std::borrow::Cow;
use std::sync::Arc;

use super::pipeline::Pipeline;
use super::trace::{Tracer, time};
use super::{Due, Program, Work};
use crate::metrics::{Dropped, Registry};
use crate::model::{AckRef, Clock, Entry, ExplainedEntry, LabelSet, Ledger, LineTrace, Mark, Origin, Weight};

/// What is traced, and with what.
#[derive(Clone, Debug)]
pub struct Traced<'l> {
    /// The lines are Docker's JSON, which is removed before the first stage.
    pub unwraps: bool,
    /// The labels of the lines.
    pub labels: LabelSet,
    /// Unix nanoseconds: the time of the clock, and at which the lines were read.
    pub now: i64,
    pub lines: &'l [String],
}

impl Program {
    /// Runs lines of one log through the stages, and ends the log. The last trace also has what the end releases.
    pub fn trace(&self, traced: &Traced<'_>) -> Vec<LineTrace> {
        let (tracer, clock) = (Arc::new(Tracer::default()), Clock::standing(traced.now));
        let dropped = Dropped::register(&Registry::new());
        let mut pipeline = Pipeline::observed(self, traced.unwraps, dropped, clock, tracer.clone());
        let ledger = Ledger::new();
        let mut traces = Vec::with_capacity(traced.lines.len());
        let mut offset = 0;
        for line in traced.lines {
            let ack = ledger.open_chunk(line.len() as u64, Mark(offset + line.len() as u64 + 1));
            let entry = Entry {
                timestamp: traced.now,
                line: Cow::Borrowed(line),
                labels: traced.labels.clone(),
                metadata: Vec::new(),
                tenant: None,
                origin: Origin { log: 1, file: 1, offset, clock: None },
                weight: Weight::default(),
                ack: AckRef::Chunk(&ack),
            };
            offset += line.len() as u64 + 1;
            let mut entries = Vec::new();
            pipeline.run(&mut Work::new(entry), &mut |entry| entries.push(explained(entry)));
            ack.close();
            traces.push(LineTrace { line: line.clone(), steps: tracer.take(), entries });
        }
        if let Some(last) = traces.last_mut() {
            pipeline.release(Due::Log(1), &mut |entry| last.entries.push(explained(entry)));
            last.steps.extend(tracer.take());
        }
        traces
    }
}

fn explained(entry: &Entry<'_>) -> ExplainedEntry {
    ExplainedEntry {
        timestamp: time(entry.timestamp),
        labels: entry.labels.to_map(),
        line: entry.line.to_string(),
        metadata: entry.metadata.iter().map(|pair| (pair.name.to_string(), pair.value.to_string())).collect(),
        tenant: entry.tenant.as_ref().map(|tenant| tenant.to_string()),
        warnings: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::parse;
    use super::*;
    use crate::model::{Change, Labels, Outcome, StageStep};

    fn trace(yaml: &str, lines: &[&str]) -> Vec<LineTrace> {
        let lines: Vec<String> = lines.iter().map(|line| line.to_string()).collect();
        let labels = LabelSet::new([("app", "x")]);
        parse(yaml).expect(yaml).trace(&Traced { unwraps: false, labels, now: 0, lines: &lines })
    }

    fn text(trace: &LineTrace) -> Vec<String> {
        let change = |change: &Change| {
            let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
            format!("{} {}>{}", change.what, value(&change.before), value(&change.after))
        };
        let step = |step: &StageStep| {
            let changes: Vec<String> = step.changes.iter().map(change).collect();
            format!("{} {} {:?} {}", step.depth, step.stage, step.outcome, changes.join(", "))
        };
        trace.steps.iter().map(step).collect()
    }

    #[test]
    fn each_stage_shows_what_it_changed() {
        let yaml = "
            - json: {expressions: {level: , user: , msg: , t: }}
            - labels: {level: }
            - structured_metadata: {user: }
            - tenant: {value: team}
            - timestamp: {source: t, format: Unix}
            - output: {source: msg}";
        let traces = trace(yaml, &[r#"{"level":"warn","user":"u1","msg":"hi","t":"1"}"#]);
        assert_eq!(
            text(&traces[0]),
            [
                "0 pipeline_stages[0].json Passed extracted level ->warn, extracted msg ->hi, extracted t ->1, extracted user ->u1",
                "0 pipeline_stages[1].labels Passed label level ->warn",
                "0 pipeline_stages[2].structured_metadata Passed metadata user ->u1",
                "0 pipeline_stages[3].tenant Passed tenant ->team",
                "0 pipeline_stages[4].timestamp Passed timestamp 1970-01-01T00:00:00.000000000Z>1970-01-01T00:00:01.000000000Z",
                "0 pipeline_stages[5].output Passed line {\"level\":\"warn\",\"user\":\"u1\",\"msg\":\"hi\",\"t\":\"1\"}>hi",
            ]
        );
        let entry = &traces[0].entries[0];
        assert_eq!((entry.line.as_str(), entry.tenant.as_deref()), ("hi", Some("team")));
        assert_eq!(entry.labels, Labels::from([("app".into(), "x".into()), ("level".into(), "warn".into())]));
        assert_eq!(entry.metadata, Labels::from([("user".into(), "u1".into())]));
    }

    #[test]
    fn a_stage_inside_another_comes_after_it_and_a_dropped_line_has_its_reason() {
        let yaml =
            r#"match: {selector: '{app="x"}', stages: [{drop: {expression: secret, drop_counter_reason: private}}]}"#;
        let traces = trace(yaml, &["a secret", "public"]);
        let dropped = r#"Dropped("private") "#;
        assert_eq!(
            text(&traces[0]),
            [
                format!("0 pipeline_stages[0].match {dropped}"),
                format!("1 pipeline_stages[0].match.stages[0].drop {dropped}")
            ]
        );
        assert_eq!((traces[0].entries.len(), traces[1].entries.len()), (0, 1));
    }

    #[test]
    fn joined_lines_are_entries_of_the_line_that_releases_them() {
        let yaml = "[multiline: {firstline: '^a'}, output: {source: none}]";
        let traces = trace(yaml, &["a1", " b", "a2"]);
        let lines = |trace: &LineTrace| trace.entries.iter().map(|e| e.line.clone()).collect::<Vec<_>>();
        assert_eq!(
            traces.iter().map(lines).collect::<Vec<_>>(),
            [vec![], vec![], vec!["a1\n b".to_string(), "a2".into()]]
        );
        assert_eq!(traces[0].steps[0].outcome, Outcome::Held);
    }

    #[test]
    fn a_stage_that_cannot_do_its_work_says_why() {
        for (yaml, line, want) in [
            (
                "[regex: {expression: '(?P<t>.*)'}, timestamp: {source: t, format: '2006-01-02 03:04:05'}]",
                "2026-11-28 13:00:02",
                r#""2026-11-28 13:00:02" does not have the format 2006-01-02 03:04:05"#,
            ),
            (
                "timestamp: {source: t, format: Unix, fallback_formats: [UnixMs], action_on_failure: skip}",
                "x",
                "there is no extracted value t",
            ),
            ("json: {expressions: {a: }}", "{a", "the text is not a JSON object"),
            ("json: {expressions: {a: }, source: b}", "{}", "there is no extracted value b that is text"),
            ("regex: {expression: '^(?P<a>b)'}", "x", "the expression does not match the text"),
            ("logfmt: {mapping: {a: }}", "b=1", "the text has none of the keys"),
            ("replace: {expression: '(b)', replace: c}", "x", "the expression does not match the text"),
            ("replace: {expression: '(b)', replace: c, source: s}", "b", "there is no extracted value s"),
            ("template: {source: a, template: '{{ index .Value 9 }}'}", "x", "the template fails: "),
        ] {
            let traces = trace(yaml, &[line]);
            let failures = &traces[0].steps.last().expect("a step").failures;
            assert!(matches!(failures.as_slice(), [why] if why.contains(want)), "{yaml}: {failures:?}");
        }
        // What succeeds says nothing.
        for (yaml, line) in [
            ("[regex: {expression: '(?P<t>.*)'}, timestamp: {source: t, format: Unix}]", "1"),
            ("json: {expressions: {a: }}", "{}"),
            ("replace: {expression: '(b)', replace: c}", "b"),
            ("logfmt: {mapping: {a: }}", "a=1"),
        ] {
            assert!(trace(yaml, &[line])[0].steps.iter().all(|step| step.failures.is_empty()), "{yaml}");
        }
    }

    #[test]
    fn a_trace_changes_nothing() {
        for (yaml, line) in [
            ("[logfmt: {mapping: {a: , b: }}, labels: {a: }, drop: {source: b, value: '2'}]", "a=1 b=3"),
            (
                "[json: {expressions: {app: }}, match: {selector: '{app=\"x\"}', stages: [{labels: {app: }}]}]",
                r#"{"app":"y"}"#,
            ),
            (
                "[regex: {expression: '(?P<n>\\d+)'}, template: {source: n, template: '{{ .Value }}!'}, pack: {labels: [app]}]",
                "7",
            ),
        ] {
            let program = parse(yaml).expect(yaml);
            let mut bench = super::super::testing::Bench::new(&program);
            let mut want = Vec::new();
            bench.run(line, &mut |entry| want.push((entry.labels.to_map(), entry.line.to_string())));
            let traces = trace(yaml, &[line]);
            let got: Vec<_> = traces[0].entries.iter().map(|e| (e.labels.clone(), e.line.clone())).collect();
            assert_eq!(got, want, "{yaml}");
            bench.end(&mut |_| {});
        }
    }
}
