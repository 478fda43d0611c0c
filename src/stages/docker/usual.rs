//! Reads the JSON of Docker's log files in the form that Docker nearly always writes:
//! `{"log":"text\n","stream":"stdout","time":"2024-05-17T06:30:00.1Z"}`. The general parser takes three times as long.

use std::borrow::Cow;

use super::Fields;

/// None: the line has another form, and the general parser reads it.
pub(super) fn read(line: &str) -> Option<Fields<'_>> {
    // JSON has no control characters, but the text of a file may.
    if line.bytes().any(|byte| byte < b' ') {
        return None;
    }
    let (log, ends_line, rest) = text(line.strip_prefix("{\"log\":\"")?)?;
    let (stream, rest) = plain(rest.strip_prefix(",\"stream\":\"")?)?;
    let (time, rest) = plain(rest.strip_prefix(",\"time\":\"")?)?;
    let fields = Fields { log: Some(log), ends_line, stream: Some(stream.into()), time: Some(time.into()) };
    (rest == "}").then_some(fields)
}

/// A string without escapes, and what follows its closing quote.
fn plain(text: &str) -> Option<(&str, &str)> {
    let end = memchr::memchr2(b'"', b'\\', text.as_bytes())?;
    let (value, rest) = (text.get(..end)?, text.get(end..)?);
    Some((value, rest.strip_prefix('"')?))
}

/// A string without the newline at its end, whether it had one, and what follows its closing quote.
fn text(text: &str) -> Option<(Cow<'_, str>, bool, &str)> {
    let bytes = text.as_bytes();
    let first = memchr::memchr2(b'"', b'\\', bytes)?;
    if let Some(rest) = text.get(first..)?.strip_prefix("\\n\"") {
        return Some((text.get(..first)?.into(), true, rest));
    }
    // With room for the newline, if it is needed.
    let mut value = String::with_capacity(text.len());
    let (mut from, mut at) = (0, first);
    loop {
        value.push_str(text.get(from..at)?);
        if bytes.get(at) == Some(&b'"') {
            let rest = text.get(at + 1..)?;
            let ends_line = value.ends_with('\n');
            value.truncate(value.len() - usize::from(ends_line));
            return Some((value.into(), ends_line, rest));
        }
        from = at + 2;
        value.push(match bytes.get(at + 1)? {
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            escaped @ (b'"' | b'\\' | b'/') => char::from(*escaped),
            b'u' => {
                from = at + 6;
                code(bytes.get(at + 2..from)?)?
            }
            _ => return None,
        });
        at = from + memchr::memchr2(b'"', b'\\', bytes.get(from..)?)?;
    }
}

/// A character in four hexadecimal digits. None: it is half of a pair, or invalid.
fn code(digits: &[u8]) -> Option<char> {
    let digit = |code: u32, byte: &u8| Some(code * 16 + char::from(*byte).to_digit(16)?);
    digits.iter().try_fold(0, digit).and_then(char::from_u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn general(line: &str) -> Option<Fields<'_>> {
        serde_json::from_str(line).ok()
    }

    /// What the fields are in the end.
    fn whole(fields: &Fields<'_>) -> [Option<String>; 3] {
        let newline = if fields.ends_line { "\n" } else { "" };
        let log = fields.log.as_ref().map(|log| format!("{log}{newline}"));
        [log, fields.stream.as_deref().map(String::from), fields.time.as_deref().map(String::from)]
    }

    #[test]
    fn usual_lines_are_read_without_the_general_parser() {
        for log in [r"a\n", "", r"\n", r"\r\n", r#"\"a\"\t\\ \/\b\f\n"#, r"\u001b[31m\u003c\u00e9\n", "é🚀", r"part"]
        {
            let line = format!(r#"{{"log":"{log}","stream":"stderr","time":"2024-05-17T06:30:00Z"}}"#);
            let fields = read(&line).expect(&line);
            assert_eq!(Some(whole(&fields)), general(&line).map(|fields| whole(&fields)), "{line}");
        }
        let fields = read(r#"{"log":"a\n","stream":"stdout","time":""}"#).expect("read");
        assert!(matches!(fields.log, Some(Cow::Borrowed("a"))), "{fields:?}");
    }

    proptest::proptest! {
        /// Whatever it reads, the general parser reads in the same way.
        #[test]
        fn it_agrees_with_the_general_parser(
            head in proptest::sample::select(vec![r#"{"log":""#, r#"{ "log":""#, r#"{"log": ""#]),
            log in r#"([a-z"é\t\x00]|\\[nrtbfux/"\\]|\\u(00|d8|dc|12)[0-9aF]{2}|🚀){0,12}"#,
            tail in proptest::sample::select(vec![
                r#"","stream":"stdout","time":"t"}"#, r#"","stream":"std\nout","time":"t"}"#, r#"","stream":"s","time":"t"} "#,
                r#"","stream":"s","attrs":{},"time":"t"}"#, r#"","stream":"s","time":"t""#, r#"""#, "",
            ]),
        ) {
            let line = format!("{head}{log}{tail}");
            if let Some(fields) = read(&line) {
                proptest::prop_assert_eq!(Some(whole(&fields)), general(&line).map(|fields| whole(&fields)));
            }
        }
    }
}
