//! `eventlogmessage`: extracts values from the `key: value` lines of a Windows event message.
//!
//! ```yaml
//! - eventlogmessage:
//!     source: message              # default; the extracted value with the message
//!     drop_invalid_labels: false   # default; true: skip keys that are not valid label names
//!     overwrite_existing: false    # default; true: replace values that are already extracted
//! ```
//!
//! Characters that are not valid in a label name become `_`. If a value with this key is already extracted, the new
//! value is named `<key>_extracted`.
//!
//! Lines of the message end with CR LF. Lines without a colon are skipped. Only the first 1000 keys of a message are
//! read.
//!
//! If the source was not extracted, nothing changes. If the source is not text (a number, null), the entry is
//! discarded.
//!
//! Unlike Promtail: discarded entries are counted, in `logentry_dropped_lines_total{reason="eventlogmessage_stage"}`.

use std::borrow::Cow;
use std::sync::Arc;

use super::options::Options;
use super::{ConfigError, Flow, Key, Recipe, Stage, Value, Work};
use crate::model::{Reason, is_valid_label_name};

const REASON: &str = "eventlogmessage_stage";

/// A message has a few dozen keys. Text beyond this limit is ignored.
const KEYS: usize = 1000;

pub(super) fn compile(options: &mut Options<'_>) -> Result<Recipe, ConfigError> {
    let source: Arc<str> = options.source()?.unwrap_or("message").into();
    let drop_invalid = options.strict_boolean("drop_invalid_labels")?.unwrap_or(false);
    let overwrite = options.strict_boolean("overwrite_existing")?.unwrap_or(false);
    let reason = Reason::Stage(REASON.into());
    Ok(Box::new(move |_| {
        Box::new(EventLogMessage { source: source.clone(), drop_invalid, overwrite, reason: reason.clone() })
    }))
}

struct EventLogMessage {
    source: Arc<str>,
    drop_invalid: bool,
    overwrite: bool,
    reason: Reason,
}

impl Stage for EventLogMessage {
    fn process(&mut self, work: &mut Work<'_>, _: &mut Vec<Work<'static>>) -> Flow {
        let message = match work.extracted.get(&self.source) {
            None => return Flow::Pass,
            Some(Value::Text(message)) => message.into_owned(),
            Some(_) => return Flow::Discard(self.reason.clone()),
        };
        let pairs = message.split("\r\n").filter_map(|line| line.split_once(':'));
        for (key, value) in pairs.take(KEYS) {
            let mut key = match is_valid_label_name(key) {
                true => Cow::Borrowed(key),
                false if self.drop_invalid => continue,
                false => Cow::Owned(sanitized(key)),
            };
            if !self.overwrite && work.extracted.contains(&key) {
                key.to_mut().push_str("_extracted");
            }
            work.extracted.set(Key::from(key.into_owned()), Value::from(value.trim().to_string()));
        }
        Flow::Pass
    }
}

/// Replaces each character that is not valid in a label name with `_`.
fn sanitized(key: &str) -> String {
    if key.is_empty() {
        return "_".into();
    }
    let fits = |(i, c): (usize, char)| c.is_ascii_alphabetic() || c == '_' || (i > 0 && c.is_ascii_digit());
    key.chars().enumerate().map(|(i, c)| if fits((i, c)) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, refused, table};
    use super::sanitized;

    /// Checks the labels that are set from `message`.
    fn check(options: &str, message: &str, labels: &str) {
        let json = "json: {expressions: {message: }}";
        let names = "{Subject: , Account_Name: , Note: , app: , app_extracted: , _: }";
        let yaml = format!(
            "[{json}, eventlogmessage: {options}, labels: {names}, static_labels: {{a: b}}, output: {{source: app}}]"
        );
        let line = serde_json::json!({ "message": message }).to_string();
        let mut bench = Bench::of(&yaml);
        let mut seen = String::new();
        bench.run(&line, &mut |entry| seen = entry.labels.without("a").to_string());
        assert_eq!(seen, labels, "{options} {message}");
    }

    #[test]
    fn pairs_are_extracted() {
        let message = "Subject: S-1-5\r\nAccount Name:\tSYS \r\nno colon\r\nNote: a: b\nc\r\n: x";
        check("{}", message, r#"{Account_Name="SYS", Note="a: b\nc", Subject="S-1-5", _="x", app="x"}"#);
        check("{drop_invalid_labels: true}", message, r#"{Note="a: b\nc", Subject="S-1-5", app="x"}"#);
        check("{}", "just text", r#"{app="x"}"#);
    }

    #[test]
    fn what_is_extracted_already() {
        check("{}", "app: y", r#"{app="x", app_extracted="y"}"#);
        check("{overwrite_existing: true}", "app: y", r#"{app="y"}"#);
    }

    #[test]
    fn a_source_that_is_no_text() {
        let yaml = "[json: {expressions: {m: }}, eventlogmessage: {source: m}]";
        let mut bench = Bench::of(yaml);
        assert_eq!(bench.outcome(r#"{"m":1}"#), "");
        assert_eq!(bench.outcome(r#"{"n":"null"}"#), "");
        assert_eq!(bench.outcome("no json"), "{app=\"x\"} no json");
        assert_eq!(bench.dropped_as("eventlogmessage_stage"), 2);
    }

    #[test]
    fn names() {
        for (key, name) in [("a b-c", "a_b_c"), ("1a2", "_a2"), ("\té", "__"), ("", "_")] {
            assert_eq!(sanitized(key), name, "{key}");
        }
    }

    #[test]
    fn many_keys_are_bounded() {
        let message: String = (0..100_000).map(|i| format!("k{i}: v\\r\\n")).collect();
        let line = format!("{{\"message\":\"{message}\"}}");
        table(
            "[json: {expressions: {message: }}, eventlogmessage: {}, output: {source: k999}, labels: {k: k1000}]",
            &[(&line, "{app=\"x\"} v")],
        );
    }

    #[test]
    fn options_that_are_none() {
        refused(&[
            ("eventlogmessage: {source: ''}", "[0].eventlogmessage", "must not be empty"),
            ("eventlogmessage: {overwrite_existing: 1}", "[0].eventlogmessage.overwrite_existing", "true or false"),
        ]);
    }
}
