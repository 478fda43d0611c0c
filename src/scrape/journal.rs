//! systemd's journal as a source: the block `journal` of a job. Each entry becomes a record with its own time and
//! labels. The checkpoint is the cursor of an entry, in systemd's form, so Promtail goes on where fantail stopped, and
//! fantail where Promtail did.

mod labels;
mod line;

use std::collections::VecDeque;
use std::io;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use self::labels::Relabelling;
use self::line::{MESSAGE, write_line};
use super::Job;
use super::given::{GivenSource, Opening};
use super::metrics::{JOURNAL, JournalMetrics, Metrics};
use crate::journal::{Config, Entry, Folders, From, Journal, Location, Matches, Place, Skips};
use crate::model::{Checkpoint, Chunk, Encoding, LabelSet, MAX_LINE, Mark, Position, Progress, Read, Source, Wake};

/// Entries that one read looks at, so that other logs get their turn while none of them matches.
const LOOKS: usize = 2_000;

/// The most records that wait for their commit, about 100 bytes of memory each. Reading pauses then.
const GIVEN: usize = 100_000;

/// Approximate bytes of a line, until there is an average.
const LINE: u64 = 100;

/// The journal of this job. None: it reads none.
pub(super) fn source(job: &Job, metrics: &Metrics) -> Option<GivenSource> {
    let config = job.journal.clone()?;
    let labels = config.labels.iter().filter(|(name, _)| !name.starts_with("__"));
    let labels = LabelSet::new(labels.map(|(name, value)| (name.as_str(), value.as_str())));
    let name = if config.path.is_empty() { "journal".into() } else { config.path.as_str().into() };
    let position = Some(format!("cursor-{}", job.name).into());
    let (rules, metrics) = (job.rules.clone(), metrics.clone());
    let open = move |opening: Opening| {
        let relabelling = Relabelling::new(rules.clone(), config.labels.clone());
        let source = Entries::open(&config, relabelling, opening, metrics.clone(), SystemTime::now());
        Ok(Box::new(source.map_err(io::Error::other)?) as Box<dyn Source>)
    };
    Some(GivenSource::new((job.name.clone(), name), labels, position, open))
}

#[derive(Debug)]
struct Entries {
    journal: Journal,
    matches: Matches,
    json: bool,
    relabelling: Relabelling,
    entry: Entry,
    /// Records that are not committed, oldest first.
    given: VecDeque<Given>,
    /// Where the journal was before the first of them.
    committed: From,
    /// Where the next record begins.
    next: Mark,
    /// Entries and fields that were skipped since the last record.
    skipped: Skipped,
    /// Records and bytes since it was opened.
    records: u64,
    counts: Counts,
    /// It began at a saved cursor, and whether that is there is not known yet.
    is_begin_unknown: bool,
}

/// A record that was given.
#[derive(Debug)]
struct Given {
    end: Mark,
    place: Place,
    location: Location,
    /// Entries and fields that were skipped between the record before and this one.
    skipped: Option<Box<Skipped>>,
}

/// Entries that are not sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Skipped {
    no_message: u64,
    /// Dropped by a rule, or without a label.
    no_labels: u64,
    unreadable: Skips,
}

impl std::ops::AddAssign for Skipped {
    fn add_assign(&mut self, other: Self) {
        self.no_message += other.no_message;
        self.no_labels += other.no_labels;
        self.unreadable += other.unreadable;
    }
}

/// Counts for one client, so that two clients do not count twice.
#[derive(Debug)]
struct Counts {
    metrics: Metrics,
    journal: Option<JournalMetrics>,
    /// Damage was logged.
    is_said: bool,
}

