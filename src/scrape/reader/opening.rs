//! How a log comes to a reader: its place in the positions, its file, its first turn.

use std::cmp::Reverse;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::Reader;
use crate::model::{LabelSet, Ledger, Position, Target};
use crate::positions::{Commit, Key, Saved, Slot};
use crate::scrape::metrics::{ROTATED_AWAY, TOO_MANY};
use crate::scrape::post::Assignment;
use crate::scrape::rates::Inflow;
use crate::scrape::status::File;
use crate::scrape::tailer::{CHUNK, Source, Tailer};
use crate::scrape::times::Remembered;
use crate::tail::{Log, Resume};

impl Reader {
    pub(super) fn add(&mut self, assignment: Assignment, now: Instant) {
        let jobs = self.jobs.clone();
        let job = &jobs[assignment.job];
        let target = assignment.target.clone();
        let key = Key {
            client: self.client.clone(),
            job: job.name.clone(),
            path: assignment.path.clone(),
            labels: target.labels.stable_hash(),
        };
        // Its place is taken while an earlier reading of it comes to its end.
        let Some((slot, mut saved)) = self.positions.claim(key.clone()) else {
            return self.wait(assignment, now, "an earlier reading of it waits for Loki's answers");
        };
        if saved.is_none() {
            match self.seen_elsewhere(&assignment, &key) {
                Elsewhere::No => {}
                Elsewhere::Now => {
                    self.positions.release(slot);
                    return self.wait(assignment, now, "it is read under another name that the path matches as well");
                }
                Elsewhere::Until(position) => {
                    saved = Some(Saved::At { position, saved: self.clock.system_time() });
                    let known = Commit { slot, position, live: true, through: None };
                    let time = self.clock.system_time();
                    self.write(|positions| positions.commit(&[known], time));
                }
            }
        }
        let resume = match saved {
            None if assignment.from_oldest => Resume::Since(SystemTime::UNIX_EPOCH),
            None => Resume::Since(self.positions.unseen_since(slot)),
            Some(Saved::At { position, saved }) => Resume::At { position, saved },
            Some(Saved::Offset(offset)) => Resume::Offset(offset),
        };
        let mut log = match Log::open_among(&assignment.path, resume, job.options, &self.folders, &assignment.fence) {
            Ok(log) => log,
            Err(error) => {
                self.positions.release(slot);
                return self.cannot_open(assignment, &error, now);
            }
        };
        if log.lost_position() {
            tracing::warn!(
                path = %assignment.path.display(),
                "the file that was read last is gone; what had not been read of it is lost"
            );
            self.desk.metrics.lost(0, ROTATED_AWAY);
        }
        let inodes = log.take_new_files();
        self.inodes.add(assignment.log, inodes, |inode| log.has(inode));
        let (id, passed_over) = (assignment.log, log.take_passed_over());
        let labels = with_filename(&target, &assignment.path);
        let pipeline = assignment.job * 2 + usize::from(target.defaulted && job.program.is_none());
        let saved = match saved {
            Some(Saved::At { position, .. }) => Some(position),
            _ => None,
        };
        let source = Source::File(Box::new(log));
        self.waits_no_more(assignment.log, now);
        self.begin(assignment.log, assignment.path, source, Some((slot, saved)), target, labels, pipeline, now);
        self.lose(id, TOO_MANY, passed_over);
        self.bound_pinned(id);
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a tailer, which is made in this one place")]
    pub(super) fn begin(
        &mut self,
        log: u64,
        path: Arc<Path>,
        source: Source,
        place: Option<(Slot, Option<Position>)>,
        target: Arc<Target>,
        labels: LabelSet,
        pipeline: usize,
        now: Instant,
    ) {
        let remembered = Remembered::new(place.map(|(slot, _)| self.positions.read_times(slot)).unwrap_or_default());
        let tailer = Tailer {
            chance: labels.stable_hash(),
            id: log,
            path,
            source,
            ledger: Ledger::new(place.and_then(|(_, saved)| saved)),
            slot: place.map(|(slot, _)| slot),
            target,
            labels,
            pipeline,
            due: now,
            interval: self.config.min_poll,
            blocked: false,
            drained: false,
            error: None,
            retired: None,
            last_lines: now,
            streams: Vec::new(),
            tasted: false,
            reach: CHUNK,
            inflow: Inflow::new(now),
            look_error: None,
            last_time: remembered.over(),
            remembered,
        };
        tailer.note_progress();
        self.status.set_file(self.index, log, file(&tailer, &self.client));
        self.tailers.insert(log, Box::new(tailer));
        self.schedule.push(Reverse((now, log)));
    }

    /// Whether the file that is to be read under a new name was read under another: a program that rotates its own logs
    /// may give the old one a name that the glob matches.
    fn seen_elsewhere(&self, assignment: &Assignment, key: &Key) -> Elsewhere {
        let Ok(meta) = std::fs::metadata(&assignment.path) else {
            return Elsewhere::No;
        };
        let file = (meta.dev(), meta.ino());
        for log in self.inodes.of(file) {
            let Some(tailer) = self.tailers.get(&log).or(self.ending.get(&log)) else {
                continue;
            };
            let Source::File(log) = &tailer.source else {
                continue;
            };
            let (now, until) = (log.has(file), log.had(file));
            if !now && until.is_none()
                || tailer.target.labels != assignment.target.labels
                || tailer.path == assignment.path
            {
                continue;
            }
            // What was read of it and is on its way may have to be read again.
            let committed = tailer.ledger.committed();
            let delivered = |end: &Position| committed.is_some_and(|committed| log.is_past(&committed, end));
            return until.filter(|end| !now && delivered(end)).map_or(Elsewhere::Now, Elsewhere::Until);
        }
        match self.positions.in_file(key, file) {
            Some(Saved::At { position, .. }) => Elsewhere::Until(position),
            _ => Elsewhere::No,
        }
    }
}

/// Where else a file is read.
enum Elsewhere {
    No,
    /// It is a generation of another log, which is not done with it.
    Now,
    /// Another log was done with it here.
    Until(Position),
}

pub(super) fn with_filename(target: &Target, path: &Path) -> LabelSet {
    target.labels.with("filename", &path.to_string_lossy())
}

pub(super) fn file(tailer: &Tailer, client: &Arc<str>) -> File {
    File {
        path: tailer.path.clone(),
        client: client.clone(),
        target: tailer.target.clone(),
        ledger: tailer.ledger.clone(),
        error: tailer.trouble(),
    }
}
