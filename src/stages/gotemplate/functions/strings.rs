//! Text functions: Promtail's, then sprig's.

use gotmpl::Value;

use super::super::call::{Call, MAX_TEXT, Outcome, map, text, texts};
use super::super::show::show;
use super::{Function, function, variadic};
use crate::model::quote_go;

pub(super) const FUNCTIONS: &[Function] = &[
    function("Replace", 4, |c| replace(c.text(0)?, c.text(1)?, c.text(2)?, c.int(3)?)),
    function("Trim", 2, |c| text(c.text(0)?.trim_matches(among(c.text(1)?)))),
    function("TrimLeft", 2, |c| text(c.text(0)?.trim_start_matches(among(c.text(1)?)))),
    function("TrimRight", 2, |c| text(c.text(0)?.trim_end_matches(among(c.text(1)?)))),
    function("TrimPrefix", 2, |c| trim_prefix(c.text(1)?, c.text(0)?)),
    function("TrimSuffix", 2, |c| trim_suffix(c.text(1)?, c.text(0)?)),
    function("TrimSpace", 1, |c| text(c.text(0)?.trim())),
    function("hello", 0, |_| text("Hello!")),
    function("trim", 1, |c| text(c.text(0)?.trim())),
    function("trimAll", 2, |c| text(c.text(1)?.trim_matches(among(c.text(0)?)))),
    function("trimall", 2, |c| text(c.text(1)?.trim_matches(among(c.text(0)?)))),
    function("trimPrefix", 2, |c| trim_prefix(c.text(0)?, c.text(1)?)),
    function("trimSuffix", 2, |c| trim_suffix(c.text(0)?, c.text(1)?)),
    function("replace", 3, |c| replace(c.text(2)?, c.text(0)?, c.text(1)?, -1)),
    function("nospace", 1, |c| text(c.text(0)?.chars().filter(|c| !c.is_whitespace()).collect::<String>())),
    function("repeat", 2, |c| repeat(c.int(0)?, c.text(1)?)),
    function("contains", 2, |c| Ok(Value::Bool(c.text(1)?.contains(c.text(0)?)))),
    function("hasPrefix", 2, |c| Ok(Value::Bool(c.text(1)?.starts_with(c.text(0)?)))),
    function("hasSuffix", 2, |c| Ok(Value::Bool(c.text(1)?.ends_with(c.text(0)?)))),
    function("trunc", 2, trunc),
    function("substr", 3, substr),
    function("abbrev", 2, |c| abbreviate(c.text(1)?, 0, c.int(0)?)),
    function("abbrevboth", 3, |c| abbreviate(c.text(2)?, c.int(0)?, c.int(1)?)),
    function("initials", 1, |c| initials(c.text(0)?)),
    function("wrap", 2, |c| wrap(c.text(1)?, c.int(0)?, "\n", false)),
    function("wrapWith", 3, |c| wrap(c.text(2)?, c.int(0)?, c.text(1)?, true)),
    function("indent", 2, |c| indent(c, "")),
    function("nindent", 2, |c| indent(c, "\n")),
    function("plural", 3, |c| text(if c.int(2)? == 1 { c.text(0)? } else { c.text(1)? })),
    variadic("cat", 0, |c| text(present(c).map(|v| show(v)).collect::<Vec<_>>().join(" "))),
    variadic("quote", 0, |c| text(present(c).map(quote).collect::<Vec<_>>().join(" "))),
    variadic("squote", 0, |c| text(present(c).map(|v| format!("'{}'", show(v))).collect::<Vec<_>>().join(" "))),
    function("toString", 1, |c| text(show(c.any(0)))),
    function("toStrings", 1, |c| texts(strings(c.any(0)))),
    function("join", 2, |c| text(strings(c.any(1)).join(c.text(0)?))),
    function("sortAlpha", 1, sort_alpha),
    function("splitList", 2, |c| texts(split(c.text(1)?, c.text(0)?, -1))),
    function("split", 2, |c| numbered(split(c.text(1)?, c.text(0)?, -1))),
    function("splitn", 3, |c| numbered(split(c.text(2)?, c.text(0)?, c.int(1)?))),
];

fn among(set: &str) -> impl Fn(char) -> bool + Copy {
    move |c| set.contains(c)
}

/// The arguments that are not nil.
fn present<'a>(call: &Call<'a>) -> impl Iterator<Item = &'a Value> {
    call.rest(0).iter().filter(|v| !matches!(v, Value::Nil))
}

/// Converts a list to texts, without nil. Any other value becomes a list of one.
pub(super) fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::List(items) => items.iter().filter(|v| !matches!(v, Value::Nil)).map(|v| show(v).into_owned()).collect(),
        Value::Nil => Vec::new(),
        one => vec![show(one).into_owned()],
    }
}

fn replace(within: &str, old: &str, new: &str, count: i64) -> Outcome {
    let most = usize::try_from(count).unwrap_or(usize::MAX);
    let found = if old.is_empty() { within.chars().count() + 1 } else { within.matches(old).count() };
    if found.min(most).saturating_mul(new.len()) > MAX_TEXT {
        return Err("the text would be too long".into());
    }
    text(within.replacen(old, new, most))
}

fn trim_prefix(prefix: &str, of: &str) -> Outcome {
    text(of.strip_prefix(prefix).unwrap_or(of))
}

