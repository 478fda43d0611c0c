//! Formats text as Go's `fmt` does.

use std::sync::LazyLock;

use super::Printer;
use crate::goregex::Regex;

pub(super) fn is_text_verb(verb: char) -> bool {
    matches!(verb, 'v' | 's' | 'x' | 'X' | 'q')
}

impl Printer {
    pub(super) fn text(&mut self, text: &str, verb: char) {
        match verb {
            'x' | 'X' => self.bytes_in_hex(text, verb == 'X'),
            'q' => self.quoted(text),
            'v' if self.flags.sharp_v => self.quoted(text),
            _ => {
                let cut = self.cut(text);
                self.pad(cut);
            }
        }
    }

    /// The first characters of the text, as many as the precision.
    fn cut<'t>(&self, text: &'t str) -> &'t str {
        let end = self.flags.precision.and_then(|precision| text.char_indices().nth(precision));
        end.map_or(text, |(end, _)| &text[..end])
    }

    fn quoted(&mut self, text: &str) {
        let text = self.cut(text);
        let quoted = if self.flags.sharp && can_backquote(text) {
            format!("`{text}`")
        } else {
            let mut quoted = String::from("\"");
            text.chars().for_each(|c| escape(&mut quoted, c, '"', self.flags.plus));
            quoted.push('"');
            quoted
        };
        self.pad(&quoted);
    }

    /// Two digits for each byte. The precision limits the number of bytes.
    fn bytes_in_hex(&mut self, text: &str, upper: bool) {
        let flags = self.flags;
        let bytes = &text.as_bytes()[..flags.precision.unwrap_or(text.len()).min(text.len())];
        if bytes.is_empty() {
            return self.padding(flags.width.unwrap_or(0));
        }
        let prefix = if upper { "0X" } else { "0x" };
        let mut hex = String::with_capacity(bytes.len() * 2);
        for (i, byte) in bytes.iter().enumerate() {
            if i > 0 && flags.space {
                hex.push(' ');
            }
            if flags.sharp && (i == 0 || flags.space) {
                hex.push_str(prefix);
            }
            for digit in [byte >> 4, byte & 15] {
                let digit = char::from_digit(digit.into(), 16).unwrap_or('0');
                hex.push(if upper { digit.to_ascii_uppercase() } else { digit });
            }
        }
        self.pad(&hex);
    }
}

/// Writes `'é'`.
pub(super) fn character(c: char, ascii: bool) -> String {
    let mut quoted = String::from("'");
    escape(&mut quoted, c, '\'', ascii);
    quoted.push('\'');
    quoted
}

fn escape(out: &mut String, c: char, quote: char, ascii: bool) {
    use std::fmt::Write;
    if c == quote || c == '\\' {
        out.push('\\');
        return out.push(c);
    }
    if (c.is_ascii() || !ascii) && is_print(c) {
        return out.push(c);
    }
    let code = u32::from(c);
    let written = match c {
        '\u{7}' => out.write_str("\\a"),
        '\u{8}' => out.write_str("\\b"),
        '\u{c}' => out.write_str("\\f"),
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        '\u{b}' => out.write_str("\\v"),
        _ if code < 0x20 || code == 0x7f => write!(out, "\\x{code:02x}"),
        _ if code < 0x10000 => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
    debug_assert!(written.is_ok(), "a text takes what is written to it");
}

/// Letters, marks, numbers, punctuation, symbols and the ASCII space.
pub(super) fn is_print(c: char) -> bool {
    static PRINT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[\pL\pM\pN\pP\pS ]$").ok());
    match c {
        ' '..='~' => true,
        c if c.is_ascii() => false,
        c => PRINT.as_ref().is_some_and(|print| print.is_match(c.encode_utf8(&mut [0; 4]))),
    }
}

fn can_backquote(text: &str) -> bool {
    text.chars().all(|c| c == '\t' || c >= ' ' && !matches!(c, '`' | '\u{7f}' | '\u{feff}'))
}
