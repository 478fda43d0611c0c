//! RFC 5424: `1 TIME HOST APP PROC MSGID DATA TEXT` after the priority.

use std::borrow::Cow;

use super::message::Message;
use crate::model::Rfc3339;

/// None: it is not RFC 5424.
pub(super) fn parse<'m>(text: &'m str, times: &mut Rfc3339) -> Option<Message<'m>> {
    let (version, rest) = split(text)?;
    let is_number = version.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || !(1..=2).contains(&version.len()) || version.starts_with('0') {
        return None;
    }
    let part = |text| split(text).filter(|(part, _)| !part.is_empty());
    let (time, rest) = part(rest)?;
    let (hostname, rest) = part(rest)?;
    let (app_name, rest) = part(rest)?;
    let (proc_id, rest) = part(rest)?;
    let (msg_id, rest) = part(rest)?;
    let given = |part| Some(part).filter(|part| *part != "-");
    let (data, text) = match rest.strip_prefix('-') {
        Some(text) if text.is_empty() || text.starts_with(' ') => (Vec::new(), text.strip_prefix(' ').unwrap_or(text)),
        _ => elements(rest).unwrap_or((Vec::new(), rest)),
    };
    Some(Message {
        time: self::time(time, times),
        hostname: given(hostname),
        app_name: given(app_name),
        proc_id: given(proc_id),
        msg_id: given(msg_id),
        data,
        text: text.strip_prefix('\u{feff}').unwrap_or(text),
        ..Message::default()
    })
}

/// The text before and after the first space.
#[inline]
fn split(text: &str) -> Option<(&str, &str)> {
    let at = space(text.as_bytes())?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// The index of the first space. Looks at eight bytes at once: the parts are so short that a search with vectors takes longer.
#[inline]
fn space(text: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut at = 0;
    while let Some(eight) = text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        // Bytes that are spaces become zero. The lowest zero is found exactly.
        let others = u64::from_le_bytes(*eight) ^ (ONES * u64::from(b' '));
        let spaces = others.wrapping_sub(ONES) & !others & (ONES * 0x80);
        if spaces != 0 {
            return Some(at + spaces.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    text.get(at..)?.iter().position(|byte| *byte == b' ').map(|behind| at + behind)
}

/// RFC 3339, in Unix nanoseconds.
pub(super) fn time(text: &str, times: &mut Rfc3339) -> Option<i64> {
    if let Some(time) = times.parse(text) {
        return Some(time);
    }
    // Rare forms, such as a leap second.
    let time: jiff::Timestamp = text.parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok()
}

type Data<'m> = Vec<(&'m str, &'m str, Cow<'m, str>)>;

/// Reads `[id name="value" …]…`, and returns the text after it. None: it is invalid.
fn elements(text: &str) -> Option<(Data<'_>, &str)> {
    let (mut data, mut rest) = (Vec::new(), text);
    loop {
        let inner = rest.strip_prefix('[')?;
        let (id, mut inner) = inner.split_at(inner.find([' ', ']'])?);
        if id.is_empty() || id.contains(['"', '=']) {
            return None;
        }
        loop {
            inner = inner.trim_start_matches(' ');
            if let Some(behind) = inner.strip_prefix(']') {
                rest = behind;
                break;
            }
            let (name, behind) = inner.split_once("=\"")?;
            if name.is_empty() || name.contains([' ', ']', '"', '=']) {
                return None;
            }
            let (value, behind) = value(behind)?;
            data.push((id, name, value));
            inner = behind;
        }
        if !rest.starts_with('[') {
            let text = if rest.is_empty() { rest } else { rest.strip_prefix(' ')? };
            return Some((data, text));
        }
    }
}

/// A value up to its closing quote. Only `\"`, `\\` and `\]` are escapes.
fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let end = text.find(['"', '\\'])?;
    if text[end..].starts_with('"') {
        return Some((Cow::Borrowed(&text[..end]), &text[end + 1..]));
    }
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((Cow::Owned(value), &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                escaped @ ('"' | '\\' | ']') => value.push(escaped),
                other => value.extend(['\\', other]),
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn the_first_space_is_found(text in proptest::collection::vec(proptest::sample::select(b" !\x1f\x20\x21\xa0\x00\xffa".to_vec()), 0..40)) {
            proptest::prop_assert_eq!(space(&text), text.iter().position(|byte| *byte == b' '));
            let rare: Vec<u8> = text.iter().map(|byte| if *byte == b' ' { b'!' } else { *byte }).chain([b' ', b'x']).collect();
            proptest::prop_assert_eq!(space(&rare), Some(text.len()));
        }
    }
}
