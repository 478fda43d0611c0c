//! The part of LogQL that `match` speaks: a stream selector, then line filters.
//!
//! ```text
//! {app="web", env=~"prod|stage", team!="", zone!~`eu-.*`} |= "error" or "fail" != "health" |~ `code=5\d\d` !~ "(?i)ok"
//! ```
//!
//! A label that is missing is empty. Expressions on labels match the whole value, those on lines anywhere. Strings are in
//! double quotes, with the escapes of Go, or in back quotes, without any.

use std::str::Chars;

use memchr::memmem::Finder;

use super::labelling::{TENANT, label};
use crate::goregex::Regex;
use crate::model::{Entry, is_valid_label_name};

#[derive(Debug)]
pub(super) struct Selector {
    labels: Vec<Matcher>,
    lines: Vec<Filter>,
}

#[derive(Debug)]
struct Matcher {
    name: Box<str>,
    wanted: bool,
    value: Test,
}

#[derive(Debug)]
struct Filter {
    wanted: bool,
    any: Vec<Test>,
}

#[derive(Debug)]
enum Test {
    Is(Box<str>),
    Contains(Box<Finder<'static>>),
    Matches(Regex),
}

impl Selector {
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { rest: text };
        let labels = parser.selector().map_err(|message| format!("invalid selector `{text}`: {message}"))?;
        let lines = parser.filters().map_err(|message| format!("invalid selector `{text}`: {message}"))?;
        Ok(Self { labels, lines })
    }

    /// Whether [`Selector::matches_labels`] depends on the labels alone and not on the tenant.
    pub fn ignores_tenant(&self) -> bool {
        self.labels.iter().all(|m| *m.name != *TENANT)
    }

    pub fn matches_labels(&self, entry: &Entry<'_>) -> bool {
        self.labels.iter().all(|m| m.value.holds(label(entry, &m.name).unwrap_or_default()) == m.wanted)
    }

    pub fn matches_line(&self, line: &str) -> bool {
        self.lines.iter().all(|filter| filter.any.iter().any(|test| test.holds(line)) == filter.wanted)
    }
}

impl Test {
    fn holds(&self, text: &str) -> bool {
        match self {
            Test::Is(value) => **value == *text,
            Test::Contains(part) => part.find(text.as_bytes()).is_some(),
            Test::Matches(expression) => expression.is_match(text),
        }
    }
}

struct Parser<'t> {
    rest: &'t str,
}

impl<'t> Parser<'t> {
    fn selector(&mut self) -> Result<Vec<Matcher>, String> {
        if !self.take("{") {
            return Err(format!("expected `{{`, found {}", self.found()));
        }
        let mut matchers = Vec::new();
        loop {
            matchers.push(self.matcher()?);
            if self.take("}") {
                return Ok(matchers);
            }
            if !self.take(",") {
                return Err(format!("expected `,` or `}}`, found {}", self.found()));
            }
        }
    }

    fn matcher(&mut self) -> Result<Matcher, String> {
        self.skip_blanks();
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let name = &self.rest[..end];
        if !is_valid_label_name(name) {
            return Err(format!("expected a label name, found {}", self.found()));
        }
        self.rest = &self.rest[end..];
        let operators = [("=~", true, true), ("!~", false, true), ("!=", false, false), ("=", true, false)];
        let Some((_, wanted, regex)) = operators.into_iter().find(|(op, ..)| self.take(op)) else {
            return Err(format!("expected =, !=, =~ or !~ after `{name}`, found {}", self.found()));
        };
        let text = self.string()?;
        let value = match regex {
            true => Test::Matches(Regex::anchored(&text).map_err(|e| e.to_string())?),
            false => Test::Is(text.into()),
        };
        Ok(Matcher { name: name.into(), wanted, value })
    }

    fn filters(&mut self) -> Result<Vec<Filter>, String> {
        let mut filters = Vec::new();
        let operators = [("|=", true, false), ("!=", false, false), ("|~", true, true), ("!~", false, true)];
        loop {
            self.skip_blanks();
            if self.rest.is_empty() {
                return Ok(filters);
            }
            let Some((_, wanted, regex)) = operators.into_iter().find(|(op, ..)| self.take(op)) else {
                let found = self.found();
                return Err(format!("only the line filters |=, !=, |~ and !~ may follow the labels, found {found}"));
            };
            let mut any = vec![self.line_test(regex)?];
            while self.take_word("or") {
                any.push(self.line_test(regex)?);
            }
            filters.push(Filter { wanted, any });
        }
    }

