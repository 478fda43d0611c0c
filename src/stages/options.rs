//! A stage's options as Promtail reads them: key case does not matter, an unknown key is no error (but is said).
//!
//! Promtail decodes the options of some stages strictly (a number is no text) and of others weakly (it is); the getters
//! that begin with `weak_`, and [`Options::number`], [`Options::boolean`] and [`Options::float`], are the weak ones.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use serde_yaml::{Mapping, Value as Yaml};

use super::reads::Reads;
use super::{Error, Program};
use crate::goregex::Regex;
use crate::model::units::{ByteSize, GoDuration};

/// What stands behind a stage's name.
#[derive(Debug)]
pub(super) struct Options<'y> {
    value: &'y Yaml,
    path: String,
    asked: RefCell<Vec<&'static str>>,
    whole: Cell<bool>,
    reads: RefCell<Reads>,
    timely: Cell<bool>,
    warnings: RefCell<Vec<String>>,
}

/// One value and where it stands.
#[derive(Debug)]
pub(super) struct Field<'y> {
    value: &'y Yaml,
    path: String,
}

impl<'y> Options<'y> {
    /// `path` is where in the list of stages this is, for messages.
    pub fn new(value: &'y Yaml, path: String) -> Self {
        Self {
            value,
            path,
            asked: RefCell::default(),
            whole: Cell::default(),
            reads: RefCell::new(Reads::All),
            timely: Cell::default(),
            warnings: RefCell::default(),
        }
    }

