//! `json`: extracts values from a JSON object.
//!
//! ```yaml
//! - json:
//!     expressions:                   # required
//!       level:                       # the value of the key `level`
//!       user: context.user.name      # a path, or any other JMESPath expression
//!       trace: '"trace-id"'          # keys with dashes, dots or spaces need double quotes
//!     source: payload                # an extracted value to parse instead of the line
//!     drop_malformed: false          # default; true: discard entries that are not a JSON object
//! ```
//!
//! Strings, numbers and booleans keep their type. Numbers are 64-bit floats, so digits after the 15th may be lost.
//! Lists and objects become JSON text. A missing value is extracted as null, which does not become a label.
//!
//! If the text is not a JSON object, or is nested deeper than 128 levels, nothing is extracted. With `drop_malformed`,
//! the entry is discarded. If the source was not extracted, nothing changes.
//!
//! Plain paths (`a.b.c`) are read in one pass over the text, without building the object. Prefer them for logs with
//! many lines.
//!
//! Unlike Promtail: discarded entries are counted, in `logentry_dropped_lines_total{reason="malformed_json"}`. Objects
//! are written with sorted keys.

use std::borrow::Cow;
use std::sync::Arc;

use super::options::Options;
use super::reads::Reads;
use super::recycle::recycled;
use super::work::{no_value, source_text};
use super::{ConfigError, Flow, Recipe, Stage, Value, Work};
use crate::model::Reason;

mod expression;
mod found;
mod functions;
mod paths;

use expression::Expressions;
use found::Found;

const MALFORMED: &str = "malformed_json";

pub(super) fn compile(options: &mut Options<'_>) -> Result<Recipe, ConfigError> {
    let field = options.field("expressions")?.ok_or_else(|| options.fail("`expressions` is required".into()))?;
    let pairs = field.pairs()?;
    if pairs.is_empty() {
        return Err(field.fail("expected a mapping from names to JMESPath expressions, found nothing".into()));
    }
    let mut names: Vec<Arc<str>> = Vec::new();
    let mut texts = Vec::new();
    for (name, expression) in pairs {
        names.push(name.into());
        texts.push(expression.unwrap_or(name));
    }
    let expressions = Expressions::new(&texts).unwrap_or_else(|_| {
        for (name, text) in names.iter().zip(&texts) {
            let checked = Expressions::new(&[text]).map_err(|(_, message)| {
                let whole = field.fail(message);
                ConfigError { path: whole.path.then(&**name), ..whole }
            });
            options.keep(checked);
        }
        Expressions::Any(Vec::new())
    });
    let source: Option<Arc<str>> = options.source()?.map(Arc::from);
    let drop_malformed = options.strict_boolean("drop_malformed")?.unwrap_or(false);
    options.reads(Reads::these(source.as_deref()));
    let (names, expressions): (Arc<[_]>, _) = (names.into(), Arc::new(expressions));
    Ok(Box::new(move |_| {
        let (names, expressions) = (names.clone(), expressions.clone());
        let (source, malformed) = (source.clone(), Arc::from(MALFORMED));
        Box::new(Json { names, expressions, source, drop_malformed, malformed, found: Vec::new() })
    }))
}

struct Json {
    names: Arc<[Arc<str>]>,
    expressions: Arc<Expressions>,
    source: Option<Arc<str>>,
    drop_malformed: bool,
    malformed: Arc<str>,
    /// Reused for its memory.
    found: Vec<Found<'static>>,
}

