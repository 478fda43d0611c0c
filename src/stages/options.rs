//! A stage's options as Promtail reads them: key case does not matter, an unknown key is no error (but is said).

use std::cell::RefCell;

use serde_yaml::{Mapping, Value as Yaml};

use super::Error;

/// The mapping behind a stage's name.
#[derive(Debug)]
pub(super) struct Options<'y> {
    map: Option<&'y Mapping>,
    path: String,
    asked: RefCell<Vec<&'static str>>,
}

impl<'y> Options<'y> {
    /// `path` is where in the list of stages this is, for messages.
    pub fn new(value: &'y Yaml, path: String) -> Result<Self, Error> {
        let map = match value {
            Yaml::Null => None,
            Yaml::Mapping(map) => Some(map),
            other => {
                return Err(Error { message: format!("expected a mapping of options, found {}", kind(other)), path });
            }
        };
        Ok(Self { map, path, asked: RefCell::default() })
    }

    /// A whole number, also when it is written as a string.
    pub fn number(&self, key: &'static str) -> Result<Option<u64>, Error> {
        self.weak(key, "a whole number", |text| text.parse().ok())
    }

    /// A boolean, also when it is written as a string or a number.
    pub fn boolean(&self, key: &'static str) -> Result<Option<bool>, Error> {
        self.weak(key, "true or false", |text| match text {
            "true" | "True" | "TRUE" | "1" | "yes" | "on" => Some(true),
            "false" | "False" | "FALSE" | "0" | "no" | "off" | "" => Some(false),
            _ => None,
        })
    }

    /// A warning for each key that nobody asked for.
    pub fn unknown_keys(&self) -> Vec<String> {
        let asked = self.asked.borrow();
        let known = |key: &str| asked.iter().any(|a| a.eq_ignore_ascii_case(key));
        let keys = self.map.into_iter().flat_map(|m| m.keys()).filter_map(Yaml::as_str);
        keys.filter(|k| !known(k))
            .map(|k| format!("pipeline_stages{}: unknown option `{k}` is ignored", self.path))
            .collect()
    }

    fn weak<T>(&self, key: &'static str, expected: &str, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Error> {
        let Some(value) = self.find(key) else {
            return Ok(None);
        };
        let text = match value {
            Yaml::Null => return Ok(None),
            Yaml::String(text) => text.clone(),
            Yaml::Number(n) => n.to_string(),
            Yaml::Bool(b) => b.to_string(),
            other => return Err(self.fail(key, format!("expected {expected}, found {}", kind(other)))),
        };
        read(text.trim()).map(Some).ok_or_else(|| self.fail(key, format!("expected {expected}, found {text:?}")))
    }

    fn find(&self, key: &'static str) -> Option<&'y Yaml> {
        self.asked.borrow_mut().push(key);
        self.map?.iter().find(|(k, _)| k.as_str().is_some_and(|k| k.eq_ignore_ascii_case(key))).map(|(_, v)| v)
    }

    fn fail(&self, key: &str, message: String) -> Error {
        Error { path: format!("{}.{key}", self.path), message }
    }
}

fn kind(value: &Yaml) -> &'static str {
    match value {
        Yaml::Null => "nothing",
        Yaml::Bool(_) => "a boolean",
        Yaml::Number(_) => "a number",
        Yaml::String(_) => "a string",
        Yaml::Sequence(_) => "a list",
        Yaml::Mapping(_) | Yaml::Tagged(_) => "a mapping",
    }
}
