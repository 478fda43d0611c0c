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
        self.field(key)?.map(|f| f.text()).transpose()
    }

    /// A required, non-empty string.
    pub fn required(&self, key: &'static str) -> Result<&'y str, ConfigError> {
        self.text(key)?.filter(|t| !t.is_empty()).ok_or_else(|| self.fail(format!("`{key}` is required")))
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
        self.field(key)?.expect("it was just there").regex()
    }

    /// A string, or a number or boolean as text.
    pub fn weak_text(&self, key: &'static str) -> Result<Option<String>, ConfigError> {
        self.field(key)?.map(|f| f.weak_text()).transpose()
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
                _ => Err(field.fail(format!("expected true or false, found {text:?}"))),
            },
            other => Err(field.fail(format!("expected true or false, found {}", kind(other)))),
        }
    }

    /// A Go duration, such as `1h30m`.
    pub fn duration(&self, key: &'static str) -> Result<Option<Duration>, ConfigError> {
        let Some(field) = self.field(key)? else {
            return Ok(None);
        };
        let text = field.weak_text()?;
        text.parse().map(|d: GoDuration| Some(d.0)).map_err(|message| field.fail(message))
    }

    /// A number of bytes, such as `8kb`.
    pub fn bytes(&self, key: &'static str) -> Result<Option<usize>, ConfigError> {
        let Some(field) = self.field(key)? else {
            return Ok(None);
        };
        let text = field.weak_text()?;
        text.parse().map(|b: ByteSize| Some(b.0 as usize)).map_err(|message| field.fail(message))
    }

    /// A list of stages, compiled. Their warnings are added to this stage's.
    pub fn stages(&self, key: &'static str) -> Result<Option<Program>, ConfigError> {
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

    /// Adds the warnings of nested options.
    pub fn finish_inner(&self, inner: Options<'_>) -> Result<(), ConfigError> {
        self.warnings.borrow_mut().append(&mut inner.finish()?);
        Ok(())
    }

    /// Call this after reading all options. Returns the warnings, including one for each key that was not read.
    pub fn finish(self) -> Result<Vec<ConfigError>, ConfigError> {
        if !self.whole.get() {
            let asked = self.asked.borrow();
            let known = |key: &str| asked.iter().any(|a| a.eq_ignore_ascii_case(key));
            let keys = self.mapping()?.into_iter().flat_map(Mapping::keys).filter_map(Yaml::as_str);
            for unknown in keys.filter(|k| !known(k)) {
                let near = nearest(&unknown.to_lowercase(), asked.iter().copied());
                let near = near.map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
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
        read(field.value).map(Some).ok_or_else(|| field.fail(format!("expected {expected}, found {found}")))
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
mod tests {
    use super::super::testing::{parse, refused, table, warnings};

    #[test]
    fn keys_in_any_case_and_keys_that_mean_nothing() {
        let yaml = "regex: {EXPRESSION: '(?P<w>.)', no_such: 1}";
        let program = parse(yaml).expect("a stage");
        assert_eq!(warnings(&program), ["pipeline_stages[0].regex: unknown option `no_such` is ignored"]);
        let near = parse("drop: {source: level, values: [debug], longer: 5}").expect("a stage");
        let ignored = |option: &str| format!("pipeline_stages[0].drop: unknown option `{option}` is ignored");
        assert_eq!(warnings(&near)[0], ignored("values") + ": did you mean `value`?");
        table("[regex: {Expression: '(?P<w>.)'}, output: {SOURCE: w}]", &[("ab", "{app=\"x\"} a")]);
    }

    #[test]
    fn words_that_yaml_1_1_takes_for_booleans() {
        // As text they stay text, as booleans they are booleans.
        table("[regex: {expression: '(?P<y>.)'}, output: {source: y}]", &[("ab", "{app=\"x\"} a")]);
        table("[regex: {expression: '(?P<no>.)'}, labels: {on: no}]", &[("ab", "{app=\"x\", on=\"a\"} ab")]);
        table("json: {expressions: {a: }, drop_malformed: yes}", &[("ab", "")]);
        table("json: {expressions: {a: }, drop_malformed: Off}", &[("ab", "{app=\"x\"} ab")]);
    }

    #[test]
    fn stages_without_options_and_empty_ones() {
        let warnings = |yaml: &str| parse(yaml).map(|program| warnings(&program)).map_err(|e| e.problem);
        let stages = [
            "cri: ",
            "cri: {}",
            "docker: ",
            "decolorize: ",
            "labels: ",
            "static_labels: ",
            "structured_metadata: {}",
            "pack: ",
            "sampling: ",
            "eventlogmessage: ",
        ];
        for yaml in stages {
            assert!(warnings(yaml).is_ok(), "{yaml}");
        }
        for (yaml, warning) in [
            ("docker: x", "[0].docker: this stage has no options: a string is ignored"),
            ("docker: []", "[0].docker: this stage has no options: a list is ignored"),
            ("decolorize: 5", "[0].decolorize: this stage has no options: a number is ignored"),
            ("[{}, cri: ]", "[0]: an empty stage does nothing"),
            ("match: {selector: '{a=\"b\"}', stages: [{}]}", "[0].match.stages[0]: an empty stage does nothing"),
        ] {
            assert_eq!(warnings(yaml), Ok(vec![format!("pipeline_stages{warning}")]), "{yaml}");
        }
        table("[{}, static_labels: {a: b}, {}]", &[("x", "{a=\"b\", app=\"x\"} x")]);
        table("match: {selector: '{app=\"x\"}', stages: [{}]}", &[("x", "{app=\"x\"} x")]);
    }

    #[test]
    fn numbers_in_all_their_forms() {
        let lines = |count: usize| vec!["x"; count];
        // How many of twenty lines pass with this burst.
        for (burst, passed) in [
            ("0x10", 16),
            ("'0x10'", 16),
            ("1_0", 10),
            ("'1_0'", 10),
            ("010", 8),
            ("'010'", 8),
            ("0b11", 3),
            ("'0o7'", 7),
            ("09", 9),
            ("1e1", 10),
            ("1.5", 1),
            ("true", 1),
            ("'+5'", 5),
        ] {
            let yaml = format!("limit: {{rate: '0x1p-20', burst: {burst}, drop: 1.5}}");
            let mut bench = super::super::testing::Bench::of(&yaml);
            let mut seen = 0;
            lines(20).into_iter().for_each(|line| bench.run(line, &mut |_| seen += 1));
            assert_eq!(seen, passed, "{burst}");
        }
        for yaml in ["sampling: {rate: ''}", "limit: {rate: .inf, burst: 1}", "limit: {rate: 'Inf', burst: 1}"] {
            assert!(parse(yaml).is_ok(), "{yaml}");
        }
        for number in ["'0x1p2'", "'1e1'", "'1.5'", "' 5'", "many", "-5", "[1]", "'08x'"] {
            refused(&[(&format!("cri: {{max_partial_lines: {number}}}"), "[0].cri.max_partial_lines", "whole number")]);
        }
        for number in ["'0x10'", "nan", "' 5'", "'1e400'", "'+nan'", "{}"] {
            refused(&[(&format!("sampling: {{rate: {number}}}"), "[0].sampling.rate", "a number")]);
        }
        refused(&[("limit: {rate: 1, burst: 1, drop: '2'}", "[0].limit.drop", "true or false")]);
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
            ("[jsn: {}]", "[0]", "unknown stage type `jsn`"),
            ("[~]", "[0]", "a mapping with one key"),
            ("['']", "[0]", "a pipeline stage is a mapping"),
            ("[5]", "[0]", "a mapping with one key"),
            ("[{~: x}]", "[0]", "name is a string"),
            ("[cri: '']", "[0].cri", "found a string"),
            ("[json: ]", "[0].json", "`expressions`"),
            ("[output: ]", "[0].output", "`source` is required"),
            ("[match: {selector: '{a=\"b\"}', stages: []}]", "[0].match", "stages"),
            ("[JSON: {expressions: {a: }}]", "[0]", "stage names are lower case: `json`"),
            ("[match: {selector: '{a=\"b\"}', stages: [{jsn: }]}]", "[0].match.stages[0]", "unknown stage type `jsn`"),
        ]);
    }
}
