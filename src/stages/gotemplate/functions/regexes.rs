//! Regular expressions. Each is compiled once.

use gotmpl::Value;

use super::super::call::{Call, MAX_TEXT, Outcome, text, texts};
use super::{Function, function};
use crate::goregex::{Captures, Replacement};

pub(super) const FUNCTIONS: &[Function] = &[
    function("regexMatch", 2, |c| Ok(Value::Bool(matches(c).unwrap_or(false)))),
    function("mustRegexMatch", 2, |c| Ok(Value::Bool(matches(c)?))),
    function("regexFind", 2, find),
    function("mustRegexFind", 2, find),
    function("regexFindAll", 3, find_all),
    function("mustRegexFindAll", 3, find_all),
    function("regexReplaceAll", 3, replace),
    function("mustRegexReplaceAll", 3, replace),
    function("regexReplaceAllLiteral", 3, replace_literal),
    function("mustRegexReplaceAllLiteral", 3, replace_literal),
    function("regexSplit", 3, split),
    function("mustRegexSplit", 3, split),
    function("regexQuoteMeta", 1, quote_meta),
];

fn matches(call: &Call<'_>) -> Result<bool, String> {
    let (regex, text) = (call.text(0)?, call.text(1)?);
    Ok(call.world.regex(regex, text)?.is_match(text))
}

fn find(call: &Call<'_>) -> Outcome {
    let regex = call.world.regex(call.text(0)?, call.text(1)?)?;
    text(regex.inner().find(call.text(1)?).map_or("", |found| found.as_str()))
}

fn find_all(call: &Call<'_>) -> Outcome {
    let regex = call.world.regex(call.text(0)?, call.text(1)?)?;
    let most = usize::try_from(call.int(2)?).unwrap_or(usize::MAX);
    texts(regex.inner().find_iter(call.text(1)?).take(most).map(|found| found.as_str()))
}

fn replace(call: &Call<'_>) -> Outcome {
    let regex = call.world.regex(call.text(0)?, call.text(1)?)?;
    let (within, replacement) = (call.text(1)?, Replacement::new(call.text(2)?));
    let (mut out, mut at) = (String::new(), 0);
    for captures in regex.inner().captures_iter(within) {
        let whole = captures.get_match();
        out.push_str(&within[at..whole.start()]);
        replacement.expand(&regex, &captures, &mut out);
        at = whole.end();
        if out.len() > MAX_TEXT {
            break;
        }
    }
    out.push_str(&within[at..]);
    text(out)
}

fn replace_literal(call: &Call<'_>) -> Outcome {
    let regex = call.world.regex(call.text(0)?, call.text(1)?)?;
    let (within, replacement) = (call.text(1)?, call.text(2)?);
    if replacement.len().saturating_mul(regex.inner().find_iter(within).count()) > MAX_TEXT {
        return Err("the text would be too long".into());
    }
    text(regex.inner().replace_all(within, |_: &Captures<'_>| replacement))
}

/// Splits as Go does: into at most `most` parts, and not at an empty match at the start.
fn split(call: &Call<'_>) -> Outcome {
    let (pattern, of, most) = (call.text(0)?, call.text(1)?, call.int(2)?);
    let regex = call.world.regex(pattern, of)?;
    if most == 0 {
        return texts::<&str>([]);
    }
    if !pattern.is_empty() && of.is_empty() {
        return texts([""]);
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let (mut parts, mut from, mut end) = (Vec::new(), 0, 0);
    for found in regex.inner().find_iter(of).take(most) {
        if parts.len() + 1 == most {
            break;
        }
        end = found.start();
        if found.end() != 0 {
            parts.push(&of[from..end]);
        }
        from = found.end();
    }
    if end != of.len() {
        parts.push(&of[from..]);
    }
    texts(parts)
}

fn quote_meta(call: &Call<'_>) -> Outcome {
    let mut out = String::new();
    for c in call.text(0)?.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    text(out)
}
