//! Reads inputs that should be small.

use std::io::{self, ErrorKind, Read};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_is_not_read_to_its_end() {
        assert_eq!(read(&b"1234"[..], 4).expect("read"), b"1234");
        assert!(read(&b"12345"[..], 4).is_err_and(|e| e.to_string().contains("more than 4 bytes")));
        assert!(read(io::repeat(0), 1 << 20).is_err(), "it has no end");
        assert!(read_text(&b"a\xff"[..], 4).is_err_and(|e| e.to_string().contains("byte 1")));
    }
}
