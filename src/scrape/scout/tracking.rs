//! From what discovery tells to the targets that are followed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Scout, Tracked};
use crate::model::{Labels, Target, TargetGroup};
use crate::scrape::post::Command;
use crate::scrape::status::Discovered;
use crate::scrape::targets::{Rejected, UNREADABLE, resolve};
use crate::tail::Glob;

impl Scout {
    pub(super) fn update(&mut self, job: &Arc<str>, group: TargetGroup) -> bool {
        let Some(index) = self.jobs.iter().position(|j| j.name == *job) else {
            return false;
        };
        let mut targets: Vec<Arc<Target>> = Vec::new();
        let mut shown = Vec::new();
        let mut mistakes: BTreeMap<String, usize> = BTreeMap::new();
        for discovered in &group.targets {
            let outcome = self.resolve(index, discovered);
            // That of the job was said at the start.
            if let Err(rejected) = outcome.as_ref()
                && rejected.is_mistake()
                && rejected.reason != UNREADABLE
            {
                *mistakes.entry(rejected.text.clone()).or_default() += 1;
            }
            if let Ok(target) = &outcome
                && !targets.iter().any(|t| same(t, target))
            {
                targets.push(target.clone());
            }
            shown.push(Discovered { discovered: discovered.clone(), outcome });
        }
        self.say_mistakes(job, &group.source, mistakes);
        self.status.set_discovered(job.clone(), group.source.clone(), shown);
        let key = (job.clone(), group.source);
        let before = match targets.is_empty() {
            true => self.sources.remove(&key),
            false => self.sources.insert(key, targets.clone()),
        };
        // Of two sources with one target, the target stays until the last of them lets go.
        let gone: Vec<Arc<Target>> = before.unwrap_or_default().into_iter().filter(|t| !self.is_wanted(t)).collect();
        let mut left: Vec<u64> = Vec::new();
        for target in gone {
            left.extend(self.tracked.iter().find(|(_, t)| same(&t.target, &target)).map(|(id, _)| *id));
        }
        for target in targets {
            if !self.tracked.values().any(|t| same(&t.target, &target)) {
                self.track(index, target, &mut left);
            }
        }
        for id in left {
            self.untrack(id);
        }
        self.status.set_targets(self.tracked.values().map(|t| (t.target.clone(), t.unread.clone())).collect());
        true
    }

    pub(super) fn resolve(&self, job: usize, discovered: &Labels) -> Result<Arc<Target>, Rejected> {
        let job = &self.jobs[job];
        let mut target = resolve(job, discovered, &self.config.hostname)
            .inspect_err(|rejected| self.metrics.target_failed(rejected.reason))?;
        target.owner = target.owner.filter(|_| self.config.pod_logs.is_some());
        match &job.unreadable {
            Some(why) => Err(Rejected { reason: UNREADABLE, text: why.clone() }),
            None => Ok(Arc::new(target)),
        }
    }

    pub(super) fn is_wanted(&self, target: &Target) -> bool {
        self.sources.values().flatten().any(|t| same(t, target))
    }

    /// Begins to follow a target. If one of `left` tailed the same path, its logs go on under the new labels.
    pub(super) fn track(&mut self, job: usize, target: Arc<Target>, left: &mut Vec<u64>) {
        let globs =
            Glob::new(&target.path).and_then(|g| Ok((g, target.exclude.as_deref().map(Glob::new).transpose()?)));
        let (glob, exclude) = match globs {
            Ok(globs) => globs,
            Err(error) => {
                self.metrics.target_failed("error");
                tracing::error!(job = %target.job, path = target.path, error, "not a path that can be tailed");
                return;
            }
        };
        let heir = |id: &u64| {
            let old = &self.tracked[id].target;
            (&old.job, &old.path, &old.exclude, &old.owner)
                == (&target.job, &target.path, &target.exclude, &target.owner)
        };
        let id = self.next;
        self.next += 1;
        let files = match left.iter().position(heir) {
            Some(at) => self.tracked.remove(&left.swap_remove(at)).map(|t| t.files).unwrap_or_default(),
            None => BTreeMap::new(),
        };
        for log in files.values() {
            self.tell(|| Command::Relabel(*log, target.clone()));
            if let Some(known) = self.logs.get_mut(log) {
                known.tracked = Some(id);
            }
        }
        let tracked = Tracked {
            target,
            job,
            glob,
            exclude,
            files,
            directories: BTreeSet::new(),
            dirty: true,
            rests_until: None,
            unread: Arc::default(),
            empty: None,
            empty_said: false,
        };
        self.tracked.insert(id, tracked);
    }

    pub(super) fn untrack(&mut self, id: u64) {
        let Some(tracked) = self.tracked.remove(&id) else {
            return;
        };
        for log in tracked.files.values() {
            if let Some(known) = self.logs.get_mut(log) {
                known.tracked = None;
            }
            self.tell(|| Command::Retire(*log));
        }
    }
}

/// Whether two targets are one to Promtail: it tails a path once per set of labels. Of one path that two pods have each reads
/// what is its own.
fn same(a: &Target, b: &Target) -> bool {
    (&a.job, &a.path, &a.exclude, &a.labels, &a.owner) == (&b.job, &b.path, &b.exclude, &b.labels, &b.owner)
}
