//! `regex`: extracts values with the named groups of a regular expression.
//!
//! ```yaml
//! - regex:
//!     expression: '^(?P<level>\w+) (?P<msg>.*)$'   # required; RE2, first match anywhere in the text
//!     source: message                              # an extracted value to match instead of the line
//! ```
//!
//! The syntax is Go's (RE2): no look-around, no back-references, groups are `(?P<name>…)` or `(?<name>…)`. All values
//! are text. A group that takes no part in the match is extracted as an empty string. If two groups have the same name,
//! the later one is used.
//!
//! If the expression does not match, or the source was not extracted, nothing is extracted. Matching takes time in
//! proportion to the length of the line, whatever the expression.

use std::sync::Arc;

use super::options::Options;
use super::reads::Reads;
use super::work::{no_value, source_text};
use super::{ConfigError, Flow, Recipe, Stage, Value, Work};
use crate::goregex::{CaptureLocations, Regex};

pub(super) fn compile(options: &mut Options<'_>) -> Result<Recipe, ConfigError> {
    let expression = options.regex("expression");
    let source: Option<Arc<str>> = options.source()?.map(Arc::from);
    let expression = expression?;
    if expression.group_names().all(|name| name.is_none()) {
        let problem = "the expression has no named group, so nothing is extracted: write (?P<name>…) around each value";
        options.warn(problem.into());
    }
    options.reads(Reads::these(source.as_deref()));
    let names = expression.group_names().enumerate().filter_map(|(i, name)| Some((i, Arc::from(name?))));
    let groups: Arc<[(usize, Arc<str>)]> = names.collect();
    Ok(Box::new(move |_| {
        Box::new(Matching {
            source: source.clone(),
            groups: groups.clone(),
            found: expression.capture_locations(),
            expression: expression.clone(),
        })
    }))
}

#[derive(Debug)]
struct Matching {
    expression: Regex,
    source: Option<Arc<str>>,
    groups: Arc<[(usize, Arc<str>)]>,
    /// Reused for its memory.
    found: CaptureLocations,
}

impl Stage for Matching {
    fn process(&mut self, work: &mut Work<'_>, _: &mut Vec<Work<'static>>) -> Flow {
        let Some(text) = source_text(&work.entry.line, &work.extracted, self.source.as_deref()) else {
            work.fails(|| no_value(self.source.as_deref()));
            return Flow::Pass;
        };
        if self.expression.captures_read(&mut self.found, &text) {
            for (i, name) in self.groups.iter() {
                let (start, end) = self.found.get(*i).unwrap_or_default();
                work.extracted.set(name, Value::part(&text, start..end));
            }
        } else {
            drop(text);
            work.fails(|| "the expression does not match the text".into());
        }
        Flow::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{parse, refused, table, warnings};

    #[test]
    fn an_expression_that_extracts_nothing_is_said() {
        for (expression, is_said) in [("level=(\\w+)", true), ("level=(?P<level>\\w+)", false), ("(a)(?P<b>b)", false)]
        {
            let program = parse(&format!("regex: {{expression: '{expression}'}}")).expect("accepted");
            let said = warnings(&program).iter().any(|warning| warning.contains("has no named group"));
            assert_eq!(said, is_said, "{expression}");
        }
    }

    #[test]
    fn groups_are_extracted() {
        for (expression, line, labels) in [
            (r"id=(?P<a>\d+)", "x id=n id=7 id=8", r#"a="7", app="x""#),
            (r"^(?<a>\w+)@(?P<b>\w+)", "root@db up", r#"a="root", app="x", b="db""#),
            (r"^(?P<a>x)?(\w)(?P<b>.*)", "yz", r#"a="", app="x", b="z""#),
            (r"(?i)err: (?P<a>\S+)$", "ERR: Disk", r#"a="Disk", app="x""#),
            (r"(?P<a>1)|(?P<a>2)", "1", r#"a="", app="x""#),
            (r"(?P<a>1)|(?P<a>2)", "2", r#"a="2", app="x""#),
            (r"(?P<app>\d)", "none here", r#"app="x""#),
            (r"(\d)", "1", r#"app="x""#),
        ] {
            let yaml = format!("[regex: {{expression: '{expression}'}}, labels: {{a: , b: , app: }}]");
            table(&yaml, &[(line, &format!("{{{labels}}} {line}"))]);
        }
    }

    #[test]
    fn of_a_source() {
        let yaml = r"[json: {expressions: {p: }}, regex: {source: p, expression: '^(?P<a>\S+)'}, labels: {a: }]";
        table(
            yaml,
            &[
                (r#"{"p":"GET /"}"#, r#"{a="GET", app="x"} {"p":"GET /"}"#),
                (r#"{"p":"a\tb"}"#, r#"{a="a", app="x"} {"p":"a\tb"}"#),
                (r#"{"p":12}"#, r#"{a="12", app="x"} {"p":12}"#),
                (r#"{"p":null}"#, r#"{app="x"} {"p":null}"#),
                ("GET /", r#"{app="x"} GET /"#),
            ],
        );
        table("[regex: {source: app, expression: '(?P<a>.)'}, labels: {a: }]", &[("l", r#"{a="x", app="x"} l"#)]);
    }

    #[test]
    fn expressions_that_are_none() {
        refused(&[
            ("regex: {expression: '(?P<a>[0-9'}", "[0].regex.expression", "(?P<a>[0-9"),
            ("regex: {expression: 'a(?=b)'}", "[0].regex.expression", "a(?=b)"),
            ("regex: {}", "[0].regex", "`expression` is required"),
            ("regex: {expression: a, source: ''}", "[0].regex", "`source` must not be empty"),
            ("regex: {expression: 5}", "[0].regex.expression", "expected a string, found a number"),
        ]);
    }

    #[test]
    fn a_huge_line_is_no_trouble() {
        let line = "a".repeat(1 << 20);
        let want = format!("{{app=\"x\", n=\"a\"}} {line}");
        table("[regex: {expression: '(?P<n>a)$'}, labels: {n: }]", &[(&line, &want)]);
    }
}