fn trim_suffix(suffix: &str, of: &str) -> Outcome {
    text(of.strip_suffix(suffix).unwrap_or(of))
}

fn repeat(count: i64, what: &str) -> Outcome {
    let count = usize::try_from(count).map_err(|_| "negative count")?;
    match count.checked_mul(what.len()) {
        Some(0..=MAX_TEXT) => text(what.repeat(count)),
        _ => Err("the text would be too long".into()),
    }
}

/// Converts cut bytes to text. An incomplete character becomes U+FFFD.
fn cut(bytes: &[u8]) -> Outcome {
    text(String::from_utf8_lossy(bytes))
}

fn trunc(call: &Call<'_>) -> Outcome {
    let (count, of) = (call.int(0)?, call.text(1)?.as_bytes());
    let most = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    cut(match count {
        ..0 if most < of.len() => &of[of.len() - most..],
        0.. if most < of.len() => &of[..most],
        _ => of,
    })
}

fn substr(call: &Call<'_>) -> Outcome {
    let (start, end, of) = (call.int(0)?, call.int(1)?, call.text(2)?.as_bytes());
    let end = usize::try_from(end).ok();
    let part = match usize::try_from(start) {
        Err(_) => end.and_then(|end| of.get(..end)),
        Ok(start) => of.get(start..end.filter(|end| *end <= of.len()).unwrap_or(of.len())),
    };
    part.map_or_else(|| Err("out of range".into()), cut)
}

/// Replaces text before `offset`, and beyond `width` characters from there, with ellipses.
fn abbreviate(of: &str, offset: i64, width: i64) -> Outcome {
    if width < 4 || (offset > 0 && width < 7) {
        return text(of);
    }
    let (bytes, width, offset) = (of.as_bytes(), width as usize, usize::try_from(offset).unwrap_or(0));
    if bytes.len() <= width {
        return text(of);
    }
    let kept = width - 3;
    let offset = offset.min(bytes.len() - kept);
    if offset <= 4 {
        return cut(&[&bytes[..kept], b"..."].concat());
    }
    if offset + kept < bytes.len() {
        let inner = &bytes[offset..];
        let inner = if inner.len() <= kept { inner.to_vec() } else { [&inner[..kept - 3], b"..."].concat() };
        return cut(&[b"...", &inner[..]].concat());
    }
    cut(&[b"...", &bytes[bytes.len() - kept..]].concat())
}

/// Works on bytes, as in sprig.
fn initials(of: &str) -> Outcome {
    let mut gap = true;
    let mut out = String::new();
    for c in of.bytes().map(char::from) {
        if gap && !c.is_whitespace() {
            out.push(c);
        }
        gap = c.is_whitespace();
    }
    text(out)
}

fn wrap(line: &str, width: i64, separator: &str, long_words: bool) -> Outcome {
    let width = usize::try_from(width).unwrap_or(1).max(1);
    let separator = if separator.is_empty() { "\n" } else { separator }.as_bytes();
    let line = line.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while line.len() - at > width {
        if out.len() > MAX_TEXT {
            return Err("the text would be too long".into());
        }
        if line[at] == b' ' {
            at += 1;
            continue;
        }
        let blank = line[at..=at + width].iter().rposition(|b| *b == b' ').map(|i| at + i);
        let behind = || memchr::memchr(b' ', &line[at + width..]).map(|i| at + width + i);
        let (end, next) = match (blank, long_words) {
            (Some(blank), _) => (blank, blank + 1),
            (None, true) => (at + width, at + width),
            (None, false) => match behind() {
                Some(blank) => (blank, blank + 1),
                None => break,
            },
        };
        out.extend_from_slice(&line[at..end]);
        out.extend_from_slice(separator);
        at = next;
    }
    out.extend_from_slice(&line[at..]);
    cut(&out)
}

fn indent(call: &Call<'_>, before: &str) -> Outcome {
    let (count, of) = (call.int(0)?, call.text(1)?);
    let count = usize::try_from(count).map_err(|_| "negative count")?;
    let lines = of.matches('\n').count() + 1;
    if count.saturating_mul(lines) > MAX_TEXT {
        return Err("the text would be too long".into());
    }
    let pad = " ".repeat(count);
    text(format!("{before}{pad}{}", of.replace('\n', &format!("\n{pad}"))))
}

fn quote(value: &Value) -> String {
    let mut out = String::new();
    quote_go(&mut out, &show(value));
    out
}

fn sort_alpha(call: &Call<'_>) -> Outcome {
    let mut items = strings(call.any(0));
    items.sort();
    texts(items)
}

/// Splits into at most `most` parts. The last part contains the rest. Negative: no limit.
fn split(of: &str, separator: &str, most: i64) -> Vec<String> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    if !separator.is_empty() {
        return of.splitn(most, separator).map(str::to_string).collect();
    }
    // An empty separator splits into characters.
    let starts: Vec<usize> = of.char_indices().map(|(i, _)| i).take(most).collect();
    let ends = starts.iter().skip(1).copied().chain([of.len()]);
    starts.iter().zip(ends).map(|(start, end)| of[*start..end].to_string()).collect()
}

fn numbered(parts: Vec<String>) -> Outcome {
    let parts = parts.into_iter().enumerate();
    map(parts.map(|(i, part)| (format!("_{i}").into(), Value::String(part.into()))).collect())
}
