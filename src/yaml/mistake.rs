//! Errors from serde about a value, with its path.

use std::fmt;

use serde::de::{self, Unexpected};

use super::secrets;
use crate::model::{ConfigError, KeyPath, Step, nearest};

/// A value that cannot be read into its type.
#[derive(Debug)]
pub(super) struct Mistake {
    /// Innermost first.
    steps: Vec<Step>,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
    Said(String),
    Unknown { key: String, message: String },
    Unfit { expected: String, got: String, text: bool },
}

impl Mistake {
    /// Converts to a config error. Also returns the key if it is unknown. `block` is the path of the block being read.
    /// The text contains no value that may be a secret.
    pub(super) fn within(&self, block: &KeyPath) -> (ConfigError, Option<&str>) {
        let path = block.join(&self.steps.iter().rev().cloned().collect::<Vec<_>>());
        let (problem, unknown) = match &self.problem {
            Problem::Said(message) => (message.clone(), None),
            Problem::Unknown { key, message } => (message.clone(), Some(key.as_str())),
            // Credentials are often written in one line instead of a mapping.
            Problem::Unfit { expected, text: true, .. } if secrets::is_on(&path) || expected.contains("mapping") => {
                (format!("expected {expected}, got text (not shown)"), None)
            }
            Problem::Unfit { expected, got, .. } => (format!("expected {expected}, got {got}"), None),
        };
        (ConfigError::at(path, problem), unknown)
    }

    pub(super) fn under(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    fn said(message: String) -> Self {
        Self { steps: Vec::new(), problem: Problem::Said(message) }
    }

    pub(super) fn unfit(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let text = matches!(unexpected, Unexpected::Str(_));
        let (expected, got) = (plain(&expected.to_string()), found(unexpected));
        Self { steps: Vec::new(), problem: Problem::Unfit { expected, got, text } }
    }
}

impl std::error::Error for Mistake {}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.within(&KeyPath::default()).0.fmt(f)
    }
}

impl de::Error for Mistake {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::said(message.to_string())
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::unfit(unexpected, expected)
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::unfit(unexpected, expected)
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        let problem = Problem::Unknown { key: field.to_string(), message: unknown("unknown key", field, known) };
        Self { steps: Vec::new(), problem }
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        Self::said(unknown(&format!("unknown value {variant:?}"), variant, known))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::said(format!("{field} is required"))
    }
}

fn unknown(what: &str, name: &str, known: &[&'static str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("{what}, did you mean {near}?"),
        None if known.is_empty() => what.to_string(),
        None => format!("{what}; known here: {}", known.join(", ")),
    }
}

/// Translates serde's description of an expected type into YAML terms.
fn plain(expected: &str) -> String {
    match expected {
        "a sequence" => "a list",
        "a map" => "a mapping",
        "a string" => "text",
        "a boolean" => "true or false",
        "u8" => "a number from 0 to 255",
        "u16" => "a number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number from 0",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        other if other.starts_with("struct ") => "a mapping",
        other if other.starts_with("enum ") => "a name",
        other => other,
    }
    .to_string()
}

fn found(unexpected: Unexpected<'_>) -> String {
    match unexpected {
        Unexpected::Bool(v) => v.to_string(),
        Unexpected::Unsigned(v) => v.to_string(),
        Unexpected::Signed(v) => v.to_string(),
        Unexpected::Float(v) => v.to_string(),
        Unexpected::Str(v) => format!("text {v:?}"),
        Unexpected::Unit | Unexpected::Option => "nothing".to_string(),
        Unexpected::Seq => "a list".to_string(),
        Unexpected::Map | Unexpected::StructVariant | Unexpected::NewtypeVariant => "a mapping".to_string(),
        other => other.to_string(),
    }
}