    fn line_test(&mut self, regex: bool) -> Result<Test, String> {
        let text = self.string()?;
        Ok(match regex {
            true => Test::Matches(Regex::new(&text).map_err(|e| e.to_string())?),
            false => Test::Contains(Box::new(Finder::new(text.as_bytes()).into_owned())),
        })
    }

    fn string(&mut self) -> Result<String, String> {
        self.skip_blanks();
        if let Some(body) = self.rest.strip_prefix('`') {
            let end = body.find('`').ok_or("a string in back quotes does not end")?;
            self.rest = &body[end + 1..];
            return Ok(body[..end].replace('\r', ""));
        }
        let body = self
            .rest
            .strip_prefix('"')
            .ok_or_else(|| format!("expected a string in double or back quotes, found {}", self.found()))?;
        let mut chars = body.chars();
        let mut bytes = Vec::new();
        loop {
            match chars.next() {
                None | Some('\n') => return Err("a string in double quotes does not end".into()),
                Some('"') => break,
                Some('\\') => escape(&mut chars, &mut bytes)?,
                Some(c) => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
        self.rest = chars.as_str();
        String::from_utf8(bytes).map_err(|_| "a string is no UTF-8".into())
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip_blanks();
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn take_word(&mut self, word: &str) -> bool {
        self.skip_blanks();
        match self.rest.strip_prefix(word) {
            Some(rest) if !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_') => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Skips white space, and comments up to the end of their line.
    fn skip_blanks(&mut self) {
        loop {
            self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
            let Some(comment) = self.rest.strip_prefix('#') else {
                return;
            };
            self.rest = comment.find('\n').map_or("", |end| &comment[end..]);
        }
    }

    /// The next word, for messages.
    fn found(&self) -> String {
        match self.rest.split_whitespace().next() {
            None => "the end".into(),
            Some(word) if self.rest.starts_with('|') && word == "|" => {
                format!("`| {}`", self.rest.split_whitespace().nth(1).unwrap_or_default())
            }
            Some(word) => format!("`{word}`"),
        }
    }
}

/// Reads an escape of a Go string, after the backslash.
fn escape(chars: &mut Chars<'_>, bytes: &mut Vec<u8>) -> Result<(), String> {
    let escape = chars.next().unwrap_or_default();
    let mut digits = |count: usize, radix: u32| {
        let text = chars.as_str().get(..count).filter(|t| t.chars().all(|c| c.is_digit(radix)))?;
        *chars = chars.as_str()[count..].chars();
        u32::from_str_radix(text, radix).ok()
    };
    let byte = match escape {
        'a' => Some(7),
        'b' => Some(8),
        'f' => Some(12),
        'n' => Some(b'\n'),
        'r' => Some(b'\r'),
        't' => Some(b'\t'),
        'v' => Some(11),
        '\\' | '"' => Some(escape as u8),
        'x' => digits(2, 16).and_then(|n| u8::try_from(n).ok()),
        first @ '0'..='7' => digits(2, 8).and_then(|n| u8::try_from(n + 64 * (u32::from(first) - u32::from('0'))).ok()),
        'u' | 'U' => {
            let code = digits(if escape == 'u' { 4 } else { 8 }, 16).and_then(char::from_u32);
            let c = code.ok_or_else(|| format!("`\\{escape}` is followed by no character's number"))?;
            bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
            return Ok(());
        }
        _ => None,
    };
    bytes.push(byte.ok_or_else(|| format!("`\\{escape}` is no escape: write two backslashes, or use back quotes"))?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{AckRef, LabelSet, Ledger, Mark, Origin};

    /// Whether the selector matches a line of `{app="web", empty="", dir="C:\\x"}` with the tenant `acme`.
    fn selects(selector: &str, line: &str) -> bool {
        let ack = Ledger::new().open_chunk(1, Mark::default());
        let entry = Entry {
            timestamp: 0,
            line: Cow::Borrowed(line),
            labels: LabelSet::new([("app", "web"), ("empty", ""), ("dir", "C:\\x")]),
            metadata: Vec::new(),
            tenant: Some("acme".into()),
            origin: Origin::default(),
            weight: crate::model::Weight::default(),
            ack: AckRef::Chunk(&ack),
        };
        let parsed = Selector::parse(selector).expect(selector);
        parsed.matches_labels(&entry) && parsed.matches_line(line)
    }

    #[test]
    fn labels() {
        for (selector, want) in [
            (r#"{app="web"}"#, true),
            (r#"{app="we"}"#, false),
            (r#"{app!="we"}"#, true),
            (r#"{app=~"we"}"#, false),
            (r#"{app=~"w.*|x"}"#, true),
            (r#"{app!~"we"}"#, true),
            (r#"{app!~".eb"}"#, false),
            (r#"{gone=""}"#, true),
            (r#"{gone!=""}"#, false),
            (r#"{gone=~".*"}"#, true),
            (r#"{gone=~".+"}"#, false),
            (r#"{empty=""}"#, true),
            (r#"{app="web", gone="x"}"#, false),
            (" {\tapp = \"web\" ,\n empty = `` } ", true),
            (r#"{dir="C:\\x"}"#, true),
            (r"{dir=`C:\x`}", true),
            (r"{dir=~`C:\\.`}", true),
            (r#"{app="\x77e\142"}"#, true),
            (r#"{app="\u0077\U00000065b"}"#, true),
            (r#"{__tenant_id__="acme"}"#, true),
            (r#"{__tenant_id__!~"a.*"}"#, false),
        ] {
            assert_eq!(selects(selector, "l"), want, "{selector}");
        }
    }

    #[test]
    fn lines() {
        for (filters, line, want) in [
            (r#"|= "time""#, "a timeout", true),
            (r#"|= "Time""#, "a timeout", false),
            (r#"!= "time""#, "a timeout", false),
            (r#"|~ "co+de=5\\d\\d$""#, "x code=504", true),
            (r"|~ `co+de=5\d\d$`", "x code=504 y", false),
            (r#"!~ "\\d" |= "e""#, "error", true),
            (r#"!~ "\\d" |= "e""#, "error 1", false),
            (r#"|="a"|="b"!="c""#, "ab", true),
            (r#"|= "a" or "b""#, "xb", true),
            (r#"!= "a" or "b""#, "xb", false),
            (r#"!= "a" or "b" |~ "c" or `d$`"#, "xd", true),
            (r#"|= """#, "", true),
            ("|= \"a\" # a comment\n|= \"b\"", "a", false),
            (r#"|= "é\"😀""#, "é\"😀", true),
        ] {
            assert_eq!(selects(&format!("{{app=\"web\"}} {filters}"), line), want, "{filters} on {line}");
        }
    }

    #[test]
    fn what_is_no_selector() {
        for (selector, message) in [
            ("", "expected `{`, found the end"),
            ("app", "expected `{`, found `app`"),
            ("{}", "expected a label name, found `}`"),
            ("{app}", "expected =, !=, =~ or !~ after `app`, found `}`"),
            ("{app=}", "expected a string in double or back quotes, found `}`"),
            ("{app='web'}", "expected a string in double or back quotes, found `'web'}`"),
            (r#"{app="web",}"#, "expected a label name, found `}`"),
            (r#"{app="web""#, "expected `,` or `}`, found the end"),
            (r#"{app="web}"#, "does not end"),
            ("{app=`web}", "does not end"),
            (r#"{1a="web"}"#, "expected a label name, found `1a=\"web\"}`"),
            (r#"{a.b="web"}"#, "expected =, !=, =~ or !~ after `a`"),
            (r#"{app=~"("}"#, "invalid regular expression `(`"),
            (r#"{app="\d"}"#, "`\\d` is no escape: write two backslashes"),
            (r#"{app="\xff"}"#, "no UTF-8"),
            (r#"{app="\ud800"}"#, "no character's number"),
            (r#"{app="web"} | json"#, "may follow the labels, found `| json`"),
            (r#"{app="web"} |> "<_>""#, "found `|>`"),
            (r#"{app="web"} |= ip("10.0.0.0/8")"#, "found `ip(\"10.0.0.0/8\")`"),
            (r#"{app="web"} |= "a" or"#, "found the end"),
            (r#"{app="web"} |= "a" order"#, "found `order`"),
            (r#"{app="web"} |~ "*""#, "invalid regular expression `*`"),
        ] {
            let error = Selector::parse(selector).expect_err(selector);
            assert!(error.contains(message), "{selector}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in r#"\{?[a-c="`~|!{},\\xu0é #or]{0,30}"#) {
            let _ = Selector::parse(&text);
        }
    }
}
