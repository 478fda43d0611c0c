//! `labels`: sets labels from extracted values.
//!
//! ```yaml
//! - labels:
//!     level:            # from the extracted value with the same name
//!     service: app      # from the extracted value `app`
//! ```
//!
//! The stage replaces a label that already exists. If the value was not extracted or is null, the label does not
//! change. An empty value sets an empty label. Numbers are written without exponent, booleans as `true` and `false`. A
//! value that was not valid UTF-8 in the log does not become a label. The name `__tenant_id__` sets the tenant.
//!
//! Each combination of label values is a stream in Loki, so use values with few variants. For others (trace ids, users)
//! use `structured_metadata`.

use std::borrow::Cow;
use std::sync::Arc;

use super::labelling::{Setting, TENANT, set_tenant};
use super::options::Options;
use super::reads::Reads;
use super::{ConfigError, Flow, Recipe, Stage, Work};
use crate::model::is_valid_label_name;

pub(super) fn compile(options: &mut Options<'_>) -> Result<Recipe, ConfigError> {
    let labels: Arc<[Made]> = made(options)?.into();
    options.reads(Reads::these(labels.iter().map(|l| &*l.source)));
    let tenant = labels.iter().position(|l| *l.name == *TENANT);
    Ok(Box::new(move |_| {
        let setting = Setting::new(labels.iter().map(|l| &*l.name));
        Box::new(Labels { labels: labels.clone(), tenant, setting })
    }))
}

/// A name, and the extracted value that it is set from.
#[derive(Debug)]
pub(super) struct Made {
    pub name: Arc<str>,
    pub source: Arc<str>,
}

/// Reads a mapping of names to extracted values. Without a value both have the same name.
pub(super) fn made(options: &Options<'_>) -> Result<Vec<Made>, ConfigError> {
    let whole = options.whole();
    let pairs = whole.pairs()?;
    if pairs.is_empty() {
        options.warn("without a name this stage does nothing".into());
    }
    if let Some((name, _)) = pairs.iter().find(|(name, _)| !is_valid_label_name(name)) {
        let rule = "use letters, digits and underscores only, and no digit first";
        return Err(whole.fail(format!("invalid label name `{name}`: {rule}")));
    }
    let made = pairs.into_iter().map(|(name, source)| (name, source.unwrap_or(name)));
    Ok(made.map(|(name, source)| Made { name: name.into(), source: source.into() }).collect())
}

#[derive(Debug)]
struct Labels {
    labels: Arc<[Made]>,
    /// The index of the tenant, which is not a label.
    tenant: Option<usize>,
    setting: Setting,
}

impl Stage for Labels {
    fn process(&mut self, work: &mut Work<'_>, _: &mut Vec<Work<'static>>) -> Flow {
        let (entry, extracted) = (&work.entry, &work.extracted);
        let value = |i: usize| extracted.text(&self.labels[i].source).filter(|text| !was_no_text(text, &entry.line));
        let (tenant, labels) = match self.tenant {
            None => (None, self.setting.apply(&entry.labels, value)),
            Some(t) => (value(t), self.setting.apply(&entry.labels, |i| value(i).filter(|_| i != t))),
        };
        let tenant = tenant.map(Cow::into_owned);
        work.entry.labels = labels;
        if let Some(tenant) = tenant {
            set_tenant(&mut work.entry, &tenant);
        }
        Flow::Pass
    }
}

/// Whether the value contains bytes that were not UTF-8 and were replaced when the line was read. If the line has no
/// replacement character, the one in the value came from an escape and is valid.
pub(super) fn was_no_text(value: &str, line: &str) -> bool {
    value.contains(char::REPLACEMENT_CHARACTER) && line.contains(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, refused, table};

    #[test]
    fn extracted_values_become_labels() {
        let yaml =
            "[json: {expressions: {lvl: l, svc: s, app: a}}, labels: {lvl: , service: svc, app: '', other: nothing}]";
        table(
            yaml,
            &[
                (r#"{"l":"warn","s":"cart"}"#, r#"{app="x", lvl="warn", service="cart"} {"l":"warn","s":"cart"}"#),
                (r#"{"l":"","a":"y"}"#, r#"{app="y", lvl=""} {"l":"","a":"y"}"#),
                (r#"{"l":7.0,"s":true}"#, r#"{app="x", lvl="7", service="true"} {"l":7.0,"s":true}"#),
                (r#"{"l":null,"s":["a","<"]}"#, r#"{app="x", service="[\"a\",\"\\u003c\"]"} {"l":null,"s":["a","<"]}"#),
                ("plain", r#"{app="x"} plain"#),
            ],
        );
    }

    #[test]
    fn what_was_no_text_is_no_label() {
        let regex = r"[regex: {expression: '^(?P<a>\S+) (?P<b>\S+)'}, labels: {a: , b: }]";
        table(regex, &[("x \u{fffd}", "{a=\"x\", app=\"x\"} x \u{fffd}")]);
        let json = "[json: {expressions: {a: }}, labels: {a: }]";
        table(json, &[(r#"{"a":"\ud800"}"#, "{a=\"\u{fffd}\", app=\"x\"} {\"a\":\"\\ud800\"}")]);
    }

    #[test]
    fn the_tenant_is_a_label_too() {
        let yaml = r"[regex: {expression: '^(?P<t>\w*)'}, labels: {__tenant_id__: t, t: }]";
        table(yaml, &[("a b", r#"{app="x", t="a"} a b @a"#), ("", r#"{app="x", t=""} "#)]);
    }

    #[test]
    fn the_same_values_give_the_same_set() {
        let mut bench = Bench::of(r"[regex: {expression: '^(?P<a>\w)'}, labels: {a: }]");
        let mut sets = Vec::new();
        for line in ["1 a", "2 b", "1 c"] {
            bench.run(line, &mut |entry| sets.push(entry.labels.clone()));
        }
        assert!(sets[0].same(&sets[2]) && !sets[0].same(&sets[1]));
    }

    #[test]
    fn names_and_sources_that_are_none() {
        refused(&[
            ("labels: {my-label: x}", "[0].labels", "invalid label name `my-label`"),
            ("labels: {a.b: }", "[0].labels", "invalid label name `a.b`"),
            ("labels: {a: 1}", "[0].labels.a", "expected a string, found a number: write it in quotes"),
            ("labels: {a: [b]}", "[0].labels.a", "expected a string, found a list"),
            ("labels: {1: b}", "[0].labels", "expected a name, found a number"),
            ("labels: [a]", "[0].labels", "expected a mapping, found a list"),
        ]);
        table("labels: {}", &[("l", r#"{app="x"} l"#)]);
    }
}
