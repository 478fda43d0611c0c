//! `output`: sets the line to an extracted value.
//!
//! ```yaml
//! - output:
//!     source: message   # required
//! ```
//!
//! If the value was not extracted or is null, the line does not change. An empty text makes an empty line. Numbers are
//! written without exponent, lists and objects as JSON.

use std::sync::Arc;

use super::options::Options;
use super::reads::Reads;
use super::{ConfigError, Flow, Recipe, Stage, Work};

pub(super) fn compile(options: &mut Options<'_>) -> Result<Recipe, ConfigError> {
    let source: Arc<str> = options.required("source")?.into();
    options.reads(Reads::these([&*source]));
    Ok(Box::new(move |_| Box::new(Output { source: source.clone() })))
}

#[derive(Debug)]
struct Output {
    source: Arc<str>,
}

impl Stage for Output {
    fn process(&mut self, work: &mut Work<'_>, _: &mut Vec<Work<'static>>) -> Flow {
        if let Some(text) = work.extracted.text_for_line(&self.source) {
            work.entry.line = text;
        }
        Flow::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{refused, table};

    #[test]
    fn values_become_the_line() {
        table(
            "[json: {expressions: {m: }}, output: {source: m}]",
            &[
                (r#"{"m":"a\nb"}"#, "{app=\"x\"} a\nb"),
                (r#"{"m":-1.250}"#, "{app=\"x\"} -1.25"),
                (r#"{"m":""}"#, "{app=\"x\"} "),
                (r#"{"m":{"b":[],"a":1}}"#, "{app=\"x\"} {\"a\":1,\"b\":[]}"),
                (r#"{"m":null}"#, "{app=\"x\"} {\"m\":null}"),
                ("none", "{app=\"x\"} none"),
            ],
        );
        table("output: {source: app}", &[("of a label", "{app=\"x\"} x")]);
    }

    #[test]
    fn a_source_is_required() {
        refused(&[
            ("output: {}", "[0].output", "`source` is required"),
            ("output: {source: ''}", "[0].output", "`source` is required"),
            ("output: {source: 1}", "[0].output.source", "expected a string, found a number"),
            ("output: source", "[0].output", "expected a mapping of options, found a string"),
        ]);
    }
}