impl Entries {
    fn open(
        config: &Config,
        relabelling: Relabelling,
        opening: Opening,
        metrics: Metrics,
        now: SystemTime,
    ) -> Result<Self, String> {
        let since = now.checked_sub(config.max_age.0).and_then(|since| since.duration_since(UNIX_EPOCH).ok());
        let since = From::Since(since.map_or(0, |since| since.as_micros() as u64));
        let cursor = opening.cursor.as_deref().map(str::parse::<Location>);
        let from = match &cursor {
            Some(Ok(cursor)) => From::Behind(*cursor),
            Some(Err(error)) => {
                tracing::warn!(error, max_age = %config.max_age, "the saved cursor of the journal cannot be read: reading begins max_age ago");
                since
            }
            None => since,
        };
        Ok(Self {
            journal: Journal::new(Folders::new(&config.path), from),
            matches: Matches::parse(&config.matches)?,
            json: config.json,
            relabelling,
            entry: Entry::default(),
            given: VecDeque::new(),
            committed: from,
            next: Mark::default(),
            skipped: Skipped::default(),
            records: 0,
            counts: Counts { journal: (opening.client == 0).then(|| metrics.journal.clone()), metrics, is_said: false },
            is_begin_unknown: matches!(from, From::Behind(_)),
        })
    }

    fn refresh(&mut self) -> io::Result<()> {
        self.journal.refresh().map_err(|error| {
            let roots = self.roots();
            let advice = "mount the host's folder read-only into the container, or set journal.path";
            io::Error::new(error.kind(), format!("cannot list the folders of the journal ({roots}): {error}; {advice}"))
        })?;
        for problem in self.journal.take_problems() {
            tracing::warn!(path = %problem.path.display(), error = problem.text, "cannot read a journal file; all others are read");
            self.counts.metrics.read_error();
        }
        if self.is_begin_unknown
            && let Some(is_there) = self.journal.has_begin()
        {
            self.is_begin_unknown = false;
            if !is_there && let From::Behind(cursor) = self.journal.from() {
                tracing::warn!(
                    %cursor,
                    "the entry of the saved cursor is not in the journal any more: reading goes on at the next entry; \
                     entries that were deleted in between are lost"
                );
                self.counts.metrics.lost(0, JOURNAL);
            }
        }
        if self.journal.is_empty() {
            let advice = "mount the host's folder read-only into the container, or set journal.path";
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("there is no journal file in {}; {advice}", self.roots()),
            ));
        }
        Ok(())
    }

    fn roots(&self) -> String {
        let roots: Vec<String> = self.journal.folders().roots().iter().map(|root| root.display().to_string()).collect();
        roots.join(" and ")
    }

    /// Writes the line of the entry that was read, with a newline, and returns its labels. None: it is not sent, which
    /// is counted.
    fn record(&mut self, out: &mut Vec<u8>) -> Option<LabelSet> {
        if !self.matches.matches(&self.entry) {
            return None;
        }
        let begin = out.len();
        if !write_line(&self.entry, self.json, out) {
            self.skipped.no_message += 1;
            return None;
        }
        let labels = self.relabelling.labels(&self.entry);
        if labels.is_none() {
            out.truncate(begin);
            self.skipped.no_labels += 1;
        }
        labels
    }

    /// Where the last record was.
    fn last(&self) -> From {
        self.given.back().map_or(self.committed, |given| From::Behind(given.location))
    }

    fn give(&mut self, place: Place, bytes: usize) {
        self.next = self.next.after(bytes as u64);
        self.records += 1;
        let skipped = std::mem::take(&mut self.skipped);
        let skipped = (skipped != Skipped::default()).then(|| Box::new(skipped));
        self.given.push_back(Given { end: self.next, place, location: self.entry.location, skipped });
    }
}

