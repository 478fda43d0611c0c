//! Finds the messages in a TCP stream: `LENGTH SP MESSAGE` (octet counting), or `<…` up to a newline. One stream may have
//! both.

/// The longest frame. A longer length must be a mistake, and the next message could not be found in time.
const LONGEST: u64 = 16 << 20;

/// The most digits of a length.
const DIGITS: usize = 10;

#[derive(Debug)]
pub struct Frames {
    buffer: Vec<u8>,
    /// The messages before this index have been given.
    at: usize,
    max: usize,
    skip: Skip,
}

/// Bytes to skip: the rest of a message that was cut, or bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skip {
    Nothing,
    Bytes(u64),
    Line,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'f> {
    /// `is_cut`: the message was longer than the limit, and its end is missing.
    Message { bytes: &'f [u8], is_cut: bool },
    /// Bytes that do not begin a message. They are skipped up to the next line.
    Bad,
    /// Nothing more can be read from the stream.
    Broken,
}

impl Frames {
    /// Messages are cut after `max` bytes.
    pub fn new(max: usize) -> Self {
        Self { buffer: Vec::new(), at: 0, max, skip: Skip::Nothing }
    }

    /// Adds bytes that were read. The buffer holds at most one message and these bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer(bytes.len()).extend_from_slice(bytes);
    }

    /// The buffer, with room for so many bytes, to read into. Bytes may only be added to it.
    pub(super) fn buffer(&mut self, room: usize) -> &mut Vec<u8> {
        self.buffer.drain(..self.at);
        self.at = 0;
        self.buffer.reserve_exact(room);
        &mut self.buffer
    }

    /// Frees memory that the next read does not need.
    pub fn shrink(&mut self) {
        if self.held() == 0 {
            (self.buffer, self.at) = (Vec::new(), 0);
        }
    }

    pub fn take(&mut self) -> Option<Frame<'_>> {
        self.pass();
        match self.rest().first()? {
            b'<' => self.line(false),
            b'0'..=b'9' => self.counted(),
            _ => {
                self.skip = Skip::Line;
                self.pass();
                Some(Frame::Bad)
            }
        }
    }

    /// The last message, which may have no newline. Call it when the stream has ended, after [`take`](Self::take).
    pub fn end(&mut self) -> Option<Frame<'_>> {
        self.pass();
        match self.rest().first()? {
            b'<' => self.line(true),
            _ => {
                self.at = self.buffer.len();
                Some(Frame::Bad)
            }
        }
    }

    /// The size of the buffer in bytes.
    pub fn held(&self) -> usize {
        self.rest().len()
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.at..]
    }

    /// Passes over bytes to skip, and over bytes between messages.
    fn pass(&mut self) {
        match self.skip {
            Skip::Nothing => {}
            Skip::Bytes(bytes) => {
                let passed = self.held().min(usize::try_from(bytes).unwrap_or(usize::MAX));
                self.at += passed;
                let left = bytes - passed as u64;
                self.skip = if left == 0 { Skip::Nothing } else { Skip::Bytes(left) };
            }
            Skip::Line => match memchr::memchr(b'\n', self.rest()) {
                Some(end) => {
                    self.at += end + 1;
                    self.skip = Skip::Nothing;
                }
                None => self.at = self.buffer.len(),
            },
        }
        if self.skip == Skip::Nothing {
            self.at += self.rest().iter().take_while(|byte| matches!(byte, b'\n' | b'\r' | b'\0' | b' ')).count();
        }
    }

    fn line(&mut self, is_last: bool) -> Option<Frame<'_>> {
        let (begins, held) = (self.at, self.held());
        let looked = &self.rest()[..held.min(self.max + 1)];
        let (length, is_cut) = match memchr::memchr(b'\n', looked) {
            Some(end) => {
                self.at += end + 1;
                (end, false)
            }
            None if held > self.max => {
                self.at += self.max;
                self.skip = Skip::Line;
                (self.max, true)
            }
            None if is_last => {
                self.at = self.buffer.len();
                (held, false)
            }
            None => return None,
        };
        Some(Frame::Message { bytes: &self.buffer[begins..begins + length], is_cut })
    }

    fn counted(&mut self) -> Option<Frame<'_>> {
        let rest = self.rest();
        let digits = rest.iter().take(DIGITS + 1).take_while(|byte| byte.is_ascii_digit()).count();
        if digits == rest.len() && digits <= DIGITS {
            return None;
        }
        let number = std::str::from_utf8(&rest[..digits]).ok().and_then(|digits| digits.parse::<u64>().ok());
        let Some(length) = number.filter(|_| digits <= DIGITS && rest.get(digits) == Some(&b' ')) else {
            self.skip = Skip::Line;
            self.pass();
            return Some(Frame::Bad);
        };
        if length > LONGEST {
            self.at = self.buffer.len();
            return Some(Frame::Broken);
        }
        let begins = self.at + digits + 1;
        let kept = (length as usize).min(self.max);
        if self.buffer.len() < begins + kept {
            return None;
        }
        self.at = begins + kept;
        let left = length - kept as u64;
        if left > 0 {
            self.skip = Skip::Bytes(left);
        }
        Some(Frame::Message { bytes: &self.buffer[begins..begins + kept], is_cut: left > 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8], size: usize, max: usize) -> Vec<String> {
        let (mut frames, mut all) = (Frames::new(max), Vec::new());
        let show = |frame: Frame<'_>| match frame {
            Frame::Message { bytes, is_cut } => {
                format!("{}{}", String::from_utf8_lossy(bytes), if is_cut { "…" } else { "" })
            }
            Frame::Bad => "bad".into(),
            Frame::Broken => "broken".into(),
        };
        for part in input.chunks(size) {
            frames.push(part);
            while let Some(frame) = frames.take().map(show) {
                let is_broken = frame == "broken";
                all.push(frame);
                if is_broken {
                    return all;
                }
            }
            assert!(frames.held() <= max + DIGITS + 1, "{} held", frames.held());
        }
        all.extend(frames.end().map(show));
        all
    }

    #[test]
    fn messages_are_the_same_however_they_are_read() {
        let long = format!("<1>{}\n<2>b", "x".repeat(40));
        for (input, want) in [
            ("<1>a\n<2>b\n", &["<1>a", "<2>b"][..]),
            ("<1>a\r\n\n\0 <2>b", &["<1>a\r", "<2>b"]),
            ("4 <1>a4 <2>b", &["<1>a", "<2>b"]),
            ("4 <1>a<2>b\n7 <3>\nc\nd<4>e", &["<1>a", "<2>b", "<3>\nc\nd", "<4>e"]),
            ("junk\n<1>a\n", &["bad", "<1>a"]),
            ("12x\n<1>a\n", &["bad", "<1>a"]),
            ("12345678901 <1>a\n<2>b\n", &["bad", "<2>b"]),
            ("1000000000 <1>a\n", &["broken"]),
            ("0 <1>a\n", &["", "<1>a"]),
            ("9 <1>a", &["bad"]),
            ("20 <1>23456789012345678<2>", &["<1>2345678901234…", "<2>"]),
            (&long, &["<1>xxxxxxxxxxxxx…", "<2>b"]),
            ("", &[]),
        ] {
            for size in 1..=input.len().max(1) {
                assert_eq!(all(input.as_bytes(), size, 16), want, "{input:?} {size}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_cut_the_same_and_bounded(
            input in proptest::collection::vec(proptest::sample::select(b"<>0129 \n\0a".to_vec()), 0..200),
            size in 1usize..50,
        ) {
            proptest::prop_assert_eq!(all(&input, size, 16), all(&input, input.len().max(1), 16));
        }
    }
}
