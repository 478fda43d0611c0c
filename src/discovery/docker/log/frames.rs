//! Divides the answer to a request for a container's log into messages.
//!
//! Without a TTY, each message has a header of 8 bytes: its stream and its length. With a TTY there are no headers.
//! Each message begins with its time and a space, because the request asks for that. A message without a newline at its
//! end is a part of a longer line.

use crate::model::{MAX_LINE, Rfc3339};

/// The length of a header.
const HEADER: usize = 8;

/// The size of a part of a longer line. A part with invalid UTF-8 may be longer.
pub(super) const PART: usize = 16 << 10;

/// The longest message in bytes. Docker makes parts of 16 KiB, but the API can also pass messages of plugins.
const LONGEST: usize = MAX_LINE;

/// A message of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'f> {
    pub is_stderr: bool,
    /// In Unix nanoseconds. None: it has no time.
    pub time: Option<i64>,
    /// Without the newline at its end.
    pub text: &'f [u8],
    /// The line goes on with the next message of the stream.
    pub is_part: bool,
}

/// The answer cannot be understood.
#[derive(Debug, PartialEq, Eq)]
pub struct NotFrames(pub String);

#[derive(Debug)]
pub struct Frames {
    tty: bool,
    bytes: Vec<u8>,
    /// The messages before this index have been given.
    at: usize,
    times: Rfc3339,
    /// Bytes of a message that is too long to be held. They are skipped.
    skips: usize,
}

impl Frames {
    pub fn new(tty: bool) -> Self {
        Self { tty, bytes: Vec::new(), at: 0, times: Rfc3339::default(), skips: 0 }
    }

    pub fn add(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        let skipped = self.skips.min(bytes.len());
        self.skips -= skipped;
        self.bytes.extend_from_slice(&bytes[skipped..]);
    }

    /// Whether no part of a message is left.
    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len() && self.skips == 0
    }

    /// The next whole message. None: more bytes are needed.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, NotFrames> {
        if self.tty { Ok(self.next_of_tty()) } else { self.next_framed() }
    }

    fn next_framed(&mut self) -> Result<Option<Frame<'_>>, NotFrames> {
        let bytes = &self.bytes[self.at..];
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let [stream, _, _, _, length @ ..] = *header;
        let length = u32::from_be_bytes(length) as usize;
        match stream {
            // 0 is stdin, which Docker writes to stdout.
            0..=2 => {}
            // Docker's own errors.
            3 => {
                let text = String::from_utf8_lossy(&rest[..rest.len().min(length).min(300)]);
                return Err(NotFrames(format!("Docker reports: {}", text.trim())));
            }
            _ => return Err(NotFrames(format!("a message of the unknown stream {stream}"))),
        }
        if length > LONGEST {
            // A message that is too long is cut: its rest is skipped.
            let Some((text, rest)) = rest.split_at_checked(LONGEST) else {
                return Ok(None);
            };
            let (too_long, here) = (length - LONGEST, rest.len().min(length - LONGEST));
            self.at += HEADER + LONGEST + here;
            self.skips = too_long - here;
            return Ok(Some(frame(stream == 2, text, &mut self.times)));
        }
        let Some(text) = rest.get(..length) else {
            return Ok(None);
        };
        self.at += HEADER + length;
        Ok(Some(frame(stream == 2, text, &mut self.times)))
    }

    /// The end of a message is a newline. A part ends before the next occurrence of its time: all parts of a line have
    /// one time.
    fn next_of_tty(&mut self) -> Option<Frame<'_>> {
        let bytes = &self.bytes[self.at..];
        let newline = memchr::memchr(b'\n', &bytes[..bytes.len().min(LONGEST)]);
        let stamp = memchr::memchr(b' ', bytes)
            .map(|space| &bytes[..=space])
            .filter(|stamp| time(stamp, &mut self.times).is_some());
        let again = stamp.and_then(|stamp| {
            let from = stamp.len() + PART;
            let until = newline.unwrap_or(bytes.len());
            let at = memchr::memmem::find(bytes.get(from..until)?, stamp)?;
            Some(from + at)
        });
        let end = match (again, newline) {
            (Some(part), _) => part,
            (None, Some(newline)) => newline + 1,
            (None, None) if bytes.len() >= LONGEST => LONGEST,
            (None, None) => return None,
        };
        self.at += end;
        Some(frame(false, &bytes[..end], &mut self.times))
    }

    /// The last message of an answer that has ended, if it has no newline.
    pub fn rest(&mut self) -> Option<Frame<'_>> {
        let rest = &self.bytes[self.at..];
        self.at = self.bytes.len();
        (self.tty && !rest.is_empty()).then(|| frame(false, rest, &mut self.times))
    }
}

