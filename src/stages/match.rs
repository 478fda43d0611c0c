//! `match`: selects lines by their labels or text, and runs stages on them or drops them.
//!
//! ```yaml
//! - match:
//!     selector: '{app="web"} |~ `status=5\d\d`'   # required; LogQL: labels, then line filters
//!     action: keep                                # default; or drop
//!     stages:                                     # stages for lines that match; required for keep, forbidden for drop
//!       - json: {expressions: {level: }}
//!       - match:                                  # may be nested
//!           selector: '{app="web"} |= "healthz"'
//!           action: drop
//!           drop_counter_reason: match_stage      # default; the reason in the metric for dropped lines
//!     pipeline_name: web                          # has no effect; Promtail used it for old metrics
//! ```
//!
//! Lines that do not match pass unchanged. The selector uses the current labels, not extracted values, and the current
//! line. A missing label is empty. The line filters are `|=`, `!=`, `|~` and `!~`, each with alternatives separated by
//! `or`. Parsers and label filters of LogQL (`| json`, `| level="error"`) are an error: use stages instead.
//!
//! Before the nested stages run, the current labels replace extracted values with the same names.
//!
//! Dropped lines are counted in `logentry_dropped_lines_total{reason="match_stage"}`, or with the reason in
//! `drop_counter_reason`.
//!
//! Unlike Promtail: strings in backquotes, comments and `or` are supported, and lines keep their order.

use std::sync::Arc;
use std::time::Instant;

use super::drop::reason;
use super::labelling::Known;
use super::logql::Selector;
use super::options::Options;
use super::pipeline::Chain;
use super::{ConfigError, Due, Flow, Recipe, Stage, Work};
use crate::model::{Entry, Reason};

const REASON: &str = "match_stage";

pub(super) fn compile(options: &mut Options<'_>) -> Result<Recipe, ConfigError> {
    let selector = match options.required("selector") {
        Ok(text) => {
            let field = options.field("selector")?.expect("it was just there");
            options.keep(Selector::parse(text).map_err(|message| field.fail(message)))
        }
        Err(_) => None,
    };
    if options.text("pipeline_name")? == Some("") {
        return Err(options.fail("`pipeline_name` must not be empty: leave it out".into()));
    }
    let reason = reason(options, REASON)?;
    let stages = options.stages("stages")?.filter(|program| !program.is_empty());
    let action = options.field("action")?;
    let (action, place) = match &action {
        Some(field) => (options.keep(field.text()).unwrap_or("keep"), field.fail(String::new()).path),
        None => ("keep", options.fail(String::new()).path),
    };
    let unknown = || ConfigError::at(place, format!("unknown action `{action}`: expected keep or drop"));
    // A wrong selector was noted before.
    let Some(selector) = selector.map(Arc::new) else {
        let is_known = matches!(action, "keep" | "" | "drop");
        return Err(if is_known { options.fail("`selector` is wrong".into()) } else { unknown() });
    };
    match action {
        "keep" | "" => {
            let program = stages.ok_or_else(|| options.fail("`stages` are required where `action` is keep".into()))?;
            options.reads(program.reads.clone());
            Ok(Box::new(move |around| {
                let chain = Chain::new(&program, around);
                let then = Then::Run { chain, extract: !around.reads.is_nothing() };
                Box::new(Match { selector: selector.clone(), known: Known::default(), then })
            }))
        }
        "drop" => {
            if stages.is_some() {
                return Err(options.fail("`stages` never run where `action` is drop: remove them".into()));
            }
            options.needs_nothing_extracted();
            Ok(Box::new(move |_| {
                let then = Then::Drop(reason.clone());
                Box::new(Match { selector: selector.clone(), known: Known::default(), then })
            }))
        }
        _ => Err(unknown()),
    }
}

struct Match {
    selector: Arc<Selector>,
    /// Whether label sets seen before match.
    known: Known<bool>,
    then: Then,
}

