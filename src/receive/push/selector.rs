//! Reads the labels of a stream as Loki's clients write them: `{app="x", pod="y"}`.

use super::Malformed;
use crate::model::{Labels, is_valid_label_name};

pub(super) fn parse(text: &str) -> Result<Labels, Malformed> {
    let wrong =
        |what: &str| Malformed(format!("cannot read the labels of a stream: {what}; expected {{name=\"value\", …}}"));
    let inner = text.trim().strip_prefix('{').ok_or_else(|| wrong("they do not begin with {"))?;
    let (mut labels, mut rest) = (Labels::new(), inner.trim_start());
    loop {
        if let Some(behind) = rest.strip_prefix('}') {
            return if behind.is_empty() { Ok(labels) } else { Err(wrong("there is something behind the }")) };
        }
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        if !is_valid_label_name(name) {
            return Err(wrong("a label name is missing or has characters that Loki does not take"));
        }
        let behind = behind.trim_start().strip_prefix('=').ok_or_else(|| wrong("a = is missing"))?.trim_start();
        let (value, behind) = string(behind).ok_or_else(|| wrong("a value is not a string in quotes"))?;
        if labels.insert(name.to_string(), value).is_some() {
            return Err(wrong("a name is there twice"));
        }
        rest = behind.trim_start();
        match rest.strip_prefix(',') {
            Some(behind) => rest = behind.trim_start(),
            None if rest.starts_with('}') => {}
            None => return Err(wrong("a comma is missing")),
        }
    }
}

/// Reads a Go string literal. Returns its value, and the text after it. Bytes that are not UTF-8 become U+FFFD.
fn string(text: &str) -> Option<(String, &str)> {
    if let Some(rest) = text.strip_prefix('`') {
        let (raw, behind) = rest.split_once('`')?;
        return Some((raw.replace('\r', ""), behind));
    }
    let rest = text.strip_prefix('"')?;
    let (mut bytes, mut chars) = (Vec::new(), rest.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((String::from_utf8_lossy(&bytes).into_owned(), &rest[at + 1..])),
            '\n' => return None,
            '\\' => {
                let (_, escape) = chars.next()?;
                let simple = match escape {
                    'a' => 7,
                    'b' => 8,
                    'f' => 12,
                    'n' => b'\n',
                    'r' => b'\r',
                    't' => b'\t',
                    'v' => 11,
                    '\\' | '"' | '\'' => escape as u8,
                    _ => 0,
                };
                if simple != 0 {
                    bytes.push(simple);
                    continue;
                }
                let (digits, radix) = match escape {
                    'x' => (2, 16),
                    'u' => (4, 16),
                    'U' => (8, 16),
                    '0'..='7' => (3, 8),
                    _ => return None,
                };
                let mut number = if radix == 8 { escape.to_digit(8)? } else { 0 };
                for _ in 0..digits - usize::from(radix == 8) {
                    number = number.checked_mul(radix)?.checked_add(chars.next()?.1.to_digit(radix)?)?;
                }
                match escape {
                    'u' | 'U' => bytes.extend_from_slice(char::from_u32(number)?.encode_utf8(&mut [0; 4]).as_bytes()),
                    _ => bytes.push(u8::try_from(number).ok()?),
                }
            }
            c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LabelSet;

    #[test]
    fn labels_as_clients_write_them() {
        for (text, want) in [
            ("{}", Some("{}")),
            (r#"{a="b"}"#, Some(r#"{a="b"}"#)),
            (r#" { a = "b" , c="d", } "#, Some(r#"{a="b", c="d"}"#)),
            ("{a=`b\\n`}", Some(r#"{a="b\\n"}"#)),
            (r#"{a="\"\\\n\x41\u00e9\101}, b=\""}"#, Some(r#"{a="\"\\\nAéA}, b=\""}"#)),
            (r#"{a="\xff"}"#, Some("{a=\"\u{fffd}\"}")),
            ("", None),
            ("{", None),
            ("a", None),
            (r#"{a="b""#, None),
            (r#"{a="b"} x"#, None),
            (r#"{a="b" c="d"}"#, None),
            (r#"{a-b="c"}"#, None),
            (r#"{1="c"}"#, None),
            (r#"{a!="c"}"#, None),
            (r#"{a=~"c"}"#, None),
            (r#"{a="b", a="c"}"#, None),
            (r#"{a="\q"}"#, None),
            (r#"{a="\777"}"#, None),
            (r#"{a="\ud800"}"#, None),
            (r#"{a="\"#, None),
            ("{a=b}", None),
        ] {
            let labels = parse(text).ok().map(|labels| LabelSet::from(&labels).to_string());
            assert_eq!(labels.as_deref(), want, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_the_agent_writes_is_read(values in proptest::collection::btree_map("[a-z_]{1,4}", ".{0,8}", 0..4)) {
            let labels: Labels = values;
            let text = LabelSet::from(&labels).to_string();
            proptest::prop_assert_eq!(parse(&text), Ok(labels));
        }
    }
}
