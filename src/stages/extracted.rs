//! The extracted values that stages pass to each other.

use std::borrow::Cow;
use std::ops::{Deref, Range};
use std::sync::Arc;

use super::labelling::TENANT;
use crate::model::gonumber::{parse_duration, parse_float};
use crate::model::{Entry, LabelSet, loki_label_name};

/// The values extracted from an entry. Behind them are the labels that the entry had at the start of the pipeline.
#[derive(Clone, Debug, Default)]
pub struct Extracted<'c> {
    /// A removed name stays as `None`, to hide the label with that name.
    own: Vec<(Key, Option<Value<'c>>)>,
    labels: Option<LabelSet>,
}

/// An extracted value with its JSON type.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'c> {
    Text(Cow<'c, str>),
    Number(f64),
    Bool(bool),
    Null,
}

/// The name of an extracted value. A clone does not allocate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    Static(&'static str),
    Shared(Arc<str>),
}

impl<'c> Extracted<'c> {
    /// Starts a pipeline: each label is an extracted value.
    pub fn begin(&mut self, labels: &LabelSet) {
        self.own.clear();
        if !self.labels.as_ref().is_some_and(|before| before.same(labels)) {
            self.labels = Some(labels.clone());
        }
    }

    /// Starts a nested pipeline: current labels hide values extracted under their names.
    pub fn begin_again(&mut self, entry: &Entry<'_>) {
        if let Some(before) = self.labels.replace(entry.labels.clone()).filter(|b| !b.same(&entry.labels)) {
            // A label that was removed stays extracted.
            for (name, value) in before.iter().filter(|(n, _)| entry.labels.get(n).is_none()) {
                if !self.own.iter().any(|(key, _)| **key == *name) {
                    self.own.push((Key::from(name.to_string()), Some(Value::from(value.to_string()))));
                }
            }
        }
        self.own.retain(|(key, _)| entry.labels.get(key).is_none());
        if let Some(tenant) = &entry.tenant {
            self.set(TENANT, Value::from(tenant.to_string()));
        }
    }

    pub fn get(&self, name: &str) -> Option<Value<'_>> {
        match self.own.iter().find(|(key, _)| **key == *name) {
            Some((_, value)) => value.as_ref().map(Value::borrowed),
            None => self.label(name).map(|v| Value::Text(Cow::Borrowed(v))),
        }
    }

    /// A label by its name, or by the name it had before it was corrected for Loki.
    fn label(&self, name: &str) -> Option<&str> {
        let labels = self.labels.as_ref()?;
        labels.get(name).or_else(|| match loki_label_name(name) {
            Cow::Owned(taken) if !name.is_empty() => labels.get(taken.as_str()),
            _ => None,
        })
    }

    /// The value as text. None if it was not extracted or is null.
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name)?.into_text()
    }

    /// Like [`text`](Self::text), but not borrowed from this map. May borrow from the chunk.
    pub fn text_for_line(&self, name: &str) -> Option<Cow<'c, str>> {
        self.get_for_line(name)?.into_text()
    }

    pub fn get_for_line(&self, name: &str) -> Option<Value<'c>> {
        match self.own.iter().find(|(key, _)| **key == *name) {
            Some((_, value)) => value.clone(),
            None => self.label(name).map(|v| Value::from(v.to_string())),
        }
    }

    /// Whether the value was extracted, even as null.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub fn set(&mut self, name: impl Into<Key>, value: Value<'c>) {
        self.put(name.into(), Some(value));
    }

    pub fn remove(&mut self, name: impl Into<Key>) {
        self.put(name.into(), None);
    }

    /// All values, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        let own = |name: &str| self.own.iter().any(|(key, _)| **key == *name);
        let labels = self.labels.iter().flat_map(|l| l.iter()).filter(move |(name, _)| !own(name));
        let labels = labels.map(|(name, value)| (name, Value::Text(Cow::Borrowed(value))));
        self.own.iter().filter_map(|(key, value)| Some((&**key, value.as_ref()?.borrowed()))).chain(labels)
    }

    pub fn into_owned(self) -> Extracted<'static> {
        let own = self.own.into_iter().map(|(key, v)| (key, v.map(Value::into_owned)));
        Extracted { own: own.collect(), labels: self.labels }
    }

    fn put(&mut self, name: Key, value: Option<Value<'c>>) {
        match self.own.iter_mut().find(|(key, _)| **key == *name) {
            Some((_, slot)) => *slot = value,
            None => self.own.push((name, value)),
        }
    }
}

impl<'c> Value<'c> {
    /// A part of a text. Borrows from the chunk if the text does.
    pub fn part(text: &Cow<'c, str>, range: Range<usize>) -> Self {
        Value::Text(match text {
            Cow::Borrowed(text) => Cow::Borrowed(&text[range]),
            Cow::Owned(text) => Cow::Owned(text[range].to_string()),
        })
    }

