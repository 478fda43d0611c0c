//! Syslog over TCP: the frames of a stream, whatever the reads, and the message in each.

#![no_main]

use fantail::model::Rfc3339;
use fantail::receive::syslog::{Frame, Frames, parse};
use libfuzzer_sys::fuzz_target;

const MAX: usize = 64;

fn all(stream: &[u8], size: usize) -> Vec<Option<Vec<u8>>> {
    let (mut frames, mut all) = (Frames::new(MAX), Vec::new());
    let owned = |frame: Frame<'_>| match frame {
        Frame::Message { bytes, .. } => Ok(Some(bytes.to_vec())),
        Frame::Bad => Ok(None),
        Frame::Broken => Err(()),
    };
    for part in stream.chunks(size) {
        frames.push(part);
        while let Some(frame) = frames.take().map(owned) {
            match frame {
                Ok(frame) => all.push(frame),
                Err(()) => return all,
            }
        }
        assert!(frames.held() <= MAX + 11, "{} bytes are held", frames.held());
    }
    all.extend(frames.end().map(owned).and_then(Result::ok));
    all
}

fuzz_target!(|data: &[u8]| {
    let Some((size, stream)) = data.split_first() else { return };
    let frames = all(stream, usize::from(*size).max(1));
    assert_eq!(frames, all(stream, stream.len().max(1)), "the reads make a difference");
    for bytes in frames.into_iter().flatten().chain([stream.to_vec()]) {
        let text = String::from_utf8_lossy(&bytes);
        if let Some(message) = parse(&text, 1_770_000_000_000_000_000, &mut Rfc3339::default()) {
            assert!(message.text.len() <= text.len());
        }
    }
});