enum Then {
    Run { chain: Chain, extract: bool },
    Drop(Reason),
}

impl Match {
    fn matches(&mut self, entry: &Entry<'_>) -> bool {
        let labels = match self.known.get(&entry.labels) {
            Some(known) => *known,
            None => {
                let matches = self.selector.matches_labels(entry);
                if self.selector.ignores_tenant() {
                    self.known.insert(&entry.labels, matches);
                }
                matches
            }
        };
        labels && self.selector.matches_line(&entry.line)
    }
}

impl Stage for Match {
    fn process(&mut self, work: &mut Work<'_>, released: &mut Vec<Work<'static>>) -> Flow {
        if !self.matches(&work.entry) {
            return Flow::Pass;
        }
        match &mut self.then {
            Then::Drop(reason) => Flow::Discard(reason.clone()),
            Then::Run { chain, extract } => {
                if *extract {
                    work.extracted.begin_again(&work.entry);
                }
                chain.process(work, released)
            }
        }
    }

    fn release(&mut self, due: Due, released: &mut Vec<Work<'static>>) {
        if let Then::Run { chain, .. } = &mut self.then {
            chain.release(due, released);
        }
    }

    fn next_due(&self) -> Option<Instant> {
        match &self.then {
            Then::Run { chain, .. } => chain.next_due(),
            Then::Drop(_) => None,
        }
    }