    /// All of it as one value, for stages whose options are a list or a mapping of names.
    pub fn whole(&self) -> Field<'y> {
        self.whole.set(true);
        Field { value: self.value, path: self.path.clone() }
    }

    /// An option that is there and not null.
    pub fn field(&self, key: &'static str) -> Result<Option<Field<'y>>, Error> {
        self.asked.borrow_mut().push(key);
        let same = |k: &Yaml| k.as_str().is_some_and(|k| k.eq_ignore_ascii_case(key));
        let found = self.mapping()?.and_then(|map| map.iter().find(|(k, _)| same(k)));
        let field = found.map(|(_, value)| Field { value, path: format!("{}.{key}", self.path) });
        Ok(field.filter(|f| !f.value.is_null()))
    }

    /// A string and nothing else.
    pub fn text(&self, key: &'static str) -> Result<Option<&'y str>, Error> {
        self.field(key)?.map(|f| f.text()).transpose()
    }

    /// A string that has to be there.
    pub fn required(&self, key: &'static str) -> Result<&'y str, Error> {
        self.text(key)?.filter(|t| !t.is_empty()).ok_or_else(|| self.fail(format!("`{key}` is required")))
    }

    /// The extracted value a stage reads instead of the line: an empty name is a mistake.
    pub fn source(&self) -> Result<Option<&'y str>, Error> {
        match self.text("source")? {
            Some("") => Err(self.fail("`source` must not be empty: name an extracted value, or leave it out".into())),
            source => Ok(source),
        }
    }

    /// An expression that has to be there.
    pub fn regex(&self, key: &'static str) -> Result<Regex, Error> {
        self.required(key)?;
        self.field(key)?.expect("it was just there").regex()
    }

    /// A string, also when a number or a boolean is written.
    pub fn weak_text(&self, key: &'static str) -> Result<Option<String>, Error> {
        self.field(key)?.map(|f| f.weak_text()).transpose()
    }

    /// A whole number, also when it is written as a string.
    pub fn number(&self, key: &'static str) -> Result<Option<u64>, Error> {
        self.weak(key, "a whole number", |text| text.parse().ok())
    }

    /// A number, also when it is written as a string.
    pub fn float(&self, key: &'static str) -> Result<Option<f64>, Error> {
        self.weak(key, "a number", |text| text.parse().ok().filter(|f: &f64| f.is_finite()))
    }

    /// A boolean, also when it is written as a string or a number.
    pub fn boolean(&self, key: &'static str) -> Result<Option<bool>, Error> {
        self.weak(key, "true or false", |text| match text {
            "true" | "True" | "TRUE" | "t" | "T" | "1" | "yes" | "on" => Some(true),
            "false" | "False" | "FALSE" | "f" | "F" | "0" | "no" | "off" | "" => Some(false),
            _ => None,
        })
    }

    /// A boolean and nothing else; YAML 1.1's words for it are some.
    pub fn strict_boolean(&self, key: &'static str) -> Result<Option<bool>, Error> {
        let Some(field) = self.field(key)? else {
            return Ok(None);
        };
        match field.value {
            Yaml::Bool(b) => Ok(Some(*b)),
            Yaml::String(text) => match text.to_ascii_lowercase().as_str() {
                "y" | "yes" | "on" => Ok(Some(true)),
                "n" | "no" | "off" => Ok(Some(false)),
                _ => Err(field.fail(format!("expected true or false, found {text:?}"))),
            },
            other => Err(field.fail(format!("expected true or false, found {}", kind(other)))),
        }
    }

    /// A Go duration, such as `1h30m`.
    pub fn duration(&self, key: &'static str) -> Result<Option<Duration>, Error> {
        let Some(field) = self.field(key)? else {
            return Ok(None);
        };
        let text = field.weak_text()?;
        text.parse().map(|d: GoDuration| Some(d.0)).map_err(|message| field.fail(message))
    }

    /// A number of bytes, such as `8kb`.
    pub fn bytes(&self, key: &'static str) -> Result<Option<usize>, Error> {
        let Some(field) = self.field(key)? else {
            return Ok(None);
        };
        let text = field.weak_text()?;
        text.parse().map(|b: ByteSize| Some(b.0 as usize)).map_err(|message| field.fail(message))
    }

    /// A list of stages, compiled; what it warns of is taken over.
    pub fn stages(&self, key: &'static str) -> Result<Option<Program>, Error> {
        let Some(field) = self.field(key)? else {
            return Ok(None);
        };
        let Yaml::Sequence(list) = field.value else {
            return Err(field.fail(format!("expected a list of stages, found {}", kind(field.value))));
        };
        let mut program = Program::compile(list, &field.path)?;
        self.warnings.borrow_mut().append(&mut program.warnings);
        if program.shows_read_time {
            self.shows_read_time();
        }
        Ok(Some(program))
    }

    /// A stage that, with these options, never looks at extracted values says so: they cost, and perhaps nobody does.
    pub fn needs_nothing_extracted(&self) {
        self.reads(Reads::nothing());
    }

    /// The same of one that, with these options, looks at these values only. Who says nothing may look at all.
    pub fn reads(&self, reads: Reads) {
        *self.reads.borrow_mut() = reads;
    }

    pub fn what_it_reads(&self) -> Reads {
        self.reads.borrow().clone()
    }

    /// A stage that, with these options, may write when a line was read into what comes out says so: that time is then
    /// remembered for each line, whatever time the line has.
    pub fn shows_read_time(&self) {
        self.timely.set(true);
    }

    pub fn may_show_read_time(&self) -> bool {
        self.timely.get()
    }

    /// Something that works, and is hardly meant.
    pub fn warn(&self, message: String) {
        self.warnings.borrow_mut().push(format!("pipeline_stages{}: {message}", self.path));
    }

    /// What is wrong with the options as a whole.
    pub fn fail(&self, message: String) -> Error {
        Error { path: self.path.clone(), message }
    }

    /// Takes over what options within these warn of.
    pub fn finish_inner(&self, inner: Options<'_>) -> Result<(), Error> {
        self.warnings.borrow_mut().append(&mut inner.finish()?);
        Ok(())
    }

    /// When all has been asked for: a warning for each key that nobody asked for.
    pub fn finish(self) -> Result<Vec<String>, Error> {
        if !self.whole.get() {
            let asked = self.asked.borrow();
            let known = |key: &str| asked.iter().any(|a| a.eq_ignore_ascii_case(key));
            let keys = self.mapping()?.into_iter().flat_map(Mapping::keys).filter_map(Yaml::as_str);
            for unknown in keys.filter(|k| !known(k)) {
                self.warn(format!("unknown option `{unknown}` is ignored"));
            }
        }
        Ok(self.warnings.take())
    }

    fn weak<T>(&self, key: &'static str, expected: &str, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Error> {
        let Some(field) = self.field(key)? else {
            return Ok(None);
        };
        let text = match field.value {
            Yaml::String(text) => text.clone(),
            Yaml::Number(n) => n.to_string(),
            Yaml::Bool(b) => b.to_string(),
            other => return Err(field.fail(format!("expected {expected}, found {}", kind(other)))),
        };
        read(text.trim()).map(Some).ok_or_else(|| field.fail(format!("expected {expected}, found {text:?}")))
    }

    fn mapping(&self) -> Result<Option<&'y Mapping>, Error> {
        match self.value {
            Yaml::Null => Ok(None),
            Yaml::Mapping(map) => Ok(Some(map)),
            other => Err(self.fail(format!("expected a mapping of options, found {}", kind(other)))),
        }
    }
}

