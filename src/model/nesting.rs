//! Checks how deep a YAML text is nested, before a parser whose time is quadratic in the depth reads it.

/// The deepest nesting of brackets and braces that is accepted. Real configs have far less.
pub const DEEPEST: usize = 100;

/// The line of `text`, from 1, where flow collections are nested deeper than [`DEEPEST`]. None: nowhere. A bracket
/// counts only where a value may begin, so brackets in regular expressions do not count.
pub fn too_deep(text: &str) -> Option<usize> {
    let (mut depth, mut line, mut quote, mut comment) = (0_usize, 1, None, false);
    // The last non-blank character on this line, or `\n` at the start of a line.
    let (mut before, mut last) = ('\n', '\n');
    for c in text.chars() {
        match (c, quote) {
            ('\n', _) => (line, comment, before) = (line + 1, false, '\n'),
            (_, _) if comment => {}
            (c, Some(open)) if c == open && (open == '\'' || last != '\\') => (quote, before) = (None, c),
            (_, Some(_)) => {}
            ('#', None) if last.is_whitespace() => comment = true,
            ('\'' | '"', None) if starts_value(before) => quote = Some(c),
            ('[' | '{', None) if starts_value(before) => {
                depth += 1;
                if depth > DEEPEST {
                    return Some(line);
                }
                before = c;
            }
            (']' | '}', None) => (depth, before) = (depth.saturating_sub(1), c),
            (c, None) if !c.is_whitespace() => before = c,
            _ => {}
        }
        last = if c == '\\' && last == '\\' { ' ' } else { c };
    }
    None
}

fn starts_value(before: char) -> bool {
    matches!(before, '\n' | '[' | '{' | ',' | ':' | '-' | '?')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nested_too_deep_and_what_only_looks_so() {
        let at = |n: usize| format!("x: {}{}\n", "[".repeat(n), "]".repeat(n));
        assert_eq!((too_deep(&at(DEEPEST)), too_deep(&at(DEEPEST + 1))), (None, Some(1)));
        assert_eq!(too_deep(&format!("a: b\nx: {}", "{a: ".repeat(50_000))), Some(2));
        assert_eq!(too_deep(&format!("x: {}", "[ # ]\n".repeat(50_000))), Some(DEEPEST + 1));
        assert_eq!(too_deep(&format!("x: {}", "['it''s', \"\\\"\", ".repeat(50_000))), Some(1));
        for fine in [
            "- expression: ^\\[[a-z]\n".repeat(5_000),
            "- '['\n- \"{\\\"\"\n".repeat(5_000),
            "- [a, {b: c}]\n".repeat(5_000),
            "- a # [\n".repeat(5_000),
            "- template: '{{ if .a }}[{{ end }}'\n".repeat(5_000),
        ] {
            assert_eq!(too_deep(&fine), None, "{}", &fine[..40.min(fine.len())]);
        }
    }
}
