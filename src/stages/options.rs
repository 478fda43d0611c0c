//! Reads the options of a stage as Promtail does: keys in any case, and unknown keys are only a warning.
//!
//! Promtail decodes the options of some stages strictly (a number is not text) and of others weakly (it is). The weak
//! getters are those that begin with `weak_`, and [`Options::number`], [`Options::boolean`] and [`Options::float`].

mod field;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use serde_yaml::{Mapping, Value as Yaml};

use super::reads::Reads;
use super::{ConfigError, KeyPath, Program};
use crate::goregex::Regex;
use crate::model::gonumber::{parse_bool, parse_float, parse_int, parse_yaml_float};
use crate::model::nearest;
use crate::model::units::{ByteSize, GoDuration};

pub(super) use field::Field;
use field::kind;

/// The options of a stage.
#[derive(Debug)]
pub(super) struct Options<'y> {
    value: &'y Yaml,
    path: KeyPath,
    asked: RefCell<Vec<&'static str>>,
    whole: Cell<bool>,
    reads: RefCell<Reads>,
    timely: Cell<bool>,
    mends: Cell<bool>,
    warnings: RefCell<Vec<ConfigError>>,
    /// Keys that are wrong. A getter gives nothing for such a key, so that the check goes on with the next one.
    mistakes: RefCell<Vec<ConfigError>>,
}

impl<'y> Options<'y> {
    /// `path` is the place in the list of stages, for messages.
    pub fn new(value: &'y Yaml, path: KeyPath) -> Self {
        Self {
            value,
            path,
            asked: RefCell::default(),
            whole: Cell::default(),
            reads: RefCell::new(Reads::All),
            timely: Cell::default(),
            mends: Cell::default(),
            warnings: RefCell::default(),
            mistakes: RefCell::default(),
        }
    }

