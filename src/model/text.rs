//! Decodes bytes to text, once per chunk instead of once per line.

use std::borrow::Cow;

/// The encoding of a job's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Encoding {
    #[default]
    Utf8,
    Other(&'static encoding_rs::Encoding),
}

impl Encoding {
    /// Finds an encoding by its IANA name (`UTF-16LE`, `ISO-8859-1`, `windows-1252`, ...). None: unknown.
    pub fn new(name: &str) -> Option<Self> {
        let encoding = encoding_rs::Encoding::for_label(name.as_bytes())?;
        Some(if encoding == encoding_rs::UTF_8 { Self::Utf8 } else { Self::Other(encoding) })
    }

    /// Whether a unit of text has two bytes.
    pub fn is_wide(self) -> bool {
        self.wide_newline().is_some()
    }

    /// The encoding that a byte order mark at the beginning of a file says, and the length of the mark in bytes.
    pub fn of_mark(head: &[u8]) -> Option<(Self, usize)> {
        encoding_rs::Encoding::for_bom(head).map(|(encoding, len)| match encoding == encoding_rs::UTF_8 {
            true => (Self::Utf8, len),
            false => (Self::Other(encoding), len),
        })
    }

    /// Decodes the bytes. Invalid bytes are replaced, never dropped. Borrows if the bytes are valid UTF-8.
    pub fn decode<'b>(self, bytes: &'b [u8]) -> Cow<'b, str> {
        match self {
            // `from_utf8_lossy` alone goes byte by byte and is ten times slower.
            Self::Utf8 => match std::str::from_utf8(bytes) {
                Ok(text) => Cow::Borrowed(text),
                Err(_) => String::from_utf8_lossy(bytes),
            },
            Self::Other(encoding) => encoding.decode_without_bom_handling(bytes).0,
        }
    }

    /// The lines of `text`, decoded from `bytes`, each with its offset in `bytes`. A last line without newline is
    /// included.
    pub fn lines<'t>(self, bytes: &'t [u8], text: &'t Cow<'t, str>) -> Lines<'t> {
        let lockstep = matches!(text, Cow::Owned(_)).then_some((self, bytes));
        Lines { rest: text, at: 0, lockstep }
    }

    /// The length in bytes of the whole lines at the start of `bytes`. 0 if there is none.
    pub fn whole_lines(self, bytes: &[u8]) -> usize {
        let newline: [u8; 2] = match self.wide_newline() {
            None => return memchr::memrchr(b'\n', bytes).map_or(0, |i| i + 1),
            Some(newline) => newline,
        };
        let pairs = bytes.chunks_exact(2);
        let units = pairs.len();
        pairs.rev().position(|unit| unit == newline).map_or(0, |from_end| (units - from_end) * 2)
    }

    /// The length of the first line in bytes, including its newline. None: `bytes` has no newline.
    pub fn first_line(self, bytes: &[u8]) -> Option<usize> {
        match self.wide_newline() {
            None => memchr::memchr(b'\n', bytes).map(|i| i + 1),
            Some(newline) => bytes.chunks_exact(2).position(|unit| unit == newline).map(|i| (i + 1) * 2),
        }
    }

    /// Bytes per code unit: 2 for UTF-16, otherwise 1.
    pub fn unit(self) -> usize {
        if self.wide_newline().is_some() { 2 } else { 1 }
    }

    /// The two bytes of a UTF-16 newline. A single byte 0A may be half of another character. None: other encodings.
    fn wide_newline(self) -> Option<[u8; 2]> {
        match self {
            Self::Other(e) if e == encoding_rs::UTF_16LE => Some([b'\n', 0]),
            Self::Other(e) if e == encoding_rs::UTF_16BE => Some([0, b'\n']),
            _ => None,
        }
    }
}

impl Lines<'_> {
    /// Where the next line begins: an offset in the bytes. After the last line, their length.
    pub fn at(&self) -> usize {
        self.at
    }
}

/// The iterator of [`Encoding::lines`].
#[derive(Debug)]
pub struct Lines<'t> {
    rest: &'t str,
    at: usize,
    /// The remaining bytes. Set if decoding changed lengths.
    lockstep: Option<(Encoding, &'t [u8])>,
}

impl<'t> Iterator for Lines<'t> {
    type Item = (usize, &'t str);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let at = self.at;
        let end = memchr::memchr(b'\n', self.rest.as_bytes());
        let (line, length) = end.map_or((self.rest, self.rest.len()), |end| (&self.rest[..end], end + 1));
        self.rest = &self.rest[length..];
        self.at += match &mut self.lockstep {
            None => length,
            // If decoding swallowed a newline, this offset falls behind and is never ahead: lines may be sent twice,
            // not lost.
            Some((encoding, bytes)) => {
                let is_last = self.rest.is_empty();
                let length = if is_last { bytes.len() } else { encoding.first_line(bytes).unwrap_or(0) };
                *bytes = &bytes[length..];
                length
            }
        };
        Some((at, line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(encoding: Encoding, bytes: &[u8]) -> Vec<(usize, String)> {
        let text = encoding.decode(bytes);
        encoding.lines(bytes, &text).map(|(at, line)| (at, line.to_string())).collect()
    }

    #[test]
    fn lines_say_where_they_begin_in_the_file() {
        let utf16 = Encoding::new("utf-16le").expect("known");
        let wide: Vec<u8> = "é\n\nz".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (encoding, bytes, want) in [
            (Encoding::Utf8, b"a\n\nb\n".as_slice(), vec![(0, "a"), (2, ""), (3, "b")]),
            (Encoding::Utf8, b"a\nb", vec![(0, "a"), (2, "b")]),
            (Encoding::Utf8, b"", vec![]),
            (Encoding::Utf8, b"\xff\xff\nb\n\xff", vec![(0, "\u{fffd}\u{fffd}"), (3, "b"), (5, "\u{fffd}")]),
            (Encoding::new("latin1").expect("known"), b"\xe9\n\xe9\n", vec![(0, "é"), (2, "é")]),
            (utf16, &wide, vec![(0, "é"), (4, ""), (6, "z")]),
        ] {
            let want: Vec<(usize, String)> = want.into_iter().map(|(at, line)| (at, line.to_string())).collect();
            assert_eq!(lines(encoding, bytes), want, "{bytes:?}");
        }
    }

    #[test]
    fn whole_lines_end_at_the_last_newline() {
        assert_eq!(Encoding::Utf8.whole_lines(b"a\nb\nc"), 4);
        assert_eq!(Encoding::Utf8.whole_lines(b"abc"), 0);
    }

    #[test]
    fn utf16_is_split_after_decoding_units_not_bytes() {
        let utf16 = Encoding::new("utf-16le").expect("known");
        // U+0A0A contains the newline byte twice.
        let bytes: Vec<u8> = "\u{0a0a}x\ny".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(utf16.whole_lines(&bytes), 6);
        assert_eq!(utf16.first_line(&bytes), Some(6));
        assert_eq!(utf16.decode(&bytes[..6]), "\u{0a0a}x\n");
    }

    #[test]
    fn invalid_bytes_are_replaced() {
        assert_eq!(Encoding::Utf8.decode(b"a\xffb"), "a\u{fffd}b");
        assert_eq!(Encoding::new("ISO-8859-1").expect("known").decode(b"Gr\xfc\xdfe"), "Grüße");
        assert_eq!(Encoding::new("no-such-encoding"), None);
    }
}