impl Stage for Json {
    fn process(&mut self, work: &mut Work<'_>, _: &mut Vec<Work<'static>>) -> Flow {
        let Some(text) = source_text(&work.entry.line, &work.extracted, self.source.as_deref()) else {
            work.fails(|| no_value(self.source.as_deref()));
            return Flow::Pass;
        };
        let mut found = recycled(std::mem::take(&mut self.found));
        // If the text borrows from the chunk, so do the values.
        let read = match &*text {
            Cow::Borrowed(text) => self.expressions.read(text, &mut found),
            Cow::Owned(text) => self.read_and_copy(text, &mut found),
        };
        let is_object =
            read || without_lone_surrogates(&text).is_some_and(|mended| self.read_and_copy(&mended, &mut found));
        if is_object {
            for (name, value) in self.names.iter().zip(&mut found) {
                if let Some(value) = value.take() {
                    work.extracted.set(name, value);
                }
            }
        }
        self.found = recycled(found);
        if !is_object {
            work.fails(|| "the text is not a JSON object".into());
        }
        match is_object || !self.drop_malformed {
            true => Flow::Pass,
            false => Flow::Discard(Reason::Stage(self.malformed.clone())),
        }
    }
}

impl Json {
    fn read_and_copy(&self, text: &str, found: &mut Vec<Found<'_>>) -> bool {
        let mut views = Vec::new();
        let read = self.expressions.read(text, &mut views);
        found.clear();
        found.extend(views.into_iter().map(|value| value.map(Value::into_owned)));
        read
    }
}

