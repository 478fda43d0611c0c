//! Checks a log's name for rotation, truncation and deletion.

use std::time::Instant;

use super::Reader;
use super::retry::advice;
use crate::scrape::supervised::Held;
use crate::scrape::tailer::LookedUp;
use crate::tail::Look;

impl Held<'_, Reader> {
    pub(super) fn look(&mut self, log: u64, now: Instant) {
        let looked = self.with_input(log, |input| {
            let looked = input.log_mut().map(|file| file.look(now));
            (looked, LookedUp::of(input, false))
        });
        let Some((looked, found)) = looked else {
            return;
        };
        let reader = &mut **self;
        if let Some(Ok(Look::Rotated(_))) = looked
            && let Some(tailer) = reader.ending.remove(&log)
        {
            // Its name was given to a new file before Loki had answered for the old one.
            reader.tailers.insert(log, tailer);
        }
        let Some(tailer) = reader.tailers.get_mut(&log) else {
            return;
        };
        tailer.show(found);
        let path = tailer.path().clone();
        if let Some((file, looked)) = tailer.input.log_mut().zip(looked) {
            let failed = match looked {
                Ok(Look::Same | Look::Gone) => None,
                Ok(Look::Rotated(generations)) => {
                    tracing::debug!(path = %path.display(), generations, "rotated");
                    None
                }
                Ok(Look::Truncated) => {
                    tracing::info!(path = %path.display(), "the file was truncated: reading from its start");
                    None
                }
                Err(error) => {
                    reader.sink.metrics.read_error();
                    Some(error)
                }
            };
            reader.inodes.add(log, file.take_new_files(), |inode| file.knows(inode));
            let lost = file.take_lost();
            let text = failed.as_ref().map(ToString::to_string);
            if tailer.trouble.rotation != text {
                if let Some(error) = failed.filter(|_| reader.budget.allows(now)) {
                    let (path, advice) = (path.display(), advice(&error));
                    tracing::warn!(%path, %error, advice, "cannot open the new file after a rotation: the agent tries again");
                }
                tailer.trouble.rotation = text;
                reader.status.set_error(reader.index, log, tailer.trouble.text());
            }
            self.count_lost(log, lost);
        }
        self.soon(log, now);
        self.bound_pinned(log);
    }
}
