//! Docker's answer to a request for a container's log, with and without a TTY, whatever the reads. The first byte is the
//! size of the reads.

#![no_main]

use fantail::discovery::docker::{Cursor, Frames, Line, Lines};
use libfuzzer_sys::fuzz_target;

/// None: the answer cannot be understood.
fn all(tty: bool, answer: &[u8], size: usize) -> Option<Vec<Line>> {
    let (mut frames, mut lines, mut all) = (Frames::new(tty), Lines::new(Cursor::default()), Vec::new());
    for piece in answer.chunks(size) {
        frames.add(piece);
        while let Some(frame) = frames.next_frame().ok()? {
            all.extend(lines.take(frame).into_iter().flatten());
        }
    }
    all.extend(frames.rest().into_iter().flat_map(|frame| lines.take(frame)).flatten());
    all.extend(lines.rest());
    Some(all)
}

fuzz_target!(|data: &[u8]| {
    let Some((size, answer)) = data.split_first() else { return };
    for tty in [false, true] {
        let lines = all(tty, answer, usize::from(*size).max(1));
        let at_once = all(tty, answer, answer.len().max(1));
        // What stands before an error may have been taken already.
        if let (Some(lines), Some(at_once)) = (&lines, &at_once) {
            assert_eq!(lines, at_once, "the reads make a difference");
        }
        for line in lines.into_iter().flatten() {
            // U+FFFD has three bytes, and stands for one.
            assert!(line.text.len() <= 3 * answer.len());
            assert_eq!(Cursor::parse(&line.cursor.to_string()), Some(line.cursor));
        }
    }
});
