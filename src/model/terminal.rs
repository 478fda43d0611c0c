//! Characters that change a terminal or a page instead of being shown: they could hide or forge what is beside them.

use std::borrow::Cow;

/// Whether a character is a control character, or one that changes lines or the direction of text.
pub fn is_command(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with such characters escaped, in one line.
pub fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, is_command)
}

/// The text with such characters escaped, except line feeds and tabs.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_command(c) && !matches!(c, '\n' | '\t'))
}

fn escaped(text: &str, is_escaped: fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_escaped(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_a_terminal_is_escaped() {
        for (text, line, some) in [
            ("plain \u{e9} \u{1f600}", "plain \u{e9} \u{1f600}", "plain \u{e9} \u{1f600}"),
            ("\u{1b}[2J", "\\u{1b}[2J", "\\u{1b}[2J"),
            ("a\tb\nc\rd", "a\\tb\\nc\\rd", "a\tb\nc\\rd"),
            (
                "\u{202e}gpj.exe\u{85}\u{9b}2J\u{7f}",
                "\\u{202e}gpj.exe\\u{85}\\u{9b}2J\\u{7f}",
                "\\u{202e}gpj.exe\\u{85}\\u{9b}2J\\u{7f}",
            ),
        ] {
            assert_eq!((one_line(text).as_ref(), lines(text).as_ref()), (line, some));
        }
    }
}
