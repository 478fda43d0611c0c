//! `-config.expand-env`: replaces `${NAME}` in the text of a config file, before YAML is parsed.
//!
//! The syntax is that of drone/envsubst, as in Promtail. `:+` and `:?` mean the same as `:-`, and `\\` becomes `\`.
//! Comments are expanded too.

use std::fmt;

/// Where and why the text cannot be expanded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Error {
    pub line: usize,
    pub column: usize,
    pub message: &'static str,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (-config.expand-env is on: write $$ for a dollar sign)", self.message)
    }
}

/// A `${NAME}` that was replaced by nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unset {
    pub line: usize,
    pub column: usize,
    pub name: String,
}

impl fmt::Display for Unset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match name.starts_with(|c: char| c.is_ascii_digit()) {
            true => write!(f, "${{{name}}} is replaced by nothing: write $${{{name}}} for the group of an expression"),
            false => write!(
                f,
                "the variable {name} is not set, or is empty: set it, or write a default: ${{{name}:-default}}; for the group of \
                 an expression write $${{{name}}}"
            ),
        }
    }
}

/// Replaces each `${…}` in `text`. An unset variable is empty. Returns also the first of those, without the ones in comments.
pub(super) fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<(String, Vec<Unset>), Error> {
    let mut scan = Scan { text, at: 0, depth: 0, env, unset: Vec::new(), without_value: 0 };
    let mut out = String::with_capacity(text.len());
    while let Some(c) = scan.peek() {
        if scan.take("$$") {
            out.push('$');
        } else if scan.take("\\\\") {
            out.push('\\');
        } else if scan.take("\\/") {
            out.push('/');
        } else if scan.rest().starts_with("${") {
            out.push_str(&scan.substitution()?);
        } else {
            out.push(c);
            scan.at += c.len_utf8();
        }
    }
    Ok((out, scan.unset))
}

const UNCLOSED: &str = "missing closing brace";
const BAD: &str = "bad substitution: expected for instance ${NAME} or ${NAME:-default}";

/// The maximum depth of `${A:-${B:-…}}`. More than any config needs, and safe for the stack.
const MAX_DEPTH: usize = 100;

/// How many variables without a value are looked at more closely, so that a file full of them takes no time.
const NOTED: usize = 100;

/// What stands between a variable and its default.
const DEFAULTS: [&str; 5] = [":-", ":=", ":?", ":+", "="];

/// Where the last line of `text` begins.
fn line_start(text: &str) -> usize {
    text.rfind('\n').map_or(0, |i| i + 1)
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
    /// The depth of the current substitution.
    depth: usize,
    env: &'a dyn Fn(&str) -> Option<String>,
    unset: Vec<Unset>,
    /// How many without a value there were, also in comments.
    without_value: usize,
}