    pub fn borrowed(&self) -> Value<'_> {
        match self {
            Value::Text(text) => Value::Text(Cow::Borrowed(text)),
            Value::Number(n) => Value::Number(*n),
            Value::Bool(b) => Value::Bool(*b),
            Value::Null => Value::Null,
        }
    }

    /// Converts to text as Promtail does. None for null. Numbers have no exponent, and as many digits as needed to
    /// distinguish them from other 64-bit floats.
    pub fn into_text(self) -> Option<Cow<'c, str>> {
        match self {
            Value::Text(text) => Some(text),
            Value::Number(n) => Some(Cow::Owned(n.to_string())),
            Value::Bool(b) => Some(Cow::Borrowed(if b { "true" } else { "false" })),
            Value::Null => None,
        }
    }

    /// Converts to a number as Promtail does. Text may be a duration, which counts in seconds. None: it is not a
    /// number.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Value::Text(text) => parse_float(text).or_else(|_| parse_duration(text).map(seconds)).ok(),
            Value::Number(n) => Some(*n),
            Value::Bool(b) => Some(f64::from(*b)),
            Value::Null => None,
        }
    }

    pub fn into_owned(self) -> Value<'static> {
        match self {
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Value::Number(n) => Value::Number(n),
            Value::Bool(b) => Value::Bool(b),
            Value::Null => Value::Null,
        }
    }
}

/// Seconds of a duration, computed as in Go: whole seconds plus the rest.
fn seconds(nanos: i64) -> f64 {
    (nanos / 1_000_000_000) as f64 + (nanos % 1_000_000_000) as f64 / 1e9
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Value::Text(Cow::Owned(text))
    }
}

impl Deref for Key {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Key::Static(name) => name,
            Key::Shared(name) => name,
        }
    }
}

impl From<&'static str> for Key {
    fn from(name: &'static str) -> Self {
        Key::Static(name)
    }
}

impl From<&Arc<str>> for Key {
    fn from(name: &Arc<str>) -> Self {
        Key::Shared(name.clone())
    }
}

impl From<String> for Key {
    fn from(name: String) -> Self {
        Key::Shared(name.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_as_text() {
        for (value, text) in [
            (Value::Number(12345678901234567890.0), Some("12345678901234567000")),
            (Value::Number(1562708916414123456.0), Some("1562708916414123500")),
            (Value::Number(1e21), Some("1000000000000000000000")),
            (Value::Number(-0.0), Some("-0")),
            (Value::Number(0.000_000_1), Some("0.0000001")),
            (Value::Bool(true), Some("true")),
            (Value::Text("".into()), Some("")),
            (Value::Null, None),
        ] {
            assert_eq!(value.clone().into_text().as_deref(), text, "{value:?}");
        }
    }

    #[test]
    fn values_as_numbers() {
        for (value, number) in [
            (Value::Text("1.5s".into()), Some(1.5)),
            (Value::Text("100ms".into()), Some(0.1)),
            (Value::Text("1e3".into()), Some(1000.0)),
            (Value::Text("-7".into()), Some(-7.0)),
            (Value::Text("0x1F".into()), None),
            (Value::Text("0x1p-2".into()), Some(0.25)),
            (Value::Text("1_000".into()), Some(1000.0)),
            (Value::Text("1_".into()), None),
            (Value::Text("Infinity".into()), Some(f64::INFINITY)),
            (Value::Text("-inf".into()), Some(f64::NEG_INFINITY)),
            (Value::Text("+nan".into()), None),
            (Value::Text("1e400".into()), None),
            (Value::Text("-1.5s".into()), Some(-1.5)),
            (Value::Text("-0s".into()), Some(0.0)),
            (Value::Text("1h-5m".into()), None),
            (Value::Text("9223372036854775808ns".into()), None),
            (Value::Text(" 1".into()), None),
            (Value::Text("seven".into()), None),
            (Value::Text("".into()), None),
            (Value::Bool(true), Some(1.0)),
            (Value::Null, None),
        ] {
            assert_eq!(value.as_number(), number, "{value:?}");
        }
    }

    #[test]
    fn labels_stand_behind_until_hidden() {
        let mut extracted = Extracted::default();
        extracted.begin(&LabelSet::new([("a", "1"), ("b", "2"), ("c_d", "3"), ("_", "4")]));
        // The name was `c-d` before it was corrected for Loki.
        assert_eq!((extracted.text("c-d").as_deref(), extracted.text("")), (Some("3"), None));
        extracted.begin(&LabelSet::new([("a", "1"), ("b", "2")]));
        extracted.set("b", Value::Null);
        assert_eq!(extracted.text("a").as_deref(), Some("1"));
        assert_eq!((extracted.contains("b"), extracted.text("b")), (true, None));
        extracted.remove("a");
        assert!(!extracted.contains("a"));
        assert_eq!(extracted.iter().collect::<Vec<_>>(), [("b", Value::Null)]);
    }
}
