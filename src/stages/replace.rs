//! `replace`: replaces the text that the groups of a regular expression match.
//!
//! ```yaml
//! - replace:
//!     expression: 'password=(\S+)'            # required; only the text in groups is replaced
//!     source: message                         # an extracted value to change instead of the line
//!     replace: '{{ .Value | Hash "salt" }}'   # a template; if left out, the text is deleted
//! ```
//!
//! All matches are replaced, in each of them the outermost groups. An expression without groups replaces nothing.
//! `replace` is a template as in the `template` stage and can use all extracted values. `.Value` is the text that the
//! group matched. The replacement of a named group is also extracted under the group's name.
//!
//! As in Promtail, an invalid template does not prevent the start: the stage then changes nothing, and a warning is
//! logged at startup. If the template fails for one match, or the result would be longer than 2 MiB, the line does not
//! change.

use std::borrow::Cow;
use std::sync::Arc;

use super::gotemplate::{Data, Run, Template};
use super::options::Options;
use super::work::no_value;
use super::{ConfigError, Flow, Key, Recipe, Stage, Value, Work};
use crate::goregex::{Captures, Regex};
use crate::model::MAX_LINE;

pub(super) fn compile(options: &mut Options<'_>) -> Result<Recipe, ConfigError> {
    let expression = options.regex("expression");
    let source: Option<Arc<str>> = options.source()?.map(Into::into);
    let text = options.text("replace")?.unwrap_or_default().to_string();
    let expression = expression?;
    if expression.group_names().len() == 1 {
        let problem = "the expression has no group, so nothing is replaced: put ( and ) around the text to replace";
        options.warn(problem.into());
    }
    let is_reference = |after: &str| after.trim_start_matches('{').starts_with(|c: char| c.is_ascii_digit());
    if text.split('$').skip(1).any(is_reference) {
        options.warn(
            "`replace` is a template, in which $1 is a text: write {{ .Value }} for the text of the group".into(),
        );
    }
    match Template::parse(&text) {
        Ok(template) if template.shows_read_time() => options.shows_read_time(),
        Ok(_) => {}
        Err(message) => {
            options.warn(format!("the template of `replace` is wrong, so nothing is replaced: {message}"));
        }
    }
    let names: Arc<[Option<Key>]> = expression.group_names().map(|n| n.map(|n| Key::from(n.to_string()))).collect();
    Ok(Box::new(move |_| {
        let (expression, source, names) = (expression.clone(), source.clone(), names.clone());
        Box::new(Replace { expression, source, names, template: Template::parse(&text).ok() })
    }))
}

#[derive(Debug)]
struct Replace {
    expression: Regex,
    source: Option<Arc<str>>,
    /// The names of the groups by index.
    names: Arc<[Option<Key>]>,
    /// None if the template is invalid.
    template: Option<Template>,
}

/// A text with its groups replaced, and the replacements of named groups.
struct Replaced {
    text: String,
    named: Vec<(Key, String)>,
}

impl Stage for Replace {
    fn process(&mut self, work: &mut Work<'_>, _: &mut Vec<Work<'static>>) -> Flow {
        let text = match &self.source {
            Some(source) => work.extracted.text(source),
            None => Some(Cow::Borrowed(&*work.entry.line)),
        };
        let Some(text) = text else {
            work.fails(|| no_value(self.source.as_deref()));
            return Flow::Pass;
        };
        let replaced = self.replaced(&text, work);
        if replaced.is_none() {
            work.fails(|| "the expression does not match the text, or the template fails".into());
        }
        if let Some(Replaced { text, named }) = replaced {
            match &self.source {
                Some(source) => work.extracted.set(source, Value::from(text)),
                None => work.entry.line = Cow::Owned(text),
            }
            for (name, value) in named {
                work.extracted.set(name, Value::from(value));
            }
        }
        Flow::Pass
    }
}