impl<'a> Scan<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    /// Reads from `${` to its `}`.
    fn substitution(&mut self) -> Result<String, Error> {
        let start = self.at;
        let value = self.body();
        value.map_err(|message| {
            let (line, column) = self.position(start);
            Error { line, column, message }
        })
    }

    /// The line and column of a place in the text, from 1.
    fn position(&self, at: usize) -> (usize, usize) {
        let before = &self.text[..at];
        (before.matches('\n').count() + 1, before[line_start(before)..].chars().count() + 1)
    }

    fn is_in_comment(&self, at: usize) -> bool {
        let before = &self.text[..at];
        let line = &before[line_start(before)..];
        let (mut quote, mut last) = (None, ' ');
        for c in line.chars() {
            match (c, quote) {
                ('#', None) if last.is_whitespace() => return true,
                (c, Some(open)) if c == open => quote = None,
                ('"' | '\'', None) if !last.is_alphanumeric() => quote = Some(c),
                _ => {}
            }
            last = c;
        }
        false
    }

    /// Remembers that the variable at `at` was replaced by nothing.
    fn note_unset(&mut self, at: usize, name: &str) {
        self.without_value += 1;
        if self.without_value <= NOTED && !self.is_in_comment(at) {
            let (line, column) = self.position(at);
            self.unset.push(Unset { line, column, name: name.to_string() });
        }
    }

    fn body(&mut self) -> Result<String, &'static str> {
        if self.depth == MAX_DEPTH {
            return Err("too many substitutions inside each other");
        }
        self.depth += 1;
        let value = self.inside();
        self.depth -= 1;
        value
    }

    fn inside(&mut self) -> Result<String, &'static str> {
        let start = self.at;
        self.take("${");
        if self.take("#") {
            let (_, value) = self.variable()?;
            self.close()?;
            return Ok(value.len().to_string());
        }
        let (name, value) = self.variable()?;
        if DEFAULTS.iter().any(|operator| self.take(operator)) {
            return self.default(value);
        }
        if value.is_empty() {
            self.note_unset(start, name);
        }
        match self.peek() {
            Some(':') => self.substring(value),
            Some(',' | '^') => self.case(value),
            Some('/') => self.replace(value),
            Some('#' | '%') => self.trim(value),
            _ => self.close().map(|()| value),
        }
    }

    /// The name and the value of a variable.
    fn variable(&mut self) -> Result<(&'a str, String), &'static str> {
        let name = self.until(|c| !(c.is_alphanumeric() || c == '_'));
        match name {
            "" if self.rest().is_empty() => Err(UNCLOSED),
            "" => Err(BAD),
            name => Ok((name, (self.env)(name).unwrap_or_default())),
        }
    }

    fn until(&mut self, end: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = &rest[..rest.find(end).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    fn close(&mut self) -> Result<(), &'static str> {
        match self.take("}") {
            true => Ok(()),
            false if self.rest().contains('}') => Err(BAD),
            false => Err(UNCLOSED),
        }
    }

    /// Reads the default for an empty value. It may contain substitutions.
    fn default(&mut self, value: String) -> Result<String, &'static str> {
        let (mut default, unset) = (String::new(), self.unset.len());
        while !self.take("}") {
            match self.peek() {
                None => return Err(UNCLOSED),
                Some('$') if self.rest().starts_with("${") => default.push_str(&self.body()?),
                Some(c) => {
                    default.push(c);
                    self.at += c.len_utf8();
                }
            }
        }
        if value.is_empty() {
            return Ok(default);
        }
        // What the default lacks does not matter.
        self.unset.truncate(unset);
        Ok(value)
    }

    /// `:offset` or `:offset:length`, in bytes. If one is not a number, the value stays unchanged.
    fn substring(&mut self, value: String) -> Result<String, &'static str> {
        self.take(":");
        let offset = self.argument(&[':', '}'], false)?;
        let length = if self.take(":") { Some(self.argument(&['}'], false)?) } else { None };
        self.close()?;
        let Ok(offset) = offset.parse::<i64>() else { return Ok(value) };
        let size = value.len() as i64;
        let from = if offset < 0 { (size + offset).max(0) } else { offset.min(size) };
        let to = match length.map(|length| length.parse::<i64>()) {
            None => size,
            Some(Ok(length)) => (from + length.clamp(0, size)).min(size),
            Some(Err(_)) => return Ok(value),
        };
        let bytes = &value.as_bytes()[from as usize..to as usize];
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    /// `,` and `^` change the first character, `,,` and `^^` all of them.
    fn case(&mut self, value: String) -> Result<String, &'static str> {
        let changed = if self.take(",,") {
            value.to_lowercase()
        } else if self.take("^^") {
            value.to_uppercase()
        } else {
            let lower = self.take(",");
            self.take("^");
            let mut chars = value.chars();
            let first: String = match chars.next() {
                Some(c) if lower => c.to_lowercase().collect(),
                Some(c) => c.to_uppercase().collect(),
                None => String::new(),
            };
            first + chars.as_str()
        };
        self.close().map(|()| changed)
    }

    /// `/a/b` replaces the first `a`, `//a/b` all, `/#a/b` one at the start, `/%a/b` one at the end. Without `b`, `a`
    /// is removed.
    fn replace(&mut self, value: String) -> Result<String, &'static str> {
        self.take("/");
        let kind = ["/", "#", "%"].into_iter().find(|kind| self.take(kind)).unwrap_or_default();
        let from = self.argument(&['/'], true)?;
        if !self.take("/") {
            return Err(if self.rest().is_empty() { UNCLOSED } else { BAD });
        }
        let to = self.argument(&['}'], true)?;
        self.close()?;
        Ok(match kind {
            "/" => value.replace(&from, &to),
            "#" => value.strip_prefix(from.as_str()).map_or(value.clone(), |rest| to + rest),
            "%" => value.strip_suffix(from.as_str()).map_or(value.clone(), |rest| rest.to_string() + &to),
            _ => value.replacen(&from, &to, 1),
        })
    }

    /// `#a` and `%a` remove the shortest match of `a` from the start or the end. `##a` and `%%a` remove the longest.
    fn trim(&mut self, value: String) -> Result<String, &'static str> {
        let front = self.peek() == Some('#');
        let longest = self.take("##") || self.take("%%");
        if !longest && !self.take("#") {
            self.take("%");
        }
        let pattern: Vec<char> = self.argument(&['}'], false)?.chars().collect();
        self.close()?;
        let chars: Vec<char> = value.chars().collect();
        let cut = |n: usize| if front { chars.split_at(n) } else { chars.split_at(chars.len() - n) };
        let fits = |n: &usize| matches(&pattern, if front { cut(*n).0 } else { cut(*n).1 });
        let mut lengths = 1..=chars.len();
        let length = if longest { lengths.rev().find(fits) } else { lengths.find(fits) };
        let (head, tail) = cut(length.unwrap_or(0));
        Ok(if front { tail } else { head }.iter().collect())
    }

    /// One argument: a substitution, or text up to one of `ends`.
    fn argument(&mut self, ends: &[char], escapes: bool) -> Result<String, &'static str> {
        if self.rest().starts_with("${") {
            return self.body();
        }
        let mut argument = String::new();
        while let Some(c) = self.peek().filter(|c| !ends.contains(c)) {
            let escaped = escapes && ["\\\\", "\\/", "$$"].iter().any(|e| self.rest().starts_with(e));
            self.at += c.len_utf8();
            match escaped {
                true => argument.extend(self.until_next()),
                false => argument.push(c),
            }
        }
        Ok(argument)
    }

    fn until_next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }
}

