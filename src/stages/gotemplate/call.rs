//! A function call, with access to its arguments by type.

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::Value;

use super::world::World;

pub(super) struct Call<'a> {
    pub world: &'a World,
    pub args: &'a [Value],
}

/// The result of a function, or the error that fails the template.
pub(super) type Outcome = Result<Value, String>;

/// The longest text and list that a function may create.
pub(super) const MAX_TEXT: usize = crate::model::MAX_LINE;
pub(super) const MAX_LIST: usize = 100_000;

/// The deepest nesting of a value, and its greatest size when written, in units of [`weigh`].
const DEEPEST: usize = 200;
const HEAVIEST: usize = 1 << 20;

/// The cost of traversing a value. A list that appears several times counts each time.
pub(super) fn weigh(value: &Value) -> Result<usize, String> {
    fn add(value: &Value, depth: usize, weight: &mut usize) -> Result<(), String> {
        if depth > DEEPEST {
            return Err(format!("a value is nested deeper than {DEEPEST}"));
        }
        *weight += 1;
        match value {
            Value::String(text) => *weight += text.len() / 8,
            Value::List(items) => items.iter().try_for_each(|item| add(item, depth + 1, weight))?,
            Value::Map(fields) => fields.iter().try_for_each(|(name, field)| {
                *weight += name.len() / 8;
                add(field, depth + 1, weight)
            })?,
            _ => {}
        }
        if *weight > HEAVIEST { Err("a value is too large".into()) } else { Ok(()) }
    }
    let mut weight = 0;
    add(value, 0, &mut weight)?;
    Ok(weight)
}

/// The cost of creating a value from existing parts.
pub(super) fn cost(made: &Value) -> usize {
    match made {
        Value::String(text) => text.len() / 8,
        Value::List(items) => items.len(),
        Value::Map(fields) => fields.len(),
        _ => 0,
    }
}

impl<'a> Call<'a> {
    pub fn any(&self, at: usize) -> &'a Value {
        &self.args[at]
    }

    pub fn rest(&self, from: usize) -> &'a [Value] {
        &self.args[from.min(self.args.len())..]
    }

    pub fn text(&self, at: usize) -> Result<&'a str, String> {
        text_of(self.any(at))
    }

    pub fn int(&self, at: usize) -> Result<i64, String> {
        match self.any(at) {
            Value::Int(n) => Ok(*n),
            Value::Uint(n) => i64::try_from(*n).map_err(|_| format!("{n} overflows int")),
            other => Err(expected("int", other)),
        }
    }

    pub fn float(&self, at: usize) -> Result<f64, String> {
        match self.any(at) {
            Value::Float(n) => Ok(*n),
            Value::Int(n) => Ok(*n as f64),
            other => Err(expected("float64", other)),
        }
    }

    pub fn truth(&self, at: usize) -> Result<bool, String> {
        match self.any(at) {
            Value::Bool(b) => Ok(*b),
            other => Err(expected("bool", other)),
        }
    }

    pub fn list(&self, at: usize) -> Result<&'a [Value], String> {
        match self.any(at) {
            Value::List(items) => Ok(items),
            other => Err(expected("a list", other)),
        }
    }

    pub fn map(&self, at: usize) -> Result<&'a BTreeMap<Arc<str>, Value>, String> {
        map_of(self.any(at))
    }
}

pub(super) fn text_of(value: &Value) -> Result<&str, String> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(expected("string", other)),
    }
}

pub(super) fn map_of(value: &Value) -> Result<&BTreeMap<Arc<str>, Value>, String> {
    match value {
        Value::Map(map) => Ok(map),
        other => Err(expected("a dictionary", other)),
    }
}

pub(super) fn expected(what: &str, found: &Value) -> String {
    format!("wrong type for value; expected {what}; got {}", super::show::type_of(found))
}

pub(super) fn text(text: impl AsRef<str>) -> Outcome {
    bounded(Value::String(text.as_ref().into()))
}

pub(super) fn bounded(value: Value) -> Outcome {
    match value {
        Value::String(long) if long.len() > MAX_TEXT => Err(format!("a text of {} bytes is too long", long.len())),
        value => Ok(value),
    }
}

pub(super) fn list(items: Vec<Value>) -> Outcome {
    match items.len() {
        0..=MAX_LIST => Ok(Value::List(items.into())),
        many => Err(format!("a list of {many} items is too long")),
    }
}

pub(super) fn texts<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> Outcome {
    list(items.into_iter().map(|item| Value::String(item.as_ref().into())).collect())
}

pub(super) fn map(map: BTreeMap<Arc<str>, Value>) -> Outcome {
    Ok(Value::Map(Arc::new(map)))
}
