//! From a node to a config struct: a serde `Deserializer` over the tree, whose errors know their path.
//!
//! It is as lenient as yaml.v2, which is what a `promtail.yaml` was written for: a string field takes any scalar as it was
//! written, null is an empty block, `1_000` and `010` are numbers.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, IntoDeserializer, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};

use super::path::{Path, Step};
use super::tree::{Content, Node};
use crate::config::nearest::nearest;
use crate::config::secrets;

pub(super) fn from_node<'de, T: Deserialize<'de>>(node: &'de Node) -> Result<T, Error> {
    T::deserialize(Read(node))
}

#[derive(Debug)]
pub(super) struct Error {
    /// Innermost first.
    steps: Vec<Step>,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
    Said(String),
    Unfit { expected: String, got: String, text: bool },
}

impl Error {
    pub(super) fn path(&self) -> Path {
        Path::new(self.steps.iter().rev().cloned().collect())
    }

    /// What to say of it at this path: nothing of a value that may be a secret.
    pub(super) fn message(&self, path: &Path) -> String {
        match &self.problem {
            Problem::Said(message) => message.clone(),
            Problem::Unfit { expected, text: true, .. } if secrets::is_on(path) => {
                format!("expected {expected}, got text (not shown)")
            }
            Problem::Unfit { expected, got, .. } => format!("expected {expected}, got {got}"),
        }
    }

    fn under(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    fn said(message: String) -> Self {
        Self { steps: Vec::new(), problem: Problem::Said(message) }
    }

    fn unfit(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let text = matches!(unexpected, Unexpected::Str(_));
        let (expected, got) = (plain(&expected.to_string()), found(unexpected));
        Self { steps: Vec::new(), problem: Problem::Unfit { expected, got, text } }
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path();
        write!(f, "{path}: {}", self.message(&path))
    }
}

impl de::Error for Error {
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
        Self::said(unknown("unknown key", field, known))
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

/// What was expected, as one would say it of YAML.
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

struct Read<'de>(&'de Node);

/// Numbers in the forms that YAML 1.1 has beyond YAML 1.2's.
macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match (&self.0.content, integer(&self.0.raw)) {
                (Content::Text, Some(Ok(v))) => visitor.visit_u64(v),
                (Content::Text, Some(Err(v))) => visitor.visit_i64(v),
                _ => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Read<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.0.content {
            Content::Null => visitor.visit_unit(),
            Content::Bool(v) => visitor.visit_bool(*v),
            Content::Unsigned(v) => visitor.visit_u64(*v),
            Content::Signed(v) => visitor.visit_i64(*v),
            Content::Float(v) => visitor.visit_f64(*v),
            Content::Text => visitor.visit_borrowed_str(&self.0.raw),
            Content::List(items) => visitor.visit_seq(Items { items, next: 0 }),
            Content::Map(entries) => visitor.visit_map(Entries { entries, next: 0 }),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.0.content {
            Content::List(_) | Content::Map(_) => self.deserialize_any(visitor),
            Content::Null => visitor.visit_borrowed_str(""),
            _ => visitor.visit_borrowed_str(&self.0.raw),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.content {
            Content::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.content {
            Content::Null => visitor.visit_seq(Items { items: &[], next: 0 }),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.content {
            Content::Null => visitor.visit_map(Entries { entries: &[], next: 0 }),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0.content {
            // A struct would also read itself from a list, field by field.
            Content::List(_) => Err(Error::unfit(Unexpected::Seq, &"a mapping")),
            _ => self.deserialize_map(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.0.content {
            Content::Map(entries) => visitor.visit_enum(MapAccessDeserializer::new(Entries { entries, next: 0 })),
            Content::List(_) => self.deserialize_any(visitor),
            _ => visitor.visit_enum(<&str as IntoDeserializer<'_, Error>>::into_deserializer(self.0.raw.as_str())),
        }
    }

    numbers! {
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
    }

    forward_to_deserialize_any! {
        bool i128 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

/// `1_000`, `010` (octal), `0b11`; Err holds a negative one.
fn integer(raw: &str) -> Option<Result<u64, i64>> {
    let digits = raw.replace('_', "");
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits.strip_prefix('+').unwrap_or(&digits)),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'b', ..] => (2, &digits[2..]),
        [b'0', b'x', ..] => (16, &digits[2..]),
        [b'0', b'o', ..] => (8, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    match negative {
        true => i64::from_str_radix(&format!("-{digits}"), radix).ok().map(Err),
        false => u64::from_str_radix(digits, radix).ok().map(Ok),
    }
}

struct Items<'de> {
    items: &'de [Node],
    next: usize,
}

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(item) = self.items.get(self.next) else { return Ok(None) };
        let step = Step::Index(self.next);
        self.next += 1;
        seed.deserialize(Read(item)).map(Some).map_err(|e| e.under(step))
    }
}

struct Entries<'de> {
    entries: &'de [(String, Node)],
    next: usize,
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, _)) = self.entries.get(self.next) else { return Ok(None) };
        let deserializer: StrDeserializer<'_, Error> = key.as_str().into_deserializer();
        seed.deserialize(deserializer).map(Some).map_err(|e| e.under(Step::Key(key.clone())))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (key, value) = &self.entries[self.next];
        self.next += 1;
        seed.deserialize(Read(value)).map_err(|e| e.under(Step::Key(key.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_yaml_1_1() {
        for (raw, want) in [
            ("1_000", Some(Ok(1000))),
            ("010", Some(Ok(8))),
            ("-1_0", Some(Err(-10))),
            ("0b11", Some(Ok(3))),
            ("9", Some(Ok(9))),
            ("09", None),
            ("many", None),
            ("", None),
            ("-", None),
            ("+-1", None),
            ("1e3", None),
        ] {
            assert_eq!(integer(raw), want, "{raw}");
        }
    }
}