    fn busy_until(&self) -> Option<Instant> {
        match &self.then {
            Then::Run { chain, .. } => chain.busy_until(),
            Then::Drop(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, parse, refused, table, warnings};

    #[test]
    fn stages_run_for_what_matches() {
        table(
            r#"
            - logfmt: {mapping: {a: , b: }}
            - labels: {a: }
            - match:
                selector: '{a="1"} != "skip"'
                pipeline_name: ones
                stages:
                  - labels: {b: }
                  - match: {selector: '{b="2"}', stages: [{output: {source: b}}]}
                  - match: {selector: '{b="3"}', action: drop}
            "#,
            &[
                ("a=1 b=2", r#"{a="1", app="x", b="2"} 2"#),
                ("a=1 b=3", ""),
                ("a=1 b=4", r#"{a="1", app="x", b="4"} a=1 b=4"#),
                ("a=2 b=2", r#"{a="2", app="x"} a=2 b=2"#),
                ("a=1 b=2 skip", r#"{a="1", app="x"} a=1 b=2 skip"#),
            ],
        );
    }

    #[test]
    fn it_is_labels_that_are_matched() {
        let yaml = r#"[logfmt: {mapping: {a: }}, match: {selector: '{a="1"}', action: drop}]"#;
        table(yaml, &[("a=1", r#"{app="x"} a=1"#)]);
        let yaml = r#"[logfmt: {mapping: {t: }}, labels: {__tenant_id__: t}, match: {selector: '{__tenant_id__="1"}', action: drop}]"#;
        table(yaml, &[("t=2", r#"{app="x"} t=2 @2"#), ("t=1", ""), ("t=3", r#"{app="x"} t=3 @3"#)]);
    }

    #[test]
    fn labels_hide_what_was_extracted_under_their_names() {
        table(
            r#"
            - logfmt: {mapping: {app: , b: , t: }}
            - static_labels: {new: n}
            - labels: {__tenant_id__: t}
            - match: {selector: '{app="x"} |= "in"', stages: [{static_labels: {hit: y}}]}
            - labels: {app: , b: , c: new, tenant: __tenant_id__}
            "#,
            &[
                ("app=y b=1 t=2 in", r#"{app="x", b="1", c="n", hit="y", new="n", tenant="2"} app=y b=1 t=2 in @2"#),
                ("app=y b=1 out", r#"{app="y", b="1", new="n"} app=y b=1 out"#),
            ],
        );
    }

    #[test]
    fn a_dropped_label_stays_extracted_within() {
        table(
            r#"
            - labeldrop: [app]
            - match: {selector: '{app=""}', stages: [{labels: {back: app}}]}
            "#,
            &[("l", r#"{back="x"} l"#)],
        );
    }

    #[test]
    fn dropped_lines_are_counted() {
        for (option, reason) in [("", "match_stage"), (", drop_counter_reason: mine", "mine")] {
            let mut bench = Bench::of(&format!("match: {{selector: '{{app=\"x\"}} |= \"a\"', action: drop{option}}}"));
            let passed = [bench.outcome("a"), bench.outcome("b")];
            assert_eq!(passed, ["", "{app=\"x\"} b"]);
            assert_eq!(bench.dropped_as(reason), 1, "{reason}");
        }
    }

    #[test]
    fn what_is_held_within_comes_out_in_order_and_is_counted() {
        let yaml = r#"
            - match:
                selector: '{app="x"}'
                stages:
                  - cri: {}
                  - drop: {expression: ^secret}
        "#;
        let mut bench = Bench::of(yaml);
        assert_eq!(bench.outcome("2024-03-05T08:15:30Z stdout P a"), "");
        assert_eq!(bench.outcome("2024-03-05T08:15:30Z stdout F b"), r#"{app="x", stream="stdout"} ab"#);
        assert_eq!(bench.outcome("2024-03-05T08:15:30Z stdout P secret"), "");
        bench.end(&mut |entry| panic!("{entry:?}"));
    }

    #[test]
    fn a_program_that_does_not_look_extracts_nothing() {
        for (yaml, extract) in [
            ("[cri: {}]", false),
            ("[cri: {}, match: {selector: '{a=\"b\"}', action: drop}, drop: {expression: a}]", false),
            ("[match: {selector: '{a=\"b\"}', stages: [{json: {expressions: {a: }}}]}]", false),
            ("[match: {selector: '{a=\"b\"}', stages: [{labels: {a: }}]}]", true),
            ("[drop: {source: a}]", true),
            ("[json: {expressions: {a: }, source: b}]", true),
        ] {
            assert_eq!(!parse(yaml).expect(yaml).reads.is_nothing(), extract, "{yaml}");
        }
    }

    #[test]
    fn options_that_are_none() {
        refused(&[
            ("match: {stages: [{cri: {}}]}", "[0].match", "`selector` is required"),
            ("match: {selector: '{app=}', stages: [{cri: {}}]}", "[0].match.selector", "invalid selector `{app=}`"),
            ("match: {selector: '{}', stages: [{cri: {}}]}", "[0].match.selector", "expected a label name"),
            ("match: {selector: '{a=\"b\"}'}", "[0].match", "`stages` are required"),
            ("match: {selector: '{a=\"b\"}', stages: []}", "[0].match", "`stages` are required"),
            ("match: {selector: '{a=\"b\"}', stages: {cri: }}", "[0].match.stages", "expected a list of stages"),
            ("match: {selector: '{a=\"b\"}', action: drop, stages: [{cri: }]}", "[0].match", "never run"),
            ("match: {selector: '{a=\"b\"}', action: discard}", "[0].match.action", "unknown action `discard`"),
            ("match: {selector: '{a=\"b\"}', pipeline_name: '', action: drop}", "[0].match", "must not be empty"),
            (
                "[cri: , match: {selector: '{a=\"b\"}', stages: [{cri: }, {output: {}}]}]",
                "[1].match.stages[1].output",
                "`source` is required",
            ),
        ]);
    }

    #[test]
    fn warnings_from_within() {
        let program = parse("match: {selector: '{a=\"b\"}', stages: [{cri: {x: 1}}], y: 2}").expect("a stage");
        assert_eq!(
            warnings(&program),
            [
                "pipeline_stages[0].match.stages[0].cri: unknown option `x` is ignored",
                "pipeline_stages[0].match: unknown option `y` is ignored",
            ]
        );
    }
}
