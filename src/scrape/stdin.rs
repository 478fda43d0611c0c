//! `-stdin`: sends lines from standard input to all clients.
//!
//! Input is read as fast as the fastest client takes lines. A client that takes none for [`PATIENCE`] while another
//! does loses the lines that it has no room for, because a pipe cannot be read twice. The loss is counted and logged.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Job;
use super::given::GivenSource;
use super::inbox::{Intake, Parcel};
use super::metrics::{Metrics, STDIN_BEHIND};
use super::parker::Parker;
use crate::metrics::Dropped;
use crate::model::{AbortOnPanic, LabelSet, MAX_LINE, Reason};

/// Bytes per read.
const READ: usize = 64 << 10;

/// How long to wait for a client without room while another has some.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait at a time if no client has room: Loki is down and standard input waits. Then the wait is repeated.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// The intake for these readers, and standard input as a source of the first job.
pub(super) fn source(labels: LabelSet, job: Option<&Job>, parkers: &[Arc<Parker>]) -> (Intake, GivenSource) {
    let job = job.map_or_else(|| Arc::from("stdin"), |job| job.name.clone());
    let (intake, source) = GivenSource::received((job, "stdin".into()), labels, parkers);
    (intake, GivenSource { is_last: true, ..source })
}

/// Starts reading standard input.
pub(super) fn start(intake: Intake, metrics: Metrics, dropped: Dropped) -> io::Result<()> {
    std::thread::Builder::new().name("stdin".into()).spawn(move || {
        // The end of this thread ends the agent, so a panic must not look like the end of the input.
        let _abort_on_panic = AbortOnPanic;
        let mut feed = Feed { intake, metrics, dropped, lines: Lines::default(), is_behind: false };
        feed.all_of(io::stdin().lock());
    })?;
    Ok(())
}

struct Feed {
    intake: Intake,
    metrics: Metrics,
    dropped: Dropped,
    lines: Lines,
    /// A client had no room while another had, and this was logged.
    is_behind: bool,
}

impl Feed {
    fn all_of(&mut self, mut input: impl io::Read) {
        let mut buffer = vec![0; READ];
        loop {
            let n = match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(%error, "cannot read standard input");
                    break;
                }
            };
            let parcel = self.lines.take(&buffer[..n]);
            self.hand_in(parcel);
        }
        let last = self.lines.end();
        self.hand_in(last);
    }

    fn hand_in(&mut self, parcel: Parcel) {
        for _ in 0..std::mem::take(&mut self.lines.empty) {
            self.dropped.count(&Reason::EmptyLine);
        }
        if parcel.is_empty() {
            return;
        }
        let all = self.intake.clients();
        while self.intake.with_room_for(&parcel) == 0 && !self.intake.is_left() {
            self.intake.wait_for_room(|intake| intake.with_room_for(&parcel) > 0 || intake.is_left(), LOOK_AGAIN);
        }
        if !self.is_behind {
            self.intake.wait_for_room(|intake| intake.with_room_for(&parcel) == all, PATIENCE);
        }
        let (bytes, lines) = (parcel.bytes() as u64, parcel.len());
        let taken = self.intake.offer_to_some(parcel);
        if taken.missed == 0 {
            if std::mem::take(&mut self.is_behind) {
                tracing::info!("all clients accept lines of standard input again");
            }
            return;
        }
        (0..taken.missed).for_each(|_| self.metrics.lost(bytes, STDIN_BEHIND));
        if !std::mem::replace(&mut self.is_behind, true) {
            tracing::error!(
                clients = taken.missed,
                lines,
                bytes,
                "a client has taken no lines of standard input for 5 s while another does: from now on, it \
                 loses lines that it has no room for (fantail_lost_bytes_total, reason \"stdin_behind\"); see why its \
                 Loki does not answer"
            );
        }
    }
}

/// Splits bytes into lines.
#[derive(Debug, Default)]
struct Lines {
    /// The start of a line whose end was not read yet.
    begun: Vec<u8>,
    /// Empty lines that were skipped, as in Promtail.
    empty: u64,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) -> Parcel {
        let mut parcel = Parcel::default();
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.begun.extend_from_slice(&rest[..end]);
            self.finish(&mut parcel);
            rest = &rest[end + 1..];
        }
        self.begun.extend_from_slice(rest);
        if self.begun.len() > MAX_LINE {
            self.finish(&mut parcel);
        }
        parcel
    }

    /// Returns the last line, which may have no newline.
    fn end(&mut self) -> Parcel {
        let mut parcel = Parcel::default();
        if !self.begun.is_empty() {
            self.finish(&mut parcel);
        }
        parcel
    }

    fn finish(&mut self, parcel: &mut Parcel) {
        let line = String::from_utf8_lossy(&self.begun);
        match line.trim_end_matches('\r') {
            "" => self.empty += 1,
            line => parcel.push(line, None, None),
        }
        self.begun.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_however_they_are_read() {
        let input = "one\r\n\ntwo \u{e9}\n\r\nlast without newline";
        for size in 1..input.len() + 1 {
            let mut lines = Lines::default();
            let mut all = Parcel::default();
            let parts = input.as_bytes().chunks(size).map(|part| lines.take(part)).collect::<Vec<_>>();
            parts.into_iter().chain([lines.end()]).for_each(|parcel| all.append(&parcel));
            let mut want = Parcel::default();
            ["one", "two \u{e9}", "last without newline"].iter().for_each(|line| want.push(line, None, None));
            assert_eq!((all, lines.empty), (want, 2), "{size}");
        }
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let mut lines = Lines::default();
        let part = vec![b'x'; READ];
        let cut: usize = (0..100).map(|_| lines.take(&part).bytes()).sum();
        assert!(cut > 0 && lines.begun.len() <= MAX_LINE, "{cut}");
    }
}