/// Replaces half surrogate pairs with U+FFFD, as Go does. `serde_json` rejects them. None if there are none.
pub(super) fn without_lone_surrogates(json: &str) -> Option<String> {
    let unit = |at: usize| {
        let hex = json.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(hex, 16).ok()
    };
    let mut mended = String::new();
    let (mut at, mut copied) = (0, 0);
    while let Some(next) = memchr::memchr(b'\\', &json.as_bytes()[at..]) {
        at += next;
        at += match unit(at) {
            Some(0xd800..=0xdbff) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => 12,
            Some(0xd800..=0xdfff) => {
                mended.push_str(&json[copied..at]);
                mended.push_str("\\ufffd");
                copied = at + 6;
                6
            }
            // Skips the escaped character, which does not begin an escape.
            _ => 2,
        };
        at = at.min(json.len());
    }
    if copied == 0 {
        return None;
    }
    mended.push_str(&json[copied..]);
    Some(mended)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{parse, refused, run, table};
    use super::without_lone_surrogates;

    /// Checks the value of `expression` in `json`, printed between bars. Null prints nothing.
    fn check(expression: &str, json: &str, want: &str) {
        let quoted = expression.replace('\'', "''");
        let yaml = format!("[json: {{expressions: {{v: '{quoted}'}}}}, output: {{source: v}}]");
        let want = if want == "null" { format!("{{app=\"x\"}} {json}") } else { format!("{{app=\"x\"}} {want}") };
        table(&yaml, &[(json, &want)]);
    }

    #[test]
    fn plain_paths() {
        for (path, json, want) in [
            ("a", r#"{"a":"text","b":1}"#, "text"),
            ("a.b.c", r#"{"x":{},"a":{"y":[{}],"b":{"c":"deep"}},"z":0}"#, "deep"),
            ("a.b", r#"{"a":{"b":"first","b":"last"}}"#, "last"),
            ("a.b", r#"{"a":{"b":"first"},"a":{}}"#, "null"),
            ("a.b", r#"{"a":{"b":"first"},"a":"second"}"#, "null"),
            ("a.b", r#"{"a":[{"b":1}]}"#, "null"),
            (r#""a.b"."c d""#, r#"{"a":{"b":1},"a.b":{"c d":"quoted"}}"#, "quoted"),
            (r#""clé""#, r#"{"cl\u00e9":"escaped key"}"#, "escaped key"),
            ("a", r#" {"a":"\u00e9\t\"\\\/ \ud83d\ude00"} "#, "é\t\"\\/ 😀"),
            ("a", "null", "null"),
            ("a", "{}", "null"),
        ] {
            check(path, json, want);
        }
    }

    #[test]
    fn values_by_type() {
        for (json, want) in [
            ("1", "1"),
            ("1.50", "1.5"),
            ("1e3", "1000"),
            ("-0", "-0"),
            ("-0.00010", "-0.0001"),
            ("1e21", "1000000000000000000000"),
            ("12345678901234567890", "12345678901234567000"),
            ("9007199254740993", "9007199254740992"),
            ("0.30000000000000004", "0.30000000000000004"),
            ("true", "true"),
            (r#"["<b>",{"z":1.0,"a":null}]"#, r#"["\u003cb\u003e",{"a":null,"z":1}]"#),
            ("{}", "{}"),
        ] {
            check("v", &format!("{{\"v\":{json}}}"), want);
            check("not_null(v, `null`)", &format!("{{\"v\":{json}}}"), want);
        }
    }

    #[test]
    fn other_expressions() {
        let json = r#"{"e":[{"l":"info","n":1},{"l":"error","n":2}],"b":"bee","o":{"k":"v"}}"#;
        for (expression, want) in [
            ("e[0].l", "info"),
            ("e[-1].n", "2"),
            ("e[*].l", r#"["info","error"]"#),
            ("e[?l=='error'].n | [0]", "2"),
            ("length(e)", "2"),
            ("a || b", "bee"),
            ("o.*", r#"["v"]"#),
            ("{x: b, y: e[0].n}", r#"{"x":"bee","y":1}"#),
            ("contains(to_string(e), 'err')", "true"),
            ("e[9].l", "null"),
            ("length(nothing)", "null"),
        ] {
            check(expression, json, want);
        }
        check("a || b", "[]", "null");
    }

    /// Expected values come from Promtail 3.6.15.
    #[test]
    fn numbers_of_texts_and_texts_of_numbers() {
        for (text, want) in [
            ("0x1F", "null"),
            ("0x1p-2", "0.25"),
            ("1_000", "1000"),
            ("1_", "null"),
            ("Infinity", "+Inf"),
            ("-Inf", "-Inf"),
            ("nan", "NaN"),
            ("+nan", "null"),
            ("1e400", "null"),
            ("1e-400", "0"),
            ("5.", "5"),
            (".5", "0.5"),
            ("+5", "5"),
            ("07", "7"),
            (" 5", "null"),
            ("", "null"),
            ("true", "null"),
            ("[1]", "null"),
        ] {
            check("to_number(s)", &format!("{{\"s\":{text:?}}}"), want);
        }
        for (value, want) in [
            ("1.50", "1.5"),
            ("1.0", "1"),
            ("1e20", "100000000000000000000"),
            ("1e21", "1e+21"),
            ("1e-7", "1e-7"),
            ("-0", "-0"),
            ("12345678901234567890", "12345678901234567000"),
            ("[1,2.0]", "[1,2]"),
            ("{\"a\":\"<\"}", "{\"a\":\"\\u003c\"}"),
            ("true", "true"),
            ("\"s\"", "s"),
        ] {
            check("to_string(v)", &format!("{{\"v\":{value}}}"), want);
        }
        check("avg(l)", r#"{"l":[1,2,6]}"#, "3");
        check("avg(l)", r#"{"l":[]}"#, "NaN");
        check("avg(l)", r#"{"l":["a"]}"#, "null");
        check("to_number(s) > `5`", r#"{"s":"0x1p4"}"#, "true");
    }

    #[test]
    fn paths_that_share_keys_and_ends() {
        table(
            "[json: {expressions: {a: k.x, b: k, c: k.y.z, d: k.x}}, labels: {a: , b: , c: , d: }]",
            &[(
                r#"{"k":{"y":{"z":3},"x":"1"}}"#,
                r#"{a="1", app="x", b="{\"x\":\"1\",\"y\":{\"z\":3}}", c="3", d="1"} {"k":{"y":{"z":3},"x":"1"}}"#,
            )],
        );
    }

    #[test]
    fn missing_values_hide_earlier_ones() {
        table(
            "[json: {expressions: {app: other}}, labels: {copy: app}, output: {source: app}]",
            &[("{}", "{app=\"x\"} {}"), ("no json", "{app=\"x\", copy=\"x\"} x")],
        );
    }

    #[test]
    fn half_surrogates_are_replaced() {
        check("v", r#"{"v":"a \ud83d b \ude00 c \ud83d\u0041 \\ud83d"}"#, "a \u{fffd} b \u{fffd} c \u{fffd}A \\ud83d");
        check("v[0]", r#"{"v":["\udfff"]}"#, "\u{fffd}");
        for (json, want) in [
            (r"\ud83d\ude00", None),
            (r"\\ud83d", None),
            (r"\ud83d\ud83d\ude00", Some(r"\ufffd\ud83d\ude00")),
            (r"é\ud83", None),
            ("\\", None),
            ("\\é", None),
        ] {
            assert_eq!(without_lone_surrogates(json).as_deref(), want, "{json}");
        }
    }

    #[test]
    fn malformed_lines_pass_or_are_discarded() {
        let bad = [
            "text",
            "",
            "[1]",
            "7",
            "\"s\"",
            r#"{"a":1"#,
            r#"{"a":1,}"#,
            "{'a':1}",
            r#"{"a":1}{"a":2}"#,
            r#"{"a":NaN}"#,
        ];
        for line in bad {
            table("json: {expressions: {a: }}", &[(line, &format!("{{app=\"x\"}} {line}"))]);
            table("json: {expressions: {a: }, drop_malformed: true}", &[(line, "")]);
            table("json: {expressions: {a: 'a || b'}, drop_malformed: true}", &[(line, "")]);
        }
        table(
            "json: {expressions: {a: }, drop_malformed: true}",
            &[("null", "{app=\"x\"} null"), ("{}", "{app=\"x\"} {}")],
        );
    }

    #[test]
    fn deep_nesting_is_no_trouble() {
        let deep = format!("{{\"a\":1,\"d\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        table("[json: {expressions: {a: }}, output: {source: a}]", &[(&deep, "{app=\"x\"} 1")]);
        // JSON nested this deep is not read.
        table("json: {expressions: {d: }, drop_malformed: true}", &[(&deep, "")]);
        table("json: {expressions: {d: 'd[0]'}, drop_malformed: true}", &[(&deep, "")]);
    }

    #[test]
    fn expressions_that_are_none() {
        let [nots, brackets] = ["!", "(["].map(|s| format!("json: {{expressions: {{a: '{}'}}}}", s.repeat(100_000)));
        refused(&[
            ("json: {expressions: {a: .level}}", "[0].json.expressions.a", "as there is in jq: write `level`"),
            ("json: {expressions: {a: foo-bar.b}}", "[0].json.expressions.a", "and _: '\"foo-bar\".b'"),
            ("json: {expressions: {a: 'b[?c'}}", "[0].json.expressions.a", "invalid JMESPath expression `b[?c`"),
            ("json: {expressions: {a: 1}}", "[0].json.expressions.a", "expected a string, found a number"),
            ("json: {expressions: {}}", "[0].json.expressions", "found nothing"),
            ("json: {expressions: [a]}", "[0].json.expressions", "expected a mapping, found a list"),
            ("json: {}", "[0].json", "`expressions` is required"),
            ("json: {expressions: {a: }, source: ''}", "[0].json", "`source` must not be empty"),
            ("json: {expressions: {a: }, drop_malformed: 'true'}", "[0].json.drop_malformed", "expected true or false"),
            (&nots, "[0].json.expressions.a", "nested deeper than 200"),
            (&brackets, "[0].json.expressions.a", "nested deeper than 200"),
        ]);
    }

    proptest! {
        #[test]
        fn any_line_is_survived(line in r#"[{}\[\]",:0-9a\\ud8 .e-]{0,40}"#) {
            for expression in ["a", "a.b", "a[0]"] {
                let yaml = format!("json: {{expressions: {{a: '{expression}'}}}}");
                let seen = run(&parse(&yaml).expect("a stage"), std::slice::from_ref(&line));
                prop_assert_eq!(&seen[0].line, &line);
            }
        }
    }
}
