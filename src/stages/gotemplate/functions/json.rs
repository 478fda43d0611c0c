//! Reads and writes JSON as Go does.

use std::fmt::Write;

use gotmpl::Value;

use super::super::super::gojson::{Escapes, quote_with};
use super::super::call::{Outcome, text};
use super::super::moment;
use super::super::version::Version;
use super::{Function, function};

pub(super) const FUNCTIONS: &[Function] = &[
    function("fromJson", 1, |c| Ok(parse(c.text(0)?).unwrap_or(Value::Nil))),
    function("mustFromJson", 1, |c| parse(c.text(0)?)),
    function("toJson", 1, |c| text(Style::PLAIN.write(c.any(0)).unwrap_or_default())),
    function("mustToJson", 1, |c| text(Style::PLAIN.write(c.any(0))?)),
    function("toPrettyJson", 1, |c| text(Style::PRETTY.write(c.any(0)).unwrap_or_default())),
    function("mustToPrettyJson", 1, |c| text(Style::PRETTY.write(c.any(0))?)),
    function("toRawJson", 1, |c| text(Style::RAW.write(c.any(0))?)),
    function("mustToRawJson", 1, |c| text(Style::RAW.write(c.any(0))?)),
];

fn parse(json: &str) -> Outcome {
    let value = serde_json::from_str(json).map_err(|_| "not JSON")?;
    Ok(from(value))
}

fn from(value: serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(b) => Value::Bool(b),
        serde_json::Value::Number(n) => Value::Float(n.as_f64().unwrap_or_default()),
        serde_json::Value::String(text) => Value::String(text.into()),
        serde_json::Value::Array(items) => Value::List(items.into_iter().map(from).collect()),
        serde_json::Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (name.into(), from(value)));
            Value::Map(std::sync::Arc::new(fields.collect()))
        }
    }
}

struct Style {
    /// Escape characters that are special in HTML.
    html: bool,
    pretty: bool,
}

impl Style {
    const PLAIN: Self = Self { html: true, pretty: false };
    const PRETTY: Self = Self { html: true, pretty: true };
    const RAW: Self = Self { html: false, pretty: false };

    fn write(&self, value: &Value) -> Result<String, String> {
        let mut out = String::new();
        self.value(&mut out, value, 0)?;
        Ok(out)
    }

    fn value(&self, out: &mut String, value: &Value, depth: usize) -> Result<(), String> {
        match value {
            Value::Nil => out.push_str("null"),
            Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Value::Int(n) => out.push_str(&n.to_string()),
            Value::Uint(n) => out.push_str(&n.to_string()),
            Value::Float(n) => float(out, *n)?,
            Value::String(text) => self.text(out, text),
            Value::List(items) => {
                self.items(out, "[]", items.iter(), depth, |out, item| self.value(out, item, depth + 1))?;
            }
            Value::Map(fields) => {
                match moment::of(value).map(|stamp| moment::json(&stamp)).or_else(|| version(value)) {
                    Some(text) => self.text(out, &text),
                    None => self.items(out, "{}", fields.iter(), depth, |out, (name, value)| {
                        self.text(out, name);
                        out.push_str(if self.pretty { ": " } else { ":" });
                        self.value(out, value, depth + 1)
                    })?,
                }
            }
            Value::Function(_) => return Err("a function has no JSON".into()),
        }
        Ok(())
    }

    fn items<T>(
        &self,
        out: &mut String,
        brackets: &str,
        items: impl ExactSizeIterator<Item = T>,
        depth: usize,
        mut write: impl FnMut(&mut String, T) -> Result<(), String>,
    ) -> Result<(), String> {
        let line = |out: &mut String, depth: usize| {
            if self.pretty {
                out.push('\n');
                out.extend(std::iter::repeat_n("  ", depth));
            }
        };
        let some = items.len() > 0;
        out.push_str(&brackets[..1]);
        for (i, item) in items.enumerate() {
            if i > 0 {
                out.push(',');
            }
            line(out, depth + 1);
            write(out, item)?;
        }
        if some {
            line(out, depth);
        }
        out.push_str(&brackets[1..]);
        Ok(())
    }

    fn text(&self, out: &mut String, text: &str) {
        quote_with(out, text, Escapes { html: self.html, short: true });
    }
}

fn version(value: &Value) -> Option<String> {
    Version::of(value).map(|version| version.to_string())
}

/// Very large and very small numbers have an exponent.
fn float(out: &mut String, n: f64) -> Result<(), String> {
    if !n.is_finite() {
        return Err(format!("{n} has no JSON"));
    }
    // Writing to a string cannot fail.
    _ = match n.abs() {
        0.0 | 1e-6..1e21 => write!(out, "{n}"),
        large if large >= 1.0 => write!(out, "{}", format!("{n:e}").replace('e', "e+")),
        _ => write!(out, "{n:e}"),
    };
    Ok(())
}
