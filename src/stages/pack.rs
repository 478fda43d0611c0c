//! `pack`: packs extracted values and the line into one line of JSON.
//!
//! ```yaml
//! - pack:
//!     labels: [pod, container]   # labels and other extracted values to pack; packed labels are removed
//!     ingest_timestamp: true     # default; the entry's time becomes the time when its line was read
//! ```
//!
//! The result is `{"container":"c","pod":"p","_entry":"the line"}`. `unpack` in a query reverses it. Missing values are
//! left out. A label set by `static_labels` is not an extracted value, so it is not packed and stays a label.
//!
//! Unlike Promtail: the time is when the line was read, not when it was packed. It is the same if the line must be sent
//! again.

use std::sync::Arc;

use super::gojson::quote;
use super::labelling::Changing;
use super::options::Options;
use super::{ConfigError, Flow, Recipe, Stage, Work};
use crate::model::LabelSet;

const ENTRY: &str = "_entry";

pub(super) fn compile(options: &mut Options<'_>) -> Result<Recipe, ConfigError> {
    let mut names = options.field("labels")?.map(|f| f.weak_list()).transpose()?.unwrap_or_default();
    names.sort();
    names.dedup();
    let ingest = options.boolean("ingest_timestamp")?.unwrap_or(true);
    let names: Arc<[String]> = names.into();
    Ok(Box::new(move |_| {
        let sets = names.iter().map(|_| Changing::default()).collect();
        Box::new(Pack { names: names.clone(), sets, ingest })
    }))
}

#[derive(Debug)]
struct Pack {
    /// Sorted.
    names: Arc<[String]>,
    /// The cached removal of the label with this index.
    sets: Vec<Changing>,
    ingest: bool,
}

impl Stage for Pack {
    fn process(&mut self, work: &mut Work<'_>, _: &mut Vec<Work<'static>>) -> Flow {
        let mut json = String::with_capacity(work.entry.line.len() + 64);
        json.push('{');
        for (name, sets) in self.names.iter().zip(&mut self.sets) {
            let Some(value) = work.extracted.text(name) else {
                continue;
            };
            quote(&mut json, name);
            json.push(':');
            quote(&mut json, &value);
            json.push(',');
            if work.entry.labels.get(name).is_some() {
                work.entry.labels = sets.apply(&work.entry.labels, |old: &LabelSet| old.without(name));
            }
        }
        quote(&mut json, ENTRY);
        json.push(':');
        quote(&mut json, &work.entry.line);
        json.push('}');
        work.entry.line = json.into();
        if self.ingest {
            work.entry.timestamp = work.read;
        }
        Flow::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Seen, check, refused, table};

    #[test]
    fn labels_and_values_go_into_the_line() {
        table(
            "[json: {expressions: {u: , n: , none: }}, static_labels: {s: v}, pack: {labels: [u, app, n, none, s]}]",
            &[
                (
                    r#"{"u":"a","n":1.50}"#,
                    r#"{s="v"} {"app":"x","n":"1.5","u":"a","_entry":"{\"u\":\"a\",\"n\":1.50}"}"#,
                ),
                ("plain", r#"{s="v"} {"app":"x","_entry":"plain"}"#),
            ],
        );
        table(
            "pack: {labels: app}",
            &[("<&>\u{2028}\u{1}", "{} {\"app\":\"x\",\"_entry\":\"\\u003c\\u0026\\u003e\\u2028\\u0001\"}")],
        );
    }

    #[test]
    fn without_labels_the_line_alone() {
        for yaml in ["pack: {}", "pack:", "pack: {labels: []}", "pack: {labels: [nothing]}"] {
            table(yaml, &[("l", r#"{app="x"} {"_entry":"l"}"#)]);
        }
    }

    #[test]
    fn the_time_is_that_of_reading_unless_told_otherwise() {
        for (yaml, timestamp) in [("{}", Seen::READ), ("{ingest_timestamp: 'false'}", 7)] {
            let lines = ["1970-01-01T00:00:00.000000007Z stdout F l".to_string()];
            let yaml = format!("match: {{selector: '{{app=\"x\"}}', stages: [{{cri: }}, {{pack: {yaml}}}]}}");
            let labels = "{app=\"x\", stream=\"stdout\"}".into();
            check(&yaml, &lines, &[Seen { timestamp, labels, line: r#"{"_entry":"l"}"#.into() }]);
        }
    }

    #[test]
    fn options_that_are_none() {
        refused(&[
            ("pack: {labels: {a: b}}", "[0].pack.labels", "a mapping"),
            ("pack: {ingest_timestamp: x}", "[0].pack.ingest_timestamp", "true or false"),
        ]);
    }
}
