//! Reads inputs that should be small, and limits the memory that a parsed text takes: `"a":"",` has seven bytes, and takes a
//! hundred in a map.

use std::io::{self, ErrorKind, Read};

use serde::de::DeserializeOwned;

use super::Labels;

/// Approximate bytes of a value in a parsed list or map, besides its text.
pub const VALUE: usize = 128;

/// Approximate bytes of an event of the YAML parser, which reads a whole text into events first. Each item is up to two of them.
const YAML_EVENT: usize = 160;

/// Reads `from` to its end. Fails if it has more than `most` bytes, and never holds more than one byte beyond that.
pub fn read(from: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(io::Error::new(ErrorKind::FileTooLarge, format!("it has more than {most} bytes"))),
        false => Ok(bytes),
    }
}

/// Like [`read`], as UTF-8 text. Fails if the bytes are not UTF-8.
pub fn read_text(from: impl Read, most: u64) -> io::Result<String> {
    String::from_utf8(read(from, most)?).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        io::Error::new(ErrorKind::InvalidData, format!("it is not UTF-8 text, at byte {at}"))
    })
}

/// Approximate bytes of memory of labels.
pub fn labels_memory(labels: &Labels) -> usize {
    labels.iter().map(|(name, value)| name.len() + value.len() + VALUE).sum()
}

/// Parses JSON. Fails if it may take more than `most` bytes of memory.
pub fn json<T: DeserializeOwned>(text: &[u8], most: usize) -> Result<T, String> {
    let memory = json_memory(text);
    if memory > most {
        return Err(format!(
            "it has too many values: they would take about {memory} bytes of memory, more than {most}"
        ));
    }
    serde_json::from_slice(text).map_err(|e| e.to_string())
}

/// The most bytes that a JSON text takes when it is parsed, approximately.
pub fn json_memory(text: &[u8]) -> usize {
    let (mut values, mut is_text, mut is_escaped) = (1, false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_text,
            b'"' => is_text = !is_text,
            b',' | b'[' | b'{' if !is_text => values += 1,
            _ => {}
        }
    }
    text.len() + VALUE * values
}

/// The most bytes that a YAML text without aliases takes when it is parsed, approximately. Characters in quotes count too.
pub fn yaml_memory(text: &str) -> usize {
    let bytes = text.as_bytes();
    // `- - - a` and `? ? a` are lists and maps in one line.
    let begins = |at: usize| bytes.get(at + 1).is_none_or(u8::is_ascii_whitespace);
    let item = |(at, byte): (usize, &u8)| match byte {
        b',' | b'[' | b'{' | b'\n' => true,
        b'-' | b'?' => begins(at),
        _ => false,
    };
    text.len() + 2 * YAML_EVENT * (1 + bytes.iter().enumerate().filter(|&one| item(one)).count())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_memory_of_a_json_text_is_that_of_its_values() {
        let pairs = |value: &str, count: usize| {
            let pairs: Vec<_> = (0..count).map(|n| format!("\"{n}\":\"{value}\"")).collect();
            format!("{{{}}}", pairs.join(","))
        };
        for (text, memory) in [
            (pairs("", 10_000), 10_000 * VALUE..10_000 * (VALUE + 10)),
            (pairs(r#",[{\"\\,"#, 100), 100 * VALUE..100 * (VALUE + 20)),
            (format!("[{}{}]", "[],".repeat(1_000), "0"), 2_000 * VALUE..2_010 * (VALUE + 3)),
        ] {
            assert!(memory.contains(&json_memory(text.as_bytes())), "{} for {memory:?}", json_memory(text.as_bytes()));
        }
        let read = |text: &str| json::<BTreeMap<String, String>>(text.as_bytes(), 1 << 20).map(|map| map.len());
        assert_eq!(read(&pairs("x", 1_000)), Ok(1_000));
        assert!(read(&pairs("x", 10_000)).is_err_and(|e| e.contains("too many values")));
        assert!(read("{").is_err_and(|e| e.contains("EOF")));
    }

    #[test]
    fn the_memory_of_a_yaml_text_counts_each_kind_of_item() {
        for text in ["a: b\n", "a,", "[],", "{},", "- a\n", "- ", "? ", "{a: b},", "[", "- - -\n"] {
            let memory = yaml_memory(&text.repeat(1_000));
            assert!(memory >= 1_000 * YAML_EVENT * 2, "{text}: {memory}");
        }
        assert!(yaml_memory(&"x".repeat(10_000)) < 11_000);
    }

    #[test]
    fn what_is_too_large_is_not_read_to_its_end() {
        assert_eq!(read(&b"1234"[..], 4).expect("read"), b"1234");
        assert!(read(&b"12345"[..], 4).is_err_and(|e| e.to_string().contains("more than 4 bytes")));
        assert!(read(io::repeat(0), 1 << 20).is_err(), "it has no end");
        assert!(read_text(&b"a\xff"[..], 4).is_err_and(|e| e.to_string().contains("byte 1")));
    }
}
