//! Logs which targets and files are not read: once when it begins and once when it is over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::{TargetManager, TrackedTarget};
use crate::scrape::unread::Unread;

impl TargetManager {
    /// Shows which files of a target are not read, and logs what changed. If the target has no file, `nothing` is the
    /// reason, as far as it is known.
    pub(super) fn note_unread(&mut self, id: u64, mut unread: Unread) {
        let Some(tracked) = self.tracked.get_mut(&id) else {
            return;
        };
        let now = Instant::now();
        let (job, path) = (&tracked.target.job, &tracked.target.path);
        if tracked.files.is_empty() {
            tracked.empty.get_or_insert(now);
            let usual =
                if unread.files.is_empty() { "no file matches" } else { "no file that matches can be read as a log" };
            unread.nothing.get_or_insert_with(|| usual.into());
        } else {
            unread.nothing = None;
            tracked.empty = None;
            if std::mem::take(&mut tracked.empty_said) && self.budget.allows(now) {
                tracing::info!(%job, path, files = tracked.files.len(), "__path__ matches files now");
            }
        }
        if *tracked.unread == unread {
            return;
        }
        self.metrics.refused_folders(unread.newly_foreign(&tracked.unread));
        for line in unread.news(&tracked.unread) {
            if !self.budget.allows(now) {
                continue;
            }
            let (files, count, reason, advice) = (line.files, line.count, line.reason, line.advice);
            match line.is_trouble {
                true => {
                    tracing::warn!(%job, path, files, count, reason, advice, "files that __path__ matches are not read")
                }
                false => {
                    tracing::info!(%job, path, files, count, reason, advice, "files are not read as separate logs")
                }
            }
        }
        self.metrics.beyond_limit(unread.beyond as i64 - tracked.unread.beyond as i64);
        tracked.unread = Arc::new(unread);
        self.status.set_unread(id, tracked.unread.clone());
    }

    /// Logs why targets of a group cannot be tailed, if that is new: the number of targets for each reason.
    pub(super) fn say_mistakes(&mut self, job: &Arc<str>, group: &str, mistakes: BTreeMap<Arc<str>, usize>) {
        if mistakes.is_empty() {
            return;
        }
        let known = self.status.rejections(job, group);
        let now = Instant::now();
        for (reason, targets) in mistakes {
            if !known.contains(&reason) && self.budget.allows(now) {
                tracing::warn!(%job, group, targets, reason = &*reason, "targets cannot be tailed: see /service-discovery");
            }
        }
    }

    /// Logs that no discovered target of the job is tailed, and why.
    pub(super) fn say_all_dropped(&self, job: &Arc<str>, discovered: usize) {
        if let Some((reason, targets)) = self.status.usual_rejection(job) {
            tracing::info!(
                %job,
                discovered,
                targets,
                reason = &*reason,
                "no discovered target of this job is read: this reason applies to most of them; see /service-discovery"
            );
        }
    }

    /// Logs each target that has no file, once, with one line per job. `spared` gets the target and since when it has
    /// no file.
    pub(super) fn say_empty(&mut self, spared: impl Fn(&TrackedTarget, Instant) -> bool) {
        let now = Instant::now();
        let mut jobs: BTreeMap<Arc<str>, (String, String, usize)> = BTreeMap::new();
        for tracked in self.tracked.values_mut() {
            if tracked.empty_said || tracked.empty.is_none_or(|since| spared(tracked, since)) {
                continue;
            }
            tracked.empty_said = true;
            let reason = tracked.unread.nothing.clone().unwrap_or_default();
            let first = || (tracked.target.path.clone(), reason, 0);
            jobs.entry(tracked.target.job.clone()).or_insert_with(first).2 += 1;
        }
        for (job, (path, reason, targets)) in jobs {
            if self.budget.allows(now) {
                tracing::warn!(%job, path, targets, reason, "__path__ matches no file: nothing is read until a file appears");
            }
        }
    }
}

impl TrackedTarget {
    /// Whether the target is a pod's container, which may exist before its log.
    pub(super) fn is_of_pod(&self) -> bool {
        self.target.is_of_pod
    }
}
