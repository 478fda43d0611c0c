//! `structured_metadata`, or by its old name `non_indexed_labels`: sets structured metadata from extracted values or
//! labels.
//!
//! ```yaml
//! - structured_metadata:
//!     trace_id:              # from the extracted value or label with the same name
//!     file: filename         # from `filename`
//! ```
//!
//! A label that becomes metadata unchanged is removed from the labels. If the value was not extracted or is null,
//! nothing is added. Several such stages add to each other. If they add the same name twice, it is sent twice.

use std::borrow::Cow;
use std::sync::Arc;

use super::labelling::{Changing, TENANT, label};
use super::labels::{self, Made};
use super::options::Options;
use super::reads::Reads;
use super::{ConfigError, Flow, Recipe, Stage, Work};
use crate::model::{LabelSet, Structured};

pub(super) fn compile(options: &mut Options<'_>) -> Result<Recipe, ConfigError> {
    let pairs: Arc<[Made]> = labels::made(options)?.into();
    options.reads(Reads::these(pairs.iter().map(|pair| &*pair.source)));
    Ok(Box::new(move |_| {
        let moved = pairs.iter().map(|_| Changing::default()).collect();
        Box::new(Metadata { pairs: pairs.clone(), moved })
    }))
}

#[derive(Debug)]
struct Metadata {
    pairs: Arc<[Made]>,
    /// The cached removal of the label with this index.
    moved: Vec<Changing>,
}

impl Stage for Metadata {
    fn process(&mut self, work: &mut Work<'_>, _: &mut Vec<Work<'static>>) -> Flow {
        for (Made { name, source }, moved) in self.pairs.iter().zip(&mut self.moved) {
            let of_label = label(&work.entry, source);
            let value = match work.extracted.get_for_line(source) {
                Some(value) => value.into_text(),
                None => of_label.map(|value| Cow::Owned(value.to_string())),
            };
            let Some(value) = value.filter(|v| !labels::was_no_text(v, &work.entry.line)) else {
                continue;
            };
            let moves = of_label == Some(&*value);
            if moves && **source == *TENANT {
                work.entry.tenant = None;
            } else if moves {
                work.entry.labels = moved.apply(&work.entry.labels, |old: &LabelSet| old.without(source));
            }
            work.entry.metadata.push(Structured { name: name.clone(), value });
        }
        Flow::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{refused, table};

    #[test]
    fn extracted_values_are_appended() {
        table(
            "[json: {expressions: {t: trace, n: }}, structured_metadata: {t: , num: n, none: }, structured_metadata: {t: }]",
            &[(r#"{"trace":"a","n":1.0}"#, r#"{app="x"} {"trace":"a","n":1.0} [t=a, num=1, t=a]"#)],
        );
    }

    #[test]
    fn stages_add_up_and_values_may_be_odd() {
        table(
            "[json: {expressions: {v: }}, structured_metadata: {v: }, non_indexed_labels: {w: v}]",
            &[
                (r#"{"v":""}"#, r#"{app="x"} {"v":""} [v=, w=]"#),
                (r#"{"v":true}"#, r#"{app="x"} {"v":true} [v=true, w=true]"#),
                (r#"{"v":null}"#, r#"{app="x"} {"v":null}"#),
                ("none", r#"{app="x"} none"#),
            ],
        );
    }

    #[test]
    fn labels_move() {
        table("structured_metadata: {app: }", &[("l", "{} l [app=x]")]);
        table("structured_metadata: {a: app, b: app}", &[("l", "{} l [a=x, b=x]")]);
        // Not extracted, but still a label.
        table("[static_labels: {s: v}, structured_metadata: {s: }]", &[("l", r#"{app="x"} l [s=v]"#)]);
        table("[tenant: {value: t}, structured_metadata: {t: __tenant_id__}]", &[("l", r#"{app="x"} l [t=t]"#)]);
    }

    #[test]
    fn a_label_of_another_value_stays() {
        table(
            "[regex: {expression: '(?P<app>.)'}, structured_metadata: {app: }]",
            &[("l", r#"{app="x"} l [app=l]"#), ("x", "{} x [app=x]")],
        );
    }

    #[test]
    fn names_that_are_none() {
        refused(&[("structured_metadata: {a-b: c}", "[0].structured_metadata", "invalid label name `a-b`")]);
    }
}
