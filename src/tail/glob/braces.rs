//! Expands braces. `{a/b,c}` may contain slashes, so braces are expanded before a pattern is split at its slashes. All
//! braces are expanded, because matching a name against many braces could take exponential time.

use super::shown;

/// The most alternatives of one path. More than any real config needs, few enough to match one by one.
const MOST: usize = 1024;

/// All patterns that `pattern` stands for, without braces. An error if there are too many.
pub(super) fn expand(pattern: &str) -> Result<Vec<String>, String> {
    let mut done = Vec::new();
    let mut left = vec![pattern.to_string()];
    while let Some(next) = left.pop() {
        if done.len() + left.len() >= MOST {
            return Err(format!(
                "path {}: its braces have more than {MOST} alternatives: write several targets",
                shown(pattern)
            ));
        }
        match outermost(&next) {
            None => done.push(next),
            Some((start, end)) => {
                let (head, tail) = (&next[..start], &next[end + 1..]);
                let alternatives = split(&next[start + 1..end]);
                left.extend(alternatives.iter().rev().map(|alternative| format!("{head}{alternative}{tail}")));
            }
        }
    }
    Ok(done)
}

/// The start and end of the first outermost braces. None: there are none.
fn outermost(pattern: &str) -> Option<(usize, usize)> {
    let (mut open, mut depth) = (0, 0);
    for (i, c) in active(pattern) {
        match c {
            '{' => {
                if depth == 0 {
                    open = i;
                }
                depth += 1;
            }
            '}' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    return Some((open, i));
                }
            }
            _ => {}
        }
    }
    None
}

/// The alternatives between two braces.
fn split(inner: &str) -> Vec<&str> {
    let (mut depth, mut start, mut out) = (0, 0, Vec::new());
    for (i, c) in active(inner) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                out.push(&inner[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    out.push(&inner[start..]);
    out
}

/// The characters that may be special: not escaped and not in a character class.
fn active(pattern: &str) -> impl Iterator<Item = (usize, char)> {
    let mut skip = 0;
    pattern.char_indices().filter(move |(i, c)| {
        if *i < skip {
            return false;
        }
        match c {
            '\\' => skip = i + 1 + pattern[i + 1..].chars().next().map_or(0, char::len_utf8),
            '[' => skip = class_end(pattern, *i).unwrap_or(0),
            _ => return true,
        }
        false
    })
}

/// The index after the class that begins at `start`. None: the class has no end, so it is not a class.
fn class_end(pattern: &str, start: usize) -> Option<usize> {
    let bytes = pattern.as_bytes();
    let mut at = start + 1;
    if matches!(bytes.get(at), Some(b'!' | b'^')) {
        at += 1;
    }
    // A `]` directly at the start is a member of the class.
    let first = at;
    loop {
        match bytes.get(at)? {
            b'\\' => at += 2,
            b']' if at > first => return Some(at + 1),
            _ => at += 1,
        }
    }
}