impl Source for Entries {
    fn read(&mut self, room: usize, _now: Instant, chunk: &mut Chunk) -> io::Result<Read> {
        let mut records = chunk.records.take().unwrap_or_default();
        records.clear();
        chunk.bytes.clear();
        chunk.start = self.next;
        chunk.place = Position { offset: self.next.0, ..Position::default() };
        let (mut looks, mut refreshed) = (0, 0);
        while chunk.bytes.len() < room && looks < LOOKS && self.given.len() < GIVEN {
            let Self { journal, entry, relabelling, matches, json, .. } = self;
            let read = journal.next(entry, |name| {
                *json || name == MESSAGE.as_bytes() || relabelling.reads(name) || matches.reads(name)
            });
            self.skipped.unreadable += self.journal.take_skips();
            let Some(place) = read else {
                // An entry is given once two looks have seen it.
                let again = refreshed == 0 || refreshed == 1 && self.journal.has_unsettled();
                if !records.is_empty() || !again {
                    break;
                }
                self.refresh()?;
                refreshed += 1;
                continue;
            };
            looks += 1;
            let begin = chunk.bytes.len();
            let Some(labels) = self.record(&mut chunk.bytes) else {
                self.journal.release(place);
                continue;
            };
            let bytes = chunk.bytes.len() - begin;
            if bytes > MAX_LINE && records.is_empty() {
                self.give(place, bytes);
                chunk.bytes.clear();
                return Ok(Read::Skipped { bytes: bytes as u64, end: self.next });
            }
            if bytes > MAX_LINE {
                chunk.bytes.truncate(begin);
                self.journal.go_back(place, self.last());
                break;
            }
            self.give(place, bytes);
            let time = i64::try_from(self.entry.location.realtime.saturating_mul(1000)).ok();
            records.add(chunk.bytes.len(), time, None, (Some(&labels), None));
        }
        if self.given.is_empty() {
            self.counts.add(std::mem::take(&mut self.skipped), 0);
        }
        if records.is_empty() {
            return Ok(if looks < LOOKS { Read::Idle } else { Read::Passed });
        }
        chunk.len = chunk.bytes.len();
        chunk.records = Some(records);
        chunk.encoding = Encoding::Utf8;
        Ok(Read::Records { more: self.journal.has_unsettled() })
    }

    fn rewind(&mut self, to: Mark) -> u64 {
        while let Some(given) = self.given.pop_back_if(|given| given.end > to) {
            self.journal.go_back(given.place, self.last());
            self.records -= 1;
            // These entries are skipped again, and counted then.
            self.skipped = Skipped::default();
        }
        self.next = to;
        0
    }

    fn committed(&mut self, to: Mark) -> Option<Checkpoint> {
        let (mut last, mut lines, mut skipped) = (None, 0, Skipped::default());
        while let Some(given) = self.given.pop_front_if(|given| given.end <= to) {
            self.journal.release(given.place);
            skipped += given.skipped.map(|skipped| *skipped).unwrap_or_default();
            lines += 1;
            self.committed = From::Behind(given.location);
            last = Some(given.location);
        }
        if self.given.is_empty() {
            skipped += std::mem::take(&mut self.skipped);
        }
        self.counts.add(skipped, lines);
        last.map(|location| Checkpoint::Cursor(location.to_string().into()))
    }

    fn wake(&self) -> Wake {
        Wake::Poll
    }

    fn note_progress(&self, progress: &mut Progress) {
        let average = self.next.0.checked_div(self.records).unwrap_or(LINE);
        progress.read_offset = self.next.0;
        progress.unread = self.journal.unread().saturating_mul(average);
        progress.size = self.next.0.saturating_add(progress.unread);
        progress.generations = u32::try_from(self.journal.files()).unwrap_or(u32::MAX);
    }
}

impl Counts {
    fn add(&mut self, skipped: Skipped, lines: u64) {
        let Some(metrics) = &self.journal else {
            return;
        };
        let Skipped { no_message, no_labels, unreadable } = skipped;
        metrics.lines(lines);
        if no_message + no_labels > 0 {
            metrics.not_sent(no_message, no_labels);
        }
        if unreadable == Skips::default() {
            return;
        }
        let Skips { entries, fields, long_fields, deleted } = unreadable;
        metrics.skipped(entries, fields, long_fields, deleted);
        if entries + deleted > 0 {
            self.metrics.lost(0, JOURNAL);
        }
        if !std::mem::replace(&mut self.is_said, true) {
            tracing::warn!(
                entries,
                fields,
                long_fields,
                deleted,
                "a part of the journal cannot be read and is skipped; further parts are counted in \
                 fantail_journal_skipped_total (journalctl --verify shows what is damaged)"
            );
        }
    }
}
