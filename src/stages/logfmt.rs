//! `logfmt`: extracts values from `key=value` pairs.
//!
//! ```yaml
//! - logfmt:
//!     mapping:               # required
//!       level:               # the value of the key `level`
//!       service: app         # the value of the key `app`
//!     source: payload        # an extracted value to parse instead of the line
//! ```
//!
//! All values are text. A key without a value has an empty value. If a key appears twice, the last one is used. Quoted
//! values may contain JSON escapes. After a syntax error, the rest of the text is ignored; the values before it are
//! extracted. A missing key extracts nothing.
//!
//! Unlike Promtail: one key may be extracted under several names.

use std::borrow::Cow;
use std::sync::Arc;

use super::options::Options;
use super::reads::Reads;
use super::work::{no_value, source_text};
use super::{ConfigError, Extracted, Flow, Recipe, Stage, Value, Work};

pub(super) fn compile(options: &mut Options<'_>) -> Result<Recipe, ConfigError> {
    let field = options.field("mapping")?.ok_or_else(|| options.fail("`mapping` is required".into()))?;
    let pairs = field.pairs()?;
    if pairs.is_empty() {
        return Err(field.fail("expected a mapping from names to logfmt keys, found nothing".into()));
    }
    let mapping: Arc<[(Arc<str>, Box<str>)]> =
        pairs.into_iter().map(|(name, key)| (Arc::from(name), key.unwrap_or(name).into())).collect();
    let source: Option<Arc<str>> = options.source()?.map(Arc::from);
    options.reads(Reads::these(source.as_deref()));
    Ok(Box::new(move |_| Box::new(Logfmt { mapping: mapping.clone(), source: source.clone() })))
}

#[derive(Debug)]
struct Logfmt {
    /// Names and the keys they are read from.
    mapping: Arc<[(Arc<str>, Box<str>)]>,
    source: Option<Arc<str>>,
}

impl Stage for Logfmt {
    fn process(&mut self, work: &mut Work<'_>, _: &mut Vec<Work<'static>>) -> Flow {
        let Some(text) = source_text(&work.entry.line, &work.extracted, self.source.as_deref()) else {
            work.fails(|| no_value(self.source.as_deref()));
            return Flow::Pass;
        };
        let found = match &*text {
            Cow::Borrowed(text) => self.extract(text, |value| value, &mut work.extracted),
            Cow::Owned(text) => self.extract(text, |value| Cow::Owned(value.into_owned()), &mut work.extracted),
        };
        drop(text);
        if !found {
            work.fails(|| "the text has none of the keys, or a syntax error before them".into());
        }
        Flow::Pass
    }
}

impl Logfmt {
    /// Whether there is any of the keys.
    fn extract<'t, 'c>(
        &self,
        text: &'t str,
        keep: impl Fn(Cow<'t, str>) -> Cow<'c, str>,
        extracted: &mut Extracted<'c>,
    ) -> bool {
        let mut found = false;
        for (key, value) in Pairs::new(text) {
            let mut wanted = self.mapping.iter().filter(|(_, wanted)| **wanted == *key).peekable();
            while let Some((name, _)) = wanted.next() {
                found = true;
                if wanted.peek().is_none() {
                    extracted.set(name, Value::Text(keep(value)));
                    break;
                }
                extracted.set(name, Value::Text(keep(value.clone())));
            }
        }
        found
    }
}

/// The pairs of a text, up to the first syntax error.
struct Pairs<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Pairs<'t> {
    fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// The bytes from here to the first for which `end` is true.
    fn until(&self, end: impl Fn(u8) -> bool) -> &'t str {
        let rest = &self.text[self.at..];
        &rest[..rest.bytes().position(end).unwrap_or(rest.len())]
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next pair. None: there is no more, or a syntax error.
    fn pair(&mut self) -> Option<(&'t str, Cow<'t, str>)> {
        self.at += self.until(|b| b > b' ').len();
        let key = self.until(|b| b == b'=' || b == b'"' || b <= b' ');
        // A replacement character stands for invalid bytes.
        if key.is_empty() || key.contains(char::REPLACEMENT_CHARACTER) {
            return None;
        }
        self.at += key.len();
        match self.peek() {
            Some(b'=') => self.at += 1,
            Some(b'"') => return None,
            _ => return Some((key, Cow::Borrowed(""))),
        }
        if self.peek() == Some(b'"') {
            return Some((key, self.quoted()?));
        }
        let value = self.until(|b| b == b'=' || b == b'"' || b <= b' ');
        self.at += value.len();
        match self.peek() {
            Some(b'=' | b'"') => None,
            _ => Some((key, Cow::Borrowed(value))),
        }
    }

    /// A quoted value. None if it does not end on this line or has an invalid escape.
    fn quoted(&mut self) -> Option<Cow<'t, str>> {
        let start = self.at;
        let (mut escaped, mut escapes) = (false, false);
        for (i, b) in self.text.bytes().enumerate().skip(start + 1) {
            match b {
                b'\n' => return None,
                _ if escaped => escaped = false,
                b'\\' => (escaped, escapes) = (true, true),
                b'"' => {
                    self.at = i + 1;
                    let value = &self.text[start + 1..i];
                    return if escapes { unescape(value).map(Cow::Owned) } else { Some(Cow::Borrowed(value)) };
                }
                _ => {}
            }
        }
        None
    }
}

