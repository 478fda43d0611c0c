//! Replacement templates of Go's `Regexp.Expand`.

use std::fmt;

use super::{Captures, Regex};

/// A template of `$1`, `${1}`, `$name`, `${name}`, `$$` and plain text.
///
/// Names are as long as possible: `$1x` is the group `1x`. A group that does not exist, or takes no part in the match,
/// is empty. Any other `$` is plain text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    template: Box<str>,
    /// Texts are not empty and never adjacent.
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Index(usize),
    Name(String),
}

impl Replacement {
    /// Parses a template. Every text is valid.
    pub fn new(template: &str) -> Self {
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('$') {
            text(&mut parts, before);
            rest = after;
            if let Some(after) = rest.strip_prefix('$') {
                text(&mut parts, "$");
                rest = after;
            } else if let Some((name, after)) = reference(rest) {
                parts.push(index(name).map_or_else(|| Part::Name(name.to_string()), Part::Index));
                rest = after;
            } else {
                text(&mut parts, "$");
            }
        }
        text(&mut parts, rest);
        Self { template: template.into(), parts }
    }

    /// Appends the expanded template to `out`. `captures` must be a match of `regex`.
    pub fn expand(&self, regex: &Regex, captures: &Captures<'_>, out: &mut String) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Index(i) => out.push_str(captures.get(*i).map_or("", |m| m.as_str())),
                Part::Name(name) => out.push_str(regex.named(captures, name).unwrap_or_default()),
            }
        }
    }

    /// The text, if the template contains no group.
    pub fn is_literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    pub fn has_groups(&self) -> bool {
        self.is_literal().is_none()
    }
}

/// Writes the template as written.
impl fmt::Display for Replacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.template)
    }
}

fn text(parts: &mut Vec<Part>, text: &str) {
    if text.is_empty() {
        return;
    }
    match parts.last_mut() {
        Some(Part::Text(last)) => last.push_str(text),
        _ => parts.push(Part::Text(text.to_string())),
    }
}

/// Reads the name after a `$`, with or without braces. Returns the name and the rest. None: there is no name.
fn reference(rest: &str) -> Option<(&str, &str)> {
    let braced = rest.strip_prefix('{');
    let rest = braced.unwrap_or(rest);
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    if name.is_empty() {
        return None;
    }
    Some((name, if braced.is_some() { after.strip_prefix('}')? } else { after }))
}

/// The group index, if the name is a number without leading zeros and with less than 10 digits.
fn index(name: &str) -> Option<usize> {
    let is_number = name.bytes().all(|b| b.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    name.parse().ok().filter(|_| is_number && name.len() < 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_expand_as_in_go() {
        // The text is `app-web-42`. `mid` matches web, `none` takes no part.
        let regex = Regex::new(r"(\w+)-(?P<mid>\w+)-(\d+)(?P<none>x)?").expect("valid");
        let captures = regex.captures("<app-web-42>").expect("a match");
        for (template, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("$0", "app-web-42"),
            ("$1", "app"),
            ("${1}", "app"),
            ("${1}x", "appx"),
            ("$1x", ""),
            ("$1_", ""),
            ("$1-$2", "app-web"),
            ("$mid.${mid}", "web.web"),
            ("$none|${none}|$4", "||"),
            ("$9|$unknown|${unknown}", "||"),
            ("$10", ""),
            ("$01", ""),
            ("$99999999999999999999", ""),
            ("$$1-$0", "$1-app-web-42"),
            ("$$$1", "$app"),
            ("$", "$"),
            ("$1$", "app$"),
            ("a$ b", "a$ b"),
            ("$-1", "$-1"),
            ("${", "${"),
            ("${}", "${}"),
            ("${1", "${1"),
            ("${1 }", "${1 }"),
            ("${mid", "${mid"),
            ("${-}$3", "${-}42"),
            ("$\u{e9}|", "|"),
        ] {
            let mut out = String::from(">");
            Replacement::new(template).expand(&regex, &captures, &mut out);
            assert_eq!(out, format!(">{expected}"), "{template}");
        }
    }

    #[test]
    fn a_name_that_two_groups_have_is_the_one_that_took_part() {
        let regex = Regex::new("(?P<a>x)|(?P<a>y)|(?P<1st>z)").expect("valid");
        for (text, expected) in [("x", "[x]"), ("y", "[y]"), ("z", "[z]")] {
            let mut out = String::new();
            Replacement::new("[$a${1st}]").expand(&regex, &regex.captures(text).expect(text), &mut out);
            assert_eq!(out, expected, "{text}");
        }
    }

    #[test]
    fn a_template_without_groups_is_a_text() {
        for (template, text) in [("", Some("")), ("a$$b", Some("a$b")), ("${", Some("${")), ("a$1", None)] {
            let replacement = Replacement::new(template);
            assert_eq!(replacement.is_literal(), text, "{template}");
            assert_eq!(replacement.has_groups(), text.is_none(), "{template}");
            assert_eq!(replacement.to_string(), template);
        }
    }
}
