//! Jobs whose files nobody has read before: neither this agent nor, before it, Promtail.

use std::collections::BTreeSet;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::journal::Line;
use super::{Positions, State};

impl Positions {
    /// Says that these jobs are all jobs of the config and are about to be run. Returns those that are run for the first
    /// time. This is saved at once: if the agent ends before it has looked at all files, its next start finds files that
    /// appeared in between, and these are read from their start.
    pub fn begin_jobs(&self, jobs: &[Arc<str>]) -> BTreeSet<Arc<str>> {
        let mut state = self.lock();
        let read: BTreeSet<Arc<str>> = state.records.values().map(|entry| entry.key.job.clone()).collect();
        let is_new = |state: &State, job: &Arc<str>| !state.journal.has_begun(hash(job)) && !read.contains(job);
        let new: BTreeSet<Arc<str>> = jobs.iter().filter(|job| is_new(&state, job)).cloned().collect();
        let lines: Vec<Line<'_>> =
            jobs.iter().map(|job| hash(job)).filter(|job| !state.journal.has_begun(*job)).map(Line::Begun).collect();
        let current: BTreeSet<u64> = jobs.iter().map(|job| hash(job)).collect();
        state.journal.forget_jobs(|job| !current.contains(&job));
        // A failed write is repeated with the next commit.
        let _ = state.append(&lines);
        // Promtail has read files of its jobs, but its file does not say of which job a path is.
        if state.is_taken_over { BTreeSet::new() } else { new }
    }
}

fn hash(job: &str) -> u64 {
    xxh3_64(job.as_bytes())
}
