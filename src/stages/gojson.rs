//! Writes JSON as Go does.

use std::fmt::Write;

use jmespath::Variable;

/// Which characters are escaped how.
#[derive(Clone, Copy)]
pub(super) struct Escapes {
    /// `<`, `>` and `&` are escaped, so that the text can be put into HTML.
    pub html: bool,
    /// `\b` and `\f` instead of `\u0008` and `\u000c`.
    pub short: bool,
}

/// Appends `text` as a JSON string, with Go's escapes for HTML.
pub(super) fn quote(out: &mut String, text: &str) {
    quote_with(out, text, Escapes { html: true, short: false });
}

/// Appends `text` as a JSON string.
pub(super) fn quote_with(out: &mut String, text: &str, escapes: Escapes) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' if escapes.short => out.push_str("\\b"),
            '\u{c}' if escapes.short => out.push_str("\\f"),
            '<' | '>' | '&' if !escapes.html => out.push(c),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Appends a value. The keys of objects are sorted.
pub(super) fn write(out: &mut String, value: &Variable) {
    match value {
        Variable::Null | Variable::Expref(_) => out.push_str("null"),
        Variable::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Variable::Number(n) => number(out, n.as_f64().unwrap_or_default()),
        Variable::String(text) => quote(out, text),
        Variable::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(out, item);
            }
            out.push(']');
        }
        Variable::Object(map) => {
            out.push('{');
            for (i, (key, item)) in map.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                quote(out, key);
                out.push(':');
                write(out, item);
            }
            out.push('}');
        }
    }
}

/// Very large and very small numbers have an exponent.
fn number(out: &mut String, n: f64) {
    let _ = match n.abs() {
        0.0 | 1e-6..1e21 => write!(out, "{n}"),
        large if large >= 1.0 => write!(out, "{}", format!("{n:e}").replace('e', "e+")),
        _ => write!(out, "{n:e}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_writes_it() {
        for (json, want) in [
            (
                r#"{"b":[1.0,true,null],"a":"<x> & \u2028\u0001\"\\/é"}"#,
                r#"{"a":"\u003cx\u003e \u0026 \u2028\u0001\"\\/é","b":[1,true,null]}"#,
            ),
            (
                "[1e21,1e20,1e-7,0.000001,-0.0,12345678901234567890]",
                "[1e+21,100000000000000000000,1e-7,0.000001,-0,12345678901234567000]",
            ),
            ("{}", "{}"),
        ] {
            let mut out = String::new();
            write(&mut out, &Variable::from_json(json).expect(json));
            assert_eq!(out, want);
        }
    }
}