fn frame<'f>(is_stderr: bool, message: &'f [u8], times: &mut Rfc3339) -> Frame<'f> {
    let (text, is_part) = match message.strip_suffix(b"\n") {
        Some(text) => (text.strip_suffix(b"\r").unwrap_or(text), false),
        None => (message, true),
    };
    let space = memchr::memchr(b' ', &text[..text.len().min(64)]);
    let stamp = space.and_then(|space| Some((time(&text[..=space], times)?, &text[space + 1..])));
    let (time, text) = stamp.map_or((None, text), |(time, text)| (Some(time), text));
    // The last line of a program that ended without a newline is shorter than a part.
    Frame { is_stderr, time, is_part: is_part && text.len() >= PART, text }
}

/// A time in RFC 3339 with a space after it, in Unix nanoseconds.
fn time(stamp: &[u8], times: &mut Rfc3339) -> Option<i64> {
    let text = std::str::from_utf8(stamp.strip_suffix(b" ")?).ok()?;
    if let Some(time) = times.parse(text) {
        return Some(time);
    }
    let is_long_enough = text.len() >= "2006-01-02T15:04:05Z".len() && text.as_bytes().get(10) == Some(&b'T');
    let time = is_long_enough.then(|| text.parse::<jiff::Timestamp>().ok()).flatten()?;
    i64::try_from(time.as_nanosecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::engine::{Stream, frame as sent};
    use super::*;

    const T: i64 = 1_700_000_000_000_000_001;

    fn all(tty: bool, bytes: &[u8], size: usize) -> Vec<(bool, Option<i64>, String, bool)> {
        let mut frames = Frames::new(tty);
        let mut seen = Vec::new();
        for piece in bytes.chunks(size) {
            frames.add(piece);
            while let Some(frame) = frames.next_frame().expect("frames") {
                seen.push((
                    frame.is_stderr,
                    frame.time,
                    String::from_utf8(frame.text.to_vec()).expect("text"),
                    frame.is_part,
                ));
            }
        }
        seen
    }

    #[test]
    fn messages_are_the_same_however_they_arrive() {
        let part = "p".repeat(PART);
        for tty in [false, true] {
            let mut bytes = Vec::new();
            let texts =
                [("one\n", T), ("two\r\n", T + 1), ("\n", T + 2), (&*part, T + 3), ("rest\n", T + 3), (" x\n", T + 4)];
            for (text, time) in texts {
                bytes.extend(sent(tty, time, Stream::Stdout, text));
            }
            let whole = all(tty, &bytes, bytes.len());
            let shown: Vec<_> =
                whole.iter().map(|(_, time, text, is_part)| (time.map(|t| t - T), &**text, *is_part)).collect();
            let want = [
                (Some(0), "one", false),
                (Some(1), "two", false),
                (Some(2), "", false),
                (Some(3), &*part, true),
                (Some(3), "rest", false),
                (Some(4), " x", false),
            ];
            assert_eq!(shown, want, "{tty}");
            for size in [1, 7, 8, 9, 1000, 16_400] {
                assert_eq!(all(tty, &bytes, size), whole, "{tty} {size}");
            }
        }
    }

    #[test]
    fn streams_are_told_apart_and_a_last_line_without_newline_is_whole() {
        let mut bytes = sent(false, T, Stream::Stderr, "oh\n");
        bytes.extend(sent(false, T, Stream::Stdout, "end"));
        assert_eq!(
            all(false, &bytes, 5),
            [(true, Some(T), "oh".to_string(), false), (false, Some(T), "end".to_string(), false)]
        );
        let mut frames = Frames::new(true);
        frames.add(&sent(true, T, Stream::Stdout, "end"));
        assert_eq!(
            (frames.next_frame().map(|frame| frame.map(|f| f.text.to_vec())), frames.rest().map(|f| f.text.to_vec())),
            (Ok(None), Some(b"end".to_vec()))
        );
    }

    #[test]
    fn what_is_not_a_log_is_an_error_and_what_is_too_long_is_cut() {
        let refused = |bytes: &[u8]| {
            let mut frames = Frames::new(false);
            frames.add(bytes);
            frames.next_frame().expect_err("refused").0
        };
        assert!(refused(b"HTTP/1.1 200 OK").contains("unknown stream 72"));
        assert!(refused(b"\x03\0\0\0\0\0\0\x05broken pipe").ends_with("reports: broke"));
        // A header that promises 4 GiB.
        let mut frames = Frames::new(false);
        frames.add(&[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        frames.add(&vec![b'x'; LONGEST]);
        let cut = frames.next_frame().expect("frames").expect("a frame");
        assert_eq!((cut.text.len(), cut.time), (LONGEST, None));
        frames.add(&vec![b'y'; 1 << 20]);
        assert_eq!(frames.next_frame(), Ok(None));
        assert_eq!(frames.bytes.len(), 0);
        // A TTY without newline.
        let bytes = vec![b'z'; 3 * LONGEST];
        let lengths: Vec<usize> = all(true, &bytes, 10_000).iter().map(|(_, _, text, _)| text.len()).collect();
        assert_eq!(lengths, [LONGEST; 3]);
    }
}
