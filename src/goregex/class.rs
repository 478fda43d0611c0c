//! Character classes: `[...]`, `\d` and similar, `\pL`.

use super::chars::{escaped_char, literal, next};

/// The names allowed in `[:name:]`.
const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// Reads a class after its `[`, up to its `]`.
///
/// In Go a leading `]` is plain text, and so is a `-` that cannot form a range. There are no nested classes and no set
/// operations.
pub(super) fn bracketed(rest: &mut &str, out: &mut String) -> Result<(), String> {
    out.push('[');
    if let Some(after) = rest.strip_prefix('^') {
        out.push('^');
        *rest = after;
    }
    let mut first = true;
    loop {
        if let Some(after) = rest.strip_prefix(']').filter(|_| !first) {
            out.push(']');
            *rest = after;
            return Ok(());
        }
        first = false;
        if posix(rest, out)? {
            continue;
        }
        if let Some(mut after) = rest.strip_prefix('\\')
            && escaped(&mut after, out)?
        {
            *rest = after;
            continue;
        }
        range(rest, out)?;
    }
}

/// Reads a class after a backslash, outside of brackets. Returns false, and reads nothing, if it is not a class.
pub(super) fn escaped(rest: &mut &str, out: &mut String) -> Result<bool, String> {
    let mut after = *rest;
    match next(&mut after) {
        Some('d') => out.push_str("[0-9]"),
        Some('D') => out.push_str("[^0-9]"),
        Some('w') => out.push_str("[0-9A-Za-z_]"),
        Some('W') => out.push_str("[^0-9A-Za-z_]"),
        Some('s') => out.push_str("[\\t\\n\\f\\r ]"),
        Some('S') => out.push_str("[^\\t\\n\\f\\r ]"),
        Some('p') => unicode(&mut after, false, out)?,
        Some('P') => unicode(&mut after, true, out)?,
        _ => return Ok(false),
    }
    *rest = after;
    Ok(true)
}

/// Reads the name after `\p` or `\P`: `L`, `{Greek}`, `{^Greek}`. `regex` checks whether the class exists.
fn unicode(rest: &mut &str, mut negated: bool, out: &mut String) -> Result<(), String> {
    let missing = "\\p: expected a class of Unicode, for instance \\pL or \\p{Greek}";
    let (mut name, after) = match rest.strip_prefix('{') {
        Some(braced) => braced.split_once('}').ok_or(missing)?,
        None => rest.split_at_checked(1).ok_or(missing)?,
    };
    if let Some(inverse) = name.strip_prefix('^') {
        negated = !negated;
        name = inverse;
    }
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(missing.to_string());
    }
    *rest = after;
    out.push_str(if negated { "\\P{" } else { "\\p{" });
    out.push_str(name);
    out.push('}');
    Ok(())
}

/// Reads `[:alpha:]` or `[:^alpha:]`. Returns false, and reads nothing, if it is neither.
fn posix(rest: &mut &str, out: &mut String) -> Result<bool, String> {
    let Some((name, after)) = rest.strip_prefix("[:").and_then(|r| r.split_once(":]")) else { return Ok(false) };
    if !POSIX.contains(&name.strip_prefix('^').unwrap_or(name)) {
        return Err(format!("there is no class [:{name}:]; there are {}", POSIX.join(", ")));
    }
    out.extend(["[:", name, ":]"]);
    *rest = after;
    Ok(true)
}

/// Reads `a`, or `a-z` if the `-` is not at the end of the class.
fn range(rest: &mut &str, out: &mut String) -> Result<(), String> {
    let low = class_char(rest)?;
    literal(low, out);
    if let Some(after) = rest.strip_prefix('-').filter(|after| !after.starts_with(']')) {
        *rest = after;
        let high = class_char(rest)?;
        if high < low {
            return Err(format!("range {low}-{high} runs backwards"));
        }
        out.push('-');
        literal(high, out);
    }
    Ok(())
}

fn class_char(rest: &mut &str) -> Result<char, String> {
    match next(rest) {
        Some('\\') => escaped_char(rest),
        Some(c) => Ok(c),
        None => Err("a class is not closed, a ] is missing".to_string()),
    }
}