    /// All options as one value, for stages whose options are a list or a mapping of names.
    pub fn whole(&self) -> Field<'y> {
        self.whole.set(true);
        Field { value: self.value, path: self.path.clone() }
    }

    /// For stages whose options Promtail ignores: nothing here is an error.
    pub fn has_no_options(&self) {
        if !matches!(self.value, Yaml::Null | Yaml::Mapping(_)) {
            self.whole.set(true);
            self.warn(format!("this stage has no options: {} is ignored", kind(self.value)));
        }
    }

    /// An option that is present and not null. Otherwise None.
    pub fn field(&self, key: &'static str) -> Result<Option<Field<'y>>, ConfigError> {
        self.asked.borrow_mut().push(key);
        let same = |k: &Yaml| k.as_str().is_some_and(|k| k.eq_ignore_ascii_case(key));
        let found = self.mapping()?.and_then(|map| map.iter().find(|(k, _)| same(k)));
        let field = found.map(|(_, value)| Field { value, path: self.path.then(key) });
        Ok(field.filter(|f| !f.value.is_null()))
    }

    /// A string. Any other type is an error.
    pub fn text(&self, key: &'static str) -> Result<Option<&'y str>, ConfigError> {
        Ok(self.field(key)?.and_then(|f| self.keep(f.text())))
    }

    /// A required, non-empty string. If it is wrong, that is noted, so that the check may go on before the error is returned.
    pub fn required(&self, key: &'static str) -> Result<&'y str, ConfigError> {
        let text = self.field(key)?.map(|f| f.text()).transpose().map_err(|mistake| self.refuse(mistake))?;
        text.filter(|t| !t.is_empty()).ok_or_else(|| {
            let near = nearest(key, self.unknown()).map(|near| format!(", and there is `{near}`: write `{key}`"));
            self.refuse(self.fail(format!("`{key}` is required{}", near.unwrap_or_default())))
        })
    }

    /// The extracted value to read instead of the line. An empty name is an error.
    pub fn source(&self) -> Result<Option<&'y str>, ConfigError> {
        match self.text("source")? {
            Some("") => Err(self.fail("`source` must not be empty: name an extracted value, or leave it out".into())),
            source => Ok(source),
        }
    }

    /// A required regular expression.
    pub fn regex(&self, key: &'static str) -> Result<Regex, ConfigError> {
        self.required(key)?;
        self.field(key)?.expect("it was just there").regex().map_err(|mistake| self.refuse(mistake))
    }

    /// A string, or a number or boolean as text.
    pub fn weak_text(&self, key: &'static str) -> Result<Option<String>, ConfigError> {
        Ok(self.field(key)?.and_then(|f| self.keep(f.weak_text())))
    }

    /// A whole number, at least 0. May be a string with a prefix (`0x10`, `010`) or underscores. A fraction is cut off.
    /// The empty string and false are 0.
    pub fn number(&self, key: &'static str) -> Result<Option<u64>, ConfigError> {
        self.weak(key, "a whole number", |value| match value {
            Yaml::Number(n) => n.as_u64().or_else(|| n.as_f64().filter(|f| (0.0..1e18).contains(f)).map(|f| f as u64)),
            Yaml::Bool(b) => Some(u64::from(*b)),
            Yaml::String(text) if text.is_empty() => Some(0),
            // Promtail reads it as a number if it has no quotes.
            Yaml::String(text) => match parse_int(text, 0) {
                Ok(number) => u64::try_from(number).ok(),
                Err(_) if text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains(['e', 'E', '.']) => {
                    parse_yaml_float(text).map(|f| f as u64)
                }
                Err(_) => None,
            },
            _ => None,
        })
    }

    /// A number, or a string with a number. May be infinite.
    pub fn float(&self, key: &'static str) -> Result<Option<f64>, ConfigError> {
        let number = |value: &Yaml| match value {
            Yaml::Number(n) => n.as_f64(),
            Yaml::Bool(b) => Some(f64::from(*b)),
            Yaml::String(text) if text.is_empty() => Some(0.0),
            Yaml::String(text) => parse_float(text).ok(),
            _ => None,
        };
        self.weak(key, "a number", |value| number(value).filter(|n| !n.is_nan()))
    }

    /// A boolean, or a string or number that stands for one.
    pub fn boolean(&self, key: &'static str) -> Result<Option<bool>, ConfigError> {
        self.weak(key, "true or false", |value| match value {
            Yaml::Bool(b) => Some(*b),
            Yaml::Number(n) => n.as_f64().map(|n| n != 0.0),
            // YAML 1.1's words, which Promtail reads as booleans if they have no quotes.
            Yaml::String(text) => match text.to_ascii_lowercase().as_str() {
                "y" | "yes" | "on" => Some(true),
                "n" | "no" | "off" | "" => Some(false),
                _ => parse_bool(text),
            },
            _ => None,
        })
    }

    /// A boolean, including YAML 1.1's words. Any other type is an error.
    pub fn strict_boolean(&self, key: &'static str) -> Result<Option<bool>, ConfigError> {
        let Some(field) = self.field(key)? else {
            return Ok(None);
        };
        match field.value {
            Yaml::Bool(b) => Ok(Some(*b)),
            Yaml::String(text) => match text.to_ascii_lowercase().as_str() {
                "y" | "yes" | "on" => Ok(Some(true)),
                "n" | "no" | "off" => Ok(Some(false)),
                _ => Ok(self.keep(Err(field.fail(format!("expected true or false, found {text:?}"))))),
            },
            other => Ok(self.keep(Err(field.fail(format!("expected true or false, found {}", kind(other)))))),
        }
    }

    /// A Go duration, such as `1h30m`.
    pub fn duration(&self, key: &'static str) -> Result<Option<Duration>, ConfigError> {
        let Some(field) = self.field(key)? else {
            return Ok(None);
        };
        let Some(text) = self.keep(field.weak_text()) else { return Ok(None) };
        Ok(self.keep(text.parse().map(|d: GoDuration| d.0).map_err(|message| field.fail(message))))
    }

    /// A number of bytes, such as `8kb`.
    pub fn bytes(&self, key: &'static str) -> Result<Option<usize>, ConfigError> {
        let Some(field) = self.field(key)? else {
            return Ok(None);
        };
        let Some(text) = self.keep(field.weak_text()) else { return Ok(None) };
        Ok(self.keep(text.parse().map(|b: ByteSize| b.0 as usize).map_err(|message| field.fail(message))))
    }

    /// A list of stages, compiled. Their warnings are added to this stage's.
    pub fn stages(&self, key: &'static str) -> Result<Option<Program>, ConfigError> {
        let Some(field) = self.field(key)? else {
            return Ok(None);
        };
        let Yaml::Sequence(list) = field.value else {
            return Ok(self.keep(Err(field.fail(format!("expected a list of stages, found {}", kind(field.value))))));
        };
        let mut program = match Program::compile(list, &field.path) {
            Ok(program) => program,
            Err(mut mistakes) => {
                self.mistakes.borrow_mut().append(&mut mistakes);
                return Ok(None);
            }
        };
        self.warnings.borrow_mut().append(&mut program.warnings);
        if program.shows_read_time {
            self.shows_read_time();
        }
        if program.mends_names {
            self.mends_names();
        }
        Ok(Some(program))
    }

    /// Declares that the stage uses no extracted values with these options, so that they need not be extracted.
    pub fn needs_nothing_extracted(&self) {
        self.reads(Reads::nothing());
    }

    /// Declares that the stage reads only these extracted values. Those that it only writes are not named. Without this
    /// declaration, a stage may use all.
    pub fn reads(&self, reads: Reads) {
        *self.reads.borrow_mut() = reads;
    }

    pub fn what_it_reads(&self) -> Reads {
        self.reads.borrow().clone()
    }

    /// Declares that the stage may write the read time into its output. The read time is then saved for all lines, even
    /// those with their own time.
    pub fn shows_read_time(&self) {
        self.timely.set(true);
    }

    pub fn may_show_read_time(&self) -> bool {
        self.timely.get()
    }

    /// Declares that the stage may create label names that are not valid in Loki.
    pub fn mends_names(&self) {
        self.mends.set(true);
    }

    pub fn may_mend_names(&self) -> bool {
        self.mends.get()
    }

    /// Adds a warning: valid options that are probably not intended.
    pub fn warn(&self, problem: String) {
        self.warnings.borrow_mut().push(self.fail(problem));
    }

    /// An error about the options as a whole.
    pub fn fail(&self, problem: String) -> ConfigError {
        ConfigError::at(self.path.clone(), problem)
    }

    /// The value, if it is valid. A mistake is noted, and the check goes on.
    pub fn keep<T>(&self, value: Result<T, ConfigError>) -> Option<T> {
        value.map_err(|mistake| self.mistakes.borrow_mut().push(mistake)).ok()
    }

    /// Notes a mistake that also ends the check.
    fn refuse(&self, mistake: ConfigError) -> ConfigError {
        self.mistakes.borrow_mut().push(mistake.clone());
        mistake
    }

    /// All mistakes, with the one that ended the check. One of the options as a whole may only be the consequence of a wrong
    /// key, so it is left out if there is such a key.
    pub fn mistakes(&self, last: Option<ConfigError>) -> Vec<ConfigError> {
        let mut mistakes = self.mistakes.take();
        if let Some(last) = last {
            let is_known = mistakes.contains(&last);
            let is_consequence = !mistakes.is_empty() && last.path == self.path;
            if !is_known && !is_consequence {
                mistakes.push(last);
            }
        }
        mistakes
    }

    /// Adds the mistakes of nested options, and `last`, which ended their check.
    pub fn refuse_inner(&self, inner: &Options<'_>, last: Option<ConfigError>) {
        self.mistakes.borrow_mut().append(&mut inner.mistakes(last));
    }

    /// The options that no getter has asked for so far.
    pub fn unknown(&self) -> Vec<&'y str> {
        let asked = self.asked.borrow();
        let known = |key: &str| asked.iter().any(|a| a.eq_ignore_ascii_case(key));
        let keys = self.mapping().ok().flatten().into_iter().flat_map(Mapping::keys).filter_map(Yaml::as_str);
        keys.filter(|k| !known(k)).collect()
    }

    /// Adds the warnings and mistakes of nested options.
    pub fn finish_inner(&self, inner: Options<'_>) -> Result<(), ConfigError> {
        self.refuse_inner(&inner, None);
        self.warnings.borrow_mut().append(&mut inner.finish()?);
        Ok(())
    }

    /// Call this after reading all options. Returns the warnings, including one for each key that was not read.
    pub fn finish(self) -> Result<Vec<ConfigError>, ConfigError> {
        if !self.whole.get() {
            self.mapping()?;
            for unknown in self.unknown() {
                let near = nearest(unknown, self.asked.borrow().iter().copied());
                let near = near.map(|near| format!(", did you mean `{near}`?")).unwrap_or_default();
                self.warn(format!("unknown option `{unknown}` is ignored{near}"));
            }
        }
        Ok(self.warnings.take())
    }

    fn weak<T>(
        &self,
        key: &'static str,
        expected: &str,
        read: impl Fn(&Yaml) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(field) = self.field(key)? else {
            return Ok(None);
        };
        let found = match field.value {
            Yaml::String(text) => format!("{text:?}"),
            Yaml::Number(n) => format!("{n}"),
            Yaml::Bool(b) => b.to_string(),
            other => kind(other).to_string(),
        };
        Ok(self.keep(read(field.value).ok_or_else(|| field.fail(format!("expected {expected}, found {found}")))))
    }

    fn mapping(&self) -> Result<Option<&'y Mapping>, ConfigError> {
        match self.value {
            Yaml::Null => Ok(None),
            Yaml::Mapping(map) => Ok(Some(map)),
            other => Err(self.fail(format!("expected a mapping of options, found {}", kind(other)))),
        }
    }
}

#[cfg(test)]
mod tests;
