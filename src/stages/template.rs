//! `template`: sets an extracted value with a Go template.
//!
//! ```yaml
//! - template:
//!     source: level                        # required; the name of the extracted value
//!     template: '{{ ToLower .Value }}'     # without it the value is removed
//! ```
//!
//! The template can use all extracted values by name, as text. `.Value` is the current value of the source, `.Entry` is
//! the line. A missing value prints as `<no value>`. An empty result removes the value.
//!
//! Available are the functions of Go's text/template, Promtail's functions (`ToLower`, `ToUpper`, `Replace`, `Trim`,
//! `TrimLeft`, `TrimRight`, `TrimPrefix`, `TrimSuffix`, `TrimSpace`, `Hash`, `Sha2Hash`, `regexReplaceAll`,
//! `regexReplaceAllLiteral`), and sprig's functions for text, numbers, dates, lists, dictionaries and JSON.
//!
//! An invalid template is an error at startup. If the template fails for a line (wrong type, index out of range),
//! nothing changes. It also fails if it does too much work for one line (some hundred milliseconds), if a text becomes
//! longer than 2 MiB, or if a list gets more than 100,000 items. The work is counted, not timed.
//!
//! Unlike Promtail: functions that read the environment (`env`, `expandenv`), use the network (`getHostByName`) or
//! create keys and passwords (`genCA`, `htpasswd`, `encryptAES` and similar) are an error at startup. Random functions
//! (`randAlphaNum`, `uuidv4`, `shuffle` and similar) depend on the place of the line in its log, and `now` is the time
//! when the line was read. So a line that is sent again is the same.

use std::sync::Arc;

use super::gotemplate::{Data, Template};
use super::options::Options;
use super::{ConfigError, Flow, Key, Recipe, Stage, Value, Work};

pub(super) fn compile(options: &mut Options<'_>) -> Result<Recipe, ConfigError> {
    let source = options.required("source");
    let text = options.text("template")?.unwrap_or_default().to_string();
    if let (Ok(source), true) = (source.as_ref(), text.is_empty()) {
        options.warn(format!("without `template` this stage only removes the extracted value `{source}`"));
    }
    match Template::parse(&text) {
        Ok(template) if template.shows_read_time() => options.shows_read_time(),
        Ok(_) => {}
        Err(message) => {
            let field = options.field("template")?.expect("an empty one is a template");
            return Err(field.fail(message));
        }
    }
    let source: Arc<str> = source?.into();
    Ok(Box::new(move |_| {
        let template = Template::parse(&text).expect("it was parsed before");
        Box::new(Templated { source: source.clone(), template })
    }))
}

#[derive(Debug)]
struct Templated {
    source: Arc<str>,
    template: Template,
}

impl Stage for Templated {
    fn process(&mut self, work: &mut Work<'_>, _: &mut Vec<Work<'static>>) -> Flow {
        let data = Data { entry: Some(&work.entry.line), origin: work.entry.origin, read: work.read };
        let value = work.extracted.text(&self.source);
        match self.template.over(&work.extracted, data).render(value.as_deref()) {
            Ok(text) if text.is_empty() => work.extracted.remove(Key::from(&self.source)),
            Ok(text) => work.extracted.set(&self.source, Value::from(text)),
            Err(error) => {
                // Said only if somebody asks: it may be so with each line.
                if work.is_asked_why() {
                    let why = error.to_string();
                    work.fails(|| format!("the template fails: {why}"));
                }
            }
        }
        Flow::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{parse, refused, table, warnings};

    #[test]
    fn what_is_refused() {
        refused(&[
            ("template: {template: x}", "[0].template", "`source` is required"),
            ("template: {source: a, template: 1}", "[0].template.template", "expected a string"),
            ("template: {source: a, template: '{{ .Value '}", "[0].template.template", "unclosed"),
            ("template: {source: a, template: '{{ if .Value }}'}", "[0].template.template", "{{end}}"),
            ("template: {source: a, template: '{{ .Value | toSlug }}'}", "[0].template.template", "toSlug"),
            ("template: {source: a, template: '{{ env \"HOME\" }}'}", "[0].template.template", "expand-env"),
        ]);
    }

    #[test]
    fn without_a_template_the_value_goes() {
        for yaml in ["template: {source: a}", "template: {source: a, template: ''}"] {
            assert!(warnings(&parse(yaml).expect(yaml))[0].contains("removes the extracted value `a`"));
        }
        table("[regex: {expression: '(?P<a>.)'}, template: {source: a}, labels: {a: }]", &[("x", r#"{app="x"} x"#)]);
    }

    #[test]
    fn the_value_the_line_and_the_rest() {
        table(
            "[{regex: {expression: '^(?P<a>\\w+)( (?P<b>\\w+))?'}},
              {template: {source: a, template: '{{ .Value }}-{{ .b }}-{{ .app }}-{{ .nope }}'}},
              {template: {source: new, template: '{{ .Value }}|{{ .Entry }}'}},
              {template: {source: b, template: '{{ if ne .Value \"gone\" }}{{ .Value | upper }}{{ end }}'}},
              {labels: {a: null, b: null, new: null}}]",
            &[
                ("one two", "{a=\"one-two-x-<no value>\", app=\"x\", b=\"TWO\", new=\"<no value>|one two\"} one two"),
                ("one gone", "{a=\"one-gone-x-<no value>\", app=\"x\", new=\"<no value>|one gone\"} one gone"),
            ],
        );
    }

    #[test]
    fn a_template_that_fails_changes_nothing() {
        table(
            "[{regex: {expression: '^(?P<a>\\w+)'}},
              {template: {source: a, template: 'x{{ .nope | ToUpper }}'}},
              {template: {source: a, template: '{{ range until 1000 }}{{ range until 1000 }}{{ end }}{{ end }}'}},
              {template: {source: a, template: '{{ range until 1000 }}{{ repeat 100000 \"x\" }}{{ end }}'}},
              {template: {source: a, template: '{{ fail \"no\" }}'}},
              {output: {source: a}}]",
            &[("word", "{app=\"x\"} word")],
        );
    }

    #[test]
    fn chance_is_the_place_of_the_line() {
        let yaml = "[{template: {source: a, template: '{{ uuidv4 }} {{ randNumeric 4 }} {{ shuffle .Entry }}'}}, {output: {source: a}}]";
        let lines = || {
            super::super::testing::run(&super::super::testing::parse(yaml).expect(yaml), &["abc".into(), "abc".into()])
        };
        assert_eq!(lines(), lines());
        assert_ne!(lines()[0].line, lines()[1].line);
    }
}
