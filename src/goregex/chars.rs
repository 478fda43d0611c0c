//! Single characters: how Go writes them in a pattern, and how `regex` reads them.

/// Reads the character that follows a backslash, inside or outside of a class.
pub(super) fn escaped_char(rest: &mut &str) -> Result<char, String> {
    let c = next(rest).ok_or("it ends with a single \\")?;
    let is_octal = |c: &char| ('0'..='7').contains(c);
    let starts_octal = rest.chars().next().as_ref().is_some_and(is_octal);
    match c {
        '0'..='7' if c == '0' || starts_octal => {
            let digits = rest.chars().take(2).take_while(is_octal).count();
            let code = rest[..digits].bytes().fold(c as u32 - '0' as u32, |code, b| code * 8 + u32::from(b - b'0'));
            *rest = &rest[digits..];
            Ok(char::from_u32(code).expect("three octal digits are less than 0x200"))
        }
        '1'..='9' => Err(format!("\\{c} is a back-reference, of which Go's RE2 has none")),
        'x' => hexadecimal(rest),
        'a' => Ok('\u{7}'),
        'f' => Ok('\u{c}'),
        'n' => Ok('\n'),
        'r' => Ok('\r'),
        't' => Ok('\t'),
        'v' => Ok('\u{b}'),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => Ok(c),
        'k' => Err("\\k is a back-reference, of which Go's RE2 has none".to_string()),
        'Z' => Err("Go's RE2 has no \\Z, the end of the text is \\z".to_string()),
        c => Err(format!("Go's RE2 has no \\{c} here")),
    }
}

/// Reads what follows `\x`: two digits, or any number of digits in braces.
fn hexadecimal(rest: &mut &str) -> Result<char, String> {
    let invalid = "\\x: expected two hexadecimal digits, or a code point in braces";
    let (digits, after) = match rest.strip_prefix('{') {
        Some(braced) => braced.split_once('}').ok_or(invalid)?,
        None => rest.split_at_checked(2).ok_or(invalid)?,
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(invalid.to_string());
    }
    let c = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32).ok_or(invalid)?;
    *rest = after;
    Ok(c)
}

/// Writes a character so that `regex` takes it literally, inside or outside of a class.
pub(super) fn literal(c: char, out: &mut String) {
    if matches!(
        c,
        '\\' | '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$' | '#' | '&' | '-' | '~'
    ) {
        out.push('\\');
    }
    out.push(c);
}

pub(super) fn next(rest: &mut &str) -> Option<char> {
    let mut chars = rest.chars();
    let c = chars.next()?;
    *rest = chars.as_str();
    Some(c)
}
