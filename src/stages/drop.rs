//! `drop`: drops lines and counts them.
//!
//! ```yaml
//! - drop:
//!     source: level                     # an extracted value, or a list of extracted values
//!     separator: ;                      # default; joins the values of a list
//!     expression: 'debug|trace'         # must match anywhere in the value, or in the line if there is no source (RE2)
//!     older_than: 24h                   # the entry's time is longer ago than this
//!     longer_than: 8kb                  # the line is longer than this, in bytes
//!     drop_counter_reason: drop_stage   # default; the reason in the metric
//! ```
//!
//! or, instead of `expression`, the exact text of the value:
//!
//! ```yaml
//! - drop:
//!     source: level
//!     value: debug
//! ```
//!
//! At least one of `source`, `expression`, `older_than` and `longer_than` is required. A line is dropped if all the
//! given conditions are true. `source` alone drops lines for which all of these values were extracted, whatever they
//! are. With `value` or `expression`, missing values are left out of the joined text. So `.*` also drops a line that
//! has none of the values.
//!
//! Dropped lines are counted in `logentry_dropped_lines_total{reason="drop_stage"}`, or with the reason in
//! `drop_counter_reason`.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::options::Options;
use super::reads::Reads;
use super::{Clock, ConfigError, Extracted, Flow, Recipe, Stage, Value, Work};
use crate::goregex::Regex;
use crate::model::Reason;

const REASON: &str = "drop_stage";

pub(super) fn compile(options: &mut Options<'_>) -> Result<Recipe, ConfigError> {
    let sources = sources(options)?;
    let separator = options.weak_text("separator")?.unwrap_or_else(|| ";".into());
    let value = options.weak_text("value")?;
    let expression = options.field("expression")?.and_then(|f| options.keep(f.regex()));
    let older_than = options.duration("older_than")?;
    let longer_than = options.bytes("longer_than")?;
    let text = match (value, expression) {
        (Some(_), Some(_)) => return Err(options.fail("`value` and `expression` exclude each other".into())),
        (Some(_), None) if sources.is_empty() => return Err(options.fail("`value` needs a `source`".into())),
        (Some(value), None) => Some(Test::Is(value.into())),
        (None, Some(expression)) => Some(Test::Matches(expression)),
        (None, None) => None,
    };
    if sources.is_empty() && text.is_none() && older_than.is_none() && longer_than.is_none() {
        let message = "at least one of `source`, `expression`, `older_than` and `longer_than` is required";
        return Err(options.fail(message.into()));
    }
    options.reads(Reads::these(sources.iter().map(|source| &**source)));
    let reason = reason(options, REASON)?;
    let by_source_alone = text.is_none() && older_than.is_none() && longer_than.is_none();
    if by_source_alone && let [first, ..] = options.unknown()[..] {
        let names = sources.iter().map(|source| format!("`{source}`")).collect::<Vec<_>>().join(" and ");
        options.warn(format!(
            "without the ignored option `{first}`, every line that has {names} is dropped, whatever its value is"
        ));
    }
    let conditions = Arc::new(Conditions { sources, separator, text, older_than, longer_than });
    Ok(Box::new(move |around| {
        let (conditions, clock) = (conditions.clone(), around.clock.clone());
        Box::new(Drop { conditions, clock, reason: reason.clone() })
    }))
}

/// The reason under which a stage counts dropped lines.
pub(super) fn reason(options: &Options<'_>, default: &str) -> Result<Reason, ConfigError> {
    let reason = options.weak_text("drop_counter_reason")?.filter(|r| !r.is_empty());
    Ok(Reason::Stage(reason.as_deref().unwrap_or(default).into()))
}

fn sources(options: &Options<'_>) -> Result<Vec<Box<str>>, ConfigError> {
    Ok(match options.field("source")? {
        None => Vec::new(),
        Some(field) if field.is_list() => field.list()?.into_iter().map(Box::from).collect(),
        Some(field) => Some(field.text()?).filter(|t| !t.is_empty()).map(Box::from).into_iter().collect(),
    })
}

struct Drop {
    conditions: Arc<Conditions>,
    reason: Reason,
    clock: Clock,
}

#[derive(Debug)]
struct Conditions {
    sources: Vec<Box<str>>,
    separator: String,
    text: Option<Test>,
    older_than: Option<Duration>,
    longer_than: Option<usize>,
}

#[derive(Debug)]
enum Test {
    Is(Box<str>),
    Matches(Regex),
}

impl Stage for Drop {
    fn process(&mut self, work: &mut Work<'_>, _: &mut Vec<Work<'static>>) -> Flow {
        if self.conditions.hold(work, &self.clock) { Flow::Discard(self.reason.clone()) } else { Flow::Pass }
    }
}

impl Conditions {
    fn hold(&self, work: &Work<'_>, clock: &Clock) -> bool {
        if self.longer_than.is_some_and(|bytes| work.entry.line.len() <= bytes) {
            return false;
        }
        if let Some(age) = self.older_than {
            let age = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
            if work.entry.timestamp >= clock.unix_nanos().saturating_sub(age) {
                return false;
            }
        }
        match &self.text {
            None => self.sources.iter().all(|s| work.extracted.contains(s)),
            Some(test) if self.sources.is_empty() => test.holds(&work.entry.line),
            Some(test) => self.joined(&work.extracted).is_some_and(|text| test.holds(&text)),
        }
    }