/// Whether a shell pattern of `*`, `?` and characters matches the whole `text`.
fn matches(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|n| matches(rest, &text[n..])),
        ['?', rest @ ..] => !text.is_empty() && matches(rest, &text[1..]),
        [c, rest @ ..] => text.first() == Some(c) && matches(rest, &text[1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        Some(match name {
            "A" => "hello".to_string(),
            "UP" => "HELLO".to_string(),
            "PATH_" => "/srv/data/app.tar.gz".to_string(),
            "EMPTY" => String::new(),
            "YAML" => "1\nb: 2".to_string(),
            "a" => "lower name".to_string(),
            "UTF" => "öäü".to_string(),
            _ => return None,
        })
    }

    #[test]
    fn a_file_full_of_variables_takes_no_time() {
        for line in ["${U}\n", "# ${U}\n", "${U} "] {
            let (text, unset) = expand(&line.repeat(1 << 20), &env).expect("expanded");
            assert!(!text.contains('U') && unset.len() <= NOTED, "{line:?}");
        }
    }

    fn expanded(text: &str) -> Result<String, Error> {
        expand(text, &env).map(|(text, _)| text)
    }

    #[test]
    fn what_is_replaced_by_nothing_is_said() {
        for (text, want) in [
            ("a: ${A}", &[][..]),
            ("a\nb: ü ${U}", &[(2, 6, "U")]),
            ("${1} ${EMPTY}", &[(1, 1, "1"), (1, 6, "EMPTY")]),
            ("${U:-} ${U:-x} ${U=x} $${U} $U ${#U}", &[]),
            ("${U,,} ${U:1:2} ${U/a/b}", &[(1, 1, "U"), (1, 8, "U"), (1, 17, "U")]),
            ("${U:-${V}} ${A:-${V}}", &[(1, 6, "V")]),
            ("# ${U}\na: 1 # ${U}\n  # ${U}\nb#${U}", &[(4, 3, "U")]),
        ] {
            let unset = expand(text, &env).expect(text).1;
            let unset: Vec<(usize, usize, &str)> = unset.iter().map(|u| (u.line, u.column, u.name.as_str())).collect();
            assert_eq!(unset, want, "{text}");
        }
    }

    #[test]
    fn expands() {
        for (text, want) in [
            ("${A}", "hello"),
            ("x${A}y${A}z", "xhelloyhelloz"),
            ("${U}", ""),
            ("$A $1 $", "$A $1 $"),
            ("${1}", ""),
            ("$${A} $$A $$1 $$$$", "${A} $A $1 $$"),
            ("$$${A}", "$hello"),
            ("${U:-def} ${EMPTY:-def} ${A:-def}", "def def hello"),
            ("${U:=def} ${U=def} ${A=def}", "def def hello"),
            ("${U:?def} ${A:?def}", "def hello"),
            ("${U:+def} ${A:+def}", "def hello"),
            ("${U:-${A}} ${U:-<${U:-${A}}>}", "hello <hello>"),
            ("${U:-} ${U:-a b:c}", " a b:c"),
            ("${UP,,} ${A^^} ${A^} ${UP,} ${U^}", "hello HELLO Hello hELLO "),
            ("${#A} ${#U} ${#UTF}", "5 0 6"),
            ("${A:1:2} ${A:1} ${A:9} ${A:0:99} ${A:-1:x}", "el ello  hello hello"),
            ("${A/l/L} ${A//l/L} ${A/l/} ${A/x/L}", "heLlo heLLo helo hello"),
            ("${A/#he/HE} ${A/%lo/LO} ${A/#x/y}", "HEllo helLO hello"),
            ("${PATH_//\\//-}", "-srv-data-app.tar.gz"),
            ("${A%lo} ${A%%x} ${A#he} ${A##x}", "hel hello llo hello"),
            (
                "${PATH_##*/} ${PATH_#*/} ${PATH_%.*} ${PATH_%%.*}",
                "app.tar.gz srv/data/app.tar.gz /srv/data/app.tar /srv/data/app",
            ),
            ("\\\\ \\d \\/ \\${A} \\\\d+", "\\ \\d / \\hello \\d+"),
            ("${a}", "lower name"),
            ("# ${A} in a comment", "# hello in a comment"),
            ("a: ${YAML}", "a: 1\nb: 2"),
            ("no braces at all", "no braces at all"),
            ("", ""),
        ] {
            assert_eq!(expanded(text).as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn depth_has_an_end() {
        let nested = |n: usize| format!("{}x{}", "${U:-".repeat(n), "}".repeat(n));
        assert_eq!(expanded(&nested(100)).as_deref(), Ok("x"));
        assert!(expand(&nested(101), &env).is_err_and(|e| e.message.starts_with("too many")));
        assert!(expand(&"${U:-".repeat(100_000), &env).is_err());
    }

    #[test]
    fn refuses() {
        for (text, line, column, message) in [
            ("${A", 1, 1, UNCLOSED),
            ("a\nbü ${A:-x", 2, 4, UNCLOSED),
            ("${", 1, 1, UNCLOSED),
            ("${A/b}", 1, 1, UNCLOSED),
            ("x ${U-def}", 1, 3, BAD),
            ("${A.B}", 1, 1, BAD),
            ("${ A }", 1, 1, BAD),
            ("${}", 1, 1, BAD),
            ("${A,x}", 1, 1, BAD),
            ("# ${ in a comment }", 1, 3, BAD),
        ] {
            assert_eq!(expand(text, &env), Err(Error { line, column, message }), "{text}");
        }
    }
}