impl<'y> Field<'y> {
    pub fn text(&self) -> Result<&'y str, Error> {
        match self.value {
            Yaml::String(text) => Ok(text),
            Yaml::Bool(_) | Yaml::Number(_) => {
                Err(self.fail(format!("expected a string, found {}: write it in quotes", kind(self.value))))
            }
            other => Err(self.fail(format!("expected a string, found {}", kind(other)))),
        }
    }

    /// As mapstructure writes scalars: a boolean is 1 or 0.
    pub fn weak_text(&self) -> Result<String, Error> {
        match self.value {
            Yaml::String(text) => Ok(text.clone()),
            Yaml::Number(n) => Ok(n.as_f64().filter(|_| n.is_f64()).map_or_else(|| n.to_string(), |f| f.to_string())),
            Yaml::Bool(b) => Ok(if *b { "1" } else { "0" }.into()),
            other => Err(self.fail(format!("expected a string, found {}", kind(other)))),
        }
    }

    /// A mapping as options of their own; what they warn of is given back by [`Options::finish`].
    pub fn options(&self) -> Options<'y> {
        Options::new(self.value, self.path.clone())
    }

    /// A mapping from names to whatever stands there; none if it is null.
    pub fn entries(&self) -> Result<Vec<(&'y str, Field<'y>)>, Error> {
        let map = match self.value {
            Yaml::Null => return Ok(Vec::new()),
            Yaml::Mapping(map) => map,
            other => return Err(self.fail(format!("expected a mapping, found {}", kind(other)))),
        };
        let entry = |(key, value): (&'y Yaml, &'y Yaml)| match key {
            Yaml::String(name) => Ok((name.as_str(), Field { value, path: format!("{}.{name}", self.path) })),
            other => Err(self.fail(format!("expected a name, found {}: write it in quotes", kind(other)))),
        };
        map.iter().map(entry).collect()
    }

    /// A list of numbers.
    pub fn numbers(&self) -> Result<Vec<f64>, Error> {
        let Yaml::Sequence(items) = self.value else {
            return Err(self.fail(format!("expected a list of numbers, found {}", kind(self.value))));
        };
        let number = |item: Field<'_>| match item.value {
            Yaml::Number(n) => Ok(n.as_f64().unwrap_or_default()),
            other => Err(item.fail(format!("expected a number, found {}", kind(other)))),
        };
        self.items(items).map(number).collect()
    }

    /// A list of strings; none if it is null.
    pub fn list(&self) -> Result<Vec<&'y str>, Error> {
        match self.value {
            Yaml::Null => Ok(Vec::new()),
            Yaml::Sequence(items) => self.items(items).map(|item| item.text()).collect(),
            other => Err(self.fail(format!("expected a list of strings, found {}", kind(other)))),
        }
    }

    /// A list of strings, or one alone.
    pub fn weak_list(&self) -> Result<Vec<String>, Error> {
        match self.value {
            Yaml::Sequence(items) => self.items(items).map(|item| item.weak_text()).collect(),
            Yaml::Mapping(map) if map.is_empty() => Ok(Vec::new()),
            _ => Ok(vec![self.weak_text()?]),
        }
    }

    /// A mapping from names to strings; null and the empty string are none.
    pub fn pairs(&self) -> Result<Vec<(&'y str, Option<&'y str>)>, Error> {
        let map = match self.value {
            Yaml::Null => return Ok(Vec::new()),
            Yaml::Mapping(map) => map,
            other => return Err(self.fail(format!("expected a mapping, found {}", kind(other)))),
        };
        let mut pairs = Vec::with_capacity(map.len());
        for (key, value) in map {
            let name = match key {
                Yaml::String(name) => name.as_str(),
                // What a YAML 1.1 reader makes of the key `y` as well.
                Yaml::Bool(b) => {
                    if *b {
                        "true"
                    } else {
                        "false"
                    }
                }
                other => return Err(self.fail(format!("expected a name, found {}: write it in quotes", kind(other)))),
            };
            let field = Field { value, path: format!("{}.{name}", self.path) };
            let text = if value.is_null() { "" } else { field.text()? };
            pairs.push((name, Some(text).filter(|t| !t.is_empty())));
        }
        Ok(pairs)
    }

    pub fn regex(&self) -> Result<Regex, Error> {
        let pattern = self.weak_text()?;
        Regex::new(&pattern).map_err(|e| self.fail(e.to_string()))
    }

    pub fn is_list(&self) -> bool {
        self.value.is_sequence()
    }

    pub fn fail(&self, message: String) -> Error {
        Error { path: self.path.clone(), message }
    }

    fn items(&self, items: &'y [Yaml]) -> impl Iterator<Item = Field<'y>> {
        items.iter().enumerate().map(|(i, value)| Field { value, path: format!("{}[{i}]", self.path) })
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

#[cfg(test)]
mod tests {
    use super::super::testing::{parse, refused, table};

    #[test]
    fn keys_in_any_case_and_keys_that_mean_nothing() {
        let yaml = "regex: {EXPRESSION: '(?P<w>.)', no_such: 1}";
        let program = parse(yaml).expect("a stage");
        assert_eq!(program.warnings(), ["pipeline_stages[0].regex: unknown option `no_such` is ignored"]);
        table("[regex: {Expression: '(?P<w>.)'}, output: {SOURCE: w}]", &[("ab", "{app=\"x\"} a")]);
    }

    #[test]
    fn words_that_yaml_1_1_takes_for_booleans() {
        // As text they stay text; as booleans they are some.
        table("[regex: {expression: '(?P<y>.)'}, output: {source: y}]", &[("ab", "{app=\"x\"} a")]);
        table("[regex: {expression: '(?P<no>.)'}, labels: {on: no}]", &[("ab", "{app=\"x\", on=\"a\"} ab")]);
        table("json: {expressions: {a: }, drop_malformed: yes}", &[("ab", "")]);
        table("json: {expressions: {a: }, drop_malformed: Off}", &[("ab", "{app=\"x\"} ab")]);
    }

    #[test]
    fn lists_of_stages() {
        refused(&[
            (
                "[cri: {}, {json: {expressions: {a: }}, labels: {a: }}]",
                "[1]",
                "must have exactly one key, this one has 2",
            ),
            ("[cri]", "[0]", "write `cri: {}`"),
            ("[[cri]]", "[0]", "a mapping with one key"),
            ("[{}]", "[0]", "this one has 0"),
            ("[jsn: {}]", "[0]", "unknown stage type `jsn`"),
            ("[JSON: {expressions: {a: }}]", "[0]", "stage names are lower case: `json`"),
            ("[match: {selector: '{a=\"b\"}', stages: [{jsn: }]}]", "[0].match.stages[0]", "unknown stage type `jsn`"),
        ]);
    }
}