    /// The existing values, joined. None if one of them cannot be text.
    fn joined<'e>(&self, extracted: &'e Extracted<'_>) -> Option<Cow<'e, str>> {
        if let [source] = &self.sources[..] {
            return extracted.get(source).map_or(Some(Cow::Borrowed("")), Value::into_text);
        }
        let mut joined: Option<String> = None;
        for value in self.sources.iter().filter_map(|s| extracted.get(s)) {
            let text = value.into_text()?;
            match &mut joined {
                None => joined = Some(text.into_owned()),
                Some(joined) => {
                    joined.push_str(&self.separator);
                    joined.push_str(&text);
                }
            }
        }
        Some(joined.unwrap_or_default().into())
    }
}

impl Test {
    fn holds(&self, text: &str) -> bool {
        match self {
            Test::Is(value) => **value == *text,
            Test::Matches(expression) => expression.is_match(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, refused, table};

    /// Checks which lines pass.
    fn check(drop: &str, lines: &[&str], stay: &[&str]) {
        let yaml = format!("[logfmt: {{mapping: {{a: , b: , c: }}}}, drop: {drop}]");
        let rows: Vec<_> = lines
            .iter()
            .map(|line| (*line, if stay.contains(line) { format!("{{app=\"x\"}} {line}") } else { String::new() }))
            .collect();
        table(&yaml, &rows.iter().map(|(line, want)| (*line, want.as_str())).collect::<Vec<_>>());
    }

    #[test]
    fn by_expression_on_the_line() {
        check("{expression: 'health(z|check)'}", &["GET /healthz", "HEALTHZ", "healthcheck"], &["HEALTHZ"]);
        check("{expression: '^$'}", &["", "x"], &["x"]);
    }

    #[test]
    fn by_source_alone() {
        check("{source: a}", &["a=1", "a", "b=1"], &["b=1"]);
        check("{source: [a, b]}", &["a=1 b=2", "a=1", "b=2"], &["a=1", "b=2"]);
        check("{source: app}", &["a label"], &[]);
    }

    #[test]
    fn by_a_value_or_an_expression_on_sources() {
        check("{source: a, value: 5}", &["a=5", "a=55", "x"], &["a=55", "x"]);
        check("{source: a, value: a.b+c}", &["a=a.b+c", "a=aXbc"], &["a=aXbc"]);
        check("{source: a, value: ''}", &["a=", "a=1", "none"], &["a=1"]);
        check("{source: a, expression: 'debug|trace'}", &["a=nodebugging", "a=info debug"], &["a=info debug"]);
        check("{source: a, expression: '.*'}", &["none"], &[]);
        check("{source: [a, b, c], expression: '^1;2(;3)?$'}", &["a=1 b=2 c=3", "a=1 c=2", "b=1 a=2"], &["b=1 a=2"]);
        check("{source: [a, b], separator: '#', value: 'x#y'}", &["a=x b=y", "a=x;b=y"], &["a=x;b=y"]);
        check("{source: [a, b], separator: '', value: xy}", &["a=x b=y", "a=xy"], &[]);
    }

    #[test]
    fn null_is_there_and_is_no_text() {
        let line = r#"{"n":null}"#;
        let json = "json: {expressions: {n: }}";
        table(&format!("[{json}, drop: {{source: n}}]"), &[(line, "")]);
        table(&format!("[{json}, drop: {{source: n, expression: '.*'}}]"), &[(line, "{app=\"x\"} {\"n\":null}")]);
    }

    #[test]
    fn by_length_in_bytes() {
        check("{longer_than: 4b}", &["1234", "12345", "éé", "ééé"], &["1234", "éé"]);
        check("{longer_than: '1kb', expression: 'x$'}", &["short x"], &["short x"]);
    }

    #[test]
    fn by_age() {
        let mut bench = Bench::of("drop: {older_than: 1h}");
        assert_eq!(bench.outcome("now"), "{app=\"x\"} now");
        bench.clock.advance(std::time::Duration::from_secs(3600));
        assert_eq!(bench.outcome("just"), "{app=\"x\"} just");
        bench.clock.advance(std::time::Duration::from_nanos(1));
        assert_eq!(bench.outcome("old"), "");
    }

    #[test]
    fn all_conditions_must_hold() {
        check("{expression: debug, longer_than: 8}", &["debug", "info, this", "debug, this"], &["debug", "info, this"]);
    }

    #[test]
    fn dropped_lines_are_counted() {
        for (yaml, reason) in
            [("{expression: x}", "drop_stage"), ("{expression: x, drop_counter_reason: mine}", "mine")]
        {
            let mut bench = Bench::of(&format!("drop: {yaml}"));
            let passed = [bench.outcome("x"), bench.outcome("y")];
            assert_eq!(passed, ["", "{app=\"x\"} y"]);
            assert_eq!(bench.dropped_as(reason), 1, "{yaml}");
        }
    }

    #[test]
    fn conditions_that_are_none() {
        refused(&[
            ("drop: {}", "[0].drop", "at least one of"),
            ("drop: {drop_counter_reason: x}", "[0].drop", "at least one of"),
            ("drop: {source: a, value: b, expression: c}", "[0].drop", "exclude each other"),
            ("drop: {value: b, longer_than: 1b}", "[0].drop", "`value` needs a `source`"),
            ("drop: {older_than: 2d}", "[0].drop.older_than", "invalid duration \"2d\""),
            ("drop: {longer_than: much}", "[0].drop.longer_than", "invalid size \"much\""),
            ("drop: {expression: '(a)\\1'}", "[0].drop.expression", "(a)\\1"),
            ("drop: {source: 5}", "[0].drop.source", "expected a string, found a number"),
            ("drop: {source: {a: b}}", "[0].drop.source", "expected a string, found a mapping"),
        ]);
    }
}