impl<'t> Iterator for Pairs<'t> {
    type Item = (&'t str, Cow<'t, str>);

    fn next(&mut self) -> Option<Self::Item> {
        let pair = self.pair();
        if pair.is_none() {
            self.at = self.text.len();
        }
        pair
    }
}

/// JSON escapes and `\'`. Half a surrogate pair becomes U+FFFD.
fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            // Go's reader of quoted values, unlike that of plain values, rejects control characters.
            if c < ' ' {
                return None;
            }
            out.push(c);
            continue;
        }
        out.push(match chars.next()? {
            c @ ('"' | '\\' | '/' | '\'') => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let unit = hex(&mut chars)?;
                let mut ahead = chars.clone();
                let low = (ahead.next() == Some('\\') && ahead.next() == Some('u')).then(|| hex(&mut ahead)).flatten();
                let pair = low.and_then(|low| char::decode_utf16([unit, low]).next()?.ok()).filter(|c| *c > '\u{ffff}');
                if pair.is_some() {
                    chars = ahead;
                }
                pair.or(char::from_u32(u32::from(unit))).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return None,
        });
    }
    Some(out)
}

fn hex(chars: &mut std::str::Chars<'_>) -> Option<u16> {
    let digits = chars.as_str().get(..4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
    *chars = chars.as_str()[4..].chars();
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{refused, table};
    use super::Pairs;

    fn check(text: &str, want: &[(&str, &str)]) {
        let pairs: Vec<_> = Pairs::new(text).collect();
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(k, v)| (*k, &**v)).collect();
        assert_eq!(pairs, want, "{text}");
    }

    #[test]
    fn pairs() {
        check("a=1 b=two  c.d-e/f@=x,y", &[("a", "1"), ("b", "two"), ("c.d-e/f@", "x,y")]);
        check("flag a= b", &[("flag", ""), ("a", ""), ("b", "")]);
        check(" \ta=1\r\nb=2\u{1}c=3", &[("a", "1"), ("b", "2"), ("c", "3")]);
        check("größe=zehn \u{a0}=1", &[("größe", "zehn"), ("\u{a0}", "1")]);
        check("a='one two'", &[("a", "'one"), ("two'", "")]);
        check(r"a=x\ny", &[("a", r"x\ny")]);
        check("", &[]);
    }

    #[test]
    fn quoted_values() {
        check(r#"a="b c=d" e="" f="""#, &[("a", "b c=d"), ("e", ""), ("f", "")]);
        check(r#"a="\"\\\/\'\b\f\n\r\t""#, &[("a", "\"\\/'\u{8}\u{c}\n\r\t")]);
        check(
            r#"a="\u00e9\ud83d\ude00" b="\ud83d \ude00\ud83d\u0041""#,
            &[("a", "é😀"), ("b", "\u{fffd} \u{fffd}\u{fffd}A")],
        );
        check("a=\"x\"y b=\"tab\there\"", &[("a", "x"), ("y", ""), ("b", "tab\there")]);
    }

    #[test]
    fn up_to_a_mistake() {
        for wrong in [
            "=2",
            "b==2",
            "b=2=3",
            "b=x\"y\"",
            "\"b\"=2",
            "b\"c\"=2",
            "b=\"open",
            "b=\"bad \\x escape\"",
            "b=\"\\u00\"",
            "b=\"line\nbreak\"",
            "b=\"\\\\ \t\"",
            "b\u{fffd}=1",
            "b=\"\\u+123\"",
        ] {
            check(&format!("a=1 {wrong} c=3"), &[("a", "1")]);
        }
    }

    #[test]
    fn mapped_keys_are_extracted() {
        table(
            "[logfmt: {mapping: {level: lvl, svc: , copy: svc}}, labels: {level: , svc: , copy: }]",
            &[
                ("lvl=a svc=b", r#"{app="x", copy="b", level="a", svc="b"} lvl=a svc=b"#),
                ("lvl=a lvl", r#"{app="x", level=""} lvl=a lvl"#),
                ("nothing here", r#"{app="x"} nothing here"#),
            ],
        );
        table(
            "[json: {expressions: {kv: }}, logfmt: {source: kv, mapping: {u: }}, labels: {u: }]",
            &[
                (r#"{"kv":"u=1"}"#, r#"{app="x", u="1"} {"kv":"u=1"}"#),
                (r#"{"kv":"u=\"a\tb\""}"#, "{app=\"x\", u=\"a\\tb\"} {\"kv\":\"u=\\\"a\\tb\\\"\"}"),
                ("u=2", r#"{app="x"} u=2"#),
            ],
        );
    }

    #[test]
    fn options_that_are_none() {
        refused(&[
            ("logfmt: {}", "[0].logfmt", "`mapping` is required"),
            ("logfmt: {mapping: {}}", "[0].logfmt.mapping", "found nothing"),
            ("logfmt: {mapping: {a: 1}}", "[0].logfmt.mapping.a", "expected a string, found a number"),
            ("logfmt: {mapping: {a: }, source: ''}", "[0].logfmt", "`source` must not be empty"),
        ]);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in r#"[a= "\\u0dé\n]{0,40}"#) {
            for (key, _) in Pairs::new(&text) {
                prop_assert!(!key.is_empty());
            }
        }
    }
}
