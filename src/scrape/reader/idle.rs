//! Closes the files of logs to which nothing was written for long, so that they need no descriptors.

use std::time::Instant;

use super::Reader;
use crate::scrape::supervised::Held;

impl Held<'_, Reader> {
    /// Closes the file of a log that has been quiet for `close_idle_after`, if everything of it is read and committed. If the
    /// file is deleted then, nothing of it is lost.
    pub(super) fn close_if_idle(&mut self, log: u64, now: Instant) {
        let reader = &**self;
        let after = reader.config.close_idle_after;
        let Some(tailer) = reader.tailers.get(&log).filter(|tailer| tailer.input.log().is_some()) else {
            return;
        };
        let is_idle = !after.is_zero() && now.saturating_duration_since(tailer.schedule.last_lines) >= after;
        let is_settled = tailer.ledger().is_settled()
            && !tailer.has_commit()
            && !reader.unsettled.contains(&log)
            && tailer.goes_on();
        let is_wanted = tailer.target.is_held || tailer.schedule.retired.is_some() || tailer.trouble.text().is_some();
        if is_idle && is_settled && !is_wanted && reader.stop.is_none() {
            let time = reader.clock.system_time();
            self.with_input(log, |input| input.close(time));
        }
    }
}
