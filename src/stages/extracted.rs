//! The map of extracted values that stages hand to each other.

use std::borrow::Cow;

use crate::model::LabelSet;

/// What was extracted from an entry: names and values, and behind them the labels it had when the pipeline began.
#[derive(Clone, Debug, Default)]
pub struct Extracted<'c> {
    /// A removed name stays, as `None`, to hide the label of that name.
    own: Vec<(Cow<'c, str>, Option<Value<'c>>)>,
    labels: Option<LabelSet>,
}

/// An extracted value, typed as JSON typed it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'c> {
    Text(Cow<'c, str>),
    Number(f64),
    Bool(bool),
    Null,
}

impl<'c> Extracted<'c> {
    /// What the pipeline begins with: every label is an extracted value.
    pub fn begin(labels: &LabelSet) -> Self {
        Self { own: Vec::new(), labels: Some(labels.clone()) }
    }

    pub fn get(&self, name: &str) -> Option<Value<'_>> {
        match self.own.iter().find(|(n, _)| n == name) {
            Some((_, value)) => value.clone(),
            None => self.labels.as_ref()?.get(name).map(|v| Value::Text(Cow::Borrowed(v))),
        }
    }

    pub fn set(&mut self, name: impl Into<Cow<'c, str>>, value: Value<'c>) {
        self.put(name.into(), Some(value));
    }

    pub fn remove(&mut self, name: impl Into<Cow<'c, str>>) {
        self.put(name.into(), None);
    }

    pub fn into_owned(self) -> Extracted<'static> {
        let own = self.own.into_iter().map(|(n, v)| (Cow::Owned(n.into_owned()), v.map(Value::into_owned)));
        Extracted { own: own.collect(), labels: self.labels }
    }

    fn put(&mut self, name: Cow<'c, str>, value: Option<Value<'c>>) {
        match self.own.iter_mut().find(|(n, _)| *n == name) {
            Some((_, slot)) => *slot = value,
            None => self.own.push((name, value)),
        }
    }
}

impl Value<'_> {
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Value::Number(n) => Value::Number(n),
            Value::Bool(b) => Value::Bool(b),
            Value::Null => Value::Null,
        }
    }
}