impl Replace {
    /// The replaced text. None if nothing changes.
    fn replaced(&self, text: &str, work: &Work<'_>) -> Option<Replaced> {
        let template = self.template.as_ref()?;
        let data = Data { entry: None, origin: work.entry.origin, read: work.read };
        // Created at the first match, because most lines have none.
        let mut run: Option<Run<'_>> = None;
        let mut replaced = Replaced { text: String::new(), named: Vec::new() };
        // Replacements by the original text, which is how named groups find theirs.
        let mut replacements: Vec<(&str, String)> = Vec::new();
        let mut first: Option<Captures<'_>> = None;
        let mut at = 0;
        for captures in self.expression.inner().captures_iter(text) {
            for group in captures.iter().skip(1).flatten() {
                let value = group.as_str();
                let run = run.get_or_insert_with(|| template.over(&work.extracted, data));
                let replacement = run.render(Some(value)).ok()?;
                // A group inside another group was replaced with it.
                if group.start() >= at {
                    replaced.text.push_str(&text[at..group.start()]);
                    replaced.text.push_str(&replacement);
                    at = group.end();
                }
                if replaced.text.len() > MAX_LINE {
                    return None;
                }
                replacements.push((value, replacement));
            }
            first.get_or_insert(captures);
        }
        replaced.text.push_str(&text[at..]);
        for (name, group) in self.names.iter().zip(first?.iter()) {
            let Some(name) = name else {
                continue;
            };
            let value = group.map_or("", |group| group.as_str());
            let replacement = replacements.iter().rev().find(|(replaced, _)| *replaced == value);
            replaced.named.extend(replacement.map(|(_, replacement)| (name.clone(), replacement.clone())));
        }
        Some(replaced)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{parse, refused, table, warnings};

    #[test]
    fn what_is_refused_and_what_is_not() {
        refused(&[
            ("replace: {replace: x}", "[0].replace", "`expression` is required"),
            ("replace: {expression: '(a'}", "[0].replace.expression", "(a"),
            ("replace: {expression: '(a)', source: ''}", "[0].replace", "`source` must not be empty"),
            ("replace: {expression: '(a)', replace: 7}", "[0].replace.replace", "expected a string"),
        ]);
        let program = parse("replace: {expression: '(a)', replace: '{{ nope }}'}").expect("accepted");
        assert!(warnings(&program)[0].contains("`nope` is not defined"), "{:?}", warnings(&program));
        for (options, part) in [
            ("expression: 'password=\\S+', replace: 'password=***'", "has no group, so nothing is replaced"),
            ("expression: '(a)', replace: '<$1>'", "write {{ .Value }}"),
            ("expression: '(a)', replace: '${1}'", "write {{ .Value }}"),
        ] {
            let program = parse(&format!("replace: {{{options}}}")).expect("accepted");
            assert!(warnings(&program)[0].contains(part), "{:?}", warnings(&program));
        }
        let right = parse("replace: {expression: '(a)', replace: 'costs $ {{ .Value }} or US$'}").expect("accepted");
        assert!(warnings(&right).is_empty(), "{:?}", warnings(&right));
        table("replace: {expression: '(a)', replace: '{{ nope }}'}", &[("banana", "{app=\"x\"} banana")]);
    }

    #[test]
    fn groups_of_the_line() {
        for (options, line, want) in [
            ("expression: 'pw=(\\S+)', replace: '***'", "pw=a x pw=b", "pw=*** x pw=***"),
            ("expression: 'pw=(\\S+)', replace: '***'", "nothing", "nothing"),
            ("expression: 'secret', replace: 'x'", "a secret", "a secret"),
            ("expression: '(\\s*\\[\\d+\\])', replace: ''", "a [1] b [22]", "a b"),
            ("expression: '(\\d)'", "a1b2", "ab"),
            ("expression: '(\\d+\\.(\\d+))', replace: '<{{ .Value }}>'", "v1.2 3.40", "v<1.2> <3.40>"),
            ("expression: '(a)|(b)', replace: '[{{ .Value }}]'", "abc", "[a][b]c"),
            ("expression: '(\\w+)@(\\w+)', replace: '$2 ${1}'", "x@y", "$2 ${1}@$2 ${1}"),
            ("expression: '()', replace: '-'", "ab", "-a-b-"),
            ("expression: '(é)', replace: '{{ .Value | upper }}{{ .app }}{{ .nope }}'", "né!", "nÉx<no value>!"),
            // The second replacement fails, so the line does not change.
            ("expression: '(\\w)', replace: '{{ div 6 .Value }}'", "3 0", "3 0"),
        ] {
            let yaml = format!("replace: {{{options}}}");
            table(&yaml, &[(line, &format!("{{app=\"x\"}} {want}"))]);
        }
    }

    #[test]
    fn an_extracted_value_instead_of_the_line() {
        table(
            "[{regex: {expression: '^(?P<mail>\\S+)'}},
              {replace: {source: mail, expression: '^([^@]+)@', replace: '***'}},
              {replace: {source: nope, expression: '(.*)', replace: 'x'}},
              {labels: {mail: null, nope: null}}]",
            &[
                ("ana@x.org in", "{app=\"x\", mail=\"***@x.org\"} ana@x.org in"),
                ("none", "{app=\"x\", mail=\"none\"} none"),
            ],
        );
    }

    #[test]
    fn named_groups_are_extracted_with_what_replaced_them() {
        table(
            "[{replace: {expression: 'ip=(?P<ip>[\\d.]+)( (?P<last>[xyz]))?', replace: '<{{ .Value }}>'}},
              {labels: {ip: null, last: null}}]",
            &[
                ("ip=1.2 ip=3.4", "{app=\"x\", ip=\"<1.2>\"} ip=<1.2> ip=<3.4>"),
                ("ip=1.2 z", "{app=\"x\", ip=\"<1.2>\", last=\"<z>\"} ip=<1.2>< z>"),
                ("no", "{app=\"x\"} no"),
            ],
        );
    }
}
