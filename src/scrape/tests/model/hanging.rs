//! System calls of an agent that do not return for a while.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use crate::scrape::reader::Reader;
use crate::scrape::supervised::{BEFORE_CALLS, Supervised};

/// A thread in a call that does not return. Another one has taken over its state.
pub(super) struct Hung {
    thread: JoinHandle<()>,
    fate: Sender<Fate>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Returns,
    /// The agent ends while the call hangs.
    Dies,
}

/// Runs a turn of which the call with this number hangs, if it has so many. The thread of that turn and the caller never
/// run at the same time.
pub(super) fn turn(reader: &Arc<Supervised<Reader>>, call: usize) -> Option<Hung> {
    let (told, hangs) = channel();
    let (fate, fates) = channel();
    let own = reader.clone();
    let thread = std::thread::spawn(move || {
        let mut left = call;
        let before = move |subject: u64| {
            left = left.wrapping_sub(1);
            if left == 0 && told.send(subject).is_ok() && fates.recv() != Ok(Fate::Returns) {
                // Without the message of a panic.
                resume_unwind(Box::new(Fate::Dies));
            }
        };
        BEFORE_CALLS.set(Some(Box::new(before)));
        let turned = catch_unwind(AssertUnwindSafe(|| own.hold().turn()));
        BEFORE_CALLS.set(None);
        if let Err(why) = turned
            && !why.is::<Fate>()
        {
            resume_unwind(why);
        }
    });
    let hung = Hung { thread, fate };
    let Ok(subject) = hangs.recv() else {
        hung.end(Fate::Returns);
        return None;
    };
    if reader.replace(subject) {
        return Some(hung);
    }
    hung.end(Fate::Returns);
    None
}

impl Hung {
    pub fn end(self, fate: Fate) {
        // Nobody waits for it if it has returned already.
        let _ = self.fate.send(fate);
        if let Err(why) = self.thread.join() {
            resume_unwind(why);
        }
    }
}
