//! Conversions of one option value.

use serde_yaml::Value as Yaml;

use super::Options;
use crate::goregex::Regex;
use crate::model::gonumber::parse_yaml_float;
use crate::model::{ConfigError, KeyPath};

/// A value and its path.
#[derive(Debug)]
pub(in super::super) struct Field<'y> {
    pub(super) value: &'y Yaml,
    pub(super) path: KeyPath,
}

impl<'y> Field<'y> {
    pub fn text(&self) -> Result<&'y str, ConfigError> {
        match self.value {
            Yaml::String(text) => Ok(text),
            Yaml::Bool(_) | Yaml::Number(_) => {
                Err(self.fail(format!("expected a string, found {}: write it in quotes", kind(self.value))))
            }
            other => Err(self.fail(format!("expected a string, found {}", kind(other)))),
        }
    }

    /// Converts scalars as mapstructure does: a boolean is 1 or 0.
    pub fn weak_text(&self) -> Result<String, ConfigError> {
        match self.value {
            Yaml::String(text) => Ok(text.clone()),
            Yaml::Number(n) => Ok(n.as_f64().filter(|_| n.is_f64()).map_or_else(|| n.to_string(), |f| f.to_string())),
            Yaml::Bool(b) => Ok(if *b { "1" } else { "0" }.into()),
            other => Err(self.fail(format!("expected a string, found {}", kind(other)))),
        }
    }

    /// A mapping as nested options. Pass them to [`Options::finish_inner`] to collect their warnings.
    pub fn options(&self) -> Options<'y> {
        Options::new(self.value, self.path.clone())
    }

    /// A mapping of names to any values. Empty if it is null.
    pub fn entries(&self) -> Result<Vec<(&'y str, Field<'y>)>, ConfigError> {
        let map = match self.value {
            Yaml::Null => return Ok(Vec::new()),
            Yaml::Mapping(map) => map,
            other => return Err(self.fail(format!("expected a mapping, found {}", kind(other)))),
        };
        let entry = |(key, value): (&'y Yaml, &'y Yaml)| match key {
            Yaml::String(name) => Ok((name.as_str(), Field { value, path: self.path.then(name.as_str()) })),
            other => Err(self.fail(format!("expected a name, found {}: write it in quotes", kind(other)))),
        };
        map.iter().map(entry).collect()
    }

    /// A list of numbers.
    pub fn numbers(&self) -> Result<Vec<f64>, ConfigError> {
        let Yaml::Sequence(items) = self.value else {
            return Err(self.fail(format!("expected a list of numbers, found {}", kind(self.value))));
        };
        let number = |item: Field<'_>| match item.value {
            Yaml::Number(n) => Ok(n.as_f64().unwrap_or_default()),
            Yaml::String(text) if is_number_of_yaml_1_1(text) => Ok(parse_yaml_float(text).unwrap_or_default()),
            other => Err(item.fail(format!("expected a number, found {}", kind(other)))),
        };
        self.items(items).map(number).collect()
    }

    /// A list of strings. Empty if it is null.
    pub fn list(&self) -> Result<Vec<&'y str>, ConfigError> {
        match self.value {
            Yaml::Null => Ok(Vec::new()),
            Yaml::Sequence(items) => self.items(items).map(|item| item.text()).collect(),
            other => Err(self.fail(format!("expected a list of strings, found {}", kind(other)))),
        }
    }

    /// A list of strings, or a single string.
    pub fn weak_list(&self) -> Result<Vec<String>, ConfigError> {
        match self.value {
            Yaml::Sequence(items) => self.items(items).map(|item| item.weak_text()).collect(),
            Yaml::Mapping(map) if map.is_empty() => Ok(Vec::new()),
            _ => Ok(vec![self.weak_text()?]),
        }
    }

    /// A mapping of names to strings. Null and the empty string become None.
    pub fn pairs(&self) -> Result<Vec<(&'y str, Option<&'y str>)>, ConfigError> {
        let map = match self.value {
            Yaml::Null => return Ok(Vec::new()),
            Yaml::Mapping(map) => map,
            other => return Err(self.fail(format!("expected a mapping, found {}{}", kind(other), as_pairs(other)))),
        };
        let mut pairs = Vec::with_capacity(map.len());
        for (key, value) in map {
            let name = match key {
                Yaml::String(name) => name.as_str(),
                // A YAML 1.1 parser also reads the key `y` as a boolean.
                Yaml::Bool(b) => {
                    if *b {
                        "true"
                    } else {
                        "false"
                    }
                }
                other => return Err(self.fail(format!("expected a name, found {}: write it in quotes", kind(other)))),
            };
            let field = Field { value, path: self.path.then(name) };
            let text = if value.is_null() { "" } else { field.text()? };
            pairs.push((name, Some(text).filter(|t| !t.is_empty())));
        }
        Ok(pairs)
    }

    pub fn regex(&self) -> Result<Regex, ConfigError> {
        let pattern = self.weak_text()?;
        Regex::new(&pattern).map_err(|e| self.fail(e.to_string()))
    }

    pub fn is_list(&self) -> bool {
        self.value.is_sequence()
    }

    pub fn fail(&self, problem: String) -> ConfigError {
        ConfigError::at(self.path.clone(), problem)
    }

    fn items(&self, items: &'y [Yaml]) -> impl Iterator<Item = Field<'y>> {
        items.iter().enumerate().map(|(i, value)| Field { value, path: self.path.then(i) })
    }
}

/// Whether a text is a number in YAML 1.1 but not in YAML 1.2: `1_000`, `010`. Whether it was quoted is unknown.
fn is_number_of_yaml_1_1(text: &str) -> bool {
    let octal = text
        .trim_start_matches(['+', '-'])
        .strip_prefix('0')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    (octal || text.contains('_')) && parse_yaml_float(text).is_some()
}

pub(super) fn kind(value: &Yaml) -> &'static str {
    match value {
        Yaml::Null => "nothing",
        Yaml::Bool(_) => "a boolean",
        Yaml::Number(_) => "a number",
        Yaml::String(_) => "a string",
        Yaml::Sequence(_) => "a list",
        Yaml::Mapping(_) | Yaml::Tagged(_) => "a mapping",
    }
}
/// How a list of names is written as a mapping.
fn as_pairs(value: &Yaml) -> String {
    let names = value.as_sequence().into_iter().flatten().filter_map(Yaml::as_str);
    let names: Vec<String> = names.take(3).map(|name| format!("`{name}:`")).collect();
    if names.is_empty() { String::new() } else { format!(": write {}, without a dash", names.join(", ")) }
}
