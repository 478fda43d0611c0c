//! Turns updates from discovery into tracked targets.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::index::Same;
use super::{AssignedLog, TargetManager, TrackedTarget};
use crate::model::{FOUND_BY, Target, TargetGroup, TargetLabels};
use crate::scrape::messages::Command;
use crate::scrape::status::Discovered;
use crate::scrape::targets::{Rejected, UNKNOWN_POD, UNREADABLE, resolve};
use crate::tail::Glob;

impl TargetManager {
    pub(super) fn update(&mut self, job: &Arc<str>, group: TargetGroup) -> bool {
        let Some(index) = self.jobs.iter().position(|j| j.name == *job) else {
            return false;
        };
        let mut targets: Vec<Same> = Vec::new();
        let mut distinct: HashSet<Same> = HashSet::new();
        // These lists are kept, and nearly all groups have one target.
        let mut shown = Vec::with_capacity(group.targets.len());
        let mut mistakes: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for discovered in group.targets {
            let mut outcome = self.resolve(index, &discovered);
            // The problem of the job was logged at the start.
            if let Err(rejected) = outcome.as_ref()
                && rejected.is_mistake()
                && rejected.reason != UNREADABLE
            {
                *mistakes.entry(rejected.text.clone()).or_default() += 1;
            }
            // Ports make several targets of one container. Equal targets are kept once.
            if let Ok(target) = &mut outcome {
                let same = Same(target.clone());
                match distinct.get(&same) {
                    Some(known) => *target = known.0.clone(),
                    None => {
                        distinct.insert(same.clone());
                        targets.push(same);
                    }
                }
            }
            shown.push(Discovered { discovered, outcome });
        }
        self.say_mistakes(job, &group.id, mistakes);
        self.status.set_discovered(job.clone(), group.id.clone(), shown, group.left_out);
        let key = (job.clone(), group.id);
        targets.iter().for_each(|target| *self.wanted.entry(target.clone()).or_default() += 1);
        let before = match targets.is_empty() {
            true => self.groups.remove(&key),
            false => self.groups.insert(key, targets.as_slice().into()),
        };
        // If two groups have the same target, it stays until both have removed it.
        let mut left: Vec<u64> = Vec::new();
        for target in before.unwrap_or_default() {
            if self.let_go(&target) {
                left.extend(self.ids.get(&target).copied());
            }
        }
        for target in targets {
            if !self.ids.contains_key(&target) {
                self.track(index, target.0.clone(), &mut left);
                // Docker deletes the file of a container that was started with --rm as soon as it ends.
                if target.0.streams.is_some() {
                    self.walk_by(Instant::now());
                }
            }
        }
        for id in left {
            self.untrack(id);
        }
        true
    }

    /// Removes the target from one group. Returns whether no group has it any more.
    fn let_go(&mut self, target: &Same) -> bool {
        let Some(groups) = self.wanted.get_mut(target) else {
            return false;
        };
        *groups = groups.saturating_sub(1);
        if *groups > 0 {
            return false;
        }
        self.wanted.remove(target);
        true
    }

    pub(super) fn resolve(&self, job: usize, discovered: &TargetLabels) -> Result<Arc<Target>, Rejected> {
        let job = &self.jobs[job];
        let mut target = resolve(job, discovered, &self.config.hostname)
            .inspect_err(|rejected| self.metrics.target_failed(rejected.reason))?;
        // Only below the pods' directory does the directory name give the owner.
        if discovered.contains(FOUND_BY) && self.config.pod_logs.as_ref().is_some_and(|root| !is_below(&target, root)) {
            self.metrics.target_failed(UNKNOWN_POD);
            let text = "the pod was found by its log directory, but its __path__ leads elsewhere";
            return Err(Rejected { reason: UNKNOWN_POD, text: text.into() });
        }
        target.owner = target.owner.filter(|_| self.config.pod_logs.is_some());
        match &job.unreadable {
            Some(why) => Err(Rejected { reason: UNREADABLE, text: why.as_str().into() }),
            None => Ok(Arc::new(target)),
        }
    }

    /// Starts to track a target. If one of `left` tailed the same path, its logs continue under the new labels.
    pub(super) fn track(&mut self, job: usize, target: Arc<Target>, left: &mut Vec<u64>) {
        let globs =
            Glob::new(&target.path).and_then(|g| Ok((g, target.exclude.as_deref().map(Glob::new).transpose()?)));
        let (glob, exclude) = match globs {
            Ok(globs) => globs,
            Err(error) => {
                self.metrics.target_failed("error");
                tracing::error!(job = %target.job, path = target.path, error, "__path__ cannot be tailed");
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
        let mut files = match left.iter().position(heir) {
            Some(at) => self.forget(left.swap_remove(at)).map(|t| t.files).unwrap_or_default(),
            None => BTreeMap::new(),
        };
        files.extend(self.held_for(&target, job, &glob, exclude.as_ref()));
        for log in files.values() {
            self.tell(|| Command::Relabel(*log, target.clone()));
            if let Some(known) = self.logs.get_mut(log) {
                known.tracked = Some(id);
            }
            if !target.is_held {
                self.held.remove(log);
            }
        }
        self.status.add_target(id, target.clone());
        self.ids.insert(Same(target.clone()), id);
        self.places.add(id, &[]);
        let tracked = TrackedTarget {
            target,
            job,
            glob: Arc::new(glob),
            exclude,
            files,
            directories: Arc::default(),
            listed: None,
            aliases: BTreeMap::new(),
            links: BTreeSet::new(),
            is_polled: false,
            has_aliases: false,
            dirty: true,
            is_to_check: false,
            rests_until: None,
            unread: Arc::default(),
            neighbours: BTreeMap::new(),
            again: None,
            empty: None,
            empty_said: false,
        };
        self.tracked.insert(id, Box::new(tracked));
    }

    /// Held logs without a target that belong to this target. Their files may have no name any more, so no walk finds
    /// them.
    fn held_for(&self, target: &Target, job: usize, glob: &Glob, exclude: Option<&Glob>) -> BTreeMap<Arc<Path>, u64> {
        let of = |log: &u64| Some((&**self.logs.get(log)?, *log));
        let held = self.held.iter().filter_map(of).filter(|(known, _)| known.tracked.is_none() && known.job == job);
        let is_its = |known: &AssignedLog| {
            known.held_for.as_deref() == target.owner.as_ref()
                && known.held_for.is_some()
                && glob.matches(&known.path)
                && !exclude.is_some_and(|exclude| exclude.matches(&known.path))
        };
        held.filter(|(known, _)| is_its(known)).map(|(known, log)| (known.path.clone(), log)).collect()
    }

    pub(super) fn untrack(&mut self, id: u64) {
        let Some(tracked) = self.forget(id) else {
            return;
        };
        for log in tracked.files.values() {
            if let Some(known) = self.logs.get_mut(log) {
                known.tracked = None;
            }
            self.tell(|| Command::Retire(*log));
        }
    }

    /// Removes a target from all indices. Its logs remain.
    fn forget(&mut self, id: u64) -> Option<Box<TrackedTarget>> {
        let tracked = self.tracked.remove(&id)?;
        self.metrics.beyond_limit(-(tracked.unread.beyond as i64));
        self.status.remove_target(id);
        self.ids.remove(&Same(tracked.target.clone()));
        self.places.remove(id, &tracked.directories);
        Some(tracked)
    }
}

/// Whether everything that the target's path may match is below `root`.
fn is_below(target: &Target, root: &Path) -> bool {
    Path::new(&target.path).starts_with(root)
}
